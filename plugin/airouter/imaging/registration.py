"""How an earlier photograph of an eye lies on the current one, or why that is not known.

Features first (SIFT, ratio test, RANSAC), then intensities (enhanced correlation coefficient on the vessels); then the
result has to prove itself. A registration that cannot is a value with its reason: a wrong overlay would show lesions
where there are none.
"""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.fundus_view import DIAMETER, View, view

Matrix = NDArray[np.float64]

_RATIO: Final = 0.8  # Lowe DG. Distinctive image features from scale-invariant keypoints. Int J Comput Vis 2004;60:91
_REACH: Final = 0.006 * DIAMETER  # pixels of the view by which a match may miss
_GAIN: Final = 0.03  # correlation by which an affine matrix must be better than a similarity to be taken
_FURTHEST: Final = 0.03 * DIAMETER  # pixels that the refinement may move any part of the field
_BLUR: Final = 1.5  # pixels, of the vessels: a shift of a pixel is not a miss


@dataclass(frozen=True, slots=True)
class Limits:
    """What a registration must reach; the defaults are measured, see docs/reference/ophthalmology.md.

    `inliers`: matches that agree. `spread`: area of their hull by that of the overlap. `error`: their root mean square
    error by the field's diameter. `correlation`: of the vessels in the overlap. `parts`: share of the overlap's parts
    in which the vessels correlate on their own. `overlap`: by the smaller field. `scale`, `rotation` (degrees): what
    two photographs of one eye can differ by.
    """

    inliers: int = 12
    spread: float = 0.12
    error: float = 0.005
    correlation: float = 0.35
    parts: float = 0.7
    overlap: float = 0.35
    scale: float = 1.8
    rotation: float = 25.0


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a registration holds; fields as in `Limits`, `error_pixels` in pixels of the current photograph.

    `before`: the correlation with the fields merely laid upon each other.
    """

    inliers: int
    spread: float
    error_pixels: float
    error: float
    before: float
    correlation: float
    parts: float
    overlap: float
    scale: float
    rotation: float


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """`matrix`: float64 [3, 3], from (column, row, 1) in pixels of the earlier photograph to those of the current one.

    `kind`: RIGID_SCALE, or AFFINE where that explains clearly more.
    """

    matrix: Matrix
    kind: str
    quality: Quality


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Why not, to follow "because"; the quality as far as it is known."""

    reason: str
    quality: Quality | None = None


def register(
    fixed: NDArray[np.uint8], moving: NDArray[np.uint8], limits: Limits | None = None
) -> Registered | Unregistered:
    """Lay `moving` on `fixed`, both photographs as uint8 [rows, columns, 3]. The same input gives the same answer."""
    current, earlier = view(fixed), view(moving)
    for name, found in (("current", current), ("earlier", earlier)):
        if isinstance(found, str):
            return Unregistered(f"in the {name} photograph {found}")
    assert isinstance(current, View) and isinstance(earlier, View)
    return register_views(current, earlier, limits or Limits())


def register_views(fixed: View, moving: View, limits: Limits) -> Registered | Unregistered:
    """The same of views that are made already."""
    source, target = _matches(fixed, moving)
    if len(source) < limits.inliers:
        return Unregistered(f"only {len(source)} details of the photographs match, {limits.inliers} are needed")
    first, agree = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_REACH, maxIters=10_000, confidence=0.9999
    )
    inliers = agree.ravel().astype(bool) if agree is not None else np.zeros(len(source), bool)
    if first is None or inliers.sum() < limits.inliers:
        return Unregistered(f"only {int(inliers.sum())} matching details agree, {limits.inliers} are needed")
    matrix = np.vstack([np.asarray(first, np.float64), [0.0, 0.0, 1.0]])
    quality = _quality(fixed, moving, matrix, source[inliers], target[inliers])
    if why := _implausible(quality, limits):
        return Unregistered(why, quality)
    matrix, kind = _refined(fixed, moving, matrix, quality.correlation)
    quality = replace(_quality(fixed, moving, matrix, *_agreeing(source, target, matrix)), spread=quality.spread)
    if why := _implausible(quality, limits) or _unproven(quality, limits):
        return Unregistered(why, quality)
    return Registered(np.linalg.inv(fixed.to_view) @ matrix @ moving.to_view, kind, quality)


