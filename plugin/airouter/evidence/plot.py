"""Planes of values and visual fields drawn by matplotlib as PNG. See airouter.evidence.chart for charts.

matplotlib is imported with the first picture, as there.
"""

import io
import textwrap
from typing import Any, Final

import numpy as np

from airouter.domain.plot import FieldPanel, FieldPlot, Plane

_INCHES: Final = 5.6  # of the longer side
_DPI: Final = 110
_CHARACTERS: Final = 92  # of a note in one line
_MOST_CELLS: Final = 1 << 20  # that are drawn: more is finer than the picture
_NONE: Final = "#b9b9b9"  # where nothing was measured
_UNVERIFIED: Final = "AI suggestion, unverified, not for diagnosis"
_STORED: Final = "Numbers as the perimeter stored them"
_UNITS: Final = {"um": "µm", "mm2": "mm²", "/mm2": "1/mm²", "{0:1}": "0 to 1", "1": ""}


def plane_png(plane: Plane) -> bytes:
    """A plane in colours with a bar that says what they mean; grey where nothing was measured."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    values = np.ma.masked_invalid(_thinned(plane.values))
    rows, columns = plane.values.shape
    height, width = (n * s for n, s in zip((rows, columns), plane.spacing_mm or (1.0, 1.0), strict=True))
    figure = Figure(figsize=_size(width, height), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    low, high = _limits(plane)
    colours = mpl.colormaps["RdBu_r" if plane.signed else "viridis"].with_extremes(bad=_NONE)
    image = axes.imshow(
        values,
        cmap=colours,
        vmin=low,
        vmax=high,
        extent=(0.0, width, height, 0.0),
        interpolation="nearest",
        aspect="equal",
    )
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    known = values.compressed()
    extend = beyond[bool(known.size and known.min() < low), bool(known.size and known.max() > high)]
    bar = figure.colorbar(image, ax=axes, extend=extend, shrink=0.9, pad=0.02)
    unit = _UNITS.get(plane.unit, plane.unit)
    bar.set_label(_plain("\n".join(textwrap.wrap(f"{plane.quantity}{f', {unit}' if unit else ''}", 44))), fontsize=9)
    axes.set_title(_plain("\n".join(textwrap.wrap(plane.title, 60))), fontsize=10)
    axes.set_xlabel("mm" if plane.spacing_mm else "cells", fontsize=8)
    axes.tick_params(labelsize=8)
    _sides(axes, plane.sides)
    gap = " Grey: not measured." if np.ma.is_masked(values) else ""
    return _png(figure, (f"{_UNVERIFIED}.{gap}",))


def field_png(plot: FieldPlot) -> bytes:
    """The panels of a visual field side by side, each number at its place."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * max(1, len(plot.panels)), 4.6), dpi=_DPI, layout="constrained")
    figure.suptitle(_plain(plot.title), fontsize=10)
    for axes, panel in zip(figure.subplots(1, len(plot.panels), squeeze=False)[0], plot.panels, strict=True):
        _panel(axes, panel)
    return _png(figure, (*plot.notes, f"{_STORED}."))


def _panel(axes: Any, panel: FieldPanel) -> None:
    from matplotlib.patches import Rectangle

    reach = max((abs(v) for p in panel.points for v in (p.x, p.y)), default=1.0) + 4.0
    side = _step(panel)
    for point in panel.points:
        shade = f"{1.0 - 0.75 * min(1.0, max(0.0, point.depth)):.3f}"
        corner = (point.x - side / 2, point.y - side / 2)
        axes.add_patch(Rectangle(corner, side, side, facecolor=shade, edgecolor="#8a8a8a", linewidth=0.3))
        ink = "white" if point.depth > 0.55 else "black"
        axes.text(point.x, point.y, _plain(point.text), ha="center", va="center", fontsize=7, color=ink)
    axes.axhline(0.0, color="#5a5a5a", linewidth=0.6, zorder=0)
    axes.axvline(0.0, color="#5a5a5a", linewidth=0.6, zorder=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_title(_plain(panel.title), fontsize=9)
    axes.set_xlabel("degrees", fontsize=8)
    axes.tick_params(labelsize=7)


def _step(panel: FieldPanel) -> float:
    """The least distance of two points along an axis: the side of a point's square."""
    gaps = [
        gap
        for axis in ({p.x for p in panel.points}, {p.y for p in panel.points})
        for gap in np.diff(np.sort(np.array([*axis])))
        if gap > 0.5
    ]
    return float(min(gaps, default=6.0))


def _sides(axes: Any, sides: tuple[str, ...]) -> None:
    if len(sides) != 4:
        return
    places = (
        (0.01, 0.5, "left", "center"),
        (0.99, 0.5, "right", "center"),
        (0.5, 0.985, "center", "top"),
        (0.5, 0.015, "center", "bottom"),
    )
    for (x, y, ha, va), word in zip(places, sides, strict=True):
        turn = 90 if ha != "center" else 0
        axes.text(
            x, y, _plain(word), transform=axes.transAxes, ha=ha, va=va, rotation=turn, fontsize=8, color="white",
            bbox={"facecolor": "black", "alpha": 0.45, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip


def _size(width: float, height: float) -> tuple[float, float]:
    """Of the figure in inches, near the proportions of the plane and never a ribbon."""
    share = min(1.6, max(0.5, height / width if width > 0 else 1.0))
    return (_INCHES + 1.2, _INCHES * share + 1.0) if share <= 1.0 else (_INCHES / share + 1.6, _INCHES + 1.0)


def _limits(plane: Plane) -> tuple[float, float]:
    known = plane.values[np.isfinite(plane.values)]
    low, high = plane.shown or (
        (float(np.percentile(known, 0.5)), float(np.percentile(known, 99.5))) if known.size else (0.0, 1.0)
    )
    if plane.signed:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if high > low else (low, low + 1.0)


def _thinned(values: Any) -> Any:
    step = 1
    while values[::step, ::step].size > _MOST_CELLS:
        step += 1
    return values[::step, ::step]


def _png(figure: Any, notes: tuple[str, ...]) -> bytes:
    lines = [line for note in notes for line in textwrap.wrap(_plain(note), _CHARACTERS)]
    figure.supxlabel("\n".join(lines), fontsize=8, x=0.01, ha="left")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()


def _plain(text: str) -> str:
    """Without mathematical notation: a dollar sign is a dollar sign."""
    return text.replace("$", r"\$")
