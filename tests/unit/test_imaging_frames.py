import io
import itertools
import os

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
from airouter.imaging.frames import FrameIndex, dataset_frames, read_frames
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


def encapsulated(fragments: list[bytes], frames: int, table: bytes = b"") -> Dataset:
    """Fragments as they stand: pydicom would join or cut them."""

    def item(data: bytes) -> bytes:
        return b"\xfe\xff\x00\xe0" + len(data).to_bytes(4, "little") + data

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
    assert [b"".join(content[o : o + n] for o, n in buffered.span(i)) for i in range(1, 13)] == expected
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
    spans = itertools.chain.from_iterable(index.span(n) for n in range(1, len(index) + 1))
    assert all(offset >= 0 and offset + length <= len(content) for offset, length in spans)


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
