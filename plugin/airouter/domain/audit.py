"""What the audit trail keeps, and the chain that shows whether it was changed.

Each record carries a keyed digest (HMAC-SHA256, RFC 2104) over its own text and the digest before it, so that a record
that was changed, taken out, put in or moved breaks the chain. Cut-off ends show against a head kept elsewhere.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

GENESIS: Final = "0" * 64  # stands before the first record


class AuditKind(StrEnum):
    """What happened."""

    STARTED = "router started"
    STOPPED = "router stopped"
    ROUTING = "routing decision"
    INFERENCE = "inference"
    REQUEST = "analysis requested"
    CANCEL = "analysis canceled"
    VIEW = "study viewed"
    REVIEW = "finding reviewed"
    ASSIGNMENT = "study assigned"
    PRIORITY = "priority set"
    READ = "study read"
    RESCAN = "rescan dismissed"
    PHASE = "phase changed"
    REFUSED = "access refused"
    EXPORT = "audit trail read"


class Outcome(IntEnum):
    """Event Outcome Indicator (PS3.15 A.5)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened. `user` None: the router itself. `detail`: plain JSON values, no pixel or free text of
    patients beyond what names the study."""

    kind: AuditKind
    user: str | None = None
    roles: tuple[str, ...] = ()
    study_uid: str | None = None
    patient_id: str | None = None
    outcome: Outcome = Outcome.SUCCESS
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of the trail. `seq` counts from 1 without gaps; `at` is an ISO 8601 time, UTC; `text` is `content` as it
    was sealed. `columns`: kind, study, patient and user as they stand beside the text, for searching; None where they
    do not."""

    seq: int
    at: str
    text: str
    digest: str
    columns: tuple[str, str | None, str | None, str | None] | None = None

    @property
    def content(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.text)
        return value


@dataclass(frozen=True, slots=True)
class Head:
    """Where the trail stood at a time (ISO 8601, UTC): number and digest of its last record, signed with the key."""

    seq: int
    digest: str
    at: str
    signature: str


def text(event: AuditEvent, seq: int, at: str) -> str:
    """The event as one line of JSON, always the same for the same event."""
    content = {
        "seq": seq,
        "at": at,
        "kind": event.kind.value,
        "outcome": int(event.outcome),
        "user": event.user,
        "roles": sorted(event.roles),
        "study": event.study_uid,
        "patient": event.patient_id,
        "detail": event.detail,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def seal(key: bytes, before: str, line: str) -> str:
    """Hex digest of a record after the one with the digest `before`."""
    return hmac.new(key, f"{before}\n{line}".encode(), hashlib.sha256).hexdigest()


def head(key: bytes, seq: int, digest: str, at: str) -> Head:
    """A signed head."""
    said = f"head\n{seq}\n{digest}\n{at}"  # no seal begins so: that of a record begins with a digest
    return Head(seq, digest, at, hmac.new(key, said.encode(), hashlib.sha256).hexdigest())


def fingerprint(key: bytes) -> str:
    """What tells one key from another without telling the key."""
    return hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest()
