"""Thickness, volume and fluid with an oracle in the model's place: arithmetic on slabs, truth on phantoms."""

import functools

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.priority import Priority
from airouter.imaging import etdrs
from airouter.imaging.etdrs import Ring, Side
from phantoms.oct_flat import Ellipsoid, flat
from phantoms.oct_layers import Disease, Dome, macula
from tests.pipelines.oracle import names, reasons, rests_on, value
from tests.pipelines.retinas import analysed, instance, layers_model, mirrored, oracle, outcome, weak

run = functools.partial(analysed, "macular-oedema")


@functools.cache
def slab(**changes):
    """Rows of 2.5 um: 250 um are 100 of them."""
    return flat(**{"rows": 200, "axial_um": 2.5, "ilm_um": 100.0, **changes})


@functools.cache
def eye(fovea=(0.0, 0.0), **disease):
    """A macula of 6.5 x 6.6 mm."""
    return macula(33, 260, 130, 5.0, 50.0, 200.0, seed=5, disease=Disease(**disease), fovea=fovea)


@functools.cache
def seen(which=""):
    """What is found of the healthy eye, of the left one that mirrors it, of a flat slab."""
    return run({"": eye, "left": lambda: mirrored(eye()), "flat": slab}[which]())


def test_a_flat_slab_of_250_um_has_a_central_subfield_of_250_um():
    result = seen("flat")
    for name in (codes.CENTRE_POINT_THICKNESS, *codes.ETDRS_FIELDS.values()):
        assert value(result, "macula", name) == pytest.approx(250.0, abs=1e-9)
    assert value(result, "macula", codes.AVERAGE_THICKNESS) == pytest.approx(250.0, rel=1e-4)
    assert value(result, "macula", codes.TOTAL_VOLUME) == pytest.approx(np.pi * 9 * 0.250, rel=2e-3)
    assert result.verdict.priority is Priority.ROUTINE
    assert result.not_analysed == ()


@pytest.mark.parametrize("thickness", [200.0, 251.0, 287.3, 320.0])
def test_a_slab_is_as_thick_as_it_is_to_the_axial_pixel(thickness):
    result = run(slab(thickness_um=thickness))
    assert value(result, "macula", codes.CST) == pytest.approx(thickness, abs=2.5)


def fine(*bodies):
    """Fine enough that the pixels of a body are its volume within a hundredth."""
    return slab(
        bscans=61, rows=200, cols=150, axial_um=2.0, lateral_um=10.0, slice_um=25.0, ilm_um=50.0, bodies=bodies,
        thickness_um=300.0,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "key"), [("irf", "irf"), ("srf", "srf"), ("ped", "ped")])
def test_a_sphere_of_fluid_has_its_volume_within_one_percent(kind, key):
    radius = 0.12  # mm: a true sphere, 120 um
    body = Ellipsoid(kind, 0.1, 0.1, 150.0, radius, radius, 1000 * radius)
    assert body.volume_nl == pytest.approx(4e3 / 3 * np.pi * radius**3)
    result = run(fine(body))
    assert 1e3 * value(result, key, codes.FLUID_VOLUME) == pytest.approx(body.volume_nl, rel=0.01)
    assert 1e3 * value(result, key, codes.FLUID_CENTRAL) == pytest.approx(body.volume_nl, rel=0.01)
    for other in {"irf", "srf", "ped"} - {key}:
        assert value(result, other, codes.FLUID_VOLUME) == 0


def evaluation(result, key):
    (finding,) = [f for f in result.findings if f.key == key]
    return {e.name: e.value for e in finding.evaluations}


def test_fluid_beside_the_central_subfield_does_not_involve_the_centre():
    beside = run(slab(bodies=(Ellipsoid("irf", 1.5, 0.0, 120.0, 0.4, 0.6, 60.0),)))
    assert value(beside, "irf", codes.FLUID_CENTRAL) == 0
    assert evaluation(beside, "irf")[codes.CENTRE_INVOLVED] == codes.NO
    assert beside.verdict.priority is Priority.HIGH
    assert "centre not involved" in beside.verdict.reason
    assert rests_on(beside.verdict) == ["irf"]
    within = run(slab(bodies=(Ellipsoid("irf", 0.2, 0.0, 120.0, 0.4, 0.6, 60.0),)))
    assert evaluation(within, "irf")[codes.CENTRE_INVOLVED] == codes.YES
    assert "centre involved" in within.verdict.reason


