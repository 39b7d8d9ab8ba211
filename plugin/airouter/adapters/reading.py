"""The worklist that readers see, in the database: filtered and paged by indexes, changed with an audit record each."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from airouter.adapters import reading_rows, results, tables
from airouter.adapters.analysis import analyses
from airouter.adapters.audit import append
from airouter.adapters.reading_rows import OPEN, READ, desk_of, desk_row
from airouter.adapters.reading_summary import Summarised
from airouter.adapters.store import Store
from airouter.domain.audit import AuditEvent, AuditKind
from airouter.domain.desk import Desk, NotDone
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Reading, Verdict
from airouter.domain.reading import Analysis, Explained, Facts, Listed, Page, Rule, Show, Status, Wanted
from airouter.domain.reading_order import Place, why_before
from airouter.domain.role import Person

_T: Final = tables.reading
_ORDER: Final = (_T.c.due, _T.c.arrived, _T.c.study_uid)
_BATCH: Final = 200

# From a desk to what it becomes, and what the audit trail keeps of that.
Change = Callable[[Desk], Desk | NotDone]


def utc_now() -> datetime:
    return datetime.now(UTC)


class ReadingStore:
    """The list over the journal's database; threads and nodes share it. `now` gives the time in UTC."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._summarised = Summarised()

    # -- what the router tells it -------------------------------------------------------------------------------------

    def open(self, rule: Rule) -> None:
        """Take over the rule of the settings, and what an earlier version or another rule has left."""
        w, h = tables.worklist, tables.reading_head
        with self._store.write() as db:
            reading_rows.bump(self._store, db)
            before = reading_rows.rule(db)
            db.execute(h.update().where(h.c.id == 1).values(rule=reading_rows.rule_row(rule)))
            missing = db.execute(
                sa.select(w.c.study_uid, w.c.study_id, w.c.updated)
                .outerjoin(_T, _T.c.study_uid == w.c.study_uid)
                .where(_T.c.id.is_(None))
                .order_by(w.c.id)
            ).all()
        for at in range(0, len(missing), _BATCH):
            with self._store.write() as db:
                for study_uid, study_id, updated in missing[at : at + _BATCH]:
                    results.relist(self._store, db, study_uid, study_id, updated)
        if before != rule:
            self._reorder(rule)

    def record(self, facts: Facts) -> bool:
        """Keep what the headers say of a study; False where that is known already. A study that is new arrives now."""
        row = _facts_row(facts)
        same = [_T.c[name] == value for name, value in row.items()]
        with self._store.read() as db:
            if db.execute(sa.select(_T.c.id).where(*same)).first() is not None:
                return False
        with self._store.write() as db:
            w = tables.worklist
            results.relist(self._store, db, facts.study_uid, facts.study_id, self._text(), row)
            listed = db.execute(sa.select(w.c.id).where(w.c.study_uid == facts.study_uid)).first()
            if listed is None:  # it was deleted, and has come back with its results still known
                results.prioritise(self._store, db, facts.study_uid, facts.study_id, self._text())
        return True

    def without_facts(self, limit: int) -> list[tuple[str, str]]:
        """Studies whose headers nobody has read: UID and the archive's identifier."""
        query = sa.select(_T.c.study_uid, _T.c.study_id).where(_T.c.picture.is_(None)).order_by(_T.c.id).limit(limit)
        with self._store.read() as db:
            return [(uid, id) for uid, id in db.execute(query)]

    def studies(self) -> list[tuple[str, str]]:
        """UID and the archive's identifier of every study on the list."""
        with self._store.read() as db:
            return [(uid, id) for uid, id in db.execute(sa.select(_T.c.study_uid, _T.c.study_id))]

    def remove(self, study_id: str) -> bool:
        """Take off a study that the archive does not hold any more; False where it is not on the list."""
        with self._store.write() as db:
            gone = db.execute(_T.delete().where(_T.c.study_id == study_id).returning(_T.c.study_uid)).scalars().all()
            if gone:
                db.execute(tables.worklist.delete().where(tables.worklist.c.study_uid.in_(gone)))
                reading_rows.bump(self._store, db)
        return bool(gone)

    # -- what readers ask ---------------------------------------------------------------------------------------------

    def stamp(self) -> str:
        """A text that changes whenever the list may look otherwise. Claims that ran out are taken away first."""
        self._expire()
        j, d = tables.job, tables.decision
        with self._store.read() as db:
            jobs = db.execute(sa.select(j.c.state, sa.func.count()).group_by(j.c.state).order_by(j.c.state)).all()
            decision = db.execute(sa.select(sa.func.max(d.c.made))).scalar_one()
            parts = [str(reading_rows.revision(db)), *(f"{state}{count}" for state, count in jobs), str(decision or "")]
        return "-".join(parts)

    def page(self, wanted: Wanted) -> Page:
        """A part of the list, in the order in which it is to be read; what is read already, the latest first."""
        where = _where(wanted)
        order: Sequence[Any] = _ORDER
        if wanted.show is Show.READ:
            order = (_T.c.completed_at.desc().nulls_last(), *_ORDER)
        elif wanted.show is Show.ANY:
            order = (_T.c.state, *_ORDER)  # "open" comes before "read"
        with self._store.read() as db:
            summary = self._summarised.of(db)
            total = db.execute(sa.select(sa.func.count()).select_from(_T).where(*where)).scalar_one()
            query = sa.select(_T).where(*where).order_by(*order).limit(wanted.limit).offset(wanted.offset)
            rows = db.execute(query).mappings().all()
            return Page(
                revision=summary.revision,
                total=total,
                entries=tuple(self._listed(db, rows)),
                waiting=summary.waiting,
                urgent=summary.urgent,
                read=summary.read,
                audit=summary.audit,
            )

    def entry(self, study_uid: str) -> Listed | None:
        """One study, None where it is not on the list."""
        with self._store.read() as db:
            return self._entry(db, study_uid)

    def explain(self, study_uid: str) -> Explained | None:
        """Why a study stands where it does, None where it is not on the list."""
        with self._store.read() as db:
            entry = self._entry(db, study_uid)
            if entry is None:
                return None
            current = [r for r in results.of_study(db, study_uid) if not r.superseded]
            before = self._neighbour(db, entry, -1)
            after = self._neighbour(db, entry, +1)
            return Explained(
                entry=entry,
                allowance_minutes=reading_rows.rule(db).allowances.minutes[entry.place.priority],
                queue_length=self._summarised.of(db).waiting[entry.queue],
                grounds=tuple(_grounds(current)),
                before=before,
                why_before=why_before(before.place, entry.place) if before else "",
                after=after,
                why_after=why_before(entry.place, after.place) if after else "",
                now=self._now(),
            )

    # -- what readers do ----------------------------------------------------------------------------------------------

    def change(
        self,
        study_uid: str,
        person: Person,
        change: Change,
        event: Callable[[Desk, Desk], tuple[AuditKind, Mapping[str, Any]] | None],
    ) -> Listed | NotDone | None:
        """Do something to a study's human side: the study afterwards, why not, or None where it is not on the list.

        Of two at once the second sees what the first has done. `event`: of the desk before and after what the audit
        trail keeps, None where nothing changed that anybody must know of.
        """
        with self._store.write() as db:
            reading_rows.lock(db)
            row = db.execute(sa.select(_T).where(_T.c.study_uid == study_uid)).mappings().first()
            if row is None:
                return None
            desk = desk_of({**row})
            made = change(desk)
            if isinstance(made, NotDone):
                return made
            told = event(desk, made)
            if told is None:
                db.execute(_T.update().where(_T.c.id == row["id"]).values(desk_row(made)))
            else:
                changes: dict[str, Any] = desk_row(made)
                if made.completed_by is not None and desk.completed_by is None:
                    changes["seen_result"] = reading_rows.last_result(db, study_uid)
                results.relist(self._store, db, study_uid, row["study_id"], self._text(), changes)
                kind, detail = told
                roles = tuple(sorted(role.value for role in person.roles))
                append(
                    self._store,
                    db,
                    AuditEvent(kind, person.name, roles, study_uid, row["patient_id"] or None, detail=dict(detail)),
                )
            return self._entry(db, study_uid)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _entry(self, db: sa.Connection, study_uid: str) -> Listed | None:
        row = db.execute(sa.select(_T).where(_T.c.study_uid == study_uid)).mappings().first()
        return self._listed(db, [row])[0] if row is not None else None

    def _listed(self, db: sa.Connection, rows: Sequence[sa.RowMapping]) -> list[Listed]:
        positions = self._summarised.of(db).positions if any(row["state"] == OPEN for row in rows) else {}
        analysed = analyses(db, {row["study_uid"]: row["results"] for row in rows})
        return [_line(row, positions.get(row["study_uid"]), analysed[row["study_uid"]]) for row in rows]

    def _neighbour(self, db: sa.Connection, entry: Listed, step: int) -> Listed | None:
        if entry.status is Status.READ:
            return None
        mine = sa.tuple_(*(sa.literal(v) for v in _key(entry)))
        theirs = sa.tuple_(*_ORDER)
        query = sa.select(_T).where(_T.c.state == OPEN, _T.c.queue == entry.queue.value)
        if step < 0:
            query = query.where(theirs < mine).order_by(*(column.desc() for column in _ORDER))
        else:
            query = query.where(theirs > mine).order_by(*_ORDER)
        row = db.execute(query.limit(1)).mappings().first()
        return self._listed(db, [row])[0] if row is not None else None

    def _text(self) -> str:
        return self._now().isoformat(timespec="microseconds")

    def _expire(self) -> None:
        """Claims that ran out go, each with its record: what everybody sees is what stands here."""
        out = (_T.c.claimed_until.is_not(None)) & (_T.c.claimed_until <= self._text())
        with self._store.read() as db:
            if db.execute(sa.select(_T.c.id).where(out).limit(1)).first() is None:
                return
        with self._store.write() as db:
            reading_rows.lock(db)
            rows = db.execute(sa.select(_T.c.study_uid, _T.c.claimed_by, _T.c.patient_id).where(out)).all()
            db.execute(_T.update().where(out).values(claimed_by=None, claimed_until=None))
            reading_rows.bump(self._store, db)
            for row in rows:
                detail = {"action": "claim expired", "reader": row.claimed_by}
                event = AuditEvent(AuditKind.ASSIGNMENT, None, (), row.study_uid, row.patient_id or None, detail=detail)
                append(self._store, db, event)

    def _reorder(self, rule: Rule) -> None:
        """Make the columns that follow from the rule anew."""
        with self._store.read() as db:
            ids = db.execute(sa.select(_T.c.id).order_by(_T.c.id)).scalars().all()
        for at in range(0, len(ids), _BATCH):
            with self._store.write() as db:
                reading_rows.bump(self._store, db)
                some = _T.c.id.in_(ids[at : at + _BATCH])
                for row in db.execute(sa.select(_T).where(some)).mappings().all():
                    last = reading_rows.last_result(db, row["study_uid"])
                    made = reading_rows.follows(self._store, {**row}, rule, last=last, now=self._text())
                    phase = rule.phase.value if row["results"] else None
                    db.execute(_T.update().where(_T.c.id == row["id"]).values(made | {"phase": phase}))


