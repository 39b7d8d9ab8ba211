"""Results of jobs as rows, what readers left standing of them, and the worklist that they make."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from airouter.adapters import reading_rows, tables
from airouter.adapters.rows import job_of
from airouter.adapters.store import Store
from airouter.domain.job import Job, tracking_uid
from airouter.domain.picture import Chart, Trace
from airouter.domain.priority import Ground, Priority, Reading, Verdict, most_urgent
from airouter.domain.review import ReviewState
from airouter.domain.superseded import superseded
from airouter.ports import ResultRecord, StoredEvidence, WorklistEntry

Insert = Callable[[sa.Table], Any]  # INSERT of the dialect, which knows ON CONFLICT


@dataclass(frozen=True, slots=True)
class Standing:
    """A study after its reviews: verdict, and how many findings of its current results are not and are decided."""

    verdict: Verdict | None
    pending: int
    decided: int


def keep(db: sa.Connection, insert: Insert, result: ResultRecord) -> None:
    """A result, what was written of it and its charts, in the transaction of `db`."""
    row = {
        "job": result.job,
        "study_uid": result.study_uid,
        "findings": [dict(finding) for finding in result.findings],
        "not_analysed": [dict(entry) for entry in result.not_analysed],
        "priority": result.verdict.priority,
        "reason": result.verdict.reason,
        "reading": result.verdict.reading,
        "grounds": _grounds_content(result.verdict.grounds),
    }
    db.execute(insert(tables.result).values(row))
    for item in result.evidence:
        kept = {
            "uid": item.uid,
            "job": result.job,
            "role": item.role,
            "sop_class": item.sop_class,
            "series_uid": item.series_uid,
            "instance": item.instance,
        }
        db.execute(insert(tables.evidence).values(kept).on_conflict_do_update(index_elements=["uid"], set_=kept))
    for chart in result.charts:
        db.execute(tables.chart.insert().values(job=result.job, role=chart.role, content=_chart_content(chart)))


def of_study(db: sa.Connection, study_uid: str) -> list[ResultRecord]:
    """Every result of a study, oldest first, without its charts."""
    t, e = tables.result, tables.evidence
    rows = db.execute(sa.select(t).where(t.c.study_uid == study_uid).order_by(t.c.id)).mappings().all()
    keys = [row["job"] for row in rows]
    written: dict[str, list[StoredEvidence]] = {key: [] for key in keys}
    for item in db.execute(sa.select(e).where(e.c.job.in_(keys)).order_by(e.c.id)).mappings():
        written[item["job"]].append(
            StoredEvidence(item["role"], item["sop_class"], item["uid"], item["series_uid"], item["instance"])
        )
    found = [
        ResultRecord(
            job=row["job"],
            study_uid=row["study_uid"],
            findings=tuple(row["findings"]),
            evidence=tuple(written[row["job"]]),
            verdict=_verdict(row),
            not_analysed=tuple(row["not_analysed"]),
        )
        for row in rows
    ]
    return _standing(db, study_uid, found)


def charts(db: sa.Connection, job: str) -> tuple[Chart, ...]:
    """The charts of a job's result, in the order in which they were made."""
    t = tables.chart
    query = sa.select(t.c.content).where(t.c.job == job).order_by(t.c.id)
    return tuple(_chart_of(content) for content in db.execute(query).scalars())


def worklist(db: sa.Connection, limit: int) -> list[WorklistEntry]:
    """Most urgent first, then oldest first."""
    t = tables.worklist
    query = sa.select(t).order_by(t.c.rank, t.c.id).limit(limit)
    return [
        WorklistEntry(row["study_uid"], row["study_id"], _verdict(row), row["updated"])
        for row in db.execute(query).mappings()
    ]


def prioritise(store: Store, db: sa.Connection, study_uid: str, study_id: str, now: str) -> None:
    """The study's rows of the worklist, after a result or a review of it was kept in the same transaction.

    Also those of other studies that hold a summary of it. Afterwards, outside of the transaction,
    airouter.services.worklist.publish marks them in the archive.
    """
    for uid, id in sorted([(study_uid, study_id), *summarised_in(db, study_uid)]):  # always in one order: rows lock
        verdict = standing_of_study(db, uid).verdict
        if verdict is not None:
            _put(store, db, uid, id, verdict, now)
        relist(store, db, uid, id, now)


def summarised_in(db: sa.Connection, study_uid: str) -> list[tuple[str, str]]:
    """As ports.Journal says."""
    reading, read, link = tables.job.alias(), tables.job.alias(), tables.job_read
    query = (
        sa.select(reading.c.study_uid, reading.c.study_id)
        .join(link, link.c.job == reading.c.key)
        .join(read, read.c.key == link.c.read)
        .where(read.c.study_uid == study_uid, reading.c.study_uid != study_uid)
        .distinct()
    )
    return [(uid, id) for uid, id in db.execute(query)]


