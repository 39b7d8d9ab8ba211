"""What the durable queue promises: once, by urgency, again after trouble, across restarts, and never poisoned."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOS

from airouter.adapters.crashes import CrashLog, Gate
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.durable import DurableQueue, Patience
from airouter.domain.job import Discontinuation, Job, JobState
from airouter.domain.priority import Priority
from airouter.errors import ArchiveUnavailable, JobCanceled, JournalUnavailable, PixelDataError
from airouter.ports import JobRecord
from tests.contract.test_journal import job
from tests.postgresql_process import postgresql

QUICK = Patience(attempts=4, first=0.01, longest=0.05)
ROOT = Path(__file__).parents[2]


class Bench:
    """A queue with a `run` that tests steer, and what was seen of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.changed = threading.Condition()
        self.ran: list[str] = []
        self.abandoned: list[tuple[str, Discontinuation, str]] = []
        self.behaviour: dict[str, Callable[[str], None]] = {}
        self.journal_is_down = 0
        self.queue: DurableQueue | None = None

    def launch(self, **options: object) -> DurableQueue:
        self.queue = DurableQueue(
            self.url,
            self.run,
            self.abandon,
            **{"patience": QUICK, "polling": 0.05, **options},  # type: ignore[arg-type]
        )
        self.queue.launch()
        return self.queue

    def run(self, key: str) -> None:
        with self.changed:
            self.ran.append(key)
            self.changed.notify_all()
        self.behaviour.get(key, lambda key: None)(key)

    def abandon(self, key: str, why: Discontinuation, reason: str) -> None:
        with self.changed:
            if self.journal_is_down:
                self.journal_is_down -= 1
                raise JournalUnavailable("disk full")
            self.abandoned.append((key, why, reason))
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout), (self.ran, self.abandoned)

    def wait_status(self, key: str, *wanted: str) -> None:
        done = threading.Event()
        for _ in range(400):
            status = DBOS.get_workflow_status(key)
            if status is not None and status.status in wanted:
                return
            done.wait(0.05)
        raise AssertionError(f"{key} is {status}, not {wanted}")

    def close(self) -> None:
        if self.queue is not None:
            self.queue.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(f"sqlite:///{tmp_path}/queue.db")
    yield made
    made.close()


def at(key: str, priority: Priority = Priority.ROUTINE) -> Job:
    return dataclasses.replace(job(key), priority=priority)


def failing(failure: Exception) -> Callable[[str], None]:
    """A job that always fails so."""

    def work(key: str) -> None:
        raise failure

    return work


def held(until: threading.Event) -> Callable[[str], None]:
    """A job that hears nothing and ends once it is let go."""
    return lambda key: bool(until.wait(30)) and None


def begin(bench: Bench, key: str) -> None:
    """Enqueue a job and wait until it is the last to have begun."""
    assert bench.queue is not None
    count = len(bench.ran)
    bench.queue.enqueue(at(key))
    bench.wait(lambda: bench.ran[count:] == [key])


def begin_one_that_waits_for_a_retry(bench: Bench) -> DurableQueue:
    queue = bench.launch(patience=Patience(first=3600))
    bench.behaviour["k"] = failing(ArchiveUnavailable("x"))
    begin(bench, "k")
    return queue


