"""Nerve fibre layer and ganglion cells with an oracle in the model's place: sectors, both eyes, what is not known."""

import dataclasses
import functools

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.priority import Priority
from airouter.imaging import circle_scan, rnfl_sectors
from airouter.imaging import ganglion_cells as gc
from phantoms.dicom import fundus_instance, oct_instance
from phantoms.oct_disc import QUADRANTS, Notch, circle, clock_hour, disc_cube
from phantoms.oct_flat import flat
from phantoms.oct_layers import macula
from tests.pipelines.oracle import names, opened, reasons, rests_on, value
from tests.pipelines.retinas import analysed, instance, mirrored, oracle, outcome

run = functools.partial(analysed, "nerve-fibre-layer")
AXIAL = 3.87
SECTORS = {
    "superior": codes.RNFL_SUPERIOR,
    "nasal": codes.RNFL_NASAL,
    "inferior": codes.RNFL_INFERIOR,
    "temporal": codes.RNFL_TEMPORAL,
}


@functools.cache
def around(laterality="R", notches=(), **changes):
    """A circle scan of 384 columns."""
    return circle(400, 384, AXIAL, laterality=laterality, seed=3, notches=notches, **changes)


@functools.cache
def photograph():
    return fundus_instance(np.full((64, 64, 3), 90, np.uint8), transfer="raw", seed=2)


def circle_instance(truth, path=None, **changes):
    scan = truth.scan
    path = truth.path((32.0, 32.0), 0.1) if path is None else path
    said = {"axial_um": scan.axial_um, "lateral_um": scan.lateral_um, "slice_um": None, "laterality": scan.laterality}
    return oct_instance(scan.frames, localizer=photograph(), paths=[path], seed=4, **{**said, **changes})


@functools.cache
def seen(laterality="R"):
    return of_circle(around(laterality))


def of_circle(truth, dataset=None, **parameters):
    return run(truth.scan, dataset if dataset is not None else circle_instance(truth), **parameters)


@pytest.mark.parametrize("laterality", ["R", "L"])
def test_the_sectors_of_a_circle_scan_are_those_of_the_phantom(laterality):
    truth = around(laterality)
    result = seen(laterality)
    assert value(result, "rnfl", codes.RNFL_AVERAGE) == pytest.approx(truth.mean_um(), abs=AXIAL / 4)
    for name, code in SECTORS.items():
        assert value(result, "rnfl", code) == pytest.approx(truth.mean_um(name), abs=AXIAL / 2)
    for hour, code in enumerate(codes.RNFL_CLOCK, 1):
        assert value(result, "rnfl", code) == pytest.approx(truth.hour_um(hour), abs=AXIAL)
    assert value(result, "rnfl", codes.RETINAL_ROI_WIDTH) == pytest.approx(3.46, abs=1e-3)
    assert set(reasons(result)) == {"deviation of the RNFL"}
    assert result.verdict.priority is Priority.ROUTINE


def test_thickness_is_exact_to_the_axial_pixel_at_every_column():
    truth = around()
    volume = opened([circle_instance(truth)])
    assert volume.scan_pattern == "CIRCLE"
    result = seen()
    drawn = result.segmentations[0].mask[0] == 1  # RNFL
    assert np.abs(drawn.sum(axis=0) * AXIAL - truth.rnfl_um).max() < 2.5 * AXIAL
    assert np.abs(drawn.sum(axis=0) * AXIAL - truth.rnfl_um).mean() < AXIAL


def test_a_notch_is_found_in_its_clock_hour_in_both_eyes():
    for laterality in ("R", "L"):
        ill = around(laterality, (Notch(clock_hour(7), 10.0, 0.6),))
        before, after = seen(laterality), of_circle(ill)
        loss = {
            hour: value(before, "rnfl", code) - value(after, "rnfl", code)
            for hour, code in enumerate(codes.RNFL_CLOCK, 1)
        }
        assert max(loss, key=loss.get) == 7
        assert abs(loss[2]) < 1