def _matches(fixed: View, moving: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points of the earlier and of the current view that look alike, float32 [n, 2] each, best first."""
    ours, theirs = moving.descriptors, fixed.descriptors
    none = np.zeros((0, 2), np.float32)
    if min(len(ours), len(theirs)) < 2:
        return none, none
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {m.queryIdx: m.trainIdx for m in matcher.match(theirs, ours)}
    pairs = [p for p in matcher.knnMatch(ours, theirs, k=2) if len(p) == 2]
    good = [a for a, b in pairs if a.distance < _RATIO * b.distance and back.get(a.trainIdx) == a.queryIdx]
    good.sort(key=lambda m: (m.distance, m.queryIdx))
    if not good:
        return none, none
    source = moving.points[[m.queryIdx for m in good]]
    target = fixed.points[[m.trainIdx for m in good]]
    _, once = np.unique(np.round(target), axis=0, return_index=True)  # one point may have several orientations
    once.sort()
    return source[once], target[once]


def _agreeing(
    source: NDArray[np.float32], target: NDArray[np.float32], matrix: Matrix
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    inside = np.linalg.norm(_moved(matrix, source) - target, axis=1) <= _REACH
    return source[inside], target[inside]


def _moved(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2], np.float64)


def _quality(
    fixed: View, moving: View, matrix: Matrix, source: NDArray[np.float32], target: NDArray[np.float32]
) -> Quality:
    overlap = fixed.field & (_warped(moving.field.astype(np.float32), matrix, fixed) > 0.5)
    smaller = min(float(moving.field.sum()) * abs(np.linalg.det(matrix[:2, :2])), float(fixed.field.sum()))
    misses = np.linalg.norm(_moved(matrix, source) - target, axis=1)
    error = float(np.sqrt((misses**2).mean())) if len(misses) else float("inf")
    hull = cv2.contourArea(cv2.convexHull(target)) if len(target) >= 3 else 0.0
    area = float(overlap.sum())
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    return Quality(
        inliers=len(source),
        spread=hull / area if area else 0.0,
        error_pixels=error / fixed.scale,
        error=error / DIAMETER,
        before=_correlation(fixed, moving, _laid_upon(fixed, moving))[0],
        correlation=_correlation(fixed, moving, matrix)[0],
        parts=_correlation(fixed, moving, matrix)[1],
        overlap=area / smaller if smaller else 0.0,
        scale=scale,
        rotation=float(np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))),
    )


def _laid_upon(fixed: View, moving: View) -> Matrix:
    """The middle of one field on that of the other."""
    matrix = np.eye(3)
    middles = [np.array([np.nonzero(v.field)[axis].mean() for axis in (1, 0)]) for v in (fixed, moving)]
    matrix[:2, 2] = middles[0] - middles[1]
    return matrix


def _warped(values: NDArray[np.float32], matrix: Matrix, onto: View) -> NDArray[np.float32]:
    rows, columns = onto.field.shape
    return np.asarray(cv2.warpAffine(values, matrix[:2], (columns, rows), flags=cv2.INTER_LINEAR), np.float32)


def _correlation(fixed: View, moving: View, matrix: Matrix) -> tuple[float, float]:
    """Pearson's coefficient of the vessels in the overlap, and the share of its parts that reach half of it alone.

    The parts are the cells of a 4 x 4 grid over the overlap that are at least half within it.
    """
    overlap = fixed.field & (_warped(moving.field.astype(np.float32), matrix, fixed) > 0.5)
    if overlap.sum() < 100:
        return 0.0, 0.0
    ours, theirs = (
        np.asarray(cv2.GaussianBlur(each, (0, 0), _BLUR), np.float32)
        for each in (fixed.vessels, _warped(moving.vessels, matrix, fixed))
    )
    whole = _pearson(ours[overlap], theirs[overlap])
    rows, columns = np.nonzero(overlap.any(axis=1))[0], np.nonzero(overlap.any(axis=0))[0]
    edges = [np.linspace(side[0], side[-1] + 1, 5).astype(int) for side in (rows, columns)]
    alone = []
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            inside = overlap[top:bottom, left:right]
            if inside.mean() >= 0.5:
                alone.append(_pearson(ours[top:bottom, left:right][inside], theirs[top:bottom, left:right][inside]))
    return whole, float(np.mean(np.array(alone) >= 0.2)) if alone else 0.0


def _pearson(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def _refined(fixed: View, moving: View, matrix: Matrix, correlation: float) -> tuple[Matrix, str]:
    """The matrix after the intensities had their say, and its kind; unchanged where that does not help.

    Evangelidis GD, Psarakis EZ. Parametric image alignment using enhanced correlation coefficient maximization. IEEE
    Trans Pattern Anal Mach Intell 2008;30:1858-1865. It knows no similarity: of the affine matrix it finds, the nearest
    similarity over the field is taken unless the affine one correlates clearly better.
    """
    best, kind = matrix, "RIGID_SCALE"
    overlap = fixed.field & (_warped(moving.field.astype(np.float32), matrix, fixed) > 0.5)
    start = np.linalg.inv(matrix)[:2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
    try:
        _, found = cv2.findTransformECC(
            fixed.vessels, moving.vessels, start, cv2.MOTION_AFFINE, stop, moving.field.astype(np.uint8), 5
        )
    except cv2.error:  # it raises where it does not converge
        return best, kind
    affine = np.asarray(np.linalg.inv(np.vstack([np.asarray(found, np.float64), [0.0, 0.0, 1.0]])), np.float64)
    points = np.argwhere(overlap)[::97, ::-1].astype(np.float64)
    placed = _moved(np.linalg.inv(matrix), points)
    similar = _similarity(placed, _moved(affine, placed))
    for candidate, name, more in ((similar, "RIGID_SCALE", 0.0), (affine, "AFFINE", _GAIN)):
        far = float(np.linalg.norm(_moved(candidate, placed) - points, axis=1).max())
        better = _correlation(fixed, moving, candidate)[0]
        if far <= _FURTHEST and better > correlation + more:
            best, kind, correlation = candidate, name, better
    return best, kind


def _similarity(source: Matrix, target: Matrix) -> Matrix:
    """Least-squares similarity (Umeyama S. IEEE Trans Pattern Anal Mach Intell 1991;13:376-380), without reflection."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    power = float((a**2).sum())
    along, across = float((a * b).sum()) / power, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / power
    matrix = np.array([[along, -across, 0.0], [across, along, 0.0], [0.0, 0.0, 1.0]])
    matrix[:2, 2] = target.mean(axis=0) - matrix[:2, :2] @ source.mean(axis=0)
    return matrix


def _implausible(quality: Quality, limits: Limits) -> str | None:
    """What two photographs of one eye cannot differ by."""
    if not 1.0 / limits.scale <= quality.scale <= limits.scale:
        return f"the scale of the fields would differ by an implausible factor of {quality.scale:.2f}"
    if abs(quality.rotation) > limits.rotation:
        return f"the eye would be rotated by an implausible {abs(quality.rotation):.0f} degrees"
    if quality.overlap < limits.overlap:
        return f"only {100 * quality.overlap:.0f} % of the fields overlap, {100 * limits.overlap:.0f} % are needed"
    if quality.spread < limits.spread:
        return (
            f"the matching details lie in one corner: they span {100 * quality.spread:.0f} % of the overlap, "
            f"{100 * limits.spread:.0f} % are needed"
        )
    return None


def _unproven(quality: Quality, limits: Limits) -> str | None:
    """What the final matrix lacks."""
    if quality.inliers < limits.inliers:
        return f"only {quality.inliers} matching details agree in the end, {limits.inliers} are needed"
    if quality.error > limits.error:
        return f"the matching details miss each other by {100 * quality.error:.2f} % of the field's diameter"
    if quality.correlation < quality.before - 0.01:
        return f"the vessels correlate less than before: {quality.correlation:.2f} after {quality.before:.2f}"
    if quality.correlation < limits.correlation:
        return f"the vessels correlate by {quality.correlation:.2f} only, {limits.correlation:.2f} is needed"
    if quality.parts < limits.parts:
        return (
            f"the vessels fit in {100 * quality.parts:.0f} % of the parts of the overlap only, "
            f"{100 * limits.parts:.0f} % are needed"
        )
    return None
