"""The technician's list: which slides must be scanned again, and the mark on their study that says so."""

import contextlib
from collections.abc import Iterable

from airouter.domain.job import Job
from airouter.domain.rescan import Fitness, RescanEntry, RescanState, judge
from airouter.errors import NotInArchive
from airouter.ports import Archive, Journal

RESCAN_MARK = "rescan"


def announce(archive: Archive, journal: Journal, job: Job, fitness: Fitness) -> None:
    """Mark the study as it will stand once the journal has the judgement of a slide. Raises NotInArchive."""
    standing = journal.rescans_of(job.study_uid)
    state = RescanState.FIT if fitness.fit else RescanState.OPEN
    judged = RescanEntry(job.series_uid, job.study_uid, job.study_id, fitness, state, opened="")
    after = {entry.series_uid: entry for entry in (*standing, *judge(standing, judged))}
    if any(entry.state is RescanState.OPEN for entry in (*standing, *after.values())):
        _mark(archive, job.study_id, after.values())


def _mark(archive: Archive, study_id: str, entries: Iterable[RescanEntry]) -> None:
    """Why the worst of the study's slides must be scanned again; no mark where none must."""
    waiting = sorted((e for e in entries if e.state is RescanState.OPEN), key=lambda entry: entry.rank)
    archive.mark(study_id, {RESCAN_MARK: waiting[0].fitness.reason if waiting else ""})


class Rescans:
    """What a technician or pathologist does with the list."""

    def __init__(self, archive: Archive, journal: Journal) -> None:
        self._archive = archive
        self._journal = journal

    def dismiss(self, series_uid: str, reason: str, user: str | None) -> tuple[RescanEntry | None, bool]:
        """Take a slide off the list: its entry as it stands then, and whether this changed it; (None, False) where it
        was never judged."""
        before = self._journal.rescan(series_uid)
        entry = self._journal.dismiss(series_uid, reason, user)
        if entry is None:
            return None, False
        with contextlib.suppress(NotInArchive):  # of a deleted study there is nothing left to mark
            _mark(self._archive, entry.study_id, self._journal.rescans_of(entry.study_uid))
        changed = before is not None and before.state is RescanState.OPEN and entry.state is RescanState.DISMISSED
        return entry, changed
