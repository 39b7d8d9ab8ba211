"""Further models of a job: checked against the pipeline, part of the key, kept in the journal, named in DICOM."""

import json
from dataclasses import replace

import pytest

from airouter.adapters.rows import job_content, job_of
from airouter.domain.job import ModelReference
from airouter.domain.model import Head, HeadKind, Model, ModelClass, ModelInput, Reads
from airouter.domain.route import Condition, Route
from airouter.domain.study import Modality
from airouter.pipelines import PIPELINES, Companion, Pipeline, companions_problem
from airouter.pipelines.pipeline import WithCompanions, companion
from airouter.services.routing import Router
from tests.headers import level, study
from tests.pipelines.oracle import Seen
from tests.samples import job, model

WANTED = Companion("tissue", HeadKind.SEGMENTATION, ("tumour",), required=True)
PAIRED = Pipeline(
    "paired", "1", Modality.SM, HeadKind.SEGMENTATION, ("nucleus",), lambda *_: None, companions=(WANTED,)
)


def tissue(**changes: object) -> Model:
    made = model(
        name="tissue",
        sha256="cd" * 32,
        input=ModelInput("x", "NCHW", 3, "RGB", (256, 256), spacing_um=2.0),
        head=Head(HeadKind.SEGMENTATION, "y", classes=(ModelClass("tumour"),), exclusive=True),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch):
    known = dict(PIPELINES) | {"paired": PAIRED}
    monkeypatch.setattr("airouter.services.routing.PIPELINES", known)

    def make(companions: dict[str, str], *models: Model) -> Router:
        route = Route("both", "paired", "demo", (Condition(("Modality",), any_of=("SM",)),), companions=companions)
        return Router((route,), lambda: {each.name: each for each in (model(), *models)})

    return make


def routed(router: Router):
    return router.route(study(level("1.1", 256, "NONE")), ours=set(), quiet=True)


def test_a_companion_is_part_of_the_job_and_of_its_key(router) -> None:
    (first,) = routed(router({"tissue": "tissue"}, tissue())).jobs
    (other,) = routed(router({"tissue": "tissue"}, tissue(sha256="ef" * 32))).jobs
    assert first.companions == {"tissue": ModelReference.of(tissue())}
    assert first.key != other.key


def test_a_changed_contract_of_a_companion_is_another_job(router) -> None:
    finer = tissue(input=ModelInput("x", "NCHW", 3, "RGB", (256, 256), spacing_um=1.0))
    keys = {routed(router({"tissue": "tissue"}, each)).jobs[0].key for each in (tissue(), finer)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("companions", "models", "reason"),
    [
        ({}, (), "pipeline paired needs a companion: tissue"),
        ({"tissue": "gone"}, (), "model gone, the companion tissue, is not usable"),
        ({"tissue": "tissue", "cells": "demo"}, (tissue(),), "knows no companion cells; known are tissue"),
        (
            {"tissue": "tissue"},
            (tissue(head=Head(HeadKind.SEGMENTATION, "y", classes=(ModelClass("stroma"),))),),
            "companion tissue lacks the classes tumour that tissue needs",
        ),
        (
            {"tissue": "tissue"},
            (tissue(head=Head(HeadKind.CLASSIFICATION, "y", classes=(ModelClass("tumour"),))),),
            "companion tissue has a classification head, tissue needs segmentation",
        ),
        ({"tissue": "tissue"}, (tissue(reads=Reads(Modality.OPT)),), "companion tissue reads OPT"),
    ],
)
def test_what_does_not_fit_is_skipped_with_the_reason(router, companions, models, reason) -> None:
    found = routed(router(companions, *models))
    assert not found.jobs and reason in found.decisions[0].reason


def test_a_companion_that_is_not_required_may_be_absent() -> None:
    free = replace(PAIRED, companions=(replace(WANTED, required=False),))
    assert companions_problem(free, {}) is None


def test_the_journal_keeps_companions_and_reads_rows_from_before() -> None:
    made = job(companions={"tissue": ModelReference("tissue", "1", "cd" * 32, "ef" * 32)})
    stored = json.loads(json.dumps(job_content(made)))
    assert job_of(stored) == made
    del stored["companions"]
    assert job_of(stored) == replace(made, companions={})


def test_routes_without_companions_keep_their_revision() -> None:
    plain = Route("a", "b", "c", (Condition(("Modality",), any_of=("SM",)),))
    assert plain.revision == "9afe6bd4b867"
    assert replace(plain, companions={"tissue": "x"}).revision != plain.revision


def test_the_team_answers_as_its_main_model_does() -> None:
    main, second = Seen(model(), lambda image: image[..., 0]), Seen(tissue(), lambda image: image[..., 1])
    team = WithCompanions(main, {"tissue": second})
    assert team.model is main.model and team.provider == main.provider
    assert companion(team, "tissue") is second and companion(team, "cells") is None
    assert companion(main, "tissue") is None
