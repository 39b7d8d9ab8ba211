"""Routing: every image set leaves a decision with its reason, and only what applies becomes a job."""

from dataclasses import replace

from airouter.domain import codes
from airouter.domain.decision import Outcome
from airouter.domain.model import (
    Activation,
    Fit,
    Head,
    HeadKind,
    Model,
    ModelClass,
    ModelInput,
    Padding,
    Reads,
    contract,
)
from airouter.domain.route import Condition, Route
from airouter.domain.study import Attribute, Instance, Modality, Study
from airouter.evidence.identity import MANUFACTURER
from airouter.pipelines import PIPELINES, Pipeline
from airouter.services.routing import Routed, Router
from tests.headers import OP, OPT, SR, attributes, instance, level, study
from tests.samples import model

CLASSES = tuple(ModelClass(name) for name in PIPELINES["fundus-quality"].classes)
MODEL = model(
    name="quality",
    sha256="0" * 64,
    reads=Reads(Modality.OP),
    input=ModelInput("x", "NCHW", 3, "RGB", (8, 8), fit=Fit.LETTERBOX),
    head=Head(HeadKind.CLASSIFICATION, "y", classes=CLASSES),
)
ROUTE = Route("eyes", "fundus-quality", "quality", (Condition(("Modality",), any_of=("OP",)),))


def route(
    found: Study, *routes: Route, ours: set[str] | None = None, using: Model = MODEL, final: bool = False
) -> Routed:
    router = Router(routes or (ROUTE,), lambda: {"quality": using})
    return router.route(found, quiet=True, ours=ours or set(), final=final)


def test_a_match_makes_one_job_and_says_so() -> None:
    routed = route(study(instance("1")))
    assert [d.outcome for d in routed.decisions] == [Outcome.SELECTED]
    assert [j.key for j in routed.jobs] == [routed.decisions[0].job]
    assert routed.jobs[0].sources[0].digest == "md5-1"
    assert not routed.waiting


def test_a_miss_names_the_clause() -> None:
    other = Route("eyes", "fundus-quality", "quality", (Condition(("Manufacturer",), any_of=("ACME",)),))
    routed = route(study(instance("1")), other)
    assert routed.jobs == ()
    assert routed.decisions[0].reason == "Manufacturer is missing, asked for ACME"


def test_a_missing_model_is_a_skip_with_the_reason() -> None:
    routed = route(study(instance("1")), replace(ROUTE, model="gone"))
    assert routed.decisions[0].outcome is Outcome.SKIPPED
    assert "gone is not usable" in routed.decisions[0].reason


def test_a_pipeline_of_another_modality_is_skipped() -> None:
    anything = replace(ROUTE, conditions=(Condition(("SOPClassUID",), exists=True),))
    routed = route(study(instance("1", OPT)), anything)
    assert "reads OP, not OPT" in routed.decisions[0].reason


def test_a_model_that_reads_other_sop_classes_is_skipped() -> None:
    narrow = replace(MODEL, reads=Reads(Modality.OP, sop_classes=("1.2.840.10008.5.1.4.1.1.77.1.5.2",)))
    assert "does not read this SOP class" in route(study(instance("1")), using=narrow).decisions[0].reason


def test_a_modality_that_contradicts_the_sop_class_is_not_analysed() -> None:
    routed = route(study(instance("1", OPT, Modality="OP")))
    assert routed.jobs == ()
    assert "contradicts the SOP class" in routed.decisions[0].reason


def test_our_own_objects_leave_neither_work_nor_noise() -> None:
    equipment = (attributes({"Manufacturer": MANUFACTURER}),)
    returned = instance("8", OP, ContributingEquipmentSequence=equipment)
    routed = route(study(instance("7"), returned, instance("9", SR)), ours={"7"})
    assert routed.jobs == ()
    assert [d.sources for d in routed.decisions] == [("9",)]


def test_foreign_objects_leave_one_decision_for_each_class() -> None:
    routed = route(study(instance("7", SR), instance("8", SR)))
    assert [(d.outcome, d.sources) for d in routed.decisions] == [(Outcome.SKIPPED, ("7", "8"))]


def test_an_incomplete_slide_waits_and_is_skipped_at_the_deadline() -> None:
    part: Instance = level("1", 512, 4, ConcatenationUID="1.9", InConcatenationNumber=1, InConcatenationTotalNumber=2)
    waiting = route(study(part))
    assert waiting.waiting
    assert waiting.decisions[0].outcome is Outcome.WAITING
    ended = route(study(part), final=True)
    assert not ended.waiting
    assert ended.decisions[0].outcome is Outcome.SKIPPED
    assert "part 2 of 2" in ended.decisions[0].reason


