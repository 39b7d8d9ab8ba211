"""Results of jobs as rows, and the worklist that they make."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.domain.picture import Chart, Trace
from airouter.domain.priority import Priority, Reading, Verdict, most_urgent
from airouter.ports import ResultRecord, StoredEvidence, WorklistEntry

Insert = Callable[[sa.Table], Any]  # INSERT of the dialect, which knows ON CONFLICT


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
    return [
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


def prioritise(db: sa.Connection, insert: Insert, study_uid: str, study_id: str, now: str) -> None:
    """The study's row of the worklist from all of its results."""
    t = tables.result
    query = sa.select(t.c.priority, t.c.reason, t.c.reading).where(t.c.study_uid == study_uid).order_by(t.c.id)
    verdict = most_urgent([_verdict(row) for row in db.execute(query).mappings()])
    if verdict is None:
        return
    row = {
        "study_uid": study_uid,
        "study_id": study_id,
        "priority": verdict.priority,
        "rank": verdict.priority.rank,
        "reason": verdict.reason,
        "reading": verdict.reading,
        "updated": now,
    }
    kept = insert(tables.worklist).values(row)
    db.execute(kept.on_conflict_do_update(index_elements=["study_uid"], set_=row))


def _verdict(row: sa.RowMapping) -> Verdict:
    reading = row["reading"]
    return Verdict(Priority(row["priority"]), row["reason"], Reading(reading) if reading is not None else None)


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
