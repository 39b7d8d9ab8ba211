"""Counts the nuclei of a slide and, where the stain is haematoxylin-DAB, says how many of them are positive.

The model (segmentation, classes `nucleus` and `boundary`) sees patches at its own spacing over the tissue; nuclei are
separated by `imaging.nuclei`. Every nucleus on the tissue is counted, of whatever cell: this is not an index of tumour
cells unless the slide holds nothing else, and each result says so.
"""

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.finding import (
    NO_VALUE,
    AnnotationGroup,
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
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Modality
from airouter.imaging.patches import PatchPlan
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_DAB
from airouter.imaging.tissue import Tissue, pixels_of_cells
from airouter.pipelines.nuclei_of_slide import CLASSES, Nuclei, count
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.tissue_region import TissueRegion, tissue_region
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("dab_threshold", 0.2, "1", "least mean optical density of DAB of a positive nucleus", 0.01, 3.0),
    Parameter("min_nuclei", 100, "{counts}", "fewest nuclei that an index is computed from", 1, whole=True),
    Parameter("min_area_um2", 8.0, "um2", "least area of a nucleus", 0.0, 200.0),
    Parameter("max_surround", 0.4, "{ratio}", "most DAB around positive nuclei, as a share of theirs", 0.1, 10.0),
    Parameter("field_um", 250.0, "um", "side of a field of the heat map", 20.0, 5000.0),
    Parameter("min_field_nuclei", 10, "{counts}", "fewest nuclei of a field that shows an index", 1, whole=True),
    Parameter("high_index", None, "%", "index from which on the priority is HIGH", 0.0, 100.0),
    Parameter("ki67", 0, "1", "1: the slides of this route are stained for Ki-67", 0, 1, whole=True),
    WORKERS,
)

_INDEX: Final = "nuclear positivity index"
# Dowsett M et al. Assessment of Ki67 in breast cancer. J Natl Cancer Inst 2011;103:1656-1664: at least 500 cells.
_ADVISED_NUCLEI: Final = 500


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Count, and on H-DAB compute the positive share, of all nuclei on the tissue of a slide.

    Ungradable where there is no tissue, where the slide is coarser than the model needs or does not say where its
    pixels lie on the glass, or where the model is not made for the stain. Raises ModelOutputError, PixelDataError,
    ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    region = tissue_region(images, predict.model)
    if isinstance(region, Ungradable):
        return region
    tissue, plan = region.tissue, region.plan

    stained = images.stain == H_DAB
    found = count(plan, predict, values, stained, progress)
    positive = found.od >= values["dab_threshold"] if stained else np.zeros(len(found), bool)
    why = _no_index(images.stain, found, positive, values)
    index = None if why else 100.0 * float(positive.sum()) / len(found)
    return Result(
        findings=(_finding(region, found, positive, index, values),),
        verdict=_verdict(index, len(found), values),
        segmentations=(_tissue_segmentation(images, tissue),),
        annotations=_annotations(plan, found, positive, stained=stained, indexed=index is not None),
        maps=(_heat_map(plan, found, positive, index is not None, values),) if len(found) else (),
        not_analysed=(NotAnalysed(_INDEX, why),) if why else (),
        execution_provider=predict.provider,
    )


def _no_index(stain: str | None, found: Nuclei, positive: NDArray[np.bool_], values: Values) -> str | None:
    """Why there is no index, None where there is one."""
    if stain is None:
        return "not analysed because the stain is not stated in the header"
    if stain != H_DAB:
        return f"not analysed because the stain is {stain}"
    if len(found) < values["min_nuclei"]:
        return f"not analysed because {len(found)} nuclei were found and at least {values['min_nuclei']:.0f} are needed"
    share = found.surround[positive] / found.od[positive]
    share = share[np.isfinite(share)]
    if len(share) and float(np.median(share)) > values["max_surround"]:
        # a membranous or cytoplasmic marker, or background staining: what lies over a nucleus is not in it
        return "not analysed because the DAB is not confined to the nuclei"
    return None


def _finding(
    region: TissueRegion, found: Nuclei, positive: NDArray[np.bool_], index: float | None, values: Values
) -> Finding:
    tissue = region.tissue
    measurements = [
        Measurement(codes.TISSUE_AREA, tissue.area_mm2, codes.MM2),
        Measurement(codes.NUCLEI_COUNT, float(len(found)), codes.COUNTS),
        Measurement(codes.NUCLEI_DENSITY, len(found) / tissue.area_mm2, codes.PER_MM2),
    ]
    comment = "All nuclei on the tissue are counted, not those of tumour cells alone."
    if index is not None:
        name = codes.KI67_INDEX if values["ki67"] else codes.POSITIVE_FRACTION
        measurements += [
            Measurement(codes.POSITIVE_COUNT, float(positive.sum()), codes.COUNTS),
            Measurement(name, index, codes.PERCENT),
        ]
        if len(found) < _ADVISED_NUCLEI:
            comment += f" Fewer than {_ADVISED_NUCLEI} nuclei: the index is uncertain."
    return Finding(
        key="tissue",
        label="Nuclei on the tissue",
        finding=codes.TISSUE,
        region=region.outline(),
        measurements=tuple(measurements),
        comment=comment,
    )


