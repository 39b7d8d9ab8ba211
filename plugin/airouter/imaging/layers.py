"""Retinal boundaries from class probabilities of a B-scan.

Rows are measured from the top edge of the frame (row index r covers [r, r + 1)), the convention of DICOM SCOORD
(PS3.3 C.18.6.1.2): a surface at 10.0 lies between rows 9 and 10.

A boundary is found in two steps. The *split* of a column into two classes that fits the probabilities best (least
absolute deviation, the maximum of a cumulative sum) ignores stray answers far away from the boundary. Around it, the
sum of the probability is the expected number of rows on one side, which gives the fraction of a row.
A column whose probabilities do not look like one boundary below the other is not trusted: it is NaN, not a guess.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Surface = npt.NDArray[np.float64]

_WINDOW = 1.0 / 24.0  # half width of the sub-pixel window, as a part of the rows
LEAST_FIT = 0.85  # agreement with the split within twice the window, and of the retina between the boundaries
MEDIAN = 5  # columns of the smoothing median
_NEIGHBOURHOOD = 31  # columns that tell an outlier
OUTLIER = 0.03  # part of the rows


class Classes(NamedTuple):
    """Channels of the probability map, in the order of the model's manifest."""

    vitreous: int = 0
    retina: int = 1
    fluid: int = 2
    below: int = 3


_CLASSES = Classes()


def surfaces(prob: Array, classes: Classes = _CLASSES, smooth: bool = True) -> tuple[Surface, Surface]:
    """Inner and outer retinal boundary of one B-scan.

    Args:
        prob: probabilities [C, rows, cols] on the B-scan's own pixel grid.
        classes: which channel is which.
        smooth: reject outlying columns and take the running median over columns.

    Returns:
        (ilm, rpe), each [cols], in rows from the top edge, ilm <= rpe. NaN in both where a column is not trusted: a
        boundary is missing, outside the frame, contradictory, or the probabilities are not finite.

    Raises:
        ValueError: prob is not three-dimensional or lacks a channel.
    """
    if prob.ndim != 3 or min(prob.shape) == 0 or prob.shape[0] <= max(classes):
        raise ValueError(f"probabilities must be [C, rows, cols] with C > {max(classes)}, not {prob.shape}")
    finite = np.asarray(np.isfinite(prob).all(axis=(0, 1)))
    clean = np.where(finite[None, None], prob, 0.0).astype(np.float64)
    ilm, ilm_fits = boundary(clean[classes.vitreous])
    under, rpe_fits = boundary(clean[classes.below][::-1])
    rpe = prob.shape[1] - under
    tissue = clean[classes.retina] + clean[classes.fluid]
    trusted = finite & ilm_fits & rpe_fits & (ilm <= rpe) & (mean_between(tissue, ilm, rpe) >= LEAST_FIT)
    ilm, rpe = np.where(trusted, ilm, np.nan), np.where(trusted, rpe, np.nan)
    if not smooth:
        return ilm, rpe
    far = OUTLIER * prob.shape[1]
    outlying = deviates(ilm, far) | deviates(rpe, far)
    ilm, rpe = (running_median(np.where(outlying, np.nan, s), MEDIAN) for s in (ilm, rpe))
    return ilm, rpe


def thickness_um(ilm: Array, rpe: Array, axial_um: float) -> Surface:
    """Retinal thickness [cols] in um: the axial distance between the boundaries. NaN stays NaN.

    Args:
        ilm: inner boundary in rows.
        rpe: outer boundary in rows, of the same shape.
        axial_um: row spacing in um.

    Raises:
        ValueError: axial_um is not a positive number, or the shapes differ.
    """
    if not (np.isfinite(axial_um) and axial_um > 0.0):
        raise ValueError(f"the row spacing must be a positive number of um, not {axial_um}")
    if np.shape(ilm) != np.shape(rpe):
        raise ValueError(f"boundaries of different shape: {np.shape(ilm)} and {np.shape(rpe)}")
    return (np.asarray(rpe, np.float64) - np.asarray(ilm, np.float64)) * axial_um


