"""Several images in one job: each is read by itself, what cannot be read is refused with its reason."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.study import Laterality, Modality
from airouter.imaging.visit import History, Visit, open_history, open_visit
from phantoms.dicom import field_instance, fundus_instance, oct_instance, slide_instances
from tests.images import Served

DAY = datetime.datetime(2026, 1, 5, 9, 30, 0, tzinfo=datetime.UTC)


def days(before: int) -> datetime.datetime:
    return DAY - datetime.timedelta(days=before)


def photograph(before: int = 0, **changes: Any) -> Dataset:
    return fundus_instance(np.full((8, 8, 3), 90, np.uint8), taken=days(before), transfer="raw", **changes)


def field(before: int = 0, **changes: Any) -> Dataset:
    return field_instance(when=days(before), **changes)


def visit(*datasets: Dataset, modality: Modality = Modality.OP) -> Visit[Any] | Ungradable:
    served = Served(datasets)
    return open_visit(modality, served.headers(), served.frames)


def history(
    current: Dataset, priors: Sequence[Dataset] = (), modality: Modality = Modality.OP
) -> History[Any] | Ungradable:
    served = Served([current, *priors])
    first, *others = served.headers()
    return open_history(modality, first, others, served.frames)


def unreadable(**changes: Any) -> Dataset:
    made = photograph(**changes)
    made.Rows = 0
    return made


# -- a visit ----------------------------------------------------------------------------------------------------------


def test_images_of_a_visit_come_in_order_of_acquisition() -> None:
    late, early = photograph(0, laterality="L"), photograph(1)
    found = visit(late, early)
    assert isinstance(found, Visit)
    assert [i.instance_uid for i in found.images] == [early.SOPInstanceUID, late.SOPInstanceUID]
    assert [i.laterality for i in found.images] == [Laterality.R, Laterality.L]
    assert found.refused == ()


def test_at_one_time_the_uid_decides_the_order_whichever_came_first() -> None:
    one, two = photograph(seed=1), photograph(seed=2)
    orders = [[i.instance_uid for i in found.images] for found in (visit(one, two), visit(two, one))]
    assert orders[0] == orders[1] == sorted([one.SOPInstanceUID, two.SOPInstanceUID])


def test_an_image_that_cannot_be_read_is_refused_and_the_others_are_read() -> None:
    good, bad = photograph(), unreadable()
    found = visit(bad, good)
    assert isinstance(found, Visit)
    assert [i.instance_uid for i in found.images] == [good.SOPInstanceUID]
    (refused,) = found.refused
    assert refused.instance_uid == bad.SOPInstanceUID
    assert refused.reason.startswith("not analysed because")


def test_a_malformed_element_is_a_refusal_and_no_failure() -> None:
    good, bad = photograph(), photograph()
    bad.Rows = None
    found = visit(bad, good)
    assert isinstance(found, Visit)
    assert [r.instance_uid for r in found.refused] == [bad.SOPInstanceUID]


def test_a_visit_of_which_nothing_can_be_read_is_ungradable_with_the_first_reason() -> None:
    found = visit(unreadable(before=0), unreadable(before=1))
    assert isinstance(found, Ungradable) and found.reason.startswith("not analysed because")
    assert visit() == Ungradable("not analysed because there is no image")


def test_a_slide_is_no_image_of_the_eye() -> None:
    (slide,) = slide_instances(np.full((64, 64, 3), 200, np.uint8), 0.5, levels=1)
    found = visit(slide, modality=Modality.SM)
    assert isinstance(found, Ungradable) and "not an image of the eye" in found.reason


# -- a history --------------------------------------------------------------------------------------------------------

MAKES: dict[Modality, Callable[..., Dataset]] = {
    Modality.OP: photograph,
    Modality.OPV: field,
    Modality.OPT: lambda before=0, **changes: oct_instance(
        np.full((2, 16, 16), 40, np.uint8), taken=days(before), **changes
    ),
}


@pytest.mark.parametrize("modality", MAKES)
def test_priors_come_oldest_first_with_their_study_and_time(modality: Modality) -> None:
    make = MAKES[modality]
    now, older, old = make(0), make(700, study_uid="1.2.3"), make(300)
    found = history(now, [old, older], modality)
    assert isinstance(found, History)
    assert found.current.instance_uid == now.SOPInstanceUID
    assert found.taken == "20260105093000"
    assert [(p.image.instance_uid, p.study_uid) for p in found.priors] == [
        (older.SOPInstanceUID, "1.2.3"),
        (old.SOPInstanceUID, old.StudyInstanceUID),
    ]
    assert [p.taken for p in found.priors] == [days(n).strftime("%Y%m%d%H%M%S") for n in (700, 300)]
    assert found.refused == ()


def test_a_history_may_be_empty() -> None:
    found = history(photograph())
    assert isinstance(found, History)
    assert (found.priors, found.refused) == ((), ())


def test_the_other_eye_is_left_out_without_a_word() -> None:
    found = history(photograph(), [photograph(10, laterality="L"), photograph(20)])
    assert isinstance(found, History)
    assert len(found.priors) == 1 and found.refused == ()


def test_what_cannot_be_used_of_the_past_is_refused_with_its_reason() -> None:
    eyeless, broken, undated = photograph(10, laterality=None), unreadable(before=20), photograph(30)
    del undated.AcquisitionDateTime
    undated.StudyDate = undated.StudyTime = ""
    good = photograph(40)
    found = history(photograph(), [eyeless, broken, undated, good])
    assert isinstance(found, History)
    assert [p.image.instance_uid for p in found.priors] == [good.SOPInstanceUID]
    reasons = {r.instance_uid: r.reason for r in found.refused}
    assert "laterality of the earlier image is missing" in reasons[eyeless.SOPInstanceUID]
    assert "date of the earlier image is missing" in reasons[undated.SOPInstanceUID]
    assert reasons[broken.SOPInstanceUID].startswith("not analysed because")
    assert len(reasons) == 3


@pytest.mark.parametrize("side", [None, "B"])
def test_without_an_eye_of_its_own_an_image_has_no_history(side: str | None) -> None:
    found = history(photograph(laterality=side), [photograph(10)])
    assert isinstance(found, Ungradable) and "laterality is missing" in found.reason


def test_a_current_image_that_cannot_be_read_is_ungradable() -> None:
    found = history(unreadable(), [photograph(10)])
    assert isinstance(found, Ungradable) and found.reason.startswith("not analysed because")


def test_without_a_time_of_its_own_it_is_told_with_an_empty_one() -> None:
    now = photograph()
    del now.AcquisitionDateTime
    now.StudyDate = now.StudyTime = ""
    found = history(now, [photograph(10)])
    assert isinstance(found, History)
    assert found.taken == "" and len(found.priors) == 1
