"""Slides that were judged, as rows: the technician's list. airouter.domain.rescan has the rules."""

from typing import Any

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.domain.job import Job
from airouter.domain.rescan import Fitness, RescanEntry, RescanState, dismissed, judge


def keep(db: sa.Connection, job: Job, fitness: Fitness, now: str) -> None:
    """Write the slide's judgement, and what it settles, in the transaction of `db`."""
    t = tables.rescan
    if db.dialect.name == "postgresql":
        # Two scans of one glass judged at once on two nodes must see each other. SQLite has one writer at a time.
        db.execute(sa.text(f"LOCK TABLE {t.name} IN SHARE ROW EXCLUSIVE MODE"))
    standing = of_study(db, job.study_uid)
    state = RescanState.FIT if fitness.fit else RescanState.OPEN
    known = {entry.series_uid for entry in standing}
    for entry in judge(standing, RescanEntry(job.series_uid, job.study_uid, job.study_id, fitness, state, now)):
        if entry.series_uid in known:
            db.execute(t.update().where(t.c.series_uid == entry.series_uid).values(_row(entry)))
        else:
            db.execute(t.insert().values(_row(entry)))


def of_study(db: sa.Connection, study_uid: str) -> list[RescanEntry]:
    """Every slide of a study that was judged, in the order in which they were judged first."""
    t = tables.rescan
    query = sa.select(t).where(t.c.study_uid == study_uid).order_by(t.c.id)
    return [_of(row) for row in db.execute(query).mappings()]


def read(db: sa.Connection, state: RescanState | None, limit: int) -> list[RescanEntry]:
    """Worst first, then oldest first."""
    t = tables.rescan
    query = sa.select(t).order_by(t.c.rank, t.c.id).limit(limit)
    if state is not None:
        query = query.where(t.c.state == state)
    return [_of(row) for row in db.execute(query).mappings()]


def of_series(db: sa.Connection, series_uid: str) -> RescanEntry | None:
    """One slide, None where it was never judged."""
    row = db.execute(sa.select(tables.rescan).where(tables.rescan.c.series_uid == series_uid)).mappings().first()
    return None if row is None else _of(row)


def dismiss(db: sa.Connection, series_uid: str, reason: str, by: str | None, now: str) -> RescanEntry | None:
    """Take a slide off the list: its entry, changed where it was on it; None where it was never judged."""
    t = tables.rescan
    row = db.execute(sa.select(t).where(t.c.series_uid == series_uid).with_for_update()).mappings().first()
    if row is None:
        return None
    entry = _of(row)
    changed = dismissed(entry, reason, by, now)
    if changed is None:
        return entry
    db.execute(t.update().where(t.c.series_uid == series_uid).values(_row(changed)))
    return changed


def _row(entry: RescanEntry) -> dict[str, Any]:
    return {
        "series_uid": entry.series_uid,
        "study_uid": entry.study_uid,
        "study_id": entry.study_id,
        "fit": entry.fitness.fit,
        "fitness": entry.fitness.reason,
        "usable_percent": entry.fitness.usable_percent,
        "container": entry.fitness.container,
        "scanned": entry.fitness.scanned,
        "state": entry.state,
        "rank": entry.rank,
        "opened": entry.opened,
        "closed": entry.closed,
        "closed_by": entry.by,
        "note": entry.note,
    }


def _of(row: sa.RowMapping) -> RescanEntry:
    return RescanEntry(
        series_uid=row["series_uid"],
        study_uid=row["study_uid"],
        study_id=row["study_id"],
        fitness=Fitness(row["fit"], row["fitness"], row["usable_percent"], row["container"], row["scanned"]),
        state=RescanState(row["state"]),
        opened=row["opened"],
        closed=row["closed"],
        by=row["closed_by"],
        note=row["note"],
    )