def boundary(inside: Array, window: float = _WINDOW) -> tuple[Surface, npt.NDArray[np.bool_]]:
    """Where a class that fills the top of each column ends: rows [cols], and whether the column looks like that.

    `window`: half width of the sub-pixel window, as a part of the rows. A wide one bridges a doubtful transition, a
    narrow one takes up less of the doubt that lies further away.
    """
    rows, cols = inside.shape
    gain = np.concatenate([np.zeros((1, cols)), np.cumsum(inside - 0.5, axis=0)])
    split = gain.argmax(axis=0)
    half = max(2, round(_WINDOW * rows))
    total = np.concatenate([np.zeros((1, cols)), np.cumsum(inside, axis=0)])
    column = np.arange(cols)

    def expected(around: npt.NDArray[np.intp], width: int) -> Surface:
        top, bottom = np.clip(around - width, 0, rows), np.clip(around + width, 0, rows)
        return np.asarray(top + total[bottom, column] - total[top, column], np.float64)

    place = expected(split, max(2, round(window * rows)))
    # Agreement near the split: 1 where the class is certain above and absent below.
    signed = np.where(np.arange(rows)[:, None] < split[None], inside, 1.0 - inside)
    agrees = np.concatenate([np.zeros((1, cols)), np.cumsum(signed, axis=0)])
    top, bottom = np.clip(split - 2 * half, 0, rows), np.clip(split + 2 * half, 0, rows)
    fit = (agrees[bottom, column] - agrees[top, column]) / np.maximum(bottom - top, 1)
    return place, (split > 0) & (split < rows) & (fit >= LEAST_FIT)


def mean_between(values: Surface, upper: Surface, lower: Surface) -> Surface:
    """Mean of each column over the rows that lie wholly between two surfaces; 0 where there is none."""
    centre = np.arange(values.shape[0])[:, None] + 0.5
    within = (centre >= upper[None] + 0.5) & (centre <= lower[None] - 0.5)
    return np.asarray((values * within).sum(axis=0) / np.maximum(within.sum(axis=0), 1), np.float64)


def _windows(values: Surface, width: int) -> Surface:
    """[cols, width]: each column with its neighbours, NaN beyond the ends."""
    padded = np.pad(values, width // 2, constant_values=np.nan)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, width), np.float64)


def _median(windows: Surface) -> Surface:
    """Median along the last axis over what is not NaN; NaN where nothing is left (without numpy's warning)."""
    ordered = np.sort(windows, axis=-1)  # NaN sorts last
    count = np.isfinite(ordered).sum(axis=-1)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[:, None], axis=-1)[:, 0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, windows.shape[-1] - 1)[:, None], axis=-1)[:, 0]
    return np.where(count > 0, 0.5 * (low + high), np.nan)


def running_median(values: Surface, width: int) -> Surface:
    """Running median; a column that is NaN stays NaN, so nothing is invented between trusted columns.

    The window shrinks towards the ends and stays centred, so a tilted surface is not bent there.
    """
    if len(values) < width:
        return values
    out = _median(_windows(values, width))
    for at in range(width // 2):
        reach = 2 * at + 1
        out[at] = _median(values[None, :reach])[0]
        out[-1 - at] = _median(values[None, len(values) - reach :])[0]
    return np.where(np.isnan(values), np.nan, out)


def deviates(values: Surface, limit: float, width: int = _NEIGHBOURHOOD) -> npt.NDArray[np.bool_]:
    """Columns that lie further than `limit` rows from the median of their neighbourhood of `width` columns.

    Gaps are bridged linearly and the ends completed by point reflection, so a tilted surface does not deviate there.
    """
    known = np.flatnonzero(np.isfinite(values))
    out = np.zeros(len(values), np.bool_)
    half = min(width // 2, int(known[-1] - known[0])) if len(known) else 0
    if half < 2:
        return out
    whole = np.arange(known[0], known[-1] + 1)
    bridged = np.interp(whole, known, values[known])
    padded = np.pad(bridged, half, mode="reflect", reflect_type="odd")
    out[whole] = np.abs(bridged - _median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1))) > limit
    return out & np.isfinite(values)
