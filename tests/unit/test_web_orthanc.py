"""The application mounted in a real Orthanc: what a client sees is what the application said."""

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.orthanc_process import USER, OrthancProcess
from tests.web_services import DONE, PATIENT, RUNNING, STUDY

ROOT = Path(__file__).parents[2]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")

SCRIPT = """
import sys, threading
from pathlib import Path
sys.path[:0] = [{root!r}, {plugin!r}]
import orthanc
from flask import Response
from airouter.web.app import create_app
from airouter.web.bridge import mount
from airouter.web.permissions import AIROUTER, Action
from airouter.web.threads import large_stack_pool
from tests.web_services import Fake, filled

fake = Fake(filled(Path({folder!r})))
app = create_app(fake.services())
AIROUTER.update({{("GET", f"/ai/test/{{name}}"): Action.STATUS for name in ("wait", "entered", "leave", "asked")}})
leave, entered = threading.Event(), threading.Semaphore(0)

@app.get("/ai/test/wait", doc_ui=False)
def wait():
    entered.release()
    leave.wait(30)
    return Response("{{}}", mimetype="application/json")

@app.get("/ai/test/entered", doc_ui=False)
def wait_entered():
    entered.acquire(timeout=30)
    return Response("{{}}", mimetype="application/json")

@app.get("/ai/test/leave", doc_ui=False)
def let_go():
    leave.set()
    return Response("{{}}", mimetype="application/json")

@app.get("/ai/test/asked", doc_ui=False)
def asked():
    users = [user for _, user in fake.submitted]
    return Response(__import__("json").dumps([users, fake.cancelled]), mimetype="application/json")

pool = large_stack_pool(8)
mount(orthanc, app, pool, waiting=8)

def on_change(kind, level, id):
    if kind == orthanc.ChangeType.ORTHANC_STOPPED:
        leave.set()
        pool.shutdown(cancel_futures=True)
        fake.journal.close()

orthanc.RegisterOnChangeCallback(on_change)
"""

pytestmark = pytest.mark.orthanc


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancProcess]:
    if not PLUGIN.exists():
        pytest.skip(f"{PLUGIN} is not installed (Debian: apt-get install orthanc-python)")
    folder = tmp_path_factory.mktemp("web")
    script = folder / "web_test.py"
    script.write_text(SCRIPT.format(root=str(ROOT), plugin=str(ROOT / "plugin"), folder=str(folder)))
    config = {"Plugins": [str(PLUGIN)], "PythonScript": str(script), "DicomServerEnabled": False}
    # Leaving the `with` also asserts that SIGTERM ends it with return code 0.
    with OrthancProcess(folder, config, env={"PYTHONEXECUTABLE": sys.executable}) as process:
        yield process


@pytest.fixture
def rest(orthanc: OrthancProcess) -> httpx.Client:
    return orthanc.rest


def one_type(answer: httpx.Response) -> None:
    """Ours, or the only one that Orthanc 1.12.2 and later let an answer have that is not 200."""
    assert answer.headers.get_list("Content-Type") in (["application/json"], ["text/plain"])


