"""Where the frames of a TILED_SPARSE image lie, read from its per-frame functional groups as they are encoded.

A slide has tens of thousands of frames, and pydicom makes some ten objects of each frame's group: 16,384 frames take
it seconds and more than 100 MB. So the Per-frame Functional Groups Sequence stays encoded in the header, and the few
values that say where each frame lies are picked out of it into arrays.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from airouter.errors import PixelDataError
from airouter.imaging.header import MALFORMED, first_item, integer, number

_GROUPS: Final = 0x52009230  # Per-frame Functional Groups Sequence
_PATH_ITEMS: Final = 0x00480207  # Optical Path Identification Sequence
_PATH: Final = 0x00480106  # Optical Path Identifier
_PLACE_ITEMS: Final = 0x0048021A  # Plane Position (Slide) Sequence
_COLUMN: Final = 0x0048021E  # Column Position In Total Image Pixel Matrix
_ROW: Final = 0x0048021F  # Row Position In Total Image Pixel Matrix
_DEPTH: Final = 0x0040074A  # Z Offset in Slide Coordinate System
_PIXELS: Final = 0x7FE00008  # Float Pixel Data, the first of the pixel data elements
_ITEM: Final = 0xFFFEE000
_END_OF_ITEM: Final = 0xFFFEE00D
_END_OF_SEQUENCE: Final = 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_LONG: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_FIRST_READ: Final = 1 << 20
_DEEPEST: Final = 16  # nested sequences of undefined length; the groups of a slide have two

_TAGS: Final = struct.Struct("<HH")
_LENGTH: Final = struct.Struct("<I")
_SHORT_LENGTH: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """One entry per frame: `rows` and `columns` of the top left pixel, counted from 1 (0 where it is not said).

    `depths`: offset along the optical axis in mm as Z Offset in Slide Coordinate System says it, 0 where it does not;
    `paths`: Optical Path Identifier, None where the frame's own groups have none.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    depths: NDArray[np.float64]
    paths: list[str | None]

    def __len__(self) -> int:
        return len(self.paths)


def read_header(file: BinaryIO) -> Dataset:
    """Everything before the pixel data of a file opened at its start, as pydicom.dcmread(stop_before_pixels=True) does.

    The per-frame functional groups stay encoded until somebody asks for them. The file is left at the pixel data.
    Raises what dcmread raises, and EOFError where the file ends within the groups.
    """
    header = read_partial(file, stop_when=lambda tag, vr, length: int(tag) >= _GROUPS)
    syntax = UID(str(header.file_meta.get("TransferSyntaxUID", "")))
    if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ""):
        file.seek(0)
        return pydicom.dcmread(file, stop_before_pixels=True)
    explicit = syntax != ImplicitVRLittleEndian
    start = file.tell()
    begin = file.read(12 if explicit else 8)
    file.seek(start)
    if len(begin) >= 8 and _tag(begin, 0) == _GROUPS and begin.endswith(_LENGTH.pack(_UNDEFINED)):
        data = _whole_sequence(file, start + len(begin), explicit)
        if data is not None:
            raw = RawDataElement(Tag(_GROUPS), "SQ", len(data), data, start + len(begin), not explicit, True)
            header[_GROUPS] = raw
    rest = read_dataset(file, not explicit, True, stop_when=lambda tag, vr, length: int(tag) >= _PIXELS)
    header.update(rest)
    return header


def positions(header: Dataset) -> Positions:
    """The places that the header's per-frame groups say. Raises PixelDataError where they are cut or malformed."""
    if _GROUPS not in header:
        return Positions(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), [])
    raw = header.get_item(_GROUPS)
    try:
        found = _encoded(raw) if isinstance(raw, RawDataElement) and raw.is_little_endian else None
        if found is None:
            found = [_of_item(group) for group in header[_GROUPS].value]
    except (struct.error, OSError, *MALFORMED) as error:
        raise PixelDataError(f"the per-frame functional groups cannot be read: {error}") from error
    rows, columns, depths = (np.array([frame[i] for frame in found]) for i in range(3))
    return Positions(rows.astype(np.int64), columns.astype(np.int64), depths.astype(np.float64), [f[3] for f in found])


_Place = tuple[int, int, float, str | None]


def _of_item(group: Dataset) -> _Place:
    """The same of a group that pydicom has decoded already."""
    place = first_item(group, "PlanePositionSlideSequence")
    path = first_item(group, "OpticalPathIdentificationSequence")
    said = str(path.get("OpticalPathIdentifier") or "") or None if path is not None else None
    if place is None:
        return 0, 0, 0.0, said
    row = integer(place.get("RowPositionInTotalImagePixelMatrix"))
    column = integer(place.get("ColumnPositionInTotalImagePixelMatrix"))
    return row, column, number(place.get("ZOffsetInSlideCoordinateSystem")) or 0.0, said


# --- the encoding (PS3.5 7.1 and 7.5), little endian ---


def _encoded(raw: RawDataElement) -> list[_Place] | None:
    """None for an encoding that only pydicom may make sense of. Raises struct.error where it is cut."""
    data, explicit = raw.value or b"", not raw.is_implicit_VR
    known: dict[bytes, str] = {}
    try:
        return [_of_span(data, *span, explicit, known) for span in _items(data, 0, len(data), explicit)]
    except ValueError:
        return None


