"""What goes in and comes out of the routes, as pydantic models; the OpenAPI document is made from them."""

import os
import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.functional_validators import BeforeValidator

from airouter.domain.decision import Decision
from airouter.domain.job import Job, JobState
from airouter.domain.model import Scalar
from airouter.domain.priority import Priority
from airouter.ports import JobRecord, StoredEvidence
from airouter.services.importing import DroppedSlide, ImportState
from airouter.services.request import Request
from airouter.web.services import ModelStatus, RouterState

# A UI value (PS3.5 table 6.2-1): digits and dots, at most 64.
StudyUid = Annotated[str, Field(pattern=r"^[0-9][0-9.]{0,63}$", description="Study Instance UID")]
StudyName = Annotated[
    str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,63}$", description="Study Instance UID or archive identifier")
]
Limit = Annotated[int, Field(ge=1, le=1000, description="At most so many entries")]
Name = Annotated[str, Field(min_length=1, max_length=128)]


def _state(value: object) -> object:
    """Accept IN_PROGRESS and in progress as well: a space in a query is a nuisance."""
    return re.sub(r"[_+]", " ", value).upper() if isinstance(value, str) else value


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JobsQuery(_Input):
    study: StudyUid | None = None
    state: Annotated[JobState, BeforeValidator(_state)] | None = None
    limit: Limit = 100


class ImportsQuery(_Input):
    limit: Limit = 100


class DecisionsQuery(_Input):
    study: StudyUid | None = None
    limit: Limit = 100


class JobPath(BaseModel):
    key: str = Field(description="Job key")


class StudyPath(BaseModel):
    uid: StudyUid


class Submission(_Input):
    """Which stored studies to analyse, and how."""

    study: StudyName | None = None
    studies: Annotated[list[StudyName], Field(min_length=1, max_length=1000)] | None = None
    all: StrictBool = False
    route: Name | None = None
    pipeline: Name | None = None
    model: Name | None = None
    companions: dict[Name, Name] | None = None
    retry: StrictBool = False
    priority: Priority | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.study is not None) + (self.studies is not None) + self.all != 1:
            raise ValueError("give exactly one of study, studies, or all: true")
        if self.pipeline is None and self.model is not None:
            raise ValueError("pipeline and model come together")  # a pipeline alone may be one that needs no model
        if self.companions and self.pipeline is None:
            raise ValueError("companions come with a pipeline and a model")
        if self.route is not None and self.pipeline is not None:
            raise ValueError("give either a route, or a pipeline and a model")
        return self

    def request(self) -> Request:
        named = [self.study] if self.study is not None else self.studies or []
        return Request(
            studies=tuple(dict.fromkeys(named)),
            everything=self.all,
            route=self.route,
            pipeline=self.pipeline,
            model=self.model,
            companions=self.companions or {},
            retry=self.retry,
            priority=self.priority,
        )


class ErrorText(BaseModel):
    reason: str
    advice: str


class ErrorView(BaseModel):
    """Every answer that is not a success."""

    error: ErrorText


class ModelView(BaseModel):
    """One model folder; `reason` says why it is not usable or, of a usable one, what could not be tested."""

    name: str
    version: str | None
    sha256: str | None
    execution_provider: str | None
    usable: bool
    reason: str | None

    @classmethod
    def of(cls, status: ModelStatus) -> Self:
        return cls(
            name=status.name,
            version=status.version,
            sha256=status.sha256,
            execution_provider=status.provider or None,
            usable=status.usable,
            reason=status.reason or None,
        )


class ModelsView(BaseModel):
    models: list[ModelView]


class DroppedSlideView(BaseModel):
    """One slide of the import folder. `since`: when it came into this state; if waiting, when it was last written."""

    name: str
    state: ImportState
    since: str
    reason: str | None

    @classmethod
    def of(cls, slide: DroppedSlide) -> Self:
        name = os.fsencode(slide.name).decode("utf-8", "replace")  # a file's name is bytes, and need not be text
        return cls(name=name, state=slide.state, since=slide.since, reason=slide.reason or None)


