"""Where findings of an OCT volume are: outlines on its B-scans."""

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Region
from airouter.imaging import contours
from airouter.imaging.oct import OctVolume


def between(
    volume: OctVolume, upper: NDArray[np.float64], lower: NDArray[np.float64], near: float | None = None
) -> Region:
    """What lies between two surfaces [B-scans, columns], on one B-scan.

    It is the one nearest to `near` (default: the middle) that has both surfaces in half of its columns, else the one
    with the most of them. Where they are known at the same columns it is one polygon.
    """
    known = np.isfinite(upper) & np.isfinite(lower)
    trusted = known.mean(axis=1)
    away = np.abs(np.arange(len(volume)) - ((len(volume) - 1) / 2 if near is None else near))
    plane = int(np.lexsort((away, trusted < min(0.5, trusted.max())))[0])
    columns = np.flatnonzero(known[plane])
    top = np.stack([columns + 0.5, upper[plane, columns]], axis=1)
    bottom = np.stack([columns + 0.5, lower[plane, columns]], axis=1)[::-1]
    closed = np.concatenate([top, bottom]).astype(np.float32)
    points = cv2.approxPolyDP(closed[:, None], 0.5, True).reshape(-1, 2)
    return Region("POLYGON", volume.instance_uid, points.astype(np.float64), frame=plane + 1)


def largest(volume: OctVolume, mask: NDArray[np.bool_]) -> Region | None:
    """The largest part of a mask [B-scans, rows, columns] on the B-scan with most of it, None where it is empty."""
    amount = mask.sum(axis=(1, 2))
    plane = int(amount.argmax())
    if not amount[plane]:
        return None
    points = contours.outline(mask[plane])
    return Region("POLYGON", volume.instance_uid, points.astype(np.float64), frame=plane + 1)


def known(surface: NDArray[np.float64], instead: NDArray[np.float64]) -> NDArray[np.float64]:
    """The surface, or another one where nothing of it is known."""
    return surface if np.isfinite(surface).any() else instead
