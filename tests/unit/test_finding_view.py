"""A finding as the reading room sees it, also one that an earlier version kept."""

from typing import Any

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Finding, Measurement, Region
from airouter.domain.job import Source
from airouter.services.analyse import finding_values
from airouter.web.finding_view import finding_view
from tests import samples


def seen(place: Region | None = None, *measurements: Measurement, **changes: Any) -> dict[str, Any]:
    values = finding_values(Finding("f", "Finding", codes.EYE, place, measurements=measurements)) | changes
    return finding_view(values, samples.job(sources=(Source("i", "1.9", "d"), Source("p", "1.8", "d", "prior"))), None)


@pytest.mark.parametrize(
    ("concept", "value", "unit", "percent"),
    [
        (codes.CERTAINTY_OF_FINDING, 81.5, codes.PERCENT, 81.5),
        (codes.PROBABILITY, 0.25, codes.ZERO_TO_ONE, 25.0),
        (codes.PROBABILITY_OF_CANCER, 0.5, codes.ONE, 50.0),
        (codes.KI67_INDEX, 12.0, codes.PERCENT, None),
    ],
)
def test_confidence_is_in_percent(concept: Code, value: float, unit: Code, percent: float | None) -> None:
    assert seen(None, Measurement(concept, value, unit))["confidence"] == percent


@pytest.mark.parametrize("count", [3, 400, 401, 5000])
def test_a_long_outline_is_thinned_and_its_box_is_not(count: int) -> None:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.column_stack([100 + 50 * np.cos(angles), 200 + 30 * np.sin(angles)])
    region = seen(Region("POLYGON", "1.9", points))["region"]
    assert min(count, 200) <= len(region["points"]) <= 400
    assert region["box"] == pytest.approx([points[:, 0].min(), points[:, 1].min(), *points.max(axis=0)])
    assert region["series"] == samples.job().series_uid


def test_the_series_is_that_of_the_image() -> None:
    assert seen(Region("POINT", "1.8", np.array([[1.0, 2.0]])))["region"]["series"] is None, "a prior's is not known"
    header = type("Header", (), {"SeriesInstanceUID": "1.7"})()
    point = Finding("f", "Finding", codes.EYE, Region("POINT", "1.8", np.array([[1.0, 2.0]])))
    assert finding_values(point, {"1.8": header})["region"]["series"] == "1.7"


def test_what_earlier_versions_kept_is_shown_without_points() -> None:
    old = {"graphic": "POLYGON", "source": "1.9", "frame": 3}
    region = seen(region=old)["region"]
    assert region == {**old, "series": samples.job().series_uid, "box": None, "points": None}
