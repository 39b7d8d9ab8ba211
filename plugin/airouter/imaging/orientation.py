"""Which way a raster of B-scans lies in the eye: what is superior, nasal, inferior and temporal on its map.

From Image Position and Image Orientation (Patient) alone (PS3.3 C.7.6.2.1.1: x towards the patient's left, z towards
the head), with the laterality; nothing is assumed of how a device usually scans.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.study import Laterality
from airouter.imaging.etdrs import Side
from airouter.imaging.header import first_item
from airouter.imaging.oct import OctVolume

_ALONG: Final = np.cos(np.radians(25.0))  # a direction further off an axis is neither the one nor the other field
_SKEW: Final = 0.1  # most that B-scans may be shifted along themselves, as a part of their distance


def raster_problem(volume: OctVolume) -> str | None:
    """Why the B-scans are not an even raster that a map can be made of, None where they are.

    Distances may come without positions; then the frames are taken to be in the order of the scan.
    """
    if volume.scan_pattern in ("CIRCLE", "CURVE"):
        return f"the scan is a {volume.scan_pattern.lower()}"
    if len(volume) == 1:
        return "one B-scan does not cover the central subfield"
    if volume.scan_pattern == "RADIAL":
        return "the B-scans are not parallel"
    if volume.slice_um is None:
        return "the distance of the B-scans is missing or uneven"
    across, along = _across(volume), _along(volume)
    if across is not None:
        length = float(np.linalg.norm(across))
        if abs(length * 1000.0 / ((len(volume) - 1) * volume.slice_um) - 1.0) > _SKEW:
            return "the B-scans are not in one row"
        if along is not None and abs(float(across @ along)) > _SKEW * length:
            return "the B-scans are shifted along themselves"
    return None


def anatomy(volume: OctVolume) -> tuple[Mapping[Side, str], Mapping[str, str]]:
    """Directions of the map (rows B-scans, columns A-scans) in the eye.

    Returns:
        What each side of the map is: superior, inferior, nasal or temporal; and why which of these are unknown, by
        their name. Together they name all four.
    """
    found: dict[Side, str] = {}
    across, along = _across(volume), _along(volume)
    for vector, ahead, behind in ((across, Side.DOWN, Side.UP), (along, Side.RIGHT, Side.LEFT)):
        if vector is None:
            continue
        x, _, z = vector / np.linalg.norm(vector)
        if abs(z) >= _ALONG:
            names = ("superior", "inferior") if z > 0 else ("inferior", "superior")
        elif abs(x) >= _ALONG and volume.laterality in (Laterality.R, Laterality.L):
            # the nose lies to the left of the right eye and to the right of the left eye
            names = ("nasal", "temporal") if (x > 0) == (volume.laterality is Laterality.R) else ("temporal", "nasal")
        else:
            continue
        found[ahead], found[behind] = names
    unknown: dict[str, str] = {}
    pairs: tuple[tuple[str, str], ...] = (("superior", "inferior"), ("nasal", "temporal"))
    for pair in pairs:
        if pair[0] in found.values():
            continue
        if pair[0] == "nasal" and volume.laterality not in (Laterality.R, Laterality.L):
            why = "the laterality is missing" if volume.laterality is None else "the laterality says both eyes"
        elif across is None:
            why = "the positions of the B-scans are missing"
        elif along is None:
            why = "the orientation of the B-scans is missing"
        else:
            why = "the scan is oblique"
        unknown.update(dict.fromkeys(pair, why))
    return found, unknown


def _across(volume: OctVolume) -> NDArray[np.float64] | None:
    """From the first to the last B-scan in mm, None without positions."""
    if len(volume.positions) < 2:
        return None
    vector = np.subtract(volume.positions[-1], volume.positions[0]).astype(np.float64)
    return vector if np.linalg.norm(vector) > 0 else None


def _along(volume: OctVolume) -> NDArray[np.float64] | None:
    """Unit vector along the columns of the B-scans, None where the header does not say it for all of them."""
    shared = first_item(volume.header, "SharedFunctionalGroupsSequence", "PlaneOrientationSequence")
    if shared is None:
        groups = volume.header.get("PerFrameFunctionalGroupsSequence") or []
        shared = first_item(groups[0], "PlaneOrientationSequence") if groups else None
    values = shared.get("ImageOrientationPatient") if shared is not None else None
    if not values or len(values) != 6:
        return None
    vector = np.array([float(v) for v in values[:3]])
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else None
