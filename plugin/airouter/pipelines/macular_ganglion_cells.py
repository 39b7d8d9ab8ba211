"""The ganglion cells of the macula: what nerve-fibre-layer measures on a volume of it.

Ganglion cell complex (GCC): ILM to the outer surface of the IPL, with its halves and their asymmetry. Ganglion cell and
inner plexiform layers (GCL and IPL): without the nerve fibres, in six sectors and along the thinnest meridian.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from airouter.domain import codes
from airouter.domain.finding import Finding, Measurement, NotAnalysed, Result
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality
from airouter.imaging import enface
from airouter.imaging import ganglion_cells as gc
from airouter.imaging.enface import Turned
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy
from airouter.pipelines import enface_maps, macula, retina_regions, retina_surfaces
from airouter.pipelines.macula import Centre
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.retina_surfaces import Retina

_NORMAL: Final = "{} that is normal at the site"
_GCL_IPL: Final = "gcl-ipl"  # key of a finding

PARAMETERS: Final = (
    # 82.1 - 2 x 6.2 um (Mwanza JC et al. Profile and predictors of normal ganglion cell-inner plexiform layer thickness
    # measured with frequency-domain optical coherence tomography. Invest Ophthalmol Vis Sci 2011;52:7872-7879).
    Parameter("high_gcl_ipl_um", 70.0, "um", "average GCL and IPL below which the priority is HIGH", 20.0, 150.0),
    Parameter("normal_gcl_ipl_um", None, "um", _NORMAL.format("average GCL and IPL"), 20.0, 200.0),
    Parameter("normal_gcc_inner_um", None, "um", _NORMAL.format("GCC from 1 to 3 mm across"), 30.0, 300.0),
    Parameter("normal_gcc_outer_um", None, "um", _NORMAL.format("GCC from 3 to 6 mm across"), 30.0, 300.0),
)

_GC_SECTORS: Final = {
    "superior": codes.GC_SUPERIOR,
    "nasal superior": codes.GC_NASAL_SUPERIOR,
    "nasal inferior": codes.GC_NASAL_INFERIOR,
    "inferior": codes.GC_INFERIOR,
    "temporal inferior": codes.GC_TEMPORAL_INFERIOR,
    "temporal superior": codes.GC_TEMPORAL_SUPERIOR,
}
_NO_NORMAL: Final = "not analysed because no normative values are configured"
_GCC_SCALE: Final = (40.0, 200.0)
_DIFFERENCE: Final = (-30.0, 30.0)


def result(volume: OctVolume, retina: Retina, centre: Centre, values: Values, provider: str) -> Result:
    """Measurements, maps and verdict of an even raster about a known centre.

    `values` must know PARAMETERS, macular_grid.MIN_COVERAGE. Raises ValueError for a scan that makes no map.
    """
    spacing = macula.spacing_mm(volume)
    if spacing is None:
        raise ValueError("a scan that makes no map")
    sides, unknown = anatomy(volume)
    to = [centre.at]
    gcc = enface.turned((retina.ipl - retina.ilm) * volume.axial_um, spacing, sides, volume.laterality, to)
    gcl = enface.turned((retina.ipl - retina.rnfl) * volume.axial_um, spacing, sides, volume.laterality, to)
    why_no_halves = unknown.get("superior", "")
    whole, missing, across = _complex(gcc, why_no_halves, values)
    parts, lost, average = _layers(gcl, why_no_halves or unknown.get("nasal", ""), volume, values)
    region = retina_regions.between(volume, retina.ilm, retina_regions.known(retina.ipl, retina.bm), centre.at[0])
    comment = " ".join(p for p in (centre.comment, retina_surfaces.left_out(retina)) if p)
    less, no_normal = difference(average, values.get("normal_gcl_ipl_um"), "deviation of GCL and IPL")
    findings = [
        Finding(
            key="gcc",
            label="Ganglion cell complex",
            finding=codes.GANGLION_CELL_COMPLEX,
            region=region,
            site=codes.EYE,
            laterality=volume.laterality,
            measurements=tuple(whole),
            comment=f"ILM to the outer surface of the IPL, circle of 6 mm without the central 1 mm. {comment}",
            method=codes.METHOD_GCC,
        ),
        Finding(
            key=_GCL_IPL,
            label="Ganglion cell and inner plexiform layers",
            finding=codes.GC_IPL_LAYERS,
            region=region,
            site=codes.EYE,
            laterality=volume.laterality,
            measurements=(*parts, *less),
            comment=f"Elliptic ring of 4.8 x 4.0 mm without 1.2 x 1.0 mm. {comment}",
            method=codes.METHOD_GC_IPL,
        ),
    ]
    pictures, maps = enface_maps.maps(volume, gcc, "gcc", "GCC thickness", codes.GCC_THICKNESS, _GCC_SCALE, gc.RING_MM)
    for role, label, made in (
        ("gcc-asymmetry", "GCC hemifield asymmetry", across),
        ("gcc-deviation", "GCC deviation from normal", _deviation(gcc, values)),
    ):
        if made is not None:
            more, further = enface_maps.maps(
                volume, made, role, label, codes.GCC_THICKNESS, _DIFFERENCE, gc.RING_MM, True
            )
            pictures, maps = (*pictures, *more), (*maps, *further)
    if values.get("normal_gcc_inner_um") is None or values.get("normal_gcc_outer_um") is None:
        no_normal.append(NotAnalysed("deviation map of the GCC", _NO_NORMAL))
    return Result(
        findings=tuple(findings),
        verdict=_gc_verdict(average, values),
        segmentations=(retina_surfaces.segmentation(volume, retina),),
        not_analysed=(*missing, *lost, *no_normal, *enface_maps.missing(volume)),
        execution_provider=provider,
        pictures=pictures,
        thickness_maps=maps,
    )


def _complex(
    shown: Turned, why_no_halves: str, values: Values
) -> tuple[list[Measurement], list[NotAnalysed], Turned | None]:
    """Average, halves and asymmetry of the GCC, and the map of the asymmetry."""
    coverage = values["min_coverage"]
    grid = gc.sampled(shown.values, shown.spacing_mm, shown.points[0], gc.RING_MM[1])
    ring = gc.ring(grid)
    measured, missing = [Measurement(codes.RETINAL_ROI_WIDTH, 2 * gc.RING_MM[1], codes.MM)], []
    too_small = f"not analysed because the scan covers less than {100 * coverage:.0f} % of the circle of 6 mm"
    average = gc.mean(grid.values, ring, coverage)
    if average is None:
        missing.append(NotAnalysed("average ganglion cell complex", too_small))
    else:
        measured.append(Measurement(codes.GC_AVERAGE, average, codes.UM))
    if why_no_halves:
        reason = f"not analysed because {why_no_halves}"
        missing += [NotAnalysed(q, reason) for q in ("halves of the ganglion cell complex", "hemifield asymmetry")]
        return measured, missing, None
    upper, lower = (gc.mean(grid.values, ring & part, coverage) for part in (grid.y > 0, grid.y < 0))
    if upper is None or lower is None:
        missing += [NotAnalysed(q, too_small) for q in ("halves of the ganglion cell complex", "hemifield asymmetry")]
    else:
        measured += [
            Measurement(codes.GC_SUPERIOR, upper, codes.UM),
            Measurement(codes.GC_INFERIOR, lower, codes.UM),
            Measurement(codes.HEMIFIELD_ASYMMETRY, upper - lower, codes.UM),
        ]
    across = gc.asymmetry(shown.values, shown.spacing_mm, shown.points[0])
    return measured, missing, replace(shown, values=across)


def _layers(
    shown: Turned, why_no_sectors: str, volume: OctVolume, values: Values
) -> tuple[list[Measurement], list[NotAnalysed], float | None]:
    """Average, minimum and sectors of GCL and IPL."""
    coverage = values["min_coverage"]
    at = shown.points[0]
    grid = gc.sampled(shown.values, shown.spacing_mm, at, gc.OUTER_MM[1])
    measured = [
        Measurement(codes.RETINAL_ROI_WIDTH, 2 * gc.OUTER_MM[1], codes.MM),
        Measurement(codes.RETINAL_ROI_HEIGHT, 2 * gc.OUTER_MM[0], codes.MM),
    ]
    average = gc.mean(grid.values, gc.elliptic_ring(grid), coverage)
    lowest = gc.thinnest(shown.values, shown.spacing_mm, at, coverage)
    if average is None or lowest is None:
        reason = f"not analysed because less than {100 * coverage:.0f} % of the elliptic ring are trustworthy"
        return measured, [NotAnalysed("ganglion cell and inner plexiform layers", reason)], None
    measured += [
        Measurement(codes.GC_AVERAGE, average, codes.UM),
        Measurement(codes.GC_MINIMUM, lowest, codes.UM),
    ]
    if why_no_sectors:
        return (
            measured,
            [NotAnalysed("sectors of GCL and IPL", f"not analysed because {why_no_sectors}")],
            average,
        )
    nasal = 1.0 if volume.laterality is Laterality.R else -1.0
    missing = []
    for name, code in _GC_SECTORS.items():
        value = gc.mean(grid.values, gc.sector(grid, gc.SECTORS[name], nasal), coverage)
        if value is None:
            missing.append(NotAnalysed(code.meaning, "not analysed because too little of the sector is trustworthy"))
        else:
            measured.append(Measurement(code, value, codes.UM))
    return measured, missing, average


def _deviation(shown: Turned, values: Values) -> Turned | None:
    """The GCC minus the site's normal value of its ring; None without normal values."""
    inner, outer = values.get("normal_gcc_inner_um"), values.get("normal_gcc_outer_um")
    if inner is None or outer is None:
        return None
    rows, columns = np.indices(shown.values.shape)
    (row, column), (tall, wide) = shown.points[0], shown.spacing_mm
    away = np.hypot((rows - row) * tall, (columns - column) * wide)
    normal = np.select([away <= gc.RING_MM[0], away <= 1.5, away <= gc.RING_MM[1]], [np.nan, inner, outer], np.nan)
    return replace(shown, values=shown.values - normal)


def _gc_verdict(average: float | None, values: Values) -> Verdict:
    if average is None:
        return verdict_of(Ground(Priority.ROUTINE, "average of GCL and IPL unknown"))
    limit = values["high_gcl_ipl_um"]
    if average < limit:
        reason = f"average of GCL and IPL {average:.0f} um is below {limit:g} um"
        return verdict_of(Ground(Priority.HIGH, reason, (_GCL_IPL,)))
    return verdict_of(Ground(Priority.ROUTINE, f"average of GCL and IPL {average:.0f} um", (_GCL_IPL,)))


def difference(
    average: float | None, normal: float | None, quantity: str
) -> tuple[list[Measurement], list[NotAnalysed]]:
    """An average minus what is normal at the site, or why there is none."""
    if normal is None:
        return [], [NotAnalysed(quantity, _NO_NORMAL)]
    if average is None:
        return [], [NotAnalysed(quantity, "not analysed because there is no average")]
    return [Measurement(codes.NORMAL_DEVIATION, average - normal, codes.UM)], []
