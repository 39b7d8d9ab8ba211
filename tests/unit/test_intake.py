"""The intake: no arrival is lost, nothing runs twice, and the cursor never passes what is not settled."""

import contextlib
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.domain.decision import Outcome
from airouter.domain.job import Job
from airouter.domain.route import Route
from airouter.domain.study import Instance, Study
from airouter.errors import ArchiveUnavailable, JournalUnavailable, NotInArchive, PixelDataError
from airouter.ports import Change, JobRecord, StudyStamp
from airouter.services.intake import Intake
from airouter.services.routing import Router
from tests.headers import instance, level
from tests.unit.test_routing import MODEL, ROUTE


@dataclass
class ArchiveLog:
    """Studies with a change log that can be cleared, as Orthanc's can."""

    content: dict[str, list[Instance]] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    seq: int = 0
    down: bool = False
    looks: int = 0

    def arrive(self, study: str, one: Instance, *, logged: bool = True) -> None:
        self.content.setdefault(study, []).append(one)
        self.seq += 1
        if logged:
            self.log.append(Change(self.seq, study))

    def changes(self, since: int) -> Iterator[Change]:
        if self.down:
            raise ArchiveUnavailable("down")
        return iter([c for c in self.log if c.seq > since])

    def studies(
        self, uid: str | None = None, *, patient_of: str | None = None, modalities: Collection[str] = ()
    ) -> Iterator[StudyStamp]:
        """All studies are one patient's here."""
        found = self.content if patient_of is None or patient_of in self.content else {}
        return iter([StudyStamp(s, str(len(c))) for s, c in found.items() if uid in (None, f"1.{s}")])

    def study(self, id: str) -> Study:
        self.looks += 1
        if id not in self.content:
            raise NotInArchive(id)
        return Study(id, f"1.{id}", tuple(self.content[id]))


class Queue:
    def __init__(self) -> None:
        self.keys: list[str] = []
        self.calls = 0

    def enqueue(self, job: Job) -> None:
        self.calls += 1
        if job.key not in self.keys:
            self.keys.append(job.key)

    resume = enqueue


@dataclass
class House:
    archive: ArchiveLog
    journal: DatabaseJournal
    queue: Queue
    now: float = 1000.0
    routes: tuple[Route, ...] = (ROUTE,)
    rested: list[str] = field(default_factory=list)

    def intake(self) -> Intake:
        """A fresh one, as after a restart: it knows what journal and archive know."""
        return Intake(
            self.archive,  # type: ignore[arg-type]
            self.journal,
            self.queue,  # type: ignore[arg-type]
            Router(self.routes, lambda: {"quality": MODEL}),
            quiet_time=5,
            deadline=100,
            sweep_interval=60,
            clock=lambda: self.now,
            rests=self.rested.append,
        )


@pytest.fixture
def house(tmp_path) -> Iterator[House]:  # type: ignore[no-untyped-def]
    journal = DatabaseJournal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    yield House(ArchiveLog(), journal, Queue())
    journal.close()


