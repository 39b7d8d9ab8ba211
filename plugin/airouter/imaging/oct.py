"""An OCT volume: B-scans, their spacing and how they lie to each other."""

import itertools
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.study import Instance, Laterality
from airouter.errors import PixelDataError
from airouter.imaging import circle_scan
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.header import Frames, first_item, integer, laterality, number, pixel_spacing_um

Position = tuple[float, float, float]

# Pixel sizes of OCT devices; beyond them a converter wrote a default or the wrong unit.
_AXIAL_UM: Final = (0.5, 20.0)
_LATERAL_UM: Final = (1.0, 200.0)
_UNEVEN: Final = 0.05  # most the distance of neighbouring B-scans may differ from their median


@dataclass(frozen=True, slots=True, eq=False)
class OctVolume:
    """`frames` B-scans of `rows` x `columns`: rows go into the eye, axial_um apart, columns along the scan, lateral_um.

    `slice_um`: distance of neighbouring B-scans, None where it is unknown or uneven: then nothing can be measured
    across them. `positions`: Image Position (Patient) of each frame in mm, empty where the header has none.
    `scan_pattern`: SINGLE, RASTER (parallel), RADIAL (orientations differ), CIRCLE (about the optic disc), CURVE
    (another curve) or None where the header does not say.
    """

    instance_uid: str
    instance_id: str
    laterality: Laterality | None
    frames: int
    rows: int
    columns: int
    axial_um: float
    lateral_um: float
    slice_um: float | None
    positions: tuple[Position, ...] = field(repr=False)
    scan_pattern: str | None
    header: Dataset = field(repr=False)
    _format: FrameFormat = field(repr=False)
    _read: Frames = field(repr=False)

    def __len__(self) -> int:
        return self.frames

    def frame(self, number: int) -> NDArray[np.uint8]:
        """B-scan as uint8 [rows, columns], 1-based as in DICOM; read when asked.

        More than 8 bits are stretched as airouter.imaging.codecs.decode says. Raises PixelDataError where it cannot be
        decoded or does not exist.
        """
        if not 1 <= number <= self.frames:
            raise PixelDataError(f"there is no frame {number}: the volume has {self.frames}")
        (data,) = self._read(self.instance_id, [number])
        return decode(data, self._format)[:, :, 0]


def open_oct(instance: Instance, header: Dataset, frames: Frames) -> OctVolume | Ungradable:
    """Read what the header says; pixels are read later. Raises PixelDataError for unsupported pixels."""
    if integer(header.get("SamplesPerPixel")) != 1 or header.get("PhotometricInterpretation") == "RGB":
        return Ungradable("not analysed because the tomogram is not monochrome")
    spacing = pixel_spacing_um(header)
    if spacing is None:
        return Ungradable("not analysed because Pixel Spacing is missing")
    if not (_AXIAL_UM[0] <= spacing[0] <= _AXIAL_UM[1] and _LATERAL_UM[0] <= spacing[1] <= _LATERAL_UM[1]):
        return Ungradable(
            f"not analysed because a Pixel Spacing of {spacing[0]:.4g} x {spacing[1]:.4g} um is implausible for OCT"
        )
    if header.get("OphthalmicImageOrientation") == "TRANSVERSE":
        return Ungradable("not analysed because the frames are transverse images, not B-scans")
    made = FrameFormat.of(header)
    count = integer(header.get("NumberOfFrames"), 1)
    if count < 1:
        raise PixelDataError(f"Number of Frames is {count}")
    positions = _positions(header, count)
    pattern = _pattern(header, count)
    return OctVolume(
        instance_uid=instance.uid,
        instance_id=instance.id,
        laterality=laterality(header),
        frames=count,
        rows=made.rows,
        columns=made.columns,
        axial_um=spacing[0],
        lateral_um=spacing[1],
        slice_um=_slice_um(header, positions) if pattern == "RASTER" else None,
        positions=positions,
        scan_pattern=pattern,
        header=header,
        _format=made,
        _read=frames,
    )


def _positions(header: Dataset, count: int) -> tuple[Position, ...]:
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    made = []
    for group in groups:
        place = first_item(group, "PlanePositionSequence")
        values = [number(v) for v in place.get("ImagePositionPatient") or []] if place is not None else []
        if len(values) != 3 or None in values:
            return ()
        x, y, z = (v for v in values if v is not None)
        made.append((x, y, z))
    return tuple(made) if len(made) == count else ()


def _pattern(header: Dataset, count: int) -> str | None:
    if circle_scan.nonlinear(header):
        return circle_scan.pattern(header)
    if count == 1:
        return "SINGLE"
    shared = _orientation(first_item(header, "SharedFunctionalGroupsSequence"))
    if shared is not None:
        return "RASTER"
    found = {_orientation(group) for group in header.get("PerFrameFunctionalGroupsSequence") or []}
    if not found or None in found:
        return None
    return "RASTER" if len(found) == 1 else "RADIAL"


def _orientation(group: Dataset | None) -> tuple[float, ...] | None:
    item = first_item(group, "PlaneOrientationSequence")
    values = item.get("ImageOrientationPatient") if item is not None else None
    return tuple(round(float(v), 4) for v in values) if values else None


def _normal(header: Dataset) -> NDArray[np.float64]:
    """Unit normal of parallel B-scans; NaN where the directions are not two."""
    group = first_item(header, "SharedFunctionalGroupsSequence")
    values = _orientation(group) or _orientation(first_item(header, "PerFrameFunctionalGroupsSequence"))
    if values is None or len(values) != 6:
        return np.full(3, np.nan)
    normal = np.cross(values[:3], values[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0 else np.full(3, np.nan)


def _slice_um(header: Dataset, positions: tuple[Position, ...]) -> float | None:
    """From the positions if there are any, else Spacing Between Slices; Slice Thickness says nothing of distances.

    Distances are those of the planes, along their normal: a frame may be shifted within its own plane, as devices do
    that follow the retina in depth.
    """
    if len(positions) > 1:
        normal = _normal(header)
        steps = [abs(float(np.subtract(b, a) @ normal)) * 1000.0 for a, b in itertools.pairwise(positions)]
        middle = float(np.median(steps))
        even = middle > 0 and all(abs(step - middle) <= _UNEVEN * middle for step in steps)
        return middle if even else None
    measures = first_item(header, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence")
    between = number(measures.get("SpacingBetweenSlices")) if measures is not None else None
    return between * 1000.0 if between is not None and between > 0 else None
