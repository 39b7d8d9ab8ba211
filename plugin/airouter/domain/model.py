"""What a model is, as its manifest says it: values only, no file and no session.

`airouter.inference.manifest` makes these from models/<name>/manifest.yaml; pipelines, imaging and evidence read them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from airouter.domain.code import Code
from airouter.domain.study import Modality

Scalar = str | int | float | bool


class HeadKind(StrEnum):
    """What comes out of a model."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    REGRESSION = "regression"
    EMBEDDING = "embedding"
    RULES = "rules"  # no model at all: arithmetic of the router itself; no manifest may say this


class Fit(StrEnum):
    """How an image is brought to the size of the input tensor."""

    TILE = "tile"  # overlapping patches at the model's physical spacing
    STRETCH = "stretch"  # the whole image resized, aspect ratio not kept
    LETTERBOX = "letterbox"  # the whole image resized, aspect ratio kept, rest padded
    PAD = "pad"  # the whole image at its own pixels, padded up to a multiple of `size`


class Activation(StrEnum):
    """What turns the head's raw output into probabilities; applied by the router, not by the model."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class ModelClass:
    """One channel of a segmentation, or one answer of a classification."""

    name: str
    code: Code | None = None
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Padding:
    """How missing pixels are filled: `constant` (value in 0..255), `reflect` or `edge`."""

    mode: str = "constant"
    value: int = 0


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The input tensor and how 8-bit pixels become it.

    `size` is (rows, columns) of the tensor, `spacing_um` the physical pixel spacing the model expects in um
    (None: the image's own pixels), `overlap` the context in pixels that neighbouring patches share on each side,
    `icc` whether a slide's colours are converted from its ICC profile to sRGB first.
    """

    name: str
    layout: str  # NCHW | NHWC
    channels: int
    colour: str  # RGB | BGR | GRAY
    size: tuple[int, int]
    spacing_um: float | None = None
    fit: Fit = Fit.TILE
    overlap: int = 0
    transpose: bool = False
    icc: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    padding: Padding = Padding()
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The output tensor the router reads and what its channels mean."""

    kind: HeadKind
    output: str
    layout: str = "NCHW"
    activation: Activation = Activation.NONE
    classes: tuple[ModelClass, ...] = ()
    exclusive: bool = False
    unit: str | None = None

    def index(self, name: str) -> int | None:
        """Channel of the class called `name`, or None where the model has no such class."""
        return next((i for i, c in enumerate(self.classes) if c.name == name), None)

    def channel(self, name: str) -> int:
        """The same of a class that must be there: a model without it is refused before. Raises ValueError."""
        index = self.index(name)
        if index is None:
            raise ValueError(f"the model has no class {name!r}")
        return index


@dataclass(frozen=True, slots=True)
class Reads:
    """Which images the model may be given. Empty tuples accept anything of the modality."""

    modality: Modality
    sop_classes: tuple[str, ...] = ()
    stains: tuple[str, ...] = ()
    laterality_required: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured figure of the model's card: metric on a named data set of n images."""

    dataset: str
    metric: str
    value: float
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """Identity and contract of one model: name and version for people, sha256 of the weights for the record."""

    name: str
    version: str
    title: str
    manufacturer: str
    licence: str
    intended_use: str  # demonstration | research | clinical
    description: str
    sha256: str
    reads: Reads
    input: ModelInput
    head: Head
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()


def contract(model: Model) -> str:
    """SHA-256 (hex) of what the manifest says of input and head: with the weights it decides the result.

    What is at its default is left out, so that a field that a later version adds changes nothing.
    """
    return hashlib.sha256(json.dumps([_said(model.input), _said(model.head)], sort_keys=True).encode()).hexdigest()


def _said(value: Any) -> Any:
    """A value of ours as JSON values."""
    if is_dataclass(value):
        return {f.name: _said(given) for f in fields(value) if (given := getattr(value, f.name)) != f.default}
    return [_said(each) for each in value] if isinstance(value, tuple) else value


def rules(pipeline: str, version: str, modality: Modality) -> Model:
    """What stands in a model's place where a pipeline needs none: its own name and version, and their digest."""
    return Model(
        name=pipeline,
        version=version,
        title=f"Rules of {pipeline}",
        manufacturer="Orthanc AI Router project",
        licence="AGPL-3.0-or-later",
        intended_use="research",
        description="Arithmetic on what the objects carry; no model.",
        sha256=hashlib.sha256(f"{pipeline} {version}".encode()).hexdigest(),
        reads=Reads(modality),
        input=ModelInput("", "", 0, "", (0, 0)),
        head=Head(HeadKind.RULES, ""),
    )
