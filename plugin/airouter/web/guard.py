"""What stands before every route: roles, same-origin writes, JSON bodies of bounded size, headers on every answer.

Browsers resend Basic credentials to Orthanc on requests that other sites cause, and Orthanc turns
`GET ...?_method=DELETE` into a DELETE; so what decides here is the method as it reaches us.
"""

from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from airouter.web import csrf
from airouter.web.access import Access, introduce, person, refusal, why_not
from airouter.web.permissions import of_router
from airouter.web.problems import problem
from airouter.web.refusals import Refused

MAX_BODY_BYTES = 1 << 20
# Routes whose body need not be JSON, with the most bytes it may have; each checks the type of what is no JSON itself.
OWN_BODIES = {"/ai/quality": 25 << 20}
_FOREIGN = "The request comes from another site; send it from a page of this server, or from a program."

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# A page of ours: everything it loads is a file or an answer of this server; nothing inline, no form, no foreign frame.
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
# A drawing has its strokes and colours in style attributes, without which a browser shows it in black.
_DRAWING = f"{HEADERS['Content-Security-Policy']}; style-src 'unsafe-inline'; sandbox"


def user() -> str | None:
    """User name of whoever sent the current request, None where Orthanc asks for none."""
    return person().name


def _json_object() -> Response | None:
    """Parse the body once, so that every route may rely on a JSON object."""
    if request.mimetype != "application/json" or request.headers.get("Content-Encoding", "identity") != "identity":
        return problem(415, "the body must be plain JSON", "Send Content-Type: application/json, not compressed.")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body = request.get_json()
    except RecursionError:
        return problem(400, "the JSON is nested too deeply", "Send one flat JSON object.")
    except BadRequest:
        return problem(400, "the body is not JSON", "Send one JSON object, UTF-8.")
    if not isinstance(body, dict):
        return problem(400, "the body is not a JSON object", "Send one JSON object.")
    return None


def _kept_out(access: Access) -> Response | None:
    """Why the request is not let through: its sender lacks the role, or another site is behind it."""
    reason = why_not(person(), of_router(request.method, str(request.url_rule)))
    if reason is not None:
        return refusal(person(), reason)
    if request.method in csrf.SAFE:
        return None
    if csrf.foreign(request.headers, access.origins):
        return problem(403, "cross-site request", _FOREIGN)
    if request.method == "DELETE" and not csrf.deliberate(request.headers):
        return problem(403, "not a deliberate request", "Send the header X-Requested-With.")
    return None


def _body() -> Response | None:
    if request.method in csrf.SAFE or request.method == "DELETE":
        return None
    most = OWN_BODIES.get(str(request.url_rule))
    return _json_object() if most is None else _own_body(most)


def _own_body(most: int) -> Response | None:
    """A body of a route that takes others than JSON: JSON as everywhere, else not compressed and of bounded size."""
    if request.mimetype == "application/json":
        return _json_object()
    if request.headers.get("Content-Encoding", "identity") != "identity":
        return problem(415, "the body is compressed", "Send it as it is; pictures are compressed already.")
    if (request.content_length or 0) > most:
        return problem(413, f"the body has {request.content_length} bytes", f"Send at most {most >> 20} MiB.")
    request.max_content_length = most
    return None


def secure(response: Response) -> Response:
    """Set the headers that every answer carries. Only what says so itself may be kept by a browser (web.static), and
    only the viewer, which is not our code, comes with a policy of its own (web.ohif)."""
    kept = response.headers.get("Cache-Control")
    policy = response.headers.get("Content-Security-Policy")
    response.headers.update(HEADERS)
    if kept:
        response.headers["Cache-Control"] = kept
    if policy:
        response.headers["Content-Security-Policy"] = policy
    elif response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = _PAGE
    elif response.mimetype == "image/svg+xml":
        response.headers["Content-Security-Policy"] = _DRAWING
    return response


def register(app: Flask, access: Access, refused: Callable[[Refused], None]) -> None:
    """Guard every route of the application; `refused` is told of whoever was not let through."""

    def check() -> Response | None:
        introduce(access)
        if request.routing_exception is not None:
            return None  # answered 404 or 405
        answer = _kept_out(access)
        if answer is not None:
            refused(Refused.of(person(), request.method, request.path, answer.get_json()["error"]["reason"]))
        return answer if answer is not None else _body()

    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(check)
    app.after_request(secure)
