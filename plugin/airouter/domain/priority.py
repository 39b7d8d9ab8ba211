"""Reading priority of a study and why."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Priority(StrEnum):
    """Worklist priority, most urgent first (values after HL7 and UPS practice)."""

    STAT = "STAT"
    HIGH = "HIGH"
    ROUTINE = "ROUTINE"
    LOW = "LOW"

    @property
    def rank(self) -> int:
        """1 (STAT) to 4 (LOW); lower is more urgent."""
        return list(Priority).index(self) + 1


class Reading(StrEnum):
    """Which bucket of the worklist a study is read from."""

    FULL = "Full reading"
    REVIEW_AND_RELEASE = "Review & Release"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A priority never stands without its reason. `reading`: the bucket a result asks for, None where it does not."""

    priority: Priority
    reason: str
    reading: Reading | None = None


def most_urgent(verdicts: list[Verdict]) -> Verdict | None:
    """The verdict that decides the study: the most urgent, the first of equals, None where there is none.

    Its bucket is that of all results together: Review & Release only where one asks for it, none asks for a full
    reading, and nothing is urgent.
    """
    decides = min(verdicts, key=lambda v: v.priority.rank, default=None)
    return replace(decides, reading=_reading(verdicts, decides.priority)) if decides is not None else None


def _reading(verdicts: list[Verdict], most: Priority) -> Reading | None:
    asked = {v.reading for v in verdicts} - {None}
    if asked and (Reading.FULL in asked or most.rank < Priority.ROUTINE.rank):
        return Reading.FULL
    return Reading.REVIEW_AND_RELEASE if asked else None
