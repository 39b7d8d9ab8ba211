"""Where the frames of a stored instance lie in its file, and how to read them one by one.

Pixel data is native, frame after frame without a gap (PS3.5 8.1.1), or encapsulated in items (PS3.5 A.4), whose frames
a Basic (A.4) or Extended Offset Table (PS3.3 C.7.6.3.1.8) may tell apart. A table that fits the file is taken at its
word when the file is opened: looking at every item would cost a large slide on a slow disk minutes. All the same no
byte is taken for a picture unseen: the last frame is followed to the end of the pixel data, so that a cut file is
refused before anything is analysed, and the items of a frame are verified whenever it is read. Without such a table
every item is walked.
"""

import io
import os
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from airouter.errors import PixelDataError
from airouter.imaging.groups import read_header
from airouter.imaging.header import MALFORMED

_ITEM: Final = 0xE000FFFE  # (FFFE,E000) read as one little endian word
_DELIMITER: Final = 0xE0DDFFFE  # (FFFE,E0DD)
# Pixel Data (7FE0,0010), Float Pixel Data (7FE0,0008) and Double Float Pixel Data (7FE0,0009): a file has one of them.
_PIXEL_DATA: Final = frozenset({0x00107FE0, 0x00087FE0, 0x00097FE0})
_UNDEFINED: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("<II")  # of an item: tag, length
# A frame starts with SOI in JPEG (ITU-T T.81 B.1.1.3) and JPEG-LS (T.87), with SOC in JPEG 2000 (T.800 A.4).
_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")

