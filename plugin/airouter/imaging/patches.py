"""Overlapping patches of one size at a model's spacing, whose cores partition the level.

The level is thought of on the grid of patch pixels, `scale` level pixels each. The grid is cut into cells of
size - 2 * overlap; a patch is one cell, its core, with the overlap around it. What reaches beyond the level is white.
The scale is rounded to a whole number if that changes the spacing by no more than 2 %: such pixels are made tenfold
faster. Else, so that neighbours sample one and the same grid, it is rounded to where a patch and its step are whole
level pixels, if that changes the spacing by no more than 2 %; else each patch starts at the nearest level pixel.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, SupportsIndex, overload

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from airouter.imaging.level import Cell, Image, Level
from airouter.imaging.tissue import Tissue

_ROUNDING: Final = 0.02
_READ_TOGETHER: Final = 8  # patches whose tiles are asked for in one call
_DOUBLED_UNTIL: Final = 2.5  # scales up to which `_resampled` need not ask cv2 for the slow mean of an area


class Cells(Sequence[Cell]):
    """(row, column) of each cell on the grid of cells, in the order of the patches; held as int32 [n, 2].

    A sequence of pairs; numpy makes an array of it without a loop.
    """

    def __init__(self, places: NDArray[np.int32]) -> None:
        self._places = places
        self._places.setflags(write=False)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Cell: ...

    @overload
    def __getitem__(self, index: slice) -> "Cells": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "Cell | Cells":
        if isinstance(index, slice):
            return Cells(self._places[index])
        row, column = self._places[index].tolist()
        return row, column

    def __iter__(self) -> Iterator[Cell]:
        return zip(*self._places.T.tolist(), strict=True) if len(self) else iter(())

    def __contains__(self, cell: object) -> bool:
        if not isinstance(cell, tuple) or len(cell) != 2:
            return False
        return bool(np.any((self._places[:, 0] == cell[0]) & (self._places[:, 1] == cell[1])))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._places, dtype=dtype, copy=copy)


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
    """The patches of a level, row by row within blocks of columns. Safe to read from several threads by `read`.

    A block is so narrow that the tiles of its row of patches stay in the cache until the next row needs them again,
    however wide the slide is. The order depends on nothing but the level, the plan's numbers and the cache's limit.

    `shape`: (rows, columns) of the level in patch pixels, which the cores of all cells partition; `spacing_um`: what a
    patch pixel really measures, to be used for every length and area; `colour`: what a patch's pixels are passed
    through once they have their spacing, which must keep their shape and be safe in several threads.
    """

    level: Level
    scale: float
    size: tuple[int, int]
    overlap: int
    shape: tuple[int, int]
    cells: Cells = field(repr=False)
    colour: Callable[[Image], Image] | None = None

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
            pixels = _resampled(pixels, self.size, self.scale)
        if self.colour is not None:
            pixels = self.colour(pixels)
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
    colour: Callable[[Image], Image] | None = None,
) -> PatchPlan:
    """Plan patches of `size` at `scale` level pixels per patch pixel, whose cores touch tissue where a mask is given.

    `to_base`: pixels of the slide's finest level per level pixel. Raises ValueError where the overlap leaves no core.
    """
    if overlap < 0 or min(size) - 2 * overlap < 1:
        raise ValueError(f"an overlap of {overlap} on each side leaves nothing of a patch of {size}")
    scale = _rounded(scale, math.gcd(*size, overlap))  # which divides the step too
    shape = (math.ceil(level.rows / scale), math.ceil(level.columns / scale))
    empty = PatchPlan(level, scale, size, overlap, shape, Cells(np.zeros((0, 2), np.int32)), colour)
    starts = [np.arange(-(-shape[axis] // empty._step(axis))) * empty._step(axis) for axis in (0, 1)]
    if tissue is not None:
        lengths = [np.minimum(empty._step(axis), shape[axis] - starts[axis]) for axis in (0, 1)]
        row, column, rows, columns = (values.astype(np.float64) * scale * to_base for values in (*starts, *lengths))
        wanted = tissue.fractions(row, column, rows, columns) > 0.0
    else:
        wanted = np.ones((len(starts[0]), len(starts[1])), np.bool_)
    block = _block(empty)
    places = [np.add(np.argwhere(wanted[:, at : at + block]), (0, at)) for at in range(0, len(starts[1]), block)]
    return PatchPlan(level, scale, size, overlap, shape, Cells(np.concatenate(places).astype(np.int32)), colour)


def _rounded(scale: float, common: int) -> float:
    """The scale as a whole number, else as a multiple of 1 / common, where that is near enough; else as it is."""
    for parts in (1, common):
        rounded = round(scale * parts) / parts
        if rounded > 0 and abs(rounded / scale - 1.0) <= _ROUNDING:
            return rounded
    return scale


def _block(empty: PatchPlan) -> int:
    """How many columns of cells make a block, so that half the cache holds the tiles of one of its rows of patches.

    The other half is for the row that other threads have begun. A block has at least the patches of one tile.
    """
    level = empty.level
    _, _, rows, columns = empty._window((0, 0))
    sides = level.tile_rows, level.tile_columns
    high = -(-rows // sides[0]) + 1  # tiles that a row of patches may touch
    held = level.cache.limit // 2 // (level.format.samples * sides[0] * sides[1])
    wide = max(1, held // high - 1) * sides[1]  # level pixels, the last tile of which a patch may share
    step = empty._step(1) * empty.scale
    return max(1, int((wide - columns) // step) + 1)


def _resampled(pixels: Image, size: tuple[int, int], scale: float) -> Image:
    """Pixels at the plan's spacing, each the mean of the level pixels it covers, which keeps out what it cannot show.

    cv2 is slow at the mean of other than whole pixels. Up to a scale of 2.5 it is taken of four samples instead, each
    interpolated between its neighbours: within a grey level of the mean of the area, on average.
    """
    rows, columns = size
    if scale <= 1.0:
        return np.asarray(cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR), np.uint8)
    if scale < _DOUBLED_UNTIL and scale != 2.0:
        pixels = np.asarray(cv2.resize(pixels, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
