"""Retinas with known truth, and a model `retina-layers` that answers it."""

import dataclasses
from typing import Any

import numpy as np

from airouter.domain.finding import Result
from airouter.domain.model import Fit, HeadKind
from airouter.domain.study import Modality
from airouter.pipelines import PIPELINES
from phantoms.dicom import oct_instance
from phantoms.oct_layers import CLASSES, LayerPhantom
from tests.pipelines.oracle import Oracle, Progress, job, model, opened


def layers_model(rows: int, columns: int, **changes: Any):
    settings = {"size": (rows, columns), "fit": Fit.PAD, "channels": 1, "overlap": 0, "exclusive": True, **changes}
    return model(Modality.OPT, HeadKind.SEGMENTATION, CLASSES, **settings)


def oracle(truth: LayerPhantom, about=None) -> Oracle:
    """A model that answers the labels of each B-scan."""
    knows = Oracle(about or layers_model(*truth.frames.shape[1:]))
    for number, frame in enumerate(truth.frames):
        knows.tell(frame, truth.one_hot(number))
    return knows


def instance(truth: LayerPhantom, **changes: Any):
    said = {
        "axial_um": truth.axial_um,
        "lateral_um": truth.lateral_um,
        "slice_um": truth.slice_um if len(truth.frames) > 1 else None,
        "laterality": truth.laterality,
        "seed": 1,
    }
    return oct_instance(truth.frames, **{**said, **changes})


def outcome(pipeline: str, truth: LayerPhantom, dataset=None, knows=None, progress=None, **parameters: Any):
    volume = opened([dataset if dataset is not None else instance(truth)])
    return PIPELINES[pipeline].run(job(**parameters), volume, knows or oracle(truth), progress or Progress())


def analysed(pipeline: str, truth: LayerPhantom, dataset=None, knows=None, **parameters: Any) -> Result:
    result = outcome(pipeline, truth, dataset, knows, **parameters)
    assert isinstance(result, Result), result
    return result


def mirrored(truth: LayerPhantom) -> LayerPhantom:
    """The other eye: everything from left to right, and the other laterality."""
    return dataclasses.replace(
        truth,
        frames=np.ascontiguousarray(truth.frames[:, :, ::-1]),
        labels=np.ascontiguousarray(truth.labels[:, :, ::-1]),
        surfaces={name: np.ascontiguousarray(s[:, ::-1]) for name, s in truth.surfaces.items()},
        atrophy=np.ascontiguousarray(truth.atrophy[:, ::-1]),
        laterality="L" if truth.laterality == "R" else "R",
    )


def weak(truth: LayerPhantom, columns: int) -> Oracle:
    """The model is unsure of the first columns of every B-scan."""
    knows = Oracle(layers_model(*truth.frames.shape[1:]))
    for number, frame in enumerate(truth.frames):
        answer = truth.one_hot(number)
        answer[:, :, :columns] = 1.0 / len(CLASSES)
        knows.tell(frame, answer)
    return knows
