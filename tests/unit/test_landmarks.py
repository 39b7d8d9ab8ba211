"""Regions of a mask, and what is trusted as optic disc and fovea."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airouter.domain.study import Laterality
from airouter.imaging.alignment import alignment
from airouter.imaging.disc_cup import disc_cup
from airouter.imaging.landmarks import Landmarks, landmarks
from airouter.imaging.spots import spots


def circle(at, radius, size=200):
    y, x = np.mgrid[:size, :size] + 0.5
    return np.hypot(x - at[0], y - at[1]) < radius


@given(arrays(np.bool_, (12, 15)))
def test_regions_part_a_mask(mask):
    found = spots(mask)
    assert sum(spot.area for spot in found) == mask.sum()
    assert [spot.area for spot in found] == sorted((spot.area for spot in found), reverse=True)
    again = np.zeros_like(mask)
    for spot in found:
        top, left, bottom, right = spot.box
        assert spot.inside.sum() == spot.area
        assert not (again[top:bottom, left:right] & spot.inside).any()
        again[top:bottom, left:right] |= spot.inside
        assert left <= spot.centre[0] <= right
        assert top <= spot.centre[1] <= bottom
        points = spot.outline()
        assert points.min(axis=0) == pytest.approx([left, top], abs=1)
        assert points.max(axis=0) == pytest.approx([right, bottom], abs=1)
    assert np.array_equal(again, mask)


@given(arrays(np.bool_, (9, 9)), st.floats(1, 8))
def test_small_regions_are_left_out(mask, least):
    assert spots(mask, least) == [] or min(spot.area for spot in spots(mask, least)) >= least
    assert len(spots(mask, least)) == sum(spot.area >= least for spot in spots(mask))


def test_distance_is_to_the_nearest_pixel():
    mask = np.zeros((20, 20), bool)
    mask[5:8, 10:13] = True
    (spot,) = spots(mask)
    assert spot.centre == (11.5, 6.5)
    assert spot.distance((11.5, 6.5)) == 0
    assert spot.distance((4.5, 6.5)) == 6
    assert spot.distance((9.5, 1.5)) == pytest.approx(np.hypot(1, 4))


def test_a_ring_can_be_filled():
    ring = circle((50, 50), 20) & ~circle((50, 50), 10)
    (filled,) = spots(ring, fill=True)
    assert filled.area == circle((50, 50), 20).sum()
    assert filled.diameter == pytest.approx(40, rel=0.01)
    assert filled.height == 40


@settings(max_examples=40)
@given(st.floats(1.6, 3.9), st.floats(-0.3, 0.3), st.booleans())
def test_a_disc_to_the_right_is_a_right_eye(apart, slope, right):
    away = apart * 20
    fovea = (100.0, 100.0)
    disc = (100 + (1 if right else -1) * away * np.cos(slope), 100 + away * np.sin(slope))
    found = landmarks(circle(disc, 10), circle(fovea, 3), 180)
    assert isinstance(found, Landmarks)
    assert found.fovea == pytest.approx(fovea, abs=0.6)
    assert found.diameter == pytest.approx(20, rel=0.05)
    assert found.nasal == (1 if right else -1)
    assert found.contradicts(Laterality.L) == right
    assert found.contradicts(Laterality.R) != right


@pytest.mark.parametrize(
    ("disc", "fovea", "why"),
    [
        (np.zeros((200, 200), bool), circle((60, 100), 3), "disc was not found"),
        (circle((120, 100), 10), np.zeros((200, 200), bool), "fovea was not found"),
        (circle((120, 100), 60), circle((20, 100), 3), "of the field's width"),
        (circle((120, 100), 2), circle((100, 100), 3), "of the field's width"),
        (circle((120, 100), 10), circle((110, 100), 3), "0.5 disc diameters apart"),
        (circle((190, 100), 10), circle((10, 100), 3), "9.0 disc diameters apart"),
        (circle((100, 150), 10), circle((100, 100), 3), "implausibly"),
    ],
)
def test_what_lies_implausibly_is_not_trusted(disc, fovea, why):
    assert why in landmarks(disc, fovea, 180)


@settings(max_examples=30)
@given(st.floats(3, 14))
def test_the_ratios_of_circles(radius):
    field = np.ones((200, 200), bool)
    found = disc_cup(circle((100, 100), 15), circle((100, 100), radius), 180, field)
    assert not isinstance(found, str)
    assert found.vertical == pytest.approx(radius / 15, abs=0.05)
    assert found.area == pytest.approx((radius / 15) ** 2, abs=0.06)
    assert found.rim == 1 - found.area


@pytest.mark.parametrize(
    ("disc", "cup", "why"),
    [
        (circle((8, 100), 15), circle((8, 100), 5), "edge of the photograph"),
        (circle((150, 100), 15), circle((150, 100), 5), "edge of the field"),
        (circle((100, 100), 15), circle((50, 100), 5), "does not lie in the optic disc"),
        (circle((100, 100), 15), np.zeros((200, 200), bool), "no cup"),
    ],
)
def test_a_cut_disc_or_a_stray_cup_is_not_measured(disc, cup, why):
    field = circle((100, 100), 60)
    if why.startswith("edge of the photograph"):
        field[:] = True
    assert why in disc_cup(disc, cup, 120, field)


@pytest.mark.parametrize(
    ("disc", "fovea", "fits"),
    [
        ((150, 100), (100, 100), True),  # macular field
        ((100, 100), (150, 100), True),  # nasal field
        ((125, 100), (75, 100), True),  # both
        ((172, 100), (122, 100), True),  # the fovea 2.9 disc diameters from the edge
        ((180, 100), (150, 100), False),  # the fovea 1.5, and the disc cut
        ((170, 100), None, False),
        ((100, 100), None, True),
        (None, (100, 100), False),  # without a disc there is no measure
        (None, None, False),
    ],
)
def test_a_photograph_looks_at_macula_or_disc(disc, fovea, fits):
    nothing = np.zeros((200, 200), bool)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    outline = np.stack([100 + 80 * np.cos(angle), 100 + 80 * np.sin(angle)], axis=1)
    found = alignment(
        circle(disc, 10) if disc else nothing, circle(fovea, 3) if fovea else nothing, outline
    )  # fmt: skip
    assert (found.problem == "") == fits
    if disc and fovea:
        assert found.fovea == pytest.approx((80 - np.hypot(fovea[0] - 100, fovea[1] - 100)) / 20, abs=0.1)
        assert found.disc == pytest.approx((80 - np.hypot(disc[0] - 100, disc[1] - 100)) / 20 - 0.5, abs=0.1)
