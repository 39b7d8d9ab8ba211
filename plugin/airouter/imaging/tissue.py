"""Where on a slide tissue is, seen on a low level.

Glass is bright and colourless, stained tissue is not: the saturation (HSV) of the median-filtered picture is cut by
Otsu's threshold (Otsu N. A threshold selection method from gray-level histograms. IEEE Trans SMC 1979;9:62-66). Otsu
alone halves a picture without glass and loses pale tissue beside dark tissue, so that its threshold is held between
two distances from the saturation of the glass itself.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.level import WHITE, Cell, Image, Level

_Answer = TypeVar("_Answer")

_MASK_UM: Final = 10.0  # aimed pixel size of the mask
# A mask has no more pixels than this, so that its memory does not grow with the slide: beyond 14 x 14 mm they are
# larger, some 27 um where a whole glass of 25 x 60 mm was scanned. Patches are five times as large.
_MOST_PIXELS: Final = 1 << 21
_LEAST_SIDE: Final = 64  # the mask of a small crop is finer, so that it has this many pixels
_MEDIAN: Final = 3
# Nuclei this near to each other stand in one tissue, though the stroma between them be as pale as glass.
_GAP_UM: Final = 40.0
# Saturation and brightness of 255, hue of 180 (cv2). Glass is at least this bright and nearly colourless; a lamp may
# make it yellowish, but never blue or pink, which is what pale haematoxylin and eosin are.
_GLASS_BRIGHTNESS: Final = 200
_GLASS_SATURATION, _WARM_GLASS_SATURATION = 8, 30
_WARM_HUE: Final = (10, 80)
_GLASS_SHARE: Final = 0.005  # fewer such pixels are no glass but pale tissue
_ABOVE_GLASS: Final = (6, 10)  # tissue starts at Otsu's threshold, held between these distances above the glass
_WITHOUT_GLASS: Final = 10  # and here where the picture shows no glass
_SPECK_UM2: Final = 2500.0  # a smaller island is dust

_THREADS: Final = min(4, max(2, os.cpu_count() or 2))  # two where one waits for a disk
_MOST_REDUCED: Final = 32  # what tiles are decoded at, at most
# So many pixels per mask pixel are rounded down to a multiple of 4, so that tiles need not be decoded whole.
_ROUNDED_FROM, _ROUNDED_TO = 12, 4
# Tiles that a thread reads in one call: fewer where they are large.
_TOGETHER, _TOGETHER_BYTES = 8, 4 << 20


@dataclass(frozen=True, eq=False)
class Tissue:
    """A mask of tissue. `factor`: pixels of the finest level per mask pixel; `pixel_um`: size of a mask pixel.

    `covered`: rows and columns of the finest level. The last row and column of the mask may reach beyond them.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    factor: int
    pixel_um: float
    source: Level
    covered: tuple[int, int]

    def __bool__(self) -> bool:
        """Whether there is any tissue."""
        return bool(self.mask.any())

    @property
    def area_mm2(self) -> float:
        """Area of the tissue in square millimetres; of a mask pixel at the edge only what lies on the slide."""
        high, wide = (
            pixels_of_cells(length, cells, self.factor) / self.factor
            for length, cells in zip(self.covered, self.mask.shape, strict=True)
        )
        return float(high @ self.mask @ wide) * (self.pixel_um / 1000.0) ** 2

    def areas_mm2(self, down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, m]: tissue in mm2 between each two of n + 1 rows and m + 1 columns of the finest level, in rising order.

        Of a mask pixel that one of them cuts each side has its share.
        """
        (r, rest_r), (c, rest_c) = (
            _place(edges / self.factor, limit) for edges, limit in zip((down, across), self.mask.shape, strict=True)
        )

        def sums(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            return np.asarray(self._sums[np.ix_(rows, c)] * (1.0 - rest_c) + self._sums[np.ix_(rows, c + 1)] * rest_c)

        upto = sums(r) * (1.0 - rest_r)[:, None] + sums(r + 1) * rest_r[:, None]
        return np.asarray(np.diff(np.diff(upto, axis=0), axis=1) * (self.pixel_um / 1000.0) ** 2, np.float64)

    @cached_property
    def _sums(self) -> NDArray[np.signedinteger[Any]]:
        """[row, column]: how many mask pixels above and left of it are tissue."""
        whole = np.int32 if self.mask.size < 1 << 31 else np.int64
        sums = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), whole)
        inside = sums[1:, 1:]
        np.cumsum(self.mask, axis=0, out=inside)
        np.cumsum(inside, axis=1, out=inside)
        return sums

    def fraction(self, row: float, column: float, rows: float, columns: float) -> float:
        """Share of tissue, 0..1, in the mask pixels that a rectangle of the finest level touches; 0 outside of it."""
        found = self.fractions(*(np.array([value], np.float64) for value in (row, column, rows, columns)))
        return float(found[0, 0])

    def fractions(
        self,
        row: NDArray[np.float64],
        column: NDArray[np.float64],
        rows: NDArray[np.float64],
        columns: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """[n, m]: the same of n x m rectangles: n places and heights along the rows, m along the columns."""
        r0, r1 = _touched(row, rows, self.factor, self.mask.shape[0])
        c0, c1 = _touched(column, columns, self.factor, self.mask.shape[1])
        upper, lower = ((self._sums[np.ix_(r, c1)] - self._sums[np.ix_(r, c0)]) for r in (r0, r1))
        sums = lower - upper
        return np.asarray(sums / np.maximum(1, np.outer(r1 - r0, c1 - c0)), np.float64)


def _place(edges: NDArray[np.float64], limit: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The mask pixel that each edge cuts, and which part of it lies before the edge."""
    whole = np.clip(edges.astype(np.intp), 0, limit - 1)
    return whole, edges - whole