class ImportsView(BaseModel):
    """The import folder: whether there is one, why it is not worked on, and what lies in it."""

    enabled: bool
    reason: str | None
    slides: list[DroppedSlideView]


class OrthancView(BaseModel):
    version: str | None


class HealthView(BaseModel):
    version: str
    state: RouterState
    reason: str
    orthanc: OrthancView
    warnings: list[ErrorText]
    models: list[ModelView]
    queue_depth: int
    jobs: dict[str, int]
    intake_lag_seconds: float | None


class ProgressView(BaseModel):
    done: int
    total: int
    unit: str


class ModelIdentity(BaseModel):
    name: str
    version: str
    sha256: str


class EvidenceView(BaseModel):
    """One DICOM object written; `instance` is the archive's identifier."""

    role: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    instance: str

    @classmethod
    def of(cls, stored: StoredEvidence) -> Self:
        return cls(
            role=stored.role,
            sop_class_uid=stored.sop_class,
            sop_instance_uid=stored.uid,
            series_instance_uid=stored.series_uid,
            instance=stored.instance,
        )


def companions_of(job: Job) -> dict[str, ModelIdentity]:
    return {
        role: ModelIdentity(name=each.name, version=each.version, sha256=each.sha256)
        for role, each in job.companions.items()
    }


class JobView(BaseModel):
    key: str
    study: str
    study_id: str
    series: str
    modality: str
    sources: list[str]
    pipeline: str
    pipeline_version: str
    model: ModelIdentity
    companions: dict[str, ModelIdentity]
    parameters: dict[str, Scalar]
    route: str
    priority: Priority
    state: JobState
    created: str
    started: str | None
    ended: str | None
    progress: ProgressView | None
    reason: str | None
    discontinuation: str | None
    execution_provider: str | None
    requested_by: str | None
    attempts: int

    @classmethod
    def of(cls, record: JobRecord, **more: Any) -> Self:
        job, progress = record.job, record.progress
        return cls(
            key=job.key,
            study=job.study_uid,
            study_id=job.study_id,
            series=job.series_uid,
            modality=job.modality.value,
            sources=[source.uid for source in job.sources],
            pipeline=job.pipeline,
            pipeline_version=job.pipeline_version,
            model=ModelIdentity(name=job.model, version=job.model_version, sha256=job.model_sha256),
            companions=companions_of(job),
            parameters=dict(job.parameters),
            route=job.route,
            priority=job.priority,
            state=record.state,
            created=record.created,
            started=record.started,
            ended=record.ended,
            progress=ProgressView(done=progress.done, total=progress.total, unit=progress.unit) if progress else None,
            reason=record.reason,
            discontinuation=record.discontinuation.value if record.discontinuation else None,
            execution_provider=record.execution_provider,
            requested_by=record.requested_by,
            attempts=record.attempts,
            **more,
        )


class JobDetail(JobView):
    evidence: list[EvidenceView]


class JobsView(BaseModel):
    jobs: list[JobView]


class ClauseView(BaseModel):
    path: str
    expected: str
    found: str
    matched: bool


class DecisionView(BaseModel):
    time: str | None
    study: str
    series: str
    modality: str | None
    sources: list[str]
    route: str
    revision: str
    outcome: str
    reason: str
    job: str | None
    clauses: list[ClauseView]

    @classmethod
    def of(cls, decision: Decision, time: str | None = None) -> Self:
        return cls(
            time=time,
            study=decision.study_uid,
            series=decision.series_uid,
            modality=decision.modality.value if decision.modality else None,
            sources=list(decision.sources),
            route=decision.route,
            revision=decision.revision,
            outcome=decision.outcome.value,
            reason=decision.reason,
            job=decision.job,
            clauses=[
                ClauseView(path=c.path, expected=c.expected, found=c.found, matched=c.matched) for c in decision.clauses
            ],
        )


class DecisionsView(BaseModel):
    decisions: list[DecisionView]


class SubmittedView(BaseModel):
    """Decisions made, keys of the jobs they led to, and those of the named studies that are not in the archive.

    `deferred` says how many further studies are being routed in the background.
    """

    decisions: list[DecisionView]
    jobs: list[str]
    unknown: list[str]
    deferred: int
