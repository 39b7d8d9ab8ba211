"""The routes under /ai/: each reads or calls one service and answers with a schema."""

from http import HTTPStatus

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from airouter import __version__
from airouter.domain.job import JobState
from airouter.errors import NotInArchive
from airouter.web import orthanc_version
from airouter.web.guard import user
from airouter.web.metrics import Metrics
from airouter.web.problems import problem
from airouter.web.result_schemas import FindingsView, ResultView
from airouter.web.schemas import (
    DecisionsQuery,
    DecisionsView,
    DecisionView,
    DroppedSlideView,
    ErrorText,
    ErrorView,
    EvidenceView,
    HealthView,
    ImportsQuery,
    ImportsView,
    JobDetail,
    JobPath,
    JobsQuery,
    JobsView,
    JobView,
    ModelsView,
    ModelView,
    OrthancView,
    StudyPath,
    Submission,
    SubmittedView,
)
from airouter.web.services import WebServices

# What every route may answer besides its own statuses.
FAILURES: ResponseDict = dict.fromkeys(
    (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
    ErrorView,
)
_NOT_FOUND: ResponseDict = {HTTPStatus.NOT_FOUND: ErrorView}
_TEXT = {"description": "Prometheus text exposition", "content": {"text/plain": {"schema": {"type": "string"}}}}


def _answer(view: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(view.model_dump_json(), status, mimetype="application/json")


def routes(services: WebServices, metrics: Metrics) -> APIBlueprint:
    """All routes, bound to these services."""
    api = APIBlueprint("ai", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        health = services.health()
        reason = f"the router is {health.state}" + (f": {health.reason}" if health.reason else "")
        return problem(503, reason, "See GET /ai/health; correct what it names and restart Orthanc.")

    def unknown_job() -> Response:
        return problem(404, "no such job", "GET /ai/jobs lists the jobs.")

    @api.get("/health", summary="How the router stands", responses={HTTPStatus.OK: HealthView})
    def health() -> Response:
        now = services.health()
        notices = list(now.notices)
        if weakness := orthanc_version.notice(now.orthanc_version):
            notices.append(weakness)
        return _answer(
            HealthView(
                version=__version__,
                state=now.state,
                reason=now.reason,
                orthanc=OrthancView(version=now.orthanc_version),
                warnings=[ErrorText(reason=n.reason, advice=n.advice) for n in notices],
                models=[ModelView.of(m) for m in services.models()],
                queue_depth=now.queue_depth,
                jobs={state.value: now.jobs.get(state, 0) for state in JobState},
                intake_lag_seconds=now.intake_lag_seconds,
            )
        )

    @api.get("/models", summary="Models and whether they can be used", responses={HTTPStatus.OK: ModelsView})
    def models() -> Response:
        return _answer(ModelsView(models=[ModelView.of(m) for m in services.models()]))

    @api.get("/jobs", summary="Jobs, newest first", responses={HTTPStatus.OK: JobsView})
    def jobs(query: JobsQuery) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        found = journal.jobs(query.study, query.state, query.limit)
        return _answer(JobsView(jobs=[JobView.of(record) for record in found]))

    @api.post("/jobs", summary="Analyse stored studies", responses={HTTPStatus.ACCEPTED: SubmittedView, **_NOT_FOUND})
    def submit(body: Submission) -> Response:
        requests = services.requests()
        if requests is None:
            return unavailable()
        request = body.request()
        done = requests.submit(request, user())
        if request.studies and set(done.unknown) >= set(request.studies):
            return problem(404, f"not in the archive: {', '.join(done.unknown[:10])}", NotInArchive.advice)
        view = SubmittedView(
            decisions=[DecisionView.of(d) for d in done.decisions],
            jobs=list(done.jobs),
            unknown=list(done.unknown),
            deferred=done.deferred,
        )
        return _answer(view, HTTPStatus.ACCEPTED)

    @api.get("/jobs/<string:key>", summary="One job", responses={HTTPStatus.OK: JobDetail, **_NOT_FOUND})
    def job(path: JobPath) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        record = journal.job(path.key)
        if record is None:
            return unknown_job()
        written = [
            EvidenceView.of(stored)
            for result in journal.results(record.job.study_uid)
            if result.job == path.key
            for stored in result.evidence
        ]
        return _answer(JobDetail.of(record, evidence=written))

    @api.delete(
        "/jobs/<string:key>",
        summary="Cancel a job",
        responses={HTTPStatus.ACCEPTED: JobView, HTTPStatus.CONFLICT: ErrorView, **_NOT_FOUND},
    )
    def cancel(path: JobPath) -> Response:
        journal, requests = services.journal(), services.requests()
        if journal is None or requests is None:
            return unavailable()
        canceled = requests.cancel(path.key, user())
        record = journal.job(path.key)
        if record is None:
            return unknown_job()
        if not canceled:
            return problem(409, f"the job is {record.state} already", "Nothing to do.")
        return _answer(JobView.of(record), HTTPStatus.ACCEPTED)

    @api.get("/decisions", summary="Routing decisions, newest first", responses={HTTPStatus.OK: DecisionsView})
    def decisions(query: DecisionsQuery) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        found = journal.decisions(query.study, query.limit)
        return _answer(DecisionsView(decisions=[DecisionView.of(decision, time) for time, decision in found]))

    @api.get(
        "/studies/<string:uid>/findings",
        summary="What was found in a study",
        responses={HTTPStatus.OK: FindingsView, **_NOT_FOUND},
    )
    def findings(path: StudyPath) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        found = journal.results(path.uid)
        reviews = services.reviews()
        standing = reviews.standing([result.job for result in found]) if reviews is not None else {}
        results = [ResultView.of(r, journal.job(r.job), standing.get(r.job), services.phase()) for r in found]
        if not results and not journal.decisions(path.uid, 1) and not journal.jobs(path.uid, None, 1):
            return problem(404, "the router knows no such study", "GET /ai/decisions lists what it has seen.")
        return _answer(FindingsView.study_of(path.uid, results, journal.verdict(path.uid)))

    @api.get("/imports", summary="Slides in the import folder", responses={HTTPStatus.OK: ImportsView})
    def imports(query: ImportsQuery) -> Response:
        folder = services.imports()
        if folder is None:
            return _answer(ImportsView(enabled=False, reason="no import folder is worked on", slides=[]))
        problem_ = folder.problem
        try:
            slides = [DroppedSlideView.of(slide) for slide in folder.slides(query.limit)]
        except OSError as error:
            slides, problem_ = [], problem_ or f"the folder cannot be read: {error.strerror}"
        return _answer(ImportsView(enabled=True, reason=problem_ or None, slides=slides))

    @api.get("/metrics", summary="Figures for Prometheus", responses={HTTPStatus.OK: _TEXT})
    def prometheus() -> Response:
        return Response(metrics.text(), content_type=CONTENT_TYPE_LATEST)

    return api
