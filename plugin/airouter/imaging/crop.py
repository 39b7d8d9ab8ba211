"""Cuts of an image for people: exactly the box that is asked for, at most so many pixels of it."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.errors import PixelDataError, RequestError
from airouter.imaging.level import Image
from airouter.imaging.slide import Slide

_MOST_PIXELS: Final = 1 << 24  # that are read for one picture
_FARTHEST: Final = 1 << 21  # pixels from the origin
_QUALITY: Final = 88


@dataclass(frozen=True, slots=True)
class Box:
    """Whole pixels from (`left`, `top`) to before (`right`, `bottom`). Raises RequestError for an empty one, or one far
    away."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            raise RequestError("the box is empty: it is left,top,right,bottom")
        if max(map(abs, (self.left, self.top, self.right, self.bottom))) > _FARTHEST:
            raise RequestError(f"the box reaches beyond {_FARTHEST} pixels")

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left


def cut(pixels: Image, box: Box | None, side: int) -> Image:
    """The box of an image uint8 [rows, columns(, samples)], black outside; all of it without a box.

    Only the part within the image is ever held at its size. Longer sides than `side` are scaled down by averaging.
    """
    rows, columns = pixels.shape[:2]
    if box is None:
        return _small(pixels, _scaled((rows, columns), side))
    height, width = _scaled(box.size, side)
    canvas = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
    inner = (max(0, box.left), max(0, box.top), min(columns, box.right), min(rows, box.bottom))
    if inner[0] < inner[2] and inner[1] < inner[3]:
        scale = height / box.size[0], width / box.size[1]
        top, left = round((inner[1] - box.top) * scale[0]), round((inner[0] - box.left) * scale[1])
        bottom, right = round((inner[3] - box.top) * scale[0]), round((inner[2] - box.left) * scale[1])
        part = pixels[inner[1] : inner[3], inner[0] : inner[2]]
        if bottom > top and right > left:
            canvas[top:bottom, left:right] = _small(part, (bottom - top, right - left)).reshape(
                bottom - top, right - left, *pixels.shape[2:]
            )
    return canvas


def cut_of_slide(slide: Slide, source: str, box: Box, side: int) -> Image:
    """The box in pixels of the level `source`, read from the coarsest level that still has as many pixels as asked.

    White outside of the slide. Raises RequestError where the slide has no such level, PixelDataError.
    """
    own = next((level for level in slide.levels if source in level.instance_uids), None)
    if own is None:
        raise RequestError(f"the slide has no level {source}")
    height, width = _scaled(box.size, side)
    level = own
    for coarser in slide.levels[slide.levels.index(own) :]:
        if coarser.columns / own.columns * box.size[1] >= width and coarser.rows / own.rows * box.size[0] >= height:
            level = coarser
    down, across = level.rows / own.rows, level.columns / own.columns
    top, left = round(box.top * down), round(box.left * across)
    rows, columns = max(1, round(box.size[0] * down)), max(1, round(box.size[1] * across))
    if rows * columns > _MOST_PIXELS:
        raise PixelDataError(f"the slide has no level coarse enough to draw {box.size[1]} x {box.size[0]} pixels of it")
    return _small(level.region(top, left, rows, columns), (height, width))


def encoded(pixels: Image, suffix: str) -> bytes:
    """As .jpg or .png. Raises PixelDataError."""
    made: NDArray[np.uint8] = pixels if pixels.ndim == 2 or pixels.shape[2] == 1 else pixels[:, :, ::-1]
    done, data = cv2.imencode(suffix, np.ascontiguousarray(made), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise PixelDataError("the picture cannot be encoded")
    return bytes(data)


def _scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _small(pixels: Image, size: tuple[int, int]) -> Image:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
