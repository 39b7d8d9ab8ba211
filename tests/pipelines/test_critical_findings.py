"""The pipeline with an oracle in the model's place: present, absent, undetermined; the cup-to-disc ratio."""

import dataclasses
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.job import Source
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.evidence.write import write
from airouter.pipelines import PIPELINES, WithCompanions
from airouter.pipelines.critical_findings import BLOOD, CUP, DETACHMENT, DISC
from phantoms.dicom import fundus_instance
from phantoms.fundus import REASONS
from phantoms.fundus_lesions import CLASSES as MASKS
from phantoms.fundus_lesions import lesions as painted
from tests.dciodvfy import assert_conformant
from tests.pipelines.oracle import Oracle, Progress, job, model, opened, reasons, rests_on, value

PIPELINE = PIPELINES["critical-findings"]
SIZE = 288
NAMES = {
    codes.RETINAL_DETACHMENT: DETACHMENT,
    codes.VITREOUS_HAEMORRHAGE: BLOOD,
    codes.ADVANCED_GLAUCOMA: "advanced-glaucoma",
}


@cache
def eye(seed=0, **changes):
    return painted(SIZE, "R", seed, 0, **changes)


def analysed(truth, *, quality=None, laterality="R", masks=None, **parameters):
    ds = fundus_instance(truth.rgb, laterality=laterality, transfer="raw", seed=7)
    seer = Oracle(model(Modality.OP, HeadKind.SEGMENTATION, MASKS, size=(SIZE, SIZE), fit=Fit.STRETCH, overlap=0))
    told = {**truth.masks, **(masks or {})}
    seer.tell(truth.rgb, np.stack([np.asarray(told[name], np.float32) for name in MASKS]))
    roles = {}
    if quality is not None:
        classes = ("gradable", *REASONS)
        judge = Oracle(model(Modality.OP, HeadKind.CLASSIFICATION, classes, size=(SIZE, SIZE), fit=Fit.STRETCH))
        judge.tell(truth.rgb, np.array(quality))
        roles["gradability"] = judge
    about = dataclasses.replace(
        job("critical-findings", **parameters),
        study_uid=ds.StudyInstanceUID,
        series_uid=ds.SeriesInstanceUID,
        modality=Modality.OP,
        sources=(Source("id-0", ds.SOPInstanceUID, "d"),),
    )
    result = PIPELINE.run(about, opened([ds]), WithCompanions(seer, roles), Progress())
    return result, about, ds, seer


def run(truth, **changes):
    return analysed(truth, **changes)[0]


def answers(result):
    found = {f.finding: {e.name: e.value for e in f.evaluations} for f in result.findings}
    return {name: found[code][code] for code, name in NAMES.items()}


def finding(result, key):
    (found,) = [f for f in result.findings if f.key == key]
    return found


