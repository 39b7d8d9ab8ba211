"""Jobs on demand: whatever fails in between, asking again mends it, and who asked is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.domain.job import Discontinuation, Job, JobState
from airouter.errors import RequestError
from airouter.services.request import Request, Requests
from airouter.services.routing import Router
from tests.headers import instance
from tests.unit.test_intake import ArchiveLog
from tests.unit.test_routing import MODEL, ROUTE


class Queue:
    """Remembers what was asked of it; fails as often as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failures = 0

    def _ask(self, what: str) -> None:
        if self.failures:
            self.failures -= 1
            raise RequestError("not now")
        self.asked.append(what)

    def enqueue(self, job: Job) -> None:
        self._ask("enqueue")

    def resume(self, job: Job) -> None:
        self._ask("resume")

    def retry(self, job: Job) -> None:
        self._ask("retry")

    def cancel(self, key: str) -> None:
        self._ask("cancel")


class Desk:
    """Requests over an archive of eye studies; deferred tasks run when the test says so."""

    def __init__(self, journal: DatabaseJournal) -> None:
        self.archive, self.journal, self.queue = ArchiveLog(), journal, Queue()
        self.deferred: list[Callable[[], None]] = []
        self.requests = Requests(
            self.archive,  # type: ignore[arg-type]
            journal,
            self.queue,
            Router((ROUTE,), lambda: {"quality": MODEL}),
            self.deferred.append,
            at_once=1,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    journal = DatabaseJournal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    yield Desk(journal)
    journal.close()


def test_a_job_whose_enqueueing_failed_gets_its_run_when_it_is_asked_for_again(desk: Desk) -> None:
    desk.archive.arrive("7", instance("1"))
    desk.queue.failures = 1
    with pytest.raises(RequestError):
        desk.requests.submit(Request(("7",)), "anna")
    assert [r.state for r in desk.journal.jobs()] == [JobState.SCHEDULED]
    desk.requests.submit(Request(("7",)), "anna")
    assert desk.queue.asked == ["resume"]


def test_a_new_try_that_failed_half_way_can_be_asked_for_again(desk: Desk) -> None:
    desk.archive.arrive("7", instance("1"))
    desk.requests.submit(Request(("7",)), "anna")
    (job,) = desk.journal.jobs()
    desk.journal.cancel(job.job.key, Discontinuation.FAILURE, "x")
    desk.queue.failures = 1
    with pytest.raises(RequestError):
        desk.requests.submit(Request(("7",), retry=True), "ben")
    desk.requests.submit(Request(("7",), retry=True), "ben")
    assert desk.queue.asked == ["enqueue", "resume"]
    (again,) = desk.journal.jobs()
    assert (again.state, again.requested_by) == (JobState.SCHEDULED, "ben")


def test_a_job_that_ended_is_not_run_again_unasked(desk: Desk) -> None:
    desk.archive.arrive("7", instance("1"))
    desk.requests.submit(Request(("7",)), "anna")
    desk.journal.cancel(desk.journal.jobs()[0].job.key, Discontinuation.FAILURE, "x")
    desk.requests.submit(Request(("7",)), "anna")
    assert desk.queue.asked == ["enqueue"]


def test_a_defect_in_a_deferred_study_is_logged_without_its_text(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for study in ("7", "8"):
        desk.archive.arrive(study, instance(study))
    desk.requests.submit(Request(everything=True), "anna")

    def study(id: str) -> None:
        raise ValueError("Doe^John")

    monkeypatch.setattr(desk.archive, "study", study)
    (task,) = desk.deferred
    task()
    assert "study 8" in caplog.text
    assert "ValueError" in caplog.text
    assert "Doe" not in caplog.text
