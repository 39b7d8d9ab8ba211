"""Progression of one eye's nerve fibre layer over all its scans: trend of the average, and of two quadrants.

Every scan of the eye is measured anew by the same model, as nerve-fibre-layer does. A trend is of scans that were made
alike: where the device, the kind of scan (circle or volume of the disc), the size of its circle or of its pixels
changes, the series is broken, and only its latest stretch is analysed.
"""

from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.picture import Chart
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging import rnfl_sectors
from airouter.imaging.oct import OctVolume
from airouter.imaging.visit import History
from airouter.pipelines import macular_grid, retina_surfaces, rnfl_profile
from airouter.pipelines.pipeline import WHOLE_IMAGE, Extent, Parameter, Pipeline, Values
from airouter.pipelines.rnfl_profile import Profile
from airouter.pipelines.trend import (
    NoTrend,
    Trend,
    chart,
    decimal_year,
    direction,
    measurements,
    said,
    stretches,
    trend,
)
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("min_visits", 4.0, "{counts}", "fewest scans of a trend", 3.0, 100.0, whole=True),
    Parameter("max_p", 0.05, "1", "p-value below which the trend is significant", 0.0, 1.0),
    # Healthy eyes lose 0.5 um per year (Leung CK et al. Retinal nerve fiber layer imaging with spectral-domain optical
    # coherence tomography: a prospective analysis of age-related loss. Ophthalmology 2012;119:731-737). Twice that is
    # our own figure.
    Parameter("high_rnfl_rate", -1.0, "um/a", "significant rate at or below which the priority is HIGH", -50.0, 0.0),
    macular_grid.MIN_COVERAGE,
    *retina_surfaces.PARAMETERS,
)

_QUANTITIES: Final[tuple[tuple[str, Code], ...]] = (
    ("average", codes.RNFL_RATE),
    ("superior", codes.RNFL_SUPERIOR_RATE),
    ("inferior", codes.RNFL_INFERIOR_RATE),
)
_DIAMETER_STEP_MM: Final = 0.2  # circles that differ by less are the same


@dataclass(frozen=True, slots=True)
class _Scan:
    """One scan: when it was taken, what kind it is, and its means in um by quantity, None where not known."""

    taken: str
    year: float
    kind: tuple[str, ...]
    means: dict[str, float | None]

    @property
    def day(self) -> str:
        return f"{self.taken[:4]}-{self.taken[4:6]}-{self.taken[6:8]}"


