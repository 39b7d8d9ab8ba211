"""The bridge on its own: what it copies, what it writes, and what happens when the pool is full, slow or gone."""

import gc
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airouter.web.app import create_app
from airouter.web.bridge import HttpAnswer, HttpRequest, environ, mount, respond, write
from airouter.web.threads import STACK_BYTES, large_stack_pool
from tests.web_services import PATIENT, RUNNING, Fake, filled


class Output:
    """RestOutput as the plugin's versions have it: 4 wants text and length, 5 and later bytes.

    `adds_type`: as Orthanc does from 1.12.2 on, add a Content-Type to whatever has a body and is not 200.
    """

    def __init__(self, version: int = 5, adds_type: bool = False) -> None:
        self.version, self.adds_type = version, adds_type
        self.headers: dict[str, str] = {}
        self.status = 0
        self.body = b""

    def AnswerBuffer(self, body: bytes, mime: str) -> None:  # noqa: N802
        assert not self.status
        self.status, self.body, self.headers["Content-Type"] = 200, body, mime

    def SendHttpStatus(self, *arguments: Any) -> None:  # noqa: N802
        assert not self.status
        types = tuple(type(a) for a in arguments)
        if types != ((int, str, int) if self.version == 4 else (int, bytes)):
            raise TypeError("Bad types for the arguments")
        assert arguments[0] not in (200, 405), "Orthanc refuses these here"
        body = arguments[1]
        self.status, self.body = arguments[0], body.encode()[: arguments[2]] if isinstance(body, str) else body
        if self.adds_type and self.body:
            self.SetHttpHeader("Content-Type", "text/plain")

    def SendMethodNotAllowed(self, allowed: str) -> None:  # noqa: N802
        assert not self.status
        self.status, self.headers = 405, {"Allow": allowed}

    def SetHttpHeader(self, name: str, value: str) -> None:  # noqa: N802
        assert name not in self.headers, "Orthanc would send both"
        self.headers[name] = value


class Orthanc:
    def __init__(self, adds_type: bool = False) -> None:
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.adds_type = adds_type

    def CheckVersionAdvanced(self, *version: int) -> int:  # noqa: N802
        assert version == (1, 12, 2)
        return int(self.adds_type)

    def RegisterRestCallback(self, pattern: str, callback: Callable[..., None]) -> None:  # noqa: N802
        self.callbacks[pattern] = callback

    def call(self, uri: str, method: str = "GET", version: int = 5, **request: Any) -> Output:
        output = Output(version, self.adds_type)
        self.callbacks["/ai/(.*)"](output, uri, method=method, groups=(uri[4:],), headers={}, **request)
        return output


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with large_stack_pool(3) as pool:
        yield pool


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    journal = filled(tmp_path_factory.mktemp("bridge"))
    yield create_app(Fake(journal).services())
    journal.close()


def mounted(pool: ThreadPoolExecutor, app: Any, *, adds_type: bool = False, **options: Any) -> Orthanc:
    orthanc = Orthanc(adds_type)
    mount(orthanc, app, pool, **options)
    return orthanc


# -- threads ----------------------------------------------------------------------------------------------------------


def test_all_threads_run_at_once_with_large_stacks() -> None:
    before = threading.stack_size()
    with large_stack_pool(3) as pool:
        names = {t.name for t in threading.enumerate() if t.name.startswith("airouter-web")}
        assert len(names) >= 3
        assert threading.stack_size() == before
        together = threading.Barrier(3)
        assert sorted(pool.map(lambda _: together.wait(10), range(3))) == [0, 1, 2]
        # json's scanner recurses in C: this depth needs more than a 100 KB stack and stays below the limit.
        assert pool.submit(json.loads, "[" * 900 + "]" * 900).result(10)
    assert STACK_BYTES == 16 * 1024 * 1024


def test_a_pool_without_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="max_workers"):
        large_stack_pool(0)


# -- copying ----------------------------------------------------------------------------------------------------------


def test_both_patterns_are_registered(pool: ThreadPoolExecutor, app: Any) -> None:
    orthanc = mounted(pool, app)
    assert list(orthanc.callbacks) == ["/ai", "/ai/(.*)", "/ohif", "/ohif/(.*)"]


def test_the_callback_outlives_what_orthanc_holds_of_it(pool: ThreadPoolExecutor, app: Any) -> None:
    orthanc = mounted(pool, app)
    callback = weakref.ref(orthanc.callbacks["/ai"])
    orthanc.callbacks.clear()
    gc.collect()
    assert callback() is not None


def test_arguments_arrive_decoded_or_not(pool: ThreadPoolExecutor, app: Any) -> None:
    orthanc = mounted(pool, app)
    for state in ("IN%20PROGRESS", "IN+PROGRESS", "IN PROGRESS"):
        answer = orthanc.call("/ai/jobs", get={"state": state, "limit": "5"})
        assert [j["key"] for j in json.loads(answer.body)["jobs"]] == [RUNNING]
    assert orthanc.call("/ai/jobs", get={"state": "a&limit=5"}).status == 422


