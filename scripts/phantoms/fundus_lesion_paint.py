"""Lesions of the retina as they are painted on a phantom fundus: each function changes the colours and gives its mask.

Colours are float32 [size, size, 3] in 0..255 and are changed in place; masks are bool [size, size]; places are (x, y)
in pixels, where the middle of the first pixel is (0.5, 0.5). Lengths are in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]
Mask = NDArray[np.bool_]
Point = tuple[float, float]

BLOOD = np.array([0.58, 0.2, 0.25], np.float32)  # what blood leaves of the light of the retina below it
LIPID = np.array([246.0, 226.0, 128.0], np.float32)
SWOLLEN = np.array([236.0, 220.0, 190.0], np.float32)


def _logistic(v: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(v, -30.0, 30.0))), np.float32)


def smooth(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Smooth random field [size, size], about standard normal, with about `cells` features across."""
    small = rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def spot(
    rgb: Colours,
    mask: Mask,
    rng: np.random.Generator,
    at: Point,
    radii: tuple[float, float],
    angle: float,
    *,
    look: Callable[[Colours], Colours],
    strength: float,
    soft: float,
    uneven: float,
) -> None:
    """One spot: an ellipse of uneven border, added to `mask`.

    radii: along `angle` and across. look: colours of the retina below it -> its own. strength: its share in 0..1.
    soft: width of the border. uneven: how far the border departs from the ellipse, as a fraction of the radius.
    """
    size = mask.shape[0]
    reach = max(radii) * (1.0 + 2.0 * uneven) + 4.0 * soft + 1.0
    left, top = (max(0, int(v - reach)) for v in at)
    right, bottom = (min(size, int(v + reach) + 1) for v in at)
    if left >= right or top >= bottom:
        return
    y, x = (np.mgrid[top:bottom, left:right] + 0.5).astype(np.float32)
    u = (x - at[0]) * np.cos(angle) + (y - at[1]) * np.sin(angle)
    v = (y - at[1]) * np.cos(angle) - (x - at[0]) * np.sin(angle)
    u, v = u / radii[0], v / radii[1]
    way = np.arctan2(v, u)
    border = np.ones_like(u)
    for lobes in (2, 3, 5):
        border += uneven * 0.6 * np.cos(lobes * way + float(rng.uniform(0.0, 2.0 * np.pi)))
    inside = (border - np.hypot(u, v)) * min(radii)
    here = (slice(top, bottom), slice(left, right))
    part = (strength * _logistic(inside / soft))[..., None]
    rgb[here] = rgb[here] * (1.0 - part) + look(rgb[here]) * part
    mask[here] |= inside >= 0.0
    mask[min(size - 1, int(at[1])), min(size - 1, int(at[0]))] = True


def blood(below: Colours) -> Colours:
    """Colour of blood in front of a retina of the colours `below`."""
    return below * BLOOD


def lipid(below: Colours) -> Colours:
    """Colour of a hard exudate; it takes some of the photograph's own light."""
    return np.broadcast_to(LIPID, below.shape) * float(np.clip(below[..., 0].mean() / 190.0, 0.75, 1.0))


def swollen(below: Colours) -> Colours:
    """Colour of a soft exudate."""
    return np.broadcast_to(SWOLLEN, below.shape) * float(np.clip(below[..., 0].mean() / 190.0, 0.75, 1.0))


