"""The per-frame groups of large slides, read without pydicom's objects: the same places, whatever the encoding."""

import io
import itertools
import struct

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from airouter.errors import PixelDataError
from airouter.imaging import groups
from airouter.imaging.groups import positions, read_header
from airouter.imaging.tiling import Listed
from phantoms import dicom

IMAGE = np.random.default_rng(0).integers(0, 250, (2, 3, 80, 100, 3), np.uint8)
ENCODINGS = list(itertools.product((False, True), ("raw", "raw-implicit")))


def sparse(transfer: str = "raw") -> Dataset:
    (ds,) = dicom.slide_instances(IMAGE, 0.5, levels=1, tile=32, transfer=transfer, sparse=True, depth_mm=0.25)
    return ds


def undefined(ds: Dataset, lengths: bool) -> Dataset:
    """Sequences and items of undefined length, or of defined."""
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = lengths
            for item in element.value:
                item.is_undefined_length_sequence_item = lengths
                undefined(item, lengths)
    return ds


def part10(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def same(header: Dataset, ds: Dataset) -> bool:
    found, expected = positions(header), positions(ds)
    pairs = ((found.rows, expected.rows), (found.columns, expected.columns), (found.depths, expected.depths))
    return all((a == b).all() for a, b in pairs) and found.paths == expected.paths


@pytest.mark.parametrize(("lengths", "transfer"), ENCODINGS)
def test_places_are_those_that_pydicom_reads(lengths, transfer):
    ds = undefined(sparse(transfer), lengths)
    header = read_header(io.BytesIO(part10(ds)))
    assert isinstance(header.get_item(groups._GROUPS), RawDataElement)
    assert same(header, ds)
    found = positions(header)
    assert len(found) == ds.NumberOfFrames == 2 * 3 * 3 * 4
    assert (found.rows.max(), found.columns.max()) == (65, 97)
    assert sorted(set(found.depths)) == [0.249, 0.25, 0.251]
    assert set(found.paths) == {"1", "2"}
    assert isinstance(header.get_item(groups._GROUPS), RawDataElement)  # still encoded


@pytest.mark.parametrize(("lengths", "transfer"), ENCODINGS)
def test_the_header_is_that_of_dcmread_and_the_file_is_left_at_the_pixels(lengths, transfer):
    file = io.BytesIO(part10(undefined(sparse(transfer), lengths)))
    header = read_header(file)
    at = file.tell()
    file.seek(0)
    assert header == pydicom.dcmread(file, stop_before_pixels=True)
    assert file.tell() == at


def test_what_stands_between_the_groups_and_the_pixels_is_kept():
    (ds,) = dicom.slide_instances(
        IMAGE[0, 0], 0.5, levels=1, tile=32, transfer="jpeg", sparse=True, offset_table="extended"
    )
    header = read_header(io.BytesIO(part10(undefined(ds, True))))
    assert header.ExtendedOffsetTable == ds.ExtendedOffsetTable
    assert "PixelData" not in header


def test_a_header_without_groups_is_read_too():
    (ds,) = dicom.slide_instances(IMAGE[0, 0], 0.5, levels=1, tile=32)
    header = read_header(io.BytesIO(part10(ds)))
    assert header.TotalPixelMatrixRows == 80
    assert len(positions(header)) == 0


def test_groups_longer_than_one_read_are_put_together(monkeypatch):
    monkeypatch.setattr(groups, "_FIRST_READ", 64)
    ds = undefined(sparse(), True)
    assert same(read_header(io.BytesIO(part10(ds))), ds)


@pytest.mark.parametrize(("lengths", "transfer"), ENCODINGS)
def test_a_file_cut_within_its_groups_is_an_error_or_short_of_groups(lengths, transfer):
    data = part10(undefined(sparse(transfer), lengths))
    (start,) = (data.index(struct.pack("<HH", 0x5200, 0x9230)),)
    for cut in range(start + 20, start + 2000, 97):
        try:
            header = read_header(io.BytesIO(data[:cut]))
            assert len(positions(header)) < 72
        except (EOFError, PixelDataError):
            continue


def test_big_endian_is_left_to_pydicom():
    ds = sparse()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    del ds.PixelData
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True, implicit_vr=False, little_endian=False)
    assert same(read_header(io.BytesIO(buffer.getvalue())), ds)