def pixels_of_cells(length: int, cells: int, factor: int) -> NDArray[np.int64]:
    """How many of `length` pixels each of `cells` cells of `factor` pixels holds; the last may reach beyond the end."""
    return np.minimum(factor, length - np.arange(cells) * factor)


def tissue(levels: Sequence[Level], seen: Callable[[Image, float], NDArray[np.bool_]] | None = None) -> Tissue:
    """Mask of the tissue, about 10 um per pixel, from the coarsest level that is fine enough. Levels finest first.

    `seen` makes the mask of a low-power picture; `tissue_mask` where it is not given. A slide without such a level is
    read tile by tile, decoded no finer than the mask needs it, where its encoding allows that; of the level nothing
    but the picture at the mask's size is held. Raises PixelDataError as Level.region does.
    """
    level = levels[0]
    for other in levels[1:]:
        if other.spacing_um <= _MASK_UM and min(other.rows, other.columns) >= _LEAST_SIDE:
            level = other
    least = max(1, min(level.rows, level.columns) // _LEAST_SIDE)
    reduce = max(1, min(round(_MASK_UM / level.spacing_um), least))
    reduce = max(reduce, math.ceil(math.sqrt(level.rows * level.columns / _MOST_PIXELS)))
    if reduce >= _ROUNDED_FROM:
        reduce -= reduce % _ROUNDED_TO
    pixel_um = reduce * level.spacing_um
    mask = (seen or tissue_mask)(_reduced(level, reduce), pixel_um)
    return _on_base(mask, pixel_um, levels[0], level)


def tissue_mask(rgb: Image, pixel_um: float) -> NDArray[np.bool_]:
    """bool [rows, columns]: which pixels of a low-power picture (uint8 RGB, pixel_um per pixel) are tissue."""
    hue, saturation, brightness = cv2.split(cv2.cvtColor(cv2.medianBlur(rgb, _MEDIAN), cv2.COLOR_RGB2HSV))
    saturation[brightness < 16] = 0  # of a picture nearly black it is noise
    warm = (hue >= _WARM_HUE[0]) & (hue <= _WARM_HUE[1])
    pale = saturation <= np.where(warm, np.uint8(_WARM_GLASS_SATURATION), np.uint8(_GLASS_SATURATION))
    glass = saturation[(brightness >= _GLASS_BRIGHTNESS) & pale]
    if glass.size < _GLASS_SHARE * saturation.size:
        threshold = float(_WITHOUT_GLASS)
    else:
        # the least coloured of the bright pixels are glass, however much pale tissue there is beside them
        base = float(np.percentile(glass, 10))
        otsu, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        threshold = float(np.clip(otsu, base + _ABOVE_GLASS[0], base + _ABOVE_GLASS[1]))
    return cleaned(saturation > threshold, pixel_um)


def cleaned(found: NDArray[np.bool_], pixel_um: float) -> NDArray[np.bool_]:
    """A mask of tissue with its gaps closed and its specks taken out."""
    mask = found.astype(np.uint8)
    side = 2 * max(1, round(_GAP_UM / 2 / pixel_um)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc, borderType=cv2.BORDER_REPLICATE), np.uint8)
    speck = min(_SPECK_UM2 / pixel_um**2, 0.005 * mask.size)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= speck
    keep[0] = False
    return np.asarray(keep[labels], np.bool_) if count > 1 else np.zeros(mask.shape, np.bool_)


