"""The three components of the Nottingham grade on a slide, and the grade where all of them are there.

Tubules are areas of a tissue model. Nuclear pleomorphism is the size of the tumour nuclei that a cell model finds, by
that of normal epithelial nuclei on the same slide. Mitoses are those of the window that holds most of them.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Region, Ungradable
from airouter.domain.model import contract
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.imaging.patches import Patch
from airouter.imaging.slide import Slide
from airouter.pipelines import mitoses_of_slide, mitotic_hotspot, nuclei_of_slide
from airouter.pipelines.compartments import TUBULE, TUMOUR, Compartments
from airouter.pipelines.grading import Nottingham, mitosis_score, pleomorphism_score, tubule_score
from airouter.pipelines.mitoses_of_slide import MITOSIS, Mitoses
from airouter.pipelines.mitotic_hotspot import HOTSPOT, MitoticCount, mitotic_count
from airouter.pipelines.nuclei_of_slide import Nuclei
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.predictions import predictions
from airouter.pipelines.tissue_region import TissueRegion, tissue_region
from airouter.ports import Predictor, ProgressSink

# What the model of cells must have; `normal` is used where it has that too.
CLASSES: Final = (*nuclei_of_slide.CLASSES, TUMOUR, MITOSIS)
_NORMAL: Final = "normal"
_GRADE: Final = "grade"  # key of a finding
_KINDS: Final = nuclei_of_slide.KINDS

PARAMETERS: Final = (
    HOTSPOT,
    *mitoses_of_slide.PARAMETERS,
    Parameter("min_area_um2", 8.0, "um2", "least area of a nucleus", 0.0, 200.0),
    Parameter(
        "min_tumour_nuclei", 100, "{counts}", "fewest tumour nuclei that their size is taken from", 1, whole=True
    ),
    Parameter("min_normal_nuclei", 30, "{counts}", "fewest normal nuclei that they are measured by", 1, whole=True),
    Parameter("normal_um2", None, "um2", "area of a normal nucleus where the slide shows too few", 1.0, 500.0),
    Parameter("marked_variation", 0.5, "1", "coefficient of variation from which on it is marked", 0.0, 10.0),
)

GRADE: Final = "Nottingham grade"
_SUGGESTION: Final = "Suggestion for a pathologist, not a grade."


@dataclass(frozen=True, slots=True)
class Tubules:
    """Tumour, tubules among it included, and the share of it that forms tubules."""

    tumour_mm2: float
    percent: float

    @property
    def score(self) -> int:
        return tubule_score(self.percent)


@dataclass(frozen=True, slots=True)
class Pleomorphism:
    """Size of tumour nuclei: how many, mean area, coefficient of variation, and the area they are measured by.

    `references`: how many normal nuclei that area is the mean of, 0 where it is a parameter.
    """

    nuclei: int
    mean_um2: float
    variation: float
    reference_um2: float
    references: int
    marked: float

    @property
    def ratio(self) -> float:
        return self.mean_um2 / self.reference_um2

    @property
    def score(self) -> int:
        return pleomorphism_score(self.ratio, self.variation, self.marked)


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """What was found of each component, or why it is missing. `nuclei` are those of the tumour."""

    region: TissueRegion
    tissue: Compartments
    nuclei: Nuclei
    tubules: Tubules | str
    pleomorphism: Pleomorphism | str
    mitoses: MitoticCount

    @property
    def mitosis_score(self) -> int | None:
        return None if self.mitoses.why else mitosis_score(self.mitoses.count, self.mitoses.tissue_mm2)

    @property
    def nottingham(self) -> Nottingham | None:
        """All three scores; None where one is missing."""
        mitoses = self.mitosis_score
        if isinstance(self.tubules, str) or isinstance(self.pleomorphism, str) or mitoses is None:
            return None
        return Nottingham(self.tubules.score, self.pleomorphism.score, mitoses)

    @property
    def missing(self) -> tuple[NotAnalysed, ...]:
        """Why there is no grade: each component that is missing, by name."""
        reasons = {
            "tubule formation": self.tubules if isinstance(self.tubules, str) else None,
            "nuclear pleomorphism": self.pleomorphism if isinstance(self.pleomorphism, str) else None,
            "mitotic count": self.mitoses.why.removeprefix("not analysed because ") if self.mitoses.why else None,
        }
        said = "; ".join(f"{name} is missing, {why}" for name, why in reasons.items() if why)
        return (NotAnalysed(GRADE, f"not analysed because {said}"),) if said else ()


def components(
    slide: Slide, cells: Predictor, tissue: Compartments, values: Values, progress: ProgressSink
) -> Components | Ungradable:
    """Look for nuclei and mitoses with the model of cells, in tumour that a model of tissue found.

    Made once for all jobs that wait for the slide with the same models and parameters. `values` has PARAMETERS and
    `workers`. Ungradable as airouter.pipelines.tissue_region says of the model of cells. Raises ModelOutputError,
    PixelDataError, ArchiveError, JobCanceled.
    """
    models = tuple((model.sha256, contract(model), model.reads.stains) for model in (cells.model, tissue.model))
    key = ("grade", models, tuple(values.get(parameter.name) for parameter in PARAMETERS))
    return slide.memo.get(key, lambda: _components(slide, cells, tissue, values, progress))


def _components(
    slide: Slide, cells: Predictor, tissue: Compartments, values: Values, progress: ProgressSink
) -> Components | Ungradable:
    region = tissue_region(slide, cells.model)
    if isinstance(region, Ungradable):
        return region
    plan = region.plan
    separate = nuclei_of_slide.finder(plan, cells.model, values, stained=False, kinds=_KINDS)
    find = mitoses_of_slide.finder(plan, cells.model, values)

    def both(number: int, patch: Patch, maps: NDArray[np.float32]) -> tuple[Nuclei, Mitoses]:
        return separate(number, patch, maps), find(number, patch, maps)

    answers = list(predictions(plan, cells, values.get("workers"), progress, both))
    nuclei = nuclei_of_slide.unique(plan, [each for each, _ in answers])
    figures = mitoses_of_slide.figures(plan, [each for _, each in answers], values)

    inside = tissue.at(tissue.of(TUMOUR, TUBULE), nuclei.centres, plan.level)
    tumour = nuclei.take(inside & (nuclei.kind == _KINDS.index(TUMOUR)))
    normal = nuclei.take(~inside & (nuclei.kind == _KINDS.index(_NORMAL)))
    return Components(
        region,
        tissue,
        tumour,
        _tubules(tissue),
        _pleomorphism(tumour.area_um2, normal.area_um2, values),
        mitotic_count(figures, region, tissue, values["hotspot_mm2"]),
    )


def findings(found: Components) -> tuple[Finding, ...]:
    """A group for each component that is there, and for the grade where all are."""
    region = found.mitoses.outline or found.region.outline()
    made = []
    measured: tuple[Measurement, ...]
    if not isinstance(found.tubules, str):
        measured = (
            Measurement(codes.AREA, found.tubules.tumour_mm2, codes.MM2),
            Measurement(codes.TUBULE_SHARE, found.tubules.percent, codes.PERCENT),
            _points(codes.TUBULE_SCORE, found.tubules.score),
        )
        made.append(_group("tubules", "Tubule formation", region, measured, "Area of tubules by that of all tumour."))
    if not isinstance(found.pleomorphism, str):
        of = found.pleomorphism
        measured = (
            Measurement(codes.NUCLEI_COUNT, float(of.nuclei), codes.COUNTS),
            Measurement(codes.NUCLEAR_AREA, of.mean_um2, codes.UM2),
            Measurement(codes.REFERENCE_AREA, of.reference_um2, codes.UM2),
            Measurement(codes.NUCLEAR_RATIO, of.ratio, codes.RATIO),
            Measurement(codes.NUCLEAR_VARIATION, of.variation, codes.ONE),
            _points(codes.PLEOMORPHISM_SCORE, of.score),
        )
        by = f"{of.references} normal nuclei of the slide" if of.references else "a stated area of a normal nucleus"
        comment = f"Size alone, measured by {by}; a pathologist also judges shape, chromatin and nucleoli."
        made.append(_group("pleomorphism", "Nuclear pleomorphism by size", region, measured, comment))
    if (score := found.mitosis_score) is not None:
        hot = mitotic_hotspot.finding(found.mitoses, _points(codes.MITOSIS_SCORE, score))
        made.append(dataclasses.replace(hot, comment=" ".join(filter(None, (_SUGGESTION, hot.comment)))))
    if grade := found.nottingham:
        measured = (_points(codes.NOTTINGHAM_SUM, grade.points),)
        comment = f"Tubules, nuclear pleomorphism and mitoses: {grade}."
        value = Evaluation(codes.NOTTINGHAM_GRADE, grade.code)
        made.append(_group(_GRADE, "Nottingham grade, suggestion", region, measured, comment, value))
    return tuple(made)


def verdict(found: Components) -> Verdict:
    """HIGH where grade 3 is suggested."""
    grade = found.nottingham
    if grade is None:
        return verdict_of(Ground(Priority.ROUTINE, "no Nottingham grade is suggested, a component is missing"))
    if grade.grade == 3:
        return verdict_of(Ground(Priority.HIGH, f"suspected high grade: {grade}", (_GRADE,)))
    return verdict_of(Ground(Priority.ROUTINE, f"Nottingham grade {grade.grade} suggested: {grade}", (_GRADE,)))


def _tubules(tissue: Compartments) -> Tubules | str:
    solid, tubules = (tissue.class_mm2(name) for name in (TUMOUR, TUBULE))
    if not solid + tubules:
        return "no tumour was found in the tissue"
    return Tubules(solid + tubules, min(100.0, 100.0 * tubules / (solid + tubules)))


def _pleomorphism(
    tumour_um2: NDArray[np.float64], normal_um2: NDArray[np.float64], values: Values
) -> Pleomorphism | str:
    least, known = int(values["min_tumour_nuclei"]), values.get("normal_um2")
    if len(tumour_um2) < least:
        return f"{len(tumour_um2)} tumour nuclei were found and at least {least} are needed"
    enough = len(normal_um2) >= values["min_normal_nuclei"]
    if not enough and known is None:
        needed = f"at least {values['min_normal_nuclei']:.0f} are needed"
        return f"{len(normal_um2)} normal nuclei were found, {needed}, and no area of a normal nucleus is set"
    mean = float(tumour_um2.mean())
    return Pleomorphism(
        nuclei=len(tumour_um2),
        mean_um2=mean,
        variation=float(tumour_um2.std()) / mean,
        reference_um2=float(normal_um2.mean()) if enough or known is None else known,
        references=len(normal_um2) if enough else 0,
        marked=values["marked_variation"],
    )


def _points(name: Code, score: int) -> Measurement:
    return Measurement(name, float(score), codes.ONE)


def _group(
    key: str, label: str, region: Region, measured: tuple[Measurement, ...], comment: str, *value: Evaluation
) -> Finding:
    return Finding(
        key=key,
        label=label,
        finding=codes.NEOPLASM,
        region=region,
        measurements=measured,
        evaluations=value,
        comment=f"{_SUGGESTION} {comment}",
        method=codes.METHOD_NOTTINGHAM,
    )
