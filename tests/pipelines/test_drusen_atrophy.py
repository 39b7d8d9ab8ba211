"""Drusen and atrophy with an oracle in the model's place: volumes, circles, foci, and what is not measured."""

import dataclasses
import functools

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.priority import Priority
from airouter.imaging import circle_area
from airouter.imaging.foci import distance_mm, foci
from phantoms.oct_disc import disc_cube
from phantoms.oct_flat import Ellipsoid, flat
from phantoms.oct_layers import CLASS, Disease, Dome, Patch, macula
from tests.pipelines.oracle import names, reasons, rests_on, value
from tests.pipelines.retinas import analysed, instance, mirrored, outcome, weak

run = functools.partial(analysed, "drusen-atrophy")


@functools.cache
def slab(*bodies, **changes):
    return flat(**{"rows": 200, "axial_um": 2.5, "ilm_um": 100.0, "bodies": bodies, **changes})


@functools.cache
def bare(*patches, **changes):
    """A slab without RPE in rectangles of (first, last) B-scan and column: the truth of a model that sees none."""
    truth = slab(**changes)
    labels = truth.labels.copy()
    for rows, columns in patches:
        part = labels[slice(*rows), :, slice(*columns)]
        part[part == CLASS["rpe"]] = CLASS["outer-retina"]
    frames = truth.frames.copy()
    frames[:, 0, :] = np.arange(len(frames))[:, None]  # no two B-scans are the same picture
    return dataclasses.replace(truth, frames=frames, labels=labels)


def test_a_sphere_of_drusen_material_has_its_volume_within_one_percent():
    body = Ellipsoid("drusen", 0.1, 0.1, 150.0, 0.12, 0.12, 120.0)
    truth = flat(
        61, 200, 150, axial_um=2.0, lateral_um=10.0, slice_um=25.0, ilm_um=50.0, bodies=(body,), thickness_um=300.0
    )
    result = run(truth)
    assert 1e3 * value(result, "drusen", codes.DRUSEN_VOLUME) == pytest.approx(body.volume_nl, rel=0.01)
    assert value(result, "drusen", codes.DRUSEN_EXTENT) == pytest.approx(np.pi * 0.12**2, rel=0.03)
    assert value(result, "drusen", codes.DRUSEN_DIAMETER) == pytest.approx(240.0, rel=0.02)
    assert value(result, "drusen", codes.DRUSEN_HEIGHT) == pytest.approx(240.0, abs=4.0)
    assert value(result, "drusen", codes.DRUSEN_COUNT) == 1
    # the scan is 1.5 mm wide
    assert "of the circle" in reasons(result)[codes.DRUSEN_VOLUME_3.meaning]


@pytest.mark.parametrize(("x", "three", "five"), [(0.0, 1, 1), (2.0, 0, 1), (2.9, 0, 0)])
def test_drusen_count_to_the_circles_they_lie_in(x, three, five):
    result = run(slab(Ellipsoid("drusen", x, 0.0, 240.0, 0.2, 0.3, 20.0)))
    whole = value(result, "drusen", codes.DRUSEN_VOLUME)
    assert whole > 0
    assert value(result, "drusen", codes.DRUSEN_VOLUME_3) == pytest.approx(three * whole)
    assert value(result, "drusen", codes.DRUSEN_VOLUME_5) == pytest.approx(five * whole)


def test_the_weights_of_a_circle_are_its_area():
    weights = circle_area.shares((25, 128), (0.25, 0.05), (12.0, 63.5), 1.5)
    assert weights.sum() * 0.25 * 0.05 == pytest.approx(np.pi * 2.25, rel=1e-3)
    assert circle_area.covered(weights, (0.25, 0.05), 1.5) == pytest.approx(1.0, rel=1e-3)
    assert set(np.unique(weights[12])) >= {0.0, 1.0}


def test_drusen_of_a_phantom_have_the_volume_of_its_voxels():
    domes = (Dome(0.5, 0.2, 0.3, 90.0), Dome(-0.8, -0.5, 0.25, 70.0))
    truth = macula(49, 260, 200, 5.0, 33.0, 130.0, seed=5, disease=Disease(drusen=domes))
    result = run(truth)
    assert 1e3 * value(result, "drusen", codes.DRUSEN_VOLUME) == pytest.approx(truth.volume_nl("drusen"), rel=0.02)
    assert value(result, "drusen", codes.DRUSEN_COUNT) == 2
    (drusen, atrophy) = result.findings
    assert "foveal pit" in drusen.comment
    assert "130 um apart" in drusen.comment
    assert "No atrophy" in atrophy.comment
    assert value(result, "atrophy", codes.ATROPHY_AREA) == 0


def test_small_and_flat_drusen_are_volume_but_not_counted():
    result = run(slab(Ellipsoid("drusen", 0.025, 0.0, 240.0, 0.03, 0.2, 15.0)), min_druse_um=200, min_drusen_um2=0)
    assert value(result, "drusen", codes.DRUSEN_VOLUME) > 0
    assert value(result, "drusen", codes.DRUSEN_COUNT) == 0
    assert codes.DRUSEN_HEIGHT not in names(result, "drusen")


