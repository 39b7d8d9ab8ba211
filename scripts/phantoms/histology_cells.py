"""Nuclei of a generated slide: their shapes and chromatin by kind of cell, and where they stand."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from phantoms import histology_layout as of
from phantoms.histology_layout import Floats, Layout
from phantoms.slide import clumps, noise, outlines

KINDS: Final = ("none", "tumour", "lymphocyte", "stromal", "normal", "mitosis")
TUMOUR, LYMPHOCYTE, STROMAL, NORMAL, MITOSIS = range(1, 6)

_SHAPES: Final = 96  # of each kind, drawn once
_TURNS: Final = 16  # directions that spindles come in
_LEAST: Final = 0.72  # of a shape that must find room
_BETWEEN_UM: Final = {1: 13.0, 2: 14.0, 3: 16.0}  # of tumour nuclei by pleomorphism, centre to centre
# Diameter (um, of the circle of equal area): mean and standard deviation by pleomorphism
_TUMOUR_UM: Final = {1: (8.8, 0.5), 2: (9.8, 1.1), 3: (11.2, 2.0)}
_TUMOUR_RANGE: Final = {1: (8.0, 10.0), 2: (8.0, 12.5), 3: (8.0, 15.0)}


@dataclass
class Board:
    """A slide on which nuclei are placed: `labels` and `chromatin` (0..255, 128 is average) grow, `material` stays."""

    material: npt.NDArray[np.uint8]
    spacing_um: float
    labels: npt.NDArray[np.int32] = field(init=False)
    chromatin: npt.NDArray[np.uint8] = field(init=False)
    kinds: list[int] = field(default_factory=lambda: [0])
    centres: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.material.shape, np.int32)
        self.chromatin = np.zeros(self.material.shape, np.uint8)


@dataclass(frozen=True)
class Shapes:
    """n drawn nuclei: masks and chromatin, each of (2 half + 1) squared pixels."""

    masks: npt.NDArray[np.bool_]
    chromatin: npt.NDArray[np.uint8]

    @property
    def half(self) -> int:
        return self.masks.shape[1] // 2


@lru_cache(maxsize=64)
def shapes(kind: int, spacing_um: float, pleomorphism: int, batch: int) -> Shapes:
    """The shapes of a kind; `batch` gives other ones of the same kind."""
    rng = np.random.default_rng((kind, pleomorphism, batch, 77))
    n = _SHAPES
    turn = rng.uniform(0, np.pi, n)
    if kind == TUMOUR:
        mean, spread = _TUMOUR_UM[pleomorphism]
        diameter = rng.normal(mean, spread, n).clip(*_TUMOUR_RANGE[pleomorphism])
        aspect, waves = rng.uniform(1.0, 1.25 + 0.2 * pleomorphism, n), 0.012 + 0.016 * pleomorphism
    elif kind == LYMPHOCYTE:
        diameter, aspect, waves = rng.uniform(5.2, 6.8, n), rng.uniform(1.0, 1.18, n), 0.015
    elif kind == STROMAL:
        diameter, aspect, waves = rng.uniform(5.2, 7.0, n), rng.uniform(3.2, 6.0, n), 0.02
        turn = (np.arange(n) % _TURNS) * (np.pi / _TURNS)
    elif kind == NORMAL:
        diameter, aspect, waves = rng.uniform(6.2, 7.4, n), rng.uniform(1.0, 1.3, n), 0.015
    else:  # plates, seen from the side or from above
        diameter = rng.uniform(7.5, 9.5, n)
        aspect, waves = np.where(rng.random(n) < 0.7, rng.uniform(2.2, 3.6, n), rng.uniform(1.0, 1.3, n)), 0.07
    half = int(np.ceil(diameter.max() / 2 * np.sqrt(aspect.max()) * 1.25 / spacing_um)) + 1
    columns = [np.asarray(v, np.float32)[:, None, None] for v in (turn, diameter / 2 / spacing_um, np.sqrt(aspect))]
    orders = (2, 3, 5, 7) if kind == MITOSIS else (2, 3, 5)
    away = outlines(half, *columns, tuple((order, waves) for order in orders), rng)
    grain = clumps(n, 2 * half + 1, (0.8 if kind == LYMPHOCYTE else 1.2) / spacing_um, rng)
    mask = away <= 1.0
    if kind == MITOSIS:  # ragged, without a membrane; some are rings
        mask = away + 0.16 * grain <= 1.0
        ring = (rng.random(n) < 0.5) & (aspect < 1.5)
        mask &= ~(ring[:, None, None] & (away < 0.38))
        texture = 1.75 + 0.12 * grain
    elif kind == TUMOUR:
        texture = _vesicular(away, grain, pleomorphism, spacing_um, rng)
    else:
        dark = {LYMPHOCYTE: 1.45, STROMAL: 1.0, NORMAL: 1.0}[kind]
        dark = dark * rng.normal(1.0, 0.1, (n, 1, 1)).clip(0.75, 1.3)
        texture = dark * (0.95 + 0.14 * grain + 0.15 * np.clip((away - 0.6) / 0.4, 0, 1))
    return Shapes(mask, (128.0 * texture).clip(20, 255).astype(np.uint8))


def _vesicular(away: Floats, grain: Floats, pleomorphism: int, um: float, rng: np.random.Generator) -> Floats:
    """Chromatin of tumour nuclei: the higher the grade, the paler within, the denser the rim, the larger nucleoli."""
    n, side = away.shape[:2]
    column = (n, 1, 1)
    pale = rng.uniform(0.0, (0.15, 0.45, 0.7)[pleomorphism - 1], column) * np.clip(1 - away / 0.85, 0, 0.7)
    rim = rng.uniform(0.1, 0.3 + 0.15 * pleomorphism, column) * np.clip((away - 0.7) / 0.3, 0, 1)
    dark = rng.normal(1.0, 0.06 + 0.07 * pleomorphism, column).clip(0.6, 1.6)
    texture = dark * (0.95 + (0.08 + 0.06 * pleomorphism) * grain - pale + rim)
    axis = np.arange(side) - side // 2
    y, x = (rng.uniform(-1.5, 1.5, column) / um for _ in range(2))
    size = rng.uniform(0.5, 0.7 + 0.35 * pleomorphism, column) * (rng.random(column) < 0.3 * pleomorphism) / um
    spot = np.hypot(axis[None, :, None] - y, axis[None, None, :] - x) < size
    return np.where(spot, np.maximum(texture, 1.5), texture).astype(np.float32)


def place(
    board: Board,
    points: npt.NDArray[np.int64],
    which: npt.NDArray[np.int64],
    drawn: Shapes,
    kind: int,
    within: Iterable[int],
    *,
    count: int | None = None,
    pixels: float | None = None,
) -> int:
    """Place nuclei at (row, column) until `count` or `pixels` are reached; returns how many were.

    A nucleus takes the pixels of its shape that are free and of the materials `within`; where that is less than most of
    it, there is none.
    """
    allowed = np.zeros(256, bool)
    allowed[list(within)] = True
    labels, half = board.labels, drawn.half
    rows, cols = labels.shape
    placed, covered, number = 0, 0, len(board.kinds)
    sizes = drawn.masks.sum((1, 2)) * _LEAST
    for (row, col), shape in zip(points.tolist(), which.tolist(), strict=True):
        if (count is not None and placed >= count) or (pixels is not None and covered >= pixels):
            break
        if labels[row, col] or not allowed[board.material[row, col]]:
            continue
        r0, c0, r1, c1 = max(row - half, 0), max(col - half, 0), min(row + half + 1, rows), min(col + half + 1, cols)
        window = (slice(r0, r1), slice(c0, c1))
        cut = (shape, slice(r0 - row + half, r1 - row + half), slice(c0 - col + half, c1 - col + half))
        mine = drawn.masks[cut] & (labels[window] == 0) & allowed[board.material[window]]
        size = np.count_nonzero(mine)
        if size < sizes[shape]:
            continue
        labels[window][mine] = number
        board.chromatin[window][mine] = drawn.chromatin[cut][mine]
        board.kinds.append(kind)
        board.centres.append((row, col))
        placed, covered, number = placed + 1, covered + size, number + 1
    return placed


def lattice(
    board: Board, between_um: float, jitter: float, within: Iterable[int], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """(row, column) of a hexagonal lattice, each point moved at random by `jitter` of the distance, on materials."""
    rows, cols = board.labels.shape
    step = between_um / board.spacing_um
    down = step * np.sqrt(3) / 2
    y = np.arange(rng.uniform(-down, 0), rows + down, down)
    x = np.arange(rng.uniform(-step, 0), cols + step, step)
    grid = np.stack(np.broadcast_arrays(y[:, None], x[None, :] + 0.5 * step * (np.arange(len(y)) % 2)[:, None]), -1)
    at = np.rint(grid.reshape(-1, 2) + rng.uniform(-jitter, jitter, (grid.size // 2, 2)) * step).astype(np.int64)
    at = at[((at >= 0) & (at < [rows, cols])).all(1)]
    allowed = np.zeros(256, bool)
    allowed[list(within)] = True
    return at[allowed[board.material[at[:, 0], at[:, 1]]]]


def patchy(
    board: Board, points: npt.NDArray[np.int64], um: float, share: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The order of the points from where there is much to where there is little: patches of some `um`, and chance."""
    rows, cols = board.labels.shape
    coarse = max(1, round(20.0 / board.spacing_um))
    knots = um / board.spacing_um / coarse
    grid = noise(rows // coarse + 2, cols // coarse + 2, (knots, knots), rng)
    value = share * grid[points[:, 0] // coarse, points[:, 1] // coarse] + rng.standard_normal(len(points))
    return np.argsort(-value, kind="stable")


def ring(layout: Layout, board: Board, rng: np.random.Generator) -> dict[bool, npt.NDArray[np.int64]]:
    """(row, column) of nuclei in the epithelium of glands, by whether the gland is benign.

    Benign glands have one even row at their base, tumour glands one or two uneven ones.
    """
    made: dict[bool, list[npt.NDArray[np.float64]]] = {True: [], False: []}
    for gland in layout.glands:
        radius = float(gland.rim.mean())
        thick = radius * (1 - gland.lumen)
        rows = (0.42 * thick,) if gland.benign else ((0.3 * thick, 0.72 * thick) if thick > 13.5 else (0.5 * thick,))
        for deep in rows:
            about = 2 * np.pi * (radius - deep)
            n = max(3, int(about / (8.2 if gland.benign else rng.uniform(10.5, 13.0))))
            turn = (np.arange(n) + rng.uniform() + (0.06 if gland.benign else 0.22) * rng.standard_normal(n)) / n
            rim = np.interp(turn * 64 % 64, np.arange(65), np.append(gland.rim, gland.rim[0]))
            reach = rim * (1 - deep / radius)
            if not gland.benign:
                reach = reach + rng.normal(0, 0.9, n)
            angle = 2 * np.pi * turn
            made[gland.benign].append(
                np.stack([gland.row + reach * np.sin(angle), gland.col + reach * np.cos(angle)], 1)
            )
    rows_cols = np.array(board.labels.shape)
    result = {}
    for benign, parts in made.items():
        at = np.rint(np.concatenate(parts or [np.zeros((0, 2))]) / board.spacing_um).astype(np.int64)
        result[benign] = at[((at >= 0) & (at < rows_cols)).all(1)]
    return result


@dataclass(frozen=True)
class Demand:
    """What is asked for of cells, as `phantoms.histology.histology` has it."""

    til: float
    intraepithelial: float
    mitoses_per_mm2: float
    pleomorphism: int


def populate(board: Board, layout: Layout, demand: Demand, seed: int, rng: np.random.Generator) -> None:
    """Fill a board with nuclei: mitoses and glands first, then the sheets, then what stands in the stroma."""
    um, grade = board.spacing_um, demand.pleomorphism

    def drawn(kind: int) -> Shapes:
        return shapes(kind, um, grade if kind == TUMOUR else 1, seed % 8)

    def put(kind: int, at: npt.NDArray[np.int64], within: tuple[int, ...], **limits: float) -> int:
        which = rng.integers(0, _SHAPES, len(at))
        return place(board, at, which, drawn(kind), kind, within, **limits)  # type: ignore[arg-type]

    area = np.bincount(board.material.ravel(), minlength=11)
    rings = ring(layout, board, rng)
    sheet = lattice(board, _BETWEEN_UM[grade], 0.2, (of.TUMOUR,), rng)
    tumour = np.concatenate([sheet, rings[False]])
    mm2 = (area[of.TUMOUR] + area[of.EPITHELIUM] + area[of.LUMEN]) * um**2 * 1e-6
    dividing = round(demand.mitoses_per_mm2 * mm2)
    malignant = (of.TUMOUR, of.EPITHELIUM)
    if dividing:
        order = patchy(board, tumour, 700.0, 0.7, rng)
        put(MITOSIS, _apart(tumour[order], 18.0 / um, 3 * dividing), malignant, count=dividing)
    if demand.intraepithelial and len(tumour):
        put(LYMPHOCYTE, rng.permutation(tumour), malignant, count=round(demand.intraepithelial * len(tumour)))
    put(TUMOUR, rings[False], (of.EPITHELIUM,))
    put(TUMOUR, sheet, (of.TUMOUR,))
    put(NORMAL, rings[True], (of.ACINUS,))
    put(LYMPHOCYTE, lattice(board, 8.2, 0.22, (of.LYMPHOID,), rng), (of.LYMPHOID,))
    if demand.til:
        at = lattice(board, 7.0, 0.3, (of.STROMA,), rng)
        at = at[patchy(board, at, 120.0, 1.6, rng)]
        put(LYMPHOCYTE, at, (of.STROMA,), pixels=demand.til * area[of.STROMA])
    at = lattice(board, 26.0, 0.45, (of.STROMA, of.LOOSE), rng)
    angle = layout.fibres[tuple(np.minimum((at * um / layout.um).astype(int), np.array(layout.fibres.shape) - 1).T)]
    turn = np.rint((angle + rng.normal(0, 0.25, len(at))) / (np.pi / _TURNS)).astype(np.int64) % _TURNS
    which = turn + _TURNS * rng.integers(0, _SHAPES // _TURNS, len(at))
    place(board, at, which, drawn(STROMAL), STROMAL, (of.STROMA, of.LOOSE))


def _apart(points: npt.NDArray[np.int64], least: float, count: int) -> npt.NDArray[np.int64]:
    """The first points of which no two are nearer than `least`, as many as `count` at most."""
    kept = np.zeros((0, 2), np.int64)
    for point in points:
        if len(kept) >= count:
            break
        if not len(kept) or np.hypot(*(kept - point).T).min() >= least:
            kept = np.vstack([kept, point])
    return kept
