"""Optic disc and fovea of a fundus photograph, from masks of a model: where they lie, or why that is not trusted.

Points are (column, row) in pixels, the centre of the first pixel being (0.5, 0.5). The photograph is taken to be
upright: superior is up. Nasal is where the disc lies from the fovea.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.study import Laterality
from airouter.imaging.spots import Spot, spots

Point = tuple[float, float]

# Of what a fundus camera of 30 to 60 degrees shows, the disc (about 6 degrees wide) is a fifth to a tenth. Own limits,
# wide enough for small and large discs, to refuse what a model mistook for one.
_DISC_OF_FIELD: Final = (0.05, 0.3)
# The fovea lies 15.5 +- 1.1 degrees temporal to the middle of the disc and a little below it (Rohrschneider K.
# Determination of the location of the fovea on the fundus. Invest Ophthalmol Vis Sci 2004;45:3257-3258): about two and
# a half disc diameters. Own limits around it.
_FOVEA_FROM_DISC: Final = (1.5, 4.0)
# How far above or below the disc the fovea may lie, by their distance: the angle between them is 7 degrees, here 35.
_LEVEL: Final = 0.57


@dataclass(frozen=True, slots=True)
class Landmarks:
    """`diameter`: of the circle with the disc's area, in pixels, the disc diameter that distances are told in."""

    disc: Point
    diameter: float
    fovea: Point

    @property
    def nasal(self) -> int:
        """1 where nasal is to the right in the photograph, -1 to the left."""
        return 1 if self.disc[0] > self.fovea[0] else -1

    def contradicts(self, laterality: Laterality) -> bool:
        """Whether the disc lies on the other side of the fovea than in that eye: in a right eye it is to the right."""
        return self.nasal != (1 if laterality is Laterality.R else -1)


def disc(mask: NDArray[np.bool_], field_width: float) -> Spot | str:
    """The optic disc: the largest part of a mask [rows, columns], holes filled; else why there is none.

    `field_width`: width of the lit field in pixels.
    """
    found = spots(mask, fill=True)
    if not found:
        return "the optic disc was not found"
    share = found[0].diameter / field_width
    if not _DISC_OF_FIELD[0] <= share <= _DISC_OF_FIELD[1]:
        return f"what was found as optic disc has {share:.2f} of the field's width"
    return found[0]


def landmarks(disc_mask: NDArray[np.bool_], fovea_mask: NDArray[np.bool_], field_width: float) -> Landmarks | str:
    """Disc and fovea where both are found at a plausible distance; else the reason."""
    found = disc(disc_mask, field_width)
    if isinstance(found, str):
        return found
    fovea = spots(fovea_mask)
    if not fovea:
        return "the fovea was not found"
    made = Landmarks(found.centre, found.diameter, fovea[0].centre)
    across, down = abs(made.disc[0] - made.fovea[0]), abs(made.disc[1] - made.fovea[1])
    away = float(np.hypot(across, down)) / made.diameter
    if not _FOVEA_FROM_DISC[0] <= away <= _FOVEA_FROM_DISC[1] or down > _LEVEL * away * made.diameter:
        return f"fovea and disc lie implausibly, {away:.1f} disc diameters apart"
    return made
