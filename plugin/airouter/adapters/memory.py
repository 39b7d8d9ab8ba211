"""The archive's twin in memory, for tests and trials: the same contract as Orthanc, and it passes the same suite."""

import hashlib
import io
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pydicom
from pydicom.dataset import Dataset

from airouter.adapters.identity import check_same
from airouter.domain.study import Instance, Study
from airouter.errors import ArchiveUnavailable, EvidenceConflict, NotInArchive
from airouter.imaging.attributes import attributes
from airouter.imaging.frames import FrameIndex, buffer_frames
from airouter.imaging.groups import read_header
from airouter.ports import Change, StudyStamp


@dataclass(slots=True)
class _Stored:
    """One object as its Part 10 bytes, and what is worth computing once."""

    part10: bytes = field(repr=False)
    patient: str
    study: str
    instance: Instance
    index: FrameIndex | None = None


class MemoryArchive:
    """ports.Archive over data sets given or added, kept as Part 10 bytes; threads may share it.

    `marks` (study -> name -> value) and `labels` (study -> label) may be read by tests; `available = False` makes
    every method raise ArchiveUnavailable. Identifiers are what Orthanc would give: they derive from the four UIDs.
    """

    def __init__(self, *datasets: Dataset) -> None:
        self.available = True
        self.marks: dict[str, dict[str, str]] = {}
        self.labels: dict[str, str] = {}
        self._lock = threading.RLock()
        self._stored: dict[str, _Stored] = {}
        self._changes: list[tuple[Change, str]] = []
        for dataset in datasets:
            self.add(dataset)

    def add(self, dataset: Dataset) -> str:
        """An object arrives from elsewhere (as by C-STORE); one under the same identifier is overwritten."""
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        part10 = buffer.getvalue()
        header = _header(part10)
        patient, study, series, uid = (
            str(header.get(keyword, ""))
            for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        )
        id, study_id = _identifier(patient, study, series, uid), _identifier(patient, study)
        instance = Instance(
            id=id,
            uid=uid,
            sop_class=str(header.get("SOPClassUID", "")),
            series_uid=series,
            study_uid=study,
            digest=hashlib.md5(part10, usedforsecurity=False).hexdigest(),
            attributes=attributes(header),
        )
        with self._lock:
            self._stored[id] = _Stored(part10, patient, study_id, instance)
            self._changes.append((Change(len(self._changes) + 1, study_id), id))
        return id

    def delete_study(self, id: str) -> None:
        """Somebody deletes a whole study."""
        with self._lock:
            for instance in [key for key, stored in self._stored.items() if stored.study == id]:
                self.remove(instance)

    def part10(self, instance: str) -> bytes:
        """The stored file. Raises NotInArchive."""
        return self._get(instance).part10

    # -- ports.Archive ------------------------------------------------------------------------------------------------

    def study(self, id: str) -> Study:
        self._check()
        with self._lock:
            instances = [stored.instance for stored in self._stored.values() if stored.study == id]
        if not instances:
            raise NotInArchive(f"study {id} is not there")
        return Study(id, instances[0].study_uid, tuple(sorted(instances, key=lambda i: i.uid)))

    def header(self, instance: str) -> Dataset:
        return _header(self._get(instance).part10)

    def frames(self, instance: str, numbers: Sequence[int]) -> Iterator[bytes]:
        stored = self._get(instance)
        if stored.index is None:
            stored.index = FrameIndex.of(io.BytesIO(stored.part10))
        yield from buffer_frames(stored.part10, stored.index, numbers)

    def store(self, evidence: Dataset) -> str:
        self._check()
        with self._lock:
            standing = [id for id, stored in self._stored.items() if stored.instance.uid == evidence.SOPInstanceUID]
            if len(standing) > 1:
                raise EvidenceConflict(f"{len(standing)} objects stand under {evidence.SOPInstanceUID}")
            if standing:
                check_same(self.header(standing[0]), evidence)
                return standing[0]
            return self.add(evidence)

    def mark(self, study: str, marks: Mapping[str, str]) -> None:
        self.study(study)
        with self._lock:
            standing = self.marks.setdefault(study, {})
            standing.update(marks)
            for name in [name for name, value in standing.items() if not value]:
                del standing[name]
            if "priority" in marks:
                self.labels[study] = f"ai-{marks['priority'].lower()}"

    def changes(self, since: int) -> Iterator[Change]:
        self._check()
        with self._lock:
            page = [change for change, id in self._changes[max(0, since) :] if id in self._stored]
        yield from page

    def studies(
        self, uid: str | None = None, *, patient_of: str | None = None, modalities: Collection[str] = ()
    ) -> Iterator[StudyStamp]:
        self._check()
        with self._lock:
            patients = {s.study: s.patient for s in self._stored.values()}
            found = {
                s.study: 0
                for s in self._stored.values()
                if (uid is None or s.instance.study_uid == uid)
                and (patient_of is None or s.patient == patients.get(patient_of))
                and (patient_of is None or not modalities or s.instance.first("Modality") in modalities)
            }
            for change, _ in self._changes:
                if change.study in found:
                    found[change.study] = change.seq
        for study, seq in found.items():
            yield StudyStamp(study, str(seq))

    def remove(self, instance: str) -> None:
        self._check()
        with self._lock:
            gone = self._stored.pop(instance, None)
            if gone is not None and all(stored.study != gone.study for stored in self._stored.values()):
                self.marks.pop(gone.study, None)
                self.labels.pop(gone.study, None)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self.available:
            raise ArchiveUnavailable("the archive in memory is switched off")

    def _get(self, instance: str) -> _Stored:
        self._check()
        with self._lock:
            stored = self._stored.get(instance)
        if stored is None:
            raise NotInArchive(f"instance {instance} is not there")
        return stored


def _header(part10: bytes) -> Dataset:
    return read_header(io.BytesIO(part10))


def _identifier(*parts: str) -> str:
    """Orthanc's identifier: SHA-1 of the UIDs down to the level, in five groups of eight digits."""
    digest = hashlib.sha1("|".join(parts).encode("utf-8"), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))