def test_the_key_follows_bytes_weights_and_parameters_and_nothing_else() -> None:
    one = route(study(instance("1"))).jobs[0]
    again = route(study(instance("1")), replace(ROUTE, name="another name")).jobs[0]
    changed_bytes = route(study(replace(instance("1"), digest="other"))).jobs[0]
    changed_weights = route(study(instance("1")), using=replace(MODEL, sha256="1" * 64)).jobs[0]
    changed_parameters = route(study(instance("1")), replace(ROUTE, parameters={"min_pixels": 300})).jobs[0]
    assert one.key == again.key
    assert len({j.key for j in (one, changed_bytes, changed_weights, changed_parameters)}) == 4


def test_the_key_follows_what_the_manifest_says_of_input_and_head() -> None:
    def key(**changes: object) -> str:
        return route(study(instance("1")), using=replace(MODEL, **changes)).jobs[0].key  # type: ignore[arg-type]

    image, head = MODEL.input, MODEL.head
    changed = [
        key(input=replace(image, icc=True)),
        key(input=replace(image, mean=(0.5, 0.5, 0.5))),
        key(input=replace(image, padding=Padding("edge"))),
        key(head=replace(head, activation=Activation.SIGMOID)),
        key(head=replace(head, classes=(replace(CLASSES[0], threshold=0.4), *CLASSES[1:]))),
        key(head=replace(head, classes=(replace(CLASSES[0], code=codes.TISSUE), *CLASSES[1:]))),
    ]
    assert len({key(), *changed}) == 1 + len(changed)
    assert route(study(instance("1"))).jobs[0].model_contract == contract(MODEL)
    assert key(title="Another", version="2.0.0", description="Other words") == key()


def test_a_header_that_cannot_be_read_is_a_skip_with_the_reason() -> None:
    unreadable = replace(instance("1"), attributes={})
    routed = route(study(unreadable, instance("2")))
    assert [(d.sources, d.outcome) for d in routed.decisions] == [
        (("1",), Outcome.SKIPPED),
        (("2",), Outcome.SELECTED),
    ]
    assert "header cannot be read" in routed.decisions[0].reason


ANN = "1.2.840.10008.5.1.4.1.1.91.1"
DRAWN = Pipeline("drawn", "1", Modality.SM, HeadKind.SEGMENTATION, (), lambda *_: None, annotations=True)
PLAIN = Pipeline("plain", "1", Modality.SM, HeadKind.SEGMENTATION, (), lambda *_: None)


def annotations(uid: str, series: str = "1.2.3", **values: object) -> Instance:
    """What somebody drew on a slide, in a series of its own."""
    referenced = ({"SeriesInstanceUID": Attribute("UI", (series,))},)
    return replace(
        instance(uid, ANN, "1.2.9", **values),
        attributes={
            **instance(uid, ANN, "1.2.9", **values).attributes,
            "ReferencedSeriesSequence": Attribute("SQ", referenced),
        },
    )


def drawn_on(monkeypatch, *more: Instance) -> dict[str, Routed]:
    monkeypatch.setattr("airouter.services.routing.PIPELINES", {"drawn": DRAWN, "plain": PLAIN})
    slides = model(name="quality", sha256="0" * 64)
    found = study(level("1.1", 256, 1), *more)
    return {
        name: route(found, Route(name, name, "quality", (Condition(("Modality",), any_of=("SM",)),)), using=slides)
        for name in ("drawn", "plain")
    }


def test_drawings_are_sources_of_pipelines_that_read_them_and_of_no_other(monkeypatch) -> None:
    before, after = drawn_on(monkeypatch), drawn_on(monkeypatch, annotations("5.1"))
    assert [source.uid for source in after["drawn"].jobs[0].sources] == ["1.1", "5.1"]
    assert before["drawn"].jobs[0].key != after["drawn"].jobs[0].key
    assert before["plain"].jobs[0].key == after["plain"].jobs[0].key
    assert [d.outcome for d in after["drawn"].decisions] == [Outcome.SELECTED], "a drawing is not left out either"


def test_our_own_annotations_and_those_on_another_slide_are_no_drawings(monkeypatch) -> None:
    elsewhere, own = annotations("5.2", series="1.2.8"), annotations("5.3", Manufacturer=MANUFACTURER)
    for more in (elsewhere, own):
        (job,) = drawn_on(monkeypatch, more)["drawn"].jobs
        assert [source.uid for source in job.sources] == ["1.1"]