def test_a_mirrored_circle_scan_has_the_mirrored_sectors():
    """The same picture said to be of the left eye: nasal and temporal change places."""
    truth = around()
    right = seen()
    left = of_circle(truth, circle_instance(truth, laterality="L"))
    assert value(left, "rnfl", codes.RNFL_NASAL) == pytest.approx(value(right, "rnfl", codes.RNFL_TEMPORAL))
    assert value(left, "rnfl", codes.RNFL_TEMPORAL) == pytest.approx(value(right, "rnfl", codes.RNFL_NASAL))
    assert value(left, "rnfl", codes.RNFL_SUPERIOR) == pytest.approx(value(right, "rnfl", codes.RNFL_SUPERIOR))
    hours = [value(right, "rnfl", code) for code in codes.RNFL_CLOCK]
    swapped = [value(left, "rnfl", codes.RNFL_CLOCK[(12 - hour) % 12 - 1]) for hour in range(1, 13)]
    assert swapped == pytest.approx(hours, abs=1.0)


def test_where_the_circle_begins_comes_from_the_header():
    truth = around()
    turned = dataclasses.replace(truth, angle=(truth.angle + 90.0) % 360.0)
    result = of_circle(truth, circle_instance(truth, turned.path((32.0, 32.0), 0.1)))
    assert value(result, "rnfl", codes.RNFL_AVERAGE) == pytest.approx(truth.mean_um(), abs=AXIAL / 4)
    assert value(result, "rnfl", codes.RNFL_NASAL) == pytest.approx(truth.mean_um("superior"), abs=AXIAL / 2)
    backwards = truth.path((32.0, 32.0), 0.1)[::-1]
    other = of_circle(truth, circle_instance(truth, backwards))
    assert value(other, "rnfl", codes.RNFL_SUPERIOR) == pytest.approx(truth.mean_um("inferior"), abs=AXIAL / 2)


def test_without_coordinates_only_the_average_is_given():
    truth = around()
    dataset = circle_instance(truth)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.OphthalmicFrameLocationSequence
    result = of_circle(truth, dataset)
    assert names(result, "rnfl") == {codes.RNFL_AVERAGE, codes.RETINAL_ROI_WIDTH}
    why = reasons(result)
    for quantity in ("quadrants of the RNFL", "clock hours of the RNFL", "Garway-Heath sectors"):
        assert why[quantity] == "not analysed because the header does not say where the circle begins"


def test_without_laterality_only_superior_and_inferior_are_known():
    truth = around()
    result = of_circle(truth, circle_instance(truth, laterality=None))
    assert {codes.RNFL_SUPERIOR, codes.RNFL_INFERIOR, codes.RNFL_AVERAGE} <= names(result, "rnfl")
    assert not {codes.RNFL_NASAL, codes.RNFL_TEMPORAL, *codes.RNFL_CLOCK} & names(result, "rnfl")
    why = reasons(result)
    assert "laterality is missing" in why[codes.RNFL_NASAL.meaning]
    assert "laterality is missing" in why["clock hours of the RNFL"]
    assert value(result, "rnfl", codes.RNFL_SUPERIOR) == pytest.approx(truth.mean_um("superior"), abs=AXIAL / 2)


def test_without_spacing_there_is_a_stored_reason():
    made = opened([circle_instance(around(), omit_spacing=True)])
    assert isinstance(made, Ungradable)
    assert made.reason == "not analysed because Pixel Spacing is missing"


def test_garway_heath_sectors_are_a_group_of_their_own():
    truth = around()
    result = seen()
    assert len(names(result, "garway-heath")) == 6
    inside = (truth.angle > 270) & (truth.angle <= 310)
    expected = truth.rnfl_um[inside].mean()
    assert value(result, "garway-heath", codes.RNFL_TEMPORAL_INFERIOR) == pytest.approx(expected, abs=AXIAL / 2)


