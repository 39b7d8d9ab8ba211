"""Divides the tissue of a slide into tumour, stroma and what else the model tells: areas, cellularity, stroma ratio.

The model (segmentation) has a class `tumour`; `tubule`, `stroma`, `necrosis`, `normal`, `ink` and `background` are used
where it has them, and any other class is reported by its area.
"""

import dataclasses
from typing import Any, Final

from airouter.domain import codes
from airouter.domain.finding import (
    Evaluation,
    Finding,
    Measurement,
    NotAnalysed,
    ParametricMap,
    Result,
    Ungradable,
)
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.pipelines import tissue_classes
from airouter.pipelines.compartments import STROMA, TUBULE, TUMOUR, Compartments, compartments
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.probability_field import ProbabilityField
from airouter.pipelines.tissue_classes import Share
from airouter.pipelines.tissue_region import tissue_region
from airouter.pipelines.tumour_bed import Bed, tumour_bed
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("bed_um", 500.0, "um", "nests of tumour less than twice this apart lie in one tumour bed", 0.0, 10000.0),
    Parameter("min_tumour_mm2", 0.01, "mm2", "least area of tumour that shares of its bed are computed from", 0.0),
    Parameter("field_um", 100.0, "um", "side of a field of the heat map", 10.0, 5000.0),
    Parameter("high_mm2", None, "mm2", "area of tumour from which on the priority is HIGH", 0.0),
    WORKERS,
)

_CELLULARITY: Final = "tumour cellularity"
_RATIO: Final = "tumour-stroma ratio"
_TUMOUR: Final = "tumour"  # key of a finding


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Areas of the classes, tumour cellularity, tumour-stroma ratio, the mask and a map of the probability of tumour.

    Ungradable as airouter.pipelines.tissue_region says. Raises ModelOutputError, PixelDataError, ArchiveError,
    JobCanceled, and ConfigurationError for an impossible parameter or a model without a class or code that is needed.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    tissue_classes.require(_misfit, model, job.parameters)
    region = tissue_region(images, model)
    if isinstance(region, Ungradable):
        return region
    channels = [index for name in (TUMOUR, TUBULE) if (index := model.head.index(name)) is not None]
    field = ProbabilityField(region, channels, values["field_um"])
    found = compartments(images, predict, values.get("workers"), progress, field.part, region)
    if isinstance(found, Ungradable):
        return found

    tumour = _tumour(found)
    bed = tumour_bed(found, values["bed_um"]) if tumour else None
    missing = _missing(found, bed, values)
    mask = found.segmentation("classes", "Classes of the tissue", in_place=True)  # the last that reads the classes
    return Result(
        findings=(*_classes(found), *tumour, *_bed(found, bed, missing)),
        verdict=_verdict(found, bed, missing, values),
        segmentations=(mask,) if mask else (),
        maps=(_heat_map(found, field),),
        not_analysed=tuple(NotAnalysed(quantity, why) for quantity, why in missing.items()),
        execution_provider=predict.provider,
    )


def _tumour_mm2(found: Compartments) -> float:
    return found.class_mm2(TUMOUR) + found.class_mm2(TUBULE)


def _classes(found: Compartments) -> tuple[Finding, ...]:
    """The tissue, and each class of the model."""
    areas = [found.class_mm2(each.name) for each in found.model.head.classes]
    shares = [Share(n, area, 100.0 * area / found.tissue_mm2) for n, area in enumerate(areas)]
    comment = "What lies off the tissue is not counted."
    made = tissue_classes.findings(found.region, found.model, found.tissue_mm2, shares, comment)
    return tuple(dataclasses.replace(each, method=codes.METHOD_CLASSES) for each in made)


def _tumour(found: Compartments) -> tuple[Finding, ...]:
    """All tumour, that which forms tubules included; nothing where there is none."""
    area = _tumour_mm2(found)
    if not area:
        return ()
    return (
        Finding(
            key=_TUMOUR,
            label="All tumour",
            finding=codes.NEOPLASM,
            region=found.outline(found.of(TUMOUR, TUBULE)),
            measurements=(
                Measurement(codes.AREA, area, codes.MM2),
                Measurement(codes.TISSUE_SHARE, 100.0 * area / found.tissue_mm2, codes.PERCENT),
            ),
            method=codes.METHOD_CLASSES,
        ),
    )


def _missing(found: Compartments, bed: Bed | None, values: Values) -> dict[str, str]:
    """What is not stated of the tumour bed, and why."""
    least, area = values["min_tumour_mm2"], _tumour_mm2(found)
    if bed is None:
        why = "not analysed because no tumour was found on the slide"
    elif area < least:
        why = f"not analysed because {area:.2g} mm2 of tumour was found and at least {least:g} mm2 is needed"
    elif not found.has(STROMA):
        return {_RATIO: f"not analysed because model {found.model.name} has no class {STROMA}"}
    else:
        return {}
    return {_CELLULARITY: why, _RATIO: why}


def _bed(found: Compartments, bed: Bed | None, missing: dict[str, str]) -> tuple[Finding, ...]:
    if bed is None or _CELLULARITY in missing:
        return ()
    shares = bed.shares
    measurements = [Measurement(codes.TUMOUR_BED_AREA, shares.bed_mm2, codes.MM2)]
    for name, percent in (
        (codes.TUMOUR_CELLULARITY, shares.cellularity),
        (codes.TUMOUR_STROMA_RATIO, shares.tumour_stroma_ratio),
    ):
        if percent is not None:
            measurements.append(Measurement(name, percent, codes.PERCENT))
    return (
        Finding(
            key="tumour bed",
            label="Tumour bed",
            finding=codes.TUMOUR_BED,
            region=found.outline(bed.mask),
            measurements=tuple(measurements),
            evaluations=(Evaluation(codes.STROMA_CATEGORY, shares.category),) if shares.category else (),
            comment="Shares of area over the whole bed on this slide, invasive and in situ tumour alike.",
            method=codes.METHOD_BED,
        ),
    )


def _heat_map(found: Compartments, field: ProbabilityField) -> ParametricMap:
    return ParametricMap(
        role="probability",
        label="Probability of tumour",
        source=found.level.instance_uid,
        values=field.values(found.watched),
        quantity=codes.PROBABILITY_OF_CANCER,
        unit=codes.ZERO_TO_ONE,
        factor=field.factor,
    )


def _verdict(found: Compartments, bed: Bed | None, missing: dict[str, str], values: Values) -> Verdict:
    area, high = _tumour_mm2(found), values.get("high_mm2")
    if bed is None:
        return verdict_of(Ground(Priority.ROUTINE, "no tumour was found"))
    if high is not None and area >= high:
        return verdict_of(Ground(Priority.HIGH, f"tumour {area:.3g} mm2 reaches {high:g} mm2", (_TUMOUR,)))
    said = f"tumour {area:.3g} mm2, {100.0 * area / found.tissue_mm2:.1f} % of the tissue"
    for name, quantity, percent in (
        ("cellularity", _CELLULARITY, bed.shares.cellularity),
        ("tumour-stroma ratio", _RATIO, bed.shares.tumour_stroma_ratio),
    ):
        if percent is not None and quantity not in missing:
            said += f", {name} {percent:.0f} %"
    return verdict_of(Ground(Priority.ROUTINE, said, (_TUMOUR,)))


def _misfit(model: Model, parameters: Any) -> str | None:
    return tissue_classes.mask_misfit(model, {})


PIPELINE: Final = Pipeline(
    name="tissue-classes",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(TUMOUR,),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=_misfit,
)