def run(job: Job, images: History[OctVolume], predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """The trend over the scans of one eye.

    Ungradable where the current scan has no date or no laterality, is neither a circle scan nor a volume of the disc,
    or shows too little. Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled, and ConfigurationError for
    an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    side = images.current.laterality
    if side not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing")
    if decimal_year(images.taken) is None:
        return Ungradable("not analysed because the date of the scan is missing")
    missing = [NotAnalysed(f"scan {each.instance_uid}", each.reason) for each in images.refused]
    scans: list[_Scan] = []
    all_of_them = [*((p.image, p.taken) for p in images.priors), (images.current, images.taken)]
    for volume, taken in all_of_them:
        measured = _scan(volume, taken, predict, values, progress)
        if isinstance(measured, _Scan):
            scans.append(measured)
        elif volume is images.current:
            return measured
        else:
            missing.append(NotAnalysed(f"scan of {taken[:4]}-{taken[4:6]}-{taken[6:8]}", measured.reason))
    runs = stretches(scans, lambda scan: scan.kind)
    notes = _notes(runs)
    latest, earlier = runs[-1], [scan for each in runs[:-1] for scan in each]
    trends = {name: _trend(latest, name, values) for name, _ in _QUANTITIES}
    findings = []
    for name, rate in _QUANTITIES:
        found = trends[name]
        if isinstance(found, NoTrend):
            missing.append(NotAnalysed(f"trend of the {_called(name)}", found.reason))
        else:
            findings.append(_finding(found, name, rate, side, notes, values))
    return Result(
        findings=tuple(findings),
        verdict=_verdict(trends["average"], len(latest), values),
        not_analysed=tuple(missing),
        execution_provider=predict.provider,
        charts=_charts(images.current, latest, earlier, trends["average"], notes),
    )


def _scan(
    volume: OctVolume, taken: str, predict: Predictor, values: Values, progress: ProgressSink
) -> _Scan | Ungradable:
    year = decimal_year(taken)
    if year is None:
        return Ungradable(f"not analysed because its date {taken!r} is none")
    retina = retina_surfaces.read(volume, predict, values, progress)
    if isinstance(retina, Ungradable):
        return retina
    profile = rnfl_profile.profile(volume, retina)
    if profile is None:
        return Ungradable("not analysed because the scan is neither a circle nor a volume of the optic disc")
    if isinstance(profile, Ungradable):
        return profile
    coverage = values["min_coverage"]
    means = {name: profile.sector(rnfl_sectors.QUADRANTS[name], coverage) for name in ("superior", "inferior")}
    average = profile.average(coverage)
    if average is None:
        return Ungradable("not analysed because too little of the circle is trustworthy")
    return _Scan(taken, year, _kind(volume, profile), {"average": average, **means})


def _kind(volume: OctVolume, profile: Profile) -> tuple[str, ...]:
    """What must not change within a series, as words."""
    device = " ".join(str(volume.header.get(k) or "") for k in ("Manufacturer", "ManufacturerModelName")).strip()
    return (
        device,
        profile.kind,
        f"circle of {_DIAMETER_STEP_MM * round(profile.diameter_mm / _DIAMETER_STEP_MM):.1f} mm",
        f"axial pixels of {volume.axial_um:.2f} um",
    )


def _notes(runs: list[tuple[_Scan, ...]]) -> tuple[str, ...]:
    if len(runs) < 2:
        return ()
    before, after = runs[-2][-1].kind, runs[-1][0].kind
    pairs = zip(before, after, strict=True)
    changed = [f"{old or 'unknown device'} to {new or 'unknown device'}" for old, new in pairs if old != new]
    left = sum(len(each) for each in runs[:-1])
    return (
        f"The series is broken on {runs[-1][0].day}: {'; '.join(changed)}. "
        f"{left} scan{'' if left == 1 else 's'} before it left out.",
    )


def _trend(scans: tuple[_Scan, ...], name: str, values: Values) -> Trend | NoTrend:
    known = [(scan.year, mean) for scan in scans if (mean := scan.means[name]) is not None]
    return trend([year for year, _ in known], [mean for _, mean in known], int(values["min_visits"]))


def _called(name: str) -> str:
    return "average RNFL thickness" if name == "average" else f"{name} quadrant of the RNFL"


def _finding(
    found: Trend, name: str, rate: Code, side: Laterality | None, notes: tuple[str, ...], values: Values
) -> Finding:
    return Finding(
        key=f"trend {name}",
        label=f"Trend of the {_called(name)}",
        finding=codes.RNFL_TREND,
        site=codes.EYE,
        laterality=side,
        measurements=measurements(found, rate, codes.UM_PER_YEAR, codes.UM),
        evaluations=(Evaluation(codes.TREND_DIRECTION, direction(found, values["max_p"])),),
        comment=" ".join([f"Trend analysis of the {_called(name)}: {said(found, 'um')}.", *notes]),
        method=codes.METHOD_TREND,
    )


def _charts(
    current: OctVolume, latest: tuple[_Scan, ...], earlier: list[_Scan], found: Trend | NoTrend, notes: tuple[str, ...]
) -> tuple[Chart, ...]:
    def numbers(scans: tuple[_Scan, ...] | list[_Scan]) -> tuple[list[float], list[float]]:
        known = [(scan.year, mean) for scan in scans if (mean := scan.means["average"]) is not None]
        return [year for year, _ in known], [mean for _, mean in known]

    years, means = numbers(latest)
    eye = "right eye" if current.laterality is Laterality.R else "left eye"
    return (
        chart(
            role="rnfl-trend",
            label="Average RNFL thickness over time",
            source=current.instance_uid,
            title=f"Average RNFL thickness, {eye}",
            y_label="RNFL in um",
            years=years,
            values=means,
            found=found,
            notes=(said(found, "um") if isinstance(found, Trend) else found.reason, *notes),
            others=[("Other scans", *numbers(earlier))],
        ),
    )


def _verdict(found: Trend | NoTrend, count: int, values: Values) -> Verdict:
    if isinstance(found, NoTrend):
        return verdict_of(Ground(Priority.ROUTINE, f"no trend: {count} scan{'' if count == 1 else 's'} of one series"))
    changes = f"average RNFL thickness changes by {found.slope:.2f} um per year, p = {found.p:.2g}"
    worse = direction(found, values["max_p"]) == codes.TREND_WORSE and found.slope <= values["high_rnfl_rate"]
    priority = Priority.HIGH if worse else Priority.ROUTINE
    return verdict_of(Ground(priority, f"trend: {changes}", ("trend average",)))


PIPELINE: Final = Pipeline(
    name="rnfl-progression",
    version="1.0.0",
    modality=Modality.OPT,
    head=HeadKind.SEGMENTATION,
    classes=retina_surfaces.CLASSES,
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    misfit=retina_surfaces.misfit,
    extent=Extent.HISTORY,
)
