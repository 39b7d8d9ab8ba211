"""Progression of one eye's visual field over all its tests: trend analysis, and event analysis plainly apart from it.

Trend: the rate of the mean deviation and of the visual field index, and every test point by itself (pointwise linear
regression). Event: a loss from the mean of the first two tests that the latest tests repeat at the same points. Tests
that are unreliable are left out; a change of device, strategy, pattern, stimulus size or normative data breaks the
series, and only its latest stretch is analysed. No model takes part.
"""

from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.picture import Chart
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging.field import VisualField
from airouter.imaging.visit import History
from airouter.pipelines import field_checks, field_reliability
from airouter.pipelines.field_points import cluster, event, worsening
from airouter.pipelines.field_series import Series, index_values, levels_of, series_of, tests_in_words
from airouter.pipelines.pipeline import Extent, Parameter, Pipeline, Values
from airouter.pipelines.trend import (
    NoTrend,
    Trend,
    chart,
    decimal_year,
    direction,
    measurements,
    said,
    trend,
)
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    *field_reliability.PARAMETERS,
    *field_checks.PARAMETERS,
    Parameter("min_visits", 5.0, "{counts}", "fewest reliable tests of a trend", 3.0, 100.0, whole=True),
    Parameter("max_p", 0.05, "1", "p-value below which the trend of an index is significant", 0.0, 1.0),
    Parameter(
        "high_md_rate", -1.0, "dB/a", "significant rate of MD at or below which the priority is HIGH", -40.0, 0.0
    ),
    # Fitzke FW, Hitchings RA, Poinoosawmy D, McNaught AI, Crabb DP. Analysis of visual field progression in glaucoma.
    # Br J Ophthalmol 1996;80:40-48: a slope of -1 dB per year. A p-value of 0.01 as in Gardiner SK, Crabb DP.
    # Examination of different pointwise linear regression methods for determining visual field progression. Invest
    # Ophthalmol Vis Sci 2002;43:1400-1407. Three contiguous points: our own figure.
    Parameter("point_rate", -1.0, "dB/a", "slope of a test point at or below which it worsens", -40.0, 0.0),
    Parameter("point_p", 0.01, "1", "p-value below which the slope of a test point is significant", 0.0, 1.0),
    Parameter(
        "point_cluster", 3.0, "{counts}", "contiguous worsening points that are progression", 1.0, 54.0, whole=True
    ),
    # Three same points in two and three consecutive tests: Heijl A, Leske MC, Bengtsson B, Bengtsson B, Hussein M.
    # Measuring visual field progression in the Early Manifest Glaucoma Trial. Acta Ophthalmol Scand 2003;81:286-293.
    # Their limits of change are the perimeter's and depend on the point and its loss; one limit for all is our own.
    Parameter("event_db", 7.0, "dB", "loss of a test point from baseline that counts as an event", 0.5, 40.0),
    Parameter(
        "event_points", 3.0, "{counts}", "fewest points that repeat their loss in an event", 1.0, 54.0, whole=True
    ),
)

_MD_TREND: Final = "trend mean deviation"  # keys of findings
_POINTS: Final = "pointwise trend"
_EVENT: Final = "event"

_BASELINE: Final = 2
_REPEATS: Final = 2
_NO_POINT: Final = "not analysed because no test point has a sensitivity in every test"


