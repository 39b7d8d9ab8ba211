"""The worklist's rows: each follows from a study's results, from what readers decided, and from what people did.

Whoever changes one of those calls `rederive` in the same transaction: results.relist does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.store import Store
from airouter.domain.audit_sample import drawn
from airouter.domain.desk import Desk
from airouter.domain.findings_line import findings_line
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Reading
from airouter.domain.reading import Rule
from airouter.domain.reading_order import Allowances, Lock, counted
from airouter.domain.review import ReviewState
from airouter.ports import ResultRecord

OPEN: Final = "open"
READ: Final = "read"
FACTS: Final = (
    "study_uid", "study_id", "patient_name", "patient_id", "birth_date", "sex", "accession", "description",
    "study_date", "study_time", "laterality", "picture",
)  # fmt: skip
_SEARCHED: Final = ("patient_name", "patient_id", "accession", "description", "reason", "findings_line", "study_uid")


def lock(db: sa.Connection) -> None:
    """Wait for whoever else writes to the list, on other nodes too, before anything of it is read for a change.

    Most changes leave a record in the audit trail as well: everybody takes the two locks in this order.
    """
    for head in (tables.audit_head, tables.reading_head):
        db.execute(sa.select(head.c.id).where(head.c.id == 1).with_for_update()).all()


def bump(store: Store, db: sa.Connection) -> int:
    """Count a change: whoever polls sees that there is one."""
    lock(db)
    h = tables.reading_head
    db.execute(
        store.insert(h).values(id=1, revision=0, rule=rule_row(Rule())).on_conflict_do_nothing(index_elements=["id"])
    )
    one_more = h.update().where(h.c.id == 1).values(revision=h.c.revision + 1)
    return int(db.execute(one_more.returning(h.c.revision)).scalar_one())


def revision(db: sa.Connection) -> int:
    return db.execute(sa.select(tables.reading_head.c.revision)).scalar_one_or_none() or 0


def rule_row(rule: Rule) -> dict[str, Any]:
    """The rule as plain JSON values."""
    minutes = {priority.value: rule.allowances.minutes[priority] for priority in Priority}
    return {"minutes": minutes, "audit_share": rule.audit_share, "phase": rule.phase.value}


def rule(db: sa.Connection) -> Rule:
    """The rule that the rows are made with: that of the settings of whoever opened the list last."""
    kept = db.execute(sa.select(tables.reading_head.c.rule)).scalar_one_or_none()
    if kept is None:
        return Rule()
    minutes = {Priority(name): float(value) for name, value in kept["minutes"].items()}
    return Rule(Allowances(minutes), float(kept["audit_share"]), Phase(kept["phase"]))


@dataclass(frozen=True, slots=True)
class Machine:
    """What a study's current results come to: those that no newer one replaces, and the state of each finding, as
    (job, key), that somebody has decided."""

    results: Sequence[ResultRecord]
    states: Mapping[tuple[str, str], ReviewState]


def rederive(
    store: Store,
    db: sa.Connection,
    study_uid: str,
    study_id: str,
    machine: Machine,
    now: str,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Make a study's row anew from the results, decisions and people of now; one that is missing arrives now.

    `changes`: columns of the headers or of people that change with it.
    """
    t = tables.reading
    bump(store, db)
    standing = db.execute(sa.select(t).where(t.c.study_uid == study_uid)).mappings().first()
    row: dict[str, Any] = dict(standing) if standing is not None else {"arrived": now, "state": OPEN, "seen_result": 0}
    row |= {"study_uid": study_uid, "study_id": study_id, **(changes or {})}
    row.setdefault("updated", now)
    standing_rule = rule(db)
    row |= _said(db, study_uid, machine, standing_rule)
    row |= follows(store, row, standing_rule, last=last_result(db, study_uid), now=now)
    row.pop("id", None)
    kept = store.insert(t).values(row)
    db.execute(kept.on_conflict_do_update(index_elements=["study_uid"], set_=row))


