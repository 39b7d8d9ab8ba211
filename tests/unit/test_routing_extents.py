"""How much one job reads: a study, an image with its priors, nothing but results; and pipelines without a model."""

from dataclasses import replace
from typing import Any

import pytest

from airouter.config import load
from airouter.domain.decision import Outcome
from airouter.domain.finding import Result
from airouter.domain.model import HeadKind, rules
from airouter.domain.priority import Priority, Verdict
from airouter.domain.route import Condition, Route
from airouter.domain.study import Instance, Modality, Prior, Study
from airouter.evidence.identity import MANUFACTURER
from airouter.pipelines import Extent, Parameter, Pipeline
from airouter.services import preflight
from airouter.services.routing import Routed, Router
from tests.headers import OP, OPT, attributes, instance, level
from tests.samples import model
from tests.unit.test_config import document


def nothing(*_: Any) -> Result:
    return Result(findings=(), verdict=Verdict(Priority.ROUTINE, ""))


def pipeline(name: str, extent: Extent, modality: Modality | None = Modality.OP, **changes: Any) -> Pipeline:
    made = Pipeline(name, "1", modality, None, (), nothing, extent=extent)
    return replace(made, **changes)


PIPELINES = {
    each.name: each
    for each in (
        pipeline("single", Extent.IMAGE, parameters=(Parameter("limit", 5.0, "1", "", most=9.0),)),
        pipeline("whole", Extent.STUDY),
        pipeline("latest", Extent.PRIOR),
        pipeline("trend", Extent.HISTORY),
        pipeline("summary", Extent.RESULTS, None),
        pipeline("with model", Extent.STUDY, head=HeadKind.SEGMENTATION),
    )
}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("airouter.services.routing.PIPELINES", "airouter.services.preflight.PIPELINES"):
        monkeypatch.setattr(place, PIPELINES)


def route_to(name: str, **changes: Any) -> Route:
    return replace(Route(name, name, "", (Condition(("SOPClassUID",), exists=True),)), **changes)


def image(uid: str, when: str = "20260105", *, study: str = "1.2", side: str = "R", **values: Any) -> Instance:
    known = {"PatientID": "P", "ImageLaterality": side, "StudyDate": when, **values}
    made = instance(uid, known.pop("sop_class", OP), f"{uid}.9", **known)
    return replace(made, study_uid=study)


def study(*instances: Instance) -> Study:
    return Study("study", "1.2", instances)


def route(found: Study, *names: str, quiet: bool = True, priors: tuple[Prior, ...] = (), **options: Any) -> Routed:
    router = Router(tuple(route_to(name) for name in names), dict)
    return router.route(found, ours=set(), quiet=quiet, priors=lambda: priors, **options)


OLD = Prior("id-old", image("0.1", "20250105", study="1.0"))
OLDER = Prior("id-older", image("0.0", "20240105", study="1.1"))


# -- a whole study ----------------------------------------------------------------------------------------------------


def test_one_job_reads_every_image_of_the_study_once_it_is_quiet() -> None:
    found = study(image("3"), image("1"), image("2", sop_class=OPT))
    waiting = route(found, "whole", quiet=False)
    assert waiting.waiting and waiting.jobs == ()
    outcomes = {d.sources: d.outcome for d in waiting.decisions}
    assert outcomes == {("1",): Outcome.WAITING, ("3",): Outcome.WAITING, ("2",): Outcome.SKIPPED}
    routed = route(found, "whole")
    (job,) = routed.jobs
    assert [source.uid for source in job.sources] == ["1", "3"]
    assert not any(source.prior_study_id for source in job.sources)
    assert not routed.waiting
    decided = {d.sources: (d.outcome, d.job, d.series_uid) for d in routed.decisions}
    assert decided[("1",)] == (Outcome.SELECTED, job.key, "1.9")
    assert decided[("3",)] == (Outcome.SELECTED, job.key, "3.9")
    assert decided[("2",)][:2] == (Outcome.SKIPPED, None)


def test_the_job_over_a_study_is_another_one_with_another_image_and_not_with_another_order() -> None:
    first, second = image("1"), image("2")
    (one,), (two,) = route(study(first), "whole").jobs, route(study(first, second), "whole").jobs
    assert one.key != two.key
    assert two.key == route(study(second, first), "whole").jobs[0].key


def test_at_the_deadline_nothing_is_waited_for() -> None:
    routed = route(study(image("1")), "whole", quiet=False, final=True)
    assert len(routed.jobs) == 1 and not routed.waiting


def test_a_single_image_does_not_wait_for_the_study_and_only_what_matches_is_read() -> None:
    routed = route(study(image("1"), image("2")), "single", "whole", quiet=False)
    assert [(j.pipeline, [s.uid for s in j.sources]) for j in routed.jobs] == [("single", ["1"]), ("single", ["2"])]
    assert routed.waiting
    left = route_to("whole", conditions=(Condition(("ImageLaterality",), any_of=("L",)),))
    narrowed = Router((left,), dict).route(study(image("1"), image("2", side="L")), ours=set(), quiet=True)
    assert [[s.uid for s in j.sources] for j in narrowed.jobs] == [["2"]]
    assert "asked for L" in next(d.reason for d in narrowed.decisions if d.sources == ("1",))


