"""An object as its Part 10 bytes, without a copy of what is large in it.

pydicom's own writer copies every value once per level of nesting, and encodes an element anew wherever it stands. A
mask of a slide has thousands of frames whose functional groups share their parts, and one value of a hundred megabytes.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from pydicom.charset import default_encoding
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, validate_file_meta
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr_element, write_data_element, write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian

_BLOCK: Final = 1 << 18
# Values of this many bytes are referred to; smaller ones are copied.
_LARGE: Final = 1 << 16
_OTHER_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
_PREAMBLE: Final = b"\0" * 128 + b"DICM"
_ITEM: Final = b"\xfe\xff\x00\xe0"
_LONGEST: Final = 0xFFFFFFFE


def elements(ds: Dataset) -> Iterator[DataElement]:
    """Every element of every level, one that stands in several places once."""
    seen: set[int] = set()

    def walk(level: Dataset) -> Iterator[DataElement]:
        for element in level:
            if id(element) in seen:
                continue
            seen.add(id(element))
            yield element
            if element.VR == "SQ":
                for item in element.value or ():
                    yield from walk(item)

    return walk(ds)


@dataclass(frozen=True, slots=True)
class Part10:
    """The bytes of a file in pieces; iterating gives blocks of at most 256 KiB, from the start each time.

    Large pieces are the data set's own values, which must not change meanwhile.
    """

    pieces: tuple[bytes, ...]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            for at in range(0, len(piece), _BLOCK):
                yield piece[at : at + _BLOCK]


def encode(ds: Dataset) -> Part10:
    """What `pydicom.dcmwrite(..., enforce_file_format=True)` writes, byte by byte; but every length is said.

    pydicom leaves that of a sequence undefined where it was read so. For Explicit VR Little Endian only, which every
    object of ours has. Raises ValueError, TypeError, AttributeError, KeyError, OverflowError or OSError (pydicom's, for
    numbers out of range) where it cannot be encoded.
    """
    meta = deepcopy(ds.file_meta)
    if meta.get("TransferSyntaxUID") != ExplicitVRLittleEndian:
        raise ValueError(f"transfer syntax {meta.get('TransferSyntaxUID')} is not Explicit VR Little Endian")
    if ds.group_dataset(0x0000) or ds.group_dataset(0x0002):
        raise ValueError("command and file meta elements do not belong into a data set")
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    validate_file_meta(meta, enforce_standard=True)
    head = _buffer()
    head.write(_PREAMBLE)
    write_file_meta_info(head, meta, enforce_standard=True)
    body = _Encoder().dataset(ds, default_encoding)
    return Part10((head.getvalue(), *_joined(body)))


class _Encoder:
    """Encodes one data set; remembers the elements that stand in several items."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], bytes] = {}

    def dataset(self, ds: Dataset, character_set: str | list[str]) -> list[bytes]:
        own = ds.get("SpecificCharacterSet", character_set) or character_set
        pieces: list[bytes] = []
        for tag in sorted(ds.keys()):
            if tag.element == 0 and tag.group > 6:
                continue  # group lengths are retired
            element = correct_ambiguous_vr_element(ds[tag], ds, True)
            assert isinstance(element, DataElement)
            pieces.extend(self._element(element, own))
        return pieces

    def _element(self, element: DataElement, character_set: str | list[str]) -> list[bytes]:
        if element.VR == "SQ":
            key = id(element), str(character_set)
            known = self._known.get(key)
            if known is not None:
                return [known]
            pieces = self._sequence(element, character_set)
            if sum(map(len, pieces)) < _LARGE:
                self._known[key] = joined = b"".join(pieces)
                return [joined]
            return pieces
        if element.VR in _OTHER_VRS and isinstance(element.value, bytes) and len(element.value) >= _LARGE:
            value = element.value
            padding = [b"\0"] if len(value) % 2 else []
            return [_long_header(element, len(value) + len(padding)), value, *padding]
        small = _buffer()
        write_data_element(small, element, character_set)
        return [small.getvalue()]

    def _sequence(self, element: DataElement, character_set: str | list[str]) -> list[bytes]:
        pieces: list[bytes] = []
        for item in element.value or ():
            inside = self.dataset(item, character_set)
            length = sum(map(len, inside))
            pieces.append(_ITEM + length.to_bytes(4, "little"))
            pieces.extend(inside)
        return [_long_header(element, sum(map(len, pieces))), *pieces]


def _long_header(element: DataElement, length: int) -> bytes:
    """Tag, VR and length of an element whose VR has 32 bits for it (PS3.5 7.1.2)."""
    if length > _LONGEST:
        raise ValueError(f"{element.keyword} of {length} bytes is longer than an element may be")
    tag = element.tag.group.to_bytes(2, "little") + element.tag.element.to_bytes(2, "little")
    return tag + element.VR.encode("ascii") + b"\0\0" + length.to_bytes(4, "little")


def _joined(pieces: list[bytes]) -> Iterator[bytes]:
    """The same with neighbours put together, but for large ones."""
    small: list[bytes] = []
    for piece in pieces:
        if len(piece) < _LARGE:
            small.append(piece)
            continue
        yield b"".join(small)
        small.clear()
        yield piece
    yield b"".join(small)


def _buffer() -> DicomBytesIO:
    made = DicomBytesIO()
    made.is_little_endian, made.is_implicit_VR = True, False
    return made
