"""From a study to decisions and jobs: which routes apply to which image sets, and why not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from airouter.domain.completeness import Incomplete, Nothing, integer, judge, volume_levels
from airouter.domain.decision import Clause, Decision, Outcome
from airouter.domain.job import Job, ModelReference, Source, job_key
from airouter.domain.model import Model, contract
from airouter.domain.route import Route, explain, matches
from airouter.domain.study import ImageSet, Instance, Modality, Study
from airouter.evidence.identity import MANUFACTURER
from airouter.pipelines import PIPELINES, Pipeline, companions_problem, problem


@dataclass(frozen=True, slots=True)
class Routed:
    """What routing made of a study: decisions to keep, jobs to run, and whether more may still come."""

    decisions: tuple[Decision, ...]
    jobs: tuple[Job, ...]
    waiting: bool


class Router:
    """Applies routes to studies. `models` answers with the usable models by name."""

    def __init__(self, routes: tuple[Route, ...], models: Callable[[], Mapping[str, Model]]) -> None:
        self.routes = routes
        self._models = models

    def with_routes(self, routes: tuple[Route, ...]) -> "Router":
        """The same models under other routes."""
        return Router(routes, self._models)

    def route(
        self, study: Study, *, ours: set[str], quiet: bool = False, settled: bool = False, final: bool = False
    ) -> Routed:
        """Decide for every image set of the study.

        `quiet`: nothing arrived for the quiet time; `settled`: nothing for the settling time of a pyramid. `final`: the
        completion deadline has passed, what is incomplete now is skipped. `ours`: SOP Instance UIDs that the router
        wrote; they never become work.
        """
        decisions: list[Decision] = []
        jobs: list[Job] = []
        waiting = False
        decisions += _left_out(study, ours)
        for images in _foreign(study, ours).image_sets():
            contradiction = _contradiction(images)
            if contradiction:
                decisions.append(_decision(images, Outcome.SKIPPED, contradiction))
                continue
            judged = judge(images, quiet=quiet or final, settled=settled)
            if isinstance(judged, Nothing):
                decisions.append(_decision(images, Outcome.SKIPPED, judged.reason))
            elif isinstance(judged, Incomplete):
                # What a quiet time alone cannot heal (a missing concatenation part) waits for the deadline.
                ended = final and judged.certain
                outcome = Outcome.SKIPPED if ended else Outcome.WAITING
                reason = f"incomplete: {judged.reason}" if ended else judged.reason
                decisions.append(_decision(images, outcome, reason))
                waiting = waiting or not ended
            else:
                for decision, job in self._apply(judged.images, self.routes):
                    decisions.append(decision)
                    if job is not None:
                        jobs.append(job)
        return Routed(tuple(decisions), tuple(jobs), waiting)

    def _apply(self, images: ImageSet, routes: tuple[Route, ...]) -> Iterator[tuple[Decision, Job | None]]:
        if not routes:
            yield _decision(images, Outcome.SKIPPED, "no route is configured"), None
        for route in routes:
            clauses = explain(route, representative(images).attributes)
            if not matches(clauses):
                failed = next((c for c in clauses if not c.matched), None)
                reason = f"{failed.path} is {failed.found}, asked for {failed.expected}" if failed else "no condition"
                yield _decision(images, Outcome.SKIPPED, reason, route, clauses=clauses), None
                continue
            unfit = self.unfit(images, route)
            if unfit:
                yield _decision(images, Outcome.SKIPPED, unfit, route, clauses=clauses), None
                continue
            job = self.job(images, route)
            reason = "; ".join(f"{c.path} is {c.found}" for c in clauses)
            yield _decision(images, Outcome.SELECTED, reason, route, job.key, clauses), job

    def unfit(self, images: ImageSet, route: Route) -> str | None:
        """Why the route's pipeline and model cannot read these images, None where they can."""
        pipeline = PIPELINES.get(route.pipeline)
        model = self._models().get(route.model)
        if pipeline is None:
            return f"there is no pipeline {route.pipeline}"
        if model is None:
            return f"model {route.model} is not usable; GET /ai/models says why"
        if pipeline.modality is not images.modality:
            return f"pipeline {pipeline.name} reads {pipeline.modality}, not {images.modality}"
        accepted = model.reads.sop_classes
        if accepted and any(i.sop_class not in accepted for i in images.instances):
            return f"model {model.name} does not read this SOP class"
        return problem(pipeline, model, route.parameters) or self._unfit_companions(pipeline, route)

    def _unfit_companions(self, pipeline: Pipeline, route: Route) -> str | None:
        models = self._models()
        for role, name in route.companions.items():
            if name not in models:
                return f"model {name}, the companion {role}, is not usable; GET /ai/models says why"
        return companions_problem(pipeline, {role: models[name] for role, name in route.companions.items()})

    def job(self, images: ImageSet, route: Route) -> Job:
        """The job of a route over a complete image set."""
        pipeline = PIPELINES[route.pipeline]
        model = self._models()[route.model]
        parameters = {**model.parameters, **route.parameters}
        companions = {role: self._models()[name] for role, name in route.companions.items()}
        if pipeline.annotations:  # other drawings are other sources, and so another job
            images = replace(images, instances=images.instances + images.annotations)
        return Job(
            key=job_key(
                images,
                pipeline=pipeline.name,
                pipeline_version=pipeline.version,
                model=model,
                parameters=parameters,
                companions=companions,
            ),
            study_id=images.study_id,
            study_uid=images.study_uid,
            series_uid=images.series_uid,
            modality=images.modality,
            sources=tuple(Source(i.id, i.uid, i.digest) for i in sorted(images.instances, key=lambda i: i.uid)),
            pipeline=pipeline.name,
            pipeline_version=pipeline.version,
            model=model.name,
            model_version=model.version,
            model_sha256=model.sha256,
            parameters=parameters,
            route=route.name,
            priority=route.priority,
            model_contract=contract(model),
            companions={role: ModelReference.of(each) for role, each in companions.items()},
        )


