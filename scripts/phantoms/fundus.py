"""Phantom fundus photographs with known landmarks, and degraders that spoil a photograph for a known reason.

`fundus` draws a posterior pole as a mydriatic camera shows it: background with choroidal texture, optic disc and cup,
tapering and branching arcade vessels, macula with an avascular centre, the circular field on black, sensor noise.
Proportions are those of a 45 to 50 degree field: disc about 1/8 of the field's diameter, macula 2.5 disc diameters
temporal to the disc and slightly below. Right eye: the disc lies to the right of the macula.

A degrader is a function (rgb, rng, severity) -> rgb. It works on phantoms and on real photographs alike. Severity is
in 0..1: up to `MILD` a reader would still grade the photograph, from `SEVERE` on not; in between readers differ, and
nothing is labelled there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Laterality = Literal["R", "L"]
Point = tuple[float, float]

REASONS = ("out-of-focus", "illumination", "low-contrast", "artefact", "field")
MILD, SEVERE = 0.35, 0.6


@dataclass(frozen=True)
class FundusPhantom:
    """A photograph and its truth.

    rgb: uint8 [size, size, 3]. mask: bool [size, size], the camera's field. disc, macula: (x, y) in pixels from the
    top left corner of the image (outside the mask when the eye looks away). reasons: why it cannot be graded; empty
    for a good photograph.
    """

    rgb: Rgb
    mask: NDArray[np.bool_]
    disc: Point
    macula: Point
    laterality: Laterality
    reasons: frozenset[str] = field(default_factory=frozenset)

    @property
    def gradable(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Scene:
    """What is under the camera before it takes the photograph, for those who paint on it.

    mask, disc_mask, cup_mask: bool [size, size]; the cup lies within the disc. vessels: coverage 0..1 [size, size].
    disc, macula: (x, y) in pixels. disc_radius: in pixels, of the circle that the disc was drawn from.
    """

    mask: NDArray[np.bool_]
    disc_mask: NDArray[np.bool_]
    cup_mask: NDArray[np.bool_]
    vessels: NDArray[np.float32]
    disc: Point
    macula: Point
    disc_radius: float


Paint = Callable[[NDArray[np.float32], Scene], NDArray[np.float32]]


def _smooth(rng: np.random.Generator, size: int, cells: float) -> NDArray[np.float32]:
    """Smooth random field [size, size], about standard normal, with about `cells` features across."""
    n = max(2, round(cells)) + 2
    small = rng.standard_normal((n, n)).astype(np.float32)
    out: NDArray[np.float32] = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
    return out


def _grow(
    rng: np.random.Generator,
    canvas: NDArray[np.uint8],
    start: NDArray[np.float64],
    heading: float,
    width: float,
    length: float,
    fovea: NDArray[np.float64],
    avascular: float,
    depth: int,
) -> None:
    """Draw one branch as a tapering random walk of pixels on `canvas`, with side branches."""
    step = max(4.0, length / 24.0)
    at, turn = start.astype(np.float64), 0.0
    for k in range(int(length / step)):
        turn = 0.75 * turn + float(rng.normal(0.0, 0.13))
        heading += turn * 0.5
        to = at + step * np.array([np.cos(heading), np.sin(heading)])
        if np.linalg.norm(to - fovea) < avascular:
            return
        here = max(1.0, width * (1.0 - 0.6 * k * step / length))
        _segment(canvas, at, to, here)
        at = to
        if depth and rng.random() < 0.05:
            side = heading + float(rng.choice([-1, 1]) * rng.uniform(0.5, 1.0))
            reach = length * float(rng.uniform(0.35, 0.7))
            _grow(rng, canvas, at, side, here * 0.7, reach, fovea, avascular, depth - 1)


def _segment(canvas: NDArray[np.uint8], a: NDArray[np.float64], b: NDArray[np.float64], width: float) -> None:
    p, q = (tuple(round(v * 16) for v in point) for point in (a, b))
    cv2.line(canvas, p, q, 255, max(1, round(width)), cv2.LINE_AA, 4)


def _tree(rng: np.random.Generator, size: int, disc: Point, macula: Point, calibre: float) -> NDArray[np.float32]:
    """Coverage 0..1 [size, size] of one vascular tree: two temporal arcades, nasal vessels, macular twigs."""
    over = 2
    canvas = np.zeros((size * over, size * over), np.uint8)
    d, m = np.array(disc) * over, np.array(macula) * over
    reach = float(np.linalg.norm(m - d))
    temporal = (m - d) / reach
    up = np.array([temporal[1], -temporal[0]])
    for side in (-1.0, 1.0):
        high = float(rng.uniform(0.75, 1.05))
        far = float(rng.uniform(1.5, 2.1))
        bend = float(rng.uniform(0.55, 0.7))
        lean = float(rng.uniform(-0.12, 0.12))
        t = np.linspace(0.0, 1.0, 60)[:, None]
        wave = np.cumsum(rng.normal(0.0, 0.006, (60, 1)), axis=0)
        rise = high * np.sin(np.pi * bend * t) + wave
        path = d + reach * (temporal * (far * t**1.45 + lean * t) + side * up * rise)
        for k in range(59):
            width = calibre * over * (1.0 - 0.65 * k / 59)
            _segment(canvas, path[k], path[k + 1], max(1.0, width))
            if k > 3 and rng.random() < 0.12:
                along = path[k + 1] - path[k]
                heading = float(np.arctan2(along[1], along[0]))
                heading += float(rng.choice([-1, 1]) * rng.uniform(0.45, 1.0))
                length = reach * float(rng.uniform(0.3, 0.9))
                _grow(rng, canvas, path[k], heading, width * 0.55, length, m, reach * 0.16, 1)
    outward = float(np.arctan2(-temporal[1], -temporal[0]))
    for _ in range(int(rng.integers(2, 5))):
        heading = outward + float(rng.uniform(-1.1, 1.1))
        _grow(rng, canvas, d, heading, calibre * over * 0.7, reach * float(rng.uniform(0.7, 1.2)), m, reach * 0.16, 1)
    for _ in range(2):  # twigs from the disc towards the macula
        heading = outward + np.pi + float(rng.uniform(-0.5, 0.5))
        _grow(rng, canvas, d, heading, calibre * over * 0.3, reach * 0.8, m, reach * 0.2, 1)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / 255.0


def field_mask(size: int, radius: float = 0.48, cut: float = 1.0) -> NDArray[np.bool_]:
    """The camera's field: a disc of `radius` (fraction of the side), top and bottom cut at `cut` of the radius."""
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    inside = (x**2 + y**2 <= (radius * size) ** 2) & (np.abs(y) <= cut * radius * size)
    return np.asarray(inside, np.bool_)


