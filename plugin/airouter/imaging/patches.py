"""Overlapping patches of one size at a model's spacing, whose cores partition the level.

The level is thought of on the grid of patch pixels, `scale` level pixels each. The grid is cut into cells of
size - 2 * overlap; a patch is one cell, its core, with the overlap around it. What reaches beyond the level is white.
So that neighbours sample one and the same grid, the scale is rounded to where a patch and its step are whole level
pixels, if that changes the spacing by no more than 2 %; else each patch starts at the nearest level pixel.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from airouter.imaging.level import Cell, Image, Level
from airouter.imaging.tissue import Tissue

_ROUNDING: Final = 0.02
_READ_TOGETHER: Final = 8  # patches whose tiles are asked for in one call


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One model input.

    `row`, `column`: top left corner of the patch in pixels of the plan's level (may be negative at the edge), `scale`:
    level pixels per patch pixel, `core`: the part of the patch that no neighbour has, as slices of rows and columns,
    `cell`: row and column of the core's top left corner on the plan's grid; `pixels`: uint8 [rows, columns, 3].
    """

    row: float
    column: float
    scale: float
    core: tuple[slice, slice]
    cell: tuple[int, int]
    pixels: Image = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PatchPlan:
    """The patches of a level, row by row. Safe to read from several threads by `read`.

    `shape`: (rows, columns) of the level in patch pixels, which the cores of all cells partition; `spacing_um`: what a
    patch pixel really measures, to be used for every length and area.
    """

    level: Level
    scale: float
    size: tuple[int, int]
    overlap: int
    shape: tuple[int, int]
    cells: tuple[Cell, ...] = field(repr=False)

    @property
    def spacing_um(self) -> float:
        return self.scale * self.level.spacing_um

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Patch]:
        """Every patch in order, tiles being read for several at a time. Raises as Level.region does."""
        for start in range(0, len(self.cells), _READ_TOGETHER):
            together = range(start, min(start + _READ_TOGETHER, len(self.cells)))
            tiles = dict.fromkeys(tile for i in together for tile in self.level.cells(*self._window(self.cells[i])))
            self.level.load(tiles)
            for i in together:
                yield self.read(i)

    def read(self, index: int) -> Patch:
        """One patch. Raises IndexError beyond the last, and as Level.region does."""
        cell = self.cells[index]
        row, column, rows, columns = self._window(cell)
        pixels = self.level.region(row, column, rows, columns)
        if (rows, columns) != self.size:
            how = cv2.INTER_AREA if self.scale > 1 else cv2.INTER_LINEAR
            pixels = np.asarray(cv2.resize(pixels, self.size[::-1], interpolation=how), np.uint8)
        core, corner = self.core(cell)
        return Patch(float(row), float(column), self.scale, core, corner, pixels)

    def core(self, cell: Cell) -> tuple[tuple[slice, slice], tuple[int, int]]:
        """The core of a cell inside its patch, and its top left corner on the plan's grid."""
        corner = (cell[0] * self._step(0), cell[1] * self._step(1))
        ends = [min(self._step(axis), self.shape[axis] - corner[axis]) for axis in (0, 1)]
        return (slice(self.overlap, self.overlap + ends[0]), slice(self.overlap, self.overlap + ends[1])), corner

    def _step(self, axis: int) -> int:
        return self.size[axis] - 2 * self.overlap

    def _window(self, cell: Cell) -> tuple[int, int, int, int]:
        """Row, column, rows, columns of a patch in level pixels."""
        row, column = (round((cell[axis] * self._step(axis) - self.overlap) * self.scale) for axis in (0, 1))
        rows, columns = (max(1, round(self.size[axis] * self.scale)) for axis in (0, 1))
        return row, column, rows, columns


def plan(
    level: Level,
    scale: float,
    size: tuple[int, int],
    overlap: int,
    tissue: Tissue | None,
    to_base: float,
) -> PatchPlan:
    """Plan patches of `size` at `scale` level pixels per patch pixel, whose cores touch tissue where a mask is given.

    `to_base`: pixels of the slide's finest level per level pixel. Raises ValueError where the overlap leaves no core.
    """
    if overlap < 0 or min(size) - 2 * overlap < 1:
        raise ValueError(f"an overlap of {overlap} on each side leaves nothing of a patch of {size}")
    common = math.gcd(*size, overlap)  # divides the step too
    rounded = round(scale * common) / common
    if rounded > 0 and abs(rounded / scale - 1.0) <= _ROUNDING:
        scale = rounded
    shape = (math.ceil(level.rows / scale), math.ceil(level.columns / scale))
    empty = PatchPlan(level, scale, size, overlap, shape, ())
    down, across = (-(-shape[axis] // empty._step(axis)) for axis in (0, 1))
    cells = [(r, c) for r in range(down) for c in range(across)]
    if tissue is not None:
        grow = scale * to_base
        cells = [cell for cell in cells if _fraction(empty, cell, tissue, grow) > 0.0]
    return PatchPlan(level, scale, size, overlap, shape, tuple(cells))


def _fraction(empty: PatchPlan, cell: Cell, tissue: Tissue, grow: float) -> float:
    (rows, columns), corner = empty.core(cell)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return tissue.fraction(corner[0] * grow, corner[1] * grow, height * grow, width * grow)
