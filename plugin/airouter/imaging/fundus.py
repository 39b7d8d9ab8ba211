"""A colour photograph of the fundus."""

import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.study import Instance, Laterality
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.header import Frames, integer, is_code, laterality, number

# Beyond 60 degrees a photograph is wide-field, beyond 110 ultra-wide (International Widefield Imaging Study Group:
# Choudhry N et al. Classification and guidelines for widefield imaging. Ophthalmol Retina 2019;3:843-849). Models of
# fundus photographs know a posterior pole of 30 to 60 degrees.
WIDE_FIELD_DEG: Final = 60.0

_NO_FUNDUS: Final = (
    codes.SLIT_LAMP,
    codes.EXTERNAL_CAMERA,
    codes.SPECULAR_MICROSCOPE,
    codes.OPERATING_MICROSCOPE,
    codes.KERATOSCOPE,
    codes.PUPILLOGRAPH,
    codes.OPHTHALMIC_ENDOSCOPE,
)

# Terms of Image Type for monochromatic light, angiography and autofluorescence, those of the standard first.
_OTHER_LIGHT: Final = frozenset({"REDFREE", "RED", "BLUE", "FA", "ICG", "GREEN", "FAF", "AF", "ICGA", "IR"})
_SPACE: Final = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True, eq=False)
class Fundus:
    """`rgb`: uint8 [rows, columns, 3]; `laterality` None where the header does not say it beyond doubt."""

    rgb: NDArray[np.uint8] = field(repr=False)
    instance_uid: str
    instance_id: str
    laterality: Laterality | None
    header: Dataset = field(repr=False)


def open_fundus(instance: Instance, header: Dataset, frames: Frames) -> Fundus | Ungradable:
    """Read a photograph of one frame in colour. Raises PixelDataError where it cannot be decoded."""
    if refused := unfit(header):
        return refused
    made = FrameFormat.of(header)
    (frame,) = frames(instance.id, [1])
    return Fundus(decode(frame, made), instance.uid, instance.id, laterality(header), header)


def unfit(header: Dataset) -> Ungradable | None:
    """Why a photograph is not read, as far as its header tells; None where it is."""
    count = integer(header.get("NumberOfFrames"), 1)
    if count != 1:
        return Ungradable(f"not analysed because the photograph has {count} frames")
    if integer(header.get("SamplesPerPixel")) != 3:
        return Ungradable("not analysed because the photograph is monochrome: a colour photograph is needed")
    problem = _kind(header) or _device(header) or _extent(header)
    return Ungradable(f"not analysed because {problem}") if problem else None


def _kind(header: Dataset) -> str | None:
    """What Image Type says against it (PS3.3 C.8.17.2.1.4): value 3 MONTAGE, value 4 another light than white.

    Some writers put either into another of the values behind the second: all of these are asked.
    """
    said = header.get("ImageType") or ()
    values = [said] if isinstance(said, str) else list(said)
    others = [_SPACE.sub("", str(value)).upper() for value in values[2:]]
    if any("MONTAGE" in value or "MOSAIC" in value for value in others):
        return "the photograph is a montage of several"
    light = next((value for value in others if value in _OTHER_LIGHT), others[1] if len(others) > 1 else "")
    if light and light not in ("COLOR", "COLOUR"):
        return f"the photograph is not in white light: Image Type says {light[:16]}"
    return None


def _device(header: Dataset) -> str | None:
    """A device that photographs something else, as far as the header codes it."""
    items = header.get("AcquisitionDeviceTypeCodeSequence") or []
    found = next((code for code in _NO_FUNDUS if any(is_code(item, code) for item in items)), None)
    return f"the device is no fundus camera: {found.meaning}" if found else None


def _extent(header: Dataset) -> str | None:
    angle = number(header.get("HorizontalFieldOfView"))
    if angle is not None and angle > WIDE_FIELD_DEG:
        return f"the photograph is wide-field: {angle:g} degrees, models are for {WIDE_FIELD_DEG:g} at most"
    return None
