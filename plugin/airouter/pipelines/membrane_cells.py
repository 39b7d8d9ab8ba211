"""The cells of a slide and the DAB on their membranes: each cell's class, and whether DAB is on membranes at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Scalar
from airouter.imaging import membrane
from airouter.imaging.nuclei import dab_od
from airouter.imaging.patches import Patch, PatchPlan
from airouter.pipelines.compartments import TUMOUR
from airouter.pipelines.nuclei_of_slide import Nuclei, count
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.tumour_cells import MITOSIS
from airouter.ports import Predictor, ProgressSink

IMMUNE: Final = ("lymphocyte", "macrophage", "immune")
KINDS: Final = (TUMOUR, MITOSIS, *IMMUNE, "stromal", "normal")

# A nucleus is brown itself, and not through what lies over it, where its surround has less than this share of its DAB.
# Of three Ki-67 images 55 to 90 % of the brown cells were such, of a membranous marker 21 %.
_SURROUND: Final = 0.5

PARAMETERS: Final = (
    Parameter("dab_threshold", 0.2, "1", "least optical density of DAB of a stained membrane", 0.01, 3.0),
    Parameter("weak_od", 0.4, "1", "density from which on a complete membrane is weak to moderate", 0.01, 3.0),
    Parameter("strong_od", 0.6, "1", "density from which on a complete membrane is strong", 0.01, 3.0),
    Parameter("least_share", 0.2, "{ratio}", "least part of the circumference of a stained cell", 0.0, 1.0),
    Parameter("complete_share", 0.9, "{ratio}", "part from which on a membrane is complete", 0.0, 1.0),
    Parameter("cell_um", 5.0, "um", "how far a cell reaches at most from its nucleus", 1.0, 20.0),
    Parameter("min_area_um2", 8.0, "um2", "least area of a nucleus", 0.0, 200.0),
    Parameter(
        "max_nuclear", 0.4, "{ratio}", "most brown cells whose DAB is in the nucleus, of all brown ones", 0.0, 1.0
    ),
    Parameter("max_diffuse", 0.85, "{ratio}", "most DAB around nuclei, as a share of that on membranes", 0.1, 10.0),
)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Nuclei, and of each cell: the stained share of its circumference, its density there, and its class 0 to 3."""

    nuclei: Nuclei
    share: NDArray[np.float64] = field(repr=False)
    intensity: NDArray[np.float64] = field(repr=False)
    grade: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.nuclei)

    def take(self, keep: NDArray[np.bool_]) -> "Cells":
        return Cells(self.nuclei.take(keep), self.share[keep], self.intensity[keep], self.grade[keep])

    @property
    def stained(self) -> NDArray[np.bool_]:
        """bool [n]: partly or wholly stained, however strongly."""
        return np.asarray(self.grade > 0, np.bool_)

    def percent(self) -> tuple[float, float, float, float]:
        """How many of 100 cells are of class 0, 1+, 2+ and 3+. Raises ValueError where there is no cell."""
        if not len(self):
            raise ValueError("no cell")
        none, faint, moderate, strong = (100.0 * np.bincount(self.grade, minlength=4) / len(self)).tolist()
        return none, faint, moderate, strong


def cells_of(plan: PatchPlan, predict: Predictor, values: Values, progress: ProgressSink) -> Cells:
    """All cells of the plan. Raises as airouter.pipelines.predictions does."""
    threshold, reach_um = values["dab_threshold"], values["cell_um"]

    def measure(patch: Patch, labels: NDArray[np.int32], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
        density = dab_od(patch.pixels)
        profile = membrane.profiles(density, labels, wanted, reach_um=reach_um, spacing_um=plan.spacing_um)
        return np.stack(membrane.stained(profile, threshold), axis=1)

    found = count(plan, predict, values, True, progress, KINDS, measure)
    share, intensity = found.measured.reshape(-1, 2).T
    grade = membrane.grades(
        share,
        intensity,
        least_share=values["least_share"],
        complete_share=values["complete_share"],
        weak=values["weak_od"],
        strong=values["strong_od"],
    )
    return Cells(found, share, intensity, grade)


def elsewhere(cells: Cells, values: Values) -> str | None:
    """Why what is brown is no membrane, None where it may be one: DAB lies in the nuclei, or all over the cells."""
    nuclei = cells.nuclei
    own = (nuclei.od >= values["dab_threshold"]) & (nuclei.surround < _SURROUND * nuclei.od)
    brown = own | cells.stained
    if brown.any() and own.sum() > values["max_nuclear"] * brown.sum():
        return "the DAB is in the nuclei and not on the membranes"
    ring = nuclei.surround[cells.stained] / cells.intensity[cells.stained]
    ring = ring[np.isfinite(ring)]
    if len(ring) and float(np.median(ring)) > values["max_diffuse"]:
        # where the whole cell is brown, or everything, there is a density in all directions, and no membrane
        return "the DAB is not confined to the membranes"
    return None


def limits_problem(parameters: Mapping[str, Scalar]) -> str | None:
    """Limits that contradict each other, None where they rise; `parameters` over the defaults."""
    given = {**{p.name: p.default for p in PARAMETERS}, **parameters}
    for names in (("dab_threshold", "weak_od", "strong_od"), ("least_share", "complete_share")):
        limits = [float(given[name] or 0) for name in names]
        if limits != sorted(limits):
            return " and ".join(f"{name} {limit:g}" for name, limit in zip(names, limits, strict=True)) + " must rise"
    return None
