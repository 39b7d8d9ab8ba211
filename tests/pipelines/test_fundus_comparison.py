"""The pipeline with an oracle in the model's place: what was painted anew is new, what was taken away is gone."""

import dataclasses
import datetime
from datetime import UTC
from functools import cache

import cv2
import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Source
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.evidence.write import write
from airouter.pipelines import PIPELINES
from phantoms.dicom import fundus_instance
from phantoms.fundus import fundus
from phantoms.fundus_lesions import CLASSES
from tests.dciodvfy import assert_conformant
from tests.pipelines.histories import history
from tests.pipelines.oracle import Oracle, Progress, job, model, reasons, rests_on, value
from tests.warps import miss, moved, other_visit, pose

PIPELINE = PIPELINES["fundus-comparison"]
SIZE = 384
NOW, THEN = datetime.datetime(2026, 3, 1, 9, 0), datetime.datetime(2025, 3, 1, 9, 0)
POSE = pose((SIZE, SIZE), 6.0, 1.06, (14.0, -9.0))  # of the earlier photograph on the current one

# (kind, x, y, radius) in the current photograph, near its middle, so that both visits see them.
SAME = ("haemorrhage", 150, 150, 8)
GROWN_FROM, GROWN_TO = ("hard-exudate", 230, 160, 6), ("hard-exudate", 230, 160, 11)
GONE = ("haemorrhage", 160, 240, 7)
NEW = ("haemorrhage", 240, 230, 6)
COLOURS = {"haemorrhage": (95, 20, 15), "hard-exudate": (235, 215, 120), "neovascularisation": (150, 30, 30)}


def painted(rgb, lesions):
    """The photograph with lesions, and the masks of a perfect model."""
    made, masks = rgb.copy(), {name: np.zeros(rgb.shape[:2], np.float32) for name in CLASSES}
    for kind, x, y, radius in lesions:
        cv2.circle(made, (x, y), radius, COLOURS[kind], -1)
        cv2.circle(masks[kind], (x, y), radius, 1.0, -1)
    return made, np.stack([masks[name] for name in CLASSES])


@cache
def photo(seed):
    return fundus(SIZE, "R", seed).rgb


def seer():
    return Oracle(model(Modality.OP, HeadKind.SEGMENTATION, CLASSES, size=(SIZE, SIZE), fit=Fit.STRETCH, overlap=0))


@cache
def visits(now, then, matrix_key="usual", seed=0):
    """(current picture, its masks, earlier picture, its masks); the earlier one taken in another pose."""
    matrix = POSE if matrix_key == "usual" else pose((SIZE, SIZE), 0, 1, matrix_key)
    back = np.linalg.inv(matrix)
    current, seen = painted(photo(seed), now)
    before, masks = painted(photo(seed), then)
    rng = np.random.default_rng(3)
    return current, seen, other_visit(before, back, rng, lesions=0), np.stack([moved(m, back) for m in masks])


def instance(rgb, taken, seed, **changes):
    return fundus_instance(rgb, taken=taken, transfer="raw", seed=seed, **changes)


def compared(now, then, *, spacing_mm=None, others=(), matrix_key="usual", **parameters):
    current, seen, earlier, masks = visits(now, then, matrix_key)
    knows = seer()
    knows.tell(current, seen)
    knows.tell(earlier, masks)
    datasets = [instance(current, NOW, 1, spacing_mm=spacing_mm), instance(earlier, THEN, 2)]
    datasets += [instance(rgb, THEN, 10 + n) for n, rgb in enumerate(others)]
    outcome = PIPELINE.run(job(**parameters), history(*datasets), knows, Progress())
    assert isinstance(outcome, Result), outcome
    return outcome, datasets, knows


NOW_LESIONS, THEN_LESIONS = (SAME, GROWN_TO, NEW), (SAME, GROWN_FROM, GONE)


def disc(*lesion):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(mask, lesion[1:3], lesion[3], 1, -1)
    return mask.astype(bool)


