"""Progression over a series of visual fields: trends against independent arithmetic, events apart from them."""

import csv
import dataclasses
import datetime
import functools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Source
from airouter.domain.priority import Priority
from airouter.domain.study import Laterality, Modality
from airouter.evidence.write import write
from airouter.pipelines import PIPELINES
from airouter.pipelines.field_points import cluster, event
from airouter.pipelines.trend import trend
from phantoms import perimetry
from tests.data import data
from tests.pipelines.fields import KEPT, at_year, field, history, rules
from tests.pipelines.oracle import Progress, job, reasons, rests_on, value
from tests.pipelines.test_results_become_dicom import NOW, read_back

PIPELINE = PIPELINES["field-progression"]
MD, VFI, POINTS, EVENT = "trend mean deviation", "trend visual field index", "pointwise trend", "event"


def run(datasets, **parameters):
    result = PIPELINE.run(job(**parameters), history(datasets), rules("field-progression"), Progress())
    assert isinstance(result, Result), result
    return result


def evaluation(result, key, name):
    (finding,) = [f for f in result.findings if f.key == key]
    (found,) = [e.value for e in finding.evaluations if e.name == name]
    return found


def comment(result, key):
    return next(f.comment for f in result.findings if f.key == key)


def keys(result):
    return {f.key for f in result.findings}


def annual(deviations, **changes):
    """One field a year."""
    return [field(deviation, when=at_year(n), **changes) for n, deviation in enumerate(deviations)]


def day(years):
    return at_year(years).strftime("%Y-%m-%d")


def falling(*places, rate=-2.0):
    """A field whose `places` lose `rate` dB a year and whose others go up and down by half a dB."""

    def at(n):
        return lambda x, y: -1.0 + (rate * n if (x, y) in places else 0.0) + (0.5 if (n + x + y) % 4 < 2 else 0.0)

    return at


def lost(n, since, places, loss=12.0):
    """A field whose `places` are `loss` dB down from visit `since` on."""
    return lambda x, y: -1.0 - (loss if n >= since and (x, y) in places else 0.0)


# --- trend of the global indices ---


def test_a_series_worked_by_hand():
    """Means of 0, -1, -1.5, -3.4 and -4 dB a year apart: see test_trend."""
    result = run(annual([0.0, -1.0, -1.5, -3.4, -4.0]))
    assert value(result, MD, codes.MD_RATE) == pytest.approx(-1.04, abs=1e-4)
    assert value(result, MD, codes.RATE_LOW) == pytest.approx(-1.4038, abs=1e-3)
    assert value(result, MD, codes.RATE_HIGH) == pytest.approx(-0.6762, abs=1e-3)
    assert value(result, MD, codes.RATE_P) == pytest.approx(0.0028, abs=1e-4)
    assert value(result, MD, codes.RATE_ROBUST) == pytest.approx(-1.0, abs=1e-3)
    assert value(result, MD, codes.RATE_RESIDUAL) == pytest.approx(0.3615, abs=1e-3)
    assert value(result, MD, codes.RATE_VISITS) == 5
    assert value(result, MD, codes.RATE_YEARS) == pytest.approx(4.0, abs=1e-6)
    assert evaluation(result, MD, codes.TREND_DIRECTION) == codes.TREND_WORSE
    assert comment(result, MD).startswith("Trend analysis of the mean deviation: least squares -1.04 dB per year")
    assert result.verdict.priority is Priority.HIGH
    assert "mean deviation changes by -1.04 dB per year" in result.verdict.reason
    assert rests_on(result.verdict) == [POINTS, MD], "where all points fall alike, each of them does"


