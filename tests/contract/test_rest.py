"""What only newer Orthancs, or ailing ones, answer: played by a scripted transport."""

import io
from collections.abc import Callable
from urllib.parse import unquote

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pyorthanc import Orthanc

from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.rest import Rest
from airouter.errors import ArchiveError, ArchiveUnavailable, NotInArchive, PixelDataError, RouterError


def client(answer: Callable[[httpx.Request], httpx.Response]) -> Orthanc:
    return Orthanc("http://127.0.0.1:1", transport=httpx.MockTransport(answer))


class Labels:
    """The part of Orthanc 1.12 that keeps labels and, with CheckRevisions, insists on entity tags."""

    def __init__(self, system: dict[str, bool], labels: set[str]) -> None:
        self.system = system
        self.labels = labels
        self.metadata: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = unquote(request.url.path)
        self.asked.append(f"{request.method} {path}")
        if path == "/system":
            return httpx.Response(200, json=self.system)
        if path == "/studies/s":
            return httpx.Response(200, json={"ID": "s"})
        if path.startswith("/studies/s/metadata/"):
            return self._metadata(request, path)
        if not path.startswith("/studies/s/labels"):
            return httpx.Response(404)
        if request.method == "GET":
            return httpx.Response(200, json=sorted(self.labels))
        label = path.rsplit("/", 1)[1]
        (self.labels.add if request.method == "PUT" else self.labels.discard)(label)
        return httpx.Response(200, json={})

    def _metadata(self, request: httpx.Request, path: str) -> httpx.Response:
        revision, value = self.metadata.get(path, (-1, b""))
        tag = f'"{revision}-x"'
        if request.method == "GET":
            return httpx.Response(404) if revision < 0 else httpx.Response(200, content=value, headers={"ETag": tag})
        if revision >= 0 and request.headers.get("If-Match") != tag:
            return httpx.Response(409)
        if request.method == "DELETE":
            return httpx.Response(200 if self.metadata.pop(path, None) else 404)
        self.metadata[path] = (revision + 1, request.content)
        return httpx.Response(200)


def test_one_of_our_labels_at_a_time_and_others_stay() -> None:
    orthanc = Labels({"HasLabels": True}, {"ai-low", "teaching", "ai-pending"})
    archive = OrthancArchive(client(orthanc))
    archive.mark("s", {"priority": "STAT"})
    assert orthanc.labels == {"ai-stat", "teaching", "ai-pending"}
    archive.mark("s", {"priority": "ROUTINE", "reason": "x"})
    assert orthanc.labels == {"ai-routine", "teaching", "ai-pending"}
    archive.mark("s", {"reason": "y"})
    assert orthanc.labels == {"ai-routine", "teaching", "ai-pending"}
    assert {path[-4:]: value for path, (_, value) in orthanc.metadata.items()} == {"4201": b"ROUTINE", "4202": b"y"}
    assert orthanc.asked.count("GET /system") == 1


def test_a_rescan_is_marked_and_unmarked_beside_the_priority() -> None:
    orthanc = Labels({"HasLabels": True}, {"teaching"})
    archive = OrthancArchive(client(orthanc))
    archive.mark("s", {"priority": "LOW"})
    archive.mark("s", {"rescan": "out of focus 37 %"})
    assert orthanc.labels == {"ai-low", "ai-rescan", "teaching"}
    archive.mark("s", {"priority": "HIGH"})  # says nothing of it
    assert orthanc.labels == {"ai-high", "ai-rescan", "teaching"}
    assert orthanc.metadata["/studies/s/metadata/4203"][1] == b"out of focus 37 %"
    for _ in range(2):
        archive.mark("s", {"rescan": ""})
        assert orthanc.labels == {"ai-high", "teaching"}
        assert "/studies/s/metadata/4203" not in orthanc.metadata
    assert sum(asked == "DELETE /studies/s/metadata/4203" for asked in orthanc.asked) == 1


@pytest.mark.parametrize("system", [{}, {"HasLabels": False}])
def test_an_orthanc_without_labels_is_not_asked_for_them(system: dict[str, bool]) -> None:
    orthanc = Labels(system, set())
    OrthancArchive(client(orthanc)).mark("s", {"priority": "STAT"})
    assert not [asked for asked in orthanc.asked if "labels" in asked]


