"""The trend of the nerve fibre layer over scans with known thickness, and where a series is broken."""

import dataclasses
import datetime
import functools

import numpy as np
import pytest
from scipy import stats

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.priority import Priority
from airouter.imaging.visit import Earlier, History, Refused
from airouter.pipelines import PIPELINES
from airouter.pipelines.trend import decimal_year
from phantoms.dicom import fundus_instance, oct_instance
from phantoms.oct_disc import circle, disc_cube
from tests.pipelines.oracle import Oracle, Progress, job, opened, reasons, rests_on, value
from tests.pipelines.retinas import instance, layers_model

PIPELINE = PIPELINES["rnfl-progression"]
ROWS, COLUMNS, AXIAL = 200, 96, 4.0
DATES = [datetime.datetime(2019 + n, 3, 1 + n) for n in range(6)]


def labelled(thick_um, seed):
    """A circle scan whose nerve fibre layer is so many rows thick everywhere."""
    rows = np.arange(ROWS)[:, None] * np.ones(COLUMNS)
    edges = np.cumsum([60, thick_um / AXIAL, 12, 30, 5])
    labels = np.searchsorted(edges, rows, side="right")
    labels[labels == 5] = 6  # choroid
    frame = np.random.default_rng(seed).integers(0, 255, (ROWS, COLUMNS), dtype=np.uint8)
    return frame, labels


@functools.cache
def photograph():
    return fundus_instance(np.full((64, 64, 3), 90, np.uint8), transfer="raw", seed=2)


@functools.cache
def path():
    turn = (np.arange(COLUMNS) + 0.5) * 2 * np.pi / COLUMNS
    return np.stack([32 - 17 * np.sin(turn), 32 - 17 * np.cos(turn)], axis=1)


def scan(thick_um, taken, knows, seed, diameter_mm=3.46, laterality="R", **changes):
    frame, labels = labelled(thick_um, seed)
    knows.tell(frame, (labels[None] == np.arange(10)[:, None, None]).astype(np.float32))
    dataset = oct_instance(
        frame[None], axial_um=AXIAL, lateral_um=1000 * np.pi * diameter_mm / COLUMNS, slice_um=None,
        laterality=laterality, localizer=photograph(), paths=[path()], taken=taken, seed=seed,
    )  # fmt: skip
    for keyword, value_ in changes.items():
        setattr(dataset, keyword, value_)
    return opened([dataset])


def day(taken):
    return taken.strftime("%Y%m%d%H%M%S")


def history(thicknesses, changes=None, refused=()):
    """One scan a year, the last one current; `changes`: of the header, by number."""
    knows = Oracle(layers_model(ROWS, COLUMNS))
    volumes = [
        scan(um, taken, knows, n, **(changes or {}).get(n, {}))
        for n, (um, taken) in enumerate(zip(thicknesses, DATES, strict=False))
    ]
    dates = [day(taken) for taken in DATES]
    priors = tuple(Earlier(v, "1.2.3", taken) for v, taken in zip(volumes[:-1], dates, strict=False))
    return History(volumes[-1], dates[len(volumes) - 1], priors, tuple(refused)), knows


def outcome(thicknesses, changes=None, refused=(), **parameters):
    past, knows = history(thicknesses, changes, refused)
    return PIPELINE.run(job(**parameters), past, knows, Progress())


def run(*args, **parameters):
    result = outcome(*args, **parameters)
    assert isinstance(result, Result), result
    return result


FALLING = [100.0, 96.0, 96.0, 88.0, 84.0, 84.0]  # whole rows of 4 um


def test_the_slope_is_scipys():
    result = run(FALLING)
    years = [decimal_year(day(taken)) for taken in DATES]
    expected = stats.linregress(years, FALLING)
    assert value(result, "trend average", codes.RNFL_RATE) == pytest.approx(expected.slope, abs=1e-6)
    assert value(result, "trend average", codes.RATE_P) == pytest.approx(expected.pvalue, rel=1e-6)
    assert value(result, "trend average", codes.RATE_ROBUST) == pytest.approx(
        stats.theilslopes(FALLING, years).slope, abs=1e-6
    )
    assert value(result, "trend average", codes.RATE_VISITS) == 6
    assert value(result, "trend superior", codes.RNFL_SUPERIOR_RATE) == pytest.approx(expected.slope, abs=1e-6)
    assert result.verdict.priority is Priority.HIGH
    assert "um per year" in result.verdict.reason
    assert rests_on(result.verdict) == ["trend average"]
    assert result.not_analysed == ()


def test_a_stable_layer_is_routine():
    result = run([96.0, 100.0, 96.0, 96.0, 100.0, 96.0])
    assert result.verdict.priority is Priority.ROUTINE
    directions = {e.value for f in result.findings for e in f.evaluations}
    assert directions == {codes.TREND_NONE}


