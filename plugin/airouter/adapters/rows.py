"""Domain values to JSON and rows, and back."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from airouter.domain.decision import Clause, Decision, Outcome
from airouter.domain.job import Discontinuation, Job, JobState, ModelReference, Progress, Source
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.ports import JobRecord


def decision_key(decision: Decision) -> str:
    """SHA-256 over what a decision is about, at a length that a unique index takes: the sorted UIDs of its sources.

    Objects that no route reads are one growing heap per series and reason: each slice of a CT that arrives would
    otherwise leave another decision with all the UIDs before it.
    """
    about = decision.sources if decision.modality is not None else (decision.series_uid, decision.reason)
    return hashlib.sha256(json.dumps(sorted(about)).encode()).hexdigest()


def job_content(job: Job) -> dict[str, Any]:
    """Plain JSON values of a job."""
    content = dataclasses.asdict(job)
    content["parameters"] = dict(job.parameters)
    content["companions"] = {role: dataclasses.asdict(each) for role, each in job.companions.items()}
    return content


def job_of(content: Mapping[str, Any]) -> Job:
    """The job that `job_content` wrote."""
    fields = dict(content)
    fields["modality"] = Modality(fields["modality"])
    fields["priority"] = Priority(fields["priority"])
    fields["sources"] = tuple(Source(**source) for source in fields["sources"])
    fields["companions"] = {
        role: ModelReference(**each) for role, each in fields.get("companions", {}).items()
    }  # none in a row of an earlier version
    fields["results"] = tuple(fields.get("results", ()))
    return Job(**fields)


def record_of(row: sa.RowMapping) -> JobRecord:
    """A row of the table `job`."""
    progress = Progress(row["done"], row["total"], row["unit"]) if row["total"] is not None else None
    why = row["discontinuation"]
    return JobRecord(
        job=job_of(row["content"]),
        state=JobState(row["state"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        progress=progress,
        reason=row["reason"],
        discontinuation=Discontinuation(why) if why is not None else None,
        execution_provider=row["execution_provider"],
        requested_by=row["requested_by"],
        attempts=row["attempts"],
    )


def decision_content(decision: Decision) -> dict[str, Any]:
    """Plain JSON values of a decision."""
    content = dataclasses.asdict(decision)
    content["sources"] = list(decision.sources)
    content["clauses"] = [dataclasses.asdict(clause) for clause in decision.clauses]
    return content


def decision_of(content: Mapping[str, Any]) -> Decision:
    """The decision that `decision_content` wrote."""
    fields = dict(content)
    fields["modality"] = Modality(fields["modality"]) if fields["modality"] is not None else None
    fields["outcome"] = Outcome(fields["outcome"])
    fields["sources"] = tuple(fields["sources"])
    fields["clauses"] = tuple(Clause(**clause) for clause in fields["clauses"])
    return Decision(**fields)
