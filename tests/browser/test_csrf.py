"""A page of somebody else, opened in the browser of a user of this server, tries to change something.

Every route of the router that changes something and those of Orthanc, in every way that a page has to send a request:
from another port of the same machine, to which Chromium sends the password along; and from another site, to which it
does not (others do), against a server that asks for none. The same pages against an Orthanc without the router show
that the attacks are real.
"""

import base64
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page

from airouter.adapters import tables
from airouter.web.permissions import AIROUTER
from tests.browser.conftest import ROUTES
from tests.e2e.samples import photograph
from tests.e2e.test_access import contents, part10
from tests.orthanc_process import PASSWORD, USER, OrthancProcess
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc

# The page's own script. Each way ends when the browser has an answer, or has refused to send.
SCRIPT = """
async (attempts) => {
  const body = (attempt) => attempt.file
    ? Uint8Array.from(atob(attempt.file), (c) => c.charCodeAt(0))
    : '{"Target": "evil", "all": true, "reason": "x"}';
  const overridden = (a) => `${a.url}?_method=${a.method}`;
  const ended = (element, start) => new Promise((done) => {
    element.onload = element.onerror = done;
    start();
    document.body.append(element);
  });
  const framed = (fill) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = `frame${Math.random()}`;
    document.body.append(frame);
    frame.onload = done;
    fill(frame);
  });
  const form = (a, enctype, method = "POST") => framed((frame) => {
    const made = Object.assign(document.createElement("form"), {method, enctype, action: a.url, target: frame.name});
    const names = method === "GET" ? {_method: a.method} : {_method: a.method, '{"all": true, "x": "': '"}'};
    for (const [name, value] of Object.entries(names)) {
      made.append(Object.assign(document.createElement("input"), {name, value}));
    }
    document.body.append(made);
    made.submit();
  });
  const sent = (url, options) => fetch(url, {credentials: "include", ...options}).catch(() => {});
  const ways = {
    form: (a) => form(a, "application/x-www-form-urlencoded"),
    "form of text": (a) => form(a, "text/plain"),
    "form of parts": (a) => form(a, "multipart/form-data"),
    "form of an override": (a) => form(a, "application/x-www-form-urlencoded", "GET"),
    picture: (a) => { const e = new Image(); return ended(e, () => { e.src = overridden(a); }); },
    "picture without referrer": (a) => {
      const e = Object.assign(new Image(), {referrerPolicy: "no-referrer"});
      return ended(e, () => { e.src = overridden(a); });
    },
    script: (a) => { const e = document.createElement("script"); return ended(e, () => { e.src = overridden(a); }); },
    style: (a) => {
      const e = Object.assign(document.createElement("link"), {rel: "stylesheet"});
      return ended(e, () => { e.href = overridden(a); });
    },
    frame: (a) => framed((frame) => { frame.src = overridden(a); }),
    "fetch of an override": (a) => sent(overridden(a), {mode: "no-cors"}),
    "fetch of text": (a) => sent(a.url, {mode: "no-cors", method: "POST", body: body(a)}),
    "fetch of JSON": (a) => sent(a.url, {
      method: a.method === "DELETE" ? "DELETE" : a.method, body: a.method === "DELETE" ? undefined : body(a),
      headers: {"Content-Type": "application/json", "X-Requested-With": "fetch"},
    }),
    "fetch of a header": (a) => sent(a.url, {
      method: "POST", body: body(a), headers: {"X-HTTP-Method-Override": a.method},
    }),
    beacon: async (a) => { navigator.sendBeacon(a.url, new Blob([body(a)], {type: "text/plain"})); },
    "sandboxed fetch": (a) => new Promise((done) => {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      window.addEventListener("message", done, {once: true});
      frame.srcdoc = `<script>fetch(${JSON.stringify(a.url)}, {mode: "no-cors", method: "POST", credentials: "include",
        body: "{}"}).catch(() => {}).finally(() => parent.postMessage("done", "*"))</` + `script>`;
      document.body.append(frame);
    }),
  };
  let count = 0;
  for (const attempt of attempts) {
    for (const way of attempt.ways ?? Object.keys(ways)) {
      await ways[way](attempt);
      document.body.replaceChildren();
      count += 1;
    }
  }
  return count;
}
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>evil</title><body></body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """Port of another server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def victim(browser: Browser, url: str, path: str) -> Iterator[BrowserContext]:
    """A browser whose user has logged in at `path`: it knows the password for whatever lies below from then on."""
    context = browser.new_context(http_credentials={"username": USER, "password": PASSWORD}, base_url=url)
    try:
        page = context.new_page()
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200
        yield context
    finally:
        context.close()


