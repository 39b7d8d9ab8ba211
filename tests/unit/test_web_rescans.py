"""GET /ai/rescans and POST /ai/rescans/{series_uid}/dismiss."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from airouter.adapters.database import DatabaseJournal
from airouter.domain.priority import Priority, Verdict
from airouter.domain.rescan import Fitness
from airouter.ports import ResultRecord
from airouter.web.app import create_app
from tests.contract.test_archive import volume
from tests.web_services import Fake, job

WORSE, BAD, FINE = (
    Fitness(False, "rescan before reading: out of focus 61 % of the tissue", 39.0, "S26-1-A"),
    Fitness(False, "rescan before reading: folded 25 % of the tissue", 75.0, "S26-1-B"),
    Fitness(True, "fit for reading", 97.0, "S26-1-C"),
)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    journal = DatabaseJournal(f"sqlite:///{tmp_path}/journal.db")
    made = Fake(journal)
    made.archive.add(volume("1.2.826.0.1.5"))
    (study,) = made.archive.studies()
    for n, fitness in enumerate((BAD, WORSE, FINE), 1):
        one = replace(
            job(f"k{n}"), study_id=study.id, study_uid="1.2.826.0.1.5", series_uid=f"1.2.826.0.1.5.{n}",
            pipeline="slide-quality",
        )  # fmt: skip
        journal.add(one)
        verdict = Verdict(Priority.LOW, fitness.reason)
        journal.complete(ResultRecord(one.key, one.study_uid, (), (), verdict, (), fitness=fitness))
    yield made
    journal.close()


@pytest.fixture
def client(fake: Fake) -> FlaskClient:
    return create_app(fake.services()).test_client()


def listed(client: FlaskClient, query: str = "") -> list[str]:
    answer = client.get(f"/ai/rescans{query}")
    assert answer.status_code == 200
    return [slide["series"][-1] for slide in answer.json["slides"]]


def test_the_worst_slide_is_first(client: FlaskClient) -> None:
    assert listed(client) == ["2", "1"]
    assert listed(client, "?limit=1") == ["2"]
    assert listed(client, "?state=fit") == ["3"]
    assert listed(client, "?state=any") == ["2", "1", "3"]
    assert listed(client, "?state=rescanned") == []
    first = client.get("/ai/rescans").json["slides"][0]
    assert first["reason"] == WORSE.reason
    assert (first["usable_percent"], first["container"], first["state"]) == (39.0, "S26-1-A", "open")
    assert first["closed"] is first["closed_by"] is first["note"] is None


def test_a_slide_is_dismissed_with_a_reason_and_a_name(client: FlaskClient, fake: Fake) -> None:
    (study,) = fake.archive.studies()
    path = "/ai/rescans/1.2.826.0.1.5.2/dismiss"
    answer = client.post(path, json={"reason": "no tissue is left"}, auth=("anna", "x"))
    assert answer.status_code == 200
    assert (answer.json["state"], answer.json["closed_by"], answer.json["note"]) == (
        "dismissed", "anna", "no tissue is left"
    )  # fmt: skip
    assert listed(client) == ["1"]
    assert fake.archive.marks[study.id]["rescan"] == BAD.reason  # of the slide that still waits
    assert client.post(path, json={"reason": "again"}).status_code == 409
    assert client.post("/ai/rescans/1.2.826.0.1.5.1/dismiss", json={"reason": "read it"}).status_code == 200
    assert "rescan" not in fake.archive.marks[study.id]
    assert listed(client) == []


def test_of_a_deleted_study_a_slide_can_be_dismissed(client: FlaskClient, fake: Fake) -> None:
    (study,) = fake.archive.studies()
    fake.archive.delete_study(study.id)
    assert client.post("/ai/rescans/1.2.826.0.1.5.2/dismiss", json={"reason": "deleted"}).status_code == 200


@pytest.mark.parametrize(
    ("series", "body", "status"),
    [
        ("1.2.826.0.1.5.9", {"reason": "x"}, 404),
        ("1.2.826.0.1.5.3", {"reason": "x"}, 409),  # it is fit
        ("1.2.826.0.1.5.2", {}, 422),
        ("1.2.826.0.1.5.2", {"reason": "  \n "}, 422),
        ("1.2.826.0.1.5.2", {"reason": "x" * 1001}, 422),
        ("1.2.826.0.1.5.2", {"reason": "x", "state": "fit"}, 422),
        ("abc", {"reason": "x"}, 422),
    ],
)
def test_what_cannot_be_dismissed(client: FlaskClient, series: str, body: dict[str, str], status: int) -> None:
    answer = client.post(f"/ai/rescans/{series}/dismiss", json=body)
    assert answer.status_code == status
    assert set(answer.json["error"]) == {"reason", "advice"}
    assert listed(client) == ["2", "1"]


def test_another_site_dismisses_nothing(client: FlaskClient) -> None:
    answer = client.post(
        "/ai/rescans/1.2.826.0.1.5.2/dismiss", json={"reason": "x"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
    assert listed(client) == ["2", "1"]


def test_wrong_queries_are_refused(client: FlaskClient) -> None:
    for query in ("?state=lost", "?limit=0", "?study=1"):
        assert client.get(f"/ai/rescans{query}").status_code == 422


def test_a_router_that_does_not_run_says_so() -> None:
    stopped = create_app(Fake(None).services()).test_client()
    assert stopped.get("/ai/rescans").status_code == 503
    assert stopped.post("/ai/rescans/1.2/dismiss", json={"reason": "x"}).status_code == 503
