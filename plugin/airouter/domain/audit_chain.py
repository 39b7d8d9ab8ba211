"""Whether an audit trail is the one that was written: each record's seal, the numbers, and what was noted elsewhere."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from airouter.domain.audit import GENESIS, AuditRecord, Head, head, seal


@dataclass(frozen=True, slots=True)
class Anchor:
    """What somebody outside the database knows of the trail: the digest of one record."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The trail is whole up to its last record. `anchored`: the last record that an anchor names, 0 without one; what
    comes after it may have been longer."""

    records: int
    digest: str
    anchored: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The first record that is not as it was written, or not there, and how it shows."""

    seq: int
    why: str


def verify(records: Iterable[AuditRecord], key: bytes, anchors: Iterable[Anchor] = ()) -> Verified | Broken:
    """Check a whole trail, its records in the order of their numbers."""
    wanted: dict[int, str] = {}
    for anchor in anchors:
        if wanted.setdefault(anchor.seq, anchor.digest) != anchor.digest:
            return Broken(anchor.seq, "two anchors name different records of this number: the trail had two versions")
    before, last = GENESIS, 0
    for record in records:
        fault = _fault(record, last + 1, before, key, wanted)
        if fault is not None:
            return fault
        before, last = record.digest, record.seq
    latest = max(wanted, default=0)
    if latest > last:
        return Broken(last + 1, f"missing: the trail ends before it, and an anchor names record {latest}")
    return Verified(last, before, latest)


def genuine(found: Head, key: bytes) -> bool:
    """Whether the holder of the key signed this head."""
    return _same(found.signature, head(key, found.seq, found.digest, found.at).signature)


def _fault(record: AuditRecord, due: int, before: str, key: bytes, wanted: dict[int, str]) -> Broken | None:
    if record.seq > due:
        return Broken(due, f"missing: the next record has the number {record.seq}")
    if record.seq < due:
        return Broken(record.seq, "out of order, or there twice")
    if not all(isinstance(each, str) for each in (record.at, record.text, record.digest)):
        return Broken(due, "changed: it is not text any more")  # SQLite takes whatever it is given
    if not _same(record.digest, seal(key, before, record.text)):
        return Broken(due, "changed, moved or put in: its seal is not that of its text after the record before it")
    content = record.content
    if (content["seq"], content["at"]) != (record.seq, record.at):
        return Broken(due, "changed: number or time beside the text are not those in it")
    said = (content["kind"], content["study"], content["patient"], content["user"])
    if record.columns is not None and record.columns != said:
        return Broken(due, "changed: kind, study, patient or user beside the text are not those in it")
    if wanted.get(due, record.digest) != record.digest:
        return Broken(due, "another record than the one that an anchor names: the trail was put back and went on")
    return None


def _same(given: str, due: str) -> bool:
    return hmac.compare_digest(given.encode(), due.encode())  # as bytes: it takes no text beyond ASCII
