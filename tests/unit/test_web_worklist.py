"""The worklist's routes: what they answer to whom."""

import base64
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.reading import ReadingStore
from airouter.config import UserSettings
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Reading, Verdict
from airouter.domain.reading import Facts, Rule
from airouter.services.reading_room import ReadingRoom
from airouter.services.thumbnails import Thumbnail
from airouter.web.access import Access
from airouter.web.app import create_app
from airouter.web.services import WebServices
from tests.web_services import RESULT, STUDY, STUDY_ID, Fake, filled, job

ROLES = {"ann": "reader", "bob": "reader", "eve": "supervisor", "gus": "governance", "ada": "administrator"}
FACTS = Facts(
    STUDY, STUDY_ID, ("OP", "SM"), "Doe^Jane", "P1", "19500203", "F", "A1", "Check", "20260101", "0900", "R", "ab"
)


class Pictures:
    """One study has a picture, another has none."""

    def find(self, study_uid: str, headers: Any) -> Thumbnail | str | None:
        return {STUDY: Thumbnail(b"\xff\xd8jpeg", "tag"), "1.9": "nothing to show"}.get(study_uid)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[DatabaseJournal]:
    made = filled(tmp_path)
    yield made
    made.close()


@pytest.fixture
def services(journal: DatabaseJournal) -> WebServices:
    lines = ReadingStore(journal.store)
    lines.open(Rule(audit_share=1.0, phase=Phase.ASSISTIVE))
    lines.record(FACTS)
    room = ReadingRoom(lines, claim_minutes=30, readers=("ann", "bob", "eve"))
    users = {name: UserSettings.model_validate({"Roles": [role]}) for name, role in ROLES.items()}
    return dataclasses.replace(
        Fake(journal).services(), readings=lambda: room, thumbnails=Pictures, access=Access(users=users)
    )


@pytest.fixture
def client(services: WebServices) -> FlaskClient:
    return create_app(services).test_client()


def login(name: str) -> dict[str, str]:
    return {
        "Authorization": f"Basic {base64.b64encode(f'{name}:x'.encode()).decode()}",
        "X-Requested-With": "test",
    }


def post(client: FlaskClient, what: str, user: str = "ann", study: str = STUDY, **body: Any) -> Any:
    return client.post(f"/ai/worklist/{study}/{what}", json=body, headers=login(user))


def listed(client: FlaskClient, query: str = "", user: str = "ann") -> list[dict[str, Any]]:
    answer = client.get(f"/ai/worklist{query}", headers=login(user))
    assert answer.status_code == 200, answer.text
    studies: list[dict[str, Any]] = answer.json["studies"]
    return studies


def test_a_study_as_the_contract_has_it(client: FlaskClient) -> None:
    (entry,) = listed(client)
    assert (entry["study"], entry["study_id"]) == (STUDY, STUDY_ID)
    assert (entry["verdict"]["priority"], entry["verdict"]["reason"]) == ("HIGH", "index above 10 %")
    assert entry["patient"] == {"name": "Doe^Jane", "id": "P1", "birth_date": "19500203", "sex": "F"}
    told = ("accession", "description", "study_date", "modalities", "laterality", "status", "phase", "position")
    assert [entry[name] for name in told] == ["A1", "Check", "20260101", ["OP", "SM"], "R", "unread", "assistive", 1]
    assert (entry["pending"], entry["decided"], entry["findings_line"]) == (1, 0, "Ki-67: 12.5 %")
    assert (entry["analysis"], entry["analysis_text"]) == ("running", "AI: 1 of 2 analyses not finished")
    assert entry["human_priority"] is entry["assigned"] is entry["claimed_by"] is entry["completed_by"] is None
    assert entry["waiting_seconds"] >= 0
    assert entry["due"] > entry["arrived"]
    assert entry["thumbnail"] == f"/ai/studies/{STUDY}/thumbnail?v=ab"
    assert entry["viewer"] == f"/ohif/microscopy?StudyInstanceUIDs={STUDY}"


