"""How near two regions of a mask come to each other, and where.

A pixel is a square. Two regions of pixels are nearest to each other at corners of pixels on their borders, so that the
distance between these corners is the Euclidean distance of the regions: exact, and 0 where they touch. Corners are
(column, row) in pixels of the mask, the corner of its top left pixel being (0, 0).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

_STEP: Final = 0.5  # pixels, at most, between the points that stand for a line


@dataclass(frozen=True, slots=True)
class Path:
    """A straight path: (column, row) of its two ends and its length, in pixels."""

    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length(self) -> float:
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))

    @property
    def points(self) -> NDArray[np.float64]:
        """float64 [2, 2]"""
        return np.array([self.start, self.end], np.float64)


def corners(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """float64 [n, 2]: the corners on the border of a mask, row by row: some of the pixels around each, but not all."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((0, 2))
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).view(np.uint8)
    around = part[:-1, :-1] + part[1:, :-1] + part[:-1, 1:] + part[1:, 1:]
    row, column = np.nonzero((around > 0) & (around < 4))
    return np.stack([column + columns[0], row + rows[0]], axis=1).astype(np.float64)


def shortest(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Path | None:
    """The shortest path between two masks of one shape that have no pixel in common; None where one is empty."""
    return nearest(corners(one), corners(other))


def nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> Path | None:
    """The shortest path from one of the points [n, 2] to one of the others [m, 2]; None where there are none of either.

    Of equals it is that of the first point.
    """
    if not len(points) or not len(others):
        return None
    lengths, which = KDTree(others).query(points)
    first = int(np.argmin(lengths))
    (start, end) = (tuple(place.tolist()) for place in (points[first], others[int(which[first])]))
    return Path(start, end)


def to_points(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> Path | None:
    """The shortest path from a mask to one of the points [n, 2], of length 0 where one lies in it.

    None where there is no point or no pixel.
    """
    inside = np.flatnonzero(_inside(mask, points))
    if len(inside):
        column, row = points[inside[0]].tolist()
        return Path((column, row), (column, row))
    return nearest(corners(mask), points)


def away(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [n]: how far each of the points [n, 2] is from a mask, in pixels; infinity where that is empty."""
    border = corners(mask)
    if not len(border):
        return np.full(len(points), np.inf)
    return np.asarray(np.where(_inside(mask, points), 0.0, KDTree(border).query(points)[0]), np.float64)


def _inside(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    columns, rows = np.floor(points).astype(np.intp).T
    on = (columns >= 0) & (rows >= 0) & (columns < mask.shape[1]) & (rows < mask.shape[0])
    found = np.zeros(len(points), np.bool_)
    found[on] = mask[rows[on], columns[on]]
    return found


def along(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [m, 2]: points of a line [n, 2] of straight parts, at most half a pixel apart, its corners among them."""
    parts = [line[:1]]
    for start, end in pairwise(line):
        count = max(1, int(np.ceil(np.hypot(*(end - start)) / _STEP)))
        parts.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(parts)