def test_a_detachment_of_the_pigment_epithelium_counts_where_a_limit_is_set():
    truth = slab(bodies=(Ellipsoid("ped", 0.0, 0.0, 245.0, 1.0, 1.0, 60.0),))
    assert run(truth).verdict.priority is Priority.ROUTINE
    assert "detachment" in run(truth, high_ped_ul=0.01).verdict.reason


def test_the_fields_are_those_of_the_phantom_about_its_fovea():
    truth = eye(fovea=(0.35, -0.2))
    result = run(truth)
    fields = etdrs.fields(truth.thickness_um("ilm", "bm"), truth.slice_um, truth.lateral_um, truth.fovea_px)
    assert value(result, "macula", codes.CST) == pytest.approx(fields[Ring.CENTRAL, Side.NONE].mean, abs=4.0)
    (thickness,) = [f for f in result.findings if f.key == "macula"]
    assert "foveal pit" in thickness.comment
    about_the_scan = run(truth, centre="scan")
    plain = etdrs.fields(truth.thickness_um("ilm", "bm"), truth.slice_um, truth.lateral_um)
    assert value(about_the_scan, "macula", codes.CST) == pytest.approx(plain[Ring.CENTRAL, Side.NONE].mean, abs=2.0)
    assert value(about_the_scan, "macula", codes.CST) > value(result, "macula", codes.CST) + 5


def test_without_a_clear_pit_the_grid_stays_on_the_scan_and_says_so():
    (thickness, *_) = seen("flat").findings
    assert "no clear foveal pit" in thickness.comment
    assert "fixation" in thickness.comment


def test_the_pit_is_found_above_fluid():
    dome = (Dome(0.2, 0.1, 1.0, 250.0),)
    truth = eye(fovea=(0.3, 0.1), ped=dome)
    result = run(truth)
    (thickness, *_) = result.findings
    assert "foveal pit" in thickness.comment
    assert value(result, "ped", codes.FLUID_VOLUME) == pytest.approx(truth.volume_nl("ped") / 1000, rel=0.02)


def test_the_left_eye_is_the_mirror_of_the_right():
    right, left = seen(), seen("left")
    assert {m.name: m.value for m in left.findings[0].measurements} == {
        m.name: pytest.approx(m.value, abs=0.5) for m in right.findings[0].measurements
    }
    sides = (codes.ETDRS_OUTER_NASAL, codes.ETDRS_OUTER_TEMPORAL)
    nasal, temporal = (value(right, "macula", name) for name in sides)
    assert abs(nasal - temporal) > 5  # or the test could not fail


def test_the_map_is_seen_from_the_front():
    right, left = seen().thickness_maps[0], seen("left").thickness_maps[0]
    assert right.anatomical
    assert right.definition == codes.RETINAL_THICKNESS_ILM_BM
    assert right.values.shape == (33, 130)
    assert right.spacing_mm == pytest.approx((0.2, 0.05))
    assert np.nanmax(np.abs(left.values - right.values[:, ::-1])) < 5
    from_below = instance(eye())
    for group in from_below.PerFrameFunctionalGroupsSequence:
        x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionSequence[0].ImagePositionPatient = [x, y, -z]
    turned = run(eye(), from_below).thickness_maps[0]
    assert np.array_equal(turned.values, right.values[::-1], equal_nan=True)


def test_the_picture_shows_the_map_with_its_scale():
    (picture,) = seen().pictures
    rows, columns, _ = picture.rgb.shape
    assert columns > 480 and rows > 300
    assert len(np.unique(picture.rgb.reshape(-1, 3), axis=0)) > 50


