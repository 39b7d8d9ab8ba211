"""Phantom OCT volumes of the macula with the truth of every layer, and with each kind of fluid and deposit.

The anatomy and the imaging are those of `phantoms.oct`. Added are what lies between the pigment epithelium (RPE) and
Bruch's membrane (BM), drusen and detachments of the RPE, and geographic atrophy. The truth is a label image with the
classes of the model `retina-layers` and the surfaces that bound them.

A pixel belongs to the class in which its centre lies. Surfaces are rows from the top edge of the frame, as in
`phantoms.oct`. Bodies are given in mm from the fovea, x along the columns, y along the B-scans (down = inferior).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from phantoms import oct as plain
from phantoms.oct import INDEX, Blob, Float, Laterality, Noise

Bools = NDArray[np.bool_]
Labels = NDArray[np.uint8]

# In the order of the model `retina-layers`.
CLASSES: Final = (
    "vitreous", "rnfl", "gcl-ipl", "outer-retina", "rpe", "drusen", "choroid", "irf", "srf", "ped",
)  # fmt: skip
CLASS: Final = {name: i for i, name in enumerate(CLASSES)}
# From inside out: internal limiting membrane, outer surface of RNFL and of IPL, inner and outer surface of the RPE, BM.
SURFACES: Final = ("ilm", "rnfl", "ipl", "rpe", "rpe-outer", "bm")
_BELOW: Final = ("rnfl", "gcl-ipl", "outer-retina", "rpe", "drusen", "choroid")  # class below each of them
# Where they stand among the 13 surfaces of `phantoms.oct`, but for Bruch's membrane.
_AT: Final = (0, INDEX["GCL"], INDEX["INL"], INDEX["RPE"], INDEX["RPE"] + 1)


@dataclass(frozen=True)
class LayerPhantom:
    """A volume and its truth.

    frames: uint8 [B, rows, cols]. labels: uint8 [B, rows, cols], index into CLASSES. surfaces: by the names of
    SURFACES, float32 [B, cols], rows from the top edge; NaN where there is none (inside the optic disc). atrophy: bool
    [B, cols], where the RPE is missing. Spacings in um. fovea_px: (B-scan, column) of the foveal centre, None where
    the scan is not of the macula.
    """

    frames: Labels
    labels: Labels
    surfaces: Mapping[str, Float]
    atrophy: Bools
    axial_um: float
    lateral_um: float
    slice_um: float
    laterality: Laterality
    fovea_px: tuple[float, float] | None = None

    def thickness_um(self, upper: str, lower: str) -> Float:
        """Axial distance of two surfaces [B, cols] in um."""
        return ((self.surfaces[lower] - self.surfaces[upper]) * self.axial_um).astype(np.float32)

    def volume_nl(self, name: str) -> float:
        """Volume of a class in nanolitres (1 nL = 1e6 um3), of the voxels that have its label."""
        voxel = self.axial_um * self.lateral_um * self.slice_um * 1e-6
        return float((self.labels == CLASS[name]).sum()) * voxel

    @property
    def atrophy_mm2(self) -> float:
        """Area without RPE, seen from in front, in mm2."""
        return float(self.atrophy.sum()) * self.lateral_um * self.slice_um * 1e-6

    def one_hot(self, bscan: int) -> Float:
        """What a perfect model answers for one B-scan: float32 [10, rows, cols]."""
        return (self.labels[bscan][None] == np.arange(len(CLASSES))[:, None, None]).astype(np.float32)


@dataclass(frozen=True)
class Dome:
    """A body on Bruch's membrane: a paraboloid of this radius (mm) and height (um); volume pi r2 h / 2."""

    x: float
    y: float
    radius: float
    height: float

    def at(self, x: Float, y: float) -> Float:
        """Height in um [cols] along the cut at y."""
        gone = ((x - self.x) ** 2 + (y - self.y) ** 2) / self.radius**2
        return (self.height * np.maximum(0.0, 1.0 - gone)).astype(np.float32)

    @property
    def volume_nl(self) -> float:
        return float(np.pi * self.radius**2 * self.height / 2.0)  # mm2 um = nL


