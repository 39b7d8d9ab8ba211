"""Files in Orthanc's storage folder, read where they lie.

A frame costs one pread there; over REST a large file is parsed again and again (docs/explanation). The path holds only
where Orthanc stores plain files itself: no compression, no storage plugin. Both are checked on the file.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from airouter.imaging.frames import FrameIndex

_OPEN_FILES: Final = 32


@dataclass(frozen=True, slots=True)
class Attachment:
    """What Orthanc says of one stored file: an overwritten instance gets a new `uuid`. `md5` is "" where not kept."""

    uuid: str
    size: int
    stored_size: int
    md5: str


class OpenFile:
    """A stored file held open: it stays readable after Orthanc deletes or overwrites it. Closed with its last user."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._index: FrameIndex | None = None
        self._lock = threading.Lock()

    def __del__(self) -> None:
        fd = getattr(self, "fd", -1)
        if fd >= 0:
            os.close(fd)

    def file(self) -> BinaryIO:
        """A reader of its own, at the start; closing it leaves this object open."""
        return Path(f"/proc/self/fd/{self.fd}").open("rb")

    def index(self) -> FrameIndex:
        """Where its frames lie; scanned once. Raises PixelDataError."""
        with self._lock:
            if self._index is None:
                with self.file() as file:
                    self._index = FrameIndex.of(file)
            return self._index


class StorageFolder:
    """The folder that Orthanc's StorageDirectory names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, uuid: str) -> Path:
        """Two levels of folders named by the first hexadecimal digits."""
        return self.folder / uuid[0:2] / uuid[2:4] / uuid

    def open(self, attachment: Attachment) -> OpenFile | None:
        """The file of an attachment, None where no plain DICOM file of that size lies there (any more)."""
        with self._lock:
            known = self._open.get(attachment.uuid)
            if known is not None:
                self._open.move_to_end(attachment.uuid)
                return known
        if attachment.size != attachment.stored_size:
            return None  # compressed
        try:
            found = OpenFile(self.path(attachment.uuid))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        # A compressed file starts with its size and a zlib header instead.
        if os.fstat(found.fd).st_size != attachment.size or os.pread(found.fd, 4, 128) != b"DICM":
            return None
        with self._lock:
            self._open[attachment.uuid] = found
            while len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        return found

    def look_up(self, find: Callable[[], Attachment]) -> tuple[Attachment, OpenFile | None]:
        """Ask `find` and open; ask again where the file has gone meanwhile, as when it is overwritten."""
        attachment = find()
        for _ in range(3):
            file = self.open(attachment)
            if file is not None:
                return attachment, file
            again = find()
            if again.uuid == attachment.uuid:
                break
            attachment = again
        return attachment, None
