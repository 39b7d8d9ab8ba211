"""What a slide looks like, as vectors, so that earlier cases that look alike can be found.

The model (embedding) sees fields of the tissue at its own spacing. Each answer is brought to length 1. The slide's own
vector is their mean, weighted by the tissue in each field, brought to length 1 again. Of the fields a few are kept with
their vectors and places: those that stand best for all, chosen one by one so that the mean similarity of every field
to the nearest chosen one grows most (facility location; the greedy choice reaches at least 1 - 1/e of the best:
Nemhauser GL, Wolsey LA, Fisher ML. An analysis of approximations for maximizing submodular set functions. Math Program
1978;14:265-294).
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Embedding, Field, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Ground, Priority, verdict_of
from airouter.domain.study import Modality
from airouter.errors import ModelOutputError
from airouter.imaging.header import taken
from airouter.imaging.patches import Cells, Patch, PatchPlan
from airouter.imaging.slide import Slide
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.predictions import predictions
from airouter.pipelines.tissue_region import TissueRegion, tissue_region
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("regions", 12, "{counts}", "most fields that are kept with their place", 1, 64, whole=True),
    Parameter("fields", 4096, "{counts}", "most fields analysed; of more, evenly chosen ones", 16, 100_000, whole=True),
    Parameter("min_tissue", 50, "%", "least part of a field that is tissue", 0, 100),
    WORKERS,
)
_COMPARED: Final = 2048  # fields among which the regions are chosen: each is compared with every other
_NOTHING_NEW: Final = 1e-4  # a field that adds less than this to the mean similarity looks like one chosen before

Vectors = NDArray[np.float32]


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Embed the tissue of a slide; the result has an embedding and no findings.

    Ungradable as airouter.pipelines.tissue_region says, and where no field holds enough tissue. Raises
    ModelOutputError, PixelDataError, ArchiveError, JobCanceled; ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    region = tissue_region(images, predict.model)
    if isinstance(region, Ungradable):
        return region
    plan, areas = _chosen(region, values["min_tissue"] / 100.0, int(values["fields"]))
    if not len(plan):
        side = " x ".join(f"{length * plan.spacing_um:.0f}" for length in plan.size)
        least = f"{values['min_tissue']:g} %"
        return Ungradable(f"not analysed because no field of {side} um on the slide is tissue to at least {least}")
    answers = list(predictions(plan, predict, values.get("workers"), progress, _answer))
    vectors = normalised(np.stack([vector for vector, _ in answers]))
    numbers, shares = typical(vectors, areas, int(values["regions"]))
    return Result(
        findings=(),
        verdict=verdict_of(
            Ground(Priority.ROUTINE, f"similar cases can be searched for by {len(plan)} fields of tissue")
        ),
        execution_provider=predict.provider,
        embedding=Embedding(
            slide=normalised((areas[:, None] * vectors).sum(axis=0, keepdims=True))[0],
            regions=vectors[numbers],
            fields=tuple(_field(plan, *answers[n][1]) for n in numbers),
            shares=tuple(shares),
            taken=taken(images.header),
        ),
    )


def _chosen(region: TissueRegion, least: float, most: int) -> tuple[PatchPlan, NDArray[np.float64]]:
    """The plan with the fields to analyse alone, and the tissue in the core of each in mm2."""
    plan, areas = region.plan, region.areas_mm2()
    core_mm2 = float(np.prod([length - 2 * plan.overlap for length in plan.size])) * (plan.spacing_um / 1000.0) ** 2
    kept = np.flatnonzero((areas > 0.0) & (areas >= least * core_mm2 * (1.0 - 1e-9)))
    if len(kept) > most:
        kept = kept[np.linspace(0, len(kept) - 1, most).round().astype(np.intp)]
    return replace(plan, cells=Cells(np.array(plan.cells, np.int32).reshape(-1, 2)[kept])), areas[kept]


def _answer(number: int, patch: Patch, output: NDArray[np.float32]) -> tuple[Vectors, tuple[float, float]]:
    return output, (patch.row, patch.column)


def _field(plan: PatchPlan, row: float, column: float) -> Field:
    rows, columns = (max(1, round(length * plan.scale)) for length in plan.size)
    return Field(plan.level.instance_uid, round(row), round(column), rows, columns)


def normalised(vectors: NDArray[np.floating]) -> Vectors:
    """Rows [n, values] at length 1, in float32. Raises ModelOutputError for one without a direction."""
    exact = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    if not np.all(lengths > 1e-12):
        raise ModelOutputError("the embedding has no direction: it is zero, or its parts cancel each other out")
    return np.asarray(exact / lengths, np.float32)


def typical(vectors: Vectors, weights: NDArray[np.float64], most: int) -> tuple[list[int], list[float]]:
    """Numbers of at most `most` rows of unit vectors [n, values] that stand for all, the most typical first.

    With each the part of the weights, 0..1, that is nearest to it; these add up to 1. Fewer come back where a further
    one would look like one chosen before. The same vectors in the same order give the same answer.
    """
    step = -(-len(vectors) // _COMPARED)
    sample, weight = vectors[::step], weights[::step] / weights[::step].sum()
    similarity = np.clip(sample @ sample.T, -1.0, 1.0)
    best = np.full(len(sample), -1.0, np.float32)
    chosen: list[int] = []
    while len(chosen) < min(most, len(sample)):
        gains = weight @ np.maximum(similarity - best[:, None], 0.0)
        number = int(gains.argmax())
        if chosen and gains[number] < _NOTHING_NEW:
            break
        chosen.append(number)
        best = np.maximum(best, similarity[:, number])
    nearest = similarity[:, chosen].argmax(axis=1)
    return [n * step for n in chosen], np.bincount(nearest, weight, len(chosen)).tolist()


PIPELINE: Final = Pipeline(
    name="similar-cases",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.EMBEDDING,
    classes=(),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    evidence=False,
)
