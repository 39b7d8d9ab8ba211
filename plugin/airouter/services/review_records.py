"""What is kept of reviews, and the store that keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from airouter.domain.audit import AuditEvent
from airouter.domain.review import Reviewed


@dataclass(frozen=True, slots=True)
class ReviewObject:
    """One object that a review made. `role`: what it is, e.g. "verified report"; `instance`: the archive's identifier,
    None until it is there; `revision` counts the requests that changed the job's objects."""

    uid: str
    series_uid: str
    sop_class: str
    study_uid: str
    job: str
    role: str
    revision: int
    by: str
    made: str
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the findings of one job stand. `basis` changes with every decision on any of them."""

    basis: int = 0
    reviewed: Mapping[str, Reviewed] = field(default_factory=dict)  # newest, by the finding's key
    objects: tuple[ReviewObject, ...] = ()  # oldest first


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request."""

    reviewed: tuple[Reviewed, ...]
    objects: tuple[ReviewObject, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """Everything one request changes, kept as a whole or not at all. `basis`: of each job, what it was made upon."""

    request: str
    by: str
    study_uid: str
    study_id: str
    basis: Mapping[str, int]
    reviewed: tuple[Reviewed, ...]
    objects: tuple[tuple[ReviewObject, bytes], ...]
    events: tuple[AuditEvent, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that the archive does not have yet, as Part 10 bytes. `id` only grows."""

    id: int
    object: ReviewObject
    content: bytes


class ReviewStore(Protocol):
    """adapters.reviews.DatabaseReviews is it. All raise JournalUnavailable, JournalError."""

    def standing(self, jobs: Sequence[str]) -> dict[str, Standing]:
        """Of each of the jobs, also where nobody decided anything."""

    def answered(self, request: str, by: str) -> Answered | None:
        """What this person's request of that identifier changed, None where there was none."""

    def history(self, study_uid: str) -> Answered:
        """Every decision on a study and every object made, oldest first."""

    def keep(self, entry: Entry) -> bool:
        """Decisions, objects, audit records and the study's priority in one transaction.

        False, and nothing is kept, where the same request was kept meanwhile or something was decided on these jobs.
        """

    def waiting(self, study_uid: str | None = None, after: int = 0) -> list[Waiting]:
        """Some of the objects that the archive does not have yet, of a higher id, oldest first."""

    def delivered(self, uid: str, instance: str) -> None:
        """The archive has it: its bytes are not kept any longer."""
