"""Refused requests on their way to the audit trail: told on HTTP threads, written by a thread of ours.

Telling never waits and never fails. What is refused many times in a row becomes one record with its number, and what
comes faster than it can be written is counted: whoever is refused must not be able to fill the disk.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Final

from airouter.domain.audit import AuditEvent, AuditKind, Outcome
from airouter.domain.role import Person
from airouter.errors import JournalError

log = logging.getLogger("airouter.web")

_ROOM: Final = 1000
_GATHER_SECONDS: Final = 1.0
_LONGEST: Final = 200  # characters of a path


@dataclass(frozen=True, slots=True)
class Refused:
    """One request that was not let through. `path` has no query, which might name a patient."""

    user: str | None
    roles: tuple[str, ...]
    method: str
    path: str
    reason: str

    @classmethod
    def of(cls, person: Person, method: str, path: str, reason: str) -> "Refused":
        shown = "".join(c if " " < c < "\x7f" else "?" for c in path[:_LONGEST])
        return cls(person.name, tuple(sorted(person.roles)), method, shown, reason)


class Refusals:
    """The queue between the two."""

    def __init__(self, room: int = _ROOM, gather_seconds: float = _GATHER_SECONDS) -> None:
        self._waiting: Queue[Refused] = Queue(room)
        self._lost = 0
        self._gather = gather_seconds
        self._stopping = threading.Event()

    def tell(self, refused: Refused) -> None:
        """Never waits; where there is no room left, only the number is kept."""
        try:
            self._waiting.put_nowait(refused)
        except Full:
            self._lost += 1

    def run(self, record: Callable[[AuditEvent], object]) -> None:
        """Write what was told until `stop`, and the rest then."""
        while not self._stopping.wait(self._gather):
            self._write(record)
        self._write(record)

    def stop(self) -> None:
        """Let `run` end; join its thread before the database is closed."""
        self._stopping.set()

    def _write(self, record: Callable[[AuditEvent], object]) -> None:
        lost, self._lost = self._lost, 0
        events = [_event(refused, count) for refused, count in self._taken().items()]
        if lost:
            events.append(AuditEvent(AuditKind.REFUSED, outcome=Outcome.MINOR_FAILURE, detail={"not listed": lost}))
        for n, event in enumerate(events):
            try:
                record(event)
            except JournalError as error:
                log.error("%d refused requests are missing in the audit trail: %s", len(events) - n, error)
                return

    def _taken(self) -> Counter[Refused]:
        taken: Counter[Refused] = Counter()
        for _ in range(self._waiting.qsize()):
            try:
                taken[self._waiting.get_nowait()] += 1
            except Empty:
                break
        return taken


def _event(refused: Refused, count: int) -> AuditEvent:
    detail = {"method": refused.method, "path": refused.path, "reason": refused.reason, "times": count}
    return AuditEvent(AuditKind.REFUSED, refused.user, refused.roles, outcome=Outcome.MINOR_FAILURE, detail=detail)