@pytest.mark.parametrize(
    ("modalities", "viewer"),
    [
        (("OP",), "/ohif/viewer?StudyInstanceUIDs="),
        (("OPT", "OPV"), "/ohif/viewer?StudyInstanceUIDs="),
        (("OPV",), "/ai/panel?study="),
        ((), "/ai/panel?study="),
    ],
)
def test_where_a_study_is_looked_at(
    client: FlaskClient, journal: DatabaseJournal, modalities: tuple[str, ...], viewer: str
) -> None:
    ReadingStore(journal.store).record(dataclasses.replace(FACTS, modalities=modalities))
    assert listed(client)[0]["viewer"] == f"{viewer}{STUDY}"


def test_the_whole_answer_and_its_tag(client: FlaskClient) -> None:
    first = client.get("/ai/worklist", headers=login("ann"))
    body = first.json
    assert (body["total"], body["read"], body["claim_minutes"]) == (1, 0, 30)
    assert body["waiting"] == {"Full reading": 1, "Review & Release": 0}
    assert body["urgent"] == {"STAT": 0, "HIGH": 1, "ROUTINE": 0, "LOW": 0}
    tag = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/ai/worklist", headers=login("ann") | tag)
    assert (again.status_code, again.data) == (304, b"")
    assert client.get("/ai/worklist?limit=5", headers=login("ann") | tag).status_code == 200
    assert client.get("/ai/worklist", headers=login("eve") | tag).status_code == 200, "others may see something else"
    assert post(client, "claim").status_code == 200
    news = client.get("/ai/worklist", headers=login("ann") | tag)
    assert (news.status_code, news.json["revision"] > body["revision"]) == (200, True)


def test_filters_and_what_is_no_filter(client: FlaskClient) -> None:
    for query in ("modality=SM", "laterality=R", "phase=assistive", "reading=full", "priority=HIGH", "text=doe+JANE"):
        assert len(listed(client, f"?{query}")) == 1, query
    for query in (
        "modality=OPT",
        "laterality=L",
        "phase=silent",
        "reading=release",
        "status=read",
        "offset=1",
        "assigned=me",
    ):
        assert listed(client, f"?{query}") == [], query
    assert len(listed(client, "?reading=Review+%26+Release&status=any")) == 0
    post(client, "claim")
    assert len(listed(client, "?assigned=me")) == len(listed(client, "?assigned=ann")) == 1
    assert listed(client, "?assigned=me", user="bob") == []
    for query in ("modality=op", "laterality=X", "status=done", "limit=0", "limit=1001", "offset=-1", "foo=1"):
        assert client.get(f"/ai/worklist?{query}", headers=login("ann")).status_code == 422, query


def test_what_is_done_is_answered_with_the_study(client: FlaskClient) -> None:
    assert post(client, "claim").json["claimed_by"] == "ann"
    lost = post(client, "claim", "bob")
    assert (lost.status_code, lost.json["study"]["claimed_by"]) == (409, "ann")
    assert "ann" in lost.json["error"]["reason"]
    assert post(client, "release", "bob").status_code == 403
    assert post(client, "release").json["claimed_by"] is None
    assert post(client, "assign", reader="ann").json["assigned"] == "ann"
    assert post(client, "assign", reader="bob").status_code == 403
    assert post(client, "assign", "eve", reader="bob").json["assigned"] == "bob"
    unknown = post(client, "assign", "eve", reader="zoe")
    assert (unknown.status_code, unknown.json["error"]["reason"]) == (409, "no reader is called zoe")
    locked = post(client, "priority", "eve", priority="STAT", reason=" the surgeon\nwaits ").json
    assert (locked["priority"], locked["verdict"]["priority"]) == ("STAT", "HIGH")
    assert locked["human_priority"] | {"at": ""} == {
        "priority": "STAT", "reason": "the surgeon waits", "by": "eve", "at": ""
    }  # fmt: skip
    assert post(client, "priority", "eve", priority=None).json["human_priority"] is None
    done = post(client, "complete", "bob").json
    assert (done["status"], done["completed_by"], done["position"]) == ("read", "bob", None)
    assert listed(client) == []
    assert listed(client, "?status=read")[0]["study"] == STUDY
    assert post(client, "complete").status_code == 409
    assert post(client, "reopen", "bob").json["status"] == "unread"
    assert post(client, "claim", study="9.9").status_code == 404


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("claim", {"x": 1}),
        ("priority", {"priority": "STAT"}),
        ("priority", {"priority": "STAT", "reason": " "}),
        ("priority", {"priority": "NOW", "reason": "x"}),
        ("priority", {}),
        ("assign", {}),
        ("assign", {"reader": ""}),
    ],
)
def test_what_makes_no_sense_is_refused(client: FlaskClient, what: str, body: dict[str, Any]) -> None:
    assert client.post(f"/ai/worklist/{STUDY}/{what}", json=body, headers=login("ann")).status_code == 422