def test_new_grown_gone_and_unchanged_lesions():
    result, datasets, _ = compared(NOW_LESIONS, THEN_LESIONS, high_growth=0.01)
    haemorrhages = "kind/haemorrhage"
    assert value(result, haemorrhages, codes.LESION_COUNT) == value(result, haemorrhages, codes.COUNT_THEN) == 2
    assert value(result, haemorrhages, codes.COUNT_NEW) == value(result, haemorrhages, codes.COUNT_GONE) == 1
    assert value(result, haemorrhages, codes.COUNT_GROWN) == 0
    assert value(result, "kind/hard-exudate", codes.COUNT_GROWN) == 1
    ratio = value(result, "kind/hard-exudate", codes.SHARE_NOW) / value(result, "kind/hard-exudate", codes.SHARE_THEN)
    assert ratio == pytest.approx(disc(*GROWN_TO).sum() / disc(*GROWN_FROM).sum(), rel=0.12)  # its border resampled
    changed = {f.label: f for f in result.findings if f.key.startswith("change/")}
    assert set(changed) == {"Haemorrhage 1, new", "Hard exudate 1, grown"}
    region = changed["Haemorrhage 1, new"].region
    assert region.source == datasets[0].SOPInstanceUID
    assert np.allclose(region.points.mean(axis=0), [NEW[1] + 0.5, NEW[2] + 0.5], atol=1.0)
    assert changed["Hard exudate 1, grown"].evaluations[0].value == codes.CHANGE_GROWN
    assert result.verdict.priority is Priority.ROUTINE
    assert result.verdict.reason == "since 2025-03-01: 1 new, 1 grown, 1 gone lesions"


def test_the_comparison_says_with_what_and_how_well():
    result, datasets, _ = compared(NOW_LESIONS, THEN_LESIONS)
    assert value(result, "comparison", codes.INTERVAL) == 365
    assert 60 < value(result, "comparison", codes.OVERLAP_SHARE) < 100
    assert value(result, "comparison", codes.VESSEL_CORRELATION) > 0.5
    (registration,) = result.registrations
    assert (registration.fixed, registration.moving) == tuple(ds.SOPInstanceUID for ds in datasets)
    assert miss(registration.matrix, POSE, photo(0)) < 0.01
    (earlier,) = [f for f in result.findings if f.key == "earlier"]
    assert earlier.region.source == datasets[1].SOPInstanceUID
    (current,) = [f for f in result.findings if f.key == "comparison"]
    back = np.linalg.inv(registration.matrix)
    assert np.allclose(current.region.points @ back[:2, :2].T + back[:2, 2], earlier.region.points)
    assert "2025-03-01" in current.comment
    assert "lesions outside of the overlap" not in reasons(result)  # nearly all of it is compared
    assert "Pixel Spacing" in reasons(result)["areas in mm2"]


def test_the_segmentation_is_what_changed():
    result, *_ = compared(NOW_LESIONS, THEN_LESIONS)
    (found,) = result.segmentations
    assert [s.label for s in found.segments] == ["New", "Gone", "Unchanged"]
    (mask,) = found.mask
    assert mask[NEW[2], NEW[1]] == 1
    assert mask[GONE[2], GONE[1]] == 2
    assert mask[SAME[2], SAME[1]] == 3
    ring = disc(*GROWN_TO) & ~disc(*GROWN_FROM[:3], GROWN_FROM[3] + 1)
    assert (mask[ring] == 1).mean() > 0.95
    assert (mask[disc(*GROWN_FROM[:3], GROWN_FROM[3] - 2)] == 3).all()


def test_the_picture_shows_new_and_gone_in_their_colours():
    result, *_ = compared(NOW_LESIONS, THEN_LESIONS)
    (picture,) = result.pictures
    assert "red new" in picture.label
    for (_, x, y, radius), colour in ((NEW, (230, 30, 30)), (GONE, (60, 140, 255))):
        near = picture.rgb[y - radius - 6 : y + radius + 7, x - radius - 6 : x + radius + 7].reshape(-1, 3).astype(int)
        assert (np.abs(near - colour).max(axis=1) < 40).sum() > 10


def test_with_pixel_spacing_areas_are_in_mm2():
    result, *_ = compared(NOW_LESIONS, THEN_LESIONS, spacing_mm=0.02)
    area = (disc(*NEW) | disc(*SAME)).sum() * 0.02**2
    assert value(result, "kind/haemorrhage", codes.AREA) == pytest.approx(area, rel=0.01)
    assert "areas in mm2" not in reasons(result)


def test_no_change_is_said_with_its_limit():
    result, *_ = compared((SAME,), (SAME,))
    assert result.verdict.priority is Priority.ROUTINE
    assert "no change of lesions beyond the limits" in result.verdict.reason
    assert not [f for f in result.findings if f.key.startswith("change/")]
    (found,) = [f for f in result.findings if f.key == "comparison"]
    assert "0.6 % of the field's" in found.comment
    assert [s.label for s in result.segmentations[0].segments] == ["Unchanged"]


