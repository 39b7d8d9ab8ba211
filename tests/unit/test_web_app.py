"""The routes under /ai/, their errors and what guards them."""

import base64
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from airouter import __version__
from airouter.adapters.database import DatabaseJournal
from airouter.domain.job import JobState, Progress
from airouter.domain.priority import Ground, Priority, Reading, Verdict, verdict_of
from airouter.errors import ArchiveUnavailable, JournalUnavailable, NotInArchive, RouterError, StateLocked
from airouter.ports import JobRecord
from airouter.services.request import Request
from airouter.web.app import create_app
from airouter.web.guard import MAX_BODY_BYTES
from airouter.web.metrics import Metrics
from airouter.web.orthanc_version import CVES, notice
from airouter.web.services import Health, RouterState
from tests.web_services import DONE, PATIENT, RESULT, RUNNING, STUDY, STUDY_ID, Fake, filled, job

ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:s:cret").decode()}
GETS = (
    "/ai/health",
    "/ai/models",
    "/ai/jobs",
    f"/ai/jobs/{DONE}",
    f"/ai/jobs/{DONE}/charts",
    "/ai/decisions",
    "/ai/worklist",
    f"/ai/studies/{STUDY}/findings",
    "/ai/imports",
    "/ai/metrics",
    "/ai/openapi.json",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fake, FlaskClient, DatabaseJournal]]:
    fake, journal = Fake(None), filled(tmp_path_factory.mktemp("journal"))
    yield fake, create_app(fake.services()).test_client(), journal
    journal.close()


@pytest.fixture
def fake(shared: tuple[Fake, FlaskClient, DatabaseJournal]) -> Fake:
    shared[0].__init__(shared[2])  # type: ignore[misc]
    return shared[0]


@pytest.fixture
def fresh(fake: Fake, tmp_path: Path) -> Iterator[Fake]:
    """For tests that change what stands in the journal."""
    fake.journal = filled(tmp_path)
    yield fake
    fake.journal.close()


@pytest.fixture
def client(shared: tuple[Fake, FlaskClient, DatabaseJournal], fake: Fake) -> FlaskClient:
    return shared[1]


def is_error(answer, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"reason", "advice"}
    assert all(answer.json["error"].values())
    return answer.json["error"]


# -- what the routes tell ---------------------------------------------------------------------------------------------


def test_health_names_models_and_the_weaknesses_of_an_old_orthanc(client: FlaskClient) -> None:
    health = client.get("/ai/health").json
    assert health["version"] == __version__
    assert (health["state"], health["queue_depth"], health["orthanc"]) == ("running", 3, {"version": "1.10.1"})
    assert health["jobs"] == {"SCHEDULED": 0, "IN PROGRESS": 1, "COMPLETED": 1, "CANCELED": 0}
    assert "CVE-2026-5437" in health["warnings"][0]["reason"]
    assert [(m["name"], m["usable"], m["reason"]) for m in health["models"]] == [
        ("nuclei", True, None),
        ("broken", False, "sha256 differs"),
    ]
    assert client.get("/ai/models").json["models"] == health["models"]


@pytest.mark.parametrize(
    ("version", "warned"),
    [("1.10.1", True), ("1.12.10", True), ("1.12.11", False), ("1.13.0", False), ("2.0.0", False), ("mainline", True)],
)
def test_orthanc_before_1_12_11_is_warned_of(version: str, warned: bool) -> None:
    assert (notice(version) is not None) == warned
    assert notice(None) is None
    assert len(CVES) == 9


def test_jobs_are_filtered(client: FlaskClient) -> None:
    def keys(query: str) -> list[str]:
        return [j["key"] for j in client.get(f"/ai/jobs{query}").json["jobs"]]

    assert keys("") == [RUNNING, DONE]
    assert keys("?limit=1") == [RUNNING]
    assert keys("?state=IN%20PROGRESS") == keys("?state=in_progress") == [RUNNING]
    assert keys(f"?study={STUDY}&state=COMPLETED") == [DONE]
    assert keys("?study=1.2") == []


