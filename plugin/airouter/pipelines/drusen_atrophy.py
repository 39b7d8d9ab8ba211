"""Drusen and geographic atrophy on OCT, in age-related macular degeneration.

Volume of drusen within the circles of 3 and 5 mm about the fovea (Gregori G et al. Spectral domain optical coherence
tomography imaging of drusen in nonexudative age-related macular degeneration. Ophthalmology 2011;118:1373-1379),
height and diameter of the largest. Atrophy is where the retina has no pigment epithelium (RPE), over 250 um or more:
the criterion of complete RPE and outer retinal atrophy (Sadda SR et al. Consensus definition for atrophy associated
with age-related macular degeneration on OCT. Ophthalmology 2018;125:537-548) by the RPE alone; photoreceptors and the
transmission of light into the choroid are not looked at.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Region, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.picture import Picture
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging import circle_area, enface
from airouter.imaging.foci import Focus, distance_mm, foci
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy
from airouter.pipelines import macula, macular_grid, retina_regions, retina_surfaces
from airouter.pipelines.macula import Centre
from airouter.pipelines.pipeline import WHOLE_IMAGE, Parameter, Pipeline, Values
from airouter.pipelines.retina_surfaces import DRUSEN, Retina
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    macula.CENTRE,
    # Ferris FL et al. Clinical classification of age-related macular degeneration. Ophthalmology 2013;120:844-851:
    # what is smaller than 63 um comes with age and is no sign of disease.
    Parameter("min_druse_um", 63.0, "um", "least diameter of a druse that is counted", 0.0, 1000.0),
    Parameter("min_druse_height_um", 10.0, "um", "least height of a druse that is counted", 0.0, 200.0),
    Parameter("min_atrophy_um", 250.0, "um", "least dimension of an area of atrophy", 0.0, 2000.0),
    # Our own figure: the shadow of a large retinal vein is about as wide, and a model may lose the RPE in it.
    Parameter("min_atrophy_run_um", 125.0, "um", "least width of atrophy along a B-scan", 0.0, 2000.0),
    Parameter("atrophy_radius_mm", 3.3, "mm", "how far from the centre atrophy is looked for", 1.0, 10.0),
    Parameter("high_drusen_ul", None, "uL", "volume of drusen within 3 mm above which the priority is HIGH", 0.0, 10.0),
    Parameter("high_atrophy_mm2", None, "mm2", "area of atrophy above which the priority is HIGH", 0.0, 100.0),
    macular_grid.MIN_COVERAGE,
    macular_grid.MAX_SLICE,
    *retina_surfaces.PARAMETERS,
)

_CIRCLES: Final[tuple[tuple[float, Code], ...]] = ((1.5, codes.DRUSEN_VOLUME_3), (2.5, codes.DRUSEN_VOLUME_5))
_QUANTITIES: Final = ("volume of drusen", "area of geographic atrophy", "maps of drusen and atrophy")


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """What is seen from the front on an even raster. `heights`: um of drusen per column, NaN where not trusted."""

    spacing: tuple[float, float]
    centre: Centre
    heights: NDArray[np.float64]
    drusen: list[Focus]
    atrophy: list[Focus]
    smaller: int  # areas without RPE below the least dimension


def run(job: Job, images: OctVolume, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Drusen and atrophy of a raster of B-scans; of other scans only the segmentation.

    Ungradable where too many columns show no trustworthy boundary, where the scan is one of the optic disc, or where
    the model asks for a laterality that is missing. Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled,
    and ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    retina = macula.read(images, predict, values, progress)
    if isinstance(retina, Ungradable):
        return retina
    why = macular_grid.no_grid(images, values["max_slice_um"])
    spacing = macula.spacing_mm(images)
    if why or spacing is None:
        return Result(
            findings=(_highest(images, retina),),
            verdict=verdict_of(Ground(Priority.ROUTINE, f"neither volume nor area of lesions: {why}")),
            segmentations=(retina_surfaces.segmentation(images, retina),),
            not_analysed=tuple(NotAnalysed(q, f"not analysed because {why}") for q in _QUANTITIES),
            execution_provider=predict.provider,
        )
    seen = _map(images, retina, spacing, values)
    drusen, missing = _drusen(images, retina, seen, values)
    atrophy, unknown = _atrophy(images, retina, seen, values)
    return Result(
        findings=(drusen, atrophy),
        verdict=_verdict(drusen, atrophy, values),
        segmentations=(retina_surfaces.segmentation(images, retina),),
        not_analysed=(*missing, *unknown),
        execution_provider=predict.provider,
        pictures=_pictures(images, retina, seen),
    )


def _map(volume: OctVolume, retina: Retina, spacing: tuple[float, float], values: Values) -> _Map:
    centre = macula.centre(volume, retina, values)
    heights = retina.height_um(DRUSEN, volume.axial_um)
    with np.errstate(invalid="ignore"):
        lifted = heights > 0
    counted = [
        focus
        for focus in foci(lifted, spacing)
        if 1000 * focus.diameter_mm >= values["min_druse_um"]
        and heights[focus.mask].max() >= values["min_druse_height_um"]
    ]
    bare = retina.trusted & ~retina.rpe_there & _near(retina.ilm.shape, spacing, centre.at, values["atrophy_radius_mm"])
    if (disc := macula.optic_disc(volume, retina)) is not None:
        bare &= ~disc.mask
    run = max(1, round(values["min_atrophy_run_um"] / volume.lateral_um))
    found = foci(ndimage.binary_opening(bare & ~retina.disc, np.ones((1, run))), spacing)
    large = [focus for focus in found if 1000 * focus.greatest_mm >= values["min_atrophy_um"]]
    return _Map(spacing, centre, heights, counted, large, len(found) - len(large))


def _near(
    shape: tuple[int, ...], spacing: tuple[float, float], centre: tuple[float, float], radius_mm: float
) -> NDArray[np.bool_]:
    rows, columns = np.indices(shape)
    return np.asarray(np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1]) <= radius_mm)


def _drusen(volume: OctVolume, retina: Retina, seen: _Map, values: Values) -> tuple[Finding, list[NotAnalysed]]:
    cell_mm2 = seen.spacing[0] * seen.spacing[1]
    known = np.where(retina.trusted, seen.heights, 0.0)
    measured = [Measurement(codes.DRUSEN_VOLUME, float(known.sum()) * cell_mm2 * 1e-3, codes.UL)]
    missing = []
    for radius, name in _CIRCLES:
        weight = circle_area.shares((known.shape[0], known.shape[1]), seen.spacing, seen.centre.at, radius)
        share = circle_area.covered(np.where(retina.trusted, weight, 0.0), seen.spacing, radius)
        if share < values["min_coverage"]:
            reason = f"not analysed because the scan covers {100 * share:.0f} % of the circle"
            missing.append(NotAnalysed(name.meaning, reason))
            continue
        measured.append(Measurement(name, float((known * weight).sum()) * cell_mm2 * 1e-3, codes.UL))
    area = float((known > 0).sum()) * cell_mm2
    measured += [
        Measurement(codes.DRUSEN_EXTENT, area, codes.MM2),
        Measurement(codes.DRUSEN_COUNT, float(len(seen.drusen)), codes.COUNTS),
    ]
    if seen.drusen:
        measured += [
            Measurement(codes.DRUSEN_HEIGHT, float(known.max()), codes.UM),
            Measurement(codes.DRUSEN_DIAMETER, 1000 * max(f.diameter_mm for f in seen.drusen), codes.UM),
        ]
    comment = [seen.centre.comment]
    if not known.any():
        comment.append("No drusen were found; the region is the retina.")
    if 1000 * seen.spacing[0] > 63.0:
        comment.append(f"B-scans {1000 * seen.spacing[0]:.0f} um apart miss drusen between them.")
    comment.append(retina_surfaces.left_out(retina))
    finding = Finding(
        key="drusen",
        label="Drusen",
        finding=codes.DRUSEN,
        region=retina_regions.largest(volume, retina.mask(DRUSEN)) or _of_retina(volume, retina),
        site=codes.EYE,
        laterality=volume.laterality,
        measurements=tuple(measured),
        comment=" ".join(part for part in comment if part),
        method=codes.METHOD_DRUSEN,
    )
    return finding, missing


def _atrophy(volume: OctVolume, retina: Retina, seen: _Map, values: Values) -> tuple[Finding, list[NotAnalysed]]:
    measured = [
        Measurement(codes.ATROPHY_AREA, sum((focus.area_mm2 for focus in seen.atrophy), 0.0), codes.MM2),
        Measurement(codes.ATROPHY_FOCI, float(len(seen.atrophy)), codes.COUNTS),
    ]
    missing: list[NotAnalysed] = []
    evaluations: tuple[Evaluation, ...] = ()
    if seen.atrophy:
        bare = np.any([focus.mask for focus in seen.atrophy], axis=0)
        away = distance_mm(bare, seen.spacing, seen.centre.at)
        if away is not None and (seen.centre.found or values.text("centre") == "scan"):
            measured.append(Measurement(codes.ATROPHY_DISTANCE, 1000 * away, codes.UM))
            evaluations = (Evaluation(codes.CENTRE_INVOLVED, codes.YES if away <= 0.5 else codes.NO),)
        else:
            reason = "not analysed because the fovea was not found"
            missing.append(NotAnalysed("distance of atrophy from the fovea", reason))
    comment = [f"Within {values['atrophy_radius_mm']:g} mm of the centre. {seen.centre.comment}"]
    if not seen.atrophy:
        comment.append("No atrophy was found; the region is the retina.")
    if seen.smaller:
        areas = "area" if seen.smaller == 1 else "areas"
        comment.append(f"{seen.smaller} {areas} without RPE below {values['min_atrophy_um']:g} um do not count.")
    comment.append(retina_surfaces.left_out(retina))
    finding = Finding(
        key="atrophy",
        label="Geographic atrophy",
        finding=codes.GEOGRAPHIC_ATROPHY,
        region=_bare(volume, retina, seen) or _of_retina(volume, retina),
        site=codes.EYE,
        laterality=volume.laterality,
        measurements=tuple(measured),
        evaluations=evaluations,
        comment=" ".join(part for part in comment if part),
        method=codes.METHOD_ATROPHY,
    )
    return finding, missing


def _of_retina(volume: OctVolume, retina: Retina) -> Region:
    return retina_regions.between(volume, retina.ilm, retina.bm)


def _bare(volume: OctVolume, retina: Retina, seen: _Map) -> Region | None:
    """The retina above the longest run of atrophy on the B-scan with most of it."""
    if not seen.atrophy:
        return None
    bare = np.any([focus.mask for focus in seen.atrophy], axis=0)
    plane = int(bare.sum(axis=1).argmax())
    upper = np.where(bare, retina.ilm, np.nan)
    rows = np.arange(volume.rows)[:, None] + 0.5
    with np.errstate(invalid="ignore"):
        mask = (rows >= upper[plane][None]) & (rows < retina.bm[plane][None])
    whole = np.zeros((len(volume), volume.rows, volume.columns), np.bool_)
    whole[plane] = mask
    return retina_regions.largest(volume, whole)


def _highest(volume: OctVolume, retina: Retina) -> Finding:
    """Of a scan that makes no map: the height of what drusen its B-scans show."""
    height = float(np.nanmax(retina.height_um(DRUSEN, volume.axial_um)))
    return Finding(
        key="drusen",
        label="Drusen",
        finding=codes.DRUSEN,
        region=retina_regions.largest(volume, retina.mask(DRUSEN)) or _of_retina(volume, retina),
        site=codes.EYE,
        laterality=volume.laterality,
        measurements=(Measurement(codes.DRUSEN_HEIGHT, height, codes.UM),),
        comment=" ".join(
            part
            for part in (
                "" if height else "No drusen were found; the region is the retina.",
                retina_surfaces.left_out(retina),
            )
            if part
        )
        or None,
        method=codes.METHOD_VOXELS,
    )


def _pictures(volume: OctVolume, retina: Retina, seen: _Map) -> tuple[Picture, ...]:
    sides, _ = anatomy(volume)
    bare = np.zeros(retina.ilm.shape)
    for focus in seen.atrophy:
        bare[focus.mask] = 1.0
    bare = np.where(retina.trusted, bare, np.nan)
    made = []
    for role, label, values, most, unit, circles in (
        ("drusen-picture", "Height of drusen", seen.heights, 150.0, "um", [r for r, _ in _CIRCLES]),
        ("atrophy-picture", "Geographic atrophy", bare, 1.0, "atrophy", [0.5]),
    ):
        shown = enface.turned(values, seen.spacing, sides, volume.laterality, [seen.centre.at])
        title = f"{label}{shown.caveat}"
        rgb = enface.picture(shown, title, 0.0, most, unit, centre=shown.points[0], circles_mm=circles)
        made.append(Picture(role, title, volume.instance_uid, rgb))
    return tuple(made)


def _verdict(drusen: Finding, atrophy: Finding, values: Values) -> Verdict:
    numbers = {m.name: m.value for m in (*drusen.measurements, *atrophy.measurements)}
    within, area = numbers.get(codes.DRUSEN_VOLUME_3), numbers[codes.ATROPHY_AREA]
    grounds = []
    limit = values.get("high_drusen_ul")
    if within is not None and limit is not None and within > limit:
        reason = f"drusen volume within 3 mm {within:.3f} uL is above {limit:g} uL"
        grounds.append(Ground(Priority.HIGH, reason, (drusen.key,)))
    limit = values.get("high_atrophy_mm2")
    if limit is not None and area > limit:
        reason = f"geographic atrophy {area:.2f} mm2 is above {limit:g} mm2"
        grounds.append(Ground(Priority.HIGH, reason, (atrophy.key,)))
    if grounds:
        return verdict_of(*grounds)
    seen = "drusen volume within 3 mm unknown" if within is None else f"drusen volume within 3 mm {within:.3f} uL"
    reason = f"{seen}, geographic atrophy {area:.2f} mm2"
    return verdict_of(Ground(Priority.ROUTINE, reason, (drusen.key, atrophy.key)))


PIPELINE: Final = Pipeline(
    name="drusen-atrophy",
    version="1.0.0",
    modality=Modality.OPT,
    head=HeadKind.SEGMENTATION,
    classes=retina_surfaces.CLASSES,
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    misfit=retina_surfaces.misfit,
)