def fundus(
    size: int = 512,
    laterality: Laterality = "R",
    seed: int = 0,
    quality: str | None = None,
    severity: float = 0.85,
    *,
    cup_ratio: float | None = None,
    away: float | None = None,
    paint: Paint | None = None,
) -> FundusPhantom:
    """Draw a photograph.

    quality: None for a good one, or one of `REASONS` for one that is spoiled for that reason with `severity`.
    cup_ratio: cup to disc, vertical; None draws it. away: 0 for a field centred on the macula, 1 on the disc; None
    draws it. paint: given the colours float32 [size, size, 3] (0..255) before light, focus and noise of the camera,
    and the scene; gives the colours to go on with. Without it some photographs show a few spots of no known truth.
    Raises ValueError for an unknown reason.
    """
    if quality is not None and quality not in REASONS:
        raise ValueError(f"unknown reason {quality!r}: one of {', '.join(REASONS)}")
    rng = np.random.default_rng([11, seed])
    to_disc = 1.0 if laterality == "R" else -1.0
    radius = float(rng.uniform(0.44, 0.495))
    mask = field_mask(size, radius, float(rng.uniform(0.8, 0.95)) if rng.random() < 0.25 else 1.0)
    disc_r = size * radius * float(rng.uniform(0.105, 0.15))
    apart = disc_r * float(rng.uniform(4.4, 5.4))
    drawn = float(rng.uniform(0.0, 1.0))
    away = drawn if away is None else away
    middle = np.array([size / 2, size / 2]) + rng.normal(0.0, 0.02 * size, 2)
    macula_v = middle - np.array([to_disc * apart * away * 0.75, 0.0])
    disc_v = macula_v + np.array([to_disc * apart, -apart * float(rng.uniform(-0.02, 0.2))])
    if quality == "field":  # the eye looks far away: neither landmark is inside
        angle = float(rng.uniform(0.0, 2 * np.pi))
        shift = np.array([np.cos(angle), np.sin(angle)]) * size * radius * (0.95 + 0.3 * severity)
        shift = shift - (disc_v - middle) if (disc_v - macula_v) @ shift < 0 else shift - (macula_v - middle)
        macula_v, disc_v = macula_v + shift, disc_v + shift
    macula: Point = (float(macula_v[0]), float(macula_v[1]))
    disc: Point = (float(disc_v[0]), float(disc_v[1]))

    base = np.array([rng.uniform(150, 235), rng.uniform(62, 130), rng.uniform(18, 75)], np.float32)
    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32)
    cloud = _smooth(rng, size, 4) * 0.05 + _smooth(rng, size, 14) * 0.03
    stripes = _smooth(rng, size, 40) * float(rng.uniform(0.0, 0.06))
    rgb = base * (1.0 + (cloud + stripes)[..., None] * np.array([0.7, 1.2, 1.2], np.float32))

    def bell(at: Point, sigma: float) -> NDArray[np.float32]:
        return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2.0 * sigma**2))

    pigment = float(rng.uniform(0.12, 0.4)) * bell(macula, disc_r * 0.95)
    centre = float(rng.uniform(0.08, 0.28)) * bell(macula, disc_r * 0.3)
    rgb *= 1.0 - (pigment + centre)[..., None] * np.array([0.6, 1.1, 1.1], np.float32)
    halo = float(rng.uniform(0.0, 0.2)) * bell(disc, disc_r * 1.8)
    rgb *= 1.0 + halo[..., None]

    angle = np.arctan2(y - disc[1], x - disc[0])
    wobble = 1.0 + 0.05 * np.cos(2 * angle + float(rng.uniform(0, 6))) + 0.03 * np.cos(3 * angle)
    distance = np.hypot(x - disc[0], (y - disc[1]) / float(rng.uniform(1.0, 1.12))) / (disc_r * wobble)
    distance = np.minimum(distance, 4.0)  # keeps exp() in range
    inside = 1.0 / (1.0 + np.exp((distance - 1.0) / 0.06))
    drawn = float(rng.uniform(0.3, 0.65))
    cup_ratio = drawn if cup_ratio is None else cup_ratio
    cup = 1.0 / (1.0 + np.exp((distance - cup_ratio) / 0.08))
    disc_colour = np.array([250, rng.uniform(170, 215), rng.uniform(90, 150)], np.float32)
    disc_colour *= float(rng.uniform(0.85, 1.0))
    rgb = rgb * (1 - 0.85 * inside[..., None]) + disc_colour * 0.85 * inside[..., None]
    rgb += cup[..., None] * np.array([6, 25, 40], np.float32)

    calibre = size * radius * float(rng.uniform(0.021, 0.032))
    veins = _tree(rng, size, disc, macula, calibre)
    arteries = _tree(rng, size, disc, macula, calibre * 0.72)
    depth = float(rng.uniform(0.75, 1.15))
    rgb *= 1.0 - veins[..., None] * np.array([0.28, 0.5, 0.45], np.float32) * depth
    rgb *= 1.0 - arteries[..., None] * np.array([0.14, 0.4, 0.4], np.float32) * depth
    if paint is not None:
        vessels = np.maximum(veins, arteries)
        rgb = paint(rgb, Scene(mask, distance < 1.0, distance < cup_ratio, vessels, disc, macula, disc_r))
    elif rng.random() < 0.3:  # disease does not make a photograph ungradable
        for _ in range(int(rng.integers(2, 25))):
            at = (float(rng.uniform(0.2, 0.8) * size), float(rng.uniform(0.2, 0.8) * size))
            spot = np.clip(bell(at, size * float(rng.uniform(0.002, 0.011))) * 1.6, 0, 1)[..., None]
            colour = np.array([235, 215, 120] if rng.random() < 0.5 else [110, 22, 18], np.float32)
            rgb = rgb * (1 - 0.8 * spot) + colour * 0.8 * spot

    radial = np.hypot(x - size / 2, y - size / 2) / (radius * size)
    rgb *= (1.0 - float(rng.uniform(0.0, 0.3)) * radial**2)[..., None]
    rgb = cv2.GaussianBlur(rgb, (0, 0), size * float(rng.uniform(0.0006, 0.0016)))
    rgb *= float(rng.uniform(0.8, 1.12))
    rgb += rng.normal(0.0, float(rng.uniform(0.5, 3.0)), rgb.shape)
    rgb = np.where(mask[..., None], rgb, float(rng.uniform(0, 6)))
    photo = np.clip(rgb, 0, 255).astype(np.uint8)
    reasons: frozenset[str] = frozenset()
    if quality is not None:
        if quality != "field":
            photo = DEGRADERS[quality](photo, rng, severity)
        if severity >= SEVERE:
            reasons = frozenset({quality})
    return FundusPhantom(photo, mask, disc, macula, laterality, reasons)


