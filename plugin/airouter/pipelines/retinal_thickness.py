"""Measures the retina of a macular OCT: thickness in the fields of the ETDRS grid, macular volume, fluid.

The model (segmentation, classes `vitreous`, `retina`, `fluid`, `below`) sees one B-scan at a time; `imaging.layers`
finds the inner limiting membrane and the outer retinal boundary in its answer. Thickness is measured along the
A-scan, from the one to the other.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.finding import Finding, Measurement, NotAnalysed, Result, Segment, Segmentation, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging import layers
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import raster_problem
from airouter.inference.whole import whole
from airouter.pipelines import macular_grid, retina_regions
from airouter.pipelines.parallel import WORKERS, in_order, workers
from airouter.pipelines.pipeline import WHOLE_IMAGE, Parameter, Pipeline, Values
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    macular_grid.HIGH_CST,
    Parameter("high_fluid_ul", 0.01, "uL", "volume of fluid above which the priority is HIGH", 0.0, 100.0),
    Parameter(
        "high_fluid_mm2", 0.01, "mm2", "area of fluid on one B-scan above which the priority is HIGH", 0.0, 100.0
    ),
    Parameter("min_fluid_um2", 500.0, "um2", "least area of a pocket of fluid on a B-scan", 0.0, 1e6),
    macular_grid.MIN_COVERAGE,
    macular_grid.MAX_SLICE,
    Parameter("max_untrusted", 0.25, "{ratio}", "largest share of columns without a trustworthy boundary", 0.0, 1.0),
    WORKERS,
)

_RETINA: Final = 1
_FLUID: Final = 2
_THICKNESS, _WET = "retina", "fluid"  # keys of findings
_CENTRED: Final = "The grid is centred on the scan; fixation on the fovea is assumed."


@dataclass(frozen=True, slots=True)
class _BScan:
    """Surfaces in rows from the top edge, NaN where not trusted, and label image: 1 retina, 2 fluid."""

    ilm: NDArray[np.float64]
    rpe: NDArray[np.float64]
    labels: NDArray[np.uint8]


def run(job: Job, images: OctVolume, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Thickness, volume and fluid, each only where the scan supports it.

    Ungradable where too many columns show no trustworthy boundary, or where the model asks for a laterality that is
    missing. Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled, and ConfigurationError for an
    impossible parameter.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    if model.reads.laterality_required and images.laterality not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing and the model asks for it")
    scans = _scans(images, predict, values, progress)
    ilm, rpe = (np.stack([getattr(s, name) for s in scans]) for name in ("ilm", "rpe"))
    untrusted = float(np.isnan(ilm).mean())
    if untrusted > values["max_untrusted"] or untrusted == 1.0:
        return Ungradable(
            "not analysed because the signal is too weak: no trustworthy retinal boundary in "
            f"{100 * untrusted:.0f} % of the columns"
        )
    mask = np.stack([s.labels for s in scans])
    thickness = layers.thickness_um(ilm, rpe, images.axial_um)
    found = macular_grid.grid(images, thickness, values["min_coverage"], values["max_slice_um"])
    fluid, absent = _fluid(images, mask)
    retina = Finding(
        key=_THICKNESS,
        label="Retinal thickness",
        finding=codes.RETINA,
        region=retina_regions.between(images, ilm, rpe),
        site=codes.EYE,
        laterality=images.laterality,
        measurements=found.measured,
        comment=_comment(images, found.measured, untrusted),
    )
    wet = Finding(
        key=_WET,
        label="Retinal fluid",
        finding=codes.RETINAL_FLUID,
        region=retina_regions.largest(images, mask == _FLUID) or retina.region,
        site=codes.EYE,
        laterality=images.laterality,
        measurements=(fluid,),
        comment=_fluid_comment(mask, untrusted),
    )
    return Result(
        findings=(retina, wet),
        verdict=_verdict(found.cst, fluid, values),
        segmentations=(_segmentation(images, mask),),
        not_analysed=(*found.missing, *absent),
        execution_provider=predict.provider,
    )


def _scans(volume: OctVolume, predict: Predictor, values: Values, progress: ProgressSink) -> list[_BScan]:
    head = predict.model.head
    channels = layers.Classes(*(predict.model.head.channel(name) for name in PIPELINE.classes))
    threshold = head.classes[channels.fluid].threshold
    least = values["min_fluid_um2"] / (volume.axial_um * volume.lateral_um)

    def analyse(number: int) -> _BScan:
        maps = whole(predict, volume.frame(number))
        ilm, rpe = layers.surfaces(maps, channels)
        wet = maps[channels.fluid] >= threshold
        if head.exclusive:
            wet = maps.argmax(axis=0) == channels.fluid
        return _BScan(ilm, rpe, _labels(ilm, rpe, wet, least))

    scans: list[_BScan] = []
    progress(0, len(volume), "B-scans")
    for scan in in_order(analyse, range(1, len(volume) + 1), workers(values.get("workers"))):
        scans.append(scan)
        progress(len(scans), len(volume), "B-scans")
    return scans


def _labels(
    ilm: NDArray[np.float64], rpe: NDArray[np.float64], wet: NDArray[np.bool_], least: float
) -> NDArray[np.uint8]:
    """Retina between the boundaries of trusted columns, in it the pockets of fluid of `least` pixels or more."""
    centre = np.arange(wet.shape[0])[:, None] + 0.5
    with np.errstate(invalid="ignore"):
        inside = (centre >= ilm[None]) & (centre < rpe[None])  # False where NaN
    _, pockets, stats, _ = cv2.connectedComponentsWithStats((wet & inside).astype(np.uint8), None, None, None, 8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.where(large[pockets], _FLUID, inside * _RETINA).astype(np.uint8)


def _fluid(volume: OctVolume, mask: NDArray[np.uint8]) -> tuple[Measurement, list[NotAnalysed]]:
    """Volume of fluid over a raster of B-scans, or its area on a single one."""
    pixels = float((mask == _FLUID).sum())
    pixel_mm2 = volume.axial_um * volume.lateral_um * 1e-6
    why = raster_problem(volume)
    if why is None and volume.slice_um is not None:
        return Measurement(codes.FLUID_VOLUME, pixels * pixel_mm2 * volume.slice_um * 1e-3, codes.UL), []
    why = "one B-scan has no volume" if len(volume) == 1 else why
    largest = max(float((plane == _FLUID).sum()) for plane in mask)
    area = Measurement(codes.FLUID_AREA, largest * pixel_mm2, codes.MM2)
    return area, [NotAnalysed("volume of retinal fluid", f"not analysed because {why}")]


def _comment(volume: OctVolume, measured: tuple[Measurement, ...], untrusted: float) -> str:
    parts = []
    if macular_grid.is_line(volume):
        parts.append("Means along one B-scan, over its whole length and its central 1 mm; not an ETDRS subfield.")
    elif measured:
        parts.append(_CENTRED)
    else:
        parts.append("The region is the retina on the middle B-scan.")
    if untrusted:
        parts.append(_left_out(untrusted))
    return " ".join(parts)


def _fluid_comment(mask: NDArray[np.uint8], untrusted: float) -> str | None:
    """Fluid is looked for between trusted boundaries only: what was left out may hold more of it."""
    parts = [] if (mask == _FLUID).any() else ["No fluid was found; the region is the retina."]
    if untrusted:
        parts.append(f"{_left_out(untrusted)} Fluid there is not measured.")
    return " ".join(parts) or None


def _left_out(untrusted: float) -> str:
    return f"{100 * untrusted:.1f} % of the columns were left out: no trustworthy boundary."


def _segmentation(volume: OctVolume, mask: NDArray[np.uint8]) -> Segmentation:
    retina = Segment(_RETINA, "Retina", codes.ANATOMICAL_STRUCTURE, codes.RETINA)
    fluid = Segment(_FLUID, "Retinal fluid", codes.BODY_SUBSTANCE, codes.FLUID)
    return Segmentation(
        role="layers",
        label="Retina and fluid",
        source=volume.instance_uid,
        mask=mask,
        segments=(retina, fluid) if (mask == _FLUID).any() else (retina,),
        frames=tuple(range(1, len(volume) + 1)),
    )


def _verdict(cst: float | None, fluid: Measurement, values: Values) -> Verdict:
    grounds = []
    limit = values["high_fluid_mm2" if fluid.name == codes.FLUID_AREA else "high_fluid_ul"]
    if fluid.value > limit:
        unit = fluid.unit.value
        reason = f"retinal fluid {fluid.value:.3f} {unit} is above {limit:g} {unit}"
        grounds.append(Ground(Priority.HIGH, reason, (_WET,)))
    if cst is not None and cst > values["high_cst_um"]:
        reason = f"central subfield thickness {cst:.0f} um is above {values['high_cst_um']:g} um"
        grounds.append(Ground(Priority.HIGH, reason, (_THICKNESS,)))
    if grounds:
        return verdict_of(*grounds)
    seen = "no central subfield thickness" if cst is None else f"central subfield thickness {cst:.0f} um"
    reason = f"{seen}, retinal fluid {fluid.value:.3f} {fluid.unit.value}"
    return verdict_of(Ground(Priority.ROUTINE, reason, (_THICKNESS, _WET)))


PIPELINE: Final = Pipeline(
    name="retinal-thickness",
    version="1.0.0",
    modality=Modality.OPT,
    head=HeadKind.SEGMENTATION,
    classes=("vitreous", "retina", "fluid", "below"),
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
)
