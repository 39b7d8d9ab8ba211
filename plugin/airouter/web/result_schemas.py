"""Answers on results: findings and verdicts."""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel

from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Reading, Verdict
from airouter.ports import JobRecord, ResultRecord
from airouter.services.review_records import Standing
from airouter.web.finding_view import finding_view, reports_of
from airouter.web.schemas import EvidenceView, ModelIdentity, companions_of


class GroundView(BaseModel):
    """One reason for a priority; `findings`: keys of what it rests on, none where no finding can take it away."""

    priority: Priority
    reason: str
    findings: list[str]


class VerdictView(BaseModel):
    """`reading`: the bucket of the worklist that is asked for, None where none is."""

    priority: Priority
    reason: str
    reading: Reading | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        return cls(priority=verdict.priority, reason=verdict.reason, reading=verdict.reading)


class ResultVerdictView(VerdictView):
    """`grounds`: what it rests on; without any it rests on all findings of the result together."""

    grounds: list[GroundView]

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        grounds = [GroundView(priority=g.priority, reason=g.reason, findings=list(g.findings)) for g in verdict.grounds]
        return cls(priority=verdict.priority, reason=verdict.reason, reading=verdict.reading, grounds=grounds)


class NotAnalysedView(BaseModel):
    quantity: str
    reason: str


class ResultView(BaseModel):
    """What one job left. `model` is what ran, None where the job itself is no longer known.

    `verdict` is what the job said, whatever readers rejected since. `superseded`: a newer result stands in its place.
    `phase`: of the model's introduction. `report`: the machine's reports that hold the findings.
    """

    job: str
    pipeline: str | None
    pipeline_version: str | None
    model: ModelIdentity | None
    companions: dict[str, ModelIdentity]
    execution_provider: str | None
    sources: list[str]
    reason: str | None
    superseded: bool
    phase: Phase
    report: list[dict[str, str]]
    verdict: ResultVerdictView
    findings: list[dict[str, Any]]
    not_analysed: list[NotAnalysedView]
    evidence: list[EvidenceView]

    @classmethod
    def of(
        cls,
        result: ResultRecord,
        record: JobRecord | None,
        standing: Standing | None = None,
        phase: Phase = Phase.INTEGRATED,
    ) -> Self:
        job = record.job if record else None
        reviewed = standing.reviewed if standing is not None else {}
        return cls(
            job=result.job,
            pipeline=job.pipeline if job else None,
            pipeline_version=job.pipeline_version if job else None,
            model=ModelIdentity(name=job.model, version=job.model_version, sha256=job.model_sha256) if job else None,
            companions=companions_of(job) if job else {},
            execution_provider=record.execution_provider if record else None,
            sources=[source.uid for source in job.sources] if job else [],
            reason=record.reason if record else None,
            superseded=result.superseded,
            phase=phase,
            report=reports_of(result),
            verdict=ResultVerdictView.of(result.verdict),
            findings=[finding_view(f, job, reviewed.get(str(f.get("key")))) for f in result.findings],
            not_analysed=[NotAnalysedView(quantity=n["quantity"], reason=n["reason"]) for n in result.not_analysed],
            evidence=[EvidenceView.of(stored) for stored in result.evidence],
        )


class FindingsView(BaseModel):
    """Every result of a study, oldest first; `verdict` is that of the worklist.

    Where the study is read in full, no result says that it asked for less: the study may have been drawn to check its
    reader.
    """

    study: str
    verdict: VerdictView | None
    results: list[ResultView]

    @classmethod
    def study_of(cls, uid: str, results: Iterable[ResultView], verdict: Verdict | None) -> Self:
        shown = list(results)
        if verdict is not None and verdict.reading is not Reading.REVIEW_AND_RELEASE:
            for each in shown:
                each.verdict.reading = (
                    None if each.verdict.reading is Reading.REVIEW_AND_RELEASE else each.verdict.reading
                )
        return cls(study=uid, verdict=VerdictView.of(verdict) if verdict else None, results=shown)