# --- degraders -------------------------------------------------------------------------------------------------------


def _lit(rgb: Rgb) -> NDArray[np.float32]:
    """Where the field is, 0..1 [rows, cols, 1], from the picture alone (real photographs come without a mask)."""
    bright = (rgb.max(axis=2) > 12).astype(np.uint8)
    k = max(3, round(max(rgb.shape[:2]) / 60) | 1)
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((k, k), np.uint8))
    return np.asarray(closed, np.float32)[..., None]


def _grid(rgb: Rgb) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x, y of every pixel in units of half the longer side, from the middle."""
    rows, cols = rgb.shape[:2]
    y, x = np.mgrid[:rows, :cols].astype(np.float32)
    half = max(rows, cols) / 2
    return (x + 0.5 - cols / 2) / half, (y + 0.5 - rows / 2) / half


def _back(value: NDArray[np.floating], lit: NDArray[np.float32]) -> Rgb:
    return np.clip(value * lit, 0, 255).astype(np.uint8)


def out_of_focus(rgb: Rgb, rng: np.random.Generator, severity: float) -> Rgb:
    """Defocus, or movement of the eye during exposure. Width is relative to the picture, not to its pixels."""
    side = max(rgb.shape[:2])
    lit = _lit(rgb)
    if rng.random() < 0.3:  # motion
        n = max(3, round(side * 0.065 * severity) | 1)
        kernel = np.zeros((n, n), np.float32)
        a = float(rng.uniform(0, np.pi))
        c, d = n // 2, np.array([np.cos(a), np.sin(a)]) * (n // 2)
        cv2.line(kernel, tuple(round(v) for v in c - d), tuple(round(v) for v in c + d), 1.0, 1)
        kernel = cv2.GaussianBlur(kernel, (0, 0), max(0.5, side * 0.006 * severity))
        out = cv2.filter2D(rgb, -1, kernel / kernel.sum())
    else:
        out = cv2.GaussianBlur(rgb, (0, 0), max(0.3, side * 0.019 * severity**1.3))
    noise = rng.normal(0.0, float(rng.uniform(0.0, 2.0)), out.shape)
    return _back(out + noise, lit)


def illumination(rgb: Rgb, rng: np.random.Generator, severity: float) -> Rgb:
    """Too dark, too bright, or lit from one side: part of the field is black, the other may be washed out."""
    x, y = _grid(rgb)
    lit = _lit(rgb)
    value = rgb.astype(np.float32)
    kind = rng.random()
    if kind < 0.25:  # under-exposed
        return _back(value * (1.0 - 0.93 * severity) ** float(rng.uniform(1.0, 1.4)), lit)
    if kind < 0.4:  # over-exposed
        return _back(value * (1.0 + 1.7 * severity) + 110.0 * severity**1.5, lit)
    a = float(rng.uniform(0, 2 * np.pi))
    along = x * np.cos(a) + y * np.sin(a)  # 1 at the rim on the dark side
    soft = float(rng.uniform(0.08, 0.3))
    both = kind < 0.75  # dark on one side, scattered light on the other
    edge = (0.95 - severity if both else 0.75 - 0.95 * severity) + float(rng.normal(0.0, 0.04))
    dark = 1.0 / (1.0 + np.exp(-(along - edge) / soft))
    value *= (1.0 - min(0.97, (0.15 + 0.75 * severity) if both else (0.3 + 0.65 * severity)) * dark)[..., None]
    if both:
        glare = 1.0 / (1.0 + np.exp((along + 1.05 - 1.1 * severity) / soft))
        glare = (glare * min(0.95, 0.1 + 0.85 * severity))[..., None]
        veil = np.array([225, rng.uniform(165, 200), rng.uniform(105, 160)], np.float32)
        value = value * (1 - glare) + veil * glare
    return _back(value, lit)


def low_contrast(rgb: Rgb, rng: np.random.Generator, severity: float) -> Rgb:
    """Haze of a cloudy lens or cornea: a veil of scattered light, with the fine detail gone."""
    lit = _lit(rgb)
    side = max(rgb.shape[:2])
    x, y = _grid(rgb)
    mean = rgb[lit[..., 0] > 0].mean(axis=0) if lit.any() else np.zeros(3)
    veil = 0.6 * mean + 0.4 * np.array([215.0, rng.uniform(150, 190), rng.uniform(95, 150)])
    thick = min(0.94, 0.25 + 0.8 * severity)
    where = thick * (1.0 - float(rng.uniform(0.0, 0.3)) * (1 - severity) * np.clip(np.hypot(x, y), 0, 1))
    out = cv2.GaussianBlur(rgb, (0, 0), max(0.3, side * 0.004 * severity)).astype(np.float32)
    out = out * (1 - where[..., None]) + veil * where[..., None]
    return _back(out + rng.normal(0.0, 1.5, out.shape), lit)


def artefact(rgb: Rgb, rng: np.random.Generator, severity: float) -> Rgb:
    """Eyelashes, the lid, a blink, or large reflections in front of the fundus."""
    rows, cols = rgb.shape[:2]
    side = max(rows, cols)
    lit = _lit(rgb)
    value = rgb.astype(np.float32)
    kind = rng.random()
    x, y = _grid(rgb)
    if kind < 0.45:  # lashes over the lower or upper part
        shade = np.zeros((rows, cols), np.uint8)
        for _ in range(int(3 + 22 * severity)):
            x0 = float(rng.uniform(0.05, 0.95)) * cols
            high = rows * float(rng.uniform(0.3, 0.4 + 0.5 * severity))
            bow = float(rng.normal(0, 0.12)) * cols
            pts = np.array([[x0 + bow * t**2, rows - high * t] for t in np.linspace(0, 1, 12)])
            cv2.polylines(shade, [pts.astype(np.int32)], False, 255, max(1, int(side * rng.uniform(0.006, 0.022))))
        blurred = cv2.GaussianBlur(shade, (0, 0), side * float(rng.uniform(0.003, 0.012))).astype(np.float32) / 255
        if rng.random() < 0.5:
            blurred = blurred[::-1]
        value *= (1.0 - min(0.95, 0.35 + 0.7 * severity) * blurred)[..., None]
    elif kind < 0.7:  # lid: an opaque edge from above or below
        level = 1.0 - 1.25 * severity + 0.12 * x * float(rng.normal()) + 0.2 * x**2
        sign = 1.0 if rng.random() < 0.5 else -1.0
        lid = 1.0 / (1.0 + np.exp(-(sign * y - level) / 0.05))
        skin = np.array([rng.uniform(30, 190), rng.uniform(20, 120), rng.uniform(15, 95)], np.float32)
        value = value * (1 - lid[..., None]) + skin * lid[..., None]
    else:  # reflections of the lamp
        for _ in range(int(1 + 9 * severity)):
            cx, cy = rng.uniform(-0.75, 0.75, 2)
            r = float(rng.uniform(0.03, 0.06 + 0.28 * severity))
            blob = 1.0 / (1.0 + np.exp((np.hypot(x - cx, (y - cy) * rng.uniform(0.7, 1.4)) - r) / (0.2 * r)))
            blob = (blob * min(0.95, 0.4 + 0.6 * severity))[..., None]
            value = value * (1 - blob) + np.array([250, 225, 205], np.float32) * blob
    return _back(value, lit)


def off_field(rgb: Rgb, rng: np.random.Generator, disc: Point, macula: Point) -> Rgb | None:
    """Cut a round field out of the periphery of a photograph, so that neither disc nor macula is in it.

    disc, macula: (x, y) in pixels of `rgb`. None where no such field was found. The result is square.
    """
    rows, cols = rgb.shape[:2]
    lit = _lit(rgb)[..., 0]
    for _ in range(60):
        r = float(rng.uniform(0.14, 0.24)) * min(rows, cols)
        cx, cy = float(rng.uniform(r, cols - r)), float(rng.uniform(r, rows - r))
        if min(np.hypot(cx - disc[0], cy - disc[1]), np.hypot(cx - macula[0], cy - macula[1])) < r * 1.25:
            continue
        box = (slice(int(cy - r), int(cy + r)), slice(int(cx - r), int(cx + r)))
        if lit[box].mean() < 0.97:
            continue
        cut = cv2.resize(rgb[box], (min(rows, cols), min(rows, cols)), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.where(field_mask(min(rows, cols))[..., None], cut, 0), np.uint8)
    return None


DEGRADERS: dict[str, Callable[[Rgb, np.random.Generator, float], Rgb]] = {
    "out-of-focus": out_of_focus,
    "illumination": illumination,
    "low-contrast": low_contrast,
    "artefact": artefact,
}


# --- pictures that are no fundus photograph --------------------------------------------------------------------------


def not_a_fundus(size: int, seed: int) -> Rgb:
    """Something else entirely: noise, flat colour, a gradient, text, shapes, stained tissue, round objects."""
    rng = np.random.default_rng([13, seed])
    kind = int(rng.integers(0, 9))
    colour = rng.uniform(0, 255, 3)
    if kind == 0:
        out = rng.uniform(0, 255, (size, size, 1 if rng.random() < 0.5 else 3)) * np.ones(3)
    elif kind == 1:
        out = np.ones((size, size, 3)) * colour
    elif kind == 2:
        ramp = np.linspace(0, 1, size)[:, None, None]
        out = ramp * colour + (1 - ramp) * rng.uniform(0, 255, 3) + np.zeros((size, size, 3))
        out = np.rot90(out, int(rng.integers(4)))
    elif kind == 3:  # a page
        page = np.full((size, size, 3), rng.uniform(200, 255), np.uint8)
        scale = float(rng.uniform(0.3, 1.0)) * size / 320
        for line in range(int(size / (32 * scale))):
            text = "".join(rng.choice(list("abcdefghij klmnopqrst 0123456789"), 50))
            cv2.putText(page, text, (4, int(28 * scale * (line + 1))), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 1)
        out = page if rng.random() < 0.7 else 255 - page
    elif kind in (4, 5):  # tissue stained pink and purple or brown
        ink = np.array([[95, 60, 150], [120, 70, 40], [60, 70, 150]][int(rng.integers(3))])
        ground = np.array([rng.uniform(205, 245), rng.uniform(150, 225), rng.uniform(185, 235)])
        tissue = np.clip(_smooth(rng, size, rng.uniform(4, 25)), -1, 1)[..., None] * 18
        out = ground + tissue
        n, r = int(rng.integers(40, 400)), size * float(rng.uniform(0.006, 0.03))
        layer = np.zeros((size, size), np.uint8)
        for _ in range(n):
            at = tuple(int(v) for v in rng.uniform(0, size, 2))
            axes = tuple(max(1, int(v)) for v in r * rng.uniform(0.6, 1.4, 2))
            cv2.ellipse(layer, at, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
        alpha = layer[..., None] / 255.0 * float(rng.uniform(0.5, 0.95))
        out = out * (1 - alpha) + ink * alpha + rng.normal(0, 6, (size, size, 3))
    elif kind == 6:  # a scene of shapes
        scene = (np.ones((size, size, 3)) * colour).astype(np.uint8)
        for _ in range(int(rng.integers(3, 25))):
            a, b = (tuple(int(v) for v in rng.uniform(0, size, 2)) for _ in range(2))
            tone = tuple(float(v) for v in rng.uniform(0, 255, 3))
            if rng.random() < 0.5:
                cv2.rectangle(scene, a, b, tone, -1)
            else:
                cv2.circle(scene, a, int(rng.uniform(4, size / 4)), tone, -1)
        out = scene
    elif kind == 7:  # soft clouds of colour
        out = np.stack([_smooth(rng, size, 5) * 60 + c for c in colour], axis=-1)
    else:  # a round field with no fundus in it: flat, striped or speckled
        inner = np.ones((size, size, 3)) * colour + _smooth(rng, size, rng.uniform(2, 40))[..., None] * 20
        out = np.where(field_mask(size, float(rng.uniform(0.35, 0.5)))[..., None], inner, 0)
    if kind != 8 and rng.random() < 0.25:
        out = np.where(field_mask(size)[..., None], out, 0)
    return np.clip(out, 0, 255).astype(np.uint8)
