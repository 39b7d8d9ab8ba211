"""Fields of tissue for training and measuring the model `slide-embedding`: real tiles and generated ones.

Nothing here is random but by the generator given. A field has SIDE x SIDE pixels of about 1 um.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import pydicom
from nuclei_tiles import Rgb, Tile, degraded, load_tiles, part_of, recoloured, shifted
from pydicom.encaps import generate_frames

from phantoms.histology import NAMES, Histology, histology
from phantoms.slide import slide

SIDE: Final = 128
HELD_OUT: Final = 10_000_000  # seeds from here on are never trained on
_SLIDES: Final = 64  # generated slides with all kinds of tissue, for training
_CMU_TRAINED: Final = 0.6  # of the width of the CMU-1 image, from the left

# What a kind of generated tissue is: nuclei per mm2, size of nuclei, and stain with the share of brown nuclei.
DENSITIES: Final = (600.0, 1800.0, 4500.0)
SIZES: Final = (0.7, 1.0, 1.6)
STAINS: Final[tuple[tuple[Literal["H&E", "H-DAB"], float], ...]] = (("H&E", 0.0), ("H-DAB", 0.1), ("H-DAB", 0.7))
KINDS: Final = tuple((d, s, *st) for d in DENSITIES for s in SIZES for st in STAINS)


@functools.cache
def tiles(folder: Path, part: str) -> tuple[Tile, ...]:
    """DSB tiles of a part: training, validation or test, by the hash of their names."""
    return tuple(tile for tile in load_tiles(folder) if part_of(tile.id) == part)


@functools.cache
def cmu(folder: Path) -> Rgb:
    """The CMU-1 image at about 1 um per pixel."""
    ds = pydicom.dcmread(folder / "level_1.dcm")
    rows, columns, side = int(ds.TotalPixelMatrixRows), int(ds.TotalPixelMatrixColumns), int(ds.Rows)
    across = -(-columns // side)
    picture = np.full((-(-rows // side) * side, across * side, 3), 255, np.uint8)
    for n, frame in enumerate(generate_frames(ds.PixelData, number_of_frames=int(ds.NumberOfFrames))):
        tile = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        top, left = n // across * side, n % across * side
        picture[top : top + side, left : left + side] = tile
    return picture[:rows, :columns]


def tissue(rgb: Rgb) -> float:
    """Share of a picture of CMU-1 that is no glass."""
    return float((rgb.min(axis=2) < 215).mean())


def crop(rgb: Rgb, side: int, rng: np.random.Generator) -> Rgb:
    """A square of so many pixels, anywhere, as a field."""
    row, column = (int(rng.integers(n - side + 1)) for n in rgb.shape[:2])
    return resized(rgb[row : row + side, column : column + side])


def resized(rgb: Rgb) -> Rgb:
    """A square picture as a field."""
    how = cv2.INTER_AREA if rgb.shape[0] > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), (SIDE, SIDE), interpolation=how), np.uint8)


def generated(density: float, size: float, stain: Literal["H&E", "H-DAB"], positive: float, seed: int) -> Rgb:
    """Tissue of 200 x 200 um at 1 um per pixel, away from its edge; `size` scales its nuclei."""
    side = 280
    phantom = slide(side, side, 1.0 / size, stain, density * size**2, positive, seed)
    cut = (side - 200) // 2
    return phantom.rgb[cut : side - cut, cut : side - cut]


@functools.lru_cache(_SLIDES)
def generated_slide(seed: int) -> Histology:
    """A slide of 0.9 x 0.9 mm at 1 um per pixel with tumour, glands, stroma, benign tissue and necrosis."""
    rng = np.random.default_rng([29, seed])
    return histology(
        900, 900, 1.0, seed=seed, edge=False, variation=float(rng.uniform(0, 1)),
        stain=("H&E", "H&E", "Ki-67", "HER2")[int(rng.integers(4))],
        tumour=float(rng.uniform(0.25, 0.45)), tubules=float(rng.uniform(0.2, 0.6)),
        necrosis=float(rng.uniform(0.08, 0.15)), normal=float(rng.uniform(0.12, 0.25)),
        til=float(rng.uniform(0.02, 0.3)), pleomorphism=int(rng.integers(1, 4)), positive=float(rng.uniform(0.05, 0.7)),
    )  # fmt: skip


def view(rgb: Rgb, side: tuple[float, float], rng: np.random.Generator) -> Rgb:
    """A crop whose side is between those two, turned, mirrored, in dyes of another strength, by other optics."""
    field = crop(rgb, min(round(rng.uniform(*side)), *rgb.shape[:2]), rng)
    field = np.rot90(field, int(rng.integers(4)))
    if rng.random() < 0.5:
        field = field[:, ::-1]
    field = np.ascontiguousarray(field)
    if rng.random() < 0.9:
        field = shifted(field, rng)
    return degraded(field, rng)


def pair(seed: int, data: Path) -> tuple[Rgb, Rgb, int]:
    """Two views of one place, and the number of that place: views of the same number show the same tissue."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([23, seed])
    what = rng.random()
    own = 1_000_000 + seed
    if what < 0.3:
        trained = tiles(data / "nuclei", "training")
        number = int(rng.integers(len(trained)))
        rgb, side, place = trained[number].rgb, (170.0, 256.0), number
    elif what < 0.42:
        trained = tiles(data / "nuclei", "training")
        tile = trained[int(rng.integers(len(trained)))]
        rgb, _ = recoloured(tile.rgb, tile.labels, "H-DAB" if rng.random() < 0.6 else "H&E", rng)
        side, place = (170.0, 256.0), own
    elif what < 0.52:
        whole = cmu(data / "sm" / "cmu1_pyramid")
        columns = int(whole.shape[1] * _CMU_TRAINED)
        while True:
            row, column = int(rng.integers(whole.shape[0] - 200)), int(rng.integers(columns - 200))
            rgb = whole[row : row + 200, column : column + 200]
            if tissue(rgb) > 0.7:
                break
        side, place = (105.0, 150.0), own
    elif what < 0.8:
        whole = generated_slide(int(rng.integers(_SLIDES))).rgb
        row, column = (int(rng.integers(n - 200)) for n in whole.shape[:2])
        rgb, side, place = whole[row : row + 200, column : column + 200], (105.0, 150.0), own
    else:
        stain: Literal["H&E", "H-DAB"] = "H&E" if rng.random() < 0.4 else "H-DAB"
        density = float(np.exp(rng.uniform(np.log(300), np.log(7000))))
        size = float(rng.uniform(0.6, 1.8))
        rgb = generated(density, size, stain, float(rng.uniform(0, 1)), seed)
        side, place = (105.0, 150.0), own
    return view(rgb, side, rng), view(rgb, side, rng), place


