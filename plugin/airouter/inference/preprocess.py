"""8-bit pixels to the input tensor, as the manifest says: layout, colour order, transposition, range, mean, std."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import ModelInput


def image_size(image: ModelInput) -> tuple[int, int]:
    """Rows and columns of the images a model reads: `size` is the tensor's, which may be the transposed image."""
    return (image.size[1], image.size[0]) if image.transpose else image.size


def tensor_shape(image: ModelInput, count: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Shape of the tensor of `count` images of rows x columns."""
    if image.transpose:
        rows, columns = columns, rows
    if image.layout == "NCHW":
        return (count, image.channels, rows, columns)
    return (count, rows, columns, image.channels)


def as_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """uint8 [R, C], [R, C, 1] or [R, C, 3] (RGB) as [R, C, channels].

    Grey is repeated in every channel; colour becomes luma (0.299 R + 0.587 G + 0.114 B, ITU-R BT.601).
    Raises ValueError for anything else.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ValueError(f"not an 8-bit image of one or three channels: {pixels.dtype} {pixels.shape}")
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.shape[2] == channels:
        return pixels
    if pixels.shape[2] == 1:
        return np.repeat(pixels, channels, axis=2)
    if pixels.shape[2] == 3 and channels == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)[..., np.newaxis]
    raise ValueError(f"{pixels.shape[2]} channels given, {channels} wanted")


def fill(tensor: NDArray[np.float32], images: Sequence[NDArray[np.uint8]], image: ModelInput) -> None:
    """Write uint8 [rows, columns, channels] images into the first items of a tensor of `tensor_shape`.

    Each channel is value x scale + offset, where 0..255 is mapped on `range` and then (x - mean) / std; all in
    float32 and channel by channel, which is ten times as fast as the same in float64 with a transposition after it.
    """
    planes = tensor if image.layout == "NCHW" else np.moveaxis(tensor, 3, 1)
    factors = [_scale_and_offset(image, c) for c in range(image.channels)]
    order = range(image.channels - 1, -1, -1) if image.colour == "BGR" else range(image.channels)
    for target, pixels in zip(planes, images, strict=False):
        sources = cv2.split(pixels) if image.channels == 3 else (pixels[..., 0],)
        for channel, source in enumerate(order):
            scale, offset = factors[channel]
            plane = sources[source].T if image.transpose else sources[source]
            np.multiply(plane, scale, out=target[channel])
            if offset:
                target[channel] += offset


def _scale_and_offset(image: ModelInput, channel: int) -> tuple[np.float32, np.float32]:
    """mean and std are in the order of the tensor's channels, as everywhere."""
    low, high = image.range
    mean = image.mean[channel] if image.mean is not None else 0.0
    std = image.std[channel] if image.std is not None else 1.0
    return np.float32((high - low) / 255.0 / std), np.float32((low - mean) / std)
