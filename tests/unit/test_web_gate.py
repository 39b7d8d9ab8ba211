"""What Orthanc may answer at all: the filter's decision by itself, request by request."""

import base64
import itertools
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.config import UserSettings
from airouter.domain.audit import AuditEvent, AuditKind, Outcome
from airouter.domain.role import Person, Role
from airouter.errors import JournalUnavailable
from airouter.web import csrf
from airouter.web.access import Access
from airouter.web.bridge import screen
from airouter.web.gate import Gate
from airouter.web.refusals import Refusals, Refused

USERS = {role.value: UserSettings.model_validate({"Roles": [role.value]}) for role in Role}
NOBODY = "nobody"
EVERYBODY = (*USERS, NOBODY)
METHODS = ("GET", "POST", "PUT", "DELETE")
ADMINISTRATOR, CLINICAL = {"administrator"}, set(USERS)

# Orthanc's routes as a client names them, and who may call them; written by hand, not derived from the table.
STUDY = "6b9e19d9-62094390-5f9ddb01-4a191ae7-9766b715"
_ADMINISTERED = [
    ("GET", "/modalities"),
    ("PUT", "/modalities/x"),
    ("POST", "/modalities/x/store"),
    ("POST", "/modalities/x/query"),
    ("POST", "/modalities/x/move"),
    ("POST", "/peers/x/store"),
    ("GET", "/peers"),
    ("GET", "/queries"),
    ("GET", "/jobs"),
    ("POST", "/jobs/1/cancel"),
    ("DELETE", "/changes"),
    ("DELETE", "/exports"),
    ("DELETE", f"/studies/{STUDY}"),
    ("DELETE", f"/instances/{STUDY}"),
    ("DELETE", f"/patients/{STUDY}"),
    ("POST", f"/studies/{STUDY}/anonymize"),
    ("POST", f"/studies/{STUDY}/modify"),
    ("POST", f"/studies/{STUDY}/merge"),
    ("POST", f"/studies/{STUDY}/archive"),
    ("POST", f"/instances/{STUDY}/export"),
    ("PUT", f"/studies/{STUDY}/metadata/1024"),
    ("DELETE", f"/studies/{STUDY}/attachments/1024"),
    ("PUT", f"/patients/{STUDY}/protected"),
    ("POST", "/tools/shutdown"),
    ("POST", "/tools/reset"),
    ("POST", "/tools/execute-script"),
    ("POST", "/tools/create-dicom"),
    ("POST", "/tools/create-archive"),
    ("POST", "/tools/bulk-delete"),
    ("POST", "/tools/bulk-modify"),
    ("POST", "/tools/reconstruct"),
    ("PUT", "/tools/log-level"),
    ("PUT", "/tools/default-encoding"),
    ("GET", "/tools/metrics-prometheus"),
    ("GET", "/dicom-web/servers"),
    ("POST", "/dicom-web/servers/x/get"),
    ("DELETE", "/dicom-web/studies/1.2"),
    ("POST", "/dicom-web/studies/1.2/series"),
    ("GET", "/webdav/x"),
    ("PUT", "/webdav/x"),
    ("GET", "/some/other/plugin"),
    ("GET", "/aix"),
    ("GET", "/System"),
    ("GET", "/studiesx"),
    ("GET", "/xstudies"),
    ("GET", "/tools/find"),
]
EXPECTED: Mapping[tuple[str, str], set[str]] = {
    **{("GET", path): CLINICAL for path in ("/", "/system", "/statistics", "/app/explorer.html", "/plugins")},
    **{
        ("GET", f"/{level}{below}"): CLINICAL
        for level in ("patients", "studies", "series", "instances")
        for below in ("", f"/{STUDY}", f"/{STUDY}/archive", f"/{STUDY}/attachments/dicom/data", f"/{STUDY}/a/b/c/d")
    },
    **{("POST", f"/tools/{tool}"): CLINICAL for tool in ("find", "lookup", "count-resources", "bulk-content")},
    **{
        ("GET", f"/dicom-web/{path}"): CLINICAL
        for path in (
            "studies",
            "studies/1.2/series/1.3/instances/1.4/frames/1",
            "series",
            "instances",
            "studies/1.2/rendered",
        )
    },
    ("GET", "/wado"): CLINICAL,
    **{
        ("POST", path): {"technician", "administrator"}
        for path in ("/instances", "/dicom-web/studies", "/dicom-web/studies/1.2")
    },
    **{("GET", path): {"governance", "administrator"} for path in ("/changes", "/exports")},
    **dict.fromkeys(_ADMINISTERED, ADMINISTRATOR),
}


