"""What every Journal must do, asked of SQLite and of PostgreSQL."""

import dataclasses
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from airouter.adapters import results, tables
from airouter.adapters.database import DatabaseJournal
from airouter.domain.decision import Clause, Decision, Outcome
from airouter.domain.finding import Embedding, Field
from airouter.domain.job import Discontinuation, Job, JobState, Progress, Source
from airouter.domain.picture import Chart, Trace
from airouter.domain.priority import Ground, Priority, Reading, Verdict, verdict_of
from airouter.domain.rescan import Fitness, RescanState
from airouter.domain.study import Modality
from airouter.errors import JobCanceled, JournalError, JournalUnavailable
from airouter.ports import ResultRecord, StoredEvidence


@pytest.fixture
def journal(url: str) -> Iterator[DatabaseJournal]:
    made = DatabaseJournal(url)
    yield made
    made.close()


def job(key: str = "k1", study: str = "1.2.3", **changes: object) -> Job:
    made = Job(
        key=key,
        study_id=f"id-{study}",
        study_uid=study,
        series_uid=f"{study}.1",
        modality=Modality.SM,
        sources=(Source("a", "1.1", "d1"), Source("b", "1.2", "d2")),
        pipeline="nuclear_positivity",
        pipeline_version="1",
        model="nuclei",
        model_version="1.0",
        model_sha256="ab" * 32,
        parameters={"threshold": 0.5, "strict": True, "name": "x", "n": 3},
        route="ki67",
        priority=Priority.HIGH,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def result(key: str = "k1", study: str = "1.2.3", priority: Priority = Priority.ROUTINE) -> ResultRecord:
    return ResultRecord(
        job=key,
        study_uid=study,
        findings=({"label": "Ki-67", "value": 12.5, "points": [[1, 2], [3, 4]]},),
        evidence=(
            StoredEvidence("sr", "1.2.840.10008.5.1.4.1.1.88.34", f"2.25.1{key}", "2.25.2", "i1"),
            StoredEvidence("ann", "1.2.840.10008.5.1.4.1.1.91.1", f"2.25.3{key}", "2.25.4", "i2"),
        ),
        verdict=Verdict(priority, f"because of {key}"),
        not_analysed=({"quantity": "area", "reason": "no spacing"},),
    )


def decision(route: str = "r", sources: tuple[str, ...] = ("1", "2"), reason: str = "matched") -> Decision:
    clauses = (Clause("Modality", "SM", "SM", True), Clause("Stain", "x", "", False))
    return Decision("1.2", "1.2.1", Modality.SM, sources, route, "rev", Outcome.SKIPPED, reason, "k", clauses)


# -- cursor and settled -----------------------------------------------------------------------------------------------


def test_cursor_only_goes_forward(journal: DatabaseJournal) -> None:
    assert journal.cursor() == 0
    for seq, expected in ((5, 5), (3, 5), (5, 5), (2**40, 2**40)):
        journal.advance(seq)
        assert journal.cursor() == expected


def test_settled(journal: DatabaseJournal) -> None:
    assert journal.settled("s") is None
    journal.settle("s", "one")
    journal.settle("s", "two")
    assert journal.settled("s") == "two"
    assert journal.settled("other") is None


# -- decisions --------------------------------------------------------------------------------------------------------


def test_a_newer_decision_replaces_the_one_on_the_same_sources_and_route(journal: DatabaseJournal) -> None:
    journal.decide([decision("a"), decision("b"), decision("a", ("1", "2", "3"))])
    journal.decide([decision("a", ("2", "1"), reason="newer")])
    kept = [d for _, d in journal.decisions()]
    assert kept[0] == decision("a", ("2", "1"), reason="newer")
    assert {(d.route, d.sources) for d in kept} == {("a", ("2", "1")), ("b", ("1", "2")), ("a", ("1", "2", "3"))}


def test_the_same_decision_again_keeps_its_time(journal: DatabaseJournal) -> None:
    journal.decide([decision()])
    before = journal.decisions()
    journal.decide([decision()])
    assert journal.decisions() == before
    assert before[0][0].endswith("+00:00")


def test_decisions_newest_first_of_one_study(journal: DatabaseJournal) -> None:
    for n in range(5):
        journal.decide([dataclasses.replace(decision(f"r{n}"), study_uid=f"1.{n % 2}")])
    assert [d.route for _, d in journal.decisions("1.0")] == ["r4", "r2", "r0"]
    assert [d.route for _, d in journal.decisions(limit=2)] == ["r4", "r3"]
    assert journal.decisions("1.0", limit=0) == []


def test_a_decision_without_a_modality(journal: DatabaseJournal) -> None:
    made = dataclasses.replace(decision(), modality=None, job=None, clauses=())
    journal.decide([made])
    assert journal.decisions()[0][1] == made


# -- the life of a job ------------------------------------------------------------------------------------------------


def test_a_job_is_added_once(journal: DatabaseJournal) -> None:
    assert journal.add(job(), requested_by="alice")
    assert not journal.add(job(), requested_by="bob")
    record = journal.job("k1")
    assert record is not None
    assert record.job == job()
    assert (record.state, record.requested_by, record.attempts) == (JobState.SCHEDULED, "alice", 0)
    assert journal.job("other") is None


def test_a_job_runs_to_its_end(journal: DatabaseJournal) -> None:
    journal.add(job())
    journal.start("k1", "CPUExecutionProvider")
    journal.progress("k1", Progress(3, 10, "patches"))
    record = journal.job("k1")
    assert record is not None
    assert (record.state, record.progress, record.attempts) == (JobState.IN_PROGRESS, Progress(3, 10, "patches"), 1)
    assert record.execution_provider == "CPUExecutionProvider"
    journal.complete(result(), "nothing to see")
    journal.complete(result(), "again")
    record = journal.job("k1")
    assert record is not None
    assert (record.state, record.reason) == (JobState.COMPLETED, "nothing to see")
    assert record.created <= (record.started or "") <= (record.ended or "")
    assert journal.results("1.2.3") == [result()]
    assert journal.ours(["2.25.1k1", "9.9", "2.25.3k1"]) == {"2.25.1k1", "2.25.3k1"}
    assert journal.ours([]) == set()
    assert journal.ours([str(n) for n in range(40_000)]) == set()


def test_what_ended_stays(journal: DatabaseJournal) -> None:
    journal.add(job())
    journal.complete(result())
    journal.cancel("k1", Discontinuation.OPERATOR, "too late")
    journal.start("k1", "CPU")
    journal.progress("k1", Progress(1, 2))
    record = journal.job("k1")
    assert record is not None
    assert (record.state, record.discontinuation, record.progress, record.attempts) == (
        JobState.COMPLETED,
        None,
        None,
        0,
    )
    assert not journal.reschedule("k1")


def test_a_canceled_job_neither_starts_nor_completes(journal: DatabaseJournal) -> None:
    journal.add(job())
    journal.cancel("k1", Discontinuation.OPERATOR, "not needed")
    journal.cancel("k1", Discontinuation.FAILURE, "second word")
    record = journal.job("k1")
    assert record is not None
    assert (record.state, record.discontinuation, record.reason) == (
        JobState.CANCELED,
        Discontinuation.OPERATOR,
        "not needed",
    )
    with pytest.raises(JobCanceled):
        journal.start("k1", "CPU")
    with pytest.raises(JobCanceled):
        journal.complete(result())
    assert journal.results("1.2.3") == []
    assert journal.worklist() == []


def test_a_canceled_job_can_be_tried_again(journal: DatabaseJournal) -> None:
    journal.add(job())
    journal.start("k1", "CPU")
    journal.cancel("k1", Discontinuation.FAILURE, "boom")
    assert journal.reschedule("k1")
    assert not journal.reschedule("k1")
    record = journal.job("k1")
    assert record is not None
    assert (record.state, record.reason, record.discontinuation, record.ended) == (JobState.SCHEDULED, None, None, None)
    journal.start("k1", "CPU")
    journal.complete(result())
    record = journal.job("k1")
    assert record is not None
    assert (record.state, record.attempts) == (JobState.COMPLETED, 2)


def test_an_unknown_job(journal: DatabaseJournal) -> None:
    with pytest.raises(JournalError):
        journal.start("nobody", "CPU")
    with pytest.raises(JournalError):
        journal.complete(result("nobody"))
    journal.cancel("nobody", Discontinuation.FAILURE, "x")
    assert not journal.reschedule("nobody")
    assert journal.results("1.2.3") == []


def test_jobs_newest_first_by_study_and_state(journal: DatabaseJournal) -> None:
    for n in range(6):
        journal.add(job(f"k{n}", f"1.{n % 2}"))
    journal.cancel("k4", Discontinuation.FAILURE, "x")
    assert [r.job.key for r in journal.jobs()] == ["k5", "k4", "k3", "k2", "k1", "k0"]
    assert [r.job.key for r in journal.jobs("1.0", limit=2)] == ["k4", "k2"]
    assert [r.job.key for r in journal.jobs(state=JobState.CANCELED)] == ["k4"]


# -- worklist ---------------------------------------------------------------------------------------------------------


def test_the_most_urgent_result_decides_the_study(journal: DatabaseJournal) -> None:
    for key, priority in (("k1", Priority.ROUTINE), ("k2", Priority.STAT), ("k3", Priority.LOW), ("k4", Priority.STAT)):
        journal.add(job(key, pipeline=key))
        journal.complete(result(key, priority=priority))
    (entry,) = journal.worklist()
    assert entry.verdict == Verdict(Priority.STAT, "because of k2")
    assert (entry.study_uid, entry.study_id) == ("1.2.3", "id-1.2.3")
    assert [r.job for r in journal.results("1.2.3")] == ["k1", "k2", "k3", "k4"]


def test_worklist_most_urgent_then_oldest_first(journal: DatabaseJournal) -> None:
    for n, priority in enumerate((Priority.LOW, Priority.HIGH, Priority.STAT, Priority.HIGH, Priority.STAT)):
        journal.add(job(f"k{n}", f"1.{n}"))
        journal.complete(result(f"k{n}", f"1.{n}", priority))
    assert [e.study_uid for e in journal.worklist()] == ["1.2", "1.4", "1.1", "1.3", "1.0"]
    assert [e.study_uid for e in journal.worklist(limit=1)] == ["1.2"]


# -- what a newer result replaces, and what readers reject ------------------------------------------------------------


def urgent(key: str, *findings: str, priority: Priority = Priority.STAT, **changes: object) -> ResultRecord:
    """A result with a ground for each of its findings."""
    made = [Ground(priority, f"{finding} of {key}", (finding,)) for finding in findings]
    values = tuple({"key": finding, "label": finding, "origins": []} for finding in findings)
    return dataclasses.replace(result(key), findings=values, verdict=verdict_of(*made), **changes)  # type: ignore[arg-type]


def decide(journal: DatabaseJournal, job: str, finding: str, *verbs: str, study: str = "1.2.3") -> None:
    """As a review does it: new versions of a finding's state, and the worklist, in one transaction."""
    states = {"reject": "rejected", "accept": "accepted", "amend": "amended", "withdraw": "pending"}
    with journal.store.write() as db:
        t = tables.review
        last = sa.select(sa.func.max(t.c.version)).where(t.c.job == job, t.c.finding == finding)
        version = db.execute(last).scalar_one() or 0
        for n, verb in enumerate(verbs, version + 1):
            row = {"request": f"{job}-{finding}-{n}", "study_uid": study, "job": job, "finding": finding, "version": n}
            db.execute(t.insert().values(row | {"verb": verb, "state": states[verb], "by": "lee", "at": "2026-01-01"}))
        results.prioritise(journal.store, db, study, f"id-{study}", "2026-01-01")


def said(journal: DatabaseJournal, study: str = "1.2.3") -> tuple[Priority, str]:
    verdict = journal.verdict(study)
    assert verdict is not None
    return verdict.priority, verdict.reason


def test_the_grounds_of_a_verdict_come_back(journal: DatabaseJournal) -> None:
    journal.add(job())
    made = urgent("k1", "detachment", 'vitreous \u00fc "x"')
    journal.complete(made)
    assert journal.results("1.2.3") == [made]


def test_a_newer_result_of_the_same_images_takes_the_place_of_an_older_more_urgent_one(
    journal: DatabaseJournal,
) -> None:
    journal.add(job("old"))
    journal.add(job("beside", model="other", route="other"))
    journal.complete(result("old", priority=Priority.STAT))
    journal.complete(result("beside", priority=Priority.HIGH))
    assert said(journal) == (Priority.STAT, "because of old")
    journal.add(job("new", model_version="2", model_sha256="cd" * 32))
    coming = result("new")
    foreseen = journal.verdict("1.2.3", coming)
    journal.complete(coming)
    assert foreseen == journal.verdict("1.2.3")
    assert said(journal) == (Priority.HIGH, "because of beside")
    (entry,) = journal.worklist()
    assert entry.verdict.priority is Priority.HIGH
    assert [(r.job, r.superseded) for r in journal.results("1.2.3")] == [
        ("old", True),
        ("beside", False),
        ("new", False),
    ]


def test_a_job_made_earlier_that_ends_later_replaces_nothing(journal: DatabaseJournal) -> None:
    for key in ("old", "new"):
        journal.add(job(key))
    journal.complete(result("new"))
    journal.complete(result("old", priority=Priority.STAT))
    assert said(journal) == (Priority.ROUTINE, "because of new")


def test_a_job_that_could_not_analyse_its_images_replaces_none_that_could(journal: DatabaseJournal) -> None:
    for key in ("old", "new"):
        journal.add(job(key))
    journal.complete(result("old", priority=Priority.STAT))
    why = ({"quantity": "nuclear_positivity", "reason": "not analysed because it is out of focus"},)
    journal.complete(dataclasses.replace(result("new"), findings=(), evidence=(), not_analysed=why))
    assert said(journal) == (Priority.STAT, "because of old")


def test_the_bucket_is_that_of_current_results(journal: DatabaseJournal) -> None:
    for key, reading in (("old", Reading.FULL), ("new", Reading.REVIEW_AND_RELEASE)):
        journal.add(job(key))
        journal.complete(dataclasses.replace(result(key), verdict=Verdict(Priority.ROUTINE, key, reading)))
    found = journal.verdict("1.2.3")
    assert found is not None and found.reading is Reading.REVIEW_AND_RELEASE


def test_rejecting_the_finding_that_set_the_priority_reverts_it(journal: DatabaseJournal) -> None:
    journal.add(job("k1"))
    journal.add(job("k2", pipeline="other"))
    journal.complete(urgent("k1", "detachment", "haemorrhage"))
    journal.complete(result("k2", priority=Priority.HIGH))
    assert said(journal) == (Priority.STAT, "detachment of k1; haemorrhage of k1")
    decide(journal, "k1", "detachment", "reject")
    assert said(journal) == (Priority.STAT, "haemorrhage of k1")
    decide(journal, "k1", "haemorrhage", "accept", "withdraw", "reject")
    assert said(journal) == (Priority.HIGH, "because of k2")
    with journal.store.read() as db:
        assert results.rejected(db, "1.2.3") == {("k1", "detachment"), ("k1", "haemorrhage")}
        found = results.standing_of_study(db, "1.2.3")
        assert (found.pending, found.decided) == (1, 2)
        assert results.rejected(db, "1.2.4") == set()
    decide(journal, "k1", "haemorrhage", "withdraw", "accept")
    assert said(journal) == (Priority.STAT, "haemorrhage of k1")
    (first, second) = journal.results("1.2.3")
    assert (first.rejected, second.rejected) == ({"detachment"}, frozenset())
    assert first.verdict.reason == "detachment of k1; haemorrhage of k1", "what the machine said stays"


def test_a_study_of_which_all_is_rejected_is_routine(journal: DatabaseJournal) -> None:
    journal.add(job("k1"))
    journal.complete(urgent("k1", "detachment"))
    decide(journal, "k1", "detachment", "reject")
    assert said(journal) == (Priority.ROUTINE, "rejected by a reader: detachment of k1")


def test_a_verdict_of_an_older_router_rests_on_all_findings(journal: DatabaseJournal) -> None:
    journal.add(job("k1"))
    journal.complete(dataclasses.replace(urgent("k1", "a", "b"), verdict=Verdict(Priority.HIGH, "b is large")))
    decide(journal, "k1", "b", "reject")
    assert said(journal) == (Priority.HIGH, "b is large")
    decide(journal, "k1", "a", "reject")
    assert said(journal) == (Priority.ROUTINE, "rejected by a reader: b is large")


def test_a_result_made_anew_is_not_reviewed_yet(journal: DatabaseJournal) -> None:
    journal.add(job("old"))
    journal.complete(urgent("old", "detachment"))
    decide(journal, "old", "detachment", "reject")
    journal.add(job("new", model_version="2"))
    journal.complete(urgent("new", "detachment"))
    assert said(journal) == (Priority.STAT, "detachment of new")
    with journal.store.read() as db:
        found = results.standing_of_study(db, "1.2.3")
    assert (found.pending, found.decided) == (1, 0)


def test_a_summary_is_not_urgent_for_what_was_rejected_where_it_was_found(journal: DatabaseJournal) -> None:
    """Also where that stands in another study of the visit."""
    found = job("k1", "1.9")
    journal.add(found)
    journal.complete(dataclasses.replace(urgent("k1", "detachment"), study_uid="1.9"))
    summary = job("s", pipeline="visit-summary", results=("k1",))
    journal.add(summary)
    repeated = urgent("s", "k1 detachment")
    origins = [{"tracking_uid": found.tracking_uid("detachment")}]
    findings = tuple({**each, "origins": origins} for each in repeated.findings)
    journal.complete(dataclasses.replace(repeated, findings=findings))
    decide(journal, "k1", "detachment", "reject", study="1.9")
    assert said(journal, "1.9") == (Priority.ROUTINE, "rejected by a reader: detachment of k1")
    assert said(journal)[0] is Priority.ROUTINE
    assert journal.summarised_in("1.9") == [("1.2.3", "id-1.2.3")]
    assert journal.summarised_in("1.2.3") == []
    (kept,) = journal.results("1.2.3")
    assert kept.rejected == {"k1 detachment"}


def test_a_study_without_results_is_not_on_the_worklist(journal: DatabaseJournal) -> None:
    assert journal.verdict("1.2.3") is None


# -- durability and failure -------------------------------------------------------------------------------------------


def test_everything_is_there_after_reopening(url: str) -> None:
    journal = DatabaseJournal(url)
    journal.advance(7)
    journal.add(job())
    journal.complete(result())
    journal.close()
    again = DatabaseJournal(url)
    assert (again.cursor(), again.results("1.2.3")) == (7, [result()])
    again.close()


def test_many_threads_lose_nothing(journal: DatabaseJournal) -> None:
    added: list[str] = []
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(12):
                if journal.add(job(f"k{n}", f"1.{n}")):
                    added.append(f"k{n}")
                journal.decide([decision(f"r{n}", reason=f"{thread}")])
                journal.advance(thread * 100 + n)
                journal.complete(result(f"k{n}", f"1.{n}"))
        except BaseException as error:  # noqa: BLE001  # shown below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(added) == sorted(f"k{n}" for n in range(12))
    assert journal.cursor() == 511
    assert len(journal.worklist()) == len(journal.decisions()) == 12


def test_a_newer_database_is_refused_and_left_alone(url: str) -> None:
    DatabaseJournal(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as db:
        db.execute(tables.schema.update().values(version=tables.SCHEMA + 1))
        db.execute(sa.text("DROP TABLE settled"))
    with pytest.raises(JournalError, match=f"version {tables.SCHEMA + 1}") as caught:
        DatabaseJournal(url)
    assert not caught.value.transient
    assert not sa.inspect(engine).has_table("settled")
    engine.dispose()


def test_another_database_system_is_refused() -> None:
    with pytest.raises(JournalError, match="mysql"):
        DatabaseJournal("mysql://localhost/x")


def test_sqlite_is_set_up_to_survive_a_power_cut(tmp_path: Path) -> None:
    journal = DatabaseJournal(f"sqlite:///{tmp_path}/journal.db")
    with journal.store.read() as db:
        found = {p: db.execute(sa.text(f"PRAGMA {p}")).scalar_one() for p in ("journal_mode", "synchronous")}
        assert found == {"journal_mode": "wal", "synchronous": 2}
        assert db.execute(sa.text("PRAGMA foreign_keys")).scalar_one() == 1
    journal.close()


@pytest.mark.parametrize("at", [0, 4096 + 200])
def test_a_damaged_database_is_named(tmp_path: Path, at: int) -> None:
    path = tmp_path / "journal.db"
    journal = DatabaseJournal(f"sqlite:///{path}")
    for n in range(50):
        journal.add(job(f"k{n}"))
    journal.close()
    content = bytearray(path.read_bytes())
    content[at : at + 6000] = bytes(k * 37 % 256 for k in range(6000))
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.db") as caught:
        DatabaseJournal(f"sqlite:///{path}")
    assert not caught.value.transient


def test_a_lock_held_too_long_is_passing_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airouter.adapters.store._BUSY_SECONDS", 0)
    journal = DatabaseJournal(f"sqlite:///{tmp_path}/journal.db")
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable):
        journal.advance(1)
    assert journal.cursor() == 0
    other.rollback()
    other.close()
    journal.advance(1)
    assert journal.cursor() == 1
    journal.close()


def test_a_full_disk_is_passing_trouble(tmp_path: Path) -> None:
    journal = DatabaseJournal(f"sqlite:///{tmp_path}/journal.db")
    journal.add(job())
    limited: list[sa.Connection] = []

    @sa.event.listens_for(journal.store._engine, "begin")
    def limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        limited.append(connection)

    with pytest.raises(JournalUnavailable, match="full"):
        for n in range(200):
            journal.decide([decision(f"r{n}", reason="x" * 4000)])
    assert limited
    assert journal.job("k1") is not None
    journal.close()


def test_a_killed_writer_leaves_whole_transactions(tmp_path: Path) -> None:
    """SIGKILL in the middle of completing jobs: each is complete with result, evidence and worklist, or not at all."""
    url = f"sqlite:///{tmp_path}/journal.db"
    script = (
        "import os, sys\n"
        "from airouter.adapters.database import DatabaseJournal\n"
        "from tests.contract.test_journal import job, result\n"
        "journal = DatabaseJournal(sys.argv[1])\n"
        "for n in range(100000):\n"
        "    journal.add(job(f'k{n}', f'1.{n}'))\n"
        "    journal.complete(result(f'k{n}', f'1.{n}'))\n"
        "    print(n, flush=True)\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root / "plugin", root)))}
    with subprocess.Popen(
        [sys.executable, "-c", script, url], cwd=root, env=env, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = -1
        for line in writer.stdout:
            told = int(line)
            if told >= 25:
                writer.kill()
                break
        told = max([told, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    journal = DatabaseJournal(url)
    done = [r.job for r in journal.jobs(state=JobState.COMPLETED, limit=10_000)]
    assert len(done) >= told + 1 >= 26
    for one in done:
        (found,) = journal.results(one.study_uid)
        assert found == result(one.key, one.study_uid)
        assert len(journal.ours([e.uid for e in found.evidence])) == 2
    assert len(journal.worklist(10_000)) == len(done)
    journal.close()


def test_a_growing_series_that_no_route_reads_leaves_one_decision(journal: DatabaseJournal) -> None:
    """Otherwise every slice of a CT would leave another row with all the UIDs before it."""
    left_out = dataclasses.replace(decision(route=""), modality=None, job=None, clauses=(), reason="CT is not analysed")
    other = dataclasses.replace(left_out, series_uid="1.2.2")
    for n in range(1, 30):
        journal.decide([dataclasses.replace(left_out, sources=tuple(map(str, range(n)))), other])
    kept = [d for _, d in journal.decisions()]
    assert sorted((d.series_uid, len(d.sources)) for d in kept) == [("1.2.1", 29), ("1.2.2", 2)]


def test_a_new_try_is_the_wish_of_who_asked_for_it(journal: DatabaseJournal) -> None:
    journal.add(job(), requested_by="anna")
    journal.cancel("k1", Discontinuation.OPERATOR, "x")
    assert journal.reschedule("k1", requested_by="ben")
    record = journal.job("k1")
    assert record is not None
    assert record.requested_by == "ben"


def test_a_url_that_is_none_is_told_without_repeating_it() -> None:
    with pytest.raises(JournalError) as raised:
        DatabaseJournal("postgresql://user:secret@host:port/x")
    assert "secret" not in str(raised.value)


# -- charts, buckets, and jobs over other studies and results ---------------------------------------------------------


CHART = Chart(
    "trend",
    "Trend of MD, right eye",
    "1.2.3.4",
    'MD \u2212 "right" <b>',
    "Year",
    "dB",
    (
        Trace("fields", "points", (2020.1, 2021.25), (-1.5, -0.1 - 0.2)),
        Trace("95 %", "band", (2020.0, 2022.0), (-3.0, -4.0), (-1.0, -2.0)),
    ),
    ("slope -0.5 dB/year",),
)


def test_charts_come_back_as_they_were_made_and_in_their_order(journal: DatabaseJournal, url: str) -> None:
    journal.add(job("k1"))
    journal.add(job("k2", pipeline="other"))
    second = dataclasses.replace(CHART, role="second", notes=(), traces=())
    journal.complete(dataclasses.replace(result("k1"), charts=(CHART, second)))
    journal.complete(result("k2"))
    journal.complete(dataclasses.replace(result("k1"), charts=(CHART,)))  # a second time changes nothing
    again = DatabaseJournal(url)
    assert again.charts("k1") == (CHART, second)
    assert again.charts("k2") == again.charts("unknown") == ()
    assert again.results("1.2.3")[0] == result("k1"), "results are read without their charts"
    again.close()


def test_charts_are_kept_with_their_result_or_not_at_all(journal: DatabaseJournal) -> None:
    journal.add(job())
    journal.cancel("k1", Discontinuation.OPERATOR, "not needed")
    with pytest.raises(JobCanceled):
        journal.complete(dataclasses.replace(result(), charts=(CHART,)))
    assert journal.charts("k1") == ()


def test_the_bucket_of_a_study_is_that_of_its_results_together(journal: DatabaseJournal) -> None:
    def complete(key: str, reading: Reading | None, priority: Priority = Priority.ROUTINE) -> Reading | None:
        journal.add(job(key, pipeline=key))
        verdict = Verdict(priority, f"because of {key}", reading)
        journal.complete(dataclasses.replace(result(key), verdict=verdict))
        (entry,) = journal.worklist()
        return entry.verdict.reading

    assert complete("a", None) is None
    assert complete("b", Reading.REVIEW_AND_RELEASE) is Reading.REVIEW_AND_RELEASE
    assert complete("c", None, Priority.STAT) is Reading.FULL
    assert complete("d", Reading.FULL) is Reading.FULL
    asked = [None, Reading.REVIEW_AND_RELEASE, None, Reading.FULL]
    assert [r.verdict.reading for r in journal.results("1.2.3")] == asked


def test_a_job_over_priors_and_one_over_results_come_back(journal: DatabaseJournal) -> None:
    compared = job("p", sources=(Source("a", "1.1", "d1"), Source("b", "1.2", "d2", "id-old")))
    summary = job("s", results=("k1", "k2"), parameters={})
    for made in (compared, summary):
        journal.add(made)
        record = journal.job(made.key)
        assert record is not None and record.job == made


def test_what_a_job_came_to_leaves_standing_what_is_waited_for(journal: DatabaseJournal) -> None:
    waiting = dataclasses.replace(decision("whole", ("1",)), outcome=Outcome.WAITING, job=None)
    ended = dataclasses.replace(decision("single", ("1",)), outcome=Outcome.UNGRADABLE)
    journal.decide([waiting])
    journal.decide([ended])
    assert {d.route for _, d in journal.decisions()} == {"whole", "single"}
    journal.decide([dataclasses.replace(decision("single", ("1",)), outcome=Outcome.SELECTED)])
    assert {d.route for _, d in journal.decisions()} == {"single"}


# -- embeddings of slides ---------------------------------------------------------------------------------------------


def embedding(seed: int = 0, regions: int = 2) -> Embedding:
    vectors = np.random.default_rng(seed).normal(size=(1 + regions, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fields = tuple(Field(f"1.2.{n}", -3, n, 128, 64) for n in range(regions))
    return Embedding(vectors[0], vectors[1:], fields, (0.75, 0.25)[:regions], "20240131")


def embedded(journal: DatabaseJournal, key: str, made: Embedding, study: str = "1.2.3", **changes: object) -> None:
    journal.add(job(key, study, **{"model_contract": "c", **changes}))
    journal.complete(dataclasses.replace(result(key, study), embedding=made))


def test_an_embedding_comes_back_as_it_was(journal: DatabaseJournal) -> None:
    embedded(journal, "k1", embedding())
    (kept,) = journal.embeddings()
    assert (kept.job, kept.study_id, kept.study_uid, kept.series_uid) == ("k1", "id-1.2.3", "1.2.3", "1.2.3.1")
    assert kept.model == "nuclei"
    assert kept.kept.endswith("+00:00")
    assert np.array_equal(kept.embedding.slide, embedding().slide)
    assert np.array_equal(kept.embedding.regions, embedding().regions)
    assert kept.embedding.slide.dtype == np.float32
    found = kept.embedding
    assert (found.fields, found.shares, found.taken) == (embedding().fields, (0.75, 0.25), "20240131")
    (read,) = journal.results("1.2.3")
    assert read.embedding is None


def test_an_embedding_is_kept_with_its_result_or_not_at_all(journal: DatabaseJournal) -> None:
    journal.add(job())
    journal.cancel("k1", Discontinuation.OPERATOR, "not needed")
    with pytest.raises(JobCanceled):
        journal.complete(dataclasses.replace(result(), embedding=embedding()))
    assert journal.embeddings() == []
    embedded(journal, "k2", embedding())
    journal.complete(dataclasses.replace(result("k2"), embedding=embedding(1)))  # a second time changes nothing
    assert np.array_equal(journal.embeddings()[0].embedding.slide, embedding().slide)


def test_readers_go_on_after_the_last_embedding_they_saw(journal: DatabaseJournal) -> None:
    for n in range(5):
        embedded(journal, f"k{n}", embedding(n), f"1.{n}")
    first = journal.embeddings(limit=3)
    then = journal.embeddings(first[-1].id)
    assert [e.job for e in first + then] == [f"k{n}" for n in range(5)]
    journal.forget(then[-1].study_id)
    embedded(journal, "k9", embedding(), "1.9")
    assert [e.job for e in journal.embeddings(then[-1].id)] == ["k9"]  # the id of what was deleted is not given again


def test_a_slide_has_one_embedding_in_a_space(journal: DatabaseJournal) -> None:
    embedded(journal, "k1", embedding(1))
    embedded(journal, "k2", embedding(2), model_sha256="ff" * 32)
    embedded(journal, "k3", embedding(3), model_contract="d")
    embedded(journal, "k4", embedding(4), pipeline_version="2.0.0")
    embedded(journal, "k5", embedding(5), study_id="the same series in another study")
    embedded(journal, "k6", embedding(6), pipeline_version="1.1.0")  # in place of k1
    assert [e.job for e in journal.embeddings()] == ["k2", "k3", "k4", "k5", "k6"]
    spaces = {e.job: e.space for e in journal.embeddings()}
    assert len(set(spaces.values())) == 4
    assert spaces["k5"] == spaces["k6"]


def test_a_study_is_forgotten(journal: DatabaseJournal) -> None:
    embedded(journal, "k1", embedding(), "1.1")
    embedded(journal, "k2", embedding(), "1.2")
    for _ in range(2):
        journal.forget("id-1.1")
        assert [e.job for e in journal.embeddings()] == ["k2"]
    assert journal.job("k1") is not None


def test_no_embedding_is_missed_by_a_reader_beside_many_writers(url: str) -> None:
    """On PostgreSQL a row of a higher id can be there before one of a lower id, where writers are not kept apart."""
    journals = [DatabaseJournal(url) for _ in range(4)]
    stop = threading.Event()
    seen: list[str] = []

    def follow() -> None:
        after, last = 0, False
        while not last:
            last = stop.is_set()
            for each in journals[0].embeddings(after):
                seen.append(each.job)
                after = each.id

    def work(thread: int) -> None:
        for n in range(10):
            embedded(journals[thread], f"k{thread}-{n}", embedding(n), f"1.{thread}.{n}")

    reader = threading.Thread(target=follow)
    writers = [threading.Thread(target=work, args=(n,)) for n in range(1, 4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    for each in journals:
        each.close()
    assert sorted(seen) == sorted(f"k{t}-{n}" for t in range(1, 4) for n in range(10))


def test_the_newest_job_of_a_pipeline_on_a_series(journal: DatabaseJournal) -> None:
    for n, pipeline in enumerate(("similar-cases", "similar-cases", "other")):
        journal.add(job(f"k{n}", pipeline=pipeline))
    found = journal.job_of("1.2.3.1", "similar-cases")
    assert found is not None
    assert found.job.key == "k1"
    assert journal.job_of("1.2.3.1", "none") is None
    assert journal.job_of("1.2.3", "similar-cases") is None


# -- slides to scan again ---------------------------------------------------------------------------------------------


def judged(journal: DatabaseJournal, key: str, fitness: Fitness, series: str, study: str = "1.2.3") -> None:
    journal.add(job(key, study, series_uid=series))
    journal.complete(dataclasses.replace(result(key, study, Priority.LOW), fitness=fitness))


BAD = Fitness(False, "out of focus 37 %", 55.0, "S26-1", "2026-01-05T10:00:00")
GOOD = Fitness(True, "fit for reading", 98.0, "S26-1", "2026-01-06T10:00:00")


def test_unfit_slides_worst_first(journal: DatabaseJournal) -> None:
    for key, usable in (("a", 70.0), ("b", None), ("c", 20.0), ("d", 20.0)):
        judged(journal, key, dataclasses.replace(BAD, usable_percent=usable), f"1.{key}", f"2.{key}")
    judged(journal, "e", GOOD, "1.e", "2.e")
    assert [e.series_uid for e in journal.rescans()] == ["1.b", "1.c", "1.d", "1.a"]
    assert [e.series_uid for e in journal.rescans(limit=2)] == ["1.b", "1.c"]
    assert [e.series_uid for e in journal.rescans(RescanState.FIT)] == ["1.e"]
    assert len(journal.rescans(None)) == 5
    first = journal.rescan("1.a")
    assert first is not None
    assert first.fitness == dataclasses.replace(BAD, usable_percent=70.0)
    assert (first.study_uid, first.study_id, first.state, first.closed) == ("2.a", "id-2.a", RescanState.OPEN, None)
    assert journal.rescan("1.x") is None


def test_a_fit_rescan_closes_the_entry_in_the_same_transaction(journal: DatabaseJournal) -> None:
    judged(journal, "a", BAD, "1.a")
    judged(journal, "b", GOOD, "1.b", "another study")
    assert [e.series_uid for e in journal.rescans()] == ["1.a"]
    judged(journal, "c", GOOD, "1.c")
    assert journal.rescans() == []
    (closed, fit) = journal.rescans_of("1.2.3")
    assert (closed.series_uid, closed.state, closed.by) == ("1.a", RescanState.RESCANNED, None)
    assert closed.note == "fit in series 1.c"
    assert fit.state is RescanState.FIT


def test_a_job_that_completes_again_judges_nothing_anew(journal: DatabaseJournal) -> None:
    judged(journal, "a", BAD, "1.a")
    before = journal.rescans()
    judged(journal, "a", dataclasses.replace(BAD, usable_percent=1.0), "1.a")
    assert journal.rescans() == before
    judged(journal, "newer", dataclasses.replace(BAD, usable_percent=1.0), "1.a")  # another job on the same slide
    (entry,) = journal.rescans()
    assert (entry.fitness.usable_percent, entry.opened) == (1.0, before[0].opened)


def test_a_person_takes_a_slide_off_the_list(journal: DatabaseJournal, url: str) -> None:
    judged(journal, "a", BAD, "1.a")
    entry = journal.dismiss("1.a", "nothing else is left", "anna")
    assert entry is not None
    assert (entry.state, entry.by, entry.note) == (RescanState.DISMISSED, "anna", "nothing else is left")
    assert entry.closed is not None
    again = DatabaseJournal(url)
    assert again.rescans() == []
    assert again.dismiss("1.a", "once more", "bert") == entry  # not on the list: it stays as it is
    assert again.dismiss("1.x", "unknown", "bert") is None
    judged(again, "b", dataclasses.replace(BAD, usable_percent=10.0), "1.a")
    assert again.rescans() == []
    again.close()


def test_two_scans_judged_at_once_see_each_other(url: str) -> None:
    journals = [DatabaseJournal(url) for _ in range(2)]
    for n in range(8):
        both = ((f"a{n}", BAD, f"1.a{n}"), (f"b{n}", GOOD, f"1.b{n}"))
        threads = [
            threading.Thread(target=judged, args=(each, key, fitness, series, f"2.{n}"))
            for each, (key, fitness, series) in zip(journals, both, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert journals[0].rescans() == []
    assert len(journals[0].rescans(RescanState.RESCANNED)) == 8
    for each in journals:
        each.close()


def test_a_database_of_the_first_version_is_brought_up(url: str) -> None:
    old = DatabaseJournal(url)
    old.add(job())
    old.complete(result())
    old.close()
    engine = sa.create_engine(url)
    with engine.begin() as db:
        for table in (tables.rescan, tables.chart):
            table.drop(db)
        for column in tables.LATER:
            db.execute(sa.text(f"ALTER TABLE {column.table.name} DROP COLUMN {column.name}"))
        db.execute(tables.schema.update().values(version=1))
    journal = DatabaseJournal(url)
    assert journal.results("1.2.3") == [result()]
    assert journal.rescans() == []
    judged(journal, "a", BAD, "1.a")
    assert len(journal.rescans()) == 1
    assert [entry.verdict.reading for entry in journal.worklist()] == [None]
    journal.add(job("k2"))
    bucket = Verdict(Priority.ROUTINE, "normal", Reading.REVIEW_AND_RELEASE)
    journal.complete(dataclasses.replace(result("k2"), verdict=bucket, charts=(CHART,)))
    assert [entry.verdict.reading for entry in journal.worklist()] == [Reading.REVIEW_AND_RELEASE]
    assert journal.charts("k2") == (CHART,)
    journal.close()
    with engine.connect() as db:
        assert db.execute(sa.select(tables.schema.c.version)).scalars().all() == [tables.SCHEMA]
    engine.dispose()
