"""How near tumour comes to a margin of the specimen, on the same piece of tissue.

The margin is the inked surface where the model saw ink on the slide; else a line that a person drew and called a
margin; else the outer edge of the tissue, which need not be a surgical margin. A piece is a connected part of the
tissue's mask, whose gaps up to 40 um are closed already: no path leads over the glass between two pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.drawing import Drawing
from airouter.domain.finding import Evaluation, Finding, Measurement, Region
from airouter.imaging import distance
from airouter.imaging.distance import Path
from airouter.pipelines.compartments import INK, TUBULE, TUMOUR, Compartments, closed
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.tissue_classes import BACKGROUND

PARAMETERS: Final = (
    Parameter("positive_um", 0.0, "um", "distance up to which the margin is positive; 0: tumour on the margin", 0.0),
    Parameter("clearance_mm", 2.0, "mm", "distance from which on the margin is clear", 0.0, 100.0),
    Parameter("min_tumour_um2", 500.0, "um2", "least area of contiguous tumour that is measured from", 0.0),
    Parameter("min_ink_um2", 500.0, "um2", "least area of contiguous ink that is a margin", 0.0),
)
DRAWN: Final = Parameter(
    "reach_um", 500.0, "um", "how far from a piece of tissue its drawn margin may lie", 0.0, 10000.0
)
EDGE: Final = (
    Parameter("edge", 1, "1", "1: without ink or a drawn margin the edge of the tissue is taken", 0, 1, whole=True),
    Parameter(
        "tear_um", 100.0, "um", "clefts in the edge of the tissue narrower than twice this are closed", 0.0, 2000.0
    ),
)

KEY: Final = "margin"  # of the finding
_COMMENT: Final = {
    codes.MARGIN_INK: "Measured to the ink on the tissue.",
    codes.MARGIN_DRAWN: "Measured to a margin that a person drew.",
    codes.MARGIN_EDGE: "Measured to the outer edge of the tissue, which need not be a surgical margin.",
}
_NAME: Final = {
    codes.MARGIN_INK: "the ink",
    codes.MARGIN_DRAWN: "the drawn margin",
    codes.MARGIN_EDGE: "the edge of the tissue",
}
_NO_TUMOUR: Final = "not analysed because no tumour was found on the slide"


@dataclass(frozen=True, slots=True)
class Margin:
    """The nearest margin: `path` from tumour to it in pixels of the compartments' mask, what `kind` of margin it is.

    `cut`: the piece of tissue runs on beyond the scan, so that a nearer margin may not have been seen.
    """

    path: Path
    kind: Code
    distance_mm: float
    cut: bool = False


def status(distance_mm: float, values: Values) -> Code:
    """Positive, close or clear."""
    if distance_mm * 1000.0 <= values["positive_um"]:
        return codes.MARGIN_POSITIVE
    return codes.MARGIN_CLOSE if distance_mm < values["clearance_mm"] else codes.MARGIN_CLEAR


def reason(margin: Margin, values: Values) -> str:
    """The status in words, with the distance."""
    name = status(margin.distance_mm, values).meaning.lower()
    return f"{name}: tumour {margin.distance_mm:.2f} mm from {_NAME[margin.kind]}"


def to_ink(found: Compartments, values: Values) -> Margin | str | None:
    """The nearest ink. Why there is no distance to ink that is there, None where there is none on the slide."""
    if (ink := _inked(found, values)) is None:
        return None
    if not (tumour := _tumour(found, values)).any():
        return _NO_TUMOUR
    measured = (
        _margin(found, codes.MARGIN_INK, distance.shortest(piece.of(tumour), piece.of(ink)), piece)
        for piece in _pieces(found)
    )
    return _nearest(measured) or "not analysed because ink and tumour lie on different pieces of tissue"


def to_margin(found: Compartments, drawings: Sequence[Drawing], values: Values) -> Margin | str:
    """The nearest margin of the slide, or why none was measured to."""
    ink = to_ink(found, values)
    if ink is not None:
        return ink
    if not (tumour := _tumour(found, values)).any():
        return _NO_TUMOUR
    if lines := drawn_margins(drawings):
        return _to_lines(found, tumour, lines, values)
    if not values["edge"]:
        return "not analysed because there is neither ink nor a drawn margin on the slide"
    tissue = ~found.of(BACKGROUND)
    measured = (_to_edge(found, tumour, tissue, piece, values) for piece in _pieces(found))
    return _nearest(measured) or "not analysed because no edge of the tissue with tumour lies on the scan"


def drawn_margins(drawings: Sequence[Drawing]) -> list[NDArray[np.float64]]:
    """Lines that people drew as margins, in pixels of the slide's finest level.

    They are typed as surgical margin or ink on it, or have the word margin in their label; what a machine drew is none.
    """
    types = {(code.value, code.scheme) for code in (codes.SURGICAL_MARGIN, codes.MARGIN_INK)}
    return [
        shape
        for drawing in drawings
        if drawing.graphic == "POLYLINE" and not drawing.automatic
        if (drawing.type.value, drawing.type.scheme) in types or "margin" in drawing.label.lower()
        for shape in drawing.shapes
    ]


def finding(found: Compartments, margin: Margin, values: Values) -> Finding:
    """The distance, the status and what it was measured to; as region the path, or the place where it has no length."""
    points = found.to_level(margin.path.points)
    apart = margin.path.length > 0
    comment = _COMMENT[margin.kind]
    if margin.cut:
        comment += " The tissue runs on beyond the scan, where a margin may be nearer."
    return Finding(
        key=KEY,
        label="Shortest path from tumour to margin",
        finding=codes.SURGICAL_MARGIN,
        region=Region("POLYLINE" if apart else "POINT", found.level.instance_uid, points if apart else points[:1]),
        measurements=(Measurement(codes.DISTANCE, margin.distance_mm, codes.MM),),
        evaluations=(
            Evaluation(codes.MARGIN_STATUS, status(margin.distance_mm, values)),
            Evaluation(codes.MARGIN_USED, margin.kind),
        ),
        comment=comment,
        method=codes.METHOD_MARGIN,
    )


def _nearest(measured: Iterator[Margin | None]) -> Margin | None:
    return min((each for each in measured if each is not None), key=lambda each: each.distance_mm, default=None)


def _inked(found: Compartments, values: Values) -> NDArray[np.bool_] | None:
    if not found.class_mm2(INK):
        return None
    ink = _without_specks(found.of(INK), values["min_ink_um2"] / found.pixel_um**2)
    return ink if ink.any() else None


def _tumour(found: Compartments, values: Values) -> NDArray[np.bool_]:
    return _without_specks(found.of(TUMOUR, TUBULE), values["min_tumour_um2"] / found.pixel_um**2)


def _without_specks(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """A mask without its parts of fewer than `least` pixels, pixels that touch at a corner being one part."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return np.asarray(keep[parts], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A piece of tissue: the window of the compartments' mask that it lies in, and bool `mask` within that."""

    window: tuple[slice, slice]
    mask: NDArray[np.bool_]

    @property
    def corner(self) -> NDArray[np.float64]:
        """(column, row) of the window."""
        return np.array([self.window[1].start, self.window[0].start], np.float64)

    def of(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What of a mask on the whole grid lies on the piece, in its window."""
        return mask[self.window] & self.mask


def _pieces(found: Compartments) -> Iterator[_Piece]:
    """The connected parts of the tissue's mask, as far as they were analysed."""
    tissue = found.region.tissue
    count, parts, stats, _ = cv2.connectedComponentsWithStats(tissue.mask.view(np.uint8), connectivity=8)
    to_tissue = found.region.to_base / tissue.factor
    rows, columns = (
        np.minimum(
            (np.minimum((np.arange(cells) + 0.5) * found.factor, length - 0.5) * to_tissue).astype(np.intp), limit - 1
        )
        for cells, length, limit in zip(
            found.mask.shape, (found.level.rows, found.level.columns), tissue.mask.shape, strict=True
        )
    )
    for number in range(1, count):
        x, y, wide, high = stats[number, :4].tolist()
        window = (
            slice(*np.searchsorted(rows, [y, y + high]).tolist()),
            slice(*np.searchsorted(columns, [x, x + wide]).tolist()),
        )
        mask = (parts[np.ix_(rows[window[0]], columns[window[1]])] == number) & (found.mask[window] > 0)
        if mask.any():
            yield _Piece(window, mask)


def _margin(found: Compartments, kind: Code, path: Path | None, piece: _Piece, cut: bool = False) -> Margin | None:
    """A margin from a path within the window of a piece."""
    if path is None:
        return None
    column, row = piece.corner.tolist()
    placed = Path((path.start[0] + column, path.start[1] + row), (path.end[0] + column, path.end[1] + row))
    return Margin(placed, kind, path.length * found.pixel_um / 1000.0, cut)


def _to_lines(
    found: Compartments, tumour: NDArray[np.bool_], lines: Sequence[NDArray[np.float64]], values: Values
) -> Margin | str:
    """To those parts of the lines that lie nearest to a piece with tumour, and within reach of it."""
    scale = found.region.slide.base.spacing_um / found.pixel_um
    points = np.concatenate([distance.along(np.asarray(line, np.float64) * scale) for line in lines])
    pieces = list(_pieces(found))
    away = np.stack([distance.away(piece.mask, points - piece.corner) for piece in pieces])
    owner = np.where(away.min(axis=0) * found.pixel_um <= values["reach_um"], away.argmin(axis=0), -1)
    if (owner < 0).all():
        return f"not analysed because the drawn margin lies more than {values['reach_um']:g} um from the tissue"
    measured = (
        _margin(
            found,
            codes.MARGIN_DRAWN,
            distance.to_points(piece.of(tumour), points[owner == number] - piece.corner),
            piece,
        )
        for number, piece in enumerate(pieces)
    )
    return _nearest(measured) or "not analysed because the drawn margin and tumour lie on different pieces of tissue"


def _to_edge(
    found: Compartments, tumour: NDArray[np.bool_], tissue: NDArray[np.bool_], piece: _Piece, values: Values
) -> Margin | None:
    """To the outer border of a piece without its holes and narrow clefts; where the scan ends tissue has no edge."""
    there = piece.of(tumour)
    if not there.any():
        return None
    solid = _filled(closed(piece.of(tissue), values["tear_um"] / found.pixel_um))
    border = distance.corners(solid)
    on_scan = np.all((border + piece.corner > 0) & (border + piece.corner < np.array(found.mask.shape[::-1])), axis=1)
    path = distance.nearest(distance.corners(there), border[on_scan])
    return _margin(found, codes.MARGIN_EDGE, path, piece, cut=not on_scan.all())


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with its holes: what does not reach the border of the picture from outside."""
    outer, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, outer, -1, 1, cv2.FILLED)
    return filled.astype(np.bool_)
