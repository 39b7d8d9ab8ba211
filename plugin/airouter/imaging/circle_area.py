"""How much of each cell of a map lies within a circle."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_FINE: Final = 16  # samples along each side of a cell


def shares(
    shape: tuple[int, int], spacing_mm: tuple[float, float], centre: tuple[float, float], radius_mm: float
) -> NDArray[np.float64]:
    """float64 [rows, columns], 0..1: the part of each cell within the circle about `centre` (row, column in cells)."""
    axes = [
        (np.arange(n * _FINE).reshape(n, _FINE) + 0.5) / _FINE - 0.5 - at for n, at in zip(shape, centre, strict=True)
    ]
    squares = [(axis * spacing) ** 2 for axis, spacing in zip(axes, spacing_mm, strict=True)]
    made = np.zeros(shape, np.float64)
    for row in range(shape[0]):  # one row at a time: the whole grid of samples would be large
        inside = squares[0][row][:, None, None] + squares[1][None] <= radius_mm**2
        made[row] = inside.mean(axis=(0, 2))
    return made


def covered(weights: NDArray[np.float64], spacing_mm: tuple[float, float], radius_mm: float) -> float:
    """The part of the circle that the cells with these weights fill, 0..1."""
    return float(weights.sum()) * spacing_mm[0] * spacing_mm[1] / (np.pi * radius_mm**2)
