"""DICOM files on a local disk as images to open: for commands that need no running Orthanc."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from airouter.adapters.stored import OpenFile
from airouter.domain.study import SOURCE_SOP_CLASSES, ImageSet, Instance, Study
from airouter.errors import NotInArchive, PixelDataError
from airouter.imaging.frames import read_frames
from airouter.imaging.header import MALFORMED

_OPEN_FILES: Final = 32


class LocalFiles:
    """The slides, photographs and volumes in files and folders; a folder is searched to its depths.

    Only headers are read here. In folders, what is no DICOM file or of a SOP class that the router does not read is
    passed over; of files with one SOP Instance UID the first is taken. `frames` is safe in several threads.
    Raises NotInArchive for a path that is not there, PixelDataError for a file named by itself that is not DICOM.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        self._instances: dict[str, Instance] = {}
        for path in paths:
            if not path.exists():
                raise NotInArchive(f"{path} is not there")
            for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
                self._add(file, named=file == path)
        self._opened: Callable[[str], OpenFile] = lru_cache(_OPEN_FILES)(self._open)

    def image_sets(self) -> list[ImageSet]:
        """What one job could read each, a slide or one image of another modality, in order of their UIDs."""
        studies: dict[str, list[Instance]] = {}
        for instance in self._instances.values():
            studies.setdefault(instance.study_uid, []).append(instance)
        found = [Study(uid, uid, tuple(instances)) for uid, instances in sorted(studies.items())]
        return [images for study in found for images in study.image_sets()]

    def header(self, instance: str) -> Dataset:
        """Everything but pixel data, as `airouter.ports.Archive.header`."""
        return pydicom.dcmread(self._path(instance), stop_before_pixels=True)

    def frames(self, instance: str, numbers: Sequence[int]) -> Iterator[bytes]:
        """Encoded frames as stored, as `airouter.ports.Archive.frames`."""
        file = self._opened(instance)
        yield from read_frames(file.fd, file.index(), numbers)

    def _add(self, file: Path, *, named: bool) -> None:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            uids = [
                str(header.get(keyword) or "")
                for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")
            ]
        except (InvalidDicomError, EOFError, OSError, *MALFORMED) as error:
            if named:
                raise PixelDataError(f"{file} is not a DICOM file") from error
            return
        uid, sop_class, series, study = uids
        if sop_class in SOURCE_SOP_CLASSES and uid and uid not in self._instances:
            self._instances[uid] = Instance(uid, uid, sop_class, series, study, digest="")
            self._paths[uid] = file

    def _path(self, instance: str) -> Path:
        path = self._paths.get(instance)
        if path is None:
            raise NotInArchive(f"instance {instance} is not there")
        return path

    def _open(self, instance: str) -> OpenFile:
        path = self._path(instance)
        try:
            return OpenFile(path)
        except OSError as error:
            raise NotInArchive(f"{path} cannot be read: {error.strerror}") from error
