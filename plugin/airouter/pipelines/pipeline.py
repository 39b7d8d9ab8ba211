"""What a pipeline is: a named function from images to findings, and the parameters it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model, Scalar
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.ports import Predictor, ProgressSink

WHOLE_IMAGE: Final = (Fit.STRETCH, Fit.LETTERBOX, Fit.PAD)

# (job, images, predict, progress): `images` is what airouter.imaging opens for the pipeline's modality.
# Raises ModelOutputError, PixelDataError, ArchiveError, JobCanceled; ConfigurationError for an impossible parameter.
Run = Callable[[Job, Any, Predictor, ProgressSink], Result | Ungradable]

# (model, its parameters with the job's over them): what else keeps a model from a pipeline's task, None where nothing.
Misfit = Callable[[Model, Mapping[str, Scalar]], str | None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number a pipeline takes, with its unit (UCUM) and the values that make sense.

    `default` None means: not used unless a model or a route sets it.
    """

    name: str
    default: float | None
    unit: str
    meaning: str
    least: float = 0.0
    most: float = float("inf")
    whole: bool = False

    def problem(self, value: Scalar) -> str | None:
        """Why a value cannot be used, None where it can."""
        if isinstance(value, (bool, str)) or not self.least <= value <= self.most:
            return f"must be a number in {self.least:g}..{self.most:g} {self.unit}, not {value!r}"
        if self.whole and value != int(value):
            return f"must be a whole number, not {value!r}"
        return None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One task. `head`, `classes` and one of `fits` are what its model must have; `parameters` is all one can set.

    `misfit` is asked last, with parameters that are known and in range.
    """

    name: str
    version: str
    modality: Modality
    head: HeadKind
    classes: tuple[str, ...]
    run: Run
    parameters: tuple[Parameter, ...] = ()
    fits: tuple[Fit, ...] = tuple(Fit)
    misfit: Misfit | None = None


class Values:
    """The parameters of one run: defaults, over them the model's manifest, over them the job.

    Raises ConfigurationError for a name the pipeline does not know or a value out of range.
    """

    def __init__(self, parameters: tuple[Parameter, ...], model: Model, job: Job) -> None:
        self._values: dict[str, float | None] = {p.name: p.default for p in parameters}
        for origin, given in (("manifest.yaml", model.parameters), ("job", job.parameters)):
            if why := unusable(parameters, given):
                raise ConfigurationError(f"parameters of the {origin}", why)
            self._values.update((name, float(value)) for name, value in given.items())

    def __getitem__(self, name: str) -> float:
        """A parameter that has a default."""
        value = self._values[name]
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str) -> float | None:
        """A parameter that may be unset."""
        return self._values[name]


def unusable(parameters: tuple[Parameter, ...], given: Mapping[str, Scalar]) -> str | None:
    """Why these parameters cannot be given to a pipeline, None where they can."""
    known = {p.name: p for p in parameters}
    for name, value in given.items():
        if name not in known:
            return f"parameter {name} is unknown; known are {', '.join(sorted(known)) or 'none'}"
        if why := known[name].problem(value):
            return f"parameter {name} {why}"
    return None
