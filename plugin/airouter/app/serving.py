"""What is asked of the archive in a user's name: built with the router, closed with it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyorthanc import Orthanc

from airouter.adapters.converter import Converter
from airouter.adapters.dicom_web import OrthancDirectory
from airouter.adapters.lock import StateLock
from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.sight import OrthancSight, credential_headers
from airouter.adapters.similarity import FaissIndex
from airouter.adapters.slide_import import SlideImporter
from airouter.adapters.slide_store import SlideStore
from airouter.app.parts import Parts
from airouter.app.places import dicom_web_root
from airouter.config import Settings
from airouter.errors import RouterError
from airouter.inference.repository import ModelRepository
from airouter.services.catalogue import catalogue, usable
from airouter.services.dicom_web import DicomWeb
from airouter.services.importing import WORKING, WatchedFolder
from airouter.services.object_pictures import ObjectPictures
from airouter.services.quality import QualityCheck
from airouter.services.similar import SimilarCases
from airouter.services.thumbnails import Thumbnails

log = logging.getLogger("airouter")

_SIGHT_SECONDS = 20.0  # within which Orthanc must say whether a user may read a study
_UPLOAD_SECONDS = 900.0  # Orthanc answers once an instance is on its disk, and a level of a slide may have gigabytes


@dataclass(frozen=True, slots=True)
class Serving:
    """The services of users, and the connections under them."""

    similar: SimilarCases
    quality: QualityCheck
    dicom_web: DicomWeb
    pictures: ObjectPictures
    thumbnails: Thumbnails
    _sight: OrthancSight
    _directory: OrthancDirectory

    @classmethod
    def of(
        cls,
        archive: OrthancArchive,
        parts: Parts,
        repository: ModelRepository,
        document: Mapping[str, Any],
        client: Callable[..., Orthanc],
    ) -> "Serving":
        """`client` makes a client for Orthanc, with the router's own token unless told otherwise."""
        # Without our token: what is asked here, is asked in the name of a user.
        sight = OrthancSight(client(token=None, timeout=_SIGHT_SECONDS), credential_headers(document))
        directory = OrthancDirectory(client(), sight, dicom_web_root(document))
        models = catalogue(repository.names(), repository.get)
        return cls(
            similar=SimilarCases(archive, parts.journal, sight, FaissIndex),
            quality=QualityCheck(usable(models), repository.get, sight),
            dicom_web=DicomWeb(archive, directory, sight, sight),
            pictures=ObjectPictures(archive, parts.journal, sight),
            thumbnails=Thumbnails(archive, parts.lines, sight),
            _sight=sight,
            _directory=directory,
        )

    def prepare(self) -> None:
        """On a thread of its own: a failure here is told again, to whoever searches next."""
        try:
            self.similar.start()
        except RouterError as error:
            log.warning("the index of similar cases was not prepared: %s", error)

    def close(self) -> None:
        """Close the connections."""
        self._sight.close()
        self._directory.close()


class Importing:
    """The watched folder and the connection that it stores through."""

    def __init__(self, folder: Path, state: Path, settling: float, client: Callable[..., Orthanc]) -> None:
        self._store = SlideStore(client(timeout=_UPLOAD_SECONDS))
        # Converts in the state folder, cleared first: a crash may have left files of gigabytes there.
        importer = SlideImporter(self._store, Converter(), state / "import")
        importer.clear()
        self.watched = WatchedFolder(
            folder, importer, own=lambda: StateLock(folder / WORKING, "ImportDirectory"), settling=settling
        )

    @classmethod
    def of(cls, settings: Settings, base: Path, client: Callable[..., Orthanc]) -> "Importing | None":
        """None where the settings name no folder."""
        if settings.import_directory is None:
            return None
        folder, state = settings.path("import_directory", base), settings.path("state_directory", base)
        return cls(folder, state, settings.import_settling_seconds, client)

    def close(self) -> None:
        """Close the connection."""
        self._store.close()
