"""Charts drawn by matplotlib: as pixels for a Secondary Capture, as SVG for a page.

matplotlib is imported with the first chart: it takes half a second, which Orthanc's start must not wait for.
"""

import io
import textwrap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.picture import Chart, Picture

_INCHES: Final = (8.0, 5.0)
_DPI: Final = 120
_CHARACTERS: Final = 125  # of a note in one line
# Distinct also with red-green colour blindness (Okabe and Ito, 2008).
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WARNING: Final = "AI suggestion, unverified, not for diagnosis"


def picture(chart: Chart) -> Picture:
    """The chart as pixels, uint8 [600, 960, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(_drawn(chart))
    canvas.draw()
    rgba: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba(), np.uint8)
    return Picture(chart.role, chart.label, chart.source, np.ascontiguousarray(rgba[:, :, :3]))


def svg(chart: Chart) -> str:
    """The chart as an SVG document. Texts are paths: what a label says cannot become markup."""
    drawn = io.StringIO()
    _drawn(chart).savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def _drawn(chart: Chart) -> Any:
    """A matplotlib figure."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "airouter"  # else the identifiers in an SVG are drawn at random
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for n, trace in enumerate(chart.traces):
        _draw(axes, trace, _COLOURS[n % len(_COLOURS)])
    axes.set_title(_plain(chart.title), fontsize=11)
    axes.set_xlabel(_plain(chart.x_label))
    axes.set_ylabel(_plain(chart.y_label))
    axes.ticklabel_format(useOffset=False)
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    if chart.traces:
        axes.legend(loc="best", fontsize=8)
    notes = [line for note in (*chart.notes, _WARNING) for line in textwrap.wrap(_plain(note), _CHARACTERS)]
    figure.supxlabel("\n".join(notes), fontsize=8, x=0.01, ha="left")
    return figure


def _draw(axes: Any, trace: Any, colour: str) -> None:
    label = _plain(trace.label)
    if trace.kind == "points":
        axes.plot(trace.x, trace.y, "o", color=colour, markersize=5, label=label)
    elif trace.kind == "line":
        axes.plot(trace.x, trace.y, "-", color=colour, linewidth=1.6, label=label)
    else:
        axes.fill_between(trace.x, trace.y, trace.upper, color=colour, alpha=0.2, linewidth=0, label=label)


def _plain(text: str) -> str:
    """Without mathematical notation: a dollar sign is a dollar sign."""
    return text.replace("$", r"\$")
