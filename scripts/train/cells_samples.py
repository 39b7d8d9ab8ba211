"""What the model `cells` is trained on: annotated tiles for nuclei, generated fields for nuclei and kinds of cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from histology_fields import field
from nuclei_tiles import CROP, Floats, Labels, Rgb, Tile, degraded, relabelled, sample, shifted, targets

from phantoms.histology import KINDS

CLASSES: Final = ("nucleus", "boundary", "tumour", "lymphocyte", "stromal", "normal", "mitosis")
SIDE: Final = 448  # pixels on each side of a generated field
MOST_DIVIDING: Final = 400.0  # mitoses per mm2: far more than in any tumour, so that each batch shows some

# The classes of a nucleus of each kind: a mitotic figure is of a tumour cell.
_MEMBER: Final = np.zeros((len(KINDS), len(CLASSES) - 2), np.float32)
for _column, _name in enumerate(CLASSES[2:]):
    _MEMBER[KINDS.index(_name), _column] = 1.0
_MEMBER[KINDS.index("mitosis"), CLASSES.index("tumour") - 2] = 1.0


@dataclass(frozen=True)
class Field:
    """A generated field: picture, nuclei, and the kind of each (index into KINDS)."""

    rgb: Rgb
    labels: Labels
    kind: npt.NDArray[np.uint8]
    stain: str


def generated(number: int) -> tuple[Field]:
    """Field `number`; its pixels are 0.42 to 0.6 um."""
    rng = np.random.default_rng((number, 9))
    made = field(number, SIDE, float(rng.uniform(0.42, 0.6)), dividing=MOST_DIVIDING)
    return (Field(made.rgb, made.labels, made.kind, made.stain),)


def kinds(labels: Labels, kind: npt.NDArray[np.uint8]) -> Floats:
    """kinds x rows x columns: 1 where a nucleus of the kind is."""
    return np.ascontiguousarray(_MEMBER[kind][labels].transpose(2, 0, 1))


def drawn(tiles: Sequence[Tile], fields: Sequence[Field], rng: np.random.Generator) -> tuple[Rgb, Floats]:
    """One augmented crop, and its target: nucleus, boundary, where nuclei meet, the kinds, whether kinds are known."""
    if rng.random() < 0.4:
        rgb, labels = sample(tiles, rng)
        nothing = np.zeros((len(CLASSES) - 1, *labels.shape), np.float32)
        return rgb, np.concatenate([targets(labels), nothing])
    one = fields[int(rng.integers(len(fields)))]
    row, col = _corner(one, rng)
    window = (slice(row, row + CROP), slice(col, col + CROP))
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    rgb, labels = np.rot90(one.rgb[window], turns), np.rot90(one.labels[window], turns)
    if mirrored:
        rgb, labels = rgb[:, ::-1], labels[:, ::-1]
    rgb, labels = np.ascontiguousarray(rgb), np.ascontiguousarray(labels)
    if rng.random() < 0.5:
        rgb = shifted(rgb, rng)
    known = np.ones((1, *labels.shape), np.float32)
    return degraded(rgb, rng), np.concatenate([targets(relabelled(labels)), kinds(labels, one.kind), known])


def _corner(one: Field, rng: np.random.Generator) -> tuple[int, int]:
    """Where a crop begins: anywhere, or half of the time around a mitosis."""
    free = SIDE - CROP
    dividing = np.flatnonzero(one.kind == KINDS.index("mitosis"))
    if len(dividing) and rng.random() < 0.5:
        rows, cols = np.nonzero(one.labels == dividing[int(rng.integers(len(dividing)))])
        if len(rows):
            shift = rng.integers(-CROP // 2 + 12, CROP // 2 - 12, 2) - CROP // 2
            return int(np.clip(rows.mean() + shift[0], 0, free)), int(np.clip(cols.mean() + shift[1], 0, free))
    return int(rng.integers(free + 1)), int(rng.integers(free + 1))
