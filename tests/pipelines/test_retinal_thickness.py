"""The pipeline with an oracle in the model's place: thickness, volume and fluid must be the phantom's truth."""

import functools

import cv2
import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.errors import JobCanceled
from airouter.imaging import etdrs
from airouter.imaging.etdrs import Ring, Side
from airouter.pipelines import PIPELINES
from phantoms.dicom import oct_instance
from phantoms.oct import volume as phantom
from tests.pipelines.oracle import LAYERS, Oracle, Progress, job, model, names, opened, reasons, rests_on, value

PIPELINE = PIPELINES["retinal-thickness"]
ROWS, COLUMNS = 320, 260
RING = {"inner": Ring.INNER, "outer": Ring.OUTER}


def layers_model(rows=ROWS, columns=COLUMNS, **changes):
    settings = {"size": (rows, columns), "fit": Fit.PAD, "channels": 1, "overlap": 0, "exclusive": True, **changes}
    return model(Modality.OPT, HeadKind.SEGMENTATION, LAYERS, **settings)


def maps(ilm, rpe, fluid):
    """What a perfect model answers: the share of each pixel that lies in each layer."""
    rows = np.arange(fluid.shape[0])[:, None]
    above = np.clip(ilm[None] - rows, 0, 1)
    below = np.clip(rows + 1 - rpe[None], 0, 1)
    retina = np.clip(1 - above - below, 0, 1)
    return np.stack([above, np.where(fluid, 0, retina), np.where(fluid, retina, 0), below])


def oracle(truth, about=None):
    knows = Oracle(about or layers_model(*truth.frames.shape[1:]))
    for frame, *rest in zip(truth.frames, truth.ilm, truth.rpe, truth.fluid, strict=True):
        knows.tell(frame, maps(*rest))
    return knows


@functools.cache
def truth_of(laterality="R", fluid=True, frames=31, width_mm=6.4, height_mm=6.4, seed=11):
    return phantom(
        frames, ROWS, COLUMNS, 4.5, width_mm * 1000 / COLUMNS, height_mm * 1000 / frames, laterality, seed, fluid
    )


def instance(truth, **changes):
    said = {
        "axial_um": truth.axial_um,
        "lateral_um": truth.lateral_um,
        "slice_um": truth.slice_um,
        "laterality": truth.laterality,
        "seed": 1,
    }
    return oct_instance(truth.frames, **{**said, **changes})


def run(truth, dataset=None, knows=None, progress=None, **parameters):
    volume = opened([dataset if dataset is not None else instance(truth)])
    result = PIPELINE.run(job(**parameters), volume, knows or oracle(truth), progress or Progress())
    assert isinstance(result, Result), result
    return result


def expected(truth):
    return etdrs.fields(truth.thickness_um, truth.slice_um, truth.lateral_um)


def test_the_fields_are_those_of_the_phantom_within_a_fraction_of_a_pixel():
    truth = truth_of()
    result = run(truth)
    fields = expected(truth)
    assert value(result, "retina", codes.CST) == pytest.approx(fields[Ring.CENTRAL, Side.NONE].mean, abs=1.0)
    # a right eye: the disc, so the nose, lies to the right; the first B-scan is the superior one
    sides = {"superior": Side.UP, "inferior": Side.DOWN, "nasal": Side.RIGHT, "temporal": Side.LEFT}
    for ring in ("inner", "outer"):
        for name, side in sides.items():
            code = codes.ETDRS_FIELDS[f"{ring} {name}"]
            assert value(result, "retina", code) == pytest.approx(fields[RING[ring], side].mean, abs=1.0)
    volume = etdrs.volume_mm3(fields)
    assert value(result, "retina", codes.TOTAL_VOLUME) == pytest.approx(volume, rel=0.005)
    assert value(result, "retina", codes.AVERAGE_THICKNESS) == pytest.approx(1000 * volume / (9 * np.pi), rel=0.005)
    assert result.not_analysed == ()


