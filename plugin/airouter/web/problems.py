"""JSON errors: every answer that is not a success is {"error": {"reason": ..., "advice": ...}}, without internals."""

import json
import logging
import traceback
import uuid
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from airouter.errors import NotInArchive, RequestError, RouterError, StateLocked

log = logging.getLogger("airouter.web")

# Failures a client can understand, and their status. Messages of these carry identifiers of objects, never patients.
_STATUS: Mapping[type[RouterError], int] = {NotInArchive: 404, RequestError: 422, StateLocked: 503}

_ADVICE: Mapping[int, str] = {
    400: "Correct the request as docs/reference/rest.md says.",
    404: "GET /ai/openapi.json lists the routes.",
    405: "Use a method that the Allow header names.",
    413: "Send at most 1 MiB.",
    415: "Send JSON with Content-Type: application/json.",
}


def problem(status: int, reason: str, advice: str) -> Response:
    """An error answer."""
    body = json.dumps({"error": {"reason": reason, "advice": advice}})
    return Response(body, status, mimetype="application/json")


def incident(error: BaseException) -> str:
    """Log the class of an unexpected failure and where it happened under a new id, and return the id.

    Neither its message nor a source line is logged: both may carry what a patient's header says.
    """
    id = uuid.uuid4().hex[:12]
    frames = [*traceback.walk_tb(error.__traceback__)][-1:]
    where = "".join(f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in frames) or "unknown place"
    log.error("%s at %s, id %s", type(error).__name__, where, id)
    return id


def internal(error: BaseException) -> Response:
    """The answer to an unexpected failure: an id to look for in the log and nothing else."""
    return problem(500, "internal error", f"Look for {incident(error)} in Orthanc's log and report what stands there.")


def invalid(error: ValidationError) -> Response:
    """Answer 422 naming each wrong field; what was sent is not repeated."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" if fault["loc"] else fault["msg"]
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return problem(422, "; ".join(faults[:10]), "Correct the named fields as docs/reference/rest.md says.")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    answer = problem(status, error.name, _ADVICE.get(status, "See docs/reference/rest.md."))
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            answer.headers[name] = value
    return answer


def _router(error: RouterError) -> Response:
    status = 503 if error.transient else next((_STATUS[c] for c in type(error).__mro__ if c in _STATUS), None)
    return internal(error) if status is None else problem(status, str(error), error.advice)


def register(app: Flask) -> None:
    """Answer every failure of the application as above."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RouterError, _router)
    app.register_error_handler(Exception, internal)