HEALTHY = {DETACHMENT: codes.ABSENT, BLOOD: codes.ABSENT, "advanced-glaucoma": codes.ABSENT}
GOOD = (1.0, 0, 0, 0, 0, 0)
POOR = (0.2, 0.8, 0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_eye_has_nothing_critical(seed):
    result = run(eye(seed))
    assert answers(result) == HEALTHY
    assert result.verdict.priority is Priority.ROUTINE
    assert "no retinal detachment" in result.verdict.reason
    assert result.not_analysed == ()
    assert "what lies further out is not seen" in finding(result, DETACHMENT).comment


@pytest.mark.parametrize(
    ("changes", "key"), [({"detachment": True}, DETACHMENT), ({"vitreous_haemorrhage": True}, BLOOD)]
)
@pytest.mark.parametrize("quality", [None, GOOD, POOR])
def test_detachment_and_blood_are_stat_also_where_the_photograph_is_poor(changes, key, quality):
    truth = eye(1, **changes)
    result = run(truth, quality=quality)
    assert answers(result)[key] == codes.PRESENT
    assert result.verdict.priority is Priority.STAT
    assert key.replace("-", " ") in result.verdict.reason
    assert rests_on(result.verdict) == [key]
    share = 100.0 * (truth.masks[key] & truth.field).sum() / truth.field.sum()
    assert value(result, key, codes.FIELD_SHARE) == pytest.approx(share, rel=0.05)
    assert value(result, key, codes.CERTAINTY_OF_FINDING) == 100.0
    region = finding(result, key).region
    assert region.graphic == "POLYGON"
    inside = np.clip(np.round(region.points - 0.5).astype(int), 0, SIZE - 1)
    near = [truth.masks[key][max(0, r - 2) : r + 3, max(0, c - 2) : c + 3].any() for c, r in inside]
    assert np.mean(near) > 0.95


@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.75, 0.93])
def test_the_cup_to_disc_ratio_is_what_was_drawn(ratio):
    truth = painted(512, "R", 3, 0, cup_ratio=ratio)
    seer = model(Modality.OP, HeadKind.SEGMENTATION, MASKS, size=(512, 512), fit=Fit.STRETCH, overlap=0)
    knows = Oracle(seer)
    knows.tell(truth.rgb, np.stack([truth.masks[name].astype(np.float32) for name in MASKS]))
    photo = opened([fundus_instance(truth.rgb, transfer="raw", seed=7)])
    result = PIPELINE.run(job("critical-findings"), photo, knows, Progress())
    disc, cup = truth.masks[DISC], truth.masks[CUP]
    heights = [np.flatnonzero(mask.any(axis=1)) for mask in (cup, disc)]
    vertical = np.ptp(heights[0]) + 1, np.ptp(heights[1]) + 1
    assert value(result, "advanced-glaucoma", codes.VERTICAL_CDR) == pytest.approx(vertical[0] / vertical[1])
    assert value(result, "advanced-glaucoma", codes.VERTICAL_CDR) == pytest.approx(ratio, abs=0.04)
    assert value(result, "advanced-glaucoma", codes.AREA_CDR) == pytest.approx(cup.sum() / disc.sum())
    assert value(result, "advanced-glaucoma", codes.RIM_SHARE) == pytest.approx(1 - cup.sum() / disc.sum())
    wanted = codes.PRESENT if vertical[0] / vertical[1] >= 0.9 else codes.ABSENT
    assert answers(result)["advanced-glaucoma"] == wanted
    assert result.verdict.priority is (Priority.STAT if wanted == codes.PRESENT else Priority.ROUTINE)


def test_the_limit_of_the_ratio_is_the_sites():
    truth = eye(2, cup_ratio=0.7)
    assert run(truth).verdict.priority is Priority.ROUTINE
    result = run(truth, advanced_cdr=0.6)
    assert result.verdict.priority is Priority.STAT
    assert "reaches 0.6" in result.verdict.reason


def test_every_reason_for_stat_is_told():
    result = run(eye(2, detachment=True, vitreous_haemorrhage=True))
    assert "retinal detachment" in result.verdict.reason
    assert "vitreous haemorrhage" in result.verdict.reason
    assert rests_on(result.verdict) == sorted([DETACHMENT, BLOOD])


def test_what_cannot_be_graded_is_undetermined_and_never_absent():
    result = run(eye(1), quality=POOR)
    assert set(answers(result).values()) == {codes.UNDETERMINED}
    assert "out-of-focus" in reasons(result)["retinal detachment"]
    assert "out-of-focus" in reasons(result)["advanced glaucoma"]
    assert result.verdict.priority is Priority.ROUTINE
    assert "undetermined" in result.verdict.reason
    assert "no retinal detachment" not in result.verdict.reason
    assert codes.VERTICAL_CDR not in {m.name for f in result.findings for m in f.measurements}
    assert answers(run(eye(1), quality=GOOD)) == HEALTHY


def test_a_region_too_small_to_be_sure_of_is_undetermined():
    truth = eye(1)
    small = np.zeros((SIZE, SIZE), bool)
    small[140:150, 140:150] = True
    share = small.sum() / truth.field.sum()
    assert 0.001 < share < 0.01
    result = run(truth, masks={DETACHMENT: small})
    assert answers(result) == {**HEALTHY, DETACHMENT: codes.UNDETERMINED}
    assert "smaller than 1 %" in reasons(result)["retinal detachment"]
    assert finding(result, DETACHMENT).region.points.mean(axis=0) == pytest.approx([145, 145], abs=1)
    assert answers(run(truth, masks={DETACHMENT: small}, min_detachment=0.001))[DETACHMENT] == codes.PRESENT
    speck = np.zeros((SIZE, SIZE), bool)
    speck[140:143, 140:143] = True
    assert answers(run(truth, masks={DETACHMENT: speck})) == HEALTHY