def test_the_central_field_is_the_mean_of_the_columns_within_half_a_millimetre():
    truth = truth_of(frames=61)
    rows = (np.arange(61) - 30) * truth.slice_um / 1000
    columns = (np.arange(COLUMNS) - (COLUMNS - 1) / 2) * truth.lateral_um / 1000
    inside = np.hypot(rows[:, None], columns[None]) <= 0.5
    assert value(run(truth), "retina", codes.CST) == pytest.approx(truth.thickness_um[inside].mean(), abs=2.0)


def test_in_a_left_eye_the_nose_is_on_the_other_side():
    truth = truth_of("L")
    fields = expected(truth)
    result = run(truth)
    nasal = value(result, "retina", codes.ETDRS_OUTER_NASAL)
    assert nasal == pytest.approx(fields[Ring.OUTER, Side.LEFT].mean, abs=1.0)
    assert result.findings[0].laterality == "L"


def test_a_scan_from_below_upwards_is_not_turned_upside_down():
    truth = truth_of()
    dataset = instance(truth)
    groups = dataset.PerFrameFunctionalGroupsSequence
    for group in groups:
        position = group.PlanePositionSequence[0]
        x, y, z = position.ImagePositionPatient
        position.ImagePositionPatient = [x, y, -z]
    result = run(truth, dataset)
    fields = expected(truth)
    superior = value(result, "retina", codes.ETDRS_OUTER_SUPERIOR)
    assert superior == pytest.approx(fields[Ring.OUTER, Side.DOWN].mean, abs=1.0)


def test_fluid_is_the_volume_of_the_phantom():
    truth = truth_of()
    assert truth.fluid_ul > 0.02
    result = run(truth, min_fluid_um2=0)
    assert value(result, "fluid", codes.FLUID_VOLUME) == pytest.approx(truth.fluid_ul, rel=0.01)
    region = result.findings[1].region
    plane = truth.fluid[region.frame - 1]
    assert plane.sum() == truth.fluid.sum(axis=(1, 2)).max()
    drawn = np.zeros(plane.shape, np.uint8)
    cv2.fillPoly(drawn, [np.round((region.points - 0.5) * 64).astype(np.int32)], 1, shift=6)
    assert (drawn.astype(bool) & plane).sum() > 0.7 * drawn.sum()


def test_specks_of_fluid_are_left_out():
    truth = truth_of()
    all_of_it, pockets, none = (
        value(run(truth, min_fluid_um2=least), "fluid", codes.FLUID_VOLUME) for least in (0, 2000, 1e6)
    )
    assert all_of_it > pockets > none == 0


def test_the_segmentation_is_the_retina_and_the_fluid():
    truth = truth_of()
    (found,) = run(truth, min_fluid_um2=0).segmentations
    assert found.mask.shape == truth.frames.shape
    assert found.frames == tuple(range(1, len(truth.frames) + 1))
    assert [s.number for s in found.segments] == [1, 2]
    centre = np.arange(ROWS)[None, :, None] + 0.5
    inside = (centre >= truth.ilm[:, None]) & (centre < truth.rpe[:, None])
    assert ((found.mask > 0) == inside).mean() > 0.998
    assert ((found.mask == 2) == truth.fluid).mean() > 0.9995


def test_the_region_lies_along_the_boundaries_of_the_middle_scan():
    truth = truth_of()
    region = run(truth).findings[0].region
    assert (region.graphic, region.frame) == ("POLYGON", 16)
    polygon = region.points
    middle = COLUMNS // 2
    near = polygon[np.abs(polygon[:, 0] - middle) < 40]
    away = np.minimum(
        np.abs(near[:, 1] - truth.ilm[15][near[:, 0].astype(int)]),
        np.abs(near[:, 1] - truth.rpe[15][near[:, 0].astype(int)]),
    )
    assert away.max() < 1.5


def test_a_dry_thin_retina_is_routine_and_has_no_fluid():
    truth = truth_of(fluid=False, seed=12)
    result = run(truth, high_cst_um=2000)
    assert value(result, "fluid", codes.FLUID_VOLUME) == 0
    assert result.verdict.priority is Priority.ROUTINE
    assert [s.label for s in result.segmentations[0].segments] == ["Retina"]
    assert result.findings[1].region == result.findings[0].region


