"""What the web layer needs from the rest of the router: ports and callables, handed over by the composition root."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from airouter.domain.audit import AuditEvent, AuditKind, AuditRecord, Head
from airouter.domain.desk import NotDone
from airouter.domain.job import JobState
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority
from airouter.domain.reading import Explained, Listed, Page, Wanted
from airouter.domain.rescan import RescanEntry
from airouter.domain.review import Choice
from airouter.domain.role import Person
from airouter.imaging.crop import Box
from airouter.imaging.upload import Rejected
from airouter.ports import Journal
from airouter.services.dicom_web import DicomWeb
from airouter.services.importing import DroppedSlide
from airouter.services.object_pictures import Drawn, SeriesImages, Shown
from airouter.services.quality import NoModel, Quality
from airouter.services.request import Answer, Request
from airouter.services.review import Conflict, Impossible
from airouter.services.review_records import Answered, Standing
from airouter.services.similar import NotSearchable, Similar
from airouter.services.thumbnails import Thumbnail
from airouter.web.access import Access
from airouter.web.refusals import Refused


class RouterState(StrEnum):
    """Whether the router works."""

    RUNNING = "running"
    PASSIVE = "passive"  # serves what is known and starts nothing: another process owns the state folder
    REFUSED = "refused"  # the configuration is wrong; Orthanc serves on without the router


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator should know, and what to do about it."""

    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the router stands. `reason` says why it is not running; `jobs` counts jobs by state.

    `intake_lag_seconds` is the age of the oldest change of the archive not yet handled, None where unknown.
    """

    state: RouterState
    reason: str = ""
    orthanc_version: str | None = None
    queue_depth: int = 0
    jobs: Mapping[JobState, int] = field(default_factory=dict)
    intake_lag_seconds: float | None = None
    notices: Sequence[Notice] = ()


class ModelStatus(Protocol):
    """One model folder: identity, the execution provider that runs it, and whether it can be used.

    `reason` says why it cannot or, of a usable one, what could not be tested. What is not known is None.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def usable(self) -> bool: ...
    @property
    def reason(self) -> str | None: ...


class Requests(Protocol):
    """What a user may ask for; services.request.Requests does it.

    `user` is the name Orthanc's own authentication knows, None where there was none.
    """

    def submit(self, request: Request, user: str | None) -> Answer:
        """Raises RequestError for a wish that makes no sense."""

    def cancel(self, key: str, user: str | None) -> bool:
        """False where the key is unknown or the job has ended already."""


class Imports(Protocol):
    """The watched folder; services.importing.WatchedFolder is one."""

    @property
    def problem(self) -> str:
        """Why the folder is not worked on at present, empty where it is."""

    def slides(self, limit: int) -> Sequence[DroppedSlide]:
        """What lies in it. Raises OSError."""


class SimilarCases(Protocol):
    """The search of earlier cases; services.similar.SimilarCases does it. `headers` are those of the user's request."""

    def find(
        self,
        series_uid: str,
        headers: Mapping[str, str],
        *,
        limit: int,
        pairs: int,
        region: int | None,
        model: str | None,
    ) -> Similar | NotSearchable | None:
        """None where the user may see no such slide. Raises RequestError for a region that it has not."""

    def thumbnail(self, job: str, region: int, headers: Mapping[str, str], side: int) -> bytes | None:
        """JPEG, None where the user may see no such thing."""


class QualityChecks(Protocol):
    """Quality at acquisition; services.quality.QualityCheck does it. All raise RequestError, ModelError."""

    def picture(self, data: bytes) -> Quality | Rejected | NoModel:
        """A JPEG or PNG."""

    def dicom(self, data: bytes, model: str | None = None) -> Quality | Rejected | NoModel:
        """A DICOM file."""

    def stored(
        self, instance: str, headers: Mapping[str, str], model: str | None = None
    ) -> Quality | Rejected | NoModel | None:
        """A stored instance, None where the user may see no such instance."""


class Rescans(Protocol):
    """The technician's list; services.rescans.Rescans is it."""

    def dismiss(self, series_uid: str, reason: str, user: str | None) -> tuple[RescanEntry | None, bool]:
        """The entry as it stands then, and whether this changed it; (None, False) for a slide never judged."""


class Viewer(Protocol):
    """OHIF as it lies on disk; web.ohif.OhifFolder is it."""

    @property
    def digest(self) -> str:
        """Of what was made of OHIF; the part of its addresses that changes with it."""

    @property
    def policy(self) -> str:
        """Its Content-Security-Policy."""

    @property
    def precompressed(self) -> bool:
        """Whether its .gz files may be sent: Orthanc itself does not compress."""

    def file(self, name: str) -> Path | None:
        """The file of that name, None where there is none."""


