"""Where what kind of tissue lies on a generated slide: smooth fields on a coarse grid, positive inside, and glands.

A field sampled between its knots gives a smooth edge at any spacing of the slide, whatever part of it is drawn.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from phantoms.slide import noise, outlines, specimen

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Kind = Literal["breast", "lymph-node"]
Side = Literal["top", "bottom", "left", "right"]

# What a pixel is made of. TUMOUR is solid; EPITHELIUM and LUMEN are those of tumour glands, ACINUS and SPACE of benign.
GLASS, TUMOUR, EPITHELIUM, LUMEN, STROMA, LOOSE, ACINUS, SPACE, LYMPHOID, NECROSIS, INK = range(11)

_INK_UM: Final = (8.0, 30.0)  # how far the ink reaches out of the specimen and into it
_GAP_UM: Final = 5.0  # least stroma between two glands
_STRAND: Final = 0.72  # share of solid tumour in the territory of solid tumour; the rest are strands of stroma
_PACKED: Final = 0.45  # share of glands in the territory of glands


@dataclass(frozen=True)
class Gland:
    """A ring of epithelium. Centre and radius in um; `rim`: radius in each of 64 directions; `lumen`: 0..1 of it."""

    row: float
    col: float
    rim: Floats
    lumen: float
    benign: bool


@dataclass(frozen=True)
class Layout:
    """`fields` on a grid of `um`: about the distance to the edge, in um, positive inside. `fibres`: their direction."""

    um: float
    fields: dict[str, Floats]
    fibres: Floats = field(repr=False)
    glands: tuple[Gland, ...] = field(default=(), repr=False)

    def at(self, grid: Floats, rows: slice, cols: int, spacing_um: float) -> Floats:
        """A grid sampled at the pixels of a band of rows of the slide."""
        step = spacing_um / self.um
        shift = 0.5 * step - 0.5
        matrix = np.array([[step, 0, shift], [0, step, rows.start * step + shift]], np.float64)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (cols, rows.stop - rows.start)
        return np.asarray(cv2.warpAffine(grid, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.float32)

    def material(self, rows: slice, cols: int, spacing_um: float) -> npt.NDArray[np.uint8]:
        """What each pixel of a band of rows is made of."""
        made = np.full((rows.stop - rows.start, cols), STROMA, np.uint8)
        for name, code in _ORDER:
            if name in self.fields:
                made[self.at(self.fields[name], rows, cols, spacing_um) > 0] = code
        return made


# Later ones lie over earlier ones.
_ORDER: Final = (
    ("loose", LOOSE),
    ("acinus", ACINUS),
    ("space", SPACE),
    ("lymphoid", LYMPHOID),
    ("solid", TUMOUR),
    ("necrosis", NECROSIS),
    ("epithelium", EPITHELIUM),
    ("lumen", LUMEN),
    ("glass", GLASS),
    ("ink", INK),
)


@dataclass(frozen=True)
class Plan:
    """What is asked for, as `phantoms.histology.histology` has it."""

    kind: Kind
    tumour: float
    tubules: float
    necrosis: float
    normal: float
    centre: tuple[float, float]
    edge: bool
    ink: Side | None
    margin_um: float
    deposits_um: tuple[float, ...]


def layout(rows: int, cols: int, spacing_um: float, plan: Plan, rng: np.random.Generator) -> Layout:
    """Lay out a slide of rows x cols pixels."""
    um = max(2.0, spacing_um)
    shape = (int(np.ceil(rows * spacing_um / um)), int(np.ceil(cols * spacing_um / um)))
    canvas = _Canvas(um, shape, rng)
    tissue = specimen(*shape, rng) if plan.edge else np.ones(shape, bool)
    fields = {"glass": -canvas.distance(tissue)}
    may = tissue
    if plan.ink is not None:
        fields["ink"] = _ink(canvas, tissue, plan.ink)
        away = _away(fields["ink"] > 0, um)
        may = tissue & (away > plan.margin_um)
        canvas.touch = _nearest_to(away, may, plan.margin_um, plan.ink)
    glands = _node(canvas, plan, tissue, may, fields) if plan.kind == "lymph-node" else _breast(
        canvas, plan, tissue, may, fields
    )  # fmt: skip
    fibres = np.pi * noise(*shape, (90.0 / um, 90.0 / um), rng)
    return Layout(um, fields, fibres, tuple(glands))


class _Canvas:
    """The grid that a layout is made on."""

    def __init__(self, um: float, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self.um, self.shape, self.rng = um, shape, rng
        self.touch: tuple[int, int] | None = None  # where tumour comes nearest to the ink

    def noise(self, um: float) -> Floats:
        """Smooth noise with knots `um` apart."""
        return noise(*self.shape, (um / self.um, um / self.um), self.rng)

    def distance(self, inside: Mask) -> Floats:
        """About the distance to the edge of a mask in um, positive inside, cut off at 100 um."""
        soft = [cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, 3) for m in (inside, ~inside)]
        return np.clip((soft[0] - soft[1] - 0.5 * np.sign(inside - 0.5)) * self.um, -100, 100).astype(np.float32)

    def highest(self, values: Floats, where: Mask, count: float) -> Floats:
        """The field that is positive on the `count` highest values in `where`."""
        inside = values[where]
        count = min(round(count), inside.size)
        if count <= 0:
            return np.full(self.shape, -100, np.float32)
        limit = np.partition(inside, inside.size - count)[inside.size - count]
        field = values - np.nextafter(limit, np.float32(-np.inf), dtype=np.float32)
        return np.where(where, field, np.minimum(field, -1e-3)).astype(np.float32)


def _ink(canvas: _Canvas, tissue: Mask, side: Side) -> Floats:
    """Ink on the outline of the specimen where it faces a side of the slide."""
    rows, cols = canvas.shape
    y, x = np.linspace(-1, 1, rows, dtype=np.float32)[:, None], np.linspace(-1, 1, cols, dtype=np.float32)[None, :]
    facing = {"top": -y - np.abs(x), "bottom": y - np.abs(x), "left": -x - np.abs(y), "right": x - np.abs(y)}[side]
    out, into = _INK_UM
    depth = canvas.distance(tissue)
    deep = into * (1 + 0.3 * canvas.noise(80.0))
    band = np.minimum(depth + out, np.clip(deep, 0.5 * into, 1.6 * into) - depth)
    return np.where(facing > -0.1, band, -100).astype(np.float32)


def _away(mask: Mask, um: float) -> Floats:
    """Distance to a mask in um; a kilometre where there is none."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.minimum(away, 1e9) * um, np.float32)


