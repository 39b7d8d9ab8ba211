"""A whole image through a model: fitted to the model's size, and maps brought back on the image's own grid."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Fit, HeadKind, ModelInput
from airouter.inference.preprocess import image_size
from airouter.ports import Predictor

Pixel = TypeVar("Pixel", np.uint8, np.float32)

_BORDERS: Final = {
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT_101,  # without repeating the edge pixel, as numpy's "reflect"
    "edge": cv2.BORDER_REPLICATE,
}


@dataclass(frozen=True, slots=True)
class _Fitted:
    """An image at model size, where in it the picture lies, and the shape it had."""

    pixels: NDArray[np.uint8]
    top: int
    left: int
    rows: int
    columns: int
    original: tuple[int, int]


def whole(predictor: Predictor, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a model on one whole image, uint8 [R, C] or [R, C, 3] (RGB).

    Segmentation: float32 [classes, R, C], probabilities on the image's own grid, brought back bilinearly.
    Other heads: float32 [values]. Raises ModelOutputError as `Predictor.predict` does; ValueError for a model with
    fit: tile, which reads patches of a slide, and for anything but an 8-bit image.
    """
    return next(whole_many(predictor, [image], 1))


def whole_many(
    predictor: Predictor, images: Iterable[NDArray[np.uint8]], batch: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """`whole` for each of many images, in order, `batch` at a time (default: the manifest's)."""
    source = iter(images)
    size = batch if batch is not None else predictor.model.input.batch
    if size < 1:
        raise ValueError(f"a batch of {size}")
    while group := [_fit(image, predictor.model.input) for image in islice(source, size)]:
        yield from _run(predictor, group)


def fitted(image: NDArray[np.uint8], target: ModelInput) -> NDArray[np.uint8]:
    """The pixels that a model sees of a whole image, uint8 [rows, columns] or [rows, columns, 3].

    Raises ValueError as `whole` does.
    """
    return _fit(image, target).pixels


def _run(predictor: Predictor, group: list[_Fitted]) -> Iterator[NDArray[np.float32]]:
    """Images of one shape go together; with fit: pad there may be several shapes in a group."""
    answers: dict[int, NDArray[np.float32]] = {}
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, fitted in enumerate(group):
        shapes.setdefault(fitted.pixels.shape, []).append(i)
    for members in shapes.values():
        answers.update(zip(members, predictor.predict([group[i].pixels for i in members]), strict=True))
    for i, fitted in enumerate(group):
        maps = predictor.model.head.kind is HeadKind.SEGMENTATION
        yield _unfit(answers[i], fitted) if maps else answers[i]


def _fit(image: NDArray[np.uint8], target: ModelInput) -> _Fitted:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"not an 8-bit image: {image.dtype} {image.shape}")
    rows, columns = image.shape[:2]
    high, wide = image_size(target)
    if target.fit is Fit.STRETCH:
        return _Fitted(_resize(image, high, wide), 0, 0, high, wide, (rows, columns))
    if target.fit is Fit.LETTERBOX:
        factor = min(high / rows, wide / columns)
        inner = max(1, min(high, round(rows * factor))), max(1, min(wide, round(columns * factor)))
        top, left = (high - inner[0]) // 2, (wide - inner[1]) // 2
        pixels = _pad(_resize(image, *inner), top, left, high, wide, target)
        return _Fitted(pixels, top, left, *inner, (rows, columns))
    if target.fit is Fit.PAD:
        pixels = _pad(image, 0, 0, -(-rows // high) * high, -(-columns // wide) * wide, target)
        return _Fitted(pixels, 0, 0, rows, columns, (rows, columns))
    raise ValueError("a model with fit: tile reads patches, not whole images")


def _unfit(maps: NDArray[np.float32], fitted: _Fitted) -> NDArray[np.float32]:
    """[classes, rows, columns] of the model's grid on the image's own."""
    inner = maps[:, fitted.top : fitted.top + fitted.rows, fitted.left : fitted.left + fitted.columns]
    if inner.shape[1:] == fitted.original:
        return np.ascontiguousarray(inner)
    return np.stack([_resize(np.ascontiguousarray(plane), *fitted.original) for plane in inner])


def _resize(image: NDArray[Pixel], rows: int, columns: int) -> NDArray[Pixel]:
    """Pixel areas are averaged where the image shrinks on both sides, else neighbours are joined bilinearly."""
    if image.shape[:2] == (rows, columns):
        return image
    shrinks = rows <= image.shape[0] and columns <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=method), dtype=image.dtype)


def _pad(
    image: NDArray[np.uint8], top: int, left: int, rows: int, columns: int, target: ModelInput
) -> NDArray[np.uint8]:
    """To rows x columns, the image at (top, left); filled as the manifest's padding says."""
    bottom, right = rows - image.shape[0] - top, columns - image.shape[1] - left
    border = _BORDERS[target.padding.mode]
    value = (target.padding.value,) * 4
    return np.asarray(cv2.copyMakeBorder(image, top, bottom, left, right, border, value=value), dtype=np.uint8)
