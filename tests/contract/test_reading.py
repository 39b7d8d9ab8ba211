"""What the worklist in the database must do, asked of SQLite and of PostgreSQL."""

import dataclasses
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from airouter.adapters import results, tables
from airouter.adapters.audit import AuditTrail
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.reading import ReadingStore
from airouter.domain.audit_sample import drawn
from airouter.domain.decision import Decision, Outcome
from airouter.domain.desk import NotDone
from airouter.domain.job import Discontinuation, Job, Source
from airouter.domain.phase import Phase
from airouter.domain.priority import Ground, Priority, Reading, Verdict, verdict_of
from airouter.domain.reading import Facts, Listed, Rule, Show, Status, Wanted
from airouter.domain.reading_order import Allowances
from airouter.domain.role import Person, Role
from airouter.domain.study import Modality
from airouter.ports import ResultRecord
from airouter.services.reading_room import ReadingRoom

ANN, BOB = (Person(name, frozenset({Role.READER})) for name in ("ann", "bob"))
EVE = Person("eve", frozenset({Role.SUPERVISOR}))
SEAL = b"a key for tests"
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Clock:
    """Time that only moves when a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **length: float) -> None:
        self.now += timedelta(**length)


@pytest.fixture
def journal(url: str) -> Iterator[DatabaseJournal]:
    made = DatabaseJournal(url, SEAL)
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(journal: DatabaseJournal, clock: Clock) -> ReadingStore:
    store = ReadingStore(journal.store, clock)
    store.open(Rule(audit_share=0.0))
    return store


@pytest.fixture
def room(lines: ReadingStore, clock: Clock) -> ReadingRoom:
    return ReadingRoom(lines, claim_minutes=30, now=clock)


def facts(study: str = "1.1", **values: object) -> Facts:
    made = Facts(
        study, f"id-{study}", ("SM",), f"Doe^{study}", f"P{study}", "19500101", "F", "A1", "Colon", picture="p"
    )
    return dataclasses.replace(made, **values)  # type: ignore[arg-type]


def job(key: str, study: str = "1.1", image: str = "1", pipeline: str = "triage") -> Job:
    return Job(
        key=key,
        study_id=f"id-{study}",
        study_uid=study,
        series_uid=f"{study}.1",
        modality=Modality.SM,
        sources=(Source("a", f"{study}.{image}", "d1"),),
        pipeline=pipeline,
        pipeline_version="1",
        model="nuclei",
        model_version="1.0",
        model_sha256="ab" * 32,
        route="r",
    )


def finding(key: str, label: str = "", value: float | None = None, laterality: str | None = None) -> dict[str, object]:
    name = {"value": "X", "scheme": "99", "meaning": "Index"}
    return {
        "key": key,
        "label": label or key,
        "laterality": laterality,
        "measurements": [{"name": name, "value": value, "unit": "%"}] if value is not None else [],
        "evaluations": [],
    }


def complete(
    journal: DatabaseJournal,
    key: str,
    study: str = "1.1",
    verdict: Verdict | None = None,
    findings: tuple[dict[str, object], ...] = (finding("f1", "Tumour", 12.5), finding("f2", "Necrosis")),
    image: str = "1",
) -> None:
    journal.add(job(key, study, image))
    verdict = verdict or verdict_of(Ground(Priority.HIGH, "tumour seen", (str(findings[0]["key"]),)))
    journal.complete(ResultRecord(key, study, findings, (), verdict, ()))


def decide(journal: DatabaseJournal, key: str, name: str, state: str, study: str = "1.1") -> None:
    """As a review does: the decision and what follows from it, in one transaction."""
    t = tables.review
    with journal.store.write() as db:
        before = db.execute(sa.select(sa.func.max(t.c.version)).where(t.c.job == key, t.c.finding == name)).scalar()
        row = {"request": f"{key}{name}{state}", "study_uid": study, "job": key, "finding": name}
        row |= {"version": (before or 0) + 1, "verb": "accept", "state": state, "by": "ann", "at": "2026"}
        db.execute(t.insert().values(row))
        results.prioritise(journal.store, db, study, f"id-{study}", "2026-03-02T09:00:00.000000+00:00")


def uids(lines: ReadingStore, **wanted: object) -> list[str]:
    return [entry.facts.study_uid for entry in lines.page(Wanted(**wanted)).entries]  # type: ignore[arg-type]


def entry(lines: ReadingStore, study: str = "1.1") -> Listed:
    found = lines.entry(study)
    assert found is not None
    return found


def done(outcome: Listed | NotDone | None) -> Listed:
    assert isinstance(outcome, Listed), outcome
    return outcome


def audited(journal: DatabaseJournal) -> list[tuple[str, str | None, str | None]]:
    """Kind, user and action of every record that this module's doings have left."""
    kinds = {"study assigned", "priority set", "study read"}
    found = [record.content for record in AuditTrail(journal.store).read()]
    return [(c["kind"], c["user"], c["detail"].get("action")) for c in found if c["kind"] in kinds]


