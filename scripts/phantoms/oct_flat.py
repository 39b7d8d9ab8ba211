"""A flat retina in an exact frame: for tests of arithmetic.

Every layer has the same thickness everywhere, and bodies of fluid are exact ellipsoids, so thicknesses and volumes are
known on paper. Grey levels are constant per class, with a little grain: this is no picture of an eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from phantoms.oct import Laterality
from phantoms.oct_layers import CLASS, SURFACES, LayerPhantom, class_map

# Shares of the thickness from the internal limiting membrane to Bruch's membrane.
SHARES: Final[Mapping[str, float]] = {"rnfl": 0.12, "gcl-ipl": 0.28, "outer-retina": 0.52, "rpe": 0.08}
GREY: Final[Mapping[str, int]] = {
    "vitreous": 12, "rnfl": 190, "gcl-ipl": 130, "outer-retina": 85, "rpe": 230, "drusen": 150, "choroid": 110,
    "irf": 18, "srf": 16, "ped": 20,
}  # fmt: skip


@dataclass(frozen=True)
class Ellipsoid:
    """A body of one class: centre x, y in mm from the middle of the scan, depth in um below the ILM; radii likewise."""

    kind: Literal["irf", "srf", "ped", "drusen"]
    x: float
    y: float
    depth: float
    rx: float
    ry: float
    rz: float

    @property
    def volume_nl(self) -> float:
        return 4.0 / 3.0 * np.pi * self.rx * self.ry * self.rz  # mm mm um = nL


def flat(
    bscans: int = 25,
    rows: int = 256,
    cols: int = 128,
    *,
    thickness_um: float = 250.0,
    ilm_um: float = 200.0,
    axial_um: float = 4.0,
    lateral_um: float = 50.0,
    slice_um: float = 250.0,
    laterality: Laterality = "R",
    shares: Mapping[str, float] = SHARES,
    bodies: Sequence[Ellipsoid] = (),
    seed: int = 0,
) -> LayerPhantom:
    """A slab of retina.

    Args:
        thickness_um: from the ILM to Bruch's membrane.
        ilm_um: depth of the ILM below the top of the frame.
        shares: of rnfl, gcl-ipl, outer-retina and rpe; they sum to 1. A share of 0 leaves the layer out.
        bodies: laid over the layers, whatever these are; the last one wins.

    Raises ValueError where the shares do not sum to 1 or the slab leaves the frame.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-9 or set(shares) != set(SHARES):
        raise ValueError(f"the shares must be those of {sorted(SHARES)} and sum to 1, not {dict(shares)}")
    if ilm_um < 0.0 or ilm_um + thickness_um > rows * axial_um:
        raise ValueError(f"a slab from {ilm_um} to {ilm_um + thickness_um} um leaves a frame of {rows * axial_um} um")
    below = np.cumsum([0.0, *(shares[name] for name in SHARES)])
    at = dict(zip(SURFACES, [*below, below[-1]], strict=True))  # nothing lies between the RPE and Bruch's membrane
    surfaces = {
        name: np.full((bscans, cols), (ilm_um + thickness_um * share) / axial_um, np.float32)
        for name, share in at.items()
    }
    none, nowhere = np.zeros((rows, cols), np.bool_), np.zeros(cols, np.bool_)
    one = class_map({name: s[0] for name, s in surfaces.items()}, rows, nowhere, none, none)
    labels = np.repeat(one[None], bscans, axis=0)
    z = ((np.arange(rows) + 0.5) * axial_um - ilm_um)[None, :, None]
    x = ((np.arange(cols) + 0.5 - cols / 2) * lateral_um / 1000.0)[None, None, :]
    y = ((np.arange(bscans) + 0.5 - bscans / 2) * slice_um / 1000.0)[:, None, None]
    for body in bodies:
        q = ((x - body.x) / body.rx) ** 2 + ((y - body.y) / body.ry) ** 2 + ((z - body.depth) / body.rz) ** 2
        labels[q < 1.0] = CLASS[body.kind]
    grey = np.array([GREY[name] for name in CLASS], np.float32)[labels]
    grain = np.random.default_rng(seed).normal(1.0, 0.06, grey.shape)
    return LayerPhantom(
        frames=np.clip(np.rint(grey * grain), 0, 255).astype(np.uint8),
        labels=labels,
        surfaces=surfaces,
        atrophy=np.full((bscans, cols), shares["rpe"] == 0.0),
        axial_um=axial_um,
        lateral_um=lateral_um,
        slice_um=slice_um,
        laterality=laterality,
        fovea_px=((bscans - 1) / 2, (cols - 1) / 2),
    )
