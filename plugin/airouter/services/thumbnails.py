"""The small picture of a study on the worklist: its slide, its photograph, the middle B-scan, or its visual field."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Ungradable
from airouter.domain.reading import Listed
from airouter.domain.study import Instance, Modality
from airouter.errors import ArchiveUnavailable, NotInArchive, PixelDataError
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.crop import cut, encoded
from airouter.imaging.field import VisualField
from airouter.imaging.field_thumbnail import field_thumbnail
from airouter.imaging.header import integer
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from airouter.imaging.thumbnail import jpeg_of_slide
from airouter.ports import Archive, Sight
from airouter.services.reading import shown

SIDE: Final = 256
_MOST_BYTES: Final = 32 << 20  # of all pictures that are kept
_AT_ONCE: Final = 2  # the other threads of the web pool keep answering
_PATIENCE_SECONDS: Final = 20.0


class Lines(Protocol):
    """What is on the list; adapters.reading.ReadingStore knows."""

    def entry(self, study_uid: str) -> Listed | None: ...


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """JPEG, and a tag that changes with what it shows."""

    data: bytes
    tag: str


class Thumbnails:
    """Makes them when they are asked for and keeps the latest in memory. Threads may share it."""

    def __init__(self, archive: Archive, lines: Lines, sight: Sight) -> None:
        self._archive = archive
        self._lines = lines
        self._sight = sight
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._busy = threading.BoundedSemaphore(_AT_ONCE)

    def find(self, study_uid: str, headers: Mapping[str, str]) -> Thumbnail | str | None:
        """The picture, why there is none, or None where the user of these headers may see no such study.

        Raises ArchiveUnavailable.
        """
        entry = self._lines.entry(study_uid)
        if entry is None:
            return None
        try:
            if self._sight.study(entry.facts.study_id, headers) is None:
                return None
            return self._made(entry)
        except NotInArchive:
            return None

    def _made(self, entry: Listed) -> Thumbnail | str:
        key = (entry.facts.study_uid, entry.facts.picture)
        known = self._get(key)
        if known is None:
            if not self._busy.acquire(timeout=_PATIENCE_SECONDS):
                raise ArchiveUnavailable("too many pictures are being made at once")
            try:
                known = self._get(key)
                if known is None:
                    known = self._draw(entry.facts.study_id)
            except PixelDataError as error:  # of one damaged image; the next look tries again
                return str(error)
            finally:
                self._busy.release()
            self._put(key, known)
        return Thumbnail(known, entry.facts.picture) if known else "the study holds no image that can be shown"

    def _draw(self, study_id: str) -> bytes:
        """JPEG, empty where there is nothing to show. Raises PixelDataError."""
        images = shown(self._archive.study(study_id))
        if not images:
            return b""
        modality = images[0].modality
        if modality in (None, Modality.OP, Modality.OPT):  # also those that the models are not for
            return encoded(cut(self._middle_frame(images[0]), None, SIDE), ".jpg")
        headers = [(image, self._archive.header(image.id)) for image in images]
        opened = open_images(modality, headers, self._archive.frames)
        if isinstance(opened, Ungradable):
            raise PixelDataError(opened.reason)
        if isinstance(opened, VisualField):
            return encoded(field_thumbnail(opened.points, SIDE // 2), ".jpg")
        return jpeg_of_slide(opened, SIDE) if isinstance(opened, Slide) else b""

    def _middle_frame(self, image: Instance) -> NDArray[np.uint8]:
        header = self._archive.header(image.id)
        number = (integer(header.get("NumberOfFrames"), 1) + 1) // 2
        (data,) = self._archive.frames(image.id, [max(1, number)])
        return decode(data, FrameFormat.of(header))

    def _get(self, key: tuple[str, str]) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _put(self, key: tuple[str, str], data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._kept.get(key, b""))
            self._kept[key] = data
            while self._bytes > _MOST_BYTES:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old)
