"""What POST /ai/quality is given and answers."""

from typing import Annotated, Self

from flask_openapi3.models import RawModel
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from airouter.domain.model import Model
from airouter.services.quality import Quality
from airouter.web.schemas import ModelIdentity, Name

JPEG, PNG, DICOM, JSON = "image/jpeg", "image/png", "application/dicom", "application/json"


class QualityBody(RawModel):
    """A photograph, a DICOM file, or a JSON object as `StoredInstance`."""

    mimetypes = [JPEG, PNG, DICOM, JSON]  # noqa: RUF012 - as the base class has it


class StoredInstance(BaseModel):
    """An instance that Orthanc has, by Orthanc's identifier."""

    model_config = ConfigDict(extra="forbid")

    instance: Annotated[
        str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{8}){4}$", validation_alias=AliasChoices("instance", "Instance"))
    ]
    model: Annotated[Name | None, Field(validation_alias=AliasChoices("model", "Model"))] = None


class QualityReasonView(BaseModel):
    """What speaks against the image. `blocks`: it cannot be graded for this. `probability`: as the model says."""

    kind: str
    detail: str
    blocks: bool
    probability: float | None


class QualityView(BaseModel):
    """Whether an image can be graded, and why not. `rating`: 0 (worst) to 100, of a photograph."""

    kind: str
    gradable: bool
    reasons: list[QualityReasonView]
    rating: float | None
    measures: dict[str, float]
    model: ModelIdentity | None
    milliseconds: float

    @classmethod
    def of(cls, found: Quality) -> Self:
        return cls(
            kind=found.kind,
            gradable=found.gradable,
            reasons=[
                QualityReasonView(kind=r.kind, detail=r.detail, blocks=r.blocks, probability=r.probability)
                for r in found.reasons
            ],
            rating=found.rating,
            measures=dict(found.measures),
            model=_identity(found.model),
            milliseconds=found.milliseconds,
        )


def _identity(model: Model | None) -> ModelIdentity | None:
    return ModelIdentity(name=model.name, version=model.version, sha256=model.sha256) if model else None
