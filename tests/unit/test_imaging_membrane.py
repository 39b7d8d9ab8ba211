"""Membranes that were drawn are measured: how brown, and over which part of the circumference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging.membrane import ANGLES, cells, profiles, stained
from airouter.imaging.nuclei import dab_od
from tests.pipelines.cells import Cell, draw

SPACING = 0.5
STEP = 1 / ANGLES


def measured(*drawn, shape=(64, 64), reach_um=5.0, threshold=0.2, spacing_um=SPACING):
    picture = draw(drawn, shape, spacing_um)
    profile = profiles(
        dab_od(picture.rgb),
        picture.labels,
        np.arange(1, len(drawn) + 1),
        reach_um=reach_um,
        spacing_um=spacing_um,
    )
    return profile, *stained(profile, threshold)


@pytest.mark.parametrize("od", [0.3, 0.5, 0.8])
def test_a_whole_ring_is_complete_and_as_brown_as_it_was_drawn(od):
    _, (share,), (intensity,) = measured(Cell(32, 32, od))
    assert share == 1.0
    assert intensity == pytest.approx(od, abs=0.02)


def test_a_cell_without_a_ring_has_no_membrane():
    profile, (share,), (intensity,) = measured(Cell(32, 32))
    assert (share, intensity) == (0.0, 0.0)
    assert np.isfinite(profile).all()
    assert np.abs(profile).max() < 0.05


@given(st.floats(20, 330), st.floats(0, 360), st.floats(30.5, 33.5), st.floats(30.5, 33.5))
@settings(max_examples=40, deadline=None)
def test_a_gap_is_measured_to_the_step_of_the_rays(gap, turn, row, column):
    _, (share,), (intensity,) = measured(Cell(row, column, 0.6, gap, turn))
    # each end of the gap may be read one ray off, and the ends of the arc are cut along pixels, half a ray more
    assert share == pytest.approx(1 - gap / 360, abs=3 * STEP)
    # an end of the arc fades over a ray or two, from 0.6 to the threshold of 0.2
    assert intensity == pytest.approx(0.6, abs=0.02 + 4 * (0.6 - 0.2) * STEP / share)


def test_the_first_ray_points_to_the_right_and_the_next_ones_go_clockwise():
    profile, _, _ = measured(Cell(32, 32, 0.6, 90, 0))  # the gap lies to the right and below
    quarter = ANGLES // 4
    assert (profile[0, 2 : quarter - 2] < 0.2).all()
    assert (profile[0, quarter + 2 : -2] > 0.4).all()


def test_what_lies_beyond_the_reach_is_not_the_cells():
    _, (share,), _ = measured(Cell(32, 32, 0.6), reach_um=1.5)  # the ring begins 2.25 um from the nucleus
    assert share < 0.1
    _, (share,), _ = measured(Cell(32, 32, 0.6), reach_um=3.0)
    assert share == 1.0


def test_a_membrane_between_two_cells_is_that_of_both():
    # 13 um apart: the rings touch in the middle; only the left one is drawn there
    _, shares, _ = measured(Cell(40, 27, 0.6), Cell(40, 53), shape=(80, 80), reach_um=4.0)
    assert shares[0] == 1.0
    assert 2 * STEP <= shares[1] <= 0.25


def test_a_membrane_a_little_beyond_the_middle_of_two_nuclei_is_seen():
    # the middle lies 6.5 um from either centre, the left cell's membrane at 7 to 8 um
    _, shares, _ = measured(Cell(40, 27, 0.6, membrane_um=7.5, width_um=1.0), Cell(40, 53), shape=(80, 80))
    assert shares[0] == 1.0


def test_a_neighbours_far_side_is_not_seen():
    # the neighbour is a lymphocyte close by, brown all round
    near = Cell(40, 62, 0.6, nucleus_um=2.5, membrane_um=3.5, width_um=1.0)
    _, shares, _ = measured(Cell(40, 40), near, shape=(80, 90), reach_um=6.0)
    assert shares[1] == 1.0
    assert shares[0] < 0.2


def test_touching_nuclei_leave_rays_without_a_sight_and_not_without_stain():
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    profile = profiles(np.ones(labels.shape, np.float32), labels, np.array([1, 2]), reach_um=3, spacing_um=0.5)
    assert np.isnan(profile).any()
    share, intensity = stained(profile, 0.5)
    assert share == pytest.approx([1, 1])
    assert intensity == pytest.approx([1, 1])


def test_nothing_beyond_the_picture_is_seen():
    labels = np.zeros((30, 30), np.int32)
    labels[0:10, 0:10] = 1
    profile = profiles(np.ones((30, 30), np.float32), labels, np.array([1]), reach_um=2, spacing_um=0.5)
    assert np.isnan(profile[0, ANGLES // 2 + 2 : ANGLES * 3 // 4 - 2]).all()
    assert np.isfinite(profile[0, 2 : ANGLES // 4 - 2]).all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_picture_turns_the_profile(turns):
    picture = draw([Cell(30.5, 33.2, 0.6, 100, 20), Cell(70, 60, 0.4, 10, 200)], (100, 100), SPACING)
    density, wanted = dab_od(picture.rgb), np.array([1, 2])
    here = profiles(density, picture.labels, wanted, reach_um=5, spacing_um=SPACING)
    there = profiles(
        np.rot90(density, turns).copy(), np.rot90(picture.labels, turns).copy(), wanted, reach_um=5, spacing_um=SPACING
    )
    share, intensity = stained(here, 0.2)
    turned_share, turned_intensity = stained(there, 0.2)
    assert turned_share == pytest.approx(share, abs=1.5 * STEP)
    assert turned_intensity == pytest.approx(intensity, abs=0.01)


def test_finer_pixels_give_the_same():
    for spacing_um in (0.25, 0.5):
        side = int(32 / spacing_um)
        _, (share,), (intensity,) = measured(
            Cell(side / 2, side / 2, 0.5, 120, 30), shape=(side, side), spacing_um=spacing_um
        )
        assert share == pytest.approx(2 / 3, abs=3 * STEP)
        assert intensity == pytest.approx(0.5, abs=0.04)


def test_many_cells_are_measured_as_each_alone():
    places = [(r, c) for r in range(25, 400, 35) for c in range(25, 400, 35)]
    drawn = [Cell(r, c, 0.3 + 0.002 * n, 3 * n % 360) for n, (r, c) in enumerate(places)]
    _, shares, intensities = measured(*drawn, shape=(420, 420))
    assert len(shares) == len(drawn) > 100
    for n in (0, 63, 64, 100):
        cell = Cell(32.0, 32.0, drawn[n].od, drawn[n].gap)
        _, (share,), (intensity,) = measured(cell)
        assert shares[n] == pytest.approx(share, abs=2 * STEP)
        assert intensities[n] == pytest.approx(intensity, abs=0.02)


def test_cells_grow_into_no_neighbour():
    labels = np.zeros((20, 40), np.int32)
    labels[8:12, 8:12], labels[8:12, 20:24] = 1, 2
    whole = cells(labels, 4.0, 0.5)
    assert (whole[8:12, 12:16] == 1).all()
    assert (whole[8:12, 16:20] == 2).all()
    assert (whole[labels > 0] == labels[labels > 0]).all()
    assert whole[0, 0] == 0 or np.hypot(8, 8) <= 8
    assert cells(labels, 1.0, 0.5)[10, 15] == 0


def test_no_nucleus_asked_for_gives_an_empty_answer():
    labels = np.zeros((8, 8), np.int32)
    found = profiles(np.zeros((8, 8), np.float32), labels, np.array([], np.int64), reach_um=1, spacing_um=1)
    assert found.shape == (0, ANGLES)


def test_what_cannot_be_measured_is_refused():
    labels, density = np.zeros((8, 8), np.int32), np.zeros((8, 9), np.float32)
    with pytest.raises(ValueError, match="differ in shape"):
        profiles(density, labels, np.array([1]), reach_um=1, spacing_um=1)
    with pytest.raises(ValueError, match="positive"):
        profiles(density[:, :8], labels, np.array([1]), reach_um=0, spacing_um=1)
