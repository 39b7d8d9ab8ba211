"""A photograph as it might look at another visit: the eye turned, another camera, new lesions; the truth is known."""

import cv2
import numpy as np

from airouter.imaging.field_of_view import field_of_view

HALF = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])  # pixels (first centre 0.5, 0.5) to indices


def pose(shape, turn=0.0, scale=1.0, shift=(0.0, 0.0)):
    """From (column, row) of a picture to those of the same picture turned (degrees) and scaled about its middle."""
    a = np.radians(turn)
    middle = np.array([shape[1], shape[0]]) / 2
    made = np.eye(3)
    made[:2, :2] = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    made[:2, 2] = middle + np.array(shift) - made[:2, :2] @ middle
    return made


def moved(picture, matrix, flags=cv2.INTER_LINEAR):
    """A picture or mask after `matrix`, on a canvas of the same size."""
    rows, columns = picture.shape[:2]
    return cv2.warpAffine(picture, (HALF @ matrix @ np.linalg.inv(HALF))[:2], (columns, rows), flags=flags)


def lit(rgb):
    outline, _ = field_of_view(rgb)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(outline - 0.5).astype(np.int32), 1)
    return mask


def other_visit(rgb, matrix, rng, lesions=8):
    """The photograph after `matrix`, in the same field, with other light, focus and noise, and lesions painted."""
    rows, columns = rgb.shape[:2]
    side = min(rows, columns)
    value = 255.0 * (moved(rgb, matrix).astype(np.float32) / 255.0) ** rng.uniform(0.75, 1.35)
    value = value * rng.uniform(0.75, 1.2) + rng.uniform(-10, 15)
    value = cv2.GaussianBlur(value, (0, 0), max(0.2, rng.uniform(0.0, 0.002) * side))
    for _ in range(lesions):
        spot = np.zeros((rows, columns), np.float32)
        at = tuple(int(v) for v in rng.uniform(0.25, 0.75, 2) * [columns, rows])
        cv2.circle(spot, at, max(1, int(rng.uniform(0.004, 0.025) * side)), 0.8, -1, cv2.LINE_AA)
        colour = np.array([235, 215, 120] if rng.random() < 0.5 else [95, 20, 15], np.float32)
        value = value * (1 - spot[..., None]) + colour * spot[..., None]
    value += rng.normal(0.0, rng.uniform(0.5, 4.0), value.shape)
    field = lit(rgb)
    field &= moved(field, matrix)
    return np.clip(np.where(field[..., None] > 0, value, 2.0), 0, 255).astype(np.uint8)


def drawn(rng, shape):
    """A random pose: up to 15 degrees, a scale of 0.8 to 1.25, a shift of up to a quarter of the picture."""
    side = min(shape[:2])
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    return pose(shape, rng.uniform(-15, 15), scale, rng.uniform(-0.25, 0.25, 2) * side / np.sqrt(2))


def miss(found, true, rgb):
    """Greatest distance within the field, as a part of its diameter, of where two matrices put the earlier picture."""
    mask = lit(rgb)
    here = np.argwhere(mask)[::211, ::-1] + 0.5
    there = here @ np.linalg.inv(true)[:2, :2].T + np.linalg.inv(true)[:2, 2]
    away = there @ found[:2, :2].T + found[:2, 2] - here
    return float(np.linalg.norm(away, axis=1).max()) / float(np.ptp(np.nonzero(mask)[1]))