def test_the_segmentation_names_what_there_is():
    truth = slab(bodies=(Ellipsoid("srf", 0.0, 0.0, 200.0, 1.0, 1.0, 30.0),))
    (made,) = run(truth).segmentations
    labels = {s.label: s.number for s in made.segments}
    assert "Subretinal fluid" in labels and "Drusen" not in labels
    assert (made.mask == labels["Subretinal fluid"]).sum() == pytest.approx((truth.labels == 8).sum(), rel=0.01)
    assert made.mask.max() == len(made.segments)


def test_without_laterality_there_is_no_nasal_and_no_temporal():
    result = run(eye(), instance(eye(), laterality=None))
    assert "laterality" in reasons(result)["nasal fields of the ETDRS grid"]
    assert codes.ETDRS_INNER_NASAL not in names(result, "macula")
    assert {codes.CST, codes.ETDRS_INNER_SUPERIOR, codes.TOTAL_VOLUME} <= names(result, "macula")


def test_without_positions_there_is_no_map_and_no_volume():
    result = run(eye(), instance(eye(), slice_um=None))
    why = reasons(result)
    for quantity in (
        "central subfield thickness",
        "thickness map",
        "centre point thickness",
        "volume of retinal fluid",
    ):
        assert "distance of the B-scans is missing" in why[quantity]
    assert names(result, "macula") == set()
    assert names(result, "irf") == {codes.FLUID_AREA}
    assert not result.thickness_maps and not result.pictures


def test_one_line_has_areas_and_its_own_mean():
    truth = slab(bscans=1, bodies=(Ellipsoid("irf", 0.0, 0.0, 100.0, 1.0, 1.0, 60.0),))
    result = run(truth)
    assert names(result, "macula") == {codes.RETINAL_THICKNESS, codes.CENTRAL_THICKNESS}
    area = (truth.labels == 7).sum() * 2.5 * 50.0 * 1e-6
    assert value(result, "irf", codes.FLUID_AREA) == pytest.approx(area, rel=0.01)
    assert "one B-scan has no volume" in reasons(result)["volume of retinal fluid"]
    assert result.verdict.priority is Priority.HIGH


def test_a_thick_centre_is_urgent():
    result = run(slab(thickness_um=347.5))
    assert result.verdict.priority is Priority.HIGH
    assert "central subfield thickness 348 um is above 320 um" in result.verdict.reason
    assert rests_on(result.verdict) == ["macula"]


def test_specks_of_fluid_are_left_out():
    truth = slab(bodies=(Ellipsoid("irf", 0.025, 0.0, 100.0, 0.03, 0.2, 3.0),))
    assert (truth.labels == 7).any()
    assert value(run(truth), "irf", codes.FLUID_VOLUME) == 0
    assert value(run(truth, min_fluid_um2=0), "irf", codes.FLUID_VOLUME) > 0


def test_columns_that_are_not_trusted_are_left_out_and_said():
    truth = slab()
    result = run(truth, knows=weak(truth, 16))
    assert "were left out" in result.findings[0].comment
    assert "not measured" in result.findings[1].comment
    assert value(result, "macula", codes.CST) == pytest.approx(250.0, abs=1e-3)
    (made,) = result.segmentations
    assert not made.mask[:, :, :14].any()


def test_a_weak_signal_is_ungradable():
    found = outcome("macular-oedema", slab(), knows=weak(slab(), 64))
    assert isinstance(found, Ungradable)
    assert "signal is too weak" in found.reason


def test_a_model_that_asks_for_the_eye_is_not_run_without_it():
    knows = oracle(slab(), layers_model(200, 128, laterality_required=True))
    found = outcome("macular-oedema", slab(), instance(slab(), laterality=None), knows)
    assert isinstance(found, Ungradable)
    assert "laterality" in found.reason


def test_the_result_does_not_depend_on_the_threads():
    truth = slab(bodies=(Ellipsoid("irf", 0.2, 0.0, 120.0, 0.4, 0.6, 60.0),))
    one, four = (run(truth, workers=n) for n in (1, 4))
    assert [f.measurements for f in one.findings] == [f.measurements for f in four.findings]