@given(
    st.text(max_size=40),
    st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3),
    st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3),
)
def test_any_request_becomes_an_environment(path: str, headers: dict[str, str], arguments: dict[str, str]) -> None:
    request = HttpRequest("GET", f"/ai/{path}", headers, arguments, b"")
    variables = environ(request)
    for value in variables.values():
        if isinstance(value, str):
            value.encode("latin-1")  # PEP 3333: strings are bytes shown as Latin-1
    assert not any(name.startswith("HTTP_") and not name.isascii() for name in variables)


def test_headers_with_underscores_cannot_pass_for_others() -> None:
    request = HttpRequest("DELETE", "/ai/x", {"x_requested_with": "x", "sec_fetch_site": "same-origin"}, {}, b"")
    assert not any(name.startswith("HTTP_") for name in environ(request))


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_statuses_bodies_and_headers_reach_orthanc(pool: ThreadPoolExecutor, app: Any, version: int) -> None:
    orthanc = mounted(pool, app)
    health = orthanc.call("/ai/health", version=version)
    assert (health.status, health.headers["Content-Type"]) == (200, "application/json")
    assert health.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Length" not in health.headers
    missing = orthanc.call("/ai/nothing", version=version)
    assert (missing.status, missing.headers["Content-Type"]) == (404, "application/json")
    assert json.loads(missing.body)["error"]["reason"]
    refused = orthanc.call("/ai/worklist", method="PUT", version=version, body=b"{}")
    assert refused.status == 405
    assert "GET" in refused.headers["Allow"]


def test_an_orthanc_that_adds_a_content_type_leaves_one(pool: ThreadPoolExecutor, app: Any) -> None:
    orthanc = mounted(pool, app, adds_type=True)
    assert orthanc.call("/ai/health").headers["Content-Type"] == "application/json"
    missing = orthanc.call("/ai/nothing")
    assert (missing.status, missing.headers["Content-Type"]) == (404, "text/plain")
    assert json.loads(missing.body)["error"]["reason"]


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
@example("X-A", "b\r\nSet-Cookie: c\x00", "text/plain\r\nX-B: c")
def test_no_header_can_split_the_response(name: str, value: str, content_type: str) -> None:
    for status in (200, 202, 405):
        output = Output()
        write(output, HttpAnswer(status, ((name, value), ("Allow", value)), b"ok", content_type))
        assert output.status == status
        for shown in (*output.headers, *output.headers.values()):
            assert shown.isascii()
            assert shown.isprintable()


def test_a_header_with_a_line_break_never_leaves_the_application(pool: ThreadPoolExecutor) -> None:
    def app(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("X-A", "b\r\nSet-Cookie: c")])
        return [b"ok"]

    assert mounted(pool, app).call("/ai/x").status == 500


def test_a_failing_application_is_a_plain_500(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    def app(_: Any, __: Any) -> list[bytes]:
        raise KeyError(PATIENT)

    with caplog.at_level(logging.DEBUG):
        answer = mounted(pool, app).call("/ai/x")
    assert answer.status == 500
    assert json.loads(answer.body)["error"]["reason"] == "internal error"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "KeyError" in caplog.text
    assert PATIENT not in caplog.text + answer.body.decode()


def test_a_malformed_callback_is_a_plain_500(pool: ThreadPoolExecutor, app: Any) -> None:
    orthanc, output = mounted(pool, app), Output()
    orthanc.callbacks["/ai"](output, "/ai")  # no method at all
    assert output.status == 500


# -- full, slow, gone -------------------------------------------------------------------------------------------------


def test_a_full_pool_answers_503_and_recovers(pool: ThreadPoolExecutor) -> None:
    inside, leave = threading.Semaphore(0), threading.Event()

    def app(_: Any, start: Any) -> list[bytes]:
        inside.release()
        assert leave.wait(30)
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    orthanc = mounted(pool, app, waiting=2)
    with ThreadPoolExecutor(2) as clients:
        slow = [clients.submit(orthanc.call, "/ai/x") for _ in range(2)]
        for _ in slow:
            assert inside.acquire(timeout=30)
        full = orthanc.call("/ai/x")
        assert (full.status, full.headers["Retry-After"]) == (503, "5")
        leave.set()
        assert [s.result(30).status for s in slow] == [200, 200]
    assert orthanc.call("/ai/x").status == 200


def test_a_request_that_hangs_is_answered_and_keeps_its_place(pool: ThreadPoolExecutor) -> None:
    leave = threading.Event()

    def app(_: Any, start: Any) -> list[bytes]:
        leave.wait(30)
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    orthanc = mounted(pool, app, waiting=1, timeout=0.01)
    try:
        assert b"no answer within" in orthanc.call("/ai/x").body
        assert b"too many requests" in orthanc.call("/ai/x").body
    finally:
        leave.set()


def test_a_pool_that_was_shut_down_answers_503(app: Any) -> None:
    gone = large_stack_pool(1)
    orthanc = mounted(gone, app)
    gone.shutdown()
    for _ in range(40):  # more than may wait: nothing must be leaked
        answer = orthanc.call("/ai/health")
        assert answer.status == 503
        assert b"stopping" in answer.body


def test_a_strange_host_is_no_failure(app: Any) -> None:
    for host, status in (("a b<", 200), ("", 200), ("[", 200), ("ä", 200), ("x" * 9999, 400)):
        answer = respond(app, HttpRequest("GET", "/ai/health", {"host": host}, {}, b""))
        assert answer.status == status
        assert json.loads(answer.body)
