"""The archive is Orthanc: everything by loopback REST, pixel data by path.

Tried on Orthanc 1.10.1 (Debian 12) and newer. Changes come from the /changes log, whose Seq grows also across
restarts and `DELETE /changes`; nothing here relies on callbacks or stable series, which die with the process.
"""

import hashlib
import json
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, TypeVar
from urllib.parse import quote

from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pyorthanc import Orthanc

from airouter.adapters.identity import check_same
from airouter.adapters.rest import Rest
from airouter.adapters.stored import Attachment, OpenFile, StorageFolder
from airouter.domain.study import ANNOTATIONS, SOURCE_SOP_CLASSES, Instance, Study
from airouter.errors import ArchiveError, EvidenceConflict, NotInArchive, PixelDataError
from airouter.evidence.encoding import encode
from airouter.imaging.attributes import attributes
from airouter.imaging.frames import read_frames
from airouter.imaging.groups import read_header
from airouter.ports import Change, StudyStamp

# Orthanc's user-defined metadata are numbers from 1024 on; names would need UserMetadata in orthanc.json.
METADATA: Final[Mapping[str, int]] = {"priority": 4201, "reason": 4202, "rescan": 4203, "reading": 4204}
# Labels of the study list, one of them per study (Orthanc 1.12.0 and later).
LABELS: Final = {"STAT": "ai-stat", "HIGH": "ai-high", "ROUTINE": "ai-routine", "LOW": "ai-low"}
# Beside those, of a study with a slide that must be scanned again.
RESCAN_LABEL: Final = "ai-rescan"
_PAGE: Final = 1000
_SIBLINGS: Final = 4000  # instances of a series whose study is remembered with that of one of them
_LOOK_UP_SECONDS: Final = 2.0
# Objects that are no source are read up to here for routing: behind it lie segment, annotation and frame sequences.
_BULK_GROUPS: Final = 0x00620000
# What is kept of them: by whom they were made tells our own results.
_OF_OTHERS: Final = frozenset({"Modality", "Manufacturer", "ContributingEquipmentSequence"})
# And of annotations: which slide they were drawn on.
_OF_DRAWINGS: Final = _OF_OTHERS | {"ReferencedSeriesSequence"}

_K = TypeVar("_K")
_V = TypeVar("_V")


