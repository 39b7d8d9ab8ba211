"""Sectors of the circle about the optic disc.

Angles are those of a TSNIT plot, in degrees: 0 temporal, 90 superior, 180 nasal, 270 inferior, for both eyes. A left
eye is the mirror of a right one, so all sectors are anatomical.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.study import Laterality

# (first, last) angle, the last below the first + 360.
QUADRANTS: Final[Mapping[str, tuple[float, float]]] = {
    "superior": (45.0, 135.0),
    "nasal": (135.0, 225.0),
    "inferior": (225.0, 315.0),
    "temporal": (315.0, 405.0),
}
# Garway-Heath DF et al. Mapping the visual field to the optic disc in normal tension glaucoma eyes. Ophthalmology
# 2000;107:1809-1815: 311-40, 41-80, 81-120, 121-230, 231-270 and 271-310 degrees.
GARWAY_HEATH: Final[Mapping[str, tuple[float, float]]] = {
    "temporal": (310.0, 400.0),
    "temporal superior": (40.0, 80.0),
    "nasal superior": (80.0, 120.0),
    "nasal": (120.0, 230.0),
    "nasal inferior": (230.0, 270.0),
    "temporal inferior": (270.0, 310.0),
}
# Position 12 superior, 3 nasal, 6 inferior, 9 temporal (PS3.16 CID 4284: clockwise in the right eye, seen from the
# front, the other way round in the left).
CLOCK: Final[tuple[tuple[float, float], ...]] = tuple(
    ((15.0 + 30.0 * ((hour - 10) % 12)), (45.0 + 30.0 * ((hour - 10) % 12))) for hour in range(1, 13)
)


def tsnit(angle: NDArray[np.float64], laterality: Laterality) -> NDArray[np.float64]:
    """From angles as the examiner sees them (0 right, 90 up, counterclockwise): temporal is left in a right eye."""
    return np.asarray((180.0 - angle) % 360.0 if laterality is Laterality.R else angle % 360.0)


def mean(
    values: NDArray[np.float64], angle: NDArray[np.float64], span: tuple[float, float], coverage: float
) -> float | None:
    """Mean of what is known within a sector; None where less than `coverage` of its samples are."""
    first, last = span
    inside = (angle - first) % 360.0 < last - first
    known = inside & np.isfinite(values)
    if not inside.any() or known.sum() < coverage * inside.sum():
        return None
    return float(values[known].mean())
