"""Reviews as rows: decisions, and the objects they made until the archive has them."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from airouter.adapters import audit, results, tables
from airouter.adapters.store import Store, now
from airouter.domain.review import Reviewed, ReviewState, Verb
from airouter.services.review_records import Answered, Entry, ReviewObject, Standing, Waiting

_AT_ONCE: Final = 100  # objects waiting that are read into memory


class DatabaseReviews:
    """services.review_records.ReviewStore in the journal's database; threads and nodes share it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def standing(self, jobs: Sequence[str]) -> dict[str, Standing]:
        t, o = tables.review, tables.review_object
        with self._store.read() as db:
            rows = db.execute(sa.select(t).where(t.c.job.in_(jobs)).order_by(t.c.version)).mappings().all()
            objects = db.execute(_objects().where(o.c.job.in_(jobs)).order_by(o.c.id)).mappings().all()
        return {
            job: Standing(
                basis=max((row["id"] for row in rows if row["job"] == job), default=0),
                reviewed={row["finding"]: _reviewed(row) for row in rows if row["job"] == job},
                objects=tuple(_object(row) for row in objects if row["job"] == job),
            )
            for job in jobs
        }

    def answered(self, request: str, by: str) -> Answered | None:
        with self._store.read() as db:
            return self._answered(db, request, by)

    def history(self, study_uid: str) -> Answered:
        t, o = tables.review, tables.review_object
        with self._store.read() as db:
            return _all(db, t.c.study_uid == study_uid, o.c.study_uid == study_uid)

    def keep(self, entry: Entry) -> bool:
        t, o, j = tables.review, tables.review_object, tables.job
        jobs = sorted(entry.basis)
        with self._store.write() as db:
            # Readers of one job come one after the other, on whatever node; SQLite has one writer at a time anyway.
            db.execute(sa.select(j.c.key).where(j.c.key.in_(jobs)).order_by(j.c.key).with_for_update()).all()
            newest = sa.select(t.c.job, sa.func.max(t.c.id)).where(t.c.job.in_(jobs)).group_by(t.c.job)
            found = dict(map(tuple, db.execute(newest).all()))
            if self._answered(db, entry.request, entry.by) is not None or any(
                found.get(job, 0) != basis for job, basis in entry.basis.items()
            ):
                return False
            for reviewed in entry.reviewed:
                db.execute(t.insert().values(_row(reviewed) | {"request": entry.request, "study_uid": entry.study_uid}))
            for made, content in entry.objects:
                row = {name: getattr(made, name) for name in ReviewObject.__slots__}
                db.execute(o.insert().values(row | {"request": entry.request, "content": content}))
            audit.reserve(self._store, db)
            results.prioritise(self._store, db, entry.study_uid, entry.study_id, now())
            for event in entry.events:
                audit.append(self._store, db, event)
        return True

    def waiting(self, study_uid: str | None = None, after: int = 0) -> list[Waiting]:
        o = tables.review_object
        query = sa.select(o).where(o.c.instance.is_(None), o.c.content.is_not(None), o.c.id > after).order_by(o.c.id)
        if study_uid is not None:
            query = query.where(o.c.study_uid == study_uid)
        with self._store.read() as db:
            rows = db.execute(query.limit(_AT_ONCE)).mappings().all()
        return [Waiting(row["id"], _object(row), row["content"]) for row in rows]

    def delivered(self, uid: str, instance: str) -> None:
        o = tables.review_object
        with self._store.write() as db:
            db.execute(o.update().where(o.c.uid == uid).values(instance=instance, content=None))

    def _answered(self, db: sa.Connection, request: str, by: str) -> Answered | None:
        t, o = tables.review, tables.review_object
        found = _all(db, (t.c.request == request) & (t.c.by == by), (o.c.request == request) & (o.c.by == by))
        return found if found.reviewed else None


def _objects() -> sa.Select[Any]:
    """Without their bytes."""
    o = tables.review_object
    return sa.select(*(o.c[name] for name in ReviewObject.__slots__))


def _all(db: sa.Connection, decisions: sa.ColumnElement[bool], objects: sa.ColumnElement[bool]) -> Answered:
    t, o = tables.review, tables.review_object
    reviewed: Iterable[sa.RowMapping] = db.execute(sa.select(t).where(decisions).order_by(t.c.id)).mappings()
    made: Iterable[sa.RowMapping] = db.execute(_objects().where(objects).order_by(o.c.id)).mappings()
    return Answered(tuple(map(_reviewed, reviewed)), tuple(map(_object, made)))


def _row(reviewed: Reviewed) -> dict[str, Any]:
    return {
        "job": reviewed.job,
        "finding": reviewed.finding,
        "version": reviewed.version,
        "verb": reviewed.verb.value,
        "state": reviewed.state.value,
        "by": reviewed.by,
        "at": reviewed.at,
        "reason": reviewed.reason,
        "comment": reviewed.comment,
        "amendment": dict(reviewed.amendment) if reviewed.amendment is not None else sa.null(),
    }


def _reviewed(row: sa.RowMapping) -> Reviewed:
    return Reviewed(
        job=row["job"],
        finding=row["finding"],
        version=row["version"],
        verb=Verb(row["verb"]),
        state=ReviewState(row["state"]),
        by=row["by"],
        at=row["at"],
        reason=row["reason"],
        comment=row["comment"],
        amendment=row["amendment"],
    )


def _object(row: sa.RowMapping) -> ReviewObject:
    return ReviewObject(**{name: row[name] for name in ReviewObject.__slots__})
