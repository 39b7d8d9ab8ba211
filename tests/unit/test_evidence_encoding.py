"""Objects as bytes in pieces: the same as pydicom writes, with large values referred to instead of copied."""

import io

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from airouter.evidence.encoding import elements, encode
from airouter.evidence.write import write
from tests import evidence_samples as samples


def written(kind: str) -> dict[str, Dataset]:
    sources = {"slide": samples.slide_phantom, "fundus": samples.fundus_phantom, "oct": samples.oct_phantom}[kind]()
    result = {
        "slide": lambda: samples.slide_result(sources),
        "fundus": lambda: samples.eye_result(sources),
        "oct": lambda: samples.eye_result(sources, frames=(2, 4)),
    }[kind]()
    made = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    return {w.role: w.dataset for w in made}


def by_pydicom(ds: Dataset) -> bytes:
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["slide", "fundus", "oct"])
def test_every_object_is_encoded_as_pydicom_does(kind: str) -> None:
    objects = written(kind)
    assert len(objects) >= 2
    for ds in objects.values():
        mine = b"".join(encode(ds))
        assert mine == by_pydicom(ds)
        assert mine == b"".join(encode(dcmread(io.BytesIO(mine))))


@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"]])
def test_text_is_encoded_in_the_character_set_of_the_object(character_set: str | list[str] | None) -> None:
    ds = written("slide")["report"]
    ds.SpecificCharacterSet = character_set
    ds.PatientName = "Nachname^Vorname"
    if character_set in ("ISO_IR 100", "ISO_IR 192"):
        ds.PatientName = "Müller^Jörg"
        ds.ContentSequence[0].ConceptNameCodeSequence[0].CodeMeaning = "für"
    assert b"".join(encode(ds)) == by_pydicom(ds)


def test_what_items_of_two_character_sets_share_is_encoded_in_each() -> None:
    shared = DataElement(0x0040A043, "SQ", [Dataset()])
    shared.value[0].CodeMeaning = "für"
    ds = written("slide")["tissue"]
    ds.ConceptCodeSequence = items = [Dataset(), Dataset()]
    for item, character_set in zip(items, ("ISO_IR 100", "ISO_IR 192"), strict=True):
        item.SpecificCharacterSet = character_set
        item.add(shared)
    assert b"".join(encode(ds)) == by_pydicom(ds)


def test_lengths_that_were_undefined_are_said() -> None:
    ds = written("slide")["tissue"]
    expected = by_pydicom(ds)
    ds["ReferencedSeriesSequence"].is_undefined_length = True
    ds.ReferencedSeriesSequence[0].is_undefined_length_sequence_item = True
    assert by_pydicom(ds) != expected
    assert b"".join(encode(ds)) == expected


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 16) + 1, 3_000_001])
def test_values_of_any_length(size: int) -> None:
    ds = written("slide")["tissue"]
    ds.PixelData = np.random.default_rng(size).bytes(size)
    item = Dataset()
    item.EncapsulatedDocument = np.random.default_rng(size).bytes(size)
    item.NumberOfFrames = 1
    ds.ReferencedImageBoxSequence = [item, Dataset(), item]
    file = encode(ds)
    assert b"".join(file) == by_pydicom(ds)
    assert len(file) == len(by_pydicom(ds))


def test_it_gives_blocks_and_starts_anew_each_time() -> None:
    ds = written("slide")["tissue"]
    ds.PixelData = bytes(5_000_000)
    file = encode(ds)
    blocks = list(file)
    assert len(blocks) > 15 and all(0 < len(block) <= 1 << 18 for block in blocks)
    assert list(file) == blocks
    assert any(piece is ds.PixelData for piece in file.pieces)


def test_elements_are_those_of_every_level_and_shared_ones_come_once() -> None:
    ds = written("slide")["report"]
    assert [id(e) for e in elements(ds)] == list(dict.fromkeys(id(e) for e in ds.iterall()))
    shared = DataElement(0x00081110, "SQ", [Dataset()])
    shared.value[0].ReferencedSOPInstanceUID = "1.2"
    top = Dataset()
    first, second = Dataset(), Dataset()
    first.add(shared)
    second.add(shared)
    top.ReferencedSeriesSequence = [first, second]
    assert [e.keyword for e in elements(top)] == [
        "ReferencedSeriesSequence",
        "ReferencedStudySequence",
        "ReferencedSOPInstanceUID",
    ]
    assert sum(e.keyword == "ReferencedSOPInstanceUID" for e in top.iterall()) == 2


def test_what_is_no_object_of_ours_is_refused() -> None:
    ds = written("slide")["tissue"]
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with pytest.raises(ValueError, match="Explicit VR"):
        encode(ds)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [(0x00280010, "US", 70000), (0x00189073, "FD", "a"), (0x00000010, "US", 1), (0x00020010, "UI", "1.2")],
)
def test_what_cannot_be_encoded_raises(tag: int, vr: str, value: object) -> None:
    ds = written("slide")["tissue"]
    ds.add(DataElement(tag, vr, value))
    with pytest.raises((ValueError, TypeError, OSError)):
        encode(ds)
