"""Every route × method × role, with docs/reference/roles.md as what is expected; and who is taken for whom."""

import base64
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from airouter import config
from airouter.config import UserSettings
from airouter.domain.role import Person, Role
from airouter.web.access import Access
from airouter.web.app import create_app
from airouter.web.permissions import AIROUTER, HOLDERS, ORTHANC, Action, of_orthanc
from airouter.web.refusals import Refused
from tests.web_services import Fake

PAGE = (Path(__file__).parents[2] / "docs/reference/roles.md").read_text(encoding="utf-8")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
USERS = {role.value: UserSettings.model_validate({"Roles": [role.value]}) for role in Role}
NOBODY = "nobody"
EVERYBODY = (*USERS, NOBODY)


def section(heading: str) -> list[list[str]]:
    """Cells of the table below a heading of the page, without its head."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (part,) = (p for p in text if p.startswith(heading + "\n"))
    rows = [
        [c.strip().strip("`") for c in line.strip("|\n").split("|")] for line in part.splitlines() if line[:1] == "|"
    ]
    return rows[2:]


MAY = {row[0]: {role for role, cell in zip(Role, row[2:], strict=True) if cell} for row in section("Actions")}
OURS = {tuple(row[0].split(" ", 1)): row[1] for row in section("Routes of the router")}
THEIRS = [(*row[0].split(" ", 1), row[1]) for row in section("Routes of Orthanc")]


def shown(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def header(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()}


# -- the page and the code --------------------------------------------------------------------------------------------


def test_the_page_says_what_the_code_does() -> None:
    assert {action.value: set(HOLDERS[action]) for action in Action} == MAY
    code = {(method, shown(rule)): action.value for (method, rule), action in AIROUTER.items()}
    assert code == OURS, sorted(f"| `{m} {r}` | {a} |" for (m, r), a in code.items() if OURS.get((m, r)) != a)
    assert [(rule.method, rule.path, rule.action.value) for rule in ORTHANC] == THEIRS


@pytest.fixture(scope="module")
def told() -> list[Refused]:
    return []


@pytest.fixture(scope="module")
def client(told: list[Refused]) -> Iterator[FlaskClient]:
    services = replace(Fake(None).services(), access=Access(users=USERS), refused=told.append)
    yield create_app(services).test_client()


def routes(client: FlaskClient) -> list[tuple[str, set[str]]]:
    rules: dict[str, set[str]] = {}
    for rule in client.application.url_map.iter_rules():
        rules.setdefault(str(rule), set()).update((rule.methods or set()) - {"OPTIONS"})
    return sorted(rules.items())


def test_every_route_stands_in_the_table_and_nothing_else(client: FlaskClient) -> None:
    there = {(method, rule) for rule, methods in routes(client) for method in methods - {"HEAD"}}
    assert set(AIROUTER) == there


# -- every route, method, user and form of the path -------------------------------------------------------------------


def filled(rule: str) -> str:
    return re.sub(r"<int:\w+>", "1", re.sub(r"<(?:string:|path:)?\w+>", "1.2.3", rule))


def forms(path: str) -> dict[str, str]:
    """Spellings of a path; what is not `plain` may be another route or none, but never a way round the table."""
    head, _, tail = path.rstrip("/").rpartition("/")
    return {
        "plain": path,
        "slash": path.rstrip("/") + "/",
        "doubled": path.replace("/", "//"),
        "dotted": f"{head}/./{tail}",
        "up": f"{head}/x/../{tail}",
        "encoded": f"{head}/%{ord(tail[:1] or 'x'):02x}{tail[1:]}",
        "upper": path.upper(),
        "space": f"{path}%20",
        "semicolon": f"{path};x",
    }


def ask(client: FlaskClient, method: str, path: str, user: str) -> int:
    body = {"json": {}} if method in ("POST", "PUT") else {}
    headers = {**header(user), "X-Requested-With": "test"}
    return client.open(path, method=method, headers=headers, **body).status_code  # type: ignore[arg-type]


def expected(method: str, rule: str, user: str) -> bool:
    action = OURS.get(("GET" if method == "HEAD" else method, shown(rule)))
    return action == "ask" or (action is not None and user in MAY[action])


def test_the_whole_matrix(client: FlaskClient) -> None:
    cases = 0
    for (rule, methods), method, user in itertools.product(routes(client), METHODS, EVERYBODY):
        may = expected(method, rule, user)
        for form, path in forms(filled(rule)).items():
            if form != "plain" and (may or method not in methods):
                continue  # nothing to get round, or nothing to get to
            status = ask(client, method, path, user)
            cases += 1
            case = (method, path, user, status)
            if form == "plain" and method in methods:
                assert (status == 403) != may, case
            elif status not in (403, 404, 405):
                # Some route answered: then it is one that this user may call.
                found, _ = client.application.url_map.bind("localhost").match(unquote(path), method, return_rule=True)
                assert expected(method, str(found), user), case
    assert cases > 1000


@pytest.mark.parametrize("user", EVERYBODY)
def test_a_route_that_is_not_in_the_table_is_refused(user: str) -> None:
    app = create_app(replace(Fake(None).services(), access=Access(users=USERS)))
    app.add_url_rule("/ai/new", "new", lambda: "secret")
    answer = app.test_client().get("/ai/new", headers=header(user))
    assert (answer.status_code, answer.json["error"]["reason"]) == (403, "no role may use this route")


def test_a_refusal_says_why_and_is_told(client: FlaskClient, told: list[Refused]) -> None:
    told.clear()
    answer = client.get("/ai/imports?limit=3", headers=header("reader"))
    assert answer.status_code == 403
    assert answer.json["error"]["reason"] == "needs the role administrator"
    assert "You are reader." in answer.json["error"]["advice"]
    assert told == [Refused("reader", ("reader",), "GET", "/ai/imports", "needs the role administrator")]
    answer = client.get("/ai/worklist", headers=header(NOBODY))
    assert answer.json["error"]["reason"] == "this user has no role"
    assert "AIRouter.Users" in answer.json["error"]["advice"]
    answer = client.post("/ai/jobs", json={}, headers={**header("administrator"), "Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert told[-1].reason == "cross-site request"


# -- who one is -------------------------------------------------------------------------------------------------------


def test_me(client: FlaskClient) -> None:
    me = client.get("/ai/me", headers=header("supervisor")).json
    assert (me["name"], me["roles"], me["dicom_name"]) == ("supervisor", ["supervisor"], "supervisor")
    assert set(me["may"]) == {action for action, roles in MAY.items() if Role.SUPERVISOR in roles}
    nobody = client.get("/ai/me", headers=header(NOBODY)).json
    assert (nobody["name"], nobody["roles"], nobody["may"]) == (NOBODY, [], ["ask"])


def document(users: Any = None, **changes: Any) -> dict[str, Any]:
    settings = {} if users is None else {"Users": users}
    return {"AuthenticationEnabled": True, "AIRouter": settings, **changes}


def test_users_have_names_and_organizations() -> None:
    users = {"weiss": {"Roles": ["reader", "governance"], "Name": "Weiss^Anna"}, "b": {"Roles": ["reader"]}}
    access = Access.of({"AuthenticationEnabled": True, "AIRouter": {"Users": users, "Organization": "Clinic"}})
    roles = frozenset({Role.READER, Role.GOVERNANCE})
    assert access.identify(header("weiss")["Authorization"]) == Person("weiss", roles, "Weiss^Anna", "Clinic")
    assert access.identify(header("b")["Authorization"]).dicom_name == "b"
    assert access.identify(header("Weiss")["Authorization"]).roles == frozenset()


def test_without_users_everyone_administers() -> None:
    for empty in (document(), document({}), {"AuthenticationEnabled": True}):
        person = Access.of(empty).identify(header("alice")["Authorization"])
        assert (person.name, person.roles) == ("alice", {Role.ADMINISTRATOR})
    assert Access.of(document()).identify(None) == Person(None, frozenset({Role.ADMINISTRATOR}))


def test_where_orthanc_asks_for_no_password_nobody_is_named() -> None:
    """Behind a proxy, or on a machine of one's own: the header says what the client likes."""
    for off in ({"AuthenticationEnabled": False}, {"RemoteAccessAllowed": False, "AuthenticationEnabled": False}):
        anyone = Access.of(document(**off)).identify(header("alice")["Authorization"])
        assert anyone == Person(None, frozenset({Role.ADMINISTRATOR}))
        given = Access.of(document({"alice": {"Roles": ["reader"]}}, **off))
        assert given.identify(header("alice")["Authorization"]) == Person(None, frozenset())
    # Orthanc's default follows RemoteAccessAllowed.
    assert Access.of({"AIRouter": {}}).identify(header("alice")["Authorization"]).name is None
    assert Access.of({"RemoteAccessAllowed": True}).identify(header("alice")["Authorization"]).name == "alice"