_Read = Callable[[int, int], bytes]  # offset, length -> bytes, fewer at the end


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where the frames of one file lie; made once, shared by threads. Eight bytes a frame, none for native frames.

    `transfer_syntax` is the UID. Frame n (1-based) has the bytes from bounds[n - 1] to bounds[n]: those of its items,
    headers and all, where it is `encapsulated`.
    """

    transfer_syntax: str
    encapsulated: bool
    _bounds: Sequence[int] = field(repr=False)

    @classmethod
    def of(cls, file: BinaryIO) -> "FrameIndex":
        """Index a DICOM file (or buffer) opened for reading.

        Raises PixelDataError: not a DICOM file, no pixel data, an encoding without frames of their own (deflated,
        big endian), pixel data shorter than its header says, or fragments that cannot be assigned to frames.
        """
        try:
            header = read_header(file)
        except (InvalidDicomError, EOFError, struct.error, KeyError, *MALFORMED) as error:
            raise PixelDataError(f"not a readable DICOM file: {error}") from error
        syntax = _transfer_syntax(header)
        read, end = _reader(file)
        start = file.tell()
        fields = read(start, 12)
        if len(fields) < 12 or _word(fields) not in _PIXEL_DATA:
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
        return cls._scan(dataset, syntax, _reads(data), 0, len(data))

    @classmethod
    def _scan(cls, header: Dataset, syntax: UID, read: _Read, start: int, end: int) -> "FrameIndex":
        count = _count(header)
        if not syntax.is_encapsulated:
            return cls(syntax, False, _native(header, count, start, end))
        origin, basic = _basic_table(read, start, end)
        extended = _extended_table(header, count)
        bounds = _by_table(extended, _lengths(header, count), read, origin, end, count)
        if bounds is None:
            bounds = _by_table(basic, None, read, origin, end, count)
        if bounds is None:
            bounds = _by_walking(basic if extended is None else extended, read, origin, end, count)
        return cls(syntax, True, bounds)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def span(self, number: int) -> tuple[int, int]:
        """(offset, length) of the bytes that hold a frame, counted from 1 as in DICOM; `frame` makes a frame of them.

        Raises PixelDataError where there is no such frame.
        """
        if not 1 <= number <= len(self):
            raise PixelDataError(f"there is no frame {number}: the image has {len(self)}")
        start = self._bounds[number - 1]
        return start, self._bounds[number] - start

    def frame(self, number: int, held: bytes) -> bytes:
        """The encoded frame out of the bytes of its span: the contents of its items, joined.

        Raises PixelDataError where items do not fill the span, one behind the other.
        """
        if not self.encapsulated:
            return held
        parts = []
        at = 0
        while at + 8 <= len(held):
            tag, length = _HEADER.unpack_from(held, at)
            if tag != _ITEM:
                break
            parts.append(held[at + 8 : at + 8 + length])
            at += 8 + length
        if at != len(held) or not parts:
            raise PixelDataError(f"frame {number} cannot be read: no whole items lie where the index says it is stored")
        return parts[0] if len(parts) == 1 else b"".join(parts)


def read_frames(fd: int, index: FrameIndex, numbers: Sequence[int]) -> Iterator[bytes]:
    """Encoded frames from an open file descriptor, in the order asked, by positioned reads: safe in many threads.

    Raises PixelDataError where the file has become shorter than its index, the bytes of a frame are no items, or there
    is no such frame.
    """
    for number in numbers:
        offset, length = index.span(number)
        held = os.pread(fd, length, offset)
        if len(held) < length:
            held = _rest(fd, held, length, offset)
        yield index.frame(number, held)


def buffer_frames(data: bytes, index: FrameIndex, numbers: Sequence[int]) -> Iterator[bytes]:
    """Encoded frames of a file in memory (or of the Pixel Data value where that is what the index was made of).

    Raises PixelDataError as read_frames does.
    """
    for number in numbers:
        offset, length = index.span(number)
        yield index.frame(number, data[offset : offset + length])


def dataset_frames(dataset: Dataset, numbers: Sequence[int]) -> Iterator[bytes]:
    """Encoded frames of a data set in memory, in the order asked. Raises PixelDataError as FrameIndex does."""
    return buffer_frames(dataset.PixelData, FrameIndex.of_dataset(dataset), numbers)


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


def _native(header: Dataset, count: int, start: int, end: int) -> Sequence[int]:
    """Frames without gaps: arithmetic alone."""
    try:
        pixels = int(header.Rows) * int(header.Columns)
        bits = int(header.BitsAllocated)
        samples = int(header.get("SamplesPerPixel", 1))
    except MALFORMED as error:
        raise PixelDataError(f"the header does not say how large a frame is: {error}") from error
    # Frames of single bits follow each other without padding (PS3.5 8.1.1): most begin at whole bytes all the same.
    if bits == 1 and (count == 1 or pixels % 8 == 0):
        pixels, bits = -(-pixels // 8), 8
    if bits % 8 or not bits:
        raise PixelDataError(f"unsupported Bits Allocated {bits} in {count} frames of {pixels} pixels")
    if _value(header, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # both chroma samples are shared by two pixels (PS3.3 C.7.6.3.1.2)
    length = pixels * samples * bits // 8
    if not length:
        raise PixelDataError("a frame has no pixels")
    if start + count * length > end:
        raise PixelDataError(f"Pixel Data is truncated: {end - start} bytes, {count} frames of {length} are promised")
    return range(start, start + count * length + 1, length)


def _basic_table(read: _Read, start: int, end: int) -> tuple[int, NDArray[np.uint64]]:
    """Where the first fragment starts, and the Basic Offset Table, which is the first item and may be empty."""
    tag, length = _item(read, start, end)
    if tag != _ITEM or length % 4 or start + 8 + length > end:
        raise PixelDataError("Pixel Data does not start with a Basic Offset Table item")
    return start + 8 + length, np.frombuffer(read(start + 8, length), "<u4").astype(np.uint64)


def _extended_table(header: Dataset, count: int) -> NDArray[np.uint64] | None:
    value = _value(header, "ExtendedOffsetTable")
    return np.frombuffer(value, "<u8") if isinstance(value, bytes) and len(value) == 8 * count else None


def _lengths(header: Dataset, count: int) -> NDArray[np.uint64] | None:
    value = _value(header, "ExtendedOffsetTableLengths")
    return np.frombuffer(value, "<u8") if isinstance(value, bytes) and len(value) == 8 * count else None


def _by_table(
    table: NDArray[np.uint64] | None, lengths: NDArray[np.uint64] | None, read: _Read, origin: int, end: int, count: int
) -> Sequence[int] | None:
    """Bounds of the frames as a table gives them; None where it is none of this file.

    It has an entry for every frame, counted from the first byte of the item tag of the first fragment: the first is 0,
    each is greater than the one before (those of a Basic Offset Table wrap at 4 GB), and the last frame's items lead to
    the end of the pixel data. `lengths` of an Extended Offset Table fill the space from frame to frame but for the item
    header and one byte of padding, as such a frame has one fragment.
    """
    if table is None or len(table) != count or table[0] or np.any(table[1:] <= table[:-1]) or table[-1] >= end - origin:
        return None
    try:
        *_, (last, length) = _items(read, origin + int(table[-1]), end)
    except (PixelDataError, ValueError):
        return None  # walking will tell what is wrong
    stop = last + 8 + length
    if lengths is not None:
        room = np.diff(table, append=np.uint64(stop - origin))
        if np.any(room < 8) or np.any(room - np.uint64(8) < lengths) or np.any(room - np.uint64(9) > lengths):
            return None
    bounds = array("Q", (table + np.uint64(origin)).astype(np.uint64).tobytes())
    bounds.append(stop)
    return bounds


def _by_walking(table: NDArray[np.uint64], read: _Read, origin: int, end: int, count: int) -> Sequence[int]:
    """Bounds of the frames by every item's own header."""
    starts, stop = array("Q"), origin
    for at, length in _items(read, origin, end):
        starts.append(at)
        stop = at + 8 + length
    if len(starts) < count:
        raise PixelDataError(f"Pixel Data is truncated: {len(starts)} fragments, {count} frames are promised")
    if len(starts) != count:  # else each frame has one fragment, and nothing is left for a table to say
        starts = _first_fragments(starts, table, read, count)
    starts.append(stop)
    return starts


