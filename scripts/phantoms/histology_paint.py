"""Colours of a generated slide: how much of each dye a pixel holds, and the light that passes (Beer-Lambert law)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from phantoms import histology_cells as cell
from phantoms import histology_layout as of
from phantoms.histology_layout import Floats, Layout
from phantoms.slide import DAB, EOSIN, HAEMATOXYLIN, light, noise

_BAND: Final = 512  # rows made at a time: keeps the memory of a large slide small
_CELL_UM: Final = {cell.TUMOUR: 3.2, cell.MITOSIS: 3.2, cell.LYMPHOCYTE: 1.0}  # cytoplasm around the nucleus
_MEMBRANE_UM: Final = 1.0  # width of a cell's own membrane
# Optical density of DAB in a membrane, from and to, by class
_MEMBRANE_OD: Final = ((0.0, 0.0), (0.20, 0.34), (0.40, 0.62), (0.95, 1.35))
_MARGIN: Final = 40  # rows beyond a band that its pixels depend on

# Dye of each material (glass, tumour, epithelium, lumen, stroma, loose, acinus, space, lymphoid, necrosis, ink)
_EOSIN: Final = (0.0, 0.24, 0.26, 0.015, 0.36, 0.20, 0.24, 0.01, 0.13, 0.40, 0.0)
_BLUE: Final = (0.0, 0.13, 0.13, 0.005, 0.05, 0.04, 0.09, 0.0, 0.10, 0.05, 0.0)
_ROUGH: Final = (0.0, 0.22, 0.22, 0.6, 0.42, 0.55, 0.22, 0.6, 0.25, 0.34, 0.0)  # of the cytoplasm and fibres
# Surgical inks, optical densities: black, blue, green
INKS: Final = ((1.25, 1.22, 1.15), (1.55, 1.10, 0.38), (1.45, 0.62, 1.05))


@dataclass(frozen=True)
class Looks:
    """What differs between laboratories: the dyes' vectors and strengths. `variation` 0..1 says how much it may."""

    haematoxylin: Floats
    eosin: Floats
    dab: Floats
    nuclear: float
    cytoplasm: float
    pink: float
    rough: float
    blur_um: float
    ink: Floats

    @staticmethod
    def drawn(variation: float, rng: np.random.Generator) -> "Looks":
        def vector(base: npt.NDArray[np.float32]) -> Floats:
            moved = np.maximum(base + variation * rng.normal(0, 0.06, 3), 0.01)
            return (moved / np.linalg.norm(moved)).astype(np.float32)

        def factor(spread: float) -> float:
            return float(np.exp(variation * rng.uniform(-spread, spread)))

        # from the magenta of the publication to the pink of many scanners
        pink = EOSIN + np.array([0.03, -0.05, 0.22], np.float32) * (0.5 + variation * rng.uniform(-0.5, 1.5))
        return Looks(
            vector(HAEMATOXYLIN), vector(pink.astype(np.float32)), vector(DAB), factor(0.35), factor(0.5), factor(0.6),
            factor(0.5), 0.3 * factor(0.5), np.array(INKS[int(rng.integers(len(INKS)))], np.float32),
        )  # fmt: skip


@dataclass(frozen=True)
class Painted:
    """What is painted: nuclei and what they are, on what material."""

    board: cell.Board
    layout: Layout
    kinds: npt.NDArray[np.uint8]
    positive: npt.NDArray[np.bool_]
    membrane: npt.NDArray[np.uint8]
    stain: str