def test_users_need_passwords() -> None:
    users = {"alice": {"Roles": ["reader"]}}
    (problem,) = config.problems({"AuthenticationEnabled": False, "AIRouter": {"Users": users}})
    assert (problem.path, problem.reason) == ("AuthenticationEnabled", "must be true where AIRouter.Users names users")


@pytest.mark.parametrize("users", [{"a": {"Roles": ["king"]}}, {"a": {"Roles": []}}, {"a": {}}, [], "a", {"a": None}])
def test_users_that_cannot_be_read_open_nothing(users: Any) -> None:
    assert config.problems(document(users))
    for authorization in (None, header("a")["Authorization"]):
        assert Access.of(document(users)).identify(authorization).roles == frozenset()


def test_other_mistakes_take_nobody_their_role() -> None:
    wrong = {"Users": {"a": {"Roles": ["reader"]}}, "Workers": -1, "Nonsense": 1}
    assert config.problems({"AIRouter": wrong})
    person = Access.of({"AuthenticationEnabled": True, "AIRouter": wrong}).identify(header("a")["Authorization"])
    assert person.roles == {Role.READER}
    assert Access.of({"AIRouter": []}).users == {}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic ", "Basic !", "Basic OnNlY3JldA==", "Bearer YTpi", "Basic /w==", "token"],
)
def test_no_name_no_role(authorization: str | None) -> None:
    assert Access(users=USERS).identify(authorization) == Person(None, frozenset())


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_name_is_taken_as_it_is_and_shown_without_control_characters(name: str, password: str) -> None:
    text = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    person = Access(users=USERS).identify(text)
    assert (person.roles != frozenset()) == (name.partition(":")[0] in USERS)
    assert person.name is None or (person.name.isprintable() and 0 < len(person.name) <= 64)


def test_no_route_of_ours_is_one_of_orthancs() -> None:
    for _, rule in AIROUTER:
        assert of_orthanc("GET", filled(rule)) is Action.ADMINISTER
