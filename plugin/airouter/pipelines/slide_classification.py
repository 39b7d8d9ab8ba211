"""Classifies the tissue of a slide patch by patch.

The model (classification) sees patches at its own spacing over the tissue. What it answers holds for the patch's core,
the part that no neighbour shares; with `overlap: 0` that is the whole patch.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import NO_VALUE, ParametricMap, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, Head, HeadKind
from airouter.domain.study import Modality
from airouter.imaging.patches import Patch, PatchPlan
from airouter.imaging.slide import Slide
from airouter.pipelines import tissue_classes
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Pipeline, Values
from airouter.pipelines.predictions import predictions
from airouter.pipelines.tissue_classes import Share
from airouter.pipelines.tissue_region import TissueRegion, tissue_region
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (*tissue_classes.HIGH, WORKERS)


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Classify every patch of the tissue; how much tissue is of each class, and a map of each class's probability.

    Ungradable as airouter.pipelines.tissue_region says. Raises ModelOutputError, PixelDataError, ArchiveError,
    JobCanceled, and ConfigurationError for an impossible parameter or a class without a code.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    tissue_classes.require(tissue_classes.misfit, model, job.parameters)
    region = tissue_region(images, model)
    if isinstance(region, Ungradable):
        return region
    plan = region.plan
    answers = np.empty((len(plan), len(model.head.classes)), np.float32)
    for number, answer in enumerate(predictions(plan, predict, values.get("workers"), progress, _answer)):
        answers[number] = answer
    shares, tissue_mm2 = _shares(region, answers, model.head)
    side = " x ".join(f"{(length - 2 * plan.overlap) * plan.spacing_um:.0f}" for length in plan.size)
    return Result(
        findings=tissue_classes.findings(
            region, model, tissue_mm2, shares, f"The class of a patch of {side} um holds for all tissue in it."
        ),
        verdict=tissue_classes.verdict(model, shares, values),
        maps=tuple(_map(plan, n, each.name, code, answers[:, n]) for n, each, code in tissue_classes.reported(model)),
        execution_provider=predict.provider,
    )


def _answer(number: int, patch: Patch, output: NDArray[np.float32]) -> NDArray[np.float32]:
    return output


def _shares(region: TissueRegion, answers: NDArray[np.float32], head: Head) -> tuple[list[Share], float]:
    """How much tissue is of each class: the most probable one where they exclude each other, else all that reach their
    threshold; and the area of the tissue in mm2."""
    if head.exclusive:
        is_of = answers.argmax(axis=1)[:, None] == np.arange(answers.shape[1])
    else:
        is_of = answers >= np.array([each.threshold for each in head.classes], np.float32)
    areas = region.areas_mm2()
    total = float(areas.sum())
    return [Share(n, area, 100.0 * area / total) for n, area in enumerate((areas @ is_of).tolist())], total


def _map(plan: PatchPlan, number: int, name: str, code: Code, probability: NDArray[np.float32]) -> ParametricMap:
    """Probability of a class over the level, no value where no patch was analysed.

    A cell is as many whole level pixels wide as the core of a patch, if that is square and a whole number of them;
    else the next smaller number of the shorter side, and a cell has the value of the core that its centre lies in.
    """
    level = plan.level
    cores = np.array([length - 2 * plan.overlap for length in plan.size]) * plan.scale
    factor = max(1, int(cores.min() + 1e-6))
    grid = np.full([-(-n // (s - 2 * plan.overlap)) for n, s in zip(plan.shape, plan.size, strict=True)], NO_VALUE)
    rows, columns = np.array(plan.cells, np.intp).reshape(-1, 2).T
    grid[rows, columns] = probability
    at = []
    for axis, length in enumerate((level.rows, level.columns)):
        centres = np.minimum((np.arange(-(-length // factor)) + 0.5) * factor, length)
        at.append(np.minimum((centres / cores[axis]).astype(np.intp), grid.shape[axis] - 1))
    return ParametricMap(
        role=f"probability-{number + 1}",
        label=f"Probability of {name}",
        source=level.instance_uid,
        values=grid[np.ix_(*at)].astype(np.float32),
        quantity=codes.PROBABILITY,
        unit=codes.ZERO_TO_ONE,
        factor=factor,
        finding=code,
    )


PIPELINE: Final = Pipeline(
    name="slide-classification",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.CLASSIFICATION,
    classes=(),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=tissue_classes.misfit,
)
