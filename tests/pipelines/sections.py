"""A slide whose tissue classes are told by colour: tumour, tubules, stroma, necrosis, normal tissue and ink."""

import dataclasses
import functools

import numpy as np

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.model import HeadKind, ModelClass
from airouter.domain.study import Modality
from phantoms.dicom import slide_instances
from tests.pipelines.oracle import Seen, model, opened

CODED = {
    "stroma": ((225, 120, 170), codes.CONNECTIVE_TISSUE),
    "tumour": ((130, 70, 170), codes.NEOPLASM),
    "tubule": ((100, 110, 200), codes.TUMOUR_TUBULE),
    "necrosis": ((190, 140, 60), codes.NECROSIS),
    "normal": ((240, 170, 120), codes.NORMAL_TISSUE),
    "ink": ((30, 60, 110), codes.MARGIN_INK),
}
NAMES = ("background", *CODED)
BACKGROUND, STROMA, TUMOUR, TUBULE, NECROSIS, NORMAL, INK = range(len(NAMES))
_PALETTE = np.array([(244, 244, 244), *(colour for colour, _ in CODED.values())], np.int16)
SPACING = 1.0


def picture(classes: np.ndarray, seed: int = 0) -> np.ndarray:
    """uint8 [rows, columns, 3]; a little noise makes every patch another picture."""
    noise = np.random.default_rng(seed).integers(-4, 5, (*classes.shape, 3))
    noise[classes == BACKGROUND] //= 4  # strong noise has colour, and glass has none
    return np.clip(_PALETTE[classes] + noise, 0, 255).astype(np.uint8)


def seen(image: np.ndarray) -> np.ndarray:
    """uint8 [rows, columns]: index into NAMES of the nearest colour."""
    return np.abs(image[:, :, None].astype(np.int16) - _PALETTE).sum(axis=3).argmin(axis=2).astype(np.uint8)


def oracle(names: tuple[str, ...] = NAMES, **changes) -> Seen:
    """A model that knows the colours; a class left out of `names` is background to it."""
    made = model(
        Modality.SM,
        HeadKind.SEGMENTATION,
        names,
        **{"size": (128, 128), "overlap": 16, "spacing_um": SPACING, "exclusive": True, **changes},
    )
    coded: tuple[Code | None, ...] = tuple(CODED[name][1] if name in CODED else None for name in names)
    classes = tuple(ModelClass(name, code) for name, code in zip(names, coded, strict=True))
    told = dataclasses.replace(made, head=dataclasses.replace(made.head, classes=classes))
    channel = np.array([names.index(name) if name in names else 0 for name in NAMES])

    def maps(image: np.ndarray) -> np.ndarray:
        return (channel[seen(image)] == np.arange(len(names))[:, None, None]).astype(np.float32)

    return Seen(told, maps)


def slide(classes: np.ndarray, spacing_um: float = SPACING, **changes):
    return opened(datasets(classes, spacing_um, **changes))


def datasets(classes: np.ndarray, spacing_um: float = SPACING, **changes):
    return slide_instances(picture(classes), spacing_um, **{"levels": 1, "transfer": "raw", "seed": 1, **changes})


def glass(rows: int, columns: int) -> np.ndarray:
    return np.zeros((rows, columns), np.uint8)


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    """bool: the pixels whose centres lie within a disc."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y + 0.5 - row, x + 0.5 - column) <= radius


@functools.cache
def bed() -> np.ndarray:
    """Normal tissue around stroma with two nests of tumour, one with tubules, and necrosis between them."""
    classes = glass(420, 480)
    classes[40:380, 40:440] = NORMAL
    classes[90:330, 90:390] = STROMA
    classes[120:300, 110:200] = TUMOUR
    classes[150:190, 130:170] = TUBULE
    classes[120:300, 280:370] = TUMOUR
    classes[160:260, 215:265] = NECROSIS
    return classes
