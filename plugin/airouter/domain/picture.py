"""What a pipeline shows beside its numbers: pictures, maps of the back of the eye, how two images lie, charts."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.code import Code


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture for people, never the only form of a result: uint8 [rows, columns, 3]. `source`: what it was made of.

    Raises ValueError for another array.
    """

    role: str
    label: str
    source: str
    rgb: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or not self.rgb.size:
            raise ValueError(f"{self.role} is not an RGB picture of 8 bits: {self.rgb.dtype} {self.rgb.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class ThicknessMap:
    """A thickness per point of the retina seen from the front: float32 [rows, columns] in um, NaN where not measured.

    `spacing_mm`: between rows, between columns. `definition`: between which surfaces (CID 4262). `deviation`: the
    values are differences from a reference and may be negative. The first row is superior where `anatomical`, else
    rows and columns are those of the scan. Raises ValueError for another array or an impossible spacing.
    """

    role: str
    label: str
    source: str
    values: NDArray[np.float32]
    spacing_mm: tuple[float, float]
    definition: Code
    deviation: bool = False
    anatomical: bool = True

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32 or self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"{self.role} is not a plane of float32: {self.values.dtype} {self.values.shape}")
        if np.isinf(self.values).any():
            raise ValueError(f"{self.role} holds infinite values")
        if not all(math.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise ValueError(f"{self.role} has an impossible spacing: {self.spacing_mm} mm")


MATRIX_KINDS: Final = ("RIGID", "RIGID_SCALE", "AFFINE")  # PS3.3 C.20.2.1.2


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """How an earlier image lies on the current one: `moving` and `fixed` are their SOP Instance UIDs.

    `matrix`: float64 [3, 3], from (column, row, 1) in pixels of `moving` to those of `fixed`; its last row is 0, 0, 1.
    `kind`: what the matrix is. Raises ValueError for another matrix or kind.
    """

    role: str
    label: str
    fixed: str
    moving: str
    matrix: NDArray[np.float64]
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in MATRIX_KINDS:
            raise ValueError(f"{self.kind} is not one of {', '.join(MATRIX_KINDS)}")
        if self.matrix.shape != (3, 3) or not np.isfinite(self.matrix).all():
            raise ValueError(f"{self.role} is not a matrix of 3 x 3 finite numbers")
        if not np.array_equal(self.matrix[2], [0.0, 0.0, 1.0]):
            raise ValueError(f"{self.role} is not affine: its last row is {self.matrix[2]}")


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve of a chart: `points`, a `line`, or a `band` between `y` and `upper`.

    Raises ValueError where the lengths differ or a number is not finite.
    """

    label: str
    kind: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    upper: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("points", "line", "band"):
            raise ValueError(f"{self.kind} is not points, line or band")
        lengths = {len(self.x), len(self.y), len(self.upper) if self.kind == "band" else len(self.y)}
        if len(lengths) != 1 or not self.x:
            raise ValueError(f"{self.label}: {len(self.x)} x, {len(self.y)} y, {len(self.upper)} upper")
        if not all(math.isfinite(v) for v in (*self.x, *self.y, *self.upper)):
            raise ValueError(f"{self.label}: a value is not finite")


@dataclass(frozen=True, slots=True)
class Chart:
    """A diagram with axes in named units; x may be years as decimal numbers. `notes` stand below it."""

    role: str
    label: str
    source: str
    title: str
    x_label: str
    y_label: str
    traces: tuple[Trace, ...]
    notes: tuple[str, ...] = ()