@functools.cache
def tables():
    """Each eye's rows of both tables, straight from the file: (days, 54 sensitivities, age), oldest first."""
    folder, found = data("perimetry"), defaultdict(list)
    for table in (perimetry.CONTROLS, perimetry.RETEST):
        with (folder / table).open(newline="") as file:
            for row in csv.DictReader(file):
                h, m, s = map(int, row["time"].split(":"))
                days = float(row["date"]) + (h * 3600 + m * 60 + s) / 86400
                levels = [float(row[f"l{n}"]) for n in range(1, 55)]
                found[table, row["id"], row["eye"]].append((days, levels, float(row["age"])))
    return {eye: sorted(rows, key=lambda r: r[0]) for eye, rows in found.items() if len(rows) >= 5}


def least_squares(x, y):
    """Slope by the textbook formula, in the units of y per unit of x."""
    x, y = np.asarray(x), np.asarray(y)
    return ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()


def test_rates_of_real_eyes_are_those_of_an_independent_computation():
    """Each eye with five tests or more: the trend itself for all, the whole pipeline for every third."""
    folder = data("perimetry")
    reference = perimetry.normals(perimetry.read(folder / perimetry.CONTROLS))
    kept = [n for n in range(54) if n not in (25, 34)]
    weights = 1 / reference.sd[kept] ** 2
    everything = {"max_fixation_losses": 100, "max_false_positives": 100, "max_false_negatives": 100}
    spans = []
    for table in (perimetry.CONTROLS, perimetry.RETEST):
        for (subject, side), series in perimetry.eyes(perimetry.read(folder / table)).items():
            rows = tables().get((table, subject, {"R": "OD", "L": "OS"}[side]), [])
            if not rows:
                continue
            years = np.array([row[0] for row in rows]) / 365.25
            levels, ages = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
            deviation = levels[:, kept] - reference.level[kept] - reference.slope[kept] * ages[:, None]
            md = deviation @ weights / weights.sum()
            slope, robust = least_squares(years, md), median_of_pairs(years, md)
            direct = trend(years.tolist(), md.tolist(), 5)
            assert (direct.slope, direct.robust) == pytest.approx((slope, robust), abs=1e-6)
            spans.append(years[-1] - years[0])
            if len(spans) % 3:
                continue
            vfi = [90.0 - 0.3 * n + (n % 3) for n in range(len(series))]
            result = run(
                [perimetry.instance(t, reference, vfi=(v, None)) for t, v in zip(series, vfi, strict=True)],
                **everything,
            )
            assert value(result, MD, codes.MD_RATE) == pytest.approx(slope, abs=0.01)
            assert value(result, MD, codes.RATE_ROBUST) == pytest.approx(robust, abs=0.01)
            assert value(result, VFI, codes.VFI_RATE) == pytest.approx(least_squares(years, vfi), abs=0.01)
            assert value(result, MD, codes.RATE_VISITS) == len(rows)
            check_points(result, years, levels[:, kept])
    assert len(spans) == 50
    assert max(spans) > 2


def median_of_pairs(x, y):
    """The median of the slopes between all pairs of different times."""
    pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if x[j] > x[i]]
    return np.median([(y[j] - y[i]) / (x[j] - x[i]) for i, j in pairs])


def check_points(result, years, levels):
    """How many points worsen, by the formula of the slope's standard error and a table of Student's t."""
    # One-tailed 0.5 % quantiles of Student's t: two-sided p < 0.01 with n - 2 degrees of freedom.
    t = {3: 5.8409, 4: 4.6041, 5: 4.0321, 6: 3.7074, 7: 3.4995, 8: 3.3554, 9: 3.2498, 10: 3.1693}
    worse = 0
    for column in levels.T:
        slope = least_squares(years, column)
        residual = column - column.mean() - slope * (years - years.mean())
        error = np.sqrt((residual**2).sum() / (len(years) - 2) / ((years - years.mean()) ** 2).sum())
        worse += slope <= -1 and slope < -t[len(years) - 2] * error
    assert value(result, POINTS, codes.POINTS_WORSENING) == worse


