"""The parts of a mask on a map of the retina seen from the front: their areas and sizes in mm."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, slots=True, eq=False)
class Focus:
    """One 8-connected part. `greatest_mm`: its greatest dimension, corner to corner. `mask`: bool [rows, columns]."""

    area_mm2: float
    greatest_mm: float
    mask: NDArray[np.bool_]

    @property
    def diameter_mm(self) -> float:
        """Of the circle of the same area."""
        return float(2.0 * np.sqrt(self.area_mm2 / np.pi))


def foci(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> list[Focus]:
    """The parts of bool [rows, columns], the largest first; cells are `spacing_mm` (rows, columns) large."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    found = []
    for number in range(1, count + 1):
        part = parts == number
        found.append(Focus(float(part.sum()) * spacing_mm[0] * spacing_mm[1], _greatest(part, spacing_mm), part))
    return sorted(found, key=lambda f: -f.area_mm2)


def distance_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float], point: tuple[float, float]) -> float | None:
    """Shortest distance of a point (row, column in cells) from the cells of a mask; 0 within one, None without any."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    away = [
        np.maximum(np.abs(at - centre) - 0.5, 0.0) * spacing
        for at, centre, spacing in zip((rows, columns), point, spacing_mm, strict=True)
    ]
    return float(np.hypot(*away).min())


def _greatest(part: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> float:
    """Greatest distance of two corners of its cells."""
    rows, columns = np.nonzero(part)
    corners = np.concatenate([np.stack([columns + x, rows + y], axis=1) for x in (0, 1) for y in (0, 1)])
    scaled = np.unique(corners, axis=0) * np.array([spacing_mm[1], spacing_mm[0]])
    hull = cv2.convexHull(scaled.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    return float(np.linalg.norm(hull[:, None] - hull[None], axis=2).max())
