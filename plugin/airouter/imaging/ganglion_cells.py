"""Means of a macular map about the fovea: halves of a ring, six sectors of an elliptic ring, its thinnest meridian.

The map is turned (`imaging.enface`): its first row is superior; its columns run from the patient's right to the left.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

RING_MM: Final = (0.5, 3.0)  # radii of the ring whose halves are measured: 6 mm without the central subfield
# Mwanza JC et al. Macular ganglion cell-inner plexiform layer: automated detection and thickness reproducibility with
# spectral domain-optical coherence tomography in glaucoma. Invest Ophthalmol Vis Sci 2011;52:8323-8329.
INNER_MM: Final = (0.5, 0.6)  # vertical and horizontal radius of the elliptic ring's hole
OUTER_MM: Final = (2.0, 2.4)  # and of its border
# Sectors of 60 degrees; 0 degrees is nasal, 90 superior.
SECTORS: Final[Mapping[str, tuple[float, float]]] = {
    "nasal superior": (0.0, 60.0),
    "superior": (60.0, 120.0),
    "temporal superior": (120.0, 180.0),
    "temporal inferior": (180.0, 240.0),
    "inferior": (240.0, 300.0),
    "nasal inferior": (300.0, 360.0),
}

_STEP_MM: Final = 0.02
_SPOKES: Final = 360
_CELL_MM: Final = 0.3  # standard deviation of the smoothing of the asymmetry map


class Sampled(NamedTuple):
    """A map on a fine square grid about a centre: x to the right and y upwards in mm, values NaN where not known."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    values: NDArray[np.float64]


def sampled(
    values: NDArray[np.float64], spacing_mm: tuple[float, float], centre: tuple[float, float], reach_mm: float
) -> Sampled:
    """The map within `reach_mm` of the centre (row, column in cells), interpolated linearly."""
    axis = np.arange(-reach_mm + _STEP_MM / 2, reach_mm, _STEP_MM)
    x, y = np.meshgrid(axis, -axis)
    return Sampled(x, y, at_points(values, spacing_mm, centre, x, y))


def at_points(
    values: NDArray[np.float64],
    spacing_mm: tuple[float, float],
    centre: tuple[float, float],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The map at points x to the right and y above the centre, in mm; NaN beyond its cells and where half is NaN."""
    row, column = centre[0] - y / spacing_mm[0], centre[1] + x / spacing_mm[1]
    known = np.isfinite(values)
    where = np.stack([row.ravel(), column.ravel()])
    weight = ndimage.map_coordinates(known.astype(np.float64), where, order=1, mode="nearest").reshape(x.shape)
    total = ndimage.map_coordinates(np.where(known, values, 0.0), where, order=1, mode="nearest").reshape(x.shape)
    scanned = (row >= -0.5) & (row <= values.shape[0] - 0.5) & (column >= -0.5) & (column <= values.shape[1] - 0.5)
    return np.asarray(
        np.divide(total, weight, out=np.full(x.shape, np.nan), where=scanned & (weight >= 0.5)), np.float64
    )


def mean(values: NDArray[np.float64], part: NDArray[np.bool_], coverage: float) -> float | None:
    """Mean of what is known of a part; None where less than `coverage` of it is."""
    known = part & np.isfinite(values)
    if not part.any() or known.sum() < coverage * part.sum():
        return None
    return float(values[known].mean())


def ring(grid: Sampled) -> NDArray[np.bool_]:
    """The ring of RING_MM."""
    away = np.hypot(grid.x, grid.y)
    return np.asarray((away > RING_MM[0]) & (away <= RING_MM[1]))


def elliptic_ring(grid: Sampled) -> NDArray[np.bool_]:
    """The elliptic ring of INNER_MM and OUTER_MM."""
    inner = (grid.y / INNER_MM[0]) ** 2 + (grid.x / INNER_MM[1]) ** 2
    outer = (grid.y / OUTER_MM[0]) ** 2 + (grid.x / OUTER_MM[1]) ** 2
    return np.asarray((inner > 1.0) & (outer <= 1.0))


def sector(grid: Sampled, span: tuple[float, float], nasal: float) -> NDArray[np.bool_]:
    """A sector of the elliptic ring; `nasal` is +1 where the nose lies to the right of the map, -1 to the left."""
    angle = np.degrees(np.arctan2(grid.y, nasal * grid.x)) % 360.0
    return elliptic_ring(grid) & (angle >= span[0]) & (angle < span[1])


def thinnest(
    values: NDArray[np.float64], spacing_mm: tuple[float, float], centre: tuple[float, float], coverage: float
) -> float | None:
    """The lowest mean of a narrow wedge of the elliptic ring; None where less than `coverage` of the ring is known.

    Points of a wedge weigh by their distance from the centre, as its area does, so no sector's mean is lower.
    """
    angle = np.radians((np.arange(_SPOKES) + 0.5) * 360.0 / _SPOKES)
    inner, outer = (
        1.0 / np.hypot(np.cos(angle) / horizontal, np.sin(angle) / vertical)
        for vertical, horizontal in (INNER_MM, OUTER_MM)
    )
    radius = inner[:, None] + (outer - inner)[:, None] * ((np.arange(40) + 0.5) / 40)[None]
    found = at_points(values, spacing_mm, centre, radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None])
    known = np.isfinite(found)
    if known.mean() < coverage:
        return None
    full = known.mean(axis=1) >= coverage
    sums = np.where(known, found * radius, 0.0).sum(axis=1)
    return float((sums[full] / (known * radius)[full].sum(axis=1)).min()) if full.any() else None


def asymmetry(
    values: NDArray[np.float64], spacing_mm: tuple[float, float], centre: tuple[float, float]
) -> NDArray[np.float64]:
    """Each point minus its mirror image about the horizontal line through the centre, smoothed, in the map's cells.

    After Asrani S, Rosdahl JA, Allingham RR. Novel software strategy for glaucoma diagnosis: asymmetry analysis of
    retinal thickness. Arch Ophthalmol 2011;129:1205-1211, who compare cells of 3 degrees; a Gaussian mean of about that
    size stands for them. The line is horizontal, not that from the fovea to the disc.
    """
    sigma = [_CELL_MM / s for s in spacing_mm]
    known = np.isfinite(values)
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma, mode="constant")
    total = ndimage.gaussian_filter(np.where(known, values, 0.0), sigma, mode="constant")
    smooth = np.divide(total, weight, out=np.full(values.shape, np.nan), where=known & (weight > 0.25))
    rows, columns = np.indices(values.shape).astype(np.float64)
    x = np.asarray((columns - centre[1]) * spacing_mm[1], np.float64)
    mirrored = np.asarray((rows - centre[0]) * spacing_mm[0], np.float64)
    return np.asarray(smooth - at_points(smooth, spacing_mm, centre, x, mirrored), np.float64)
