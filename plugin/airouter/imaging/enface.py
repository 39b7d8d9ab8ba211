"""Maps of the retina as seen from the front: turned the right way up, and drawn in colour for people.

A map of a raster has B-scans as rows and A-scans as columns. Turned, its first row is superior and its columns run from
the patient's right to the left, as in a fundus photograph: the disc of a right eye lies on the right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.study import Laterality
from airouter.imaging.etdrs import Side

_WIDTH: Final = 480  # pixels of the longer side of a picture's map
_BAR: Final = 96  # pixels of the colour scale beside it
_STRIP: Final = 22  # pixels of the caption above it
_GREY: Final = 90  # where nothing was measured
_LINE: Final = (255, 255, 255)
_DARK: Final = (60, 60, 60)  # on differences, which are white about zero
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """A map, its spacing in mm (rows, columns), and points (row, column) brought along.

    `upright`: its first row is superior. `anatomical`: its columns run from the patient's right to the left, too; then
    `nasal_right` says on which side the nose is.
    """

    values: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    upright: bool
    anatomical: bool
    points: tuple[tuple[float, float], ...] = field(default=())
    nasal_right: bool = False

    @property
    def caveat(self) -> str:
        """What its title must say of how it lies, empty where it lies as the eye does."""
        if self.anatomical:
            return ""
        return ", left and right as scanned" if self.upright else ", as scanned"


def turned(
    values: NDArray[np.float64],
    spacing_mm: tuple[float, float],
    sides: Mapping[Side, str],
    laterality: Laterality | None,
    points: Sequence[tuple[float, float]] = (),
) -> Turned:
    """Bring a map [B-scans, columns] the right way up, as far as `imaging.orientation.anatomy` knows its sides.

    Without a superior side it stays as scanned. Without a nasal side its columns (or rows) stay as scanned.
    """
    named = {name: side for side, name in sides.items()}
    superior = named.get("superior")
    if superior is None:
        return Turned(values, spacing_mm, False, False, tuple(points))
    made, at = values, np.array(points, np.float64).reshape(-1, 2)
    nasal = named.get("nasal")
    if superior in (Side.LEFT, Side.RIGHT):  # B-scans run up and down
        made, at, spacing_mm = made.T, at[:, ::-1], spacing_mm[::-1]
        swap = {Side.UP: Side.LEFT, Side.LEFT: Side.UP, Side.DOWN: Side.RIGHT, Side.RIGHT: Side.DOWN}
        superior, nasal = swap[superior], swap.get(nasal) if nasal is not None else None
    if superior is Side.DOWN:
        made = made[::-1]
        at = np.stack([made.shape[0] - 1 - at[:, 0], at[:, 1]], axis=1)
    wanted = {Laterality.R: Side.RIGHT, Laterality.L: Side.LEFT}.get(laterality) if laterality else None
    if nasal is not None and wanted is not None and nasal is not wanted:
        made = made[:, ::-1]
        at = np.stack([at[:, 0], made.shape[1] - 1 - at[:, 1]], axis=1)
    sided = nasal is not None and wanted is not None
    brought = tuple((float(r), float(c)) for r, c in at)
    return Turned(np.ascontiguousarray(made), spacing_mm, True, sided, brought, laterality is Laterality.R)


def picture(
    shown: Turned,
    title: str,
    low: float,
    high: float,
    unit: str = "um",
    diverging: bool = False,
    centre: tuple[float, float] | None = None,
    circles_mm: Sequence[float] = (),
    cross: bool = False,
) -> NDArray[np.uint8]:
    """A map in colour with its scale, and letters for the sides that are known: uint8 [rows, columns, 3].

    Viridis (equal steps of the value look equal) from `low` to `high`; `diverging`: from blue over white to red about
    the middle. Values beyond the scale take its ends, what was not measured is grey. Pixels are square.

    Args:
        centre: (row, column) on the map that circles are drawn about.
        circles_mm: their radii.
        cross: whether the rings are cut at 45 degrees, as the ETDRS grid's.
    """
    if not high > low:
        raise ValueError(f"a scale from {low} to {high}")
    rows, columns = shown.values.shape
    tall, wide = rows * shown.spacing_mm[0], columns * shown.spacing_mm[1]
    per_mm = _WIDTH / max(tall, wide)
    size = (max(1, round(wide * per_mm)), max(1, round(tall * per_mm)))
    level = np.clip((np.where(np.isfinite(shown.values), shown.values, low) - low) / (high - low), 0.0, 1.0)
    level = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_LINEAR), np.float64)
    known = cv2.resize(np.isfinite(shown.values).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    canvas = _coloured(level, diverging)
    canvas[~known] = _GREY
    if centre is not None:
        scale = np.array([size[1] / rows, size[0] / columns])
        row, column = (np.array(centre) + 0.5) * scale
        colour = _DARK if diverging else _LINE
        _circles(canvas, (float(column), float(row)), [r * per_mm for r in circles_mm], cross, colour)
    _sides(canvas, shown, _DARK if diverging else _LINE)
    return _framed(canvas, title, low, high, unit, diverging)


def _coloured(level: NDArray[np.float64], diverging: bool) -> NDArray[np.uint8]:
    """Colours of levels 0..1."""
    if diverging:
        ends = np.array([[33, 102, 172], [247, 247, 247], [178, 24, 43]], np.float64)  # ColorBrewer's RdBu, reversed
        made = np.stack([np.interp(level, [0.0, 0.5, 1.0], ends[:, c]) for c in range(3)], axis=-1)
        return np.rint(made).astype(np.uint8)
    bgr = cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(bgr[..., ::-1])


def _circles(
    canvas: NDArray[np.uint8],
    centre: tuple[float, float],
    radii: Sequence[float],
    cross: bool,
    colour: tuple[int, int, int],
) -> None:
    shift = 4  # fractional bits
    at = (round((centre[0] - 0.5) * 2**shift), round((centre[1] - 0.5) * 2**shift))
    for radius in radii:
        cv2.circle(canvas, at, round(radius * 2**shift), colour, 1, cv2.LINE_AA, shift)
    if cross and len(radii) > 1:
        for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            unit = np.array([x, y]) / np.sqrt(2.0)
            ends = [(np.array(centre) - 0.5 + unit * r) * 2**shift for r in (radii[0], radii[-1])]
            first, last = ((round(float(e[0])), round(float(e[1]))) for e in ends)
            cv2.line(canvas, first, last, colour, 1, cv2.LINE_AA, shift)


def _sides(canvas: NDArray[np.uint8], shown: Turned, colour: tuple[int, int, int]) -> None:
    """S and I where the map is upright, N and T where it lies as the eye does."""
    rows, columns = canvas.shape[:2]
    if shown.upright:
        _write(canvas, "S", (columns // 2 - 4, 12), colour)
        _write(canvas, "I", (columns // 2 - 2, rows - 4), colour)
    if shown.anatomical:
        right, left = ("N", "T") if shown.nasal_right else ("T", "N")
        _write(canvas, right, (columns - 12, rows // 2 + 4), colour)
        _write(canvas, left, (3, rows // 2 + 4), colour)


def _framed(
    canvas: NDArray[np.uint8], title: str, low: float, high: float, unit: str, diverging: bool
) -> NDArray[np.uint8]:
    """The map with its title above and its scale on the right."""
    rows, columns = canvas.shape[:2]
    tall = max(rows, 160)
    made = np.zeros((tall + _STRIP, columns + _BAR, 3), np.uint8)
    made[_STRIP : _STRIP + rows, :columns] = canvas
    top, bottom = _STRIP + 24, _STRIP + tall - 14
    ramp = np.linspace(1.0, 0.0, bottom - top)[:, None] * np.ones((1, 16))
    made[top:bottom, columns + 10 : columns + 26] = _coloured(ramp, diverging)
    _write(made, title, (4, 15))
    _write(made, unit, (columns + 10, _STRIP + 14))
    for part in np.linspace(0.0, 1.0, 5):
        row = round(bottom - 1 - part * (bottom - 1 - top))
        cv2.line(made, (columns + 26, row), (columns + 30, row), _LINE, 1)
        _write(made, f"{low + part * (high - low):g}", (columns + 34, row + 4))
    return made


def _write(canvas: NDArray[np.uint8], text: str, at: tuple[int, int], colour: tuple[int, int, int] = _LINE) -> None:
    cv2.putText(canvas, text, at, _FONT, 0.4, colour, 1, cv2.LINE_AA)