# -- what stands on the list ------------------------------------------------------------------------------------------


def test_a_study_is_on_the_list_before_and_without_any_result(lines: ReadingStore, journal: DatabaseJournal) -> None:
    assert lines.record(facts())
    assert not lines.record(facts()), "nothing new"
    said = entry(lines)
    assert (said.facts, said.status, said.place.priority, said.position) == (
        facts(),
        Status.UNREAD,
        Priority.ROUTINE,
        1,
    )
    assert said.verdict.reason == "AI: not analysed because nothing has asked for it yet"
    why = "not analysed because it is a wide-field photograph"
    skipped = Decision("1.1", "1.1.1", Modality.OP, ("1",), "", "", Outcome.SKIPPED, why)
    journal.decide([skipped])
    assert entry(lines).verdict.reason == f"AI: {why}"
    journal.decide([dataclasses.replace(skipped, outcome=Outcome.WAITING, reason="a level is missing", sources=("2",))])
    assert (entry(lines).analysis.state, entry(lines).verdict.reason) == ("waiting", "AI: waiting: a level is missing")
    journal.add(job("k1"))
    assert entry(lines).verdict.reason == "AI: waiting for its turn"
    journal.start("k1", "CPU")
    assert entry(lines).verdict.reason == "AI: running"
    journal.cancel("k1", Discontinuation.FAILURE, "the model failed")
    assert entry(lines).analysis.state == "waiting", "another image is still waited for"
    journal.decide([skipped])
    assert entry(lines).verdict.reason == "AI: not analysed because the model failed"


def test_a_result_brings_its_findings_and_priority(lines: ReadingStore, journal: DatabaseJournal, clock: Clock) -> None:
    lines.record(facts())
    clock.wait(minutes=5)
    complete(journal, "k1")
    said = entry(lines)
    assert said.verdict.priority is said.place.priority is Priority.HIGH
    assert said.findings_line == "Tumour: 12.5 % · Necrosis"
    assert (said.pending, said.decided, said.phase) == (2, 0, Phase.INTEGRATED)
    assert said.place.arrived == START
    assert said.place.due == START + timedelta(hours=4)
    assert said.analysis.state == "done"
    journal.add(job("k2", image="2"))
    assert entry(lines).analysis.text == "AI: 1 of 2 analyses not finished"


def test_a_newer_result_takes_the_place_of_the_older(lines: ReadingStore, journal: DatabaseJournal) -> None:
    complete(journal, "k1")
    complete(journal, "k2", verdict=Verdict(Priority.ROUTINE, "nothing"), findings=(finding("f", "Stroma", 3.0),))
    said = entry(lines)
    assert (said.place.priority, said.findings_line, said.pending) == (Priority.ROUTINE, "Stroma: 3 %", 1)


