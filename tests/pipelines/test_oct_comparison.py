"""The pipeline with an oracle in the model's place: change of thickness and fluid are those of the phantoms."""

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
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.evidence.write import write
from airouter.imaging import etdrs
from airouter.imaging.enface_registration import warp
from airouter.imaging.etdrs import Ring, Side
from airouter.pipelines import PIPELINES
from phantoms.oct import Blob, Noise
from phantoms.oct_layers import Disease, macula
from tests.dciodvfy import assert_conformant
from tests.pipelines.histories import history
from tests.pipelines.oracle import Progress, job, names, reasons, rests_on, value
from tests.pipelines.retinas import instance, layers_model, oracle

PIPELINE = PIPELINES["oct-comparison"]
BSCANS, ROWS, COLUMNS = 49, 256, 200
AXIAL, LATERAL, SLICE = 5.0, 33.0, 135.0
NOISE = Noise(looks=8.0, vessels=0, motion_um=10.0)
NOW, THEN = datetime.datetime(2026, 3, 1, 9, 0), datetime.datetime(2025, 9, 1, 9, 0)
CYST = Blob("ONL", 0.1, 0.0, 0.5, 0.5, 140.0)


def vessels(eye):
    """A tree of vessels over 12 x 12 mm about the fovea, 0..1, 50 pixels per mm."""
    rng = np.random.default_rng([23, eye])
    canvas = np.zeros((600, 600), np.uint8)
    for _ in range(26):
        at, heading = rng.uniform(0, 600, 2), rng.uniform(0, 2 * np.pi)
        width = int(rng.integers(2, 6))
        for _ in range(60):
            heading += rng.normal(0.0, 0.12)
            to = at + 12.0 * np.array([np.cos(heading), np.sin(heading)])
            cv2.line(canvas, tuple(int(v) for v in at), tuple(int(v) for v in to), 255, width, cv2.LINE_AA)
            at = to
    return canvas.astype(np.float32) / 255.0


@cache
def scan(eye=0, shift=(0.0, 0.0), disease=Disease(), laterality="R"):  # noqa: B008 - frozen
    """A visit of an eye: `shift` of the fovea from the middle of the scan in mm, along columns and B-scans."""
    made = macula(BSCANS, ROWS, COLUMNS, AXIAL, LATERAL, SLICE, laterality, 40 + eye, disease, shift, NOISE)
    x = (np.arange(COLUMNS) + 0.5 - COLUMNS / 2) * LATERAL / 1000 - shift[0]
    y = (np.arange(BSCANS) + 0.5 - BSCANS / 2) * SLICE / 1000 - shift[1]
    across, down = np.meshgrid(300 + 50 * x - 0.5, 300 + 50 * y - 0.5)
    tree = cv2.remap(vessels(eye), across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)
    below = np.arange(ROWS)[None, :, None] + 0.5 > made.surfaces["ipl"][:, None]
    grain = np.random.default_rng([eye, round(100 * shift[0])]).gamma(12.0, 1 / 12.0, made.frames.shape)
    frames = made.frames * np.where(below, 1.0 - 0.7 * tree[:, None], 1.0) * grain
    return dataclasses.replace(made, frames=np.clip(frames, 0, 255).astype(np.uint8))


def dataset(truth, taken, seed, **changes):
    made = instance(truth, seed=seed, **changes)
    made.AcquisitionDateTime = taken.strftime("%Y%m%d%H%M%S")
    made.StudyDate = taken.strftime("%Y%m%d")
    return made


def told(*truths):
    knows = oracle(truths[0], layers_model(ROWS, COLUMNS))
    for truth in truths[1:]:
        for number, frame in enumerate(truth.frames):
            knows.tell(frame, truth.one_hot(number))
    return knows


def outcome(now, *then, changes=None, **parameters):
    sets = [dataset(now, NOW, 1, **(changes or {})), *(dataset(each, THEN, 2 + n) for n, each in enumerate(then))]
    made = PIPELINE.run(job(**{"workers": 1, **parameters}), history(*sets), told(now, *then), Progress())
    return made, sets


def compared(now, *then, **options):
    made, sets = outcome(now, *then, **options)
    assert isinstance(made, Result), made
    return made, sets


