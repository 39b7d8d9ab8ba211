"""The circular window of a stated area that holds most points, or the highest share of positive ones.

Which points a disc of fixed radius holds changes only where a point crosses its rim, so it is enough to look at the
discs with a point on their rim. For each point the disc is turned around it: a neighbour enters and leaves at angles
that follow from its distance, and one sorted sweep over these gives the counts at all angles (Chazelle BM, Lee DT. On a
circle placement problem. Computing 1986;36:1-16, solved here in O(n k log k) for k neighbours). It is exact.

Where that would take too long, as of very many nuclei in a large window, the discs are those whose centres lie on a
grid of an eighth of the radius: a better window may lie between them, but the counts of the one returned are true.

Points are (x, y) in um. A disc is closed: a point on its rim, to a part in 10^9, is inside.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_RIM: Final = 1e-9  # of the radius: what is on the rim
_ANGLE: Final = 1e-12  # in rad: of an arc that is none, far less than what the rim makes of a touch
_PAIRS: Final = 20_000_000  # neighbours up to which every disc is looked at
_STEPS: Final = 8  # of the grid, per radius

# (points, positive ones) int64 [n] of discs: what is to be highest, -1 where a disc is barred, and then what else
_Score = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.int64]]]


@dataclass(frozen=True, slots=True, eq=False)
class Hotspot:
    """A window: centre (x, y) and radius in um, and which of the points it holds, bool [n]."""

    centre: tuple[float, float]
    radius: float
    members: NDArray[np.bool_] = field(repr=False)

    @property
    def count(self) -> int:
        """How many points it holds."""
        return int(self.members.sum())

    def outline(self, corners: int = 64) -> NDArray[np.float64]:
        """[corners, 2]: a regular polygon of the window's area, in um."""
        angles = np.arange(corners) * (2.0 * math.pi / corners)
        # the polygon through the rim would be smaller than the window
        radius = self.radius * math.sqrt(2.0 * math.pi / (corners * math.sin(2.0 * math.pi / corners)))
        return np.asarray(self.centre) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def radius_um(area_mm2: float) -> float:
    """Radius of the circle of an area. Raises ValueError unless the area is positive."""
    if not area_mm2 > 0:
        raise ValueError(f"the area of a window must be positive, not {area_mm2} mm2")
    return 1000.0 * math.sqrt(area_mm2 / math.pi)