def test_a_private_sequence_of_unknown_encoding_in_a_group_is_passed_over():
    ds = undefined(sparse(), True)
    inner = Dataset()
    inner.RowPositionInTotalImagePixelMatrix = 7
    for group in ds.PerFrameFunctionalGroupsSequence:
        block = group.private_block(0x0099, "ELSE", create=True)
        block.add_new(1, "UN", b"\1\2\3\4")
        group.FrameContentSequence[0].OpticalPathSequence = Sequence([inner])
    undefined(ds, True)
    assert same(read_header(io.BytesIO(part10(ds))), ds)


@pytest.mark.parametrize(("vr", "value", "row"), [(b"US", b"\x40\x9c", 40000), (b"SL", b"\x01\0\0\0" * 10, 0)])
def test_a_position_of_another_type_is_read_as_that_type(vr, value, row):
    element = struct.pack("<HH2sH", 0x0048, 0x021F, vr, len(value)) + value
    place = struct.pack("<HHI", 0xFFFE, 0xE000, len(element)) + element
    sequence = struct.pack("<HH2s2xI", 0x0048, 0x021A, b"SQ", len(place)) + place
    data = struct.pack("<HHI", 0xFFFE, 0xE000, len(sequence)) + sequence
    header = Dataset()
    header[groups._GROUPS] = RawDataElement(
        pydicom.tag.Tag(groups._GROUPS), "SQ", len(data), data, 0, is_implicit_VR=False, is_little_endian=True
    )
    assert positions(header).rows.tolist() == [row]


def test_a_path_of_two_names_is_one_text():
    ds = sparse()
    ds.PerFrameFunctionalGroupsSequence[0].OpticalPathIdentificationSequence[0].OpticalPathIdentifier = ["1", "2"]
    assert isinstance(positions(ds).paths[0], str)


def test_unknown_sequences_hold_implicit_values():
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end_item, end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    content = item + struct.pack("<HHI", 0x0009, 0x1001, 2) + b"ab" + end_item + end
    unknown = struct.pack("<HH2s2xI", 0x0009, 0x1010, b"UN", 0xFFFFFFFF) + content
    place = struct.pack("<HH2sHi", 0x0048, 0x021E, b"SL", 4, 33) + struct.pack("<HH2sHi", 0x0048, 0x021F, b"SL", 4, 65)
    sequence = struct.pack("<HH2s2xI", 0x0048, 0x021A, b"SQ", len(place) + 8)
    sequence += struct.pack("<HHI", 0xFFFE, 0xE000, len(place)) + place
    data = item + unknown + sequence + end_item
    header = Dataset()
    header[groups._GROUPS] = RawDataElement(
        pydicom.tag.Tag(groups._GROUPS), "SQ", len(data), data, 0, is_implicit_VR=False, is_little_endian=True
    )
    found = positions(header)
    assert (found.rows.tolist(), found.columns.tolist(), found.paths) == ([65], [33], [None])


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_it_hang_or_fail_otherwise_than_as_broken_pixel_data(data, implicit):
    raw = RawDataElement(
        pydicom.tag.Tag(groups._GROUPS), "SQ", len(data), data, 0, is_implicit_VR=implicit, is_little_endian=True
    )
    header = Dataset()
    header[groups._GROUPS] = raw
    try:
        assert len(positions(header)) <= len(data) // 8
    except PixelDataError:
        return


# --- the list of places ---


@given(st.sets(st.tuples(st.integers(0, 30), st.integers(0, 6)), min_size=1, max_size=60))
@settings(deadline=None)
def test_listed_places_are_a_mapping(cells):
    numbers = np.array(sorted(row * 7 + column for row, column in cells))
    frames = np.arange(1, len(numbers) + 1, dtype=np.int32)
    listed = Listed(7, ("a", "b"), numbers, (frames % 2).astype(np.int32), frames)
    assert set(listed) == cells
    assert len(listed) == len(cells)
    for row in range(31):
        for column in range(-1, 9):
            place = listed.get((row, column))
            assert (place is not None) == ((row, column) in cells)
            if place is not None:
                assert place.frame == 1 + sorted(cells).index((row, column))
                assert place.instance_id == "ab"[place.frame % 2]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_large_sparse_slide_is_placed_without_objects(syntax, monkeypatch):
    ds = undefined(sparse("raw" if syntax == ExplicitVRLittleEndian else "raw-implicit"), True)

    def refuse(*_: object) -> None:
        raise AssertionError("a group was made an object")

    header = read_header(io.BytesIO(part10(ds)))
    monkeypatch.setattr(groups, "_of_item", refuse)
    assert len(positions(header)) == ds.NumberOfFrames
