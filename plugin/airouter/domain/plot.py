"""What is drawn for people of stored numbers: a plane of values with its unit, and a visual field point by point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Values seen from the front: float32 [rows, columns], NaN where nothing was measured.

    `unit`: UCUM. `spacing_mm`: between rows, between columns, None where it is not known. `shown`: values that stand at
    the ends of the colours, None for those that occur. `signed`: differences, whose colours have zero in their middle.
    `sides`: what lies at the left, right, upper and lower edge, empty where it is not known.
    """

    title: str
    quantity: str
    unit: str
    values: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    shown: tuple[float, float] | None = None
    signed: bool = False
    sides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldPoint:
    """One place of a visual field at (`x`, `y`) degrees, what is written there, and how dark: 0 to 1."""

    x: float
    y: float
    text: str
    depth: float


@dataclass(frozen=True, slots=True)
class FieldPanel:
    title: str
    points: tuple[FieldPoint, ...]


@dataclass(frozen=True, slots=True)
class FieldPlot:
    """A test of the visual field as panels side by side; `notes` stand below."""

    title: str
    panels: tuple[FieldPanel, ...]
    notes: tuple[str, ...] = ()