def _facts_row(facts: Facts) -> dict[str, Any]:
    row = {name: getattr(facts, name) for name in reading_rows.FACTS}
    return row | {"modalities": "|".join(("", *facts.modalities, "")) if facts.modalities else ""}


def _where(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    busy = (_T.c.claimed_by.is_not(None)) | (_T.c.decided > 0)
    shown: Mapping[Show, list[sa.ColumnElement[bool]]] = {
        Show.OPEN: [_T.c.state == OPEN],
        Show.UNREAD: [_T.c.state == OPEN, ~busy],
        Show.IN_REVIEW: [_T.c.state == OPEN, busy],
        Show.READ: [_T.c.state == READ],
        Show.ANY: [],
    }
    found = list(shown[wanted.show])
    if wanted.queue is not None:
        found.append(_T.c.queue == wanted.queue.value)
    if wanted.priority is not None:
        found.append(_T.c.counted == wanted.priority.value)
    if wanted.phase is not None:
        found.append(_T.c.phase == wanted.phase.value)
    if wanted.modality is not None:
        found.append(_T.c.modalities.contains(f"|{wanted.modality}|", autoescape=True))
    if wanted.laterality is not None:
        found.append(_T.c.laterality.in_({wanted.laterality, "B"}))
    if wanted.reader is not None:
        found.append((_T.c.assigned == wanted.reader) | (_T.c.claimed_by == wanted.reader))
    words = (wanted.text or "").casefold().replace("^", " ").split()[:10]
    return found + [_T.c.search.contains(word, autoescape=True) for word in words]


def _line(row: sa.RowMapping, position: int | None, analysis: Analysis) -> Listed:
    busy = row["claimed_by"] is not None or row["decided"] > 0
    status = Status.READ if row["state"] == READ else Status.IN_REVIEW if busy else Status.UNREAD
    said = {name: row[name] or "" for name in reading_rows.FACTS}
    queue = Reading(row["queue"])
    # The bucket as it is read: whoever reads must not see that a study was drawn for the audit.
    asked = queue if row["asked"] is not None else None
    return Listed(
        facts=Facts(**said, modalities=tuple(filter(None, row["modalities"].split("|")))),
        verdict=Verdict(Priority(row["priority"]), row["reason"] or analysis.text, asked),
        updated=row["updated"],
        findings_line=row["findings_line"],
        phase=Phase(row["phase"]) if row["phase"] else None,
        place=Place(
            row["study_uid"],
            Priority(row["counted"]),
            datetime.fromisoformat(row["arrived"]),
            datetime.fromisoformat(row["due"]),
        ),
        position=position,
        queue=queue,
        status=status,
        pending=row["pending"],
        decided=row["decided"],
        desk=desk_of({**row}),
        audit_sample=bool(row["audit_sample"]),
        analysis=analysis,
    )


def _key(entry: Listed) -> tuple[str, str, str]:
    due, arrived, uid = entry.place.key
    return (due.isoformat(timespec="microseconds"), arrived.isoformat(timespec="microseconds"), uid)


def _grounds(current: Sequence[Any]) -> list[tuple[str, str, str]]:
    """Priority and reason of each result, with the labels of the findings that it rests on."""
    said = []
    for result in current:
        labels = {str(f.get("key")): str(f.get("label", "")) for f in result.findings}
        verdict = result.standing
        for ground in verdict.grounds:
            named = ", ".join(labels[key] for key in ground.findings if key in labels)
            said.append((ground.priority.value, ground.reason, named))
        if not verdict.grounds:
            said.append((verdict.priority.value, verdict.reason, ""))
    return said