def test_a_job_tells_progress_model_and_evidence(client: FlaskClient) -> None:
    done = client.get(f"/ai/jobs/{DONE}").json
    assert done["state"] == "COMPLETED"
    assert done["execution_provider"] == "CPUExecutionProvider"
    assert done["requested_by"] == "alice"
    assert done["model"] == {"name": "nuclei", "version": "1.0.0", "sha256": "c" * 64}
    assert [e["sop_instance_uid"] for e in done["evidence"]] == ["2.25.1"]
    running = client.get(f"/ai/jobs/{RUNNING}").json
    assert running["progress"] == {"done": 7, "total": 40, "unit": "patches"}
    assert running["evidence"] == []
    is_error(client.get("/ai/jobs/" + "f" * 64), 404)


def test_findings_come_with_model_evidence_and_what_was_not_analysed(client: FlaskClient) -> None:
    study = client.get(f"/ai/studies/{STUDY}/findings").json
    assert study["verdict"] == {"priority": "HIGH", "reason": "index above 10 %", "reading": None}
    (result,) = study["results"]
    assert result["job"] == DONE
    assert result["model"]["sha256"] == "c" * 64
    assert result["findings"][0]["measurements"][0]["value"] == 12.5
    assert result["not_analysed"] == [{"quantity": "area", "reason": "not analysed because there is no tissue"}]
    assert result["evidence"][0]["series_instance_uid"] == "2.25.2"
    is_error(client.get("/ai/studies/1.2.3/findings"), 404)
    is_error(client.get("/ai/studies/abc/findings"), 422)


def test_decisions_and_worklist(client: FlaskClient) -> None:
    (decision,) = client.get(f"/ai/decisions?study={STUDY}&limit=5").json["decisions"]
    assert (decision["outcome"], decision["reason"], decision["job"]) == ("selected", "every clause matched", DONE)
    assert decision["clauses"] == [{"path": "Modality", "expected": "SM", "found": "SM", "matched": True}]
    (entry,) = client.get("/ai/worklist").json["studies"]
    assert (entry["study"], entry["study_id"], entry["verdict"]["priority"]) == (STUDY, STUDY_ID, "HIGH")
    assert entry["verdict"]["reading"] is None


def test_the_bucket_stands_in_the_worklist_and_beside_the_findings(client: FlaskClient, fresh: Fake) -> None:
    assert fresh.journal is not None
    verdict = Verdict(Priority.ROUTINE, "normal", Reading.REVIEW_AND_RELEASE)
    beside = replace(job("e" * 64), pipeline="other")
    fresh.journal.add(beside)
    fresh.journal.complete(replace(RESULT, job=beside.key, verdict=verdict))
    study = client.get(f"/ai/studies/{STUDY}/findings").json
    assert [r["verdict"]["reading"] for r in study["results"]] == [None, None], "no result asks for less than that"
    together = {"priority": "HIGH", "reason": "index above 10 %", "reading": "Full reading"}
    assert study["verdict"] == together, "an urgent study is read in full"
    assert client.get("/ai/worklist").json["studies"][0]["verdict"] == together


def test_a_result_says_on_which_findings_its_priority_rests(client: FlaskClient, fresh: Fake) -> None:
    assert fresh.journal is not None
    verdict = verdict_of(Ground(Priority.STAT, "index above 90 %", ("tumour",)))
    fresh.journal.complete(replace(RESULT, job=RUNNING, findings=({"key": "tumour"},), verdict=verdict))
    old, new = client.get(f"/ai/studies/{STUDY}/findings").json["results"]
    assert (old["superseded"], old["verdict"]["grounds"]) == (True, [])
    ground = {"priority": "STAT", "reason": "index above 90 %", "findings": ["tumour"]}
    assert (new["superseded"], new["verdict"]["grounds"]) == (False, [ground])


