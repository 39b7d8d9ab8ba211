"""The durable queue: DBOS workflows on SQLite, or PostgreSQL.

One job is one workflow whose id is the job key, so that enqueueing it again is a no-op. The workflow is a single call
of `run(key)`, which must be idempotent: it loads the job from the journal, analyses, stores and records. A process that
dies leaves its workflows PENDING; at the next launch under the same executor id they are queued again and run again.

The application version is fixed: DBOS binds a workflow to the version that queued it, and a digest of the source (its
default) would orphan every waiting job at an upgrade. `run` takes a key and nothing else, so any version can go on.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from dbos import DBOS, DBOSConfig, WorkflowSerializationFormat
from sqlalchemy.exc import SQLAlchemyError

from airouter.adapters.crashes import CrashLog, Gate
from airouter.domain.job import Discontinuation, Job
from airouter.errors import JobCanceled, RequestError, RouterError, place

_APPLICATION: Final = "airouter"
_VERSION: Final = "1"
_QUEUE: Final = "airouter-jobs"
_WORKFLOW: Final = "airouter.job"

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# (job key, why, reason): records that a job ended without a result, as Journal.cancel does.
Abandon = Callable[[str, Discontinuation, str], None]


class _Leave(BaseException):
    """Ends a workflow's thread without an outcome: DBOS records what is an Exception, and only that."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a job whose error is transient is tried again: after `first` seconds, then `factor` times longer each time up
    to `longest`, `attempts` times in all. The defaults give up after about three hours."""

    attempts: int = 40
    first: float = 1.0
    factor: float = 2.0
    longest: float = 300.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the failure of attempt 1, 2, ..."""
        return float(min(self.longest, self.first * self.factor ** min(attempt - 1, 32)))