def test_atrophy_is_the_area_of_the_columns_without_pigment_epithelium():
    truth = bare(((10, 14), (60, 82)), ((4, 6), (20, 40)))
    result = run(truth, centre="scan", atrophy_radius_mm=10)
    cell = 0.25 * 0.05
    assert value(result, "atrophy", codes.ATROPHY_AREA) == pytest.approx((4 * 22 + 2 * 20) * cell)
    assert value(result, "atrophy", codes.ATROPHY_FOCI) == 2
    assert value(result, "atrophy", codes.ATROPHY_DISTANCE) == 0
    (_, atrophy) = result.findings
    assert {e.name: e.value for e in atrophy.evaluations} == {codes.CENTRE_INVOLVED: codes.YES}
    assert atrophy.region.frame in (11, 12, 13, 14)
    columns = atrophy.region.points[:, 0]
    assert (columns.min(), columns.max()) == (60, 82)


def test_the_distance_is_from_the_nearest_edge():
    result = run(
        bare(
            ((12, 13), (84, 100)),
        ),
        centre="scan",
    )
    # the middle is at column 63.5, the focus begins at the left edge of column 84
    assert value(result, "atrophy", codes.ATROPHY_DISTANCE) == pytest.approx((84 - 0.5 - 63.5) * 50.0)


def test_without_a_fovea_there_is_no_distance_from_it():
    result = run(
        bare(
            ((12, 13), (84, 100)),
        )
    )
    assert codes.ATROPHY_DISTANCE not in names(result, "atrophy")
    assert "fovea was not found" in reasons(result)["distance of atrophy from the fovea"]


def test_an_area_below_250_um_is_no_atrophy_and_is_said():
    result = run(bare(((12, 13), (84, 88))), min_atrophy_um=350)
    assert value(result, "atrophy", codes.ATROPHY_AREA) == 0
    assert "do not count" in result.findings[1].comment


def test_the_shadow_of_a_vessel_is_no_atrophy():
    truth = bare(((5, 20), (90, 92)), ((10, 14), (60, 80)))
    result = run(truth, centre="scan")
    assert value(result, "atrophy", codes.ATROPHY_AREA) == pytest.approx(4 * 20 * 0.25 * 0.05)
    assert value(result, "atrophy", codes.ATROPHY_FOCI) == 1


def test_atrophy_of_a_phantom():
    truth = macula(25, 260, 130, 5.0, 50.0, 260.0, seed=6, disease=Disease(atrophy=(Patch(0.6, 0.1, 0.8),)))
    result = run(truth)
    assert value(result, "atrophy", codes.ATROPHY_AREA) == pytest.approx(truth.atrophy_mm2, rel=0.05)
    assert value(result, "atrophy", codes.ATROPHY_FOCI) == 1
    left = run(mirrored(truth))
    assert value(left, "atrophy", codes.ATROPHY_AREA) == pytest.approx(value(result, "atrophy", codes.ATROPHY_AREA))


def test_columns_that_are_not_trusted_are_not_atrophy():
    truth = slab()
    result = run(truth, knows=weak(truth, 20), centre="scan", atrophy_radius_mm=10)
    assert value(result, "atrophy", codes.ATROPHY_AREA) == 0
    assert "were left out" in result.findings[1].comment


def test_a_scan_of_the_disc_is_refused():
    truth = disc_cube(31, 260, 100, 5.5, seed=1).scan
    found = outcome("drusen-atrophy", truth)
    assert isinstance(found, Ungradable)
    assert "optic disc" in found.reason


def test_without_a_raster_only_the_height_is_given():
    truth = slab(Ellipsoid("drusen", 0.0, 0.0, 240.0, 0.3, 0.3, 20.0))
    result = run(truth, instance(truth, slice_um=None))
    assert names(result, "drusen") == {codes.DRUSEN_HEIGHT}
    for quantity in ("volume of drusen", "area of geographic atrophy"):
        assert "distance of the B-scans is missing" in reasons(result)[quantity]


def test_limits_raise_the_priority():
    truth = slab(Ellipsoid("drusen", 0.0, 0.0, 240.0, 0.5, 0.5, 20.0))
    assert run(truth).verdict.priority is Priority.ROUTINE
    drusen = run(truth, high_drusen_ul=0.001)
    assert drusen.verdict.priority is Priority.HIGH
    assert "drusen volume within 3 mm" in drusen.verdict.reason
    assert rests_on(drusen.verdict) == ["drusen"]
    gone = run(bare(((10, 14), (60, 80))), high_atrophy_mm2=0.5)
    assert gone.verdict.priority is Priority.HIGH
    assert rests_on(gone.verdict) == ["atrophy"]


def test_pictures_of_both():
    made = run(bare(((10, 14), (60, 80)))).pictures
    assert [p.role for p in made] == ["drusen-picture", "atrophy-picture"]


def test_foci_are_measured_corner_to_corner():
    mask = np.zeros((10, 10), np.bool_)
    mask[2:4, 3:6] = mask[8, 8] = True
    large, small = foci(mask, (0.5, 0.1))
    assert large.area_mm2 == pytest.approx(6 * 0.05)
    assert large.greatest_mm == pytest.approx(np.hypot(1.0, 0.3))
    assert small.diameter_mm == pytest.approx(2 * np.sqrt(0.05 / np.pi))
    assert distance_mm(mask, (0.5, 0.1), (0.0, 4.0)) == pytest.approx(1.5 * 0.5)
    assert distance_mm(np.zeros((3, 3), np.bool_), (1.0, 1.0), (0.0, 0.0)) is None
