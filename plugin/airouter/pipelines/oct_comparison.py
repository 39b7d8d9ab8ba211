"""Says by how much the retina of an eye became thicker or thinner since its last OCT scan, and whether fluid grew.

The earlier raster is laid on the current one as seen from the front (`imaging.enface_registration`); one that cannot be
laid on it with proof is not compared. Thickness is ILM to Bruch's membrane of the model `retina-layers` on both scans;
the depth at which the retina lies in the frames does not matter to it.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.picture import Picture, Registration, ThicknessMap
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging import enface, etdrs
from airouter.imaging.enface_registration import (
    EnFace,
    RegisteredScan,
    ScanLimits,
    UnregisteredScan,
    register_scans,
    shadows,
    warp,
)
from airouter.imaging.etdrs import Ring, Side
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy
from airouter.imaging.visit import History
from airouter.pipelines import macula, retina_regions, retina_surfaces
from airouter.pipelines.comparison import Chosen, choose, without_prior
from airouter.pipelines.macular_grid import MAX_SLICE, MIN_COVERAGE, no_grid
from airouter.pipelines.pipeline import WHOLE_IMAGE, Extent, Parameter, Pipeline, Values
from airouter.pipelines.retina_surfaces import FLUIDS, IRF, PED, SRF, Retina
from airouter.ports import Predictor, ProgressSink

_LIMITS: Final = ScanLimits()
PARAMETERS: Final = (
    *retina_surfaces.PARAMETERS,
    macula.CENTRE,
    MIN_COVERAGE,
    MAX_SLICE,
    Parameter("min_correlation", _LIMITS.correlation, "1", "least correlation of the shadows of vessels", 0.0, 1.0),
    Parameter("min_lead", _LIMITS.lead, "1", "least lead of that correlation over any other place", 0.0, 1.0),
    Parameter("min_overlap", _LIMITS.overlap, "{ratio}", "least overlap by the smaller of both scans", 0.1, 1.0),
    # Own, about the repeatability of one device on one day; a site should set that of its device.
    Parameter("min_change_um", 10.0, "um", "least change of a thickness that is called a change", 0.0, 1000.0),
    Parameter("min_change_ul", 0.01, "uL", "least change of a volume of fluid that is called a change", 0.0, 100.0),
    # A change of the central subfield beyond 11 % is likely to be real (Diabetic Retinopathy Clinical Research Network,
    # Krzystolik MG et al. Reproducibility of macular thickness and volume using Zeiss optical coherence tomography in
    # patients with diabetic macular edema. Ophthalmology 2007;114:1520-1525).
    Parameter("high_change", 0.11, "{ratio}", "rise of the central subfield thickness from which HIGH", 0.0, 10.0),
    Parameter("high_change_ul", 0.05, "uL", "rise of intra- and subretinal fluid from which HIGH", 0.0, 100.0),
)

_FLUIDS: Final = (
    (IRF, "Intraretinal fluid", codes.INTRARETINAL_FLUID),
    (SRF, "Subretinal fluid", codes.SUBRETINAL_FLUID),
    (PED, "Pigment epithelial detachment", codes.PIGMENT_EPITHELIAL_DETACHMENT),
)
_COMPARISON: Final = "comparison"  # key of a finding
_SCALE_UM: Final = 100.0  # ends of the colours of the picture


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """An earlier scan on the current one."""

    retina: Retina = field(repr=False)
    how: RegisteredScan


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """Maps [B-scans, columns] on the current raster, NaN outside of the overlap: thickness in um now and then, and of
    each fluid its height in um."""

    now: NDArray[np.float64] = field(repr=False)
    then: NDArray[np.float64] = field(repr=False)
    fluid: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(repr=False)
    cell_mm2: float

    @property
    def overlap(self) -> NDArray[np.bool_]:
        return np.isfinite(self.now) & np.isfinite(self.then)

    @property
    def difference(self) -> NDArray[np.float64]:
        return self.now - self.then

    def volumes(self, label: int) -> tuple[float, float]:
        """Of a fluid now and then, in uL, in the overlap."""
        now, then = (
            float(np.nansum(np.where(self.overlap, each, np.nan))) * 1e-3 * self.cell_mm2 for each in self.fluid[label]
        )
        return now, then


def run(job: Job, images: History[OctVolume], predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Change of thickness and fluid since the latest earlier study, within what both scans show.

    Ungradable with the reason without an earlier scan of this eye, without dates, where a scan makes no map, and where
    none can be laid on the current one. Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled,
    ConfigurationError.
    """
    values = Values(PARAMETERS, predict.model, job)
    current = images.current
    if current.laterality not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing: earlier scans cannot be told by eye")
    if (why := no_grid(current, values["max_slice_um"])) is not None:
        return Ungradable(f"not analysed because {why}")
    if (nothing := without_prior(images, "scan")) is not None:
        return nothing
    frames = sum(len(each.image) for each in images.priors) + len(current)
    before = 0

    def told(done: int, total: int, unit: str) -> None:
        progress(before + done, frames, unit)

    retina = macula.read(current, predict, values, told)
    if isinstance(retina, Ungradable):
        return retina
    before = len(current)
    ours = _shadows(current, retina)
    limits = ScanLimits(correlation=values["min_correlation"], lead=values["min_lead"], overlap=values["min_overlap"])

    def lay(earlier: OctVolume) -> _Laid | str:
        nonlocal before
        if (why := no_grid(earlier, values["max_slice_um"]) or _other_way(current, earlier)) is not None:
            return why
        theirs = retina_surfaces.read(earlier, predict, values, told)
        before += len(earlier)
        if isinstance(theirs, Ungradable):
            return theirs.reason.removeprefix("not analysed because ")
        found = register_scans(ours, _shadows(earlier, theirs), limits)
        return found.reason if isinstance(found, UnregisteredScan) else _Laid(theirs, found)

    chosen = choose(images, "scan", lay, lambda laid: laid.how.quality.correlation)
    if isinstance(chosen, Ungradable):
        return chosen
    progress(frames, frames, "B-scans")
    compared = _compare(current, retina, chosen)
    centre = macula.centre(current, retina, values)
    fields = _fields(current, compared, centre.at, values)
    picture, difference = _maps(current, compared, centre.at, chosen.day)
    registrations, unwritten = _registration(current, chosen)
    return Result(
        findings=(
            _comparison(current, retina, compared, chosen, centre, fields, values),
            _earlier(chosen),
            *(_wet(current, retina, compared, values, *fluid) for fluid in _FLUIDS),
        ),
        verdict=_verdict(fields, compared, chosen, values),
        not_analysed=(*chosen.others, *fields.missing, *_uncovered(compared), *unwritten),
        execution_provider=predict.provider,
        pictures=(picture,),
        thickness_maps=(difference,),
        registrations=registrations,
    )


