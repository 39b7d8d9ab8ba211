"""Synthetic histology with known truth: every nucleus, whether it is positive, and where tissue is.

The picture is made the way a microscope makes it. Each stain has a concentration in every pixel; light is absorbed
by the Beer-Lambert law, ``I = 255 * 10 ** -(sum of concentration * optical density vector)``. The vectors are those
of Ruifrok AC, Johnston DA. Quantification of histochemical staining by color deconvolution. Anal Quant Cytol Histol
2001;23:291-299 (haematoxylin, eosin, DAB).

It is meant for tests, demonstrations and as an addition to real training data. It has no glands, no vessels, no
necrosis and no artefacts: a figure measured on it says that the machinery works, not that a model is good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

Stain = Literal["H&E", "H-DAB"]

HAEMATOXYLIN: Final = np.array([0.650, 0.704, 0.286], np.float32)
EOSIN: Final = np.array([0.072, 0.990, 0.105], np.float32)
DAB: Final = np.array([0.268, 0.570, 0.776], np.float32)

_BAND: Final = 512  # rows made at a time: keeps the memory of a large slide small
_CHUNK: Final = 1024  # nuclei drawn at a time


@dataclass(frozen=True)
class SlidePhantom:
    """A synthetic slide and its truth.

    Attributes:
        rgb: rows x columns x 3, 8 bits per sample.
        labels: rows x columns; 0 is background, k is nucleus number k.
        positive: for k = 0..n, whether nucleus k is stained brown (position 0, the background, is False).
            All False in H&E.
        tissue: rows x columns, True on tissue.
        spacing_um: size of a pixel in micrometres.
    """

    rgb: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    positive: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.bool_]
    spacing_um: float


def slide(
    rows: int,
    cols: int,
    spacing_um: float,
    stain: Stain = "H&E",
    nuclei_per_mm2: float = 2000.0,
    positive_fraction: float = 0.2,
    seed: int = 0,
) -> SlidePhantom:
    """Make a slide: one blob of tissue on white glass with nuclei in it.

    Nuclei are irregular ellipses, 6 to 10 um in diameter (circle of equal area), which may touch and do not
    overlap. The density is reached where there is room for it; `labels.max()` is the true count. The same
    arguments give the same slide.

    Args:
        rows: height in pixels, at least 16.
        cols: width in pixels, at least 16.
        spacing_um: size of a pixel in micrometres, above 0.
        stain: "H&E", or "H-DAB" for a nuclear marker such as Ki-67.
        nuclei_per_mm2: nuclei per square millimetre of tissue.
        positive_fraction: share of nuclei stained brown, 0..1; H-DAB only.
        seed: of the random generator.

    Raises:
        ValueError: an argument is out of its range.
    """
    if rows < 16 or cols < 16 or not spacing_um > 0 or nuclei_per_mm2 < 0 or not 0 <= positive_fraction <= 1:
        raise ValueError("a slide needs 16 x 16 pixels, positive spacing, a density >= 0 and a fraction in 0..1")
    if stain not in ("H&E", "H-DAB"):
        raise ValueError(f"unknown stain {stain!r}")
    rng = np.random.default_rng(seed)
    tissue = specimen(rows, cols, rng)
    labels, chromatin = _nuclei(tissue, spacing_um, nuclei_per_mm2, rng)
    count = int(labels.max())
    positive = np.zeros(count + 1, bool)
    if stain == "H-DAB":
        positive[1 + rng.permutation(count)[: round(positive_fraction * count)]] = True
    rgb = _paint(labels, chromatin, positive, tissue, spacing_um, stain, rng)
    return SlidePhantom(rgb=rgb, labels=labels, positive=positive, tissue=tissue, spacing_um=spacing_um)


def noise(rows: int, cols: int, cell: tuple[float, float], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Smooth noise, standard normal at the knots, which are `cell` = (rows, columns) pixels apart."""
    knots = (max(2, int(rows / cell[0]) + 2), max(2, int(cols / cell[1]) + 2))
    grid = rng.standard_normal(knots, dtype=np.float32)
    return np.asarray(cv2.resize(grid, (cols, rows), interpolation=cv2.INTER_CUBIC), np.float32)


