"""Passing the audit trail on, record by record and in order, to a place outside the database.

How far an export has come stands in the database and moves on only once the place has taken the records. After a crash
or a broken connection some come twice, which their numbers tell; none is left out.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from airouter.adapters.audit import AuditTrail
from airouter.domain.audit import AuditRecord, Head
from airouter.errors import JournalError

log = logging.getLogger("airouter.audit")

_BATCH: Final = 200
_IDLE: Final = 1.0  # s between two looks for new records
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # s before a place that failed is tried again


class ExportFailed(Exception):
    """The place does not take records now; the text says why and names nothing of theirs."""


class Target(Protocol):
    """A place outside the database. Every method raises ExportFailed; after that it is used anew from the start."""

    name: str

    def send(self, records: Sequence[AuditRecord], head: Head | None) -> None:
        """Take records in this order, and the head after them."""

    def confirmed(self) -> int:
        """Number of the last record that is known to have arrived, 0 if none was sent since the last failure."""

    def finish(self) -> int:
        """Close, and say the number of the last record that has arrived by then."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an export stands: how many records it has not passed on, and why not (empty: it is at work)."""

    name: str
    behind: int
    problem: str


class Exporter:
    """One export on a thread of its own. `target.name` and `node` together name it in the database."""

    def __init__(
        self,
        trail: AuditTrail,
        target: Target,
        node: str,
        *,
        head_records: int = 1000,
        head_seconds: float = 60.0,
        idle: float = _IDLE,
        first_pause: float = _FIRST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trail = trail
        self._target = target
        self._key = f"{target.name} of {node}"[:200]
        self._head_records = head_records
        self._head_seconds = head_seconds
        self._idle = idle
        self._first_pause = first_pause
        self._clock = clock
        self._stopping = threading.Event()
        self._sent: int | None = None  # None: to be read from the database
        self._kept = self._kept_before = 0  # confirmed by now, and at the last failure
        self._last: AuditRecord | None = None  # sent, and after the last head
        self._since_head = 0
        self._head_due = clock()
        self._problem = ""

    def run(self) -> None:
        """Export until `stop`, then what is left if the place takes it."""
        pause = self._first_pause
        while not self._stopping.is_set():
            try:
                more = self.step()
            except (ExportFailed, JournalError) as error:
                self._failed(error)
                self._stopping.wait(pause * random.uniform(0.5, 1.0))
                pause = min(_LONGEST_PAUSE, pause * 2)
                continue
            # A receiver may take a connection and bytes, and only then say that it does not want them.
            if self._kept == self._sent or self._kept > self._kept_before:
                pause = self._first_pause
                self._recovered()
            if not more:
                self._stopping.wait(self._idle)
        self._finish()

    def stop(self) -> None:
        """Let `run` end; join its thread before the database is closed."""
        self._stopping.set()

    def standing(self) -> Standing:
        """For the operator. Raises JournalError."""
        return Standing(self._target.name, self._trail.head().seq - self._trail.exported(self._key), self._problem)

    def step(self) -> bool:
        """Pass on the next records; False where there are no more for now. Raises ExportFailed, JournalError."""
        if self._sent is None:
            self._sent = self._kept = self._kept_before = self._trail.exported(self._key)
        records = self._trail.read(self._sent, _BATCH)
        head = self._head(records)
        if records or head is not None:
            self._target.send(records, head)
            self._sent = records[-1].seq if records else self._sent
            if head is None:
                self._since_head += len(records)
            else:
                self._last, self._since_head = None, 0
                self._head_due = self._clock() + self._head_seconds
        self._keep(self._target.confirmed())
        return len(records) == _BATCH

    def _head(self, records: Sequence[AuditRecord]) -> Head | None:
        if records:
            self._last = records[-1]
        if self._last is None:
            return None
        due = self._since_head + len(records) >= self._head_records or self._clock() >= self._head_due
        return self._trail.sign(self._last) if due else None

    def _keep(self, confirmed: int) -> None:
        if confirmed > self._kept:
            self._trail.advance(self._key, confirmed)
            self._kept = confirmed

    def _failed(self, error: Exception) -> None:
        self._sent = None
        self._kept_before = self._kept
        self._head_due = self._clock()  # what was sent last may not have come through, and the head with it
        if str(error) != self._problem:
            self._problem = str(error)
            log.warning("the audit trail is not passed on to %s: %s", self._target.name, error)

    def _recovered(self) -> None:
        if self._problem:
            self._problem = ""
            log.warning("the audit trail is passed on to %s again", self._target.name)

    def _finish(self) -> None:
        try:
            if not self._problem:
                while self.step():
                    pass
            self._keep(self._target.finish())
        except (ExportFailed, JournalError) as error:
            self._failed(error)
