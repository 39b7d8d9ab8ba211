"""How a photograph of the fundus is aligned: whether macula or optic disc lie far enough from the edge of its field.

After the fields of the NHS Diabetic Eye Screening Programme: a macular one is adequate where the middle of the fovea
lies two disc diameters or more from the edge, a nasal one where the whole disc does. A photograph that takes in both
has less room for each: one disc diameter does there, an own figure.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.landmarks import Point, disc
from airouter.imaging.spots import spots

FROM_EDGE: Final = 2.0  # disc diameters
_BOTH: Final = 1.0  # disc diameters, where both are in the field
_RADIUS: Final = 0.5  # of the disc, in its own diameters


@dataclass(frozen=True, slots=True)
class Alignment:
    """How far the middle of the fovea, and the nearest part of the disc, lie within the field, in disc diameters.

    Negative: outside. None where they were not found. `problem`: why the field is neither macular nor nasal, empty
    where it is one of them.
    """

    fovea: float | None
    disc: float | None
    problem: str


def alignment(disc_mask: NDArray[np.bool_], fovea_mask: NDArray[np.bool_], outline: NDArray[np.float64]) -> Alignment:
    """`outline` of the lit field, float64 [n, 2] of (column, row), in pixels of the masks [rows, columns]."""
    found = disc(disc_mask, float(np.ptp(outline[:, 0])))
    foveas = spots(fovea_mask)
    if isinstance(found, str):
        seen = "" if foveas else " and neither was the fovea"
        return Alignment(None, None, f"{found}{seen}")
    fovea = _within(outline, foveas[0].centre) / found.diameter if foveas else None
    away = _within(outline, found.centre) / found.diameter - _RADIUS
    if max(away, away if fovea is None else fovea) >= FROM_EDGE or (fovea is not None and min(fovea, away) >= _BOTH):
        return Alignment(fovea, away, "")
    macula = "not found" if fovea is None else f"{fovea:.1f} disc diameters"
    return Alignment(fovea, away, f"from the edge of the field: fovea {macula}, optic disc {away:.1f} disc diameters")


def _within(outline: NDArray[np.float64], point: Point) -> float:
    """Distance to the outline in pixels, positive inside."""
    return float(cv2.pointPolygonTest(outline.astype(np.float32), point, True))
