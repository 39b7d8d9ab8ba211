"""The DICOMweb facade over the archive's twin in memory: what comes back, to whom, and every way it can fail."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from airouter.adapters.memory import MemoryArchive
from airouter.errors import ArchiveUnavailable, NotInArchive, PixelDataError, RequestError
from airouter.ports import SeenStudy
from airouter.services.dicom_web import MOST_BYTES, Address, DicomWeb, Found
from airouter.web.app import create_app
from airouter.web.dicom_web import MOST_FRAMES
from tests.e2e.samples import stained_slide
from tests.web_services import Fake

ROOT = "/ai/dicom-web"
LEVELS = stained_slide(384, seed=11)[1]
for _level in LEVELS:  # of the size that scanners write; that of the phantom is short enough to be told in place
    _level.OpticalPathSequence[0].ICCProfile = bytes(range(256)) * 12


@dataclass
class Twin:
    """Directory, sight and files over a MemoryArchive; `hidden`: nobody may see anything."""

    archive: MemoryArchive
    hidden: bool = False
    now: float = 0.0
    asked: list[Any] = field(default_factory=list)

    def instances(self, address: Address) -> Sequence[Found]:
        found: list[Found] = []
        for stamp in self.archive.studies(address.study):
            found += [
                Found(each.id, stamp.id, each.digest)
                for each in self.archive.study(stamp.id).instances
                if address.series in (None, each.series_uid) and address.instance in (None, each.uid)
            ]
        self.asked.append(address)
        return found

    def query(self, path: str, arguments: Mapping[str, str], headers: Mapping[str, str]) -> Any | None:
        self.asked.append((path, dict(arguments), headers.get("authorization")))
        if arguments.get("limit") == "no":
            raise RequestError("Orthanc refuses the search: HTTP 400")
        return None if self.hidden else [{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]

    def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        self.archive.study(study_id)
        self.asked.append(("sight", study_id))
        return None if self.hidden else SeenStudy(frozenset(), None)

    def file(self, instance: str, headers: Mapping[str, str], most: int) -> bytes | int | None:
        data = self.archive.part10(instance)
        return None if self.hidden else MOST_BYTES + 1 if most < len(data) else data

    def web(self) -> DicomWeb:
        return DicomWeb(self.archive, self, self, self, now=lambda: self.now)


@pytest.fixture
def twin() -> Twin:
    return Twin(MemoryArchive(*LEVELS))


@pytest.fixture
def client(twin: Twin) -> FlaskClient:
    web = twin.web()
    made: FlaskClient = create_app(replace(Fake(None).services(), dicom_web=lambda: web)).test_client()
    return made


@cache
def shared() -> tuple[Twin, FlaskClient]:
    """For a law with many examples that change nothing."""
    twin = Twin(MemoryArchive(*LEVELS))
    web = twin.web()
    return twin, create_app(replace(Fake(None).services(), dicom_web=lambda: web)).test_client()


def at(ds: Dataset, level: str = "instance") -> str:
    path = f"{ROOT}/studies/{ds.StudyInstanceUID}"
    if level != "study":
        path += f"/series/{ds.SeriesInstanceUID}"
    return path if level in ("study", "series") else f"{path}/instances/{ds.SOPInstanceUID}"


def parts(answer: Any) -> list[tuple[str, bytes]]:
    """(content type, body) of each part, split as RFC 2046 says."""
    boundary = re.search(r"boundary=([0-9a-zA-Z]+)", answer.content_type)
    assert boundary, answer.content_type
    pieces = answer.data.split(b"--" + boundary[1].encode())
    assert pieces[0] == b"" and pieces[-1].strip() == b"--"
    made = []
    for piece in pieces[1:-1]:
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        kind = re.search(rb"Content-Type: ([^\r]+)", head)
        length = re.search(rb"Content-Length: ([0-9]+)", head)
        assert kind and length
        body = body.removesuffix(b"\r\n")
        assert len(body) == int(length[1])
        made.append((kind[1].decode(), body))
    return made


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_headers_are_those_that_are_stored(client: FlaskClient, level: str) -> None:
    answer = client.get(at(LEVELS[0], level) + "/metadata")
    assert (answer.status_code, answer.mimetype) == (200, "application/dicom+json")
    told = {each["00080018"]["Value"][0]: each for each in json.loads(answer.data)}
    wanted = LEVELS if level != "instance" else LEVELS[:1]
    assert set(told) == {ds.SOPInstanceUID for ds in wanted}
    for ds in wanted:
        one = told[ds.SOPInstanceUID]
        assert one["00480006"]["Value"] == [ds.TotalPixelMatrixColumns]
        assert one["00083002"]["Value"] == [ds.file_meta.TransferSyntaxUID]
        assert "7FE00010" not in one
        assert one["00480105"]["Value"][0]["00282000"]["BulkDataURI"].startswith(at(ds) + "/bulk/")


def test_a_bulk_address_leads_to_the_value(client: FlaskClient) -> None:
    ds = LEVELS[0]
    (told,) = json.loads(client.get(at(ds) + "/metadata").data)
    uri = told["00480105"]["Value"][0]["00282000"]["BulkDataURI"]
    profile = ds.OpticalPathSequence[0].ICCProfile
    plain = client.get(uri, headers={"Accept": "application/octet-stream"})
    assert (plain.mimetype, plain.data) == ("application/octet-stream", profile)
    several = client.get(uri, headers={"Accept": 'multipart/related; type="application/octet-stream"'})
    assert parts(several) == [("application/octet-stream", profile)]


@given(st.lists(st.integers(1, int(LEVELS[0].NumberOfFrames)), min_size=1, max_size=12))
def test_frames_are_the_stored_bytes_in_the_order_asked(numbers: list[int]) -> None:
    ds = LEVELS[0]
    twin, client = shared()
    answer = client.get(f"{at(ds)}/frames/{','.join(map(str, numbers))}")
    (instance,) = twin.instances(Address(ds.StudyInstanceUID, None, ds.SOPInstanceUID))
    stored = list(twin.archive.frames(instance.id, numbers))
    syntax = ds.file_meta.TransferSyntaxUID
    media = "image/jpeg" if syntax == "1.2.840.10008.1.2.4.50" else "application/octet-stream"
    assert parts(answer) == [(f"{media}; transfer-syntax={syntax}", frame) for frame in stored]


def test_a_file_comes_whole(client: FlaskClient, twin: Twin) -> None:
    ds = LEVELS[1]
    (instance,) = twin.instances(Address(ds.StudyInstanceUID, None, ds.SOPInstanceUID))
    assert parts(client.get(at(ds))) == [("application/dicom", twin.archive.part10(instance.id))]


@pytest.mark.parametrize(
    "path", ["/studies", "/studies/1.2/series", "/studies/1.2/instances", "/studies/1.2/series/1.3/instances"]
)
def test_searches_are_passed_on_in_the_users_name(client: FlaskClient, twin: Twin, path: str) -> None:
    answer = client.get(
        ROOT + path + "?limit=5&includefield=00081030%2C00080060", headers={"Authorization": "Basic YTpi"}
    )
    assert answer.mimetype == "application/dicom+json"
    assert json.loads(answer.data) == [{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]
    assert twin.asked == [(path, {"limit": "5", "includefield": "00081030,00080060"}, "Basic YTpi")]


_ONE = at(LEVELS[0])
_ROUTES = {
    "study": at(LEVELS[0], "study") + "/metadata",
    "series": at(LEVELS[0], "series") + "/metadata",
    "instance": f"{_ONE}/metadata",
    "frames": f"{_ONE}/frames/1",
    "bulk": f"{_ONE}/bulk/00480105/1/00282000",
    "file": _ONE,
}


_FAULTS = ["unknown", "hidden", "away", "no router", "deleted"]


def _unknown(path: str) -> str:
    return path.replace(str(LEVELS[0].StudyInstanceUID), "1.2.3")


@pytest.mark.parametrize(("route", "fault"), list(product(_ROUTES, _FAULTS)))
def test_every_route_fails_as_it_should(client: FlaskClient, twin: Twin, route: str, fault: str) -> None:
    path, status = _ROUTES[route], 404
    if fault == "unknown":
        path = _unknown(path)
    elif fault == "hidden":
        twin.hidden = True
    elif fault == "away":
        twin.archive.available, status = False, 503
    elif fault == "deleted":
        assert client.get(path).status_code == 200
        for stamp in list(twin.archive.studies()):
            twin.archive.delete_study(stamp.id)
    else:
        client, status = create_app(Fake(None).services()).test_client(), 503
    answer = client.get(path)
    assert answer.status_code == status, answer.data
    assert set(json.loads(answer.data)["error"]) == {"reason", "advice"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{_ONE}/frames/0", 404),
        (f"{_ONE}/frames/{int(LEVELS[0].NumberOfFrames) + 1}", 404),
        (f"{_ONE}/frames/1,9999999", 404),
        (f"{_ONE}/frames/-1", 422),
        (f"{_ONE}/frames/1;2", 422),
        (f"{_ONE}/frames/{','.join('1' * (MOST_FRAMES + 1))}", 422),
        (f"{_ONE}/bulk/nothing", 422),
        (f"{_ONE}/bulk/00480105/0/00282000", 422),
        (f"{_ONE}/bulk/00480105/7/00282000", 404),
        (f"{_ONE}/bulk/00080018", 404),
        (f"{ROOT}/studies/1.2*/metadata", 422),
        (f"{ROOT}/studies/{'1' * 65}/metadata", 422),
        (f"{ROOT}/studies?limit=no", 422),
        (f"{ROOT}/nothing", 404),
    ],
)
def test_what_makes_no_sense_is_refused(client: FlaskClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status, answer.data
    assert set(json.loads(answer.data)["error"]) == {"reason", "advice"}


def test_a_damaged_object_is_said_to_be_damaged(
    client: FlaskClient, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise PixelDataError("Pixel Data is truncated")

    monkeypatch.setattr(twin.archive, "frames", broken)
    answer = client.get(f"{_ONE}/frames/1")
    assert answer.status_code == 500
    assert "truncated" in json.loads(answer.data)["error"]["reason"]


def test_a_file_that_is_too_large_is_not_read(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin, "file", lambda *_: MOST_BYTES + 1)
    web = twin.web()
    answer = create_app(replace(Fake(None).services(), dicom_web=lambda: web)).test_client().get(_ONE)
    assert answer.status_code == 413


def test_a_look_up_holds_for_some_seconds_and_no_longer(twin: Twin) -> None:
    web, ds = twin.web(), LEVELS[0]
    address = Address(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    for _ in range(5):
        assert web.frames(address, [1], {"authorization": "a"})
    assert len(twin.asked) == 2  # one look-up, one question whether the user may
    assert web.frames(address, [1], {"authorization": "b"})
    assert len(twin.asked) == 3, "what one user may see was taken for another's"
    twin.hidden = True
    assert web.frames(address, [1], {"authorization": "a"}), "it is still remembered"
    twin.now += 60.0
    assert web.frames(address, [1], {"authorization": "a"}) is None


def test_an_object_that_was_replaced_is_read_anew(twin: Twin) -> None:
    web, ds = twin.web(), LEVELS[0]
    address = Address(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    before = web.metadata(address, ROOT, {})
    assert before == web.metadata(address, ROOT, {})
    changed = Dataset(ds)
    changed.file_meta = ds.file_meta
    changed.SeriesDescription = "another"
    twin.archive.add(changed)
    (after,) = json.loads(web.metadata(address, ROOT, {}) or b"[{}]")
    assert after["0008103E"]["Value"] == ["another"]


def test_single_bits_come_as_they_are_stored() -> None:
    rng = np.random.default_rng(5)
    masks = rng.integers(0, 2, (3, 16, 24)).astype(np.uint8)
    ds = Dataset()
    for keyword, value in {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "SOPInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3", "PatientID": "p", "Modality": "SEG", "NumberOfFrames": 3, "Rows": 16,
        "Columns": 24, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": np.packbits(masks.ravel(), bitorder="little").tobytes(),
    }.items():  # fmt: skip
        setattr(ds, keyword, value)
    ds.file_meta = LEVELS[0].file_meta.__class__()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    found = Twin(MemoryArchive(ds)).web().frames(Address("1.2", "1.2.3", "1.2.3.4"), [2], {})
    assert found is not None
    bits = np.unpackbits(np.frombuffer(found.frames[0], np.uint8), bitorder="little").reshape(16, 24)
    assert np.array_equal(bits, masks[1])


def test_nothing_answers_where_the_archive_lost_what_it_had_found(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Any:
        raise NotInArchive("gone")

    monkeypatch.setattr(twin.archive, "header", gone)
    web, ds = twin.web(), LEVELS[0]
    address = Address(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert web.metadata(address, ROOT, {}) is None
    assert web.frames(address, [1], {}) is None
    assert web.bulk(address, "00480105/1/00282000", {}) is None


def test_the_archive_away_is_a_failure_and_no_absence(twin: Twin) -> None:
    web, ds = twin.web(), LEVELS[0]
    twin.archive.available = False
    with pytest.raises(ArchiveUnavailable):
        web.metadata(Address(ds.StudyInstanceUID), ROOT, {})
