"""The nerve fibre layer around the optic disc, or the ganglion cells of the macula: what glaucoma thins.

Which of them depends on the scan: a circle about the disc, a volume of the disc, or a volume of the macula. Sectors are
anatomical: those of a left eye mirror those of a right one. Normal values are the site's own; without them a number is
compared with nothing, and the two halves of the macula with each other.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.picture import Picture, ThicknessMap
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging import enface, rnfl_sectors
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy
from airouter.pipelines import (
    enface_maps,
    macula,
    macular_ganglion_cells,
    macular_grid,
    retina_regions,
    retina_surfaces,
    rnfl_profile,
)
from airouter.pipelines.pipeline import WHOLE_IMAGE, Parameter, Pipeline, Values
from airouter.pipelines.retina_surfaces import Retina
from airouter.pipelines.rnfl_profile import Profile
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    macula.CENTRE,
    # Two standard deviations below the mean of healthy eyes: 100.1 - 2 x 11.6 um (Budenz DL et al. Determinants of
    # normal retinal nerve fiber layer thickness measured by Stratus OCT. Ophthalmology 2007;114:1046-1052), rounded.
    Parameter("high_rnfl_um", 75.0, "um", "average RNFL below which the priority is HIGH", 30.0, 150.0),
    # What remains when no fibres do is 49 to 57 um with common devices (Mwanza JC et al. Residual and dynamic range of
    # retinal nerve fiber layer thickness in glaucoma. Invest Ophthalmol Vis Sci 2015;56:6344-6351).
    Parameter("advanced_um", 55.0, "um", "average RNFL below which advanced glaucoma is suspected: STAT", 20.0, 150.0),
    Parameter("normal_rnfl_um", None, "um", "average RNFL that is normal at the site", 30.0, 200.0),
    *macular_ganglion_cells.PARAMETERS,
    macular_grid.MIN_COVERAGE,
    macular_grid.MAX_SLICE,
    *retina_surfaces.PARAMETERS,
)

_QUADRANTS: Final = {
    "superior": codes.RNFL_SUPERIOR,
    "nasal": codes.RNFL_NASAL,
    "inferior": codes.RNFL_INFERIOR,
    "temporal": codes.RNFL_TEMPORAL,
}
_GARWAY_HEATH: Final = {
    "temporal": codes.RNFL_TEMPORAL,
    "temporal superior": codes.RNFL_TEMPORAL_SUPERIOR,
    "nasal superior": codes.RNFL_NASAL_SUPERIOR,
    "nasal": codes.RNFL_NASAL,
    "nasal inferior": codes.RNFL_NASAL_INFERIOR,
    "temporal inferior": codes.RNFL_TEMPORAL_INFERIOR,
}
_BOTH_EYES: Final = ("superior", "inferior")  # the same whichever side is nasal
_USUAL_MM: Final = (3.3, 3.7)  # diameters that values are usually compared at
_RNFL_SCALE: Final = (0.0, 200.0)
_RNFL: Final = "rnfl"  # key of a finding


def run(job: Job, images: OctVolume, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """RNFL of a circle scan or a volume of the disc, ganglion cell complex of a volume of the macula.

    Ungradable where the scan is none of them, where too many columns show no trustworthy boundary, or where the model
    asks for a laterality that is missing. Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled, and
    ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    if images.scan_pattern != "CIRCLE" and (why := macular_grid.no_grid(images, values["max_slice_um"])):
        return Ungradable(f"not analysed because the scan is neither a circle nor an even raster: {why}")
    retina = retina_surfaces.read(images, predict, values, progress)
    if isinstance(retina, Ungradable):
        return retina
    profile = rnfl_profile.profile(images, retina)
    if isinstance(profile, Ungradable):
        return profile
    if profile is not None:
        return _of_the_disc(images, retina, profile, values, predict.provider)
    centre = macula.centre(images, retina, values)
    if not centre.found and values.text("centre") != "scan":
        return Ungradable(
            "not analysed because the middle of the scan shows neither the optic disc nor a clear foveal pit"
        )
    return macular_ganglion_cells.result(images, retina, centre, values, predict.provider)