def test_the_order_is_by_due_time_then_arrival(lines: ReadingStore, journal: DatabaseJournal, clock: Clock) -> None:
    for n, (priority, minutes) in enumerate(
        [(Priority.LOW, 0), (Priority.ROUTINE, 60), (Priority.HIGH, 60), (Priority.STAT, 4000), (Priority.LOW, 1)]
    ):
        clock.wait(minutes=minutes)
        lines.record(facts(f"1.{n}"))
        complete(journal, f"k{n}", f"1.{n}", verdict_of(Ground(priority, "why", ("f1",))))
    # Due after 4320, 1500, 360, 4120 and 8441 minutes.
    assert uids(lines) == ["1.2", "1.1", "1.3", "1.0", "1.4"]
    assert [e.position for e in lines.page(Wanted()).entries] == [1, 2, 3, 4, 5]
    assert uids(lines, limit=2, offset=1) == ["1.1", "1.3"]
    page = lines.page(Wanted(priority=Priority.LOW, limit=1))
    assert (page.total, [e.position for e in page.entries]) == (2, [4]), "its place in the whole queue"
    assert page.urgent == {Priority.STAT: 1, Priority.HIGH: 1, Priority.ROUTINE: 1, Priority.LOW: 2}


def test_filters(lines: ReadingStore, journal: DatabaseJournal, room: ReadingRoom) -> None:
    lines.record(facts("1.1", modalities=("OP", "OPT"), laterality="B", description="Glaucoma 100%"))
    lines.record(facts("1.2", modalities=("OP",), laterality="R", patient_name="Müller^Änne"))
    lines.record(facts("1.3", modalities=("OPV",), laterality="L"))
    complete(journal, "k3", "1.3")
    assert uids(lines, modality="OP") == ["1.1", "1.2"]
    assert uids(lines, modality="OPV") == ["1.3"]
    assert uids(lines, laterality="R") == ["1.1", "1.2"]
    assert uids(lines, laterality="B") == ["1.1"]
    assert uids(lines, phase=Phase.INTEGRATED) == ["1.3"]
    assert uids(lines, phase=Phase.SILENT) == []
    assert uids(lines, text="müller änne") == ["1.2"]
    assert uids(lines, text="MÜLLER") == ["1.2"]
    assert uids(lines, text="tumour") == ["1.3"], "findings are searched"
    assert uids(lines, text="100%") == ["1.1"], "no wildcards"
    assert uids(lines, text="_") == []
    done(room.claim("1.2", ANN))
    done(room.assign("1.3", EVE, "ann"))
    assert set(uids(lines, reader="ann")) == {"1.2", "1.3"}
    assert uids(lines, show=Show.IN_REVIEW) == ["1.2"]
    assert set(uids(lines, show=Show.UNREAD)) == {"1.1", "1.3"}


def test_what_is_deleted_is_gone_and_comes_back_with_its_results(
    lines: ReadingStore, journal: DatabaseJournal, clock: Clock
) -> None:
    lines.record(facts())
    complete(journal, "k1")
    assert lines.studies() == [("1.1", "id-1.1")]
    assert lines.remove("id-1.1")
    assert not lines.remove("id-1.1")
    assert (uids(lines, show=Show.ANY), journal.worklist()) == ([], [])
    clock.wait(days=9)
    lines.record(facts())
    assert entry(lines).place.priority is Priority.HIGH
    assert entry(lines).place.arrived == clock.now, "it arrives anew"


# -- decided and completed --------------------------------------------------------------------------------------------


def test_a_study_is_read_once_every_finding_is_decided(lines: ReadingStore, journal: DatabaseJournal) -> None:
    lines.record(facts())
    complete(journal, "k1")
    decide(journal, "k1", "f1", "accepted")
    said = entry(lines)
    assert (said.status, said.pending, said.decided) == (Status.IN_REVIEW, 1, 1)
    decide(journal, "k1", "f2", "rejected")
    said = entry(lines)
    assert (said.status, said.pending, said.position) == (Status.READ, 0, None)
    assert said.findings_line == "Tumour: 12.5 %", "what was rejected is not said"
    assert (uids(lines), uids(lines, show=Show.READ)) == ([], ["1.1"])
    decide(journal, "k1", "f2", "pending")
    assert (entry(lines).status, entry(lines).place.arrived) == (Status.IN_REVIEW, START), "withdrawn: as it was"