def test_too_few_scans_make_no_trend_but_a_chart():
    result = run(FALLING[:2])
    assert result.findings == ()
    assert "not 2" in reasons(result)["trend of the average RNFL thickness"]
    (chart,) = result.charts
    assert [t.kind for t in chart.traces] == ["points"]
    assert result.verdict.priority is Priority.ROUTINE


def test_the_chart_shows_the_scans_and_the_trend():
    (chart,) = run(FALLING).charts
    assert chart.traces[0].y == pytest.approx(FALLING)
    assert {t.kind for t in chart.traces} == {"points", "band", "line"}
    assert "right eye" in chart.title


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ManufacturerModelName": "Another OCT"}, "Another OCT"),
        ({"diameter_mm": 4.2}, "circle of 4.2 mm"),
    ],
)
def test_a_change_of_device_or_circle_breaks_the_series(change, said):
    usual = dict.fromkeys((0, 1), change)
    result = run(FALLING, usual)
    assert value(result, "trend average", codes.RATE_VISITS) == 4
    (finding, *_) = result.findings
    assert "The series is broken on 2021-03-03" in finding.comment
    assert said in finding.comment
    (chart,) = result.charts
    assert {t.label: len(t.y) for t in chart.traces}["Other scans"] == 2


def test_a_volume_after_circles_begins_a_new_series():
    past, knows = history(FALLING[:4])
    truth = disc_cube(31, 330, 120, 4.5, seed=3)
    volume = opened([instance(truth.scan, seed=99)])
    current = Oracle(layers_model(330, 120))
    for number, frame in enumerate(truth.scan.frames):
        current.tell(frame, truth.scan.one_hot(number))
    both = dataclasses.replace(
        past,
        current=volume,
        taken="20250101",
        priors=(*past.priors, Earlier(past.current, "1.2", past.taken)),
    )

    result = PIPELINE.run(job(), both, _Unpadded(knows, current), Progress())
    assert isinstance(result, Result)
    assert result.findings == ()
    assert "1 scan of one series" in result.verdict.reason


class _Unpadded:
    """Answers what it has been told of the picture within the padding of a model of another size."""

    provider = "TruthExecutionProvider"
    model = layers_model(330, 120)

    def __init__(self, circles, cubes):
        self.circles, self.cubes = circles, cubes

    def predict(self, images):
        made = []
        for image in images:
            rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
            if columns[-1] - columns[0] + 1 == 120:
                made.append(self.cubes.predict([image])[0])
                continue
            box = slice(rows[0], rows[0] + ROWS), slice(columns[0], columns[0] + COLUMNS)
            answer = np.zeros((10, 330, 120), np.float32)
            answer[(slice(None), *box)] = self.circles.predict([image[box]])[0]
            made.append(answer)
        return np.stack(made)


def test_what_was_refused_is_said():
    result = run(
        FALLING, refused=[Refused("1.2.9", "not analysed because the laterality of the earlier image is missing")]
    )
    assert "laterality" in reasons(result)["scan 1.2.9"]


def test_without_laterality_nothing_is_analysed():
    found = outcome(FALLING[:1], {0: {"laterality": None}})
    assert isinstance(found, Ungradable)
    assert "laterality" in found.reason


def test_another_scan_is_refused():
    past, _ = history(FALLING)
    flat_scan = opened([instance(disc_cube(1, 330, 120, 4.5, seed=3, height_mm=0.1).scan, seed=5)])
    other = Oracle(layers_model(330, 120))
    truth = disc_cube(1, 330, 120, 4.5, seed=3, height_mm=0.1).scan
    other.tell(truth.frames[0], truth.one_hot(0))
    found = PIPELINE.run(job(), dataclasses.replace(past, current=flat_scan, priors=()), other, Progress())
    assert isinstance(found, Ungradable)
    assert "neither a circle nor a volume" in found.reason


def test_the_circle_of_the_phantoms_too():
    truth = circle(330, 256, AXIAL, seed=8)
    knows = Oracle(layers_model(330, 256))
    knows.tell(truth.scan.frames[0], truth.scan.one_hot(0))
    dataset = oct_instance(
        truth.scan.frames, axial_um=AXIAL, lateral_um=truth.scan.lateral_um, slice_um=None, localizer=photograph(),
        paths=[truth.path((32.0, 32.0), 0.1)], seed=1,
    )  # fmt: skip
    result = PIPELINE.run(job(), History(opened([dataset]), "20240101", (), ()), knows, Progress())
    (chart,) = result.charts
    assert chart.traces[0].y == pytest.approx((truth.mean_um(),), abs=AXIAL / 4)
