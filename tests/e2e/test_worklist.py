"""The worklist of a real Orthanc: what comes onto it, what leaves it, and two readers who want the same study."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydicom import dcmwrite

from tests.e2e.samples import photograph
from tests.router_process import RouterProcess

READERS = ("ann", "bob")
WIDE_FIELD = "1.2.840.10008.5.1.4.1.1.77.1.5.5"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """No route at all, so that nothing is analysed."""
    users: dict[str, Any] = {name: {"Roles": ["reader"]} for name in READERS}
    router = {"Routes": [], "Users": {**users, "airouter": {"Roles": ["administrator", "reader"]}}}
    passwords = {"airouter": "let-me-in", **dict.fromkeys(READERS, "their-password")}
    with RouterProcess(tmp_path_factory.mktemp("worklist"), router, RegisteredUsers=passwords) as process:
        process.wait_state()
        yield process


def listed(room: RouterProcess, study: str) -> dict[str, Any] | None:
    studies: list[dict[str, Any]] = room.ai("worklist", limit=1000)["studies"]
    return next((each for each in studies if each["study"] == study), None)


def test_a_study_that_no_route_takes_is_listed_with_the_reason_and_leaves_with_its_images(room: RouterProcess) -> None:
    image, wide = photograph(), photograph()
    wide.SOPClassUID = wide.file_meta.MediaStorageSOPClassUID = WIDE_FIELD
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(wide, keyword, f"{wide[keyword].value[:50]}.77")
    wide.file_meta.MediaStorageSOPInstanceUID = wide.SOPInstanceUID
    answer = room.rest.post("/instances", content=_part10(image))
    assert answer.status_code == 200, answer.text
    assert room.rest.post("/instances", content=_part10(wide)).status_code == 200
    first = room.until(lambda: listed(room, image.StudyInstanceUID), "the photograph on the worklist")
    other = room.until(lambda: listed(room, wide.StudyInstanceUID), "the wide-field photograph on the worklist")
    reason = room.until(
        lambda: (
            text
            if "no route" in (text := (listed(room, image.StudyInstanceUID) or first)["verdict"]["reason"])
            else None
        ),
        "the reason",
    )
    assert reason == "AI: not analysed because no route takes it: no route is configured"
    assert first["priority"] == "ROUTINE"
    assert first["patient"]["name"] == str(image.PatientName)
    assert other["patient"]["name"] == str(wide.PatientName)
    assert other["modalities"] == ["OP"]
    assert "wide-field" in (listed(room, wide.StudyInstanceUID) or other)["verdict"]["reason"]
    page = room.rest.get("/ai")
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert room.rest.delete(f"/studies/{first['study_id']}").status_code == 200
    room.until(lambda: listed(room, image.StudyInstanceUID) is None, "its end on the worklist")
    assert listed(room, wide.StudyInstanceUID) is not None


def test_two_readers_claim_the_same_study_at_once(room: RouterProcess) -> None:
    image = photograph()
    image.StudyInstanceUID = f"{image.StudyInstanceUID[:50]}.99"
    image.SeriesInstanceUID, image.SOPInstanceUID = f"{image.StudyInstanceUID}.1", f"{image.StudyInstanceUID}.2"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    assert room.rest.post("/instances", content=_part10(image)).status_code == 200
    room.until(lambda: listed(room, image.StudyInstanceUID), "the study on the worklist")

    def claim(name: str) -> httpx.Response:
        return httpx.post(
            f"{room.url}/ai/worklist/{image.StudyInstanceUID}/claim",
            json={},
            auth=(name, "their-password"),
            headers={"X-Requested-With": "test"},
            timeout=60,
        )

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(READERS, pool.map(claim, READERS), strict=True))
    assert sorted(answer.status_code for answer in answers.values()) == [200, 409]
    winner = next(name for name, answer in answers.items() if answer.status_code == 200)
    entry = listed(room, image.StudyInstanceUID)
    assert entry is not None
    assert (entry["claimed_by"], entry["status"]) == (winner, "in-review")


def _part10(dataset: Any) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
