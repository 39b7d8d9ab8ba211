"""Where the fovea is on a macular raster: the pit of the inner retina near the middle of the scan.

Ganglion cells and their fibres are absent in the foveal centre and most numerous about 1 mm from it (Curcio CA, Allen
KA. Topography of ganglion cells in human retina. J Comp Neurol 1990;300:5-25), so the inner retina (ILM to the outer
surface of the IPL) has its minimum there, whatever fluid lies below it. Where that pit is not clear no centre is given.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_REACH_MM: Final = 1.5  # the pit is looked for so far from the middle of the scan
_SMOOTH_MM: Final = 0.1  # standard deviation of the smoothing
_RIM_MM: Final = (0.75, 1.25)  # distance of the rim from the pit
_DEPTH_UM: Final = 25.0  # least depth of the pit below its rim: a healthy one is about 80 um
_COVERED: Final = 0.75  # least share of the rim that the scan covers
_FLOOR: Final = 0.25  # the pit's floor reaches up to this part of its depth; its centre of gravity is the centre

Centre = tuple[float, float]


def find(inner_um: NDArray[np.float64], row_um: float, column_um: float) -> Centre | str:
    """Centre of the foveal pit.

    Args:
        inner_um: thickness of the inner retina [B-scans, columns] in um, NaN where not trusted.
        row_um: distance of the B-scans.
        column_um: distance of the columns.

    Returns:
        (row, column) in cells, (0, 0) being the centre of the first cell; or why there is none.
    """
    spacing = np.array([row_um, column_um]) / 1000.0
    smooth, known = _smoothed(inner_um, _SMOOTH_MM / spacing)
    rows, columns = np.indices(inner_um.shape).astype(np.float64)
    middle = (np.array(inner_um.shape) - 1) / 2
    away = np.hypot((rows - middle[0]) * spacing[0], (columns - middle[1]) * spacing[1])
    searched = np.where((away <= _REACH_MM) & known, smooth, np.inf)
    if not np.isfinite(searched).any():
        return "the middle of the scan shows no trustworthy inner retina"
    lowest = np.unravel_index(int(searched.argmin()), searched.shape)
    distance = np.hypot((rows - lowest[0]) * spacing[0], (columns - lowest[1]) * spacing[1])
    rim = (distance >= _RIM_MM[0]) & (distance <= _RIM_MM[1])
    full = np.pi * (_RIM_MM[1] ** 2 - _RIM_MM[0] ** 2) / float(np.prod(spacing))
    if (rim & known).sum() < _COVERED * full:
        return "the surroundings of the thinnest inner retina are not covered by the scan"
    bottom, top = float(smooth[lowest]), float(np.median(smooth[rim & known]))
    if top - bottom < _DEPTH_UM:
        return "the inner retina shows no clear foveal pit"
    floor = known & (distance < _RIM_MM[0]) & (smooth <= bottom + _FLOOR * (top - bottom))
    parts, _ = ndimage.label(floor)
    floor = parts == parts[lowest]
    weight = np.where(floor, bottom + _FLOOR * (top - bottom) - smooth, 0.0)
    if weight.sum() <= 0.0:
        return float(lowest[0]), float(lowest[1])
    return float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum())


def _smoothed(values: NDArray[np.float64], sigma: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Gaussian mean of what is known, and where at least half of its weight is."""
    known = np.isfinite(values)
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma, mode="nearest")
    total = ndimage.gaussian_filter(np.where(known, values, 0.0), sigma, mode="nearest")
    enough = weight >= 0.5
    return np.divide(total, weight, out=np.full(values.shape, np.inf), where=enough), enough
