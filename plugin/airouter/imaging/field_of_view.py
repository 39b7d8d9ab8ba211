"""Where a fundus camera saw the retina: the lit field on the black surround."""

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging import contours

_DARK = 12  # grey levels of 255: sensor noise and JPEG ringing of the surround stay below
_SIDE = 512  # the field is large and smooth: a small copy shows it as well


def field_of_view(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Outline of the lit field and its share of the image.

    The brightest of the three channels above a fixed threshold, gaps closed, the largest part, its convex hull (the
    field is a disc, at most cut by the frame).

    Args:
        rgb: uint8 [rows, columns, 3].

    Returns:
        float64 [n, 2] of (column, row) in image pixels, n = 0 where all is dark, and the share 0..1.

    Raises:
        ValueError: not an RGB image with 8 bits per sample.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an RGB image of 8 bits per sample is needed, not {rgb.dtype} {rgb.shape}")
    rows, columns = rgb.shape[:2]
    step = max(1.0, max(rows, columns) / _SIDE)
    size = (max(1, round(columns / step)), max(1, round(rows / step)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    lit = (small.max(axis=2) > _DARK).astype(np.uint8)
    reach = max(1, round(max(size) / 60))
    # opened first, so that a bright label or a row of text beside the field does not grow into it
    lit = cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((reach, reach), np.uint8))
    framed = cv2.copyMakeBorder(lit, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    lit = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))[reach:-reach, reach:-reach]
    outline = contours.outline(lit.astype(bool))
    if not len(outline):
        return np.zeros((0, 2)), 0.0
    hull = contours.hull(outline)
    share = float(cv2.contourArea(hull)) / (size[0] * size[1])
    return (hull * [columns / size[0], rows / size[1]]).astype(np.float64), share