def _verdict(index: float | None, count: int, values: Values) -> Verdict:
    high = values.get("high_index")
    if index is None:
        return Verdict(Priority.ROUTINE, f"{count} nuclei counted, no index")
    if high is not None and index >= high:
        return Verdict(Priority.HIGH, f"{_INDEX} {index:.1f} % reaches {high:g} %")
    return Verdict(Priority.ROUTINE, f"{_INDEX} {index:.1f} %")


def _tissue_segmentation(slide: Slide, tissue: Tissue) -> Segmentation:
    return Segmentation(
        role="tissue",
        label="Tissue that was analysed",
        source=slide.base.instance_uid,
        mask=tissue.mask.astype(np.uint8),
        segments=(Segment(1, "Analysed tissue", codes.TISSUE, codes.TISSUE),),
        factor=tissue.factor,
    )


def _annotations(
    plan: PatchPlan, found: Nuclei, positive: NDArray[np.bool_], *, stained: bool, indexed: bool
) -> tuple[AnnotationGroup, ...]:
    """All nuclei in one group, or positive and negative ones apart where the index that they make can be trusted."""
    if indexed:
        groups = [
            ("positive-nuclei", "Positive nuclei", codes.POSITIVE_NUCLEUS, positive),
            ("negative-nuclei", "Negative nuclei", codes.NEGATIVE_NUCLEUS, ~positive),
        ]
    else:
        groups = [("nuclei", "Nuclei", codes.NUCLEUS, np.ones(len(found), bool))]
    made = []
    for role, label, kind, members in groups:
        mine = found.take(members)
        if not len(mine):
            continue
        measured = {(codes.AREA, codes.UM2): mine.area_um2.astype(np.float32)}
        if stained:
            measured[codes.MEAN_DAB_OD, codes.ONE] = mine.od.astype(np.float32)
        made.append(
            AnnotationGroup(
                role=role,
                label=label,
                source=plan.level.instance_uid,
                graphic="POLYGON",
                category=codes.ANATOMICAL_STRUCTURE,
                type=kind,
                points=np.concatenate(mine.outlines),
                starts=np.cumsum([0, *map(len, mine.outlines)], dtype=np.int64),
                measurements=measured,
            )
        )
    return tuple(made)


def _heat_map(
    plan: PatchPlan, found: Nuclei, positive: NDArray[np.bool_], indexed: bool, values: Values
) -> ParametricMap:
    """Per field the positive share in %, without an index the density per mm2 of the field, whatever lies in it.

    A field with too few nuclei for a share has no value, which is not 0 %.
    """
    level = plan.level
    factor = max(1, round(values["field_um"] / level.spacing_um))
    shape = (-(-level.rows // factor), -(-level.columns // factor))
    per_field = functools.partial(_per_field, found.centres, factor, shape)
    total = per_field(np.ones(len(found)))
    if indexed:
        enough = total >= values["min_field_nuclei"]
        share = np.where(enough, 100.0 * per_field(positive) / np.maximum(total, 1.0), NO_VALUE)
        label, name, unit = "Positive nuclei per field", codes.POSITIVE_FRACTION, codes.PERCENT
    else:
        high = pixels_of_cells(level.rows, shape[0], factor)
        wide = pixels_of_cells(level.columns, shape[1], factor)
        share = total / (np.outer(high, wide) * level.spacing_um**2 * 1e-6)
        label, name, unit = "Nuclei per field", codes.FIELD_DENSITY, codes.PER_MM2
    return ParametricMap(
        role="heatmap",
        label=label,
        source=level.instance_uid,
        values=share.astype(np.float32),
        quantity=name,
        unit=unit,
        factor=factor,
    )


def _per_field(
    centres: NDArray[np.float64], factor: int, shape: tuple[int, int], weights: NDArray[np.generic]
) -> NDArray[np.float64]:
    column, row = np.minimum((centres // factor).astype(np.int64), [shape[1] - 1, shape[0] - 1]).T
    cells = np.bincount(row * shape[1] + column, weights=weights.astype(np.float64), minlength=shape[0] * shape[1])
    return np.asarray(cells.reshape(shape), np.float64)


PIPELINE: Final = Pipeline(
    name="nuclear-positivity",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=CLASSES,
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
)
