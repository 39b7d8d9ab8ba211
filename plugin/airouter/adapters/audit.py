"""The audit trail as a table: records are only ever added, each in the transaction of what it tells of."""

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.store import Store, now
from airouter.domain.audit import GENESIS, AuditEvent, AuditRecord, seal, text


def append(store: Store, db: sa.Connection, event: AuditEvent) -> AuditRecord:
    """Add a record in the write transaction `db`: with it, or not at all."""
    h, t = tables.audit_head, tables.audit
    # The one row of the head is locked: two nodes on one PostgreSQL write one after the other.
    db.execute(store.insert(h).values(id=1, seq=0, digest=GENESIS).on_conflict_do_nothing(index_elements=["id"]))
    head = db.execute(sa.select(h.c.seq, h.c.digest).where(h.c.id == 1).with_for_update()).one()
    seq, at = head.seq + 1, now()
    line = text(event, seq, at)
    record = AuditRecord(seq, at, line, seal(store.seal, head.digest, line))
    row = {"seq": seq, "at": at, "kind": event.kind.value, "study_uid": event.study_uid, "user": event.user}
    db.execute(t.insert().values(row | {"text": line, "digest": record.digest}))
    db.execute(h.update().where(h.c.id == 1).values(seq=seq, digest=record.digest))
    return record


class AuditTrail:
    """The trail by itself, for what is told of no other change of the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, event: AuditEvent) -> AuditRecord:
        """Keep an event. Raises JournalUnavailable, JournalError: whoever must not act unrecorded does not act."""
        with self._store.write() as db:
            return append(self._store, db, event)

    def read(self, after: int = 0, limit: int = 1000) -> list[AuditRecord]:
        """Records of a higher number, lowest first."""
        t = tables.audit
        query = sa.select(t.c.seq, t.c.at, t.c.text, t.c.digest).where(t.c.seq > after).order_by(t.c.seq)
        with self._store.read() as db:
            return [AuditRecord(*row) for row in db.execute(query.limit(max(0, limit)))]
