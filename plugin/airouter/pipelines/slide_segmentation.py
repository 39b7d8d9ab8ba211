"""Divides the tissue of a slide into the classes of a segmentation model, pixel by pixel.

The model sees overlapping patches at its own spacing over the tissue; of each answer only the core counts, which no
other patch has. What lies off the tissue is not analysed, because how much glass a patch shows is chance.
"""

from typing import Final

from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.pipelines import tissue_classes
from airouter.pipelines.compartments import compartments
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Pipeline, Values
from airouter.pipelines.tissue_classes import Share
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (*tissue_classes.HIGH, WORKERS)


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Give every pixel of the tissue its class; how much tissue is of each class, and the mask.

    Ungradable as airouter.pipelines.tissue_region says. Raises ModelOutputError, PixelDataError, ArchiveError,
    JobCanceled, and ConfigurationError for an impossible parameter or a class without a code.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    tissue_classes.require(tissue_classes.mask_misfit, model, job.parameters)
    found = compartments(images, predict, values.get("workers"), progress)
    if isinstance(found, Ungradable):
        return found
    tissue_mm2 = found.tissue_mm2
    shares = [
        Share(n, found.class_mm2(each.name), 100.0 * found.class_mm2(each.name) / tissue_mm2)
        for n, each in enumerate(model.head.classes)
    ]
    mask = found.segmentation("classes", "Classes of the tissue", in_place=True)
    comment = "What lies off the tissue is not counted."
    return Result(
        findings=tissue_classes.findings(found.region, model, tissue_mm2, shares, comment),
        verdict=tissue_classes.verdict(model, shares, values),
        segmentations=(mask,) if mask else (),
        execution_provider=predict.provider,
    )


PIPELINE: Final = Pipeline(
    name="slide-segmentation",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=tissue_classes.mask_misfit,
)
