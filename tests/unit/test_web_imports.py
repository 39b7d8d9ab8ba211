"""GET /ai/imports: what lies in the watched folder, and what to say where it cannot be read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask.testing import FlaskClient

from airouter.services.importing import DroppedSlide, ImportState
from airouter.web.app import create_app
from tests.web_services import Fake

SLIDES = (
    DroppedSlide("b.svs", ImportState.WAITING, "2026-05-06T07:08:09Z", "the sidecar is not there"),
    DroppedSlide("a.svs", ImportState.IMPORTED, "2026-05-06T07:08:09Z"),
)


@dataclass
class Folder:
    problem: str = ""
    failure: OSError | None = None
    listed: Sequence[DroppedSlide] = SLIDES

    def slides(self, limit: int) -> Sequence[DroppedSlide]:
        if self.failure is not None:
            raise self.failure
        return self.listed[:limit]


def client(folder: Folder | None) -> FlaskClient:
    return create_app(replace(Fake(None).services(), imports=lambda: folder)).test_client()


def test_slides_are_listed_with_their_reasons() -> None:
    assert client(Folder()).get("/ai/imports").json == {
        "enabled": True,
        "reason": None,
        "slides": [
            {
                "name": "b.svs",
                "state": "waiting",
                "since": "2026-05-06T07:08:09Z",
                "reason": "the sidecar is not there",
            },
            {"name": "a.svs", "state": "imported", "since": "2026-05-06T07:08:09Z", "reason": None},
        ],
    }
    assert len(client(Folder()).get("/ai/imports?limit=1").json["slides"]) == 1


def test_a_name_that_is_no_text_is_listed_too() -> None:
    found = Folder(listed=(replace(SLIDES[0], name=os.fsdecode(b"M\xfcller.svs")),))
    assert client(found).get("/ai/imports").json["slides"][0]["name"] == "M\N{REPLACEMENT CHARACTER}ller.svs"


def test_without_a_folder_nothing_is_enabled() -> None:
    answer = client(None).get("/ai/imports").json
    assert (answer["enabled"], answer["slides"]) == (False, [])
    assert answer["reason"]


def test_a_folder_that_cannot_be_read_is_a_reason() -> None:
    answer = client(Folder(failure=PermissionError(13, "Permission denied"))).get("/ai/imports")
    assert answer.status_code == 200
    assert "Permission denied" in answer.json["reason"]
    assert client(Folder("in use by process 7")).get("/ai/imports").json["reason"] == "in use by process 7"


def test_queries_are_checked() -> None:
    assert client(Folder()).get("/ai/imports?limit=0").status_code == 422
    assert client(Folder()).get("/ai/imports?state=done").status_code == 422
