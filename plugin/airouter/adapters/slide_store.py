"""Stores an imported slide in Orthanc, from files, and makes sure that it is the right patient and the whole slide.

Looks before it stores: the same file under another patient or container must not become a second slide, nor one study
belong to two patients. What is stored already is left alone.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pydicom
from pydicom.dataset import Dataset
from pyorthanc import Orthanc

from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.rest import Rest
from airouter.adapters.sidecar import Description
from airouter.adapters.slide_header import identity, series_uid
from airouter.errors import ArchiveError, ConfigurationError, ImportConflict
from airouter.imaging.header import pixel_spacing_um
from airouter.imaging.stain import stain

_BLOCK: Final = 1 << 20
_SPACING: Final = 0.001  # by which two spacings may differ: DS has ten digits or so


class _Body:
    """A file as the body of a request, never in memory whole."""

    def __init__(self, file: Path, going: Callable[[], None]) -> None:
        self._file = file
        self._going = going

    def __len__(self) -> int:
        return self._file.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        with self._file.open("rb") as source:
            while block := source.read(_BLOCK):
                self._going()
                yield block


class SlideStore:
    """One Orthanc, as far as imports need it. Raises as airouter.adapters.rest.Rest does."""

    def __init__(self, client: Orthanc) -> None:
        self._rest = Rest(client)
        self._archive = OrthancArchive(client)

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def check(self, digest: str, description: Description) -> None:
        """That Orthanc answers, lets us in, and holds nothing that speaks against the import: before an hour's
        conversion, not after it. Raises ImportConflict, ConfigurationError."""
        if self._rest.send("GET", "/system", accept=(401, 403)).status_code >= 400:
            raise ConfigurationError("RegisteredUsers", "Orthanc does not let this user in")
        said = identity(description)
        self._check_study(said["StudyInstanceUID"], said["PatientID"])
        self._check_series(series_uid(digest), said, description.specimen.stain, description.spacing_um)

    def store(self, files: Sequence[Path], progress: Callable[[int, int], None], going: Callable[[], None]) -> int:
        """Store the instances of one series, verify that all of them are there, and return how many were new.

        `progress` is told files done and in all; `going` is called again and again, and may raise to end it.
        """
        headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
        new = 0
        for done, (file, header) in enumerate(zip(files, headers, strict=True)):
            progress(done, len(files))
            if not self._find(str(header.SOPInstanceUID), "Instance"):
                self._upload(file, str(header.SOPInstanceUID), going)
                new += 1
        for file, header in zip(files, headers, strict=True):
            self._verify(file, header)
        progress(len(files), len(files))
        return new

    def _check_study(self, uid: str, patient: str) -> None:
        """One Study Instance UID belongs to one patient: Orthanc would make a second study of the same UID."""
        query = {"Level": "Study", "Query": {"StudyInstanceUID": uid}, "Expand": True}
        for study in self._rest.send("POST", "/tools/find", content=json.dumps(query).encode()).json():
            if str(study["PatientMainDicomTags"].get("PatientID", "")) != patient:
                raise ImportConflict(f"study {uid} is stored for another patient")

    def _check_series(self, uid: str, said: Mapping[str, str], stained: str | None, spacing_um: float | None) -> None:
        """The series derives from the file: where it is stored, it must be that of the same patient and container."""
        for series in self._find(uid, "Series"):
            instances = self._rest.json(f"/series/{quote(series)}/instances")
            finest = min(instances, key=lambda entry: int(entry["MainDicomTags"].get("InstanceNumber", 1 << 30)))
            there = self._archive.header(str(finest["ID"]))
            differing = [keyword for keyword, value in said.items() if str(there.get(keyword) or "") != value]
            if stain(there) != stained:
                differing.append("stain")
            spacing = pixel_spacing_um(there)
            if spacing_um is not None and str(there.InstanceNumber) == "1" and not _near(spacing, spacing_um):
                differing.append("PixelSpacing")
            if differing:
                raise ImportConflict(
                    f"this slide is stored already as series {uid}, and not the same are {', '.join(differing)}"
                )

    def _upload(self, file: Path, uid: str, going: Callable[[], None]) -> None:
        answer: dict[str, Any] = self._rest.send("POST", "/instances", content=_Body(file, going)).json()
        if answer.get("Status") not in ("Success", "AlreadyStored"):
            raise ArchiveError(f"Orthanc did not keep {uid}: {answer.get('Status')}")

    def _verify(self, file: Path, header: Dataset) -> None:
        uid = str(header.SOPInstanceUID)
        found = self._find(uid, "Instance")
        if len(found) != 1:
            raise ArchiveError(f"{len(found)} objects stand under {uid} after it was stored")
        size = int(self._rest.json(f"/instances/{quote(found[0])}/attachments/dicom/info")["UncompressedSize"])
        # Orthanc may write the file meta group anew; a transfer that was cut short is no small difference.
        if abs(size - file.stat().st_size) > 4096:
            raise ArchiveError(f"{uid} is stored with {size} bytes instead of {file.stat().st_size}")

    def _find(self, uid: str, level: str) -> list[str]:
        found = self._rest.send("POST", "/tools/lookup", content=uid.encode("ascii")).json()
        return [str(entry["ID"]) for entry in found if entry["Type"] == level]


def _near(stored: tuple[float, float] | None, given: float) -> bool:
    return stored is not None and all(abs(value - given) <= _SPACING * given for value in stored)
