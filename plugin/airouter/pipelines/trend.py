"""The trend of a quantity over the visits of one eye: slope per year by two regressions, its uncertainty, its chart.

Ordinary least squares gives the slope with a confidence interval from Student's t and a p-value (two-sided, against a
slope of zero). Beside it stands a robust slope, which a single bad visit hardly moves: the median of the slopes between
all pairs of visits (Sen PK. Estimates of the regression coefficient based on Kendall's tau. J Am Stat Assoc
1968;63:1379-1389), with its interval and the p-value of Kendall's tau. Both are scipy's.

Least squares takes the visits as independent and their scatter as equal; glaucoma series deviate from both, so a
p-value here is a measure of evidence, not a calibrated error rate.
"""

import datetime
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeVar

import numpy as np
from scipy import stats

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Measurement
from airouter.domain.picture import Chart, Trace

T = TypeVar("T")

DAYS_PER_YEAR: Final = 365.25
_EPOCH: Final = datetime.datetime(2000, 1, 1)
_FEWEST: Final = 3  # two visits make a line without any residual
_STEPS: Final = 40  # points along a drawn line


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through `count` visits. Slopes are in units of the quantity per year.

    `low`, `high`: the confidence interval of `slope`; `p`: its p-value. `robust`: the Theil-Sen slope with its interval
    (None where too many visits are alike to give one) and the p-value of Kendall's tau. `residual_sd`: standard
    deviation about the line, with count - 2 degrees of freedom. `centre`: mean of the times, `level`: mean of the
    values, `spread`: sum of squared deviations of the times.
    """

    slope: float
    low: float
    high: float
    p: float
    robust: float
    robust_low: float | None
    robust_high: float | None
    robust_p: float
    residual_sd: float
    count: int
    first: float
    last: float
    centre: float
    level: float
    spread: float
    confidence: float

    @property
    def years(self) -> float:
        """Time between the first and the last visit."""
        return self.last - self.first

    def at(self, year: float) -> float:
        """The line at a time."""
        return self.level + self.slope * (year - self.centre)

    def band(self, year: float) -> tuple[float, float]:
        """The confidence interval of the line at a time: of the mean, not of a single measurement."""
        scale = self.residual_sd * math.sqrt(1.0 / self.count + (year - self.centre) ** 2 / self.spread)
        half = _quantile(self.confidence, self.count) * scale
        return self.at(year) - half, self.at(year) + half


@dataclass(frozen=True, slots=True)
class NoTrend:
    """Why there is none; `reason` begins with "not analysed because"."""

    reason: str


def trend(years: Sequence[float], values: Sequence[float], least: int, confidence: float = 0.95) -> Trend | NoTrend:
    """The trend of `values` taken at `years` (decimal years, any origin).

    NoTrend for fewer than `least` visits (never fewer than 3) or visits that are all of one time. Raises ValueError
    where the lengths differ, a number is not finite, or the confidence is not between 0 and 1.
    """
    x, y = np.asarray(years, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{len(years)} times of {len(values)} values")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a time or a value is not finite")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence of {confidence}")
    least = max(int(least), _FEWEST)
    if len(x) < least:
        return NoTrend(f"not analysed because a trend needs {least} visits or more, not {len(x)}")
    if x.max() == x.min():
        return NoTrend("not analysed because all visits are of the same time")
    centre, level = float(x.mean()), float(y.mean())
    spread = float(((x - centre) ** 2).sum())
    if y.max() == y.min():  # scipy's correlation of a constant is not a number
        slope, error, p, tau_p = 0.0, 0.0, 1.0, 1.0
    else:
        fitted = stats.linregress(x - centre, y)
        slope, error, p = float(fitted.slope), float(fitted.stderr), float(fitted.pvalue)
        tau_p = float(stats.kendalltau(x, y).pvalue)
    half = _quantile(confidence, len(x)) * error
    with np.errstate(invalid="ignore"):  # the variance of many ties, which ends as an interval of NaN
        robust, _, *ends = (float(v) for v in stats.theilslopes(y, x - centre, confidence))
    robust_low, robust_high = ends if all(math.isfinite(v) for v in ends) else (None, None)
    return Trend(
        slope=slope,
        low=slope - half,
        high=slope + half,
        p=p,
        robust=robust,
        robust_low=robust_low,
        robust_high=robust_high,
        robust_p=tau_p,
        residual_sd=error * math.sqrt(spread),
        count=len(x),
        first=float(x.min()),
        last=float(x.max()),
        centre=centre,
        level=level,
        spread=spread,
        confidence=confidence,
    )


def decimal_year(taken: str) -> float | None:
    """A date of 8 to 14 digits YYYYMMDDHHMMSS as decimal years of 365.25 days, None for an impossible date.

    The whole part is the calendar year but for a few hours about New Year; differences are exact.
    """
    if not 8 <= len(taken) <= 14 or not taken.isdigit():
        return None
    clock = taken[8:].ljust(6, "0")
    try:
        at = datetime.datetime.strptime(taken[:8] + clock, "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return 2000.0 + (at - _EPOCH) / datetime.timedelta(days=DAYS_PER_YEAR)


def stretches(visits: Sequence[T], kind: Callable[[T], Hashable]) -> list[tuple[T, ...]]:
    """Runs of consecutive visits of the same kind, in order: a series broken where, say, the device changes."""
    return [tuple(run) for _, run in groupby(visits, key=kind)]


def chart(
    role: str,
    label: str,
    source: str,
    title: str,
    y_label: str,
    years: Sequence[float],
    values: Sequence[float],
    found: Trend | NoTrend,
    notes: tuple[str, ...] = (),
    others: Sequence[tuple[str, Sequence[float], Sequence[float]]] = (),
) -> Chart:
    """The visits over time; where there is a trend its line, confidence band and robust line.

    `others`: further visits that do not take part in the trend, as (label, years, values).
    """
    traces = [Trace("Visits", "points", tuple(map(float, years)), tuple(map(float, values)))] if len(years) else []
    traces += [Trace(name, "points", tuple(map(float, x)), tuple(map(float, y))) for name, x, y in others if len(x)]
    if isinstance(found, Trend):
        x = tuple(float(v) for v in np.linspace(found.first, found.last, _STEPS))
        bands = [found.band(v) for v in x]
        percent = f"{100 * found.confidence:g} % confidence band"
        middle = float(np.median(np.asarray(values)) - found.robust * np.median(np.asarray(years)))
        traces += [
            Trace(percent, "band", x, tuple(b[0] for b in bands), tuple(b[1] for b in bands)),
            Trace("Least squares", "line", x, tuple(found.at(v) for v in x)),
            Trace("Theil-Sen", "line", x, tuple(middle + found.robust * v for v in x)),
        ]
    return Chart(role, label, source, title, "Year", y_label, tuple(traces), notes)


def measurements(found: Trend, rate: Code, per_year: Code, unit: Code) -> tuple[Measurement, ...]:
    """The trend as numbers: `rate` is the concept of the slope, `per_year` its unit, `unit` that of the quantity."""
    return (
        Measurement(rate, found.slope, per_year),
        Measurement(codes.RATE_LOW, found.low, per_year),
        Measurement(codes.RATE_HIGH, found.high, per_year),
        Measurement(codes.RATE_P, found.p, codes.ONE),
        Measurement(codes.RATE_ROBUST, found.robust, per_year),
        Measurement(codes.RATE_ROBUST_P, found.robust_p, codes.ONE),
        Measurement(codes.RATE_RESIDUAL, found.residual_sd, unit),
        Measurement(codes.RATE_VISITS, float(found.count), codes.COUNTS),
        Measurement(codes.RATE_YEARS, found.years, codes.YEAR),
    )


def direction(found: Trend, max_p: float) -> Code:
    """Worsening where the slope is negative and its p-value below `max_p`, improvement where it is positive."""
    if found.p >= max_p or found.slope == 0.0:
        return codes.TREND_NONE
    return codes.TREND_WORSE if found.slope < 0 else codes.TREND_BETTER


def said(found: Trend, unit: str) -> str:
    """The trend in words, for a comment: slope, interval, p-value, robust slope, residual, visits."""
    sure = found.robust_low is not None and found.robust_high is not None
    robust = f" ({found.robust_low:+.2f} to {found.robust_high:+.2f})" if sure else ""
    return (
        f"least squares {found.slope:+.2f} {unit} per year ({100 * found.confidence:g} % interval "
        f"{found.low:+.2f} to {found.high:+.2f}, p = {found.p:.3g}), "
        f"Theil-Sen {found.robust:+.2f} {unit} per year{robust}, "
        f"residual standard deviation {found.residual_sd:.2f} {unit}, "
        f"{found.count} visits over {found.years:.1f} years"
    )


def _quantile(confidence: float, count: int) -> float:
    """Student's t for a two-sided interval about a line through so many visits."""
    return float(stats.t.ppf(0.5 + confidence / 2, count - 2))
