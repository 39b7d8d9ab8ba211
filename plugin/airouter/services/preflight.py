"""What is wrong with a configuration, down to routes that could never run; at start and in the shell alike."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airouter import config
from airouter.config import SECTION, RouteSettings, Settings
from airouter.domain.model import Model
from airouter.domain.route import explain, matches
from airouter.domain.study import Attribute, Modality
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, Pipeline, companions_problem, problem
from airouter.pipelines.pipeline import unusable


def problems(document: Mapping[str, Any], models: Mapping[str, Model | None]) -> list[ConfigurationError]:
    """Every problem of the section and of its routes.

    `models` maps the name of every model folder to its model, None where the folder is there but not usable: that
    is no reason to refuse the others, its jobs are skipped with the reason.
    """
    found = config.problems(document)
    if not found:
        settings = config.load(document)
        found = [*_quantized_problems(settings, models), *route_problems(settings, models)]
    return found


def _quantized_problems(settings: Settings, models: Mapping[str, Model | None]) -> list[ConfigurationError]:
    known = ", ".join(sorted(models)) or "none"
    return [
        ConfigurationError(f"{SECTION}.QuantizedModels[{n}]", f"there is no model {name!r}; there are {known}")
        for n, name in enumerate(settings.quantized_models)
        if name not in models
    ]


def _companion_problems(
    route: RouteSettings, pipeline: Pipeline, path: str, models: Mapping[str, Model | None]
) -> list[ConfigurationError]:
    known = ", ".join(sorted(models)) or "none"
    unknown = [
        ConfigurationError(f"{path}.Companions.{role}", f"there is no {name!r}; there are {known}")
        for role, name in route.companions.items()
        if name not in models
    ]
    if unknown:
        return unknown
    # One that is there and not usable is no reason to refuse: its jobs are skipped with the reason.
    usable = {role: model for role, name in route.companions.items() if (model := models[name]) is not None}
    broken = len(usable) < len(route.companions)
    wrong = None if broken else companions_problem(pipeline, usable)
    return [ConfigurationError(f"{path}.Companions", wrong)] if wrong else []


def route_problems(settings: Settings, models: Mapping[str, Model | None]) -> list[ConfigurationError]:
    """Routes whose pipeline or model does not exist, that do not fit each other, or whose parameters are impossible."""
    found = []
    compiled = settings.compiled_routes()
    for n, route in enumerate(settings.routes):
        path = f"{SECTION}.Routes[{n}]"
        pipeline = PIPELINES.get(route.pipeline)
        if pipeline is None:
            known = ", ".join(sorted(PIPELINES))
            found.append(ConfigurationError(f"{path}.Pipeline", f"there is no {route.pipeline!r}; there are {known}"))
        needs_model = pipeline is None or pipeline.head is not None
        if pipeline is not None and not needs_model and route.model:
            found.append(ConfigurationError(f"{path}.Model", f"pipeline {pipeline.name} needs no model"))
        if needs_model and route.model not in models:
            known = ", ".join(sorted(models)) or "none"
            missing = f"there is no {route.model!r}" if route.model else f"pipeline {route.pipeline} needs one"
            found.append(ConfigurationError(f"{path}.Model", f"{missing}; there are {known}"))
        model = models.get(route.model) if needs_model else None
        if pipeline is None:
            continue
        # A header of another modality never gets there: the SOP class decides, and Modality must agree with it.
        said = replace(compiled[n], conditions=tuple(c for c in compiled[n].conditions if c.path == ("Modality",)))
        reads = [pipeline.modality] if pipeline.modality is not None else [m for m in Modality if m is not Modality.SM]
        clauses = [explain(said, {"Modality": Attribute("CS", (modality.value,))}) for modality in reads]
        if said.conditions and not any(matches(each) for each in clauses):
            reason = f"impossible: pipeline {pipeline.name} reads {pipeline.modality or 'results on images of the eye'}"
            found.append(ConfigurationError(f"{path}.Match.Modality", reason))
        if wrong := unusable(pipeline.parameters, route.parameters):
            found.append(ConfigurationError(f"{path}.Parameters", wrong))
        elif model is not None and (misfit := problem(pipeline, model, route.parameters)):
            found.append(ConfigurationError(f"{path}.Model", misfit))
        found += _companion_problems(route, pipeline, path, models)
    return found