def test_many_new_lesions_and_growth_are_urgent():
    result, *_ = compared(NOW_LESIONS, THEN_LESIONS, high_new=1)
    assert result.verdict.priority is Priority.HIGH
    assert "1 new lesions since 2025-03-01" in result.verdict.reason
    assert rests_on(result.verdict)
    grown, *_ = compared(NOW_LESIONS, THEN_LESIONS, high_growth=0.001)
    assert "area rose by" in grown.verdict.reason
    assert rests_on(grown.verdict)


def test_a_new_vessel_is_urgent_by_itself():
    result, *_ = compared((SAME, ("neovascularisation", 230, 230, 5)), (SAME,))
    assert result.verdict.priority is Priority.HIGH
    assert "new neovascularisation" in result.verdict.reason
    assert "kind/neovascularisation" in rests_on(result.verdict)


def test_a_limit_of_regions_is_told():
    result, *_ = compared(NOW_LESIONS, THEN_LESIONS, max_regions=1)
    assert len([f for f in result.findings if f.key.startswith("change/")]) == 1
    assert "2 lesions are new or grown" in reasons(result)["region of every changed lesion"]


def test_what_the_earlier_photograph_does_not_show_is_not_new():
    right = ("haemorrhage", 330, 190, 6)
    result, *_ = compared((SAME, right), (SAME,), matrix_key=(-70.0, 0.0))
    assert value(result, "kind/haemorrhage", codes.COUNT_NEW) == 0
    assert result.verdict.priority is Priority.ROUTINE
    assert "does not show" in reasons(result)["lesions outside of the overlap"]


def test_the_earlier_photograph_that_fits_is_taken_and_the_other_is_told():
    result, datasets, _ = compared(NOW_LESIONS, THEN_LESIONS, others=(photo(5),))
    assert result.registrations[0].moving == datasets[1].SOPInstanceUID
    assert "cannot be laid on this one" in reasons(result)["comparison with an earlier photograph"]


def outcome(*datasets):
    return PIPELINE.run(job(), history(*datasets), seer(), Progress())


def test_without_an_earlier_photograph_nothing_is_compared():
    made = outcome(instance(photo(0), NOW, 1))
    assert made == Ungradable("not analysed because the archive holds no earlier photograph of this eye")
    fellow = outcome(instance(photo(0), NOW, 1), instance(photo(0), THEN, 2, laterality="L"))
    assert "no earlier photograph of this eye" in fellow.reason


def test_the_eye_of_somebody_else_is_never_laid_on_this_one():
    made = outcome(instance(photo(0), NOW, 1), instance(photo(5), THEN, 2))
    assert isinstance(made, Ungradable)
    assert "photograph of 2025-03-01 cannot be laid on this one" in made.reason
    mirrored = outcome(instance(photo(0), NOW, 1), instance(np.ascontiguousarray(photo(0)[:, ::-1]), THEN, 2))
    assert "cannot be laid" in mirrored.reason


def test_without_its_date_nothing_is_compared():
    undated = instance(photo(0), NOW, 1)
    for keyword in ("AcquisitionDateTime", "StudyDate"):
        undated.pop(keyword, None)
    assert "date of the photograph is missing" in outcome(undated, instance(photo(0), THEN, 2)).reason
    earlier = instance(photo(0), THEN, 2)
    for keyword in ("AcquisitionDateTime", "StudyDate"):
        earlier.pop(keyword, None)
    assert "date of the earlier image is missing" in outcome(instance(photo(0), NOW, 1), earlier).reason


def test_it_becomes_dicom_that_refers_to_both_photographs():
    result, datasets, knows = compared(NOW_LESIONS, THEN_LESIONS)
    current, earlier = datasets
    about = dataclasses.replace(
        job("fundus-comparison"),
        study_uid=current.StudyInstanceUID,
        series_uid=current.SeriesInstanceUID,
        modality=Modality.OP,
        sources=(Source("id-0", current.SOPInstanceUID, "d"), Source("id-1", earlier.SOPInstanceUID, "d")),
    )
    sources = {ds.SOPInstanceUID: ds for ds in datasets}
    objects = write(about, knows.model, result, sources, now=datetime.datetime(2026, 3, 2, tzinfo=UTC))
    for each in objects:
        assert_conformant(each.dataset)
    assert {w.role for w in objects} >= {"change", "change-picture", "registration", "report"}
    (report,) = [w.dataset for w in objects if w.role == "report"]
    elsewhere = {item.StudyInstanceUID for item in report.get("PertinentOtherEvidenceSequence") or ()}
    told = {item.StudyInstanceUID for item in report.CurrentRequestedProcedureEvidenceSequence} | elsewhere
    assert earlier.StudyInstanceUID in told
