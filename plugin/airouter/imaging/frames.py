"""Where the frames of a stored instance lie in its file, and how to read them one by one.

Pixel data is native, frame after frame without a gap (PS3.5 8.1.1), or encapsulated in fragments (PS3.5 A.4), whose
frames a Basic (A.4) or Extended Offset Table (PS3.3 C.7.6.3.1.8) may tell apart. Every fragment's header is walked
whatever the tables say, so that a cut or scrambled file is refused before a single frame of it is analysed.
"""

import io
import itertools
import os
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from airouter.errors import PixelDataError
from airouter.imaging.header import MALFORMED

_ITEM: Final = 0xE000FFFE  # (FFFE,E000) read as one little endian word
_DELIMITER: Final = 0xE0DDFFFE  # (FFFE,E0DD)
_PIXEL_DATA: Final = 0x00107FE0  # (7FE0,0010)
_UNDEFINED: Final = 0xFFFFFFFF
# A frame starts with SOI in JPEG (ITU-T T.81 B.1.1.3) and JPEG-LS (T.87), with SOC in JPEG 2000 (T.800 A.4).
_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")

_Read = Callable[[int, int], bytes]  # offset, length -> bytes, fewer at the end


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Offsets of the frames of one file; made once, shared by threads.

    `transfer_syntax` is the UID. Frame n (1-based) owns fragments first[n - 1]..first[n] of offsets and lengths.
    """

    transfer_syntax: str
    _offsets: Sequence[int]
    _lengths: Sequence[int]
    _first: Sequence[int]

    @classmethod
    def of(cls, file: BinaryIO) -> "FrameIndex":
        """Index a DICOM file (or buffer) opened for reading.

        Raises PixelDataError: not a DICOM file, no pixel data, an encoding without frames of their own (deflated,
        big endian), pixel data shorter than its header says, or fragments that cannot be assigned to frames.
        """
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except (InvalidDicomError, EOFError, struct.error, KeyError, *MALFORMED) as error:
            raise PixelDataError(f"not a readable DICOM file: {error}") from error
        syntax = _transfer_syntax(header)
        read, end = _reader(file)
        start = file.tell()
        fields = read(start, 12)
        if len(fields) < 12 or _word(fields) != _PIXEL_DATA:
            raise PixelDataError("the file holds no Pixel Data, or is cut before it")
        if syntax == ImplicitVRLittleEndian:
            start, length = start + 8, _word(fields, 4)
        else:
            start, length = start + 12, _word(fields, 8)
        if syntax.is_encapsulated != (length == _UNDEFINED):
            raise PixelDataError(f"Pixel Data is not encoded as its transfer syntax {syntax.name} says")
        if length != _UNDEFINED:
            if start + length > end:
                raise PixelDataError(f"Pixel Data is truncated: {end - start} of {length} bytes are there")
            end = start + length
        return cls._scan(header, syntax, read, start, end)

    @classmethod
    def of_dataset(cls, dataset: Dataset) -> "FrameIndex":
        """The same for a data set in memory; spans then count from the start of the Pixel Data value.

        Raises PixelDataError as `of` does.
        """
        data = dataset.get("PixelData")
        if not isinstance(data, bytes):
            raise PixelDataError("the data set holds no Pixel Data")
        syntax = _transfer_syntax(dataset)
        return cls._scan(dataset, syntax, lambda at, length: data[at : at + length], 0, len(data))

    @classmethod
    def _scan(cls, header: Dataset, syntax: UID, read: _Read, start: int, end: int) -> "FrameIndex":
        count = _count(header)
        if not syntax.is_encapsulated:
            return cls(syntax, *_native(header, count, start, end))
        offsets, lengths, table = _fragments(read, start, end)
        extended = _value(header, "ExtendedOffsetTable")
        if isinstance(extended, bytes) and len(extended) == 8 * count:
            table = struct.unpack(f"<{count}Q", extended)
        return cls(syntax, offsets, lengths, _group(read, offsets, count, table))

    def __len__(self) -> int:
        return len(self._first) - 1

    def span(self, number: int) -> tuple[tuple[int, int], ...]:
        """(offset, length) in bytes of every fragment of a frame, counted from 1 as in DICOM.

        Raises PixelDataError where there is no such frame.
        """
        if not 1 <= number <= len(self):
            raise PixelDataError(f"there is no frame {number}: the image has {len(self)}")
        parts = range(self._first[number - 1], self._first[number])
        return tuple((self._offsets[part], self._lengths[part]) for part in parts)


def read_frames(fd: int, index: FrameIndex, numbers: Sequence[int]) -> Iterator[bytes]:
    """Encoded frames from an open file descriptor, in the order asked, by positioned reads: safe in many threads.

    Raises PixelDataError where the file has become shorter than its index, or there is no such frame.
    """
    for number in numbers:
        yield b"".join(_pread(fd, offset, length) for offset, length in index.span(number))


def dataset_frames(dataset: Dataset, numbers: Sequence[int]) -> Iterator[bytes]:
    """Encoded frames of a data set in memory, in the order asked. Raises PixelDataError as FrameIndex does."""
    index = FrameIndex.of_dataset(dataset)
    data: bytes = dataset.PixelData
    for number in numbers:
        yield b"".join(data[offset : offset + length] for offset, length in index.span(number))


def _transfer_syntax(header: Dataset) -> UID:
    meta = getattr(header, "file_meta", None)
    syntax = UID(str(meta.get("TransferSyntaxUID", "")) if meta is not None else "")
    if not syntax.is_transfer_syntax:
        raise PixelDataError("the file does not name its transfer syntax")
    if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        raise PixelDataError(f"unsupported transfer syntax {syntax.name}")
    return syntax


def _value(header: Dataset, keyword: str) -> Any:
    try:
        return header.get(keyword)
    except MALFORMED as error:
        raise PixelDataError(f"{keyword} cannot be read: {error}") from error


def _count(header: Dataset) -> int:
    """Number of Frames, one where it is missing."""
    value = _value(header, "NumberOfFrames")
    try:
        count = 1 if value in (None, "") else int(value)
    except (TypeError, ValueError) as error:
        raise PixelDataError(f"Number of Frames is not a number: {error}") from error
    if count < 1:
        raise PixelDataError(f"Number of Frames is {count}")
    return count


def _native(header: Dataset, count: int, start: int, end: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Frames without gaps: arithmetic alone."""
    try:
        pixels = int(header.Rows) * int(header.Columns)
        bits = int(header.BitsAllocated)
        samples = int(header.get("SamplesPerPixel", 1))
    except MALFORMED as error:
        raise PixelDataError(f"the header does not say how large a frame is: {error}") from error
    if bits % 8 or not bits:
        raise PixelDataError(f"unsupported Bits Allocated {bits}")
    if _value(header, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # both chroma samples are shared by two pixels (PS3.3 C.7.6.3.1.2)
    length = pixels * samples * bits // 8
    if not length:
        raise PixelDataError("a frame has no pixels")
    if start + count * length > end:
        raise PixelDataError(f"Pixel Data is truncated: {end - start} bytes, {count} frames of {length} are promised")
    return range(start, start + count * length, length), _Constant(length, count), range(count + 1)


class _Constant(Sequence[int]):
    """The same number at every place, without storing it."""

    def __init__(self, value: int, count: int) -> None:
        self._value = value
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: object) -> int:  # type: ignore[override]  # slices are not needed
        return self._value


