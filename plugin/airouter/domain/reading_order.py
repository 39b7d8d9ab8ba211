"""In which order studies are read: by the time when each is due, so that none waits for ever.

A study is due when it has waited the allowance of its priority since it arrived. A more urgent one has a shorter
allowance and so comes sooner; but whatever waits overtakes, in the end, everything that arrives later: only studies
that arrived before its due time can ever stand before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from airouter.domain.priority import Priority

# A result that may be an emergency at once, one that changes today's treatment within half a working day, the rest
# within a day, what is probably normal within three.
ALLOWANCE_MINUTES: Final[Mapping[Priority, float]] = {
    Priority.STAT: 0,
    Priority.HIGH: 240,
    Priority.ROUTINE: 1440,
    Priority.LOW: 4320,
}


@dataclass(frozen=True, slots=True)
class Allowances:
    """How long a study of each priority may wait, in minutes.

    Raises ValueError unless each priority has a finite one, of 0 or more, and a more urgent one never a longer one.
    """

    minutes: Mapping[Priority, float] = field(default_factory=lambda: dict(ALLOWANCE_MINUTES))

    def __post_init__(self) -> None:
        given = [self.minutes.get(priority, -1) for priority in Priority]
        if not all(0 <= one < float("inf") for one in given):
            raise ValueError(f"each of {', '.join(Priority)} needs minutes of 0 or more")
        if given != sorted(given):
            raise ValueError("a more urgent priority must not have a longer allowance than a less urgent one")

    def due(self, arrived: datetime, priority: Priority) -> datetime:
        return arrived + timedelta(minutes=self.minutes[priority])


@dataclass(frozen=True, slots=True)
class Lock:
    """A priority that a person has set: it counts instead of the machine's until somebody releases it."""

    priority: Priority
    reason: str
    by: str
    at: str  # ISO 8601, UTC


def counted(machine: Priority, lock: Lock | None) -> Priority:
    """The priority that counts."""
    return lock.priority if lock is not None else machine


@dataclass(frozen=True, slots=True)
class Place:
    """What orders a study; of two the one with the smaller `key` is read first."""

    study_uid: str
    priority: Priority  # the one that counts
    arrived: datetime
    due: datetime

    @property
    def key(self) -> tuple[datetime, datetime, str]:
        """No two studies have the same one: the UID decides between those that are alike in all else."""
        return (self.due, self.arrived, self.study_uid)


def place(study_uid: str, arrived: datetime, priority: Priority, allowances: Allowances) -> Place:
    """The place of a study whose counted priority is given."""
    return Place(study_uid, priority, arrived, allowances.due(arrived, priority))


def why_before(first: Place, second: Place) -> str:
    """Why the first of two stands before the second, in words."""
    if first.due == second.due:
        return (
            "due at the same time and arrived earlier"
            if first.arrived < second.arrived
            else "due and arrived at the same time"
        )
    gap = f"due {spoken(second.due - first.due)} earlier"
    if first.priority is second.priority:
        return f"{gap}: both {first.priority}, and it arrived earlier"
    if first.priority.rank < second.priority.rank:
        return f"{gap}: {first.priority} is more urgent than {second.priority}"
    return f"{gap}: {first.priority}, but it has waited {spoken(second.arrived - first.arrived)} longer"


def spoken(time: timedelta) -> str:
    """A length of time in its two largest units, e.g. 1 d 3 h; less than a minute in seconds."""
    seconds = max(0, round(time.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"
