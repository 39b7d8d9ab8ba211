"""The route of quality at acquisition: an image comes in, whether it can be graded goes out, and nothing is kept."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import ValidationError

from airouter.imaging.upload import Fault, Rejected
from airouter.services.quality import NoModel, Quality
from airouter.web.problems import invalid, problem
from airouter.web.quality_schemas import DICOM, JPEG, JSON, PNG, QualityBody, QualityView, StoredInstance
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView
from airouter.web.services import QualityChecks, WebServices

_ANSWERS: ResponseDict = {
    HTTPStatus.OK: QualityView,
    HTTPStatus.NOT_FOUND: ErrorView,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorView,
}
_TYPES: Final = f"Send {JPEG}, {PNG} or {DICOM}, or {JSON} that names a stored instance."
_FAULTS: Final[Mapping[Fault, tuple[int, str]]] = {
    Fault.UNREADABLE: (400, "Send the file as the camera wrote it, with the Content-Type that it has."),
    Fault.TOO_LARGE: (413, "Send a smaller image: at most 25 MiB, a picture of at most 50 million pixels."),
    Fault.OTHER_KIND: (415, "Send a colour photograph of the fundus, or a tomography as DICOM."),
}


def quality_routes(services: WebServices) -> APIBlueprint:
    """The route, bound to these services."""
    api = APIBlueprint("quality", __name__, url_prefix="/ai", abp_responses=FAILURES)

    @api.post("/quality", summary="Whether an image can be graded, told at once, stored nowhere", responses=_ANSWERS)
    def quality(raw: QualityBody) -> Response:
        checks = services.quality()
        if checks is None:
            return problem(503, "the router is not running", "See GET /ai/health; correct what it names.")
        try:
            found = _asked(checks)
        except ValidationError as error:
            return invalid(error)
        if found is None:
            return problem(404, "no such instance", "Give Orthanc's identifier of an instance that you may see.")
        if isinstance(found, NoModel):
            return problem(503, found.reason, "GET /ai/models tells which models there are and why one is not usable.")
        if isinstance(found, Rejected):
            status, advice = _FAULTS[found.fault]
            return problem(status, found.reason, advice)
        if isinstance(found, Response):
            return found
        return Response(QualityView.of(found).model_dump_json(), mimetype=JSON)

    return api


def _asked(checks: QualityChecks) -> Quality | Rejected | NoModel | Response | None:
    """Raises ValidationError for JSON that names no instance."""
    kind = request.mimetype
    if kind == JSON:  # an object, as the guard has seen to
        wanted = StoredInstance.model_validate(request.get_json())
        headers = {name.lower(): value for name, value in request.headers.items()}
        return checks.stored(wanted.instance, headers, wanted.model)
    if kind in (JPEG, PNG):
        return checks.picture(request.get_data(cache=False))
    if kind == DICOM:
        return checks.dicom(request.get_data(cache=False))
    return problem(415, f"the body is {kind or 'of no declared type'}", _TYPES)