def _of_the_disc(volume: OctVolume, retina: Retina, profile: Profile, values: Values, provider: str) -> Result:
    least = values["min_coverage"]
    average = profile.average(least)
    missing: list[NotAnalysed] = []
    measured = [Measurement(codes.RETINAL_ROI_WIDTH, profile.diameter_mm, codes.MM)]
    if average is None:
        share = f"not analysed because {100 * profile.covered:.0f} % of the circle have a trustworthy thickness"
        missing.append(NotAnalysed("average RNFL thickness", share))
    else:
        measured.append(Measurement(codes.RNFL_AVERAGE, average, codes.UM))
    quadrants, lost = _sectors(profile, rnfl_sectors.QUADRANTS, _QUADRANTS, least, "quadrants of the RNFL")
    hours, unknown = _clock(profile, least)
    sectors, absent = _sectors(profile, rnfl_sectors.GARWAY_HEATH, _GARWAY_HEATH, least, "Garway-Heath sectors", ())
    missing += [*lost, *unknown, *absent]
    method = codes.METHOD_RNFL_CIRCLE if profile.kind == rnfl_profile.CIRCLE else codes.METHOD_RNFL_CUBE
    region = retina_regions.between(volume, retina.ilm, retina_regions.known(retina.rnfl, retina.bm), _near(profile))
    evaluations: tuple[Evaluation, ...] = ()
    if average is not None:
        low = codes.PRESENT if average < values["advanced_um"] else codes.ABSENT
        evaluations = (Evaluation(codes.GLAUCOMA_BY_RNFL, low),)
    difference, no_normal = macular_ganglion_cells.difference(
        average, values.get("normal_rnfl_um"), "deviation of the RNFL"
    )
    findings = [
        Finding(
            key=_RNFL,
            label="Retinal nerve fibre layer",
            finding=codes.RNFL_LAYER,
            region=region,
            site=codes.EYE,
            laterality=volume.laterality,
            measurements=(*measured, *difference, *quadrants, *hours),
            evaluations=evaluations,
            comment=_disc_comment(profile, retina),
            method=method,
        )
    ]
    if sectors:
        findings.append(
            Finding(
                key="garway-heath",
                label="Sectors of the nerve fibre layer after Garway-Heath",
                finding=codes.RNFL_LAYER,
                region=region,
                site=codes.EYE,
                laterality=volume.laterality,
                measurements=tuple(sectors),
                method=codes.GARWAY_HEATH_SECTORS,
            )
        )
    picture, flat = _disc_map(volume, retina, profile)
    return Result(
        findings=tuple(findings),
        verdict=_rnfl_verdict(average, values),
        segmentations=(retina_surfaces.segmentation(volume, retina),),
        not_analysed=(*missing, *no_normal, *(enface_maps.missing(volume) if picture else ())),
        execution_provider=provider,
        pictures=picture,
        thickness_maps=flat,
    )


def _sectors(
    profile: Profile,
    spans: Mapping[str, tuple[float, float]],
    names: dict[str, Code],
    coverage: float,
    all_of_them: str,
    whichever_side: tuple[str, ...] = _BOTH_EYES,
) -> tuple[list[Measurement], list[NotAnalysed]]:
    """Means of the sectors whose place is known; `whichever_side`: those that need no laterality."""
    if profile.angle is None:
        return [], [NotAnalysed(all_of_them, f"not analysed because {profile.unknown}")]
    measured, missing = [], []
    for name, code in names.items():
        if not profile.sided and name not in whichever_side:
            missing.append(NotAnalysed(code.meaning, f"not analysed because {profile.unknown}"))
            continue
        value = profile.sector(spans[name], coverage)
        if value is None:
            missing.append(NotAnalysed(code.meaning, "not analysed because too little of the sector is trustworthy"))
        else:
            measured.append(Measurement(code, value, codes.UM))
    if missing and not measured and len({m.reason for m in missing}) == 1:
        missing = [NotAnalysed(all_of_them, missing[0].reason)]
    return measured, missing


def _clock(profile: Profile, coverage: float) -> tuple[list[Measurement], list[NotAnalysed]]:
    spans = {str(hour): span for hour, span in enumerate(rnfl_sectors.CLOCK, 1)}
    names = {str(hour): code for hour, code in enumerate(codes.RNFL_CLOCK, 1)}
    return _sectors(profile, spans, names, coverage, "clock hours of the RNFL", ())


def _near(profile: Profile) -> float | None:
    """The B-scan through the disc."""
    return profile.disc.centre[0] if profile.disc is not None else None


def _disc_comment(profile: Profile, retina: Retina) -> str:
    said = [f"{profile.kind[0].upper()}{profile.kind[1:]}, circle of {profile.diameter_mm:.2f} mm."]
    if not _USUAL_MM[0] <= profile.diameter_mm <= _USUAL_MM[1]:
        said.append("Values at another diameter than 3.4 to 3.5 mm cannot be compared with usual ones.")
    if profile.kind == rnfl_profile.CIRCLE and profile.angle is not None:
        said.append("Superior is taken to be up on the localizer.")
    said.append(retina_surfaces.left_out(retina))
    return " ".join(part for part in said if part)


def _disc_map(
    volume: OctVolume, retina: Retina, profile: Profile
) -> tuple[tuple[Picture, ...], tuple[ThicknessMap, ...]]:
    spacing = macula.spacing_mm(volume)
    if spacing is None or profile.disc is None:
        return (), ()
    values = np.where(profile.disc.mask, np.nan, rnfl_profile.thickness_um(volume, retina))
    sides, _ = anatomy(volume)
    shown = enface.turned(values, spacing, sides, volume.laterality, [profile.disc.centre])
    radius = rnfl_profile.DIAMETER_MM / 2
    return enface_maps.maps(volume, shown, "rnfl", "RNFL thickness", codes.RNFL_THICKNESS, _RNFL_SCALE, (radius,))


def _rnfl_verdict(average: float | None, values: Values) -> Verdict:
    if average is None:
        return verdict_of(Ground(Priority.ROUTINE, "average RNFL thickness unknown"))
    for limit, priority, said in (
        (values["advanced_um"], Priority.STAT, "advanced glaucoma suspected: average RNFL thickness"),
        (values["high_rnfl_um"], Priority.HIGH, "average RNFL thickness"),
    ):
        if average < limit:
            return verdict_of(Ground(priority, f"{said} {average:.0f} um is below {limit:g} um", (_RNFL,)))
    return verdict_of(Ground(Priority.ROUTINE, f"average RNFL thickness {average:.0f} um", (_RNFL,)))


PIPELINE: Final = Pipeline(
    name="nerve-fibre-layer",
    version="1.0.0",
    modality=Modality.OPT,
    head=HeadKind.SEGMENTATION,
    classes=retina_surfaces.CLASSES,
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    misfit=retina_surfaces.misfit,
)
