"""The way in: headers and a source of frames become images to analyse."""

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import UID

from airouter.domain.finding import Ungradable
from airouter.domain.study import SOURCE_SOP_CLASSES, Instance, Modality
from airouter.errors import PixelDataError
from airouter.imaging.field import VisualField, open_field
from airouter.imaging.fundus import Fundus, open_fundus
from airouter.imaging.header import MALFORMED, Frames
from airouter.imaging.oct import OctVolume, open_oct
from airouter.imaging.slide import Slide, open_slide

Images = Slide | Fundus | OctVolume | VisualField


def open_images(modality: Modality, headers: Sequence[tuple[Instance, Dataset]], frames: Frames) -> Images | Ungradable:
    """Open what one job reads: every instance of a slide, or the one instance of another modality.

    Headers carry file meta information and no pixel data. The SOP class says what an object is; where Modality or the
    job says something else, the object is not analysed. Pixels are read through `frames`, of slides and OCT later.
    Raises PixelDataError for pixel data that the router cannot decode, ValueError without any header.
    """
    if not headers:
        raise ValueError("there is no header to open")
    try:
        return _open(modality, headers, frames)
    except MALFORMED as error:
        raise PixelDataError(f"a header cannot be read: {error}") from error


def _open(modality: Modality, headers: Sequence[tuple[Instance, Dataset]], frames: Frames) -> Images | Ungradable:
    for _, header in headers:
        problem = _mistaken(modality, header)
        if problem:
            return Ungradable(f"not analysed because {problem}")
    if modality is Modality.SM:
        return open_slide(headers, frames)
    if len(headers) > 1:
        return Ungradable(f"not analysed because {len(headers)} instances came where one {modality} image is read")
    instance, header = headers[0]
    if modality is Modality.OP:
        return open_fundus(instance, header, frames)
    if modality is Modality.OPT:
        return open_oct(instance, header, frames)
    return open_field(instance, header)


def _mistaken(modality: Modality, header: Dataset) -> str | None:
    uid = UID(str(header.get("SOPClassUID") or ""))
    found = SOURCE_SOP_CLASSES.get(uid)
    if found is not modality:
        return f"SOP Class {uid.name or 'missing'} is not a {modality} image"
    said = header.get("Modality")
    if said and str(said) != modality:
        return f"Modality {said} contradicts SOP Class {uid.name}"
    return None
