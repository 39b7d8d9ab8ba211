"""Jobs on demand: whatever fails in between, asking again mends it, and who asked is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.domain.audit import AuditEvent, AuditKind
from airouter.domain.job import Discontinuation, Job, JobState
from airouter.domain.model import HeadKind
from airouter.errors import JournalUnavailable, RequestError
from airouter.pipelines import Extent
from airouter.services.request import Request, Requests
from airouter.services.routing import Router
from tests.headers import instance
from tests.unit.test_intake import ArchiveLog
from tests.unit.test_intake_priors import image
from tests.unit.test_routing import MODEL, ROUTE
from tests.unit.test_routing_extents import pipeline, route_to


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
        self.ended: list[str] = []
        self.events: list[AuditEvent] = []
        self.full = False  # whether the audit trail takes no more
        self.requests = Requests(
            self.archive,  # type: ignore[arg-type]
            journal,
            self.queue,
            Router((ROUTE,), lambda: {"quality": MODEL}),
            self.deferred.append,
            at_once=1,
            ended=self.ended.append,
            audit=self.audit,
        )

    def audit(self, event: AuditEvent) -> None:
        if self.full:
            raise JournalUnavailable("the disk is full")
        self.events.append(event)


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


# -- pipelines without a model, priors, results -----------------------------------------------------------------------

PIPELINES = {
    "rules": pipeline("rules", Extent.HISTORY),
    "summary": pipeline("summary", Extent.RESULTS, None),
    "models": pipeline("models", Extent.IMAGE, head=HeadKind.SEGMENTATION),
}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("routing", "request"):
        monkeypatch.setattr(f"airouter.services.{place}.PIPELINES", PIPELINES)


@pytest.mark.usefixtures("known")
def test_a_pipeline_without_a_model_is_asked_for_alone(desk: Desk) -> None:
    desk.archive.arrive("7", image("7", 2026))
    desk.archive.arrive("6", image("6", 2025))
    answer = desk.requests.submit(Request(("7",), pipeline="rules"), "anna")
    (record,) = desk.journal.jobs()
    assert (record.job.key,) == answer.jobs
    assert (record.job.pipeline, record.job.model) == ("rules", "rules")
    assert [(s.uid, s.prior_study_id) for s in record.job.sources] == [("7.1", ""), ("6.1", "6")]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("pipeline", "model", "why"),
    [
        ("rules", "quality", "needs no model"),
        ("models", None, "given together"),
        (None, "quality", "given together"),
        ("unknown", None, "given together"),
        ("summary", None, "by itself"),
        ("summary", "quality", "needs no model"),
    ],
)
def test_a_model_is_named_where_the_pipeline_needs_one_and_only_there(
    desk: Desk, pipeline: str | None, model: str | None, why: str
) -> None:
    desk.archive.arrive("7", image("7", 2026))
    with pytest.raises(RequestError, match=why):
        desk.requests.submit(Request(("7",), pipeline=pipeline, model=model), "anna")
    assert desk.journal.jobs() == []


@pytest.mark.usefixtures("known")
def test_a_route_to_a_summary_is_not_asked_for_either(desk: Desk) -> None:
    desk.requests._router = Router((route_to("summary"), route_to("rules")), dict)
    desk.archive.arrive("7", image("7", 2026))
    with pytest.raises(RequestError, match="by itself"):
        desk.requests.submit(Request(("7",), route="summary"), "anna")
    assert len(desk.requests.submit(Request(("7",)), "anna").jobs) == 1


def test_who_waits_for_jobs_to_end_is_told_of_one_that_was_canceled(desk: Desk) -> None:
    desk.archive.arrive("7", instance("1"))
    (key,) = desk.requests.submit(Request(("7",)), "anna").jobs
    assert not desk.requests.cancel("unknown", "anna")
    assert desk.ended == []
    assert desk.requests.cancel(key, "anna")
    assert not desk.requests.cancel(key, "anna")
    assert desk.ended == [key]


def test_who_asks_for_what_is_recorded_before_anything_is_done(desk: Desk) -> None:
    desk.archive.arrive("7", instance("1"))
    desk.full = True
    with pytest.raises(JournalUnavailable):
        desk.requests.submit(Request(("7",)), "anna")
    assert (desk.journal.jobs(), desk.queue.asked) == ([], [])
    desk.full = False
    desk.requests.submit(Request(("7",), retry=True), "anna")
    (event,) = desk.events
    assert (event.kind, event.user, event.study_uid) == (AuditKind.REQUEST, "anna", None)
    assert event.detail["studies"] == ["7"]
    assert event.detail["retry"] is True


def test_a_request_that_makes_no_sense_is_none(desk: Desk) -> None:
    with pytest.raises(RequestError):
        desk.requests.submit(Request(), "anna")
    assert desk.events == []