def test_hundreds_of_enqueues_are_one_run(bench: Bench) -> None:
    queue = bench.launch(workers=2)
    threads = [threading.Thread(target=lambda: [queue.enqueue(at("same")) for _ in range(30)]) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.enqueue(at("last", Priority.LOW))
    bench.wait(lambda: "last" in bench.ran)
    bench.wait_status("same", "SUCCESS")
    queue.enqueue(at("same"))
    queue.enqueue(at("really last"))
    bench.wait_status("really last", "SUCCESS")
    assert bench.ran.count("same") == 1


def test_the_most_urgent_goes_first(bench: Bench) -> None:
    queue = bench.launch()
    go = threading.Event()
    bench.behaviour["first"] = held(go)
    begin(bench, "first")
    for key, priority in (
        ("low", "LOW"),
        ("routine", "ROUTINE"),
        ("stat", "STAT"),
        ("high", "HIGH"),
        ("stat2", "STAT"),
    ):
        queue.enqueue(at(key, Priority(priority)))
    go.set()
    bench.wait(lambda: len(bench.ran) == 6)
    assert bench.ran == ["first", "stat", "stat2", "high", "routine", "low"]


def test_no_more_than_workers_at_once(bench: Bench) -> None:
    queue = bench.launch(workers=2)
    inside, most = 0, 0
    lock, both = threading.Lock(), threading.Barrier(2)

    def work(key: str) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        both.wait(20)  # passes only where two really run together
        with lock:
            inside -= 1

    for n in range(6):
        bench.behaviour[f"k{n}"] = work
        queue.enqueue(at(f"k{n}"))
    for n in range(6):
        bench.wait_status(f"k{n}", "SUCCESS")
    assert most == 2


def test_transient_trouble_is_tried_again(bench: Bench) -> None:
    queue = bench.launch()
    answers = iter([ArchiveUnavailable("a"), ArchiveUnavailable("b"), None])

    def work(key: str) -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    bench.behaviour["k"] = work
    queue.enqueue(at("k"))
    bench.wait_status("k", "SUCCESS")
    assert bench.ran == ["k"] * 3
    assert bench.abandoned == []


def test_transient_trouble_ends_in_failure_at_last(bench: Bench) -> None:
    queue = bench.launch()
    bench.behaviour["k"] = failing(ArchiveUnavailable("disk full"))
    queue.enqueue(at("k"))
    bench.wait(lambda: bool(bench.abandoned))
    assert bench.ran == ["k"] * QUICK.attempts
    ((key, why, reason),) = bench.abandoned
    assert (key, why) == ("k", Discontinuation.FAILURE)
    assert reason.startswith("ArchiveUnavailable: disk full. It was tried 4 times; POST /ai/jobs with retry")


def test_a_failure_is_told_once_and_others_go_on(bench: Bench) -> None:
    queue = bench.launch()
    surprise = ZeroDivisionError("PATIENT^NAME")
    bench.behaviour.update(broken=failing(PixelDataError("truncated")), surprise=failing(surprise))
    bench.journal_is_down = 2
    for key in ("broken", "surprise", "fine"):
        queue.enqueue(at(key))
    for key in ("broken", "surprise", "fine"):
        bench.wait_status(key, "SUCCESS")
    assert bench.ran == ["broken", "surprise", "fine"]
    assert [(key, why) for key, why, _ in bench.abandoned] == [
        ("broken", Discontinuation.FAILURE),
        ("surprise", Discontinuation.FAILURE),
    ]
    assert bench.abandoned[0][2] == f"PixelDataError: truncated. {PixelDataError.advice}"
    assert "ZeroDivisionError" in bench.abandoned[1][2]
    assert "PATIENT" not in bench.abandoned[1][2]


@pytest.mark.parametrize("pause", [1.0, 4.0, 300.0])
def test_pauses_grow_up_to_a_limit(pause: float) -> None:
    pauses = [Patience().pause(n) for n in range(1, 60)]
    assert pauses == sorted(pauses)
    assert pause in pauses
    assert max(pauses) == 300.0


# -- cancel and retry -------------------------------------------------------------------------------------------------


def test_a_waiting_job_can_be_canceled(bench: Bench) -> None:
    queue = bench.launch()
    go = threading.Event()
    bench.behaviour["first"] = held(go)
    for key in ("first", "second", "third"):
        queue.enqueue(at(key))
    bench.wait(lambda: bench.ran == ["first"])
    queue.cancel("second")
    queue.cancel("nobody")
    go.set()
    bench.wait_status("third", "SUCCESS")
    assert bench.ran == ["first", "third"]


def until_interrupted(bench: Bench) -> Callable[[str], None]:
    def work(key: str) -> None:
        assert bench.queue is not None
        nap = threading.Event()
        for _ in range(2000):
            if bench.queue.interrupted(key):
                raise JobCanceled(key)
            nap.wait(0.01)
        raise AssertionError("never interrupted")

    return work


def test_a_running_job_is_canceled_and_gives_its_place_back(bench: Bench) -> None:
    queue = bench.launch()
    for n in range(3):
        bench.behaviour[f"k{n}"] = until_interrupted(bench)
        begin(bench, f"k{n}")
        queue.cancel(f"k{n}")
    queue.enqueue(at("last"))
    bench.wait_status("last", "SUCCESS")
    assert bench.ran == ["k0", "k1", "k2", "last"]
    assert bench.abandoned == []


def test_a_job_that_waits_for_a_retry_can_be_canceled(bench: Bench) -> None:
    queue = begin_one_that_waits_for_a_retry(bench)
    queue.cancel("k")
    queue.enqueue(at("last"))
    bench.wait_status("last", "SUCCESS")


@pytest.mark.parametrize("how", ["failed", "canceled while running", "canceled while waiting", "unknown"])
def test_retry_runs_it_again(bench: Bench, how: str) -> None:
    queue = bench.launch()
    before = 1
    if how == "failed":
        bench.behaviour["k"] = failing(PixelDataError("x"))
        queue.enqueue(at("k"))
        bench.wait(lambda: bool(bench.abandoned))
    elif how == "canceled while running":
        bench.behaviour["k"] = until_interrupted(bench)
        begin(bench, "k")
        queue.cancel("k")
    elif how == "canceled while waiting":
        go = threading.Event()
        bench.behaviour["blocker"] = held(go)
        begin(bench, "blocker")
        queue.enqueue(at("k"))
        queue.cancel("k")
        go.set()
        before = 0
    else:
        before = 0
    bench.behaviour.pop("k", None)
    queue.retry(at("k"))
    queue.retry(at("k"))
    bench.wait_status("k", "SUCCESS")
    assert bench.ran.count("k") in (before + 1, before + 2)  # the second retry may have come after the end of the first
    assert len(bench.abandoned) <= 1


def test_resume_queues_what_is_missing_or_ended_and_nothing_else(bench: Bench) -> None:
    queue = bench.launch()
    queue.resume(at("missing"))
    bench.wait_status("missing", "SUCCESS")
    queue.resume(at("missing"))
    bench.wait(lambda: bench.ran == ["missing", "missing"])
    go = threading.Event()
    bench.behaviour["running"] = held(go)
    begin(bench, "running")
    queue.enqueue(at("waiting"))
    for _ in range(3):
        queue.resume(at("running"))
        queue.resume(at("waiting"))
    go.set()
    bench.wait_status("waiting", "SUCCESS")
    bench.wait_status("running", "SUCCESS")
    assert bench.ran == ["missing", "missing", "running", "waiting"]


# -- restarts ---------------------------------------------------------------------------------------------------------


def test_a_clean_stop_interrupts_and_the_next_launch_goes_on(bench: Bench) -> None:
    bench.behaviour["k"] = until_interrupted(bench)
    for n in range(4):  # more often than a poisonous job may take the process down
        queue = bench.launch()
        queue.enqueue(at("k"))
        bench.wait(lambda n=n: bench.ran.count("k") == n + 1)  # type: ignore[misc]
        assert queue.stop()
    bench.behaviour.clear()
    bench.launch()
    bench.wait_status("k", "SUCCESS")
    assert bench.abandoned == []


def test_a_stop_does_not_wait_for_a_pause_and_leaves_no_thread(bench: Bench) -> None:
    before = set(threading.enumerate())
    queue = begin_one_that_waits_for_a_retry(bench)
    assert queue.stop(5)
    left = {t for t in threading.enumerate() if t not in before and not t.daemon}
    for thread in left:
        thread.join(10)
    assert [t.name for t in left if t.is_alive()] == []
    assert bench.abandoned == []


def test_a_job_that_does_not_listen_is_left_behind(bench: Bench) -> None:
    queue = bench.launch()
    go = threading.Event()
    bench.behaviour["deaf"] = held(go)
    begin(bench, "deaf")
    assert not queue.stop(0.1)
    go.set()
    bench.behaviour.clear()
    bench.launch()
    bench.wait_status("deaf", "SUCCESS")


def test_postgresql_does_as_well() -> None:
    with postgresql() as url:
        bench = Bench(url)
        bench.behaviour["k"] = until_interrupted(bench)
        queue = bench.launch()
        queue.enqueue(at("k"))
        queue.enqueue(at("k"))
        bench.wait(lambda: bench.ran == ["k"])
        assert queue.stop()
        bench.behaviour.clear()
        queue = bench.launch()
        bench.wait_status("k", "SUCCESS")
        queue.retry(at("k"))
        bench.wait(lambda: bench.ran == ["k"] * 3)
        bench.close()


# -- crashes ----------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, threading
from pathlib import Path
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.durable import DurableQueue
from tests.contract.test_journal import job, result
import dataclasses
from airouter.domain.priority import Priority

folder, mode, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
journal = DatabaseJournal(f"sqlite:///{folder}/journal.db")
both = threading.Barrier(2)

def run(key):
    with (folder / "ran").open("a") as ran:
        ran.write(key + "\\n")
    journal.start(key, "CPU")
    if key.startswith("innocent") and mode == "first":
        both.wait(30)           # runs while poison strikes
        threading.Event().wait()
    if key == "poison":
        if mode == "first" and workers > 1:
            both.wait(30)
        os.kill(os.getpid(), signal.SIGKILL)
    journal.complete(result(key, f"1.{key}"))

queue = DurableQueue(f"sqlite:///{folder}/queue.db", run, journal.cancel, workers=workers, polling=0.05)
queue.launch()
if mode == "first":
    for key in sys.argv[4].split(","):
        made = dataclasses.replace(job(key, f"1.{key}"), priority=Priority.LOW if key == "other" else Priority.ROUTINE)
        journal.add(made)
        queue.enqueue(made)
from airouter.domain.job import JobState
nap = threading.Event()
while {r.state for r in journal.jobs()} & {JobState.SCHEDULED, JobState.IN_PROGRESS}:
    nap.wait(0.05)
queue.stop()
print("all ended")
"""


def child(folder: Path, mode: str, workers: int, keys: str = "") -> int:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "plugin", ROOT)))}
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), mode, str(workers), keys], cwd=ROOT, env=env, timeout=90, check=False
    ).returncode


def recorded(folder: Path, *keys: str) -> list[JobRecord]:
    """What the journal of the ended processes says of these jobs."""
    journal = DatabaseJournal(f"sqlite:///{folder}/journal.db")
    found = [journal.job(key) for key in keys]
    journal.close()
    assert None not in found
    return [record for record in found if record is not None]


def test_a_job_that_kills_the_process_twice_is_parked(tmp_path: Path) -> None:
    assert child(tmp_path, "first", 1, "poison,other") == -signal.SIGKILL
    assert child(tmp_path, "again", 1) == -signal.SIGKILL
    assert child(tmp_path, "again", 1) == 0
    assert (tmp_path / "ran").read_text().split() == ["poison", "poison", "other"]
    poison, other = recorded(tmp_path, "poison", "other")
    assert (poison.state, poison.discontinuation) == (JobState.CANCELED, Discontinuation.POISON)
    assert "died 2 times" in (poison.reason or "")
    assert other.state is JobState.COMPLETED


def test_a_job_beside_the_poison_is_not_parked_with_it(tmp_path: Path) -> None:
    """Both ran when the process died; each then runs alone, and only the culprit is found guilty."""
    assert child(tmp_path, "first", 2, "innocent,poison") == -signal.SIGKILL
    code, starts = child(tmp_path, "again", 2), 2
    while code and starts < 6:
        code, starts = child(tmp_path, "again", 2), starts + 1
    assert code == 0
    assert starts == 3
    poison, innocent = recorded(tmp_path, "poison", "innocent")
    assert (poison.state, poison.discontinuation) == (JobState.CANCELED, Discontinuation.POISON)
    assert innocent.state is JobState.COMPLETED


def test_crashes_are_counted_for_this_executor_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    one, two = CrashLog(url, "one"), CrashLog(url, "two")
    for key in ("dies", "paused", "ended"):
        one.begin(key)
    two.begin("elsewhere")
    one.pause("paused")
    one.end("ended")
    one.recover()
    assert {k: one.crashes(k) for k in ("dies", "paused", "ended", "elsewhere")} == {
        "dies": 1,
        "paused": 0,
        "ended": 0,
        "elsewhere": 0,
    }
    one.begin("dies")
    one.recover()
    assert one.crashes("dies") == 2
    one.end("dies")
    assert one.crashes("dies") == 0
    one.close()
    two.close()


def test_a_suspect_runs_alone_and_is_not_kept_waiting() -> None:
    gate, order = Gate(), []
    first_in, first_out, done = threading.Event(), threading.Event(), []

    def fresh(name: str, wait: bool) -> None:
        with gate.enter(alone=False, still=lambda: None):
            order.append(name)
            first_in.set()
            if wait:
                first_out.wait(20)
        done.append(name)

    def suspect() -> None:
        with gate.enter(alone=True, still=lambda: None):
            order.append("suspect")

    threads = [threading.Thread(target=fresh, args=("first", True))]
    threads[0].start()
    assert first_in.wait(20)
    threads.append(threading.Thread(target=suspect))
    threads[1].start()
    while not gate._suspects_waiting:
        threads[1].join(0.01)
    threads.append(threading.Thread(target=fresh, args=("second", False)))
    threads[2].start()
    threads[2].join(0.05)
    assert order == ["first"]
    first_out.set()
    for thread in threads:
        thread.join(20)
    assert order == ["first", "suspect", "second"]


def test_waiting_at_the_gate_can_be_given_up() -> None:
    gate = Gate()

    def give_up() -> None:
        raise JobCanceled("stop")

    with gate.enter(alone=True, still=give_up):
        for alone in (True, False):
            with pytest.raises(JobCanceled), gate.enter(alone=alone, still=give_up):
                raise AssertionError("two inside")
    with gate.enter(alone=False, still=give_up):
        pass


def test_a_job_waits_for_a_database_that_does_not_take_its_beginning(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error out of the workflow itself would end it, and nobody would run the job before a restart."""
    begin, failures = CrashLog.begin, [3]

    def locked(log: CrashLog, key: str) -> None:
        if failures[0]:
            failures[0] -= 1
            raise sa.exc.OperationalError("BEGIN IMMEDIATE", {}, Exception("database is locked"))
        begin(log, key)

    monkeypatch.setattr(CrashLog, "begin", locked)
    queue = bench.launch()
    queue.enqueue(at("k"))
    bench.wait(lambda: bench.ran == ["k"])
    bench.wait_status("k", "SUCCESS")


def test_the_reason_of_a_job_given_up_says_what_to_do(bench: Bench) -> None:
    queue = bench.launch()
    bench.behaviour["k"] = failing(ArchiveUnavailable("HTTP 500"))
    bench.behaviour["d"] = failing(ValueError("Doe^John"))
    queue.enqueue(at("k"))
    queue.enqueue(at("d"))
    bench.wait(lambda: len(bench.abandoned) == 2)
    told = {key: reason for key, _, reason in bench.abandoned}
    assert "POST /ai/jobs with retry" in told["k"]
    assert "report" in told["d"]
    assert "Doe" not in told["d"]
