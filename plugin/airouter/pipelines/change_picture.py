"""The current photograph with what changed on it outlined: for people, beside the segmentation."""

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.picture import Picture
from airouter.imaging import contours
from airouter.imaging.fundus import Fundus
from airouter.imaging.lesion_change import Change, Lesion

_COLOURS: Final = {Change.NEW: (230, 30, 30), Change.GROWN: (255, 160, 0), Change.GONE: (60, 140, 255)}


def change_picture(current: Fundus, overlap: NDArray[np.bool_], lesions: Iterable[Lesion], day: str) -> Picture:
    """Outlines of new, grown and gone lesions, and in white of what both photographs show.

    `overlap`: bool [rows, columns], the grid that the lesions lie on. `day`: of the earlier photograph, in words.
    """
    rows, columns = overlap.shape
    canvas = np.array(cv2.resize(current.rgb, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    thick = max(1, round(max(rows, columns) / 500))
    _draw(canvas, contours.outline(overlap).astype(np.float64), (255, 255, 255), 1)
    for lesion in lesions:
        if lesion.change in _COLOURS:
            _draw(canvas, _wider(lesion.outline(), 2.0 * thick), _COLOURS[lesion.change], thick)
    label = f"Change since {day}: red new, orange grown, blue gone"
    return Picture("change-picture", label, current.instance_uid, canvas)


def _wider(points: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    """Moved away from their middle, so that a small lesion is not covered by its own outline."""
    middle = points.mean(axis=0)
    away = points - middle
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    return np.asarray(middle + away * (1.0 + by / length), np.float64)


def _draw(canvas: NDArray[np.uint8], points: NDArray[np.float64], colour: tuple[int, int, int], thick: int) -> None:
    corners = np.round((points - 0.5) * 16).astype(np.int32)
    cv2.polylines(canvas, [corners], True, colour, thick, cv2.LINE_AA, 4)
