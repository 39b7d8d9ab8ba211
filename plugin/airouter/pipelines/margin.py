"""Measures how near tumour comes to the margin of the specimen: the shortest path, its length, the margin's status."""

from typing import Any, Final

from airouter.domain import codes
from airouter.domain.finding import NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.pipelines import tissue_classes, tumour_margin
from airouter.pipelines.compartments import TUMOUR, compartments_for
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.tumour_margin import Margin
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    *tumour_margin.PARAMETERS,
    tumour_margin.DRAWN,
    *tumour_margin.EDGE,
    Parameter("close_high", 0, "1", "1: a close margin is HIGH as well", 0, 1, whole=True),
    WORKERS,
)

_DISTANCE: Final = "distance to the margin"


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """The shortest path from tumour to the margin of the same piece of tissue; the mask that it was measured on.

    Ungradable as airouter.pipelines.tissue_region says. Raises ModelOutputError, PixelDataError, ArchiveError,
    JobCanceled, and ConfigurationError for an impossible parameter or a model without a class or code that is needed.
    """
    values = Values(PARAMETERS, predict.model, job)
    tissue_classes.require(_misfit, predict.model, job.parameters)
    found = compartments_for(images, predict, values.get("workers"), progress)
    if isinstance(found, Ungradable):
        return found
    margin = tumour_margin.to_margin(found, images.annotations, values)
    measured = isinstance(margin, Margin)
    findings = (tumour_margin.finding(found, margin, values),) if isinstance(margin, Margin) else ()
    mask = found.segmentation("classes", "Classes of the tissue")
    return Result(
        findings=findings,
        verdict=_verdict(margin, values),
        segmentations=(mask,) if mask else (),
        not_analysed=() if measured else (NotAnalysed(_DISTANCE, str(margin)),),
        execution_provider=predict.provider,
    )


def _verdict(margin: Margin | str, values: Values) -> Verdict:
    if isinstance(margin, str):
        return verdict_of(Ground(Priority.ROUTINE, f"{_DISTANCE} {margin}"))
    status = tumour_margin.status(margin.distance_mm, values)
    high = status == codes.MARGIN_POSITIVE or (status == codes.MARGIN_CLOSE and values["close_high"] > 0)
    priority = Priority.HIGH if high else Priority.ROUTINE
    return verdict_of(Ground(priority, tumour_margin.reason(margin, values), (tumour_margin.KEY,)))


def _misfit(model: Model, parameters: Any) -> str | None:
    return tissue_classes.mask_misfit(model, {})


PIPELINE: Final = Pipeline(
    name="margin",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(TUMOUR,),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=_misfit,
    annotations=True,
)
