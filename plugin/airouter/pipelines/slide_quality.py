"""Says before reading whether a slide can be read: how much of its tissue is usable, and what is wrong with the rest.

The model (segmentation) sees everything that is not clean glass: pen marks and bubbles lie beside the tissue too, and a
slide under ink may show no tissue at all. Which artefacts it tells apart its manifest says by their codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from airouter.domain import codes
from airouter.domain.finding import (
    Evaluation,
    Finding,
    Measurement,
    NotAnalysed,
    Region,
    Result,
    Segment,
    Segmentation,
    Ungradable,
)
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.rescan import Fitness
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.imaging.marks import anything
from airouter.imaging.mosaic import Mosaic
from airouter.imaging.patches import Patch
from airouter.imaging.slide import Slide
from airouter.pipelines.artefacts import FINE, Artefact, Labels, misfit
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.predictions import predictions
from airouter.pipelines.quality_area import Areas, areas
from airouter.pipelines.tissue_region import TissueRegion, tissue_region
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("min_usable_percent", 80.0, "%", "least usable share of the tissue of a slide that can be read", 0, 100),
    *(
        Parameter(limit, None, "%", f"most of the tissue that may be {what}", 0.0, 100.0)
        for limit, what in {
            "max_marking_percent": "under pen marks",
            "max_foreign_percent": "under foreign material",
            "max_bubble_percent": "under air bubbles",
            "max_coverslip_percent": "at or beyond the edge of the cover slip, or under a defect or scratch of it",
            "max_fold_percent": "folded",
            "max_focus_percent": "out of focus",
            "max_stain_percent": "stained too weakly, too strongly or inadequately",
            "max_scan_percent": "under stripes or stitching of the scan",
            "max_other_percent": "unusable for another reason",
        }.items()
    ),
    Parameter("named_percent", 2.0, "%", "share of the tissue from which on an artefact limits the quality", 0, 100),
    Parameter("blur_probability", None, "1", "least probability of a pixel that is out of focus", 0.0, 1.0),
    Parameter("hidden_um", 1000.0, "um", "width of marks up to which the tissue beside them goes on below", 0, 10000.0),
    WORKERS,
)

_USABLE: Final = "usable share of the tissue"
_QUALITY: Final = "quality"  # key of the finding that says whether the slide can be read
_NO_TISSUE: Final = "no tissue is seen beside what covers the slide"


@dataclass(frozen=True, slots=True)
class _Share:
    """How much of an artefact there is: on the tissue, beside it, and in % of the tissue (0 without tissue)."""

    artefact: Artefact
    on_mm2: float
    beside_mm2: float
    percent: float


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Find the artefacts of a slide; usable tissue, whether the slide can be read, and the mask of the artefacts.

    Ungradable where there is neither tissue nor an artefact, and as airouter.pipelines.tissue_region says. Raises
    ModelOutputError, PixelDataError, ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter or
    a class whose code is no quality of a slide.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    if why := misfit(model, {}):
        raise ConfigurationError("manifest.yaml", why)
    looked = anything(images)
    region = tissue_region(images, model, looked)
    if isinstance(region, Ungradable):
        return region
    labels = Labels(model.head, values.get("blur_probability"))
    mosaic = Mosaic(region.plan, looked, region.to_base)

    def put(number: int, patch: Patch, maps: NDArray[np.float32]) -> None:
        mosaic.put(patch, labels.of(maps[:, *patch.core]))

    for _ in predictions(region.plan, predict, values.get("workers"), progress, put):
        pass
    found = areas(region, mosaic, images.tissue(), labels.artefacts, values["hidden_um"])
    shares = [_share(found, each, labels.number(each)) for each in labels.artefacts]
    if not found.tissue_mm2 and not any(share.beside_mm2 for share in shares):
        return Ungradable("not analysed because neither tissue nor an artefact was found on the slide")

    usable = 100.0 * float(found.on[FINE]) / found.tissue_mm2 if found.tissue_mm2 else None
    reasons = list(_unfit(usable, shares, values))
    fit, verdict = not reasons, _verdict(reasons, usable)
    return Result(
        findings=tuple(_findings(region, found, shares, usable, fit, values, labels)),
        verdict=verdict,
        segmentations=_segmentation(mosaic, region.level.instance_uid, shares),
        not_analysed=(
            *(() if found.tissue_mm2 else (NotAnalysed(_USABLE, f"not analysed because {_NO_TISSUE}"),)),
            *labels.not_looked_for(),
        ),
        execution_provider=predict.provider,
        fitness=Fitness(
            fit,
            verdict.reason,
            None if usable is None else round(usable, 1),
            _container(images.header),
            _scanned(images.header),
        ),
    )


def _share(found: Areas, artefact: Artefact, label: int) -> _Share:
    on, beside, tissue = float(found.on[label]), float(found.beside[label]), found.tissue_mm2
    return _Share(artefact, on, beside, 100.0 * on / tissue if tissue else 0.0)


def _unfit(usable: float | None, shares: list[_Share], values: Values) -> Iterator[str]:
    """Why the slide cannot be read, the greatest artefact first; nothing where it can."""
    if usable is None:
        covering = sorted((share for share in shares if share.beside_mm2), key=lambda share: -share.beside_mm2)
        yield f"{_NO_TISSUE}: {', '.join(share.artefact.name for share in covering)}"
        return
    worst = sorted((share for share in shares if share.percent), key=lambda share: -share.percent)
    if usable < values["min_usable_percent"]:
        named = [f"{s.artefact.name} {s.percent:.0f} %" for s in worst if s.percent >= values["named_percent"]]
        yield f"{', '.join(named) or 'artefacts'} of the tissue, only {_usable(usable)}"
    for limit in dict.fromkeys(share.artefact.limit for share in worst):
        most = values.get(limit)
        together = [share for share in worst if share.artefact.limit == limit]
        percent = sum(share.percent for share in together)
        if most is not None and percent > most:
            yield f"{' and '.join(s.artefact.name for s in together)} {percent:.1f} %, more than {most:g} %"


def _usable(usable: float) -> str:
    return f"{usable:.1f} % usable"


def _verdict(reasons: list[str], usable: float | None) -> Verdict:
    """LOW where the slide is not fit, below all that can be read: a rescan comes first."""
    if reasons or usable is None:
        return verdict_of(Ground(Priority.LOW, f"rescan before reading: {'; '.join(reasons)}", (_QUALITY,)))
    return verdict_of(Ground(Priority.ROUTINE, f"fit for reading: {_usable(usable)}", (_QUALITY,)))


def _findings(
    region: TissueRegion,
    found: Areas,
    shares: list[_Share],
    usable: float | None,
    fit: bool,
    values: Values,
    labels: Labels,
) -> Iterator[Finding]:
    """One group for the slide, one for the usable tissue, one for each artefact that the model knows."""
    cells = found.tissue if found.tissue.any() else region.tissue.mask
    outline = _outline(region, cells)
    named = [share for share in shares if share.percent >= values["named_percent"] and share.percent]
    grade = codes.DIAGNOSTIC_QUALITY if fit and not named else codes.LIMITED_QUALITY
    yield Finding(
        key=_QUALITY,
        label="Quality of the slide",
        finding=codes.QUALITY_FINDING,
        region=outline,
        measurements=(
            Measurement(codes.QUALITY_RATING, round(usable or 0.0, 1), codes.ONE),
            Measurement(codes.TISSUE_AREA, found.tissue_mm2, codes.MM2),
            Measurement(codes.PATCH_COUNT, float(len(region.plan)), codes.COUNTS),
        ),
        evaluations=(
            Evaluation(codes.QUALITY_ASSESSMENT, grade if fit else codes.NON_DIAGNOSTIC_QUALITY),
            *(Evaluation(codes.QUALITY_FINDING, code) for code in dict.fromkeys(s.artefact.type for s in named)),
        ),
        comment="The rating is the usable share of the tissue in %. Of artefacts over each other one is counted.",
        method=codes.METHOD_SLIDE_QUALITY,
    )
    if usable is not None:
        yield Finding(
            key="usable",
            label="Usable tissue",
            finding=codes.USABLE_TISSUE,
            region=outline,
            measurements=(
                Measurement(codes.AREA, float(found.on[FINE]), codes.MM2),
                Measurement(codes.TISSUE_SHARE, usable, codes.PERCENT),
            ),
            method=codes.METHOD_SLIDE_QUALITY,
        )
    for share in shares:
        here = found.cells == labels.number(share.artefact)
        yield Finding(
            key=f"artefact {share.artefact.code.value}",
            label=share.artefact.name.capitalize(),
            finding=share.artefact.type,
            region=_outline(region, here) if here.any() else outline,
            measurements=(
                Measurement(codes.AREA, share.on_mm2, codes.MM2),
                *((Measurement(codes.TISSUE_SHARE, share.percent, codes.PERCENT),) if usable is not None else ()),
                Measurement(codes.OFF_TISSUE_AREA, share.beside_mm2, codes.MM2),
            ),
            evaluations=_direction(share.artefact),
            method=codes.METHOD_SLIDE_QUALITY,
        )


def _direction(artefact: Artefact) -> tuple[Evaluation, ...]:
    """In which direction the staining is inadequate, which its public code does not say."""
    return (Evaluation(codes.QUALITY_FINDING, artefact.code),) if artefact.code != artefact.type else ()


def _outline(region: TissueRegion, cells: NDArray[np.bool_]) -> Region:
    return replace(region, tissue=replace(region.tissue, mask=cells)).outline()


def _segmentation(mosaic: Mosaic, source: str, shares: list[_Share]) -> tuple[Segmentation, ...]:
    """The mask of the artefacts that are there, numbered from 1, on the tissue and beside it; none without any."""
    there = [(n, share) for n, share in enumerate(shares, FINE + 1) if share.on_mm2 or share.beside_mm2]
    if not there:
        return ()
    values = np.zeros(256, np.uint8)
    for segment, (label, _) in enumerate(there, 1):
        values[label] = segment
    mosaic.replace(values)
    segments = tuple(
        Segment(n, share.artefact.name.capitalize(), codes.QUALITY, share.artefact.type)
        for n, (_, share) in enumerate(there, 1)
    )
    return (Segmentation("artefacts", "Artefacts of the slide", source, mosaic.mask, segments, mosaic.factor),)


def _container(header: Dataset) -> str | None:
    """Container Identifier, None where the header has none or a converter's word for it."""
    value = str(header.get("ContainerIdentifier") or "").strip()
    return None if value.lower() in ("", "unknown", "none") else value


def _scanned(header: Dataset) -> str | None:
    """When the slide was scanned, ISO 8601, None where the header does not say it in full."""
    try:
        when = DT(str(header.get("AcquisitionDateTime") or ""))
    except ValueError:
        return None
    return when.isoformat() if isinstance(when, datetime) else None


PIPELINE: Final = Pipeline(
    name="slide-quality",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=(),
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=misfit,
)
