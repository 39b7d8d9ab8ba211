"""Slides that are not fit for reading, and which later scan of the same glass settles them: the technician's list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class RescanState(StrEnum):
    """How a judged slide stands."""

    OPEN = "open"  # unfit: on the technician's list
    RESCANNED = "rescanned"  # unfit, and a later scan of the same container is fit
    DISMISSED = "dismissed"  # unfit, and a person wants it read as it is
    FIT = "fit"  # never on the list, or no longer: the last analysis found it fit


@dataclass(frozen=True, slots=True)
class Fitness:
    """Whether a slide can be read, and why not.

    `usable_percent`: share of the tissue that can be read, None where no tissue is seen. `container`: the slide's
    Container Identifier (barcode), None where it has none. `scanned`: when, ISO 8601, None where not said.
    """

    fit: bool
    reason: str
    usable_percent: float | None
    container: str | None = None
    scanned: str | None = None


@dataclass(frozen=True, slots=True)
class RescanEntry:
    """One slide that was judged, known by its series. Times are ISO 8601 UTC.

    `opened`: when it was judged first. `closed`, `by`, `note`: when it left the list, by whom (None: by itself), why.
    """

    series_uid: str
    study_uid: str
    study_id: str
    fitness: Fitness
    state: RescanState
    opened: str
    closed: str | None = None
    by: str | None = None
    note: str | None = None

    @property
    def rank(self) -> float:
        """Place on the technician's list, lowest first: the usable share, below all of them where no tissue is seen."""
        usable = self.fitness.usable_percent
        return -1.0 if usable is None else usable


def judge(standing: Sequence[RescanEntry], judged: RescanEntry) -> tuple[RescanEntry, ...]:
    """What is to be written once a slide has been judged: its own entry, and those of the study that it settles.

    `standing`: the study's entries in the order in which they were opened; `judged`: the slide as a new entry, its
    state as the judgement alone has it. A slide that was judged before keeps its place and a person's word; the same
    judgement again changes nothing.
    """
    before = next((entry for entry in standing if entry.series_uid == judged.series_uid), None)
    others = [entry for entry in standing if entry.series_uid != judged.series_uid]
    mine = judged
    if before is not None:
        kept = before.state is RescanState.DISMISSED
        kept = kept or (before.state is RescanState.RESCANNED and not judged.fitness.fit)
        mine = replace(before, fitness=judged.fitness) if kept else replace(judged, opened=before.opened)
    if mine.state is RescanState.OPEN:
        settling = next((o for o in others if o.fitness.fit and _settles(o.fitness, mine.fitness, later=False)), None)
        if settling is not None:
            mine = _rescanned(mine, settling.series_uid, judged.opened)
    settled = [
        _rescanned(other, mine.series_uid, judged.opened)
        for other in others
        if mine.fitness.fit and other.state is RescanState.OPEN and _settles(mine.fitness, other.fitness, later=True)
    ]
    return tuple(entry for entry in (mine, *settled) if entry not in standing)


def dismissed(entry: RescanEntry, reason: str, by: str | None, when: str) -> RescanEntry | None:
    """The entry after a person took it off the list, None where it is not on it."""
    if entry.state is not RescanState.OPEN:
        return None
    return replace(entry, state=RescanState.DISMISSED, closed=when, by=by, note=reason)


def _rescanned(entry: RescanEntry, series_uid: str, when: str) -> RescanEntry:
    return replace(entry, state=RescanState.RESCANNED, closed=when, by=None, note=f"fit in series {series_uid}")


def _settles(fit: Fitness, unfit: Fitness, *, later: bool) -> bool:
    """Whether a fit scan is one of the same glass and later than an unfit one.

    `later`: whether it was judged later, which decides where the times of the scans are missing, equal, or cannot be
    compared.
    """
    if fit.container is None or fit.container != unfit.container:
        return False
    times = [datetime.fromisoformat(each.scanned) if each.scanned else None for each in (fit, unfit)]
    mine, other = times
    if mine is None or other is None or (mine.tzinfo is None) != (other.tzinfo is None) or mine == other:
        return later
    return mine > other