def _first_fragments(starts: "array[int]", table: NDArray[np.uint64], read: _Read, count: int) -> "array[int]":
    """Where the first of several fragments of each frame starts."""
    if count == 1:
        return starts[:1]
    if len(table) == count:
        first = array("Q", (table + np.uint64(starts[0])).tobytes())
        if first[0] == starts[0] and not np.any(table[1:] <= table[:-1]) and set(first) <= set(starts):
            return first
        raise PixelDataError("the offset table does not point at fragments")
    first = array("Q", (start for start in starts if read(start + 8, 2) in _STARTS))
    if len(first) == count and first[0] == starts[0]:
        return first
    raise PixelDataError(f"{len(starts)} fragments cannot be assigned to {count} frames without an offset table")


def _items(read: _Read, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(where its header starts, length of its value) of each item up to the delimiter or the end."""
    while at < end:
        tag, length = _item(read, at, end)
        if tag == _DELIMITER:
            return
        if tag != _ITEM:
            raise PixelDataError(f"no fragment starts at byte {at}, where one was expected")
        if at + 8 + length > end:
            raise PixelDataError(f"Pixel Data is truncated: the fragment at byte {at} goes beyond the end of the file")
        yield at, length
        at += 8 + length


def _item(read: _Read, at: int, end: int) -> tuple[int, int]:
    """Tag and length of an item."""
    header = read(at, 8)
    if len(header) < 8 or at + 8 > end:
        raise PixelDataError("Pixel Data is truncated in the header of a fragment")
    tag, length = _HEADER.unpack(header)
    return tag, length


def _word(data: bytes, at: int = 0) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _reads(data: bytes) -> _Read:
    return lambda at, length: data[at : at + length]


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


def _rest(fd: int, data: bytes, length: int, offset: int) -> bytes:
    """The rest of a read that came back short."""
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise PixelDataError("Pixel Data is truncated: the file has become shorter")
        data += more
    return data
