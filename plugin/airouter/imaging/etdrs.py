"""The ETDRS grid of the macula laid over a thickness map.

Three circles of 1, 3 and 6 mm diameter around the fovea; the two rings are cut at 45 degrees into four fields each,
which makes nine (Early Treatment Diabetic Retinopathy Study Research Group. Grading diabetic retinopathy from
stereoscopic color fundus photographs, ETDRS report number 10. Ophthalmology 1991;98:786-806).

Directions are those of the map: `up` is towards its first row (B-scan), `right` towards its last column. Which of them
is superior or nasal is for the caller to know.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

RADII_MM: Final = (0.5, 1.5, 3.0)
_STEP_MM: Final = 0.02  # samples of the grid; the central field has about 1960 of them


class Ring(StrEnum):
    """Distance from the fovea: within 0.5 mm, 0.5 to 1.5 mm, 1.5 to 3 mm."""

    CENTRAL = "central"
    INNER = "inner"
    OUTER = "outer"


class Side(StrEnum):
    """Direction from the fovea on the map; the central field has none."""

    NONE = ""
    UP = "up"
    DOWN = "down"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: mean of the map over what the scan covers (NaN where nothing), covered share 0..1, area in mm2."""

    mean: float
    coverage: float
    area_mm2: float


def fields(
    values: NDArray[np.float32], row_um: float, column_um: float, centre: tuple[float, float] | None = None
) -> dict[tuple[Ring, Side], Field]:
    """Means of a map over the nine fields.

    The map is interpolated linearly between its cells and held for half a cell beyond the outermost; what lies
    further out, and what is NaN, is not covered. Every part of a field weighs by its area.

    Args:
        values: float32 [rows, columns], e.g. thickness in um per B-scan and column; NaN where not trusted.
        row_um: distance of the rows (B-scans).
        column_um: distance of the columns (A-scans).
        centre: (row, column) of the fovea in cells, (0, 0) being the centre of the first cell; None: the map's middle.

    Raises:
        ValueError: a spacing is not positive, or the map is not two-dimensional.
    """
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a map of rows and columns is needed, not {values.shape}")
    if not (row_um > 0 and column_um > 0):
        raise ValueError(f"spacings must be positive, not {row_um} and {column_um} um")
    rows, columns = values.shape
    row0, column0 = centre if centre is not None else ((rows - 1) / 2, (columns - 1) / 2)

    axis = np.arange(-RADII_MM[-1] + _STEP_MM / 2, RADII_MM[-1], _STEP_MM)
    row = axis * 1000.0 / row_um + row0
    column = axis * 1000.0 / column_um + column0
    scanned = (np.abs(row - (rows - 1) / 2) <= rows / 2)[:, None] & (np.abs(column - (columns - 1) / 2) <= columns / 2)
    across, along = _weights(row, rows), _weights(column, columns)
    known = np.isfinite(values)
    total = across @ np.where(known, values, 0.0) @ along.T
    weight = across @ known.astype(np.float64) @ along.T
    covered = scanned & (weight >= 0.5)
    sample = np.divide(total, weight, out=np.zeros_like(total), where=covered)

    y, x = np.meshgrid(axis, axis, indexing="ij")
    distance = np.hypot(x, y)
    sides = {Side.RIGHT: x > np.abs(y), Side.LEFT: -x > np.abs(y), Side.DOWN: y >= np.abs(x), Side.UP: -y >= np.abs(x)}
    found = {(Ring.CENTRAL, Side.NONE): _field(distance <= RADII_MM[0], covered, sample)}
    for ring, inner, outer in ((Ring.INNER, *RADII_MM[:2]), (Ring.OUTER, *RADII_MM[1:])):
        band = (distance > inner) & (distance <= outer)
        for side, half in sides.items():
            found[ring, side] = _field(band & half, covered, sample)
    return found


def volume_mm3(found: dict[tuple[Ring, Side], Field]) -> float:
    """Volume under a thickness map in um over the whole grid: each field's mean times its area. NaN if one is NaN."""
    return sum(field.mean * 1e-3 * field.area_mm2 for field in found.values())


def _weights(at: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Linear interpolation at n positions in a row of cells, as a matrix [n, cells]."""
    held = np.clip(at, 0.0, cells - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(held[:, None] - np.arange(cells)[None, :]))


def _field(part: NDArray[np.bool_], covered: NDArray[np.bool_], sample: NDArray[np.float64]) -> Field:
    inside = part & covered
    count = int(inside.sum())
    mean = float(sample[inside].mean(dtype=np.float64)) if count else float("nan")
    return Field(mean, count / int(part.sum()), int(part.sum()) * _STEP_MM**2)
