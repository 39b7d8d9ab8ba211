import io
import os
import tracemalloc

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from airouter.errors import PixelDataError
from airouter.imaging.frames import FrameIndex, buffer_frames, dataset_frames, read_frames
from phantoms import dicom
from tests.data import files

RGB = cv2.resize(np.random.default_rng(0).integers(60, 250, (9, 11, 3), np.uint8), (220, 180))


def stored(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def indexed(content: bytes, path) -> list[bytes]:
    """Every frame, read from a file by its index."""
    path.write_bytes(content)
    with path.open("rb") as file:
        index = FrameIndex.of(file)
        return list(read_frames(file.fileno(), index, range(1, len(index) + 1)))


def item(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(data).to_bytes(4, "little") + data


def encapsulated(fragments: list[bytes], frames: int, table: bytes = b"") -> Dataset:
    """Fragments as they stand: pydicom would join or cut them."""

    ds = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.SOPClassUID, ds.SOPInstanceUID = dicom.WSI, "1.2.3"
    ds.NumberOfFrames = frames
    ds.PixelData = item(table) + b"".join(item(f) for f in fragments)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


@pytest.mark.parametrize("transfer", ["jpeg", "raw", "jpeg2000", "jpegls"])
@pytest.mark.parametrize("offset_table", ["basic", "extended", "none"])
def test_frames_of_a_file_a_buffer_and_a_data_set_are_those_that_were_stored(transfer, offset_table, tmp_path):
    ds = dicom.slide_instances(RGB, 0.5, levels=1, tile=64, transfer=transfer, offset_table=offset_table)[0]
    if transfer == "raw":
        expected = [ds.PixelData[i * 12288 : (i + 1) * 12288] for i in range(12)]
    else:
        expected = list(generate_frames(ds.PixelData, number_of_frames=12))
    content = stored(ds)
    assert indexed(content, tmp_path / "a.dcm") == expected
    assert list(dataset_frames(ds, range(1, 13))) == expected
    buffered = FrameIndex.of(io.BytesIO(content))
    assert list(buffer_frames(content, buffered, range(1, 13))) == expected
    assert buffered.transfer_syntax == ds.file_meta.TransferSyntaxUID


def test_frames_come_in_the_order_asked():
    ds = dicom.slide_instances(RGB, 0.5, levels=1, tile=64)[0]
    one, two, three = dataset_frames(ds, [1, 2, 3])
    assert list(dataset_frames(ds, [3, 1, 1, 2])) == [three, one, one, two]


def test_implicit_little_endian_is_read(tmp_path):
    ds = dicom.fundus_instance(RGB, transfer="raw")
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = tmp_path / "a.dcm"
    pydicom.dcmwrite(path, ds, implicit_vr=True, little_endian=True, enforce_file_format=True)
    (frame,) = indexed(path.read_bytes(), tmp_path / "b.dcm")
    assert frame == RGB.tobytes()


@pytest.mark.parametrize("number", [0, -1, 13])
def test_a_frame_that_does_not_exist_is_an_error(number):
    ds = dicom.slide_instances(RGB, 0.5, levels=1, tile=64)[0]
    with pytest.raises(PixelDataError, match=f"no frame {number}"):
        list(dataset_frames(ds, [number]))


@pytest.mark.parametrize("transfer", ["jpeg", "raw"])
@pytest.mark.parametrize("left", [0.3, 0.7, 0.98])
def test_a_truncated_file_is_refused(transfer, left):
    ds = dicom.slide_instances(RGB, 0.5, levels=1, tile=64, transfer=transfer)[0]
    content = stored(ds)
    start = content.index(b"\xe0\x7f\x10\x00")
    with pytest.raises(PixelDataError, match="truncated"):
        FrameIndex.of(io.BytesIO(content[: start + int((len(content) - start) * left)]))


def test_a_file_without_pixel_data_or_that_is_no_dicom_is_refused():
    ds = dicom.field_instance()
    with pytest.raises(PixelDataError, match="no Pixel Data"):
        FrameIndex.of(io.BytesIO(stored(ds)))
    for junk in (b"", b"x" * 50, b"\0" * 128 + b"DICM" + b"\xff" * 40):
        with pytest.raises(PixelDataError):
            FrameIndex.of(io.BytesIO(junk))


def test_a_file_that_became_shorter_after_it_was_indexed_is_an_error(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(stored(dicom.fundus_instance(RGB)))
    with path.open("rb") as file:
        index = FrameIndex.of(file)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(PixelDataError, match="shorter"):
            list(read_frames(file.fileno(), index, [1]))


def test_several_fragments_of_a_frame_are_joined_by_the_table_or_by_their_first_bytes():
    parts = [b"\xff\xd8aa", b"bb", b"\xff\xd8cc", b"\xff\xd8dd", b"eeee"]
    joined = [b"\xff\xd8aabb", b"\xff\xd8cc", b"\xff\xd8ddeeee"]
    table = b"".join(n.to_bytes(4, "little") for n in (0, 22, 34))
    assert list(dataset_frames(encapsulated(parts, 3, table), [1, 2, 3])) == joined
    assert list(dataset_frames(encapsulated(parts, 3), [1, 2, 3])) == joined
    assert list(dataset_frames(encapsulated(parts, 1), [1])) == [b"".join(parts)]


def test_fragments_that_nothing_assigns_to_frames_are_refused():
    with pytest.raises(PixelDataError, match="cannot be assigned"):
        FrameIndex.of_dataset(encapsulated([b"aa", b"bb", b"cc"], 2))
    with pytest.raises(PixelDataError, match="does not point at fragments"):
        FrameIndex.of_dataset(encapsulated([b"aa", b"bb", b"cc"], 2, b"\0\0\0\0\x03\0\0\0"))
    with pytest.raises(PixelDataError, match="truncated"):
        FrameIndex.of_dataset(encapsulated([b"aa", b"bb"], 3))


def test_a_wrong_table_does_not_matter_where_every_frame_is_one_fragment():
    ds = encapsulated([b"aa", b"bb"], 2, b"\x63\0\0\0\x01\0\0\0")
    assert list(dataset_frames(ds, [1, 2])) == [b"aa", b"bb"]


def tables(frames: list[list[bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Where each frame of fragments starts, counted from the first, and how long it is without its item headers."""
    sizes = [sum(8 + len(f) for f in fragments) for fragments in frames]
    return np.cumsum([0, *sizes[:-1]]), np.array([sum(map(len, fragments)) for fragments in frames])


def extended(ds: Dataset, offsets, lengths=None) -> Dataset:
    ds.ExtendedOffsetTable = np.asarray(offsets, "<u8").tobytes()
    if lengths is not None:
        ds.ExtendedOffsetTableLengths = np.asarray(lengths, "<u8").tobytes()
    return ds


_FRAGMENT = st.binary(max_size=30).map(lambda b: b"\1\2" + b + b"\0" * (len(b) % 2))


@given(st.lists(st.lists(_FRAGMENT, min_size=1, max_size=3), min_size=1, max_size=6), st.booleans())
@settings(max_examples=100, deadline=None)
def test_reading_by_a_table_equals_walking(frames, single):
    frames = [[b"\xff\xd8" + part[0], *([] if single else part[1:])] for part in frames]
    fragments = [fragment for part in frames for fragment in part]
    joined = [b"".join(part) for part in frames]
    offsets, lengths = tables(frames)
    count, basic = len(frames), offsets.astype("<u4").tobytes()
    for ds in (
        encapsulated(fragments, count),
        encapsulated(fragments, count, basic),
        extended(encapsulated(fragments, count), offsets),
        extended(encapsulated(fragments, count), offsets, lengths),
        extended(encapsulated(fragments, count, basic), offsets + 1),
    ):
        content = stored(ds)
        for data, index in ((ds.PixelData, FrameIndex.of_dataset(ds)), (content, FrameIndex.of(io.BytesIO(content)))):
            assert list(buffer_frames(data, index, range(1, count + 1))) == joined


def test_lengths_may_leave_the_padding_out_but_not_contradict_the_items():
    parts = [b"\xff\xd8a\0", b"\xff\xd8bb", b"\xff\xd8c\0"]
    for lengths in ([3, 4, 3], [4, 4, 4], [4, 2, 4], [900, 4, 4], [4, 4]):
        ds = extended(encapsulated(parts, 3), [0, 12, 24], lengths)
        assert list(dataset_frames(ds, [1, 2, 3])) == parts
    # two items pretend to be the first frame, which has one of that length: walking cannot tell what is meant
    ds = extended(encapsulated([b"aa", b"bb", b"cc"], 2), [0, 20], [2, 2])
    assert list(dataset_frames(ds, [1, 2])) == [b"aabb", b"cc"]


def many(count: int, table: str) -> bytes:
    fragments = [b"\xff\xd8" + n.to_bytes(4, "big") for n in range(count)]
    offsets, lengths = tables([[f] for f in fragments])
    if table == "basic":
        return stored(encapsulated(fragments, count, offsets.astype("<u4").tobytes()))
    ds = encapsulated(fragments, count)
    return stored(extended(ds, offsets, lengths) if table == "extended" else ds)


@pytest.mark.parametrize("table", ["basic", "extended"])
def test_with_a_table_opening_looks_at_no_frame_but_the_last(table, tmp_path, monkeypatch):
    reads: list[tuple[int, int]] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: reads.append((at, n)) or pread(fd, n, at))
    asked = []
    for count in (10, 400):
        path = tmp_path / f"{count}.dcm"
        content = many(count, table)
        path.write_bytes(content)
        reads.clear()
        with path.open("rb") as file:
            index = FrameIndex.of(file)
            asked.append(len(reads))
            first, behind = index.span(1)[0], index.span(count)[0]
            assert not [at for at, n in reads if n and first <= at < behind]
            reads.clear()
            assert len(list(read_frames(file.fileno(), index, [3, 5]))) == 2
            assert reads == [index.span(3), index.span(5)]  # a frame is one read
    assert asked[0] == asked[1] <= 6


def test_the_index_of_many_frames_is_small():
    content = many(20000, "basic")
    buffer = io.BytesIO(content)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        index = FrameIndex.of(buffer)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(index) == 20000
    assert held < 300_000


@pytest.mark.parametrize("byte", [0, 3, 4, 7])
def test_a_frame_whose_items_are_damaged_is_refused_when_it_is_read_and_only_that(byte, tmp_path):
    path = tmp_path / "a.dcm"
    content = bytearray(many(12, "basic"))
    offset, _ = FrameIndex.of(io.BytesIO(bytes(content))).span(7)
    content[offset + byte] ^= 0x55
    path.write_bytes(content)
    with path.open("rb") as file:
        index = FrameIndex.of(file)
        others = [n for n in range(1, 13) if n != 7]
        assert list(read_frames(file.fileno(), index, others)) == [
            b"\xff\xd8" + (n - 1).to_bytes(4, "big") for n in others
        ]
        with pytest.raises(PixelDataError, match="frame 7 cannot be read"):
            list(read_frames(file.fileno(), index, [7]))


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("cut", [9, 12, 20, 60, 100])
def test_a_cut_anywhere_behind_the_table_is_seen_at_opening(table, cut):
    """8 bytes are the delimiter, 14 each frame with its item header: a cut of 8 alone loses no pixel."""
    content = many(12, table)
    assert len(FrameIndex.of(io.BytesIO(content[:-8]))) == 12
    with pytest.raises(PixelDataError, match="truncated"):
        FrameIndex.of(io.BytesIO(content[:-cut]))


def test_a_table_that_wrapped_at_4_gb_or_has_no_entry_for_a_frame_is_not_used():
    parts = [b"\xff\xd8aa", b"\xff\xd8bb", b"\xff\xd8cc"]
    for table in ([0, 12, 0], [0, 12, 11], [12, 24, 36], [0, 24], [0, 12, 24, 36], [0, 12, 2**32 - 1], [0, 11, 23]):
        ds = encapsulated(parts, 3, np.array(table, "<u4").tobytes())
        assert list(dataset_frames(ds, [1, 2, 3])) == parts


def test_a_header_that_promises_more_frames_than_there_are_bytes_costs_nothing():
    ds = dicom.fundus_instance(RGB, transfer="raw")
    ds.NumberOfFrames = 2**31 - 1
    ds.Rows = ds.Columns = 65535
    with pytest.raises(PixelDataError, match="truncated"):
        FrameIndex.of_dataset(ds)
    jpeg = dicom.fundus_instance(RGB)
    jpeg.NumberOfFrames = 2**31 - 1
    with pytest.raises(PixelDataError, match="truncated"):
        FrameIndex.of_dataset(jpeg)


def test_encodings_without_frames_of_their_own_are_refused():
    ds = dicom.fundus_instance(RGB, transfer="raw")
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    with pytest.raises(PixelDataError, match="unsupported transfer syntax"):
        FrameIndex.of_dataset(ds)
    ds.file_meta.TransferSyntaxUID = "1.2.3"
    with pytest.raises(PixelDataError, match="transfer syntax"):
        FrameIndex.of_dataset(ds)


def test_pixel_data_that_is_not_encoded_as_its_transfer_syntax_says_is_refused():
    ds = dicom.fundus_instance(RGB)
    content = stored(ds).replace(b"1.2.840.10008.1.2.4.50\0"[:22], ExplicitVRLittleEndian.encode().ljust(22, b"\0"), 1)
    with pytest.raises(PixelDataError, match="is not encoded as"):
        FrameIndex.of(io.BytesIO(content))


_CONTENT = stored(dicom.slide_instances(RGB[:64], 0.5, levels=1, tile=32, seed=1)[0])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_is_a_pixel_data_error_or_stays_within_the_file(data):
    """Whatever bytes change, the index either refuses or names only bytes that exist."""
    content = bytearray(_CONTENT)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    try:
        index = FrameIndex.of(io.BytesIO(bytes(content)))
    except PixelDataError:
        return
    for number in range(1, len(index) + 1):
        offset, length = index.span(number)
        assert offset >= 0 <= length <= len(content) - offset
        try:
            (frame,) = buffer_frames(bytes(content), index, [number])
        except PixelDataError as error:
            assert f"frame {number} " in str(error)
        else:
            assert len(frame) <= length


@pytest.mark.parametrize(
    "name", ["sm/cmu1_pyramid/*.dcm", "sm/camelyon/*.dcm", "sm/highdicom/*.dcm", "sm/short_edge_tiles/*.dcm"]
)
def test_frames_of_real_files_are_those_that_pydicom_finds(name):
    for path in files(name):
        ds = pydicom.dcmread(path)
        count = int(ds.NumberOfFrames)
        with path.open("rb") as file:
            frames = list(read_frames(file.fileno(), FrameIndex.of(file), range(1, count + 1)))
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            assert frames == list(generate_frames(ds.PixelData, number_of_frames=count))
        else:
            assert b"".join(frames) == ds.PixelData[: count * len(frames[0])]


def test_pydicom_reads_what_the_phantom_encapsulates():
    assert list(generate_frames(encapsulate([b"ab", b"cd"]), number_of_frames=2)) == [b"ab", b"cd"]


def unlike_pictures(element: str, value: bytes, frames: int, bits: int, rows: int = 4, columns: int = 6) -> bytes:
    """A file whose pixels are single bits or floating point numbers."""
    ds = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    ds.NumberOfFrames, ds.Rows, ds.Columns, ds.BitsAllocated, ds.SamplesPerPixel = frames, rows, columns, bits, 1
    setattr(ds, element, value)
    if element == "PixelData":
        ds["PixelData"].VR = "OB"
    return stored(ds)


@pytest.mark.parametrize(("element", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_frames_of_floating_point_numbers(element, kind, tmp_path):
    values = np.arange(48, dtype=kind).reshape(2, 24)
    found = indexed(unlike_pictures(element, values.tobytes(), 2, values.itemsize * 8), tmp_path / "map.dcm")
    assert [np.frombuffer(frame, kind).tolist() for frame in found] == values.tolist()


def test_frames_of_single_bits(tmp_path):
    assert indexed(unlike_pictures("PixelData", bytes(range(6)), 2, 1), tmp_path / "seg.dcm") == [
        bytes([0, 1, 2]),
        bytes([3, 4, 5]),
    ]


def test_frames_of_single_bits_that_begin_within_a_byte_are_refused(tmp_path):
    with pytest.raises(PixelDataError, match="Bits Allocated 1 in 2 frames of 15 pixels"):
        indexed(unlike_pictures("PixelData", bytes(4), 2, 1, 3, 5), tmp_path / "seg.dcm")
    assert indexed(unlike_pictures("PixelData", b"\x05\x40", 1, 1, 3, 5), tmp_path / "one.dcm") == [b"\x05\x40"]