def run(job: Job, images: History[VisualField], predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Trends and event over the tests of one eye.

    Ungradable without laterality or without the date of the current test. Raises ConfigurationError for an impossible
    parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    current = images.current
    side = current.laterality
    if side not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing")
    if decimal_year(images.taken) is None:
        return Ungradable("not analysed because the date of the visual field is missing")
    progress(0, 1, "series of visual fields")
    series = series_of(images, side, values)
    findings: list[Finding] = []
    missing = list(series.left_out)
    md, vfi = _index(series, "md", values), _index(series, "vfi", values)
    for found, name, rate, per_year, unit in (
        (md, "mean deviation", codes.MD_RATE, codes.DB_PER_YEAR, codes.DECIBEL),
        (vfi, "visual field index", codes.VFI_RATE, codes.PERCENT_PER_YEAR, codes.PERCENT),
    ):
        if isinstance(found, NoTrend):
            missing.append(NotAnalysed(f"trend of the {name}", found.reason))
        else:
            findings.append(_trend_finding(found, name, rate, per_year, unit, series, side, values))
    charts = (*_chart(series, "md", md, current), *_chart(series, "vfi", vfi, current))
    points, pointwise = _pointwise(series, side, values)
    happened, change = _event(series, side, values)
    for part in (pointwise, change):
        if isinstance(part, NotAnalysed):
            missing.append(part)
        else:
            findings.append(part)
    progress(1, 1, "series of visual fields")
    return Result(
        findings=tuple(findings),
        verdict=_verdict(md, points, happened, series, values),
        not_analysed=tuple(missing),
        execution_provider=predict.provider,
        charts=charts,
    )


def _index(series: Series, name: str, values: Values) -> Trend | NoTrend:
    years, numbers = index_values(series.tests, name)
    return trend(years, numbers, int(values["min_visits"]))


def _trend_finding(
    found: Trend,
    name: str,
    rate: Code,
    per_year: Code,
    unit: Code,
    series: Series,
    side: Laterality,
    values: Values,
) -> Finding:
    comment = f"Trend analysis of the {name}: {said(found, unit.value)}."
    return Finding(
        key=f"trend {name}",
        label=f"Trend of the {name}",
        finding=codes.FIELD_TREND,
        site=codes.EYE,
        laterality=side,
        measurements=measurements(found, rate, per_year, unit),
        evaluations=(Evaluation(codes.TREND_DIRECTION, direction(found, values["max_p"])),),
        comment=" ".join([comment, *series.notes]),
        method=codes.METHOD_TREND,
    )


def _chart(series: Series, name: str, found: Trend | NoTrend, current: VisualField) -> list[Chart]:
    """The index over time with its trend, none without any value."""
    title, y_label = {"md": ("Mean deviation", "MD in dB"), "vfi": ("Visual field index", "VFI in %")}[name]
    years, numbers = index_values(series.tests, name)
    others = [
        ("Other settings", *index_values(series.earlier, name)),
        ("Unreliable", *index_values(series.unreliable, name)),
    ]
    if not any(len(x) for x in (years, *(x for _, x, _ in others))):
        return []
    eye = "right eye" if current.laterality is Laterality.R else "left eye"
    notes = (said(found, "dB" if name == "md" else "%") if isinstance(found, Trend) else found.reason, *series.notes)
    return [
        chart(
            role=f"{name}-trend",
            label=f"{title} over time",
            source=current.instance_uid,
            title=f"{title}, {eye}",
            y_label=y_label,
            years=years,
            values=numbers,
            found=found,
            notes=notes,
            others=others,
        )
    ]


def _pointwise(series: Series, side: Laterality, values: Values) -> tuple[int, Finding | NotAnalysed]:
    """How many points the largest cluster of worsening has, and the finding."""
    quantity = "pointwise trend of the sensitivities"
    points, levels = levels_of(series, side)
    least = int(values["min_visits"])
    years = [t.year for t in series.tests]
    enough = trend(years, [0.0] * len(years), least)  # the same tests and times for every point
    if isinstance(enough, NoTrend):
        return 0, NotAnalysed(quantity, enough.reason)
    if not points:
        return 0, NotAnalysed(quantity, _NO_POINT)
    worse = worsening(years, points, levels, values["point_rate"], values["point_p"], least)
    largest = cluster(worse, points)
    progressing = len(largest) >= values["point_cluster"]
    where = "; ".join(f"{x:g}, {y:g}" for x, y in largest)
    comment = (
        f"Trend analysis, point by point: worsening is a slope of at most {values['point_rate']:g} dB per year with "
        f"p < {values['point_p']:g}; progression is {values['point_cluster']:g} contiguous such points within one half "
        f"of the field. Points not seen stand at the lowest sensitivity of the test."
    )
    return len(largest) if progressing else 0, Finding(
        key=_POINTS,
        label="Pointwise trend of the visual field",
        finding=codes.FIELD_POINT_TREND,
        site=codes.EYE,
        laterality=side,
        measurements=(
            Measurement(codes.FIELD_POINTS, float(len(points)), codes.COUNTS),
            Measurement(codes.POINTS_WORSENING, float(len(worse)), codes.COUNTS),
            Measurement(codes.POINTS_CLUSTER, float(len(largest)), codes.COUNTS),
            Measurement(codes.RATE_VISITS, float(len(years)), codes.COUNTS),
        ),
        evaluations=(Evaluation(codes.POINT_PROGRESSION, codes.PRESENT if progressing else codes.ABSENT),),
        comment=" ".join([comment, *([f"Largest cluster, degrees: {where}."] if where else []), *series.notes]),
        method=codes.METHOD_POINTWISE,
    )


def _event(series: Series, side: Laterality, values: Values) -> tuple[Code, Finding | NotAnalysed]:
    """The state of the event analysis, and the finding."""
    quantity = "event analysis of the visual field"
    points, levels = levels_of(series, side)
    needed = _BASELINE + _REPEATS
    if len(series.tests) < needed:
        why = f"an event needs {needed} tests or more, two of them baseline, not {len(series.tests)}"
        return codes.EVENT_NONE, NotAnalysed(quantity, f"not analysed because {why}")
    if not points:
        return codes.EVENT_NONE, NotAnalysed(quantity, _NO_POINT)
    floor = max(test.field.floor or 0.0 for test in series.tests)
    found = event(levels, values["event_db"], int(values["event_points"]), floor)
    state = {0: codes.EVENT_NONE, 2: codes.EVENT_SUSPECTED, 3: codes.EVENT_CONFIRMED}[found.tests]
    comment = (
        f"Event analysis, not a rate: {values['event_points']:g} points that have lost {values['event_db']:g} dB or "
        f"more from the mean of the tests of {series.tests[0].day} and {series.tests[1].day}, the same ones in two or "
        f"three consecutive latest tests. The limit is not the perimeter's and does not depend on the point. "
        f"{found.blind} of {len(points)} points were too low at baseline to lose so much."
    )
    where = "; ".join(f"{points[n][0]:g}, {points[n][1]:g}" for n in found.points)
    return state, Finding(
        key=_EVENT,
        label="Event analysis of the visual field",
        finding=codes.FIELD_EVENT,
        site=codes.EYE,
        laterality=side,
        measurements=(
            Measurement(codes.FIELD_POINTS, float(len(points)), codes.COUNTS),
            Measurement(codes.EVENT_POINTS, float(len(found.points)), codes.COUNTS),
            Measurement(codes.RATE_VISITS, float(len(series.tests)), codes.COUNTS),
        ),
        evaluations=(Evaluation(codes.EVENT_STATE, state),),
        comment=" ".join([comment, *([f"Points, degrees: {where}."] if where else []), *series.notes]),
        method=codes.METHOD_EVENT,
    )


def _verdict(md: Trend | NoTrend, points: int, happened: Code, series: Series, values: Values) -> Verdict:
    urgent: list[tuple[str, str]] = []  # reason, and key of the finding
    if (
        isinstance(md, Trend)
        and direction(md, values["max_p"]) == codes.TREND_WORSE
        and md.slope <= values["high_md_rate"]
    ):
        urgent.append((f"trend: mean deviation changes by {md.slope:.2f} dB per year, p = {md.p:.2g}", _MD_TREND))
    if points:
        urgent.append((f"trend: {points} contiguous test points worsen", _POINTS))
    if happened == codes.EVENT_CONFIRMED:
        urgent.append(("event: the same loss from baseline in three consecutive tests", _EVENT))
    if urgent:
        return verdict_of(*(Ground(Priority.HIGH, reason, (key,)) for reason, key in urgent))
    calm: list[tuple[str, str]] = []
    if happened == codes.EVENT_SUSPECTED:
        calm.append(("event: the same loss from baseline in two consecutive tests, to be confirmed", _EVENT))
    if isinstance(md, Trend):
        calm.append((f"trend: mean deviation changes by {md.slope:.2f} dB per year, p = {md.p:.2g}", _MD_TREND))
    if calm:
        return verdict_of(*(Ground(Priority.ROUTINE, reason, (key,)) for reason, key in calm))
    return verdict_of(Ground(Priority.ROUTINE, f"no trend: {tests_in_words(len(series.tests))} of one series"))


PIPELINE: Final = Pipeline(
    name="field-progression",
    version="1.0.0",
    modality=Modality.OPV,
    head=None,
    classes=(),
    run=run,
    parameters=PARAMETERS,
    extent=Extent.HISTORY,
)
