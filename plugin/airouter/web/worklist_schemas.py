"""What goes in and comes out of the worklist's routes."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator

from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Reading
from airouter.domain.reading import AuditShare, Explained, Listed, Page, Show, Status, Wanted
from airouter.domain.reading_order import Lock, spoken
from airouter.domain.role import Person, Role
from airouter.web.result_schemas import VerdictView

# Whoever reads a study of the random audit must not know that it is one.
_KNOW_THE_AUDIT = (Role.SUPERVISOR, Role.GOVERNANCE)
_QUEUES = {"full": Reading.FULL, "release": Reading.REVIEW_AND_RELEASE}


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _queue(value: object) -> object:
    """Also `full` and `release`: an ampersand in an address is a nuisance."""
    return _QUEUES.get(value, value) if isinstance(value, str) else value


def _spoken(value: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", value).split())


UserName = Annotated[str, Field(min_length=1, max_length=64)]


class WorklistQuery(_Input):
    status: Annotated[Show, Field(description="open, unread, in-review, read, any")] = Show.OPEN
    reading: Annotated[Reading | None, BeforeValidator(_queue), Field(description="full or release: the queue")] = None
    priority: Annotated[Priority | None, Field(description="The one that counts")] = None
    modality: Annotated[str | None, Field(pattern=r"^[A-Z]{2,16}$", description="SM, OP, OPT or OPV")] = None
    phase: Phase | None = None
    laterality: Annotated[Literal["R", "L", "B"] | None, Field(description="R and L include studies of both")] = None
    assigned: Annotated[UserName | None, Field(description="Assigned to or claimed by this user; `me`: to you")] = None
    text: Annotated[str | None, Field(max_length=100, description="Words of patient, study, reason or findings")] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="At most so many entries")] = 100
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="So many are left out before them")] = 0

    def wanted(self, person: Person) -> Wanted:
        return Wanted(
            show=self.status,
            queue=self.reading,
            priority=self.priority,
            modality=self.modality,
            phase=self.phase,
            laterality=self.laterality,
            reader=(person.name or "") if self.assigned == "me" else self.assigned,
            text=self.text,
            limit=self.limit,
            offset=self.offset,
        )


class Nothing(_Input):
    """An empty object."""


class Assignment(_Input):
    reader: Annotated[UserName | None, Field(description="User name, null: nobody")]


class PriorityChange(_Input):
    """Which priority counts from now on, and why; null gives the machine its say again."""

    priority: Priority | None
    reason: Annotated[str, Field(max_length=500), AfterValidator(_spoken)] = ""

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.priority is not None and not self.reason:
            raise ValueError("say why")
        return self


class PatientView(BaseModel):
    name: str
    id: str
    birth_date: str
    sex: str


class HumanPriorityView(BaseModel):
    """A priority that a person has locked."""

    priority: Priority
    reason: str
    by: str
    at: str

    @classmethod
    def of(cls, lock: Lock) -> Self:
        return cls(priority=lock.priority, reason=lock.reason, by=lock.by, at=lock.at)


class WorklistItem(BaseModel):
    """One study. `verdict` is the machine's; `priority` counts, which may be a person's. `position`: from 1 in its
    queue, null where the study is read. `audit_sample`: null to whoever must not know. `analysis`: the machine's work
    is `done`, `running`, `waiting`, `failed` or `none`, and in words what is missing."""

    study: str
    study_id: str
    verdict: VerdictView
    updated: str
    position: int | None
    priority: Priority
    queue: Reading
    patient: PatientView
    accession: str
    description: str
    study_date: str
    study_time: str
    modalities: list[str]
    laterality: str | None
    findings_line: str
    analysis: str
    analysis_text: str
    status: Status
    pending: int
    decided: int
    phase: Phase | None
    assigned: str | None
    claimed_by: str | None
    claimed_until: str | None
    completed_by: str | None
    completed_at: str | None
    human_priority: HumanPriorityView | None
    audit_sample: bool | None
    arrived: str
    waiting_seconds: float
    due: str
    thumbnail: str | None
    viewer: str

    @classmethod
    def of(cls, entry: Listed, person: Person, now: datetime) -> Self:
        facts, desk = entry.facts, entry.desk
        return cls(
            study=facts.study_uid,
            study_id=facts.study_id,
            verdict=VerdictView.of(entry.verdict),
            updated=entry.updated,
            position=entry.position,
            priority=entry.place.priority,
            queue=entry.queue,
            patient=PatientView(
                name=facts.patient_name, id=facts.patient_id, birth_date=facts.birth_date, sex=facts.sex
            ),
            accession=facts.accession,
            description=facts.description,
            study_date=facts.study_date,
            study_time=facts.study_time,
            modalities=list(facts.modalities),
            laterality=facts.laterality or None,
            findings_line=entry.findings_line,
            analysis=entry.analysis.state,
            analysis_text=entry.analysis.text,
            status=entry.status,
            pending=entry.pending,
            decided=entry.decided,
            phase=entry.phase,
            assigned=desk.assigned,
            claimed_by=desk.claimed_by,
            claimed_until=_iso(desk.claimed_until),
            completed_by=desk.completed_by,
            completed_at=_iso(desk.completed_at),
            human_priority=HumanPriorityView.of(desk.lock) if desk.lock else None,
            audit_sample=entry.audit_sample if person.has(*_KNOW_THE_AUDIT) else None,
            arrived=entry.place.arrived.isoformat(timespec="seconds"),
            waiting_seconds=max(0.0, (now - entry.place.arrived).total_seconds()),
            due=entry.place.due.isoformat(timespec="seconds"),
            thumbnail=f"/ai/studies/{facts.study_uid}/thumbnail?v={facts.picture}" if facts.picture else None,
            viewer=_viewer(facts.study_uid, facts.modalities),
        )


class AuditView(BaseModel):
    """The random audit of Review & Release: studies that asked for that bucket, drawn of them, and of these read."""

    share: float
    asked: int
    drawn: int
    drawn_read: int

    @classmethod
    def of(cls, audit: AuditShare) -> Self:
        return cls(share=audit.share, asked=audit.asked, drawn=audit.drawn, drawn_read=audit.drawn_read)


class WorklistView(BaseModel):
    """`total`: studies with these filters. `waiting`: open studies of each queue; `urgent`: by priority; `read`: read
    ones. `audit` is null to whoever must not know. `readers`: whom a study may be assigned to."""

    revision: int
    total: int
    waiting: dict[Reading, int]
    urgent: dict[Priority, int]
    read: int
    audit: AuditView | None
    claim_minutes: float
    readers: list[str]
    studies: list[WorklistItem]

    @classmethod
    def of(cls, page: Page, person: Person, now: datetime, claim_minutes: float, readers: tuple[str, ...]) -> Self:
        return cls(
            revision=page.revision,
            total=page.total,
            waiting=dict(page.waiting),
            urgent=dict(page.urgent),
            read=page.read,
            audit=AuditView.of(page.audit) if person.has(*_KNOW_THE_AUDIT) else None,
            claim_minutes=claim_minutes,
            readers=list(readers),
            studies=[WorklistItem.of(entry, person, now) for entry in page.entries],
        )


class GroundView(BaseModel):
    """One reason of a result, and the findings that it rests on."""

    priority: Priority
    reason: str
    findings: str


class NeighbourView(BaseModel):
    """A study beside this one in the queue, and why the first of the two is first."""

    study: str
    patient: str
    priority: Priority
    due: str
    why: str

    @classmethod
    def of(cls, entry: Listed | None, why: str) -> Self | None:
        if entry is None:
            return None
        return cls(
            study=entry.facts.study_uid,
            patient=entry.facts.patient_name,
            priority=entry.place.priority,
            due=entry.place.due.isoformat(timespec="seconds"),
            why=why,
        )


class ExplanationView(BaseModel):
    """Why a study stands where it does. `source`: `AI`, `human`, or `rule` where nobody has said anything yet."""

    study: str
    status: Status
    queue: Reading
    position: int | None
    queue_length: int
    priority: Priority
    source: Literal["AI", "human", "rule"]
    reason: str
    ai_priority: Priority
    ai_reason: str
    grounds: list[GroundView]
    human_priority: HumanPriorityView | None
    arrived: str
    allowance_minutes: float
    allowance: str
    due: str
    overdue: bool
    before: NeighbourView | None
    after: NeighbourView | None
    sentences: list[str]

    @classmethod
    def of(cls, why: Explained) -> Self:
        entry, lock = why.entry, why.entry.desk.lock
        said = bool(entry.findings_line or why.grounds)
        source: Literal["AI", "human", "rule"] = "human" if lock else "AI" if said else "rule"
        return cls(
            study=entry.facts.study_uid,
            status=entry.status,
            queue=entry.queue,
            position=entry.position,
            queue_length=why.queue_length,
            priority=entry.place.priority,
            source=source,
            reason=lock.reason if lock else entry.verdict.reason,
            ai_priority=entry.verdict.priority,
            ai_reason=entry.verdict.reason,
            grounds=[GroundView(priority=Priority(p), reason=r, findings=f) for p, r, f in why.grounds],
            human_priority=HumanPriorityView.of(lock) if lock else None,
            arrived=entry.place.arrived.isoformat(timespec="seconds"),
            allowance_minutes=why.allowance_minutes,
            allowance=_allowed(why.allowance_minutes),
            due=entry.place.due.isoformat(timespec="seconds"),
            overdue=entry.place.due < why.now and entry.status is not Status.READ,
            before=NeighbourView.of(why.before, why.why_before),
            after=NeighbourView.of(why.after, why.why_after),
            sentences=_sentences(why, source),
        )


def _sentences(why: Explained, source: str) -> list[str]:
    entry, lock, place = why.entry, why.entry.desk.lock, why.entry.place
    said = []
    if lock is not None:
        said.append(
            f"{lock.by} set the priority {lock.priority}: {lock.reason}. The AI cannot change it until released."
        )
        said.append(f"The AI says {entry.verdict.priority}: {entry.verdict.reason}.")
    elif source == "AI":
        said.append(f"The AI says {place.priority}: {entry.verdict.reason}.")
    else:
        said.append(f"No result says otherwise, so the priority is {place.priority}. {entry.verdict.reason}".strip())
    allowed = _allowed(why.allowance_minutes)
    said.append(f"A study of priority {place.priority} may wait {allowed} from its arrival; then it is due.")
    if entry.status is Status.READ:
        said.append("It is read, and so has no place on the list.")
    else:
        late = why.now - place.due
        said.append(
            f"It is overdue by {spoken(late)}." if late.total_seconds() > 0 else f"It is due in {spoken(-late)}."
        )
        said.append(f"What is due first is read first: it is {entry.position} of {why.queue_length} in {entry.queue}.")
    if entry.analysis.text:
        said.append(f"{entry.analysis.text}.")
    return said


def _allowed(minutes: float) -> str:
    return f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time is not None else None


def _viewer(study: str, modalities: tuple[str, ...]) -> str:
    """Where the study's images are looked at; a visual field has none, the panel shows it."""
    if "SM" in modalities:
        return f"/ohif/microscopy?StudyInstanceUIDs={study}"
    if {"OP", "OPT"} & set(modalities):
        return f"/ohif/viewer?StudyInstanceUIDs={study}"
    return f"/ai/panel?study={study}"
