"""All embeddings that the journal keeps, in memory: one index of slides and one of regions for each space."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Field
from airouter.ports import Journal, StoredEmbedding, VectorIndex

_PAGE: Final = 500
_REGIONS: Final = 1 << 16  # region n of row i has the identifier i * _REGIONS + n in the index of regions


@dataclass(frozen=True, slots=True)
class Entry:
    """One slide in one space. `when`: digits YYYYMMDDHHMMSS, as far as they are known."""

    id: int
    job: str
    study_id: str
    study_uid: str
    series_uid: str
    space: str
    model: str
    when: str
    taken: str
    fields: tuple[Field, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, row: StoredEmbedding) -> "Entry":
        made = row.embedding
        when = made.taken or re.sub(r"\D", "", row.kept)[:14]
        return cls(
            row.id, row.job, row.study_id, row.study_uid, row.series_uid, row.space, row.model, when,
            made.taken, made.fields, made.shares,
        )  # fmt: skip

    @property
    def regions(self) -> int:
        return len(self.fields)

    def before(self, other: "Entry") -> bool:
        """Whether this slide was acquired earlier; of two whose known digits are the same, was analysed earlier."""
        known = min(len(self.when), len(other.when))
        mine, theirs = self.when[:known], other.when[:known]
        return self.id < other.id if mine == theirs else mine < theirs


@dataclass(frozen=True, slots=True)
class _Space:
    """Slides by row, and regions by row and number; all of one space."""

    slides: VectorIndex
    regions: VectorIndex


class Gallery:
    """Threads may share it. `index` makes an empty index of vectors with so many values."""

    def __init__(self, journal: Journal, index: Callable[[int], VectorIndex]) -> None:
        self._journal = journal
        self._index = index
        self._spaces: dict[str, _Space] = {}
        self._entries: dict[int, Entry] = {}
        self._jobs: dict[str, int] = {}
        self._series: dict[str, list[int]] = {}  # of a series, oldest first
        self._last = 0
        self._lock = threading.RLock()

    def refresh(self) -> None:
        """Take in the rows that came since, also those of other nodes. Raises JournalError."""
        with self._lock:
            while rows := self._journal.embeddings(self._last, _PAGE):
                for row in rows:
                    self._add(row)
                    self._last = row.id

    def entry(self, job: str) -> Entry | None:
        """The slide that a job embedded, None where it is not there (any more)."""
        with self._lock:
            return self._entries.get(self._jobs.get(job, 0))

    def of_series(self, series_uid: str) -> list[Entry]:
        """All entries of a series, newest first."""
        with self._lock:
            return [self._entries[id] for id in reversed(self._series.get(series_uid, ()))]

    def studies(self) -> set[str]:
        """The archive's identifiers of all studies."""
        with self._lock:
            return {entry.study_id for entry in self._entries.values()}

    def forget(self, study_id: str) -> None:
        """Take a study out."""
        with self._lock:
            self._remove([entry for entry in self._entries.values() if entry.study_id == study_id])

    def regions(self, entry: Entry) -> NDArray[np.float32]:
        """float32 [regions, values]. Raises KeyError where the slide was taken out meanwhile."""
        return self._spaces[entry.space].regions.vectors(_region_ids(entry))

    def nearest(self, entry: Entry, region: int | None) -> Iterator[tuple[Entry, float, int | None]]:
        """Entries of the same space with their cosine similarity, most similar first; the slide's own is among them.

        `region`: by each of their regions (whose number comes with it) to that region of the slide, so that an entry
        comes as often as it has regions; None: by slides as a whole.
        """
        space = self._spaces[entry.space]
        try:
            if region is None:
                index, query = space.slides, space.slides.vectors([entry.id])[0]
            else:
                index, query = space.regions, space.regions.vectors([entry.id * _REGIONS + region])[0]
        except KeyError:  # taken out meanwhile
            return
        for id, similarity in index.ranked(query):
            row, number = (id, None) if region is None else divmod(id, _REGIONS)
            with self._lock:
                found = self._entries.get(row)
            if found is not None:
                yield found, similarity, number

    def _add(self, row: StoredEmbedding) -> None:
        """Add a row; the slide's older one in the same space, which the journal has replaced, goes."""
        entry = Entry.of(row)
        older = (self._entries[id] for id in self._series.get(entry.series_uid, ()))
        self._remove([e for e in older if (e.study_id, e.space) == (entry.study_id, entry.space)])
        space = self._spaces.get(entry.space)
        if space is None:
            values = len(row.embedding.slide)
            space = self._spaces[entry.space] = _Space(self._index(values), self._index(values))
        space.slides.add([entry.id], row.embedding.slide[None])
        if entry.regions:
            space.regions.add(_region_ids(entry), row.embedding.regions)
        self._entries[entry.id] = entry
        self._jobs[entry.job] = entry.id
        self._series.setdefault(entry.series_uid, []).append(entry.id)

    def _remove(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            space = self._spaces[entry.space]
            space.slides.remove([entry.id])
            space.regions.remove(_region_ids(entry))
            del self._entries[entry.id], self._jobs[entry.job]
            self._series[entry.series_uid].remove(entry.id)


def _region_ids(entry: Entry) -> list[int]:
    return [entry.id * _REGIONS + n for n in range(1, entry.regions + 1)]
