"""Bringing the objects of reviews into the archive: at once, and again until it has them, also after a crash.

They lie finished in the database from the transaction of the decision on, under UIDs of their own, so that storing them
again changes nothing. The study's priority is marked before their bytes are let go: what is waiting is both.
"""

import io
import logging
import threading
from collections.abc import Sequence

import pydicom

from airouter.domain.job import Job
from airouter.errors import NotInArchive, RouterError, place
from airouter.ports import Archive, Journal
from airouter.services.review_records import ReviewStore, Waiting
from airouter.services.worklist import publish

log = logging.getLogger(__name__)
_FIRST_PAUSE = 5.0  # s, doubled with every failure up to the sweep's interval


class Delivery:
    """`now` for the request that made them; `run` is the loop of one thread, `sweep` one turn of it."""

    def __init__(self, archive: Archive, journal: Journal, store: ReviewStore, *, interval: float) -> None:
        self._archive = archive
        self._journal = journal
        self._store = store
        self._interval = interval
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def now(self, study_uid: str) -> None:
        """Deliver what waits for a study; what fails is tried again by the loop."""
        try:
            self._deliver(self._store.waiting(study_uid))
        except RouterError as error:
            log.warning("objects of a review wait: %s", error)
            self._wake.set()

    def sweep(self) -> None:
        """Deliver all that waits. Raises the last failure, once everything was tried."""
        failure: RouterError | None = None
        after = 0
        while waiting := self._store.waiting(after=after):
            after = waiting[-1].id  # what stays, as of a study that was deleted, does not stand in the way
            for study_uid in dict.fromkeys(each.object.study_uid for each in waiting):
                if self._stopping.is_set():
                    return
                try:
                    self._deliver([each for each in waiting if each.object.study_uid == study_uid])
                except RouterError as error:
                    failure = error
        if failure is not None:
            raise failure

    def run(self) -> None:
        """Sweep at once, then whenever the interval is over or something failed, until `stop`."""
        failures = 0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.sweep()
                failures = 0
            except RouterError as error:
                failures += 1
                log.warning("objects of a review wait: %s", error)
            except Exception as error:  # noqa: BLE001 - outermost seam: without it nothing would be delivered any more
                failures += 1
                log.error("delivery: internal error %s at %s", type(error).__name__, place(error))
            pause = min(self._interval, _FIRST_PAUSE * 2.0 ** min(failures - 1, 16)) if failures else self._interval
            if failures:
                self._stopping.wait(pause)
            else:
                self._wake.wait(pause)

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stopping.set()
        self._wake.set()

    def _deliver(self, waiting: Sequence[Waiting]) -> None:
        stored: list[tuple[str, str]] = []
        studies: dict[str, str] = {}  # identifier by UID
        for each in waiting:
            record = self._journal.job(each.object.job)
            if record is None:
                continue
            instance = self._store_one(record.job, each)
            if instance is not None:
                stored.append((each.object.uid, instance))
                studies[each.object.study_uid] = record.job.study_id
        for study_uid, study_id in studies.items():
            publish(self._archive, self._journal, study_uid, study_id)
        for uid, instance in stored:
            self._store.delivered(uid, instance)

    def _store_one(self, job: Job, waiting: Waiting) -> str | None:
        """Identifier in the archive; None where the study was deleted, which must not come back as a ghost: looked at
        before, and again after."""
        if not self._there(job):
            return None
        instance = self._archive.store(pydicom.dcmread(io.BytesIO(waiting.content)))
        if self._there(job):
            return instance
        self._archive.remove(instance)
        return None

    def _there(self, job: Job) -> bool:
        try:
            found = {i.uid for i in self._archive.study(job.study_id).instances}
        except NotInArchive:
            return False
        return any(source.uid in found for source in job.sources if not source.prior_study_id)
