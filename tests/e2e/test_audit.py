"""The audit trail of a real Orthanc: complete, whole after a kill, and broken by whoever edits it."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from airouter.cli import app
from airouter.domain.audit import AuditKind
from airouter.domain.audit_lines import parse
from tests.e2e.samples import photograph
from tests.router_process import RouterProcess
from tests.syslog_server import make_certificates, syslog_server

pytestmark = pytest.mark.orthanc

EVERYTHING = {"airouter": {"Roles": ["administrator", "reader", "governance"]}}


def configured(router: RouterProcess, folder: Path) -> Path:
    """The configuration of that Orthanc as `airouter` reads it: a folder with the same paths."""
    place = folder / "configuration"
    place.mkdir(exist_ok=True)
    (place / "orthanc.json").write_text(json.dumps(router.config))
    return place


def verify(router: RouterProcess, folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["verify-audit", str(configured(router, folder)), *options])


def records(router: RouterProcess, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = router.ai("audit", limit=1000, **query)["records"]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def router(folder: Path) -> Iterator[RouterProcess]:
    section = {"Users": EVERYTHING, "Audit": {"JsonLines": str(folder / "trail.jsonl")}}
    with RouterProcess(folder, section) as process:
        process.wait_state()
        yield process


@pytest.fixture(scope="module")
def study(router: RouterProcess) -> str:
    source = photograph()
    source.PatientID = "Canary-4711"
    source.PatientName = "Canary^Patient"
    router.c_store(source)
    uid = str(source.StudyInstanceUID)
    router.wait_jobs(uid)
    return uid


def test_a_job_leaves_a_complete_record(router: RouterProcess, study: str) -> None:
    (job,) = router.jobs(study)
    (result,) = router.results(study)
    [record] = [r for r in records(router, study=study) if r["kind"] == AuditKind.INFERENCE]
    assert (record["study"], record["patient"], record["user"], record["outcome"]) == (study, "Canary-4711", None, 0)
    detail = record["detail"]
    assert detail["job"] == job["key"]
    assert len(detail["model"]["sha256"]) == 64
    assert detail["model"]["name"] == job["model"]["name"]
    assert detail["execution_provider"] == "CPUExecutionProvider"
    assert detail["runtime"]["onnxruntime"]
    assert detail["phase"] == "integrated"
    assert detail["started"] < detail["ended"] <= record["at"]
    assert detail["seconds"] > 0
    [source] = detail["sources"]
    assert source["digest"]
    assert {o["uid"] for o in detail["outputs"]} == {e["sop_instance_uid"] for e in result["evidence"]}
    stored = router.rest.post("/tools/find", json={"Level": "Instance", "Query": {"StudyInstanceUID": study}}).json()
    files = {router.rest.get(f"/instances/{i}/attachments/dicom/md5").text for i in stored}
    assert {o["digest"] for o in detail["outputs"]} | {source["digest"]} == files
    assert {f["key"] for f in detail["findings"]} == {f["key"] for f in result["findings"]}
    assert detail["verdict"]["priority"] == result["verdict"]["priority"]


def test_start_routing_and_views_are_recorded(router: RouterProcess, study: str) -> None:
    [started] = [r for r in records(router) if r["kind"] == AuditKind.STARTED]
    assert started["seq"] == 1
    assert started["detail"]["orthanc"] == router.ai("health")["orthanc"]["version"]
    assert {m["name"] for m in started["detail"]["models"]} == {m["name"] for m in router.ai("models")["models"]}
    routed = [r for r in records(router, study=study) if r["kind"] == AuditKind.ROUTING]
    assert "selected" in {d["outcome"] for r in routed for d in r["detail"]["decisions"]}
    router.ai(f"studies/{study}/findings")
    assert router.rest.get(f"/dicom-web/studies/{study}/metadata").status_code == 200

    def viewed() -> list[dict[str, Any]]:
        return [r for r in records(router, study=study) if r["kind"] == AuditKind.VIEW]

    (view,) = router.until(viewed, "a view")
    assert (view["user"], view["patient"]) == ("airouter", "Canary-4711")
    answer = router.rest.post("/ai/jobs", json={"studies": [study]})
    assert answer.status_code == 202, answer.text
    [asked] = [r for r in records(router, study=study) if r["kind"] == AuditKind.REQUEST]
    assert (asked["user"], asked["detail"]["studies"]) == ("airouter", [study])


def test_the_trail_is_whole_while_orthanc_runs_and_stands_in_the_file(
    router: RouterProcess, study: str, folder: Path
) -> None:
    def exported() -> bool:
        path = folder / "trail.jsonl"
        lines = [parse(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {line.seq for line in lines if line is not None} >= set(range(1, len(records(router, study=study)) + 1))

    router.until(exported, "the export")
    found = verify(router, folder)
    assert found.exit_code == 0, found.output
    assert "is whole" in found.output
    assert "confirm it up to record" in found.output


def test_nothing_of_a_patient_is_in_the_log(router: RouterProcess, study: str) -> None:
    assert "Canary" not in router.output()


def test_a_kill_leaves_the_chain_whole(router: RouterProcess, study: str, folder: Path) -> None:
    for _ in range(3):
        router.c_store(photograph())
        router.kill()
        assert verify(router, folder).exit_code == 0
        router.start()
        router.wait_state()
    found = verify(router, folder)
    assert found.exit_code == 0, found.output
    assert len([r for r in records(router) if r["kind"] == AuditKind.STARTED]) == 4


def test_a_stop_is_recorded_and_an_edited_row_is_found(router: RouterProcess, study: str, folder: Path) -> None:
    router.stop()
    database = folder / "state" / "airouter.sqlite"
    with sqlite3.connect(database) as db:
        last = db.execute("SELECT seq, kind FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        assert last[1] == AuditKind.STOPPED
        (seq,) = db.execute("SELECT seq FROM audit WHERE kind = ?", (AuditKind.INFERENCE.value,)).fetchone()
        kept = db.execute("SELECT text FROM audit WHERE seq = ?", (seq,)).fetchone()[0]
        db.execute("UPDATE audit SET text = replace(text, 'ROUTINE', 'STAT') WHERE seq = ?", (seq,))
        assert db.execute("SELECT text FROM audit WHERE seq = ?", (seq,)).fetchone()[0] != kept
    db.close()
    found = verify(router, folder)
    assert found.exit_code == 1
    assert f"BROKEN at record {seq}: changed" in found.output
    with sqlite3.connect(database) as db:
        db.execute("UPDATE audit SET text = ? WHERE seq = ?", (kept, seq))
    db.close()
    assert verify(router, folder).exit_code == 0
    with sqlite3.connect(database) as db:  # the end cut off, and the head set back with it
        digest = db.execute("SELECT digest FROM audit WHERE seq = ?", (last[0] - 1,)).fetchone()[0]
        db.execute("DELETE FROM audit WHERE seq = ?", (last[0],))
        db.execute("UPDATE audit_head SET seq = ?, digest = ?", (last[0] - 1, digest))
    db.close()
    found = verify(router, folder)
    assert found.exit_code == 1
    assert f"BROKEN at record {last[0]}: missing" in found.output


def test_without_its_key_the_router_does_not_start_and_orthanc_serves(tmp_path: Path) -> None:
    with RouterProcess(tmp_path) as router:
        router.wait_state()
        router.stop()
        (tmp_path / "state" / "audit.key").rename(tmp_path / "kept.key")
        assert verify(router, tmp_path).exit_code == 2
        router.start()
        health = router.wait_state("refused")
        assert "key is missing" in health["reason"]
        assert router.rest.get("/system").status_code == 200
        router.stop()
        (tmp_path / "kept.key").rename(tmp_path / "state" / "audit.key")
        router.start()
        router.wait_state()


def test_audit_messages_reach_a_syslog_receiver_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with syslog_server(certificates) as server:
        syslog = {"Host": "localhost", "Port": server.port, "CaFile": str(certificates.authority)}
        with RouterProcess(tmp_path / "orthanc", {"Audit": {"Syslog": syslog}}) as router:
            router.wait_state()
            router.until(lambda: any(b"Application Start" in m for m in server.messages), "the start")
            server.close()

            def warned() -> bool:
                return any("not passed on to syslog" in w["reason"] for w in router.ai("health")["warnings"])

            router.until(warned, "the warning")
