"""Several images of one patient's eyes: those of one visit, or one and what was taken before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.study import Instance, Laterality, Modality
from airouter.errors import PixelDataError
from airouter.imaging.field import VisualField
from airouter.imaging.fundus import Fundus
from airouter.imaging.header import MALFORMED, Frames, taken
from airouter.imaging.oct import OctVolume
from airouter.imaging.reader import open_images

EyeImage = Fundus | OctVolume | VisualField
T = TypeVar("T", bound=EyeImage)


@dataclass(frozen=True, slots=True)
class Refused:
    """An image of the job that is not read; `reason` begins with "not analysed because"."""

    instance_uid: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Visit(Generic[T]):
    """Every image of a modality in one study, in order of acquisition."""

    images: tuple[T, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Earlier(Generic[T]):
    """An image taken before, the study it lies in, and when: 8 to 14 digits YYYYMMDDHHMMSS."""

    image: T
    study_uid: str
    taken: str


@dataclass(frozen=True, slots=True, eq=False)
class History(Generic[T]):
    """An image and the earlier ones of the same eye, oldest first. `taken` of the current one may be empty."""

    current: T
    taken: str
    priors: tuple[Earlier[T], ...]
    refused: tuple[Refused, ...]


# An instance, its header and the Study Instance UID it lies under.
_Read = tuple[Instance, Dataset]


def open_visit(modality: Modality, headers: Sequence[_Read], frames: Frames) -> Visit[EyeImage] | Ungradable:
    """Open each image by itself; Ungradable with the first reason where none can be read."""
    opened: list[EyeImage] = []
    refused: list[Refused] = []
    for read in sorted(headers, key=lambda each: (taken(each[1]), each[0].uid)):
        image = _open(modality, read, frames)
        if isinstance(image, Refused):
            refused.append(image)
        else:
            opened.append(image)
    if not opened:
        return Ungradable(refused[0].reason if refused else "not analysed because there is no image")
    return Visit(tuple(opened), tuple(refused))


def open_history(
    modality: Modality, current: _Read, priors: Sequence[_Read], frames: Frames
) -> History[EyeImage] | Ungradable:
    """Open the current image and the priors that are of the same eye.

    Ungradable where the current image cannot be read, or does not say which eye it is. A prior of the other eye is
    left out without a word; one that cannot be read, or does not say its eye or its date, is refused with the reason.
    """
    image = _open(modality, current, frames)
    if isinstance(image, Refused):
        return Ungradable(image.reason)
    if image.laterality not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing: earlier images cannot be told by eye")
    earlier: list[Earlier[EyeImage]] = []
    refused: list[Refused] = []
    for read in priors:
        prior = _open(modality, read, frames)
        if isinstance(prior, Refused):
            refused.append(prior)
            continue
        when = taken(read[1])
        if prior.laterality not in (Laterality.R, Laterality.L):
            refused.append(Refused(read[0].uid, "not analysed because the laterality of the earlier image is missing"))
        elif prior.laterality is image.laterality and when:
            earlier.append(Earlier(prior, read[0].study_uid, when))
        elif not when:
            refused.append(Refused(read[0].uid, "not analysed because the date of the earlier image is missing"))
    earlier.sort(key=lambda each: (each.taken, each.image.instance_uid))
    return History(image, taken(current[1]), tuple(earlier), tuple(refused))


def _open(modality: Modality, read: _Read, frames: Frames) -> EyeImage | Refused:
    instance, _ = read
    try:
        image = open_images(modality, [read], frames)
    except (PixelDataError, *MALFORMED) as error:
        return Refused(instance.uid, f"not analysed because it cannot be read: {error}")
    if isinstance(image, Ungradable):
        return Refused(instance.uid, image.reason)
    if isinstance(image, Fundus | OctVolume | VisualField):
        return image
    return Refused(instance.uid, f"not analysed because it is not an image of the eye: {modality}")
