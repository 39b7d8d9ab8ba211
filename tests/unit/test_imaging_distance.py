"""Distances between regions, by hand and against every pair of pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airouter.imaging import distance

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def region(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def by_pairs(one, other):
    """Least distance of two squares, one of each mask, over all pairs."""
    a, b = np.argwhere(one)[:, None], np.argwhere(other)[None]
    gaps = np.maximum(np.abs(a - b) - 1, 0)
    return float(np.hypot(*gaps.transpose(2, 0, 1)).min())


@pytest.mark.parametrize(
    ("other", "length", "ends"),
    [
        (region((20, 20), (5, 8), (10, 12)), 7.0, ((3, 5), (10, 5))),  # columns 3 to 9 lie between
        (region((20, 20), (5, 6), (3, 4)), 0.0, ((3, 5), (3, 5))),  # side by side
        (region((20, 20), (8, 9), (3, 4)), 0.0, ((3, 8), (3, 8))),  # corner to corner
        (region((20, 20), (11, 12), (7, 8)), 5.0, ((3, 8), (7, 11))),  # 3 down, 4 across
    ],
)
def test_the_path_runs_between_the_edges_of_the_pixels(other, length, ends):
    path = distance.shortest(region((20, 20), (5, 8), (0, 3)), other)
    assert path.length == length
    assert (path.start, path.end) == ends
    assert path.points.tolist() == [list(ends[0]), list(ends[1])]


def test_there_is_no_path_from_or_to_nothing():
    mask, nothing = region((5, 5), (1, 2), (1, 2)), np.zeros((5, 5), bool)
    assert distance.shortest(mask, nothing) is None
    assert distance.shortest(nothing, mask) is None
    assert distance.to_points(mask, np.zeros((0, 2))) is None
    assert distance.to_points(nothing, np.ones((1, 2))) is None
    assert distance.away(nothing, np.ones((2, 2))).tolist() == [np.inf, np.inf]


@given(MASKS, st.data())
@settings(max_examples=60, deadline=None)
def test_it_is_the_least_distance_of_all_pairs_of_pixels(one, data):
    other = data.draw(arrays(np.bool_, one.shape)) & ~one
    path = distance.shortest(one, other)
    if not one.any() or not other.any():
        assert path is None
        return
    assert path.length == pytest.approx(by_pairs(one, other))
    assert distance.shortest(other, one).length == pytest.approx(path.length)
    for turned in (np.rot90, np.fliplr, np.transpose):
        assert distance.shortest(turned(one), turned(other)).length == pytest.approx(path.length)


@given(MASKS)
@settings(max_examples=40, deadline=None)
def test_corners_are_those_around_which_some_pixels_are_set_and_not_all(mask):
    padded = np.pad(mask, 1)
    expected = {
        (column, row)
        for row in range(mask.shape[0] + 1)
        for column in range(mask.shape[1] + 1)
        if 0 < padded[row : row + 2, column : column + 2].sum() < 4
    }
    assert {tuple(place) for place in distance.corners(mask).astype(int).tolist()} == expected


def test_a_line_is_points_half_a_pixel_apart_with_its_corners():
    points = distance.along(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.2], [10.0, 4.2]]))
    assert np.hypot(*np.diff(points, axis=0).T).max() <= 0.5 + 1e-9
    for corner in ([0, 0], [3, 4], [3, 4.2], [10, 4.2]):
        assert np.abs(points - corner).sum(axis=1).min() < 1e-9
    assert distance.along(np.array([[2.0, 3.0]])).tolist() == [[2, 3]]


def test_a_line_that_crosses_a_mask_is_0_away():
    mask = region((30, 30), (10, 20), (10, 20))
    crossing = distance.along(np.array([[0.0, 15.3], [30.0, 15.3]]))
    path = distance.to_points(mask, crossing)
    assert path.length == 0
    assert path.start[1] == 15.3
    assert distance.away(mask, crossing).min() == 0
    beside = distance.along(np.array([[-5.0, 24.0], [40.0, 24.0]]))  # beyond the picture too
    assert distance.to_points(mask, beside).length == pytest.approx(4.0)
    assert distance.away(mask, beside)[0] == pytest.approx(np.hypot(15, 4))