def _other_way(current: OctVolume, earlier: OctVolume) -> str | None:
    """Scans that run in different directions are not brought together."""
    ours, theirs = anatomy(current)[0], anatomy(earlier)[0]
    if any(theirs.get(side, name) != name for side, name in ours.items()):
        return "its B-scans run in another direction"
    return None


def _shadows(volume: OctVolume, retina: Retina) -> EnFace:
    assert volume.slice_um is not None  # `_no_map` has asked
    frames = (volume.frame(number) for number in range(1, len(volume) + 1))
    return shadows(frames, retina.bm, volume.slice_um, volume.lateral_um, volume.axial_um)


def _compare(current: OctVolume, retina: Retina, chosen: Chosen[OctVolume, _Laid]) -> _Compared:
    assert current.slice_um is not None  # `_no_map` has asked
    prior, theirs, matrix = chosen.earlier.image, chosen.laid.retina, chosen.laid.how.matrix

    def both(
        ours: NDArray[np.float64], earlier: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return ours, warp(earlier, matrix, (ours.shape[0], ours.shape[1]))

    now, then = both((retina.bm - retina.ilm) * current.axial_um, (theirs.bm - theirs.ilm) * prior.axial_um)
    known = np.isfinite(now) & np.isfinite(then)
    return _Compared(
        np.where(known, now, np.nan),
        np.where(known, then, np.nan),
        {
            label: both(retina.height_um(label, current.axial_um), theirs.height_um(label, prior.axial_um))
            for label in FLUIDS
        },
        current.slice_um * current.lateral_um * 1e-6,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Measurements of the nine fields and what is missing; of the central one its thickness now and then in um."""

    measured: tuple[Measurement, ...]
    missing: tuple[NotAnalysed, ...]
    now: float | None
    then: float | None


def _fields(volume: OctVolume, compared: _Compared, at: tuple[float, float], values: Values) -> _Fields:
    assert volume.slice_um is not None  # `_no_map` has asked
    now, then, change = (
        etdrs.fields(each.astype(np.float32), volume.slice_um, volume.lateral_um, at)
        for each in (compared.now, compared.then, compared.difference)
    )
    sides, unknown = anatomy(volume)
    measured, missing = [], []
    for (ring, side), field_ in change.items():
        if ring is not Ring.CENTRAL and side not in sides:
            continue
        name = codes.ETDRS_CHANGES["centre" if ring is Ring.CENTRAL else f"{ring} {sides[side]}"]
        if field_.coverage >= values["min_coverage"]:
            measured.append(Measurement(name, field_.mean, codes.UM))
        else:
            why = f"not analysed because both scans cover {100 * field_.coverage:.0f} % of the field"
            missing.append(NotAnalysed(name.meaning, why))
    for direction, reason in unknown.items():
        missing.append(NotAnalysed(f"change of the {direction} fields", f"not analysed because {reason}"))
    central = (Ring.CENTRAL, Side.NONE)
    if change[central].coverage < values["min_coverage"]:
        return _Fields(tuple(measured), tuple(missing), None, None)
    pair = now[central].mean, then[central].mean
    thickness = (Measurement(codes.CST, pair[0], codes.UM), Measurement(codes.THICKNESS_THEN, pair[1], codes.UM))
    return _Fields((*thickness, *measured), tuple(missing), *pair)


def _comparison(
    current: OctVolume,
    retina: Retina,
    compared: _Compared,
    chosen: Chosen[OctVolume, _Laid],
    centre: macula.Centre,
    fields: _Fields,
    values: Values,
) -> Finding:
    quality = chosen.laid.how.quality
    with np.errstate(invalid="ignore"):
        thicker = float((compared.difference >= values["min_change_um"]).sum()) * compared.cell_mm2
    evaluations: tuple[Evaluation, ...] = ()
    if fields.now is not None and fields.then is not None:
        evaluations = (Evaluation(codes.CHANGE, _direction(fields.now - fields.then, values["min_change_um"])),)
    return Finding(
        key=_COMPARISON,
        label=f"Compared with {chosen.day}",
        finding=codes.PRIOR_COMPARISON,
        region=retina_regions.between(current, retina.ilm, retina.bm, centre.at[0]),
        site=codes.EYE,
        laterality=current.laterality,
        measurements=(
            Measurement(codes.INTERVAL, chosen.days, codes.DAY),
            Measurement(codes.OVERLAP_SHARE, 100.0 * float(compared.overlap.mean()), codes.PERCENT),
            Measurement(codes.VESSEL_CORRELATION, quality.correlation, codes.ONE),
            *fields.measured,
            Measurement(codes.THICKENED_AREA, thicker, codes.MM2),
        ),
        evaluations=evaluations,
        comment=f"Compared with the scan of {chosen.day}, {chosen.days} days before. Thickness is ILM to Bruch's "
        f"membrane, only where both scans cover it. Less than {values['min_change_um']:g} um is no change. "
        f"{centre.comment}".strip(),
        method=codes.METHOD_OCT_CHANGE,
    )


def _direction(change: float, least: float) -> Code:
    if abs(change) < least:
        return codes.CHANGE_NONE
    return codes.CHANGE_GROWN if change > 0 else codes.CHANGE_SHRUNK


def _earlier(chosen: Chosen[OctVolume, _Laid]) -> Finding:
    volume, retina = chosen.earlier.image, chosen.laid.retina
    return Finding(
        key="earlier",
        label=f"Scan of {chosen.day}",
        finding=codes.PRIOR_IMAGE,
        region=retina_regions.between(volume, retina.ilm, retina.bm),
        site=codes.EYE,
        laterality=volume.laterality,
        comment="The region is the retina on a B-scan of the earlier scan.",
    )


def _wet(
    volume: OctVolume, retina: Retina, compared: _Compared, values: Values, label: int, name: str, code: Code
) -> Finding:
    now, then = compared.volumes(label)
    mask = retina.mask(label)
    region = retina_regions.largest(volume, mask) or retina_regions.between(volume, retina.ilm, retina.bm)
    none = "" if mask.any() else "None was found in the current scan; the region is the retina. "
    return Finding(
        key=_key(name),
        label=f"{name}, then and now",
        finding=code,
        region=region,
        site=codes.EYE,
        laterality=volume.laterality,
        measurements=(
            Measurement(codes.FLUID_VOLUME, now, codes.UL),
            Measurement(codes.FLUID_THEN, then, codes.UL),
            Measurement(codes.FLUID_CHANGE, now - then, codes.UL),
        ),
        evaluations=(Evaluation(codes.CHANGE, _wetter(now, then, values["min_change_ul"])),),
        comment=f"{none}Volumes are of what both scans cover. Less than {values['min_change_ul']:g} uL is no change.",
        method=codes.METHOD_OCT_CHANGE,
    )


def _key(fluid: str) -> str:
    """Key of the finding of a kind of fluid."""
    return f"fluid/{fluid.lower()}"


def _wetter(now: float, then: float, least: float) -> Code:
    change = _direction(now - then, least)
    if change is codes.CHANGE_GROWN and then == 0:
        return codes.CHANGE_NEW
    return codes.CHANGE_GONE if change is codes.CHANGE_SHRUNK and now == 0 else change


def _uncovered(compared: _Compared) -> list[NotAnalysed]:
    outside = 1.0 - float(compared.overlap.mean())
    if outside <= 0.05:
        return []
    why = f"not analysed because {100 * outside:.0f} % of the scan are not covered, or not trusted, in both scans"
    return [NotAnalysed("change outside of the overlap", why)]


def _maps(volume: OctVolume, compared: _Compared, at: tuple[float, float], day: str) -> tuple[Picture, ThicknessMap]:
    assert volume.slice_um is not None  # `_no_map` has asked
    spacing = (volume.slice_um / 1000.0, volume.lateral_um / 1000.0)
    shown = enface.turned(compared.difference, spacing, anatomy(volume)[0], volume.laterality, [at])
    label = f"Change of retinal thickness since {day}" + ("" if shown.anatomical else ", as scanned")
    rgb = enface.picture(
        shown,
        f"Change since {day}",
        -_SCALE_UM,
        _SCALE_UM,
        diverging=True,
        centre=shown.points[0],
        circles_mm=etdrs.RADII_MM,
        cross=True,
    )
    return Picture("change-picture", label, volume.instance_uid, rgb), ThicknessMap(
        role="change-map",
        label=label,
        source=volume.instance_uid,
        values=shown.values.astype(np.float32),
        spacing_mm=shown.spacing_mm,
        definition=codes.RETINAL_THICKNESS_ILM_BM,
        deviation=True,
        anatomical=shown.anatomical,
    )


def _registration(
    current: OctVolume, chosen: Chosen[OctVolume, _Laid]
) -> tuple[tuple[Registration, ...], tuple[NotAnalysed, ...]]:
    """How both scans lie in space, where their headers say where their frames lie."""
    prior = chosen.earlier.image
    if not all(each.positions and each.header.get("FrameOfReferenceUID") for each in (current, prior)):
        why = "not analysed because the positions of the B-scans are missing"
        return (), (NotAnalysed("spatial registration", why),)
    return (
        Registration(
            role="registration",
            label=f"Scan of {chosen.day} on the current one",
            fixed=current.instance_uid,
            moving=prior.instance_uid,
            matrix=chosen.laid.how.matrix,
            kind="RIGID",
        ),
    ), ()


def _verdict(fields: _Fields, compared: _Compared, chosen: Chosen[OctVolume, _Laid], values: Values) -> Verdict:
    grounds, seen = [], "no central subfield thickness to compare"
    if fields.now is not None and fields.then is not None:
        rise = fields.now - fields.then
        seen = f"central subfield thickness {fields.then:.0f} to {fields.now:.0f} um since {chosen.day}"
        if abs(rise) < values["min_change_um"]:
            seen = f"no change of the central subfield beyond {values['min_change_um']:g} um since {chosen.day}"
        elif rise >= values["high_change"] * fields.then:
            reason = f"{seen}, a rise of {values['high_change'] * 100:g} % or more"
            grounds.append(Ground(Priority.HIGH, reason, (_COMPARISON,)))
    rises = {label: now - then for label in (IRF, SRF) for now, then in (compared.volumes(label),)}
    wetter = sum(rises.values())
    if wetter >= max(values["high_change_ul"], values["min_change_ul"]) > 0:
        rose = tuple(_key(name) for label, name, _ in _FLUIDS if rises.get(label, 0.0) > 0)
        reason = f"intra- and subretinal fluid rose by {wetter:.3f} uL since {chosen.day}"
        grounds.append(Ground(Priority.HIGH, reason, rose))
    return verdict_of(*grounds, Ground(Priority.ROUTINE, seen, (_COMPARISON,)))


PIPELINE: Final = Pipeline(
    name="oct-comparison",
    version="1.0.0",
    modality=Modality.OPT,
    head=HeadKind.SEGMENTATION,
    classes=retina_surfaces.CLASSES,
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    misfit=retina_surfaces.misfit,
    extent=Extent.PRIOR,
)