@pytest.mark.parametrize(
    ("share", "priority", "said"),
    [(0.7, Priority.HIGH, "is below 75 um"), (0.5, Priority.STAT, "advanced glaucoma suspected")],
)
def test_a_thin_layer_is_urgent(share, priority, said):
    thin = around(quadrants=Frozen({name: share * um for name, um in QUADRANTS.items()}))
    result = of_circle(thin)
    assert result.verdict.priority is priority
    assert said in result.verdict.reason
    assert rests_on(result.verdict) == ["rnfl"]
    (rnfl, _) = result.findings
    present = {e.name: e.value for e in rnfl.evaluations}[codes.GLAUCOMA_BY_RNFL]
    assert present == (codes.PRESENT if priority is Priority.STAT else codes.ABSENT)
    assert of_circle(thin, advanced_um=20, high_rnfl_um=30).verdict.priority is Priority.ROUTINE


class Frozen(dict):
    """A mapping that can be cached by."""

    def __hash__(self):
        return hash(tuple(self.items()))


def test_a_normal_value_of_the_site_gives_a_difference():
    truth = around()
    result = of_circle(truth, normal_rnfl_um=100)
    difference = value(result, "rnfl", codes.NORMAL_DEVIATION)
    assert difference == pytest.approx(value(result, "rnfl", codes.RNFL_AVERAGE) - 100)
    assert result.not_analysed == ()


# --- A volume of the disc ---


@functools.cache
def cube(laterality="R", **changes):
    return disc_cube(41, 260, 120, 5.5, laterality=laterality, seed=2, **changes)


@pytest.mark.parametrize(("laterality", "centre"), [("R", (0.0, 0.0)), ("L", (0.2, -0.15))])
def test_the_circle_is_laid_about_the_disc_of_a_volume(laterality, centre):
    truth = cube(laterality, centre=centre)
    result = run(truth.scan)
    angle = (np.arange(720) + 0.5) / 2
    expected = truth.circle_um(angle)
    assert value(result, "rnfl", codes.RNFL_AVERAGE) == pytest.approx(expected.mean(), rel=0.03)
    for name, code in SECTORS.items():
        first, last = rnfl_sectors.QUADRANTS[name]
        inside = (angle - first) % 360 < last - first
        assert value(result, "rnfl", code) == pytest.approx(expected[inside].mean(), rel=0.06)
    assert {codes.RNFL_CLOCK_1, codes.RNFL_CLOCK_12} <= names(result, "rnfl")
    assert value(result, "rnfl", codes.RETINAL_ROI_WIDTH) == 3.46
    (flat_map,) = result.thickness_maps
    assert flat_map.definition == codes.RNFL_THICKNESS
    assert flat_map.anatomical
    at = tuple(round(v) for v in truth.disc_px)
    assert np.isnan(flat_map.values[at])
    assert len(result.pictures) == 1


def test_a_mirrored_volume_has_the_mirrored_sectors():
    right, left = run(cube().scan), run(mirrored(cube().scan))
    for code in (codes.RNFL_AVERAGE, *SECTORS.values(), *codes.RNFL_CLOCK):
        assert value(left, "rnfl", code) == pytest.approx(value(right, "rnfl", code), abs=0.5)
    assert abs(value(right, "rnfl", codes.RNFL_CLOCK_1) - value(right, "rnfl", codes.RNFL_CLOCK_11)) > 2


def test_without_positions_a_volume_of_the_disc_has_an_average_only():
    truth = cube()
    dataset = instance(truth.scan, slice_um=None)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = truth.scan.slice_um / 1000
    result = run(truth.scan, dataset)
    assert names(result, "rnfl") == {codes.RNFL_AVERAGE, codes.RETINAL_ROI_WIDTH}
    assert "positions of the B-scans are missing" in reasons(result)["quadrants of the RNFL"]


def test_a_disc_at_the_edge_leaves_no_average():
    truth = cube(centre=(1.45, 0.0))
    result = run(truth.scan)
    assert codes.RNFL_AVERAGE not in names(result, "rnfl")
    assert "of the circle have a trustworthy thickness" in reasons(result)["average RNFL thickness"]
    assert "unknown" in result.verdict.reason


# --- The macula ---


@functools.cache
def eye(laterality="R"):
    return macula(33, 260, 130, 5.0, 50.0, 200.0, laterality, seed=5)


@functools.cache
def measured(laterality="R", **parameters):
    return run(eye(laterality), **parameters)


