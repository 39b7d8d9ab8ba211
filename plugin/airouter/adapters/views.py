"""Who looked at which study, on its way to the audit trail: told on the threads of requests, written by one of ours.

Images and findings are shown also where the trail cannot be written; but nothing is left out in silence. What cannot be
written now waits, and what no longer fits is counted, and the number written as soon as that can be done.
"""

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Final

from airouter.domain.audit import AuditEvent, AuditKind, Outcome
from airouter.domain.role import Person
from airouter.errors import JournalError

log = logging.getLogger("airouter.audit")

_ROOM: Final = 10_000  # views that wait, and that are remembered
_WINDOW: Final = 300.0  # s in which one user's views of one study are one
_PAUSE: Final = 1.0  # s before a database that failed is tried again


class Views:
    """The queue between the two. `window` in seconds."""

    def __init__(self, room: int = _ROOM, window: float = _WINDOW, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting: Queue[AuditEvent] = Queue(room)
        self._room = room
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[tuple[str | None, str], float] = {}  # oldest first
        self._lost = 0
        self._stopping = threading.Event()
        self.problem = ""

    def seen(self, person: Person, study_uid: str, what: str) -> None:
        """A user opened something of a study. Never waits, never fails."""
        now, key = self._clock(), (person.name, study_uid)
        with self._lock:
            if self._until.get(key, 0.0) > now:
                return
            event = AuditEvent(AuditKind.VIEW, person.name, tuple(person.roles), study_uid, detail={"opened": what})
            try:
                self._waiting.put_nowait(event)
            except Full:
                self._lost += 1
                return
            self._until.pop(key, None)
            self._until[key] = now + self._window
            if len(self._until) > self._room:  # what was seen longest ago becomes a view of its own again
                del self._until[next(iter(self._until))]

    def run(self, record: Callable[[AuditEvent], object]) -> None:
        """Write what was told until `stop`, and the rest then."""
        held: AuditEvent | None = None
        while held is not None or not (self._stopping.is_set() and self._waiting.empty()):
            if held is None:
                try:
                    held = self._waiting.get(timeout=0.2)
                except Empty:
                    self._tell_lost(record)
                    continue
            try:
                record(held)
            except JournalError as error:
                self.problem = str(error)
                if self._stopping.wait(_PAUSE):
                    break
                continue
            held, self.problem = None, ""
        self._tell_lost(record)
        left = self._waiting.qsize() + (held is not None) + self._lost
        if left:
            log.error("%d views of studies are missing in the audit trail: %s", left, self.problem)

    def stop(self) -> None:
        """Let `run` end; join its thread before the database is closed."""
        self._stopping.set()

    def _tell_lost(self, record: Callable[[AuditEvent], object]) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if not lost:
            return
        try:
            record(AuditEvent(AuditKind.VIEW, outcome=Outcome.MINOR_FAILURE, detail={"not_listed": lost}))
        except JournalError as error:
            self.problem = str(error)
            with self._lock:
                self._lost += lost
