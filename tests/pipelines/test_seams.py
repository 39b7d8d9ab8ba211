import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging import seams


def unique(rows, radius=3.0):
    centres = np.array([r[:2] for r in rows], float).reshape(-1, 2)
    return seams.unique(
        centres, np.array([r[2] for r in rows], float), np.array([r[3] for r in rows], np.int64), radius
    ).tolist()


def test_seen_by_two_patches_it_is_kept_once_where_it_lies_deeper():
    assert unique([(100.4, 50, 0.4, 1), (99.8, 50, 0.2, 0)]) == [True, False]


def test_outside_both_cores_it_is_still_kept_once():
    assert unique([(100.5, 50, -0.5, 0), (99.4, 50, -0.6, 1)]) == [True, False]


def test_neighbours_of_one_patch_are_two():
    assert unique([(100, 50, 0.1, 0), (101, 50, 0.2, 0)]) == [True, True]


def test_far_apart_they_are_two():
    assert unique([(100, 50, 0.1, 0), (104, 50, 0.2, 1)]) == [True, True]


def test_at_a_corner_four_patches_give_one():
    assert sum(unique([(100 + dx, 50, d, n) for n, (dx, d) in enumerate([(0, 0), (0.5, 0.5), (0, 0), (1, -0.5)])])) == 1


def test_nothing_is_nothing():
    assert unique([]) == []


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.floats(-2, 5), st.integers(0, 3)), max_size=25),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_the_order_of_candidates_does_not_matter(rows, random):
    rows = [(c * 1.7, r * 1.7, d, p) for c, r, d, p in dict.fromkeys(rows)]
    kept = {row for row, keep in zip(rows, unique(rows), strict=True) if keep}
    shuffled = rows[:]
    random.shuffle(shuffled)
    assert kept == {row for row, keep in zip(shuffled, unique(shuffled), strict=True) if keep}