def test_the_ganglion_cells_of_a_phantom():
    truth = eye()
    result = measured()
    gcc = np.asarray(truth.thickness_um("ilm", "ipl"), np.float64)
    spacing = (truth.slice_um / 1000, truth.lateral_um / 1000)
    grid = gc.sampled(gcc, spacing, truth.fovea_px, 3.0)
    away = np.hypot(grid.x, grid.y)
    inside = (away > 0.5) & (away <= 3.0)
    assert value(result, "gcc", codes.GC_AVERAGE) == pytest.approx(grid.values[inside].mean(), abs=2.0)
    upper = grid.values[inside & (grid.y > 0)].mean()
    assert value(result, "gcc", codes.GC_SUPERIOR) == pytest.approx(upper, abs=2.0)
    assert value(result, "gcc", codes.HEMIFIELD_ASYMMETRY) == pytest.approx(
        value(result, "gcc", codes.GC_SUPERIOR) - value(result, "gcc", codes.GC_INFERIOR)
    )
    layers = np.asarray(truth.thickness_um("rnfl", "ipl"), np.float64)
    fine = gc.sampled(layers, spacing, truth.fovea_px, 2.4)
    expected = fine.values[gc.elliptic_ring(fine)].mean()
    assert value(result, "gcl-ipl", codes.GC_AVERAGE) == pytest.approx(expected, abs=2.0)
    assert value(result, "gcl-ipl", codes.GC_MINIMUM) <= min(
        value(result, "gcl-ipl", code) for code in names(result, "gcl-ipl") if "sector" in code.meaning
    )


def test_the_maps_of_the_macula():
    result = measured()
    roles = {m.role: m for m in result.thickness_maps}
    assert set(roles) == {"gcc-map", "gcc-asymmetry-map"}
    assert roles["gcc-asymmetry-map"].deviation
    assert roles["gcc-map"].definition == codes.GCC_THICKNESS
    across = roles["gcc-asymmetry-map"].values
    middle = across.shape[0] // 2
    upper, lower = across[middle - 8 : middle], across[middle + 1 : middle + 9][::-1]
    assert np.nanmean(np.abs(upper + lower)) < 3  # one half is the other one's negative
    assert [p.role for p in result.pictures] == ["gcc-picture", "gcc-asymmetry-picture"]
    assert "no normative values" in reasons(result)["deviation map of the GCC"]


def test_loss_in_one_half_shows_in_the_asymmetry():
    truth = flat(33, 200, 130, axial_um=2.5, lateral_um=50.0, slice_um=200.0, ilm_um=100.0)
    labels = truth.labels.copy()
    lower = labels[17:]
    lower[(lower == 2) & (np.arange(200)[None, :, None] >= 64)] = 3  # inferior ganglion cells lost below row 64
    frames = truth.frames.copy()
    frames[:, 0, :] = np.arange(33)[:, None]
    ill = dataclasses.replace(truth, labels=labels, frames=frames)
    result = run(ill, centre="scan")
    thin = (np.cumsum(labels[20, :, 60] == 2)[-1] + 12) * 2.5
    assert value(result, "gcc", codes.GC_INFERIOR) < value(result, "gcc", codes.GC_SUPERIOR) - 20
    assert value(result, "gcc", codes.HEMIFIELD_ASYMMETRY) > 20
    across = {m.role: m for m in result.thickness_maps}["gcc-asymmetry-map"].values
    assert np.nanmean(across[:10]) > 20
    assert np.nanmean(across[-10:]) < -20
    assert thin < 100
    assert result.verdict.priority is Priority.HIGH
    assert "average of GCL and IPL" in result.verdict.reason
    assert rests_on(result.verdict) == ["gcl-ipl"]


def test_normal_values_of_the_site_make_a_deviation_map():
    result = measured(normal_gcc_inner_um=110.0, normal_gcc_outer_um=90.0, normal_gcl_ipl_um=80.0)
    roles = {m.role: m for m in result.thickness_maps}
    deviation, plain = roles["gcc-deviation-map"], roles["gcc-map"]
    assert deviation.deviation
    away = plain.values - deviation.values
    assert set(np.unique(np.round(away[np.isfinite(away)]))) == {90.0, 110.0}
    assert codes.NORMAL_DEVIATION in names(result, "gcl-ipl")