def densest(
    points: NDArray[np.float64], area_mm2: float, *, counted: NDArray[np.bool_] | None = None, least: int = 1
) -> Hotspot | None:
    """The window of `area_mm2` with most points, or most of the `counted` ones among windows of `least` points or more.

    Of several the one found first: discs go by the point on their rim, topmost, then leftmost, then by angle.

    Args:
        points: float64 [n, 2] in um.
        area_mm2: of the window.
        counted: bool [n], the points that are to be many; all where it is not given.
        least: fewest points, of whatever kind, that a window must hold.

    Returns:
        None where no window holds so many.
    """
    wanted = np.ones(len(points), bool) if counted is None else counted

    def most(total: NDArray[np.int64], found: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return np.where(total >= max(1, least), found, -1).astype(np.float64), np.zeros_like(total)

    return _best(points, wanted, radius_um(area_mm2), most)


def richest(
    points: NDArray[np.float64], positive: NDArray[np.bool_], area_mm2: float, *, least: int = 1
) -> Hotspot | None:
    """The window with the highest share of positive points among those of `least` points or more; else as `densest`.

    Of windows with the same share the one with more points.
    """

    def share(total: NDArray[np.int64], found: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return np.where(total >= max(1, least), found / np.maximum(1, total), -1.0), total

    return _best(points, positive, radius_um(area_mm2), share)


def _best(points: NDArray[np.float64], positive: NDArray[np.bool_], radius: float, score: _Score) -> Hotspot | None:
    if not len(points):
        return None
    tree = cKDTree(points)
    reach = radius * (1.0 + _RIM)
    if tree.count_neighbors(tree, 2.0 * reach) <= _PAIRS:
        centre = _swept(points, positive, tree, radius, score)
    else:
        centre = _on_grid(points, positive, tree, radius, score)
    if centre is None:
        return None
    members = _within(points, centre, reach)
    middle = _enclosing(points[members])
    if np.array_equal(_within(points, middle, reach), members):
        centre = middle  # the same points, and none on the rim that need not be
    return Hotspot((float(centre[0]), float(centre[1])), radius, members)


def _swept(
    points: NDArray[np.float64], positive: NDArray[np.bool_], tree: "cKDTree", radius: float, score: _Score
) -> NDArray[np.float64] | None:
    best, found = (-0.5, 0), None
    for number in np.lexsort((points[:, 0], points[:, 1])).tolist():
        near = np.array(tree.query_ball_point(points[number], 2.0 * radius * (1.0 + _RIM)), np.intp)
        offsets = points[near] - points[number]
        here = np.hypot(offsets[:, 0], offsets[:, 1]) <= radius * _RIM  # the point itself, and others in its place
        angles, total, positives = _turned(offsets[~here], positive[near][~here], radius)
        # with the point on the rim inside, and as if it were a hair outside
        for inside in (1, 0):
            some, of_them = inside * int(here.sum()), inside * int(positive[near][here].sum())
            value, at = _highest(*score(total + some, positives + of_them))
            if value > best:
                best = value
                out = radius * (1.0 if inside else 1.0 + 4.0 * _RIM)
                found = points[number] + out * np.array([math.cos(angles[at]), math.sin(angles[at])])
    return found


def _highest(first: NDArray[np.float64], second: NDArray[np.int64]) -> tuple[tuple[float, int], int]:
    """The highest pair of values, and where it stands first."""
    places = np.flatnonzero(first == first.max())
    at = int(places[second[places].argmax()])
    return (float(first[at]), int(second[at])), at


def _turned(
    offsets: NDArray[np.float64], positive: NDArray[np.bool_], radius: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The disc turned around a point on its rim: angles of its centre, and how many points and positive ones it holds.

    `offsets`: [n, 2] of the neighbours from the point, none in its place. One angle for each arc between two changes.
    """
    distance = np.hypot(offsets[:, 0], offsets[:, 1])
    reach = radius * (1.0 + _RIM)
    if not len(offsets):
        return np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.int64)
    middle = np.arctan2(offsets[:, 1], offsets[:, 0])
    half = np.arccos(np.clip((distance**2 + radius**2 - reach**2) / (2.0 * radius * distance), -1.0, 1.0))
    start, end = (middle - half) % (2.0 * math.pi), (middle + half) % (2.0 * math.pi)
    base = int((start > end).sum()), int(positive[start > end].sum())
    angles = np.concatenate([start, end])  # of two at one angle one enters before the other leaves
    order = np.argsort(angles, kind="stable")
    angles = angles[order]
    step = np.concatenate([np.ones(len(start), np.int64), np.full(len(start), -1)])[order]
    which = np.tile(positive, 2)[order]
    total, positives = (start_at + np.cumsum(step * of) for start_at, of in zip(base, (1, which), strict=True))
    after = np.append(angles[1:], angles[0] + 2.0 * math.pi)
    real = after - angles > _ANGLE  # not between two that come and go together
    return ((angles + after) / 2.0)[real], total[real], positives[real]


def _on_grid(
    points: NDArray[np.float64], positive: NDArray[np.bool_], tree: "cKDTree", radius: float, score: _Score
) -> NDArray[np.float64] | None:
    low, high = points.min(axis=0), points.max(axis=0)
    step = radius / _STEPS
    axes = []
    for start, end in zip(low, high, strict=True):
        steps = int((end - start) / 2.0 / step) + 1  # on both sides of the middle, so that a mirror image has the same
        axes.append((start + end) / 2.0 + step * np.arange(-steps, steps + 1))
    centres = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    reach = radius * (1.0 + _RIM)
    total = np.asarray(tree.query_ball_point(centres, reach, return_length=True), np.int64)
    found = np.zeros(len(centres), np.int64)
    if positive.any():
        found += cKDTree(points[positive]).query_ball_point(centres, reach, return_length=True)
    (value, _), at = _highest(*score(total, found))
    return np.asarray(centres[at], np.float64) if value >= 0 else None


def _within(points: NDArray[np.float64], centre: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    return np.asarray(np.hypot(points[:, 0] - centre[0], points[:, 1] - centre[1]) <= reach, np.bool_)


def _enclosing(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre of the smallest circle around the points, as near as single precision has it."""
    origin = points.mean(axis=0)
    centre, _ = cv2.minEnclosingCircle((points - origin).astype(np.float32))
    return np.asarray(origin + np.asarray(centre, np.float64), np.float64)
