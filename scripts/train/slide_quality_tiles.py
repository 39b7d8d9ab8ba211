"""Pictures of tissue with artefacts of known place: what the model `slide-quality` learns from and is measured on.

Shared by training and measuring. Nothing here is random but by the generator given.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from nuclei_tiles import load_tiles, part_of
from PIL import Image as Picture

from phantoms import artefacts
from phantoms.artefacts import Image, Mask, Spoiled
from phantoms.slide import slide

UM: Final = 1.0  # size of a pixel
SIZE: Final = 256
CLASSES: Final = (
    "background", "in-focus", "out-of-focus", "folded", "understained", "overstained", "slide-marking", "air-bubble",
    "coverslip-edge", "stripes",
)  # fmt: skip
KINDS: Final = CLASSES[2:]  # the artefacts
# Where several lie over each other the first counts, as in the pipeline: what hides the tissue before what spoils it.
PRECEDENCE: Final = (
    "slide-marking", "air-bubble", "coverslip-edge", "folded", "out-of-focus", "understained", "overstained", "stripes",
)  # fmt: skip
UNSAID: Final = 255  # a pixel of no label: neither sharp nor out of focus
# Each artefact is put on before the next: the stain is in the tissue, the stripes are the scanner's.
_SEQUENCE: Final = (
    "understained", "overstained", "folded", "out-of-focus", "air-bubble", "coverslip-edge", "slide-marking", "stripes",
)  # fmt: skip
SHARP_UM, BLURRED_UM = 1.0, 2.5  # radius of the blur up to which tissue is called sharp, and from which it is not

# The real slide is divided by rows: training sees the lower part, measuring the upper one, some tissue between unused.
TRAINED_FROM, MEASURED_UNTIL = 1060, 1024
_RARE: Final = ("folded", "air-bubble", "stripes")  # trained on twice as often: the hardest to see
_INKS: Final = ((20, 40, 150), (25, 25, 30), (20, 110, 60), (170, 30, 40), (60, 60, 160), (10, 60, 120))


@functools.cache
def real_slide(data: Path) -> Image:
    """The real slide (CMU-1, a region of it) at 1 um per pixel: uint8 [1483, 1110, 3]."""
    with Picture.open(data / "slides" / "cmu-1-small-region.svs") as file:
        full = np.asarray(file.convert("RGB"))
    return np.asarray(cv2.resize(full, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


@functools.cache
def real_tiles(data: Path, part: str) -> tuple[Image, ...]:
    """H&E tiles of one part (training, validation, test) at their own size: uint8 [256, 320, 3]."""
    return tuple(tile.rgb for tile in load_tiles(data / "nuclei") if part_of(tile.id) == part)


def filled(rgb: Image, rows: int = SIZE, columns: int = SIZE) -> Image:
    """A picture made as large as asked by mirroring it, and cut to that."""
    down, right = max(0, rows - rgb.shape[0]), max(0, columns - rgb.shape[1])
    larger = cv2.copyMakeBorder(rgb, 0, down, 0, right, cv2.BORDER_REFLECT_101) if down or right else rgb
    return np.asarray(larger[:rows, :columns], np.uint8)


def standard(rgb: Image, density: float, white: float) -> Image:
    """The brightest colour made white of that grey value, and tissue of that median optical density."""
    top = np.percentile(rgb.reshape(-1, 3), 99.5, axis=0)
    balanced = np.clip(rgb.astype(np.float32) * (255.0 / np.maximum(top, 60.0)), 1.0, 255.0)
    od = -np.log10(balanced / 255.0)
    there = od.mean(axis=2) > 0.03
    median = float(np.median(od.mean(axis=2)[there])) if there.any() else density
    return np.asarray(np.clip(white * np.power(10.0, -od * density / max(median, 0.02)), 0, 255), np.uint8)


def clean(data: Path, rng: np.random.Generator) -> Image:
    """Tissue without artefacts for training: of the real slide, of a real tile, or generated."""
    source = rng.random()
    if source < 0.45:
        picture = real_slide(data)[TRAINED_FROM:]
        factor = rng.uniform(0.7, 1.5)  # other magnifications and tissues of other texture
        side = round(SIZE / factor)
        row = rng.integers(0, picture.shape[0] - side + 1)
        column = rng.integers(160, picture.shape[1] - side + 1) if rng.random() < 0.9 else rng.integers(0, 160)
        how = cv2.INTER_AREA if factor < 1.0 else cv2.INTER_CUBIC
        crop = cv2.resize(picture[row : row + side, column : column + side], (SIZE, SIZE), interpolation=how)
        rgb = np.asarray(crop, np.uint8)
        if rng.random() < 0.6:
            rgb = standard(rgb, rng.uniform(0.2, 0.36), rng.uniform(236, 252))
    elif source < 0.85:
        tiles = real_tiles(data, "training")
        tile = tiles[rng.integers(len(tiles))]
        factor = rng.uniform(0.35, 0.65)  # their magnification is not published; about 0.5 um per pixel is likely
        rgb = np.asarray(cv2.resize(tile, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
        rgb = filled(standard(rgb, rng.uniform(0.17, 0.34), rng.uniform(232, 252)))
    else:
        stain = "H-DAB" if rng.random() < 0.4 else "H&E"
        made = slide(
            2 * SIZE, 2 * SIZE, UM, stain, rng.uniform(1000, 4500), rng.uniform(0, 0.6), int(rng.integers(1 << 30))
        )
        row, column = rng.integers(0, SIZE + 1, 2)
        rgb = made.rgb[row : row + SIZE, column : column + SIZE]
    rgb = np.rot90(rgb, int(rng.integers(4)))
    return np.ascontiguousarray(rgb[:, ::-1] if rng.random() < 0.5 else rgb)


def put(kind: str, rgb: Image, rng: np.random.Generator) -> tuple[Spoiled, Mask]:
    """One artefact of a kind, and the pixels of which nothing can be said."""
    shape = (rgb.shape[0], rgb.shape[1])
    nothing = np.zeros(shape, np.bool_)
    whole = rng.random() < 0.6
    part = None if whole else artefacts.patch_of(shape, rng)
    if kind == "out-of-focus":
        radius = float(np.exp(rng.uniform(np.log(BLURRED_UM), np.log(12.0))))
        how = "disc" if rng.random() < 0.7 else "gaussian"
        spoiled = artefacts.defocus(rgb, UM, radius, part, how)  # type: ignore[arg-type]
        if part is not None:  # beside the border sharp tissue is mixed in
            edge = cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
            return spoiled, edge > 0
        return spoiled, nothing
    if kind == "folded":
        line = artefacts.line_through(shape, rng)
        shift = rng.uniform(-60, 60, 2)
        return artefacts.fold(rgb, UM, line, rng.uniform(12, 80), (float(shift[0]), float(shift[1]))), nothing
    if kind == "understained":
        return artefacts.stain(rgb, UM, rng.uniform(0.18, 0.42), part), nothing
    if kind == "overstained":
        return artefacts.stain(rgb, UM, rng.uniform(2.3, 3.4), part), nothing
    if kind == "slide-marking":
        ink = np.clip(np.array(_INKS[rng.integers(len(_INKS))]) + rng.normal(0, 14, 3), 0, 255).astype(int)
        width = float(np.exp(rng.uniform(np.log(40), np.log(500))))
        line = artefacts.line_through(shape, rng)
        colour = (int(ink[0]), int(ink[1]), int(ink[2]))
        seed = int(rng.integers(1 << 30))
        return artefacts.pen(rgb, UM, line, width, colour, rng.uniform(0.7, 0.97), seed), nothing
    if kind == "air-bubble":
        radius = float(np.exp(rng.uniform(np.log(25), np.log(260))))
        # a point of the rim is in the picture, so that the bubble can be told from defocus
        rim, angle = rng.uniform(30, SIZE - 30, 2), rng.uniform(0, 2 * np.pi)
        centre = rim + radius / UM * np.array([np.cos(angle), np.sin(angle)])
        return artefacts.bubble(
            rgb, UM, (float(centre[0]), float(centre[1])), radius, rng.uniform(6, 24), rng.uniform(2.5, 10),
            rng.uniform(0.92, 1.06),
        ), nothing  # fmt: skip
    if kind == "coverslip-edge":
        point = rng.uniform(30, SIZE - 30, 2)
        return artefacts.coverslip(
            rgb, UM, (float(point[0]), float(point[1])), rng.uniform(0, 2 * np.pi), rng.uniform(5, 22),
            rng.uniform(3, 10), rng.uniform(0.7, 0.93),
        ), nothing  # fmt: skip
    if kind == "stripes":
        period = float(np.exp(rng.uniform(np.log(24), np.log(120))))
        return artefacts.stripes(
            rgb, UM, period, rng.uniform(0.08, 0.2), across=bool(rng.random() < 0.5), phase=rng.uniform(0, 1)
        ), nothing
    raise ValueError(kind)


def labelled(rgb: Image, kinds: tuple[str, ...], rng: np.random.Generator) -> tuple[Image, npt.NDArray[np.uint8]]:
    """Artefacts put on a clean picture, and the class of each pixel (index of CLASSES, or UNSAID)."""
    label = artefacts.tissue(rgb, UM).astype(np.uint8)  # background or in focus
    found: dict[str, Mask] = {}
    unsaid = np.zeros(label.shape, np.bool_)
    for kind in sorted(kinds, key=_SEQUENCE.index):
        spoiled, doubt = put(kind, rgb, rng)
        rgb, found[kind] = spoiled.rgb, spoiled.mask
        unsaid |= doubt
    label[unsaid] = UNSAID
    for kind in sorted(kinds, key=PRECEDENCE.index, reverse=True):
        label[found[kind] & (label != UNSAID)] = CLASSES.index(kind)
    return rgb, label


def worn(rgb: Image, rng: np.random.Generator) -> Image:
    """What every scan has: a little blur or sharpening, another lamp, noise, compression."""
    out = rgb.astype(np.float32)
    chance = rng.random()
    if chance < 0.25:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.2, SHARP_UM / 2))
    elif chance < 0.4:
        out += rng.uniform(0.2, 0.9) * (out - cv2.GaussianBlur(out, (0, 0), 1.0))
    out *= rng.uniform(0.94, 1.04) * (1.0 + rng.normal(0, 0.012, 3))
    out += rng.normal(0, rng.uniform(0, 3.0), out.shape)
    out = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))])
        out = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return np.asarray(out, np.uint8)


def recoloured(rgb: Image, rng: np.random.Generator) -> Image:
    """Other dyes and another scanner: hue and saturation a little moved."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.normal(0, 4.0)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.75, 1.25), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def sample(seed: int, data: Path) -> tuple[Image, npt.NDArray[np.uint8]]:
    """A picture for training and its classes."""
    cv2.setNumThreads(0)
    rng = np.random.default_rng((seed, 8))
    rgb = recoloured(clean(data, rng), rng)
    chance = rng.random()
    many = 0 if chance < 0.3 else 1 if chance < 0.85 else 2
    often = np.array([2.0 if kind in _RARE else 1.0 for kind in KINDS])
    kinds = tuple(rng.choice(KINDS, many, replace=False, p=often / often.sum()).tolist())
    if {"understained", "overstained"} <= set(kinds):
        kinds = kinds[:1]
    rgb, label = labelled(rgb, kinds, rng)
    return worn(rgb, rng), label