DRY, WET = Disease(), Disease(fluid=(CYST,))
SHIFT = (0.35, -0.4)


def thickness(truth):
    return truth.thickness_um("ilm", "bm").astype(np.float64)


@cache
def usual():
    return compared(scan(0, disease=WET), scan(0, SHIFT, DRY), min_fluid_um2=0)


def test_the_scans_are_laid_on_each_other_within_a_column():
    result, sets = usual()
    (registration,) = result.registrations
    assert (registration.fixed, registration.moving) == tuple(ds.SOPInstanceUID for ds in sets)
    moved = registration.matrix @ [COLUMNS / 2 + SHIFT[0] * 1000 / LATERAL, BSCANS / 2 + SHIFT[1] * 1000 / SLICE, 1.0]
    miss = (moved[:2] - [COLUMNS / 2, BSCANS / 2]) * [LATERAL, SLICE]
    assert np.linalg.norm(miss) < 60.0  # um
    assert result.registrations[0].kind == "RIGID"


def test_the_change_of_each_field_is_that_of_the_phantoms():
    result, _ = usual()
    now, then = thickness(scan(0, disease=WET)), thickness(scan(0, (0.0, 0.0), DRY))  # the same eye, seen alike
    fields = etdrs.fields((now - then).astype(np.float32), SLICE, LATERAL)
    assert fields[Ring.CENTRAL, Side.NONE].mean > 40.0
    change = value(result, "comparison", codes.CST_CHANGE)
    assert change == pytest.approx(fields[Ring.CENTRAL, Side.NONE].mean, abs=6.0)
    assert value(result, "comparison", codes.CST) - value(result, "comparison", codes.THICKNESS_THEN) == pytest.approx(
        change, abs=0.5
    )
    for name, side in (("superior", Side.UP), ("inferior", Side.DOWN), ("nasal", Side.RIGHT), ("temporal", Side.LEFT)):
        code = codes.ETDRS_CHANGES[f"inner {name}"]
        assert value(result, "comparison", code) == pytest.approx(fields[Ring.INNER, side].mean, abs=6.0)
    (found,) = [f for f in result.findings if f.key == "comparison"]
    assert found.evaluations[0].value == codes.CHANGE_GROWN
    assert value(result, "comparison", codes.INTERVAL) == 181


def test_a_field_that_the_earlier_scan_does_not_cover_has_no_change():
    result, _ = compared(scan(0, disease=WET), scan(0, SHIFT, DRY), min_coverage=0.99)
    assert "both scans cover" in reasons(result)[codes.CHANGE_OUTER_SUPERIOR.meaning]  # it begins 0.4 mm lower
    assert codes.CHANGE_OUTER_SUPERIOR not in names(result, "comparison")
    assert codes.CHANGE_OUTER_INFERIOR in names(result, "comparison")


def test_fluid_that_came_is_new():
    result, _ = usual()
    truth = scan(0, disease=WET).volume_nl("irf") / 1000
    assert truth > 0.01
    key = "fluid/intraretinal fluid"
    assert value(result, key, codes.FLUID_THEN) == 0
    assert value(result, key, codes.FLUID_CHANGE) == pytest.approx(truth, rel=0.02)
    (found,) = [f for f in result.findings if f.key == key]
    assert found.evaluations[0].value == codes.CHANGE_NEW
    assert result.verdict.priority is Priority.HIGH
    assert "2025-09-01" in result.verdict.reason
    assert key in rests_on(result.verdict)


def test_the_map_of_change_is_that_of_the_phantoms_within_the_overlap():
    result, _ = usual()
    (change,) = result.thickness_maps
    assert change.deviation
    assert change.values.shape == (BSCANS, COLUMNS)
    known = np.isfinite(change.values)
    assert 0.7 < known.mean() < 0.95
    truth = thickness(scan(0, disease=WET)) - thickness(scan(0, (0.0, 0.0), DRY))
    assert np.median(np.abs(change.values - truth)[known]) < 6.0
    (picture,) = result.pictures
    assert "2025-09-01" in picture.label
    assert "not covered" in reasons(result)["change outside of the overlap"]


