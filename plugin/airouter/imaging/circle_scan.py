"""A B-scan along a circle: where on its localizer each of its columns lies.

From Ophthalmic Image Orientation and Reference Coordinates of the frames (PS3.3 C.8.17.10.1: row and column on the
localizer, one pair for each column of a NONLINEAR frame). The localizer is a picture of the fundus as the examiner sees
it: superior is up, and the disc of a right eye lies to the right of its fovea.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.imaging.header import first_item, number

_OUT_OF_ROUND: Final = 0.05  # most that the radius may vary about its mean
_CLOSED: Final = 15.0  # degrees: most that the turn may differ from a whole one


@dataclass(frozen=True, slots=True, eq=False)
class Circle:
    """`angle`: float64 [columns] in degrees, counterclockwise on the localizer from its right (0) over its top (90).

    `centre` (row, column) and `radius` in pixels of the localizer.
    """

    centre: tuple[float, float]
    radius: float
    angle: NDArray[np.float64]


def nonlinear(header: Dataset) -> bool:
    """Whether the header says of the image, or of each of its frames, that it runs along a curve."""
    if header.get("OphthalmicImageOrientation"):
        return str(header.OphthalmicImageOrientation) == "NONLINEAR"
    said = [first_item(group, "OphthalmicFrameLocationSequence") for group in _groups(header)]
    return bool(said) and all(s is not None and s.get("OphthalmicImageOrientation") == "NONLINEAR" for s in said)


def paths(header: Dataset) -> list[NDArray[np.float64] | None]:
    """Row and column [points, 2] on the localizer for each frame, None where the header has none."""
    found: list[NDArray[np.float64] | None] = []
    for group in _groups(header):
        place = first_item(group, "OphthalmicFrameLocationSequence")
        values = [number(v) for v in place.get("ReferenceCoordinates") or []] if place is not None else []
        known = [v for v in values if v is not None]
        usable = len(known) == len(values) and len(values) >= 2 and len(values) % 2 == 0
        found.append(np.array(known).reshape(-1, 2) if usable else None)
    return found


def circle(path: NDArray[np.float64]) -> Circle | None:
    """The circle that a path of one point per column runs along once, None where it is another curve."""
    if len(path) < 16:
        return None
    # Least squares (Kasa I. A circle fitting procedure and its error analysis. IEEE Trans Instrum Meas 1976;25:8-14).
    system = np.column_stack([path, np.ones(len(path))])
    (a, b, _), *_ = np.linalg.lstsq(system, (path**2).sum(axis=1), rcond=None)
    centre = np.array([a, b]) / 2.0
    away = path - centre
    radius = np.hypot(*away.T)
    mean = float(radius.mean())
    if not np.isfinite(mean) or mean <= 0.0 or np.abs(radius - mean).max() > _OUT_OF_ROUND * mean:
        return None
    angle = np.degrees(np.unwrap(np.arctan2(-away[:, 0], away[:, 1])))
    turn = abs(float(angle[-1] - angle[0])) * len(path) / (len(path) - 1)
    if abs(turn - 360.0) > _CLOSED:
        return None
    return Circle((float(centre[0]), float(centre[1])), mean, angle % 360.0)


def pattern(header: Dataset) -> str:
    """CIRCLE where nothing in the header of a NONLINEAR image says another curve, else CURVE."""
    known = [path for path in paths(header) if path is not None]
    return "CIRCLE" if all(circle(path) is not None for path in known) else "CURVE"


def _groups(header: Dataset) -> list[Dataset]:
    return list(header.get("PerFrameFunctionalGroupsSequence") or [])
