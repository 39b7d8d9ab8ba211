"""A fundus photograph made comparable: its field at one size, light evened out, vessels brought out.

Photographs of one eye differ in camera, resolution, light and sharpness; what stays is the pattern of its vessels.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import sato

from airouter.imaging.field_of_view import field_of_view

DIAMETER: Final = 512  # pixels of the field's diameter in every view
_RIM: Final = 12  # pixels of a view: the border of the field has no vessels, only an edge
_BACKGROUND: Final = 20.0  # pixels, sigma: light and pigment change slower than this, vessels faster
_CALIBRES: Final = (1.5, 2.5, 4.0)  # pixels, sigma: half widths of vessels, 0.6 to 1.6 % of the field
_KEYPOINTS: Final = 2000
_LEAST_PIXELS: Final = 128  # of the field's diameter in the photograph: vessels below are not resolved


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A photograph at `DIAMETER` pixels of its field.

    `vessels`: float32 [rows, columns], 0 and more, how much a pixel looks like a dark vessel. `field`: bool [rows,
    columns], without the rim. `scale`: pixels of the view by pixels of the photograph. `points`: float32 [n, 2], where
    details lie (column, row), and `descriptors`: float32 [n, 128], what they look like.
    """

    vessels: NDArray[np.float32]
    field: NDArray[np.bool_]
    scale: float
    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]

    @property
    def to_view(self) -> NDArray[np.float64]:
        """Float64 [3, 3]: from (column, row, 1) of the photograph, whose first pixel's centre is (0.5, 0.5), to the
        indices of the view's pixels, whose first is (0, 0)."""
        return np.array([[self.scale, 0.0, -0.5], [0.0, self.scale, -0.5], [0.0, 0.0, 1.0]])


def view(rgb: NDArray[np.uint8]) -> View | str:
    """The view of a photograph, uint8 [rows, columns, 3]; or why there is none.

    The green channel shows the vessels best. Vessels: largest eigenvalue of the Hessian over three calibres (Sato Y et
    al. Three-dimensional multi-scale line filter. Med Image Anal 1998;2:143-168).
    """
    outline, _ = field_of_view(rgb)
    if len(outline) < 3:
        return "no lit field of the retina was found in the image"
    _, radius = cv2.minEnclosingCircle(outline.astype(np.float32))
    if 2.0 * radius < _LEAST_PIXELS:
        return f"the field of the photograph is only {2 * radius:.0f} pixels wide"
    scale = DIAMETER / (2.0 * radius)
    rows, columns = (max(1, round(side * scale)) for side in rgb.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    green = cv2.resize(rgb[:, :, 1], (columns, rows), interpolation=method).astype(np.float32)
    whole = np.zeros((rows, columns), np.uint8)
    cv2.fillConvexPoly(whole, np.round(outline * scale - 0.5).astype(np.int32), 1)
    lit = whole.astype(np.float32)
    level, weight = _smooth(green * lit, _BACKGROUND), np.maximum(_smooth(lit, _BACKGROUND), 1e-3)
    contrast = np.where(whole > 0, green - level / weight, 0.0)
    # also the local contrast is evened out: a dark side of the field counts as much as a bright one
    spread = np.sqrt(_smooth(contrast**2, 2 * _BACKGROUND) / np.maximum(_smooth(lit, 2 * _BACKGROUND), 1e-3))
    even = (contrast / np.maximum(spread, 1.0)).astype(np.float32)
    texture = np.clip(np.rint(128.0 + 42.0 * even), 0, 255).astype(np.uint8)
    framed = cv2.copyMakeBorder(whole, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    inner = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1] > _RIM
    ridges = np.asarray(sato(even, sigmas=_CALIBRES, black_ridges=True, mode="reflect"), np.float32)
    return View(np.where(inner, ridges, 0.0).astype(np.float32), inner, scale, *_details(texture, inner))


def _details(texture: NDArray[np.uint8], field: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints and their descriptors, scaled as RootSIFT (Lowe DG. Int J Comput Vis 2004;60:91-110; Arandjelovic R,
    Zisserman A. Three things everyone should know to improve object retrieval. CVPR 2012)."""
    detector = cv2.SIFT.create(nfeatures=_KEYPOINTS, contrastThreshold=0.02)
    points, found = detector.detectAndCompute(texture, field.astype(np.uint8))
    if found is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    root = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-6))
    return np.array([p.pt for p in points], np.float32), np.asarray(root, np.float32)


def _smooth(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), np.float32)
