"""Routes and answers of the technician's list: slides that are not fit for reading and must be scanned again."""

import re
from http import HTTPStatus
from typing import Annotated, Self

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field
from pydantic.functional_validators import AfterValidator, BeforeValidator

from airouter.domain.rescan import RescanEntry, RescanState
from airouter.web.guard import user
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView, Limit
from airouter.web.services import WebServices

_ADVICE = "GET /ai/rescans?state=any lists every slide whose quality was judged."


def _spoken(value: str) -> str:
    """Without control characters, and not only blanks."""
    said = re.sub(r"[\x00-\x1f\x7f]+", " ", value).strip()
    if not said:
        raise ValueError("say why")
    return said


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RescansQuery(_Input):
    state: Annotated[
        RescanState | None,
        BeforeValidator(lambda value: None if value == "any" else value),
        Field(description="open, rescanned, dismissed, fit, or any"),
    ] = RescanState.OPEN
    limit: Limit = 100


class SeriesPath(BaseModel):
    series_uid: Annotated[str, Field(pattern=r"^[0-9][0-9.]{0,63}$", description="Series Instance UID of a slide")]


class Dismissal(_Input):
    """Why the slide is read as it is."""

    reason: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_spoken)]


class RescanView(BaseModel):
    """One slide whose quality was judged. `usable_percent` is None where no tissue was seen.

    `opened`: when it was judged first; `closed`, `closed_by` (None: by itself) and `note`: when it left the list, by
    whom, and why.
    """

    series: str
    study: str
    study_id: str
    container: str | None
    scanned: str | None
    reason: str
    usable_percent: float | None
    state: RescanState
    opened: str
    closed: str | None
    closed_by: str | None
    note: str | None

    @classmethod
    def of(cls, entry: RescanEntry) -> Self:
        return cls(
            series=entry.series_uid,
            study=entry.study_uid,
            study_id=entry.study_id,
            container=entry.fitness.container,
            scanned=entry.fitness.scanned,
            reason=entry.fitness.reason,
            usable_percent=entry.fitness.usable_percent,
            state=entry.state,
            opened=entry.opened,
            closed=entry.closed,
            closed_by=entry.by,
            note=entry.note,
        )


class RescansView(BaseModel):
    slides: list[RescanView]


_DISMISSED: ResponseDict = {
    HTTPStatus.OK: RescanView, HTTPStatus.NOT_FOUND: ErrorView, HTTPStatus.CONFLICT: ErrorView
}  # fmt: skip


def rescan_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("rescans", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        return problem(503, "the router is not running", "See GET /ai/health; correct what it names.")

    @api.get("/rescans", summary="Slides to scan again, worst first", responses={HTTPStatus.OK: RescansView})
    def rescans(query: RescansQuery) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        view = RescansView(slides=[RescanView.of(entry) for entry in journal.rescans(query.state, query.limit)])
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.post("/rescans/<string:series_uid>/dismiss", summary="Read a slide as it is", responses=_DISMISSED)
    def dismiss(path: SeriesPath, body: Dismissal) -> Response:
        listed = services.rescans()
        if listed is None:
            return unavailable()
        entry, changed = listed.dismiss(path.series_uid, body.reason, user())
        if entry is None:
            return problem(404, "the quality of no such slide was judged", _ADVICE)
        if not changed:
            return problem(409, f"the slide is not on the list: {entry.state.value}", _ADVICE)
        return Response(RescanView.of(entry).model_dump_json(), mimetype="application/json")

    return api
