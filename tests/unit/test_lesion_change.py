"""Lesions of two masks on one grid: what is new, grown, smaller, gone or the same."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.imaging.lesion_change import Change, changes

SIDE = 120


def mask(*discs):
    made = np.zeros((SIDE, SIDE), np.uint8)
    for x, y, radius in discs:
        cv2.circle(made, (x, y), radius, 1, -1)
    return made.astype(bool)


def compared(now, then, reach=3.0, min_growth=0.25, least=4.0):
    return changes(now, then, reach, min_growth, least)


def test_each_change():
    now = mask((20, 20, 5), (60, 20, 9), (20, 60, 5), (60, 60, 4))
    then = mask((60, 20, 5), (20, 60, 5), (60, 60, 9), (100, 100, 6))
    found = {lesion.change: lesion for lesion in compared(now, then)}
    assert set(found) == set(Change)
    assert found[Change.NEW].then == 0
    assert found[Change.GONE].now == 0
    assert found[Change.GROWN].now == mask((60, 20, 9)).sum()
    assert found[Change.GROWN].then == mask((60, 20, 5)).sum()
    assert found[Change.NONE].now == found[Change.NONE].then
    outline = found[Change.GONE].outline()
    assert np.abs(outline.mean(axis=0) - 100.5).max() < 1.0


def test_a_shift_of_less_than_the_reach_is_no_change():
    (found,) = compared(mask((50, 50, 2)), mask((53, 50, 2)), reach=4.0)
    assert found.change is Change.NONE
    assert len(compared(mask((50, 50, 2)), mask((65, 50, 2)), reach=4.0)) == 2


def test_a_lesion_that_splits_is_one_lesion():
    (found,) = compared(mask((48, 50, 4), (58, 50, 4)), mask((53, 50, 8)), reach=2.0)
    assert (found.parts_now, found.parts_then) == (2, 1)
    assert found.change is Change.SHRUNK


def test_growth_must_be_of_the_diameter_and_of_the_area():
    now, then = mask((50, 50, 11)), mask((50, 50, 9))
    assert compared(now, then, reach=3.0)[0].change is Change.GROWN
    assert compared(now, then, reach=5.0)[0].change is Change.NONE
    assert compared(now, then, reach=3.0, min_growth=0.9)[0].change is Change.NONE


def test_specks_are_left_out_but_what_shrinks_to_a_speck_is_not_gone():
    assert compared(mask((20, 20, 1)), mask(), least=20) == []
    (found,) = compared(mask((50, 50, 1)), mask((50, 50, 6)), least=20)
    assert found.change is Change.SHRUNK
    assert found.now == mask((50, 50, 1)).sum()


@given(st.integers(0, 10_000))
def test_now_and_then_exchanged_give_the_opposite(seed):
    rng = np.random.default_rng(seed)
    one, other = (mask(*([*rng.integers(8, 112, 2).tolist(), int(rng.integers(1, 8))] for _ in range(5))) for _ in "ab")
    there, back = compared(one, other), compared(other, one)
    opposite = {Change.NEW: Change.GONE, Change.GONE: Change.NEW, Change.NONE: Change.NONE}
    assert sorted(lesion.box for lesion in there) == sorted(lesion.box for lesion in back)
    by_box = {lesion.box: lesion for lesion in back}
    for lesion in there:
        again = by_box[lesion.box]
        assert (lesion.now, lesion.then) == (again.then, again.now)
        if lesion.change in opposite:
            assert again.change is opposite[lesion.change] or again.change in (Change.GROWN, Change.SHRUNK)
    assert sum(lesion.now for lesion in there) <= one.sum()


def test_nothing_is_nothing():
    assert compared(mask(), mask()) == []
    with pytest.raises(IndexError):
        _ = compared(mask(), mask())[0]