# -- priors -----------------------------------------------------------------------------------------------------------


def test_nothing_is_compared_without_an_earlier_image_and_the_reason_is_told() -> None:
    routed = route(study(image("1")), "latest")
    assert routed.jobs == ()
    (decision,) = routed.decisions
    assert decision.outcome is Outcome.SKIPPED
    assert decision.reason == "not compared because the archive holds no earlier image of this eye"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"side": ""}, "does not say which eye"),
        ({"when": ""}, "does not say when"),
        ({"PatientID": ""}, "has no Patient ID"),
    ],
)
def test_an_image_that_cannot_be_compared_says_why(values: dict[str, str], why: str) -> None:
    routed = route(study(image("1", **values)), "latest", priors=(OLD,))
    assert routed.jobs == () and why in routed.decisions[0].reason


def test_a_prior_is_a_source_with_the_study_it_lies_in() -> None:
    routed = route(study(image("1")), "latest", priors=(OLDER, OLD))
    (job,) = routed.jobs
    assert [(s.uid, s.prior_study_id) for s in job.sources] == [("1", ""), ("0.1", "id-old")]
    assert (job.study_id, job.study_uid, job.series_uid) == ("study", "1.2", "1.9")
    assert routed.decisions[0].sources == ("1",)


def test_the_history_is_every_earlier_image_and_may_be_empty() -> None:
    alone = route(study(image("1")), "trend").jobs[0]
    assert [s.uid for s in alone.sources] == ["1"]
    both = route(study(image("1")), "trend", priors=(OLD, OLDER)).jobs[0]
    assert [s.uid for s in both.sources] == ["1", "0.0", "0.1"]
    assert alone.key != both.key


def test_the_key_follows_the_bytes_of_a_prior_and_not_the_order_of_the_archive() -> None:
    changed = Prior("id-old", replace(OLD.instance, digest="other"))
    keys = [route(study(image("1")), "trend", priors=p).jobs[0].key for p in ((OLD, OLDER), (OLDER, OLD))]
    assert keys[0] == keys[1]
    assert route(study(image("1")), "trend", priors=(changed, OLDER)).jobs[0].key != keys[0]
    assert (
        route(study(image("1")), "single").jobs[0].key == route(study(image("1")), "single", priors=(OLD,)).jobs[0].key
    )


def test_a_prior_must_match_the_route_too() -> None:
    """A localizer that was taken after the earlier photograph must not stand in its place."""
    localizer = Prior("id-localizer", image("0.2", "20250601", study="1.5", SeriesDescription="localizer"))
    photograph = Prior("id-old", image("0.1", "20250105", study="1.0", SeriesDescription="colour"))
    colour = route_to("latest", conditions=(Condition(("SeriesDescription",), any_of=("colour",)),))
    found = study(image("1", SeriesDescription="colour"))
    routed = Router((colour,), dict).route(found, ours=set(), quiet=True, priors=lambda: (photograph, localizer))
    assert [s.prior_study_id for s in routed.jobs[0].sources] == ["", "id-old"]


def test_what_bears_our_mark_is_no_prior() -> None:
    equipment = (attributes({"Manufacturer": MANUFACTURER}),)
    marked = Prior("id-old", image("0.1", "20250105", ContributingEquipmentSequence=equipment))
    assert route(study(image("1")), "latest", priors=(marked,)).jobs == ()


def test_the_archive_is_asked_for_priors_once_and_only_where_a_route_compares() -> None:
    asked: list[int] = []

    def priors() -> tuple[Prior, ...]:
        asked.append(1)
        return (OLD,)

    for names, expected in ((("single", "whole"), 0), (("latest", "trend"), 1)):
        asked.clear()
        Router(tuple(route_to(name) for name in names), dict).route(
            study(image("1"), image("2")), ours=set(), quiet=True, priors=priors
        )
        assert len(asked) == expected, names
    asked.clear()
    slide = replace(level("5", 256, 1), study_uid="1.2")
    Router((route_to("latest"),), dict).route(study(slide), ours=set(), quiet=True, settled=True, priors=priors)
    assert not asked, "a slide has no eye"


def test_later_studies_are_named_for_which_this_one_holds_a_prior() -> None:
    later = Prior("id-later", image("9", "20270105", study="1.9"))
    other_eye = Prior("id-left", image("8", "20270105", study="1.8", side="L"))
    found = study(image("1"))
    assert route(found, "trend", priors=(OLD, later, other_eye)).later == ("id-later",)
    assert route(found, "latest", priors=(later, later)).later == ("id-later",)
    assert route(found, "single", priors=(later,)).later == ()
    assert route(found, "trend", priors=(Prior("study", image("2", "20270105")),)).later == ()