@dataclass(slots=True)
class _Running:
    interrupt: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class DurableQueue:
    """ports.JobQueue on DBOS, which is one per process: a second may be launched only after the first has stopped.

    `run(key)` does the work on a thread of the queue. A RouterError out of it is tried again where it is transient,
    else the job is abandoned as FAILURE. It asks `interrupted(key)` now and then and raises JobCanceled, which it lets
    out: where the queue stops, the job is not canceled at all but goes on at the next launch.
    `abandon` is told of jobs that failed for good or are poison: the process died `crashes` times while they ran.
    `workers` jobs run at once, most urgent first; `executor` must be stable over restarts and unique among nodes.
    """

    def __init__(
        self,
        url: str,
        run: Callable[[str], None],
        abandon: Abandon,
        *,
        executor: str = "local",
        workers: int = 1,
        crashes: int = 2,
        patience: Patience = Patience(),
        polling: float = 0.25,
    ) -> None:
        self._url = url
        self._run = run
        self._abandon = abandon
        self._executor = executor
        self._workers = workers
        self._limit = crashes
        self._patience = patience
        self._polling = polling
        self._crashes: CrashLog | None = None
        self._gate = Gate()
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self.stopping = threading.Event()

    # -- life ---------------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start working, first of all on what an earlier process left. No network: no admin server, no telemetry."""
        self.stopping.clear()
        self._crashes = CrashLog(self._url, self._executor)
        self._crashes.recover()
        logger = logging.getLogger("dbos")
        if not logger.handlers:  # DBOS would write to standard error of its own accord
            logger.addHandler(logging.NullHandler())
        config = DBOSConfig(
            name=_APPLICATION,
            system_database_url=self._url,
            application_version=_VERSION,
            executor_id=self._executor,
            log_level="WARNING",
            enable_otlp=False,
            use_listen_notify=False,
            scheduler_polling_interval_sec=3600.0,
            notification_listener_polling_interval_sec=0.1,  # nobody listens: only how soon its thread sees the stop
        )
        DBOS(config=config)

        # No limit of DBOS's own: see airouter.adapters.crashes. JSON, not pickle: the database is not to be executed.
        @DBOS.workflow(
            name=_WORKFLOW, max_recovery_attempts=None, serialization_type=WorkflowSerializationFormat.PORTABLE
        )
        def job(key: str) -> str:
            return self._work(key)

        try:
            DBOS.launch()
            DBOS.register_queue(
                _QUEUE,
                worker_concurrency=self._workers,
                polling_interval_sec=self._polling,
                on_conflict="always_update",
            )
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 10.0) -> bool:
        """Interrupt what runs, wait for it and stop; True where everything ended within `timeout` seconds.

        Interrupted jobs stay PENDING and run again at the next launch. A second call is a no-op.
        """
        self.stopping.set()
        deadline = time.monotonic() + timeout
        with self._lock:
            running = list(self._running.values())
        for one in running:
            one.interrupt.set()
        ended = True
        for one in running:
            ended = one.done.wait(max(0.0, deadline - time.monotonic())) and ended
        DBOS.destroy(destroy_registry=True)
        if self._crashes is not None:
            self._crashes.close()
        return ended

    # -- ports.JobQueue -----------------------------------------------------------------------------------------------

    def enqueue(self, job: Job) -> None:
        DBOS.enqueue_workflow_with_options(
            {
                "workflow_name": _WORKFLOW,
                "queue_name": _QUEUE,
                "workflow_id": job.key,
                "app_version": _VERSION,
                "priority": job.priority.rank,
                "serialization_type": WorkflowSerializationFormat.PORTABLE,
            },
            job.key,
        )

    def cancel(self, key: str) -> None:
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                running.interrupt.set()
        DBOS.cancel_workflow(key)

    def retry(self, job: Job) -> None:
        """Run again a job that ended CANCELED: the same workflow, rewound to its start, its crashes forgiven.

        One that was canceled a moment ago may still be leaving; it is waited for, up to half a minute.
        """
        with self._lock:
            running = self._running.get(job.key)
        if running is not None and not running.done.wait(30):
            raise RequestError(f"job {job.key} was canceled and has not ended yet: ask again in a minute")
        status = DBOS.get_workflow_status(job.key)
        for _ in range(100):  # its thread has ended, and DBOS writes that down in this moment
            if status is None or status.status != "PENDING":
                break
            self.stopping.wait(0.05)
            status = DBOS.get_workflow_status(job.key)
        if status is None:
            self.enqueue(job)
            return
        if status.status in ("ENQUEUED", "DELAYED"):
            return
        self._log_of_crashes.end(job.key)
        if status.status == "PENDING":  # it belongs to a process that is no more
            DBOS.cancel_workflow(job.key)
        DBOS.rewind_workflow(job.key, queue_name=_QUEUE)

    def resume(self, job: Job) -> None:
        """Make sure that a job which the journal holds as not ended has a run before it; called after `launch`.

        A process may have died between the journal's word and the queue's, in either order: the workflow is then
        missing, or ended while the journal waits for it again. One that is queued, running or recovered is left alone.
        """
        status = DBOS.get_workflow_status(job.key)
        if status is None:
            self.enqueue(job)
        elif status.status not in ("ENQUEUED", "DELAYED", "PENDING"):
            DBOS.rewind_workflow(job.key, queue_name=_QUEUE)

    # -- for `run` ----------------------------------------------------------------------------------------------------

    def interrupted(self, key: str) -> bool:
        """Whether a running job should raise JobCanceled now: it was canceled here, or the queue stops."""
        if self.stopping.is_set():
            return True
        with self._lock:
            running = self._running.get(key)
        return running is not None and running.interrupt.is_set()

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _log_of_crashes(self) -> CrashLog:
        if self._crashes is None:
            raise RouterError("the queue was not launched")
        return self._crashes

    def _work(self, key: str) -> str:
        """The body of the workflow: how the job ended comes back, and is all that DBOS keeps of it."""
        me = self._register(key)
        try:
            crashes = self._note(me, lambda: self._log_of_crashes.crashes(key))
            if crashes >= self._limit:
                reason = (
                    f"the process died {crashes} times while this job ran; it is not tried again by itself. "
                    "POST /ai/jobs with retry runs it again."
                )
                self._tell(key, me, Discontinuation.POISON, reason)
                self._log_of_crashes.end(key)
                return "poison"
            with self._gate.enter(alone=crashes > 0, still=lambda: self._leave_if_interrupted(me)):
                self._leave_if_interrupted(me)
                self._note(me, lambda: self._log_of_crashes.begin(key))
                try:
                    outcome = self._try(key, me)
                except _Leave:
                    if self.stopping.is_set():
                        self._log_of_crashes.pause(key)
                    else:
                        self._log_of_crashes.end(key)
                    raise
                self._log_of_crashes.end(key)
                return outcome
        finally:
            with self._lock:
                self._running.pop(key, None)
            me.done.set()

    def _register(self, key: str) -> _Running:
        me = _Running()
        while True:
            with self._lock:
                other = self._running.setdefault(key, me)
                if other is me:
                    if self.stopping.is_set():
                        me.interrupt.set()
                    return me
            while not other.done.wait(0.5):  # a canceled run of the same job that is still leaving
                self._leave_if_interrupted(me)

    def _try(self, key: str, me: _Running) -> str:
        attempt = 0
        while True:
            attempt += 1
            try:
                self._run(key)
                return "done"
            except JobCanceled:
                self._leave_if_interrupted(me)
                return "canceled"
            except RouterError as error:
                self._leave_if_interrupted(me)
                reason = f"{type(error).__name__}: {error}"
                if not error.transient or attempt >= self._patience.attempts:
                    again = f"It was tried {attempt} times; POST /ai/jobs with retry runs it again."
                    reason += f". {again if error.transient else error.advice}"
                    _log.warning("job %s failed: %s", key, reason)
                    self._tell(key, me, Discontinuation.FAILURE, reason)
                    return "failed"
                _log.info("job %s is tried again: %s", key, reason)
            except Exception as error:  # noqa: BLE001  # the outermost seam of a worker: nothing may end it
                self._leave_if_interrupted(me)
                # The kind and the place, not the text: it may quote what stands in a patient's header.
                reason = f"internal error {type(error).__name__} at {place(error)}. {RouterError.advice}"
                _log.error("job %s failed: %s", key, reason)
                self._tell(key, me, Discontinuation.FAILURE, reason)
                return "failed"
            self._wait(me, attempt)

    def _tell(self, key: str, me: _Running, why: Discontinuation, reason: str) -> None:
        """Abandon, again and again while the journal is out of reach: a job never ends without a word."""
        attempt = 0
        while True:
            attempt += 1
            try:
                self._abandon(key, why, reason)
                return
            except RouterError as error:
                if not error.transient:
                    _log.error("the end of job %s could not be recorded: %s", key, error)
                    raise _Leave from error
            self._wait(me, attempt)

    def _note(self, me: _Running, what: Callable[[], _T]) -> _T:
        """Read or write the log of crashes, again and again while the database is out of reach: a failure here would
        end the workflow and leave its job SCHEDULED without anybody to run it."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return what()
            except (SQLAlchemyError, sqlite3.Error) as error:
                _log.warning("the queue's database does not answer: %s", type(error).__name__)
            self._wait(me, attempt)

    def _wait(self, me: _Running, attempt: int) -> None:
        """The pause after a failed attempt; leaves at once where the job is canceled or the queue stops meanwhile."""
        me.interrupt.wait(self._patience.pause(attempt))
        self._leave_if_interrupted(me)

    def _leave_if_interrupted(self, me: _Running) -> None:
        if me.interrupt.is_set() or self.stopping.is_set():
            raise _Leave