def new_vessels(rgb: Colours, rng: np.random.Generator, at: Point, extent: float) -> Mask:
    """A net of fine, winding vessels that reaches about `extent` from `at`. The mask is the area that it covers."""
    size, over = rgb.shape[0], 2
    canvas = np.zeros((size * over, size * over), np.uint8)
    step, wide = extent * over / 9.0, max(1.0, extent * over * 0.045)
    for _ in range(int(rng.integers(11, 17))):
        here = np.array(at) * over
        heading = float(rng.uniform(0.0, 2.0 * np.pi))
        bend = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.25, 0.6))
        for _ in range(int(rng.integers(8, 16))):
            heading += bend + float(rng.normal(0.0, 0.45))
            to = here + step * np.array([np.cos(heading), np.sin(heading)])
            if np.linalg.norm(to - np.array(at) * over) > extent * over:
                heading += 2.0
                continue
            ends = [tuple(round(v * 16) for v in p) for p in (here, to)]
            cv2.line(canvas, ends[0], ends[1], 255, max(1, round(wide)), cv2.LINE_AA, 4)
            here = to
    thin = np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.float32) / 255.0
    rgb *= 1.0 - 0.85 * thin[..., None] * (1.0 - BLOOD)
    k = max(3, round(extent * 0.3) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
    return np.asarray(cv2.morphologyEx((thin > 0.25).astype(np.uint8), cv2.MORPH_CLOSE, kernel), np.bool_)


def detached(
    rgb: Colours, rng: np.random.Generator, middle: Point, radius: float, vessels: NDArray[np.float32], spared: Mask
) -> Mask:
    """Lift the retina off on one side of the field: grey, in folds, without choroidal pattern, its vessels winding.

    middle, radius: of the camera's field. spared: where the retina stays on, such as the disc.
    """
    size = rgb.shape[0]
    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32)
    way = float(rng.uniform(0.0, 2.0 * np.pi))
    centre = np.array(middle) + radius * float(rng.uniform(0.75, 1.05)) * np.array([np.cos(way), np.sin(way)])
    around = np.arctan2(y - centre[1], x - centre[0])
    border = radius * float(rng.uniform(0.6, 0.95)) * np.ones_like(x)
    for lobes in (2, 3, 5):
        border *= 1.0 + 0.05 * np.cos(lobes * around + float(rng.uniform(0.0, 2.0 * np.pi)))
    inside = border - np.hypot(x - centre[0], y - centre[1])
    height = _logistic(inside / (0.015 * radius))
    away = cv2.distanceTransform((~spared).astype(np.uint8), cv2.DIST_L2, 3)
    height *= _logistic((away - 0.04 * radius) / (0.015 * radius))
    ripple = smooth(rng, size, 5) * 2.2
    pitch = float(rng.uniform(0.1, 0.2)) * radius
    along = float(rng.uniform(0.0, np.pi))
    fold = np.sin((x * np.cos(along) + y * np.sin(along)) * 2.0 * np.pi / pitch + ripple).astype(np.float32)
    bent = [grid + (0.22 * pitch * fold * height).astype(np.float32) - 0.5 for grid in (x, y)]
    winding = np.asarray(cv2.remap(vessels, bent[0], bent[1], cv2.INTER_LINEAR), np.float32)
    light = float(rgb[..., 0].mean()) / 190.0
    grey = np.array([176.0, 160.0, 148.0], np.float32) * float(np.clip(light * rng.uniform(0.85, 1.1), 0.55, 1.15))
    own = grey * (1.0 + 0.17 * fold[..., None]) * (1.0 - 0.55 * winding[..., None])
    part = (float(rng.uniform(0.8, 0.95)) * height)[..., None]
    rgb *= 1.0 - part
    rgb += own * part
    return np.asarray(height > 0.5, np.bool_)


def clouded(
    rgb: Colours, rng: np.random.Generator, middle: Point, radius: float, *, preretinal: bool
) -> tuple[Mask, NDArray[np.float32]]:
    """Blood in front of the retina: a cloud in the vitreous, or a pool with a level surface before the retina.

    Gives the mask and how much of the retina is hidden [size, size], 0..1.
    """
    size = rgb.shape[0]
    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32)
    way, far = float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.uniform(0.1, 0.5)) * radius
    at = np.array(middle) + far * np.array([np.cos(way), np.sin(way)])
    if preretinal:
        wide = float(rng.uniform(0.2, 0.42)) * radius
        bowl = 1.0 - np.hypot((x - at[0]) / wide, (y - at[1]) / (wide * float(rng.uniform(0.7, 1.0))))
        level = (y - at[1]) / wide - 0.03 * smooth(rng, size, 6)  # blood sinks, its upper surface is level
        dense = 0.93 * _logistic(bowl / 0.03) * _logistic(level / 0.03)
    else:
        wide = float(rng.uniform(0.45, 0.85)) * radius
        shape = 1.0 - np.hypot(x - at[0], (y - at[1]) * float(rng.uniform(0.8, 1.3))) / wide
        shape = shape + 0.28 * smooth(rng, size, 5) + 0.12 * smooth(rng, size, 12)
        dense = float(rng.uniform(0.86, 0.97)) * _logistic((shape - 0.15) / 0.11)
        haze = cv2.GaussianBlur(rgb, (0, 0), 0.012 * radius)
        rgb *= 0.4
        rgb += 0.6 * haze
    own = np.array([78.0, 16.0, 11.0], np.float32) * (1.0 + 0.12 * smooth(rng, size, 9))[..., None]
    rgb *= (1.0 - dense)[..., None]
    rgb += own * dense[..., None]
    return np.asarray(dense > 0.45, np.bool_), dense
