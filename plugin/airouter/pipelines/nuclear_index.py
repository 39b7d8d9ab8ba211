"""The share of positive nuclei, over all that count and in the window that holds most of them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Region
from airouter.imaging import hotspot
from airouter.imaging.level import Level
from airouter.imaging.stain import H_DAB
from airouter.pipelines.nuclei_of_slide import Nuclei
from airouter.pipelines.pipeline import Values
from airouter.pipelines.tumour_cells import TumourCells

NO: Final = "not analysed because"


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The nuclei that the index is of, which of them are positive, and the index in % or why there is none."""

    nuclei: Nuclei
    positive: NDArray[np.bool_] = field(repr=False)
    why: str | None
    index: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Hotspot:
    """The window with most positive nuclei."""

    region: Region
    total: int
    positive: int
    area_mm2: float

    @property
    def index(self) -> float:
        return 100.0 * self.positive / self.total


def counted_of(stain: str | None, nuclei: Nuclei, tumour: TumourCells, values: Values) -> Counted:
    stained = stain == H_DAB
    positive = nuclei.od >= values["dab_threshold"] if stained else np.zeros(len(nuclei), bool)
    why = _no_index(stain, nuclei, positive, tumour, values)
    return Counted(nuclei, positive, why, None if why else 100.0 * float(positive.sum()) / len(nuclei))


def _no_index(
    stain: str | None, nuclei: Nuclei, positive: NDArray[np.bool_], tumour: TumourCells, values: Values
) -> str | None:
    """Why there is no index, None where there is one."""
    if stain is None:
        return f"{NO} the stain is not stated in the header"
    if stain != H_DAB:
        return f"{NO} the stain is {stain}"
    if tumour.why:
        return tumour.why
    if len(nuclei) < values["min_nuclei"]:
        of = " of tumour cells" if tumour.known else ""
        return f"{NO} {len(nuclei)} nuclei{of} were found and at least {values['min_nuclei']:.0f} are needed"
    share = nuclei.surround[positive] / nuclei.od[positive]
    share = share[np.isfinite(share)]
    if len(share) and float(np.median(share)) > values["max_surround"]:
        # a membranous or cytoplasmic marker, or background staining: what lies over a nucleus is not in it
        return f"{NO} the DAB is not confined to the nuclei"
    return None


def hotspot_of(counted: Counted, level: Level, area_mm2: float, values: Values) -> Hotspot | str:
    """The window with most positive nuclei, or why there is none."""
    window, least = values["hotspot_mm2"], int(values["min_hotspot_nuclei"])
    if counted.index is None:
        return counted.why or ""
    if area_mm2 < window:
        return f"{NO} {area_mm2:.3g} mm2 of tissue count and the window has {window:g} mm2"
    if not counted.positive.any():
        return f"{NO} no nucleus is positive"
    places = counted.nuclei.centres * level.spacing_um
    best = hotspot.densest(places, window, counted=counted.positive, least=least)
    if best is None:
        return f"{NO} no window of {window:g} mm2 holds {least} nuclei"
    outline = np.clip(best.outline() / level.spacing_um, 0, [level.columns, level.rows])
    region = Region("POLYGON", level.instance_uid, outline)
    return Hotspot(region, best.count, int(counted.positive[best.members].sum()), window)