def _on_base(mask: NDArray[np.bool_], pixel_um: float, base: Level, source: Level) -> Tissue:
    """The mask on a grid of whole pixels of the finest level that covers all of it; levels may be cut at edges."""
    factor = max(1, round(pixel_um / base.spacing_um))
    place = []
    for axis, length in enumerate((base.rows, base.columns)):
        centres = (np.arange(-(-length // factor)) + 0.5) * factor
        place.append(np.clip((centres * base.spacing_um / pixel_um).astype(np.intp), 0, mask.shape[axis] - 1))
    return Tissue(mask[np.ix_(*place)], factor, factor * base.spacing_um, source, (base.rows, base.columns))


def _reduced(level: Level, reduce: int) -> Image:
    """The whole level, each reduce x reduce pixels averaged. What lies beyond its edge counts white.

    Tiles are decoded at 1 / factor of their size, and their pixels added up where the mask is coarser than that, in
    whole numbers: the picture does not depend on which thread was first.
    """
    rows, columns = -(-level.rows // reduce), -(-level.columns // reduce)
    factor = math.gcd(reduce, level.tile_rows, level.tile_columns, _MOST_REDUCED)
    out = np.full((rows, columns, 3), WHITE, np.uint8)
    down = -(-level.rows // level.tile_rows)

    def exactly(cell: Cell, tile: Image) -> None:
        top, left = (n * side // factor for n, side in zip(cell, (level.tile_rows, level.tile_columns), strict=True))
        there = out[top : top + tile.shape[0], left : left + tile.shape[1]]
        there[:] = tile[: there.shape[0], : there.shape[1]]

    def darkness(cell: Cell, tile: Image) -> tuple[int, NDArray[np.float32]]:
        """Sums over the pixels of the tile that lie in each pixel of the mask, and the first column of these."""
        _, high = _members(cell[0] * level.tile_rows, tile.shape[0], factor, reduce, rows)
        first, wide = _members(cell[1] * level.tile_columns, tile.shape[1], factor, reduce, columns)
        dark = (WHITE - tile).astype(np.float32).reshape(tile.shape[0], -1)
        return first, np.matmul(wide, (high @ dark).reshape(len(high), -1, 3))

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="airouter-tissue") as pool:
        if factor == reduce:
            for row in range(down):
                for _ in _of_row(pool, level, row, factor, exactly):
                    pass
            return out
        rest = np.zeros((0, columns, 3), np.float32)  # of the pixels that the next tiles touch too
        for row in range(down):
            start, end = row * level.tile_rows, (row + 1) * level.tile_rows
            first, stop = start // reduce, min(rows, -(-end // reduce))
            dark = np.zeros((stop - first, columns, 3), np.float32)
            dark[: len(rest)] = rest
            for column, part in _of_row(pool, level, row, factor, darkness):
                dark[:, column : column + part.shape[1]] += part
            done = stop if row == down - 1 else end // reduce
            out[first:done] = WHITE - np.rint(dark[: done - first] * np.float32((factor / reduce) ** 2))
            rest = dark[done - first :]
    return out


def _members(start: int, count: int, factor: int, reduce: int, limit: int) -> tuple[int, NDArray[np.float32]]:
    """Which of `limit` pixels of `reduce` each of `count` pixels of `factor` from `start` on lies in.

    `factor` divides `reduce`. float32 [pixels, count], 0 and 1, for the pixels that they touch, and the first of these.
    """
    first, stop = start // reduce, min(limit, -(-(start + count * factor) // reduce))
    places = (start + np.arange(count) * factor) // reduce
    return first, (np.arange(first, stop)[:, None] == places).astype(np.float32)


def _of_row(
    pool: ThreadPoolExecutor, level: Level, row: int, factor: int, work: Callable[[Cell, Image], _Answer]
) -> Iterator[_Answer]:
    """`work` done by threads on the reduced tiles of a row of tiles, in their order; few of them at a time."""
    tile_bytes = 3 * (level.tile_rows // factor) * (level.tile_columns // factor)
    size = max(1, min(_TOGETHER, _TOGETHER_BYTES // tile_bytes))
    across = -(-level.columns // level.tile_columns)
    groups = [[(row, c) for c in range(at, min(at + size, across))] for at in range(0, across, size)]

    def group(cells: list[Cell]) -> list[_Answer]:
        return [work(cell, tile) for cell, tile in level.reduced(cells, factor)]

    for at in range(0, len(groups), 2 * _THREADS):
        for answers in pool.map(group, groups[at : at + 2 * _THREADS]):
            yield from answers


def _touched(
    start: NDArray[np.float64], length: NDArray[np.float64], factor: float, limit: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first mask pixel that each interval touches, and the one behind the last; the same where it touches none."""
    first = np.clip(np.floor(start / factor), 0, limit).astype(np.intp)
    return first, np.maximum(first, np.clip(np.ceil((start + length) / factor), 0, limit).astype(np.intp))
