"""Connected parts of a mask and their greatest dimension."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from airouter.imaging.distance import Path, corners


@dataclass(frozen=True, slots=True, eq=False)
class Deposits:
    """The parts of a mask. `count`: how many; `largest`: bool as the mask, the one of the greatest dimension, of which
    `axis` is the path between its two farthest corners; None where there is no part."""

    count: int
    largest: NDArray[np.bool_] | None = field(default=None, repr=False)
    axis: Path | None = None


def deposits(mask: NDArray[np.bool_], gap: float = 0.0, least: float = 0.0) -> Deposits:
    """The contiguous parts of a mask, pixels that touch at a corner being contiguous.

    Parts no more than `gap` pixels apart, give or take one, count as one, as long as all of it. Parts of fewer than
    `least` pixels are left out. Of equal dimensions the first, row by row, is the largest.
    """
    labels, count = _parts(mask, gap)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = [number for number in range(1, count + 1) if sizes[number] and sizes[number] >= least]
    if not kept:
        return Deposits(0)
    boxes = _boxes(labels, count)
    longest, best = -1.0, kept[0]
    axis: Path | None = None
    # No part is longer than the diagonal of its box, so that most of them need not be measured.
    for number in sorted(kept, key=lambda n: -boxes[n].diagonal):
        box = boxes[number]
        if box.diagonal < longest:
            break
        found = greatest_dimension(corners(labels[box.window] == number) + np.array([box.left, box.top]))
        if found.length > longest or (found.length == longest and number < best):
            longest, best, axis = found.length, number, found
    return Deposits(len(kept), labels == best, axis)


def greatest_dimension(points: NDArray[np.float64]) -> Path:
    """The path between the two of the points [n, 2], n >= 1, that lie farthest apart (maximum Feret diameter)."""
    hull = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    away = np.hypot(*(hull[:, None] - hull[None]).transpose(2, 0, 1))
    one, other = np.unravel_index(int(away.argmax()), away.shape)
    start, end = sorted((tuple(hull[one].tolist()), tuple(hull[other].tolist())))
    return Path(start, end)


def _parts(mask: NDArray[np.bool_], gap: float) -> tuple[NDArray[np.int32], int]:
    """int32 as the mask: 0, or the number of the part from 1 on; and how many there are."""
    joined = mask.view(np.uint8)
    if gap > 0 and mask.any():
        # what lies within half the gap of the mask
        away = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        joined = (away <= gap / 2.0).astype(np.uint8)
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    found = np.asarray(labels, np.int32)
    if gap > 0:
        found[~mask] = 0
    return found, count - 1


@dataclass(frozen=True, slots=True)
class _Box:
    top: int
    left: int
    bottom: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def diagonal(self) -> float:
        return float(np.hypot(self.bottom - self.top, self.right - self.left))


def _boxes(labels: NDArray[np.int32], count: int) -> list[_Box]:
    """[number]: the rows and columns of each part; of the background a box without any."""
    found = ndimage.find_objects(labels, max_label=count)
    return [
        _Box(0, 0, 0, 0),
        *(_Box(b[0].start, b[1].start, b[0].stop, b[1].stop) if b else _Box(0, 0, 0, 0) for b in found),
    ]
