"""How brown the membrane of each cell is, and how much of its circumference.

Pure array functions: no model runs here and nothing is read from a file. A cell is known by its nucleus. Rays leave the
centre of the nucleus in `ANGLES` directions; in each, the membrane is where DAB is densest between the edge of the
nucleus and the edge of the cell.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

# 5 degrees apart: along the circumference of a cell of 10 um less than 0.5 um, a pixel of most models.
ANGLES: Final = 72

_STEP_PIXELS: Final = 0.5  # between two samples of a ray
# Neighbours share a membrane, and the middle between their nuclei is not where it must lie.
_SHARED_UM: Final = 1.0
_LARGEST_UM: Final = 20.0  # what of a nucleus is farther from its centre is no nucleus of one cell
_TOGETHER: Final = 64  # cells looked at in one go: bounds the memory


def cells(labels: NDArray[np.int32], reach_um: float, spacing_um: float) -> NDArray[np.int32]:
    """Each nucleus grown by at most `reach_um` on all sides; where two meet each pixel is the nearer one's.

    Args:
        labels: int32 [rows, columns], 0 is background, 1..k the nuclei.
        reach_um: how far a cell reaches from its nucleus, in micrometres.
        spacing_um: size of a pixel in micrometres.

    Returns:
        int32 [rows, columns]: the same numbers, now of whole cells, nucleus included.
    """
    return np.asarray(expand_labels(labels, reach_um / spacing_um), np.int32)


def profiles(
    density: NDArray[np.float32],
    labels: NDArray[np.int32],
    wanted: NDArray[np.integer],
    *,
    reach_um: float,
    spacing_um: float,
) -> NDArray[np.float32]:
    """The highest density that each ray from a nucleus meets in the cell around it.

    A ray is followed from the last pixel of its own nucleus for at most `reach_um`, no farther than 1 um beyond the
    cell as `cells` gives it, and not into or past another nucleus. Densities between pixels are interpolated linearly.

    Args:
        density: float32 [rows, columns], optical density of DAB.
        labels: int32 [rows, columns], 0 is background, 1..k the nuclei.
        wanted: the nuclei asked for, each in `labels`.
        reach_um: how far a cell reaches from its nucleus, in micrometres.
        spacing_um: size of a pixel in micrometres.

    Returns:
        float32 [wanted, ANGLES]: direction n is n * 360 / ANGLES degrees, clockwise in the picture from its right.
        NaN where a ray has nothing to see: another nucleus touches there, or the picture ends.

    Raises:
        ValueError: the pictures differ in shape, or a length is not positive.
    """
    if density.shape != labels.shape:
        raise ValueError(f"density {density.shape} and labels {labels.shape} differ in shape")
    if not (reach_um > 0 and spacing_um > 0):
        raise ValueError(f"lengths must be positive, not {reach_um} and {spacing_um} um")
    if not len(wanted):
        return np.zeros((0, ANGLES), np.float32)
    boxes = ndimage.find_objects(labels)
    whole = cells(labels, reach_um, spacing_um)
    parts = [
        _profiles(density, labels, whole, boxes, np.asarray(some, np.int64), reach_um / spacing_um, spacing_um)
        for some in np.split(wanted, range(_TOGETHER, len(wanted), _TOGETHER))
    ]
    return np.concatenate(parts)


def _profiles(
    density: NDArray[np.float32],
    labels: NDArray[np.int32],
    whole: NDArray[np.int32],
    boxes: Sequence[Any],
    wanted: NDArray[np.int64],
    reach: float,
    spacing_um: float,
) -> NDArray[np.float32]:
    """As `profiles`, of a few nuclei; `whole` are the cells, `boxes` where each nucleus lies, `reach` in pixels."""
    numbers = wanted[:, None, None]
    x, y, along = _rays(labels, boxes, wanted, reach, _LARGEST_UM / spacing_um)
    inside = (x >= 0) & (x <= labels.shape[1] - 1) & (y >= 0) & (y <= labels.shape[0] - 1)

    nucleus = _nearest(labels, x, y)
    edge = np.where(nucleus == numbers, along, 0.0).max(axis=2, keepdims=True)
    beyond = along > edge
    other = np.maximum.accumulate(beyond & (nucleus > 0), axis=2)
    # the last sample in the own cell before the ray leaves it for the first time
    left = np.maximum.accumulate(beyond & (_nearest(whole, x, y) != numbers), axis=2)
    end = np.where(left, 0.0, along).max(axis=2, keepdims=True) + _SHARED_UM / spacing_um
    seen = beyond & inside & ~other & (along <= np.minimum(edge + reach, end))

    values = ndimage.map_coordinates(density, [y.ravel(), x.ravel()], order=1, mode="nearest").reshape(x.shape)
    highest = np.where(seen, values, -np.inf).max(axis=2)
    return np.where(np.isfinite(highest), highest, np.nan).astype(np.float32)


def stained(profile: NDArray[np.float32], threshold: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Completeness and intensity of the membranes.

    Args:
        profile: float32 [n, ANGLES], as `profiles` gives them.
        threshold: optical density from which on a membrane is stained.

    Returns:
        [n]: share of the directions that are stained, among those that see anything, 0 where none does.
        [n]: median density over the stained directions, 0 where none is. Not the mean: a side that a cell shares with
            a browner neighbour must not decide for the others.
    """
    known = np.isfinite(profile)
    brown = known & (np.where(known, profile, -np.inf) >= threshold)
    share = brown.sum(axis=1) / np.maximum(1, known.sum(axis=1))
    intensity = np.zeros(len(profile))
    some = brown.any(axis=1)
    intensity[some] = np.nanmedian(np.where(brown[some], profile[some], np.nan), axis=1)
    return share.astype(np.float64), intensity


