"""The Nottingham grade by hand: every border, the published table of mitoses, and what must hold for all scores."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.pipelines.grading import Nottingham, mitosis_score, pleomorphism_score, tubule_score

SCORES = st.integers(1, 3)


@pytest.mark.parametrize(
    ("percent", "score"), [(100, 1), (75.1, 1), (75, 2), (50, 2), (10, 2), (9.99, 3), (1, 3), (0, 3)]
)
def test_tubules(percent, score):
    assert tubule_score(percent) == score


@pytest.mark.parametrize(
    ("ratio", "variation", "score"),
    [(1.0, 0.1, 1), (1.49, 0.9, 1), (1.5, 0.2, 2), (2.0, 0.49, 2), (2.01, 0.0, 3), (1.5, 0.5, 3), (3.0, 0.8, 3)],
)
def test_pleomorphism(ratio, variation, score):
    assert pleomorphism_score(ratio, variation, 0.5) == score


# Diameter of a field in mm, most mitoses in ten fields with 1 point, fewest with 3 (College of American Pathologists).
TABLE = [
    (0.40, 4, 10), (0.41, 4, 10), (0.42, 5, 11), (0.43, 5, 11), (0.44, 5, 12), (0.45, 5, 12), (0.46, 6, 13),
    (0.47, 6, 13), (0.48, 6, 14), (0.49, 6, 14), (0.50, 7, 15), (0.51, 7, 15), (0.52, 7, 16), (0.53, 8, 17),
    (0.54, 8, 17), (0.55, 8, 18), (0.56, 8, 18), (0.57, 9, 19), (0.58, 9, 20), (0.59, 9, 20), (0.60, 10, 21),
    (0.61, 10, 22), (0.62, 11, 23), (0.63, 11, 23), (0.64, 11, 24),
]  # fmt: skip


@pytest.mark.parametrize(("diameter", "first", "third"), TABLE)
def test_mitoses_are_scored_as_in_the_table_to_one_mitosis(diameter, first, third):
    area = 10 * 3.14159265 / 4 * diameter**2
    most = max(n for n in range(40) if mitosis_score(n, area) == 1)
    fewest = min(n for n in range(40) if mitosis_score(n, area) == 3)
    assert abs(most - first) <= 1
    assert abs(fewest - third) <= 1


@pytest.mark.parametrize("area", [1.96, 2.0])  # fields of 0.50 mm, and the window's default
def test_mitoses_in_two_square_millimetres_are_scored_as_in_the_table(area):
    assert [mitosis_score(n, area) for n in (0, 7, 8, 14, 15, 100)] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("scores", "points", "grade", "code"),
    [
        ((1, 1, 1), 3, 1, codes.NOTTINGHAM_1),
        ((3, 1, 1), 5, 1, codes.NOTTINGHAM_1),
        ((2, 2, 2), 6, 2, codes.NOTTINGHAM_2),
        ((3, 3, 1), 7, 2, codes.NOTTINGHAM_2),
        ((3, 3, 2), 8, 3, codes.NOTTINGHAM_3),
        ((3, 3, 3), 9, 3, codes.NOTTINGHAM_3),
    ],
)
def test_the_grade_follows_from_the_points(scores, points, grade, code):
    made = Nottingham(*scores)
    assert (made.points, made.grade, made.code) == (points, grade, code)
    assert str(made) == f"{'+'.join(map(str, scores))} = {points}"


def test_the_codes_are_those_of_their_points():
    for scores in itertools.product((1, 2, 3), repeat=3):
        made = Nottingham(*scores)
        low, high = (int(n) for n in made.code.meaning.split(": ")[1].split(" ")[0].split("-"))
        assert low <= made.points <= high


@given(SCORES, SCORES, SCORES, st.integers(0, 2))
def test_no_component_that_is_worse_gives_a_better_grade(a, b, c, which):
    scores = [a, b, c]
    worse = list(scores)
    worse[which] = min(3, worse[which] + 1)
    assert Nottingham(*worse).grade >= Nottingham(*scores).grade


@given(st.integers(0, 200), st.integers(0, 20), st.floats(0.1, 10), st.floats(0, 5))
def test_more_mitoses_and_less_area_never_have_fewer_points(count, more, area, wider):
    assert mitosis_score(count + more, area) >= mitosis_score(count, area) >= mitosis_score(count, area + wider)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0, 2))
def test_fewer_tubules_and_larger_nuclei_never_have_fewer_points(a, b, small, large, variation):
    assert tubule_score(min(a, b)) >= tubule_score(max(a, b))
    small, large = sorted((small, large))
    assert pleomorphism_score(large, variation, 0.5) >= pleomorphism_score(small, variation, 0.5)


def test_what_cannot_be_is_refused():
    for wrong in (lambda: tubule_score(100.5), lambda: mitosis_score(3, 0.0), lambda: mitosis_score(-1, 2.0),
                  lambda: pleomorphism_score(float("nan"), 0.1, 0.5), lambda: Nottingham(0, 1, 2)):  # fmt: skip
        with pytest.raises(ValueError, match=r"must be|cannot be"):
            wrong()
