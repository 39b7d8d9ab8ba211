"""Outlines of label maps and masks as polygons.

Points are (column, row) in pixels, the centre of the top left pixel being (0.5, 0.5) (PS3.3 C.18.6): an outline runs
along the outer edges of its pixels, so the area inside is the area of the pixels and not half a pixel less all round.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SMOOTHING = 0.6  # pixels: less than one step of the staircase, so a polygon stays within a pixel of its pixels


def outline(mask: NDArray[np.bool_], tolerance: float = _SMOOTHING) -> NDArray[np.float32]:
    """Outer boundary of the largest 8-connected part of a mask; holes are not cut out.

    Args:
        mask: bool [rows, columns].
        tolerance: how far in pixels the polygon may leave the pixels' edges to save points; 0 keeps every corner.

    Returns:
        float32 [n, 2] of (column, row), closed without repeating the first point; n = 0 where the mask is empty.
    """
    if not mask.any():
        return np.zeros((0, 2), np.float32)
    rows, columns = mask.shape
    # Corners, edges and pixels as one grid of half pixels: pixel k covers 2k..2k+2, so a contour through the centres
    # of this grid's cells, which is what findContours draws, is a contour along the edges of the pixels.
    grid = np.zeros((2 * rows + 1, 2 * columns + 1), np.uint8)
    grid[1::2, 1::2] = mask
    grid = cv2.dilate(grid, np.ones((3, 3), np.uint8)).astype(np.uint8)
    contours, _ = cv2.findContours(grid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    longest = max(contours, key=cv2.contourArea)
    if tolerance > 0:
        simpler = cv2.approxPolyDP(longest, 2.0 * tolerance, True)
        longest = simpler if len(simpler) >= 3 else longest
    return (longest.reshape(-1, 2) / 2.0).astype(np.float32)


def outlines(labels: NDArray[np.int32], wanted: NDArray[np.integer]) -> list[NDArray[np.float32]]:
    """Outline of each wanted label, in the order asked.

    Args:
        labels: int32 [rows, columns], 0 is background.
        wanted: labels that occur in the map.

    Raises:
        ValueError: a label does not occur.
    """
    boxes = ndimage.find_objects(labels)
    found = []
    for label in wanted.tolist():
        box = boxes[label - 1] if 0 < label <= len(boxes) else None
        if box is None:
            raise ValueError(f"label {label} does not occur")
        found.append(outline(labels[box] == label) + np.array([box[1].start, box[0].start], np.float32))
    return found


def hull(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convex hull of [n, 2] points, n >= 1."""
    return np.asarray(cv2.convexHull(points.astype(np.float32)), np.float32).reshape(-1, 2)


def centroids(labels: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centre of gravity and pixel count of each label.

    Args:
        labels: int32 [rows, columns], 0 is background, 1..k the objects.

    Returns:
        float64 [k + 1, 2] of (column, row), NaN where a label has no pixel, and int64 [k + 1] of pixels.
    """
    flat = labels.ravel()
    counts = np.bincount(flat, minlength=1)
    rows, columns = np.indices(labels.shape)
    sums = np.stack(
        [np.bincount(flat, weights=axis.ravel(), minlength=len(counts)) for axis in (columns, rows)], axis=1
    )
    centres = np.full(sums.shape, np.nan)
    np.divide(sums, counts[:, None], out=centres, where=counts[:, None] > 0)
    return centres + 0.5, counts
