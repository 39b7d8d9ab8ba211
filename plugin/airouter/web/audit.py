"""The audit trail over HTTP: reading it, which is recorded itself, and noticing who opens a study."""

from http import HTTPStatus
from typing import Annotated, Any, Self

from flask import Flask, Response, g, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from airouter.domain.audit import AuditEvent, AuditKind, AuditRecord
from airouter.domain.role import Person
from airouter.web.access import person
from airouter.web.opened import opened
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import Limit, StudyUid
from airouter.web.services import Viewed, WebServices


class AuditQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    study: StudyUid | None = None
    user: Annotated[str | None, Field(max_length=64, description="Orthanc's user name")] = None
    kind: Annotated[AuditKind | None, Field(description="What happened")] = None
    after: Annotated[int, Field(ge=0, description="Only records of a higher number")] = 0
    limit: Limit = 100


class AuditRecordView(BaseModel):
    """One record. `outcome` is 0 for success, else 4, 8 or 12 (PS3.15 A.5); `user` null: the router itself."""

    seq: int
    at: str
    kind: AuditKind
    outcome: int
    user: str | None
    roles: list[str]
    study: str | None
    patient: str | None
    detail: dict[str, Any]
    digest: str

    @classmethod
    def of(cls, record: AuditRecord) -> Self:
        return cls(**record.content, digest=record.digest)


class AuditView(BaseModel):
    records: list[AuditRecordView]


class AuditHeadView(BaseModel):
    """Number and digest of the last record, signed with the key of the trail."""

    seq: int
    digest: str
    at: str
    signature: str


def audit_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("audit", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        return problem(503, "the router is not running", "See GET /ai/health; correct what it names.")

    @api.get("/audit", summary="The audit trail, oldest first", responses={HTTPStatus.OK: AuditView})
    def audit(query: AuditQuery) -> Response:
        trail = services.audit()
        if trail is None:
            return unavailable()
        found = trail.read(query.after, query.limit, study=query.study, user=query.user, kind=query.kind)
        asked = query.model_dump(mode="json", exclude_none=True, exclude={"study"})
        who = person()
        detail = asked | {"records": len(found)}
        # Before it is answered: who reads the trail unrecorded, does not read it.
        trail.record(AuditEvent(AuditKind.EXPORT, who.name, tuple(who.roles), query.study, detail=detail))
        view = AuditView(records=[AuditRecordView.of(record) for record in found])
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.get("/audit/head", summary="Where the audit trail stands", responses={HTTPStatus.OK: AuditHeadView})
    def head() -> Response:
        trail = services.audit()
        if trail is None:
            return unavailable()
        at = trail.head()
        view = AuditHeadView(seq=at.seq, digest=at.digest, at=at.at, signature=at.signature)
        return Response(view.model_dump_json(), mimetype="application/json")

    return api


def notice_views(app: Flask, viewed: Viewed) -> None:
    """Tell `viewed` of every study that the application has shown to somebody."""

    def after(response: Response) -> Response:
        found = opened(request.method, request.path, request.args.get("study"))
        who = g.get("person")
        if found is not None and isinstance(who, Person) and response.status_code in (200, 206, 304):
            viewed(who, *found)
        return response

    app.after_request(after)
