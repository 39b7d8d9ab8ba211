"""What readers do with the worklist, each step by the rules of domain.desk and with its record in the audit trail."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airouter.domain import desk
from airouter.domain.audit import AuditKind
from airouter.domain.desk import Desk, NotDone
from airouter.domain.priority import Priority
from airouter.domain.reading import Explained, Listed, Page, Wanted
from airouter.domain.role import Person

Change = Callable[[Desk], Desk | NotDone]
Told = tuple[AuditKind, Mapping[str, Any]] | None


class Lines(Protocol):
    """The list; adapters.reading.ReadingStore is one."""

    def stamp(self) -> str: ...

    def page(self, wanted: Wanted) -> Page: ...

    def entry(self, study_uid: str) -> Listed | None: ...

    def explain(self, study_uid: str) -> Explained | None: ...

    def change(
        self, study_uid: str, person: Person, change: Change, event: Callable[[Desk, Desk], Told]
    ) -> Listed | NotDone | None: ...


class ReadingRoom:
    """The list as people use it. `readers`: names that a study may be assigned to, empty where they are not known.

    Whatever is done answers with the study afterwards, why it was not done, or None where the study is not listed.
    """

    def __init__(
        self,
        lines: Lines,
        *,
        claim_minutes: float = 30.0,
        readers: tuple[str, ...] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lines = lines
        self._length = timedelta(minutes=claim_minutes)
        self.readers = readers
        self._now = now

    @property
    def claim_minutes(self) -> float:
        return self._length.total_seconds() / 60.0

    def stamp(self) -> str:
        """A text that changes whenever the list may look otherwise."""
        return self._lines.stamp()

    def page(self, wanted: Wanted) -> Page:
        return self._lines.page(wanted)

    def entry(self, study_uid: str) -> Listed | None:
        return self._lines.entry(study_uid)

    def explain(self, study_uid: str) -> Explained | None:
        return self._lines.explain(study_uid)

    def claim(self, study: str, person: Person) -> Listed | NotDone | None:
        """Take a study to read it, or keep it for longer; of two readers at once one has it."""
        now = self._now()

        def told(before: Desk, after: Desk) -> Told:
            if desk.holds(before, now) == after.claimed_by:
                return None  # kept for longer: nobody else need know
            return AuditKind.ASSIGNMENT, {"action": "claim", "reader": after.claimed_by}

        return self._lines.change(study, person, lambda d: desk.claim(d, person, now, self._length), told)

    def release(self, study: str, person: Person) -> Listed | NotDone | None:
        now = self._now()

        def told(before: Desk, after: Desk) -> Told:
            if before.claimed_by is None:
                return None
            return AuditKind.ASSIGNMENT, {"action": "release", "reader": before.claimed_by}

        return self._lines.change(study, person, lambda d: desk.release(d, person, now), told)

    def assign(self, study: str, person: Person, reader: str | None) -> Listed | NotDone | None:
        if reader is not None and self.readers and reader not in self.readers:
            return NotDone(f"no reader is called {reader}")

        def told(before: Desk, after: Desk) -> Told:
            if before.assigned == after.assigned:
                return None
            return AuditKind.ASSIGNMENT, {"action": "assign", "reader": after.assigned, "before": before.assigned}

        return self._lines.change(study, person, lambda d: desk.assign(d, person, reader), told)

    def set_priority(
        self, study: str, person: Person, priority: Priority | None, reason: str
    ) -> Listed | NotDone | None:
        now = self._now()

        def told(before: Desk, after: Desk) -> Told:
            if before.lock == after.lock:
                return None
            return AuditKind.PRIORITY, {
                "priority": after.lock.priority.value if after.lock else None,
                "before": before.lock.priority.value if before.lock else None,
                "reason": reason,
            }

        return self._lines.change(study, person, lambda d: desk.set_priority(d, person, priority, reason, now), told)

    def complete(self, study: str, person: Person) -> Listed | NotDone | None:
        now = self._now()
        return self._lines.change(
            study, person, lambda d: desk.complete(d, person, now), lambda *_: (AuditKind.READ, {"action": "complete"})
        )

    def reopen(self, study: str, person: Person) -> Listed | NotDone | None:
        return self._lines.change(
            study, person, lambda d: desk.reopen(d, person), lambda *_: (AuditKind.READ, {"action": "reopen"})
        )
