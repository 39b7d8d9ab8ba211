"""What the web layer needs from the rest of the router: ports and callables, handed over by the composition root."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from airouter.domain.job import JobState
from airouter.domain.rescan import RescanEntry
from airouter.imaging.upload import Rejected
from airouter.ports import Journal
from airouter.services.importing import DroppedSlide
from airouter.services.quality import NoModel, Quality
from airouter.services.request import Answer, Request
from airouter.services.similar import NotSearchable, Similar


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
