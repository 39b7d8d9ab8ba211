"""GET /ai/audit, GET /ai/audit/head, and who is noticed to have opened a study."""

import dataclasses
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from airouter.adapters.audit import AuditTrail
from airouter.adapters.store import Store
from airouter.config import UserSettings
from airouter.domain.audit import AuditEvent, AuditKind, Head
from airouter.domain.audit_chain import genuine
from airouter.domain.role import Person, Role
from airouter.errors import JournalUnavailable
from airouter.web.access import Access
from airouter.web.app import create_app
from airouter.web.opened import opened
from tests.web_services import STUDY, Fake, filled

USERS = {role.value: UserSettings(Roles=[role.value]) for role in Role}  # type: ignore[call-arg]
KEY = b"k" * 32


class Room:
    """The application, its trail, and the views that it told of."""

    def __init__(self, folder: Path) -> None:
        self.fake = Fake(filled(folder))
        assert self.fake.journal is not None
        self.store = Store(f"sqlite:///{folder}/audit.db", KEY)
        self.trail: AuditTrail | None = AuditTrail(self.store)
        self.views: list[tuple[Person, str, str]] = []
        services = dataclasses.replace(
            self.fake.services(),
            access=Access(True, USERS),
            audit=lambda: self.trail,
            viewed=lambda *view: self.views.append(view),
        )
        self.client: FlaskClient = create_app(services).test_client()

    def get(self, path: str, user: str = "governance") -> Any:
        token = b64encode(f"{user}:secret".encode()).decode()
        return self.client.get(path, headers={"Authorization": f"Basic {token}"})


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.store.close()
    assert made.fake.journal is not None
    made.fake.journal.close()


def record(room: Room, count: int) -> None:
    assert room.trail is not None
    for n in range(count):
        kind = AuditKind.VIEW if n % 2 else AuditKind.REVIEW
        room.trail.record(AuditEvent(kind, f"u{n % 3}", ("reader",), f"1.{n % 2}", "P7", detail={"n": n}))


def test_the_trail_is_read_in_parts(room: Room) -> None:
    record(room, 5)
    answer = room.get("/ai/audit?limit=2&after=1")
    assert answer.status_code == 200
    records = answer.json["records"]
    assert [r["seq"] for r in records] == [2, 3]
    assert records[0] == {
        "seq": 2,
        "at": records[0]["at"],
        "kind": "study viewed",
        "outcome": 0,
        "user": "u1",
        "roles": ["reader"],
        "study": "1.1",
        "patient": "P7",
        "detail": {"n": 1},
        "digest": records[0]["digest"],
    }
    assert [r["detail"]["n"] for r in room.get("/ai/audit?study=1.0&user=u0").json["records"]] == [0]
    assert [r["detail"]["n"] for r in room.get("/ai/audit?kind=study viewed").json["records"]] == [1, 3]


def test_reading_is_recorded_with_who_asked_for_what(room: Room) -> None:
    record(room, 3)
    room.get("/ai/audit?study=1.1&kind=study viewed&limit=7")
    assert room.trail is not None
    [read] = room.trail.read(kind=AuditKind.EXPORT)
    content = read.content
    assert (content["user"], content["roles"], content["study"]) == ("governance", ["governance"], "1.1")
    assert content["detail"] == {"kind": "study viewed", "after": 0, "limit": 7, "records": 1}


def test_who_cannot_be_recorded_does_not_read(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    record(room, 3)

    def fail(self: AuditTrail, event: AuditEvent) -> None:
        raise JournalUnavailable("the disk is full")

    monkeypatch.setattr(AuditTrail, "record", fail)
    answer = room.get("/ai/audit")
    assert answer.status_code == 503
    assert "records" not in answer.json


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("path", ["/ai/audit", "/ai/audit/head"])
def test_the_trail_is_governances_alone(room: Room, role: Role, path: str) -> None:
    assert room.get(path, role.value).status_code == (200 if role is Role.GOVERNANCE else 403)


def test_the_head_is_signed(room: Room) -> None:
    record(room, 3)
    found = Head(**room.get("/ai/audit/head").json)
    assert found.seq == 3
    assert genuine(found, KEY)


@pytest.mark.parametrize(
    "query", ["kind=nothing", "after=-1", "limit=0", "limit=1001", "study=x", "other=1", "user=" + "x" * 65]
)
def test_a_wrong_query_is_refused(room: Room, query: str) -> None:
    assert room.get(f"/ai/audit?{query}").status_code == 422


def test_a_router_that_does_not_run_has_no_trail(room: Room) -> None:
    room.trail = None
    assert room.get("/ai/audit").status_code == 503
    assert room.get("/ai/audit/head").status_code == 503


# -- views -------------------------------------------------------------------------------------------------------------


def test_whoever_opens_a_study_is_told_of(room: Room) -> None:
    assert room.get(f"/ai/studies/{STUDY}/findings", "reader").status_code == 200
    [(who, study, what)] = room.views
    assert (who.name, study, what) == ("reader", STUDY, "findings")


def test_who_is_refused_or_finds_nothing_has_seen_nothing(room: Room) -> None:
    assert room.get(f"/ai/studies/{STUDY}/findings", "technician").status_code == 403
    assert room.get("/ai/studies/9.9.9/findings", "reader").status_code == 404
    assert room.get("/ai/worklist", "reader").status_code == 200
    assert room.views == []


@pytest.mark.parametrize(
    ("path", "study", "expected"),
    [
        ("/ai/studies/1.2.3/findings", None, ("1.2.3", "findings")),
        ("/ai/studies/1.2.3/objects/1.4/picture", None, ("1.2.3", "images")),
        ("/ai/panel", "1.2.3", ("1.2.3", "panel")),
        ("/ai/panel", None, None),
        ("/ai/panel", "../x", None),
        ("/ai/dicom-web/studies/1.2.3/metadata", None, ("1.2.3", "images")),
        ("/ai/dicom-web/studies/1.2.3/series/1.4/instances/1.5/frames/1", None, ("1.2.3", "images")),
        ("/dicom-web/studies/1.2.3", None, ("1.2.3", "images")),
        ("/dicom-web/studies", None, None),
        ("/ai/worklist/1.2.3/explanation", None, ("1.2.3", "explanation")),
        ("/ai/worklist", "1.2.3", None),
        ("/ai/studies/1.2.3/thumbnail", None, None),
        ("/ai/studies/" + "1" * 65 + "/findings", None, None),
        ("/instances", None, None),
    ],
)
def test_what_opens_a_study(path: str, study: str | None, expected: tuple[str, str] | None) -> None:
    assert opened("GET", path, study) == expected
    assert opened("POST", path, study) is None