def test_rejecting_what_made_a_priority_takes_it_back(lines: ReadingStore, journal: DatabaseJournal) -> None:
    lines.record(facts())
    complete(journal, "k1")
    decide(journal, "k1", "f1", "rejected")
    said = entry(lines)
    assert (said.place.priority, said.place.due) == (Priority.ROUTINE, START + timedelta(days=1))


def test_completing_and_reopening(
    lines: ReadingStore, journal: DatabaseJournal, room: ReadingRoom, clock: Clock
) -> None:
    lines.record(facts())
    complete(journal, "k1")
    done(room.claim("1.1", ANN))
    assert isinstance(room.complete("1.1", BOB), NotDone), "ann reads it"
    said = done(room.complete("1.1", ANN))
    assert (said.status, said.desk.completed_by, said.desk.claimed_by) == (Status.READ, "ann", None)
    assert isinstance(room.claim("1.1", BOB), NotDone)
    refused = room.reopen("1.1", BOB)
    assert isinstance(refused, NotDone)
    assert refused.forbidden
    clock.wait(hours=1)
    said = done(room.reopen("1.1", ANN))
    assert (said.status, said.place.arrived) == (Status.UNREAD, START)
    assert audited(journal) == [
        ("study assigned", "ann", "claim"), ("study read", "ann", "complete"), ("study read", "ann", "reopen")
    ]  # fmt: skip


def test_a_new_result_reopens_what_was_completed(
    lines: ReadingStore, journal: DatabaseJournal, room: ReadingRoom, clock: Clock
) -> None:
    lines.record(facts())
    complete(journal, "k1")
    done(room.complete("1.1", ANN))
    lines.record(facts(description="Colon, corrected"))
    assert entry(lines).status is Status.READ, "another header is nothing to read"
    clock.wait(days=30)
    complete(journal, "k2", image="2")
    said = entry(lines)
    assert (said.status, said.desk.completed_by, said.pending) == (Status.UNREAD, None, 4)
    assert said.place.arrived > START + timedelta(days=20), "it must not stand before all others for its age"


# -- people -----------------------------------------------------------------------------------------------------------


def test_of_two_claims_at_once_one_wins(journal: DatabaseJournal, room: ReadingRoom, lines: ReadingStore) -> None:
    lines.record(facts())
    outcomes: list[Listed | NotDone | None] = []
    barrier = threading.Barrier(8)

    def claim(number: int) -> None:
        barrier.wait()
        outcomes.append(room.claim("1.1", Person(f"reader{number}", frozenset({Role.READER}))))

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [outcome for outcome in outcomes if isinstance(outcome, Listed)]
    assert len(won) == 1
    assert len(outcomes) == 8
    assert entry(lines).desk.claimed_by == won[0].desk.claimed_by
    assert len(audited(journal)) == 1


def test_claims_are_kept_run_out_and_are_given_back(
    lines: ReadingStore, room: ReadingRoom, clock: Clock, journal: DatabaseJournal
) -> None:
    lines.record(facts())
    done(room.claim("1.1", ANN))
    before = lines.stamp()
    clock.wait(minutes=20)
    said = done(room.claim("1.1", ANN))
    assert said.desk.claimed_until == clock.now + timedelta(minutes=30)
    assert lines.stamp() == before, "a heartbeat changes nothing that others see"
    assert isinstance(room.claim("1.1", BOB), NotDone)
    clock.wait(minutes=29)
    assert lines.stamp() == before
    clock.wait(minutes=1)
    assert lines.stamp() != before
    assert (entry(lines).desk.claimed_by, entry(lines).status) == (None, Status.UNREAD)
    done(room.claim("1.1", BOB))
    refused = room.release("1.1", ANN)
    assert isinstance(refused, NotDone)
    assert refused.forbidden
    assert done(room.release("1.1", EVE)).desk.claimed_by is None
    assert audited(journal) == [
        ("study assigned", "ann", "claim"),
        ("study assigned", None, "claim expired"),
        ("study assigned", "bob", "claim"),
        ("study assigned", "eve", "release"),
    ]
    assert room.claim("9.9", ANN) is None


