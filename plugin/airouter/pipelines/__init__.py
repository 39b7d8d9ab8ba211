"""The tasks the router can do: built-in ones, and those of other packages by the entry point `airouter.pipelines`."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from airouter.domain.model import Model, Scalar
from airouter.errors import ConfigurationError
from airouter.pipelines import (
    critical_findings,
    diabetic_retinopathy,
    drusen_atrophy,
    field_progression,
    fundus_comparison,
    fundus_quality,
    macular_oedema,
    margin,
    membrane_scoring,
    mitotic_count,
    nerve_fibre_layer,
    nottingham,
    nuclear_positivity,
    oct_comparison,
    retinal_thickness,
    rnfl_progression,
    slide_classification,
    slide_embedding,
    slide_quality,
    slide_segmentation,
    til_score,
    triage,
    tumour_tissue,
    visit_summary,
    visual_field,
)
from airouter.pipelines.pipeline import Companion, Extent, Parameter, Pipeline, Rules, Run, WithCompanions, unusable

__all__ = [
    "PIPELINES",
    "Companion",
    "Extent",
    "Parameter",
    "Pipeline",
    "Rules",
    "Run",
    "WithCompanions",
    "companions_problem",
    "problem",
    "register",
]

GROUP = "airouter.pipelines"
_BUILT_IN = (
    nuclear_positivity.PIPELINE,
    membrane_scoring.PIPELINE,
    slide_classification.PIPELINE,
    slide_segmentation.PIPELINE,
    tumour_tissue.PIPELINE,
    margin.PIPELINE,
    mitotic_count.PIPELINE,
    til_score.PIPELINE,
    nottingham.PIPELINE,
    triage.PIPELINE,
    slide_quality.PIPELINE,
    slide_embedding.PIPELINE,
    retinal_thickness.PIPELINE,
    fundus_quality.PIPELINE,
    visual_field.PIPELINE,
    field_progression.PIPELINE,
    macular_oedema.PIPELINE,
    drusen_atrophy.PIPELINE,
    nerve_fibre_layer.PIPELINE,
    rnfl_progression.PIPELINE,
    diabetic_retinopathy.PIPELINE,
    critical_findings.PIPELINE,
    visit_summary.PIPELINE,
    fundus_comparison.PIPELINE,
    oct_comparison.PIPELINE,
)


def register(built_in: Iterable[Pipeline], others: Iterable[EntryPoint]) -> Mapping[str, Pipeline]:
    """All pipelines by name. An entry point gives a Pipeline under its own name.

    Raises ConfigurationError where an entry point gives something else, or a name that is taken.
    """
    found = {pipeline.name: pipeline for pipeline in built_in}
    for entry in sorted(others, key=lambda e: e.name):
        path = f"entry point {GROUP}: {entry.name}"
        try:
            pipeline = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(path, f"cannot be loaded: {error}") from error
        if not isinstance(pipeline, Pipeline):
            raise ConfigurationError(path, f"must be a Pipeline, not {type(pipeline).__name__}")
        if pipeline.name in found:
            raise ConfigurationError(path, f"pipeline {pipeline.name} exists already")
        found[pipeline.name] = pipeline
    return MappingProxyType(found)


def problem(pipeline: Pipeline, model: Model, parameters: Mapping[str, Scalar] | None = None) -> str | None:
    """Why a model (with a route's parameters) cannot do a pipeline's task, None where it can."""
    if pipeline.head is None:
        return unusable(pipeline.parameters, parameters or {})
    if model.reads.modality is not pipeline.modality:
        return f"model {model.name} reads {model.reads.modality}, pipeline {pipeline.name} {pipeline.modality}"
    if model.head.kind is not pipeline.head:
        return f"model {model.name} has a {model.head.kind} head, pipeline {pipeline.name} needs {pipeline.head}"
    missing = [name for name in pipeline.classes if model.head.index(name) is None]
    if missing:
        return f"model {model.name} lacks the classes {', '.join(missing)} that pipeline {pipeline.name} needs"
    if model.input.fit not in pipeline.fits:
        fits = " or ".join(pipeline.fits)
        return f"model {model.name} has fit: {model.input.fit}, pipeline {pipeline.name} needs {fits}"
    given = {**model.parameters, **(parameters or {})}
    if why := unusable(pipeline.parameters, given):
        return why
    return pipeline.misfit(model, given) if pipeline.misfit else None


def companions_problem(pipeline: Pipeline, companions: Mapping[str, Model]) -> str | None:
    """Why models cannot be a pipeline's companions in these roles, None where they can."""
    for role, model in companions.items():
        wanted = pipeline.companion(role)
        if wanted is None:
            roles = ", ".join(each.role for each in pipeline.companions) or "none"
            return f"pipeline {pipeline.name} knows no companion {role}; known are {roles}"
        if model.reads.modality is not pipeline.modality:
            return f"companion {model.name} reads {model.reads.modality}, pipeline {pipeline.name} {pipeline.modality}"
        if model.head.kind is not wanted.head:
            return f"companion {model.name} has a {model.head.kind} head, {role} needs {wanted.head}"
        missing = [name for name in wanted.classes if model.head.index(name) is None]
        if missing:
            return f"companion {model.name} lacks the classes {', '.join(missing)} that {role} needs"
        if model.input.fit not in wanted.fits:
            return f"companion {model.name} has fit: {model.input.fit}, {role} needs {' or '.join(wanted.fits)}"
    absent = [each.role for each in pipeline.companions if each.required and each.role not in companions]
    return f"pipeline {pipeline.name} needs a companion: {', '.join(absent)}" if absent else None


PIPELINES: Mapping[str, Pipeline] = register(_BUILT_IN, entry_points(group=GROUP))
