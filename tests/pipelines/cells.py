"""Cells drawn with a known membrane: light is absorbed by the Beer-Lambert law, and the truth is known to the pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airouter.domain.model import Model
from airouter.imaging.nuclei import DAB_OD, HAEMATOXYLIN_OD
from tests.pipelines.oracle import Oracle

GROUND = 0.06  # haematoxylin of the tissue: pale, and not white


@dataclass(frozen=True)
class Cell:
    """A round cell. Places in pixels, radii and the membrane's width in um.

    The membrane is brown but for `gap` degrees, which begin at `turn` degrees, clockwise from the right. `kind` is what
    cell it is. `nuclear`: optical density of DAB in the nucleus.
    """

    row: float
    column: float
    od: float = 0.0
    gap: float = 0.0
    turn: float = 0.0
    kind: str = "tumour"
    nuclear: float = 0.0
    nucleus_um: float = 3.5
    membrane_um: float = 6.5
    width_um: float = 1.5


@dataclass(frozen=True)
class Drawn:
    """`rgb` uint8 [rows, columns, 3]; `labels` int32 [rows, columns], the nuclei numbered in the order of `cells`."""

    rgb: np.ndarray
    labels: np.ndarray
    cells: tuple[Cell, ...]

    def kinds(self, names: Sequence[str]) -> np.ndarray:
        """bool [names, rows, columns]: where the nuclei of each kind are."""
        numbers = np.array([-1, *(list(names).index(c.kind) if c.kind in names else -1 for c in self.cells)])
        return numbers[self.labels] == np.arange(len(names))[:, None, None]


def draw(cells: Sequence[Cell], shape: tuple[int, int], spacing_um: float, margin: int = 0, seed: int = 0) -> Drawn:
    """Cells on pale tissue, `margin` pixels of glass around it."""
    rows, columns = shape
    haematoxylin = np.zeros(shape)
    haematoxylin[margin : rows - margin, margin : columns - margin] = GROUND
    # so that no two patches look alike
    haematoxylin[haematoxylin > 0] += np.random.default_rng(seed).uniform(0, 0.03, int((haematoxylin > 0).sum()))
    dab = np.zeros(shape)
    labels = np.zeros(shape, np.int32)
    for number, cell in enumerate(cells, start=1):
        reach = int((cell.membrane_um + cell.width_um) / spacing_um) + 2
        top, left = max(0, int(cell.row) - reach), max(0, int(cell.column) - reach)
        window = (slice(top, int(cell.row) + reach), slice(left, int(cell.column) + reach))
        y, x = np.ogrid[:rows, :columns]
        dy, dx = (y + 0.5 - cell.row)[window[0]], (x + 0.5 - cell.column)[:, window[1]]
        away = np.hypot(dy, dx) * spacing_um
        angle = np.degrees(np.arctan2(dy, dx)) - cell.turn
        inside = away <= cell.nucleus_um
        labels[window][inside] = number
        haematoxylin[window][inside] = 0.35
        dab[window][inside] = cell.nuclear
        ring = (np.abs(away - cell.membrane_um) <= cell.width_um / 2) & (angle % 360 >= cell.gap)
        dab[window][ring] = np.maximum(dab[window][ring], cell.od)
    density = haematoxylin[..., None] * np.array(HAEMATOXYLIN_OD) + dab[..., None] * np.array(DAB_OD)
    return Drawn(np.round(255 * 10.0**-density).astype(np.uint8), labels, tuple(cells))


def rims(labels: np.ndarray) -> np.ndarray:
    """bool [rows, columns]: the outermost pixels of each label."""
    padded = np.pad(labels, 1, mode="edge")
    high, wide = labels.shape
    around = [padded[1 + r : 1 + r + high, 1 + c : 1 + c + wide] for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return np.any([each != labels for each in around], axis=0) & (labels > 0)


def told(slide: Any, about: Model, truth: np.ndarray) -> Oracle:
    """A model that answers each patch of its plan on a slide with what `truth` [classes, rows, columns] has there.

    The slide is at the model's spacing; beyond its edge there is nothing.
    """
    knows = Oracle(about)
    size, overlap = about.input.size, about.input.overlap
    padded = np.pad(truth, [(0, 0), (size[0], size[0]), (size[1], size[1])])
    for patch in slide.patches(about.input.spacing_um, size, overlap, slide.tissue()):
        row, column = round(patch.row) + size[0], round(patch.column) + size[1]
        knows.tell(patch.pixels, padded[:, row : row + size[0], column : column + size[1]])
    return knows
