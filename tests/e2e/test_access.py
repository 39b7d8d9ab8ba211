"""Roles on a real Orthanc: a user for each role and one without, and every route that Orthanc itself says it has."""

import base64
import http.client
import io
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom import Dataset

from airouter.domain.role import Role
from tests.e2e.samples import photograph
from tests.orthanc_process import ORTHANC, PASSWORD, USER, require_orthanc
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc

ROLES = [role.value for role in Role]
EVERYBODY = [*ROLES, "nobody"]


def part10(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """The test user itself is an administrator and governs."""
    users: dict[str, Any] = {role: {"Roles": [role]} for role in ROLES}
    users[USER] = {"Roles": ["administrator", "governance"]}
    registered = dict.fromkeys([*EVERYBODY, USER], PASSWORD)
    folder = tmp_path_factory.mktemp("access")
    with RouterProcess(folder, {"Users": users}, RegisteredUsers=registered) as process:
        process.wait_state()
        yield process


@pytest.fixture(scope="module")
def source(router: RouterProcess) -> Dataset:
    """A photograph that was analysed: the router's own requests pass by its token, whoever may do what."""
    dataset = photograph()
    router.c_store(dataset)
    (job,) = router.wait_jobs(dataset.StudyInstanceUID)
    assert job["state"] == "COMPLETED", job["reason"]
    assert len(router.evidence(dataset.StudyInstanceUID)) == 1
    return dataset


@pytest.fixture(scope="module")
def clients(router: RouterProcess) -> Iterator[Mapping[str, httpx.Client]]:
    limits = httpx.Limits(keepalive_expiry=0.4)
    made = {
        user: httpx.Client(base_url=router.url, auth=(user, PASSWORD), timeout=30, trust_env=False, limits=limits)
        for user in EVERYBODY
    }
    yield made
    for client in made.values():
        client.close()


def contents(router: RouterProcess) -> Any:
    """Everything in the archive and its settings, as far as requests could change it."""
    paths = (
        "/statistics",
        "/studies?expand",
        "/series?expand",
        "/instances",
        "/changes?limit=1000",
        "/modalities?expand",
    )
    paths += ("/peers?expand", "/tools/log-level", "/tools/default-encoding", "/ai/jobs", "/ai/rescans")
    return [router.rest.get(path).text for path in paths]


@pytest.fixture(scope="module")
def orthancs_routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """From Orthanc's own OpenAPI document, with the identifiers left as they are: `{id}`."""
    require_orthanc()
    file = tmp_path_factory.mktemp("openapi") / "orthanc.json"
    subprocess.run([str(ORTHANC), f"--openapi={file}"], check=True, capture_output=True, timeout=60)
    document = json.loads(file.read_text())
    return [
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods if path != "/ai"
    ]


# Written by hand and not derived from the table: what those who are no administrators may call.
READS = re.compile(r"/|/(patients|studies|series|instances)(/.*)?|/(system|statistics|plugins)(/.*)?")
READ_TOOLS = {"/tools", "/tools/now", "/tools/now-local", "/tools/default-encoding", "/tools/dicom-conformance"}
READ_TOOLS |= {"/tools/labels", "/tools/generate-uid"}


def may(user: str, method: str, path: str) -> bool:
    if user == "nobody":
        return False
    if user == "administrator":
        return True
    if method == "GET":
        logs = path in ("/changes", "/exports") and user == "governance"
        return logs or READS.fullmatch(path) is not None or path in READ_TOOLS
    if method == "POST":
        found = path in ("/tools/find", "/tools/lookup", "/tools/count-resources", "/tools/bulk-content")
        return found or (path == "/instances" and user == "technician")
    return False


def test_every_forbidden_route_of_orthanc_is_refused_and_changes_nothing(
    router: RouterProcess,
    source: Dataset,
    clients: Mapping[str, httpx.Client],
    orthancs_routes: list[tuple[str, str]],
) -> None:
    """Also with the true identifiers in the path, and in other spellings of it."""
    before = contents(router)
    ids = {level: router.rest.get(f"/{level}").json()[0] for level in ("patients", "studies", "series", "instances")}
    cases = 0
    for user, client in clients.items():
        for method, path in orthancs_routes:
            if may(user, method, path):
                continue
            level = path.split("/")[1]
            real = re.sub(r"\{\w+\}", "x", path.replace("{id}", ids.get(level, "x")))
            head, _, tail = real.rpartition("/")
            spellings = [
                real,
                f"/{real}/",
                f"/ai/..{real}",
                f"{head}/./{tail}",
                f"{head}/%{ord(tail[:1] or 'x'):02x}{tail[1:]}",
            ]
            for spelling in spellings if tail else spellings[:1]:
                body = {"content": b"{}"} if method in ("POST", "PUT") else {}
                answer = client.request(method, f"{router.url}{spelling}", **body)  # type: ignore[arg-type]
                assert answer.status_code == 403, (user, method, spelling, answer.status_code)
                cases += 1
    assert cases > 1000
    after = contents(router)
    assert after == before


def test_what_is_allowed_is_answered(
    source: Dataset, clients: Mapping[str, httpx.Client], orthancs_routes: list[tuple[str, str]]
) -> None:
    for user in ROLES[:-1]:
        for method, path in orthancs_routes:
            if may(user, method, path) and "{" not in path and path != "/instances":
                body = {"content": b"{}"} if method == "POST" else {}
                assert clients[user].request(method, path, **body).status_code != 403, (user, method, path)  # type: ignore[arg-type]


def test_readers_read_through_dicomweb_and_explorer(source: Dataset, clients: Mapping[str, httpx.Client]) -> None:
    study = source.StudyInstanceUID
    for user in ROLES:
        client = clients[user]
        found = client.get("/dicom-web/studies", params={"StudyInstanceUID": study}).json()
        assert [s["0020000D"]["Value"] for s in found] == [[study]]
        whole = client.get(
            f"/dicom-web/studies/{study}", headers={"Accept": "multipart/related; type=application/dicom"}
        )
        assert whole.status_code == 200
        assert client.get(f"/dicom-web/studies/{study}/metadata").status_code == 200
        assert client.get("/app/explorer.html").status_code == 200
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study}}
        assert len(client.post("/tools/find", json=query).json()) == 1
    for path in ("/dicom-web/studies", "/app/explorer.html", "/", "/system", "/wado"):
        assert clients["nobody"].get(path).status_code == 403


