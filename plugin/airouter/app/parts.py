"""What one running router consists of, wired by hand."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from airouter.adapters.audit_key import adopt
from airouter.adapters.auditing import Auditing
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.durable import DurableQueue, Patience
from airouter.adapters.reading import ReadingStore
from airouter.adapters.reviews import DatabaseReviews
from airouter.adapters.views import Views
from airouter.config import Settings
from airouter.domain.job import Discontinuation
from airouter.domain.reading import Rule
from airouter.domain.role import Role
from airouter.errors import RouterError
from airouter.inference.repository import ModelRepository
from airouter.pipelines.parallel import yield_to_archive
from airouter.ports import Archive
from airouter.services.analyse import Analyst
from airouter.services.catalogue import catalogue, usable
from airouter.services.delivery import Delivery
from airouter.services.intake import Intake
from airouter.services.reading import Readings
from airouter.services.reading_room import ReadingRoom
from airouter.services.request import Requests
from airouter.services.rescans import Rescans
from airouter.services.review import Reviews
from airouter.services.routing import Router
from airouter.services.summaries import Summaries
from airouter.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything one running router consists of."""

    settings: Settings
    journal: DatabaseJournal
    queue: DurableQueue
    intake: Intake
    requests: Requests
    rescans: Rescans
    auditing: Auditing
    bulk: ThreadPoolExecutor
    lines: ReadingStore
    readings: Readings
    reading_room: ReadingRoom
    reviews: Reviews
    delivery: Delivery


def build(
    settings: Settings,
    archive: Archive,
    repository: ModelRepository,
    base: Path,
    metrics: Metrics,
    views: Views | None = None,
) -> Parts:
    """Wire the use cases. `base` is the folder relative paths of the settings start at; nothing runs yet.

    Raises RouterError where the database cannot be opened.
    """
    url = settings.database_url(base)
    journal = DatabaseJournal(url)
    try:
        adopt(journal.store, settings.audit_key(base))
    except RouterError:
        journal.close()
        raise
    auditing = Auditing(journal.store, settings, base, views or Views())
    models = usable(catalogue(repository.names(), repository.get))
    router = Router(settings.compiled_routes(), lambda: models)

    def run(key: str) -> None:
        yield_to_archive()  # on a thread of the queue: nothing else runs there
        analyst.run(key)
        count(key)
        summaries.consider(key)

    def abandon(key: str, why: Discontinuation, reason: str) -> None:
        journal.cancel(key, why, reason)
        count(key)
        summaries.consider(key)

    def count(key: str) -> None:
        record = journal.job(key)
        if record is not None:
            findings = next((len(r.findings) for r in journal.results(record.job.study_uid) if r.job == key), 0)
            metrics.ended(record, findings)

    queue = DurableQueue(
        url,
        run,
        abandon,
        executor=settings.node,
        workers=settings.workers,
        patience=Patience(attempts=settings.retry_attempts, first=settings.retry_initial_seconds),
    )
    analyst = Analyst(
        archive,
        journal,
        repository.get,
        now=lambda: datetime.now(UTC),
        interrupted=queue.interrupted,
        took=metrics.took,
        phase=settings.initial_phase,
    )
    summaries = Summaries(archive, journal, queue, router)
    lines = ReadingStore(journal.store)
    lines.open(Rule(settings.worklist.allowances, settings.worklist.audit_share, settings.initial_phase))
    readings = Readings(archive, journal, lines)
    intake = Intake(
        archive,
        journal,
        queue,
        router,
        quiet_time=settings.quiet_time_seconds,
        deadline=settings.completion_deadline_seconds,
        sweep_interval=settings.sweep_interval_seconds,
        rests=summaries.consider_study,
        seen=readings.seen,
        swept=readings.swept,
    )
    bulk = ThreadPoolExecutor(1, thread_name_prefix="airouter-bulk")

    def defer(task: Callable[[], None]) -> None:
        bulk.submit(task)

    requests = Requests(archive, journal, queue, router, defer, ended=summaries.consider, audit=auditing.trail.record)
    readers = (name for name, user in settings.users.items() if {Role.READER, Role.SUPERVISOR} & set(user.roles))
    room = ReadingRoom(lines, claim_minutes=settings.worklist.claim_minutes, readers=tuple(sorted(readers)))
    rescans = Rescans(archive, journal)
    kept = DatabaseReviews(journal.store)
    delivery = Delivery(archive, journal, kept, interval=settings.sweep_interval_seconds)
    reviews = Reviews(archive, journal, kept, delivery, now=lambda: datetime.now(UTC))
    return Parts(
        settings, journal, queue, intake, requests, rescans, auditing, bulk, lines, readings, room, reviews, delivery
    )
