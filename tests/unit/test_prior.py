"""Priors: told by headers alone, of the same person and eye, and never later than what they are compared with."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.prior import earlier, eye, same_patient, taken
from airouter.domain.study import Attribute, Instance, Laterality, Prior
from airouter.imaging.attributes import attributes as of_header
from airouter.imaging.header import laterality
from airouter.imaging.header import taken as header_taken
from phantoms.dicom import field_instance, fundus_instance, oct_instance
from tests.headers import OP, OPT, instance


def photograph(uid: str, when: str = "", *, study: str = "1.2", sop_class: str = OP, **values: Any) -> Instance:
    """An image of the right eye of patient P; `when`: 8 digits stand in Study Date, more in Acquisition DateTime."""
    dated = {"StudyDate": when} if len(when) == 8 else {"AcquisitionDateTime": when} if when else {}
    known = {"PatientID": "P", "ImageLaterality": "R", **dated, **values}
    made = instance(uid, sop_class, **{k: v for k, v in known.items() if v is not None})
    return Instance(made.id, uid, sop_class, "1.2.3", study, made.digest, made.attributes)


def prior(uid: str, when: str, study: str = "old", **values: Any) -> Prior:
    return Prior(study, photograph(uid, when, study=study, **values))


def uids(found: tuple[Prior, ...]) -> list[str]:
    return [p.instance.uid for p in found]


NOW = photograph("now", "20260105093000")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"AcquisitionDateTime": "20260105093000.123456+0100", "StudyDate": "20200101"}, "20260105093000"),
        ({"AcquisitionDateTime": "2026", "StudyDate": "20260105", "StudyTime": "0930"}, "202601050930"),
        ({"StudyDate": "20260105", "StudyTime": "093000.5"}, "20260105093000"),
        ({"StudyDate": "20260105"}, "20260105"),
        ({"StudyDate": "2026.01.05"}, ""),
        ({"StudyTime": "093000"}, ""),
        ({}, ""),
    ],
)
def test_when_an_image_was_taken(values: dict[str, str], expected: str) -> None:
    assert taken(instance("1", **values)) == expected


def shared_eye(side: str) -> Attribute:
    anatomy = Attribute("SQ", ({"FrameLaterality": Attribute("CS", (side,))},))
    return Attribute("SQ", ({"FrameAnatomySequence": anatomy},))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ImageLaterality": "R"}, Laterality.R),
        ({"Laterality": "L"}, Laterality.L),
        ({"MeasurementLaterality": "L"}, Laterality.L),
        ({"ImageLaterality": "R", "Laterality": "L"}, None),
        ({"ImageLaterality": "B"}, None),
        ({"ImageLaterality": "U"}, None),
        ({"ImageLaterality": ""}, None),
        ({}, None),
    ],
)
def test_which_eye(values: dict[str, str], expected: Laterality | None) -> None:
    assert eye(instance("1", **values)) is expected


def test_the_eye_stands_in_the_shared_groups_of_a_tomograph() -> None:
    one = instance("1", OPT)
    held = Instance(
        one.id, "1", OPT, "s", "1.2", "d", {**one.attributes, "SharedFunctionalGroupsSequence": shared_eye("L")}
    )
    assert eye(held) is Laterality.L
    against = {**held.attributes, "ImageLaterality": Attribute("CS", ("R",))}
    assert eye(Instance(one.id, "1", OPT, "s", "1.2", "d", against)) is None


@pytest.mark.parametrize("make", [lambda s: fundus_instance(np.zeros((8, 8, 3), np.uint8), laterality=s),
                                  lambda s: oct_instance(np.zeros((2, 8, 8), np.uint8), laterality=s),
                                  lambda s: field_instance(laterality=s)])  # fmt: skip
@pytest.mark.parametrize("side", ["R", "L"])
def test_routing_reads_of_a_header_what_the_pipelines_read(make: Any, side: str) -> None:
    header = make(side)
    seen = Instance("id", "1", str(header.SOPClassUID), "s", "1.2", "d", of_header(header))
    assert eye(seen) is laterality(header) is Laterality(side)
    assert taken(seen) == header_taken(header) != ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"PatientID": "P"}, {"PatientID": "P"}, True),
        ({"PatientID": "P"}, {"PatientID": "Q"}, False),
        ({"PatientID": ""}, {"PatientID": ""}, False),
        ({}, {}, False),
        ({"PatientID": "P", "PatientBirthDate": "19600101"}, {"PatientID": "P"}, True),
        (
            {"PatientID": "P", "PatientBirthDate": "19600101"},
            {"PatientID": "P", "PatientBirthDate": "19600101"},
            True,
        ),
        (
            {"PatientID": "P", "PatientBirthDate": "19600101"},
            {"PatientID": "P", "PatientBirthDate": "19610101"},
            False,
        ),
    ],
)
def test_whose_images_they_are(one: dict[str, str], other: dict[str, str], same: bool) -> None:
    assert same_patient(instance("1", **one), instance("2", **other)) is same
    assert same_patient(instance("2", **other), instance("1", **one)) is same


def test_priors_are_the_earlier_ones_of_the_eye_oldest_first() -> None:
    candidates = [
        prior("b", "20240101"),
        prior("a", "20230101"),
        prior("later", "20270101"),
        prior("left", "20230101", ImageLaterality="L"),
        prior("tomograph", "20230101", sop_class=OPT),
        prior("another's", "20230101", PatientID="Q"),
        prior("of no day", ""),
        Prior("now", NOW),
    ]
    assert uids(earlier(NOW, candidates)) == ["a", "b"]
    assert earlier(NOW, []) == ()


def test_one_that_does_not_say_its_eye_is_taken_along_to_be_refused_with_its_reason() -> None:
    silent = prior("silent", "20230101", ImageLaterality=None)
    assert uids(earlier(NOW, [silent])) == ["silent"]
    assert earlier(NOW, [silent], latest_study=True) == ()
    assert earlier(photograph("now", "20260105", ImageLaterality=None), [prior("a", "20230101")]) == ()
    assert earlier(photograph("now", ""), [prior("a", "20230101")]) == ()


def test_only_those_of_the_latest_other_study_with_any_of_this_eye() -> None:
    candidates = [
        prior("a", "20230101", "first"),
        prior("b", "20240101080000", "second"),
        prior("c", "20240101090000", "second"),
        prior("d", "20250101", "third", ImageLaterality="L"),
        prior("e", "20250101", "third", ImageLaterality=None),
        Prior("1.2", photograph("same study", "20260105090000")),
    ]
    assert uids(earlier(NOW, candidates, latest_study=True)) == ["b", "c"]
    assert uids(earlier(NOW, candidates)) == ["a", "b", "c", "e", "same study"]


@pytest.mark.parametrize(
    ("one", "other", "before"),
    [
        ("20260105", "20260105093000", False),
        ("20260105093000", "20260105", False),
        ("20260104", "20260105093000", True),
        ("20260104235959", "20260105", True),
        ("2026010509", "20260105093000", False),
        ("20260105092959", "20260105093000", True),
    ],
)
def test_where_only_the_day_is_known_another_image_of_that_day_is_not_earlier(
    one: str, other: str, before: bool
) -> None:
    image = photograph("image", "", StudyDate=None, AcquisitionDateTime=other)
    candidate = Prior("old", photograph("candidate", "", AcquisitionDateTime=one))
    assert bool(earlier(image, [candidate])) is before


TIMES = st.one_of(
    st.just(""),
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2030, 1, 1)).flatmap(
        lambda t: st.sampled_from([8, 10, 12, 14]).map(lambda n: t.strftime("%Y%m%d%H%M%S")[:n])
    ),
    st.sampled_from(["20260105", "2026010509", "20260105093000", "20260105093001"]),
)
IMAGES = st.builds(
    lambda uid, when, side, study: photograph(uid, "", study=study, AcquisitionDateTime=when, ImageLaterality=side),
    st.sampled_from(["1", "2", "3"]),
    TIMES,
    st.sampled_from(["R", "L", None]),
    st.sampled_from(["1.2", "1.3"]),
)


@given(IMAGES, IMAGES)
def test_nothing_is_earlier_than_itself_and_never_each_than_the_other(a: Instance, b: Instance) -> None:
    assert earlier(a, [Prior("s", a)]) == ()
    assert not (earlier(a, [Prior("s", b)]) and earlier(b, [Prior("s", a)]))


@given(IMAGES, st.lists(IMAGES, max_size=6))
def test_those_of_the_latest_study_are_some_of_all(a: Instance, others: list[Instance]) -> None:
    candidates = [Prior(i.study_uid, i) for i in others]
    everything, latest = earlier(a, candidates), earlier(a, candidates, latest_study=True)
    assert set(uids(latest)) <= set(uids(everything))
    assert len({p.study_id for p in latest}) <= 1
    assert [taken(p.instance) for p in everything] == sorted(taken(p.instance) for p in everything)
