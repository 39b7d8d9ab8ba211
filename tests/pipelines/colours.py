"""A slide whose classes are told by colour: the truth is known to the pixel, and a model that knows colours sees it.

Three colours of tissue on glass; a little noise makes every patch another picture.
"""

from dataclasses import dataclass

import numpy as np

COLOURS = {"stroma": (225, 120, 170), "tumour": (130, 70, 170), "necrosis": (190, 140, 60)}
NAMES = ("background", *COLOURS)
GLASS = (244, 244, 244)
_PALETTE = np.array([GLASS, *COLOURS.values()], np.int16)


@dataclass(frozen=True)
class Painted:
    """`classes`: uint8 [rows, columns], index into NAMES; `rgb`: its picture."""

    classes: np.ndarray
    rgb: np.ndarray


def paint(classes: np.ndarray, seed: int = 0) -> Painted:
    noise = np.random.default_rng(seed).integers(-4, 5, (*classes.shape, 3))
    noise[classes == 0] //= 4  # strong noise has colour, and glass has none
    return Painted(classes, np.clip(_PALETTE[classes] + noise, 0, 255).astype(np.uint8))


def section(rows: int, columns: int, margin: int, seed: int = 0) -> Painted:
    """A piece of stroma with a disc of tumour that holds a disc of necrosis, `margin` pixels of glass around it."""
    y, x = np.ogrid[:rows, :columns]
    classes = np.zeros((rows, columns), np.uint8)
    classes[margin : rows - margin, margin : columns - margin] = 1
    radius = min(rows, columns) / 4
    away = np.hypot(y - rows * 0.55, x - columns * 0.45)
    classes[away < radius] = 2
    classes[away < radius / 3] = 3
    return paint(classes, seed)


def seen(image: np.ndarray) -> np.ndarray:
    """uint8 [rows, columns]: index into NAMES of the nearest colour."""
    distance = np.abs(image[:, :, None].astype(np.int16) - _PALETTE).sum(axis=3)
    return distance.argmin(axis=2).astype(np.uint8)


def maps(image: np.ndarray) -> np.ndarray:
    """What a segmentation model that knows the colours answers: [classes, rows, columns]."""
    return (seen(image) == np.arange(len(NAMES))[:, None, None]).astype(np.float32)


def shares(image: np.ndarray) -> np.ndarray:
    """What a classification model answers: the share of the patch's pixels that are of each class, [classes]."""
    return np.bincount(seen(image).ravel(), minlength=len(NAMES)) / (image.shape[0] * image.shape[1])
