"""Intake: nothing that the archive holds is ever missed.

Orthanc's callbacks and its "stable" events live in RAM and die with the process; they only wake us. The truth is the
archive's change log, read from a cursor in our database, and a periodic sweep over all studies, which finds what a
cleared log would hide. The cursor never passes a change whose study is not settled, so that a crash loses nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from airouter.domain.completeness import SETTLING_TIME
from airouter.domain.job import JobState
from airouter.domain.study import Study
from airouter.errors import NotInArchive, RouterError, place
from airouter.pipelines.parallel import yield_to_archive
from airouter.ports import Archive, JobQueue, Journal, StudyStamp
from airouter.services.priors import priors_of
from airouter.services.routing import Router

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_AFTER_A_DEFECT = 10.0  # s
_POLL = 1.0  # s between two looks at the change log where nothing wakes us
_POLL_PENDING = 0.25  # s, while a study waits for its quiet time
# s. The instances of one burst are looked at together once it pauses, not one by one while more arrive: what the intake
# asks Orthanc for, and what it writes, would slow down the very transfer. A burst that does not end is looked at all
# the same, at this distance.
_PAUSE, _LONGEST_BURST = 0.2, 2.0
# A look at a study reads the list of all that it holds, so that looking with every turn of a transfer would cost the
# square of its length. While instances keep arriving the second look is free and the pause before each further one is
# doubled from the shorter to the longer; and looks take at most this share of the time, however large the study is.
_SHORT_PAUSE, _LONG_PAUSE = 0.25, 4.0
_SHARE = 0.1
_REMEMBERED = 10_000  # jobs known to be in the queue, and studies that were looked at
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
    arrived: bool = True  # something came; False: it is looked at again because a prior of its images came


@dataclass(slots=True)
class _Pace:
    """How often a study that is still arriving is looked at; it outlives its `_Pending`, which a look may settle."""

    uid: str
    next_look: float = 0.0
    pause: float = 0.0
    touched: float = 0.0  # the latest arrival that a look has seen
    images: frozenset[tuple[str, str]] | None = None  # UIDs and checksums, when later studies were told of them last


class Intake:
    """Turns changes into jobs. `run` is the loop of one thread; `step` is one turn of it, for tests and tools.

    `rests` is told the identifier of a study for which nothing more has to be done, `seen` each study that is looked
    at, with the UIDs of what we wrote, and `swept` after each sweep the identifiers of all studies that are there.
    """

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
        rests: Callable[[str], None] = lambda study_id: None,
        seen: Callable[[Study, Collection[str]], None] = lambda study, ours: None,
        swept: Callable[[Collection[str]], None] = lambda there: None,
    ) -> None:
        self._rests = rests
        self._tell_seen = seen
        self._tell_swept = swept
        self._there: set[str] = set()  # studies that the sweep under way has met
        self._archive = archive
        self._journal = journal
        self._queue = queue
        self._router = router
        self._quiet_time = quiet_time
        self._deadline = deadline
        self._sweep_interval = sweep_interval
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._paces: dict[str, _Pace] = {}
        self._later: dict[str, None] = {}  # studies to look at again: a prior of theirs has come
        self._queued: dict[str, None] = {}  # keys in the order in which they were put into the queue by this process
        self._seen = journal.cursor()
        self._reached = self._seen  # what the journal's cursor is known to be
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
        yield_to_archive()
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
                self._gather()

    def _gather(self) -> None:
        """Wait until a burst pauses, or has gone on for long."""
        end = time.monotonic() + _LONGEST_BURST
        while not self._stop.is_set():
            self._wake.clear()
            if not self._wake.wait(min(_PAUSE, max(0.0, end - time.monotonic()))):
                return

    def step(self) -> float:
        """Read new changes, sweep if due, settle what is ready; seconds until the next turn is needed.

        Raises what kept a study from being read; it is tried again later, and the next turn goes on with the others.
        """
        more = self._read_changes()
        now = self._clock()
        if self._sweep is None and now >= self._next_sweep:
            self._sweep = self._archive.studies()
            self._there = set()
        if self._sweep is not None:
            more = self._sweep_on(self._sweep, now) or more
        for study_id, pending in list(self._pending.items()):
            if self._stop.is_set():
                break
            if not self._may_look(study_id, pending, now):
                continue
            if self._consider_safely(study_id, pending, now):
                del self._pending[study_id]
        for later in self._later:
            if later not in self._pending:
                self._pending[later] = _Pending(self._seen + 1, now, now, arrived=False)
        self._later.clear()
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
            pending.last, pending.arrived = now, True

    def _sweep_on(self, sweep: Iterator[StudyStamp], now: float) -> bool:
        """Compare some further studies with what is settled; whether there are more."""
        self._sweep = None  # where it fails, a new one begins
        found = 0
        for count, study in enumerate(sweep, 1):
            self._there.add(study.id)
            # What is pending already is not touched: that would put off its quiet time at every sweep.
            if study.id not in self._pending and self._journal.settled(study.id) != study.stamp:
                self._touch(study.id, self._seen + 1, now)
                found += 1
            if count >= _SWEPT_A_TURN or found >= _FOUND_A_TURN or self._stop.is_set():
                self._sweep = sweep
                return True
        self._next_sweep = now + self._sweep_interval
        self._tell_swept(self._there)
        return False

    def _may_look(self, study_id: str, pending: _Pending, now: float) -> bool:
        """Not so soon after a failure or, while it keeps arriving, after the last look; at once where it rests."""
        if now < pending.not_before:
            return False
        pace = self._paces.get(study_id)
        return pace is None or now >= pace.next_look or now - pending.last >= SETTLING_TIME

    def _looked(self, study_id: str, uid: str, pending: _Pending, now: float) -> None:
        pace = self._paces.pop(study_id, None) or _Pace(uid)
        _forget_oldest(self._paces)
        self._paces[study_id] = pace
        if pending.last != pace.touched:  # it goes on arriving, or begins to again
            rested = pending.last - pace.touched >= max(SETTLING_TIME, 2 * pace.pause)
            pace.pause = 0.0 if rested else min(_LONG_PAUSE, max(_SHORT_PAUSE, 2 * pace.pause))
            pace.touched = pending.last
        ended = self._clock()
        pace.next_look = ended + max(pace.pause, (ended - now) / _SHARE)

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
        began = self._clock()
        try:
            known = self._paces.get(study_id)
            uid = known.uid if known else self._archive.study(study_id).uid
            # The stamp is read before the content that is judged: what arrives in between changes it again.
            stamp = next((s.stamp for s in self._archive.studies(uid) if s.id == study_id), None)
            study = self._archive.study(study_id)
        except NotInArchive:
            self._paces.pop(study_id, None)
            return True
        ours = self._journal.ours([i.uid for i in study.instances])
        priors = partial(priors_of, self._archive, self._journal, study)
        routed = self._router.route(study, ours=ours, quiet=quiet, settled=settled, final=final, priors=priors)
        self._journal.decide(routed.decisions)
        self._tell_seen(study, ours)
        for job in routed.jobs:
            if self._journal.add(job):
                log.info("job %s: %s with %s", job.key[:12], job.pipeline, job.model)
            if job.key not in self._queued:  # again and again it would be without effect, but not without cost
                self._queue.enqueue(job)
                _forget_oldest(self._queued)
                self._queued[job.key] = None
        self._looked(study_id, uid, pending, began)
        if routed.waiting:
            pending.judged = situation
            return False
        pace = self._paces[study_id]
        images = frozenset((i.uid, i.digest) for i in study.instances if i.modality is not None and i.uid not in ours)
        if pending.arrived and pace.images != images:  # not for our own results, which arrive as well
            for later in routed.later:  # what came is a prior of theirs: unsettled first, so that a crash loses nothing
                self._journal.settle(later, "")
                self._later.setdefault(later, None)
            pace.images = images
        self._rests(study_id)
        if stamp is not None:
            self._journal.settle(study_id, stamp)
        return True

    def _advance(self) -> None:
        unsettled = min((p.seq for p in self._pending.values()), default=self._seen + 1)
        reached = min(unsettled - 1, self._seen)
        if reached != self._reached:
            self._journal.advance(reached)
            self._reached = reached


def _forget_oldest(known: dict[str, _T]) -> None:
    """Make room for one more."""
    while len(known) >= _REMEMBERED:
        del known[next(iter(known))]
