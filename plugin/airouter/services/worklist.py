"""Priority of a study: what the journal's worklist says of it, marked on the study in the archive."""

import contextlib
from typing import Protocol

from airouter.domain.priority import Verdict
from airouter.errors import NotInArchive
from airouter.ports import Archive

PRIORITY_MARK = "priority"
REASON_MARK = "reason"
READING_MARK = "reading"


class Verdicts(Protocol):
    """What is needed of the journal."""

    def verdict(self, study_uid: str) -> Verdict | None:
        """As ports.Journal says."""

    def summarised_in(self, study_uid: str) -> list[tuple[str, str]]:
        """As ports.Journal says."""


def mark(archive: Archive, study_id: str, verdict: Verdict | None) -> None:
    """Mark the study with a verdict, if there is one. Raises NotInArchive where the study is gone."""
    if verdict is not None:
        marks = {PRIORITY_MARK: verdict.priority.value, REASON_MARK: verdict.reason}
        archive.mark(study_id, {**marks, READING_MARK: verdict.reading.value if verdict.reading else ""})


def publish(archive: Archive, journal: Verdicts, study_uid: str, study_id: str) -> Verdict | None:
    """Mark the study with what the journal's worklist says of it now; None where it is not on the list.

    So are other studies that hold a summary of it. Called once the journal has changed; threads and nodes may do so at
    once. Raises NotInArchive where the study is gone.
    """
    verdict = _mark_last(archive, journal, study_uid, study_id)
    for uid, id in journal.summarised_in(study_uid):
        with contextlib.suppress(NotInArchive):
            _mark_last(archive, journal, uid, id)
    return verdict


def _mark_last(archive: Archive, journal: Verdicts, study_uid: str, study_id: str) -> Verdict | None:
    """Look again after each mark, so that who marks last has marked what the journal says."""
    marked, verdict = None, journal.verdict(study_uid)
    while verdict != marked:
        mark(archive, study_id, verdict)
        marked, verdict = verdict, journal.verdict(study_uid)
    return verdict
