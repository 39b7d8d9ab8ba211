"""The window of highest count or share: against every disc that can differ, and the laws that hold for any points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging import hotspot
from airouter.imaging.hotspot import densest, radius_um, richest

AREA = 0.01
R = radius_um(AREA)  # 56.4 um

places = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=14).map(
    lambda points: np.array(points, np.float64)
)


def every_disc(points):
    """bool [discs, n]: the points in each disc centred at a point, through two of them, or a hair off such a disc."""
    centres = [points]
    for a in points:
        for b in points:
            apart = math.hypot(*(b - a))
            if 0 < apart <= 2 * R:
                along = (b - a) / apart
                middle = (a + b) / 2 + math.sqrt(R**2 - (apart / 2) ** 2) * np.array([-along[1], along[0]])
                turns = np.arange(16) * math.pi / 8
                hair = 1e-5 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
                centres += [middle[None], middle + hair]
    around = np.concatenate(centres)
    return np.hypot(*(around[:, None] - points[None]).transpose(2, 0, 1)) <= R * (1 + 1e-9)


def test_the_window_has_the_area():
    assert math.pi * radius_um(2.0) ** 2 * 1e-6 == pytest.approx(2.0)
    found = densest(np.array([[10.0, 20.0]]), 2.0)
    x, y = (found.outline() - found.centre).T
    assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2 * 1e-6 == pytest.approx(2.0)
    with pytest.raises(ValueError, match="positive"):
        radius_um(0.0)


def test_one_point_is_in_the_middle_of_its_window():
    found = densest(np.array([[10.0, 20.0]]), AREA)
    assert (found.centre, found.radius, found.count) == ((10.0, 20.0), R, 1)


def test_two_points_as_far_apart_as_the_window_is_wide_are_both_inside():
    assert densest(np.array([[0.0, 0.0], [2 * R, 0.0]]), AREA).count == 2
    assert densest(np.array([[0.0, 0.0], [2 * R * 1.0001, 0.0]]), AREA).count == 1


def test_a_ring_of_points_is_inside_though_none_is_near_the_centre():
    turns = np.arange(7) * 2 * math.pi / 7
    ring = 0.99 * R * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    lone = np.array([[5.0 * R, 0.0], [5.1 * R, 0.0]])
    found = densest(np.concatenate([lone, ring]), AREA)
    assert found.members.tolist() == [False] * 2 + [True] * 7
    assert found.centre == pytest.approx((0.0, 0.0), abs=0.02 * R)


def test_nothing_and_too_little_have_no_window():
    nothing = np.zeros((0, 2))
    assert densest(nothing, AREA) is None
    assert richest(nothing, np.zeros(0, bool), AREA) is None
    far = np.array([[0.0, 0.0], [500.0, 0.0]])
    assert densest(far, AREA, least=2) is None
    assert richest(far, np.array([True, False]), AREA, least=2) is None


def test_of_equal_windows_the_topmost_and_then_leftmost_is_taken():
    points = np.array([[900.0, 0.0], [0.0, 900.0], [0.0, 0.0]])
    assert densest(points, AREA).centre == (0.0, 0.0)
    assert densest(points[::-1], AREA).centre == (0.0, 0.0)


def test_counted_points_are_many_and_the_others_only_enough():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [500.0, 0.0], [501.0, 0.0], [502.0, 0.0]])
    counted = np.array([True, True, True, False, False])
    assert densest(points, AREA, counted=counted).members.tolist() == [True, True, False, False, False]
    assert densest(points, AREA, counted=counted, least=3).members.tolist() == [False, False, True, True, True]


@given(places)
@settings(max_examples=60, deadline=None)
def test_no_disc_holds_more(points):
    found = densest(points, AREA)
    assert found.count == every_disc(points).sum(axis=1).max()
    inside = np.hypot(*(points - found.centre).T) <= R * (1 + 1e-9)
    assert np.array_equal(inside, found.members)


@given(places, st.data(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_no_disc_of_so_many_points_has_a_higher_share(points, data, least):
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=len(points), max_size=len(points))))
    found = richest(points, positive, AREA, least=least)
    discs = every_disc(points)
    discs = discs[discs.sum(axis=1) >= least]
    if not len(discs):
        assert found is None
        return
    shares = discs[:, positive].sum(axis=1) / discs.sum(axis=1)
    assert found.count >= least
    assert positive[found.members].mean() == pytest.approx(shares.max())


@given(places, st.integers(-500, 500), st.integers(-500, 500), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_moved_or_turned_points_give_the_same_count(points, right, down, quarters):
    turned = points @ np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), quarters)
    assert densest(turned + np.array([right, down]), AREA).count == densest(points, AREA).count


@given(places, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_points_does_not_matter(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    assert densest(points[order], AREA).centre == pytest.approx(densest(points, AREA).centre)


def test_very_many_points_are_searched_on_a_grid(monkeypatch):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 2000, (700, 2)), rng.normal((600, 1300), 15, (60, 2))])
    positive = np.append(rng.random(700) < 0.2, np.ones(60, bool))
    exact = densest(points, AREA), richest(points, positive, AREA, least=20)
    monkeypatch.setattr(hotspot, "_PAIRS", 0)
    quick = densest(points, AREA), richest(points, positive, AREA, least=20)
    for mine, best in zip(quick, exact, strict=True):
        inside = np.hypot(*(points - mine.centre).T) <= R * (1 + 1e-9)
        assert np.array_equal(inside, mine.members)
        assert math.dist(mine.centre, best.centre) < R / 2
    assert 0.95 * exact[0].count <= quick[0].count <= exact[0].count
    assert 0.95 * positive[exact[1].members].mean() <= positive[quick[1].members].mean()
    turned = points[:, ::-1] * [1.0, -1.0]
    assert densest(turned, AREA).count == quick[0].count
