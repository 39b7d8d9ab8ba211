"""`airouter verify-audit`, as whoever answers for the trail uses it."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airouter.adapters.audit import AuditTrail
from airouter.adapters.audit_key import adopt
from airouter.adapters.json_lines import JsonLines
from airouter.adapters.store import Store
from airouter.cli import app
from airouter.domain.audit import AuditEvent, AuditKind

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    section = {"StateDirectory": "state", "Audit": {"KeyFile": "secret/audit.key"}}
    (tmp_path / "orthanc.json").write_text(json.dumps({"AIRouter": section}))
    return tmp_path


@pytest.fixture
def trail(folder: Path) -> Iterator[AuditTrail]:
    store = Store(f"sqlite:///{folder}/state/airouter.sqlite")
    adopt(store, folder / "secret" / "audit.key")
    made = AuditTrail(store)
    for n in range(5):
        made.record(AuditEvent(AuditKind.VIEW, user="alice", study_uid="1.2", patient_id="Canary", detail={"n": n}))
    yield made
    store.close()


def edit(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "state" / "airouter.sqlite") as db:
        db.execute(statement)
    db.close()


def test_a_whole_trail(folder: Path, trail: AuditTrail) -> None:
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert found.exit_code == 0
    assert f"whole: 5 records, digest of the last {trail.head().digest}" in found.output
    assert "No anchor" in found.output


def test_anchors_confirm_it(folder: Path, trail: AuditTrail, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kept.jsonl"
    JsonLines(elsewhere).send(trail.read(0, 3), None)
    found = runner.invoke(app, ["verify-audit", str(folder), "--anchor", str(elsewhere)])
    assert (found.exit_code, "up to record 3" in found.output) == (0, True)


@pytest.mark.usefixtures("trail")
def test_a_broken_trail(folder: Path) -> None:
    edit(folder, "UPDATE audit SET text = replace(text, 'alice', 'bob') WHERE seq = 4")
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert found.exit_code == 1
    assert "BROKEN at record 4: changed" in found.output
    assert "Canary" not in found.output


def test_the_file_of_the_configuration_is_an_anchor(folder: Path, trail: AuditTrail) -> None:
    document = json.loads((folder / "orthanc.json").read_text())
    document["AIRouter"]["Audit"]["JsonLines"] = "trail.jsonl"
    (folder / "orthanc.json").write_text(json.dumps(document))
    JsonLines(folder / "trail.jsonl").send(trail.read(), None)
    edit(folder, "DELETE FROM audit WHERE seq = 5")
    edit(folder, f"UPDATE audit_head SET seq = 4, digest = '{trail.read(3, 1)[0].digest}'")
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert (found.exit_code, "BROKEN at record 5: missing" in found.output) == (1, True)


def test_the_records_are_written_out(folder: Path, trail: AuditTrail, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert runner.invoke(app, ["verify-audit", str(folder), "--export", str(out)]).exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["record"]["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["digest"] for line in lines] == [r.digest for r in trail.read()]


@pytest.mark.usefixtures("trail")
def test_what_cannot_be_checked(folder: Path) -> None:
    (folder / "secret" / "audit.key").rename(folder / "secret" / "kept")
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert (found.exit_code, "cannot be checked: the key" in found.output) == (2, True)
    (folder / "secret" / "audit.key").write_bytes(b"x" * 32)
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert (found.exit_code, "BROKEN at record 1" in found.output) == (1, True)
    assert "may be another trail's" in found.output
    (folder / "secret" / "kept").rename(folder / "secret" / "audit.key")
    edit(folder, "DROP TABLE audit")
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert (found.exit_code, "has no audit trail" in found.output) == (2, True)
    (folder / "state" / "airouter.sqlite").unlink()
    found = runner.invoke(app, ["verify-audit", str(folder)])
    assert (found.exit_code, "no database yet" in found.output) == (2, True)
    assert not (folder / "state" / "airouter.sqlite").exists()
