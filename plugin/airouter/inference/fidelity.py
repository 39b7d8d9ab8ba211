"""How far two versions of one model agree on the same images: one figure, 1 where nothing a reader sees differs.

What is compared is what the model is used for, by the kind of its head:

- segmentation: Dice coefficient 2 |A and B| / (|A| + |B|) of the pixels decided for a class, over all images together;
  the least over the classes that occur (Dice LR. Measures of the amount of ecologic association between species.
  Ecology 1945;26:297-302)
- classification: share of images with the same decision
- regression: Lin's concordance correlation coefficient 2 s_xy / (s_x^2 + s_y^2 + (mean_x - mean_y)^2); the least over
  the values (Lin LI. A concordance correlation coefficient to evaluate reproducibility. Biometrics 1989;45:255-268)
- embedding: mean cosine similarity

A decision is the largest of exclusive classes, else each class whose probability reaches its threshold.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Head, HeadKind
from airouter.errors import NotQuantizable

Metric = Literal["dice", "same decision", "concordance correlation", "cosine similarity"]

METRICS: Final[dict[HeadKind, Metric]] = {
    HeadKind.SEGMENTATION: "dice",
    HeadKind.CLASSIFICATION: "same decision",
    HeadKind.REGRESSION: "concordance correlation",
    HeadKind.EMBEDDING: "cosine similarity",
}


class Fidelity:
    """Takes the answers of both for one image after the other, and keeps sums only."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._thresholds = np.array([c.threshold for c in head.classes], np.float32)  # as the pipelines compare them
        count = len(head.classes)
        self._shows = np.zeros(count, np.int64)  # images in which the first one sees the class
        self._both, self._either = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._images = 0
        self._total = 0.0
        self._vectors: list[NDArray[np.float64]] = []  # [2, values] of each image

    @property
    def metric(self) -> Metric:
        """Name of the figure."""
        return METRICS[self._head.kind]

    @property
    def shows(self) -> dict[str, int]:
        """In how many images the first one saw each class; empty for heads without decisions."""
        if self._head.kind not in (HeadKind.SEGMENTATION, HeadKind.CLASSIFICATION):
            return {}
        return {c.name: int(n) for c, n in zip(self._head.classes, self._shows, strict=True)}

    def add(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        """The answers for one image: [classes, rows, columns] of a segmentation, else [values]."""
        self._images += 1
        if self._head.kind is HeadKind.SEGMENTATION:
            a, b = self._decisions(first), self._decisions(second)
            self._shows += a.any(axis=(1, 2))
            self._both += (a & b).sum(axis=(1, 2))
            self._either += a.sum(axis=(1, 2)) + b.sum(axis=(1, 2))
        elif self._head.kind is HeadKind.CLASSIFICATION:
            a, b = self._decisions(first), self._decisions(second)
            self._shows += a
            self._total += float((a == b).all())
        elif self._head.kind is HeadKind.EMBEDDING:
            x, y = first.astype(np.float64), second.astype(np.float64)
            length = float(np.linalg.norm(x) * np.linalg.norm(y))
            self._total += float(x @ y) / length if length > 0 else 0.0  # a vector of zeros has no direction
        else:
            self._vectors.append(np.stack([first, second]).astype(np.float64))

    def agreement(self) -> float:
        """The figure, at most 1. Raises NotQuantizable where the images do not allow one."""
        return min(1.0, self._agreement())  # rounding may leave it above

    def _agreement(self) -> float:
        if not self._images:
            raise NotQuantizable("no image was compared")
        if self._head.kind is HeadKind.SEGMENTATION:
            occurs = self._either > 0
            if not occurs.any():
                raise NotQuantizable("no class occurs in the images of the check: give images that show what it finds")
            return float((2.0 * self._both[occurs] / self._either[occurs]).min())
        if self._head.kind is HeadKind.REGRESSION:
            return _concordance(np.stack(self._vectors, axis=1))
        return self._total / self._images

    def _decisions(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool of the same shape; classes are the first axis."""
        if self._head.exclusive:
            kinds = np.arange(len(self._thresholds)).reshape(-1, *[1] * (probabilities.ndim - 1))
            return np.asarray(probabilities.argmax(axis=0)[np.newaxis] == kinds).reshape(probabilities.shape)
        return np.asarray(probabilities >= self._thresholds.reshape(-1, *[1] * (probabilities.ndim - 1)))


def _concordance(values: NDArray[np.float64]) -> float:
    """Least over the values of [2, images, values]. Variances are those of the population, as Lin's are."""
    x, y = values
    apart = (x.mean(axis=0) - y.mean(axis=0)) ** 2
    spread = x.var(axis=0) + y.var(axis=0) + apart
    if not (x.var(axis=0) > 0).all():
        raise NotQuantizable("a value is the same for every image of the check: give images that differ")
    covariance = ((x - x.mean(axis=0)) * (y - y.mean(axis=0))).mean(axis=0)
    return float((2.0 * covariance / spread).min())
