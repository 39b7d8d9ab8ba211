"""When two objects under one SOP Instance UID are the same evidence."""

from pydicom.dataset import Dataset

from airouter.errors import EvidenceConflict

_SAME = ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer")


def check_same(archived: Dataset, evidence: Dataset) -> None:
    """Raise EvidenceConflict unless both come from the same job and role.

    Our UIDs derive from job key and role, so SOP class, study, series and manufacturer decide it. Bytes do not: a run
    after a crash writes the same findings with another content date, and Orthanc may rewrite the file meta group.
    """
    for keyword in _SAME:
        if str(archived.get(keyword, "")) != str(evidence.get(keyword, "")):
            raise EvidenceConflict(f"another object stands under {evidence.SOPInstanceUID}: its {keyword} differs")
