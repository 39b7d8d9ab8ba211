"""Fovea, optic disc and maps seen from the front, on maps of known shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain.study import Laterality
from airouter.imaging import disc, enface, fovea
from airouter.imaging.etdrs import Side

SPACING = (0.2, 0.05)


def about(shape, centre, spacing=SPACING):
    rows, columns = np.indices(shape)
    return np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1])


def pit(centre, depth=80.0, shape=(33, 130)):
    """An inner retina of 100 um with a pit of 0.5 mm."""
    return 100.0 - depth * np.exp(-((about(shape, centre) / 0.5) ** 2))


@settings(max_examples=25, deadline=None)
@given(st.floats(11, 21), st.floats(45, 85))
def test_the_pit_is_found_to_a_fraction_of_the_scans_distance(row, column):
    at = fovea.find(pit((row, column)), 200.0, 50.0)
    assert not isinstance(at, str)
    assert about((1, 1), (at[0] - row, at[1] - column))[0, 0] < 0.05  # mm


def test_columns_that_are_not_trusted_do_not_move_it():
    values = pit((16.0, 64.0))
    values[:, 60:63] = np.nan
    at = fovea.find(values, 200.0, 50.0)
    assert at == pytest.approx((16.0, 64.0), abs=1.0)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.full((33, 130), 100.0), "no clear foveal pit"),
        (pit((16.0, 64.0), depth=15.0), "no clear foveal pit"),
        (np.full((33, 130), np.nan), "no trustworthy inner retina"),
        (pit((3.0, 20.0), shape=(7, 40)), "not covered"),
    ],
)
def test_where_the_pit_is_not_clear_there_is_no_centre(values, why):
    assert why in str(fovea.find(values, 200.0, 50.0))


def test_a_disc_is_found_with_its_centre_and_area():
    mask = about((41, 160), (19.0, 85.0), (0.146, 0.0375)) <= 0.85
    mask[:, 80] = False  # a vessel
    found = disc.find(mask, 146.0, 37.5)
    assert found is not None
    assert found.centre == pytest.approx((19.0, 85.0), abs=0.3)
    assert found.area_mm2 == pytest.approx(np.pi * 0.85**2, rel=0.06)
    assert found.mask[19, 80]


def test_of_two_openings_the_one_in_the_middle_is_the_disc():
    shape, spacing = (41, 160), (0.146, 0.0375)
    mask = (about(shape, (20.0, 80.0), spacing) <= 0.7) | (about(shape, (10.0, 25.0), spacing) <= 0.8)
    found = disc.find(mask, 146.0, 37.5)
    assert found.centre == pytest.approx((20.0, 80.0), abs=0.3)


@pytest.mark.parametrize("radius", [0.2, 2.0])
def test_an_opening_of_another_size_is_no_disc(radius):
    mask = about((41, 160), (20.0, 80.0), (0.146, 0.0375)) <= radius
    assert disc.find(mask, 146.0, 37.5) is None


def test_an_opening_at_the_border_is_cut_off_and_no_disc():
    assert disc.find(about((41, 160), (2.0, 80.0), (0.146, 0.0375)) <= 0.85, 146.0, 37.5) is None


RIGHT_EYE = {Side.UP: "superior", Side.DOWN: "inferior", Side.RIGHT: "nasal", Side.LEFT: "temporal"}


def flipped(sides, *pairs):
    swap = dict(pairs) | {b: a for a, b in pairs}
    return {swap.get(side, side): name for side, name in sides.items()}


@pytest.mark.parametrize(
    ("sides", "turn"),
    [
        (RIGHT_EYE, lambda m: m),
        (flipped(RIGHT_EYE, (Side.UP, Side.DOWN)), lambda m: m[::-1]),
        (flipped(RIGHT_EYE, (Side.LEFT, Side.RIGHT)), lambda m: m[:, ::-1]),
        (flipped(RIGHT_EYE, (Side.UP, Side.LEFT), (Side.DOWN, Side.RIGHT)), lambda m: m.T),
    ],
)
def test_a_map_is_turned_with_its_points(sides, turn):
    """However it was scanned, superior comes first and the nose of a right eye lies to the right."""
    anatomical = np.arange(12.0).reshape(3, 4)
    scanned = turn(anatomical)
    point = tuple(int(v[0]) for v in np.nonzero(scanned == 6.0))
    spacing = (0.2, 0.05) if scanned.shape == (3, 4) else (0.05, 0.2)
    made = enface.turned(scanned, spacing, sides, Laterality.R, [point])
    assert made.anatomical
    assert np.array_equal(made.values, anatomical)
    assert made.spacing_mm == (0.2, 0.05)
    assert made.points == ((1.0, 2.0),)


def test_a_left_eye_has_its_nose_on_the_left():
    sides = flipped(RIGHT_EYE, (Side.LEFT, Side.RIGHT))
    values = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(enface.turned(values, SPACING, sides, Laterality.L).values, values)


def test_without_laterality_only_left_and_right_stay_as_scanned():
    sides = {Side.DOWN: "superior", Side.UP: "inferior"}
    values = np.arange(12.0).reshape(3, 4)
    made = enface.turned(values, SPACING, sides, None)
    assert np.array_equal(made.values, values[::-1])
    assert (made.upright, made.anatomical) == (True, False)
    assert "left and right as scanned" in made.caveat


def test_without_a_superior_side_it_stays_as_scanned():
    values = np.arange(12.0).reshape(3, 4)
    made = enface.turned(values, SPACING, {Side.RIGHT: "nasal", Side.LEFT: "temporal"}, Laterality.R, [(1, 2)])
    assert not made.anatomical
    assert np.array_equal(made.values, values)
    assert made.points == ((1, 2),)


def test_a_picture_has_square_pixels_and_grey_where_nothing_is_known():
    values = np.full((30, 60), 300.0)
    values[:15] = np.nan
    made = enface.picture(enface.Turned(values, (0.2, 0.05), True, True), "Title", 150.0, 500.0)
    assert made.dtype == np.uint8
    assert made.shape[0] > 480  # 6 mm down, 3 mm across
    assert tuple(made[100, 120]) == (90, 90, 90)
    inside = made[400, 120]
    assert len(set(inside.tolist())) == 3
    lower = enface.picture(enface.Turned(values - 100.0, (0.2, 0.05), True, True), "Title", 150.0, 500.0)
    assert tuple(lower[400, 120]) != tuple(inside)


def test_differences_are_white_at_zero_and_red_above():
    values = np.zeros((20, 20))
    values[10:] = 30.0
    made = enface.picture(enface.Turned(values, (0.1, 0.1), True, True), "Title", -30.0, 30.0, diverging=True)
    assert made[100, 100].min() > 240
    red, green, blue = (int(v) for v in made[400, 100])
    assert red > green + 80 and red > blue + 80


def test_circles_are_drawn_about_the_centre():
    values = np.full((30, 30), 150.0)
    shown = enface.Turned(values, (0.2, 0.2), True, True)
    plain = enface.picture(shown, "", 150.0, 500.0)
    ringed = enface.picture(shown, "", 150.0, 500.0, centre=(14.5, 14.5), circles_mm=[0.5, 1.5, 3.0], cross=True)
    changed = np.any(plain != ringed, axis=2)[22:]
    away = np.hypot(*[v - 239.5 for v in np.nonzero(changed)]) / 80.0  # mm
    assert ((np.abs(away - 0.5) < 0.03) | (np.abs(away - 1.5) < 0.03) | (np.abs(away - 3.0) < 0.03)).mean() > 0.6
    assert away.max() < 3.05


def test_a_scale_without_extent_is_refused():
    with pytest.raises(ValueError, match="scale"):
        enface.picture(enface.Turned(np.zeros((2, 2)), (1.0, 1.0), True, True), "", 1.0, 1.0)


def test_letters_name_the_sides_that_are_known():
    """N lies towards the nose: on the right of a right eye, on the left of a left one."""
    flat = np.full((40, 40), 300.0)
    sides = {Side.UP: "superior", Side.DOWN: "inferior"}
    right = {**sides, Side.RIGHT: "nasal", Side.LEFT: "temporal"}
    left = {**sides, Side.LEFT: "nasal", Side.RIGHT: "temporal"}

    def drawn(known, eye):
        return enface.picture(enface.turned(flat, (0.15, 0.15), known, eye), "map", 100.0, 500.0)

    plain = drawn({}, None)
    upright, one, other = drawn(sides, None), drawn(right, Laterality.R), drawn(left, Laterality.L)
    middle, edge = slice(230, 290), slice(0, 16)

    def marked(picture, rows, columns):
        return bool((picture[rows, columns] != plain[rows, columns]).any())

    assert marked(upright, slice(22, 40), slice(225, 260)) and not marked(upright, middle, edge)
    assert marked(one, middle, edge) and marked(other, middle, edge)
    assert (one[middle, edge] != other[middle, edge]).any()  # T of the right eye, N of the left