def attack(context: BrowserContext, origin: str, attempts: list[dict[str, Any]]) -> int:
    page = context.new_page()
    page.goto(origin)
    count: int = page.evaluate(SCRIPT, attempts)
    page.close()
    return count


def ids(process: OrthancProcess) -> dict[str, str]:
    return {
        f"/{level}/{{id}}": process.rest.get(f"/{level}").json()[0]
        for level in ("patients", "studies", "series", "instances")
    }


def orthanc_attempts(process: OrthancProcess) -> list[dict[str, Any]]:
    known = ids(process)
    attempts = [{"method": "DELETE", "url": process.url + path.replace("{id}", id)} for path, id in known.items()]
    study = process.url + "/studies/" + known["/studies/{id}"]
    attempts += [
        {"method": "POST", "url": f"{study}/anonymize"},
        {"method": "POST", "url": f"{study}/modify"},
        {"method": "PUT", "url": f"{study}/metadata/1024"},
        {"method": "POST", "url": f"{process.url}/instances", "file": base64.b64encode(part10(photograph())).decode()},
        {"method": "PUT", "url": f"{process.url}/modalities/evil"},
        {"method": "POST", "url": f"{process.url}/dicom-web/studies"},
        {"method": "DELETE", "url": f"{process.url}/changes"},
        {"method": "PUT", "url": f"{process.url}/tools/log-level"},
        {"method": "POST", "url": f"{process.url}/tools/reset"},
        {"method": "POST", "url": f"{process.url}/tools/shutdown"},
    ]
    return attempts


def router_attempts(process: RouterProcess, study: str) -> list[dict[str, Any]]:
    """Every route of the router that changes something, with what there is in its path."""
    (job, *_) = process.jobs(study)
    values = {"uid": study, "key": job["key"], "series_uid": job["series"]}
    attempts = []
    for method, rule in AIROUTER:
        if method != "GET":
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: values.get(m[1], "1.2.3"), rule)
            attempts.append({"method": method, "url": process.url + path})
    return attempts


OPEN: dict[str, Any] = {"AuthenticationEnabled": False, "RegisteredUsers": {}}
# What the page is called, what the server asks for, and as whom the audit trail knows its user.
PLACES = {
    "same site, other port": ("127.0.0.1", {}, USER),
    "other site, no password": ("localhost", OPEN, None),
}


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Any:
    return PLACES[request.param]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, place: Any) -> Iterator[RouterProcess]:
    """The victim may do everything, as far as roles without a name go."""
    roles = ["administrator", "supervisor", "technician", "governance"]
    users = {} if place[1] else {USER: {"Roles": roles, "Name": "Victim^Vic"}}
    folder = tmp_path_factory.mktemp("csrf")
    with RouterProcess(folder, {"Users": users, "Routes": ROUTES[1:2]}, **place[1]) as process:
        process.wait_state()
        yield process


@pytest.fixture(scope="module")
def study(router: RouterProcess) -> str:
    dataset = photograph()
    router.c_store(dataset)
    (job,) = router.wait_jobs(dataset.StudyInstanceUID)
    assert job["state"] == "COMPLETED", job["reason"]

    def at_rest() -> bool:
        paths = [f"/{level}?expand" for level in ("patients", "studies", "series")]
        return all(each["IsStable"] for path in paths for each in router.rest.get(path).json())

    router.until(at_rest, "rest: Orthanc notes by itself that nothing arrives any more")
    uid: str = dataset.StudyInstanceUID
    return uid


def rows(router: RouterProcess) -> dict[str, list[Any]]:
    """What the router keeps, but for the audit trail: that is where refusals go."""
    file = Path(router.config["AIRouter"]["StateDirectory"]) / "airouter.sqlite"
    names = [table.name for table in tables.metadata.sorted_tables if not table.name.startswith("audit")]
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