def test_submitting_passes_the_wish_and_the_user(client: FlaskClient, fake: Fake) -> None:
    answer = client.post("/ai/jobs", json={"study": STUDY, "route": "slides", "priority": "STAT"}, headers=ALICE)
    assert answer.status_code == 202
    assert answer.json["jobs"] == [DONE]
    assert answer.json["decisions"][0]["route"] == "slides"
    client.post("/ai/jobs", json={"studies": [STUDY_ID, "1.2", "1.2"], "pipeline": "p", "model": "m", "retry": True})
    client.post("/ai/jobs", json={"all": True}, headers={"Authorization": "Bearer abc"})
    client.post("/ai/jobs", json={"study": STUDY, "pipeline": "visual-field"})
    assert fake.submitted == [
        (Request((STUDY,), route="slides", priority=Priority.STAT), "alice"),
        (Request((STUDY_ID, "1.2"), pipeline="p", model="m", retry=True), None),
        (Request(everything=True), None),
        (Request((STUDY,), pipeline="visual-field"), None),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"study": STUDY, "all": True},
        {"study": STUDY, "studies": [STUDY]},
        {"studies": []},
        {"all": "yes"},
        {"all": False},
        {"study": "../etc"},
        {"study": STUDY, "model": "m"},
        {"study": STUDY, "route": "r", "pipeline": "p"},
        {"study": STUDY, "companions": {"tissue": "m"}},
        {"study": STUDY, "route": "r", "pipeline": "p", "model": "m"},
        {"study": STUDY, "priority": "URGENT"},
        {"study": STUDY, "colour": "red"},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(client: FlaskClient, fake: Fake, body: dict[str, object]) -> None:
    is_error(client.post("/ai/jobs", json=body), 422)
    assert fake.submitted == []


def test_what_was_sent_is_not_repeated(client: FlaskClient) -> None:
    error = is_error(client.post("/ai/jobs", json={"study": PATIENT}), 422)
    assert error["reason"].startswith("study: ")
    assert PATIENT not in json.dumps(error)


def test_canceling(client: FlaskClient, fresh: Fake) -> None:
    deliberate = {"X-Requested-With": "test", **ALICE}
    answer = client.delete(f"/ai/jobs/{RUNNING}", headers=deliberate)
    assert (answer.status_code, answer.json["state"], answer.json["discontinuation"]) == (202, "CANCELED", "operator")
    assert fresh.cancelled == [(RUNNING, "alice")]
    is_error(client.delete(f"/ai/jobs/{RUNNING}", headers=deliberate), 409)
    is_error(client.delete(f"/ai/jobs/{DONE}", headers=deliberate), 409)
    is_error(client.delete("/ai/jobs/unknown", headers=deliberate), 404)
    assert len(fresh.cancelled) == 1


@pytest.mark.parametrize("query", ["?limit=0", "?limit=1001", "?limit=x", "?state=DONE", "?study=a", "?colour=red"])
def test_queries_are_checked(client: FlaskClient, query: str) -> None:
    is_error(client.get(f"/ai/jobs{query}"), 422)


# -- a router that does not run ---------------------------------------------------------------------------------------


def test_a_refused_router_still_tells_why() -> None:
    state = Health(RouterState.REFUSED, "AIRouter.Routes[0].Model: no such model")
    client = create_app(Fake(None, state=state).services()).test_client()
    assert client.get("/ai/health").json["reason"] == state.reason
    assert client.get("/ai/metrics").status_code == 200
    assert client.get("/ai/openapi.json").status_code == 200
    for path in ("/ai/jobs", f"/ai/jobs/{DONE}", "/ai/decisions", "/ai/worklist", f"/ai/studies/{STUDY}/findings"):
        assert state.reason in is_error(client.get(path), 503)["reason"]
    is_error(client.post("/ai/jobs", json={"all": True}), 503)
    is_error(client.delete(f"/ai/jobs/{DONE}", headers={"X-Requested-With": "test"}), 503)


# -- errors -----------------------------------------------------------------------------------------------------------


