"""The maps of a segmentation model on one photograph of the fundus, at a size that bounds memory."""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Model
from airouter.imaging.spots import Spot
from airouter.inference.whole import whole
from airouter.ports import Predictor

SIDE: Final = 1536  # longer side in pixels of the copy that the maps are of


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """`probabilities`: float32 [classes, rows, columns] of a copy `scale` times (columns, rows) as large as the image.

    `lit`: bool [rows, columns], the lit field of the copy; `whole_outline`: its outline in pixels of the image.
    """

    model: Model = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    scale: tuple[float, float]
    lit: NDArray[np.bool_] = field(repr=False)
    whole_outline: NDArray[np.float64] = field(repr=False)

    @property
    def field_px(self) -> float:
        """Area of the lit field in pixels of the copy, at least 1."""
        return max(1.0, float(self.lit.sum()))

    @property
    def field_width(self) -> float:
        """Columns from the first to the last of the lit field."""
        return float(np.ptp(self.whole_outline[:, 0])) * self.scale[0]

    def above(self, name: str) -> NDArray[np.bool_]:
        """Where a class is found: at or above its threshold and, of an exclusive model, the most probable.

        Nowhere where the model has no such class.
        """
        head = self.model.head
        index = head.index(name)
        if index is None:
            return np.zeros(self.lit.shape, np.bool_)
        found = np.asarray(self.probabilities[index] >= head.classes[index].threshold, np.bool_)
        return np.asarray(found & (self.probabilities.argmax(axis=0) == index), np.bool_) if head.exclusive else found

    def mean(self, name: str, inside: NDArray[np.bool_]) -> float:
        """Mean probability of a class in a region, 0 where that is empty."""
        index = self.model.head.index(name)
        values = self.probabilities[index][inside] if index is not None else np.zeros(0, np.float32)
        return float(values.mean(dtype=np.float64)) if values.size else 0.0

    def certainty(self, name: str, spot: Spot) -> float:
        """Mean probability of a class in a region of it."""
        top, left, bottom, right = spot.box
        index = self.model.head.index(name)
        if index is None:
            return 0.0
        return float(self.probabilities[index, top:bottom, left:right][spot.inside].mean(dtype=np.float64))

    def highest(self, name: str, share: float) -> float:
        """Mean of the highest probabilities of a class in the field, over as many pixels as are `share` of it."""
        index = self.model.head.index(name)
        values = self.probabilities[index][self.lit] if index is not None else np.zeros(0, np.float32)
        count = min(values.size, max(1, round(share * values.size)))
        return float(np.partition(values, -count)[-count:].mean(dtype=np.float64)) if count else 0.0

    def image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of the copy in pixels of the image."""
        return np.asarray(points / np.array(self.scale), np.float64)


def photograph_maps(rgb: NDArray[np.uint8], outline: NDArray[np.float64], predict: Predictor, side: int = SIDE) -> Maps:
    """Run the model. `outline`: of the lit field, float64 [n, 2] of (column, row); `side`: most of the copy's pixels.

    Raises ModelOutputError.
    """
    rows, columns = rgb.shape[:2]
    factor = min(1.0, side / max(rows, columns))
    size = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    copy = rgb if factor == 1.0 else np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = (size[0] / columns, size[1] / rows)
    inside = np.zeros(copy.shape[:2], np.uint8)
    corners = np.round((outline * scale - 0.5) * 64).astype(np.int32)
    cv2.fillPoly(inside, [corners], 1, shift=6)
    return Maps(predict.model, whole(predict, copy), scale, inside.astype(np.bool_), outline)
