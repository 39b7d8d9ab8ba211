"""What routing decided about one image set, hit or not, and why."""

from dataclasses import dataclass
from enum import StrEnum

from airouter.domain.study import Modality


class Outcome(StrEnum):
    """How routing ended for one image set and one route."""

    SELECTED = "selected"  # a job was made
    SKIPPED = "skipped"  # this route does not apply
    WAITING = "waiting"  # the image set is not complete yet
    UNGRADABLE = "ungradable"  # a job ran and found the images unfit


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of a route on one header: what was asked, what stands there, whether it matched."""

    path: str
    expected: str
    found: str
    matched: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Kept for every image set and route. `revision` is the digest of the route's text when it was decided."""

    study_uid: str
    series_uid: str
    modality: Modality | None
    sources: tuple[str, ...]  # SOP Instance UIDs
    route: str
    revision: str
    outcome: Outcome
    reason: str
    job: str | None = None  # job key
    clauses: tuple[Clause, ...] = ()
