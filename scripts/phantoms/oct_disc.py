"""Phantom OCT of the optic disc with truth: a circle scan around it, and a cube over it.

The nerve fibre layer (RNFL) has the double hump of a healthy eye, thickest above and below: a sum of four smooth
humps, weighed so that the means of the quadrants are the ones asked for. Outside the circle it thins with the
distance from the disc, as the fibres spread over a growing circumference.

Angles are those of a TSNIT plot, in degrees: 0 temporal, 90 superior, 180 nasal, 270 inferior, for both eyes. Seen as
photographed a right eye's circle therefore runs clockwise from the left, a left eye's counterclockwise from the right.
Inside the opening of the disc there is neither RPE nor Bruch's membrane: what lies below the tissue of the rim is
labelled choroid, and the tissue itself RNFL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from phantoms import oct as plain
from phantoms.oct import INDEX, LAYERS, Float, Laterality, Noise
from phantoms.oct_layers import SURFACES, LayerPhantom, Look, class_map

Angles = NDArray[np.float64]

DIAMETER_MM: Final = 3.46  # of the circle that most devices scan
# Mean RNFL thickness in um: round numbers of a healthy adult.
QUADRANTS: Final[Mapping[str, float]] = {"temporal": 70.0, "superior": 115.0, "nasal": 75.0, "inferior": 120.0}
CENTRES: Final[Mapping[str, float]] = {"temporal": 0.0, "superior": 90.0, "nasal": 180.0, "inferior": 270.0}
# Where the humps of the profile are, in degrees, and how narrow (von Mises): the thick ones lean to the temporal side.
_HUMPS: Final = ((0.0, 1.5), (75.0, 4.0), (180.0, 1.5), (288.0, 4.0))
# Usual thickness in um of GCL to RPE 1.7 mm from the centre of the disc.
_OUTER: Final = (18.0, 22.0, 32.0, 26.0, 58.0, 6.0, 20.0, 13.0, 18.0, 0.0, 20.0)


@dataclass(frozen=True)
class Notch:
    """A focal loss: the RNFL keeps 1 - loss at this angle; width is the standard deviation, both in degrees."""

    angle: float
    width: float = 12.0
    loss: float = 0.5


def clock_hour(hour: int) -> float:
    """Angle of a clock hour: 12 superior, 3 nasal, 6 inferior, 9 temporal in both eyes (a left eye is mirrored)."""
    return float((hour - 9) * 30 % 360)


def profile_um(
    angle: Angles, quadrants: Mapping[str, float] = QUADRANTS, notches: Sequence[Notch] = ()
) -> NDArray[np.float64]:
    """RNFL thickness in um on the circle; the means of the quadrants are as asked for, before the notches.

    Raises ValueError where no such profile of these humps is thicker than 5 um everywhere.
    """
    fine = (np.arange(3600) + 0.5) / 10.0
    means = np.stack([_humps(fine)[:, _within(fine, CENTRES[name])].mean(axis=1) for name in CENTRES])
    weights = np.linalg.solve(means, np.array([quadrants[name] for name in CENTRES]))
    if (weights @ _humps(fine)).min() < 5.0:
        raise ValueError(f"no smooth profile has the quadrant means {dict(quadrants)}")
    thick = weights @ _humps(angle)
    for notch in notches:
        thick = thick * (1.0 - notch.loss * np.exp(-0.5 * (_apart(angle, notch.angle) / notch.width) ** 2))
    return np.asarray(thick)


def _apart(angle: Angles, other: float) -> Angles:
    return (angle - other + 180.0) % 360.0 - 180.0


def _within(angle: Angles, centre: float) -> NDArray[np.bool_]:
    return np.abs(_apart(angle, centre)) < 45.0


def _humps(angle: Angles) -> NDArray[np.float64]:
    return np.stack([np.exp(k * (np.cos(np.deg2rad(angle - at)) - 1.0)) for at, k in _HUMPS])


@dataclass(frozen=True)
class CirclePhantom:
    """A circle scan: `scan` has one B-scan; angle: TSNIT degrees of each column [cols]; rnfl_um [cols] is the truth."""

    scan: LayerPhantom
    angle: Angles
    rnfl_um: NDArray[np.float64]
    diameter_mm: float

    def mean_um(self, quadrant: str | None = None) -> float:
        """Mean of a quadrant (a name of QUADRANTS), or of all columns."""
        here = np.ones(len(self.angle), np.bool_) if quadrant is None else _within(self.angle, CENTRES[quadrant])
        return float(self.rnfl_um[here].mean())

    def hour_um(self, hour: int) -> float:
        """Mean of a clock hour."""
        return float(self.rnfl_um[np.abs(_apart(self.angle, clock_hour(hour))) < 15.0].mean())

    def path(self, centre: tuple[float, float], spacing_mm: float) -> NDArray[np.float64]:
        """Where the columns lie on a photograph with the disc at (row, column): [cols, 2], row and column, subpixel."""
        radius, t = self.diameter_mm / 2.0 / spacing_mm, np.deg2rad(self.angle)
        side = -1.0 if self.scan.laterality == "R" else 1.0  # temporal is on the left in a right eye
        return np.stack([centre[0] - radius * np.sin(t), centre[1] + side * radius * np.cos(t)], axis=1)


def circle(
    rows: int = 496,
    cols: int = 768,
    axial_um: float = 3.87,
    diameter_mm: float = DIAMETER_MM,
    laterality: Laterality = "R",
    seed: int = 0,
    quadrants: Mapping[str, float] = QUADRANTS,
    notches: Sequence[Notch] = (),
    noise: Noise | None = None,
) -> CirclePhantom:
    """Draw a circle scan around the disc: column c at the angle (c + 0.5) / cols of the turn."""
    rng = np.random.default_rng([17, seed])
    noise = replace(noise or Noise.random(rng), drusen=0)
    length_mm = np.pi * diameter_mm
    angle = (np.arange(cols) + 0.5) * 360.0 / cols
    rnfl = profile_um(angle, quadrants, notches)
    scene = plain.draw_scene(rng, length_mm, rows * axial_um, noise, fluid=False)
    x = ((angle / 360.0 - 0.5) * length_mm).astype(np.float32)
    scene = replace(
        scene,
        vessel_x=_vessel_angles(rng, len(scene.vessel_x)) / np.float32(360.0) * np.float32(length_mm) + x[0],
        vessel_slope=np.zeros_like(scene.vessel_slope),
    )
    outer = np.array(_OUTER, np.float32)[:, None] * scene.scale[1:, None] * np.ones((1, cols), np.float32)
    t = np.concatenate([rnfl[None].astype(np.float32), outer])
    turn = np.deg2rad(angle)
    bruch = scene.depth + 1000.0 * scene.tilt * np.sin(turn - rng.uniform(0.0, 6.3))
    bruch = bruch + float(rng.uniform(0.0, 25.0)) * np.sin(2.0 * turn - rng.uniform(0.0, 6.3))
    stack, here = _stacked(t, bruch.astype(np.float32), rows * axial_um, axial_um, noise)
    none, nowhere = np.zeros((rows, cols), np.bool_), np.zeros(cols, np.bool_)
    labels = class_map(here, rows, nowhere, none, none)
    frame = Look().bscan(rng, stack, here["bm"], labels, np.zeros_like(x), scene, noise, x, 0.0, axial_um)
    scan = LayerPhantom(
        frame[None],
        labels[None],
        {name: surface[None] for name, surface in here.items()},
        nowhere[None],
        axial_um,
        length_mm * 1000.0 / cols,
        100.0,
        laterality,
    )
    return CirclePhantom(scan, angle, rnfl, diameter_mm)


@dataclass(frozen=True)
class DiscPhantom:
    """A cube over the disc. disc_px: (B-scan, column) of its centre; opening: bool [B, cols], inside Bruch's membrane.

    rnfl_um: thickness outside the opening [B, cols], NaN inside.
    """

    scan: LayerPhantom
    disc_px: tuple[float, float]
    opening: NDArray[np.bool_]
    rnfl_um: NDArray[np.float64]
    quadrants: Mapping[str, float]
    notches: Sequence[Notch] = ()

    def circle_um(self, angle: Angles) -> NDArray[np.float64]:
        """RNFL thickness in um on the circle of DIAMETER_MM around the centre, at TSNIT angles in degrees."""
        return profile_um(angle, self.quadrants, self.notches)


def disc_cube(
    bscans: int = 31,
    rows: int = 496,
    cols: int = 384,
    axial_um: float = 3.87,
    size_mm: float = 6.0,
    laterality: Laterality = "R",
    seed: int = 0,
    quadrants: Mapping[str, float] = QUADRANTS,
    notches: Sequence[Notch] = (),
    centre: tuple[float, float] = (0.0, 0.0),
    radius_mm: float = 0.85,
    cup: float = 0.5,
    height_mm: float | None = None,
    noise: Noise | None = None,
) -> DiscPhantom:
    """Draw a cube over the disc.

    Args:
        size_mm: along the columns, and over the B-scans unless height_mm says otherwise.
        centre: of the disc, in mm from the middle of the scan, x along the columns, y along the B-scans.
        radius_mm: of the opening of Bruch's membrane, a circle.
        cup: diameter of the cup as a part of the opening's, 0..1.
    """
    rng = np.random.default_rng([19, seed])
    noise = replace(noise or Noise.random(rng), drusen=0)
    height_mm = size_mm if height_mm is None else height_mm
    scene = plain.draw_scene(rng, size_mm, rows * axial_um, noise, fluid=False)
    x = ((np.arange(cols) + 0.5 - cols / 2) * size_mm / cols - centre[0]).astype(np.float32)
    ys = (np.arange(bscans) + 0.5 - bscans / 2) * height_mm / bscans - centre[1]
    temporal = -1.0 if laterality == "R" else 1.0
    depth_of_cup = float(rng.uniform(100.0, 420.0))
    frames, labels = (np.zeros((bscans, rows, cols), np.uint8) for _ in range(2))
    found = {name: np.full((bscans, cols), np.nan, np.float32) for name in SURFACES}
    opening = np.zeros((bscans, cols), np.bool_)
    rnfl_um = np.full((bscans, cols), np.nan)
    none, nowhere = np.zeros((rows, cols), np.bool_), np.zeros(cols, np.bool_)

    for b, y in enumerate(float(v) for v in ys):
        r = np.hypot(x, y)
        angle = np.rad2deg(np.arctan2(-y, temporal * x)) % 360.0
        inside = r < radius_mm
        taper = np.clip((r - radius_mm) / 0.25, 0.0, 1.0).astype(np.float32)
        outer = np.array(_OUTER, np.float32)[:, None] * scene.scale[1:, None]
        # Towards the rim the nerve fibres take most of the room that the layers below them give up.
        fibres = profile_um(angle, quadrants, notches) * spread(r, radius_mm)
        thick = fibres + 0.7 * float(outer.sum()) * (1.0 - taper)
        t = np.concatenate([thick[None], outer * taper[None]]).astype(np.float32)
        # The RPE reaches the opening; the tissue above it does so only thinned.
        t[INDEX["RPE"]] = np.where(inside, 0.0, _OUTER[-1] * scene.scale[INDEX["RPE"]])
        bruch = scene.depth - 0.3 * scene.curve * x**2 + 1000.0 * (scene.tilt * x + scene.tilt_slow * y)
        bruch = bruch + float(rng.normal(0.0, noise.motion_um))
        # Within the opening the tissue reaches down to `floor` um below the plane of Bruch's membrane.
        q = np.clip(r / radius_mm, 0.0, 1.0)
        hollow = np.clip((1.0 - (q / max(cup, 1e-3)) ** 2), 0.0, 1.0) if cup > 0.0 else np.zeros_like(q)
        top = thick * (0.6 + 0.4 * q) - depth_of_cup * hollow  # of the ILM above that plane
        floor = np.maximum(160.0 * (1.0 - q**2), 50.0 * (1.0 - q**2) - top)
        t[0] = np.where(inside, np.maximum(top + floor, 5.0), t[0])
        bottom = (bruch + np.where(inside, floor, 0.0)).astype(np.float32)
        stack, here = _stacked(t, bottom, rows * axial_um, axial_um, noise)
        labels[b] = class_map(here, rows, nowhere, none, none)
        frames[b] = Look().bscan(rng, stack, here["bm"], labels[b], np.zeros_like(x), scene, noise, x, y, axial_um)
        for name in SURFACES:
            found[name][b] = here[name] if name == "ilm" else np.where(inside, np.nan, here[name])
        opening[b] = inside
        rnfl_um[b] = np.where(inside, np.nan, thick)

    scan = LayerPhantom(
        frames,
        labels,
        found,
        opening & False,
        axial_um,
        size_mm * 1000.0 / cols,
        height_mm * 1000.0 / bscans,
        laterality,
    )
    at = (bscans / 2 + centre[1] * bscans / height_mm - 0.5, cols / 2 + centre[0] * cols / size_mm - 0.5)
    return DiscPhantom(scan, at, opening, rnfl_um, quadrants, notches)


def spread(r: Float, radius_mm: float) -> Float:
    """Factor of the RNFL thickness at r mm from the disc's centre: 1 on the circle, by the circumference elsewhere."""
    return (DIAMETER_MM / 2.0 / np.maximum(r, radius_mm)).astype(np.float32)