def header(user: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:secret".encode()).decode(), "host": "pacs:8042"}


@pytest.fixture
def gate() -> Gate:
    return Gate(Access(users=USERS))


def passes(gate: Gate, method: str, uri: str, headers: Mapping[str, str], **arguments: str) -> bool:
    return gate.decide(method, uri, headers, arguments).reason is None


def test_the_matrix_of_orthancs_routes(gate: Gate) -> None:
    """Every route × user × spelling: a slash more is the same route, what is not normalised is none."""
    cases = 0
    for ((method, path), holders), user in itertools.product(EXPECTED.items(), EVERYBODY):
        for spelling in (path, path.rstrip("/") + "/", path.replace("/", "//"), f"/{path}//"):
            assert passes(gate, method, spelling, header(user)) == (user in holders), (method, spelling, user)
            cases += 1
        for spelling in (
            f"/./{path}",
            f"/x/..{path}",
            f"{path.rstrip('/')}/..",
            f"/ai/../{path}",
            f"{path.rstrip('/')}/.",
        ):
            assert not passes(gate, method, spelling, header(user)), (method, spelling, user)
            cases += 1
        for spelling in (path.upper(), f"{path}%20", f"{path}x", f"{path}\n", f"{path}\x00"):
            if passes(gate, method, spelling, header(user)):
                # Below a route that is open to this user, everything is; nothing else is opened by a spelling.
                assert user in holders, (method, spelling, user)
            cases += 1
    assert cases > 1000


@given(st.sampled_from(METHODS), st.text(), st.sampled_from(EVERYBODY))
def test_whatever_is_not_known_is_the_administrators(method: str, tail: str, user: str) -> None:
    gate = Gate(Access(users=USERS))
    verdict = gate.decide(method, f"/unknown/{tail}", header(user), {})
    if user != "administrator":
        assert verdict.reason is not None


def test_users_that_cannot_be_read_open_nothing() -> None:
    gate = Gate(
        Access.of({"AuthenticationEnabled": True, "AIRouter": {"Users": {"administrator": {"Roles": ["king"]}}}})
    )
    for (method, path), user in itertools.product(EXPECTED, EVERYBODY):
        assert not passes(gate, method, path, header(user))


def test_without_users_orthanc_is_as_open_as_before() -> None:
    gate = Gate(Access())
    for (method, path), user in itertools.product(EXPECTED, EVERYBODY):
        assert passes(gate, method, path, header(user))
        assert passes(gate, method, path, {"host": "pacs:8042"}), "no password is asked for"


@pytest.mark.parametrize("path", ["/ai", "/ai/", "/ai/worklist", "/ohif/viewer"])
def test_our_own_routes_are_left_to_their_guard(gate: Gate, path: str) -> None:
    for method, user in itertools.product(METHODS, EVERYBODY):
        assert passes(gate, method, path, header(user))


def test_the_dicomweb_plugin_may_be_mounted_elsewhere() -> None:
    gate = Gate.of({"DicomWeb": {"Root": "/pacs/web/", "WadoRoot": "/w"}}, Access(users=USERS))
    assert passes(gate, "GET", "/pacs/web/studies", header("reader"))
    assert passes(gate, "GET", "/w", header("reader"))
    assert not passes(gate, "POST", "/pacs/web/studies", header("reader"))
    assert passes(gate, "POST", "/pacs/web/studies", header("technician"))
    assert not passes(gate, "GET", "/pacs/web/servers", header("reader"))
    # Of the usual place the plugin knows nothing then; what another one puts there is no DICOMweb.
    assert Gate.of({}, Access()).dicom_web == "/dicom-web"


def test_the_router_itself_passes_by_its_token(gate: Gate) -> None:
    mine = {"authorization": "token-of-orthanc", "host": "127.0.0.1"}
    assert not passes(gate, "DELETE", "/studies/x", mine)
    gate.trust("an-earlier-one")
    gate.trust("token-of-orthanc")
    assert passes(gate, "DELETE", "/studies/x", mine)
    assert passes(gate, "POST", "/instances", mine | {"content-length": str(1 << 40)})
    for wrong in ("", "token-of-orthanc ", "Token-of-orthanc", "token-of-orthancx", "Basic token-of-orthanc", "ü"):
        assert not passes(gate, "DELETE", "/studies/x", {"authorization": wrong})


# -- other sites ------------------------------------------------------------------------------------------------------

CHROME = {"user-agent": "Mozilla/5.0 (X11) Chrome/140", "accept-language": "en", "host": "pacs:8042"}
# What browsers send with each way a page has to make them send something, to https or this machine, and to plain http.
FOREIGN = {
    "form": {"origin": "http://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    "form over http": {"origin": "http://evil.example"},
    "form of a sandbox": {"origin": "null"},
    "picture": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "picture over http": {"referer": "http://evil.example/"},
    "picture without referrer": {},
    "picture of the same site": {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    "picture of our own page": {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"},
    "link in a letter": {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    "link on our own page": {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"},
    "other port": {"origin": "http://pacs:8043"},
    "other scheme and port": {"origin": "https://pacs"},
    "name that begins alike": {"origin": "http://pacs:8042.evil.example"},
    "user name": {"origin": "http://pacs:8042@evil.example"},
    "nonsense": {"origin": "http://[pacs:8042"},
    "file": {"origin": "file://pacs:8042"},
    "claims intent": {"origin": "http://evil.example", "x-requested-with": "XMLHttpRequest"},
}
OWN = {
    "fetch": {"origin": "http://pacs:8042", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
    "fetch over http": {"origin": "http://pacs:8042"},
    "capitals": {"origin": "http://PACS:8042"},
    "jQuery of an old browser": {"x-requested-with": "XMLHttpRequest"},
    "fetch without origin": {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
}


@pytest.mark.parametrize("way", FOREIGN)
def test_a_page_of_another_site_changes_nothing(way: str) -> None:
    gate = Gate(Access())
    for method, path in (
        ("POST", "/instances"),
        ("PUT", "/modalities/x"),
        ("DELETE", "/studies/x"),
        ("POST", "/tools/reset"),
    ):
        verdict = gate.decide(method, path, CHROME | header("a") | FOREIGN[way], {})
        assert verdict.reason == "cross-site request"
        assert verdict.person == Person("a", frozenset({Role.ADMINISTRATOR}), "a")
    assert passes(gate, "GET", "/studies", CHROME | header("a") | FOREIGN[way]), "what changes nothing is no danger"


@pytest.mark.parametrize("way", OWN)
def test_our_own_pages_work(way: str) -> None:
    gate = Gate(Access())
    for method in METHODS:
        assert passes(gate, method, "/studies/x", CHROME | header("a") | OWN[way])


@pytest.mark.parametrize("agent", ["curl/8", "python-requests/2.32", "Java/21", "", "dcm4che"])
def test_programs_work(agent: str) -> None:
    for method in METHODS:
        headers = header("a") | {"accept": "*/*", "accept-encoding": "gzip", "user-agent": agent}
        assert passes(Gate(Access()), method, "/studies/x", headers)


def test_a_proxy_that_changes_the_host_is_named() -> None:
    gate = Gate(Access.of({"AIRouter": {"PublicOrigins": ["https://Reading.example", "http://r:81"]}}))
    for origin, fetched in (("https://reading.example", "same-origin"), ("http://r:81", "cross-site")):
        assert passes(gate, "DELETE", "/studies/x", CHROME | {"origin": origin, "sec-fetch-site": fetched})
    for origin in ("http://reading.example", "https://reading.example:444", "https://evil.example", ""):
        assert not passes(gate, "DELETE", "/studies/x", CHROME | {"origin": origin})


def test_a_port_that_the_scheme_implies_may_be_left_out() -> None:
    for origin, host in (("https://pacs", "pacs:443"), ("http://pacs:80", "pacs"), ("https://pacs", "pacs")):
        assert not csrf.foreign({"origin": origin, "host": host})
    assert csrf.foreign({"origin": "https://pacs", "host": "pacs:80"})


# -- methods and bodies -----------------------------------------------------------------------------------------------


def test_methods_are_not_overridden() -> None:
    gate = Gate(Access())
    for method in METHODS:
        assert not passes(gate, method, "/studies/x", header("a") | {"x-http-method-override": "DELETE"})
        assert not passes(gate, method, "/ai/jobs/x", header("a") | {"x-http-method-override": "DELETE"})
    for value in ("DELETE", "", "GET"):
        assert not passes(gate, "GET", "/studies/x", header("a"), _method=value)
    assert passes(gate, "GET", "/studies/x", header("a"), expand="", since="3")


@pytest.mark.parametrize(
    ("path", "headers", "reason"),
    [
        ("/instances", {"content-length": str(4096 << 20)}, None),
        ("/instances", {"content-length": str((4096 << 20) + 1)}, "the body is too large"),
        ("/instances", {"content-length": "9" * 30}, "the length of the body is not a number"),
        ("/instances", {"content-length": "-1"}, "the length of the body is not a number"),
        ("/instances", {"content-length": "²"}, "the length of the body is not a number"),
        ("/instances", {"content-encoding": "gzip"}, "the body is compressed"),
        ("/instances", {"content-encoding": "Identity"}, None),
        ("/dicom-web/studies", {"transfer-encoding": "chunked"}, None),
        ("/ai/jobs", {"transfer-encoding": "chunked"}, "the length of the body is not known"),
        ("/ai/jobs", {"content-length": str(2_000_000_000)}, "the body is too large"),
        ("/ai/quality", {"content-length": str(25 << 20)}, None),
        ("/ai/jobs", {"content-encoding": "gzip"}, "the body is compressed"),
    ],
)
def test_bodies_that_are_refused_before_they_are_read(path: str, headers: dict[str, str], reason: str | None) -> None:
    gate = Gate(Access.of({"AIRouter": {}}))
    assert gate.decide("POST", path, header("a") | headers, {}).reason == reason


def test_bodies_as_settings_allow() -> None:
    gate = Gate(Access.of({"AIRouter": {"MaximumUploadMegabytes": 1, "CompressedRequests": True}}))
    assert passes(gate, "POST", "/instances", {"content-encoding": "gzip", "content-length": str(1 << 20)})
    assert not passes(gate, "POST", "/instances", {"content-length": str((1 << 20) + 1)})


# -- the callback -----------------------------------------------------------------------------------------------------


class Orthanc:
    filter: Any = None

    def RegisterIncomingHttpRequestFilter(self, callback: Any) -> None:  # noqa: N802
        self.filter = callback


def test_the_callback_answers_true_or_false_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    orthanc, seen = Orthanc(), []

    def lets_pass(method: str, uri: str, headers: Mapping[str, str], arguments: Mapping[str, str]) -> Any:
        seen.append((method, uri, dict(headers), dict(arguments)))
        if uri == "/raises":
            raise ValueError("Canary^Patient")
        return "yes" if uri == "/text" else uri == "/true"

    screen(orthanc, lets_pass)  # type: ignore[arg-type]
    assert orthanc.filter("/true", method=1, ip="1.2.3.4", headers={"a": "b"}, get={"c": "d"}) is True
    assert seen == [("GET", "/true", {"a": "b"}, {"c": "d"})]
    assert orthanc.filter("/true", method=4, headers={}) is True
    assert orthanc.filter("/false", method=1, headers={}) is False
    assert orthanc.filter("/text", method=1, headers={}) is False
    for broken in ({"method": 9, "headers": {}}, {"headers": {}}, {"method": "GET"}):
        assert orthanc.filter("/true", **broken) is False
    assert orthanc.filter("/raises", method=1, headers={}) is False
    assert "Canary" not in caplog.text
    assert "ValueError" in caplog.text


def test_what_is_refused_is_told() -> None:
    gate, told = Gate(Access(users=USERS)), []
    assert gate.lets_pass("GET", "/studies", header("reader"), {}, refused=told.append)
    assert not gate.lets_pass("DELETE", "/studies/x\n", header("reader"), {}, refused=told.append)
    assert not gate.lets_pass("GET", "/studies", {}, {}, refused=told.append)
    assert told == [
        Refused("reader", ("reader",), "DELETE", "/studies/x?", "needs the role administrator"),
        Refused(None, (), "GET", "/studies", "nobody is named, so no role is held"),
    ]


# -- on the way to the audit trail ------------------------------------------------------------------------------------

ONE = Refused("a", ("reader",), "DELETE", "/studies/x", "needs the role administrator")
OTHER = Refused("b", (), "GET", "/", "this user has no role")


def drained(refusals: Refusals, record: Any) -> None:
    """Run to the end on a thread of its own, as the router does."""
    refusals.stop()
    thread = threading.Thread(target=refusals.run, args=(record,))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_many_alike_become_one_record() -> None:
    refusals, events = Refusals(), []
    for refused in (ONE, OTHER, ONE, ONE):
        refusals.tell(refused)
    drained(refusals, events.append)
    detail = {"method": "DELETE", "path": "/studies/x", "reason": "needs the role administrator", "times": 3}
    assert events[0] == AuditEvent(AuditKind.REFUSED, "a", ("reader",), outcome=Outcome.MINOR_FAILURE, detail=detail)
    assert [(e.user, e.detail["times"]) for e in events] == [("a", 3), ("b", 1)]


def test_telling_never_waits_and_what_is_lost_is_counted() -> None:
    refusals, events = Refusals(room=2), []
    for n in range(5):
        refusals.tell(Refused(str(n), (), "GET", "/", "x"))
    drained(refusals, events.append)
    assert [(e.user, dict(e.detail).get("not listed")) for e in events] == [("0", None), ("1", None), (None, 3)]


def test_refusals_are_written_while_it_runs() -> None:
    refusals, written = Refusals(gather_seconds=0.01), threading.Event()
    thread = threading.Thread(target=refusals.run, args=(lambda event: written.set(),))
    thread.start()
    refusals.tell(ONE)
    assert written.wait(30)
    refusals.stop()
    thread.join(30)


def test_a_database_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()

    def fails(event: AuditEvent) -> None:
        raise JournalUnavailable("locked")

    refusals.tell(ONE)
    drained(refusals, fails)
    assert "1 refused requests are missing in the audit trail" in caplog.text
