"""Thickness of the retinal nerve fibre layer (RNFL) around the optic disc, from a circle scan or a volume of the disc.

Of a circle scan the thickness stands in its columns, and its header says at which angle each of them lies. In a volume
the circle of 3.46 mm is laid about the centre of the disc, where the pigment epithelium ends, and the thickness map is
sampled along it. RNFL is from the internal limiting membrane to the outer surface of the RNFL.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from airouter.domain.finding import Ungradable
from airouter.domain.study import Laterality
from airouter.imaging import circle_scan, rnfl_sectors
from airouter.imaging.disc import Disc
from airouter.imaging.etdrs import Side
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy
from airouter.pipelines import macula
from airouter.pipelines.retina_surfaces import Retina

# The circle that devices scan (Schuman JS et al. Reproducibility of nerve fiber layer thickness measurements using
# optical coherence tomography. Ophthalmology 1996;103:1889-1898: 3.4 mm).
DIAMETER_MM: Final = 3.46
CIRCLE: Final = "circle scan"
CUBE: Final = "volume of the disc"

_SAMPLES: Final = 720
_OF_A_DISC_SCAN_MM: Final = 1.5
_NO_BEGINNING: Final = "the header does not say where the circle begins"
_STEPS: Final = {Side.UP: (-1.0, 0.0), Side.DOWN: (1.0, 0.0), Side.LEFT: (0.0, -1.0), Side.RIGHT: (0.0, 1.0)}


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Thickness around the disc.

    `thickness`: float64 [n] in um, NaN where not trusted. `angle`: TSNIT degrees of each sample, None where unknown.
    `sided`: whether 0 is temporal and 180 nasal; without laterality it may be the other way round. `unknown`: why no
    angle, or no side, is known. `diameter_mm`: of the circle. `disc`: where a volume shows it.
    """

    kind: str
    thickness: NDArray[np.float64]
    angle: NDArray[np.float64] | None
    sided: bool
    unknown: str
    diameter_mm: float
    disc: Disc | None = None

    @property
    def covered(self) -> float:
        """Share of the samples with a thickness."""
        return float(np.isfinite(self.thickness).mean())

    def average(self, coverage: float) -> float | None:
        """Mean around the whole circle in um, None where less than `coverage` of it is known."""
        known = np.isfinite(self.thickness)
        return float(self.thickness[known].mean()) if known.any() and known.mean() >= coverage else None

    def sector(self, span: tuple[float, float], coverage: float) -> float | None:
        """Mean of a sector in um, None where it, or its place, is not known."""
        return None if self.angle is None else rnfl_sectors.mean(self.thickness, self.angle, span, coverage)


def profile(volume: OctVolume, retina: Retina) -> Profile | Ungradable | None:
    """The profile of a circle scan or of a volume of the disc; None where the scan is neither."""
    if volume.scan_pattern == "CIRCLE":
        return _circle(volume, retina)
    disc = macula.optic_disc(volume, retina)
    if disc is None or disc.away_mm > _OF_A_DISC_SCAN_MM:
        return None
    return _cube(volume, retina, disc)


def thickness_um(volume: OctVolume, retina: Retina) -> NDArray[np.float64]:
    """RNFL thickness [B-scans, columns] in um, NaN where not trusted."""
    return (retina.rnfl - retina.ilm) * volume.axial_um


def _circle(volume: OctVolume, retina: Retina) -> Profile | Ungradable:
    known = circle_scan.paths(volume.header)
    circles = [circle_scan.circle(path) if path is not None else None for path in known]
    if len(volume) > 1:
        first = circles[0] if circles else None
        if first is None or any(c is None or not _same(first, c) for c in circles):
            return Ungradable("not analysed because its circles are not known to be the same one")
    thickness = thickness_um(volume, retina)
    counted = np.isfinite(thickness).sum(axis=0)
    total = np.where(np.isfinite(thickness), thickness, 0.0).sum(axis=0)
    mean = np.divide(total, counted, out=np.full(volume.columns, np.nan), where=counted > 0)
    angle, sided, unknown = _angles(circles[0] if circles else None, volume)
    diameter = volume.columns * volume.lateral_um / 1000.0 / np.pi
    return Profile(CIRCLE, mean, angle, sided, unknown, float(diameter))


def _same(one: circle_scan.Circle, other: circle_scan.Circle) -> bool:
    apart = float(np.hypot(one.centre[0] - other.centre[0], one.centre[1] - other.centre[1]))
    turned = np.abs((one.angle - other.angle + 180.0) % 360.0 - 180.0) if len(one.angle) == len(other.angle) else 180.0
    return bool(max(apart, abs(one.radius - other.radius)) <= 0.05 * one.radius and np.max(turned) <= 5.0)


def _angles(circle: circle_scan.Circle | None, volume: OctVolume) -> tuple[NDArray[np.float64] | None, bool, str]:
    if circle is None or len(circle.angle) != volume.columns:
        return None, False, _NO_BEGINNING
    if volume.laterality in (Laterality.R, Laterality.L):
        return rnfl_sectors.tsnit(circle.angle, volume.laterality), True, ""
    return circle.angle, False, _no_side(volume)


def _no_side(volume: OctVolume) -> str:
    return "the laterality is missing" if volume.laterality is None else "the laterality says both eyes"


def _cube(volume: OctVolume, retina: Retina, disc: Disc) -> Profile:
    spacing = macula.spacing_mm(volume)
    if spacing is None:
        raise ValueError("a disc was found on a scan that makes no map")  # macula.optic_disc finds none
    sides, missing = anatomy(volume)
    named = {name: np.array(_STEPS[side]) for side, name in sides.items()}
    superior = named.get("superior", np.array(_STEPS[Side.UP]))
    temporal = named.get("temporal")
    # Where the temporal side is unknown one of the two is taken: superior and inferior sectors are the same for both.
    across = temporal if temporal is not None else superior[::-1]
    angle = (np.arange(_SAMPLES) + 0.5) * 360.0 / _SAMPLES
    turn = np.radians(angle)[:, None]
    at = np.array(disc.centre) + (np.cos(turn) * across + np.sin(turn) * superior) * (DIAMETER_MM / 2) / np.array(
        spacing
    )
    thickness = _sampled(np.where(disc.mask, np.nan, thickness_um(volume, retina)), at)
    if "superior" not in named:
        return Profile(CUBE, thickness, None, False, missing["superior"], DIAMETER_MM, disc)
    return Profile(CUBE, thickness, angle, temporal is not None, missing.get("temporal", ""), DIAMETER_MM, disc)


def _sampled(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map at points (row, column) [n, 2], linearly; NaN beyond its outermost cells and where half of it is NaN."""
    known = np.isfinite(values)
    weight = ndimage.map_coordinates(known.astype(np.float64), at.T, order=1, mode="nearest")
    total = ndimage.map_coordinates(np.where(known, values, 0.0), at.T, order=1, mode="nearest")
    size = np.array(values.shape) - 0.5
    scanned = ((at >= -0.5) & (at <= size)).all(axis=1) & (weight >= 0.5)
    return np.asarray(np.divide(total, weight, out=np.full(len(at), np.nan), where=scanned), np.float64)
