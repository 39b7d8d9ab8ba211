"""How much of the tissue each label of a whole mask covers, also where what lies over the tissue hides it.

The mask of the tissue is made by colour, and pen marks have colour too. So what is marked is taken out of the tissue
first; what is left is closed by a disc, and the marks within it count as tissue that they hide. A mark on the glass
beside the tissue is then none, and a stroke across the tissue is, if it is narrower than the disc. What else lies over
the tissue (bubbles, the edge of the cover slip) hides its edges only: there both masks count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.mosaic import Mosaic
from airouter.imaging.tissue import Tissue, pixels_of_cells
from airouter.pipelines.artefacts import FINE, Artefact
from airouter.pipelines.tissue_region import TissueRegion

_ROWS: Final = 512  # of the mask, worked on together
_LABELS: Final = 32
_RIM_UM: Final = 30.0  # around a mark the mask of the tissue, with its own smoothing, has glass for tissue


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """Areas in mm2 by label: `on` the tissue and `beside` it, float64 [32].

    `cells`: uint8, the label at the centre of each pixel of the tissue's mask; `tissue`: bool, which of these are
    tissue, the hidden one with it.
    """

    on: NDArray[np.float64]
    beside: NDArray[np.float64]
    cells: NDArray[np.uint8]
    tissue: NDArray[np.bool_]

    @property
    def tissue_mm2(self) -> float:
        return float(self.on.sum())


def areas(region: TissueRegion, mosaic: Mosaic, seen: Tissue, artefacts: Sequence[Artefact], hidden_um: float) -> Areas:
    """Count the mask of `mosaic`; label n + 2 is artefacts[n].

    `seen`: the tissue as its colour shows it, on the grid of `region.tissue`; `hidden_um`: diameter of the disc.
    """
    level = region.level
    count = (seen.mask.shape[0], seen.mask.shape[1])
    to_cell = region.to_base / seen.factor
    rows, columns = (
        np.minimum((_centres(length, cells, mosaic.factor) * to_cell).astype(np.intp), most - 1)
        for length, cells, most in zip((level.rows, level.columns), mosaic.mask.shape, count, strict=True)
    )
    cells = _at_cells(mosaic, (level.rows, level.columns), count, seen, to_cell)
    coloured, over = (
        np.array([False] * (FINE + 1) + flags + [False] * (_LABELS - FINE - 1 - len(flags)))
        for flags in ([each.coloured for each in artefacts], [each.over for each in artefacts])
    )
    near = _grown(coloured[cells], _RIM_UM / seen.pixel_um)
    closed = _closed(seen.mask & ~near, hidden_um / seen.pixel_um)
    tissue = seen.mask & (~near | closed)
    state = (tissue + 2 * closed).astype(np.uint8)

    high = pixels_of_cells(level.rows, mosaic.mask.shape[0], mosaic.factor)
    wide = pixels_of_cells(level.columns, mosaic.mask.shape[1], mosaic.factor)
    pixels = np.zeros(4 * _LABELS)
    for start in range(0, mosaic.mask.shape[0], _ROWS):
        block = slice(start, start + _ROWS)
        key = state[rows[block]][:, columns] * np.uint8(_LABELS) + mosaic.mask[block]
        if high[block].min() == wide.min() == mosaic.factor:
            pixels += np.bincount(key.ravel(), minlength=len(pixels)) * float(mosaic.factor**2)
        else:
            pixels += np.bincount(key.ravel(), np.outer(high[block], wide).ravel(), minlength=len(pixels))
    by_state = pixels.reshape(4, _LABELS) * level.spacing_um**2 * 1e-6
    by_state[:, 0] = 0.0  # not looked at
    neither, by_colour, within, both = by_state
    on = both + np.where(coloured, within, by_colour) + np.where(over & ~coloured, within, 0.0)
    tissue = np.where(coloured[cells], closed, tissue | (over[cells] & closed)) & (cells > 0)
    return Areas(on, neither + by_colour + within + both - on, cells, np.asarray(tissue, np.bool_))


def _centres(length: int, cells: int, factor: int) -> NDArray[np.float64]:
    """Centres of the mask's pixels along one axis, in level pixels; the last may reach beyond the level."""
    return np.asarray(np.minimum((np.arange(cells) + 0.5) * factor, length - 0.5), np.float64)


def _at_cells(
    mosaic: Mosaic, level: tuple[int, int], count: tuple[int, int], seen: Tissue, to_cell: float
) -> NDArray[np.uint8]:
    """The label at the centre of each pixel of the tissue's mask."""
    places = []
    for axis in (0, 1):
        centres = (np.minimum((np.arange(count[axis]) + 0.5) * seen.factor, seen.covered[axis] - 0.5)) / seen.factor
        level_pixels = np.minimum(centres / to_cell, level[axis] - 0.5)
        places.append(np.minimum((level_pixels / mosaic.factor).astype(np.intp), mosaic.mask.shape[axis] - 1))
    return np.asarray(mosaic.mask[np.ix_(*places)], np.uint8)


def _closed(mask: NDArray[np.bool_], diameter: float) -> NDArray[np.bool_]:
    """The mask closed by a disc of so many pixels: morphological closing, by distances as the disc may be large."""
    radius = diameter / 2.0
    if not mask.any() or radius < 1.0:
        return mask
    margin = int(np.ceil(radius)) + 2
    grown = _grown(np.pad(mask, margin), radius)
    inner = cv2.distanceTransform(grown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius
    return np.asarray(inner[margin:-margin, margin:-margin] | mask, np.bool_)


def _grown(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The mask and what is within a distance of it."""
    if not mask.any():
        return mask
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= radius, np.bool_)