def test_a_persons_priority_counts_until_it_is_released(
    lines: ReadingStore, journal: DatabaseJournal, room: ReadingRoom, clock: Clock
) -> None:
    lines.record(facts())
    complete(journal, "k1")
    said = done(room.set_priority("1.1", ANN, Priority.STAT, "the surgeon waits"))
    assert (said.place.priority, said.place.due, said.verdict.priority) == (Priority.STAT, START, Priority.HIGH)
    complete(journal, "k2", verdict=Verdict(Priority.LOW, "nothing"), findings=(finding("x"),))
    assert (entry(lines).place.priority, entry(lines).verdict.priority) == (Priority.STAT, Priority.LOW)
    refused = room.set_priority("1.1", BOB, Priority.LOW, "no")
    assert isinstance(refused, NotDone)
    assert refused.forbidden
    said = done(room.set_priority("1.1", EVE, None, ""))
    assert (said.place.priority, said.desk.lock) == (Priority.LOW, None)
    assert [kind for kind, _, _ in audited(journal)] == ["priority set"] * 2
    records = [r.content for r in AuditTrail(journal.store).read() if r.content["kind"] == "priority set"]
    assert records[0]["detail"] == {"priority": "STAT", "before": None, "reason": "the surgeon waits"}
    assert (records[0]["patient"], records[0]["roles"]) == ("P1.1", ["reader"])


def test_only_supervisors_assign_to_others(lines: ReadingStore, room: ReadingRoom) -> None:
    lines.record(facts())
    assert isinstance(room.assign("1.1", ANN, "bob"), NotDone)
    assert done(room.assign("1.1", ANN, "ann")).desk.assigned == "ann"
    assert isinstance(room.assign("1.1", BOB, "bob"), NotDone)
    assert done(room.assign("1.1", EVE, "bob")).desk.assigned == "bob"
    assert done(room.assign("1.1", EVE, None)).desk.assigned is None
    nobody = room.assign("1.1", Person(None, frozenset({Role.SUPERVISOR})), "ann")
    assert isinstance(nobody, NotDone)
    assert nobody.forbidden


