"""What the pipelines on macular scans share: which scans they take, and where the centre of the macula is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Ungradable
from airouter.imaging import disc, fovea
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import raster_problem
from airouter.pipelines import retina_surfaces
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.retina_surfaces import IRF, Retina
from airouter.ports import Predictor, ProgressSink

CENTRE: Final = Parameter(
    "centre",
    "fovea",
    "1",
    "centre of the grid: the foveal pit where it is found, or the scan",
    choices=("fovea", "scan"),
)

_OF_A_DISC_SCAN_MM: Final = 1.5  # a disc nearer than this to the middle of the scan: the scan is one of the disc


@dataclass(frozen=True, slots=True)
class Centre:
    """(row, column) of the centre on a map [B-scans, columns], whether it is the fovea found, and a sentence on it."""

    at: tuple[float, float]
    found: bool
    comment: str


def read(volume: OctVolume, predict: Predictor, values: Values, progress: ProgressSink) -> Retina | Ungradable:
    """The layers of a scan of the macula; Ungradable where it is none, or as `retina_surfaces.read`."""
    if why := curved(volume):  # before the model runs
        return Ungradable(why)
    retina = retina_surfaces.read(volume, predict, values, progress)
    if isinstance(retina, Ungradable):
        return retina
    if why := refusal(volume, retina):
        return Ungradable(why)
    return retina


def refusal(volume: OctVolume, retina: Retina) -> str | None:
    """Why this is no scan of the macula, None where nothing speaks against it."""
    if why := curved(volume):
        return why
    seen = optic_disc(volume, retina)
    if seen is not None and seen.away_mm <= _OF_A_DISC_SCAN_MM:
        return "not analysed because the scan is centred on the optic disc, not on the macula"
    return None


def curved(volume: OctVolume) -> str | None:
    """Why a scan cannot be one of the macula by its header alone, None where it can."""
    if volume.scan_pattern in ("CIRCLE", "CURVE"):
        return f"not analysed because the scan is a {volume.scan_pattern.lower()}, not one of the macula"
    return None


def optic_disc(volume: OctVolume, retina: Retina) -> disc.Disc | None:
    """The optic disc where an even raster shows it."""
    if raster_problem(volume) is not None or volume.slice_um is None:
        return None
    return disc.find(retina.disc, volume.slice_um, volume.lateral_um)


def spacing_mm(volume: OctVolume) -> tuple[float, float] | None:
    """Spacing of a map [B-scans, columns] in mm, None where the scan makes no map."""
    if raster_problem(volume) is not None or volume.slice_um is None:
        return None
    return volume.slice_um / 1000.0, volume.lateral_um / 1000.0


def centre(volume: OctVolume, retina: Retina, values: Values) -> Centre:
    """The foveal pit where it is asked for and clear, else the middle of the scan."""
    middle = ((len(volume) - 1) / 2, (volume.columns - 1) / 2)
    if values.text("centre") == "scan":
        return Centre(middle, False, "The centre is that of the scan; fixation on the fovea is assumed.")
    if volume.slice_um is None or raster_problem(volume) is not None:
        return Centre(middle, False, "")
    at = fovea.find(_inner_um(volume, retina), volume.slice_um, volume.lateral_um)
    if isinstance(at, str):
        why = f"The centre is that of the scan, because {at}; fixation on the fovea is assumed."
        return Centre(middle, False, why)
    away = np.hypot((at[0] - middle[0]) * volume.slice_um, (at[1] - middle[1]) * volume.lateral_um)
    return Centre(at, True, f"The centre is the foveal pit, {away:.0f} um from the middle of the scan.")


def _inner_um(volume: OctVolume, retina: Retina) -> NDArray[np.float64]:
    """Thickness of the inner retina, NaN also where fluid touches its outer surface: a cyst there looks like a pit."""
    row = np.where(np.isfinite(retina.ipl), np.rint(retina.ipl), 0).astype(np.intp)
    touched = np.zeros(row.shape, np.bool_)
    for step in (-1, 0, 1):
        at = np.clip(row + step, 0, volume.rows - 1)
        touched |= np.take_along_axis(retina.labels, at[:, None], axis=1)[:, 0] == IRF
    return np.where(touched, np.nan, (retina.ipl - retina.ilm) * volume.axial_um)


def at_point(values: NDArray[np.float64], at: tuple[float, float]) -> float:
    """A map at a point between its cells, linearly; NaN where one of the cells about it is not known."""
    rows, columns = values.shape
    row, column = (float(np.clip(v, 0.0, n - 1.0)) for v, n in zip(at, (rows, columns), strict=True))
    r0, c0 = int(row), int(column)
    r1, c1 = min(r0 + 1, rows - 1), min(c0 + 1, columns - 1)
    y, x = row - r0, column - c0
    upper = values[r0, c0] if x == 0.0 else values[r0, c0] * (1 - x) + values[r0, c1] * x
    if y == 0.0:
        return float(upper)
    lower = values[r1, c0] if x == 0.0 else values[r1, c0] * (1 - x) + values[r1, c1] * x
    return float(upper * (1 - y) + lower * y)
