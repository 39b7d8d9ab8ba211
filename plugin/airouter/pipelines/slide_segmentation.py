"""Divides the tissue of a slide into the classes of a segmentation model, pixel by pixel.

The model sees overlapping patches at its own spacing over the tissue; of each answer only the core counts, which no
other patch has. What lies off the tissue is not analysed, because how much glass a patch shows is chance.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Result, Segment, Segmentation, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, Head, HeadKind, Model
from airouter.domain.study import Modality
from airouter.imaging.mosaic import Mosaic
from airouter.imaging.patches import Patch
from airouter.imaging.slide import Slide
from airouter.pipelines import tissue_classes
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Pipeline, Values
from airouter.pipelines.predictions import predictions
from airouter.pipelines.tissue_classes import Share
from airouter.pipelines.tissue_region import tissue_region
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (*tissue_classes.HIGH, WORKERS)

_MOST_CLASSES: Final = 254  # of a mask of bytes, beside what was not analysed and what is of no class
# Segmented property category (CID 7150) of the types the router knows; of any other class it only says: tissue.
_CATEGORY: Final = {
    (code.value, code.scheme): category
    for category, members in {
        codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE: (codes.NEOPLASM, codes.NECROSIS),
        codes.QUALITY: (
            *(codes.USABLE_TISSUE, codes.UNUSABLE_TISSUE, codes.IN_FOCUS, codes.OUT_OF_FOCUS, codes.FOLDED_TISSUE),
            *(codes.ADEQUATELY_STAINED, codes.INADEQUATELY_STAINED, codes.SLIDE_MARKING, codes.TISSUE_MARKING),
            codes.AIR_BUBBLE,
        ),
    }.items()
    for code in members
}


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Give every pixel of the tissue its class; how much tissue is of each class, and the mask.

    Ungradable as airouter.pipelines.tissue_region says. Raises ModelOutputError, PixelDataError, ArchiveError,
    JobCanceled, and ConfigurationError for an impossible parameter or a class without a code.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    tissue_classes.require(_misfit, model, job.parameters)
    region = tissue_region(images, model)
    if isinstance(region, Ungradable):
        return region
    mosaic = Mosaic(region.plan, region.tissue, region.to_base)

    def put(number: int, patch: Patch, maps: NDArray[np.float32]) -> NDArray[np.float64]:
        return mosaic.put(patch, _classes(maps[:, *patch.core], model.head))

    pixels = np.zeros(256)
    for counts in predictions(region.plan, predict, values.get("workers"), progress, put):
        pixels += counts
    areas = pixels[1:] * region.level.spacing_um**2 * 1e-6
    tissue_mm2 = float(areas.sum())
    if not tissue_mm2:
        return Ungradable("not analysed because no tissue was found on the slide")
    shares = [Share(n, float(areas[n]), 100.0 * float(areas[n]) / tissue_mm2) for n in range(len(model.head.classes))]
    return Result(
        findings=tissue_classes.findings(region, model, tissue_mm2, shares, "What lies off the tissue is not counted."),
        verdict=tissue_classes.verdict(model, shares, values),
        segmentations=_segmentation(mosaic, region.level.instance_uid, model, shares),
        execution_provider=predict.provider,
    )


def _classes(maps: NDArray[np.float32], head: Head) -> NDArray[np.uint8]:
    """[rows, columns]: number of the class from 1, or of none of them, which comes after the last."""
    if head.exclusive:
        return np.asarray(maps.argmax(axis=0) + 1, np.uint8)
    return np.asarray(2 - (maps[0] >= head.classes[0].threshold), np.uint8)


def _segmentation(mosaic: Mosaic, source: str, model: Model, shares: list[Share]) -> tuple[Segmentation, ...]:
    """The mask with the reported classes alone, numbered from 1; none where there is nothing of them."""
    reported = tissue_classes.reported(model)
    if not any(shares[n].area_mm2 for n, _, _ in reported):
        return ()
    values = np.zeros(256, np.uint8)
    for segment, (n, _, _) in enumerate(reported, start=1):
        values[n + 1] = segment
    mosaic.replace(values)
    segments = tuple(
        Segment(segment, each.name, _category(code), code) for segment, (_, each, code) in enumerate(reported, start=1)
    )
    return (Segmentation("classes", "Classes of the tissue", source, mosaic.mask, segments, mosaic.factor),)


def _category(code: Code) -> Code:
    return _CATEGORY.get((code.value, code.scheme), codes.TISSUE)


def _misfit(model: Model, parameters: Any) -> str | None:
    """As tissue_classes.misfit; moreover a pixel of the mask has one class."""
    if len(model.head.classes) > 1 and not model.head.exclusive:
        return f"model {model.name} has classes that may overlap (head.exclusive: false)"
    if len(model.head.classes) > _MOST_CLASSES:
        return f"model {model.name} has more than {_MOST_CLASSES} classes"
    return tissue_classes.misfit(model, parameters)


PIPELINE: Final = Pipeline(
    name="slide-segmentation",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=_misfit,
)