def _rays(
    labels: NDArray[np.int32], boxes: Sequence[Any], wanted: NDArray[np.int64], reach: float, largest: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Column and row [n, ANGLES, samples] of the samples, as indices of pixels; [samples]: how far out they lie."""
    centres = np.zeros((len(wanted), 2))
    farthest = 0.0
    for n, label in enumerate(wanted.tolist()):
        rows, columns = boxes[label - 1]
        row, column = np.nonzero(labels[rows, columns] == label)
        centres[n] = column.mean() + columns.start, row.mean() + rows.start
        farthest = max(farthest, float(np.hypot(column - column.mean(), row - row.mean()).max()))
    end = min(farthest, largest) + reach + 1.0
    along = np.arange(_STEP_PIXELS, end + _STEP_PIXELS, _STEP_PIXELS, dtype=np.float32)
    turn = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    x = centres[:, 0, None, None] + np.cos(turn)[:, None] * along
    y = centres[:, 1, None, None] + np.sin(turn)[:, None] * along
    return x.astype(np.float32), y.astype(np.float32), along


def _nearest(labels: NDArray[np.int32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.int32]:
    """The label under each place; beyond the edge that of the nearest pixel."""
    column = np.clip(np.rint(x), 0, labels.shape[1] - 1).astype(np.intp)
    row = np.clip(np.rint(y), 0, labels.shape[0] - 1).astype(np.intp)
    return np.asarray(labels[row, column], np.int32)


def grades(
    share: NDArray[np.float64],
    intensity: NDArray[np.float64],
    *,
    least_share: float,
    complete_share: float,
    weak: float,
    strong: float,
) -> NDArray[np.int64]:
    """Class of each cell: 0 none, 1 faint or incomplete, 2 weak to moderate and complete, 3 strong and complete.

    Args:
        share, intensity: [n], as `stained` gives them.
        least_share: share of the circumference below which a cell counts as not stained.
        complete_share: share from which on a membrane is complete.
        weak: optical density from which on a complete membrane is weak to moderate, below it faint.
        strong: optical density from which on it is strong.

    Raises:
        ValueError: the limits do not rise.
    """
    if not (least_share <= complete_share and weak <= strong):
        raise ValueError(f"limits {least_share:g}, {complete_share:g} and {weak:g}, {strong:g} must rise")
    complete = share >= complete_share
    # a cell that sees nothing has the share 0, which is no staining even where no least share is asked for
    some = (share >= least_share) & (share > 0)
    return np.where(some, 1 + (complete & (intensity >= weak)) + (complete & (intensity >= strong)), 0).astype(np.int64)
