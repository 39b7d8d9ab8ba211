"""Annotated tiles and what augmentation makes of them: other stains, other scales, worse optics.

Shared by training and measuring of the model `nuclei`. Nothing here is random but by the generator given.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from skimage.segmentation import expand_labels, find_boundaries

from phantoms.slide import DAB, EOSIN, HAEMATOXYLIN, slide

Rgb = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

CROP: Final = 192  # pixels on each side of a training sample
LN10: Final = float(np.log(10.0))


@dataclass(frozen=True)
class Tile:
    """One annotated tile; `diameter` is the median diameter of its nuclei in pixels."""

    id: str
    rgb: Rgb
    labels: Labels
    diameter: float


def part_of(id: str) -> str:
    """test (20 %), validation (10 %) or training, by hash: the same on every machine."""
    bucket = int(hashlib.sha256(id.encode()).hexdigest(), 16) % 100
    return "test" if bucket < 20 else "validation" if bucket < 30 else "training"


def load_tiles(folder: Path) -> list[Tile]:
    """Every tile of the folder, in the order of its id."""
    tiles = []
    for path in sorted(folder.glob("*_labels.png")):
        id = path.name.removesuffix("_labels.png")
        image = cv2.imread(str(path.with_name(f"{id}.png")), cv2.IMREAD_COLOR)
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or labels is None:
            raise OSError(f"cannot read tile {id} in {folder}")
        areas = np.bincount(labels.ravel())[1:]
        diameter = float(np.median(2 * np.sqrt(areas[areas > 0] / np.pi)))
        tiles.append(Tile(id, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), labels.astype(np.int32), diameter))
    if not tiles:
        raise FileNotFoundError(f"no tiles in {folder}")
    return tiles


def resized(tile: Tile, factor: float) -> tuple[Rgb, Labels]:
    """Image and labels at another scale."""
    if abs(factor - 1.0) < 1e-3:
        return tile.rgb, tile.labels
    rows, cols = tile.labels.shape
    size = (max(16, round(cols * factor)), max(16, round(rows * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    rgb = np.asarray(cv2.resize(tile.rgb, size, interpolation=how), np.uint8)
    labels = cv2.resize(tile.labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return rgb, labels.astype(np.int32)


def relabelled(labels: Labels) -> Labels:
    """Numbers without gaps."""
    _, number = np.unique(labels, return_inverse=True)
    number = number.reshape(labels.shape).astype(np.int32)
    return number if (labels == 0).any() else number + 1


def targets(labels: Labels) -> Floats:
    """3 x rows x columns: nucleus; its rim, about 3 px wide; and where two nuclei meet or nearly do (a weight)."""
    rim = find_boundaries(labels, connectivity=2, mode="thick") & (
        cv2.erode((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    )
    between = find_boundaries(labels, connectivity=2, mode="inner")
    near = np.ones((5, 5), np.uint8)
    number = labels.astype(np.float32)
    top = float(number.max()) + 1
    highest = cv2.dilate(number, near)
    lowest = top - cv2.dilate(np.where(number > 0, top - number, 0).astype(np.float32), near)
    meeting = (highest > 0) & (highest != lowest)
    return np.stack([labels > 0, rim | between, meeting]).astype(np.float32)


def od_of(rgb: Rgb) -> Floats:
    """Decadic optical density against white."""
    return -np.log10(np.maximum(rgb, 1).astype(np.float32) / 255.0)


def rgb_of(od: Floats) -> Rgb:
    """Beer-Lambert back to 8 bits."""
    return np.asarray(np.clip(255.0 * np.exp(-LN10 * od), 0, 255), np.uint8)


def jittered(vector: Floats, amount: float, rng: np.random.Generator) -> Floats:
    """A stain vector near the given one: scanners and laboratories differ."""
    moved = np.maximum(vector + rng.normal(0, amount, 3), 0.01)
    return (moved / np.linalg.norm(moved)).astype(np.float32)


def blobs(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> Floats:
    """Smooth noise with knots `cell` pixels apart."""
    grid = rng.standard_normal((int(shape[0] / cell) + 3, int(shape[1] / cell) + 3), dtype=np.float32)
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def fibres(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Noise drawn out in one direction, at any angle: collagen and muscle."""
    side = int(1.5 * max(shape))
    thin, long = rng.uniform(2, 7), rng.uniform(20, 70)
    grid = rng.standard_normal((int(side / thin) + 3, int(side / long) + 3), dtype=np.float32)
    field = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 180), 1.0)
    field = cv2.warpAffine(field, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    return np.asarray(field[top : top + shape[0], left : left + shape[1]], np.float32)


def stain_density(rgb: Rgb, labels: Labels) -> Floats:
    """How much nuclear dye each pixel holds: 0 on the background, 1 in the middle of the tile's nuclei.

    Eosin is removed by deconvolution (Ruifrok and Johnston vectors); the tile's own background is taken off.
    """
    unmix = np.linalg.inv(np.stack([HAEMATOXYLIN, EOSIN, np.cross(HAEMATOXYLIN, EOSIN)]))[:, 0]
    dye = od_of(rgb) @ unmix.astype(np.float32)
    outside, inside = dye[labels == 0], dye[labels > 0]
    ground = float(np.percentile(outside, 20)) if outside.size else 0.0
    top = float(np.median(inside)) if inside.size else ground + 0.3
    return np.clip((dye - ground) / max(top - ground, 0.05), -0.2, 2.5).astype(np.float32)


def recoloured(rgb: Rgb, labels: Labels, stain: str, rng: np.random.Generator) -> tuple[Rgb, npt.NDArray[np.bool_]]:
    """The tile in other dyes: "H&E" or "H-DAB".

    In H-DAB a random part of the nuclei becomes brown. The colour of a nucleus is carried a few pixels beyond its
    label and softened, so that the outline seen is that of the tissue and not that of the annotation.

    Returns:
        the image, and for each label whether it was made positive.
    """
    shape = labels.shape
    dye = stain_density(rgb, labels)
    count = int(labels.max())
    ids = expand_labels(labels, 5)

    def per_nucleus(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values[ids].astype(np.float32), (0, 0), 1.2), np.float32)

    inside = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 2.0)
    nuclear = dye * np.clip(inside + rng.uniform(0.3, 1.0), 0, 1)
    if rng.random() < 0.4:  # vesicular nuclei: pale middle, dark membrane
        soft = cv2.GaussianBlur(nuclear, (0, 0), rng.uniform(2.0, 4.0))
        pale = rng.uniform(0.3, 0.9)
        nuclear = np.maximum(nuclear - pale * np.clip(soft - 0.3, 0, 1), np.minimum(0.25, nuclear))
    tissue = np.clip(0.5 + 0.35 * blobs(shape, rng.uniform(8, 60), rng) + 0.5 * (dye * (1 - inside)), 0, 1.5)
    if rng.random() < 0.5:
        tissue = np.clip(tissue + rng.uniform(0.1, 0.5) * fibres(shape, rng), 0, 1.8)
    if rng.random() < 0.5:  # lumina, clefts and the edge of the tissue, sharp or soft
        gap = blobs(shape, rng.uniform(30, 90), rng) if rng.random() < 0.6 else fibres(shape, rng)
        tissue = tissue * (gap > rng.uniform(-1.2, 0.0))
        tissue = cv2.GaussianBlur(tissue.astype(np.float32), (0, 0), rng.uniform(0.5, 1.5))
    blue = jittered(HAEMATOXYLIN, 0.06, rng)
    if stain == "H-DAB" and rng.random() < 0.5:  # haematoxylin as it looks beside DAB: bluer than in the publication
        blue = jittered(np.array([0.78, 0.58, 0.22], np.float32), 0.05, rng)
    glass = -np.log10(rng.uniform(0.80, 1.0) * (1 - rng.uniform(0, 0.06, 3)))
    od = np.zeros((*shape, 3), np.float32) + glass.astype(np.float32)
    positive = np.zeros(count + 1, bool)
    if stain == "H&E":
        strength = rng.uniform(0.3, 0.9) * np.clip(rng.normal(1, 0.15, count + 1), 0.6, 1.4)
        od += (per_nucleus(strength.astype(np.float32)) * nuclear)[..., None] * blue
        # from the magenta of the publication to the red of many scanners
        pink = jittered(EOSIN + np.array([0.15, -0.1, 0.5], np.float32) * rng.random(), 0.05, rng)
        cover = 1 - rng.uniform(0.2, 0.9) * np.clip(nuclear * inside, 0, 1)
        od += (rng.uniform(0.05, 0.7) * tissue * cover)[..., None] * pink
        od += (rng.uniform(0.0, 0.15) * tissue)[..., None] * blue
        return rgb_of(od), positive
    positive[1:] = rng.random(count) < rng.choice([0.0, 0.1, 0.3, 0.6, 0.95])
    faint = rng.uniform(0.15, 0.7) * np.clip(rng.normal(1, 0.25, count + 1), 0.4, 1.6)
    hidden = np.where(positive, rng.uniform(0.1, 0.8), 1.0)
    od += (per_nucleus((faint * hidden).astype(np.float32)) * nuclear)[..., None] * blue
    brown = jittered(DAB, 0.05, rng)
    amount = np.where(positive, rng.uniform(0.25, 1.3, count + 1), 0.0)
    # DAB hides chromatin: it fills the nucleus more evenly than haematoxylin does
    even = rng.uniform(0.0, 0.6)
    filled = (1 - even) * nuclear + even * np.clip(cv2.GaussianBlur(nuclear, (0, 0), 1.5), 0, 1)
    grain = np.clip(1 + rng.uniform(0.0, 0.4) * blobs(shape, 2.5, rng), 0.2, 2.0)
    od += (per_nucleus(amount.astype(np.float32)) * filled * grain)[..., None] * brown
    od += (rng.uniform(0.0, 0.12) * tissue)[..., None] * blue
    od += (rng.choice([0.0, 0.03, 0.1]) * tissue)[..., None] * brown
    return rgb_of(od), positive


