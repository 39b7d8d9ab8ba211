"""GET /ai/me: who one is to the router, and what one may do. Pages show by it what can be used."""

from http import HTTPStatus

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel

from airouter.domain.role import Role
from airouter.web.access import person
from airouter.web.permissions import Action, actions
from airouter.web.routes import FAILURES


class PersonView(BaseModel):
    """`name` is Orthanc's user name, null where Orthanc asks for none; `may` are the actions of the roles table."""

    name: str | None
    dicom_name: str
    organization: str
    roles: list[Role]
    may: list[Action]


def person_routes() -> APIBlueprint:
    """The route."""
    api = APIBlueprint("me", __name__, url_prefix="/ai", abp_responses=FAILURES)

    @api.get("/me", summary="Who asks, and what they may do", responses={HTTPStatus.OK: PersonView})
    def me() -> Response:
        who = person()
        view = PersonView(
            name=who.name,
            dicom_name=who.dicom_name,
            organization=who.organization,
            roles=sorted(who.roles),
            may=actions(who),
        )
        return Response(view.model_dump_json(), mimetype="application/json")

    return api
