"""The router inside one Orthanc, tied to its life."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from airouter import config
from airouter.adapters.audit import AuditTrail
from airouter.adapters.lock import StateLock
from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.rest import connect
from airouter.adapters.views import Views
from airouter.app.parts import Parts, build
from airouter.app.places import base_folder, viewer_folder, waiting
from airouter.app.serving import Importing, Serving
from airouter.domain.job import JobState
from airouter.domain.phase import Phase
from airouter.errors import RouterError, StateLocked, place
from airouter.inference.repository import ModelRepository
from airouter.pipelines.parallel import ARRIVALS
from airouter.services.catalogue import catalogue
from airouter.services.importing import WatchedFolder
from airouter.services.preflight import problems
from airouter.web.access import Access
from airouter.web.app import create_app
from airouter.web.bridge import mount, screen
from airouter.web.dicom_web import ROOT as DICOM_WEB
from airouter.web.gate import Gate
from airouter.web.metrics import Metrics
from airouter.web.ohif import INSTALL, OhifFolder
from airouter.web.refusals import Refusals
from airouter.web.services import Health, Notice, RouterState, WebServices
from airouter.web.threads import large_stack_pool

_WEB_THREADS = 4
_IMAGE_THREADS = 6
_STOP_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # s between two tries to start


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
        self._serving: Serving | None = None
        self._importing: Importing | None = None
        self._viewer: OhifFolder | None = None
        self._version: str | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._life = threading.Lock()
        self._pool: ThreadPoolExecutor = large_stack_pool(_WEB_THREADS)
        self._images_pool: ThreadPoolExecutor = large_stack_pool(_IMAGE_THREADS)
        self.metrics = Metrics()
        document: Mapping[str, Any] = json.loads(orthanc.GetConfiguration())
        self._document = document
        self._base = base_folder(orthanc)
        self._access = Access.of(document)
        self._gate = Gate.of(document, self._access)
        self._refusals = Refusals()
        self._views = Views()
        screen(orthanc, partial(self._gate.lets_pass, refused=self._refusals.tell, viewed=self._views.seen))
        app = create_app(self.services(), self.metrics)
        # A viewer's many requests and slow searches have pools of their own: neither waits for the other. Orthanc takes
        # the first pattern that fits, so the part of /ai comes before all of it.
        images, others = waiting(document)
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
            self._serving = Serving.of(self._archive, parts, repository, self._document, client)
            self._spawn("airouter-similar", self._serving.prepare)
            self._importing = Importing.of(settings, self._base, client)
            if self._importing is not None:
                self._spawn("airouter-import", self._importing.watched.run)
        self._orthanc.LogWarning("AI router is running. It is not a medical device.")

    def stop(self) -> None:
        """Stop intake, workers and web threads; running jobs resume at the next start."""
        with self._life:
            self._stopping.set()
            self._state, self._reason = RouterState.PASSIVE, "Orthanc is stopping"
            parts, importing = self._parts, self._importing
        self._refusals.stop()
        if importing is not None:
            importing.watched.stop()
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
        for opened in (self._serving, self._importing, self._archive):
            if opened is not None:
                opened.close()
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
            imports=self._watched,
            similar=lambda: self._serving.similar if self._serving else None,
            rescans=lambda: self._parts.rescans if self._parts else None,
            reviews=lambda: self._parts.reviews if self._parts else None,
            phase=lambda: self._parts.settings.initial_phase if self._parts else Phase.INTEGRATED,
            quality=lambda: self._serving.quality if self._serving else None,
            readings=lambda: self._parts.reading_room if self._parts else None,
            thumbnails=lambda: self._serving.thumbnails if self._serving else None,
            pictures=lambda: self._serving.pictures if self._serving else None,
            viewer=self.viewer,
            dicom_web=lambda: self._serving.dicom_web if self._serving else None,
            access=self._access,
            refused=self._refusals.tell,
            audit=lambda: self._parts.auditing.trail if self._parts else None,
            viewed=self._views.seen,
        )

    def _watched(self) -> WatchedFolder | None:
        return self._importing.watched if self._importing else None

    def viewer(self) -> OhifFolder | None:
        """OHIF, looked for until it is there: it may be installed while Orthanc runs, and serves without the router."""
        if self._viewer is None:
            # Where nothing is said, an older Orthanc compresses and a newer does not: twice must never be.
            packed = self._document.get("HttpCompressionEnabled") is False
            self._viewer = OhifFolder.of(viewer_folder(self._document, self._base), precompressed=packed)
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
        imports = self._watched()
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