def test_the_certainty_of_absence_is_of_the_most_suspect_part():
    truth = eye(1)
    doubt = np.zeros((SIZE, SIZE), np.float32)
    doubt[100:150, 100:150] = 0.4  # below the threshold, and larger than the least share
    assert value(run(truth, masks={DETACHMENT: doubt}), DETACHMENT, codes.CERTAINTY_OF_FINDING) == 60.0
    assert value(run(truth), DETACHMENT, codes.CERTAINTY_OF_FINDING) == 100.0


def shifted(mask, columns):
    return np.roll(mask, columns, axis=1)


@pytest.mark.parametrize(
    ("masks", "why"),
    [
        (lambda t: {DISC: np.zeros_like(t.field)}, "optic disc was not found"),
        (lambda t: {CUP: np.zeros_like(t.field)}, "no cup was found"),
        (lambda t: {CUP: shifted(t.masks[CUP], -60)}, "does not lie in the optic disc"),
        (lambda t: {DISC: t.field, CUP: t.masks[CUP]}, "of the field's width"),
    ],
)
def test_a_disc_or_cup_that_is_not_trusted_gives_no_ratio(masks, why):
    truth = eye(1)
    result = run(truth, masks=masks(truth))
    assert why in reasons(result)["advanced glaucoma"]
    assert answers(result) == {**HEALTHY, "advanced-glaucoma": codes.UNDETERMINED}
    assert not {codes.VERTICAL_CDR, codes.AREA_CDR} & {m.name for f in result.findings for m in f.measurements}


def test_a_disc_at_the_edge_of_the_field_is_not_measured():
    truth = eye(1)
    row = SIZE // 2
    edge = int(np.flatnonzero(truth.field[row])[-1])
    y, x = np.mgrid[:SIZE, :SIZE]
    disc, cup = (np.hypot(x - edge + 5, y - row) < r for r in (18, 8))
    result = run(truth, masks={DISC: disc, CUP: cup})
    assert "edge of the field cuts the optic disc" in reasons(result)["advanced glaucoma"]


@pytest.mark.parametrize("laterality", [None, "B"])
def test_an_emergency_is_told_also_without_the_eye(laterality):
    result = run(eye(1, detachment=True), laterality=laterality)
    assert result.verdict.priority is Priority.STAT
    assert "laterality" in reasons(result)["statement on one eye"]


def test_a_dark_image_is_not_analysed():
    dark = dataclasses.replace(eye(1), rgb=np.full((SIZE, SIZE, 3), 3, np.uint8))
    assert run(dark) == Ungradable("not analysed because no lit field of the retina was found in the image")


def test_a_large_photograph_gives_regions_in_its_own_pixels():
    """Maps are of a smaller copy: what is told is in pixels of the photograph."""
    import cv2

    from tests.pipelines.oracle import Seen

    truth = eye(1, detachment=True)
    large = cv2.resize(truth.rgb, (2400, 2400), interpolation=cv2.INTER_LINEAR)
    about = model(Modality.OP, HeadKind.SEGMENTATION, MASKS, size=(SIZE, SIZE), fit=Fit.STRETCH, overlap=0)
    answer = np.stack([truth.masks[name].astype(np.float32) for name in MASKS])
    photo = opened([fundus_instance(large, transfer="raw", seed=7)])
    result = PIPELINE.run(job("critical-findings"), photo, Seen(about, lambda _: answer), Progress())
    points = finding(result, DETACHMENT).region.points
    rows, columns = np.nonzero(truth.masks[DETACHMENT])
    factor = 2400 / SIZE
    assert points.min(axis=0) == pytest.approx([columns.min() * factor, rows.min() * factor], abs=2 * factor)
    assert points.max(axis=0) == pytest.approx([columns.max() * factor, rows.max() * factor], abs=2 * factor)


@pytest.mark.parametrize("changes", [{}, {"detachment": True, "vitreous_haemorrhage": True}, {"cup_ratio": 0.95}])
@pytest.mark.parametrize("quality", [None, POOR])
def test_what_is_found_becomes_conformant_objects(changes, quality):
    result, about, ds, seer = analysed(eye(1, **changes), quality=quality)
    objects = write(
        about, seer.model, result, {ds.SOPInstanceUID: ds}, now=datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
    )  # fmt: skip
    assert [each.role for each in objects] == ["report"]
    assert_conformant(objects[0].dataset)
