"""What stands before every route: same-origin writes, JSON bodies of bounded size, and headers on every answer.

Browsers resend Basic credentials to Orthanc on requests that other sites cause, and Orthanc turns
`GET ...?_method=DELETE` into a DELETE; so what decides here is the method as it reaches us.
"""

from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from airouter.web.problems import problem

MAX_BODY_BYTES = 1 << 20
# Routes whose body need not be JSON, with the most bytes it may have; each checks the type of what is no JSON itself.
OWN_BODIES = {"/ai/quality": 25 << 20}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN = "The request comes from another site; send it from a page of this server, or from a program."

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# A drawing has its strokes and colours in style attributes, without which a browser shows it in black.
_DRAWING = f"{HEADERS['Content-Security-Policy']}; style-src 'unsafe-inline'; sandbox"


def user() -> str | None:
    """User name of the Basic credentials that Orthanc has checked already, None where there are none."""
    credentials = request.authorization
    name = credentials.username if credentials and credentials.type == "basic" else None
    return "".join(c for c in name if c.isprintable())[:64] or None if name else None


def _foreign() -> bool:
    """Whether a browser sends this on behalf of another site."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower()


def _deliberate() -> bool:
    """Whether a request without a body cannot have come from a plain link, image or form of any site."""
    return (
        "X-Requested-With" in request.headers  # other sites need a preflight for it, which Orthanc refuses
        or "Origin" in request.headers  # checked to be ours by _foreign
        or request.headers.get("Sec-Fetch-Site") == "same-origin"
    )


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


def _check() -> Response | None:
    if request.routing_exception is not None or request.method in _SAFE:
        return None
    if _foreign():
        return problem(403, "cross-site request", _FOREIGN)
    if request.method == "DELETE":
        return None if _deliberate() else problem(403, "not a deliberate request", "Send the header X-Requested-With.")
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
    """Set the headers that every answer carries."""
    response.headers.update(HEADERS)
    if response.mimetype == "image/svg+xml":
        response.headers["Content-Security-Policy"] = _DRAWING
    return response


def register(app: Flask) -> None:
    """Guard every route of the application."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(_check)
    app.after_request(secure)
