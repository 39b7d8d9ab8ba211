"""Reading priority of a study, why, and on which findings it rests."""

from collections.abc import Collection
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
class Ground:
    """One reason for a priority, and the keys of the findings of the same result that it rests on.

    One without findings cannot be rejected. Raises ValueError where it is urgent and rests on nothing.
    """

    priority: Priority
    reason: str
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.priority.rank < Priority.ROUTINE.rank and not self.findings:
            raise ValueError(f"a ground for {self.priority} names no finding: {self.reason}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A priority never stands without its reason. `reading`: the bucket a result asks for, None where it does not.

    `grounds`: what the priority rests on; without any it rests on all findings of its result together.
    """

    priority: Priority
    reason: str
    reading: Reading | None = None
    grounds: tuple[Ground, ...] = ()


def verdict_of(*grounds: Ground, reading: Reading | None = None, reason: str | None = None) -> Verdict:
    """What grounds come to: the most urgent priority among them, and every reason for it in their order.

    `reason` is said in the place of those. At least one ground is needed.
    """
    most = min((ground.priority for ground in grounds), key=lambda priority: priority.rank)
    reasons = dict.fromkeys(ground.reason for ground in grounds if ground.priority is most)
    return Verdict(most, "; ".join(reasons) if reason is None else reason, reading, grounds)


def standing(verdict: Verdict, rejected: Collection[str], findings: Collection[str]) -> Verdict:
    """What is left of a result's verdict once a reader has rejected findings of it.

    A ground falls with the last of its findings. Where none is left the study is ROUTINE, also in the place of LOW.
    What was not right is not released: Review & Release becomes a full reading. `findings`: keys of all findings of the
    result.
    """
    if not verdict.grounds and not findings:
        return verdict
    grounds = verdict.grounds or (Ground(verdict.priority, verdict.reason, tuple(findings)),)
    left = tuple(ground for ground in grounds if not _fallen(ground, rejected))
    if len(left) == len(grounds):
        return verdict
    reading = Reading.FULL if verdict.reading is Reading.REVIEW_AND_RELEASE else verdict.reading
    none = Ground(Priority.ROUTINE, f"rejected by a reader: {verdict.reason}")
    return verdict_of(*(left or (none,)), reading=reading)


def _fallen(ground: Ground, rejected: Collection[str]) -> bool:
    return bool(ground.findings) and all(key in rejected for key in ground.findings)


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
