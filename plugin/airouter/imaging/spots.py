"""The contiguous regions of a mask: where each lies, how large it is, its outline."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from airouter.imaging import contours


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """One region. `centre`: of gravity, (column, row), the centre of the first pixel being (0.5, 0.5); `area`: pixels.

    `box`: top, left, bottom, right; `inside`: bool [rows, columns] of the box, its pixels.
    """

    centre: tuple[float, float]
    area: int
    box: tuple[int, int, int, int]
    inside: NDArray[np.bool_] = field(repr=False)

    @property
    def diameter(self) -> float:
        """Of the circle with the same area, in pixels."""
        return float(np.sqrt(4.0 * self.area / np.pi))

    @property
    def height(self) -> int:
        """Rows from the first to the last."""
        return self.box[2] - self.box[0]

    def outline(self) -> NDArray[np.float64]:
        """Outer boundary, float64 [n, 2] of (column, row), closed without repeating the first point."""
        top, left, *_ = self.box
        return contours.outline(self.inside).astype(np.float64) + np.array([left, top], np.float64)

    def distance(self, to: tuple[float, float]) -> float:
        """From a point to the middle of the nearest pixel, 0 where the point lies in the region."""
        rows, columns = np.nonzero(self.inside)
        away = np.hypot(columns + self.box[1] + 0.5 - to[0], rows + self.box[0] + 0.5 - to[1])
        nearest = float(away.min())
        return 0.0 if nearest <= np.sqrt(0.5) else nearest


def spots(mask: NDArray[np.bool_], least: float = 1.0, *, fill: bool = False) -> list[Spot]:
    """The 8-connected regions of a mask [rows, columns] with `least` pixels or more, the largest first.

    Of equal ones the upper, then the left one comes first. `fill`: holes belong to the region around them.
    """
    if fill:
        mask = ndimage.binary_fill_holes(mask)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask, np.uint8), None, None, None, 8
    )
    found = []
    for n in range(1, count):
        left, top, width, height, area = (int(v) for v in stats[n])
        if area >= least:
            box = (top, left, top + height, left + width)
            inside = labels[top : top + height, left : left + width] == n
            found.append(Spot((float(centres[n, 0]) + 0.5, float(centres[n, 1]) + 0.5), area, box, inside))
    found.sort(key=lambda s: (-s.area, s.box))
    return found