# -- results ----------------------------------------------------------------------------------------------------------


def test_pipelines_on_results_are_never_routed_and_leave_no_noise() -> None:
    routed = route(study(image("1")), "summary")
    assert (routed.decisions, routed.jobs, routed.waiting) == ((), (), False)
    router = Router((route_to("summary"), route_to("single")), dict)
    assert router.summarises and not Router((route_to("single"),), dict).summarises


def test_a_summary_is_about_the_images_of_eyes_that_its_route_takes() -> None:
    slide = replace(level("5", 256, 1), study_uid="1.2")
    contradicting = image("4", Modality="OPT")
    found = study(image("2"), image("1"), image("3", sop_class=OPT), slide, contradicting)
    ((route_, images),) = Router((route_to("summary"),), dict).summaries(found, ours={"2"})
    assert route_.name == "summary"
    assert [i.uid for i in images.instances] == ["1", "3"]
    only = route_to("summary", conditions=(Condition(("Modality",), any_of=("OPV",)),))
    assert Router((only,), dict).summaries(found, ours=set()) == []


# -- without a model --------------------------------------------------------------------------------------------------


def test_a_pipeline_without_a_model_runs_under_its_own_name() -> None:
    (job,) = route(study(image("1")), "single").jobs
    stands = rules("single", "1", Modality.OP)
    assert (job.model, job.model_version, job.model_sha256) == ("single", "1", stands.sha256)
    assert PIPELINES["single"].rules(Modality.OP) == stands
    assert rules("single", "2", Modality.OP).sha256 != stands.sha256


def test_another_version_of_the_rules_is_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    before = route(study(image("1")), "single").jobs[0].key
    monkeypatch.setitem(PIPELINES, "single", replace(PIPELINES["single"], version="2"))
    assert route(study(image("1")), "single").jobs[0].key != before


def test_a_pipeline_that_needs_a_model_is_skipped_without_one() -> None:
    routed = route(study(image("1")), "with model")
    assert routed.jobs == () and "not usable" in routed.decisions[0].reason


def wrong(**changes: Any) -> list[tuple[str, str]]:
    settings = {"Name": "r", "Match": {"Modality": "OP"}, **changes}
    found = preflight.route_problems(load(document(Routes=[settings])), {"m": model()})
    return [(problem.path, problem.reason) for problem in found]


def test_a_route_names_a_model_where_the_pipeline_needs_one_and_none_elsewhere() -> None:
    path = "AIRouter.Routes[0].Model"
    assert wrong(Pipeline="single") == []
    assert wrong(Pipeline="summary") == []
    for named in ("m", "gone"):
        assert wrong(Pipeline="single", Model=named) == [(path, "pipeline single needs no model")]
        assert wrong(Pipeline="summary", Model=named) == [(path, "pipeline summary needs no model")]
    assert wrong(Pipeline="with model") == [(path, "pipeline with model needs one; there are m")]
    assert wrong(Pipeline="with model", Model="x") == [(path, "there is no 'x'; there are m")]


def test_other_faults_of_a_route_without_a_model_are_found_as_well() -> None:
    ((path, reason),) = wrong(Pipeline="single", Parameters={"limit": 10})
    assert path == "AIRouter.Routes[0].Parameters" and "0..9" in reason
    ((path, reason),) = wrong(Pipeline="summary", Parameters={"limit": 1})
    assert path == "AIRouter.Routes[0].Parameters" and "unknown" in reason
    ((path, reason),) = wrong(Pipeline="single", Match={"Modality": "OPT"})
    assert (path, reason) == ("AIRouter.Routes[0].Match.Modality", "impossible: pipeline single reads OP")
    ((path, reason),) = wrong(Pipeline="summary", Match={"Modality": "SM"})
    assert path == "AIRouter.Routes[0].Match.Modality" and reason.startswith("impossible")
    assert wrong(Pipeline="summary", Match={"Modality": "OPV"}) == []
    ((path, reason),) = wrong(Pipeline="summary", Companions={"tissue": "m"})
    assert path == "AIRouter.Routes[0].Companions" and "knows no companion" in reason


# -- what is known and refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sop_class", "what"),
    [
        ("1.2.840.10008.5.1.4.1.1.77.1.5.5", "a wide-field photograph"),
        ("1.2.840.10008.5.1.4.1.1.77.1.5.6", "a wide-field photograph"),
        ("1.2.840.10008.5.1.4.1.1.77.1.5.7", "an en face image"),
        ("1.2.840.10008.5.1.4.1.1.77.1.5.8", "an OCT angiography volume"),
    ],
)
def test_images_of_the_eye_that_no_pipeline_reads_are_refused_with_the_reason(sop_class: str, what: str) -> None:
    routed = route(study(image("1", sop_class=sop_class)), "single", "whole", "trend")
    assert routed.jobs == () and not routed.waiting
    (decision,) = routed.decisions
    assert decision.outcome is Outcome.SKIPPED
    assert decision.reason.startswith(f"not analysed because it is {what}: ")
