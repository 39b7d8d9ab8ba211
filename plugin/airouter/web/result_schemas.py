"""Answers on results: findings, verdicts and the worklist."""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel

from airouter.domain.priority import Priority, Reading, Verdict, most_urgent
from airouter.ports import JobRecord, ResultRecord, WorklistEntry
from airouter.web.schemas import EvidenceView, ModelIdentity, companions_of


class VerdictView(BaseModel):
    """`reading`: the bucket of the worklist that is asked for, None where none is."""

    priority: Priority
    reason: str
    reading: Reading | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        return cls(priority=verdict.priority, reason=verdict.reason, reading=verdict.reading)


class WorklistItem(BaseModel):
    study: str
    study_id: str
    verdict: VerdictView
    updated: str

    @classmethod
    def of(cls, entry: WorklistEntry) -> Self:
        return cls(
            study=entry.study_uid, study_id=entry.study_id, verdict=VerdictView.of(entry.verdict), updated=entry.updated
        )


class WorklistView(BaseModel):
    studies: list[WorklistItem]


class NotAnalysedView(BaseModel):
    quantity: str
    reason: str


class ResultView(BaseModel):
    """What one job left. `model` is what ran, None where the job itself is no longer known."""

    job: str
    pipeline: str | None
    pipeline_version: str | None
    model: ModelIdentity | None
    companions: dict[str, ModelIdentity]
    execution_provider: str | None
    sources: list[str]
    reason: str | None
    verdict: VerdictView
    findings: list[dict[str, Any]]
    not_analysed: list[NotAnalysedView]
    evidence: list[EvidenceView]

    @classmethod
    def of(cls, result: ResultRecord, record: JobRecord | None) -> Self:
        job = record.job if record else None
        return cls(
            job=result.job,
            pipeline=job.pipeline if job else None,
            pipeline_version=job.pipeline_version if job else None,
            model=ModelIdentity(name=job.model, version=job.model_version, sha256=job.model_sha256) if job else None,
            companions=companions_of(job) if job else {},
            execution_provider=record.execution_provider if record else None,
            sources=[source.uid for source in job.sources] if job else [],
            reason=record.reason if record else None,
            verdict=VerdictView.of(result.verdict),
            findings=[dict(finding) for finding in result.findings],
            not_analysed=[NotAnalysedView(quantity=n["quantity"], reason=n["reason"]) for n in result.not_analysed],
            evidence=[EvidenceView.of(stored) for stored in result.evidence],
        )


class FindingsView(BaseModel):
    """Every result of a study, oldest first; `verdict` is the most urgent of them."""

    study: str
    verdict: VerdictView | None
    results: list[ResultView]

    @classmethod
    def study_of(cls, uid: str, results: Iterable[ResultView]) -> Self:
        found = list(results)
        urgent = most_urgent([Verdict(r.verdict.priority, r.verdict.reason, r.verdict.reading) for r in found])
        return cls(study=uid, verdict=VerdictView.of(urgent) if urgent else None, results=found)
