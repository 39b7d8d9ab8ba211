"""What a pipeline is: a named function from images to findings, and the parameters it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model, Scalar, rules
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.ports import Predictor, ProgressSink


class Extent(StrEnum):
    """How much one job of a pipeline reads, and so what its `run` gets as `images`."""

    IMAGE = "image"  # one image set: Slide, Fundus, OctVolume, VisualField
    STUDY = "study"  # every image of the modality in the study: imaging.visit.Visit
    PRIOR = "prior"  # one image, and those of the same eye in the latest earlier study that has any: History
    HISTORY = "history"  # one image, and every earlier one of the same eye: imaging.visit.History
    RESULTS = "results"  # what other jobs found: domain.summary.Sources


WHOLE_IMAGE: Final = (Fit.STRETCH, Fit.LETTERBOX, Fit.PAD)

# (job, images, predict, progress): `images` is what airouter.imaging opens for the pipeline's modality.
# Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled; ConfigurationError for an impossible parameter.
Run = Callable[[Job, Any, Predictor, ProgressSink], Result | Ungradable]

# (model, its parameters with the job's over them): what else keeps a model from a pipeline's task, None where nothing.
Misfit = Callable[[Model, Mapping[str, Scalar]], str | None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value a pipeline takes: a number with its unit (UCUM) and its range, or one of the texts in `choices`.

    `default` None means: not used unless a model or a route sets it.
    """

    name: str
    default: float | str | None
    unit: str
    meaning: str
    least: float = 0.0
    most: float = float("inf")
    whole: bool = False
    choices: tuple[str, ...] = ()

    def problem(self, value: Scalar) -> str | None:
        """Why a value cannot be used, None where it can."""
        if self.choices:
            return None if value in self.choices else f"must be one of {', '.join(self.choices)}, not {value!r}"
        if isinstance(value, (bool, str)) or not self.least <= value <= self.most:
            return f"must be a number in {self.least:g}..{self.most:g} {self.unit}, not {value!r}"
        if self.whole and value != int(value):
            return f"must be a whole number, not {value!r}"
        return None


@dataclass(frozen=True, slots=True)
class Companion:
    """A further model that a pipeline can use beside its main one, known by its `role`, and what it must have."""

    role: str
    head: HeadKind
    classes: tuple[str, ...] = ()
    required: bool = False
    fits: tuple[Fit, ...] = (Fit.TILE,)


@dataclass(frozen=True, slots=True)
class WithCompanions:
    """The main model of a job, and its companions by role: a Predictor that answers as the main model does."""

    main: Predictor
    companions: Mapping[str, Predictor] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.main.model

    @property
    def provider(self) -> str:
        return self.main.provider

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.main.predict(images)


def companion(predict: Predictor, role: str) -> Predictor | None:
    """The companion of a role, None where the job has none of it."""
    return predict.companions.get(role) if isinstance(predict, WithCompanions) else None


@dataclass(frozen=True, slots=True)
class Rules:
    """The Predictor of a job without a model: it says what the rules are and predicts nothing."""

    model: Model
    provider: str = "none"

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        raise NotImplementedError(f"{self.model.name} has no model to run")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One task. `head`, `classes` and one of `fits` are what its model must have; `parameters` is all one can set.

    `head` None: it needs no model, and a route names none. `modality` None: it reads results, not images. `extent`: how
    much one job reads.
    `companions`: the further models that a route may name, or must. `annotations`: whether what people drew on the
    images takes part. `evidence`: whether its results become DICOM. `misfit` is asked last, with parameters that are
    known and in range.
    """

    name: str
    version: str
    modality: Modality | None
    head: HeadKind | None
    classes: tuple[str, ...]
    run: Run
    parameters: tuple[Parameter, ...] = ()
    fits: tuple[Fit, ...] = tuple(Fit)
    misfit: Misfit | None = None
    companions: tuple[Companion, ...] = ()
    annotations: bool = False
    evidence: bool = True
    extent: Extent = Extent.IMAGE

    def rules(self, modality: Modality) -> Model:
        """What stands in the model's place where it needs none."""
        return rules(self.name, self.version, modality)

    def companion(self, role: str) -> Companion | None:
        """What is asked of the companion of a role, None where the pipeline knows no such role."""
        return next((each for each in self.companions if each.role == role), None)


class Values:
    """The parameters of one run: defaults, over them the model's manifest, over them the job.

    Raises ConfigurationError for a name the pipeline does not know or a value out of range.
    """

    def __init__(self, parameters: tuple[Parameter, ...], model: Model, job: Job) -> None:
        self._values: dict[str, float | str | None] = {p.name: p.default for p in parameters}
        for origin, given in (("manifest.yaml", model.parameters), ("job", job.parameters)):
            if why := unusable(parameters, given):
                raise ConfigurationError(f"parameters of the {origin}", why)
            self._values.update(
                (name, value if isinstance(value, str) else float(value)) for name, value in given.items()
            )

    def __getitem__(self, name: str) -> float:
        """A number that has a default."""
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str) -> float | None:
        """A number that may be unset."""
        value = self._values[name]
        if isinstance(value, str):
            raise KeyError(name)
        return value

    def text(self, name: str) -> str | None:
        """A choice, None where it is not made."""
        value = self._values[name]
        if value is not None and not isinstance(value, str):
            raise KeyError(name)
        return value


def unusable(parameters: tuple[Parameter, ...], given: Mapping[str, Scalar]) -> str | None:
    """Why these parameters cannot be given to a pipeline, None where they can."""
    known = {p.name: p for p in parameters}
    for name, value in given.items():
        if name not in known:
            return f"parameter {name} is unknown; known are {', '.join(sorted(known)) or 'none'}"
        if why := known[name].problem(value):
            return f"parameter {name} {why}"
    return None
