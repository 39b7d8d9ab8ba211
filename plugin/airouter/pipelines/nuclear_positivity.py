"""Counts the nuclei of a slide and, where the stain is haematoxylin-DAB, says how many of them are positive.

The model (segmentation, classes `nucleus` and `boundary`) sees patches at its own spacing over the tissue; nuclei are
separated by `imaging.nuclei`. Where a companion model divides the tissue, or the model tells tumour cells from others,
the index is that of tumour cells; else every nucleus on the tissue is counted, and each result says which holds.
"""

from collections.abc import Mapping
from typing import Final

from airouter.domain.finding import NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model, Scalar
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_DAB
from airouter.pipelines.compartments import TUMOUR, tissue_companion
from airouter.pipelines.nuclear_findings import HOTSPOT, TISSUE, annotations_of, findings_of, key_of_index, maps_of
from airouter.pipelines.nuclear_index import NO, Counted, Hotspot, counted_of, hotspot_of
from airouter.pipelines.nuclear_markers import ER, KI67, MARKERS, PR, Marker
from airouter.pipelines.nuclei_of_slide import CLASSES, KINDS, count
from airouter.pipelines.nuclei_results import tissue_segmentation
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.tissue_classes import require
from airouter.pipelines.tissue_region import tissue_region
from airouter.pipelines.tumour_cells import MITOSIS, TumourCells, tissue_of, tumour_cells
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("dab_threshold", 0.2, "1", "least mean optical density of DAB of a positive nucleus", 0.01, 3.0),
    Parameter("moderate_od", 0.4, "1", "density from which on a nucleus is moderately stained", 0.01, 3.0),
    Parameter("strong_od", 0.6, "1", "density from which on a nucleus is strongly stained", 0.01, 3.0),
    Parameter("min_nuclei", 100, "{counts}", "fewest nuclei that an index is computed from", 1, whole=True),
    Parameter("min_area_um2", 8.0, "um2", "least area of a nucleus", 0.0, 200.0),
    Parameter("max_surround", 0.4, "{ratio}", "most DAB around positive nuclei, as a share of theirs", 0.1, 10.0),
    Parameter("field_um", 250.0, "um", "side of a field of the heat map", 20.0, 5000.0),
    Parameter("min_field_nuclei", 10, "{counts}", "fewest nuclei of a field that shows an index", 1, whole=True),
    Parameter("hotspot_mm2", 0.2, "mm2", "area of the hotspot", 0.001, 100.0),
    Parameter("min_hotspot_nuclei", 100, "{counts}", "fewest nuclei that a hotspot holds", 1, whole=True),
    Parameter("high_index", None, "%", "index from which on the priority is HIGH", 0.0, 100.0),
    Parameter("high_hotspot_index", None, "%", "index in the hotspot from which on it is HIGH", 0.0, 100.0),
    Parameter("ki67", 0, "1", "1: the slides of this route are stained for Ki-67", 0, 1, whole=True),
    Parameter("marker", None, "-", "what the slides of this route are stained for", choices=tuple(MARKERS)),
    WORKERS,
)

_INDEX: Final = "nuclear positivity index"
_KINDS: Final = (*KINDS, MITOSIS)


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Count, and on H-DAB compute the positive share, of the nuclei on the tissue of a slide, or in its tumour.

    Ungradable where there is no tissue, where the slide is coarser than the model needs or does not say where its
    pixels lie on the glass, or where the model is not made for the stain. Raises ModelOutputError, PixelDataError,
    ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    require(_misfit, predict.model, job.parameters)
    region = tissue_region(images, predict.model)
    if isinstance(region, Ungradable):
        return region

    stained = images.stain == H_DAB
    found = count(region.plan, predict, values, stained, progress, _KINDS)
    tissue = tissue_of(images, predict, values.get("workers"), progress)
    tumour = tumour_cells(found, region.level, predict.model, _KINDS, tissue)
    counted = counted_of(images.stain, found.take(tumour.mask), tumour, values)
    marker = _marker(values)
    area = region.tissue.area_mm2 if tumour.area_mm2 is None else tumour.area_mm2
    hot = hotspot_of(counted, region.level, area, values)
    missing = _missing(counted, tumour, hot, marker)
    return Result(
        findings=findings_of(region, found, counted, tumour, hot, marker, values),
        verdict=_verdict(counted, len(found), hot, key_of_index(tumour), values),
        segmentations=(tissue_segmentation(images, region.tissue),),
        annotations=annotations_of(region.level, found, tumour, counted, stained),
        maps=maps_of(region.level, found, counted, values),
        not_analysed=missing,
        execution_provider=predict.provider,
    )


def _marker(values: Values) -> Marker | None:
    name = values.text("marker") or (KI67 if values["ki67"] else None)
    return MARKERS[name] if name else None


def _missing(
    counted: Counted, tumour: TumourCells, hot: Hotspot | str, marker: Marker | None
) -> tuple[NotAnalysed, ...]:
    if counted.why:
        return (NotAnalysed(_INDEX, counted.why),)
    missing = []
    if isinstance(hot, str):
        missing.append(NotAnalysed("index in the hotspot", hot))
    if marker and marker.status and not tumour.known:
        missing.append(NotAnalysed(f"{marker.name} status", f"{NO} nothing tells tumour cells from others"))
    return tuple(missing)


def _verdict(counted: Counted, total: int, hot: Hotspot | str, of: str, values: Values) -> Verdict:
    """`of`: key of the finding that has the index."""
    if counted.index is None:
        return verdict_of(Ground(Priority.ROUTINE, f"{total} nuclei counted, no index", (TISSUE,)))
    within = hot.index if isinstance(hot, Hotspot) else None
    for name, index, limit, finding in (
        (_INDEX, counted.index, values.get("high_index"), of),
        (f"{_INDEX} in the hotspot", within, values.get("high_hotspot_index"), HOTSPOT),
    ):
        if index is not None and limit is not None and index >= limit:
            return verdict_of(Ground(Priority.HIGH, f"{name} {index:.1f} % reaches {limit:g} %", (finding,)))
    also = "" if within is None else f", in the hotspot {within:.1f} %"
    return verdict_of(Ground(Priority.ROUTINE, f"{_INDEX} {counted.index:.1f} %{also}", (of,)))


def _misfit(model: Model, parameters: Mapping[str, Scalar]) -> str | None:
    """Parameters that contradict each other."""
    marker = parameters.get("marker")
    if parameters.get("ki67") and marker not in (None, KI67):
        return f"parameter ki67 says Ki-67 and marker {marker}"
    if marker in (ER, PR):
        given = {**{p.name: p.default for p in PARAMETERS}, **parameters}
        weak, moderate, strong = (float(given[name] or 0) for name in ("dab_threshold", "moderate_od", "strong_od"))
        if not weak <= moderate <= strong:
            return f"dab_threshold {weak:g}, moderate_od {moderate:g} and strong_od {strong:g} must rise"
    return None


PIPELINE: Final = Pipeline(
    name="nuclear-positivity",
    version="2.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=CLASSES,
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=_misfit,
    companions=(tissue_companion(TUMOUR),),
)
