"""Stromal tumour infiltrating lymphocytes: the share of the stroma in the tumour bed that lymphocytes occupy.

Salgado R et al. The evaluation of tumor-infiltrating lymphocytes (TILs) in breast cancer: recommendations by an
International TILs Working Group 2014. Ann Oncol 2015;26:259-271: the area of stroma that mononuclear inflammatory cells
occupy, over all stroma within the borders of the invasive tumour; without necrosis, and as an average, not a hotspot.
There it is estimated by eye; here both areas are measured.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.finding import (
    NO_VALUE,
    Finding,
    Measurement,
    NotAnalysed,
    ParametricMap,
    Result,
    Segment,
    Segmentation,
    Ungradable,
)
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Ground, Priority, verdict_of
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_AND_E
from airouter.pipelines import nuclei_results
from airouter.pipelines.compartments import STROMA, TISSUE, TUBULE, TUMOUR, Compartments, tissue_companion
from airouter.pipelines.lymphocyte_area import Occupied, occupied
from airouter.pipelines.nuclei_of_slide import CLASSES, KINDS, count
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.tissue_region import other_stain, tissue_region
from airouter.pipelines.tumour_cells import tissue_of
from airouter.ports import Predictor, ProgressSink

LYMPHOCYTE: Final = "lymphocyte"

PARAMETERS: Final = (
    Parameter("bed_um", 250.0, "um", "nests of tumour less than twice this apart lie in one tumour bed", 0.0, 10000.0),
    Parameter("cytoplasm_um", 1.0, "um", "width of the rim of cytoplasm around a lymphocyte's nucleus", 0.0, 10.0),
    Parameter("min_stroma_mm2", 0.1, "mm2", "least area of stroma that a share is computed from", 0.0),
    Parameter("min_area_um2", 8.0, "um2", "least area of a nucleus", 0.0, 200.0),
    Parameter("field_um", 250.0, "um", "side of a field of the heat map", 20.0, 5000.0),
    Parameter("min_field_stroma", 10.0, "%", "least part of a field that is stroma where it shows a share", 0.0, 100.0),
    WORKERS,
)

_SCORE: Final = "stromal tumour infiltrating lymphocytes"


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """The share of the stroma in the tumour bed that lymphocytes occupy, the lymphocytes, and a map of the share.

    Ungradable as airouter.pipelines.tissue_region says, of either model. Raises ModelOutputError, PixelDataError,
    ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter or a job without its companion.
    """
    values = Values(PARAMETERS, predict.model, job)
    if unfit := other_stain(images, H_AND_E, "stromal lymphocytes are scored"):
        return unfit
    region = tissue_region(images, predict.model)
    if isinstance(region, Ungradable):
        return region
    tissue = tissue_of(images, predict, values.get("workers"), progress)
    if tissue is None:
        raise ConfigurationError("job", f"needs a companion {TISSUE}")
    if isinstance(tissue, Ungradable):
        return tissue
    bed = tissue.bed(values["bed_um"])
    stroma = bed & tissue.of(STROMA)
    if why := _no_score(tissue, stroma, values):
        return _without(tissue, bed, why, predict.provider)

    found = count(region.plan, predict, values, False, progress)
    cells = found.take(found.kind == KINDS.index(LYMPHOCYTE))
    area = occupied(cells, region.plan, tissue, stroma, values["cytoplasm_um"], values["field_um"])
    inside = cells.take(tissue.at(stroma, cells.centres, region.level))
    group = nuclei_results.group("lymphocytes", "Lymphocytes in the stroma", codes.LYMPHOCYTE, region.level, inside, {})
    return Result(
        findings=(_bed(tissue, bed), _finding(tissue, stroma, area, len(inside))),
        verdict=verdict_of(
            Ground(Priority.ROUTINE, f"stromal tumour infiltrating lymphocytes {area.percent:.1f} %", ("stroma",))
        ),
        segmentations=(_segmentation(tissue, stroma),),
        annotations=(group,) if group else (),
        maps=(_map(tissue, area, values),),
        execution_provider=predict.provider,
    )


def _no_score(tissue: Compartments, stroma: NDArray[np.bool_], values: Values) -> str | None:
    if not tissue.class_mm2(TUMOUR) + tissue.class_mm2(TUBULE):
        return "not analysed because no tumour was found in the tissue"
    area, least = tissue.area_mm2(stroma), values["min_stroma_mm2"]
    if not area or area < least:
        return f"not analysed because the tumour bed has {area:.3g} mm2 of stroma and at least {least:g} mm2 is needed"
    return None


def _without(tissue: Compartments, bed: NDArray[np.bool_], why: str, provider: str) -> Result:
    return Result(
        findings=(_bed(tissue, bed),) if bed.any() else (),
        verdict=verdict_of(Ground(Priority.ROUTINE, "no share of stromal lymphocytes")),
        not_analysed=(NotAnalysed(_SCORE, why),),
        execution_provider=provider,
    )


def _bed(tissue: Compartments, bed: NDArray[np.bool_]) -> Finding:
    return Finding(
        key="tumour bed",
        label="Tumour bed",
        finding=codes.TUMOUR_BED,
        region=tissue.outline(bed),
        measurements=(Measurement(codes.TUMOUR_BED_AREA, tissue.area_mm2(bed), codes.MM2),),
        method=codes.METHOD_STIL,
    )


def _finding(tissue: Compartments, stroma: NDArray[np.bool_], area: Occupied, lymphocytes: int) -> Finding:
    return Finding(
        key="stroma",
        label="Stroma of the tumour bed",
        finding=codes.STROMA_SCORED,
        region=tissue.outline(stroma),
        measurements=(
            Measurement(codes.AREA, area.part_mm2, codes.MM2),
            Measurement(codes.LYMPHOCYTE_COUNT, float(lymphocytes), codes.COUNTS),
            Measurement(codes.LYMPHOCYTE_DENSITY, lymphocytes / area.part_mm2, codes.PER_MM2),
            Measurement(codes.STIL, area.percent, codes.PERCENT),
        ),
        comment="A measured share of area, where a pathologist estimates one.",
        method=codes.METHOD_STIL,
    )


def _segmentation(tissue: Compartments, stroma: NDArray[np.bool_]) -> Segmentation:
    return Segmentation(
        role="stroma",
        label="Stroma of the tumour bed",
        source=tissue.level.instance_uid,
        mask=stroma.astype(np.uint8),
        segments=(Segment(1, "Stroma of the tumour bed", codes.TISSUE, codes.CONNECTIVE_TISSUE),),
        factor=tissue.factor,
    )


def _map(tissue: Compartments, area: Occupied, values: Values) -> ParametricMap:
    field_mm2 = (area.factor * tissue.level.spacing_um) ** 2 * 1e-6
    shares = area.shares(values["min_field_stroma"] / 100.0 * field_mm2, NO_VALUE)
    return ParametricMap(
        role="heatmap",
        label="Stromal lymphocytes per field",
        source=tissue.level.instance_uid,
        values=shares.astype(np.float32),
        quantity=codes.STIL,
        unit=codes.PERCENT,
        factor=area.factor,
    )


PIPELINE: Final = Pipeline(
    name="til-score",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(*CLASSES, LYMPHOCYTE),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    companions=(tissue_companion(TUMOUR, STROMA, required=True),),
)
