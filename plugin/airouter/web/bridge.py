"""The one place where HTTP requests cross from Orthanc into our application.

Orthanc runs REST callbacks on HTTP threads with a 100 KB stack, where parsing a deep JSON body takes the process down.
So the callback copies plain values, hands them to a pool of our own threads, waits, and writes the answer.

What Orthanc does before and after, and no application can change:
- HEAD and OPTIONS are answered 404 and unknown methods 400 by Orthanc itself; PATCH never arrives.
- Query arguments of POST, PUT and DELETE do not arrive; of repeated ones the last counts; 1.10 does not decode them.
- A 405 has no body and no headers but Allow: Orthanc has a call of its own for it.
- From 1.12.2 on, whatever has a body and another status than 200 is text/plain; the body is the same JSON.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Protocol
from urllib.parse import unquote_plus, urlencode
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.wrappers import Response

from airouter.web.guard import secure
from airouter.web.problems import incident, internal, problem

# Of Orthanc's HTTP threads (50 unless it is told otherwise) this many may wait for us; the others keep serving.
WAITING = 20
TIMEOUT_SECONDS = 60.0
ROOTS = ("/ai", "/ohif")

# Version 5 of the Python plugin lets go of these while it ends, without holding the GIL: Orthanc crashes where that
# frees one. A module keeps them alive until the interpreter itself ends.
_callbacks: Final[list[Callable[..., object]]] = []

_METHODS: Final = {1: "GET", 2: "POST", 3: "PUT", 4: "DELETE"}  # OrthancPluginHttpMethod
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_TOKEN = re.compile(r"[A-Za-z0-9-]+")
_OWN = frozenset({"content-type", "content-length", "connection", "transfer-encoding"})


class Registry(Protocol):
    """The part of the `orthanc` module that is needed here."""

    def RegisterRestCallback(self, pattern: str, callback: Any, /) -> None: ...  # noqa: N802

    def RegisterIncomingHttpRequestFilter(self, callback: Any, /) -> None: ...  # noqa: N802

    def CheckVersionAdvanced(self, major: int, minor: int, revision: int, /) -> int: ...  # noqa: N802


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What the callback copies. Header names are lower case; `uri` is decoded; `arguments` are as Orthanc gave them."""

    method: str
    uri: str
    headers: Mapping[str, str]
    arguments: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the callback writes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    content_type: str

    @classmethod
    def of(cls, response: Response) -> "HttpAnswer":
        return cls(response.status_code, tuple(response.headers), response.get_data(), response.content_type or "")


def mount(
    orthanc: Registry,
    app: WSGIApplication,
    pool: Executor,
    *,
    roots: Sequence[str] = ROOTS,
    waiting: int = WAITING,
    timeout: float = TIMEOUT_SECONDS,
) -> None:
    """Register each of `roots` and everything below with Orthanc; `app` runs on the threads of `pool`.

    At most `waiting` requests are in the pool at once, the next is answered 503; so is one that takes longer than
    `timeout` seconds, and every one after the pool was shut down. Call it while the plugin loads.
    """
    free = threading.BoundedSemaphore(waiting)
    # An answer cannot be read back: the version alone tells whether Orthanc would add a second Content-Type.
    adds_type = bool(orthanc.CheckVersionAdvanced(1, 12, 2))

    def answer(request: HttpRequest) -> HttpAnswer:
        if not free.acquire(blocking=False):
            return _unavailable("too many requests at once")
        try:
            future = pool.submit(respond, app, request)
        except RuntimeError:
            free.release()
            return _unavailable("the router is stopping")
        # Released when the work ends and not when the wait does: a request that hangs keeps its place.
        future.add_done_callback(lambda _: free.release())
        try:
            return future.result(timeout)
        except TimeoutError:
            return _unavailable(f"no answer within {timeout:g} seconds")
        except CancelledError:
            return _unavailable("the router is stopping")

    def callback(output: Any, uri: str, **request: Any) -> None:
        try:
            write(output, answer(_copy(uri, request)), adds_type=adds_type)
        except Exception as error:  # noqa: BLE001 - outermost seam: Orthanc would log the message with its traceback
            write(output, HttpAnswer.of(secure(internal(error))), adds_type=adds_type)

    _callbacks.append(callback)
    for root in roots:  # Orthanc takes a slash at the end away
        orthanc.RegisterRestCallback(root, callback)
        orthanc.RegisterRestCallback(f"{root}/(.*)", callback)


