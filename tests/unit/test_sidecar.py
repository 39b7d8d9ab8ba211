"""Sidecars: strict, whole, quoting nothing; the command line over them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.adapters.sidecar import beside, read
from airouter.errors import SidecarError
from tests.slide_files import PATIENT, description


def written(folder: Path, document: Any) -> Path:
    path = folder / "slide.svs.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_sidecar_lies_beside_its_slide_with_the_whole_name() -> None:
    assert beside(Path("/x/slide.svs")) == Path("/x/slide.svs.json")


def test_everything_is_read(tmp_path: Path) -> None:
    code = {"value": "76752008", "scheme": "SCT", "meaning": "Breast"}
    whole = description(
        study={"instance_uid": "1.2.3", "description": "Breast", "referring_physician": "Ray^X"},
        specimen={"identifier": "S26-17-A", "type": code, "site": code},
        spacing_um=0.25,
    )
    found = read(written(tmp_path, whole))
    assert json.loads(found.model_dump_json(exclude_none=True)) == whole


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({}, ["patient.id is missing", "specimen.container is missing"]),
        ({"patient": {"id": "1"}}, ["specimen.container is missing"]),
        (description(patient={"id": ""}), ["patient.id"]),
        (description(patient={"id": "A\\B"}), ["patient.id has characters"]),
        (description(patient={"id": "A\x85B"}), ["patient.id has characters"]),
        (description(patient={"id": 17}), ["patient.id"]),
        (description(patient={"birth_date": "17.05.1960"}), ["patient.birth_date"]),
        (description(patient={"birth_date": "1960-02-30"}), ["patient.birth_date"]),
        (description(patient={"sex": "female"}), ["patient.sex"]),
        (description(patient={"name": "a^b^c^d^e^f"}), ["patient.name has characters"]),
        (description(study={"accession_number": "12345678901234567"}), ["study.accession_number"]),
        (description(study={"instance_uid": "1.02"}), ["study.instance_uid"]),
        (description(study={"time": "25:00"}), ["study.time"]),
        (description(specimen={"stain": "HE"}), ["specimen.stain"]),
        (description(spacing_um=0), ["spacing_um"]),
        (description(spacing_um="0.5"), ["spacing_um"]),
        (description(laterality="L"), ["the sidecar has an unknown key"]),
        (description(patient={"surname": "X"}), ["patient has an unknown key"]),
        (description(patient=[1]), ["patient"]),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path: Path, document: Any, names: list[str]) -> None:
    with pytest.raises(SidecarError) as refused:
        read(written(tmp_path, document))
    for name in names:
        assert name in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"patient": {"id": "1", "id": "2"}}', "[" * 100_000, "nul"])
def test_what_is_no_object_of_distinct_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SidecarError):
        read(written(tmp_path, text))


def test_a_byte_order_mark_as_windows_writes_it_is_no_error(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(description()).encode())
    assert read(path).patient.id == "IMPORT-1"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_and_not_guessed(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "")
    path.write_bytes(json.dumps(description(patient={"name": "Müller^Jörg"}), ensure_ascii=False).encode(encoding))
    with pytest.raises(SidecarError, match="it must be JSON in UTF-8"):
        read(path)


def test_half_a_character_is_told_of_the_sidecar(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match=r"^the sidecar: "):
        read(written(tmp_path, json.dumps(description()).replace("IMPORT-1", "A\\ud800B")))


def test_a_huge_sidecar_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="larger than 64 KiB"):
        read(written(tmp_path, json.dumps(description()) + " " * 100_000))


def test_a_sidecar_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="cannot be read"):
        read(tmp_path / "absent.json")


def test_the_command_line_lies_over_the_sidecar(tmp_path: Path) -> None:
    path = written(tmp_path, description())
    found = read(path, {"patient": {"id": "OTHER", "name": None}, "specimen": {"stain": "H&E"}, "spacing_um": 0.3})
    assert (found.patient.id, found.patient.name, found.specimen.stain) == ("OTHER", PATIENT, "H&E")
    assert (found.specimen.container, found.spacing_um) == ("S26-17-A1-2", 0.3)


def test_the_command_line_alone_is_enough() -> None:
    found = read(None, {"patient": {"id": "1"}, "specimen": {"container": "S"}, "study": {"date": None}})
    assert (found.patient.id, found.specimen.container, found.study.date) == ("1", "S", None)


def test_spaces_around_an_identifier_are_no_part_of_it() -> None:
    found = read(None, {"patient": {"id": " 1 "}, "specimen": {"container": "S  "}})
    assert (found.patient.id, found.specimen.container) == ("1", "S")


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=4, alphabet="äöüÄÖÜ", max_size=12), min_size=1)
)
def test_no_value_is_ever_quoted(values: dict[str, str]) -> None:
    """Reasons reach the log; values are patients'."""
    with pytest.raises(SidecarError) as refused:
        read(None, {"patient": {**values, "sex": "Ößäüö"}, "specimen": {"container": "S"}})
    assert not any(value in str(refused.value) for value in [*values.values(), "Ößäüö"])