def is_error(answer: httpx.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    one_type(answer)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    error = answer.json()["error"]
    assert set(error) == {"reason", "advice"}
    return error


def test_answers_come_through_unchanged(rest: httpx.Client) -> None:
    health = rest.get("/ai/health")
    assert health.status_code == 200
    assert health.headers.get_list("Content-Type") == ["application/json"]
    assert health.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in health.headers["Content-Security-Policy"]
    assert health.headers["Cache-Control"] == "no-store"
    assert health.json()["state"] == "running"
    assert rest.get("/ai/metrics").headers["Content-Type"].startswith("text/plain; version=")
    assert rest.get("/ai/openapi.json").json()["openapi"].startswith("3.1")
    assert rest.get(f"/ai/studies/{STUDY}/findings").json()["results"][0]["job"] == DONE


def test_queries_arrive_decoded(rest: httpx.Client) -> None:
    for state in ("IN%20PROGRESS", "IN+PROGRESS", "IN_PROGRESS"):
        assert [j["key"] for j in rest.get(f"/ai/jobs?state={state}").json()["jobs"]] == [RUNNING]
    is_error(rest.get("/ai/jobs?state=a%26limit=1"), 422)


def test_errors_come_through_unchanged(rest: httpx.Client) -> None:
    for path in ("/ai/nothing", "/ai/jobs/none", "/ai/jobs/a%2Fb%3Fc%23d"):
        is_error(rest.get(path), 404)
    is_error(rest.get("/ai/jobs?limit=0"), 422)
    is_error(rest.post("/ai/jobs", content="{"), 415)
    is_error(rest.post("/ai/jobs", content="{", headers={"Content-Type": "application/json"}), 400)
    is_error(rest.post("/ai/jobs", json={}), 422)
    is_error(rest.post("/ai/jobs", json={"study": "9.9"}), 404)
    is_error(rest.post("/ai/jobs", json={"study": "1" * (1 << 20)}), 413)
    is_error(rest.delete(f"/ai/jobs/{DONE}", headers={"X-Requested-With": "test"}), 409)


def test_a_wrong_method_names_the_right_ones(rest: httpx.Client) -> None:
    for answer in (rest.put("/ai/jobs", json={}), rest.delete("/ai/jobs", headers={"X-Requested-With": "test"})):
        assert answer.status_code == 405
        assert {"GET", "POST"} <= set(re.split(r",\s*", answer.headers["Allow"]))
        assert answer.content == b""  # Orthanc lets a 405 have no body


def test_a_wish_is_accepted_in_the_name_of_the_user(rest: httpx.Client) -> None:
    answer = rest.post("/ai/jobs", json={"study": STUDY})
    assert answer.status_code == 202
    one_type(answer)
    assert answer.json()["jobs"] == [DONE]
    users, _ = rest.get("/ai/test/asked").json()
    assert users[-1] == USER


def test_other_sites_cannot_cancel_through_method_overrides(rest: httpx.Client) -> None:
    target = f"/ai/jobs/{RUNNING}"
    cross = {"Sec-Fetch-Site": "cross-site"}
    is_error(rest.get(target, params={"_method": "DELETE"}), 403)
    is_error(rest.get(target, params={"_method": "DELETE"}, headers=cross), 403)
    is_error(rest.post(target, headers={"X-HTTP-Method-Override": "DELETE"}), 403)
    is_error(rest.post("/ai/jobs", json={"all": True}, headers={"Origin": "https://evil.example"}), 403)
    assert rest.get("/ai/test/asked").json()[1] == []


def test_a_deep_body_does_not_take_the_server_down(orthanc: OrthancProcess, rest: httpx.Client) -> None:
    pid = orthanc.pid
    headers = {"Content-Type": "application/json"}
    for depth in (200, 900, 5000, 200_000):
        is_error(rest.post("/ai/jobs", content="[" * depth + "]" * depth, headers=headers), 400)
        nested = '{"study":' * depth + "1" + "}" * depth
        if len(nested) < 1 << 20:
            answer = rest.post("/ai/jobs", content=nested, headers=headers)
            # How deep a document may be differs between versions of Python; one that is too deep is no JSON.
            is_error(answer, 400 if depth >= 1000 and answer.status_code == 400 else 422)
    assert (orthanc.running, orthanc.pid) == (True, pid)
    assert rest.get("/ai/health").status_code == 200


def test_a_failure_names_no_patient(orthanc: OrthancProcess, rest: httpx.Client) -> None:
    answer = rest.post("/ai/jobs", json={"study": "9.500"})
    error = is_error(answer, 500)
    (id,) = re.findall(r"\b[0-9a-f]{12}\b", error["advice"])
    log = orthanc.output()
    assert PATIENT not in answer.text + log
    assert any("ValueError" in line and id in line for line in log.splitlines())


def test_many_at_once_are_served_or_told_to_wait(orthanc: OrthancProcess, rest: httpx.Client) -> None:
    with ThreadPoolExecutor(7) as clients:
        slow = [clients.submit(rest.get, "/ai/test/wait") for _ in range(7)]
        for _ in slow:
            rest.get("/ai/test/entered")
        # Seven of the eight places are taken: one request at a time is served, and Orthanc itself all along.
        assert rest.get("/ai/health").status_code == 200
        assert rest.get("/system").status_code == 200
        rest.get("/ai/test/leave")
        assert [s.result().status_code for s in slow] == [200] * 7
    with ThreadPoolExecutor(24) as clients:
        statuses = [a.status_code for a in clients.map(rest.get, ["/ai/health"] * 120)]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 8
    assert orthanc.running
    assert json.loads(rest.get("/ai/health").text)["state"] == "running"
