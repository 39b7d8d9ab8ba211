"""Objects of the archive as a viewer wants them by DICOMweb: headers as JSON, frames as they are stored, bulk values.

Everything is looked up as the user who asks may see it. What a look-up found holds for some seconds, since a slide is
read in thousands of small requests: so long a deleted image, or one that somebody may no longer see, may still be read.
"""

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from airouter.errors import NotInArchive
from airouter.imaging.dicom_json import bulk_value, dicom_json
from airouter.imaging.header import integer
from airouter.ports import Archive, Sight
from airouter.services.quality import Files

MOST_BYTES: Final = 512 << 20  # of an object that is sent whole, and of the frames of one answer
_SECONDS: Final = 10.0
_DOCUMENTS: Final = 64 << 20  # bytes of headers as JSON that are kept

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class Address:
    """Which objects are meant: a study, a series of it, or one instance."""

    study: str
    series: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One instance by the archive's identifiers; `version` changes when the file is replaced."""

    id: str
    study_id: str
    version: str


class Directory(Protocol):
    """What the archive knows by DICOM's own identifiers; adapters.dicom_web.OrthancDirectory is one."""

    def instances(self, address: Address) -> Sequence[Found]:
        """Every instance there is at that address, by nobody's eyes but ours. Raises ArchiveUnavailable."""

    def query(self, path: str, arguments: Mapping[str, str], headers: Mapping[str, str]) -> Any | None:
        """QIDO-RS as whoever sent these headers may ask it: a list of DICOM JSON objects; None where they may not.

        Raises RequestError for arguments that the archive refuses, ArchiveUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Frames:
    """Encoded frames as stored."""

    transfer_syntax: str
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Image:
    """What frames are read with."""

    id: str
    study_id: str
    transfer_syntax: str
    count: int


class DicomWeb:
    """Answers of the facade. Threads may share it. What a user may not see, is not there: both are None."""

    def __init__(
        self,
        archive: Archive,
        directory: Directory,
        sight: Sight,
        files: Files,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._archive = archive
        self._directory = directory
        self._sight = sight
        self._files = files
        self._seen: _Brief[tuple[str, bytes], bool] = _Brief(4096, _SECONDS, now)
        self._images: _Brief[Address, _Image] = _Brief(4096, _SECONDS, now)
        self._documents = _Documents(_DOCUMENTS)

    def query(self, path: str, arguments: Mapping[str, str], headers: Mapping[str, str]) -> Any | None:
        """See Directory.query."""
        return self._directory.query(path, arguments, headers)

    def metadata(self, address: Address, root: str, headers: Mapping[str, str]) -> bytes | None:
        """A JSON list of the headers; addresses of bulk values start with `root`. Raises PixelDataError for a file
        that cannot be parsed."""
        found = self._visible(address, headers)
        made = [each for instance in found if (each := self._document(instance, root)) is not None]
        return b"[" + b",".join(made) + b"]" if made else None

    def frames(self, address: Address, numbers: Sequence[int], headers: Mapping[str, str]) -> Frames | None:
        """Frames by number from 1, None also where there is no such frame. Raises PixelDataError for damaged ones."""
        image = self._image(address, headers)
        if image is None or not all(1 <= number <= image.count for number in numbers):
            return None
        try:
            return Frames(image.transfer_syntax, tuple(self._archive.frames(image.id, numbers)))
        except NotInArchive:
            self._images.forget(address)
            return None

    def bulk(self, address: Address, path: str, headers: Mapping[str, str]) -> bytes | None:
        """The value that a header's bulk address names."""
        found = self._visible(address, headers)
        try:
            return bulk_value(self._archive.header(found[0].id), path) if found else None
        except NotInArchive:
            return None

    def part10(self, address: Address, headers: Mapping[str, str]) -> bytes | int | None:
        """The file of one instance; its size in bytes where that is more than MOST_BYTES."""
        found = self._directory.instances(address)
        try:
            return self._files.file(found[0].id, headers, MOST_BYTES) if found else None
        except NotInArchive:
            return None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _visible(self, address: Address, headers: Mapping[str, str]) -> list[Found]:
        return [each for each in self._directory.instances(address) if self._may_see(each.study_id, headers)]

    def _may_see(self, study_id: str, headers: Mapping[str, str]) -> bool:
        # Passwords are among them: what is remembered does not tell them.
        who = json.dumps(sorted((name.lower(), value) for name, value in headers.items())).encode()
        key = (study_id, hashlib.sha256(who).digest())
        known = self._seen.get(key)
        if known is None:
            try:
                known = self._sight.study(study_id, headers) is not None
            except NotInArchive:
                known = False
            self._seen.put(key, known)
        return known

    def _image(self, address: Address, headers: Mapping[str, str]) -> _Image | None:
        image = self._images.get(address)
        if image is not None:
            return image if self._may_see(image.study_id, headers) else None
        found = self._visible(address, headers)
        if not found:
            return None
        try:
            header = self._archive.header(found[0].id)
        except NotInArchive:
            return None
        syntax, count = str(header.file_meta.TransferSyntaxUID), integer(header.get("NumberOfFrames"), 1)
        image = _Image(found[0].id, found[0].study_id, syntax, count)
        self._images.put(address, image)
        return image

    def _document(self, instance: Found, root: str) -> bytes | None:
        key = (instance.id, instance.version, root)
        known = self._documents.get(key)
        if known is None:
            try:
                header = self._archive.header(instance.id)
            except NotInArchive:  # deleted since it was found
                return None
            study, series, uid = (
                str(header.get(keyword, "")) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
            )
            made = dicom_json(header, f"{root}/studies/{study}/series/{series}/instances/{uid}")
            known = json.dumps(made, allow_nan=False, separators=(",", ":")).encode()
            self._documents.put(key, known)
        return known


class _Brief(Generic[_K, _V]):
    """What is remembered for some seconds, of a bounded number of things."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float]) -> None:
        self._most, self._seconds, self._now = most, seconds, now
        self._kept: OrderedDict[_K, tuple[float, _V]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        with self._lock:
            known = self._kept.get(key)
        return known[1] if known is not None and self._now() - known[0] < self._seconds else None

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            self._kept[key] = (self._now(), value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def forget(self, key: _K) -> None:
        with self._lock:
            self._kept.pop(key, None)


class _Documents:
    """Headers as JSON, up to a number of bytes: those of a large slide take seconds to make."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, ...], document: bytes) -> None:
        with self._lock:
            self._size += len(document) - len(self._kept.pop(key, b""))
            self._kept[key] = document
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
