"""Whether an overlay is really painted, and where: screenshots with and without it, against the mask of the object.

The mask comes from the DICOM object, and goes to the screen through the transform of whatever draws the image, never
through the conversions that place overlays: those are what is tested.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

Mask = NDArray[np.bool_]
Screen = NDArray[np.int16]
Box = tuple[float, float, float, float]  # left, top, right, bottom

_CHANGED = 12  # levels of 255 in any channel


@dataclass(frozen=True)
class Placement:
    """Where an image stands on the page: page = matrix @ (column, row, 1), pixel edges; `window` is what shows it."""

    matrix: NDArray[np.float64]  # 2 x 3
    window: Box

    def of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(x, y) on the page of (column, row) in the image, [n, 2] each."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])


def shot(page: Page) -> Screen:
    """int16 [rows, columns, 3] of what the page shows."""
    with Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def settled(page: Page, *, tries: int = 40) -> Screen:
    """A screenshot once two in a row are alike: toasts have faded, tiles have come."""
    before = shot(page)
    for _ in range(tries):
        page.wait_for_timeout(250)
        now = shot(page)
        if now.shape == before.shape and not (np.abs(now - before) > _CHANGED).any():
            return now
        before = now
    raise AssertionError("the page does not come to rest")


def painted(on: Screen, off: Screen) -> Mask:
    """Where two screenshots differ."""
    return np.asarray(np.abs(on - off).max(axis=2) > _CHANGED)


def within(shape: tuple[int, ...], box: Box) -> Mask:
    """A mask of the page that is true inside of the box."""
    left, top, right, bottom = (int(v) for v in box)
    made = np.zeros(shape[:2], bool)
    made[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return made


def project(mask: Mask, placed: Placement, shape: tuple[int, ...]) -> Mask:
    """The mask of an image as it must look on a page of that shape."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    inverse = np.linalg.inv(placed.matrix[:, :2])
    at = np.stack([columns + 0.5 - placed.matrix[0, 2], rows + 0.5 - placed.matrix[1, 2]], axis=-1) @ inverse.T
    x, y = (np.floor(at[..., n]).astype(int) for n in (0, 1))
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    made = np.zeros(shape[:2], bool)
    made[inside] = mask[y[inside], x[inside]]
    return np.asarray(made & within(shape, placed.window))


def iou(a: Mask, b: Mask) -> float:
    """Share of what either has that both have; 0 where neither has anything."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def shifted(mask: Mask, by: int = 25) -> Mask:
    """The same mask in the wrong place, diagonally: what must not fit."""
    return np.roll(mask, (by, by), axis=(0, 1))


def touched(there: Mask, points: NDArray[np.float64], near: int = 3) -> float:
    """Share of the points (x, y) with a true pixel at most `near` away in either direction."""
    hits = [
        there[max(0, int(y) - near) : int(y) + near + 1, max(0, int(x) - near) : int(x) + near + 1].any()
        for x, y in points
    ]
    return float(np.mean(hits)) if hits else 0.0


def save(mask: Mask, path: str) -> None:
    """A mask as a picture, to look at."""
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