def paint(what: Painted, looks: Looks, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """rows x columns x 3, 8 bits: the slide as a camera sees it."""
    rows, cols = what.board.labels.shape
    coarse = _Coarse(what.layout, rng)
    per_cell = _PerCell(what, rng)
    rgb = np.empty((rows, cols, 3), np.uint8)
    for start in range(0, rows, _BAND):
        stop = min(start + _BAND, rows)
        band = slice(max(start - _MARGIN, 0), min(stop + _MARGIN, rows))
        dyes = _dyes(what, band, coarse, per_cell, looks, rng)
        seen = light(dyes, looks.blur_um / what.board.spacing_um, rng)
        rgb[start:stop] = seen.clip(0, 255)[start - band.start : stop - band.start].astype(np.uint8)
    return rgb


class _Coarse:
    """Textures on the layout's grid: fibres along the stroma, and slow changes of strength."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        shape, um = layout.fibres.shape, layout.um
        self.slow = noise(*shape, (150 / um, 150 / um), rng)
        # fibres in four directions, each where the direction of the stroma is nearest to its own
        strands = np.zeros(shape, np.float32)
        total = np.zeros(shape, np.float32)
        side = int(np.hypot(*shape)) + 4
        for angle in np.arange(4) * np.pi / 4:
            straight = noise(side, side, (5.0 / um, 45.0 / um), rng)
            turn = cv2.getRotationMatrix2D((side / 2, side / 2), -float(np.degrees(angle)), 1.0)
            turned = cv2.warpAffine(straight, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
            top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
            weight = np.clip(np.cos(layout.fibres - angle), -1, 1) ** 8 + np.float32(1e-3)
            strands += weight * turned[top : top + shape[0], left : left + shape[1]]
            total += weight
        self.strands = (strands / total).astype(np.float32)


class _PerCell:
    """What the cells of a slide differ in: brownness of nucleus and membrane, and the arc that is stained."""

    def __init__(self, what: Painted, rng: np.random.Generator) -> None:
        n = len(what.kinds)
        self.nuclear = np.where(what.positive, rng.uniform(0.45, 1.1, n), 0).astype(np.float32)
        low, high = np.array(_MEMBRANE_OD, np.float32)[what.membrane].T
        self.membrane = (low + (high - low) * rng.random(n, dtype=np.float32)).astype(np.float32)
        # class 1 is stained on part of its circumference only
        self.arc = np.where(what.membrane == 1, rng.uniform(0.3, 0.65, n), 1.0).astype(np.float32)
        self.turn = rng.random(n, dtype=np.float32)
        reach = np.zeros(n, np.float32)
        for kind, um in _CELL_UM.items():
            reach[what.kinds == kind] = um
        self.reach = reach / what.board.spacing_um
        self.centres = np.asarray(what.board.centres, np.float32)


def _dyes(
    what: Painted, band: slice, coarse: _Coarse, per_cell: _PerCell, looks: Looks, rng: np.random.Generator
) -> Sequence[tuple[Floats, Floats]]:
    """Vector and amount of each dye in a band of rows."""
    board, um = what.board, what.board.spacing_um
    material, labels = board.material[band], board.labels[band]
    shape = material.shape
    nucleus = board.chromatin[band].astype(np.float32) * np.float32(looks.nuclear / 128)
    held = np.minimum(nucleus, 1.0)
    slow, strands = (what.layout.at(grid, band, shape[1], um) for grid in (coarse.slow, coarse.strands))
    grain = noise(*shape, (2.0 / um, 2.0 / um), rng)
    fibrous = (material == of.STROMA) | (material == of.LOOSE)
    rough = np.where(fibrous, 0.85 * strands + 0.15 * grain, 0.35 * strands + 0.65 * grain)
    rough = 1 + looks.rough * (np.array(_ROUGH, np.float32)[material] * rough + 0.12 * slow)
    pink = np.array(_EOSIN, np.float32)[material] * np.clip(rough, 0.08, 2.2)
    blue = np.array(_BLUE, np.float32)[material] * np.clip(0.7 + 0.3 * rough, 0.2, 2.0) * looks.cytoplasm
    dead = material == of.NECROSIS
    if dead.any():  # debris of nuclei, nowhere a whole one
        specks = np.clip(noise(*shape, (3.0 / um, 3.0 / um), rng) - 1.3, 0, 0.8)
        blue += np.where(dead, 0.55 * specks, 0).astype(np.float32)
    clear = _clearing(what, band, shape)
    if clear is not None:
        pink *= clear
        blue *= clear
    ink = cv2.GaussianBlur((material == of.INK).astype(np.float32), (0, 0), max(0.5, 1.0 / um))
    ink *= np.clip(1 + 0.18 * grain + 0.1 * strands, 0.5, 1.6)
    dyes = [(looks.ink, ink)]
    if what.stain == "H&E":
        dyes.append((looks.haematoxylin, 0.60 * nucleus + blue))
        dyes.append((looks.eosin, looks.pink * pink * (1 - 0.5 * held)))
        return dyes
    brown = per_cell.nuclear[labels]
    dyes.append((looks.haematoxylin, np.where(brown > 0, 0.25, 0.45) * nucleus + 0.55 * blue + 0.06 * pink))
    dab = brown * nucleus + 0.05 * pink
    if what.membrane.any():
        dab += _membranes(labels, band.start, per_cell, um)
    dyes.append((looks.dab, np.asarray(dab, np.float32)))
    return dyes


def _clearing(what: Painted, band: slice, shape: tuple[int, ...]) -> Floats | None:
    """What is left of the cytoplasm around mitoses, 0..1; None where there are none."""
    um = what.board.spacing_um
    centres = [what.board.centres[k] for k in np.flatnonzero(what.kinds == cell.MITOSIS)]
    reach = 8.0 / um
    near = [c for c in centres if band.start - reach <= c[0] < band.stop + reach]
    if not near:
        return None
    halo = np.zeros(shape, np.float32)
    for row, col in near:
        cv2.circle(halo, (col, row - band.start), round(6.5 / um), 1.0, -1)
    return 1 - 0.6 * np.asarray(cv2.GaussianBlur(halo, (0, 0), 1.0 / um), np.float32)


def _membranes(labels: npt.NDArray[np.int32], top: int, per_cell: _PerCell, um: float) -> Floats:
    """DAB of the membranes: each cell's own along its border, neighbours' beside each other."""
    free = (labels == 0).astype(np.uint8)
    if free.all():
        return np.zeros(labels.shape, np.float32)
    away, nearest = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest[free == 0]] = labels[free == 0]
    cells = owner[nearest]
    cells[away > per_cell.reach[cells]] = 0
    wide = 2 * max(1, round(_MEMBRANE_UM / um)) + 1
    number = cells.astype(np.float32)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))
    border = (cv2.dilate(number, kernel) != number) | (cv2.erode(number, kernel) != number)
    # the nucleus of a crowded cell may reach its border: the membrane lies over it
    row, col = np.nonzero(border & (cells > 0) & (per_cell.membrane[cells] > 0))
    mine = cells[row, col]
    turn = np.arctan2(row + top - per_cell.centres[mine, 0], col - per_cell.centres[mine, 1]) / (2 * np.pi)
    stained = ((turn - per_cell.turn[mine]) % 1.0) < per_cell.arc[mine]
    made = np.zeros(labels.shape, np.float32)
    made[row[stained], col[stained]] = per_cell.membrane[mine[stained]]
    return made
