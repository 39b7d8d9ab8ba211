"""A model and a job with nothing special about them; a test names only what it is about."""

from dataclasses import replace
from typing import Any

from airouter.domain.job import Job
from airouter.domain.model import Head, HeadKind, Model, ModelClass, ModelInput, Reads
from airouter.domain.study import Modality


def model(**changes: Any) -> Model:
    """A nucleus segmentation for slides; `changes` are fields of Model."""
    made = Model(
        name="demo",
        version="1.0.0",
        title="Demo",
        manufacturer="Orthanc AI Router project",
        licence="CC0-1.0",
        intended_use="demonstration",
        description="",
        sha256="ab" * 32,
        reads=Reads(Modality.SM),
        input=ModelInput("x", "NCHW", 3, "RGB", (256, 256)),
        head=Head(HeadKind.SEGMENTATION, "y", classes=(ModelClass("nucleus"),)),
    )
    return replace(made, **changes)


def job(**changes: Any) -> Job:
    """A job of that model on a slide without sources; `changes` are fields of Job."""
    made = Job(
        key="key",
        study_id="study",
        study_uid="1.2",
        series_uid="1.2.3",
        modality=Modality.SM,
        sources=(),
        pipeline="test",
        pipeline_version="1",
        model="demo",
        model_version="1.0.0",
        model_sha256="ab" * 32,
    )
    return replace(made, **changes)
