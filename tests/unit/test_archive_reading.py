"""What OrthancArchive makes of a stored file that cannot be parsed; the rest is in tests/contract."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.rest import connect
from airouter.adapters.stored import Attachment
from airouter.errors import PixelDataError


def reading(data: bytes | OSError, monkeypatch: pytest.MonkeyPatch) -> OrthancArchive:
    """An archive whose only file is `data`, or cannot be read."""
    archive = OrthancArchive(connect("http://127.0.0.1:9"))

    @contextmanager
    def stream(_: str) -> Iterator[io.BytesIO]:
        if isinstance(data, OSError):
            raise data
        yield io.BytesIO(data)

    monkeypatch.setattr(archive, "_locate", lambda *_, **__: (Attachment("uuid", 1, 1, "md5"), None))
    monkeypatch.setattr(archive._rest, "stream", stream)
    return archive


def test_a_sequence_that_is_none_is_a_broken_file_and_no_broken_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydicom raises OSError for it, and an OSError would stop the whole study."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, "1.2.3"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True)
    broken = struct.pack("<HH2s2xI", 0x0048, 0x0105, b"SQ", 0xFFFFFFFF)
    broken += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    broken += struct.pack("<HH2s2xI", 0x0048, 0x0207, b"SQ", 0xFFFFFFFF) + b"\0\0"
    archive = reading(file.getvalue() + broken, monkeypatch)
    with pytest.raises(PixelDataError, match="cannot be parsed"):
        archive.header("id")


def test_a_broken_disk_is_none_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="Input/output"):
        reading(OSError(5, "Input/output error"), monkeypatch).header("id")
