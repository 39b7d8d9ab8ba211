"""How an earlier OCT raster lies on the current one, seen from the front, or why that is not known.

What both show at the same place are the shadows of the retinal vessels on the pigment epithelium. The maps are laid on
each other by shift and rotation alone: their spacing is known, so their scale is.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.filters import sato

Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

_BAND_UM: Final = (-40.0, 80.0)  # about Bruch's membrane: pigment epithelium and inner choroid, where shadows fall
_STEP_UM: Final = 30.0  # of the common grid
_FINE_UM: Final = 40.0  # standard deviation of the smoothing: vessels stay, speckle goes
_COARSE_UM: Final = 300.0  # what is larger than this is light and pigment, not vessels
_CALIBRES: Final = (2.0, 3.0)  # cells of the common grid, sigma: half widths of the shadows
_TURNS: Final = tuple(np.arange(-12.0, 12.1, 2.0))  # degrees that are tried
_ALONE: Final = 0.2  # least correlation of a part of the overlap by itself
_AWAY_UM: Final = 400.0  # a second best place is so far from the best one


@dataclass(frozen=True, slots=True, eq=False)
class EnFace:
    """A raster from the front: float64 [B-scans, columns], NaN where not known, and the distances of both in um."""

    values: NDArray[np.float64]
    row_um: float
    column_um: float


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """What a registration must reach; the defaults are measured, see docs/reference/ophthalmology.md.

    `correlation`: of the shadows in the overlap. `lead`: by how much it is above that of any place `_AWAY_UM` away.
    `parts`: share of the overlap's parts in which they correlate on their own. `overlap`: by the smaller scan.
    `rotation`: degrees. `shift_mm`: of the middle of the scan.
    """

    correlation: float = 0.36
    lead: float = 0.12
    parts: float = 0.5
    overlap: float = 0.5
    rotation: float = 12.0
    shift_mm: float = 2.5


@dataclass(frozen=True, slots=True)
class ScanQuality:
    """How well it holds; as in `ScanLimits`. `before`: the correlation of the scans laid middle on middle."""

    before: float
    correlation: float
    lead: float
    parts: float
    overlap: float
    rotation: float
    shift_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredScan:
    """`matrix`: float64 [3, 3], from (column, B-scan, 1) of the earlier raster to those of the current one.

    The centre of the first A-scan of the first B-scan is (0.5, 0.5). In um it is a shift and a rotation.
    """

    matrix: Matrix
    quality: ScanQuality


@dataclass(frozen=True, slots=True)
class UnregisteredScan:
    """Why not, to follow "because"; the quality as far as it is known."""

    reason: str
    quality: ScanQuality | None = None


def shadows(
    frames: Iterable[NDArray[np.uint8]], bm: NDArray[np.float64], row_um: float, column_um: float, axial_um: float
) -> EnFace:
    """Mean brightness of each A-scan about Bruch's membrane.

    Args:
        frames: B-scans, uint8 [rows, columns] each.
        bm: Bruch's membrane [B-scans, columns] in rows from the top edge, NaN where not trusted.
        row_um, column_um, axial_um: distances of B-scans, of A-scans, of rows.
    """
    made = np.full(bm.shape, np.nan)
    offsets = np.arange(_BAND_UM[0], _BAND_UM[1] + 1e-6, axial_um) / axial_um
    for number, frame in enumerate(frames):
        at = bm[number][None] + offsets[:, None]
        rows = np.clip(np.nan_to_num(at), 0, frame.shape[0] - 1).astype(np.intp)
        seen = np.take_along_axis(frame, rows, axis=0).mean(axis=0, dtype=np.float64)
        within = np.isfinite(bm[number]) & (at[0] >= 0) & (at[-1] < frame.shape[0])
        made[number, within] = seen[within]
    return EnFace(made, row_um, column_um)


def register_scans(
    fixed: EnFace, moving: EnFace, limits: ScanLimits | None = None
) -> RegisteredScan | UnregisteredScan:
    """Lay `moving` on `fixed`. The same input gives the same answer."""
    limits = limits or ScanLimits()
    (ours, known), (theirs, there) = _pattern(fixed), _pattern(moving)
    if not known.any() or not there.any():
        return UnregisteredScan("one of the scans shows nothing below the retina")
    start, best = _searched(ours, known, theirs, there, limits.overlap)
    matrix = _refined(ours, known, theirs, there, start)
    correlation, overlap = _agreement(ours, known, theirs, there, matrix)
    middle = (np.array(there.shape[::-1]) - 1) / 2
    shift = matrix[:2, :2] @ middle + matrix[:2, 2] - (np.array(known.shape[::-1]) - 1) / 2
    quality = ScanQuality(
        before=_agreement(ours, known, theirs, there, _middle_on_middle(known.shape, there.shape))[0],
        correlation=correlation,
        lead=correlation - best,
        parts=_parts(ours, known, theirs, there, matrix),
        overlap=overlap,
        rotation=float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))),
        shift_mm=float(np.linalg.norm(shift)) * _STEP_UM / 1000.0,
    )
    if why := _refusal(quality, limits):
        return UnregisteredScan(why, quality)
    return RegisteredScan(np.linalg.inv(_to_grid(fixed)) @ matrix @ _to_grid(moving), quality)


def warp(values: NDArray[np.float64], matrix: Matrix, shape: tuple[int, int]) -> NDArray[np.float64]:
    """An earlier map on the current raster of this shape, linearly interpolated; NaN where it does not cover it.

    `matrix` as of `RegisteredScan`. A cell next to one that is not known is not known either.
    """
    back = np.linalg.inv(_half() @ matrix @ np.linalg.inv(_half()))
    order = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])  # (column, row) to (row, column)
    back = order @ back @ order
    moved = ndimage.affine_transform(values, back[:2, :2], back[:2, 2], shape, order=1, mode="constant", cval=np.nan)
    return np.asarray(moved, np.float64)


def _half() -> Matrix:
    """From pixels whose first centre is (0.5, 0.5) to indices."""
    return np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])


def _to_grid(scan: EnFace) -> Matrix:
    """From (column, B-scan) of a raster to indices of the common grid."""
    x, y = scan.column_um / _STEP_UM, scan.row_um / _STEP_UM
    return np.array([[x, 0.0, -0.5], [0.0, y, -0.5], [0.0, 0.0, 1.0]])


def _pattern(scan: EnFace) -> tuple[Float, NDArray[np.bool_]]:
    """How much the common grid looks like a vessel's shadow, 0 and more, of unit variance; and where it is known.

    B-scans differ in brightness: each is brought to the same median first. Ridges after Sato, as in
    imaging.fundus_view.
    """
    known = np.isfinite(scan.values)
    with np.errstate(invalid="ignore"):
        middle = np.array([np.median(row[k]) if k.any() else np.nan for row, k in zip(scan.values, known, strict=True)])
        even = np.where(known, scan.values / np.maximum(middle, 1.0)[:, None] - 1.0, 0.0)
    size = [
        max(2, round(n * um / _STEP_UM)) for n, um in zip(scan.values.shape, (scan.row_um, scan.column_um), strict=True)
    ]
    back = np.linalg.inv(_to_grid(scan))
    columns = np.arange(size[1]) * back[0, 0] + back[0, 2] - 0.5
    rows = np.arange(size[0]) * back[1, 1] + back[1, 2] - 0.5
    # along the A-scans first: they are much denser than the grid may be, and their noise is to be averaged
    dense = _smoothed(even, known, (0.0, _FINE_UM / scan.column_um))
    at = np.meshgrid(rows, columns, indexing="ij")
    values = ndimage.map_coordinates(dense, at, order=1, mode="nearest")
    seen = ndimage.map_coordinates(known.astype(np.float64), at, order=1, mode="nearest") > 0.5
    fine = _smoothed(values, seen, (_FINE_UM / _STEP_UM,) * 2)
    wide = _smoothed(values, seen, (_COARSE_UM / _STEP_UM,) * 2)
    made = np.where(seen, fine - wide, 0.0)
    if seen.any():
        # a few bright spots must not outweigh the shadows, nor broad shades the narrow ones
        made = np.clip(made / max(float(made[seen].std()), 1e-9), -4.0, 2.0) * seen
        ridges = np.asarray(sato(made, sigmas=_CALIBRES, black_ridges=True, mode="reflect"), np.float64) * seen
        made = ridges / max(float(ridges[seen].std()), 1e-9)
    return made.astype(np.float32), seen


def _smoothed(values: NDArray[np.float64], known: NDArray[np.bool_], sigma: tuple[float, float]) -> NDArray[np.float64]:
    """Gaussian smoothing over what is known."""
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma, mode="constant")
    total = ndimage.gaussian_filter(np.where(known, values, 0.0), sigma, mode="constant")
    return np.where(known, total / np.maximum(weight, 1e-6), 0.0)


def _searched(
    ours: Float, known: NDArray[np.bool_], theirs: Float, there: NDArray[np.bool_], share: float
) -> tuple[Matrix, float]:
    """The best place over all shifts and turns, and the correlation of the best one elsewhere."""
    middle = (np.array(there.shape[::-1]) - 1) / 2
    best: tuple[float, Matrix] = (-2.0, np.eye(3))
    planes: list[tuple[NDArray[np.float64], Matrix, tuple[int, int]]] = []
    for turn in _TURNS:
        around = np.vstack([cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), float(turn), 1.0), [0, 0, 1]])
        turned, seen = _placed(theirs, there, around, there.shape)
        plane, origin = _correlations(ours, known, turned, seen, share)
        row, column = np.unravel_index(int(plane.argmax()), plane.shape)
        shift = np.eye(3)
        shift[:2, 2] = (column - origin[1], row - origin[0])
        if plane[row, column] > best[0]:
            best = (float(plane[row, column]), shift @ around)
        planes.append((plane, around, origin))
    second = -1.0
    placed = (best[1] @ [*middle, 1.0])[:2]
    for plane, around, origin in planes:
        turned_middle = (around @ [*middle, 1.0])[:2]
        rows, columns = np.indices(plane.shape)
        away = np.hypot(
            turned_middle[0] + columns - origin[1] - placed[0], turned_middle[1] + rows - origin[0] - placed[1]
        )
        elsewhere = plane[away * _STEP_UM >= _AWAY_UM]
        second = max(second, float(elsewhere.max())) if elsewhere.size else second
    return best[1], second


def _correlations(
    ours: Float, known: NDArray[np.bool_], theirs: Float, there: NDArray[np.bool_], share: float
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Pearson's coefficient in the overlap for every shift, and which entry is no shift.

    Padfield D. Masked object registration in the Fourier domain. IEEE Trans Image Process 2012;21:2706-2718. Shifts
    with less than `share` of the smaller scan in the overlap get -1.
    """
    shape = tuple(a + b - 1 for a, b in zip(known.shape, there.shape, strict=True))
    padded = tuple(fft.next_fast_len(n, real=True) for n in shape)

    def forward(plane: NDArray[np.floating] | NDArray[np.bool_], flip: bool = False) -> NDArray[np.complex128]:
        values = np.asarray(plane, np.float64)
        return np.asarray(fft.rfft2(values[::-1, ::-1] if flip else values, padded))

    def joined(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> NDArray[np.float64]:
        return np.asarray(fft.irfft2(one * other, padded)[: shape[0], : shape[1]])

    a, a2, m = forward(ours), forward(ours**2), forward(known)
    b, b2, n = forward(theirs, True), forward(theirs**2, True), forward(there, True)
    count = np.maximum(joined(m, n), 1e-3)
    sum_a, sum_b = joined(a, n), joined(m, b)
    covariance = joined(a, b) - sum_a * sum_b / count
    variance = (joined(a2, n) - sum_a**2 / count) * (joined(m, b2) - sum_b**2 / count)
    valid = (count >= min(known.sum(), there.sum()) * share) & (variance > 1e-6)
    made = np.where(valid, covariance / np.sqrt(np.maximum(variance, 1e-12)), -1.0)
    return made, (there.shape[0] - 1, there.shape[1] - 1)


def _placed(
    values: Float, there: NDArray[np.bool_], matrix: Matrix, shape: tuple[int, ...]
) -> tuple[Float, NDArray[np.bool_]]:
    size = (shape[1], shape[0])
    moved = cv2.warpAffine(values, matrix[:2], size, flags=cv2.INTER_LINEAR)
    seen = cv2.warpAffine(there.astype(np.float32), matrix[:2], size, flags=cv2.INTER_LINEAR) > 0.99
    return np.where(seen, moved, 0.0).astype(np.float32), np.asarray(seen, np.bool_)


def _refined(ours: Float, known: NDArray[np.bool_], theirs: Float, there: NDArray[np.bool_], start: Matrix) -> Matrix:
    """By the enhanced correlation coefficient; the start where that does not converge or does not help."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-6)
    first = np.linalg.inv(start)[:2].astype(np.float32)
    try:
        _, found = cv2.findTransformECC(ours, theirs, first, cv2.MOTION_EUCLIDEAN, stop, there.astype(np.uint8), 1)
    except cv2.error:  # it raises where it does not converge
        return start
    refined = np.linalg.inv(np.vstack([np.asarray(found, np.float64), [0.0, 0.0, 1.0]]))
    before, after = (_agreement(ours, known, theirs, there, m)[0] for m in (start, refined))
    return refined if after > before else start


def _agreement(
    ours: Float, known: NDArray[np.bool_], theirs: Float, there: NDArray[np.bool_], matrix: Matrix
) -> tuple[float, float]:
    """Pearson's coefficient in the overlap, and the overlap by the smaller scan."""
    moved, seen = _placed(theirs, there, matrix, known.shape)
    both = known & seen
    share = float(both.sum()) / max(1.0, float(min(known.sum(), there.sum())))
    if both.sum() < 100:
        return 0.0, share
    a, b = ours[both] - ours[both].mean(), moved[both] - moved[both].mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return (float((a * b).sum()) / norm if norm > 0 else 0.0), share


def _parts(ours: Float, known: NDArray[np.bool_], theirs: Float, there: NDArray[np.bool_], matrix: Matrix) -> float:
    """Share of the overlap's parts in which the patterns correlate by `_ALONE` or more on their own.

    The parts are the cells of a 4 x 4 grid over the overlap that are at least half within it. One vessel that happens
    to lie on another one's place does not make the scans agree everywhere.
    """
    moved, seen = _placed(theirs, there, matrix, known.shape)
    both = known & seen
    if not both.any():
        return 0.0
    edges = [np.linspace(at[0], at[-1] + 1, 5).astype(int) for at in (np.flatnonzero(both.any(axis=a)) for a in (1, 0))]
    alone = []
    for top, bottom in itertools.pairwise(edges[0]):
        for left, right in itertools.pairwise(edges[1]):
            cell = (slice(top, bottom), slice(left, right))
            inside = both[cell]
            if inside.mean() >= 0.5:
                a, b = (each[cell][inside] - each[cell][inside].mean() for each in (ours, moved))
                norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
                alone.append(norm > 0 and float((a * b).sum()) / norm >= _ALONE)
    return float(np.mean(alone)) if alone else 0.0


def _middle_on_middle(fixed: tuple[int, ...], moving: tuple[int, ...]) -> Matrix:
    made = np.eye(3)
    made[:2, 2] = (np.array(fixed[::-1]) - np.array(moving[::-1])) / 2
    return made


def _refusal(quality: ScanQuality, limits: ScanLimits) -> str | None:
    if quality.overlap < limits.overlap:
        return f"only {100 * quality.overlap:.0f} % of the scans overlap, {100 * limits.overlap:.0f} % are needed"
    if abs(quality.rotation) > limits.rotation:
        return f"the scan would be rotated by an implausible {abs(quality.rotation):.0f} degrees"
    if quality.shift_mm > limits.shift_mm:
        return f"the scan would be shifted by an implausible {quality.shift_mm:.1f} mm"
    if quality.correlation < quality.before - 0.01:
        return f"the vessels correlate less than before: {quality.correlation:.2f} after {quality.before:.2f}"
    if quality.correlation < limits.correlation:
        return f"the vessels correlate by {quality.correlation:.2f} only, {limits.correlation:.2f} is needed"
    if quality.parts < limits.parts:
        return (
            f"the vessels fit in {100 * quality.parts:.0f} % of the parts of the overlap only, "
            f"{100 * limits.parts:.0f} % are needed"
        )
    if quality.lead < limits.lead:
        return f"another place fits nearly as well: {quality.lead:.2f} less correlation, {limits.lead:.2f} is needed"
    return None
