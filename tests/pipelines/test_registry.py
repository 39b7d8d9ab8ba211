"""Which pipelines there are, and what a model must have to serve one."""

import ast
import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from airouter import pipelines
from airouter.domain.model import Fit, HeadKind
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, Pipeline, problem, register
from airouter.pipelines.pipeline import Parameter, Values
from tests.pipelines.oracle import LAYERS, job, model

MINE = Pipeline("mine", "1", Modality.OP, HeadKind.EMBEDDING, (), lambda *_: None)
TAKEN = Pipeline("fundus-quality", "1", Modality.OP, HeadKind.EMBEDDING, (), lambda *_: None)


def entry(name):
    return EntryPoint(name, f"{__name__}:{name}", "airouter.pipelines")


def test_the_built_in_pipelines():
    assert list(PIPELINES) == [
        "nuclear-positivity",
        "membrane-scoring",
        "slide-classification",
        "slide-segmentation",
        "tissue-classes",
        "margin",
        "mitotic-count",
        "til-score",
        "nottingham",
        "slide-triage",
        "slide-quality",
        "similar-cases",
        "retinal-thickness",
        "fundus-quality",
        "visual-field",
        "field-progression",
        "macular-oedema",
        "drusen-atrophy",
        "nerve-fibre-layer",
        "rnfl-progression",
        "diabetic-retinopathy",
        "critical-findings",
        "visit-summary",
        "fundus-comparison",
        "oct-comparison",
    ]
    assert all(name == pipeline.name for name, pipeline in PIPELINES.items())


def test_every_verdict_says_on_which_findings_it_rests():
    """They are made of grounds alone; an urgent one names a finding, which the result must have (Ground, Result)."""
    modules = sorted(Path(str(pipelines.__file__)).parent.glob("*.py"))
    calls = {
        (module.name, node.func.id)
        for module in modules
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert len([name for name, called in calls if called == "verdict_of"]) > 20
    assert [name for name, called in calls if called == "Verdict"] == []


@pytest.fixture
def entries(monkeypatch):
    """Entry points that lead into this module."""
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.name])
    return lambda *names: [entry(name) for name in names]


def test_another_package_can_add_one(entries):
    assert register(PIPELINES.values(), entries("MINE"))["mine"] is MINE


def test_a_name_that_is_taken_is_refused(entries):
    with pytest.raises(ConfigurationError, match="exists already"):
        register(PIPELINES.values(), entries("TAKEN"))


def test_something_else_than_a_pipeline_is_refused(entries):
    with pytest.raises(ConfigurationError, match="must be a Pipeline"):
        register((), entries("LAYERS"))


def test_an_entry_point_into_nowhere_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        register((), [EntryPoint("gone", "airouter.nowhere:PIPELINE", "airouter.pipelines")])


def oct_model(**changes):
    settings = {"fit": Fit.STRETCH, "channels": 1, **changes}
    return model(Modality.OPT, HeadKind.SEGMENTATION, settings.pop("classes", LAYERS), **settings)


def test_a_model_that_fits():
    assert problem(PIPELINES["retinal-thickness"], oct_model()) is None
    assert problem(PIPELINES["retinal-thickness"], oct_model(parameters={"high_cst_um": 300})) is None


@pytest.mark.parametrize(
    ("about", "why"),
    [
        (model(Modality.OP, HeadKind.SEGMENTATION, LAYERS, fit=Fit.STRETCH), "reads OP"),
        (model(Modality.OPT, HeadKind.CLASSIFICATION, LAYERS, fit=Fit.STRETCH), "classification head"),
        (oct_model(classes=("vitreous", "retina")), "lacks the classes fluid, below"),
        (oct_model(fit=Fit.TILE), "has fit: tile"),
        (oct_model(parameters={"colour": "red"}), "parameter colour is unknown"),
        (oct_model(parameters={"high_cst_um": "thick"}), "parameter high_cst_um must be a number"),
        (oct_model(parameters={"workers": True}), "parameter workers must be a number"),
    ],
)
def test_a_model_that_does_not_fit(about, why):
    assert why in problem(PIPELINES["retinal-thickness"], about)


def test_a_pipeline_may_have_conditions_of_its_own():
    told = []

    def misfit(about, parameters):
        told.append(dict(parameters))
        return "is too young"

    mine = dataclasses.replace(PIPELINES["retinal-thickness"], misfit=misfit)
    assert problem(mine, oct_model(parameters={"high_cst_um": 300}), {"min_coverage": 0.8}) == "is too young"
    assert told == [{"high_cst_um": 300, "min_coverage": 0.8}]
    assert "min_coverage must be" in problem(mine, oct_model(), {"min_coverage": 2})  # never asked of such
    assert len(told) == 1


def test_a_routes_parameters_are_checked_too():
    why = problem(PIPELINES["retinal-thickness"], oct_model(), {"min_coverage": 2})
    assert "min_coverage must be a number in 0.5..1" in why


def test_the_job_overrides_the_manifest_and_the_manifest_the_default():
    known = (Parameter("a", 1.0, "1", ""), Parameter("b", 2.0, "1", ""), Parameter("c", None, "1", ""))
    values = Values(known, oct_model(parameters={"a": 5, "b": 6}), job(b=7))
    assert (values["a"], values["b"], values.get("c")) == (5, 7, None)


def test_every_parameter_is_documented_with_its_default():
    from pathlib import Path

    reference = Path(__file__).resolve().parents[2] / "docs/reference"
    text = "\n## ".join((reference / page).read_text() for page in ("pipelines.md", "pathology.md", "ophthalmology.md"))
    for pipeline in PIPELINES.values():
        section = text.split(f"## {pipeline.name}")[1].split("\n## ")[0]
        for parameter in pipeline.parameters:
            default = "none" if parameter.default is None else f"{parameter.default}"
            default = f"{parameter.default:g}" if isinstance(parameter.default, float | int) else default
            assert f"| `{parameter.name}` | {default} | {parameter.unit} |" in section
