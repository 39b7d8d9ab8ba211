"""A slide that shows tissue and cells at once: red tells the class of tissue, green the kind of cell in each pixel.

A model of tissue that knows the colours sees through the cells, a model of cells sees the nuclei; both are right to the
pixel. Blue, and a little noise that makes every patch another picture, mean nothing.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from airouter.domain import codes
from airouter.domain.model import HeadKind, ModelClass
from airouter.domain.study import Modality
from airouter.pipelines import WithCompanions
from phantoms.dicom import slide_instances
from tests.pipelines.oracle import Seen, model, opened

TISSUE = {
    "tumour": codes.NEOPLASM,
    "tubule": codes.TUMOUR_TUBULE,
    "stroma": codes.CONNECTIVE_TISSUE,
    "necrosis": codes.NECROSIS,
    "normal": codes.NORMAL_TISSUE,
}
TISSUES = ("background", *TISSUE)
BACKGROUND, TUMOUR, TUBULE, STROMA, NECROSIS, NORMAL = range(len(TISSUES))
CELLS = ("none", "tumour", "lymphocyte", "stromal", "normal", "mitosis")
KIND = {name: n for n, name in enumerate(CELLS)}
_RED, _GREEN, _STEP = 90, 40, 20


@dataclasses.dataclass(frozen=True)
class Truth:
    """uint8 [rows, columns] each: index into TISSUES and into CELLS, both 0 where there is nothing."""

    tissue: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, tissue: np.ndarray) -> "Truth":
        return cls(tissue, np.zeros_like(tissue))

    def turned(self, quarters: int) -> "Truth":
        return Truth(np.rot90(self.tissue, quarters).copy(), np.rot90(self.cells, quarters).copy())

    def square(self, kind: str, row: int, column: int, side: int, wide: int | None = None) -> None:
        """A nucleus of side x wide pixels with its top left corner there."""
        self.cells[row : row + side, column : column + (wide or side)] = KIND[kind]

    def squares(self, kind: str, rows: Sequence[int], columns: Sequence[int], side: int) -> int:
        """One at each crossing; how many that are."""
        for row in rows:
            for column in columns:
                self.square(kind, row, column, side)
        return len(rows) * len(columns)


def picture(truth: Truth, seed: int = 0) -> np.ndarray:
    """uint8 [rows, columns, 3]."""
    noise = np.random.default_rng(seed).integers(-4, 5, (*truth.tissue.shape, 3))
    made = np.stack(
        [_RED + _STEP * truth.tissue, _GREEN + _STEP * truth.cells, np.full(truth.tissue.shape, 210)], axis=2
    )
    glass = truth.tissue == BACKGROUND
    made[glass] = 244
    noise[glass] //= 4  # strong noise has colour, and glass has none
    return np.clip(made + noise, 0, 255).astype(np.uint8)


def slide(truth: Truth, spacing_um: float, **changes):
    return opened(datasets(truth, spacing_um, **changes))


def datasets(truth: Truth, spacing_um: float, **changes):
    return slide_instances(picture(truth), spacing_um, **{"levels": 1, "transfer": "raw", "seed": 1, **changes})


def seen(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What tissue and what cells a picture shows: uint8 [rows, columns] each."""
    glass = image.min(axis=2) > 225
    tissue = np.clip(np.round((image[..., 0].astype(float) - _RED) / _STEP), 0, len(TISSUES) - 1)
    cells = np.clip(np.round((image[..., 1].astype(float) - _GREEN) / _STEP), 0, len(CELLS) - 1)
    return np.where(glass, 0, tissue).astype(np.uint8), np.where(glass, 0, cells).astype(np.uint8)


def tissue_model(spacing_um: float, names: Sequence[str] = TISSUES, **changes) -> Seen:
    """Knows the tissue; a class left out of `names` is background to it."""
    made = model(
        Modality.SM,
        HeadKind.SEGMENTATION,
        names,
        **{"size": (256, 256), "overlap": 16, "spacing_um": spacing_um, "exclusive": True, **changes},
    )
    coded = tuple(ModelClass(name, TISSUE.get(name)) for name in names)
    told = dataclasses.replace(made, head=dataclasses.replace(made.head, classes=coded))
    channel = np.array([names.index(name) if name in names else 0 for name in TISSUES])

    def maps(image: np.ndarray) -> np.ndarray:
        return (channel[seen(image)[0]] == np.arange(len(names))[:, None, None]).astype(np.float32)

    return Seen(told, maps)


def cell_model(spacing_um: float, kinds: Sequence[str] = CELLS[1:], **changes) -> Seen:
    """Knows the nuclei, each kind of `kinds` by a class of its own; to it a mitosis is the nucleus of a tumour cell."""
    names = ("nucleus", "boundary", *kinds)
    made = model(
        Modality.SM,
        HeadKind.SEGMENTATION,
        names,
        **{"size": (256, 256), "overlap": 24, "spacing_um": spacing_um, **changes},
    )

    def maps(image: np.ndarray) -> np.ndarray:
        cells = seen(image)[1]
        found = np.zeros((len(names), *cells.shape), np.float32)
        found[0] = cells > 0
        for channel, name in enumerate(kinds, start=2):
            found[channel] = cells == KIND[name]
        if "tumour" in kinds:
            found[names.index("tumour")][cells == KIND["mitosis"]] = 1.0
        return found

    return Seen(made, maps)


def both(cells: Seen, tissue: Seen) -> WithCompanions:
    return WithCompanions(cells, {"tissue": tissue})
