"""Where on a slide tissue is, seen on a low level.

Glass is bright and colourless, stained tissue is not: the saturation (HSV) of the median-filtered picture is cut by
Otsu's threshold (Otsu N. A threshold selection method from gray-level histograms. IEEE Trans SMC 1979;9:62-66). Otsu
alone halves a picture without glass and loses pale tissue beside dark tissue, so that its threshold is held between
two distances from the saturation of the glass itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.level import Image, Level

_MASK_UM: Final = 10.0  # aimed pixel size of the mask
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

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        sums = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), np.int64)
        np.cumsum(np.cumsum(self.mask, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
        return sums

    def fraction(self, row: float, column: float, rows: float, columns: float) -> float:
        """Share of tissue, 0..1, in the mask pixels that a rectangle of the finest level touches; 0 outside of it."""
        r0, r1 = _touched(row, rows, self.factor, self.mask.shape[0])
        c0, c1 = _touched(column, columns, self.factor, self.mask.shape[1])
        if r0 >= r1 or c0 >= c1:
            return 0.0
        s = self._sums
        return float(s[r1, c1] - s[r0, c1] - s[r1, c0] + s[r0, c0]) / ((r1 - r0) * (c1 - c0))


def pixels_of_cells(length: int, cells: int, factor: int) -> NDArray[np.int64]:
    """How many of `length` pixels each of `cells` cells of `factor` pixels holds; the last may reach beyond the end."""
    return np.minimum(factor, length - np.arange(cells) * factor)


def tissue(levels: Sequence[Level]) -> Tissue:
    """Mask of the tissue, about 10 um per pixel, from the coarsest level that is fine enough. Levels finest first.

    Reads a single-level slide as a whole, strip by strip. Raises PixelDataError as Level.region does.
    """
    level = levels[0]
    for other in levels[1:]:
        if other.spacing_um <= _MASK_UM and min(other.rows, other.columns) >= _LEAST_SIDE:
            level = other
    least = max(1, min(level.rows, level.columns) // _LEAST_SIDE)
    reduce = max(1, min(round(_MASK_UM / level.spacing_um), least))
    pixel_um = reduce * level.spacing_um
    mask = tissue_mask(_reduced(level, reduce), pixel_um)
    return _on_base(mask, pixel_um, levels[0], level)


def tissue_mask(rgb: Image, pixel_um: float) -> NDArray[np.bool_]:
    """bool [rows, columns]: which pixels of a low-power picture (uint8 RGB, pixel_um per pixel) are tissue."""
    hsv = cv2.cvtColor(cv2.medianBlur(rgb, _MEDIAN), cv2.COLOR_RGB2HSV)
    # of a picture nearly black the saturation is noise
    saturation = np.where(hsv[..., 2] < 16, 0, hsv[..., 1]).astype(np.uint8)
    warm = (hsv[..., 0] >= _WARM_HUE[0]) & (hsv[..., 0] <= _WARM_HUE[1])
    pale = saturation <= np.where(warm, _WARM_GLASS_SATURATION, _GLASS_SATURATION)
    glass = saturation[(hsv[..., 2] >= _GLASS_BRIGHTNESS) & pale]
    if glass.size < _GLASS_SHARE * saturation.size:
        threshold = float(_WITHOUT_GLASS)
    else:
        # the least coloured of the bright pixels are glass, however much pale tissue there is beside them
        base = float(np.percentile(glass, 10))
        otsu, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        threshold = float(np.clip(otsu, base + _ABOVE_GLASS[0], base + _ABOVE_GLASS[1]))
    mask = (saturation > threshold).astype(np.uint8)
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
    """The whole level, each reduce x reduce pixels averaged; read by strips of whole tiles. Edges count white."""
    rows, columns = -(-level.rows // reduce), -(-level.columns // reduce)
    out = np.empty((rows, columns, 3), np.uint8)
    strip = max(1, level.tile_rows // reduce)
    for row in range(0, rows, strip):
        height = min(strip, rows - row)
        part = level.region(row * reduce, 0, height * reduce, columns * reduce)
        out[row : row + height] = (
            part if reduce == 1 else cv2.resize(part, (columns, height), interpolation=cv2.INTER_AREA)
        )
    return out


def _touched(start: float, length: float, factor: float, limit: int) -> tuple[int, int]:
    return max(0, int(np.floor(start / factor))), min(limit, int(np.ceil((start + length) / factor)))
