"""The audit trail in SQLite and PostgreSQL: appended with what it tells of, by many at once, checked, passed on."""

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from airouter.adapters import audit_check, reading_rows, tables
from airouter.adapters import database as database_module
from airouter.adapters.audit import AuditTrail, append
from airouter.adapters.audit_export import Exporter, ExportFailed
from airouter.adapters.audit_key import adopt, load
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.json_lines import JsonLines
from airouter.adapters.store import Store
from airouter.domain.audit import AuditEvent, AuditKind, AuditRecord, Head, Outcome
from airouter.domain.audit_chain import Broken, Verified, genuine
from airouter.domain.audit_lines import parse
from airouter.domain.job import Discontinuation, JobState
from airouter.domain.phase import Phase
from airouter.domain.rescan import Fitness, RescanState
from airouter.errors import AuditKeyError, JournalError, JournalUnavailable
from airouter.ports import Provenance
from tests.contract.test_journal import decision, job, result


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "secret" / "audit.key"


@pytest.fixture
def journal(url: str, key: Path) -> Iterator[DatabaseJournal]:
    made = DatabaseJournal(url)
    adopt(made.store, key)
    yield made
    made.close()


@pytest.fixture
def trail(journal: DatabaseJournal) -> AuditTrail:
    return AuditTrail(journal.store)


def view(n: int, study: str | None = "1.2.3") -> AuditEvent:
    return AuditEvent(AuditKind.VIEW, user="alice", roles=("reader",), study_uid=study, detail={"n": n})


def of(trail: AuditTrail, kind: AuditKind) -> list[AuditRecord]:
    return trail.read(kind=kind)


# -- the key -----------------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_is_its_owners_alone(journal: DatabaseJournal, key: Path) -> None:
    made = key.read_bytes()
    assert len(made) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert [f.name for f in key.parent.iterdir()] == ["audit.key"]
    adopt(journal.store, key)
    assert key.read_bytes() == journal.store.seal == made


def test_a_trail_without_its_key_does_not_go_on(
    journal: DatabaseJournal, trail: AuditTrail, key: Path, url: str
) -> None:
    for begun in (False, True):  # the key alone was adopted already
        if begun:
            trail.record(view(1))
        kept = key.read_bytes()
        key.unlink()
        store = Store(url)
        with pytest.raises(AuditKeyError, match="missing"):
            adopt(store, key)
        assert not key.exists()
        assert store.seal == b""
        store.close()
        key.write_bytes(kept)


def test_a_trail_does_not_go_on_with_another_key(trail: AuditTrail, key: Path, url: str) -> None:
    trail.record(view(1))
    for other, why in ((b"x" * 32, "not the one"), (b"x" * 31, "31 bytes"), (b"", "0 bytes")):
        key.write_bytes(other)
        store = Store(url)
        with pytest.raises(AuditKeyError, match=why):
            adopt(store, key)
        store.close()


def test_of_two_nodes_that_begin_at_once_with_two_keys_one_is_refused(url: str, tmp_path: Path) -> None:
    Store(url).close()  # the tables
    refused: list[AuditKeyError] = []
    adopted: list[bytes] = []
    gate = threading.Barrier(2)

    def begin(name: str) -> None:
        store = Store(url)
        gate.wait()
        try:
            adopt(store, tmp_path / name / "audit.key")
            adopted.append(store.seal)
        except AuditKeyError as error:
            refused.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=begin, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(adopted) == len(refused) == 1


# -- appended together -------------------------------------------------------------------------------------------------


