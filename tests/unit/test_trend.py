"""The trend of a quantity: a case worked by hand, and laws of every straight line."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from airouter.domain import codes
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

# Five visits a year apart, worked by hand: mean -1.98, sum of products -10.4, of squares 10, of residuals 0.392.
YEARS, VALUES = [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, -1.0, -1.5, -3.4, -4.0]
T_3 = 3.182446305284263  # two-sided 95 % quantile of Student's t with 3 degrees of freedom, from a table


def found(years, values, least=3, **options):
    made = trend(years, values, least, **options)
    assert isinstance(made, Trend), made
    return made


def test_a_case_worked_by_hand():
    made = found(YEARS, VALUES, 5)
    assert made.slope == pytest.approx(-1.04)
    error = math.sqrt(0.392 / 3 / 10)
    assert made.high - made.slope == pytest.approx(T_3 * error)
    assert made.slope - made.low == pytest.approx(T_3 * error)
    assert made.residual_sd == pytest.approx(math.sqrt(0.392 / 3))
    assert made.p == pytest.approx(2 * stats.t.sf(1.04 / error, 3))
    # slopes of the ten pairs: -1.9 -1.25 -1.2 -1.133 -1 -1 -1 -0.75 -0.6 -0.5
    assert made.robust == pytest.approx(-1.0)
    assert made.at(2.0) == pytest.approx(-1.98)
    low, high = made.band(2.0)
    assert high - low == pytest.approx(2 * T_3 * math.sqrt(0.392 / 3 / 5))
    assert (made.count, made.years) == (5, 4.0)


def test_the_band_is_narrowest_in_the_middle():
    made = found(YEARS, VALUES)
    width = [high - low for low, high in map(made.band, YEARS)]
    assert width[2] < width[1] < width[0]
    assert width == pytest.approx(width[::-1])


@pytest.mark.parametrize(("least", "visits"), [(5, 4), (1, 2), (3, 0), (6, 5)])
def test_too_few_visits_are_no_trend(least, visits):
    made = trend(YEARS[:visits], VALUES[:visits], least)
    assert isinstance(made, NoTrend)
    assert made.reason.startswith("not analysed because")
    assert f"needs {max(least, 3)} visits or more, not {visits}" in made.reason


def test_visits_of_one_day_are_no_trend():
    assert "same time" in trend([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 3).reason


def test_what_never_changes_has_no_slope_and_no_evidence_of_one():
    made = found(YEARS, [-3.0] * 5)
    assert (made.slope, made.low, made.high, made.p, made.robust_p, made.residual_sd) == (0, 0, 0, 1, 1, 0)
    assert direction(made, 0.05) == codes.TREND_NONE


@pytest.mark.parametrize(
    ("years", "values", "options"),
    [
        ([0.0, 1.0, 2.0], [1.0, 2.0], {}),
        ([0.0, 1.0, math.nan], [1.0, 2.0, 3.0], {}),
        ([0.0, 1.0, 2.0], [1.0, 2.0, math.inf], {}),
        (YEARS, VALUES, {"confidence": 1.0}),
    ],
)
def test_what_is_no_series_is_refused(years, values, options):
    with pytest.raises(ValueError, match=r"times of|not finite|confidence"):
        trend(years, values, 3, **options)


series = st.lists(
    st.tuples(st.integers(0, 4000), st.floats(-30, 5).map(lambda v: round(v, 2))), min_size=3, max_size=15
).filter(lambda s: len({day for day, _ in s}) > 1)


def split(visits):
    return [day / 365.25 for day, _ in visits], [value for _, value in visits]


def same(one, other):
    for name in ("slope", "low", "high", "robust"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6, abs=1e-6)


@given(series)
def test_least_squares_is_that_of_the_normal_equations(visits):
    years, values = split(visits)
    made = found(years, values)
    design = np.stack([np.ones(len(years)), np.asarray(years) - np.mean(years)], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    _, slope = inverse @ design.T @ np.asarray(values)
    residual = np.asarray(values) - design @ (inverse @ design.T @ np.asarray(values))
    error = math.sqrt(max(float(residual @ residual), 0.0) / (len(years) - 2) * inverse[1, 1])
    assert made.slope == pytest.approx(slope, rel=1e-6, abs=1e-6)
    half = stats.t.ppf(0.975, len(years) - 2) * error
    assert made.high - made.low == pytest.approx(2 * half, rel=1e-4, abs=1e-4)


@given(series)
def test_the_robust_slope_is_the_median_of_all_pairs(visits):
    years, values = split(visits)
    pairs = [
        (values[j] - values[i]) / (years[j] - years[i])
        for i in range(len(years))
        for j in range(len(years))
        if years[j] > years[i]
    ]
    assert found(years, values).robust == pytest.approx(np.median(pairs), rel=1e-6, abs=1e-6)


@given(series, st.floats(-50, 50), st.floats(-20, 20))
def test_shifting_dates_or_values_changes_no_slope(visits, later, higher):
    years, values = split(visits)
    same(found([y + later for y in years], [v + higher for v in values]), found(years, values))


@given(series, st.sampled_from([-2.0, -1.0, 0.5, 3.0]))
def test_the_slope_scales_with_the_values_and_the_interval_with_their_size(visits, factor):
    years, values = split(visits)
    one, other = found(years, [factor * v for v in values]), found(years, values)
    assert one.slope == pytest.approx(factor * other.slope, rel=1e-6, abs=1e-6)
    assert one.robust == pytest.approx(factor * other.robust, rel=1e-6, abs=1e-6)
    assert one.high - one.low == pytest.approx(abs(factor) * (other.high - other.low), rel=1e-4, abs=1e-4)
    assert one.p == pytest.approx(other.p, rel=1e-3, abs=1e-6)


@given(series)
def test_time_that_runs_backwards_turns_the_slope_round(visits):
    years, values = split(visits)
    one, other = found([-y for y in years], values), found(years, values)
    assert one.slope == pytest.approx(-other.slope, rel=1e-6, abs=1e-6)
    assert one.robust == pytest.approx(-other.robust, rel=1e-6, abs=1e-6)


@given(series, st.randoms(use_true_random=False))
def test_the_order_of_the_visits_does_not_matter(visits, random):
    shuffled = list(visits)
    random.shuffle(shuffled)
    same(found(*split(shuffled)), found(*split(visits)))


@given(st.floats(-3, 3), st.floats(-20, 5), st.lists(st.integers(0, 4000), min_size=3, max_size=12, unique=True))
def test_a_straight_line_is_found_as_it_is(slope, level, days):
    years = [day / 365.25 for day in days]
    assume(max(years) - min(years) > 0.1)
    made = found(years, [level + slope * year for year in years])
    assert made.slope == pytest.approx(slope, abs=1e-6)
    assert made.robust == pytest.approx(slope, abs=1e-6)
    assert made.residual_sd == pytest.approx(0.0, abs=1e-6)


def test_where_too_many_visits_are_alike_the_robust_slope_has_no_interval():
    made = found([0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0, 0.0])
    assert (made.robust, made.robust_low, made.robust_high) == (-1.0, None, None)
    assert "Theil-Sen -1.00 dB per year, residual" in said(made, "dB")


def test_one_bad_visit_moves_the_robust_slope_less():
    years = [float(n) for n in range(9)]
    values = [-2.0 - 0.5 * year for year in years]
    values[7] = -20.0
    made = found(years, values)
    assert abs(made.robust + 0.5) < 0.05 < abs(made.slope + 0.5)


@pytest.mark.parametrize(
    ("taken", "year"),
    [
        ("20000101", 2000.0),
        ("20000101120000", 2000.0 + 0.5 / 365.25),
        ("2000010112", 2000.0 + 0.5 / 365.25),
        ("20240101", 2024.0),
        ("19991231", 2000.0 - 1 / 365.25),
        ("20240230", None),
        ("2024", None),
        ("", None),
        ("2024-01-01", None),
        ("20240101256000", None),
    ],
)
def test_dates_are_decimal_years(taken, year):
    assert decimal_year(taken) == (None if year is None else pytest.approx(year, abs=1e-9))


def test_a_series_is_broken_where_its_kind_changes():
    assert stretches("aabbba", lambda c: c) == [("a", "a"), ("b", "b", "b"), ("a",)]
    assert stretches([], lambda c: c) == []


def test_direction_needs_evidence():
    made = found(YEARS, VALUES)
    assert direction(made, 0.05) == codes.TREND_WORSE
    assert direction(made, 0.001) == codes.TREND_NONE
    assert direction(found(YEARS, [-v for v in VALUES]), 0.05) == codes.TREND_BETTER


def test_the_numbers_have_their_names_and_units():
    made = found(YEARS, VALUES)
    numbers = {m.name: (m.value, m.unit) for m in measurements(made, codes.MD_RATE, codes.DB_PER_YEAR, codes.DECIBEL)}
    assert numbers[codes.MD_RATE] == (made.slope, codes.DB_PER_YEAR)
    assert numbers[codes.RATE_LOW] == (made.low, codes.DB_PER_YEAR)
    assert numbers[codes.RATE_RESIDUAL] == (made.residual_sd, codes.DECIBEL)
    assert numbers[codes.RATE_VISITS] == (5.0, codes.COUNTS)
    words = said(made, "dB")
    for part in ("-1.04 dB per year", "95 % interval -1.40 to -0.68", "Theil-Sen -1.00", "5 visits over 4.0 years"):
        assert part in words


def test_the_chart_shows_visits_line_band_and_what_was_left_out():
    made = found(YEARS, VALUES)
    drawn = chart(
        "md-trend", "MD", "1.2", "MD", "dB", YEARS, VALUES, made, ("a note",), [("Unreliable", [2.5], [-9.0])]
    )
    kinds = {t.label: t.kind for t in drawn.traces}
    assert kinds == {
        "Visits": "points",
        "Unreliable": "points",
        "95 % confidence band": "band",
        "Least squares": "line",
        "Theil-Sen": "line",
    }
    line = next(t for t in drawn.traces if t.label == "Least squares")
    assert np.polyfit(line.x, line.y, 1) == pytest.approx([made.slope, made.at(0.0)])
    band = next(t for t in drawn.traces if t.kind == "band")
    assert all(low <= at <= high for low, at, high in zip(band.y, line.y, band.upper, strict=True))
    assert drawn.notes == ("a note",)


def test_without_a_trend_the_chart_shows_the_visits():
    drawn = chart("md-trend", "MD", "1.2", "MD", "dB", [2020.0], [-3.0], NoTrend("not analysed because"))
    assert [t.kind for t in drawn.traces] == ["points"]