def test_only_those_who_read_do_anything(client: FlaskClient) -> None:
    for user in ("gus", "ada"):
        assert len(listed(client, user=user)) == 1
        for what in ("claim", "release", "complete", "reopen"):
            assert post(client, what, user).status_code == 403
    assert client.post(f"/ai/worklist/{STUDY}/claim", json={}).status_code == 403


def test_the_audit_is_blind_to_readers(client: FlaskClient, journal: DatabaseJournal) -> None:
    verdict = Verdict(Priority.ROUTINE, "normal", Reading.REVIEW_AND_RELEASE)
    journal.add(dataclasses.replace(job("e" * 64), study_uid="1.7"))
    journal.complete(dataclasses.replace(RESULT, job="e" * 64, study_uid="1.7", verdict=verdict))
    for user, flag in (("ann", None), ("ada", None), ("eve", True), ("gus", True)):
        answer = client.get("/ai/worklist", headers=login(user)).json
        entry = next(each for each in answer["studies"] if each["study"] == "1.7")
        assert entry["audit_sample"] is flag
        assert (entry["queue"], entry["verdict"]["reading"]) == ("Full reading", "Full reading")
        assert (answer["audit"] is None) is (flag is None)
    assert answer["audit"] == {"share": 1.0, "asked": 1, "drawn": 1, "drawn_read": 0}


def test_why_it_stands_there(client: FlaskClient) -> None:
    why = client.get(f"/ai/worklist/{STUDY}/explanation", headers=login("ann")).json
    assert (why["source"], why["priority"], why["allowance"], why["position"]) == ("AI", "HIGH", "4 h", 1)
    assert (why["before"], why["after"], why["overdue"]) == (None, None, False)
    said = " ".join(why["sentences"])
    for part in ("The AI says HIGH: index above 10 %.", "may wait 4 h", "it is 1 of 1 in Full reading"):
        assert part in said
    post(client, "priority", "eve", priority="LOW", reason="known")
    why = client.get(f"/ai/worklist/{STUDY}/explanation", headers=login("ann")).json
    assert (why["source"], why["priority"], why["reason"], why["ai_priority"]) == ("human", "LOW", "known", "HIGH")
    assert "eve set the priority LOW: known." in why["sentences"][0]
    assert client.get("/ai/worklist/9.9/explanation", headers=login("ann")).status_code == 404


def test_thumbnails(client: FlaskClient) -> None:
    path = f"/ai/studies/{STUDY}/thumbnail"
    first = client.get(path, headers=login("ann"))
    assert (first.status_code, first.mimetype, first.data[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert first.headers["Cache-Control"] == "private, no-cache"
    tag = {"If-None-Match": first.headers["ETag"]}
    assert client.get(path, headers=login("ann") | tag).status_code == 304
    missing = client.get("/ai/studies/1.9/thumbnail", headers=login("ann"))
    assert (missing.status_code, missing.json["error"]["reason"]) == (404, "nothing to show")
    assert client.get("/ai/studies/9.9/thumbnail", headers=login("ann")).status_code == 404


@pytest.mark.parametrize("path", ["/ai", "/ai/"])
def test_the_page_is_served_under_a_strict_policy(client: FlaskClient, path: str) -> None:
    page = client.get(path, headers=login("ann"))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<script>" not in page.text
    assert 'style="' not in page.text


def test_without_a_router_there_is_no_list(services: WebServices) -> None:
    bare = create_app(dataclasses.replace(services, readings=lambda: None, thumbnails=lambda: None)).test_client()
    for path in ("/ai/worklist", f"/ai/worklist/{STUDY}/explanation", f"/ai/studies/{STUDY}/thumbnail"):
        answer = bare.get(path, headers=login("ann"))
        assert answer.status_code == 503, path
    assert bare.post(f"/ai/worklist/{STUDY}/claim", json={}, headers=login("ann")).status_code == 503
    assert bare.get("/ai/", headers=login("ann")).status_code == 200, "the page says why"