def test_an_unknown_mark_is_refused() -> None:
    with pytest.raises(ArchiveError):
        OrthancArchive(client(Labels({}, set()))).mark("s", {"colour": "red"})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ArchiveError),
        (401, ArchiveError),
        (403, ArchiveError),
        (404, NotInArchive),
        (429, ArchiveUnavailable),
        (500, ArchiveUnavailable),
        (503, ArchiveUnavailable),
        (507, ArchiveUnavailable),
    ],
)
def test_what_a_status_means(status: int, error: type[RouterError]) -> None:
    body = {"OrthancError": "Cannot write to file", "Details": "DOE^JANE"}
    rest = Rest(client(lambda request: httpx.Response(status, json=body)))
    with pytest.raises(error, match="Cannot write to file") as caught:
        rest.json("/x")
    assert type(caught.value) is error
    assert "DOE" not in str(caught.value)
    with pytest.raises(error), rest.stream("/x") as _:
        pass


def test_a_connection_broken_once_is_tried_again_and_no_more() -> None:
    trouble = [httpx.RemoteProtocolError("closed")]

    def answer(request: httpx.Request) -> httpx.Response:
        if trouble:
            raise trouble.pop()
        return httpx.Response(200, json=1)

    rest = Rest(client(answer))
    assert rest.json("/x") == 1
    trouble += [httpx.ReadError("reset"), httpx.ReadError("reset")]
    with pytest.raises(ArchiveUnavailable):
        rest.json("/x")
    trouble.append(httpx.ReadTimeout("slow"))
    with pytest.raises(ArchiveUnavailable):
        rest.json("/x")


def test_what_is_streamed_reads_like_a_file_and_no_further_than_asked() -> None:
    sent = 0

    def chunks():  # type: ignore[no-untyped-def]
        nonlocal sent
        for n in range(1000):
            sent += 1
            yield bytes([n % 256]) * 64 * 1024

    rest = Rest(client(lambda request: httpx.Response(200, content=chunks())))
    with rest.stream("/x") as body:
        assert body.read(3) == b"\0\0\0"
        assert body.seek(64 * 1024 - 1) == 64 * 1024 - 1
        assert body.read(2) == b"\0\1"
        assert body.tell() == 64 * 1024 + 1
        assert body.seek(-1, 1) == 64 * 1024
        assert sent < 10
        body.seek(2)
        assert body.read(1) == b"\0"
        assert body.seek(0, 2) == 1000 * 64 * 1024
        assert body.read(1) == b""


def test_a_file_that_is_no_dicom_is_pixel_data_trouble() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/info"):
            return httpx.Response(200, json={"Uuid": "u", "UncompressedSize": 9, "CompressedSize": 9})
        return httpx.Response(200, content=b"not dicom")

    with pytest.raises(PixelDataError):
        OrthancArchive(client(answer)).header("i")


@pytest.mark.parametrize(("status", "failure"), [(20, PixelDataError), (15, PixelDataError), (14, ArchiveUnavailable)])
def test_damage_that_no_waiting_heals_is_no_passing_trouble(status: int, failure: type[RouterError]) -> None:
    """Orthanc answers 500 for a damaged file and for a full disk alike; its own code tells them apart."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/frames/0/raw"):
            return httpx.Response(500, json={"OrthancError": "x", "OrthancStatus": status})
        return httpx.Response(200, json={"Uuid": "u", "UncompressedSize": 1, "CompressedSize": 1})

    with pytest.raises(failure):
        list(OrthancArchive(client(answer)).frames("i", [1]))


class _Breaking(httpx.BaseTransport):
    """Breaks the connection in the middle of the first object sent, and takes the second."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.stored = b""
        self.lengths: list[str | None] = []
        self.chunked = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/tools/lookup":
            return httpx.Response(200, json=[])
        assert isinstance(request.stream, httpx.SyncByteStream)
        self.chunked = self.chunked or "Transfer-Encoding" in request.headers
        self.lengths.append(request.headers.get("Content-Length"))
        parts = iter(request.stream)
        self.begun.append(next(parts))
        if len(self.begun) == 1:
            raise httpx.WriteError("broken pipe")
        self.stored = self.begun[-1] + b"".join(parts)
        return httpx.Response(200, json={"Status": "Success", "ID": "i"})


def test_an_object_is_sent_from_its_start_again_where_the_connection_broke() -> None:
    evidence = Dataset()
    evidence.file_meta = FileMetaDataset()
    evidence.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    evidence.SOPClassUID, evidence.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    evidence.BitsAllocated, evidence.PixelData = 1, bytes(range(256)) * 20_000
    orthanc = _Breaking()
    assert OrthancArchive(Orthanc("http://127.0.0.1:1", transport=orthanc)).store(evidence) == "i"
    assert len(orthanc.begun) == 2 and len(orthanc.begun[0]) < len(orthanc.stored)
    assert orthanc.lengths == [str(len(orthanc.stored))] * 2
    assert not orthanc.chunked
    assert dcmread(io.BytesIO(orthanc.stored)).PixelData == evidence.PixelData