def test_fluid_or_thickness_above_its_limit_is_urgent():
    truth = truth_of()
    wet = run(truth)
    assert wet.verdict.priority is Priority.HIGH
    assert "retinal fluid" in wet.verdict.reason
    assert "fluid" in rests_on(wet.verdict)
    thick = run(truth, high_fluid_ul=100, high_cst_um=100)
    assert thick.verdict.priority is Priority.HIGH
    assert "central subfield thickness" in thick.verdict.reason
    assert rests_on(thick.verdict) == ["retina"]
    assert run(truth, high_fluid_ul=100, high_cst_um=2000).verdict.priority is Priority.ROUTINE


def test_a_narrow_scan_gives_the_fields_it_covers_and_says_why_not_the_others():
    truth = truth_of(frames=25, width_mm=4.0, height_mm=3.4)
    result = run(truth)
    assert codes.CST in names(result, "retina")
    assert codes.ETDRS_INNER_NASAL in names(result, "retina")
    assert codes.ETDRS_OUTER_NASAL not in names(result, "retina")
    assert codes.TOTAL_VOLUME not in names(result, "retina")
    why = reasons(result)
    assert "of the field" in why[codes.ETDRS_OUTER_NASAL.meaning]
    assert "6 mm" in why["total macular volume"]


def test_one_line_has_no_central_subfield():
    truth = truth_of(frames=1)
    result = run(truth, instance(truth, slice_um=None))
    why = reasons(result)
    assert "one B-scan does not cover the central subfield" in why["central subfield thickness"]
    assert "one B-scan has no volume" in why["volume of retinal fluid"]
    assert names(result, "retina") == {codes.RETINAL_THICKNESS, codes.CENTRAL_THICKNESS}
    thickness = truth.thickness_um[0]
    away = np.abs(np.arange(COLUMNS) - (COLUMNS - 1) / 2) * truth.lateral_um
    assert value(result, "retina", codes.RETINAL_THICKNESS) == pytest.approx(thickness.mean(), abs=1.0)
    assert value(result, "retina", codes.CENTRAL_THICKNESS) == pytest.approx(thickness[away <= 500].mean(), abs=1.0)
    area = truth.fluid.sum() * truth.axial_um * truth.lateral_um * 1e-6
    assert value(result, "fluid", codes.FLUID_AREA) == pytest.approx(area, rel=0.05, abs=2e-3)


def test_a_short_line_has_no_central_millimetre():
    truth = truth_of(frames=1, width_mm=0.9)
    assert names(run(truth, instance(truth, slice_um=None)), "retina") == {codes.RETINAL_THICKNESS}


def test_without_positions_nothing_is_measured_across_the_scans():
    truth = truth_of()
    result = run(truth, instance(truth, slice_um=None))
    why = reasons(result)
    for quantity in ("central subfield thickness", "ETDRS grid", "volume of retinal fluid"):
        assert "distance of the B-scans is missing" in why[quantity]
    assert names(result, "retina") == set()
    assert names(result, "fluid") == {codes.FLUID_AREA}


def test_with_a_distance_but_no_positions_superior_and_nasal_stay_unknown():
    truth = truth_of()
    dataset = instance(truth, slice_um=None)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = truth.slice_um / 1000
    result = run(truth, dataset)
    why = reasons(result)
    assert "positions of the B-scans are missing" in why["superior fields of the ETDRS grid"]
    assert codes.CST in names(result, "retina")
    assert codes.ETDRS_INNER_SUPERIOR not in names(result, "retina")
    assert codes.ETDRS_INNER_NASAL in names(result, "retina")  # the orientation says where the columns run


@pytest.mark.parametrize("laterality", [None, "B"])
def test_without_laterality_there_is_no_nasal_and_no_temporal(laterality):
    truth = truth_of()
    result = run(truth, instance(truth, laterality=laterality))
    why = reasons(result)
    assert "laterality" in why["nasal fields of the ETDRS grid"]
    assert "laterality" in why["temporal fields of the ETDRS grid"]
    kept = {codes.CST, codes.ETDRS_INNER_SUPERIOR, codes.ETDRS_INNER_INFERIOR, codes.ETDRS_OUTER_SUPERIOR}
    assert kept <= names(result, "retina")
    assert not {codes.ETDRS_INNER_NASAL, codes.ETDRS_OUTER_TEMPORAL} & names(result, "retina")
    assert codes.TOTAL_VOLUME in names(result, "retina")