def test_errors_are_json(client: FlaskClient) -> None:
    is_error(client.get("/ai/nothing"), 404)
    is_error(client.get("/"), 404)
    is_error(client.get("/static/x"), 404)
    answer = client.put("/ai/jobs", json={})
    is_error(answer, 405)
    assert {"GET", "POST"} <= {m.strip() for m in answer.headers["Allow"].split(",")}
    is_error(client.post("/ai/jobs", data="{}"), 415)
    is_error(client.post("/ai/jobs", data="{}", content_type="text/plain"), 415)
    is_error(client.post("/ai/jobs", json={}, headers={"Content-Encoding": "gzip"}), 415)
    assert "9.9" in is_error(client.post("/ai/jobs", json={"study": "9.9"}), 404)["reason"]
    wrong = client.post("/ai/jobs", json={"all": True, "route": "none"})
    assert is_error(wrong, 422)["reason"] == "there is no route 'none'"


def test_an_unknown_study_among_others_is_named(client: FlaskClient) -> None:
    answer = client.post("/ai/jobs", json={"studies": [STUDY, "9.9"]})
    assert (answer.status_code, answer.json["unknown"]) == (202, ["9.9"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ArchiveUnavailable("no answer"), 503),
        (JournalUnavailable("locked"), 503),
        (StateLocked("locked by another"), 503),
        (NotInArchive("gone"), 404),
    ],
)
def test_known_failures_tell_what_to_do(
    client: FlaskClient, fake: Fake, monkeypatch: pytest.MonkeyPatch, error: RouterError, status: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(fake, "submit", fail)
    assert is_error(client.post("/ai/jobs", json={"all": True}), status) == {
        "reason": str(error),
        "advice": error.advice,
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"{}"', b"null", b"\xff", b"[" * 5000 + b"]" * 5000, b"9" * 9999])
def test_a_body_that_is_no_json_object_is_refused(client: FlaskClient, body: bytes) -> None:
    is_error(client.post("/ai/jobs", data=body, content_type="application/json"), 400)


def test_a_deep_value_inside_an_object_is_refused(client: FlaskClient) -> None:
    body = b'{"study":' + b"[" * 400 + b"]" * 400 + b"}"
    is_error(client.post("/ai/jobs", data=body, content_type="application/json"), 422)


def test_a_large_body_is_refused(client: FlaskClient) -> None:
    body = b'{"study": "' + b"1" * MAX_BODY_BYTES + b'"}'
    is_error(client.post("/ai/jobs", data=body, content_type="application/json"), 413)


def test_a_failure_leaves_its_class_and_an_id_and_nothing_else(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = client.post("/ai/jobs", json={"study": "9.500"})
    error = is_error(answer, 500)
    assert PATIENT not in answer.text + caplog.text
    assert error["reason"] == "internal error"
    (id,) = re.findall(r"\b[0-9a-f]{12}\b", error["advice"])
    assert "ValueError" in caplog.text
    assert id in caplog.text


# -- guards -----------------------------------------------------------------------------------------------------------


def test_every_answer_carries_the_security_headers(client: FlaskClient) -> None:
    answers = [client.get(path) for path in (*GETS, "/ai/nothing")]
    answers += [client.put("/ai/jobs"), client.post("/ai/jobs"), client.post("/ai/jobs", json={"study": "9.500"})]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


FOREIGN = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8043"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost@evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
)


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_change_nothing(client: FlaskClient, fake: Fake, headers: dict[str, str]) -> None:
    is_error(client.post("/ai/jobs", json={"all": True}, headers=headers), 403)
    is_error(client.delete(f"/ai/jobs/{RUNNING}", headers={"X-Requested-With": "x", **headers}), 403)
    assert (fake.submitted, fake.cancelled) == ([], [])


def test_a_delete_needs_a_sign_of_intent(client: FlaskClient, fake: Fake) -> None:
    is_error(client.delete(f"/ai/jobs/{RUNNING}"), 403)
    is_error(client.delete(f"/ai/jobs/{RUNNING}", headers={"Sec-Fetch-Site": "none"}), 403)
    assert fake.cancelled == []


@pytest.mark.parametrize(
    "headers", [{"X-Requested-With": "x"}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}]
)
def test_our_own_pages_and_programs_may_delete(client: FlaskClient, fresh: Fake, headers: dict[str, str]) -> None:
    assert client.delete(f"/ai/jobs/{RUNNING}", headers=headers).status_code == 202
    assert len(fresh.cancelled) == 1


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_user_name_is_taken_without_control_characters(
    shared: tuple[Fake, FlaskClient, DatabaseJournal], name: str, password: str
) -> None:
    fake, client, _ = shared
    fake.__init__(shared[2])  # type: ignore[misc]
    header = base64.b64encode(f"{name}:{password}".encode()).decode()
    answer = client.post("/ai/jobs", json={"all": True}, headers={"Authorization": f"Basic {header}"})
    assert answer.status_code == 202
    _, user = fake.submitted[-1]
    assert user is None or (user.isprintable() and 0 < len(user) <= 64)
    if ":" not in name and name.isprintable() and 0 < len(name) <= 64:
        assert user == name


# -- metrics, OpenAPI, documentation ----------------------------------------------------------------------------------


def test_metrics(fake: Fake) -> None:
    metrics = Metrics()
    client = create_app(fake.services(), metrics).test_client()
    metrics.ended(
        JobRecord(
            job(DONE),
            JobState.COMPLETED,
            created="2026-01-01T00:00:00+00:00",
            started="2026-01-01T00:00:01+00:00",
            ended="2026-01-01T00:00:08+00:00",
            progress=Progress(40, 40),
        ),
        findings=2,
    )
    metrics.took("nuclear-positivity", "write", 1.5)
    answer = client.get("/ai/metrics")
    assert answer.mimetype == "text/plain"
    lines = answer.text.splitlines()
    for line in (
        f'airouter_build_info{{orthanc="1.10.1",version="{__version__}"}} 1.0',
        'airouter_jobs{state="IN PROGRESS"} 1.0',
        'airouter_jobs{state="SCHEDULED"} 0.0',
        'airouter_job_seconds_sum{pipeline="nuclear-positivity",state="COMPLETED"} 7.0',
        'airouter_job_phase_seconds_sum{phase="write",pipeline="nuclear-positivity"} 1.5',
        'airouter_analysed_total{unit="patches"} 40.0',
        'airouter_findings_total{pipeline="nuclear-positivity"} 2.0',
        'airouter_model_usable{model="broken",version=""} 0.0',
        "airouter_intake_lag_seconds 0.25",
        "airouter_queue_depth 3.0",
    ):
        assert line in lines
    other = create_app(fake.services()).test_client().get("/ai/metrics").text
    assert "airouter_findings_total{" not in other


def test_metrics_name_nobody(client: FlaskClient) -> None:
    text = client.get("/ai/metrics").text
    assert STUDY not in text
    assert STUDY_ID not in text


def test_openapi_describes_every_route(client: FlaskClient) -> None:
    document = client.get("/ai/openapi.json").json
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == routes(client)
    text = json.dumps(document)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in document["components"]["schemas"]
    submit = document["paths"]["/ai/jobs"]["post"]
    assert {"202", "404", "415", "422"} <= set(submit["responses"])


def routes(client: FlaskClient) -> set[tuple[str, str]]:
    rules = client.application.url_map.iter_rules()
    return {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_documented(client: FlaskClient) -> None:
    text = (Path(__file__).parents[2] / "docs/reference/rest.md").read_text()
    documented = set(re.findall(r"^#+ `?(GET|POST|PUT|DELETE) (/\S+?)`?$", text, re.MULTILINE))
    assert documented == routes(client)


def test_every_state_has_its_place(client: FlaskClient) -> None:
    assert set(client.get("/ai/health").json["jobs"]) == {state.value for state in JobState}