def follows(store: Store, row: Mapping[str, Any], rule: Rule, *, last: int, now: str) -> dict[str, Any]:
    """Columns that follow from the others. `last`: number of the study's newest result."""
    made: dict[str, Any] = {}
    seen = int(row["seen_result"])
    completed = row.get("completed_by") is not None and last <= seen
    all_decided = row["decided"] > 0 and row["pending"] == 0
    state = READ if completed or all_decided else OPEN
    if row.get("completed_by") is not None and not completed:  # there is something nobody has seen
        made |= {"completed_by": None, "completed_at": None}
    arrived = str(row["arrived"])
    if row["state"] == READ and state == OPEN and last > seen:
        arrived = now  # it comes onto the list anew, and must not stand before all others for its age
    if state == READ:
        made |= {"claimed_by": None, "claimed_until": None}
        if row["state"] != READ:
            made["seen_result"] = last
        elif all_decided:
            made["seen_result"] = max(seen, last)
    priority = counted(Priority(row["priority"]), lock_of(row))
    due = rule.allowances.due(datetime.fromisoformat(arrived), priority).isoformat(timespec="microseconds")
    asked = row.get("asked") == Reading.REVIEW_AND_RELEASE and priority.rank >= Priority.ROUTINE.rank
    sample = asked and drawn(store.seal, row["study_uid"], rule.audit_share)
    words = " ".join(str(row.get(name) or "") for name in _SEARCHED)
    return made | {
        "state": state,
        "arrived": arrived,
        "counted": priority.value,
        "due": due,
        "queue": (Reading.REVIEW_AND_RELEASE if asked and not sample else Reading.FULL).value,
        "audit_sample": sample,
        "search": words.replace("^", " ").casefold(),
    }


def last_result(db: sa.Connection, study_uid: str) -> int:
    """Number of a study's newest result, 0 where it has none."""
    t = tables.result
    return db.execute(sa.select(sa.func.max(t.c.id)).where(t.c.study_uid == study_uid)).scalar_one() or 0


def desk_of(row: Mapping[str, Any]) -> Desk:
    """The human side of a row."""
    return Desk(
        assigned=row["assigned"],
        claimed_by=row["claimed_by"],
        claimed_until=_time(row["claimed_until"]),
        lock=lock_of(row),
        completed_by=row["completed_by"],
        completed_at=_time(row["completed_at"]),
    )


def desk_row(desk: Desk) -> dict[str, Any]:
    """A human side as columns."""
    lock = desk.lock
    return {
        "assigned": desk.assigned,
        "claimed_by": desk.claimed_by,
        "claimed_until": _text(desk.claimed_until),
        "lock_priority": lock.priority.value if lock else None,
        "lock_reason": lock.reason if lock else None,
        "lock_by": lock.by if lock else None,
        "lock_at": lock.at if lock else None,
        "completed_by": desk.completed_by,
        "completed_at": _text(desk.completed_at),
    }


def lock_of(row: Mapping[str, Any]) -> Lock | None:
    said = row.get("lock_priority")
    return Lock(Priority(said), row["lock_reason"], row["lock_by"], row["lock_at"]) if said is not None else None


def _said(db: sa.Connection, study_uid: str, machine: Machine, rule: Rule) -> dict[str, Any]:
    """What the machine says of a study, and how much of it readers have decided."""
    w = tables.worklist
    verdict = db.execute(sa.select(w).where(w.c.study_uid == study_uid)).mappings().first()
    every = {(result.job, str(f.get("key"))) for result in machine.results for f in result.findings}
    done = sum(machine.states.get(each, ReviewState.PENDING) is not ReviewState.PENDING for each in every)
    said: dict[str, Any] = {
        "priority": Priority.ROUTINE.value,
        "reason": "",
        "asked": None,
        "findings_line": _line(machine.results, Priority(verdict["priority"]) if verdict is not None else None),
        "phase": rule.phase.value if machine.results else None,
        "results": len(machine.results),
        "pending": len(every) - done,
        "decided": done,
    }
    if verdict is not None:
        said |= {name: verdict[name] for name in ("priority", "reason", "updated")} | {"asked": verdict["reading"]}
    return said


def _line(results: Sequence[ResultRecord], most: Priority | None) -> str:
    """Of the result that decides the study first, without what readers have rejected."""
    ordered = sorted(results, key=lambda result: result.standing.priority is not most)
    return findings_line(
        [
            (
                [f for f in result.findings if str(f.get("key")) not in result.rejected],
                {key for ground in result.standing.grounds for key in ground.findings},
            )
            for result in ordered
        ]
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def _text(time: datetime | None) -> str | None:
    return time.isoformat(timespec="microseconds") if time is not None else None
