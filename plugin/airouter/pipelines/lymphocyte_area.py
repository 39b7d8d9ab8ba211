"""How much of a part of the tissue lymphocytes occupy: the union of their nuclei, each grown by a rim of cytoplasm.

Nuclei are drawn on the grid of the model's patches, whose pixels they are made of, block by block, so that memory does
not grow with the slide; where two cells meet or overlap a pixel counts once. Both areas, of the cells and of the part
they lie in, are sums over one and the same grid: the share is never above 100 %.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

from airouter.imaging.patches import PatchPlan
from airouter.pipelines.compartments import Compartments
from airouter.pipelines.nuclei_of_slide import Nuclei

_BLOCK: Final = 2048  # pixels along a side of what is drawn at once


@dataclass(frozen=True, slots=True, eq=False)
class Occupied:
    """Areas in mm2 per field of `factor` level pixels of the compartments: of the `part`, and what is `occupied` of it.

    float64 [rows, columns] both.
    """

    factor: int
    part: NDArray[np.float64] = field(repr=False)
    occupied: NDArray[np.float64] = field(repr=False)

    @property
    def part_mm2(self) -> float:
        return float(self.part.sum())

    @property
    def percent(self) -> float:
        """Share of the whole part that is occupied; the part must not be empty."""
        return min(100.0, 100.0 * float(self.occupied.sum()) / self.part_mm2)

    def shares(self, least: float, otherwise: float) -> NDArray[np.float64]:
        """% of each field's part that is occupied; `otherwise` where the part is less than `least` mm2 there."""
        known = (self.part > 0) & (self.part >= least)
        found = 100.0 * self.occupied / np.where(known, self.part, 1.0)
        return np.where(known, np.minimum(found, 100.0), otherwise)


def occupied(
    cells: Nuclei, plan: PatchPlan, tissue: Compartments, part: NDArray[np.bool_], rim_um: float, field_um: float
) -> Occupied:
    """Area that the cells found by `plan` occupy of `part`, a mask on the grid of the tissue's classes, by fields.

    `rim_um`: width of the cytoplasm around each nucleus.
    """
    level = tissue.level
    factor = max(1, round(field_um / level.spacing_um))
    ratio = plan.spacing_um / level.spacing_um  # pixels of the classes' level per pixel of the grid
    sides = (level.rows, level.columns)
    fields = (-(-sides[0] // factor), -(-sides[1] // factor))
    cell, field_of = (
        [_places(plan.shape[n], ratio / size, shape[n]) for n in (0, 1)]
        for size, shape in ((tissue.factor, part.shape), (factor, fields))
    )
    areas = cells.area_um2 / plan.spacing_um**2
    outlines = [_sized(points / plan.scale, area) for points, area in zip(cells.outlines, areas, strict=True)]
    rim = rim_um / plan.spacing_um
    pixels = np.zeros(fields)
    for start, members in _blocks(outlines, rim, plan.shape).items():
        rows, columns = (slice(at, min(at + _BLOCK, end)) for at, end in zip(start, plan.shape, strict=True))
        inside = part[np.ix_(cell[0][rows], cell[1][columns])]
        if inside.any():
            drawn = _drawn([outlines[n] for n in members], rows, columns, rim)
            _add(pixels, drawn & inside, field_of[0][rows], field_of[1][columns])
    pixel_mm2 = plan.spacing_um**2 * 1e-6
    return Occupied(factor, _pixels_of(part, cell, field_of, fields) * pixel_mm2, pixels * pixel_mm2)


def _sized(points: NDArray[np.float32], pixels: float) -> NDArray[np.float64]:
    """An outline as large as the pixels it goes around: simplified, it cuts corners outside of round cells."""
    outline = points.astype(np.float64)
    x, y = (outline - outline[0]).T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2.0
    middle = outline.mean(axis=0)
    return middle + (outline - middle) * math.sqrt(pixels / area) if area else outline


def _places(count: int, ratio: float, limit: int) -> NDArray[np.intp]:
    """For each pixel of an axis the number of the cell, of 1 / `ratio` pixels, that its centre lies in."""
    return np.minimum(((np.arange(count) + 0.5) * ratio).astype(np.intp), limit - 1)


def _blocks(
    outlines: list[NDArray[np.float64]], rim: float, shape: tuple[int, int]
) -> dict[tuple[int, int], list[int]]:
    """Top left corner of each block that a cell with its rim touches, and the numbers of these cells."""
    found: dict[tuple[int, int], list[int]] = {}
    for number, points in enumerate(outlines):
        low = np.maximum(np.floor((points.min(axis=0) - rim) / _BLOCK).astype(int), 0)
        high = np.minimum((points.max(axis=0) + rim) // _BLOCK, [(shape[1] - 1) // _BLOCK, (shape[0] - 1) // _BLOCK])
        for row in range(low[1], int(high[1]) + 1):
            for column in range(low[0], int(high[0]) + 1):
                found.setdefault((row * _BLOCK, column * _BLOCK), []).append(number)
    return found


def _drawn(outlines: list[NDArray[np.float64]], rows: slice, columns: slice, rim: float) -> NDArray[np.bool_]:
    """bool: the pixels of a block whose centre lies in a nucleus, or no further from such a pixel than the rim."""
    margin = int(np.ceil(rim)) + 1
    corner = np.array([columns.start - margin, rows.start - margin])
    shape = (rows.stop - rows.start + 2 * margin, columns.stop - columns.start + 2 * margin)
    drawn = np.zeros(shape, np.uint8)
    for points in outlines:
        x, y = (points - corner - 0.5).T  # polygon() has the centre of a pixel at whole numbers
        drawn[polygon(y, x, shape)] = 1
    if rim > 0 and drawn.any():
        away = cv2.distanceTransform(1 - drawn, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        drawn = (np.asarray(away) <= rim).view(np.uint8)
    return np.asarray(drawn[margin:-margin, margin:-margin] > 0, np.bool_)


def _add(
    pixels: NDArray[np.float64], mask: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> None:
    """Add the pixels of a mask to their fields."""
    row, first_row = np.unique(rows, return_index=True)
    column, first_column = np.unique(columns, return_index=True)
    sums = np.add.reduceat(np.add.reduceat(mask, first_row, axis=0, dtype=np.int64), first_column, axis=1)
    pixels[np.ix_(row, column)] += sums


def _pixels_of(
    part: NDArray[np.bool_], cell: list[NDArray[np.intp]], field_of: list[NDArray[np.intp]], fields: tuple[int, int]
) -> NDArray[np.float64]:
    """[fields]: pixels of the grid that lie in the part; a row of fields at a time."""
    across = np.zeros((part.shape[1], fields[1]))
    np.add.at(across, (cell[1], field_of[1]), 1.0)
    found = np.zeros(fields)
    for row in range(fields[0]):
        numbers, counts = np.unique(cell[0][field_of[0] == row], return_counts=True)
        found[row] = (counts.astype(np.float64) @ part[numbers]) @ across
    return found
