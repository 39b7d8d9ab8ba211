"""Which nuclei of a slide are those of tumour cells, by the tissue they lie in and by the kind a model gives them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Region, Ungradable
from airouter.domain.model import Model
from airouter.imaging.level import Level
from airouter.imaging.slide import Slide
from airouter.pipelines.compartments import NECROSIS, TISSUE, TUBULE, TUMOUR, Compartments, compartments_for
from airouter.pipelines.nuclei_of_slide import Nuclei
from airouter.pipelines.pipeline import companion
from airouter.ports import Predictor, ProgressSink

MITOSIS: Final = "mitosis"
_NOT: Final = "not analysed because"


@dataclass(frozen=True, slots=True, eq=False)
class TumourCells:
    """bool [n] `mask`: the nuclei that count. `known`: something tells tumour cells from others.

    `viable`: bool [n], what does not lie in necrosis. `how` says in words whose nuclei count. `why`: why none can be
    counted though a tissue model was to tell them, None else. `region`, `area_mm2`: the tumour, where a tissue model
    found it.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    viable: NDArray[np.bool_] = field(repr=False)
    known: bool
    how: str
    why: str | None = None
    region: Region | None = None
    area_mm2: float | None = None


def tissue_of(
    slide: Slide, predict: Predictor, threads: float | None, progress: ProgressSink
) -> Compartments | Ungradable | None:
    """What the companion `tissue` makes of the slide; None where the job has no such companion."""
    model = companion(predict, TISSUE)
    return None if model is None else compartments_for(slide, model, threads, progress)


def tumour_cells(
    found: Nuclei, level: Level, model: Model, kinds: Sequence[str], tissue: Compartments | Ungradable | None
) -> TumourCells:
    """The nuclei of tumour cells among those `found` on a level by a model that was asked for `kinds`.

    Nuclei of kind tumour where the model knows that kind, and mitotic figures, which are cells of the tumour; those
    within tumour and tubules where the tissue was divided;
    both where both hold. Never what lies in necrosis. All others where nothing is known of tumour.
    """
    everything = np.ones(len(found), bool)
    if isinstance(tissue, Ungradable):
        reason = tissue.reason.removeprefix(f"{_NOT} ")
        why = f"{_NOT} the tissue could not be divided into classes: {reason}"
        return TumourCells(np.zeros(len(found), bool), everything, False, "No nucleus is counted.", why)
    typed = model.head.index(TUMOUR) is not None
    names = [name for name in (TUMOUR, MITOSIS) if name in kinds]
    mask = np.isin(found.kind, [list(kinds).index(name) for name in names]) if typed else everything
    if tissue is None:
        how = (
            "Counted are the nuclei that the model takes for those of tumour cells."
            if typed
            else "All nuclei on the tissue are counted, not those of tumour cells alone."
        )
        return TumourCells(mask, everything, typed, how)
    tumour = tissue.of(TUMOUR, TUBULE)
    viable = ~tissue.at(tissue.of(NECROSIS), found.centres, level)
    if not tumour.any():
        why = f"{_NOT} no tumour was found in the tissue"
        return TumourCells(np.zeros(len(found), bool), viable, True, "No nucleus is counted.", why)
    mask = mask & tissue.at(tumour, found.centres, level)
    where = f"within the tumour that {tissue.model.name} found"
    how = (
        f"Counted are the nuclei {where} that the model takes for those of tumour cells."
        if typed
        else f"All nuclei {where} are counted, also those of other cells that lie there."
    )
    return TumourCells(mask, viable, True, how, None, tissue.outline(tumour), tissue.area_mm2(tumour))
