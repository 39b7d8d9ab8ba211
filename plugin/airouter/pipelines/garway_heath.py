"""Which part of the optic disc the nerve fibres of a point of the visual field reach.

Garway-Heath DF, Poinoosawmy D, Fitzke FW, Hitchings RA. Mapping the visual field to the optic disc in normal tension
glaucoma eyes. Ophthalmology 2000;107:1809-1815: the mean angle at which the fibres of each point of the 24-2 pattern
enter the disc, traced in 69 photographs, and the division of the disc into six sectors. Angles are of the right disc as
it is seen: 0 degrees temporal, 90 superior, 180 nasal, 270 inferior; the upper half of the field lies on the lower half
of the disc. A left eye is its mirror image. Single eyes deviate from the mean by some 7 degrees.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.study import Laterality


class Sector(StrEnum):
    """A sector of the optic disc."""

    TEMPORAL = "temporal"
    SUPEROTEMPORAL = "superotemporal"
    SUPERONASAL = "superonasal"
    NASAL = "nasal"
    INFERONASAL = "inferonasal"
    INFEROTEMPORAL = "inferotemporal"


# First whole degree of each sector; temporal runs on over zero to 40.
_STARTS: Final = (
    (311, Sector.TEMPORAL),
    (271, Sector.INFEROTEMPORAL),
    (231, Sector.INFERONASAL),
    (121, Sector.NASAL),
    (81, Sector.SUPERONASAL),
    (41, Sector.SUPEROTEMPORAL),
    (0, Sector.TEMPORAL),
)

# Rows of the 24-2 pattern of a right eye from above (degrees up: angles from left to right); None: the blind spot.
_ROWS: Final[Mapping[int, tuple[int | None, ...]]] = {
    21: (268, 262, 252, 245),
    15: (264, 274, 281, 275, 260, 246),
    9: (271, 285, 291, 296, 298, 283, 253, 229),
    3: (278, 287, 291, 298, 312, 329, 318, None, 218),
    -3: (83, 76, 68, 55, 34, 11, 13, None, 167),
    -9: (85, 78, 66, 56, 48, 60, 95, 136),
    -15: (88, 81, 77, 80, 93, 112),
    -21: (93, 95, 100, 108),
}
_LEFTMOST: Final = {21: -9, 15: -15, 9: -21, 3: -27, -3: -27, -9: -21, -15: -15, -21: -9}
STEP: Final = 6  # degrees between neighbours of the pattern

# Angle of each point (x, y) of the right eye's 24-2 pattern but for the two of the blind spot.
ANGLES: Final[Mapping[tuple[int, int], int]] = MappingProxyType(
    {
        (_LEFTMOST[y] + STEP * n, y): angle
        for y, row in _ROWS.items()
        for n, angle in enumerate(row)
        if angle is not None
    }
)
BLIND_SPOT: Final = ((15, 3), (15, -3))  # of the right eye's pattern


# The part of the field that belongs to each sector.
CODES: Final[Mapping[Sector, Code]] = MappingProxyType(
    {
        Sector.TEMPORAL: codes.FIELD_SECTOR_TEMPORAL,
        Sector.SUPEROTEMPORAL: codes.FIELD_SECTOR_SUPEROTEMPORAL,
        Sector.SUPERONASAL: codes.FIELD_SECTOR_SUPERONASAL,
        Sector.NASAL: codes.FIELD_SECTOR_NASAL,
        Sector.INFERONASAL: codes.FIELD_SECTOR_INFERONASAL,
        Sector.INFEROTEMPORAL: codes.FIELD_SECTOR_INFEROTEMPORAL,
    }
)


def sector_at(angle: float) -> Sector:
    """The sector at an angle of the right disc in degrees."""
    return next(sector for start, sector in _STARTS if round(angle) % 360 >= start)


def as_right(x: float, y: float, laterality: Laterality) -> tuple[float, float]:
    """Where a point lies in a right eye's field. Raises ValueError unless the laterality is right or left."""
    if laterality not in (Laterality.R, Laterality.L):
        raise ValueError(f"{laterality} is no single eye")
    return (-x if laterality is Laterality.L else x), y


def sector_of(x: float, y: float, laterality: Laterality) -> Sector | None:
    """The sector of a point of the field in degrees, None where the map has no such point (within a quarter degree).

    Raises ValueError unless the laterality is right or left.
    """
    at = as_right(x, y, laterality)
    near = (round(at[0]), round(at[1]))
    angle = ANGLES.get(near)
    if angle is None or max(abs(at[0] - near[0]), abs(at[1] - near[1])) > 0.25:
        return None
    return sector_at(angle)


def is_blind_spot(x: float, y: float, laterality: Laterality) -> bool:
    """Whether a point of the 24-2 or 30-2 pattern lies where the optic disc is.

    Raises ValueError unless the laterality is right or left.
    """
    at = as_right(x, y, laterality)
    return any(max(abs(at[0] - u), abs(at[1] - v)) <= 0.25 for u, v in BLIND_SPOT)