@pytest.mark.parametrize("visits", [1, 3, 4])
def test_too_few_tests_are_no_trend(visits):
    result = run(annual([-1.0, -2.0, -3.0, -4.0][:visits]))
    for quantity in ("trend of the mean deviation", "pointwise trend of the sensitivities"):
        assert f"a trend needs 5 visits or more, not {visits}" in reasons(result)[quantity]
    assert MD not in keys(result)
    assert result.verdict.priority is Priority.ROUTINE
    assert [t.kind for t in result.charts[0].traces] == ["points"]


def test_the_least_number_of_tests_is_a_parameter():
    result = run(annual([-1.0, -2.0, -3.0]), min_visits=3)
    assert value(result, MD, codes.MD_RATE) == pytest.approx(-1.0, abs=1e-4)


def test_without_indices_there_are_still_points():
    result = run(annual([-1.0] * 5, md=None, psd=None))
    said = reasons(result)
    assert "needs 5 visits or more, not 0" in said["trend of the mean deviation"]
    assert "needs 5 visits or more, not 0" in said["trend of the visual field index"]
    assert keys(result) == {POINTS, EVENT}
    assert result.charts == ()


def test_a_stable_eye_is_routine():
    result = run(annual([-1.0, -1.2, -0.9, -1.1, -1.0, -0.95], vfi=(97.0, None)))
    assert evaluation(result, MD, codes.TREND_DIRECTION) == codes.TREND_NONE
    assert evaluation(result, VFI, codes.TREND_DIRECTION) == codes.TREND_NONE
    assert evaluation(result, POINTS, codes.POINT_PROGRESSION) == codes.ABSENT
    assert evaluation(result, EVENT, codes.EVENT_STATE) == codes.EVENT_NONE
    assert result.verdict.priority is Priority.ROUTINE


def test_a_slow_significant_loss_is_said_and_not_urgent():
    result = run(annual([-1.0, -1.5, -2.0, -2.5, -3.0]))
    assert evaluation(result, MD, codes.TREND_DIRECTION) == codes.TREND_WORSE
    assert result.verdict.priority is Priority.ROUTINE
    assert "trend: mean deviation changes by -0.50 dB per year" in result.verdict.reason
    assert run(annual([-1.0, -1.5, -2.0, -2.5, -3.0]), high_md_rate=-0.4).verdict.priority is Priority.HIGH


def test_a_steep_slope_without_evidence_is_not_urgent():
    result = run(annual([-1.0, -9.0, -2.0, -3.0, -9.0]), event_db=40, point_cluster=54)
    assert value(result, MD, codes.MD_RATE) < -0.9
    assert evaluation(result, MD, codes.TREND_DIRECTION) == codes.TREND_NONE
    assert result.verdict.priority is Priority.ROUTINE


# --- which tests make the series ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "P2"}, "change of device"),
        ({"strategy": "SITA-Fast"}, "change of strategy"),
        ({"pattern": "30-2"}, "change of test pattern"),
        ({"stimulus_deg2": 1.72}, "change of stimulus size"),
        ({"normals": ("Phantom normals", "2")}, "change of normative data"),
        ({"model": "P2", "strategy": "SITA-Fast"}, "change of device and strategy"),
    ],
)
def test_a_change_breaks_the_series(changes, words):
    """Three bad years before, five flat ones after: a line through all of them would climb."""
    before = [field(-15.0 + n, when=at_year(n)) for n in range(3)]
    after = [field(-2.0 + 0.1 * (n % 2), when=at_year(3 + n), **changes) for n in range(5)]
    result = run([*before, *after])
    assert value(result, MD, codes.RATE_VISITS) == 5
    assert abs(value(result, MD, codes.MD_RATE)) < 0.05
    assert f"The series is broken on {day(3)}: {words}. 3 tests before it left out." in comment(result, MD)
    chart = result.charts[0]
    assert {t.label: len(t.x) for t in chart.traces if t.kind == "points"} == {"Visits": 5, "Other settings": 3}
    assert any("series is broken" in note for note in chart.notes)


