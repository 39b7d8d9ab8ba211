"""Says which slides a pathologist should see first, and why: metastasis in a lymph node, tumour on ink, high grade.

Each criterion gives a finding with its numbers, or says why it was not analysed. The most urgent decides the priority.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from airouter.domain import codes
from airouter.domain.finding import Evaluation, Finding, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.imaging.specimen import lymph_node
from airouter.imaging.stain import H_AND_E
from airouter.pipelines import grade_components, nodal_deposits, tissue_classes, tumour_margin
from airouter.pipelines.compartments import TUBULE, TUMOUR, Compartments, compartments_for
from airouter.pipelines.grade_components import GRADE, components
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Companion, Parameter, Pipeline, Values, companion
from airouter.pipelines.tissue_region import other_stain
from airouter.pipelines.tumour_margin import Margin
from airouter.ports import Predictor, ProgressSink

_STAT: Final = "1: the priority is STAT, not HIGH, for "

PARAMETERS: Final = (
    Parameter("lymph_node", 0, "1", "1: the slides of this route are of lymph nodes", 0, 1, whole=True),
    *nodal_deposits.PARAMETERS,
    *tumour_margin.PARAMETERS,
    *grade_components.PARAMETERS,
    Parameter("isolated_high", 0, "1", "1: isolated tumour cells decide the priority too", 0, 1, whole=True),
    Parameter("metastasis_stat", 0, "1", f"{_STAT}a metastasis", 0, 1, whole=True),
    Parameter("margin_stat", 0, "1", f"{_STAT}a positive margin", 0, 1, whole=True),
    Parameter("grade_stat", 0, "1", f"{_STAT}a high grade", 0, 1, whole=True),
    WORKERS,
)

_BECAUSE: Final = "not analysed because "
_DEPOSIT: Final = "tumour deposit in a lymph node"
_MARGIN: Final = "tumour on the inked margin"

CELLS: Final = "cells"  # the companion that a grade is suggested with


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a criterion looked at, its findings, and the ground where it is met; else why it is missing."""

    about: str
    findings: tuple[Finding, ...] = ()
    ground: Ground | None = None
    missing: tuple[NotAnalysed, ...] = ()


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Look at every criterion; a finding or a reason for each, and the mask that they rest on.

    Ungradable as airouter.pipelines.tissue_region says. Raises ModelOutputError, PixelDataError, ArchiveError,
    JobCanceled, and ConfigurationError for an impossible parameter or a model without a class or code that is needed.
    """
    values = Values(PARAMETERS, predict.model, job)
    tissue_classes.require(_misfit, predict.model, job.parameters)
    found = compartments_for(images, predict, values.get("workers"), progress)
    if isinstance(found, Ungradable):
        return found
    node = True if values["lymph_node"] else lymph_node(images.header)
    answers = (
        _deposit(found, node, values),
        _margin(found, node, values),
        _grade(images, found, node, companion(predict, CELLS), values, progress),
    )
    mask = found.segmentation("classes", "Classes of the tissue")
    return Result(
        findings=tuple(finding for answer in answers for finding in answer.findings),
        verdict=_verdict(answers),
        segmentations=(mask,) if mask else (),
        not_analysed=tuple(missing for answer in answers for missing in answer.missing),
        execution_provider=predict.provider,
    )


def _missing(quantity: str, why: str) -> _Answer:
    return _Answer(quantity, missing=(NotAnalysed(quantity, f"not analysed because {why.removeprefix(_BECAUSE)}"),))


def _deposit(found: Compartments, node: bool | None, values: Values) -> _Answer:
    if not node:
        said = "does not say that the specimen is a lymph node" if node is None else "says that it is no lymph node"
        return _missing(_DEPOSIT, f"the header {said}")
    largest = nodal_deposits.nodal_deposits(found, values)
    kind = largest.category
    met = kind is not None and (kind != codes.ISOLATED_TUMOUR_CELLS or values["isolated_high"] > 0)
    ground, finding = None, _answered(largest.finding(), met)
    if met and kind is not None:
        reason = f"suspected {kind.meaning.lower()}: largest tumour deposit {largest.length_mm:.2f} mm"
        ground = Ground(_priority(values["metastasis_stat"]), reason, (finding.key,))
    return _Answer(_DEPOSIT, (finding,), ground)


def _margin(found: Compartments, node: bool | None, values: Values) -> _Answer:
    if node:
        return _missing(_MARGIN, "ink on a lymph node is no margin")
    margin = tumour_margin.to_ink(found, values)
    if not isinstance(margin, Margin):
        return _missing(_MARGIN, margin or "no ink was found on the slide")
    met = tumour_margin.status(margin.distance_mm, values) == codes.MARGIN_POSITIVE
    ground, finding = None, _answered(tumour_margin.finding(found, margin, values), met)
    if met:
        reason = f"suspected {tumour_margin.reason(margin, values)}"
        ground = Ground(_priority(values["margin_stat"]), reason, (finding.key,))
    return _Answer(_MARGIN, (finding,), ground)


def _grade(
    images: Slide,
    found: Compartments,
    node: bool | None,
    cells: Predictor | None,
    values: Values,
    progress: ProgressSink,
) -> _Answer:
    if node:
        return _missing(GRADE, "it is that of a primary tumour, not of a lymph node")
    if cells is None:
        return _missing(GRADE, f"the route names no companion {CELLS}")
    if not found.has(TUBULE):
        return _missing(GRADE, f"model {found.model.name} has no class {TUBULE}")
    if unfit := other_stain(images, H_AND_E, "the grade is defined"):
        return _missing(GRADE, unfit.reason)
    graded = components(images, cells, found, values, progress)
    if isinstance(graded, Ungradable):
        return _missing(GRADE, graded.reason)
    grade = graded.nottingham
    if grade is None:
        return _Answer(GRADE, missing=graded.missing)
    met = grade.grade == 3
    findings = grade_components.findings(graded)
    reason = grade_components.verdict(graded).reason
    return _Answer(
        GRADE,
        (*findings[:-1], _answered(findings[-1], met)),  # the grade comes last
        Ground(_priority(values["grade_stat"]), reason, (findings[-1].key,)) if met else None,
    )


def _verdict(answers: tuple[_Answer, ...]) -> Verdict:
    """The most urgent priority with every reason for it."""
    reached = [answer.ground for answer in answers if answer.ground]
    if not reached:
        looked_at = [answer.about for answer in answers if answer.findings]
        said = f"is met; looked at: {', '.join(looked_at)}" if looked_at else "could be looked at"
        return verdict_of(Ground(Priority.ROUTINE, f"no criterion of triage {said}"))
    return verdict_of(*reached)


def _answered(finding: Finding, met: bool) -> Finding:
    answer = Evaluation(codes.TRIAGE_MET, codes.YES if met else codes.NO)
    return dataclasses.replace(finding, evaluations=(*finding.evaluations, answer))


def _priority(stat: float) -> Priority:
    return Priority.STAT if stat else Priority.HIGH


def _misfit(model: Model, parameters: Any) -> str | None:
    return tissue_classes.mask_misfit(model, {})


PIPELINE: Final = Pipeline(
    name="slide-triage",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(TUMOUR,),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=_misfit,
    companions=(Companion(CELLS, HeadKind.SEGMENTATION, grade_components.CLASSES),),
)
