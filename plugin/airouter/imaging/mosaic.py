"""One mask of a whole level, put together from the cores of patches.

Cores partition the level, so every pixel of the mask is written by one patch, whatever the overlap: there are no seams
to blend. A mask in DICOM has a grid of whole level pixels. Where a patch pixel is no whole number of them, the mask's
grid is the nearest that is, and each of its pixels has the class that stands at its centre (nearest neighbour): it may
show a border half a pixel off, but never drifts off its place.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.imaging.patches import Patch, PatchPlan
from airouter.imaging.tissue import Tissue, pixels_of_cells

# Pixels of the largest mask, 16384 x 16384: 256 MiB. That of a larger level is coarser, by a whole factor.
MOST: Final = 1 << 28


class Mosaic:
    """A mask to be filled. `factor`: level pixels per pixel of the mask.

    `mask`: uint8 [rows, columns], from the corner of the level to its end; 0 is what was not analysed: where no patch
    was put, and off the tissue. `to_base`: pixels of the slide's finest level per level pixel.
    """

    def __init__(self, plan: PatchPlan, tissue: Tissue, to_base: float, most: int = MOST) -> None:
        level = plan.level
        self.factor = max(1, round(plan.scale))
        while -(-level.rows // self.factor) * -(-level.columns // self.factor) > most:
            self.factor += max(1, round(plan.scale))
        self.mask = np.zeros([-(-length // self.factor) for length in (level.rows, level.columns)], np.uint8)
        self._plan = plan
        self._tissue = tissue.mask
        self._axes = tuple(
            _Axis(plan, axis, length, self.mask.shape[axis], self.factor, to_base / tissue.factor)
            for axis, length in enumerate((level.rows, level.columns))
        )

    def put(self, patch: Patch, classes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Write the core of a patch: `classes`, uint8 of the core's size, none of them 0.

        Returns how many level pixels of each value were written, [256], those off the tissue under 0. May be called by
        several threads for different patches.
        """
        down, across = self._axes
        rows, columns = down.core(patch.cell[0]), across.core(patch.cell[1])
        height, width = classes.shape
        places = (
            down.inside(rows, patch.row, patch.core[0].start, height),
            across.inside(columns, patch.column, patch.core[1].start, width),
        )
        there = self._tissue[
            np.ix_(down.tissue(rows, self._tissue.shape[0]), across.tissue(columns, self._tissue.shape[1]))
        ]
        block = self.mask[rows, columns]
        np.multiply(classes[np.ix_(*places)], there, out=block)
        high, wide = down.pixels[rows], across.pixels[columns]
        if min(high[-1:], default=0) == min(wide[-1:], default=0) == self.factor:  # no pixel is cut by the level's end
            return (np.bincount(block.ravel(), minlength=256) * self.factor**2).astype(np.float64)
        return np.bincount(block.ravel(), np.outer(high, wide).ravel(), minlength=256).astype(np.float64)

    def replace(self, values: NDArray[np.uint8]) -> None:
        """Give every pixel of value v the value `values[v]`, uint8 [256], without a second mask."""
        for row in self.mask:
            np.take(values, row, out=row, mode="clip")  # the mode keeps numpy from buffering


class _Axis:
    """Pixels of the mask along one axis. `to_tissue`: pixels of the tissue's mask per level pixel."""

    def __init__(self, plan: PatchPlan, axis: int, length: int, cells: int, factor: int, to_tissue: float) -> None:
        # the last pixel may reach beyond the level with more than half of it
        self._centres = np.minimum((np.arange(cells) + 0.5) * factor, length - 0.5)
        self._step, self._scale = plan.size[axis] - 2 * plan.overlap, plan.scale
        cores = np.arange(-(-plan.shape[axis] // self._step))
        self._starts = np.append(np.searchsorted(self._centres, cores * self._step * self._scale), cells)
        self._to_tissue = to_tissue
        self.pixels = pixels_of_cells(length, cells, factor)

    def core(self, corner: int) -> slice:
        """The pixels whose centres lie in the core that begins at a place of the plan's grid."""
        number = corner // self._step
        return slice(int(self._starts[number]), int(self._starts[number + 1]))

    def tissue(self, pixels: slice, count: int) -> NDArray[np.intp]:
        """Which of the `count` pixels of the tissue's mask each pixel lies in."""
        places = (self._centres[pixels] * self._to_tissue).astype(np.intp)
        return np.asarray(np.minimum(places, count - 1), np.intp)

    def inside(self, pixels: slice, start: float, overlap: int, count: int) -> NDArray[np.intp]:
        """Which of the `count` pixels of a patch's core each pixel is; the patch starts at a whole level pixel."""
        places = np.floor((self._centres[pixels] - start) / self._scale).astype(np.intp) - overlap
        return np.asarray(np.clip(places, 0, count - 1), np.intp)