def _of_span(data: bytes, at: int, end: int, explicit: bool, known: dict[bytes, str]) -> _Place:
    row = column = 0
    depth = 0.0
    path: str | None = None
    for tag, start, stop in _elements(data, at, end, explicit):
        if tag == _PLACE_ITEMS:
            for name, first, last in _first_of(data, start, stop, explicit):
                if name == _ROW:
                    row = _signed_long(data[first:last])
                elif name == _COLUMN:
                    column = _signed_long(data[first:last])
                elif name == _DEPTH:
                    depth = number(data[first:last].decode("ascii").strip(" \0")) or 0.0  # DS
        elif tag == _PATH_ITEMS:
            for name, first, last in _first_of(data, start, stop, explicit):
                if name == _PATH:  # SH; one text for all frames that say the same
                    value = data[first:last]
                    path = known.setdefault(value, value.decode("ascii").strip(" \0")) or None
    return row, column, depth, path


def _signed_long(value: bytes) -> int:
    if len(value) not in (0, 4):  # another VR than SL, or several values: pydicom knows better
        raise ValueError("a position is no signed long")
    return int.from_bytes(value, "little", signed=True)


def _first_of(data: bytes, at: int, end: int, explicit: bool) -> Iterator[tuple[int, int, int]]:
    """The elements of a sequence's first item."""
    for span in _items(data, at, end, explicit):
        yield from _elements(data, *span, explicit)
        return


def _items(data: bytes, at: int, end: int, explicit: bool) -> Iterator[tuple[int, int]]:
    """Start and end of the content of each item of a sequence. Raises struct.error where one is cut."""
    while at + 8 <= end and (tag := _tag(data, at)) != _END_OF_SEQUENCE:
        if tag != _ITEM:
            raise ValueError(f"no item starts at byte {at}")
        start, length = at + 8, _LENGTH.unpack_from(data, at + 4)[0]
        if length == _UNDEFINED:
            stop = _end(data, start, end, explicit, _END_OF_ITEM)
            at = stop + 8
        else:
            at = stop = start + length
        if stop > end:
            raise struct.error("an item is cut")
        yield start, stop


def _elements(data: bytes, at: int, end: int, explicit: bool) -> Iterator[tuple[int, int, int]]:
    """Tag, start and end of the value of each element of an item. Raises struct.error where one is cut."""
    while at + 8 <= end:
        tag = _tag(data, at)
        start, length, inside = _value(data, at, explicit)
        if length == _UNDEFINED:
            stop = _end(data, start, end, inside, _END_OF_SEQUENCE)
            at = stop + 8
        else:
            at = stop = start + length
        if stop > end:
            raise struct.error("an element is cut")
        yield tag, start, stop


def _end(data: bytes | bytearray, at: int, end: int, explicit: bool, delimiter: int, depth: int = 0) -> int:
    """Where the delimiter stands of an item or a sequence of undefined length whose content starts at `at`."""
    if depth > _DEEPEST:
        raise ValueError("sequences are nested too deeply")
    while at + 8 <= end:
        tag = _tag(data, at)
        if tag == delimiter:
            return at
        if tag == _ITEM:
            start, length, inside = at + 8, _LENGTH.unpack_from(data, at + 4)[0], explicit
        else:
            start, length, inside = _value(data, at, explicit)
        if length == _UNDEFINED:
            inner = _END_OF_ITEM if tag == _ITEM else _END_OF_SEQUENCE
            at = _end(data, start, end, inside, inner, depth + 1) + 8
        else:
            at = start + length
    raise struct.error("a delimiter is missing")


def _value(data: bytes | bytearray, at: int, explicit: bool) -> tuple[int, int, bool]:
    """Start and length of the value of the element at `at`, and whether items in it have explicit VRs."""
    if not explicit:
        return at + 8, _LENGTH.unpack_from(data, at + 4)[0], False
    vr = bytes(data[at + 4 : at + 6])
    if not vr.isupper() or not vr.isalpha():
        raise ValueError(f"an element at byte {at} has no VR")
    if vr in _LONG:
        return at + 12, _LENGTH.unpack_from(data, at + 8)[0], vr != b"UN"  # UN holds implicit VRs (PS3.5 6.2.2)
    return at + 8, _SHORT_LENGTH.unpack_from(data, at + 6)[0], True


def _tag(data: bytes | bytearray, at: int) -> int:
    group, element = _TAGS.unpack_from(data, at)
    return int(group) << 16 | int(element)


def _whole_sequence(file: BinaryIO, start: int, explicit: bool) -> bytes | None:
    """The items of a sequence of undefined length, read piece by piece; the file stands behind its delimiter then.

    None, and the file where it stood, for an encoding that only pydicom may make sense of.
    """
    before = file.tell()
    file.seek(start)
    data = bytearray()
    at, ended = 0, False
    try:
        while not ended:
            more = file.read(max(_FIRST_READ, len(data)))
            if not more:
                raise EOFError("the file ends within its per-frame functional groups")
            data += more
            at, ended = _whole_items(data, at, explicit)
    except ValueError:
        file.seek(before)
        return None
    file.seek(start + at + 8)
    return bytes(data[:at])


def _whole_items(data: bytearray, at: int, explicit: bool) -> tuple[int, bool]:
    """Where the last whole item ends of those from `at` on, and whether the sequence ends there."""
    while at + 8 <= len(data):
        tag = _tag(data, at)
        if tag != _ITEM:
            if tag != _END_OF_SEQUENCE:
                raise ValueError(f"no item starts at byte {at}")
            return at, True
        length = _LENGTH.unpack_from(data, at + 4)[0]
        try:
            end = _end(data, at + 8, len(data), explicit, _END_OF_ITEM) + 8 if length == _UNDEFINED else at + 8 + length
        except struct.error:
            break
        if end > len(data):
            break
        at = end
    return at, False
