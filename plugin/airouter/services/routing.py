"""From a study to decisions and jobs: which routes apply to which image sets, and why not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from airouter.domain.completeness import Incomplete, Nothing, integer, judge, volume_levels
from airouter.domain.decision import Clause, Decision, Outcome
from airouter.domain.job import Job, ModelReference, Source, job_key
from airouter.domain.model import Model, contract
from airouter.domain.prior import earlier, eye, taken
from airouter.domain.route import Route, explain, matches
from airouter.domain.study import REFUSED_SOP_CLASSES, ImageSet, Instance, Modality, Prior, Study
from airouter.evidence.identity import MANUFACTURER
from airouter.pipelines import PIPELINES, Extent, Pipeline, companions_problem, problem
from airouter.services.priors import Priors


@dataclass(frozen=True, slots=True)
class Routed:
    """What routing made of a study: decisions to keep, jobs to run, and whether more may still come."""

    decisions: tuple[Decision, ...]
    jobs: tuple[Job, ...]
    waiting: bool
    later: tuple[str, ...] = ()  # identifiers of the patient's later studies, for which this one is a prior


class Router:
    """Applies routes to studies. `models` answers with the usable models by name."""

    def __init__(self, routes: tuple[Route, ...], models: Callable[[], Mapping[str, Model]]) -> None:
        self.routes = routes
        self._models = models

    def with_routes(self, routes: tuple[Route, ...]) -> "Router":
        """The same models under other routes."""
        return Router(routes, self._models)

    def route(
        self,
        study: Study,
        *,
        ours: set[str],
        quiet: bool = False,
        settled: bool = False,
        final: bool = False,
        priors: Priors = tuple,
    ) -> Routed:
        """Decide for every image set of the study.

        `quiet`: nothing arrived for the quiet time; `settled`: nothing for the settling time of a pyramid. `final`: the
        completion deadline has passed, what is incomplete now is skipped. `ours`: SOP Instance UIDs that the router
        wrote; they never become work. `priors` is asked once, where a route compares with earlier images.
        """
        decisions: list[Decision] = []
        jobs: list[Job] = []
        complete: list[ImageSet] = []
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
                complete.append(judged.images)
        candidates = cache(lambda: tuple(p for p in priors() if not _bears_our_mark(p.instance)))
        for images in complete:
            for decision, job in self._apply(images, candidates):
                decisions.append(decision)
                if job is not None:
                    jobs.append(job)
        for route in self._of(Extent.STUDY):
            made = list(self._apply_to_study(complete, route, quiet=quiet or final))
            decisions += [decision for decision, _ in made]
            jobs += {job.key: job for _, job in made if job is not None}.values()
            waiting = waiting or any(decision.outcome is Outcome.WAITING for decision, _ in made)
        eyes = [images for images in complete if images.modality is not Modality.SM]
        compares = not waiting and bool(eyes) and bool(self._of(Extent.PRIOR, Extent.HISTORY))
        return Routed(tuple(decisions), tuple(jobs), waiting, _later(eyes, candidates()) if compares else ())

    def _of(self, *extents: Extent) -> list[Route]:
        return [r for r in self.routes if r.pipeline in PIPELINES and PIPELINES[r.pipeline].extent in extents]

    def _apply(self, images: ImageSet, candidates: Priors) -> Iterator[tuple[Decision, Job | None]]:
        """What the routes make of one image set; those on whole studies and on results are not asked here."""
        if not self.routes:
            yield _decision(images, Outcome.SKIPPED, "no route is configured"), None
        elsewhere = self._of(Extent.STUDY, Extent.RESULTS)
        for route in self.routes:
            if route in elsewhere:
                continue
            clauses, refused = self._match(images, route)
            if refused:
                yield _decision(images, Outcome.SKIPPED, refused, route, clauses=clauses), None
                continue
            extent = PIPELINES[route.pipeline].extent
            told = images
            if extent in (Extent.PRIOR, Extent.HISTORY):
                latest = extent is Extent.PRIOR
                # Only what the route takes itself: a localizer of last week is no earlier photograph.
                alike = [p for p in candidates() if matches(explain(route, p.instance.attributes))]
                told = replace(images, priors=earlier(images.instances[0], alike, latest_study=latest))
                if latest and not told.priors:
                    reason = _alone(images.instances[0])
                    yield _decision(images, Outcome.SKIPPED, reason, route, clauses=clauses), None
                    continue
            job = self.job(told, route)
            yield _decision(images, Outcome.SELECTED, _said(clauses), route, job.key, clauses), job

    def _match(self, images: ImageSet, route: Route) -> tuple[tuple[Clause, ...], str | None]:
        """The clauses of a route, and why it does not apply to these images; None where it does."""
        clauses = explain(route, representative(images).attributes)
        if not matches(clauses):
            failed = next((c for c in clauses if not c.matched), None)
            if failed is None:
                return clauses, "no condition"
            return clauses, f"{failed.path} is {failed.found}, asked for {failed.expected}"
        return clauses, self.unfit(images, route)

    def _apply_to_study(
        self, complete: Sequence[ImageSet], route: Route, *, quiet: bool
    ) -> Iterator[tuple[Decision, Job | None]]:
        """One job for all images of the study that the route takes, once the study is quiet; a decision for each."""
        members: list[tuple[ImageSet, tuple[Clause, ...]]] = []
        for images in complete:
            clauses, refused = self._match(images, route)
            if refused:
                yield _decision(images, Outcome.SKIPPED, refused, route, clauses=clauses), None
            else:
                members.append((images, clauses))
        if members and not quiet:
            for images, clauses in members:
                reason = "waiting for further images of the study"
                yield _decision(images, Outcome.WAITING, reason, route, clauses=clauses), None
        elif members:
            first = members[0][0]
            job = self.job(replace(first, instances=tuple(i for m, _ in members for i in m.instances)), route)
            for images, clauses in members:
                yield _decision(images, Outcome.SELECTED, _said(clauses), route, job.key, clauses), job

    @property
    def summarises(self) -> bool:
        """Whether any route leads to a pipeline that reads results."""
        return bool(self._of(Extent.RESULTS))

    def summaries(self, study: Study, *, ours: set[str]) -> list[tuple[Route, ImageSet]]:
        """Routes to pipelines that read results, each with the images of eyes in the study that it takes, if any."""
        found: list[tuple[Route, ImageSet]] = []
        eyes = (s for s in _foreign(study, ours).image_sets() if s.modality is not Modality.SM)
        sets = [s for s in eyes if _contradiction(s) is None]
        for route in self._of(Extent.RESULTS):
            matched = [s for s in sets if self._match(s, route)[1] is None]
            if matched:
                instances = tuple(i for s in matched for i in s.instances)
                found.append((route, replace(matched[0], instances=instances)))
        return found

    def unfit(self, images: ImageSet, route: Route) -> str | None:
        """Why the route's pipeline and model cannot read these images, None where they can."""
        pipeline = PIPELINES.get(route.pipeline)
        if pipeline is None:
            return f"there is no pipeline {route.pipeline}"
        model = self._model(pipeline, route, images.modality)
        if model is None:
            return f"model {route.model} is not usable; GET /ai/models says why"
        if pipeline.modality not in (images.modality, None):
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

    def _model(self, pipeline: Pipeline, route: Route, modality: Modality) -> Model | None:
        return pipeline.rules(modality) if pipeline.head is None else self._models().get(route.model)

    def job(self, images: ImageSet, route: Route, results: Sequence[str] = ()) -> Job:
        """The job of a route over a complete image set; `results`: keys of the jobs whose results it reads."""
        pipeline = PIPELINES[route.pipeline]
        model = self._models()[route.model] if pipeline.head is not None else pipeline.rules(images.modality)
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
                results=results,
            ),
            study_id=images.study_id,
            study_uid=images.study_uid,
            series_uid=images.series_uid,
            modality=images.modality,
            sources=(
                *(Source(i.id, i.uid, i.digest) for i in sorted(images.instances, key=lambda i: i.uid)),
                *(Source(p.instance.id, p.instance.uid, p.instance.digest, p.study_id) for p in images.priors),
            ),
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
            results=tuple(sorted(results)),
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
            reason=_refusal(sop_class),
        )


def _refusal(sop_class: str) -> str:
    known = REFUSED_SOP_CLASSES.get(sop_class)
    return f"not analysed because it is {known}" if known else f"SOP class {sop_class} is not analysed"


def _said(clauses: tuple[Clause, ...]) -> str:
    return "; ".join(f"{c.path} is {c.found}" for c in clauses)


def _later(eyes: Sequence[ImageSet], candidates: Sequence[Prior]) -> tuple[str, ...]:
    """Studies with an image that has one of these among its priors."""
    images = [Prior(s.study_id, i) for s in eyes for i in s.instances]
    mine = {p.study_id for p in images}
    others = [p for p in candidates if p.study_id not in mine]
    return tuple(sorted({p.study_id for p in others if earlier(p.instance, images)}))


def _alone(image: Instance) -> str:
    """Why an image has no earlier one."""
    if eye(image) is None:
        return "not compared because the image does not say which eye it shows"
    if not taken(image):
        return "not compared because the image does not say when it was taken"
    if not image.first("PatientID"):
        return "not compared because the image has no Patient ID"
    return "not compared because the archive holds no earlier image of this eye"


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
