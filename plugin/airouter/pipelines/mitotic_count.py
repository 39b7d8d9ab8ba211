"""Counts mitotic figures: in the hotspot of a stated area, on all tissue, and per mm2 of either.

The model (segmentation, class `mitosis`) sees patches at its own spacing over the tissue. Where a companion `tissue`
divides the tissue into classes, only figures in tumour count.
"""

from typing import Final

from airouter.domain import codes
from airouter.domain.finding import Finding, Measurement, NotAnalysed, Result, Segmentation, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_AND_E
from airouter.pipelines import mitoses_of_slide, mitotic_hotspot
from airouter.pipelines.compartments import TUMOUR, Compartments, tissue_companion
from airouter.pipelines.mitoses_of_slide import MITOSIS, annotations, figures, finder
from airouter.pipelines.mitotic_hotspot import HOTSPOT, MitoticCount, mitotic_count
from airouter.pipelines.nuclei_results import tissue_segmentation
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.predictions import predictions
from airouter.pipelines.tissue_region import TissueRegion, other_stain, tissue_region
from airouter.pipelines.tumour_cells import tissue_of
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    HOTSPOT,
    *mitoses_of_slide.PARAMETERS,
    Parameter("high_count", None, "{counts}", "count in the hotspot from which on the priority is HIGH", 0, whole=True),
    WORKERS,
)

_COUNT: Final = "mitotic count in the hotspot"
_OVERALL: Final = "overall"  # key of a finding


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Figures as points, their number in the window that holds most of them, and densities.

    Ungradable as airouter.pipelines.tissue_region says, of either model. Raises ModelOutputError, PixelDataError,
    ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    if unfit := other_stain(images, H_AND_E, "mitoses are counted"):
        return unfit
    region = tissue_region(images, predict.model)
    if isinstance(region, Ungradable):
        return region
    tissue = tissue_of(images, predict, values.get("workers"), progress)
    if isinstance(tissue, Ungradable):
        return tissue
    find = finder(region.plan, predict.model, values)
    parts = list(predictions(region.plan, predict, values.get("workers"), progress, find))
    counted = mitotic_count(figures(region.plan, parts, values), region, tissue, values["hotspot_mm2"])
    return Result(
        findings=_findings(counted, region),
        verdict=_verdict(counted, values),
        segmentations=_segmentation(region, tissue),
        annotations=annotations(region.level, counted.figures),
        not_analysed=(NotAnalysed(_COUNT, counted.why),) if counted.why else (),
        execution_provider=predict.provider,
    )


def _findings(counted: MitoticCount, region: TissueRegion) -> tuple[Finding, ...]:
    measured = [Measurement(codes.TISSUE_AREA, region.tissue.area_mm2, codes.MM2)]
    if counted.tumour:
        measured.append(Measurement(codes.AREA, counted.area_mm2, codes.MM2))
    if counted.overall:
        measured += [Measurement(codes.MITOTIC_COUNT, float(len(counted.figures)), codes.COUNTS), counted.overall]
    where = "in tumour" if counted.tumour else "on the tissue"
    overall = Finding(
        key=_OVERALL,
        label=f"Mitotic figures {where}",
        finding=codes.NEOPLASM if counted.tumour and counted.area_mm2 else codes.TISSUE,
        region=counted.outline or region.outline(),
        measurements=tuple(measured),
        comment=f"Figures {where} are counted. The density is per mm2 of {'tumour' if counted.tumour else 'tissue'}.",
        method=codes.METHOD_MITOSES,
    )
    return (overall,) if counted.region is None else (overall, mitotic_hotspot.finding(counted))


def _segmentation(region: TissueRegion, tissue: Compartments | None) -> tuple[Segmentation, ...]:
    if tissue is None:
        return (tissue_segmentation(region.slide, region.tissue),)
    mask = tissue.segmentation("classes", "Classes of the tissue")
    return (mask,) if mask else ()


def _verdict(counted: MitoticCount, values: Values) -> Verdict:
    high = values.get("high_count")
    if counted.why:
        reason = f"{len(counted.figures)} mitotic figures, no count in a hotspot"
        return verdict_of(Ground(Priority.ROUTINE, reason, (_OVERALL,)))
    said = f"{counted.count} mitotic figures in the hotspot of {counted.window_mm2:g} mm2"
    if high is not None and counted.count >= high:
        return verdict_of(Ground(Priority.HIGH, f"{said} reach {high:g}", (mitotic_hotspot.KEY,)))
    return verdict_of(Ground(Priority.ROUTINE, said, (mitotic_hotspot.KEY,)))


PIPELINE: Final = Pipeline(
    name="mitotic-count",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(MITOSIS,),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    companions=(tissue_companion(TUMOUR),),
)
