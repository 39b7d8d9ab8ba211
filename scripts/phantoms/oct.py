"""Phantom OCT volumes of the macula with exact truth.

A volume is drawn from a layered model of the retina in micrometres and then imaged:

1. *Anatomy.* Twelve layers from the internal limiting membrane (ILM) to Bruch's membrane, each a smooth function of
   the distance from the fovea (foveal pit, parafoveal rim, nerve fibre layer thicker towards the disc), on a tilted
   and curved globe, over a choroid with vessels and a sclera. Optional pathology: intraretinal cysts (ellipsoids),
   subretinal fluid (a dome above the retinal pigment epithelium), drusen.
2. *Imaging.* Reflectivities in dB over the noise floor, axial point spread, vessel shadows, depth roll-off,
   multiplicative gamma speckle (1 to 40 looks, spatially correlated), log or power compression, display window,
   8-bit quantisation; and what scanners add: motion between B-scans, empty bands, padding, DC lines, saturated A-scans.

The numbers are round values chosen to look like spectral-domain OCT; they are not a normative database.

Coordinates: a surface is given in rows measured from the *top edge* of the frame, the convention of DICOM SCOORD: row
index r covers [r, r + 1). So a surface at 10.0 lies between rows 9 and 10, and stretching a frame scales a surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Laterality = Literal["R", "L"]

# Layers from inside out, with their usual reflectivity in dB over the noise floor.
LAYERS: tuple[tuple[str, float], ...] = (
    ("RNFL", 23.0),
    ("GCL", 17.0),
    ("IPL", 19.0),
    ("INL", 13.0),
    ("OPL", 18.0),
    ("ONL", 9.0),
    ("ELM", 14.0),
    ("IS", 11.0),
    ("EZ", 24.0),
    ("OS", 17.0),
    ("SRF", 1.0),
    ("RPE", 26.0),
)
INDEX = {name: i for i, (name, _) in enumerate(LAYERS)}


@dataclass(frozen=True)
class OctPhantom:
    """A volume and its truth.

    frames: uint8 [B, rows, cols]. ilm, rpe: float32 [B, cols], rows from the top edge; ilm is the inner limiting
    membrane, rpe the outer retinal boundary (outer edge of the RPE and Bruch's membrane). fluid: bool [B, rows, cols].
    Spacings in um; the first B-scan is the superior one; columns run from the patient's right to left in the image
    as photographed, so the disc lies on the right for a right eye. fovea_px: (B-scan, column) of the foveal centre.
    """

    frames: NDArray[np.uint8]
    ilm: Float
    rpe: Float
    fluid: NDArray[np.bool_]
    axial_um: float
    lateral_um: float
    slice_um: float
    laterality: Laterality
    fovea_px: tuple[float, float]

    @property
    def thickness_um(self) -> Float:
        """Total retinal thickness [B, cols] in um, ILM to Bruch's membrane."""
        return ((self.rpe - self.ilm) * self.axial_um).astype(np.float32)

    @property
    def fluid_ul(self) -> float:
        """Volume of fluid in microlitres (1 uL = 1 mm3 = 1e9 um3)."""
        return float(self.fluid.sum()) * self.axial_um * self.lateral_um * self.slice_um * 1e-9


@dataclass(frozen=True)
class Noise:
    """How a volume is imaged. Equal arguments give equal pictures of equal anatomy."""

    looks: float = 4.0  # averaged speckle patterns: 1 = raw, 40 = heavily averaged
    grain: tuple[float, float] = (0.8, 0.6)  # speckle correlation, sigma in rows and columns
    signal_db: float = 0.0  # added to every reflectivity: low values are cataract, high values a young eye
    floor: float = 0.25  # black level: fraction of the noise floor's own brightness that is clipped
    white_db: float = 34.0  # brightness that is shown as white
    gain: float = 1.0  # brightness of the whole picture; below 1 as stored with few grey levels
    power: float = 1.0  # gamma applied after log compression
    rolloff_db: float = 4.0  # loss over the depth of the frame, positive = towards the bottom
    vessels: int = 5
    motion_um: float = 12.0
    hyaloid: bool = False
    drusen: int = 0
    empty_top: float = 0.0  # fraction of rows that hold nothing at all
    empty_tilt: float = 0.0  # slope of the edge of that band, fraction of rows over the width
    pad_bottom: float = 0.0  # fraction of rows filled with `pad_value`
    pad_value: int = 255
    dc_line: bool = False
    saturated: int = 0  # A-scans blown out by a specular reflection

    @staticmethod
    def random(rng: np.random.Generator) -> Noise:
        """The range seen over devices, from raw scans of old machines to averaged ones of new ones."""

        def chance(p: float) -> bool:
            return bool(rng.random() < p)

        return Noise(
            looks=float(np.exp(rng.uniform(0.0, np.log(40.0)))),
            grain=(float(rng.uniform(0.3, 1.4)), float(rng.uniform(0.0, 1.2))),
            signal_db=float(rng.uniform(-7.0, 5.0)),
            floor=float(rng.uniform(-0.6, 1.1)),
            white_db=float(rng.uniform(22.0, 42.0)),
            gain=float(rng.uniform(0.35, 1.15)),
            power=float(np.exp(rng.uniform(-0.5, 0.9))),
            rolloff_db=float(rng.uniform(-5.0, 9.0)),
            vessels=int(rng.integers(0, 10)),
            motion_um=float(rng.uniform(0.0, 40.0)),
            hyaloid=chance(0.35),
            drusen=int(rng.integers(1, 8)) if chance(0.2) else 0,
            empty_top=float(rng.uniform(0.0, 0.2)) if chance(0.3) else 0.0,
            empty_tilt=float(rng.uniform(-0.1, 0.1)) if chance(0.5) else 0.0,
            pad_bottom=float(rng.uniform(0.02, 0.18)) if chance(0.25) else 0.0,
            pad_value=int(rng.choice([0, 0, 255, 128])),
            dc_line=chance(0.15),
            saturated=int(rng.integers(1, 5)) if chance(0.15) else 0,
        )


def smooth_field(rng: np.random.Generator, rows: int, cols: int, step_r: float, step_c: float) -> Float:
    """Smooth random field [rows, cols], about standard normal, with features of the given size in pixels."""
    small = rng.standard_normal((max(2, round(rows / step_r)) + 3, max(2, round(cols / step_c)) + 3))
    out: Float = cv2.resize(small.astype(np.float32), (cols, rows), interpolation=cv2.INTER_CUBIC)
    return out


def thicknesses(x: Float, y: float, nasal: int, scale: Float) -> Float:
    """Layer thicknesses [12, cols] in um at x, y (mm from the fovea; nasal = +1 where the disc is at positive x)."""
    r2 = x**2 + y**2
    r = np.sqrt(r2)
    pit = 1.0 - np.exp(-r2 / 0.38**2)  # 0 in the foveola
    rim = 1.0 - np.exp(-r2 / 0.75**2)
    toward_disc = 1.0 / (1.0 + np.exp(-(nasal * x - 1.6) / 0.7))
    arcade = np.clip(np.abs(y) / 3.0, 0.0, 1.0) ** 1.5
    layers = [
        2.0 + 22.0 * rim + 55.0 * toward_disc + 40.0 * arcade * rim,
        1.5 + 46.0 * pit * np.exp(-((r / 2.6) ** 2)) + 8.0 * pit,
        2.0 + 36.0 * pit * np.exp(-((r / 3.4) ** 2)) + 5.0 * pit,
        4.0 + 34.0 * pit,
        10.0 + 16.0 * pit,
        58.0 + 46.0 * np.exp(-((r / 0.75) ** 2)) - 1.5 * r,
        np.full_like(x, 6.0),
        20.0 + 8.0 * np.exp(-((r / 0.5) ** 2)),
        np.full_like(x, 13.0),
        18.0 + 14.0 * np.exp(-((r / 0.5) ** 2)),
        np.zeros_like(x),
        np.full_like(x, 20.0),
    ]
    return (np.maximum(np.stack(layers), 0.0) * scale[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Blob:
    """A fluid body: an ellipsoid in the plane (mm) and in depth (um). kind: the layer that it lies in or makes."""

    kind: Literal["INL", "ONL", "SRF"]
    x: float
    y: float
    rx: float
    ry: float
    height: float

    def section(self, x: Float, y: float) -> Float:
        """Normalised height 0..1 [cols] of the cut at y."""
        return np.sqrt(np.maximum(0.0, 1.0 - ((x - self.x) / self.rx) ** 2 - ((y - self.y) / self.ry) ** 2))

    def bulge(self, x: Float, y: float) -> Float:
        """How the tissue around it thickens: smooth, 0..1 [cols]."""
        return np.exp(-0.7 * (((x - self.x) / self.rx) ** 2 + ((y - self.y) / self.ry) ** 2))


def _blobs(rng: np.random.Generator) -> list[Blob]:
    out = []
    if rng.random() < 0.75:
        for _ in range(int(rng.integers(1, 14))):
            rx = float(rng.uniform(0.05, 0.4))
            out.append(
                Blob(
                    kind="ONL" if rng.random() < 0.6 else "INL",
                    x=float(rng.normal(0.0, 0.9)),
                    y=float(rng.normal(0.0, 0.7)),
                    rx=rx,
                    ry=rx * float(rng.uniform(0.7, 1.6)),
                    height=float(min(rng.uniform(15.0, 150.0), 550.0 * rx)),
                )
            )
    if rng.random() < 0.5 or not out:
        rx = float(rng.uniform(0.3, 1.6))
        height = float(rng.uniform(30.0, 220.0))
        out.append(Blob("SRF", float(rng.normal(0.0, 0.7)), float(rng.normal(0.0, 0.5)), rx, rx, height))
    return out


@dataclass(frozen=True)
class Scene:
    """Everything a volume has in common: sampled once, cut by each B-scan."""

    scale: Float
    layer_db: Float
    blobs: list[Blob]
    vessel_x: Float
    vessel_width: Float
    vessel_slope: Float
    drusen: Float  # [n, 4]: x mm, y mm, radius mm, height um
    tilt: float
    tilt_slow: float
    curve: float
    depth: float
    choroid_um: float
    choroid_db: float
    choroid_fall_db: float
    choroid_vessel_db: float
    choroid_grain_um: float
    choroid_edge: float
    hyaloid_um: float
    clump_db: float


def draw_scene(rng: np.random.Generator, width_mm: float, depth_um: float, noise: Noise, fluid: bool) -> Scene:
    scale = (rng.uniform(0.85, 1.2) * rng.uniform(0.8, 1.25, len(LAYERS))).astype(np.float32)
    db = np.array([v for _, v in LAYERS]) + rng.normal(0.0, 1.8, len(LAYERS))
    n = noise.vessels
    return Scene(
        scale=scale,
        layer_db=db.astype(np.float32),
        blobs=_blobs(rng) if fluid else [],
        vessel_x=rng.uniform(-0.5, 0.5, n).astype(np.float32) * np.float32(width_mm),
        vessel_width=rng.uniform(0.025, 0.12, n).astype(np.float32),
        vessel_slope=rng.normal(0.0, 0.3, n).astype(np.float32),
        drusen=np.stack(
            [
                rng.normal(0.0, 1.2, noise.drusen),
                rng.normal(0.0, 0.8, noise.drusen),
                rng.uniform(0.04, 0.25, noise.drusen),
                rng.uniform(10.0, 70.0, noise.drusen),
            ],
            axis=1,
        ).astype(np.float32),
        tilt=float(rng.normal(0.0, 0.07)),
        tilt_slow=float(rng.normal(0.0, 0.03)),
        curve=float(rng.uniform(-6.0, 30.0)),
        depth=float(rng.uniform(0.3, 0.75)) * depth_um,
        choroid_um=float(rng.uniform(120.0, 380.0)),
        choroid_db=float(rng.uniform(13.0, 23.0)),
        choroid_fall_db=float(rng.uniform(3.0, 9.0)),
        choroid_vessel_db=float(rng.uniform(1.0, 7.0)),
        choroid_grain_um=float(rng.uniform(35.0, 90.0)),
        choroid_edge=float(rng.uniform(2.0, 10.0)),
        hyaloid_um=float(rng.uniform(20.0, 300.0)),
        clump_db=float(rng.uniform(0.3, 2.2)),
    )


def _render(
    rng: np.random.Generator,
    surfaces: Float,
    scene: Scene,
    noise: Noise,
    inside: NDArray[np.bool_],
    x: Float,
    y: float,
    axial_um: float,
) -> NDArray[np.uint8]:
    """One B-scan as uint8. surfaces: [13, cols] in rows, from the ILM to Bruch's membrane. inside: fluid mask."""
    return imaged(rng, tissue_db(rng, surfaces, scene, noise, inside, x, y, axial_um), noise, axial_um)


def tissue_db(
    rng: np.random.Generator,
    surfaces: Float,
    scene: Scene,
    noise: Noise,
    inside: NDArray[np.bool_],
    x: Float,
    y: float,
    axial_um: float,
) -> Float:
    """Reflectivity [rows, cols] in dB over the noise floor, shadows of vessels included; arguments as for a B-scan."""
    rows, cols = inside.shape
    centre = np.arange(rows, dtype=np.float32)[:, None] + 0.5
    layer = np.zeros((rows, cols), np.int8)
    for surface in surfaces:
        layer += centre >= surface[None]

    clumps = smooth_field(rng, rows, cols, max(2.0, 14.0 / axial_um), max(2.0, cols / 110))  # tissue is not uniform
    texture = smooth_field(rng, len(LAYERS), cols, 1.0, max(4.0, cols / 12)) * 1.2
    table = np.concatenate([np.zeros((1, cols)), scene.layer_db[:, None] + texture, np.zeros((1, cols))])
    db = np.take_along_axis(table.astype(np.float32), layer.astype(np.int64), axis=0)
    db = db + clumps * scene.clump_db
    db[layer == 0] = -12.0
    db[inside] = float(rng.uniform(-6.0, 3.0))

    below = (centre - surfaces[-1][None]) * axial_um
    under = layer == len(surfaces)
    deep = np.clip(below / scene.choroid_um, 0.0, 4.0)
    vessels = smooth_field(rng, rows, cols, max(3.0, scene.choroid_grain_um / axial_um), cols / 28)
    lumen = 1.0 / (1.0 + np.exp(-(vessels - 0.4) * scene.choroid_edge))
    lumen = lumen * np.clip((below - 15.0) / 30.0, 0.0, 1.0) * (deep < 1.1)
    choroid = scene.choroid_db - scene.choroid_fall_db * deep - scene.choroid_vessel_db * lumen
    choroid = np.where(deep > 1.0, choroid + 2.5 * np.exp(-((deep - 1.15) ** 2) / 0.03), choroid)
    db[under] = (choroid + clumps * scene.clump_db)[under]

    if noise.hyaloid:
        line = surfaces[0] - (scene.hyaloid_um * (1.0 + 0.25 * smooth_field(rng, 1, cols, 1.0, cols / 3)[0])) / axial_um
        line = np.minimum(line, surfaces[0] - 10.0 / axial_um)
        db = np.where(np.abs(centre - line[None]) < 7.0 / axial_um, np.maximum(db, rng.uniform(3.0, 13.0)), db)
    if rng.random() < 0.3:  # strands and haze in the vitreous
        haze = smooth_field(rng, rows, cols, rows / 6, cols / 5) * 4.0 - 4.0
        db = np.where(layer == 0, np.maximum(db, haze), db)

    for vx, width, slope in zip(scene.vessel_x, scene.vessel_width, scene.vessel_slope, strict=True):
        profile = np.exp(-(((x - vx - slope * y) / (0.5 * width)) ** 4))
        top = surfaces[INDEX["IPL"]]
        shade = np.clip((centre - top[None]) * axial_um / 60.0, 0.0, 1.0)
        db = db - (6.0 + 60.0 * width) * profile[None] * shade
        bright = (centre >= surfaces[0][None]) & (centre < (surfaces[0] + 28.0 / axial_um)[None])
        db = db + 3.0 * profile[None] * bright

    return db


def imaged(rng: np.random.Generator, db: Float, noise: Noise, axial_um: float) -> NDArray[np.uint8]:
    """What a scanner shows of a reflectivity in dB: uint8 [rows, cols]."""
    rows, cols = db.shape
    centre = np.arange(rows, dtype=np.float32)[:, None] + 0.5
    db = db + noise.signal_db
    db = db - noise.rolloff_db * (centre / rows)
    db = db + smooth_field(rng, 1, cols, 1.0, cols / 6) * 1.2  # uneven light over the width
    if rng.random() < 0.2:  # one side vignetted by the iris
        edge = np.linspace(0.0, 1.0, cols, dtype=np.float32)
        edge = edge if rng.random() < 0.5 else edge[::-1]
        db = db - float(rng.uniform(4.0, 12.0)) * (edge**4)[None]

    power = 10.0 ** (db / 10.0)
    psf = float(rng.uniform(4.0, 7.0)) / axial_um / 2.0
    power = cv2.GaussianBlur(power.astype(np.float32), (0, 0), sigmaX=0.3, sigmaY=max(0.3, psf))
    speckle = rng.standard_gamma(noise.looks, (rows, cols), dtype=np.float32) / noise.looks
    sr, sc = noise.grain
    if max(sr, sc) > 0.25:
        speckle = cv2.GaussianBlur(speckle, (0, 0), sigmaX=max(sc, 0.05), sigmaY=max(sr, 0.05))
    seen = 10.0 * np.log10((power + 1.0) * np.maximum(speckle, 1e-3))

    black = 10.0 * noise.floor
    grey = np.clip((seen - black) / (noise.white_db - black), 0.0, 1.0) ** noise.power * noise.gain
    if noise.saturated:
        for c in rng.integers(0, cols, noise.saturated):
            grey[:, c : c + int(rng.integers(1, 4))] += float(rng.uniform(0.2, 0.7))
    if noise.dc_line:
        at = int(rng.integers(0, max(1, rows // 12)))
        grey[at : at + int(rng.integers(1, 4))] += float(rng.uniform(0.1, 0.6))
    ramp = np.linspace(-0.5, 0.5, cols, dtype=np.float32)[None] * noise.empty_tilt * rows
    if noise.empty_top:
        grey = np.where(centre < noise.empty_top * rows + ramp, float(rng.uniform(0.0, 0.05)), grey)
    if noise.pad_bottom:
        grey = np.where(centre > rows * (1.0 - noise.pad_bottom) + ramp, noise.pad_value / 255.0, grey)
    return np.clip(np.rint(grey * 255.0), 0, 255).astype(np.uint8)


def settled(bruch: Float, above: Float, depth_um: float, noise: Noise) -> Float:
    """Bruch's membrane moved in depth, and flattened where it must be, so that the retina lies in the frame.

    Args:
        bruch: depth in um [cols].
        above: how far the retina reaches above it, in um [cols].
        depth_um: depth of the frame.
    """
    deepest, highest = float(bruch.max()), float((bruch - above).min())
    if deepest - highest > depth_um - 100.0:  # too tilted for the frame: flatten it
        middle = float(bruch.mean())
        bruch = middle + (bruch - middle) * 0.3
        highest = float((bruch - above).min())
    top = max(40.0, (noise.empty_top + abs(noise.empty_tilt) / 2) * depth_um + 20.0)
    bottom = depth_um * (1.0 - noise.pad_bottom - abs(noise.empty_tilt) / 2) - 40.0
    bruch = bruch + max(0.0, top - highest)
    return bruch - max(0.0, float(bruch.max()) - bottom)


def volume(
    bscans: int,
    rows: int,
    cols: int,
    axial_um: float = 3.5,
    lateral_um: float = 11.7,
    slice_um: float = 120.0,
    laterality: Laterality = "R",
    seed: int = 0,
    fluid: bool = True,
    fovea: tuple[float, float] = (0.0, 0.0),
    noise: Noise | None = None,
) -> OctPhantom:
    """Draw a macular volume.

    fovea: offset in mm of the foveal centre from the middle of the scan, (x along columns, y along B-scans).
    noise: how it is imaged; None draws it from the seed (`Noise.random`). The retina is kept inside the frame.
    Raises ValueError for a frame too shallow to hold a retina (rows * axial_um < 900 um).
    """
    if rows * axial_um < 900.0:
        raise ValueError(f"a frame of {rows} rows at {axial_um} um is too shallow for a retina: 900 um are needed")
    rng = np.random.default_rng(seed)
    noise = noise or Noise.random(rng)
    scene = draw_scene(rng, cols * lateral_um / 1000.0, rows * axial_um, noise, fluid)
    nasal = 1 if laterality == "R" else -1
    x = (((np.arange(cols) + 0.5 - cols / 2) * lateral_um) / 1000.0 - fovea[0]).astype(np.float32)
    height_mm = bscans * slice_um / 1000.0
    frames = np.zeros((bscans, rows, cols), np.uint8)
    inside = np.zeros((bscans, rows, cols), np.bool_)
    ilm = np.zeros((bscans, cols), np.float32)
    rpe = np.zeros((bscans, cols), np.float32)
    ripple = smooth_field(rng, bscans, cols, 8.0, cols / 9) * float(rng.uniform(0.0, 8.0))
    scallop = smooth_field(rng, bscans, cols, 2.0, 12.0) * float(rng.uniform(0.0, 4.0))
    centre = np.arange(rows, dtype=np.float32)[:, None] + 0.5

    for b in range(bscans):
        y = float((b + 0.5) * slice_um / 1000.0 - height_mm / 2 - fovea[1])
        t = thicknesses(x, y, nasal, scene.scale)
        for vx, width, slope in zip(scene.vessel_x, scene.vessel_width, scene.vessel_slope, strict=True):
            t[INDEX["RNFL"]] += 260.0 * width * np.exp(-(((x - vx - slope * y) / (0.6 * width)) ** 2))
        t[INDEX["RNFL"]] = np.maximum(1.0, t[INDEX["RNFL"]] + scallop[b])
        for blob in scene.blobs:
            if blob.kind == "SRF":
                t[INDEX["SRF"]] = np.maximum(t[INDEX["SRF"]], blob.height * blob.section(x, y) ** 2)
            else:
                t[INDEX[blob.kind]] += blob.height * blob.bulge(x, y)
        lift = np.zeros(cols, np.float32)
        for dx, dy, radius, high in scene.drusen:
            lift += high * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / radius**2)
        t[INDEX["RPE"]] += lift  # Bruch's membrane stays, the RPE and its deposit rise

        # Bruch's membrane on a tilted, curved globe; motion moves whole B-scans.
        xc = x + fovea[0]
        bruch = scene.depth - scene.curve * xc**2 + 1000.0 * (scene.tilt * xc + scene.tilt_slow * y) + ripple[b]
        bruch = bruch + float(rng.normal(0.0, noise.motion_um))
        outer = np.concatenate([np.zeros((1, cols), np.float32), np.cumsum(t[::-1], axis=0)])[::-1]
        bruch = settled(bruch, outer[0], rows * axial_um, noise)
        surfaces = ((bruch[None] - outer) / axial_um).astype(np.float32)
        ilm[b], rpe[b] = surfaces[0], surfaces[-1]

        s = INDEX["SRF"]
        fluid_here = (centre >= surfaces[s][None]) & (centre < surfaces[s + 1][None])
        fluid_here &= ((surfaces[s + 1] - surfaces[s]) * axial_um > 6.0)[None]
        for blob in scene.blobs:
            if blob.kind == "SRF":
                continue
            k = INDEX[blob.kind]
            mid = 0.5 * (surfaces[k] + surfaces[k + 1])
            half = 0.5 * blob.height * blob.section(x, y) / axial_um
            fluid_here |= np.abs(centre - mid[None]) < half[None]
        fluid_here &= (centre > (surfaces[0] + 12.0 / axial_um)[None]) & (centre < surfaces[INDEX["RPE"]][None])
        inside[b] = fluid_here
        frames[b] = _render(rng, surfaces, scene, noise, fluid_here, x, y, axial_um)

    at = (bscans / 2 + fovea[1] * 1000.0 / slice_um - 0.5, cols / 2 + fovea[0] * 1000.0 / lateral_um - 0.5)
    return OctPhantom(frames, ilm, rpe, inside, axial_um, lateral_um, slice_um, laterality, at)


def varied(seed: int) -> OctPhantom:
    """One B-scan of a random device, size, position and eye: what the model is trained and measured on."""
    rng = np.random.default_rng([7, seed])
    axial = float(rng.uniform(2.0, 4.2))
    depth = float(rng.uniform(1500.0, 2700.0))
    rows = int(np.clip(depth / axial, 420, 1000))
    cols = int(rng.choice([256, 320, 384, 512, 512, 640]))
    width = float(rng.uniform(3.0, 9.0))
    fluid = bool(rng.random() < 0.7)
    spread = (0.9, 0.45) if fluid else (1.2, 1.2)  # mm; fluid lies near the fovea, so cut there
    return volume(
        1,
        rows,
        cols,
        axial,
        width * 1000.0 / cols,
        100.0,
        laterality="R" if rng.random() < 0.5 else "L",
        seed=int(rng.integers(2**31)),
        fluid=fluid,
        fovea=(float(rng.normal(0.0, spread[0])), float(rng.normal(0.0, spread[1]))),
    )
