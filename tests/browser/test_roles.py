"""Each role in a browser: every route of the router that it may not call answers 403 there too, and its pages offer
nothing that would end so."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from playwright.sync_api import expect

from airouter.domain.role import Person, Role
from airouter.web import permissions
from airouter.web.permissions import AIROUTER, HOLDERS, Action
from tests.browser.conftest import OpenPage
from tests.e2e.samples import photograph
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc

ROLES = [role.value for role in Role]
NOBODY = "nobody"  # a user of Orthanc whom `Users` does not name
VALUES: Mapping[str, str] = {"path": "a/b", "region": "1"}


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """With one study on its list."""
    users: dict[str, Any] = {role: {"Roles": [role]} for role in ROLES}
    users[USER] = {"Roles": ["administrator", "reader"]}
    registered = dict.fromkeys([*ROLES, NOBODY, USER], PASSWORD)
    with RouterProcess(tmp_path_factory.mktemp("roles"), {"Users": users}, RegisteredUsers=registered) as process:
        process.wait_state()
        source = photograph()
        process.c_store(source)
        process.wait_jobs(source.StudyInstanceUID)
        yield process


def address(route: str) -> str:
    """A route with something in the place of its variables."""
    return re.sub(r"<(\w+):(\w+)>", lambda found: VALUES.get(found[2], "1.2.3"), route)


@pytest.mark.parametrize("user", [*ROLES, NOBODY])
def test_what_a_role_may_not_do_is_refused(router: RouterProcess, open_page: OpenPage, user: str) -> None:
    roles = frozenset({Role(user)}) if user in ROLES else frozenset()
    page = open_page("/ai/health", user=user, process=router)
    before = router.ai("worklist")["revision"]
    forbidden = [at for at, action in AIROUTER.items() if action is not Action.ASK and not roles & HOLDERS[action]]
    # With what the browser keeps of the user, and the signs of intent that the pages' own requests have.
    own = {"X-Requested-With": "test", "Content-Type": "application/json"}
    answered = {
        (method, route): page.request.fetch(
            address(route), method=method, headers=own, data=None if method == "GET" else "{}", max_redirects=0
        ).status
        for method, route in forbidden
    }
    assert len(forbidden) > (40 if user in ("technician", NOBODY) else 3)
    assert {at: status for at, status in answered.items() if status != 403} == {}
    assert router.ai("worklist")["revision"] == before


@pytest.mark.parametrize("user", ["reader", "supervisor", "governance", "administrator"])
def test_the_pages_offer_what_may_be_done(router: RouterProcess, open_page: OpenPage, user: str) -> None:
    may = permissions.actions(Person(user, frozenset({Role(user)})))
    page = open_page("/ai/", user=user, process=router)
    row = page.locator("tr[data-study]").first
    expect(row).to_be_visible()
    expect(row.get_by_role("button", name=re.compile("^Claim"))).to_have_count(int(Action.CLAIM in may))
    study = str(row.get_attribute("data-study"))
    page.goto(f"/ai/panel?study={study}")
    expect(page.locator("article.finding").first).to_be_visible()
    decide = page.locator("article.finding").first.get_by_role("button", name="Accept")
    expect(decide).to_have_count(int(Action.REVIEW in may))
    assert not [each for each in open_page.refused if each.startswith("403")], "a page asked for what it may not have"


@pytest.mark.parametrize("user", ["technician", NOBODY])
def test_who_may_not_read_is_told_so(router: RouterProcess, open_page: OpenPage, user: str) -> None:
    page = open_page("/ai/", user=user, process=router)
    expect(page.locator("body")).to_contain_text(re.compile("role", re.IGNORECASE))
    assert page.locator("tr[data-study]").count() == 0