@dataclass(frozen=True)
class Patch:
    """A round area of geographic atrophy: centre and radius in mm."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Disease:
    """What is wrong with an eye: nothing as it stands.

    fluid: cysts (kind INL or ONL) and subretinal domes (kind SRF) of `phantoms.oct`. drusen: solid domes, ped: domes
    filled with fluid, both between RPE and BM. atrophy: where RPE and outer bands are missing.
    """

    fluid: tuple[Blob, ...] = ()
    drusen: tuple[Dome, ...] = ()
    ped: tuple[Dome, ...] = ()
    atrophy: tuple[Patch, ...] = ()

    @staticmethod
    def random(
        rng: np.random.Generator,
        *,
        irf: int = 0,
        srf: int = 0,
        ped: int = 0,
        drusen: int = 0,
        atrophy: int = 0,
        around: tuple[float, float] = (0.0, 0.0),
        spread: tuple[float, float] = (0.8, 0.8),
    ) -> Disease:
        """So many bodies of each kind, of random size, near a point; spread: standard deviation in mm along x and y."""

        def place(wide: float = 1.0) -> tuple[float, float]:
            x, y = (float(c + rng.normal(0.0, wide * s)) for c, s in zip(around, spread, strict=True))
            return x, y

        def cyst() -> Blob:
            rx = float(rng.uniform(0.06, 0.35))
            kind: Literal["INL", "ONL"] = "ONL" if rng.random() < 0.6 else "INL"
            height = float(min(rng.uniform(25.0, 150.0), 550.0 * rx))
            return Blob(kind, *place(), rx, rx * float(rng.uniform(0.7, 1.5)), height)

        def blister() -> Blob:
            rx = float(rng.uniform(0.3, 1.4))
            return Blob("SRF", *place(0.6), rx, rx, float(rng.uniform(40.0, 220.0)))

        return Disease(
            fluid=tuple(cyst() for _ in range(irf)) + tuple(blister() for _ in range(srf)),
            drusen=tuple(
                Dome(*place(1.3), float(rng.uniform(0.04, 0.3)), float(rng.uniform(20.0, 120.0))) for _ in range(drusen)
            ),
            ped=tuple(
                Dome(*place(0.6), float(rng.uniform(0.35, 1.3)), float(rng.uniform(100.0, 400.0))) for _ in range(ped)
            ),
            atrophy=tuple(Patch(*place(), float(rng.uniform(0.25, 1.4))) for _ in range(atrophy)),
        )

    def under_rpe(self, x: Float, y: float) -> tuple[Float, Float]:
        """Heights in um [cols] of solid and of fluid between RPE and BM; where both would be, the higher one is."""
        none = np.zeros_like(x)
        solid = np.max([none, *(d.at(x, y) for d in self.drusen)], axis=0)
        wet = np.max([none, *(d.at(x, y) for d in self.ped)], axis=0)
        return np.where(solid > wet, solid, 0.0).astype(np.float32), np.where(wet >= solid, wet, 0.0).astype(np.float32)

    def atrophic(self, x: Float, y: float) -> Float:
        """How far a column lies within an area of atrophy, in mm [cols]; negative outside, -9 where there is none."""
        depth = [patch.radius - np.hypot(x - patch.x, y - patch.y) for patch in self.atrophy]
        return np.max([np.full_like(x, -9.0), *depth], axis=0).astype(np.float32)


def class_map(surfaces: Mapping[str, Float], rows: int, ped: Bools, irf: Bools, srf: Bools) -> Labels:
    """Labels [rows, cols] of one B-scan.

    Args:
        surfaces: rows from the top edge [cols], all of SURFACES, in order; none of them NaN.
        ped: columns [cols] in which fluid, not drusen, lies between RPE and BM.
        irf, srf: masks [rows, cols]; they take no more than the retina above the RPE.
    """
    centre = np.arange(rows, dtype=np.float32)[:, None] + 0.5
    out = np.zeros((rows, len(ped)), np.uint8)
    for name, below in zip(SURFACES, _BELOW, strict=True):
        index = np.where(ped, CLASS["ped"], CLASS["drusen"]) if below == "drusen" else CLASS[below]
        out = np.where(centre >= surfaces[name][None], index, out).astype(np.uint8)
    retina = (out >= CLASS["rnfl"]) & (out <= CLASS["outer-retina"])
    out[irf & retina] = CLASS["irf"]
    out[srf & retina] = CLASS["srf"]
    return out


def macula(
    bscans: int,
    rows: int,
    cols: int,
    axial_um: float = 3.5,
    lateral_um: float = 11.7,
    slice_um: float = 120.0,
    laterality: Laterality = "R",
    seed: int = 0,
    disease: Disease = Disease(),
    fovea: tuple[float, float] = (0.0, 0.0),
    noise: Noise | None = None,
) -> LayerPhantom:
    """Draw a macular volume; arguments as for `phantoms.oct.volume` (`noise.drusen` is ignored).

    Raises ValueError for a frame too shallow to hold this retina.
    """
    rng = np.random.default_rng([11, seed])
    noise = replace(noise or Noise.random(rng), drusen=0)
    scene = plain.draw_scene(rng, cols * lateral_um / 1000.0, rows * axial_um, noise, fluid=False)
    nasal = 1 if laterality == "R" else -1
    x = (((np.arange(cols) + 0.5 - cols / 2) * lateral_um) / 1000.0 - fovea[0]).astype(np.float32)
    ys = (np.arange(bscans) + 0.5 - bscans / 2) * slice_um / 1000.0 - fovea[1]
    ripple = plain.smooth_field(rng, bscans, cols, 8.0, cols / 9) * float(rng.uniform(0.0, 8.0))
    scallop = plain.smooth_field(rng, bscans, cols, 2.0, 12.0) * float(rng.uniform(0.0, 4.0))
    look = Look.random(rng)
    frames, labels = (np.zeros((bscans, rows, cols), np.uint8) for _ in range(2))
    found = {name: np.zeros((bscans, cols), np.float32) for name in SURFACES}
    atrophy = np.zeros((bscans, cols), np.bool_)

    for b, y in enumerate(float(v) for v in ys):
        t = plain.thicknesses(x, y, nasal, scene.scale)
        for vx, width, slope in zip(scene.vessel_x, scene.vessel_width, scene.vessel_slope, strict=True):
            t[0] += 260.0 * width * np.exp(-(((x - vx - slope * y) / (0.6 * width)) ** 2))
        t[0] = np.maximum(1.0, t[0] + scallop[b])
        for blob in disease.fluid:
            i = INDEX[blob.kind]
            high = blob.height * (blob.section(x, y) ** 2 if blob.kind == "SRF" else blob.bulge(x, y))
            t[i] = np.maximum(t[i], high) if blob.kind == "SRF" else t[i] + high
        depth = disease.atrophic(x, y)
        atrophy[b] = depth > 0.0
        fade = np.clip((depth + 0.25) / 0.4, 0.0, 1.0)  # the outer bands go before the RPE does
        t[INDEX["ONL"]] *= 1.0 - 0.5 * fade
        for band in ("ELM", "IS", "EZ", "OS"):
            t[INDEX[band]] *= 1.0 - fade
        # The inner layers sink slowly where the RPE ends at once.
        t[INDEX["ONL"]] += t[INDEX["RPE"]] * atrophy[b] * np.clip(1.0 - depth / 0.3, 0.0, 1.0)
        t[INDEX["RPE"]] *= ~atrophy[b]
        solid, wet = disease.under_rpe(x, y)

        outer = np.concatenate([np.zeros((1, cols), np.float32), np.cumsum(t[::-1], axis=0)])[::-1] + solid + wet
        if float(outer[0].max()) > rows * axial_um - 140.0:
            raise ValueError(f"a frame of {rows} rows at {axial_um} um is too shallow for a retina this thick")
        xc = x + fovea[0]
        bruch = scene.depth - scene.curve * xc**2 + 1000.0 * (scene.tilt * xc + scene.tilt_slow * y) + ripple[b]
        bruch = plain.settled(bruch + float(rng.normal(0.0, noise.motion_um)), outer[0], rows * axial_um, noise)
        every = ((bruch[None] - outer) / axial_um).astype(np.float32)  # the 13 of phantoms.oct, without BM
        here = {name: every[i] for name, i in zip(SURFACES, _AT, strict=False)}
        here["bm"] = (bruch / axial_um).astype(np.float32)
        for name in SURFACES:
            found[name][b] = here[name]
        irf, srf = _fluid(disease, every, rows, axial_um, x, y)
        labels[b] = class_map(here, rows, (wet > 0.0), irf, srf)
        frames[b] = look.bscan(rng, every, here["bm"], labels[b], fade, scene, noise, x, y, axial_um)

    at = (bscans / 2 + fovea[1] * 1000.0 / slice_um - 0.5, cols / 2 + fovea[0] * 1000.0 / lateral_um - 0.5)
    return LayerPhantom(frames, labels, found, atrophy, axial_um, lateral_um, slice_um, laterality, at)


@dataclass(frozen=True)
class Look:
    """How bright the new things are, in dB over the noise floor (light: over what the choroid has)."""

    drusen: float = 15.0
    ped: float = -3.0
    membrane: float = 16.0
    light: float = 7.0

    @staticmethod
    def random(rng: np.random.Generator) -> Look:
        wet = float(rng.uniform(-6.0, 1.0)) if rng.random() < 0.8 else float(rng.uniform(1.0, 6.0))
        low, high = (10.0, 19.0), (12.0, 20.0)
        return Look(float(rng.uniform(*low)), wet, float(rng.uniform(*high)), float(rng.uniform(4.0, 11.0)))

    def bscan(
        self,
        rng: np.random.Generator,
        every: Float,
        bm: Float,
        labels: Labels,
        fade: Float,
        scene: plain.Scene,
        noise: Noise,
        x: Float,
        y: float,
        axial_um: float,
    ) -> Labels:
        """One B-scan as uint8. every: the 13 surfaces down to the outer surface of the RPE; fade: 0..1 of atrophy."""
        centre = np.arange(len(labels), dtype=np.float32)[:, None] + 0.5
        fluid = (labels == CLASS["irf"]) | (labels == CLASS["srf"])
        db = plain.tissue_db(rng, np.concatenate([every[:-1], bm[None]]), scene, noise, fluid, x, y, axial_um)
        rpe_db = float(scene.layer_db[INDEX["RPE"]])
        for name, level in (("drusen", self.drusen), ("ped", self.ped)):  # drawn as RPE until here
            db = db + (level - rpe_db) * (labels == CLASS[name])
        line = (centre >= bm[None] - 5.0 / axial_um) & (centre < bm[None] + 2.0 / axial_um)
        db = np.where(line & (bm > every[-1] + 1.0)[None], np.maximum(db, self.membrane), db)
        db = db + self.light * fade[None] * (centre >= bm[None])
        return plain.imaged(rng, db.astype(np.float32), noise, axial_um)


def _fluid(disease: Disease, every: Float, rows: int, axial_um: float, x: Float, y: float) -> tuple[Bools, Bools]:
    """Masks of intraretinal and of subretinal fluid [rows, cols]; subretinal fluid is drawn from 6 um on."""
    centre = np.arange(rows, dtype=np.float32)[:, None] + 0.5
    s = INDEX["SRF"]
    srf = (centre >= every[s][None]) & (centre < every[s + 1][None])
    srf &= ((every[s + 1] - every[s]) * axial_um > 6.0)[None]
    irf = np.zeros_like(srf)
    for blob in disease.fluid:
        if blob.kind != "SRF":
            k = INDEX[blob.kind]
            middle = 0.5 * (every[k] + every[k + 1])
            irf |= np.abs(centre - middle[None]) < (0.5 * blob.height * blob.section(x, y) / axial_um)[None]
    return irf & (centre > (every[0] + 12.0 / axial_um)[None]) & ~srf, srf


def varied(seed: int) -> LayerPhantom:
    """One B-scan of a random device, size, position and disease: what the model is trained and measured on."""
    rng = np.random.default_rng([13, seed])
    axial = float(rng.uniform(2.0, 4.2))
    rows = int(np.clip(float(rng.uniform(1700.0, 2700.0)) / axial, 420, 1000))
    cols = int(rng.choice([256, 320, 384, 512, 512, 640]))
    width = float(rng.uniform(3.0, 9.0))
    ill = bool(rng.random() < 0.85)
    fovea = tuple(float(v) for v in rng.normal(0.0, (0.9, 0.45) if ill else (1.2, 1.2)))

    def some(chance: float, least: int, most: int) -> int:
        return int(rng.integers(least, most + 1)) if ill and rng.random() < chance else 0

    disease = Disease.random(
        rng,
        irf=some(0.65, 2, 12),
        srf=some(0.4, 1, 2),
        ped=some(0.4, 1, 2),
        drusen=some(0.65, 2, 14),
        atrophy=some(0.4, 1, 3),
        around=(0.0, -fovea[1]),  # near the cut, or most of it would not be seen
        spread=(0.9, 0.2),
    )
    return macula(
        1,
        rows,
        cols,
        axial,
        width * 1000.0 / cols,
        100.0,
        laterality="R" if rng.random() < 0.5 else "L",
        seed=int(rng.integers(2**31)),
        disease=disease,
        fovea=fovea,  # type: ignore[arg-type]
    )
