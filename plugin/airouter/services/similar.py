"""Earlier cases that look like a slide, as far as the asking user may see them.

The vectors come from the journal, row by row as jobs on any node keep them, and are compared in memory. Whether a user
may see a case is asked of the archive for each candidate in the order of similarity, so that what they may not see
neither takes a place in the answer nor shows in any number.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Ungradable
from airouter.domain.job import JobState
from airouter.domain.study import Modality
from airouter.errors import NotInArchive, RequestError
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from airouter.imaging.thumbnail import jpeg_of_field, jpeg_of_slide
from airouter.pipelines.slide_embedding import PIPELINE
from airouter.ports import Archive, Journal, SeenStudy, Sight, VectorIndex
from airouter.services.gallery import Entry, Gallery

log = logging.getLogger(__name__)

_MOST_ASKED: Final = 2000  # studies that the archive is asked about for one answer


@dataclass(frozen=True, slots=True)
class Pair:
    """A region of the slide (`own`) and the one of the case that looks most like it, both counted from 1."""

    own: int
    other: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Case:
    """An earlier case by its most similar slide. `region`: the one that was compared, None for the whole slide."""

    entry: Entry
    similarity: float
    region: int | None
    same_patient: bool
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Similar:
    """The slide that was asked about, and earlier cases, the most similar first."""

    entry: Entry
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class NotSearchable:
    """The slide is there and cannot be searched with; `reason` begins with "not analysed"."""

    reason: str


class SimilarCases:
    """Searches of users. `index` makes an empty index of vectors with so many values."""

    def __init__(self, archive: Archive, journal: Journal, sight: Sight, index: Callable[[int], VectorIndex]) -> None:
        self._archive = archive
        self._journal = journal
        self._sight = sight
        self._gallery = Gallery(journal, index)

    def start(self) -> None:
        """Take in what the journal has and the index has not, and forget what the archive does not hold any more.

        Called at a start, so that the first user need not wait.
        """
        self._gallery.refresh()
        there = {stamp.id for stamp in self._archive.studies()}
        for study_id in self._gallery.studies() - there:
            self._forget(study_id)

    def find(
        self,
        series_uid: str,
        headers: Mapping[str, str],
        *,
        limit: int = 10,
        pairs: int = 3,
        region: int | None = None,
        model: str | None = None,
    ) -> Similar | NotSearchable | None:
        """Earlier cases like a slide for the user of these request headers, None where they may see no such slide.

        One entry for each study, that of its most similar slide; the slide's own study is left out. `region`: compare
        that region of the slide, counted from 1, with every region of other slides; else slides as a whole. `model`:
        of the slide's embeddings the newest one of this model. Raises RequestError for a region that the slide has not;
        ArchiveUnavailable, JournalError.
        """
        self._gallery.refresh()
        found = self._own(series_uid, headers, model)
        if not isinstance(found, tuple):
            return found
        own, seen_own = found
        if region is not None and not 1 <= region <= own.regions:
            raise RequestError(f"the slide has {own.regions} regions, not a region {region}")
        cases: list[Case] = []
        for other, similarity, theirs in self._candidates(own, region):
            if len(cases) >= limit:
                break
            seen = self._seen(other, headers)
            if seen is not None:
                same = seen.patient is not None and seen.patient == seen_own.patient
                cases.append(Case(other, similarity, theirs, same, self._pairs(own, other, pairs)))
        return Similar(own, tuple(cases))

    def thumbnail(self, job: str, region: int, headers: Mapping[str, str], side: int) -> bytes | None:
        """A region of a slide, or 0 for the whole of it, as JPEG of at most `side` pixels on its longer side.

        None where the user of these request headers may see no such thing. Raises PixelDataError, ArchiveError.
        """
        self._gallery.refresh()
        entry = self._gallery.entry(job)
        if entry is None or not 0 <= region <= entry.regions or self._seen(entry, headers) is None:
            return None
        slide = self._slide(job)
        if slide is None:
            return None
        return jpeg_of_slide(slide, side) if region == 0 else jpeg_of_field(slide, entry.fields[region - 1], side)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _own(
        self, series_uid: str, headers: Mapping[str, str], model: str | None
    ) -> tuple[Entry, SeenStudy] | NotSearchable | None:
        for entry in self._gallery.of_series(series_uid):
            if model in (None, entry.model):
                seen = self._seen(entry, headers)
                if seen is not None:
                    return entry, seen
        return self._why_not(series_uid, headers)

    def _why_not(self, series_uid: str, headers: Mapping[str, str]) -> NotSearchable | None:
        """Why a slide has no embedding, None where there is no such slide for the user."""
        record = self._journal.job_of(series_uid, PIPELINE.name)
        if record is None:
            return None
        try:
            seen = self._sight.study(record.job.study_id, headers)
        except NotInArchive:
            return None
        if seen is None or series_uid not in seen.series_uids:
            return None
        if record.state is JobState.COMPLETED:
            return NotSearchable(record.reason or "not analysed by this model: its embedding is not kept")
        if record.state is JobState.CANCELED:
            return NotSearchable(f"not analysed because the job was canceled: {record.reason}")
        return NotSearchable(f"not analysed yet: the job is {record.state}")

    def _candidates(self, own: Entry, region: int | None) -> Iterator[tuple[Entry, float, int | None]]:
        """The most similar slide of each earlier study, most similar first, with the region that was compared."""
        done = {own.study_id}
        for other, similarity, theirs in self._gallery.nearest(own, region):
            if other.study_id in done or other.study_uid == own.study_uid or not other.before(own):
                continue
            if len(done) > _MOST_ASKED:
                return
            done.add(other.study_id)
            yield other, similarity, theirs

    def _seen(self, entry: Entry, headers: Mapping[str, str]) -> SeenStudy | None:
        """The study of a slide as the user sees it, None where they may not, or where the slide is gone."""
        try:
            seen = self._sight.study(entry.study_id, headers)
        except NotInArchive:
            self._gone(entry)
            return None
        return seen if seen is not None and entry.series_uid in seen.series_uids else None

    def _gone(self, entry: Entry) -> None:
        """Forget a study that is not there. Whom the archive hides it from it may tell the same: ask it ourselves."""
        if all(stamp.id != entry.study_id for stamp in self._archive.studies(entry.study_uid)):
            self._forget(entry.study_id)

    def _forget(self, study_id: str) -> None:
        log.info("study %s is gone: its embeddings are removed", study_id)
        self._journal.forget(study_id)
        self._gallery.forget(study_id)

    def _pairs(self, own: Entry, other: Entry, count: int) -> tuple[Pair, ...]:
        """The best pairs of regions, none used twice."""
        try:
            mine, theirs = self._gallery.regions(own), self._gallery.regions(other)
        except KeyError:  # forgotten meanwhile
            return ()
        return tuple(best_pairs(mine @ theirs.T, count))

    def _slide(self, job: str) -> Slide | None:
        record = self._journal.job(job)
        if record is None:
            return None
        study = self._archive.study(record.job.study_id)
        digests = {instance.uid: instance for instance in study.instances}
        read = []
        for source in record.job.sources:
            instance = digests.get(source.uid)
            if instance is None or instance.digest != source.digest:
                return None  # what the places refer to was replaced
            if instance.modality is Modality.SM:
                read.append((instance, self._archive.header(source.id)))
        slide = open_images(Modality.SM, read, self._archive.frames) if read else Ungradable("")
        return slide if isinstance(slide, Slide) else None


def best_pairs(similarity: NDArray[np.float32], count: int) -> Iterator[Pair]:
    """Row and column of the largest values, counted from 1, no row and no column twice, the largest first."""
    left = similarity.astype(np.float64)
    for _ in range(min(count, *left.shape)):
        own, other = np.unravel_index(int(left.argmax()), left.shape)
        yield Pair(int(own) + 1, int(other) + 1, float(np.clip(left[own, other], -1.0, 1.0)))
        left[own, :] = left[:, other] = -np.inf
