"""From pixels of a slide level to millimetres on the slide, and back.

The slide's frame of reference has its origin at a corner of the glass (PS3.3 C.8.12.2). A level's Total Pixel Matrix
Origin is the place of the centre of its top left pixel; Image Orientation (Slide) gives the direction of a row (how
columns advance) and of a column (how rows advance); Pixel Spacing is between rows, then between columns. The mapping is
equation C.7.6.2.1-1 with the half pixel of our coordinates taken off: (0.5, 0.5) is the centre of the top left pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SlideGeometry:
    """Where one total pixel matrix lies on the glass.

    `origin` (x, y, z) in mm; `orientation` six direction cosines, along the rows first; `spacing` (between rows,
    between columns) in mm. Raises ValueError unless spacing is positive and the directions are perpendicular unit
    vectors.
    """

    origin: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    spacing: tuple[float, float]

    def __post_init__(self) -> None:
        along, down = self._directions()
        if min(self.spacing) <= 0 or not np.isfinite((*self.origin, *self.spacing)).all():
            raise ValueError(f"impossible origin {self.origin} or spacing {self.spacing}")
        unit = np.allclose((along @ along, down @ down), 1.0, atol=1e-3)
        if not unit or abs(float(along @ down)) > 1e-3:
            raise ValueError(f"not two perpendicular unit vectors: {self.orientation}")

    def _directions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self.orientation[:3], dtype=np.float64), np.array(self.orientation[3:], dtype=np.float64)

    def to_slide(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(column, row) [n, 2] in pixels to (x, y, z) [n, 3] in mm."""
        along, down = self._directions()
        columns, rows = (np.asarray(points, dtype=np.float64) - 0.5).T
        return (
            np.array(self.origin)
            + np.outer(columns * self.spacing[1], along)
            + np.outer(rows * self.spacing[0], down)
        )  # fmt: skip

    def to_pixels(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """(x, y, z) [n, 3] in mm to (column, row) [n, 2] in pixels; what stands off the plane is projected onto it."""
        along, down = self._directions()
        offset = np.asarray(places, dtype=np.float64) - np.array(self.origin)
        return np.stack([offset @ along / self.spacing[1], offset @ down / self.spacing[0]], axis=1) + 0.5

    def coarser(self, factor: int) -> "SlideGeometry":
        """The grid whose cells are `factor` by `factor` pixels of this one, both starting at the same corner."""
        if factor < 1:
            raise ValueError(f"factor must be at least 1, not {factor}")
        x, y, z = self.to_slide(np.array([[factor / 2, factor / 2]]))[0]
        return SlideGeometry(
            (float(x), float(y), float(z)), self.orientation, (self.spacing[0] * factor, self.spacing[1] * factor)
        )
