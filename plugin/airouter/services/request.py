"""Jobs on demand: run routes, or one pipeline with one model, over what is already stored."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from airouter.domain.audit import AuditEvent, AuditKind
from airouter.domain.decision import Decision
from airouter.domain.job import Discontinuation, Job, JobState
from airouter.domain.priority import Priority
from airouter.domain.route import Condition, Route
from airouter.errors import NotInArchive, RequestError, RouterError, place
from airouter.pipelines import PIPELINES, Extent
from airouter.ports import Archive, JobQueue, Journal
from airouter.services.priors import priors_of
from airouter.services.routing import Routed, Router

log = logging.getLogger(__name__)
_LISTED = 200  # studies of a request that the audit trail names
_BY_ITSELF = "reads results: it follows the jobs of a visit by itself"


@dataclass(frozen=True, slots=True)
class Request:
    """Which studies (Study Instance UIDs or archive identifiers; `everything` for all), and what to run on them.

    Without `pipeline` and `model` the configured routes decide (only `route` of them where it is named). `companions`:
    further models by role, beside the two. `retry` also runs again what ended CANCELED. `priority` is that of new jobs
    instead of the route's.
    """

    studies: tuple[str, ...] = ()
    everything: bool = False
    route: str | None = None
    pipeline: str | None = None
    model: str | None = None
    companions: Mapping[str, str] = field(default_factory=dict)
    retry: bool = False
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Decisions made, keys of the jobs they led to, and the studies that are not in the archive.

    `deferred` says how many studies are routed in the background after this answer.
    """

    decisions: tuple[Decision, ...]
    jobs: tuple[str, ...]
    unknown: tuple[str, ...]
    deferred: int = 0


