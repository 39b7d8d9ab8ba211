"""A study on the worklist: whose it is, what is known of it, where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from airouter.domain.desk import Desk
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Reading, Verdict
from airouter.domain.reading_order import Allowances, Place


@dataclass(frozen=True, slots=True)
class Facts:
    """What the headers of a study's images say, as text of DICOM; empty where they say nothing.

    `picture`: a text that changes with the image that stands for the study, empty where there is none to show.
    """

    study_uid: str
    study_id: str
    modalities: tuple[str, ...]
    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    sex: str = ""
    accession: str = ""
    description: str = ""
    study_date: str = ""
    study_time: str = ""
    laterality: str = ""
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What orders the list: allowances, the share of Review & Release that is read in full, and the models' phase."""

    allowances: Allowances = field(default_factory=Allowances)
    audit_share: float = 0.1
    phase: Phase = Phase.INTEGRATED


class Status(StrEnum):
    """How far a study is read."""

    UNREAD = "unread"
    IN_REVIEW = "in-review"  # somebody has it, or has decided some findings
    READ = "read"  # every finding is decided, or somebody has completed it


class Show(StrEnum):
    """Which studies are asked for."""

    OPEN = "open"
    UNREAD = "unread"
    IN_REVIEW = "in-review"
    READ = "read"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Analysis:
    """How the machine stands with a study: `done`, `running`, `waiting`, `failed`, `none`; in words, empty if done."""

    state: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list. `verdict`: the machine's; `place.priority` counts. `position`: from 1 among the open
    studies of its queue, None where it is read. `audit_sample`: it was drawn from Review & Release."""

    facts: Facts
    verdict: Verdict
    updated: str
    findings_line: str
    phase: Phase | None
    place: Place
    position: int | None
    queue: Reading
    status: Status
    pending: int
    decided: int
    desk: Desk
    audit_sample: bool
    analysis: Analysis


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters, None where everything is wanted, and which part of the list."""

    show: Show = Show.OPEN
    queue: Reading | None = None
    priority: Priority | None = None
    modality: str | None = None
    phase: Phase | None = None
    laterality: str | None = None
    reader: str | None = None  # assigned to, or claimed by
    text: str | None = None  # each word must stand somewhere
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class AuditShare:
    """How the random audit of Review & Release stands: studies that asked for it, drawn of them, and drawn and read."""

    share: float
    asked: int
    drawn: int
    drawn_read: int


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list. `total`: with these filters; `waiting`: open studies of each queue, and by priority."""

    revision: int
    total: int
    entries: tuple[Listed, ...]
    waiting: Mapping[Reading, int]
    urgent: Mapping[Priority, int]
    read: int
    audit: AuditShare


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a study stands where it does. `before` and `after` are its neighbours in the queue."""

    entry: Listed
    allowance_minutes: float
    queue_length: int
    grounds: tuple[tuple[str, str, str], ...]  # priority, reason, finding labels of each current result
    before: Listed | None
    why_before: str
    after: Listed | None
    why_after: str
    now: datetime
