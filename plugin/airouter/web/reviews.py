"""Routes and answers of reviews: what readers decide on findings, and the objects that follow."""

import json
import re
from http import HTTPStatus
from typing import Annotated, Any, Self

import numpy as np
from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field
from pydantic.functional_validators import AfterValidator

from airouter.domain.amendment import MOST_POINTS
from airouter.domain.review import Amendment, Choice, Reviewed, ReviewState, Verb
from airouter.services.review import Conflict, Impossible
from airouter.services.review_records import Answered, ReviewObject
from airouter.web.access import person
from airouter.web.finding_view import REASONS, review_view
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorText, ErrorView, StudyPath
from airouter.web.services import WebServices

_ADVICE = "GET /ai/studies/{uid}/findings says how every finding stands, and what of it may be amended."
_NOBODY = "Orthanc must ask for a password (AuthenticationEnabled), so that a decision has an author."


def _spoken(value: str | None) -> str | None:
    """Without control characters; blanks only are nothing."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", value or "").strip() or None


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AmendmentInput(_Input):
    """What is put in the place of the machine's answer; what is not named stays. Numbers in the finding's own unit,
    answers by code value, points as (column, row) in pixels of the finding's image."""

    measurements: dict[str, float] = Field(default_factory=dict, max_length=200)
    evaluations: dict[str, str] = Field(default_factory=dict, max_length=200)
    points: list[tuple[float, float]] | None = Field(default=None, min_length=1, max_length=MOST_POINTS)

    def value(self) -> Amendment:
        points = np.array(self.points, dtype=np.float64) if self.points is not None else None
        return Amendment(self.measurements, self.evaluations, points)


class DecisionInput(_Input):
    """A decision on one finding. `version`: of its state that the reader saw."""

    job: Annotated[str, Field(min_length=1, max_length=64)]
    finding: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[int, Field(ge=0)]
    verb: Verb
    reason: Annotated[str | None, Field(max_length=16)] = None
    comment: Annotated[str | None, Field(max_length=1000), AfterValidator(_spoken)] = None
    amendment: AmendmentInput | None = None

    def choice(self) -> Choice:
        amendment = self.amendment.value() if self.amendment is not None else None
        return Choice(self.job, self.finding, self.version, self.verb, self.reason, self.comment, amendment)


class ReviewInput(_Input):
    """Decisions that are kept as a whole or not at all. `request`: made up by the client, another one for each."""

    request: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{8,64}$")]
    decisions: list[DecisionInput] = Field(min_length=1, max_length=1000)


class CodeView(BaseModel):
    value: str
    scheme: str
    meaning: str


class StandingView(BaseModel):
    """How a finding stands after a decision."""

    job: str
    finding: str
    state: ReviewState
    version: int
    by: str | None
    at: str | None
    reason: CodeView | None
    comment: str | None
    amendment: dict[str, Any] | None

    @classmethod
    def of(cls, found: Reviewed | Choice) -> Self:
        reviewed = found if isinstance(found, Reviewed) else None
        return cls(job=found.job, finding=found.finding, **review_view(reviewed))


class DecisionView(StandingView):
    verb: Verb

    @classmethod
    def of(cls, found: Reviewed | Choice) -> Self:
        reviewed = found if isinstance(found, Reviewed) else None
        return cls(job=found.job, finding=found.finding, verb=found.verb, **review_view(reviewed))


class ObjectView(BaseModel):
    """An object that a review made. `stored`: the archive has it; what it has not is brought there later."""

    role: str
    job: str
    revision: int
    sop_class: str
    sop_instance_uid: str
    series_instance_uid: str
    by: str
    made: str
    stored: bool

    @classmethod
    def of(cls, made: ReviewObject) -> Self:
        return cls(
            role=made.role,
            job=made.job,
            revision=made.revision,
            sop_class=made.sop_class,
            sop_instance_uid=made.uid,
            series_instance_uid=made.series_uid,
            by=made.by,
            made=made.made,
            stored=made.instance is not None,
        )


class ReviewView(BaseModel):
    """What one request changed."""

    study: str
    findings: list[StandingView]
    objects: list[ObjectView]


class HistoryView(BaseModel):
    """Every decision on a study and every object made, oldest first."""

    study: str
    decisions: list[DecisionView]
    objects: list[ObjectView]


class ConflictView(BaseModel):
    """Somebody was faster: nothing of the request was kept. `findings`: how those that it names stand."""

    error: ErrorText
    findings: list[StandingView]


_REVIEWED: ResponseDict = {
    HTTPStatus.OK: ReviewView, HTTPStatus.NOT_FOUND: ErrorView, HTTPStatus.CONFLICT: ConflictView
}  # fmt: skip
_HISTORY: ResponseDict = {HTTPStatus.OK: HistoryView}
_REASONS: ResponseDict = {
    HTTPStatus.OK: {
        "description": "Coded reasons",
        "content": {"application/json": {"schema": {"type": "array", "items": CodeView.model_json_schema()}}},
    }
}


def review_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("reviews", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        return problem(503, "the router is not running", "See GET /ai/health; correct what it names.")

    @api.get("/review-reasons", summary="Why a finding may be rejected", responses=_REASONS)
    def reasons() -> Response:
        return Response(json.dumps(REASONS), mimetype="application/json")

    @api.get("/studies/<string:uid>/reviews", summary="Decisions on a study's findings", responses=_HISTORY)
    def history(path: StudyPath) -> Response:
        reviews = services.reviews()
        if reviews is None:
            return unavailable()
        found = reviews.history(path.uid)
        view = HistoryView(
            study=path.uid,
            decisions=[DecisionView.of(each) for each in found.reviewed],
            objects=[ObjectView.of(each) for each in found.objects],
        )
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.post("/studies/<string:uid>/reviews", summary="Accept, amend, reject, withdraw", responses=_REVIEWED)
    def decide(path: StudyPath, body: ReviewInput) -> Response:
        reviews = services.reviews()
        if reviews is None:
            return unavailable()
        who = person()
        if not who.name:
            return problem(403, "nobody is named, so nobody reviews", _NOBODY)
        found = reviews.decide(path.uid, body.request, [each.choice() for each in body.decisions], who)
        if found is None:
            return problem(404, "the study has no result", "GET /ai/worklist lists the studies that have.")
        if isinstance(found, Impossible):
            return problem(422, found.reason, _ADVICE)
        if isinstance(found, Conflict):
            return _conflict(found)
        return Response(_view(path.uid, found).model_dump_json(), mimetype="application/json")

    return api


def _view(study: str, found: Answered) -> ReviewView:
    return ReviewView(
        study=study,
        findings=[StandingView.of(each) for each in found.reviewed],
        objects=[ObjectView.of(each) for each in found.objects],
    )


def _conflict(found: Conflict) -> Response:
    view = ConflictView(
        error=ErrorText(reason="somebody else has decided meanwhile", advice=_ADVICE),
        findings=[StandingView.of(each) for each in found.current],
    )
    return Response(view.model_dump_json(), HTTPStatus.CONFLICT, mimetype="application/json")
