"""What people do with a study on the worklist: claim, assign, set a priority, complete; and when they may not.

Pure rules: each gives the study's desk as it stands afterwards, or why not.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from airouter.domain.priority import Priority
from airouter.domain.reading_order import Lock
from airouter.domain.role import Person, Role


@dataclass(frozen=True, slots=True)
class Desk:
    """The human side of a study. `assigned`: whose task; `claimed_by`: who reads it now, until `claimed_until`."""

    assigned: str | None = None
    claimed_by: str | None = None
    claimed_until: datetime | None = None
    lock: Lock | None = None
    completed_by: str | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotDone:
    """`forbidden`: this person may never do so; otherwise they only cannot as the study stands."""

    reason: str
    forbidden: bool = False


_NAMELESS = NotDone("a user name is needed: the server does not ask for one", forbidden=True)


def claim(desk: Desk, person: Person, now: datetime, length: timedelta) -> Desk | NotDone:
    """Take the study to read it; whoever has it already keeps it for longer."""
    if person.name is None:
        return _NAMELESS
    if desk.completed_by is not None:
        return NotDone(f"the study was read by {desk.completed_by}")
    holder = holds(desk, now)
    if holder not in (None, person.name):
        return NotDone(f"{holder} reads the study at present")
    return replace(desk, claimed_by=person.name, claimed_until=now + length)


def holds(desk: Desk, now: datetime) -> str | None:
    """Who has the study at that time."""
    current = desk.claimed_until is not None and desk.claimed_until > now
    return desk.claimed_by if current else None


def release(desk: Desk, person: Person, now: datetime) -> Desk | NotDone:
    """Give the study back; a supervisor may take it from somebody."""
    holder = holds(desk, now)
    if holder is None:
        return replace(desk, claimed_by=None, claimed_until=None)
    if holder != person.name and not person.has(Role.SUPERVISOR):
        return NotDone(f"{holder} reads the study; a supervisor may release it", forbidden=True)
    return replace(desk, claimed_by=None, claimed_until=None)


def assign(desk: Desk, person: Person, reader: str | None) -> Desk | NotDone:
    """Make the study somebody's task, or nobody's. Readers take and give back their own, supervisors do the rest."""
    if person.name is None:
        return _NAMELESS
    own = reader in (None, person.name) and desk.assigned in (None, person.name)
    if not own and not person.has(Role.SUPERVISOR):
        return NotDone("only a supervisor assigns studies to others", forbidden=True)
    return replace(desk, assigned=reader)


def set_priority(desk: Desk, person: Person, priority: Priority | None, reason: str, now: datetime) -> Desk | NotDone:
    """Lock the priority, or release it (None). Others' studies and others' locks are for supervisors."""
    if person.name is None:
        return _NAMELESS
    others = {desk.assigned, holds(desk, now), desk.lock.by if desk.lock else None} - {None, person.name}
    if others and not person.has(Role.SUPERVISOR):
        named = " and ".join(sorted(other for other in others if other))
        return NotDone(f"the study, or its priority, is {named}'s; ask a supervisor", forbidden=True)
    if priority is None:
        return replace(desk, lock=None)
    return replace(desk, lock=Lock(priority, reason, person.name, now.isoformat(timespec="microseconds")))


def complete(desk: Desk, person: Person, now: datetime) -> Desk | NotDone:
    """Say that the study is read."""
    if person.name is None:
        return _NAMELESS
    if desk.completed_by is not None:
        return NotDone(f"the study was read by {desk.completed_by}")
    holder = holds(desk, now)
    if holder not in (None, person.name):
        return NotDone(f"{holder} reads the study at present")
    return replace(desk, claimed_by=None, claimed_until=None, completed_by=person.name, completed_at=now)


def reopen(desk: Desk, person: Person) -> Desk | NotDone:
    """Put a study that somebody has completed back on the list."""
    if desk.completed_by is None:
        return NotDone("nobody has completed the study; where all findings are decided, withdraw a decision")
    if desk.completed_by != person.name and not person.has(Role.SUPERVISOR):
        return NotDone(f"{desk.completed_by} has read the study; a supervisor may reopen it", forbidden=True)
    return replace(desk, completed_by=None, completed_at=None)
