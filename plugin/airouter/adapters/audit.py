"""The audit trail as a table: records are only ever added, each in the transaction of what it tells of."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.store import Store, now
from airouter.domain.audit import GENESIS, AuditEvent, AuditKind, AuditRecord, Head, head, seal, text

_BATCH: Final = 1000


def append(store: Store, db: sa.Connection, event: AuditEvent) -> AuditRecord:
    """Add a record in the write transaction `db`: with it, or not at all.

    Where the event does not say whose the study is, an earlier record of the study does.
    """
    h, t = tables.audit_head, tables.audit
    if event.patient_id is None and event.study_uid is not None:
        known = sa.select(t.c.patient_id).where(t.c.study_uid == event.study_uid, t.c.patient_id.is_not(None))
        patient = db.execute(known.order_by(t.c.seq.desc()).limit(1)).scalar_one_or_none()
        event = replace(event, patient_id=patient)
    last, before = _standing(store, db)
    seq, at = last + 1, now()
    line = text(event, seq, at)
    record = AuditRecord(seq, at, line, seal(store.seal, before, line))
    row = {
        "seq": seq,
        "at": at,
        "kind": event.kind.value,
        "study_uid": event.study_uid,
        "patient_id": event.patient_id,
        "user": event.user,
        "text": line,
        "digest": record.digest,
    }
    db.execute(t.insert().values(row))
    db.execute(h.update().where(h.c.id == 1).values(seq=seq, digest=record.digest))
    return record


def reserve(store: Store, db: sa.Connection) -> None:
    """Take the trail's lock before that of the worklist, and after the rows of jobs and rescans.

    Whoever writes to both does: in another order two transactions of PostgreSQL would wait for each other.
    """
    _standing(store, db)


def walk(db: sa.Connection) -> Iterator[AuditRecord]:
    """The whole trail, lowest number first, with what stands beside each text, as one read transaction sees it."""
    t = tables.audit
    query = sa.select(
        t.c.seq, t.c.at, t.c.text, t.c.digest, t.c.kind, t.c.study_uid, t.c.patient_id, t.c.user
    ).order_by(t.c.seq)
    for seq, at, line, digest, *columns in db.execution_options(yield_per=_BATCH).execute(query):
        yield AuditRecord(seq, at, line, digest, tuple(columns))


class AuditTrail:
    """The trail by itself, for what is told of no other change of the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, event: AuditEvent) -> AuditRecord:
        """Keep an event. Raises JournalUnavailable, JournalError: whoever must not act unrecorded does not act."""
        with self._store.write() as db:
            return append(self._store, db, event)

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        study: str | None = None,
        user: str | None = None,
        kind: AuditKind | None = None,
    ) -> list[AuditRecord]:
        """Records of a higher number, lowest first; only those of a study, user or kind where one is given."""
        t = tables.audit
        query = sa.select(t.c.seq, t.c.at, t.c.text, t.c.digest).where(t.c.seq > after).order_by(t.c.seq)
        for column, wanted in ((t.c.study_uid, study), (t.c.user, user), (t.c.kind, kind and kind.value)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._store.read() as db:
            return [AuditRecord(*row) for row in db.execute(query.limit(max(0, limit)))]

    def head(self) -> Head:
        """Where the trail stands, signed."""
        h = tables.audit_head
        with self._store.read() as db:
            row = db.execute(sa.select(h.c.seq, h.c.digest).where(h.c.id == 1)).first()
        return head(self._store.seal, row.seq if row else 0, row.digest if row else GENESIS, now())

    def sign(self, record: AuditRecord) -> Head:
        """The head as it was when this record was the last."""
        return head(self._store.seal, record.seq, record.digest, now())

    def exported(self, target: str) -> int:
        """Number of the last record that an export has passed on, 0 at first."""
        t = tables.audit_export
        with self._store.read() as db:
            return db.execute(sa.select(t.c.seq).where(t.c.target == target)).scalar_one_or_none() or 0

    def advance(self, target: str, seq: int) -> None:
        """Remember how far an export has come."""
        t, row = tables.audit_export, {"target": target, "seq": seq}
        kept = self._store.insert(t).values(row).on_conflict_do_update(index_elements=["target"], set_=row)
        with self._store.write() as db:
            db.execute(kept)


def _standing(store: Store, db: sa.Connection) -> tuple[int, str]:
    """Number and digest of the last record. The one row is locked: two nodes on one PostgreSQL write one by one."""
    h = tables.audit_head
    locked = sa.select(h.c.seq, h.c.digest).where(h.c.id == 1).with_for_update()
    found = db.execute(locked).first()
    if found is None:
        db.execute(store.insert(h).values(id=1, seq=0, digest=GENESIS).on_conflict_do_nothing(index_elements=["id"]))
        found = db.execute(locked).one()
    return int(found.seq), str(found.digest)
