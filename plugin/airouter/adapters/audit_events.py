"""What the audit trail says of jobs, decisions and rescans: values that name things, none that describe a patient."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from airouter.domain import codes
from airouter.domain.audit import AuditEvent, AuditKind, Outcome
from airouter.domain.decision import Decision
from airouter.domain.job import Discontinuation, Job
from airouter.domain.rescan import RescanEntry
from airouter.ports import JobRecord, ResultRecord

_MOST: Final = 200  # findings, decisions and sources that are listed; how many there are is always said
_CONFIDENCES: Final = frozenset({codes.CERTAINTY_OF_FINDING.value, codes.PROBABILITY.value})


def completed(record: JobRecord, result: ResultRecord) -> AuditEvent:
    """A job that came to a result, or found its images ungradable. `record` as it stands after the job."""
    ran = result.provenance
    detail = _job(record) | {
        "ungradable": record.reason,
        "verdict": {"priority": result.verdict.priority.value, "reason": result.verdict.reason},
        "findings": [_finding(f) for f in result.findings[:_MOST]],
        "finding_count": len(result.findings),
        "not_analysed": [dict(n) for n in result.not_analysed[:_MOST]],
        "outputs": [
            {
                "role": e.role,
                "sop_class": e.sop_class,
                "uid": e.uid,
                "digest": ran.digests.get(e.uid) if ran is not None else None,
            }
            for e in result.evidence
        ],
    }
    if ran is not None:
        detail |= {
            "runtime": dict(ran.runtime),
            "intended_use": ran.intended_use,
            "phase": ran.phase.value,
            "seconds": round(ran.seconds, 3),
        }
    patient = ran.patient_id if ran is not None else None
    return AuditEvent(AuditKind.INFERENCE, study_uid=result.study_uid, patient_id=patient, detail=detail)


def ended(record: JobRecord, by: str | None) -> AuditEvent:
    """A job that ended without a result: by an operator, or because it could not go on."""
    canceled = record.discontinuation is Discontinuation.OPERATOR
    return AuditEvent(
        AuditKind.CANCEL if canceled else AuditKind.INFERENCE,
        user=by,
        study_uid=record.job.study_uid,
        outcome=Outcome.SUCCESS if canceled else Outcome.SERIOUS_FAILURE,
        detail=_job(record)
        | {"discontinuation": record.discontinuation and record.discontinuation.value, "reason": record.reason},
    )


def again(record: JobRecord, by: str | None) -> AuditEvent:
    """A job that a user runs once more after it had ended without a result."""
    detail = {"job": record.job.key, "pipeline": record.job.pipeline, "again": True}
    return AuditEvent(AuditKind.REQUEST, user=by, study_uid=record.job.study_uid, detail=detail)


def routed(study_uid: str, decisions: Sequence[Decision]) -> AuditEvent:
    """What routing newly decided on a study. What the headers say is not repeated: a route may ask for a name."""
    listed = [
        {
            "series": d.series_uid,
            "modality": d.modality and d.modality.value,
            "route": d.route,
            "revision": d.revision,
            "outcome": d.outcome.value,
            "reason": d.reason,
            "job": d.job,
            "instances": len(d.sources),
        }
        for d in decisions[:_MOST]
    ]
    detail = {"decisions": listed, "decision_count": len(decisions)}
    return AuditEvent(AuditKind.ROUTING, study_uid=study_uid, detail=detail)


def dismissed(entry: RescanEntry, by: str | None) -> AuditEvent:
    """A slide that a user took off the list of those to scan again."""
    detail = {"series": entry.series_uid, "state": entry.state.value, "fitness": entry.fitness.reason}
    return AuditEvent(AuditKind.RESCAN, user=by, study_uid=entry.study_uid, detail=detail | {"reason": entry.note})


def _job(record: JobRecord) -> dict[str, Any]:
    job = record.job
    return {
        "job": job.key,
        "route": job.route,
        "pipeline": job.pipeline,
        "pipeline_version": job.pipeline_version,
        "model": _model(job),
        "companions": {
            role: {"name": m.name, "version": m.version, "sha256": m.sha256, "contract": m.contract}
            for role, m in job.companions.items()
        },
        "parameters": dict(job.parameters),
        "execution_provider": record.execution_provider,
        "modality": job.modality.value,
        "series": job.series_uid,
        "sources": [{"uid": s.uid, "digest": s.digest} for s in job.sources],
        "results": list(job.results),
        "requested_by": record.requested_by,
        "attempts": record.attempts,
        "created": record.created,
        "started": record.started,
        "ended": record.ended,
    }


def _model(job: Job) -> dict[str, str]:
    return {
        "name": job.model,
        "version": job.model_version,
        "sha256": job.model_sha256,
        "contract": job.model_contract,
    }


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    sure = [m["value"] for m in finding.get("measurements", ()) if m.get("name", {}).get("value") in _CONFIDENCES]
    code = finding.get("finding") or {}
    return {
        "key": finding.get("key"),
        "label": finding.get("label"),
        "finding": code.get("value"),
        "scheme": code.get("scheme"),
        "confidence": sure[0] if sure else None,
    }
