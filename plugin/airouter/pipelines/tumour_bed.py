"""The tumour bed and what part of it is tumour and stroma.

Tumour cellularity: the share of the area of the tumour bed that is tumour, as residual cancer burden takes it (Symmans
WF et al. J Clin Oncol 2007;25:4414-4422). Tumour-stroma ratio: tumour among tumour and stroma, necrosis left out
(Mesker WE et al. Cell Oncol 2007;29:387-398). Both are estimated by eye there; here they are areas.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.pipelines.compartments import STROMA, TUBULE, TUMOUR, Compartments
from airouter.pipelines.tissue_classes import BACKGROUND


@dataclass(frozen=True, slots=True)
class Shares:
    """Areas in mm2 within a tumour bed; `stroma_mm2` None where the model does not tell stroma."""

    bed_mm2: float
    tumour_mm2: float
    stroma_mm2: float | None = None

    @property
    def cellularity(self) -> float | None:
        """Tumour in % of the bed, None where there is no bed."""
        return _percent(self.tumour_mm2, self.bed_mm2)

    @property
    def tumour_stroma_ratio(self) -> float | None:
        """Tumour in % of tumour and stroma, None where there is neither or stroma is not told."""
        return None if self.stroma_mm2 is None else _percent(self.tumour_mm2, self.tumour_mm2 + self.stroma_mm2)

    @property
    def category(self) -> Code | None:
        """Stroma-high where more than half of tumour and stroma is stroma (Mesker 2007), else stroma-low."""
        ratio = self.tumour_stroma_ratio
        if ratio is None:
            return None
        return codes.STROMA_HIGH if 100.0 - ratio > 50.0 else codes.STROMA_LOW


@dataclass(frozen=True, slots=True, eq=False)
class Bed:
    """A tumour bed on the grid of the compartments: bool `mask`, and its `shares`."""

    mask: NDArray[np.bool_] = field(repr=False)
    shares: Shares


def tumour_bed(found: Compartments, distance_um: float) -> Bed:
    """The bed of all tumour on the slide; see Compartments.bed. What the model calls background is no part of its area.

    Background within a bed is glass in a tear or a lumen, which is neither tumour nor what tumour grows in.
    """
    mask = found.bed(distance_um)
    tumour = found.area_mm2(found.of(TUMOUR, TUBULE))
    stroma = found.area_mm2(mask & found.of(STROMA)) if found.has(STROMA) else None
    return Bed(mask, Shares(found.area_mm2(mask & ~found.of(BACKGROUND)), tumour, stroma))


def _percent(part: float, whole: float) -> float | None:
    return min(100.0, 100.0 * part / whole) if whole > 0 else None