def test_no_change_is_said_with_its_limit():
    result, _ = compared(scan(0), scan(0, SHIFT))
    assert abs(value(result, "comparison", codes.CST_CHANGE)) < 10
    (found,) = [f for f in result.findings if f.key == "comparison"]
    assert found.evaluations[0].value == codes.CHANGE_NONE
    assert result.verdict.priority is Priority.ROUTINE
    assert "no change of the central subfield beyond 10 um" in result.verdict.reason


def test_fluid_that_went_is_gone_and_no_alarm():
    result, _ = compared(scan(0, SHIFT, DRY), scan(0, disease=WET), min_fluid_um2=0)
    assert value(result, "comparison", codes.CST_CHANGE) < -40
    (found,) = [f for f in result.findings if f.key == "fluid/intraretinal fluid"]
    assert found.evaluations[0].value == codes.CHANGE_GONE
    assert result.verdict.priority is Priority.ROUTINE


def test_another_eye_is_never_laid_on_this_one():
    made, _ = outcome(scan(0), scan(1))
    assert isinstance(made, Ungradable)
    assert "scan of 2025-09-01 cannot be laid on this one" in made.reason
    turned = scan(0)
    mirrored = dataclasses.replace(
        turned,
        frames=np.ascontiguousarray(turned.frames[:, :, ::-1]),
        labels=np.ascontiguousarray(turned.labels[:, :, ::-1]),
    )
    made, _ = outcome(scan(0), mirrored)
    assert "cannot be laid" in made.reason


def test_the_scan_that_fits_is_taken_and_the_other_is_told():
    result, sets = compared(scan(0), scan(1), scan(0, SHIFT))
    assert result.registrations[0].moving == sets[2].SOPInstanceUID
    assert "cannot be laid on this one" in reasons(result)["comparison with an earlier scan"]


def test_without_an_earlier_scan_nothing_is_compared():
    made, _ = outcome(scan(0))
    assert made == Ungradable("not analysed because the archive holds no earlier scan of this eye")


def test_what_is_no_raster_is_not_compared():
    made, _ = outcome(scan(0), scan(0, SHIFT), changes={"slice_um": None})
    assert "distance of the B-scans is missing" in made.reason
    wide, _ = outcome(scan(0), scan(0, SHIFT), max_slice_um=100)
    assert "135 um apart, more than 100 um" in wide.reason


def test_scans_in_another_direction_are_not_brought_together():
    current, earlier = dataset(scan(0), NOW, 1), dataset(scan(0, SHIFT), THEN, 2)
    for group in earlier.PerFrameFunctionalGroupsSequence:
        x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionSequence[0].ImagePositionPatient = [x, y, -z]
    made = PIPELINE.run(job(workers=1), history(current, earlier), told(scan(0), scan(0, SHIFT)), Progress())
    assert "another direction" in made.reason


def test_nothing_is_known_where_the_earlier_scan_does_not_reach():
    values = np.arange(12.0).reshape(3, 4)
    shift = np.eye(3)
    shift[:2, 2] = (1.0, 0.0)
    moved = warp(values, shift, (3, 4))
    assert np.array_equal(moved[:, 1:], values[:, :-1])
    assert np.isnan(moved[:, 0]).all()
    values[1, 1] = np.nan
    assert np.isnan(warp(values, np.eye(3), (3, 4))[1, 1])


def test_it_becomes_dicom_that_refers_to_both_scans():
    result, sets = usual()
    current, earlier = sets
    about = dataclasses.replace(
        job("oct-comparison"),
        study_uid=current.StudyInstanceUID,
        series_uid=current.SeriesInstanceUID,
        modality=Modality.OPT,
        sources=(Source("id-0", current.SOPInstanceUID, "d"), Source("id-1", earlier.SOPInstanceUID, "d")),
    )
    sources = {ds.SOPInstanceUID: ds for ds in sets}
    now = datetime.datetime(2026, 3, 2, tzinfo=UTC)
    objects = {w.role: w.dataset for w in write(about, layers_model(ROWS, COLUMNS), result, sources, now=now)}
    assert set(objects) >= {"change-map", "change-picture", "registration", "report"}
    for role in ("change-picture", "registration", "report"):  # validators do not know thickness maps
        assert_conformant(objects[role])
    assert codes.CST_CHANGE in names(result, "comparison")