# --- what is measured on ---


def halves(parts: Sequence[Tile]) -> tuple[list[Rgb], list[int]]:
    """Two squares of each tile that share no pixel, and the number of the tile."""
    fields = [resized(tile.rgb[48:208, at : at + 160]) for tile in parts for at in (0, 160)]
    return fields, [n for n in range(len(parts)) for _ in (0, 1)]


def restained(parts: Sequence[Tile], seed: int) -> list[Rgb]:
    """The middle of each tile in dyes of another strength, by other optics, and turned."""
    rng = np.random.default_rng(seed)
    return [
        degraded(shifted(np.ascontiguousarray(np.rot90(resized(tile.rgb[28:228, 60:260]))), rng), rng) for tile in parts
    ]


def middles(parts: Sequence[Tile]) -> list[Rgb]:
    return [resized(tile.rgb[28:228, 60:260]) for tile in parts]


def of_kinds(each: int) -> tuple[list[Rgb], list[int]]:
    """Generated fields of seeds that were never trained on, and the number of their kind."""
    fields, kinds = [], []
    for kind, said in enumerate(KINDS):
        for n in range(each):
            rgb = generated(*said, seed=HELD_OUT + 1000 * kind + n)
            fields.append(crop(rgb, SIDE, np.random.default_rng([HELD_OUT, kind, n])))
            kinds.append(kind)
    return fields, kinds


def of_tissues(slides: int, each: int) -> tuple[list[Rgb], list[int], list[int]]:
    """Fields of generated slides that were never trained on, at least 70 % of one class of tissue: the fields, their
    classes and their slides."""
    fields, classes, slides_of = [], [], []
    for n in range(slides):
        made = generated_slide(HELD_OUT + n)
        rng = np.random.default_rng([31, n])
        for number, name in enumerate(NAMES):
            part = cv2.boxFilter((made.classes == number).astype(np.float32), -1, (SIDE, SIDE))
            half = SIDE // 2
            inside = part[half:-half, half:-half] >= 0.7
            rows, columns = np.nonzero(inside)
            if name in ("background", "ink") or not len(rows):
                continue
            for at in rng.choice(len(rows), min(each, len(rows)), replace=False):
                fields.append(np.ascontiguousarray(made.rgb[rows[at] :, columns[at] :][:SIDE, :SIDE]))
                classes.append(number)
                slides_of.append(n)
    return fields, classes, slides_of


def held_out_grid(data: Path) -> tuple[list[Rgb], list[tuple[int, int]]]:
    """Fields side by side of the part of CMU-1 that was not trained on, with their places; glass is left out."""
    whole = cmu(data / "sm" / "cmu1_pyramid")
    start = int(whole.shape[1] * _CMU_TRAINED)
    fields, places = [], []
    for row in range(0, whole.shape[0] - SIDE + 1, SIDE // 2):
        for column in range(start, whole.shape[1] - SIDE + 1, SIDE // 2):
            field = whole[row : row + SIDE, column : column + SIDE]
            if tissue(field) > 0.5:
                fields.append(np.ascontiguousarray(field))
                places.append((row, column))
    return fields, places
