"""Headers as DICOM JSON: nothing is lost on the way to a reader that knows nothing of this code."""

import io
import json
import struct

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from airouter.errors import NotInArchive
from airouter.imaging.dicom_json import bulk_value, dicom_json

ADDRESS = "/ai/dicom-web/studies/1/series/2/instances/3"

_TEXT = st.text(st.characters(codec="latin-1", categories=("L", "N")), min_size=1, max_size=12)
_FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=900)
_VALUES = {
    "PatientName": _TEXT,
    "StudyDescription": _TEXT,
    "NumberOfFrames": st.integers(1, 10**6),
    "Rows": st.integers(0, 65535),
    "PixelSpacing": st.lists(st.decimals(0, 9, places=3).map(float), min_size=2, max_size=2),
    "SliceThickness": st.floats(0, 100).map(lambda v: round(v, 4)),
    "ImageOrientationSlide": st.lists(st.integers(-1, 1).map(float), min_size=6, max_size=6),
    "PointCoordinatesData": _FLOATS.map(lambda v: struct.pack(f"<{len(v)}f", *v)),
    "DoublePointCoordinatesData": _FLOATS.map(lambda v: struct.pack(f"<{len(v)}d", *v)),
    "LongPrimitivePointIndexList": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=900).map(
        lambda v: struct.pack(f"<{len(v)}I", *v)
    ),
    "ICCProfile": st.binary(min_size=2, max_size=3000).map(lambda v: v + b"\0" * (len(v) % 2)),
}
_FLAT = st.fixed_dictionaries({}, optional=_VALUES)


def dataset(values: dict[str, object]) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def stored(made: Dataset) -> Dataset:
    """As it comes out of a file."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2"
    made.SpecificCharacterSet = "ISO_IR 192"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, made, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


@given(_FLAT, st.lists(_FLAT, max_size=3), _FLAT)
def test_a_header_survives_whole(
    top: dict[str, object], items: list[dict[str, object]], deep: dict[str, object]
) -> None:
    made = dataset(top)
    made.AnnotationGroupSequence = [dataset(each) for each in items]
    if items:
        made.AnnotationGroupSequence[-1].ReferencedImageSequence = [dataset(deep)]
    header = stored(made)
    text = json.dumps(dicom_json(header, ADDRESS), allow_nan=False)

    def fetched(tag: str, vr: str, uri: str) -> bytes:
        assert uri.startswith(f"{ADDRESS}/bulk/")
        return bulk_value(header, uri.removeprefix(f"{ADDRESS}/bulk/"))

    read = Dataset.from_json(text, fetched)
    assert read.pop("AvailableTransferSyntaxUID").value == ExplicitVRLittleEndian
    assert read == Dataset(header)


@given(st.integers(0, 5000))
def test_only_what_is_long_is_told_by_address(length: int) -> None:
    header = dataset({"ICCProfile": b"\1" * length})
    told = dicom_json(header, ADDRESS)["00282000"]
    assert ("BulkDataURI" in told) == (length > 2048)
    assert ("InlineBinary" in told) == (0 < length <= 2048)


def test_numbers_that_json_cannot_say_are_text() -> None:
    header = dataset({"RealWorldValueSlope": float("nan"), "RecommendedDisplayFrameRateInFloat": float("inf")})
    told = dicom_json(header, ADDRESS)
    assert json.dumps(told, allow_nan=False)
    assert told["00409225"]["Value"] == ["NaN"]


def test_an_element_that_is_no_value_of_its_kind_costs_only_itself() -> None:
    header = stored(dataset({"PatientID": "p", "Rows": 3}))
    header._dict[pydicom.tag.Tag(0x00280011)] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x00280011), "US", 3, b"abc", 0, False, True
    )
    told = dicom_json(header, ADDRESS)
    assert told["00280010"] == {"vr": "US", "Value": [3]}
    assert "00280011" not in told


@pytest.mark.parametrize(
    "path", ["00282000", "0008103E", "00081140/1/00282000", "006A0002/9/00660016", "006A0002/1/00660016/1"]
)
def test_what_is_not_there_cannot_be_fetched(path: str) -> None:
    header = dataset({"SeriesDescription": "d"})
    header.AnnotationGroupSequence = [Dataset()]
    with pytest.raises(NotInArchive):
        bulk_value(header, path)
