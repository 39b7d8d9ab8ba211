"""How much of the optic disc is cup, from masks of a model on a fundus photograph that is upright."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.imaging.landmarks import disc
from airouter.imaging.spots import Spot, spots

_CUP_IN_DISC: Final = 0.9  # least share of what was found as cup that lies in the disc; own figure


@dataclass(frozen=True, slots=True, eq=False)
class DiscCup:
    """`vertical`: height of the cup by that of the disc; `area`: the same of the areas, `rim` what that lacks to 1."""

    disc: Spot
    cup: Spot

    @property
    def vertical(self) -> float:
        return self.cup.height / self.disc.height

    @property
    def area(self) -> float:
        return self.cup.area / self.disc.area

    @property
    def rim(self) -> float:
        return 1.0 - self.area


def disc_cup(
    disc_mask: NDArray[np.bool_], cup_mask: NDArray[np.bool_], field_width: float, field_mask: NDArray[np.bool_]
) -> DiscCup | str:
    """Disc and cup, the largest region of each; else why they are not measured.

    `field_mask`: bool [rows, columns], the lit field, `field_width` its width in pixels. A disc that the edge of the
    field cuts is not measured.
    """
    found = disc(disc_mask, field_width)
    if isinstance(found, str):
        return found
    top, left, bottom, right = found.box
    rows, columns = disc_mask.shape
    if min(top, left) == 0 or bottom == rows or right == columns:
        return "the edge of the photograph cuts the optic disc"
    if not field_mask[top - 1 : bottom + 1, left - 1 : right + 1].all():
        return "the edge of the field cuts the optic disc"
    cups = spots(cup_mask, fill=True)
    if not cups:
        return "no cup was found in the optic disc"
    inside = np.zeros_like(disc_mask)
    inside[top:bottom, left:right] = found.inside
    up, west, down, east = cups[0].box
    both = inside[up:down, west:east] & cups[0].inside
    if both.sum() < _CUP_IN_DISC * cups[0].area:
        return "what was found as cup does not lie in the optic disc"
    within = np.zeros_like(disc_mask)
    within[up:down, west:east] = both
    return DiscCup(found, spots(within)[0])