def _fragments(read: _Read, start: int, end: int) -> tuple[Sequence[int], Sequence[int], tuple[int, ...]]:
    """Walk the items: offsets and lengths of all fragments, and the Basic Offset Table."""
    tag, length = _item(read, start, end)
    if tag != _ITEM or length % 4 or start + 8 + length > end:
        raise PixelDataError("Pixel Data does not start with a Basic Offset Table item")
    table = struct.unpack(f"<{length // 4}I", read(start + 8, length))
    at = start + 8 + length
    offsets, lengths = array("Q"), array("Q")
    while at < end:
        tag, length = _item(read, at, end)
        if tag == _DELIMITER:
            break
        if tag != _ITEM:
            raise PixelDataError(f"no fragment starts at byte {at}, where one was expected")
        if at + 8 + length > end:
            raise PixelDataError(
                f"Pixel Data is truncated: fragment {len(offsets) + 1} goes beyond the end of the file"
            )
        offsets.append(at + 8)
        lengths.append(length)
        at += 8 + length
    return offsets, lengths, table


def _item(read: _Read, at: int, end: int) -> tuple[int, int]:
    header = read(at, 8)
    if len(header) < 8 or at + 8 > end:
        raise PixelDataError("Pixel Data is truncated in the header of a fragment")
    return _word(header), _word(header, 4)


def _group(read: _Read, offsets: Sequence[int], count: int, table: Sequence[int]) -> Sequence[int]:
    """Index of the first fragment of each frame, and one past the last."""
    if len(offsets) < count:
        raise PixelDataError(f"Pixel Data is truncated: {len(offsets)} fragments, {count} frames are promised")
    if len(offsets) == count:  # each frame has at least one fragment: nothing is left for a table to say
        return range(count + 1)
    if count == 1:
        return (0, len(offsets))
    if len(table) == count:
        # Tables count from the first byte of the item tag of the first fragment.
        place = {offset - offsets[0]: part for part, offset in enumerate(offsets)}
        first = [place.get(offset, -1) for offset in table]
        if first[0] == 0 and all(a < b for a, b in itertools.pairwise(first)):
            return (*first, len(offsets))
        raise PixelDataError("the offset table does not point at fragments")
    first = [part for part, offset in enumerate(offsets) if read(offset, 2) in _STARTS]
    if len(first) == count and first[0] == 0:
        return (*first, len(offsets))
    raise PixelDataError(f"{len(offsets)} fragments cannot be assigned to {count} frames without an offset table")


def _word(data: bytes, at: int = 0) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _reader(file: BinaryIO) -> tuple[_Read, int]:
    """Positioned reads on a file, by pread where the operating system has a descriptor for it; and its length."""
    try:
        fd = file.fileno()
    except (AttributeError, io.UnsupportedOperation):

        def read(at: int, length: int) -> bytes:
            place = file.tell()
            file.seek(at)
            data = file.read(length)
            file.seek(place)
            return data

        place = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(place)
        return read, end
    return lambda at, length: os.pread(fd, length, at), os.fstat(fd).st_size


def _pread(fd: int, offset: int, length: int) -> bytes:
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise PixelDataError("Pixel Data is truncated: the file has become shorter")
        data += more
    return data