def _nearest_to(away: Floats, may: Mask, margin_um: float, side: Side) -> tuple[int, int] | None:
    """The place, near the middle of the inked side, at the margin's distance from the ink."""
    rows, cols = away.shape
    near = may & (away < margin_um + 8.0)
    at = np.argwhere(near)
    if not len(at):
        return None
    off = np.abs(at[:, 1] - cols / 2) if side in ("top", "bottom") else np.abs(at[:, 0] - rows / 2)
    row, col = at[int(np.argmin(off))]
    return int(row), int(col)


def _breast(canvas: _Canvas, plan: Plan, tissue: Mask, may: Mask, fields: dict[str, Floats]) -> list[Gland]:
    """Solid nests, tumour glands and necrosis within one tumour bed; benign lobules beside it; stroma between."""
    rows, cols = canvas.shape
    area = float(tissue.sum())
    extent = max(rows, cols) * canvas.um
    y = np.linspace(0, 1, rows, dtype=np.float32)[:, None] - plan.centre[0]
    x = np.linspace(0, 1, cols, dtype=np.float32)[None, :] - plan.centre[1]
    bed = (0.35 * canvas.noise(max(120.0, extent / 4)) - 2.2 * np.hypot(y, x)).astype(np.float32)
    wanted, dead = plan.tumour * area, plan.necrosis * area
    glandular = plan.tubules * wanted
    solid = wanted - glandular
    territory = canvas.highest(bed, may, solid / _STRAND + glandular / _PACKED + dead) > 0
    fields["necrosis"] = canvas.highest(bed + 0.5 * canvas.noise(160.0), territory, dead)
    living = territory & ~(fields["necrosis"] > 0)
    # part of the territory for glands, in patches of some hundred micrometres
    patchy = canvas.noise(max(150.0, extent / 6))
    share = glandular / _PACKED / max(glandular / _PACKED + solid / _STRAND, 1.0)
    for_glands = canvas.highest(patchy, living, share * living.sum()) > 0
    glands = _glands(canvas, for_glands, glandular, (24.0, 55.0), False, fields)
    # where the glands fell short, solid tumour does not make up for it: the shares would not be those asked for
    nests = canvas.noise(110.0) + 0.35 * canvas.noise(35.0)
    around = canvas.distance(fields["epithelium"] > 0) > -_GAP_UM if glands else np.zeros(canvas.shape, bool)
    if canvas.touch is not None:
        row, col = canvas.touch
        spot = cv2.circle(np.zeros(canvas.shape, np.uint8), (col, row), round(70.0 / canvas.um), 1, -1)
        nests = np.where(spot > 0, 9.0, nests).astype(np.float32)
        living = living | ((spot > 0) & may)
        for_glands = for_glands & ~(spot > 0)
    fields["solid"] = canvas.highest(np.asarray(nests), living & ~for_glands & ~around, solid)
    near_tumour = cv2.dilate(territory.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    inked = fields["ink"] > -20.0 if "ink" in fields else np.zeros(canvas.shape, bool)
    free = tissue & ~near_tumour & ~inked & ~living
    lobules = canvas.noise(max(130.0, extent / 9))
    fields["loose"] = canvas.highest(lobules, free, plan.normal * area)
    benign = fields["loose"] > 0
    glands += _glands(canvas, benign, 0.6 * float(benign.sum()), (14.0, 26.0), True, fields)
    return glands


def _node(canvas: _Canvas, plan: Plan, tissue: Mask, may: Mask, fields: dict[str, Floats]) -> list[Gland]:
    """Lymphoid tissue in a capsule of stroma, with trabeculae; round deposits of solid tumour of stated diameters."""
    depth = canvas.distance(tissue)
    capsule = 35.0 * (1 + 0.25 * canvas.noise(150.0))
    trabecula = np.abs(canvas.noise(420.0)) - 0.035
    inside = np.minimum(depth - capsule, 200.0 * trabecula)
    fields["lymphoid"] = np.where(tissue, inside, -100).astype(np.float32)
    rows, cols = canvas.shape
    room = np.minimum(_away(~may, canvas.um), _frame(canvas.shape, canvas.um))
    solid = np.full(canvas.shape, -100, np.float32)
    for n, diameter in enumerate(plan.deposits_um):
        at = np.argwhere(room > diameter / 2 + 20.0)
        if not len(at):
            raise ValueError(f"no room for a deposit of {diameter:g} um")
        if n == 0:
            wished = np.array([plan.centre[0] * rows, plan.centre[1] * cols])
            row, col = at[int(np.argmin(np.hypot(*(at - wished).T)))]
        else:
            row, col = at[int(canvas.rng.integers(len(at)))]
        # an even wave along the rim changes the longest diameter by its height; it is taken off again
        radius = diameter / 2 / 1.06
        angle = np.arctan2(np.arange(rows)[:, None] - row, np.arange(cols)[None, :] - col)
        turn = canvas.rng.uniform(0, 2 * np.pi, 2)
        rim = radius * (1 + 0.06 * np.cos(2 * angle + turn[0]) + 0.03 * np.cos(3 * angle + turn[1]))
        reach = np.hypot(np.arange(rows)[:, None] - row, np.arange(cols)[None, :] - col) * canvas.um
        solid = np.maximum(solid, rim - reach).astype(np.float32)
        room = np.minimum(room, reach - radius - 120.0)
    if plan.deposits_um:
        fields["solid"] = solid
    return []


def _frame(shape: tuple[int, int], um: float) -> Floats:
    """Distance to the edge of the picture in um."""
    rows, cols = (np.minimum(np.arange(n), np.arange(n)[::-1]).astype(np.float32) for n in shape)
    return np.minimum(rows[:, None], cols[None, :]) * um


def _glands(
    canvas: _Canvas, where: Mask, wanted: float, radii: tuple[float, float], benign: bool, fields: dict[str, Floats]
) -> list[Gland]:
    """Throw glands into a territory until they cover `wanted` knots of the grid or there is no room."""
    outer, inner = ("acinus", "space") if benign else ("epithelium", "lumen")
    ring, hole = (np.full(canvas.shape, -100, np.float32) for _ in range(2))
    made: list[Gland] = []
    rng, um = canvas.rng, canvas.um
    # centres so far inside that the smallest gland fits
    room = cv2.erode(where.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, int(0.6 * radii[0] / um)))
    places = np.flatnonzero(room)
    covered, tries = 0.0, 0
    most = int(30 * wanted / (np.pi * (np.mean(radii) / um) ** 2)) + 10
    while len(places) and covered < wanted and tries < most:
        tries += 1
        row, col = divmod(int(places[rng.integers(len(places))]), canvas.shape[1])
        if ring[row, col] > -_GAP_UM:
            continue
        # large ones first, smaller ones into what is left
        large = radii[0] + (radii[1] - radii[0]) * (1 - tries / most)
        radius = rng.uniform(radii[0], max(large, radii[0] + 1))
        half = int(1.8 * radius / um) + 2
        turn, aspect, size = (np.full((1, 1, 1), v, np.float32) for v in (
            rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.0, 1.3 if benign else 1.9)), radius / um
        ))  # fmt: skip
        waves = ((2, 0.02), (3, 0.02)) if benign else ((2, 0.04), (3, 0.05), (4, 0.03), (5, 0.03))
        away = outlines(half, turn, size, aspect, waves, rng)[0]
        r0, c0 = max(row - half, 0), max(col - half, 0)
        r1, c1 = min(row + half + 1, canvas.shape[0]), min(col + half + 1, canvas.shape[1])
        window = (slice(r0, r1), slice(c0, c1))
        cut = away[r0 - row + half : r1 - row + half, c0 - col + half : c1 - col + half]
        mine = cut < 1
        if (mine & ~where[window]).sum() > 0.06 * mine.sum() or (mine & (ring[window] > -_GAP_UM)).any():
            continue
        thick = rng.uniform(8.0, 10.0) if benign else rng.uniform(11.0, 17.0)
        lumen = max(1 - thick / radius, 0.12)
        ring[window] = np.maximum(ring[window], (1 - cut) * radius)
        hole[window] = np.maximum(hole[window], (lumen - cut) * radius)
        covered += float(mine.sum())
        made.append(Gland(row * um, col * um, _rim(away, half, um), lumen, benign))
    # a gland ends where its territory does
    if made:
        fields[outer] = np.where(where, ring, np.minimum(ring, -1e-3)).astype(np.float32)
        fields[inner] = np.where(where, hole, np.minimum(hole, -1e-3)).astype(np.float32)
    return made


def _rim(away: Floats, half: int, um: float) -> Floats:
    """Radius in um in 64 directions, from the distance in units of the rim's at one place in each direction."""
    turn = np.arange(64) * (2 * np.pi / 64)
    reach = 0.6 * half
    row, col = np.rint(half + reach * np.sin(turn)).astype(int), np.rint(half + reach * np.cos(turn)).astype(int)
    return (np.hypot(row - half, col - half) * um / away[row, col]).astype(np.float32)
