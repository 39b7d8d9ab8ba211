"""Test points of a series of visual fields: which worsen by linear regression, which clusters they form, which events.

`levels` is float64 [tests, points] in dB, oldest test first; `points` are their (x, y) in degrees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.pipelines.trend import Trend, trend

_BASELINE: Final = 2
# Neighbours of a square grid, along its rows and its diagonals, with room for coordinates that are rounded.
_NEAR: Final = 1.5


@dataclass(frozen=True, slots=True)
class Event:
    """`tests`: in how many of the latest tests (3, 2, else 0) the same `points` (indices) repeat their loss.

    `blind`: how many points cannot show such a loss, since they were too low at baseline.
    """

    tests: int
    points: tuple[int, ...]
    blind: int


def worsening(
    years: Sequence[float],
    points: Sequence[tuple[float, float]],
    levels: NDArray[np.float64],
    rate: float,
    p: float,
    least: int,
) -> list[tuple[float, float]]:
    """The points whose slope is `rate` dB per year or steeper downwards, with a p-value below `p`."""
    found = []
    for at, column in zip(points, levels.T, strict=True):
        line = trend(years, column.tolist(), least)
        if isinstance(line, Trend) and line.slope <= rate and line.p < p:
            found.append(at)
    return found


def cluster(members: Sequence[tuple[float, float]], points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The largest contiguous set of `members` in the grid of `points`, within the upper or the lower half of the field.

    Nerve fibres do not cross the horizontal midline, so a set that does is two.
    """
    step = min((math.dist(a, b) for n, a in enumerate(points) for b in points[:n]), default=0.0)
    left = list(members)
    largest: list[tuple[float, float]] = []
    while left:
        group = [left.pop()]
        for at in group:  # grows while it is walked through
            near = [b for b in left if math.dist(at, b) <= _NEAR * step and (at[1] > 0) == (b[1] > 0)]
            group += near
            left = [b for b in left if b not in near]
        largest = max(largest, sorted(group), key=len)
    return largest


def event(levels: NDArray[np.float64], loss: float, least: int, floor: float) -> Event:
    """Whether at least `least` points lie `loss` dB or more below the mean of the first two tests, repeatedly.

    The same points must do so in each of the three latest tests after baseline, or of the two latest. Raises ValueError
    for fewer than four tests.
    """
    if len(levels) < _BASELINE + 2:
        raise ValueError(f"{len(levels)} tests are too few for an event")
    baseline = levels[:_BASELINE].mean(axis=0)
    lost = baseline - levels[_BASELINE:] >= loss
    blind = int((baseline - floor < loss).sum())
    for tests in (3, 2):
        if len(lost) >= tests:
            same = np.flatnonzero(lost[-tests:].all(axis=0))
            if len(same) >= least:
                return Event(tests, tuple(int(n) for n in same), blind)
    return Event(0, (), blind)
