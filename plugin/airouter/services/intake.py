"""Intake: nothing that the archive holds is ever missed.

Orthanc's callbacks and its "stable" events live in RAM and die with the process; they only wake us. The truth is the
archive's change log, read from a cursor in our database, and a periodic sweep over all studies, which finds what a
cleared log would hide. The cursor never passes a change whose study is not settled, so that a crash loses nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airouter.domain.completeness import SETTLING_TIME
from airouter.domain.job import JobState
from airouter.errors import NotInArchive, RouterError, place
from airouter.ports import Archive, JobQueue, Journal, StudyStamp
from airouter.services.routing import Router

log = logging.getLogger(__name__)
_AFTER_A_DEFECT = 10.0  # s
_POLL = 1.0  # s between two looks at the change log where nothing wakes us
_POLL_PENDING = 0.25  # s, while a study waits for its quiet time
_GATHER = 0.1  # s: the instances of one burst are looked at together, not one by one while more arrive
# In one turn at most so many changes and studies of a sweep: on a large archive new arrivals do not wait for the old.
_CHANGES_A_TURN = 1000
_SWEPT_A_TURN = 1000
_FOUND_A_TURN = 50  # of them, those that are not settled
# s until a study that could not be read is tried again: doubled each time, and the others go on meanwhile.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0


@dataclass(slots=True)
class _Pending:
    """A study that changed and is not settled: its first unhandled change, and when it was first and last touched."""

    seq: int
    first: float
    last: float
    judged: tuple[float, bool, bool, bool] | None = None  # `last`, settled, quiet and final when it was routed last
    failures: int = 0
    not_before: float = 0.0  # after a failure


class Intake:
    """Turns changes into jobs. `run` is the loop of one thread; `step` is one turn of it, for tests and tools."""

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        queue: JobQueue,
        router: Router,
        *,
        quiet_time: float,
        deadline: float,
        sweep_interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._queue = queue
        self._router = router
        self._quiet_time = quiet_time
        self._deadline = deadline
        self._sweep_interval = sweep_interval
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._seen = journal.cursor()
        self._next_sweep = clock()
        self._sweep: Iterator[StudyStamp] | None = None  # where the sweep under way stands
        self._wake = threading.Event()
        self._stop = threading.Event()

    def wake(self) -> None:
        """Something was stored. Safe from any thread and cheap: it sets a flag."""
        self._wake.set()

    def lag_seconds(self) -> float:
        """Age of the oldest change that is not settled yet, 0 where there is none. Safe from any thread."""
        return max((self._clock() - p.first for p in list(self._pending.values())), default=0.0)

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stop.set()
        self._wake.set()

    def reconcile(self) -> None:
        """Put every job that never ended back into the queue: a crash may lie between our table and the queue."""
        for state in (JobState.SCHEDULED, JobState.IN_PROGRESS):
            for record in self._journal.jobs(state=state, limit=1_000_000):
                if self._stop.is_set():
                    return
                self._queue.resume(record.job)

    def run(self) -> None:
        """Reconcile, then loop until `stop`: what does not answer is waited for, what else fails is tried again."""
        reconciled = False
        while not self._stop.is_set():
            self._wake.clear()
            try:
                if not reconciled:
                    self.reconcile()
                    reconciled = True
                delay = self.step()
            except RouterError as error:
                log.warning("intake: %s; trying again", error)
                delay = 1.0
            except Exception as error:  # noqa: BLE001 - outermost seam: without it nothing would arrive any more
                # The kind and the place, not the text: it may quote what stands in a patient's header.
                log.error("intake: internal error %s at %s; trying again", type(error).__name__, place(error))
                delay = _AFTER_A_DEFECT
            if self._wake.wait(delay):
                self._stop.wait(_GATHER)

    def step(self) -> float:
        """Read new changes, sweep if due, settle what is ready; seconds until the next turn is needed.

        Raises what kept a study from being read; it is tried again later, and the next turn goes on with the others.
        """
        more = self._read_changes()
        now = self._clock()
        if self._sweep is None and now >= self._next_sweep:
            self._sweep = self._archive.studies()
        if self._sweep is not None:
            more = self._sweep_on(self._sweep, now) or more
        for study_id, pending in list(self._pending.items()):
            if self._stop.is_set():
                break
            if now >= pending.not_before and self._consider_safely(study_id, pending, now):
                del self._pending[study_id]
        self._advance()
        if more:
            return 0.0
        return _POLL_PENDING if self._pending else _POLL

    def _read_changes(self) -> bool:
        """Note what changed; whether there is more to read."""
        now = self._clock()
        for count, change in enumerate(self._archive.changes(self._seen), 1):
            self._touch(change.study, change.seq, now)
            self._seen = change.seq
            if count >= _CHANGES_A_TURN or self._stop.is_set():
                return True
        return False

    def _touch(self, study_id: str, seq: int, now: float) -> None:
        pending = self._pending.get(study_id)
        if pending is None:
            self._pending[study_id] = _Pending(seq, now, now)
        else:
            pending.last = now

    def _sweep_on(self, sweep: Iterator[StudyStamp], now: float) -> bool:
        """Compare some further studies with what is settled; whether there are more."""
        self._sweep = None  # where it fails, a new one begins
        found = 0
        for count, study in enumerate(sweep, 1):
            # What is pending already is not touched: that would put off its quiet time at every sweep.
            if study.id not in self._pending and self._journal.settled(study.id) != study.stamp:
                self._touch(study.id, self._seen + 1, now)
                found += 1
            if count >= _SWEPT_A_TURN or found >= _FOUND_A_TURN or self._stop.is_set():
                self._sweep = sweep
                return True
        self._next_sweep = now + self._sweep_interval
        return False

    def _consider_safely(self, study_id: str, pending: _Pending, now: float) -> bool:
        try:
            return self._consider(study_id, pending, now)
        except Exception:
            pending.not_before = now + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(pending.failures, 16))
            pending.failures += 1
            raise

    def _consider(self, study_id: str, pending: _Pending, now: float) -> bool:
        """Route one study; True when nothing more has to be done for it until it changes again."""
        settled = now - pending.last >= SETTLING_TIME
        quiet = now - pending.last >= self._quiet_time
        final = quiet and now - pending.first >= self._deadline
        situation = (pending.last, settled, quiet, final)
        if pending.judged == situation:
            return False
        try:
            uid = self._archive.study(study_id).uid
            # The stamp is read before the content that is judged: what arrives in between changes it again.
            stamp = next((s.stamp for s in self._archive.studies(uid) if s.id == study_id), None)
            study = self._archive.study(study_id)
        except NotInArchive:
            return True
        ours = self._journal.ours([i.uid for i in study.instances])
        routed = self._router.route(study, ours=ours, quiet=quiet, settled=settled, final=final)
        self._journal.decide(routed.decisions)
        for job in routed.jobs:
            if self._journal.add(job):
                log.info("job %s: %s with %s", job.key[:12], job.pipeline, job.model)
            self._queue.enqueue(job)
        if routed.waiting:
            pending.judged = situation
            return False
        if stamp is not None:
            self._journal.settle(study_id, stamp)
        return True

    def _advance(self) -> None:
        unsettled = min((p.seq for p in self._pending.values()), default=self._seen + 1)
        self._journal.advance(min(unsettled - 1, self._seen))
