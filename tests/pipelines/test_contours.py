import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from airouter.imaging import contours


@example(2, 26, 12, (0, 0))
@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 179), st.tuples(st.integers(0, 40), st.integers(0, 40)))
@settings(max_examples=60, deadline=None)
def test_an_outline_encloses_its_pixels_within_a_pixel_border(a, b, angle, offset):
    mask = np.zeros((110, 110), np.uint8)
    cv2.ellipse(mask, (32 + offset[0], 32 + offset[1]), (a, b), angle, 0, 360, 1, -1)
    polygon = contours.outline(mask.astype(bool))
    # by the centres of the pixels: cv2.fillPoly also paints what the outline only touches
    drawn = polygon2mask(mask.shape, polygon[:, ::-1] - 0.5)
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    shrunk = cv2.erode(mask, np.ones((3, 3), np.uint8))
    assert (drawn <= grown).all()
    assert (drawn >= shrunk).all()


def test_without_simplification_a_rectangle_has_the_area_of_its_pixels():
    mask = np.zeros((20, 20), bool)
    mask[3:9, 4:15] = True
    polygon = contours.outline(mask, tolerance=0)
    assert cv2.contourArea(polygon) == 6 * 11
    assert polygon.min(axis=0).tolist() == [4, 3]
    assert polygon.max(axis=0).tolist() == [15, 9]


def test_a_single_pixel_is_a_unit_square():
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    polygon = contours.outline(mask, tolerance=0)
    assert cv2.contourArea(polygon) == 1.0
    assert len(contours.outline(mask)) >= 3


def test_an_empty_mask_has_no_outline():
    assert contours.outline(np.zeros((4, 4), bool)).shape == (0, 2)


def test_touching_labels_have_outlines_of_their_own():
    labels = np.zeros((10, 12), np.int32)
    labels[2:6, 2:6], labels[2:6, 6:10] = 1, 2
    second, first = contours.outlines(labels, np.array([2, 1]))
    assert first[:, 0].max() == second[:, 0].min() == 6


@pytest.mark.parametrize("label", [0, 3])
def test_a_label_that_does_not_occur_is_refused(label):
    labels = np.ones((3, 3), np.int32)
    with pytest.raises(ValueError, match="does not occur"):
        contours.outlines(labels, np.array([label]))


def test_centroids_are_at_the_middle_of_the_pixels():
    labels = np.zeros((10, 12), np.int32)
    labels[2:6, 3:5] = 2
    centres, counts = contours.centroids(labels)
    assert centres[2].tolist() == [4.0, 4.0]
    assert counts.tolist() == [112, 0, 8]
    assert np.isnan(centres[1]).all()
