"""What became of the lesions of one kind between two masks on the same grid: new, grown, smaller, gone, unchanged."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from airouter.imaging import contours


class Change(StrEnum):
    """What became of a lesion."""

    NEW = "new"
    GROWN = "grown"
    SHRUNK = "smaller"
    GONE = "gone"
    NONE = "unchanged"


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion over time, or several that were one or became one.

    `now`, `then`: area in pixels. `parts_now`, `parts_then`: contiguous regions. `box`: top, left, bottom, right;
    `inside_now`, `inside_then`: bool [rows, columns] of the box.
    """

    change: Change
    now: int
    then: int
    parts_now: int
    parts_then: int
    box: tuple[int, int, int, int]
    inside_now: NDArray[np.bool_] = field(repr=False)
    inside_then: NDArray[np.bool_] = field(repr=False)

    def outline(self) -> NDArray[np.float64]:
        """Of what is there now, or of what was there where it is gone; float64 [n, 2] of (column, row)."""
        shown = self.inside_then if self.change is Change.GONE else self.inside_now
        return contours.outline(shown).astype(np.float64) + np.array([self.box[1], self.box[0]], np.float64)


_EIGHT: Final = np.ones((3, 3), np.uint8)


def changes(
    now: NDArray[np.bool_], then: NDArray[np.bool_], reach: float, min_growth: float, least: float
) -> list[Lesion]:
    """Match the regions of two masks [rows, columns] by overlap, the largest change first.

    Args:
        reach: pixels by which two outlines of the same lesion may miss each other. Regions nearer than this are one
            lesion; a diameter that changes by less is unchanged.
        min_growth: share of the former area by which a lesion must change besides.
        least: pixels; regions below are left out of both masks. One that is below now and was above then, or the other
            way round, counts with what it has: it is neither gone nor new.
    """
    kept_now, kept_then = _kept(now, then, reach, least), _kept(then, now, reach, least)
    near = cv2.dilate((kept_now | kept_then).astype(np.uint8), _disc(reach / 2.0))
    labels, count = ndimage.label(near, _EIGHT)
    found = []
    for number, slices in enumerate(ndimage.find_objects(labels, count), 1):
        member = labels[slices] == number
        ours, theirs = kept_now[slices] & member, kept_then[slices] & member
        a, b = int(ours.sum()), int(theirs.sum())
        if not a and not b:
            continue
        top, left = slices[0].start, slices[1].start
        box = (top, left, slices[0].stop, slices[1].stop)
        parts_now, parts_then = (int(ndimage.label(each, _EIGHT)[1]) for each in (ours, theirs))
        change = _change(a, b, reach, min_growth)
        found.append(Lesion(change, a, b, parts_now, parts_then, box, ours, theirs))
    found.sort(key=lambda lesion: (-abs(lesion.now - lesion.then), lesion.box))
    return found


def _kept(mask: NDArray[np.bool_], other: NDArray[np.bool_], reach: float, least: float) -> NDArray[np.bool_]:
    """Regions of `least` pixels or more, and smaller ones near a region of the other mask that has as many."""
    large = _large(mask, least)
    near = cv2.dilate(_large(other, least).astype(np.uint8), _disc(reach)) > 0
    labels, count = ndimage.label(mask, _EIGHT)
    touching = np.zeros(count + 1, np.bool_)
    touching[np.unique(labels[near & mask])] = True
    touching[0] = False
    return np.asarray(large | touching[labels], np.bool_)


def _large(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask, _EIGHT)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= least
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def _disc(radius: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _change(now: int, then: int, reach: float, min_growth: float) -> Change:
    if not then:
        return Change.NEW
    if not now:
        return Change.GONE
    wider = 2.0 * (np.sqrt(now / np.pi) - np.sqrt(then / np.pi))  # of the discs with the same areas
    if abs(wider) < reach or abs(now - then) < min_growth * then:
        return Change.NONE
    return Change.GROWN if now > then else Change.SHRUNK
