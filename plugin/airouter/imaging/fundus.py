"""A colour photograph of the fundus."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.study import Instance, Laterality
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.header import Frames, integer, laterality


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
    return None