def shifted(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """The tile in its own dyes, their strength and hue moved (in haematoxylin-eosin-residual space)."""
    residual = np.cross(HAEMATOXYLIN, EOSIN)
    basis = np.stack([HAEMATOXYLIN, EOSIN, residual / np.linalg.norm(residual)]).astype(np.float32)
    amounts = od_of(rgb) @ np.linalg.inv(basis)
    amounts = amounts * rng.uniform(0.6, 1.4, 3).astype(np.float32) + rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    moved = np.stack([jittered(basis[0], 0.08, rng), jittered(basis[1], 0.08, rng), basis[2]])
    return rgb_of((amounts @ moved).astype(np.float32))


def degraded(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Focus, light, camera noise and JPEG."""
    if rng.random() < 0.4:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    image = rgb.astype(np.float32)
    if rng.random() < 0.7:
        image = (image - 128) * rng.uniform(0.8, 1.2) + 128 + rng.uniform(-15, 15)
        image *= rng.uniform(0.95, 1.05, 3).astype(np.float32)
    if rng.random() < 0.4:
        image += rng.normal(0, rng.uniform(1, 5), image.shape).astype(np.float32)
    rgb = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
        rgb = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
    return rgb


def sample(tiles: Sequence[Tile], rng: np.random.Generator) -> tuple[Rgb, Labels]:
    """One augmented crop of CROP x CROP pixels."""
    if rng.random() < 0.08:
        stain = "H&E" if rng.random() < 0.5 else "H-DAB"
        density, spacing = rng.uniform(500, 6000), rng.uniform(0.35, 0.65)
        phantom = slide(CROP + 64, CROP + 64, spacing, stain, density, rng.random(), int(rng.integers(2**31)))
        rgb, labels = phantom.rgb, phantom.labels
    else:
        tile = tiles[int(rng.integers(len(tiles)))]
        if rng.random() < 0.5:
            factor = rng.uniform(0.7, 1.5)
        else:  # the magnification of a tile is not known: bring its nuclei to sizes seen at the model's spacing
            factor = float(np.exp(rng.uniform(np.log(9), np.log(26)))) / tile.diameter
        rgb, labels = resized(tile, float(np.clip(factor, 0.25, 2.2)))
    short = [max(0, CROP - n) for n in labels.shape]
    if any(short):
        edges = ((short[0] // 2, short[0] - short[0] // 2), (short[1] // 2, short[1] - short[1] // 2))
        rgb = np.pad(rgb, (*edges, (0, 0)), mode="symmetric")
        mirrored = np.pad(labels, edges, mode="symmetric")
        labels = relabelled(mirrored)
    row, col = (int(rng.integers(n - CROP + 1)) for n in labels.shape)
    rgb, labels = rgb[row : row + CROP, col : col + CROP], labels[row : row + CROP, col : col + CROP]
    turns = int(rng.integers(4))
    rgb, labels = np.rot90(rgb, turns), np.rot90(labels, turns)
    if rng.random() < 0.5:
        rgb, labels = rgb[:, ::-1], labels[:, ::-1]
    rgb, labels = np.ascontiguousarray(rgb), relabelled(np.ascontiguousarray(labels))
    what = rng.random()
    if what < 0.36:
        rgb, _ = recoloured(rgb, labels, "H-DAB", rng)
    elif what < 0.68:
        rgb, _ = recoloured(rgb, labels, "H&E", rng)
    elif what < 0.90:
        rgb = shifted(rgb, rng)
    return degraded(rgb, rng), labels