def stow(client: httpx.Client, dataset: Dataset) -> httpx.Response:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part10(dataset) + b"\r\n--b--\r\n"
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
        "Accept": "application/dicom+json",
    }
    return client.post("/dicom-web/studies", content=body, headers=headers)


@pytest.mark.parametrize("user", EVERYBODY)
def test_technicians_store(router: RouterProcess, clients: Mapping[str, httpx.Client], user: str) -> None:
    rest, web = photograph(), photograph()
    answers = (clients[user].post("/instances", content=part10(rest)), stow(clients[user], web))
    stored = [router.instance_count(d.StudyInstanceUID) > 0 for d in (rest, web)]
    if user in ("technician", "administrator"):
        assert [a.status_code for a in answers] == [200, 200]
        assert stored == [True, True]
    else:
        assert [a.status_code for a in answers] == [403, 403]
        assert stored == [False, False]


def test_an_override_deletes_nothing(
    router: RouterProcess, source: Dataset, clients: Mapping[str, httpx.Client]
) -> None:
    """As a page of another site would send it; see tests/browser for what a browser really sends."""
    (study,) = router.rest.post(
        "/tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": source.StudyInstanceUID}}
    ).json()
    admin = clients["administrator"]
    browser = {"User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
    for name in ("_method=DELETE", "_method=delete", "_method=DELETE&_method=GET", "x=1&_method=DELETE"):
        assert admin.get(f"/studies/{study}?{name}", headers=browser).status_code == 403
        assert clients["reader"].get(f"/studies/{study}?{name}").status_code == 403
    for method in ("GET", "POST", "PUT"):
        answer = admin.request(method, f"/studies/{study}", headers={"X-HTTP-Method-Override": "DELETE"})
        assert answer.status_code == 403
    foreign = {**browser, "Origin": "http://evil.example"}
    assert admin.request("DELETE", f"/studies/{study}", headers=foreign).status_code == 403
    assert router.rest.get(f"/studies/{study}").status_code == 200


def test_huge_and_compressed_bodies_are_refused_before_they_are_read(router: RouterProcess) -> None:
    """The body never comes: who waited for it would not answer."""
    credentials = base64.b64encode(f"administrator:{PASSWORD}".encode()).decode()
    for path, headers in (
        ("/instances", {"Content-Length": str(5 << 30)}),
        ("/ai/jobs", {"Content-Length": str(1 << 30), "Content-Type": "application/json"}),
        ("/instances", {"Content-Length": "1000", "Content-Encoding": "gzip"}),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", router.http_port, timeout=30)
        connection.putrequest("POST", path)
        for name, value in {**headers, "Authorization": f"Basic {credentials}"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 403
        connection.close()


def test_who_one_is(clients: Mapping[str, httpx.Client]) -> None:
    for user, client in clients.items():
        me = client.get("/ai/me").json()
        assert (me["name"], me["roles"]) == (user, [user] if user in ROLES else [])
        assert client.get("/ai/health").status_code == 200
    refused = clients["nobody"].get("/ai/worklist")
    assert refused.status_code == 403
    assert refused.json()["error"]["reason"] == "this user has no role"


def test_refusals_are_in_the_audit_trail(router: RouterProcess, clients: Mapping[str, httpx.Client]) -> None:
    clients["reader"].delete("/patients/never-was")
    file = Path(router.config["AIRouter"]["StateDirectory"]) / "airouter.sqlite"

    def recorded() -> bool:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            texts = [json.loads(row[0]) for row in db.execute("SELECT text FROM audit WHERE kind = 'access refused'")]
        ours = [t for t in texts if t["detail"].get("path") == "/patients/never-was"]
        return [(t["user"], t["roles"], t["detail"]["method"]) for t in ours] == [("reader", ["reader"], "DELETE")]

    router.until(recorded, "the refusal's record")


def test_a_router_that_cannot_be_loaded_gives_nobody_a_role(tmp_path: Path) -> None:
    """Its packages are gone, and with them whoever could check roles: better no HTTP than a DELETE for everybody."""
    with RouterProcess(tmp_path, {"Users": {USER: {"Roles": ["reader"]}}}) as process:
        process.wait_state()
        process.stop()
        process.env |= {"PYTHONEXECUTABLE": "", "AIROUTER_VENV": str(tmp_path / "nowhere")}
        with pytest.raises(AssertionError, match="does not answer"):
            process.wait = 5
            process.start()
        assert "every HTTP request is refused" in process.output()