class Requests:
    """Explicit requests and cancellations by a user.

    The first `at_once` studies of a request are routed before it is answered, the others by `defer` on another thread.
    `ended` is told the key of a job that was canceled; `audit` keeps an event, and what it raises stops the request.
    """

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        queue: JobQueue,
        router: Router,
        defer: Callable[[Callable[[], None]], None],
        *,
        at_once: int = 50,
        ended: Callable[[str], None] = lambda key: None,
        audit: Callable[[AuditEvent], object] = lambda event: None,
    ) -> None:
        self._ended = ended
        self._audit = audit
        self._defer = defer
        self._at_once = at_once
        self._archive = archive
        self._journal = journal
        self._queue = queue
        self._router = router

    def submit(self, request: Request, user: str | None) -> Answer:
        """Route the studies now, complete or not, and enqueue what applies. Raises RequestError for a wrong request."""
        router = self._narrowed(request)
        self._audit(_asked(request, user))
        decisions: list[Decision] = []
        jobs: list[str] = []
        unknown: list[str] = []
        wanted = list(self._studies(request))
        for name, study_id in wanted[: self._at_once]:
            routed = self._route(router, request, study_id, user) if study_id is not None else None
            if routed is None:
                unknown.append(name)
            else:
                decisions += routed.decisions
                jobs += [job.key for job in routed.jobs]
        later = [study_id for _, study_id in wanted[self._at_once :] if study_id is not None]
        unknown += [name for name, study_id in wanted[self._at_once :] if study_id is None]
        # One task for each study, so that a stop does not wait for all of them.
        for study_id in later:
            self._defer(partial(self._route_later, router, request, study_id, user))
        return Answer(tuple(decisions), tuple(jobs), tuple(unknown), len(later))

    def _route_later(self, router: Router, request: Request, study_id: str, user: str | None) -> None:
        try:
            self._route(router, request, study_id, user)
        except RouterError as error:
            log.warning("study %s of a bulk request was not routed: %s", study_id, error)
        except Exception as error:  # noqa: BLE001 - outermost seam: nobody asks the pool how its task ended
            # The kind and the place, not the text: it may quote what stands in a patient's header.
            log.error(
                "study %s of a bulk request was not routed: internal error %s at %s",
                study_id, type(error).__name__, place(error),
            )  # fmt: skip

    def _route(self, router: Router, request: Request, study_id: str, user: str | None) -> Routed | None:
        """Decide and enqueue; None where the study is not in the archive."""
        try:
            study = self._archive.study(study_id)
        except NotInArchive:
            return None
        ours = self._journal.ours([i.uid for i in study.instances])
        priors = partial(priors_of, self._archive, self._journal, study)
        routed = router.route(study, quiet=True, ours=ours, final=True, priors=priors)
        self._journal.decide(routed.decisions)
        for routed_job in routed.jobs:
            job = replace(routed_job, priority=request.priority or routed_job.priority)
            if self._journal.add(job, requested_by=user):
                self._queue.enqueue(job)
            elif request.retry and self._journal.reschedule(job.key, requested_by=user):
                self._queue.retry(job)
            else:
                self._mend(job)
        return routed

    def _mend(self, job: Job) -> None:
        """Give a known job that has not ended the run it may lack: the queue failed after the journal took it."""
        record = self._journal.job(job.key)
        if record is not None and record.state not in (JobState.COMPLETED, JobState.CANCELED):
            self._queue.resume(record.job)

    def cancel(self, key: str, user: str | None) -> bool:
        """Cancel a job that has not ended; False where the key is unknown or it has ended already."""
        record = self._journal.job(key)
        if record is None or record.state in (JobState.COMPLETED, JobState.CANCELED):
            return False
        self._journal.cancel(key, Discontinuation.OPERATOR, f"canceled by {user or 'an operator'}", user)
        record = self._journal.job(key)
        if record is not None and record.state is JobState.COMPLETED:  # it was faster
            return False
        self._queue.cancel(key)
        self._ended(key)
        return True

    def _studies(self, request: Request) -> Iterator[tuple[str, str | None]]:
        if request.everything:
            for study in self._archive.studies():
                yield study.id, study.id
        for name in request.studies:
            if "." in name:  # a Study Instance UID has dots, Orthanc's identifiers have none
                found: list[str | None] = [s.id for s in self._archive.studies(name)]
                yield from ((name, study_id) for study_id in found or [None])
            else:
                yield name, name

    def _narrowed(self, request: Request) -> Router:
        if not request.studies and not request.everything:
            raise RequestError("name at least one study, or all")
        known = PIPELINES.get(request.pipeline or "")
        needs_model = known is None or known.head is not None
        if needs_model and (request.pipeline is None) != (request.model is None):
            raise RequestError("pipeline and model are given together")
        if not needs_model and request.model is not None:
            raise RequestError(f"pipeline {request.pipeline} needs no model")
        if _of_results(request.pipeline):
            raise RequestError(f"pipeline {request.pipeline} {_BY_ITSELF}")
        if request.pipeline is not None:
            if request.route is not None:
                raise RequestError("give either a route, or a pipeline with a model")
            # Every image set has a SOP Class UID, so this matches all; whether they fit is the router's own check.
            always = Condition(("SOPClassUID",), exists=True)
            model = request.model or ""
            route = Route("on demand", request.pipeline, model, (always,), companions=dict(request.companions))
            return self._router.with_routes((route,))
        if request.route is not None:
            chosen = tuple(r for r in self._router.routes if r.name == request.route)
            if not chosen:
                raise RequestError(f"there is no route {request.route!r}")
            if all(_of_results(route.pipeline) for route in chosen):
                raise RequestError(f"route {request.route} {_BY_ITSELF}")
            return self._router.with_routes(chosen)
        return self._router


def _asked(request: Request, user: str | None) -> AuditEvent:
    """What a user asks for, before anything is done of it."""
    detail = {
        "studies": list(request.studies[:_LISTED]),
        "study_count": len(request.studies),
        "everything": request.everything,
        "route": request.route,
        "pipeline": request.pipeline,
        "model": request.model,
        "companions": dict(request.companions),
        "retry": request.retry,
        "priority": request.priority and request.priority.value,
    }
    only = request.studies[0] if len(request.studies) == 1 and "." in request.studies[0] else None
    return AuditEvent(AuditKind.REQUEST, user=user, study_uid=only, detail=detail)


def _of_results(pipeline: str | None) -> bool:
    known = PIPELINES.get(pipeline or "")
    return known is not None and known.extent is Extent.RESULTS