class StudyPictures(Protocol):
    """Pictures of stored objects; services.object_pictures.ObjectPictures draws them."""

    def listed(self, study_uid: str) -> Sequence[Shown]: ...

    def images(self, study_uid: str, headers: Mapping[str, str]) -> Sequence[SeriesImages]: ...

    def picture(
        self,
        study_uid: str,
        uid: str,
        headers: Mapping[str, str],
        *,
        frame: int = 1,
        box: Box | None = None,
        side: int = 1024,
    ) -> Drawn | None:
        """None where the user may see no such object. Raises RequestError for one that is not drawn."""


# (who, Study Instance UID, what of it): a study was shown to somebody. Never waits, never fails.
Viewed = Callable[[Person, str, str], None]


class AuditTrail(Protocol):
    """The audit trail; adapters.audit.AuditTrail is it. All raise JournalError."""

    def record(self, event: AuditEvent) -> AuditRecord:
        """Keep an event: it is on the disk when this returns."""

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        study: str | None = None,
        user: str | None = None,
        kind: AuditKind | None = None,
    ) -> list[AuditRecord]:
        """Records of a higher number, lowest first."""

    def head(self) -> Head:
        """Where the trail stands, signed."""


class ReadingRoom(Protocol):
    """The worklist as people use it; services.reading_room.ReadingRoom is it, and says what is answered."""

    @property
    def readers(self) -> tuple[str, ...]: ...
    @property
    def claim_minutes(self) -> float: ...

    def stamp(self) -> str: ...
    def page(self, wanted: Wanted) -> Page: ...
    def entry(self, study_uid: str) -> Listed | None: ...
    def explain(self, study_uid: str) -> Explained | None: ...
    def claim(self, study: str, person: Person) -> Listed | NotDone | None: ...
    def release(self, study: str, person: Person) -> Listed | NotDone | None: ...
    def assign(self, study: str, person: Person, reader: str | None) -> Listed | NotDone | None: ...
    def set_priority(
        self, study: str, person: Person, priority: Priority | None, reason: str
    ) -> Listed | NotDone | None: ...
    def complete(self, study: str, person: Person) -> Listed | NotDone | None: ...
    def reopen(self, study: str, person: Person) -> Listed | NotDone | None: ...


class Thumbnails(Protocol):
    """Small pictures of studies; services.thumbnails.Thumbnails makes them."""

    def find(self, study_uid: str, headers: Mapping[str, str]) -> Thumbnail | str | None:
        """The picture, why there is none, or None where the user of these headers may see no such study."""


class Reviews(Protocol):
    """What readers decide; services.review.Reviews keeps it."""

    def decide(
        self, study_uid: str, request: str, choices: Sequence[Choice], person: Person
    ) -> Answered | Conflict | Impossible | None:
        """None where the study has no result. Raises NotInArchive where an object that is reviewed is gone."""

    def history(self, study_uid: str) -> Answered: ...
    def standing(self, jobs: Sequence[str]) -> Mapping[str, Standing]: ...


@dataclass(frozen=True, slots=True)
class WebServices:
    """Everything the routes call; each is asked anew for every request, since the router starts after its routes.

    What a router that is not running lacks is None: routes that need it answer 503.
    """

    health: Callable[[], Health]
    models: Callable[[], Sequence[ModelStatus]]
    journal: Callable[[], Journal | None]
    requests: Callable[[], Requests | None]
    imports: Callable[[], Imports | None] = lambda: None
    similar: Callable[[], SimilarCases | None] = lambda: None
    rescans: Callable[[], Rescans | None] = lambda: None
    quality: Callable[[], QualityChecks | None] = lambda: None
    readings: Callable[[], ReadingRoom | None] = lambda: None
    thumbnails: Callable[[], Thumbnails | None] = lambda: None
    pictures: Callable[[], StudyPictures | None] = lambda: None
    viewer: Callable[[], Viewer | None] = lambda: None
    dicom_web: Callable[[], DicomWeb | None] = lambda: None
    access: Access = field(default_factory=Access)
    refused: Callable[[Refused], None] = lambda _: None
    audit: Callable[[], AuditTrail | None] = lambda: None
    reviews: Callable[[], Reviews | None] = lambda: None
    phase: Callable[[], Phase] = lambda: Phase.INTEGRATED  # of the models' introduction
    viewed: Viewed = lambda person, study, what: None
