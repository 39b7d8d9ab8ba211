"""Pictures and truth for the models that read lesions of the fundus: generated eyes as different cameras show them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts")]

from phantoms import fundus as phantom  # noqa: E402
from phantoms.fundus_lesion_paint import smooth  # noqa: E402
from phantoms.fundus_lesions import CLASSES, lesions  # noqa: E402

SIZE = 512
HELD_OUT = 10_000_000  # seeds from here on are never trained on
OTHER = -1  # grade of a picture that is no fundus photograph

Rgb = NDArray[np.uint8]
Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Eye:
    """What is drawn of an eye: the arguments of `lesions`."""

    grade: int
    macular_exudates: bool
    cup_ratio: float
    detachment: bool
    vitreous_haemorrhage: bool


def eye_of(seed: int, *, graded: bool = False) -> Eye:
    """An eye by its number. graded: without a detachment, and with blood in the vitreous at grade 4 alone."""
    rng = np.random.default_rng([23, seed])
    grade = int(rng.choice(5, p=[0.2] * 5 if graded else [0.2, 0.15, 0.25, 0.2, 0.2]))
    macular = grade >= 2 and bool(rng.random() < 0.45)
    ratio = float(rng.uniform(0.2, 0.95))
    detachment = not graded and grade != 3 and bool(rng.random() < 0.15)
    blood = bool(rng.random() < (0.2 if graded else 0.13)) and not detachment and (grade == 4 or not graded)
    return Eye(grade, macular, ratio, detachment, blood)


def letterbox(rgb: Rgb, size: int = SIZE) -> Rgb:
    """Whole picture into a square, aspect kept, centred on black."""
    rows, cols = rgb.shape[:2]
    scale = size / max(rows, cols)
    r, c = max(1, round(rows * scale)), max(1, round(cols * scale))
    small = cv2.resize(rgb, (c, r), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.zeros((size, size, 3), np.uint8)
    out[(size - r) // 2 : (size - r) // 2 + r, (size - c) // 2 : (size - c) // 2 + c] = small
    return out


def _warped(rgb: Rgb, masks: Masks, rng: np.random.Generator) -> tuple[Rgb, Masks]:
    """Turned, zoomed and moved a little, or cut above and below as by a film of 4 to 3."""
    size, wide = rgb.shape[0], bool(rng.random() < 0.2)
    zoom = float(rng.uniform(1.0, 1.2)) if wide else float(rng.uniform(0.8, 1.08))
    m = cv2.getRotationMatrix2D((size / 2, size / 2), float(rng.uniform(-20, 20)), zoom)
    m[:, 2] += rng.normal(0.0, 0.02 * size, 2)
    out = np.asarray(cv2.warpAffine(rgb, m, (size, size), flags=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR))
    moved = [cv2.warpAffine(k.astype(np.uint8), m, (size, size), flags=cv2.INTER_NEAREST) > 0 for k in masks]
    if wide:
        edge = round(size * float(rng.uniform(0.1, 0.15)))
        out[:edge] = out[-edge:] = 0
        for mask in moved:
            mask[:edge] = mask[-edge:] = False
    return out, np.stack(moved)


def _other_camera(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Choroidal vessels that shine through, other colours, and the grain of compression."""
    value = rgb.astype(np.float32)
    if rng.random() < 0.4:
        ridges = np.exp(-((smooth(rng, rgb.shape[0], int(rng.integers(14, 34))) / 0.3) ** 2))
        value *= 1.0 + (float(rng.uniform(0.03, 0.16)) * ridges)[..., None] * np.array([0.6, 1.0, 0.8], np.float32)
    value = 255.0 * np.clip(value / 255.0, 0.0, 1.0) ** float(np.exp(rng.uniform(-0.25, 0.25)))
    value *= rng.uniform(0.85, 1.15, 3) * rng.uniform(0.85, 1.1)
    out = np.clip(value, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, packed = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])
        out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(out)


def sample(seed: int, graded: bool = False) -> tuple[Rgb, NDArray[np.uint8], int]:
    """A picture [512, 512, 3], its masks [10, 512, 64] packed eight to a byte, and its grade (`OTHER` if no fundus)."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([29, seed])
    if rng.random() < 0.03 and not graded:
        nothing = np.zeros((len(CLASSES), SIZE, SIZE // 8), np.uint8)
        return letterbox(phantom.not_a_fundus(320, seed)), nothing, OTHER
    eye = eye_of(seed, graded=graded)
    made = lesions(
        SIZE, "R" if rng.random() < 0.5 else "L", seed, eye.grade, macular_exudates=eye.macular_exudates,
        cup_ratio=eye.cup_ratio, detachment=eye.detachment, vitreous_haemorrhage=eye.vitreous_haemorrhage,
    )  # fmt: skip
    rgb = made.rgb
    if rng.random() < 0.35:
        name = str(rng.choice(list(phantom.DEGRADERS)))
        rgb = phantom.DEGRADERS[name](rgb, rng, float(rng.uniform(0.05, phantom.MILD)))
    rgb, masks = _warped(rgb, np.stack([made.masks[name] for name in CLASSES]), rng)
    return _other_camera(rgb, rng), np.packbits(masks, axis=2), eye.grade
