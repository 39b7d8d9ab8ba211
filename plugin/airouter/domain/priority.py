"""Reading priority of a study and why."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """A priority never stands without its reason."""

    priority: Priority
    reason: str


def most_urgent(verdicts: list[Verdict]) -> Verdict | None:
    """The verdict that decides the study; the first of equals, None where there is none."""
    return min(verdicts, key=lambda v: v.priority.rank, default=None)