def test_an_eye_image_is_routed_in_the_first_turn(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("7", instance("1"))
    intake.step()
    assert len(house.queue.keys) == 1
    assert house.journal.cursor() == 1


def test_a_crash_before_the_decision_loses_nothing(house: House) -> None:
    house.archive.arrive("7", level("1", 4096, 256))
    house.intake().step()  # waits for the pyramid; the process dies here
    assert house.journal.cursor() == 0
    after = house.intake()
    after.step()
    house.now += 6
    after.step()
    assert [d.outcome for _, d in house.journal.decisions("1.7")] == [Outcome.SKIPPED]
    assert house.journal.cursor() == 1


def test_a_waiting_study_does_not_hold_back_others_but_holds_the_cursor(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("7", level("1", 4096, 256))
    house.archive.arrive("8", instance("2"))
    intake.step()
    assert len(house.queue.keys) == 1
    assert house.journal.cursor() == 0
    house.now += 6
    intake.step()
    assert house.journal.cursor() == 2


def test_what_a_cleared_log_hides_is_found_by_the_sweep(house: House) -> None:
    intake = house.intake()
    intake.step()
    house.archive.arrive("7", instance("1"), logged=False)
    house.now += 30
    intake.step()
    assert house.queue.keys == []
    house.now += 31
    intake.step()
    assert len(house.queue.keys) == 1


def test_the_sweep_leaves_settled_studies_alone(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("7", instance("1"))
    intake.step()
    made = house.journal.decisions("1.7")
    house.now += 120
    intake.step()
    assert house.journal.decisions("1.7") == made


def test_the_same_instance_a_hundred_times_is_one_job(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("7", instance("1"))
    for _ in range(100):
        house.archive.seq += 1
        house.archive.log.append(Change(house.archive.seq, "7"))
        intake.step()
    assert len(house.queue.keys) == 1
    assert len(house.journal.jobs()) == 1


def test_a_late_instance_makes_its_own_job(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("7", instance("1"))
    intake.step()
    house.archive.arrive("7", instance("2"))
    intake.step()
    assert len(house.queue.keys) == 2


def test_a_deleted_study_is_no_stumbling_block(house: House) -> None:
    intake = house.intake()
    house.archive.log.append(Change(1, "gone"))
    house.archive.seq = 1
    intake.step()
    assert house.journal.cursor() == 1


def test_an_archive_that_is_down_is_reported_and_nothing_moves(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("7", instance("1"))
    house.archive.down = True
    with pytest.raises(ArchiveUnavailable):
        intake.step()
    house.archive.down = False
    intake.step()
    assert len(house.queue.keys) == 1


def test_jobs_that_never_ended_are_queued_again_at_the_start(house: House) -> None:
    house.archive.arrive("7", instance("1"))
    house.intake().step()
    house.queue.keys.clear()  # the process died between our table and the queue
    house.intake().reconcile()
    assert len(house.queue.keys) == 1


def test_an_incomplete_slide_is_given_up_at_the_deadline(house: House) -> None:
    intake = house.intake()
    part = level("1", 512, 4, ConcatenationUID="1.9", InConcatenationNumber=1, InConcatenationTotalNumber=2)
    house.archive.arrive("7", part)
    intake.step()
    house.now += 50
    intake.step()
    assert [d.outcome for _, d in house.journal.decisions("1.7")] == [Outcome.WAITING]
    house.now += 51
    intake.step()
    assert [d.outcome for _, d in house.journal.decisions("1.7")] == [Outcome.SKIPPED]
    assert house.journal.cursor() == 1


@pytest.mark.parametrize(
    "failure", [ArchiveUnavailable("HTTP 500"), PixelDataError("cannot be parsed"), ValueError("x")]
)
def test_a_study_that_cannot_be_read_holds_back_no_other_and_is_not_lost(
    house: House, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    intake = house.intake()
    house.archive.arrive("bad", instance("1"))
    house.archive.arrive("good", instance("2"))
    healthy = house.archive.study

    def study(id: str) -> Study:
        if id == "bad":
            raise failure
        return healthy(id)

    monkeypatch.setattr(house.archive, "study", study)
    for _ in range(2):  # the failure is told once, then the others have their turn
        with contextlib.suppress(type(failure)):
            intake.step()
    assert [j.job.study_uid for j in house.journal.jobs()] == ["1.good"]
    assert house.journal.cursor() == 0, "a restart would lose the study that failed"
    monkeypatch.setattr(house.archive, "study", healthy)
    house.now += 3600
    intake.step()
    assert len(house.queue.keys) == 2
    assert house.journal.cursor() == 2


def test_an_arrival_does_not_wait_behind_a_large_archive(house: House) -> None:
    for n in range(500):
        house.archive.arrive(f"old{n}", instance(f"9.{n}"), logged=False)
    intake = house.intake()
    intake.step()
    assert len(house.queue.keys) < 500, "the sweep takes a few at a time"
    house.archive.arrive("new", instance("1"))
    intake.step()
    assert [j.job.study_uid for j in house.journal.jobs(study_uid="1.new")] == ["1.new"]
    turns = 0
    while len(house.queue.keys) < 501:
        assert intake.step() == 0 or len(house.queue.keys) == 501, "it does not rest before the sweep is through"
        turns += 1
        assert turns < 50


def test_the_change_log_is_read_a_stretch_at_a_time_and_a_stop_is_heard_in_between(house: House) -> None:
    for _ in range(5000):
        house.archive.arrive("7", instance("1"))
        house.archive.content["7"] = house.archive.content["7"][:1]
    intake = house.intake()
    assert intake.step() == 0
    assert house.queue.keys, "what is known already is not left to wait for the end of the log"
    intake.stop()
    before = house.journal.cursor()
    intake.step()
    assert house.journal.cursor() <= before + 1000


def test_a_database_that_is_away_for_a_moment_at_the_start_does_not_keep_jobs_from_being_resumed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.archive.arrive("7", instance("1"))
    house.intake().step()
    house.queue.keys.clear()
    intake = house.intake()
    real, asked = house.journal.jobs, []

    def jobs(*args: object, **kwargs: object) -> list[JobRecord]:
        asked.append(args)
        if len(asked) == 1:
            raise JournalUnavailable("locked")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(house.journal, "jobs", jobs)
    done = threading.Event()
    enqueue = house.queue.enqueue

    def resume(job: Job) -> None:
        enqueue(job)
        done.set()

    monkeypatch.setattr(house.queue, "resume", resume)
    thread = threading.Thread(target=intake.run)
    thread.start()
    try:
        assert done.wait(30)
    finally:
        intake.stop()
        thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("between", [0.007, 0.1, 0.5])
def test_a_long_transfer_is_looked_at_a_few_times_and_wholly_in_the_end(house: House, between: float) -> None:
    intake = house.intake()
    for n in range(200):
        house.archive.arrive("7", instance(f"1.{n}"))
        house.now += between
        intake.step()
    looks = house.archive.looks
    assert looks <= 8 + 200 * between / 4, "as many looks as instances are a cost that grows with the square"
    assert house.queue.keys, "what came first does not wait for the end"
    house.now += 1.0
    intake.step()
    assert len(house.queue.keys) == house.queue.calls == 200
    assert house.journal.cursor() == 200
    assert house.archive.looks <= looks + 1


def test_single_arrivals_are_routed_at_once_however_many_came_before(house: House) -> None:
    intake = house.intake()
    for n in range(30):
        house.archive.arrive("7", instance(f"1.{n}"))
        intake.step()
        house.now += 10
        assert len(house.queue.keys) == n + 1


def test_a_burst_into_one_study_does_not_hold_back_another(house: House) -> None:
    intake = house.intake()
    for n in range(50):
        house.archive.arrive("7", instance(f"1.{n}"))
        house.now += 0.02
        intake.step()
    house.archive.arrive("8", instance("2"))
    intake.step()
    assert [j.job.study_uid for j in house.journal.jobs(study_uid="1.8")] == ["1.8"]


def test_looks_that_take_long_are_few(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of thousands of instances: what it costs to read is a small share of the time it takes to arrive."""
    intake, healthy, spent = house.intake(), house.archive.study, 0.0

    def study(id: str) -> Study:
        nonlocal spent
        spent += 2.0
        house.now += 2.0
        return healthy(id)

    monkeypatch.setattr(house.archive, "study", study)
    began = house.now
    for n in range(1000):
        house.archive.arrive("7", instance(f"1.{n}"))
        house.now += 0.5
        intake.step()
    assert spent < 0.15 * (house.now - began)


def test_a_job_that_the_queue_did_not_take_is_put_there_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    intake, healthy = house.intake(), house.queue.enqueue

    def enqueue(job: Job) -> None:
        raise JournalUnavailable("locked")

    monkeypatch.setattr(house.queue, "enqueue", enqueue)
    house.archive.arrive("7", instance("1"))
    with pytest.raises(JournalUnavailable):
        intake.step()
    monkeypatch.setattr(house.queue, "enqueue", healthy)
    house.now += 10
    intake.step()
    assert len(house.queue.keys) == 1
    assert house.journal.cursor() == 1
