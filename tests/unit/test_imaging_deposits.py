"""Sizes of the connected parts of a mask: by hand, and as laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label, regionprops

from airouter.imaging.deposits import deposits, greatest_dimension
from airouter.imaging.distance import corners

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def test_a_rectangle_is_as_long_as_its_diagonal():
    mask = np.zeros((20, 20), bool)
    mask[4:7, 6:10] = True  # 3 x 4
    found = deposits(mask)
    assert (found.count, found.axis.length) == (1, 5.0)
    assert {found.axis.start, found.axis.end} in ({(6, 4), (10, 7)}, {(10, 4), (6, 7)})
    assert np.array_equal(found.largest, mask)


def test_the_longest_is_the_largest_not_that_of_the_greatest_area():
    mask = np.zeros((30, 30), bool)
    mask[2:10, 2:10] = True  # area 64, 11.3 long
    mask[20, 2:22] = True  # area 20, 20.02 long
    found = deposits(mask)
    assert found.count == 2
    assert found.largest.sum() == 20
    assert found.axis.length == pytest.approx(np.hypot(20, 1))


def test_sizes_of_several_are_not_added_up_unless_a_gap_is_forgiven():
    mask = np.zeros((12, 60), bool)
    mask[5:7, 5:25] = True
    mask[5:7, 29:49] = True  # 4 pixels apart
    assert deposits(mask).count == deposits(mask, gap=3.0).count == 2
    assert deposits(mask).axis.length == pytest.approx(np.hypot(20, 2))
    joined = deposits(mask, gap=4.0)
    assert joined.count == 1
    assert joined.axis.length == pytest.approx(np.hypot(44, 2))
    assert np.array_equal(joined.largest, mask)  # the gap itself is no tumour


def test_specks_are_left_out():
    mask = np.zeros((20, 20), bool)
    mask[2, 2:12] = True
    mask[10:14, 10:14] = True
    assert deposits(mask, least=11).count == 1
    assert deposits(mask, least=11).largest.sum() == 16
    nothing = deposits(mask, least=17)
    assert (nothing.count, nothing.largest, nothing.axis) == (0, None, None)
    assert deposits(np.zeros((4, 4), bool)).count == 0


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_the_greatest_dimension_is_that_of_all_pairs_of_corners(mask):
    found = deposits(mask)
    labels, count = label(mask, connectivity=2, return_num=True)
    assert found.count == count
    if not count:
        return
    lengths = []
    for number in range(1, count + 1):
        points = corners(labels == number)
        lengths.append(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)).max())
    assert found.axis.length == pytest.approx(max(lengths), rel=1e-6)
    assert found.axis.length == pytest.approx(np.hypot(*np.subtract(found.axis.start, found.axis.end)))
    for turned in (np.rot90, np.fliplr, np.transpose):
        other = deposits(turned(mask))
        assert (other.count, other.axis.length) == (count, pytest.approx(found.axis.length))


def test_it_agrees_with_another_library_within_a_pixel():
    y, x = np.ogrid[:90, :140]
    mask = ((x - 70) / 55) ** 2 + ((y - 45 - (x - 70) / 4) / 18) ** 2 < 1
    (feret,) = (r.feret_diameter_max for r in regionprops(mask.astype(int)))
    assert greatest_dimension(corners(mask)).length == pytest.approx(feret, abs=1.5)
