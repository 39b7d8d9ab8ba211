"""Pictures and DICOM objects that somebody sends to be looked at: foreign bytes, opened without trusting them.

What a picture claims to be is read before anything is decoded, and refused where it would not fit; a deflated object is
refused unread, since no header says how large it becomes.
"""

import io
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from airouter.domain.finding import Ungradable
from airouter.domain.study import SOURCE_SOP_CLASSES, Instance, Modality
from airouter.errors import PixelDataError
from airouter.imaging.frames import FrameIndex, buffer_frames
from airouter.imaging.fundus import Fundus
from airouter.imaging.groups import read_header
from airouter.imaging.header import MALFORMED
from airouter.imaging.oct import OctVolume
from airouter.imaging.reader import open_images

MOST_PIXELS: Final = 50_000_000  # of a picture; the largest fundus cameras make about 40 million
_SIDE: Final = 1024  # a JPEG is decoded at a half, a quarter or an eighth of its size as long as this remains
_GREYS: Final = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L"})
_PREAMBLE: Final = 128


class Fault(StrEnum):
    """What is wrong with what was sent."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too large"
    OTHER_KIND = "other kind"


@dataclass(frozen=True, slots=True)
class Rejected:
    """It is not looked at, and why."""

    fault: Fault
    reason: str


def picture(data: bytes) -> NDArray[np.uint8] | Rejected:
    """A JPEG or PNG in colour as uint8 [rows, columns, 3], upright as its EXIF says.

    A large JPEG comes at a half, a quarter or an eighth of its size, pixels averaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MOST_PIXELS:
                size = f"{image.width} x {image.height}"
                return Rejected(Fault.TOO_LARGE, f"the picture has {size} pixels, more than {MOST_PIXELS}")
            if image.mode in _GREYS:
                return Rejected(Fault.OTHER_KIND, "the picture is grey: a colour photograph is needed")
            image.draft("RGB", (_SIDE, _SIDE))
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Rejected(Fault.TOO_LARGE, f"the picture has more than {MOST_PIXELS} pixels")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError) as error:
        return Rejected(Fault.UNREADABLE, f"the body is not a readable JPEG or PNG: {type(error).__name__}")


def dicom(data: bytes) -> Fundus | OctVolume | Ungradable | Rejected:
    """A photograph of the fundus or a tomography out of a DICOM file; Ungradable where no pipeline would read it."""
    try:
        if _transfer_syntax(data) == DeflatedExplicitVRLittleEndian:
            return Rejected(Fault.OTHER_KIND, "the transfer syntax is deflated")
        header = read_header(io.BytesIO(data))
        sop_class = str(header.get("SOPClassUID") or "")
        if not sop_class:
            return Rejected(Fault.UNREADABLE, "the body is cut, or no DICOM object: it names no SOP Class")
        modality = SOURCE_SOP_CLASSES.get(sop_class)
        if modality not in (Modality.OP, Modality.OPT):
            return Rejected(Fault.OTHER_KIND, "the object is neither an ophthalmic photograph nor a tomography")
        index = FrameIndex.of(io.BytesIO(data))
        instance = Instance(
            "", str(header.SOPInstanceUID), sop_class, str(header.SeriesInstanceUID),
            str(header.StudyInstanceUID), "",
        )  # fmt: skip
        opened = open_images(modality, [(instance, header)], lambda _, numbers: buffer_frames(data, index, numbers))
    except PixelDataError as error:
        return Rejected(Fault.UNREADABLE, str(error))
    except (InvalidDicomError, EOFError, struct.error, KeyError, RecursionError, *MALFORMED) as error:
        return Rejected(Fault.UNREADABLE, f"the body is not a readable DICOM file: {type(error).__name__}")
    if isinstance(opened, Fundus | OctVolume | Ungradable):
        return opened
    return Rejected(Fault.OTHER_KIND, "the object is neither an ophthalmic photograph nor a tomography")


def _transfer_syntax(data: bytes) -> str:
    """Of the file meta information, which is never compressed. Raises what pydicom raises, InvalidDicomError."""
    if data[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        raise InvalidDicomError("no DICM after the preamble")
    file = io.BytesIO(data)
    file.seek(_PREAMBLE + 4)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: int(tag) >> 16 != 2)
    return str(meta.get("TransferSyntaxUID", ""))