def _stacked(t: Float, bruch: Float, depth_um: float, axial_um: float, noise: Noise) -> tuple[Float, dict[str, Float]]:
    """Surfaces in rows from thicknesses [12, cols] above `bruch` in um: all 13, and those with a name."""
    above = np.concatenate([np.zeros((1, t.shape[1]), np.float32), np.cumsum(t[::-1], axis=0)])[::-1]
    bruch = plain.settled(bruch, above[0], depth_um, noise)
    every = ((bruch[None] - above) / axial_um).astype(np.float32)
    at = (0, INDEX["GCL"], INDEX["INL"], INDEX["RPE"], len(LAYERS), len(LAYERS))
    return every, {name: every[i] for name, i in zip(SURFACES, at, strict=True)}


def _vessel_angles(rng: np.random.Generator, count: int) -> Float:
    """Most large vessels cross the circle above and below."""
    return (rng.choice([75.0, 105.0, 260.0, 288.0], count) + rng.normal(0.0, 20.0, count)).astype(np.float32) % 360.0


def varied(seed: int) -> LayerPhantom:
    """A circle scan or one B-scan near the disc, of a random device and eye."""
    rng = np.random.default_rng([23, seed])
    axial = float(rng.uniform(2.0, 4.2))
    rows = int(np.clip(float(rng.uniform(1700.0, 2700.0)) / axial, 420, 1000))
    eye: Laterality = "R" if rng.random() < 0.5 else "L"
    loss = float(rng.uniform(0.45, 1.15))
    quadrants = {name: float(v * loss * rng.uniform(0.9, 1.1)) for name, v in QUADRANTS.items()}
    notches = [
        Notch(float(rng.uniform(0.0, 360.0)), float(rng.uniform(6.0, 20.0)), float(rng.uniform(0.2, 0.8)))
        for _ in range(int(rng.integers(0, 3)))
    ]
    inner = int(rng.integers(2**31))
    if rng.random() < 0.45:
        cols = int(rng.choice([512, 768, 768, 1024]))
        return circle(rows, cols, axial, float(rng.uniform(3.2, 3.8)), eye, inner, quadrants, notches).scan
    return disc_cube(
        1,
        rows,
        int(rng.choice([200, 256, 384, 512])),
        axial,
        float(rng.uniform(4.5, 8.0)),
        eye,
        inner,
        quadrants,
        notches,
        centre=(float(rng.normal(0.0, 0.5)), float(rng.uniform(-2.0, 2.0))),
        radius_mm=float(rng.uniform(0.7, 1.0)),
        cup=float(rng.uniform(0.0, 0.85)),
        height_mm=0.1,
    ).scan
