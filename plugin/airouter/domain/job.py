"""A job: one model and pipeline over one image set, identified by what it would compute."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airouter.domain.model import Model, Scalar, contract
from airouter.domain.priority import Priority
from airouter.domain.study import ImageSet, Modality

# Namespace of every UID derived below; an arbitrary constant, never to be changed.
_NAMESPACE = uuid.UUID("6f1d6f3a-6c0e-4f5b-9d0e-2f8f0c8f7a11")


class JobState(StrEnum):
    """Procedure Step State of a UPS (PS3.4 CC.1.1)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class Discontinuation(StrEnum):
    """Why a job ended CANCELED."""

    OPERATOR = "operator"
    FAILURE = "failure"
    POISON = "poison"  # it took the process down too often
    SOURCE_DELETED = "source deleted"


@dataclass(frozen=True, slots=True)
class Source:
    """One input of a job: archive identifier, SOP Instance UID and the checksum of the stored file.

    `prior_study_id`: the archive's identifier of the study where a prior lies, empty for the images the job is about.
    """

    id: str
    uid: str
    digest: str
    prior_study_id: str = ""


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Which model, at which weights and under which contract (airouter.domain.model.contract)."""

    name: str
    version: str
    sha256: str
    contract: str

    @classmethod
    def of(cls, model: Model) -> "ModelReference":
        return cls(model.name, model.version, model.sha256, contract(model))


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that decides the result, and nothing else; `key` is its digest.

    `model_contract` as airouter.domain.model.contract; empty of a job that an earlier version made. `companions`: the
    further models by their role in the pipeline. `results`: keys of the jobs whose results it reads.
    """

    key: str
    study_id: str
    study_uid: str
    series_uid: str
    modality: Modality
    sources: tuple[Source, ...]
    pipeline: str
    pipeline_version: str
    model: str
    model_version: str
    model_sha256: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    route: str = ""
    priority: Priority = Priority.ROUTINE
    model_contract: str = ""
    companions: Mapping[str, ModelReference] = field(default_factory=dict)
    results: tuple[str, ...] = ()

    def uid(self, role: str) -> str:
        """Deterministic UID of one output of this job: the same job and role always give the same UID.

        2.25 followed by a UUID as an integer (PS3.5 B.2), the UUID being version 5 of key and role.
        """
        return output_uid(self.key, role)

    def tracking_uid(self, finding: str) -> str:
        """Tracking UID of the finding of that key, the same in every report that repeats it."""
        return tracking_uid(self.key, finding)


def output_uid(job: str, role: str) -> str:
    """Job.uid of the job with a key."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{job}|{role}').int}"


def tracking_uid(job: str, finding: str) -> str:
    """Job.tracking_uid of the job with a key."""
    return output_uid(job, f"finding|{finding}")


def job_key(
    images: ImageSet,
    *,
    pipeline: str,
    pipeline_version: str,
    model: Model,
    parameters: Mapping[str, Scalar],
    companions: Mapping[str, Model] | None = None,
    results: Sequence[str] = (),
) -> str:
    """SHA-256 (hex) over sources with their file checksums, weights, their contract, parameters and pipeline version.

    Independent of the order in which instances arrived; different as soon as one stored byte differs. Companions,
    priors and results of other jobs take part where there are any.
    """
    content: dict[str, Any] = {
        "sources": sorted([i.uid, i.digest] for i in images.instances),
        "pipeline": [pipeline, pipeline_version],
        "model": [model.sha256, contract(model)],
        "parameters": dict(sorted(parameters.items())),
    }
    if images.priors:
        content["priors"] = sorted([p.instance.uid, p.instance.digest] for p in images.priors)
    if results:
        content["results"] = sorted(results)
    if companions:
        content["companions"] = {role: [each.sha256, contract(each)] for role, each in companions.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, in the pipeline's own unit (patches, B-scans, images)."""

    done: int
    total: int
    unit: str = "patches"