def relist(
    store: Store,
    db: sa.Connection,
    study_uid: str,
    study_id: str,
    now: str,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """The study's line of the list that readers see (reading_rows.rederive), which shows the verdict and more."""
    current = [result for result in of_study(db, study_uid) if not result.superseded]
    machine = reading_rows.Machine(current, review_states(db, study_uid))
    reading_rows.rederive(store, db, study_uid, study_id, machine, now, changes)


def _put(store: Store, db: sa.Connection, study_uid: str, study_id: str, verdict: Verdict, now: str) -> None:
    row = {
        "study_uid": study_uid,
        "study_id": study_id,
        "priority": verdict.priority,
        "rank": verdict.priority.rank,
        "reason": verdict.reason,
        "reading": verdict.reading,
        "updated": now,
    }
    kept = store.insert(tables.worklist).values(row)
    db.execute(kept.on_conflict_do_update(index_elements=["study_uid"], set_=row))


def on_worklist(db: sa.Connection, study_uid: str) -> Verdict | None:
    """What the study's row of the worklist says, without the grounds; None where it has none.

    Of a study of Review & Release that was drawn for a full reading it says the latter: what is marked and shown must
    not tell readers that they are being checked.
    """
    t, line = tables.worklist, tables.reading
    row = db.execute(sa.select(t).where(t.c.study_uid == study_uid)).mappings().first()
    if row is None:
        return None
    drawn = db.execute(sa.select(line.c.audit_sample).where(line.c.study_uid == study_uid)).scalar_one_or_none()
    return replace(_verdict(row), reading=Reading.FULL) if drawn else _verdict(row)


def standing_of_study(db: sa.Connection, study_uid: str, coming: ResultRecord | None = None) -> Standing:
    """The study's verdict after reviews and the count of its decided findings: over its current results only.

    Also of what this transaction has just written; a finding that was withdrawn is pending again. `coming`: a result
    that is counted in, of a job that is known.
    """
    results = of_study(db, study_uid)
    if coming is not None:
        results = _standing(db, study_uid, [*(each for each in results if each.job != coming.job), coming])
    current = [result for result in results if not result.superseded]
    findings = {(result.job, str(finding.get("key"))) for result in current for finding in result.findings}
    states = review_states(db, study_uid)
    decided = sum(states.get(each, ReviewState.PENDING) is not ReviewState.PENDING for each in findings)
    return Standing(most_urgent([result.standing for result in current]), len(findings) - decided, decided)


def review_states(db: sa.Connection, study_uid: str) -> dict[tuple[str, str], ReviewState]:
    """State of each finding of a study, as (job, key), that a reader ever decided on: that of its highest version."""
    return _states(db, tables.review.c.study_uid == study_uid)


def rejected(db: sa.Connection, study_uid: str) -> set[tuple[str, str]]:
    """Findings of a study, as (job, key), that stand rejected."""
    return {finding for finding, state in review_states(db, study_uid).items() if state is ReviewState.REJECTED}


def _states(db: sa.Connection, which: sa.ColumnElement[bool]) -> dict[tuple[str, str], ReviewState]:
    t = tables.review
    rows = db.execute(sa.select(t.c.job, t.c.finding, t.c.state).where(which).order_by(t.c.version))
    return {(row.job, row.finding): ReviewState(row.state) for row in rows}  # the last of equals counts


def _standing(db: sa.Connection, study_uid: str, results: Sequence[ResultRecord]) -> list[ResultRecord]:
    """Results of a study with what became of them: a newer one took their place, a reader rejected findings."""
    t = tables.job
    mine = t.c.key.in_([result.job for result in results])
    jobs = [job_of(content) for content in db.execute(sa.select(t.c.content).where(mine).order_by(t.c.id)).scalars()]
    named = {job.key: job.pipeline for job in jobs}
    ungradable = {r.job for r in results if any(n["quantity"] == named.get(r.job) for n in r.not_analysed)}
    old, gone = superseded(jobs, ungradable), _rejected(db, study_uid, jobs)
    tracked = {tracking_uid(job, key) for job, key in gone}

    def falls(job: str, finding: Mapping[str, Any]) -> bool:
        origins = finding.get("origins") or ()  # a summary repeats what it was inferred from
        repeated = bool(origins) and all(origin["tracking_uid"] in tracked for origin in origins)
        return repeated or (job, str(finding.get("key"))) in gone

    def fallen(result: ResultRecord) -> frozenset[str]:
        return frozenset(str(each.get("key")) for each in result.findings if gone and falls(result.job, each))

    return [replace(result, superseded=result.job in old, rejected=fallen(result)) for result in results]


def _rejected(db: sa.Connection, study_uid: str, jobs: Iterable[Job]) -> set[tuple[str, str]]:
    """Rejected findings of a study, and of the jobs, also in other studies, that its summaries read."""
    t = tables.review
    read = sorted({key for job in jobs for key in job.results})
    states = _states(db, sa.or_(t.c.study_uid == study_uid, t.c.job.in_(read)))
    return {finding for finding, state in states.items() if state is ReviewState.REJECTED}


def _verdict(row: sa.RowMapping) -> Verdict:
    reading = row["reading"]
    return Verdict(
        Priority(row["priority"]),
        row["reason"],
        Reading(reading) if reading is not None else None,
        _grounds_of(row.get("grounds")),
    )


def _grounds_content(grounds: Iterable[Ground]) -> str | None:
    made = [{"priority": g.priority, "reason": g.reason, "findings": list(g.findings)} for g in grounds]
    return json.dumps(made, ensure_ascii=False) if made else None


def _grounds_of(content: str | None) -> tuple[Ground, ...]:
    made = json.loads(content) if content else []
    return tuple(Ground(Priority(g["priority"]), g["reason"], tuple(g["findings"])) for g in made)


def _chart_content(chart: Chart) -> dict[str, Any]:
    traces = [
        {"label": t.label, "kind": t.kind, "x": list(t.x), "y": list(t.y), "upper": list(t.upper)} for t in chart.traces
    ]
    words = ("role", "label", "source", "title", "x_label", "y_label")
    return {**{word: getattr(chart, word) for word in words}, "traces": traces, "notes": list(chart.notes)}


def _chart_of(content: dict[str, Any]) -> Chart:
    traces = tuple(
        Trace(t["label"], t["kind"], tuple(t["x"]), tuple(t["y"]), tuple(t["upper"])) for t in content["traces"]
    )
    return Chart(**{**content, "traces": traces, "notes": tuple(content["notes"])})