def screen(orthanc: Registry, lets_pass: Callable[[str, str, Mapping[str, str], Mapping[str, str]], bool]) -> None:
    """Let Orthanc ask `lets_pass` (method, path, headers, arguments) about every HTTP request, ours and its own.

    Orthanc asks on its HTTP threads, before it reads the body and after it has checked the password, and answers 403 to
    whatever is not True. Call it while the plugin loads.
    """

    def callback(uri: str, **request: Any) -> bool:
        try:
            method = _METHODS[int(request["method"])]
            return lets_pass(method, uri, request.get("headers") or {}, request.get("get") or {}) is True
        except Exception as error:  # noqa: BLE001 - outermost seam, and Orthanc would log the message with its traceback
            incident(error)
            return False

    _callbacks.append(callback)
    orthanc.RegisterIncomingHttpRequestFilter(callback)


def respond(app: WSGIApplication, request: HttpRequest) -> HttpAnswer:
    """Run the application on one request. Never raises: what the application lets through becomes a 500."""
    try:
        return HttpAnswer.of(Response.from_app(app, environ(request), buffered=True))
    except Exception as error:  # noqa: BLE001 - outermost seam of the pool's threads
        return HttpAnswer.of(secure(internal(error)))


def environ(request: HttpRequest) -> WSGIEnvironment:
    """The WSGI environment (PEP 3333) of a request."""
    # Values that newer Orthanc versions decode already are decoded twice: none that we accept contains % or +.
    query = urlencode({name: unquote_plus(value) for name, value in request.arguments.items()})
    variables: WSGIEnvironment = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _native(request.uri),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(request.body)),
        "CONTENT_TYPE": _native(request.headers.get("content-type", "")),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(request.body),
        "wsgi.errors": _Nowhere(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        # A name with an underscore would pass for another one with a hyphen.
        if name not in _OWN and _TOKEN.fullmatch(name):
            variables[f"HTTP_{name.upper().replace('-', '_')}"] = _native(value)
    return variables


class _Nowhere:
    """wsgi.errors: what frameworks write there may name patients; failures are logged by `incident`."""

    def write(self, text: str) -> int:
        return len(text)

    def writelines(self, lines: list[str]) -> None: ...

    def flush(self) -> None: ...


def _native(text: str) -> str:
    """A WSGI string: UTF-8 bytes shown as Latin-1."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _copy(uri: str, request: Mapping[str, Any]) -> HttpRequest:
    return HttpRequest(
        str(request["method"]),
        str(uri),
        {str(name).lower(): str(value) for name, value in (request.get("headers") or {}).items()},
        {str(name): str(value) for name, value in (request.get("get") or {}).items()},
        bytes(request.get("body") or b""),
    )


def _unavailable(reason: str) -> HttpAnswer:
    response = problem(503, reason, "Try again in a few seconds.")
    response.headers["Retry-After"] = "5"
    return HttpAnswer.of(secure(response))


def write(output: Any, answer: HttpAnswer, *, adds_type: bool = False) -> None:
    """Hand an answer to Orthanc's RestOutput, whatever is in its headers.

    `adds_type`: this Orthanc adds Content-Type: text/plain to a body with another status than 200, unasked.
    """
    if answer.status == 405:
        output.SendMethodNotAllowed(_clean(dict(answer.headers).get("Allow", "GET")))
        return
    for name, value in answer.headers:
        if name.lower() not in _OWN and _TOKEN.fullmatch(name):
            output.SetHttpHeader(name, _clean(value))
    if answer.status == 200:
        output.AnswerBuffer(answer.body, _clean(answer.content_type))
        return
    if not (adds_type and answer.body):
        output.SetHttpHeader("Content-Type", _clean(answer.content_type))
    try:
        output.SendHttpStatus(answer.status, answer.body)
    except TypeError:
        # Version 4 of the Python plugin wants text and its length in bytes. Bodies of errors are ASCII JSON.
        output.SendHttpStatus(answer.status, answer.body.decode(), len(answer.body))


def _clean(value: str) -> str:
    """Orthanc passes line breaks in header values through; a response could be split with them."""
    return _UNPRINTABLE.sub("", value)
