"""The worklist: its page, its routes, and the small pictures on it."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from airouter.domain.desk import NotDone
from airouter.domain.reading import Listed
from airouter.web.access import person
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView, StudyPath
from airouter.web.services import ReadingRoom, WebServices
from airouter.web.static import page
from airouter.web.worklist_schemas import (
    Assignment,
    ExplanationView,
    Nothing,
    PriorityChange,
    WorklistItem,
    WorklistQuery,
    WorklistView,
)

_UNCHANGED: Final = {"description": "Nothing has changed"}
_JPEG = {"description": "JPEG", "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
_HTML = {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}}
_NOT_FOUND: ResponseDict = {HTTPStatus.NOT_FOUND: ErrorView}
_DONE: ResponseDict = {HTTPStatus.OK: WorklistItem, HTTPStatus.CONFLICT: ErrorView, **_NOT_FOUND}
_LISTED: Final = "GET /ai/worklist?status=any lists every study."
_LATER: Final = "Load the list again: it shows how the study stands now."


class ThumbnailQuery(BaseModel):
    v: Annotated[str, Field(max_length=64, description="Ignored: changes with the picture")] = ""


def worklist_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("worklist", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        health = services.health()
        reason = f"the router is {health.state}" + (f": {health.reason}" if health.reason else "")
        return problem(503, reason, "See GET /ai/health; correct what it names and restart Orthanc.")

    def done(study: str, what: Callable[[ReadingRoom], Listed | NotDone | None]) -> Response:
        room = services.readings()
        if room is None:
            return unavailable()
        outcome = what(room)
        if outcome is None:
            return problem(404, "no such study on the worklist", _LISTED)
        if isinstance(outcome, NotDone):
            if outcome.forbidden:
                return problem(403, outcome.reason, "Ask a supervisor.")
            entry = room.entry(study)
            body = {"error": {"reason": outcome.reason, "advice": _LATER}}
            if entry is not None:
                body["study"] = WorklistItem.of(entry, person(), datetime.now(UTC)).model_dump(mode="json")
            return Response(json.dumps(body), HTTPStatus.CONFLICT, mimetype="application/json")
        return _answer(WorklistItem.of(outcome, person(), datetime.now(UTC)))

    @api.get("/", summary="The worklist as a page", responses={HTTPStatus.OK: _HTML})
    def worklist_page() -> Response:
        return page("worklist.html")

    @api.get(
        "/worklist",
        summary="Studies in the order in which to read them",
        responses={HTTPStatus.OK: WorklistView, HTTPStatus.NOT_MODIFIED: _UNCHANGED},
    )
    def worklist(query: WorklistQuery) -> Response:
        room = services.readings()
        if room is None:
            return unavailable()
        who = person()
        told = [room.stamp(), query.model_dump_json(), who.name, sorted(who.roles)]
        tag = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
        if tag in request.if_none_match:
            answer = Response(status=HTTPStatus.NOT_MODIFIED)
        else:
            view = WorklistView.of(
                room.page(query.wanted(who)), who, datetime.now(UTC), room.claim_minutes, room.readers
            )
            answer = _answer(view)
        answer.set_etag(tag)
        return answer

    @api.get(
        "/worklist/<string:uid>/explanation",
        summary="Why a study stands where it does",
        responses={HTTPStatus.OK: ExplanationView, **_NOT_FOUND},
    )
    def explanation(path: StudyPath) -> Response:
        room = services.readings()
        if room is None:
            return unavailable()
        why = room.explain(path.uid)
        return _answer(ExplanationView.of(why)) if why else problem(404, "no such study on the worklist", _LISTED)

    @api.post("/worklist/<string:uid>/claim", summary="Take a study to read it, or keep it", responses=_DONE)
    def claim(path: StudyPath, body: Nothing) -> Response:
        return done(path.uid, lambda room: room.claim(path.uid, person()))

    @api.post("/worklist/<string:uid>/release", summary="Give a study back", responses=_DONE)
    def release(path: StudyPath, body: Nothing) -> Response:
        return done(path.uid, lambda room: room.release(path.uid, person()))

    @api.post("/worklist/<string:uid>/assign", summary="Make a study somebody's task", responses=_DONE)
    def assign(path: StudyPath, body: Assignment) -> Response:
        return done(path.uid, lambda room: room.assign(path.uid, person(), body.reader))

    @api.post("/worklist/<string:uid>/priority", summary="Lock a study's priority, or release it", responses=_DONE)
    def priority(path: StudyPath, body: PriorityChange) -> Response:
        return done(path.uid, lambda room: room.set_priority(path.uid, person(), body.priority, body.reason))

    @api.post("/worklist/<string:uid>/complete", summary="Say that a study is read", responses=_DONE)
    def complete(path: StudyPath, body: Nothing) -> Response:
        return done(path.uid, lambda room: room.complete(path.uid, person()))

    @api.post("/worklist/<string:uid>/reopen", summary="Put a study back on the list", responses=_DONE)
    def reopen(path: StudyPath, body: Nothing) -> Response:
        return done(path.uid, lambda room: room.reopen(path.uid, person()))

    @api.get(
        "/studies/<string:uid>/thumbnail",
        summary="A study as a small picture",
        responses={HTTPStatus.OK: _JPEG, HTTPStatus.NOT_MODIFIED: _UNCHANGED, **_NOT_FOUND},
    )
    def thumbnail(path: StudyPath, query: ThumbnailQuery) -> Response:
        makes = services.thumbnails()
        if makes is None:
            return unavailable()
        found = makes.find(path.uid, {name.lower(): value for name, value in request.headers.items()})
        if found is None:
            return problem(404, "no such study on the worklist", _LISTED)
        if isinstance(found, str):
            return problem(404, found, "Open the study to see what it holds.")
        if found.tag in request.if_none_match:
            answer = Response(status=HTTPStatus.NOT_MODIFIED)
        else:
            answer = Response(found.data, mimetype="image/jpeg")
        answer.set_etag(found.tag)
        answer.headers["Cache-Control"] = "private, no-cache"  # kept by the browser, asked for each time
        return answer

    return api


def _answer(view: BaseModel) -> Response:
    return Response(view.model_dump_json(), mimetype="application/json")