class OrthancArchive:
    """ports.Archive on a running Orthanc.

    `storage` is Orthanc's StorageDirectory where this process may read it; without it, or where files there are
    compressed or kept by a plugin, headers and frames come over REST (slower by orders of magnitude on large slides).
    """

    def __init__(self, client: Orthanc, storage: Path | None = None) -> None:
        self._rest = Rest(client)
        self._storage = StorageFolder(storage) if storage is not None else None
        self._recent: _Lru[str, tuple[float, Attachment]] = _Lru(1024)
        self._instances: _Lru[tuple[str, str], Instance] = _Lru(8192)
        self._studies_of_instances: _Lru[str, str] = _Lru(16384)
        self._has_labels: bool | None = None

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """Orthanc's version, from /system."""
        return str(self._rest.json("/system")["Version"])

    def study(self, id: str) -> Study:
        uid = self._rest.json(f"/studies/{quote(id)}")["MainDicomTags"]["StudyInstanceUID"]
        found: list[Instance] = []
        for entry in self._rest.json(f"/studies/{quote(id)}/instances"):
            try:
                found.append(self._instance(entry["ID"], str(entry.get("FileUuid", ""))))
            except NotInArchive:
                continue  # deleted while we read
            except PixelDataError:
                found.append(self._unreadable(entry, uid))
        if not found:
            raise NotInArchive(f"study {id} is gone")
        return Study(id, uid, tuple(sorted(found, key=lambda i: i.uid)))

    def header(self, instance: str) -> Dataset:
        return self._read(instance, read_header)[0]

    def frames(self, instance: str, numbers: Sequence[int]) -> Iterator[bytes]:
        # The look-up is remembered for a moment, as a slide is read in many small calls; an overwritten file stays
        # readable through the descriptor, so that one call never mixes two versions.
        _, file = self._locate(instance, fresh=False)
        if file is not None:
            yield from read_frames(file.fd, file.index(), numbers)
            return
        for number in numbers:
            yield self._rest_frame(instance, number)

    # -- writing ------------------------------------------------------------------------------------------------------

    def store(self, evidence: Dataset) -> str:
        uid = str(evidence.SOPInstanceUID)
        # Looked up first: with OverwriteInstances Orthanc would replace a foreign object, and one under another
        # patient or series would become a second instance with the same UID.
        standing = self._find(uid, "Instance")
        if standing:
            return self._same(standing, evidence)
        answer = self._rest.send("POST", "/instances", content=encode(evidence)).json()
        status = answer.get("Status")
        if status == "AlreadyStored":
            return self._same([answer["ID"]], evidence)
        if status != "Success":
            raise ArchiveError(f"Orthanc did not keep {uid}: {status}")
        return str(answer["ID"])

    def mark(self, study: str, marks: Mapping[str, str]) -> None:
        unknown = set(marks) - set(METADATA)
        if unknown:
            raise ArchiveError(f"no metadata number is set aside for {sorted(unknown)}")
        self._rest.json(f"/studies/{quote(study)}")
        for name, value in marks.items():
            self._set_metadata(f"/studies/{quote(study)}/metadata/{METADATA[name]}", value)
        label = LABELS.get(marks.get("priority", ""))
        if label is not None and self._labels():
            labels = f"/studies/{quote(study)}/labels"
            # The new one first: a study that had a priority is never seen without.
            self._rest.send("PUT", f"{labels}/{label}", content=b"")
            for other in set(self._rest.json(labels)) & set(LABELS.values()) - {label}:
                self._rest.send("DELETE", f"{labels}/{other}", accept=(404,))
        if "rescan" in marks and self._labels():
            flag = f"/studies/{quote(study)}/labels/{RESCAN_LABEL}"
            if marks["rescan"]:
                self._rest.send("PUT", flag, content=b"")
            else:
                self._rest.send("DELETE", flag, accept=(404,))

    def remove(self, instance: str) -> None:
        self._rest.send("DELETE", f"/instances/{quote(instance)}", accept=(404,))

    # -- what is there ------------------------------------------------------------------------------------------------

    def changes(self, since: int) -> Iterator[Change]:
        while True:
            page = self._rest.json("/changes", {"since": since, "limit": _PAGE})
            for line in page["Changes"]:
                since = max(since, int(line["Seq"]))
                if line["ChangeType"] != "NewInstance":
                    continue
                try:
                    yield Change(int(line["Seq"]), self._study_of(line["ID"]))
                except NotInArchive:
                    continue  # deleted since
            if page["Done"] or not page["Changes"]:
                return

    def studies(
        self, uid: str | None = None, *, patient_of: str | None = None, modalities: Collection[str] = ()
    ) -> Iterator[StudyStamp]:
        if patient_of is not None:
            yield from (stamp for stamp, found in self._of_patient(patient_of, modalities) if uid in (None, found))
            return
        if uid is not None:
            query = {"Level": "Study", "Query": {"StudyInstanceUID": uid}, "Expand": True}
            found = self._rest.send("POST", "/tools/find", content=json.dumps(query).encode()).json()
            # C-FIND matching would take wildcards and lists for what they are; only the very UID is meant.
            yield from (_stamp(s) for s in found if s["MainDicomTags"].get("StudyInstanceUID") == uid)
            return
        at = 0
        while True:
            page = self._rest.json("/studies", {"since": at, "limit": _PAGE, "expand": ""})
            yield from map(_stamp, page)
            if len(page) < _PAGE:
                return
            at += len(page)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _of_patient(self, study: str, modalities: Collection[str]) -> Iterator[tuple[StudyStamp, str]]:
        """Stamp and UID of the studies of a study's patient; Orthanc tells patients by Patient ID alone."""
        try:
            patient = str(self._rest.json(f"/studies/{quote(study)}")["ParentPatient"])
            found = self._rest.json(f"/patients/{quote(patient)}/studies", {"expand": ""})
            series = self._rest.json(f"/patients/{quote(patient)}/series", {"expand": ""}) if modalities else []
        except NotInArchive:
            return
        wanted = {str(s["ParentStudy"]) for s in series if s["MainDicomTags"].get("Modality") in modalities}
        for each in found:
            if modalities and str(each["ID"]) not in wanted:
                continue
            yield _stamp(each), str(each["MainDicomTags"].get("StudyInstanceUID", ""))

    def _instance(self, id: str, uuid: str) -> Instance:
        known = self._instances.get((id, uuid)) if uuid else None
        if known is not None:
            return known
        header, attachment, digest = self._read(id, _routing_header)
        found = Instance(
            id=id,
            uid=str(header.get("SOPInstanceUID", "")),
            sop_class=str(header.get("SOPClassUID", "")),
            series_uid=str(header.get("SeriesInstanceUID", "")),
            study_uid=str(header.get("StudyInstanceUID", "")),
            digest=digest,
            attributes=attributes(header),
        )
        if found.modality is None:  # thousands of slices would fill the memory with headers that no route looks at
            kept = _OF_DRAWINGS if found.sop_class == ANNOTATIONS else _OF_OTHERS
            found = replace(found, attributes={k: v for k, v in found.attributes.items() if k in kept})
        self._instances.put((id, attachment.uuid), found)
        return found

    def _unreadable(self, entry: Mapping[str, Any], study_uid: str) -> Instance:
        """What Orthanc itself knows of a file that we cannot parse: enough for a decision, and no attributes."""
        id = str(entry["ID"])
        series = self._rest.json(f"/series/{quote(str(entry['ParentSeries']))}")
        sop_class = self._rest.send("GET", f"/instances/{quote(id)}/metadata/SopClassUid", accept=(404,))
        attachment = self._attachment(id)
        return Instance(
            id=id,
            uid=str(entry["MainDicomTags"]["SOPInstanceUID"]),
            sop_class=sop_class.text.strip() if sop_class.status_code == 200 else "",
            series_uid=str(series["MainDicomTags"]["SeriesInstanceUID"]),
            study_uid=study_uid,
            digest=attachment.md5 or attachment.uuid,
        )

    def _read(self, id: str, parse: Callable[[BinaryIO], Dataset]) -> tuple[Dataset, Attachment, str]:
        """Parse the stored file from its start, with the attachment it was and its digest (MD5, else SHA-256)."""
        attachment, stored = self._locate(id, fresh=True)
        try:
            if stored is not None:
                with stored.file() as file:
                    header = parse(file)
                    digest = attachment.md5 or _sha256(file)
            else:
                # Orthanc has no header-only download: the transfer is cut once the header is there.
                with self._rest.stream(f"/instances/{quote(id)}/file") as body:
                    header = parse(body)  # type: ignore[arg-type]
                    digest = attachment.md5 or _sha256(body)  # type: ignore[arg-type]
        except (InvalidDicomError, EOFError, struct.error, ValueError, NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk; pydicom's own, for a sequence that is none, have no number
            raise PixelDataError(f"instance {id} cannot be parsed: {type(error).__name__}") from error
        return header, attachment, digest

    def _locate(self, id: str, *, fresh: bool) -> tuple[Attachment, OpenFile | None]:
        if not fresh:
            known = self._recent.get(id)
            if known is not None and time.monotonic() - known[0] < _LOOK_UP_SECONDS:
                attachment = known[1]
                file = self._storage.open(attachment) if self._storage is not None else None
                if file is not None or self._storage is None:
                    return attachment, file
        if self._storage is None:
            attachment, file = self._attachment(id), None
        else:
            attachment, file = self._storage.look_up(lambda: self._attachment(id))
        self._recent.put(id, (time.monotonic(), attachment))
        return attachment, file

    def _attachment(self, id: str) -> Attachment:
        info = self._rest.json(f"/instances/{quote(id)}/attachments/dicom/info")
        return Attachment(
            uuid=info["Uuid"],
            size=int(info["UncompressedSize"]),
            stored_size=int(info["CompressedSize"]),
            md5=str(info.get("UncompressedMD5") or ""),
        )

    def _rest_frame(self, id: str, number: int) -> bytes:
        path = f"/instances/{quote(id)}"
        if number < 1:
            raise PixelDataError(f"there is no frame {number}: frames count from 1")
        answer = self._rest.send("GET", f"{path}/frames/{number - 1}/raw", accept=(400, 404))
        if answer.status_code < 400:
            return answer.content
        self._rest.json(path)  # NotInArchive where the whole instance is gone
        raise PixelDataError(f"instance {id} has no frame {number}")

    def _same(self, ids: Sequence[str], evidence: Dataset) -> str:
        if len(ids) > 1:
            raise EvidenceConflict(f"{len(ids)} objects stand under {evidence.SOPInstanceUID}")
        check_same(self.header(ids[0]), evidence)
        return ids[0]

    def _find(self, uid: str, level: str) -> list[str]:
        found = self._rest.send("POST", "/tools/lookup", content=uid.encode("ascii")).json()
        return [str(entry["ID"]) for entry in found if entry["Type"] == level]

    def _study_of(self, instance: str) -> str:
        """Asked for each change: the answer for one instance is that for all of its series, which come in a row."""
        study = self._studies_of_instances.get(instance)
        if study is None:
            parent = str(self._rest.json(f"/instances/{quote(instance)}")["ParentSeries"])
            series = self._rest.json(f"/series/{quote(parent)}")
            study = str(series["ParentStudy"])
            for sibling in {instance, *map(str, series["Instances"][-_SIBLINGS:])}:
                self._studies_of_instances.put(sibling, study)
        return study

    def _set_metadata(self, path: str, value: str) -> None:
        """Write unless it stands there already, delete for an empty value: each write is a line in the change log.

        With CheckRevisions an overwrite needs the entity tag of what it replaces and answers 409 where that is old.
        """
        content = value.encode("utf-8")
        for _ in range(4):
            standing = self._rest.send("GET", path, accept=(404,))
            if (standing.content if standing.status_code == 200 else b"") == content:
                return
            tag = standing.headers.get("ETag") if standing.status_code == 200 else None
            headers = {"If-Match": tag} if tag else None
            if content:
                answer = self._rest.send("PUT", path, content=content, headers=headers, accept=(409, 412))
            else:
                answer = self._rest.send("DELETE", path, headers=headers, accept=(404, 409, 412))
            if answer.status_code < 400 or answer.status_code == 404:
                return
        raise ArchiveError(f"{path}: somebody else keeps changing it")

    def _labels(self) -> bool:
        if self._has_labels is None:
            # Said since 1.12.0; false where the database of a newer Orthanc cannot keep labels.
            self._has_labels = bool(self._rest.json("/system").get("HasLabels"))
        return self._has_labels


def _stamp(study: Mapping[str, Any]) -> StudyStamp:
    """LastUpdate has a resolution of one second: the number of series tells two arrivals of one second apart, mostly;
    the change log tells the rest."""
    return StudyStamp(str(study["ID"]), f"{study['LastUpdate']}/{len(study['Series'])}")


def _routing_header(file: BinaryIO) -> Dataset:
    """The header of a source whole; of any other object what comes before its bulky sequences."""
    header: FileDataset | Dataset = read_partial(file, stop_when=lambda tag, vr, length: int(tag) >= _BULK_GROUPS)
    if str(header.get("SOPClassUID", "")) in SOURCE_SOP_CLASSES:
        file.seek(0)
        header = read_header(file)
    return header


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


class _Lru(Generic[_K, _V]):
    """A small map that forgets what was not used for longest; shared by threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        with self._lock:
            value = self._items.get(key)
            if value is not None:
                self._items.move_to_end(key)
            return value

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._size:
                self._items.popitem(last=False)