def test_what_cannot_be_audited_is_not_done(
    lines: ReadingStore, room: ReadingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines.record(facts())

    def fails(*_: object) -> None:
        raise OSError("no more audit")

    monkeypatch.setattr("airouter.adapters.reading.append", fails)
    with pytest.raises(OSError, match="no more audit"):
        room.claim("1.1", ANN)
    assert entry(lines).desk.claimed_by is None


# -- Review & Release -------------------------------------------------------------------------------------------------


def test_a_random_share_of_review_and_release_is_read_in_full(journal: DatabaseJournal, clock: Clock) -> None:
    lines = ReadingStore(journal.store, clock)
    lines.open(Rule(audit_share=0.3))
    normal = Verdict(Priority.ROUTINE, "normal", Reading.REVIEW_AND_RELEASE)
    for n in range(60):
        lines.record(facts(f"1.{n}"))
        complete(journal, f"k{n}", f"1.{n}", normal)
    page = lines.page(Wanted(limit=100))
    sample = {e.facts.study_uid for e in page.entries if e.audit_sample}
    assert sample == {f"1.{n}" for n in range(60) if drawn(SEAL, f"1.{n}", 0.3)}
    assert 5 < len(sample) < 35
    assert {e.queue for e in page.entries if e.audit_sample} == {Reading.FULL}
    assert {e.verdict.reading for e in page.entries if e.audit_sample} == {Reading.FULL}, (
        "nobody sees that it was drawn"
    )
    said = {uid: journal.verdict(uid) for uid in sample}  # what is marked in the archive, and shown with the findings
    assert {verdict.reading for verdict in said.values() if verdict} == {Reading.FULL} and all(said.values())
    assert page.waiting == {Reading.FULL: len(sample), Reading.REVIEW_AND_RELEASE: 60 - len(sample)}
    assert (page.audit.asked, page.audit.drawn, page.audit.drawn_read) == (60, len(sample), 0)
    released = uids(lines, queue=Reading.REVIEW_AND_RELEASE, limit=100)
    assert set(released) == {f"1.{n}" for n in range(60)} - sample
    assert entry(lines, released[4]).position == 5, "counted within its queue"
    room = ReadingRoom(lines, now=clock)
    done(room.complete(min(sample), ANN))
    assert lines.page(Wanted()).audit.drawn_read == 1
    said = done(room.set_priority(released[0], ANN, Priority.HIGH, "symptoms"))
    assert said.queue is Reading.FULL, "nothing urgent is only released"


# -- rules, versions --------------------------------------------------------------------------------------------------


def test_another_rule_orders_what_is_there_anew(journal: DatabaseJournal, clock: Clock) -> None:
    lines = ReadingStore(journal.store, clock)
    lines.open(Rule(audit_share=0.0))
    lines.record(facts())
    complete(journal, "k1", verdict=Verdict(Priority.ROUTINE, "x", Reading.REVIEW_AND_RELEASE))
    assert entry(lines).place.due == START + timedelta(days=1)
    minutes = {Priority.STAT: 0, Priority.HIGH: 1, Priority.ROUTINE: 2, Priority.LOW: 3}
    again = ReadingStore(journal.store, clock)
    again.open(Rule(Allowances(minutes), 1.0, Phase.ASSISTIVE))
    said = entry(again)
    assert said.place.due == START + timedelta(minutes=2)
    assert (said.queue, said.audit_sample, said.phase) == (Reading.FULL, True, Phase.ASSISTIVE)
    explained = again.explain("1.1")
    assert explained is not None
    assert explained.allowance_minutes == 2


def test_the_list_of_an_earlier_version_is_taken_over(journal: DatabaseJournal, clock: Clock) -> None:
    complete(journal, "k1")
    with journal.store.write() as db:
        db.execute(tables.reading.delete())
        db.execute(tables.reading_head.delete())
    lines = ReadingStore(journal.store, clock)
    lines.open(Rule())
    said = entry(lines)
    assert (said.place.priority, said.findings_line, said.facts.modalities) == (
        Priority.HIGH, "Tumour: 12.5 % · Necrosis", ()
    )  # fmt: skip
    assert lines.without_facts(10) == [("1.1", "id-1.1")]
    lines.record(facts())
    assert lines.without_facts(10) == []
    assert entry(lines).facts == facts()


def test_the_place_is_explained(lines: ReadingStore, journal: DatabaseJournal, clock: Clock) -> None:
    lines.record(facts("1.1"))
    clock.wait(minutes=10)
    for study, priority in (("1.2", Priority.HIGH), ("1.3", Priority.LOW)):
        lines.record(facts(study))
        complete(journal, f"k{study}", study, verdict_of(Ground(priority, f"{priority} finding", ("f1",))))
    why = lines.explain("1.1")
    assert why is not None
    assert (why.before and why.before.facts.study_uid, why.after and why.after.facts.study_uid) == ("1.2", "1.3")
    assert why.why_before == "due 19 h 50 min earlier: HIGH is more urgent than ROUTINE"
    assert why.why_after == "due 2 d earlier: ROUTINE is more urgent than LOW"
    assert (why.queue_length, why.allowance_minutes, why.grounds) == (3, 1440, ())
    first = lines.explain("1.2")
    assert first is not None
    assert (first.before, first.grounds) == (None, (("HIGH", "HIGH finding", "Tumour"),))
    assert lines.explain("9.9") is None


def test_the_stamp_changes_with_everything_that_is_shown(
    lines: ReadingStore, journal: DatabaseJournal, room: ReadingRoom
) -> None:
    seen = [lines.stamp()]

    def changed() -> bool:
        seen.append(lines.stamp())
        return seen[-1] not in seen[:-1]

    assert not changed()
    lines.record(facts())
    assert changed()
    journal.add(job("k1"))
    assert changed()
    journal.start("k1", "CPU")
    assert changed()
    complete(journal, "k1")
    assert changed()
    decide(journal, "k1", "f1", "accepted")
    assert changed()
    done(room.claim("1.1", ANN))
    assert changed()
    lines.remove("id-1.1")
    assert changed()