def representative(images: ImageSet) -> Instance:
    """The instance whose header the routes look at: a slide's finest level, otherwise the only one."""
    candidates = volume_levels(images) if images.modality is Modality.SM else images.instances
    return max(candidates or images.instances, key=lambda i: (integer(i, "TotalPixelMatrixColumns"), i.uid))


def _foreign(study: Study, ours: set[str]) -> Study:
    kept = tuple(i for i in study.instances if i.uid not in ours and not _bears_our_mark(i))
    return Study(study.id, study.uid, kept)


def _bears_our_mark(instance: Instance) -> bool:
    """Whether we wrote it, wherever it comes back from: origin is lost when another PACS sends it, this is not."""
    equipment = instance.all("ContributingEquipmentSequence")
    makers = [item["Manufacturer"].values for item in equipment if "Manufacturer" in item]
    return instance.first("Manufacturer") == MANUFACTURER or any(MANUFACTURER in values for values in makers)


def _left_out(study: Study, ours: set[str]) -> Iterator[Decision]:
    """One decision for each class of objects that no route can ever read."""
    others: dict[tuple[str, str], list[Instance]] = {}
    drawn = {i.uid for images in study.image_sets() for i in images.annotations}
    for instance in study.instances:
        if instance.uid in ours or _bears_our_mark(instance):
            continue  # our own results: nobody asked whether they should be analysed
        if instance.modality is None and instance.uid not in drawn:
            others.setdefault((instance.series_uid, instance.sop_class), []).append(instance)
    for (series_uid, sop_class), instances in others.items():
        yield Decision(
            study_uid=study.uid,
            series_uid=series_uid,
            modality=None,
            sources=tuple(sorted(i.uid for i in instances)),
            route="",
            revision="",
            outcome=Outcome.SKIPPED,
            reason=f"SOP class {sop_class} is not analysed",
        )


def _contradiction(images: ImageSet) -> str | None:
    for instance in images.instances:
        if not instance.attributes:
            return "not analysed because a header cannot be read: it does not follow DICOM PS3.10"
        stated = instance.first("Modality")
        if stated != images.modality:
            return (
                f"Modality {stated or 'missing'} contradicts the SOP class, which is {images.modality}: "
                "not analysed because it is unclear what the image is"
            )
    return None


def _decision(
    images: ImageSet,
    outcome: Outcome,
    reason: str,
    route: Route | None = None,
    job: str | None = None,
    clauses: tuple[Clause, ...] = (),
) -> Decision:
    return Decision(
        study_uid=images.study_uid,
        series_uid=images.series_uid,
        modality=images.modality,
        sources=images.uids,
        route=route.name if route else "",
        revision=route.revision if route else "",
        outcome=outcome,
        reason=reason,
        job=job,
        clauses=clauses,
    )