def test_scans_too_far_apart_make_no_grid():
    truth = truth_of(frames=7, height_mm=6.4)
    result = run(truth)
    assert "914 um apart" in reasons(result)["central subfield thickness"]
    assert codes.FLUID_VOLUME in names(result, "fluid")


def test_radial_scans_make_no_grid():
    truth = truth_of()
    dataset = instance(truth)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    del shared.PlaneOrientationSequence
    for n, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        angle = np.pi * n / len(truth.frames)
        plane = type(shared)()
        plane.ImageOrientationPatient = [float(np.cos(angle)), 0, float(np.sin(angle)), 0, 1, 0]
        group.PlaneOrientationSequence = [plane]
    assert "not parallel" in reasons(run(truth, dataset))["central subfield thickness"]


def weak(truth, columns):
    """The model is unsure of a share of the columns."""
    knows = Oracle(layers_model())
    for frame, *rest in zip(truth.frames, truth.ilm, truth.rpe, truth.fluid, strict=True):
        answer = maps(*rest)
        answer[:, :, :columns] = 0.25
        knows.tell(frame, answer)
    return knows


def test_a_weak_signal_is_ungradable():
    truth = truth_of()
    outcome = PIPELINE.run(job(), opened([instance(truth)]), weak(truth, COLUMNS // 2), Progress())
    assert isinstance(outcome, Ungradable)
    assert "signal is too weak" in outcome.reason


def test_columns_that_are_not_trusted_are_left_out_and_reported():
    truth = truth_of()
    result = run(truth, knows=weak(truth, COLUMNS // 8))
    assert "were left out" in result.findings[0].comment
    assert value(result, "retina", codes.CST) == pytest.approx(expected(truth)[Ring.CENTRAL, Side.NONE].mean, abs=1.0)
    assert codes.ETDRS_OUTER_TEMPORAL not in names(result, "retina")
    assert (result.segmentations[0].mask[:, :, : COLUMNS // 8 - 2] == 0).all()


def test_a_model_that_asks_for_the_eye_is_not_run_without_it():
    truth = truth_of()
    knows = oracle(truth, layers_model(laterality_required=True))
    outcome = PIPELINE.run(job(), opened([instance(truth, laterality=None)]), knows, Progress())
    assert isinstance(outcome, Ungradable)
    assert "laterality" in outcome.reason


def test_the_result_does_not_depend_on_the_threads():
    truth = truth_of()
    one, four = (run(truth, workers=n) for n in (1, 4))
    assert one.findings[0].measurements == four.findings[0].measurements
    assert np.array_equal(one.segmentations[0].mask, four.segmentations[0].mask)


def test_progress_is_told_in_scans_and_a_canceled_job_stops():
    truth = truth_of()
    told = Progress()
    run(truth, progress=told)
    assert told.told[0] == (0, 31, "B-scans")
    assert told.told[-1] == (31, 31, "B-scans")

    def cancel(done, total, unit):
        if done > 3:
            raise JobCanceled("enough")

    with pytest.raises(JobCanceled):
        run(truth, progress=cancel)


def test_without_one_trusted_column_nothing_is_measured_whatever_is_allowed():
    truth = truth_of()
    knows = weak(truth, COLUMNS)
    result = PIPELINE.run(job(max_untrusted=1.0), opened([instance(truth)]), knows, Progress())
    assert isinstance(result, Ungradable)
    assert "100 % of the columns" in result.reason


def test_fluid_says_how_much_of_the_scan_was_not_looked_at():
    truth = truth_of(fluid=False)
    result = run(truth, knows=weak(truth, 30))
    (wet,) = [f for f in result.findings if f.key == "fluid"]
    assert "No fluid was found" in wet.comment
    assert "columns were left out" in wet.comment
    assert "not measured" in wet.comment
