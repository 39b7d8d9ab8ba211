"""POST and GET /ai/studies/{uid}/reviews, GET /ai/review-reasons, and what GET findings says of reviews."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from airouter.config import UserSettings
from airouter.domain import codes
from airouter.domain.phase import Phase
from airouter.web.access import Access
from airouter.web.app import create_app
from airouter.web.services import Health, RouterState, WebServices
from tests.review_case import ReviewCase

USERS = {
    "anna": UserSettings.model_validate({"Roles": ["reader"], "Name": "Müller^Anna"}),
    "bert": UserSettings.model_validate({"Roles": ["supervisor"]}),
    "tina": UserSettings.model_validate({"Roles": ["technician", "governance", "administrator"]}),
}


@pytest.fixture(params=["slide phantom", "fundus phantom"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReviewCase]:
    made = ReviewCase.of(f"sqlite:///{tmp_path}/journal.db", request.param)
    yield made
    made.close()


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[ReviewCase]:
    made = ReviewCase.of(f"sqlite:///{tmp_path}/journal.db")
    yield made
    made.close()


def client(case: ReviewCase | None, access: Access | None = None) -> FlaskClient:
    services = WebServices(
        health=lambda: Health(RouterState.RUNNING),
        models=lambda: (),
        journal=lambda: case.journal if case else None,
        requests=lambda: None,
        reviews=lambda: case.reviews if case else None,
        phase=lambda: Phase.ASSISTIVE,
        access=access or Access(users=USERS, organization="Klinikum Süd"),
    )
    return create_app(services).test_client()


def headers(user: str | None) -> dict[str, str]:
    if user is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:x".encode()).decode()}


def post(case: ReviewCase, *decisions: dict[str, Any], user: str | None = "anna", request: str = "request-1") -> Any:
    body = {"request": request, "decisions": list(decisions)}
    return client(case).post(f"/ai/studies/{case.study}/reviews", json=body, headers=headers(user))


def decision(case: ReviewCase, finding: int, verb: str, version: int = 0, **more: Any) -> dict[str, Any]:
    return {"job": case.job.key, "finding": case.keys[finding], "version": version, "verb": verb, **more}


def findings(case: ReviewCase) -> dict[str, Any]:
    answer = client(case).get(f"/ai/studies/{case.study}/findings", headers=headers("anna"))
    assert answer.status_code == 200, answer.text
    (result,) = answer.json["results"]
    return result  # type: ignore[no-any-return]


def test_a_finding_says_where_it_lies_and_what_may_be_amended(case: ReviewCase) -> None:
    result = findings(case)
    assert result["phase"] == "assistive" and result["superseded"] is False
    assert [r["sop_instance_uid"] for r in result["report"]] == [
        case.objects[role].SOPInstanceUID for role in ("report", "scores") if role in case.objects
    ]
    first, second = result["findings"]
    assert first["tracking_uid"] == case.job.tracking_uid(first["key"])
    region = first["region"]
    assert region["source"] in case.sources and len(region["points"]) >= 2
    assert region["series"] == case.sources[region["source"]].SeriesInstanceUID
    columns, rows = [p[0] for p in region["points"]], [p[1] for p in region["points"]]
    assert region["box"] == [min(columns), min(rows), max(columns), max(rows)]
    assert second["region"] is None
    review = first["review"]
    assert (review["state"], review["version"], review["by"], review["amendment"]) == ("pending", 0, None, None)
    assert [m["name"] for m in review["choices"]["measurements"]] == [m["name"] for m in first["measurements"]]


def test_answers_to_choose_from_are_those_of_the_same_question(tmp_path: Path) -> None:
    case = ReviewCase.of(f"sqlite:///{tmp_path}/journal.db", "fundus phantom")
    choices = findings(case)["findings"][1]["review"]["choices"]["evaluations"]
    assert {c["value"] for c in choices["GRADABILITY"]} == {"GRADABLE", "UNGRADABLE"}
    case.close()


def test_accept_and_its_replay(slide: ReviewCase) -> None:
    first = post(slide, decision(slide, 0, "accept", comment="  gut \x07 "))
    assert first.status_code == 200, first.text
    body = first.json
    (stands,) = body["findings"]
    assert (stands["finding"], stands["state"], stands["version"], stands["by"]) == (
        slide.keys[0], "accepted", 1, "anna"
    )  # fmt: skip
    assert stands["comment"] == "gut"
    (made,) = body["objects"]
    assert made["role"] == "verified report" and made["stored"] is True
    (stored,) = slide.stored()
    assert (made["sop_instance_uid"], made["series_instance_uid"]) == (stored.SOPInstanceUID, stored.SeriesInstanceUID)
    assert stored.VerifyingObserverSequence[0].VerifyingOrganization == "Klinikum Süd"
    assert post(slide, decision(slide, 0, "accept", comment="gut")).json == body
    review = findings(slide)["findings"][0]["review"]
    assert (review["state"], review["version"], review["by"]) == ("accepted", 1, "anna")


def test_amend_tells_the_values_that_stand(slide: ReviewCase) -> None:
    points = [[5, 5], [90, 5], [90, 60]]
    amendment = {"measurements": {"29593-1": 12.5}, "points": points}
    answer = post(slide, decision(slide, 0, "amend", amendment=amendment))
    assert answer.status_code == 200, answer.text
    review = findings(slide)["findings"][0]["review"]
    assert review["state"] == "amended"
    assert review["amendment"] == {"measurements": {"29593-1": 12.5}, "evaluations": {}, "points": points}


def test_reject_with_a_coded_reason(slide: ReviewCase) -> None:
    reasons = client(slide).get("/ai/review-reasons", headers=headers("anna")).json
    assert [r["value"] for r in reasons] == [c.value for c in codes.REJECTIONS]
    answer = post(slide, decision(slide, 0, "reject", reason=reasons[1]["value"]))
    assert answer.status_code == 200, answer.text
    assert answer.json["findings"][0]["reason"] == reasons[1]
    view = client(slide).get(f"/ai/studies/{slide.study}/findings", headers=headers("anna")).json
    assert view["verdict"]["priority"] != "HIGH" and view["results"][0]["verdict"]["priority"] == "HIGH"


def test_the_loser_is_told_what_stands(slide: ReviewCase) -> None:
    post(slide, decision(slide, 0, "accept"))
    answer = post(slide, decision(slide, 0, "reject", reason="REJECT-FALSE"), decision(slide, 1, "accept"), user="bert")
    assert answer.status_code == 409
    assert answer.json["error"]["reason"] == "somebody else has decided meanwhile"
    assert [(f["finding"], f["state"], f["version"]) for f in answer.json["findings"]] == [
        (slide.keys[0], "accepted", 1), (slide.keys[1], "pending", 0)
    ]  # fmt: skip
    assert len(slide.stored()) == 1


def test_the_history(slide: ReviewCase) -> None:
    post(slide, decision(slide, 0, "accept"))
    post(slide, decision(slide, 0, "withdraw", 1), user="bert", request="request-2")
    answer = client(slide).get(f"/ai/studies/{slide.study}/reviews", headers=headers("anna"))
    assert answer.status_code == 200, answer.text
    assert [(d["verb"], d["state"], d["version"], d["by"]) for d in answer.json["decisions"]] == [
        ("accept", "accepted", 1, "anna"), ("withdraw", "pending", 2, "bert")
    ]  # fmt: skip
    assert [o["role"] for o in answer.json["objects"]] == ["verified report", "retraction report"]


@pytest.mark.parametrize(("user", "status"), [("anna", 200), ("bert", 200), ("tina", 403), ("eve", 403), (None, 403)])
def test_only_readers_review(slide: ReviewCase, user: str | None, status: int) -> None:
    assert post(slide, decision(slide, 0, "accept"), user=user).status_code == status
    assert len(slide.stored()) == (status == 200)


def test_nobody_reviews_where_nobody_is_asked_for_a_name(slide: ReviewCase) -> None:
    open_ = Access(authenticated=False, users={"": USERS["anna"]})
    body = {"request": "request-1", "decisions": [decision(slide, 0, "accept")]}
    answer = client(slide, open_).post(f"/ai/studies/{slide.study}/reviews", json=body, headers=headers("anna"))
    assert answer.status_code == 403 and not slide.stored()


@pytest.mark.parametrize(
    "wrong",
    [
        {"verb": "delete"},
        {"version": -1},
        {"version": "0x"},
        {"finding": ""},
        {"amendment": {"points": []}},
        {"amendment": {"points": [[1, 2, 3]]}},
        {"amendment": {"points": [["a", "b"]]}},
        {"amendment": {"measurements": {"29593-1": "much"}}},
        {"amendment": {"colour": 1}},
        {"comment": "x" * 1001},
        {"extra": 1},
        {"reason": "REJECT-FALSE"},
        {"verb": "reject"},
        {"verb": "withdraw"},
        {"verb": "amend", "amendment": {"measurements": {"29593-1": 101}}},
        {"verb": "amend", "amendment": {"points": [[0, 0], [1e6, 0], [0, 1e6]]}},
        {"job": "0" * 64},
    ],
)
def test_what_is_wrong_is_refused(slide: ReviewCase, wrong: dict[str, Any]) -> None:
    answer = post(slide, decision(slide, 0, "accept") | wrong)
    assert answer.status_code == 422, answer.text
    assert answer.json["error"]["reason"] and not slide.stored()


def test_a_number_that_is_none_is_refused(slide: ReviewCase) -> None:
    text = json.dumps(decision(slide, 0, "amend", amendment={"measurements": {"29593-1": float("nan")}}))
    body = f'{{"request": "request-1", "decisions": [{text}]}}'
    answer = client(slide).post(
        f"/ai/studies/{slide.study}/reviews", data=body, headers=headers("anna"), content_type="application/json"
    )
    assert answer.status_code == 422


@pytest.mark.parametrize("request_", ["", "short", "x" * 65, "with space", "../../etc"])
def test_a_request_has_a_name(slide: ReviewCase, request_: str) -> None:
    assert post(slide, decision(slide, 0, "accept"), request=request_).status_code == 422


def test_unknown_study_and_deleted_report(slide: ReviewCase) -> None:
    body = {"request": "request-1", "decisions": [decision(slide, 0, "accept")]}
    assert client(slide).post("/ai/studies/9.9/reviews", json=body, headers=headers("anna")).status_code == 404
    (result,) = slide.journal.results(slide.study)
    slide.archive.remove(next(e.instance for e in result.evidence if e.role == "report"))
    assert post(slide, decision(slide, 0, "accept")).status_code == 404


def test_a_router_that_does_not_run_says_so() -> None:
    without = client(None)
    body = {"request": "request-1", "decisions": [{"job": "x", "finding": "y", "version": 0, "verb": "accept"}]}
    assert without.get("/ai/studies/1.2/reviews", headers=headers("anna")).status_code == 503
    assert without.post("/ai/studies/1.2/reviews", json=body, headers=headers("anna")).status_code == 503


def test_a_review_does_not_come_from_another_site(slide: ReviewCase) -> None:
    body = {"request": "request-1", "decisions": [decision(slide, 0, "accept")]}
    foreign = {**headers("anna"), "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = client(slide).post(f"/ai/studies/{slide.study}/reviews", json=body, headers=foreign)
    assert answer.status_code == 403 and not slide.stored()
