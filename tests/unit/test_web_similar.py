"""GET /ai/similar: what is passed on, and how what was found is told."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from airouter.domain.finding import Field
from airouter.errors import ArchiveUnavailable, RequestError
from airouter.services.gallery import Entry
from airouter.services.similar import Case, NotSearchable, Pair, Similar
from airouter.web.app import create_app
from airouter.web.guard import HEADERS
from tests.web_services import Fake

ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}


def entry(name: str, taken: str = "20240101") -> Entry:
    fields = (Field("1.9", 0, 0, 8, 8), Field("1.9", 8, 0, 8, 8))
    return Entry(
        1, f"job{name}", f"id{name}", f"1.{name}", f"1.{name}.1", "space", "m", "2024", taken, fields, (0.75, 0.25)
    )


FOUND = Similar(
    entry("1"),
    (
        Case(entry("2", ""), 0.9, None, True, (Pair(2, 1, 0.8),)),
        Case(entry("3"), 0.5, 2, False, ()),
    ),
)


@dataclass
class Search:
    found: Any = FOUND
    asked: list[Any] = field(default_factory=list)

    def find(self, series_uid: str, headers: Mapping[str, str], **options: Any) -> Any:
        self.asked.append((series_uid, headers.get("authorization"), options))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def thumbnail(self, job: str, region: int, headers: Mapping[str, str], side: int) -> bytes | None:
        self.asked.append((job, region, headers.get("authorization"), side))
        return b"\xff\xd8picture" if job == "job1" else None


def client(search: Search | None) -> FlaskClient:
    made: FlaskClient = create_app(replace(Fake(None).services(), similar=lambda: search)).test_client()
    return made


def test_cases_with_their_thumbnails() -> None:
    answer = client(Search()).get("/ai/similar/1.1.1", headers=ALICE).json
    assert answer["slide"] == {
        "study": "1.1",
        "series": "1.1.1",
        "model": "m",
        "acquired": "20240101",
        "thumbnail": "/ai/similar/thumbnails/job1/0",
        "regions": [
            {"region": 1, "share": 0.75, "thumbnail": "/ai/similar/thumbnails/job1/1"},
            {"region": 2, "share": 0.25, "thumbnail": "/ai/similar/thumbnails/job1/2"},
        ],
    }
    first, second = answer["cases"]
    assert first == {
        "study": "1.2",
        "series": "1.2.1",
        "acquired": None,
        "similarity": 0.9,
        "region": None,
        "same_patient": True,
        "thumbnail": "/ai/similar/thumbnails/job2/0",
        "matches": [
            {
                "region": 2,
                "case_region": 1,
                "similarity": 0.8,
                "thumbnail": "/ai/similar/thumbnails/job1/2",
                "case_thumbnail": "/ai/similar/thumbnails/job2/1",
            }
        ],
    }
    assert (second["region"], second["thumbnail"]) == (2, "/ai/similar/thumbnails/job3/2")


def test_the_users_own_headers_and_wishes_are_passed_on() -> None:
    search = Search()
    client(search).get("/ai/similar/1.1.1", headers=ALICE)
    client(search).get("/ai/similar/1.1.1?limit=3&regions=0&region=2&model=m")
    assert search.asked == [
        ("1.1.1", ALICE["Authorization"], {"limit": 10, "pairs": 3, "region": None, "model": None}),
        ("1.1.1", None, {"limit": 3, "pairs": 0, "region": 2, "model": "m"}),
    ]


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        (None, 404, "no such slide"),
        (NotSearchable("not analysed because the stain is H-DAB"), 409, "not analysed because the stain is H-DAB"),
        (RequestError("the slide has 2 regions, not a region 9"), 422, "the slide has 2 regions, not a region 9"),
        (ArchiveUnavailable("Orthanc does not answer"), 503, "Orthanc does not answer"),
    ],
)
def test_why_there_is_no_answer(found: Any, status: int, reason: str) -> None:
    answer = client(Search(found)).get("/ai/similar/1.1.1")
    assert (answer.status_code, answer.json["error"]["reason"]) == (status, reason)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "regions=17", "region=0", "speed=9", "model=", "limit=x"])
def test_wishes_that_make_no_sense(query: str) -> None:
    assert client(Search()).get(f"/ai/similar/1.1.1?{query}").status_code == 422


def test_a_thumbnail_is_a_picture_that_nobody_keeps() -> None:
    search = Search()
    answer = client(search).get("/ai/similar/thumbnails/job1/2?size=100", headers=ALICE)
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/jpeg", b"\xff\xd8picture")
    assert search.asked == [("job1", 2, ALICE["Authorization"], 100)]
    assert HEADERS.items() <= dict(answer.headers).items()
    assert "no-store" in answer.headers["Cache-Control"]
    assert client(search).get("/ai/similar/thumbnails/job9/0").status_code == 404
    for wrong in ("job1/0?size=31", "job1/0?size=1025", "job1/x", "a.b/0"):
        assert client(search).get(f"/ai/similar/thumbnails/{wrong}").status_code in (404, 422)


def test_a_router_that_is_not_running_says_so() -> None:
    for path in ("1.1.1", "thumbnails/job1/0"):
        assert client(None).get(f"/ai/similar/{path}").status_code == 503