def test_too_few_tests_after_a_break_are_no_trend():
    series = [*annual([-1.0, -2.0, -3.0, -4.0, -5.0]), field(-6.0, when=at_year(5), model="P2")]
    result = run(series)
    assert "needs 5 visits or more, not 1" in reasons(result)["trend of the mean deviation"]
    assert "needs 4 tests or more, two of them baseline, not 1" in reasons(result)["event analysis of the visual field"]


def test_unreliable_tests_are_left_out_and_counted():
    series = annual([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    bad = field(-25.0, when=at_year(2.5), fixation=(6, 12))
    result = run([*series[:3], bad, *series[3:]])
    assert value(result, MD, codes.RATE_VISITS) == 6
    assert value(result, MD, codes.MD_RATE) == pytest.approx(-1.0, abs=1e-3)
    assert "1 test left out as unreliable." in comment(result, MD)
    assert "fixation losses 50 % (6 of 12) above 20 %" in reasons(result)[f"visual field of {day(2.5)}"]
    assert "Unreliable" in {t.label for t in result.charts[0].traces}
    assert value(run([*series[:3], bad, *series[3:]], max_fixation_losses=60), MD, codes.RATE_VISITS) == 7


def test_where_the_current_test_is_unreliable_the_earlier_ones_are_analysed():
    series = [*annual([-1.0, -2.0, -3.0, -4.0, -5.0]), field(-30.0, when=at_year(5), false_positive_percent=40.0)]
    result = run(series)
    assert value(result, MD, codes.MD_RATE) == pytest.approx(-1.0, abs=1e-3)
    assert f"visual field of {day(5)}" in reasons(result)


def test_a_mean_deviation_that_contradicts_its_points_is_no_part_of_the_trend():
    series = annual([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    series[2] = field(-3.0, when=at_year(2), md=(3.0, None))
    result = run(series)
    assert value(result, MD, codes.RATE_VISITS) == 5
    assert "cannot be a mean" in reasons(result)[f"mean deviation of {day(2)}"]


def test_the_other_eye_is_another_series():
    series = annual([-1.0, -2.0, -3.0, -4.0, -5.0])
    others = annual([-20.0] * 4, laterality="L")
    mixed = [ds for pair in zip(others, series, strict=False) for ds in pair] + series[4:]
    assert value(run(mixed), MD, codes.MD_RATE) == pytest.approx(-1.0, abs=1e-3)


def test_a_left_eye_is_analysed_as_its_mirror_image():
    places = [(-9.0, 9.0), (-15.0, 9.0), (-21.0, 9.0)]
    at = falling(*places)
    right, left = (run([field(at(n), side, when=at_year(n)) for n in range(6)]) for side in ("R", "L"))
    assert value(right, POINTS, codes.POINTS_CLUSTER) == value(left, POINTS, codes.POINTS_CLUSTER) == 3
    assert "9, 9; 15, 9; 21, 9" in comment(left, POINTS)
    assert "-21, 9; -15, 9; -9, 9" in comment(right, POINTS)
    assert {f.laterality for f in left.findings} == {Laterality.L}


def test_without_a_date_nothing_is_analysed():
    opened = dataclasses.replace(history(annual([-1.0] * 5)), taken="")
    result = PIPELINE.run(job(), opened, rules("field-progression"), Progress())
    assert result == Ungradable("not analysed because the date of the visual field is missing")


@pytest.mark.parametrize("days", [17, 365, 4000])
def test_a_shift_of_all_dates_changes_nothing(days):
    deviations = [-1.0, -1.6, -1.4, -3.0, -3.9, -4.2]
    later = [field(d, when=at_year(n) + datetime.timedelta(days=days)) for n, d in enumerate(deviations)]
    one, other = run(annual(deviations)), run(later)
    for name in (codes.MD_RATE, codes.RATE_LOW, codes.RATE_HIGH, codes.RATE_P, codes.RATE_ROBUST):
        assert value(one, MD, name) == pytest.approx(value(other, MD, name), abs=1e-6)


# --- points ---


ROW = [(-9.0, 9.0), (-3.0, 9.0), (3.0, 9.0)]


def test_contiguous_points_that_worsen_are_progression():
    result = run([field(falling(*ROW)(n), when=at_year(n)) for n in range(6)])
    assert value(result, POINTS, codes.POINTS_WORSENING) == 3
    assert value(result, POINTS, codes.POINTS_CLUSTER) == 3
    assert value(result, POINTS, codes.FIELD_POINTS) == 52
    assert evaluation(result, POINTS, codes.POINT_PROGRESSION) == codes.PRESENT
    assert "trend: 3 contiguous test points worsen" in result.verdict.reason
    assert result.verdict.priority is Priority.HIGH


@pytest.mark.parametrize(
    "places",
    [
        [(-9.0, 9.0), (3.0, 9.0), (15.0, 9.0)],  # two steps apart
        [(-9.0, 3.0), (-9.0, -3.0), (-3.0, -3.0)],  # across the horizontal midline
        ROW[:2],
    ],
)
def test_scattered_points_are_no_progression(places):
    result = run([field(falling(*places)(n), when=at_year(n)) for n in range(6)])
    assert value(result, POINTS, codes.POINTS_WORSENING) == len(places)
    assert evaluation(result, POINTS, codes.POINT_PROGRESSION) == codes.ABSENT


def test_a_slow_slope_is_none_of_a_worsening_point():
    result = run([field(falling(*ROW, rate=-0.8)(n), when=at_year(n)) for n in range(8)])
    assert value(result, POINTS, codes.POINTS_WORSENING) == 0
    faster = run([field(falling(*ROW, rate=-0.8)(n), when=at_year(n)) for n in range(8)], point_rate=-0.5)
    assert value(faster, POINTS, codes.POINTS_WORSENING) == 3


def test_the_blind_spot_does_not_worsen():
    result = run([field(falling((15.0, 3.0), (15.0, -3.0))(n), when=at_year(n)) for n in range(6)])
    assert value(result, POINTS, codes.POINTS_WORSENING) == 0


def test_clusters_follow_rows_and_diagonals():
    assert cluster([(-3.0, 9.0), (3.0, 15.0), (9.0, 9.0), (21.0, 9.0)], KEPT) == [(-3.0, 9.0), (3.0, 15.0), (9.0, 9.0)]
    assert cluster([], KEPT) == []


@given(st.sets(st.sampled_from(KEPT), max_size=20))
def test_the_largest_cluster_is_one_piece_within_one_half(members):
    largest = cluster(sorted(members), KEPT)
    assert set(largest) <= members
    assert len({y > 0 for _, y in largest}) <= 1
    assert bool(largest) == bool(members)
    reached = set(largest[:1])
    for _ in largest:
        reached |= {b for b in largest for a in reached if max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 6}
    assert reached == set(largest)
    touching = {
        b
        for b in members - set(largest)
        for a in largest
        if max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 6 and (a[1] > 0) == (b[1] > 0)
    }
    assert not touching


# --- events ---


@pytest.mark.parametrize(
    ("since", "state", "priority"),
    [
        (6, codes.EVENT_NONE, Priority.ROUTINE),  # only the last one
        (5, codes.EVENT_SUSPECTED, Priority.ROUTINE),
        (4, codes.EVENT_CONFIRMED, Priority.HIGH),
        (2, codes.EVENT_CONFIRMED, Priority.HIGH),
        (9, codes.EVENT_NONE, Priority.ROUTINE),
    ],
)
def test_a_loss_that_the_latest_tests_repeat_is_an_event(since, state, priority):
    result = run([field(lost(n, since, ROW), when=at_year(n)) for n in range(7)], point_cluster=54)
    assert evaluation(result, EVENT, codes.EVENT_STATE) == state
    assert value(result, EVENT, codes.EVENT_POINTS) == (0 if state == codes.EVENT_NONE else 3)
    assert result.verdict.priority is priority
    assert comment(result, EVENT).startswith("Event analysis, not a rate")


def test_a_loss_that_went_away_again_is_no_event():
    visits = [field(lost(n, 2, ROW if n in (2, 3, 4) else []), when=at_year(n)) for n in range(7)]
    assert evaluation(run(visits), EVENT, codes.EVENT_STATE) == codes.EVENT_NONE


def test_other_points_each_time_are_no_event():
    others = [ROW, [(9.0, 9.0), (15.0, 9.0), (21.0, 9.0)], [(-9.0, -9.0), (-3.0, -9.0), (3.0, -9.0)]]
    visits = [field(lost(n, 2, others[n % 3]), when=at_year(n)) for n in range(7)]
    assert evaluation(run(visits), EVENT, codes.EVENT_STATE) == codes.EVENT_NONE


def test_an_event_needs_its_loss_and_its_points():
    def visits(places, loss):
        return [field(lost(n, 3, places, loss), when=at_year(n)) for n in range(7)]

    assert evaluation(run(visits(ROW, 6.5)), EVENT, codes.EVENT_STATE) == codes.EVENT_NONE
    assert evaluation(run(visits(ROW, 6.5), event_db=6), EVENT, codes.EVENT_STATE) == codes.EVENT_CONFIRMED
    assert evaluation(run(visits(ROW[:2], 12.0)), EVENT, codes.EVENT_STATE) == codes.EVENT_NONE
    assert evaluation(run(visits(ROW[:2], 12.0), event_points=2), EVENT, codes.EVENT_STATE) == codes.EVENT_CONFIRMED


def test_an_event_needs_two_baselines_and_two_tests():
    result = run(annual([-1.0, -1.0, -1.0]))
    assert "needs 4 tests or more, two of them baseline, not 3" in reasons(result)["event analysis of the visual field"]
    assert EVENT in keys(run(annual([-1.0] * 4)))
    with pytest.raises(ValueError, match="too few"):
        event(np.zeros((3, 5)), 7, 3, 0)


def test_points_that_were_low_at_baseline_cannot_show_an_event():
    result = run([field(lambda x, y: -26.0 if y > 0 else -1.0, when=at_year(n)) for n in range(5)])
    assert "26 of 52 points were too low at baseline" in comment(result, EVENT)


def test_stable_real_eyes_have_few_events():
    """Twelve tests within weeks cannot progress: what is found there is the false alarms of the rule."""
    folder = data("perimetry")
    confirmed = suspected = 0
    series = perimetry.eyes(perimetry.read(folder / perimetry.RETEST)).values()
    kept = [n for n in range(54) if n not in perimetry.BLIND_SPOT]
    for tests in series:
        levels = np.stack([t.levels[kept] for t in tests])
        for start in range(5):
            tests_in_event = event(levels[start : start + 8], 7.0, 3, 0.0).tests
            confirmed += tests_in_event == 3
            suspected += tests_in_event == 2
    assert len(series) == 30
    assert confirmed <= 150 * 0.02
    assert suspected <= 150 * 0.06


# --- what becomes of it ---


def test_results_become_dicom():
    datasets = annual([-1.0, -2.5, -3.0, -4.0, -6.0], vfi=(90.0, None))
    about = dataclasses.replace(
        job("field-progression"),
        study_uid=datasets[-1].StudyInstanceUID,
        series_uid=datasets[-1].SeriesInstanceUID,
        modality=Modality.OPV,
        sources=(Source("id", datasets[-1].SOPInstanceUID, "digest"),),
    )
    predict = rules("field-progression")
    result = PIPELINE.run(about, history(datasets), predict, Progress())
    objects = read_back(write(about, predict.model, result, {ds.SOPInstanceUID: ds for ds in datasets}, now=NOW))
    assert set(objects) == {"scores", "md-trend", "vfi-trend"}
    assert objects["md-trend"].Modality == "OT"
    assert objects["scores"].StudyInstanceUID == datasets[-1].StudyInstanceUID
