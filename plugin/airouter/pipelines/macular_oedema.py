"""Macular oedema on OCT: thickness in the ETDRS grid, macular volume, and fluid by where it lies.

Thickness is the axial distance from the internal limiting membrane (ILM) to Bruch's membrane, as the model
(`pipelines.retina_surfaces`) sees them: fluid, drusen and a detached pigment epithelium are within it. The grid lies
about the foveal pit where that is clear, else about the middle of the scan, and the report says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.picture import Picture, ThicknessMap
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging import circle_area, enface, etdrs, layers
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy, raster_problem
from airouter.pipelines import enface_maps, macula, macular_grid, retina_regions, retina_surfaces
from airouter.pipelines.macula import Centre
from airouter.pipelines.macular_grid import Grid
from airouter.pipelines.pipeline import WHOLE_IMAGE, Parameter, Pipeline, Values
from airouter.pipelines.retina_surfaces import IRF, PED, SRF, Retina
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    macula.CENTRE,
    macular_grid.HIGH_CST,
    Parameter("high_fluid_ul", 0.01, "uL", "intra- and subretinal fluid above which the priority is HIGH", 0.0, 100.0),
    Parameter(
        "high_fluid_mm2", 0.01, "mm2", "area of that fluid on one B-scan above which the priority is HIGH", 0.0, 100.0
    ),
    Parameter("high_ped_ul", None, "uL", "fluid below a detached RPE above which the priority is HIGH", 0.0, 100.0),
    macular_grid.MIN_COVERAGE,
    macular_grid.MAX_SLICE,
    *retina_surfaces.PARAMETERS,
)

_KINDS: Final[tuple[tuple[int, str, str, Code], ...]] = (
    (IRF, "irf", "Intraretinal fluid", codes.INTRARETINAL_FLUID),
    (SRF, "srf", "Subretinal fluid", codes.SUBRETINAL_FLUID),
    (PED, "ped", "Pigment epithelial detachment", codes.PIGMENT_EPITHELIAL_DETACHMENT),
)
_CENTRAL_MM: Final = etdrs.RADII_MM[0]
_THICKNESS: Final = "macula"  # key of a finding
_SCALE_UM: Final = (150.0, 500.0)  # of the picture


@dataclass(frozen=True, slots=True)
class _Fluid:
    """One kind of fluid: how much (volume or area), how much of it in the central subfield (None: not known)."""

    amount: Measurement
    central: Measurement | None


def run(job: Job, images: OctVolume, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Thickness, volumes and fluid, each only where the scan supports it.

    Ungradable where too many columns show no trustworthy boundary, where the scan is one of the optic disc, or where
    the model asks for a laterality that is missing. Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled,
    and ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    retina = macula.read(images, predict, values, progress)
    if isinstance(retina, Ungradable):
        return retina
    thickness = layers.thickness_um(retina.ilm, retina.bm, images.axial_um)
    centre = macula.centre(images, retina, values)
    grid = macular_grid.grid(images, thickness, values["min_coverage"], values["max_slice_um"], centre.at)
    wet = {label: _fluid(images, retina, label, centre) for label, *_ in _KINDS}
    why_no_map = macular_grid.no_grid(images, values["max_slice_um"])
    pictures, maps = _maps(images, thickness, centre) if why_no_map is None else ((), ())
    findings = (_thickness_finding(images, retina, thickness, centre, grid), *_fluid_findings(images, retina, wet))
    return Result(
        findings=findings,
        verdict=_verdict(grid.cst, wet, values),
        segmentations=(retina_surfaces.segmentation(images, retina),),
        not_analysed=(*grid.missing, *_missing(images, why_no_map, findings[0])),
        execution_provider=predict.provider,
        pictures=pictures,
        thickness_maps=maps,
    )


def _thickness_finding(
    volume: OctVolume, retina: Retina, thickness: NDArray[np.float64], centre: Centre, grid: Grid
) -> Finding:
    measured = list(grid.measured)
    point = macula.at_point(thickness, centre.at)
    if grid.cst is not None and np.isfinite(point):
        measured.insert(0, Measurement(codes.CENTRE_POINT_THICKNESS, point, codes.UM))
    comment = [centre.comment if grid.measured and not macular_grid.is_line(volume) else ""]
    if macular_grid.is_line(volume):
        comment.append("Means along one B-scan, over its whole length and its central 1 mm; not an ETDRS subfield.")
    elif not measured:
        comment.append("The region is the retina on the middle B-scan.")
    comment += ["Thickness from the ILM to Bruch's membrane.", retina_surfaces.left_out(retina)]
    return Finding(
        key=_THICKNESS,
        label="Macular thickness",
        finding=codes.RETINA,
        region=retina_regions.between(volume, retina.ilm, retina.bm, centre.at[0]),
        site=codes.EYE,
        laterality=volume.laterality,
        measurements=tuple(measured),
        comment=" ".join(part for part in comment if part),
        method=codes.METHOD_MACULA,
    )


def _fluid(volume: OctVolume, retina: Retina, label: int, centre: Centre) -> _Fluid:
    mask = retina.mask(label)
    pixel_mm2 = volume.axial_um * volume.lateral_um * 1e-6
    spacing = macula.spacing_mm(volume)
    if spacing is None:
        largest = float(mask.sum(axis=(1, 2)).max())
        return _Fluid(Measurement(codes.FLUID_AREA, largest * pixel_mm2, codes.MM2), None)
    columns = mask.sum(axis=1) * pixel_mm2 * spacing[0]  # uL in each column
    weight = circle_area.shares((columns.shape[0], columns.shape[1]), spacing, centre.at, _CENTRAL_MM)
    seen = circle_area.covered(np.where(retina.trusted, weight, 0.0), spacing, _CENTRAL_MM)
    inside = Measurement(codes.FLUID_CENTRAL, float((columns * weight).sum()), codes.UL)
    return _Fluid(
        Measurement(codes.FLUID_VOLUME, float(columns.sum()), codes.UL), inside if seen >= 0.9 or inside.value else None
    )


def _fluid_findings(volume: OctVolume, retina: Retina, wet: dict[int, _Fluid]) -> list[Finding]:
    made = []
    for label, key, name, code in _KINDS:
        found, mask = wet[label], retina.mask(label)
        central = found.central
        comment = [] if mask.any() else [f"No {name[0].lower()}{name[1:]} was found; the region is the retina."]
        if missing := retina_surfaces.left_out(retina):
            comment.append(f"{missing} Fluid there is not measured.")
        involved = codes.YES if central is not None and central.value > 0 else codes.NO
        made.append(
            Finding(
                key=key,
                label=name,
                finding=code,
                region=retina_regions.largest(volume, mask) or retina_regions.between(volume, retina.ilm, retina.bm),
                site=codes.EYE,
                laterality=volume.laterality,
                measurements=(found.amount, *((central,) if central is not None else ())),
                evaluations=(Evaluation(codes.CENTRE_INVOLVED, involved),) if central is not None else (),
                comment=" ".join(comment) or None,
                method=codes.METHOD_VOXELS,
            )
        )
    return made


def _missing(volume: OctVolume, why_no_map: str | None, thickness: Finding) -> list[NotAnalysed]:
    found = []
    if why := raster_problem(volume):
        why = "one B-scan has no volume" if macular_grid.is_line(volume) else why
        found.append(NotAnalysed("volume of retinal fluid", f"not analysed because {why}"))
        found.append(NotAnalysed("fluid within the central subfield", f"not analysed because {why}"))
    if why_no_map:
        found.append(NotAnalysed("thickness map", f"not analysed because {why_no_map}"))
    else:
        found += enface_maps.missing(volume)
    if codes.CENTRE_POINT_THICKNESS not in {m.name for m in thickness.measurements}:
        why = why_no_map or "the centre has no trustworthy boundary or its surroundings are not covered by the scan"
        found.append(NotAnalysed("centre point thickness", f"not analysed because {why}"))
    return found


def _maps(
    volume: OctVolume, thickness: NDArray[np.float64], centre: Centre
) -> tuple[tuple[Picture, ...], tuple[ThicknessMap, ...]]:
    spacing = macula.spacing_mm(volume)
    if spacing is None:
        return (), ()
    sides, _ = anatomy(volume)
    shown = enface.turned(thickness, spacing, sides, volume.laterality, [centre.at])
    definition = codes.RETINAL_THICKNESS_ILM_BM
    return enface_maps.maps(
        volume, shown, "thickness", "Retinal thickness ILM-BM", definition, _SCALE_UM, etdrs.RADII_MM, cross=True
    )


def _verdict(cst: float | None, wet: dict[int, _Fluid], values: Values) -> Verdict:
    amounts = {label: found.amount for label, found in wet.items()}
    unit = amounts[IRF].unit
    by_area = amounts[IRF].name == codes.FLUID_AREA
    retinal = amounts[IRF].value + amounts[SRF].value
    limit = values["high_fluid_mm2" if by_area else "high_fluid_ul"]
    keys = {label: key for label, key, *_ in _KINDS}
    fluid = tuple(keys[label] for label in (IRF, SRF) if amounts[label].value > 0)
    grounds = []
    if retinal > limit:
        where = _involving([wet[IRF], wet[SRF]])
        reason = f"intra- and subretinal fluid {retinal:.3f} {unit.value} is above {limit:g} {unit.value}{where}"
        grounds.append(Ground(Priority.HIGH, reason, fluid))
    if cst is not None and cst > values["high_cst_um"]:
        reason = f"central subfield thickness {cst:.0f} um is above {values['high_cst_um']:g} um"
        grounds.append(Ground(Priority.HIGH, reason, (_THICKNESS,)))
    most = values.get("high_ped_ul")
    if most is not None and not by_area and amounts[PED].value > most:
        reason = f"pigment epithelial detachment {amounts[PED].value:.3f} uL is above {most:g} uL"
        grounds.append(Ground(Priority.HIGH, reason, (keys[PED],)))
    if grounds:
        return verdict_of(*grounds)
    seen = "no central subfield thickness" if cst is None else f"central subfield thickness {cst:.0f} um"
    reason = f"{seen}, intra- and subretinal fluid {retinal:.3f} {unit.value}"
    return verdict_of(Ground(Priority.ROUTINE, reason, (_THICKNESS, keys[IRF], keys[SRF])))


def _involving(found: Sequence[_Fluid]) -> str:
    """Whether fluid lies in the central subfield, for a reason; nothing where that is not known."""
    if any(each.central is not None and each.central.value > 0 for each in found):
        return ", centre involved"
    return ", centre not involved" if all(each.central is not None for each in found) else ""


PIPELINE: Final = Pipeline(
    name="macular-oedema",
    version="1.0.0",
    modality=Modality.OPT,
    head=HeadKind.SEGMENTATION,
    classes=retina_surfaces.CLASSES,
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    misfit=retina_surfaces.misfit,
)
