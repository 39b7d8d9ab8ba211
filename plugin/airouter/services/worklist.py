"""Priority of a study: the most urgent verdict over its results, marked on the study in the archive."""

from collections.abc import Iterable

from airouter.domain.priority import Verdict, most_urgent
from airouter.ports import Archive

PRIORITY_MARK = "priority"
REASON_MARK = "reason"
READING_MARK = "reading"


def publish(archive: Archive, study_id: str, verdicts: Iterable[Verdict]) -> Verdict | None:
    """Mark the study with its most urgent verdict; that verdict, or None where there is none.

    Raises NotInArchive where the study is gone.
    """
    verdict = most_urgent(list(verdicts))
    if verdict is not None:
        marks = {PRIORITY_MARK: verdict.priority.value, REASON_MARK: verdict.reason}
        archive.mark(study_id, {**marks, READING_MARK: verdict.reading.value if verdict.reading else ""})
    return verdict
