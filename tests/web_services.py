"""Services for tests of the web layer: a journal with one study in it, and requests that are recorded."""

from dataclasses import dataclass, field
from pathlib import Path

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.adapters.reading import ReadingStore
from airouter.domain.decision import Clause, Decision, Outcome
from airouter.domain.job import Discontinuation, Job, JobState, Progress, Source
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Modality
from airouter.errors import RequestError
from airouter.ports import ResultRecord, StoredEvidence
from airouter.services.reading_room import ReadingRoom
from airouter.services.request import Answer, Request
from airouter.services.rescans import Rescans
from airouter.web.services import Health, RouterState, WebServices

STUDY, STUDY_ID = "1.2.826.0.1.3680043.8.1", "6b9e19d9-62094390-5f9ddb01-4a191ae7-9766b715"
DONE, RUNNING = "a" * 64, "b" * 64
PATIENT = "Canary^Patient"  # must never come out of anything


def job(key: str) -> Job:
    return Job(
        key=key,
        study_id=STUDY_ID,
        study_uid=STUDY,
        series_uid="1.2.3.4",
        modality=Modality.SM,
        sources=(Source("i1", "1.2.3.4.5", "d" * 32),),
        pipeline="nuclear-positivity",
        pipeline_version="1",
        model="nuclei",
        model_version="1.0.0",
        model_sha256="c" * 64,
        parameters={"threshold": 0.5},
        route="slides",
    )


DECISION = Decision(
    study_uid=STUDY,
    series_uid="1.2.3.4",
    modality=Modality.SM,
    sources=("1.2.3.4.5",),
    route="slides",
    revision="r1",
    outcome=Outcome.SELECTED,
    reason="every clause matched",
    job=DONE,
    clauses=(Clause("Modality", "SM", "SM", True),),
)

RESULT = ResultRecord(
    job=DONE,
    study_uid=STUDY,
    findings=({"label": "Ki-67", "measurements": [{"value": 12.5, "unit": "%"}]},),
    evidence=(StoredEvidence("sr", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.1", "2.25.2", "i9"),),
    verdict=Verdict(Priority.HIGH, "index above 10 %"),
    not_analysed=({"quantity": "area", "reason": "not analysed because there is no tissue"},),
)


def filled(folder: Path) -> DatabaseJournal:
    """A new journal: one job done, a newer one running, one decision and one result."""
    journal = DatabaseJournal(f"sqlite:///{folder}/journal.db")
    journal.decide([DECISION])
    for key, done in ((DONE, 40), (RUNNING, 7)):
        journal.add(job(key), requested_by="alice")
        journal.start(key, "CPUExecutionProvider")
        journal.progress(key, Progress(done, 40))
    journal.complete(RESULT)
    return journal


@dataclass(frozen=True)
class Model:
    name: str = "nuclei"
    version: str | None = "1.0.0"
    sha256: str | None = "c" * 64
    provider: str | None = "CPUExecutionProvider"
    usable: bool = True
    reason: str | None = None


BROKEN = Model("broken", None, None, None, usable=False, reason="sha256 differs")


@dataclass
class Fake:
    """Services over `journal`, and what was asked of them.

    Study 9.9 is unknown, study 9.500 fails with a message that nobody may see, the route "none" does not exist.
    """

    journal: DatabaseJournal | None
    archive: MemoryArchive = field(default_factory=MemoryArchive)
    submitted: list[tuple[Request, str | None]] = field(default_factory=list)
    cancelled: list[tuple[str, str | None]] = field(default_factory=list)
    state: Health = field(
        default_factory=lambda: Health(
            RouterState.RUNNING,
            orthanc_version="1.10.1",
            queue_depth=3,
            jobs={JobState.COMPLETED: 1, JobState.IN_PROGRESS: 1},
            intake_lag_seconds=0.25,
        )
    )

    def submit(self, request: Request, user: str | None) -> Answer:
        self.submitted.append((request, user))
        if request.route == "none":
            raise RequestError("there is no route 'none'")
        if "9.500" in request.studies:
            raise ValueError(PATIENT)
        return Answer((DECISION,), (DONE,), tuple(s for s in request.studies if s == "9.9"))

    def cancel(self, key: str, user: str | None) -> bool:
        assert self.journal is not None
        record = self.journal.job(key)
        if record is None or record.state in (JobState.COMPLETED, JobState.CANCELED):
            return False
        self.cancelled.append((key, user))
        self.journal.cancel(key, Discontinuation.OPERATOR, "canceled by an operator")
        return True

    def services(self) -> WebServices:
        return WebServices(
            health=lambda: self.state,
            models=lambda: (Model(), BROKEN),
            journal=lambda: self.journal,
            requests=lambda: self if self.journal is not None else None,
            rescans=lambda: Rescans(self.archive, self.journal) if self.journal is not None else None,
            readings=lambda: ReadingRoom(ReadingStore(self.journal.store)) if self.journal is not None else None,
        )