def specimen(rows: int, cols: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """rows x columns: a rounded blob with an uneven edge that fills most of the field."""
    small = (max(16, rows // 16), max(16, cols // 16))
    y = np.linspace(-1, 1, small[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, small[1], dtype=np.float32)[None, :]
    # a norm between the circle and the square; noise moves the edge
    radius = (np.abs(x) ** 4 + np.abs(y) ** 4) ** 0.25
    edge = 0.9 + 0.06 * noise(small[0], small[1], (small[0] / 5, small[1] / 5), rng)
    inside = cv2.resize((edge - radius).astype(np.float32), (cols, rows), interpolation=cv2.INTER_CUBIC)
    return np.asarray(inside > 0, bool)


def _nuclei(
    tissue: npt.NDArray[np.bool_], spacing_um: float, per_mm2: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Place nuclei on tissue: labels, and chromatin density (0..255, 128 is a nucleus of average darkness)."""
    rows, cols = tissue.shape
    labels = np.zeros((rows, cols), np.int32)
    chromatin = np.zeros((rows, cols), np.uint8)
    wanted = round(float(tissue.sum()) * spacing_um**2 * 1e-6 * per_mm2)
    # the widest nucleus: 10 um across, drawn out to an aspect of 1.7, with an uneven rim
    half = int(np.ceil(10.0 / spacing_um / 2 * np.sqrt(1.7) * 1.2)) + 1
    placed = 0
    for _ in range(0, 4 * wanted, _CHUNK):  # crowded fields refuse some; then there are fewer than asked for
        if placed == wanted:
            break
        n = min(_CHUNK, 4 * (wanted - placed))
        shapes, textures = _shapes(n, half, spacing_um, rng)
        centres = np.stack([rng.integers(0, rows, n), rng.integers(0, cols, n)], axis=1)
        for (row, col), shape, texture in zip(centres.tolist(), shapes, textures, strict=True):
            if placed == wanted:
                break
            top, left = row - half, col - half
            r0, c0, r1, c1 = max(top, 0), max(left, 0), min(row + half + 1, rows), min(col + half + 1, cols)
            if not tissue[row, col] or labels[row, col]:
                continue
            cut = (slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))
            window = (slice(r0, r1), slice(c0, c1))
            mine = shape[cut]
            if (mine & (labels[window] > 0)).any() or not tissue[window][mine].all():
                continue
            placed += 1
            labels[window][mine] = placed
            chromatin[window][mine] = texture[cut][mine]
    return labels, chromatin


def _shapes(
    n: int, half: int, spacing_um: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    """n masks and chromatin textures, each of (2 half + 1) squared pixels."""
    side = 2 * half + 1
    turn = rng.uniform(0, np.pi, (n, 1, 1)).astype(np.float32)
    radius = rng.uniform(3.0, 5.0, (n, 1, 1)).astype(np.float32) / spacing_um
    aspect = np.sqrt(rng.uniform(1.0, 1.7, (n, 1, 1)).astype(np.float32))
    distance = outlines(half, turn, radius, aspect, ((2, 0.03), (3, 0.05), (5, 0.025)), rng)
    # chromatin: clumps of about 1 um, a denser membrane in some nuclei, and nuclei differ in darkness
    grain = clumps(n, side, 1.2 / spacing_um, rng)
    membrane = rng.uniform(0, 0.5, (n, 1, 1)).astype(np.float32) * np.clip((distance - 0.6) / 0.4, 0, 1)
    dark = rng.normal(1.0, 0.18, (n, 1, 1)).clip(0.6, 1.5).astype(np.float32)
    texture = 128.0 * dark * (0.92 + 0.16 * grain + membrane)
    return distance <= 1.0, texture.clip(20, 255).astype(np.uint8)


def outlines(
    half: int,
    turn: npt.NDArray[np.float32],
    radius: npt.NDArray[np.float32],
    aspect: npt.NDArray[np.float32],
    harmonics: Sequence[tuple[int, float]],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Uneven ellipses: n x (2 half + 1) squared, the distance from the centre in units of the rim's, 1 on the rim.

    Args:
        half: pixels from the centre to the end of the picture.
        turn, radius, aspect: n x 1 x 1: direction of the long axis in radians, radius in pixels of the circle of equal
            area, square root of long axis over short axis.
        harmonics: order of each wave along the rim, and the standard deviation of its height.
    """
    n = len(turn)
    axis = np.arange(-half, half + 1, dtype=np.float32)
    x = axis[None, None, :] * np.cos(turn) + axis[None, :, None] * np.sin(turn)
    y = axis[None, :, None] * np.cos(turn) - axis[None, None, :] * np.sin(turn)
    angle = np.arctan2(y, x)
    rim = np.ones_like(angle)
    for order, size in harmonics:
        height = rng.normal(0, size, (n, 1, 1)).astype(np.float32)
        rim += np.clip(height, -0.07, 0.07) * np.cos(order * angle + rng.uniform(0, 2 * np.pi, (n, 1, 1)))
    return np.asarray(np.hypot(x / aspect, y * aspect) / (radius * rim))


def clumps(n: int, side: int, cell: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """n x side x side: smooth noise with knots `cell` pixels apart, standard normal there."""
    knots = max(3, round(side / cell))
    grid = rng.standard_normal((knots, knots, n), dtype=np.float32)
    return np.stack([cv2.resize(grid[..., i], (side, side), interpolation=cv2.INTER_CUBIC) for i in range(n)], axis=0)


def light(
    stains: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]], blur: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """What the camera sees, rows x columns x 3, about 0..255: Beer-Lambert law, blur and noise.

    Args:
        stains: optical density vector (3) and amount (rows x columns) of each dye.
        blur: standard deviation of the optics' blur in pixels.
    """
    rows, cols = stains[0][1].shape
    od = np.zeros((rows, cols, 3), np.float32)
    for vector, amount in stains:
        # the camera sees blurred light; blurring the dye instead differs little and costs one channel, not three
        soft = cv2.GaussianBlur(np.ascontiguousarray(amount, np.float32), (0, 0), max(0.3, blur))
        od += soft[..., None] * vector
    seen = 245.0 * np.exp(od * np.float32(-np.log(10.0)))
    seen += rng.standard_normal((rows, cols, 1), dtype=np.float32) * 1.5
    return np.asarray(seen, np.float32)


def _paint(
    labels: npt.NDArray[np.int32],
    chromatin: npt.NDArray[np.uint8],
    positive: npt.NDArray[np.bool_],
    tissue: npt.NDArray[np.bool_],
    spacing_um: float,
    stain: Stain,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Colour concentrations by Beer-Lambert; optics blur by about half a micrometre, the camera adds noise."""
    rows, cols = labels.shape
    blur = 0.3 / spacing_um
    fibre = (4.0 / spacing_um, 25.0 / spacing_um)
    ground = 0.55 + 0.22 * noise(rows, cols, fibre, rng) + 0.15 * noise(rows, cols, (120.0 / spacing_um,) * 2, rng)
    ground = (np.clip(ground, 0.12, 1.2) * tissue).astype(np.float32)
    cv2.GaussianBlur(ground, (0, 0), max(0.3, 2 * blur), dst=ground)
    brown = positive[labels]
    density = chromatin.astype(np.float32) / 128.0
    brownness = rng.uniform(0.45, 1.1, len(positive)).astype(np.float32)
    rgb = np.empty((rows, cols, 3), np.uint8)
    margin = 16
    for start in range(0, rows, _BAND):
        stop = min(start + _BAND, rows)
        lo, hi = max(start - margin, 0), min(stop + margin, rows)
        band = slice(lo, hi)
        nucleus = density[band]
        stroma = ground[band]
        if stain == "H&E":
            stains = [
                (HAEMATOXYLIN, 0.62 * nucleus + 0.06 * stroma),
                (EOSIN, 0.38 * stroma * (1.0 - 0.5 * np.minimum(nucleus, 1.0))),
            ]
        else:
            strength = brownness[labels[band]] * brown[band]
            stains = [
                (HAEMATOXYLIN, np.where(brown[band], 0.25, 0.45) * nucleus + 0.09 * stroma),
                (DAB, strength * nucleus + 0.03 * stroma),
            ]
        rgb[start:stop] = light(stains, blur, rng).clip(0, 255)[start - lo : stop - lo].astype(np.uint8)
    return rgb