def test_appenders_on_threads_of_two_nodes_make_one_unbroken_chain(
    journal: DatabaseJournal, key: Path, url: str
) -> None:
    other = Store(url, load(key))
    each = 25

    def write(store: Store, n: int) -> None:
        trail = AuditTrail(store)
        for k in range(each):
            trail.record(view(n * each + k, f"1.2.{n}"))

    threads = [threading.Thread(target=write, args=((journal.store, other)[n % 2], n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    records = AuditTrail(journal.store).read(limit=1000)
    assert [r.seq for r in records] == list(range(1, 8 * each + 1))
    assert sorted(r.content["detail"]["n"] for r in records) == list(range(8 * each))
    assert audit_check.check(url, load(key)) == Verified(8 * each, records[-1].digest, 0)


def test_the_trail_and_the_worklist_are_locked_in_one_order(journal: DatabaseJournal) -> None:
    """Results come in while readers work on the list: in another order PostgreSQL would end one of the two."""
    count = 30
    failures: list[JournalError] = []
    for n in range(count):
        journal.add(job(f"k{n}", f"1.2.{n}"))
    gate = threading.Barrier(2)

    def results_come() -> None:
        gate.wait()
        for n in range(count):
            journal.complete(result(f"k{n}", f"1.2.{n}"))

    def readers_work() -> None:
        gate.wait()
        for n in range(count):
            with journal.store.write() as db:
                reading_rows.lock(db)
                reading_rows.bump(journal.store, db)
                append(journal.store, db, view(n))

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except JournalError as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (results_come, readers_work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert AuditTrail(journal.store).head().seq == 2 * count


def test_an_event_that_cannot_be_written_undoes_what_it_tells_of(
    journal: DatabaseJournal, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No decision without a durable record: the record fails, and everything in its transaction with it."""
    journal.add(job())
    journal.start("k1", "CPUExecutionProvider")
    journal.complete(dataclasses.replace(result(), fitness=Fitness(False, "blurred", 10.0, None, None)))
    journal.add(job("k2"))
    before = trail.head()

    def fail(store: Store, db: sa.Connection, event: AuditEvent) -> AuditRecord:
        append(store, db, event)
        raise JournalUnavailable("the disk is full")

    monkeypatch.setattr(database_module, "append", fail)
    for act in (
        lambda: journal.decide([decision()]),
        lambda: journal.complete(result("k2")),
        lambda: journal.cancel("k2", Discontinuation.OPERATOR, "no", "alice"),
        lambda: journal.dismiss("1.2.3.1", "read as it is", "alice"),
    ):
        with pytest.raises(JournalUnavailable):
            act()
    assert journal.decisions() == []
    record, entry = journal.job("k2"), journal.rescan("1.2.3.1")
    assert record is not None and entry is not None
    assert (record.state, entry.state) == (JobState.SCHEDULED, RescanState.OPEN)
    assert [r.job for r in journal.results("1.2.3")] == ["k1"]
    assert (trail.head().seq, trail.head().digest) == (before.seq, before.digest)


def test_the_database_itself_refusing_the_row_undoes_what_it_tells_of(
    journal: DatabaseJournal, trail: AuditTrail
) -> None:
    """The same with a failure of the insert inside the database, as by a full disk: its number is taken already."""
    with journal.store.write() as db:
        row = {"seq": 1, "at": "", "kind": "", "text": "", "digest": ""}
        db.execute(tables.audit.insert().values(row))
    for act in (lambda: journal.decide([decision()]), lambda: trail.record(view(1))):
        with pytest.raises(JournalError):
            act()
    assert journal.decisions() == []
    assert trail.head().seq == 0


def test_a_full_disk_leaves_no_decision_without_its_record(tmp_path: Path, key: Path) -> None:
    """SQLite's own limit stands for the disk: it fails wherever it happens to, mostly in the longer record."""
    journal = DatabaseJournal(f"sqlite:///{tmp_path}/full.db")
    adopt(journal.store, key)
    trail = AuditTrail(journal.store)
    sa.event.listen(
        journal.store._engine, "begin", lambda db: db.exec_driver_sql("PRAGMA max_page_count = 160").close()
    )
    with pytest.raises(JournalUnavailable, match="full"):
        for n in range(10_000):
            journal.decide([dataclasses.replace(decision(f"r{n}"), study_uid=f"1.2.{n}", reason="x" * 500)])
    for _ in range(3):
        with pytest.raises(JournalUnavailable):
            journal.decide([dataclasses.replace(decision("late"), study_uid="9.9", reason="x" * 9000)])
    decided = {d.study_uid for _, d in journal.decisions(limit=10_000)}
    assert decided == {r.content["study"] for r in trail.read(limit=10_000)}
    assert len(decided) > 5
    journal.close()
    assert isinstance(audit_check.check(f"sqlite:///{tmp_path}/full.db", load(key)), Verified)


# -- what is recorded --------------------------------------------------------------------------------------------------


def test_an_inference_says_what_ran_on_what_and_came_to_what(journal: DatabaseJournal, trail: AuditTrail) -> None:
    journal.add(job(), requested_by="alice")
    journal.start("k1", "CPUExecutionProvider")
    sure = {"name": {"value": "111012", "scheme": "DCM", "meaning": "Certainty of Finding"}, "value": 87.5, "unit": "%"}
    finding = {"key": "f1", "label": "Ki-67", "finding": {"value": "X", "scheme": "S"}, "measurements": [sure]}
    provenance = Provenance("P7", {"onnxruntime": "1.24"}, "research", Phase.ASSISTIVE, {"2.25.1k1": "md5"}, 1.25)
    journal.complete(dataclasses.replace(result(), findings=(finding,), provenance=provenance))
    [record] = of(trail, AuditKind.INFERENCE)
    content = record.content
    assert (content["study"], content["patient"], content["outcome"]) == ("1.2.3", "P7", 0)
    detail = content["detail"]
    assert detail["model"] == {"name": "nuclei", "version": "1.0", "sha256": "ab" * 32, "contract": ""}
    assert (detail["pipeline"], detail["pipeline_version"]) == ("nuclear_positivity", "1")
    assert detail["runtime"] == {"onnxruntime": "1.24"}
    assert detail["execution_provider"] == "CPUExecutionProvider"
    assert detail["parameters"] == {"threshold": 0.5, "strict": True, "name": "x", "n": 3}
    assert detail["sources"] == [{"uid": "1.1", "digest": "d1"}, {"uid": "1.2", "digest": "d2"}]
    assert [(o["uid"], o["digest"]) for o in detail["outputs"]] == [("2.25.1k1", "md5"), ("2.25.3k1", None)]
    assert detail["findings"] == [{"key": "f1", "label": "Ki-67", "finding": "X", "scheme": "S", "confidence": 87.5}]
    assert detail["verdict"] == {"priority": "ROUTINE", "reason": "because of k1"}
    assert (detail["phase"], detail["intended_use"], detail["seconds"]) == ("assistive", "research", 1.25)
    assert (detail["requested_by"], detail["ungradable"]) == ("alice", None)
    assert detail["started"] <= detail["ended"] <= record.at


def test_a_second_completion_and_a_cancellation_after_the_end_leave_no_record(
    journal: DatabaseJournal, trail: AuditTrail
) -> None:
    journal.add(job())
    journal.complete(result())
    journal.complete(result())
    journal.cancel("k1", Discontinuation.OPERATOR, "too late", "alice")
    assert trail.head().seq == 1


@pytest.mark.parametrize("why", Discontinuation)
def test_a_job_that_ended_without_a_result_is_recorded(
    journal: DatabaseJournal, trail: AuditTrail, why: Discontinuation
) -> None:
    journal.add(job())
    journal.start("k1", "CPUExecutionProvider")
    by = "alice" if why is Discontinuation.OPERATOR else None
    journal.cancel("k1", why, "so it was", by)
    [record] = trail.read()
    content = record.content
    operator = why is Discontinuation.OPERATOR
    assert content["kind"] == (AuditKind.CANCEL if operator else AuditKind.INFERENCE)
    assert content["outcome"] == (Outcome.SUCCESS if operator else Outcome.SERIOUS_FAILURE)
    assert (content["user"], content["study"]) == (by, "1.2.3")
    assert (content["detail"]["reason"], content["detail"]["discontinuation"]) == ("so it was", why)
    assert journal.reschedule("k1", "bob")
    [again] = of(trail, AuditKind.REQUEST)
    assert (again.content["user"], again.content["detail"]["job"]) == ("bob", "k1")


def test_routing_is_recorded_where_it_decides_anew_and_only_there(journal: DatabaseJournal, trail: AuditTrail) -> None:
    journal.decide([decision("a"), decision("b")])
    journal.decide([decision("a"), decision("b")])
    [first] = trail.read()
    assert [d["route"] for d in first.content["detail"]["decisions"]] == ["a", "b"]
    assert "Stain" not in first.text  # what headers say stays out
    journal.decide([decision("a", reason="newer"), decision("b")])
    second = trail.read()[-1]
    assert [(d["route"], d["reason"]) for d in second.content["detail"]["decisions"]] == [("a", "newer")]
    assert trail.head().seq == 2


def test_a_rescan_that_is_dismissed_is_recorded_once(journal: DatabaseJournal, trail: AuditTrail) -> None:
    journal.add(job())
    journal.complete(dataclasses.replace(result(), fitness=Fitness(False, "blurred", 10.0, None, None)))
    for _ in range(2):
        journal.dismiss("1.2.3.1", "the only glass there is", "alice")
    [record] = of(trail, AuditKind.RESCAN)
    assert record.content["user"] == "alice"
    assert record.content["detail"]["reason"] == "the only glass there is"


def test_later_records_of_a_study_know_whose_it_is(journal: DatabaseJournal, trail: AuditTrail) -> None:
    trail.record(view(1))
    trail.record(dataclasses.replace(view(2), patient_id="P7"))
    trail.record(view(3))
    trail.record(view(4, "9.9"))
    assert [r.content["patient"] for r in trail.read()] == [None, "P7", "P7", None]


def test_the_trail_is_searched_by_study_user_and_kind(trail: AuditTrail) -> None:
    for n in range(6):
        kind = AuditKind.VIEW if n % 2 else AuditKind.REVIEW
        trail.record(AuditEvent(kind, user=f"u{n % 3}", study_uid=f"1.{n % 3}"))
    assert [r.seq for r in trail.read(study="1.1")] == [2, 5]
    assert [r.seq for r in trail.read(user="u0", kind=AuditKind.VIEW)] == [4]
    assert [r.seq for r in trail.read(2, 2)] == [3, 4]
    assert trail.read(limit=0) == trail.read(limit=-1) == trail.read(study="' OR 1=1 --") == []


# -- checked -----------------------------------------------------------------------------------------------------------


def tampered(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as db:
        for statement in statements:
            db.execute(sa.text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    ("statements", "seq"),
    [
        (["UPDATE audit SET text = replace(text, 'alice', 'mallory') WHERE seq = 3"], 3),
        (["UPDATE audit SET \"user\" = 'mallory' WHERE seq = 4"], 4),
        (["UPDATE audit SET patient_id = 'other' WHERE seq = 4"], 4),
        (["DELETE FROM audit WHERE seq = 5"], 5),
        (["DELETE FROM audit WHERE seq > 7"], 8),
        (["DELETE FROM audit"], 1),
        (["DELETE FROM audit", "DELETE FROM audit_head"], 1),
        (["DELETE FROM audit_head"], 1),
        (["UPDATE audit_head SET seq = 9"], 10),
        (["UPDATE audit_head SET digest = 'x'"], 10),
        (["UPDATE audit SET seq = 99 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3"], 2),
    ],
)
def test_whatever_is_done_to_the_tables_is_found(
    trail: AuditTrail, url: str, key: Path, tmp_path: Path, statements: Sequence[str], seq: int
) -> None:
    for n in range(10):
        trail.record(dataclasses.replace(view(n), patient_id="P7"))
    lines = tmp_path / "lines.jsonl"
    JsonLines(lines).send(trail.read(), trail.head())
    secret = load(key)
    assert audit_check.check(url, secret, [lines]) == Verified(10, trail.head().digest, 10)
    tampered(url, *statements)
    exported = tmp_path / "exported.jsonl"
    found = audit_check.check(url, secret, [lines], exported)
    assert isinstance(found, Broken)
    assert found.seq == seq
    assert not exported.exists()


def test_an_old_copy_that_was_put_back_shows_against_the_lines(
    trail: AuditTrail, url: str, key: Path, tmp_path: Path
) -> None:
    for n in range(6):
        trail.record(view(n))
    lines = tmp_path / "lines.jsonl"
    JsonLines(lines).send(trail.read(), None)
    digest = trail.read(3, 1)[0].digest
    tampered(url, "DELETE FROM audit WHERE seq > 4", f"UPDATE audit_head SET seq = 4, digest = '{digest}'")
    assert isinstance(audit_check.check(url, load(key)), Verified)  # in itself it is whole
    assert audit_check.check(url, load(key), [lines]) == Broken(
        5, "missing: the trail ends before it, and an anchor names record 6"
    )
    trail.record(view(7))
    trail.record(view(8))
    found = audit_check.check(url, load(key), [lines])
    assert isinstance(found, Broken)
    assert found.seq == 5


def test_checking_writes_nothing_and_sees_one_moment(trail: AuditTrail, url: str, key: Path, tmp_path: Path) -> None:
    trail.record(view(1))
    exported = tmp_path / "exported.jsonl"
    found = audit_check.check(url, load(key), (), exported)
    assert isinstance(found, Verified)
    assert [parse(line) for line in exported.read_text().splitlines()] == trail.read()
    assert exported.stat().st_mode & 0o777 == 0o600
    with pytest.raises(JournalError, match="cannot be written"):
        audit_check.check(url, load(key), (), exported)
    with audit_check._reading(url) as db, pytest.raises(sa.exc.DBAPIError, match=r"readonly|read-only"):
        db.execute(tables.audit.delete())
    assert trail.head().seq == 1


def test_a_forged_head_in_the_lines_is_found(trail: AuditTrail, url: str, key: Path, tmp_path: Path) -> None:
    trail.record(view(1))
    lines = tmp_path / "lines.jsonl"
    JsonLines(lines).send([], dataclasses.replace(trail.head(), seq=2))
    found = audit_check.check(url, load(key), [lines])
    assert isinstance(found, Broken)
    assert "not signed" in found.why


# -- passed on ---------------------------------------------------------------------------------------------------------


class Place:
    """A target that fails on demand, and confirms only what it is told to."""

    def __init__(self) -> None:
        self.name = "a place"
        self.taken: list[int] = []
        self.heads: list[Head] = []
        self.fails = False
        self.confirms = True
        self._last = self._confirmed = 0

    def send(self, records: Sequence[AuditRecord], head: Head | None) -> None:
        if self.fails:
            self._last = self._confirmed = 0
            raise ExportFailed("it is closed")
        self.taken += [r.seq for r in records]
        self.heads += [head] if head is not None else []
        self._last = records[-1].seq if records else self._last

    def confirmed(self) -> int:
        if self.confirms:
            self._confirmed = self._last
        return self._confirmed

    def finish(self) -> int:
        return self._last


def exporter(trail: AuditTrail, place: Place, clock: list[float] | None = None, **changes: float) -> Exporter:
    options = {"head_records": 1000, "head_seconds": 60.0, "idle": 0.01, "first_pause": 0.01} | changes
    at = clock or [0.0]
    return Exporter(trail, place, "n", clock=lambda: at[0], **options)  # type: ignore[arg-type]


def test_each_record_is_passed_on_once_and_in_order_also_after_a_restart(trail: AuditTrail) -> None:
    place = Place()
    for n in range(450):
        trail.record(view(n))
    first = exporter(trail, place)
    while first.step():
        pass
    assert first.standing().behind == 0
    for n in range(3):
        trail.record(view(n))
    second = exporter(trail, place)
    assert second.standing().behind == 3
    second.step()
    second.step()
    assert place.taken == list(range(1, 454))


def test_what_was_not_confirmed_comes_again_after_a_failure(trail: AuditTrail) -> None:
    place = Place()
    place.confirms = False
    for n in range(5):
        trail.record(view(n))
    running = exporter(trail, place)
    thread = threading.Thread(target=running.run)
    thread.start()
    wait_until(lambda: place.taken == [1, 2, 3, 4, 5])
    assert running.standing().behind == 5
    place.fails = True
    trail.record(view(6))
    wait_until(lambda: running.standing().problem == "it is closed")
    assert running.standing().behind == 6
    place.fails, place.confirms = False, True
    wait_until(lambda: running.standing().problem == "" and running.standing().behind == 0)
    running.stop()
    thread.join()
    assert place.taken == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def test_heads_follow_every_so_many_records_and_seconds(trail: AuditTrail, key: Path) -> None:
    place, clock = Place(), [0.0]
    running = exporter(trail, place, clock, head_records=3, head_seconds=60.0)
    trail.record(view(1))
    running.step()
    assert [h.seq for h in place.heads] == [1]  # the first at once
    for n in range(4):
        trail.record(view(n))
        running.step()
    assert [h.seq for h in place.heads] == [1, 4]
    clock[0] = 61.0
    running.step()
    assert [h.seq for h in place.heads] == [1, 4, 5]
    clock[0] = 1000.0
    running.step()
    assert len(place.heads) == 3  # nothing new, no new head
    records = {r.seq: r.digest for r in trail.read()}
    assert all(genuine(h, load(key)) and records[h.seq] == h.digest for h in place.heads)


def test_lines_are_written_on_where_a_crash_left_half_a_line(trail: AuditTrail, tmp_path: Path) -> None:
    path = tmp_path / "trail.jsonl"
    for n in range(4):
        trail.record(view(n))
    records = trail.read()
    JsonLines(path).send(records[:2], None)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    JsonLines(path).send(records[1:], trail.head())
    lines = [parse(line) for line in path.read_text().splitlines()]
    assert [line.seq if line else None for line in lines] == [1, None, 2, 3, 4, 4]
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text().splitlines()[0])["record"]["detail"] == {"n": 0}


def test_a_file_that_is_rotated_away_is_not_written_on(trail: AuditTrail, tmp_path: Path) -> None:
    path = tmp_path / "trail.jsonl"
    target = JsonLines(path)
    for n in range(2):
        trail.record(view(n))
    target.send(trail.read(0, 1), None)
    path.rename(tmp_path / "trail.jsonl.1")
    target.send(trail.read(1, 1), None)
    assert [len(p.read_text().splitlines()) for p in (path, tmp_path / "trail.jsonl.1")] == [1, 1]
    with pytest.raises(ExportFailed, match="cannot be written"):
        JsonLines(tmp_path / "nowhere" / "trail.jsonl").send(trail.read(), None)