def test_the_left_macula_mirrors_the_right():
    right, left = measured(), run(mirrored(eye()))
    for key in ("gcc", "gcl-ipl"):
        for code in names(right, key):
            assert value(left, key, code) == pytest.approx(value(right, key, code), abs=0.1)
    sides = [value(right, "gcl-ipl", c) for c in (codes.GC_NASAL_SUPERIOR, codes.GC_TEMPORAL_SUPERIOR)]
    assert abs(sides[0] - sides[1]) > 0.3


def test_without_laterality_the_sectors_of_the_macula_are_not_known():
    result = run(eye(), instance(eye(), laterality=None))
    assert codes.GC_NASAL_SUPERIOR not in names(result, "gcl-ipl")
    assert "laterality" in reasons(result)["sectors of GCL and IPL"]
    assert {codes.GC_SUPERIOR, codes.GC_INFERIOR} <= names(result, "gcc")


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        (flat(25, 200, 128, axial_um=2.5, ilm_um=100.0), "neither the optic disc nor a clear foveal pit"),
        (flat(1, 200, 128, axial_um=2.5, ilm_um=100.0), "neither a circle nor an even raster"),
    ],
)
def test_other_scans_are_refused(truth, said):
    found = outcome("nerve-fibre-layer", truth)
    assert isinstance(found, Ungradable)
    assert said in found.reason


def test_a_circle_scan_is_no_macula():
    truth = around()
    for pipeline in ("macular-oedema", "drusen-atrophy"):
        found = outcome(pipeline, truth.scan, circle_instance(truth), oracle(truth.scan))
        assert isinstance(found, Ungradable)
        assert "circle" in found.reason


def test_another_curve_is_neither_a_circle_nor_a_raster():
    truth = around()
    dataset = circle_instance(truth, truth.path((32.0, 32.0), 0.1) * [2.0, 1.0])
    assert opened([dataset]).scan_pattern == "CURVE"
    found = outcome("nerve-fibre-layer", truth.scan, dataset)
    assert isinstance(found, Ungradable)
    assert "the scan is a curve" in found.reason


@pytest.mark.parametrize("apart", [0.0, 12.0])
def test_repeated_circles_are_averaged_only_where_they_are_the_same(apart):
    one, two = around(), around(quadrants=Frozen({name: 0.8 * um for name, um in QUADRANTS.items()}))
    scan = dataclasses.replace(
        one.scan,
        frames=np.concatenate([one.scan.frames, two.scan.frames]),
        labels=np.concatenate([one.scan.labels, two.scan.labels]),
    )
    paths = [one.path((32.0, 32.0), 0.1), one.path((32.0, 32.0 + apart), 0.1)]
    dataset = oct_instance(
        scan.frames, axial_um=scan.axial_um, lateral_um=scan.lateral_um, slice_um=None, localizer=photograph(),
        paths=paths, seed=4,
    )  # fmt: skip
    found = outcome("nerve-fibre-layer", scan, dataset)
    if apart:
        assert isinstance(found, Ungradable)
        assert "not known to be the same" in found.reason
    else:
        average = value(found, "rnfl", codes.RNFL_AVERAGE)
        assert average == pytest.approx((one.mean_um() + two.mean_um()) / 2, abs=AXIAL / 4)


def test_a_curve_that_is_no_circle_is_not_one():
    turn = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    path = np.stack([50 + 30 * np.sin(turn), 50 + 30 * np.cos(turn)], axis=1)
    found = circle_scan.circle(path)
    assert found.centre == pytest.approx((50, 50))
    assert found.radius == pytest.approx(30)
    assert found.angle[25] == pytest.approx(270)  # downwards
    assert circle_scan.circle(path[:60]) is None
    assert circle_scan.circle(path * [2.0, 1.0]) is None
    spiral = np.stack([50 + 30 * np.sin(3 * turn), 50 + 30 * np.cos(3 * turn)], axis=1)
    assert circle_scan.circle(spiral) is None
