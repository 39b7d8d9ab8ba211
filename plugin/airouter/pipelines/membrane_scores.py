"""What the membranes of the cells that count amount to: HER2 score, or PD-L1 TPS and CPS, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from airouter.domain.finding import NotAnalysed
from airouter.domain.model import Model
from airouter.imaging.level import Level
from airouter.pipelines import pd_l1
from airouter.pipelines.her2 import Her2, score
from airouter.pipelines.membrane_cells import IMMUNE, KINDS, Cells, elsewhere
from airouter.pipelines.pipeline import Values
from airouter.pipelines.tumour_cells import TumourCells

HER2: Final = "HER2"
PD_L1: Final = "PD-L1"
NO: Final = "not analysed because"
_STAINING: Final = "membrane staining"
_SCORES: Final[Mapping[str | None, tuple[str, ...]]] = {
    None: ("HER2 score", "PD-L1 scores"),
    HER2: ("HER2 score",),
    PD_L1: ("PD-L1 tumour proportion score", "PD-L1 combined positive score"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the counted cells amount to. `immune`: immune cells that count for CPS, None where they are not told."""

    counted: Cells
    immune: Cells | None
    not_analysed: tuple[NotAnalysed, ...] = ()
    her2: Her2 | None = None
    tps: float | None = None
    cps: float | None = None
    graded: bool = True


def scored_of(cells: Cells, tumour: TumourCells, level: Level, model: Model, values: Values) -> Scored:
    counted = cells.take(tumour.mask)
    marker = values.text("marker")
    wrong = elsewhere(cells, values)
    if wrong or tumour.why:
        why = tumour.why or f"{NO} {wrong}"
        return Scored(
            counted, None, tuple(NotAnalysed(name, why) for name in (_STAINING, *_SCORES[marker])), graded=False
        )
    immune = _immune(cells, tumour, level, model, values) if marker == PD_L1 else None
    if lacking := _no_score(counted, tumour, marker, values):
        return Scored(counted, immune, tuple(NotAnalysed(name, f"{NO} {lacking}") for name in _SCORES[marker]))
    if marker == HER2:
        return Scored(counted, immune, her2=_her2(counted, values))
    stained, total = int(counted.stained.sum()), len(counted)
    tps = pd_l1.tps(stained, total)
    if immune is None:
        missing = NotAnalysed(_SCORES[PD_L1][1], f"{NO} the model does not tell immune cells from others")
        return Scored(counted, None, (missing,), tps=tps)
    return Scored(counted, immune, tps=tps, cps=pd_l1.cps(stained, int(immune.stained.sum()), total))


def _no_score(counted: Cells, tumour: TumourCells, marker: str | None, values: Values) -> str | None:
    if marker is None:
        return "the route does not say what the slide is stained for"
    if not tumour.known:
        return "nothing tells tumour cells from others"
    if len(counted) < values["min_cells"]:
        return f"{len(counted)} viable tumour cells were found and at least {values['min_cells']:.0f} are needed"
    return None


def _her2(counted: Cells, values: Values) -> Her2:
    unusual = (counted.grade == 1) & (counted.share < values["complete_share"])
    unusual &= counted.intensity >= values["weak_od"]
    incomplete = 100.0 * float(unusual.sum()) / len(counted)
    return score(*counted.percent(), incomplete=incomplete, least_strong=values["least_strong"])


def _immune(cells: Cells, tumour: TumourCells, level: Level, model: Model, values: Values) -> Cells | None:
    """Viable immune cells near tumour cells; None where the model knows no kind of immune cell."""
    kinds = [KINDS.index(name) for name in IMMUNE if model.head.index(name) is not None]
    if not kinds:
        return None
    near = np.isin(cells.nuclei.kind, kinds) & tumour.viable
    centres = cells.nuclei.centres * level.spacing_um
    if near.any() and tumour.mask.any():
        away, _ = cKDTree(centres[tumour.mask]).query(centres[near])
        near[near] = away <= values["immune_um"]
    else:
        near[:] = False
    return cells.take(near)