def refusals(router: RouterProcess, user: str | None) -> set[tuple[str, str]]:
    """Method and first step of the path of what was refused in the name of this user."""
    file = Path(router.config["AIRouter"]["StateDirectory"]) / "airouter.sqlite"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        texts = [json.loads(row[0]) for row in db.execute("SELECT text FROM audit WHERE kind = 'access refused'")]
    details = [text["detail"] for text in texts if text["user"] == user]
    return {(each["method"], each["path"].split("/")[1]) for each in details if "path" in each}


def test_a_page_of_somebody_else_changes_nothing(
    browser: Browser, router: RouterProcess, study: str, elsewhere: int, place: Any
) -> None:
    host, _, user = place
    attempts = orthanc_attempts(router) + router_attempts(router, study)
    assert len(attempts) > 20
    pid, before = router.pid, (contents(router), rows(router))
    with victim(browser, router.url, "/system") as context:
        count = attack(context, f"http://{host}:{elsewhere}", attempts)
    assert count == 15 * len(attempts)
    assert (router.running, router.pid) == (True, pid)
    assert (contents(router), rows(router)) == before
    # The requests did arrive, and in the name of the victim: what stopped them was not a password that was missing.
    arrived = {("DELETE", "studies"), ("POST", "instances"), ("PUT", "modalities"), ("POST", "ai"), ("DELETE", "ai")}
    router.until(lambda: refusals(router, user) >= arrived, "the records of the refusals")


def test_a_link_from_anywhere_deletes_nothing(
    browser: Browser, router: RouterProcess, study: str, elsewhere: int
) -> None:
    """A letter, another site, and our own pages."""
    target = router.url + "/studies/" + ids(router)["/studies/{id}"]
    before = contents(router)
    with victim(browser, router.url, "/app/explorer.html") as context:
        for origin in (None, f"http://localhost:{elsewhere}", f"{router.url}/app/explorer.html"):
            page = context.new_page()
            link = f"{target}?_method=DELETE"
            with page.expect_response(link) as answered:
                if origin is None:
                    with suppress(Error):  # Chromium shows a page of its own for an answer without a body
                        page.goto(link)
                else:
                    page.goto(origin)
                    page.evaluate("url => { location.href = url }", link)
            assert answered.value.status == 403
    assert contents(router) == before


@pytest.mark.parametrize(
    "way", ["picture", "picture without referrer", "form of an override", "fetch of text", "beacon"]
)
def test_the_attacks_are_real(browser: Browser, tmp_path: Path, elsewhere: int, place: Any, way: str) -> None:
    """An Orthanc without the router, as it is installed: the study is gone, or there are two."""
    host, config, _ = place
    with OrthancProcess(tmp_path, config) as process:
        process.upload(part10(photograph()))
        url = f"{process.url}/studies/{ids(process)['/studies/{id}']}"
        posts = way in ("fetch of text", "beacon")
        made = {"method": "POST", "url": f"{url}/anonymize"} if posts else {"method": "DELETE", "url": url}
        with victim(browser, process.url, "/system") as context:
            attack(context, f"http://{host}:{elsewhere}", [made | {"ways": [way]}])
            deadline = time.monotonic() + 30
            while len(process.rest.get("/studies").json()) == 1 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert len(process.rest.get("/studies").json()) == (2 if posts else 0)


# -- those who may, can -----------------------------------------------------------------------------------------------


def test_orthanc_explorer_works_for_its_administrator(browser: Browser, router: RouterProcess, elsewhere: int) -> None:
    """Its own buttons: a study is anonymised (POST), and the copy deleted (DELETE)."""
    before = router.rest.get("/studies").json()
    with victim(browser, router.url, "/app/explorer.html") as context:
        page = context.new_page()
        page.goto(f"/app/explorer.html#study?uuid={before[0]}")
        _press(page, "Anonymize")
        router.until(lambda: len(router.rest.get("/studies").json()) == len(before) + 1, "the anonymised copy")
        (copy,) = set(router.rest.get("/studies").json()) - set(before)
        page.goto("about:blank")
        page.goto(f"/app/explorer.html#study?uuid={copy}")
        _press(page, "Delete this study")
        router.until(lambda: router.rest.get("/studies").json() == before, "the copy's end")


def _press(page: Page, button: str) -> None:
    page.get_by_role("link", name=button).locator("visible=true").click()
    page.locator(".ui-simpledialog-controls").get_by_text("OK", exact=True).click()
