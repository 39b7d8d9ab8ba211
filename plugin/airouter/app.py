"""Composition root: builds the router by hand and ties it to Orthanc's life."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airouter import config
from airouter.adapters.audit import AuditTrail
from airouter.adapters.audit_key import adopt
from airouter.adapters.auditing import Auditing
from airouter.adapters.converter import Converter
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.dicom_web import OrthancDirectory
from airouter.adapters.durable import DurableQueue, Patience
from airouter.adapters.lock import StateLock
from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.reading import ReadingStore
from airouter.adapters.rest import connect
from airouter.adapters.reviews import DatabaseReviews
from airouter.adapters.sight import OrthancSight, credential_headers
from airouter.adapters.similarity import FaissIndex
from airouter.adapters.slide_import import SlideImporter
from airouter.adapters.slide_store import SlideStore
from airouter.adapters.views import Views
from airouter.config import Settings
from airouter.domain.job import Discontinuation, JobState
from airouter.domain.phase import Phase
from airouter.domain.reading import Rule
from airouter.domain.role import Role
from airouter.errors import RouterError, StateLocked, place
from airouter.inference.repository import ModelRepository
from airouter.pipelines.parallel import ARRIVALS, yield_to_archive
from airouter.ports import Archive
from airouter.services.analyse import Analyst
from airouter.services.catalogue import catalogue, usable
from airouter.services.delivery import Delivery
from airouter.services.dicom_web import DicomWeb
from airouter.services.importing import WORKING, WatchedFolder
from airouter.services.intake import Intake
from airouter.services.object_pictures import ObjectPictures
from airouter.services.preflight import problems
from airouter.services.quality import QualityCheck
from airouter.services.reading import Readings
from airouter.services.reading_room import ReadingRoom
from airouter.services.request import Requests
from airouter.services.rescans import Rescans
from airouter.services.review import Reviews
from airouter.services.routing import Router
from airouter.services.similar import SimilarCases
from airouter.services.summaries import Summaries
from airouter.services.thumbnails import Thumbnails
from airouter.web.access import Access
from airouter.web.app import create_app
from airouter.web.bridge import mount, screen
from airouter.web.dicom_web import ROOT as DICOM_WEB
from airouter.web.gate import Gate
from airouter.web.metrics import Metrics
from airouter.web.ohif import INSTALL, OhifFolder
from airouter.web.refusals import Refusals
from airouter.web.services import Health, Notice, RouterState, WebServices
from airouter.web.threads import STACK_BYTES, large_stack_pool

log = logging.getLogger("airouter")

_WEB_THREADS = 4
_IMAGE_THREADS = 6
_HTTP_THREADS = 50  # Orthanc's own default
_STOP_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # s between two tries to start
_SIGHT_SECONDS = 20.0  # within which Orthanc must say whether a user may read a study
_UPLOAD_SECONDS = 900.0  # Orthanc answers once an instance is on its disk, and a level of a slide may have gigabytes


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


class Plugin:
    """The router inside one Orthanc: refuses, waits, runs and stops with it; says at any time how it stands."""

    def __init__(self, orthanc: Any) -> None:
        self._orthanc = orthanc
        self._state = RouterState.PASSIVE
        self._reason = "Orthanc is starting"
        self._parts: Parts | None = None
        self._repository: ModelRepository | None = None
        self._lock: StateLock | None = None
        self._archive: OrthancArchive | None = None
        self._sight: OrthancSight | None = None
        self._similar: SimilarCases | None = None
        self._quality: QualityCheck | None = None
        self._pictures: ObjectPictures | None = None
        self._thumbnails: Thumbnails | None = None
        self._imports: WatchedFolder | None = None
        self._import_store: SlideStore | None = None
        self._viewer: OhifFolder | None = None
        self._directory: OrthancDirectory | None = None
        self._dicom_web: DicomWeb | None = None
        self._version: str | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._life = threading.Lock()
        self._pool: ThreadPoolExecutor = large_stack_pool(_WEB_THREADS)
        self._images_pool: ThreadPoolExecutor = large_stack_pool(_IMAGE_THREADS)
        self.metrics = Metrics()
        document: Mapping[str, Any] = json.loads(orthanc.GetConfiguration())
        self._document = document
        self._base = _base(orthanc)
        self._access = Access.of(document)
        self._gate = Gate.of(document, self._access)
        self._refusals = Refusals()
        self._views = Views()
        screen(orthanc, partial(self._gate.lets_pass, refused=self._refusals.tell, viewed=self._views.seen))
        app = create_app(self.services(), self.metrics)
        # A viewer's many requests and slow searches have pools of their own: neither waits for the other. Orthanc takes
        # the first pattern that fits, so the part of /ai comes before all of it.
        images, others = _waiting(document)
        mount(orthanc, app, self._images_pool, roots=("/ohif", DICOM_WEB), waiting=images)
        mount(orthanc, app, self._pool, roots=("/ai",), waiting=others)
        orthanc.RegisterOnStoredInstanceCallback(self.on_stored)
        orthanc.RegisterOnChangeCallback(self.on_change)

    # -- callbacks: they pass plain values on and return ------------------------------------------------------------

    def on_stored(self, dicom: Any, instance_id: str) -> None:
        """Orthanc stored something: wake the intake. Neither argument is kept; `dicom` dies with this call."""
        began = time.perf_counter()
        ARRIVALS.touch()
        parts = self._parts
        if parts is not None:
            parts.intake.wake()
        self.metrics.stored(time.perf_counter() - began)

    def on_change(self, change_type: int, level: int, resource: str) -> None:
        """Start and stop with Orthanc. Its other change events are lossy: nothing relies on them."""
        if change_type == self._orthanc.ChangeType.ORTHANC_STARTED:
            self._spawn("airouter-start", self._start)
        elif change_type == self._orthanc.ChangeType.ORTHANC_STOPPED:
            self.stop()
        elif change_type == self._orthanc.ChangeType.DELETED:
            parts = self._parts
            if parts is not None and level == self._orthanc.ResourceType.STUDY:
                parts.readings.gone(resource)  # so that the worklist is true at once; the sweep finds what is missed

    # -- life ----------------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _start(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._run()
            except StateLocked as error:
                return self._refuse(RouterState.PASSIVE, error)
            except RouterError as error:
                self._refuse(RouterState.PASSIVE if error.transient else RouterState.REFUSED, error)
                if not error.transient or self._parts is not None:
                    return None
            except Exception as error:  # noqa: BLE001 - outermost seam of this thread: Orthanc must serve on
                # The message of a foreign exception might quote data; its type and the traceback's places do not.
                reason = f"internal error while starting: {type(error).__name__} at {place(error)}"
                return self._refuse(RouterState.REFUSED, RouterError(reason))
            # A database server that boots beside Orthanc may come up after it.
            self._let_go()
            if self._stopping.wait(pause):
                return None
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _refuse(self, state: RouterState, error: RouterError) -> None:
        self._state, self._reason = state, f"{error} {error.advice}"
        self._orthanc.LogError(f"AI router not running: {error}. {error.advice} Orthanc serves on without it.")

    def _run(self) -> None:
        section = self._document.get(config.SECTION)
        if isinstance(section, Mapping) and section.get("Enabled") is False:
            self._reason = "AIRouter.Enabled is false"
            return
        settings = config.load(self._document)
        repository = ModelRepository(
            settings.path("models_directory", self._base),
            configured=settings.execution_providers,
            threads=settings.threads or 1,
            quantized=settings.quantized_models,
        )
        models = catalogue(repository.names(), repository.get)
        self._repository = repository  # once all are loaded: GET /ai/health must not wait for that
        wrong = problems(self._document, models)
        if wrong:
            raise wrong[0]
        self._lock = StateLock(settings.path("state_directory", self._base))
        secure = bool(self._document.get("SslEnabled"))
        token = self._orthanc.GenerateRestApiAuthorizationToken()
        self._gate.trust(token)
        client = partial(
            connect,
            f"{'https' if secure else 'http'}://127.0.0.1:{self._document.get('HttpPort', 8042)}",
            token=token,
            certificate=self._base / str(self._document.get("SslCertificate", "certificate.pem")) if secure else None,
        )
        storage = self._base / str(self._document.get("StorageDirectory", "OrthancStorage"))
        self._archive = OrthancArchive(client(), storage if storage.is_dir() else None)
        self._version = self._archive.version
        parts = build(settings, self._archive, repository, self._base, self.metrics, self._views)
        with self._life:  # a stop comes before all of this or after it, never in between
            if self._stopping.is_set():
                parts.journal.close()
                return
            try:
                parts.auditing.start(settings.model_dump(mode="json"), self._version or "unknown", repository.status())
                parts.queue.launch()
            except RouterError:
                parts.auditing.stop()
                parts.journal.close()
                raise
            self._parts = parts
            self._state, self._reason = RouterState.RUNNING, ""
            self._spawn("airouter-intake", parts.intake.run)
            self._spawn("airouter-delivery", parts.delivery.run)
            self._spawn("airouter-reading", parts.readings.run)
            self._spawn("airouter-refusals", partial(self._refusals.run, AuditTrail(parts.journal.store).record))
            # Without our token: what is asked here, is asked in the name of a user.
            self._sight = OrthancSight(client(token=None, timeout=_SIGHT_SECONDS), credential_headers(self._document))
            self._similar = SimilarCases(self._archive, parts.journal, self._sight, FaissIndex)
            self._quality = QualityCheck(usable(models), repository.get, self._sight)
            self._directory = OrthancDirectory(client(), self._sight, _dicom_web_root(self._document))
            self._dicom_web = DicomWeb(self._archive, self._directory, self._sight, self._sight)
            self._pictures = ObjectPictures(self._archive, parts.journal, self._sight)
            self._thumbnails = Thumbnails(self._archive, parts.lines, self._sight)
            self._spawn("airouter-similar", partial(_prepare, self._similar))
            if settings.import_directory is not None:
                self._import_store = SlideStore(client(timeout=_UPLOAD_SECONDS))
                self._imports = _watched(_importer(self._import_store, settings, self._base), settings, self._base)
                self._spawn("airouter-import", self._imports.run)
        self._orthanc.LogWarning("AI router is running. It is not a medical device.")

    def stop(self) -> None:
        """Stop intake, workers and web threads; running jobs resume at the next start."""
        with self._life:
            self._stopping.set()
            self._state, self._reason = RouterState.PASSIVE, "Orthanc is stopping"
            parts, imports = self._parts, self._imports
        self._refusals.stop()
        if imports is not None:
            imports.stop()
        if parts is not None:
            parts.intake.stop()
            parts.delivery.stop()
            parts.readings.stop()
            parts.bulk.shutdown(wait=True, cancel_futures=True)
            parts.queue.stop()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._images_pool.shutdown(wait=True, cancel_futures=True)
        if parts is not None:
            parts.auditing.stop()  # nothing is left that could add to the trail
            parts.journal.close()
        self._let_go()

    def _let_go(self) -> None:
        """Close what `_run` opened before there were parts."""
        if self._archive is not None:
            self._archive.close()
        if self._sight is not None:
            self._sight.close()
        if self._directory is not None:
            self._directory.close()
        if self._import_store is not None:
            self._import_store.close()
        if self._lock is not None:
            self._lock.release()

    # -- what the web layer asks -------------------------------------------------------------------------------------

    def services(self) -> WebServices:
        """Callables that look at the router as it stands when they are called."""
        return WebServices(
            health=self.health,
            models=lambda: self._repository.status() if self._repository else [],
            journal=lambda: self._parts.journal if self._parts else None,
            requests=lambda: self._parts.requests if self._parts else None,
            imports=lambda: self._imports,
            similar=lambda: self._similar,
            rescans=lambda: self._parts.rescans if self._parts else None,
            reviews=lambda: self._parts.reviews if self._parts else None,
            phase=lambda: self._parts.settings.initial_phase if self._parts else Phase.INTEGRATED,
            quality=lambda: self._quality,
            readings=lambda: self._parts.reading_room if self._parts else None,
            thumbnails=lambda: self._thumbnails,
            pictures=lambda: self._pictures,
            viewer=self.viewer,
            dicom_web=lambda: self._dicom_web,
            access=self._access,
            refused=self._refusals.tell,
            audit=lambda: self._parts.auditing.trail if self._parts else None,
            viewed=self._views.seen,
        )

    def viewer(self) -> OhifFolder | None:
        """OHIF, looked for until it is there: it may be installed while Orthanc runs, and serves without the router."""
        if self._viewer is None:
            # Where nothing is said, an older Orthanc compresses and a newer does not: twice must never be.
            packed = self._document.get("HttpCompressionEnabled") is False
            self._viewer = OhifFolder.of(_viewer_folder(self._document, self._base), precompressed=packed)
        return self._viewer

    def health(self) -> Health:
        """State, reason, and how much there is to do."""
        parts = self._parts
        jobs: Mapping[JobState, int] = {}
        reason = self._reason
        unrecorded: list[str] = []
        try:
            jobs = parts.journal.counts() if parts else {}
            unrecorded = parts.auditing.problems() if parts else []
        except RouterError as error:  # how it stands is told all the same
            reason = reason or f"{error} {error.advice}"
        imports = self._imports
        problem = imports.problem if imports is not None else ""
        notices = [Notice(f"import: {problem}", "See GET /ai/imports.")] if problem else []
        notices += [Notice(text, "docs/reference/audit.md says what to look at.") for text in unrecorded]
        if self.viewer() is None:
            notices.append(Notice("the viewer is not installed: /ohif/ shows nothing", INSTALL))
        return Health(
            notices=notices,
            state=self._state,
            reason=reason,
            orthanc_version=self._version,
            queue_depth=jobs.get(JobState.SCHEDULED, 0),
            jobs=jobs,
            intake_lag_seconds=parts.intake.lag_seconds() if parts else None,
        )


def _viewer_folder(document: Mapping[str, Any], base: Path) -> Path:
    """Where the viewer is; the settings may be wrong, and the viewer is served all the same."""
    section = document.get(config.SECTION)
    named = section.get("ViewerDirectory") if isinstance(section, Mapping) else None
    if isinstance(named, str) and named:
        return base / named
    return Path(__file__).resolve().parents[2] / ".cache" / "ohif" / "viewer"


def _waiting(document: Mapping[str, Any]) -> tuple[int, int]:
    """How many requests for images, and how many others, may wait for us at once. A fifth of Orthanc's HTTP threads is
    left: what we ask of Orthanc while they wait needs one, too."""
    threads = document.get("HttpThreadsCount")
    threads = threads if isinstance(threads, int) and threads > 0 else _HTTP_THREADS
    return max(1, threads * 2 // 5), max(1, threads * 2 // 5)


def _dicom_web_root(document: Mapping[str, Any]) -> str:
    section = document.get("DicomWeb")
    return str(section.get("Root", "/dicom-web/")) if isinstance(section, Mapping) else "/dicom-web/"


def _prepare(similar: SimilarCases) -> None:
    """On a thread of its own: a failure here is told again, to whoever searches next."""
    try:
        similar.start()
    except RouterError as error:
        log.warning("the index of similar cases was not prepared: %s", error)


def _importer(store: SlideStore, settings: Settings, base: Path) -> SlideImporter:
    """Converts in the state folder, cleared first: a crash may have left files of gigabytes there."""
    importer = SlideImporter(store, Converter(), settings.path("state_directory", base) / "import")
    importer.clear()
    return importer


def _watched(importer: SlideImporter, settings: Settings, base: Path) -> WatchedFolder:
    folder = settings.path("import_directory", base)
    return WatchedFolder(
        folder,
        importer,
        own=lambda: StateLock(folder / WORKING, "ImportDirectory"),
        settling=settings.import_settling_seconds,
    )


def start(orthanc: Any) -> None:
    """Called by main.py while Orthanc loads the plugin: register callbacks, start nothing yet."""
    # Workers of the queue run models and decode images: Debian's default of 8 MB would do, Alpine's would not.
    threading.stack_size(STACK_BYTES)
    Plugin(orthanc)


def _base(orthanc: Any) -> Path:
    """Folder that relative paths of the configuration start at; Orthanc takes those of a folder from the folder."""
    path = Path(orthanc.GetConfigurationPath() or ".").resolve()
    return path if path.is_dir() else path.parent
