"""The worklist in a browser: what is on it, how it stays current, and how it is used."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from airouter.adapters import reading_rows, tables
from airouter.domain.priority import Priority, Reading
from airouter.domain.role import Person, Role
from airouter.domain.study import Modality
from airouter.web.services import Health, RouterState
from phantoms.worklist import fill
from tests.browser.conftest import OpenPage, ReadingRoom
from tests.browser.reading_desk import Desk, desk, login

See = Callable[..., Page]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """The page looks for news every five seconds; what else is waited for comes sooner."""
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Desk]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with desk(tmp_path) as started:
        yield started


@pytest.fixture
def see(served: Desk, open_page: OpenPage) -> See:
    """Open the page as one of the users."""

    def opened(path: str = "/ai/", user: str = "ann", **context: Any) -> Page:
        where = cast("Any", SimpleNamespace(url=served.url))
        return open_page(path, user=None, process=where, extra_http_headers=login(user), **context)

    return opened


def rows(page: Page) -> Locator:
    return page.locator("tr[data-study]")


def row(page: Page, study: str) -> Locator:
    return page.locator(f'tr[data-study="{study}"]')


def shown(page: Page) -> list[str]:
    """UIDs of the rows, from the top."""
    return [str(each.get_attribute("data-study")) for each in rows(page).all()]


def test_a_row_says_who_what_why_and_how_long(served: Desk, see: See) -> None:
    urgent = served.study(1, Priority.STAT, "Canary^<script>alert(1)</script>")
    calm = served.study(2)
    page = see()
    expect(rows(page)).to_have_count(2)
    assert shown(page) == [urgent, calm]
    first = row(page, urgent)
    for text in (
        "STAT",
        "Canary",
        "<script>alert(1)</script>",
        "P1",
        "1960-01-01",
        "OP",
        "right eye",
        "0/2 decided",
    ):
        expect(first).to_contain_text(text)
    expect(first).to_contain_text("STAT because of a")
    expect(first).to_contain_text("R a · R b")
    assert first.get_by_role("link", name=re.compile("^Open")).get_attribute("href") == (
        f"/ohif/viewer?StudyInstanceUIDs={urgent}"
    )
    expect(page.get_by_text("Not a medical device")).to_be_visible()


def test_tabs_and_filters_narrow_the_list_and_stand_in_the_address(served: Desk, see: See) -> None:
    full = served.study(1)
    slide = served.study(2, modality=Modality.SM, name="Slide^Sue")
    released = served.study(3, reading=Reading.REVIEW_AND_RELEASE)
    read = served.study(4)
    served.room.complete(read, Person("bob", frozenset({Role.READER})))
    page = see()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Review & Release 1").click()
    expect(row(page, released)).to_be_visible()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Read 1", exact=True).click()
    expect(row(page, read)).to_contain_text("by bob")
    page.get_by_role("button", name="Full reading 2").click()
    page.get_by_label("Modality").select_option("SM")
    expect(rows(page)).to_have_count(1)
    expect(row(page, slide)).to_be_visible()
    assert "modality=SM" in page.url
    page.reload()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Clear filters").click()
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("sue slide")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("nobody")
    expect(page.get_by_text("No study is here with these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    expect(row(page, full)).to_be_visible()


def test_news_come_without_a_reload_and_keep_selection(served: Desk, see: See) -> None:
    first = served.study(1)
    page = see()
    row(page, first).click(position={"x": 300, "y": 20})
    expect(row(page, first)).to_have_attribute("aria-selected", "true")
    page.evaluate("window.stillTheSamePage = true")
    urgent = served.study(2, Priority.STAT)
    expect(row(page, urgent)).to_be_visible()
    assert shown(page) == [urgent, first]
    expect(row(page, first)).to_have_attribute("aria-selected", "true")
    served.room.claim(urgent, Person("bob", frozenset({Role.READER})))
    expect(row(page, urgent)).to_contain_text("reading: bob")
    expect(row(page, urgent).get_by_role("button", name=re.compile("^Claim"))).to_be_disabled()
    served.lines.remove(f"id-{first}")
    expect(row(page, first)).to_have_count(0)
    assert page.evaluate("window.stillTheSamePage")


def test_it_is_used_by_keys_alone(served: Desk, see: See) -> None:
    one, two, three = (served.study(n, priority) for n, priority in enumerate(list(Priority)[:3], 1))
    page = see()
    expect(rows(page)).to_have_count(3)
    for key, study in (("j", one), ("j", two), ("j", three), ("k", two)):
        page.keyboard.press(key)
        expect(row(page, study)).to_be_focused()
    page.keyboard.press("x")
    why = page.get_by_role("dialog", name=re.compile("Why here"))
    for text in ("HIGH from the AI", "HIGH because of a", "4 h", "2 of 3 in Full reading"):
        expect(why).to_contain_text(text)
    expect(why).to_contain_text("STAT is more urgent than HIGH")
    expect(why).to_contain_text("HIGH is more urgent than ROUTINE")
    page.keyboard.press("Escape")
    expect(why).to_have_count(0)
    page.keyboard.press("c")
    expect(row(page, two)).to_contain_text("reading: you")
    page.keyboard.press("u")
    expect(row(page, two)).not_to_contain_text("reading: you")
    page.keyboard.press("m")
    expect(row(page, two)).to_have_count(0)
    expect(page.locator("#toast")).to_contain_text("is read; 2 findings are not decided")
    page.keyboard.press("u")
    expect(row(page, two)).to_be_visible()
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keys")
    expect(help_).to_contain_text("explain why it stands here")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    expect(page.get_by_role("button", name=re.compile("^Read"))).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("1")
    expect(rows(page)).to_have_count(3)
    page.route("**/ohif/**", lambda route: route.fulfill(body="the viewer"))
    page.keyboard.press("g")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ohif/viewer?StudyInstanceUIDs={one}")


def test_a_priority_is_set_with_a_reason_shown_and_taken_back(served: Desk, see: See) -> None:
    served.study(1, Priority.HIGH)
    calm = served.study(2)
    page = see()
    row(page, calm).click(position={"x": 300, "y": 20})
    page.keyboard.press("e")
    asked = page.get_by_role("dialog")
    asked.locator("select").select_option("STAT")
    asked.get_by_role("button", name="Set priority").click()
    expect(asked).to_contain_text("Say why.")
    asked.get_by_label("Why").fill("the surgeon waits")
    asked.get_by_role("button", name="Set priority").click()
    expect(row(page, calm)).to_contain_text("set by hand")
    expect(rows(page).first).to_have_attribute("data-study", calm)
    row(page, calm).get_by_role("button", name=re.compile("why here")).click()
    why = page.get_by_role("dialog")
    expect(why).to_contain_text("the surgeon waits")
    expect(why).to_contain_text("the AI cannot change it")
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    expect(row(page, calm)).not_to_contain_text("set by hand")
    expect(rows(page).last).to_have_attribute("data-study", calm)


def test_of_two_readers_one_gets_the_study_and_the_other_is_told(served: Desk, see: See) -> None:
    study = served.study(1)
    ann, bob = see(user="ann"), see(user="bob")
    for page in (ann, bob):
        expect(row(page, study)).to_be_visible()
        page.route("**/ai/worklist?*", lambda route: route.abort())  # neither sees what the other does
    ann.get_by_role("button", name=re.compile("^Claim Patient1")).click()
    expect(ann.locator("#toast")).to_contain_text("Claimed: Patient1")
    bob.get_by_role("button", name=re.compile("^Claim Patient1")).click()
    expect(bob.locator("#toast")).to_contain_text("ann reads the study at present")
    expect(row(bob, study)).to_contain_text("reading: ann")


def test_claims_race_over_rest(served: Desk) -> None:
    study = served.study(1)
    body: dict[str, Any] = {}
    answers = [
        httpx.post(f"{served.url}/ai/worklist/{study}/claim", json=body, headers=login(name)) for name in ("ann", "bob")
    ]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[0].json()["claimed_by"] == "ann"
    assert answers[1].json()["study"]["claimed_by"] == "ann"
    assert "ann" in answers[1].json()["error"]["reason"]


def test_each_role_sees_what_it_may_do(served: Desk, see: See) -> None:
    served.study(1)
    for user, claims, assigns in (("ann", True, False), ("eve", True, True), ("gus", False, False)):
        page = see(user=user)
        expect(rows(page)).to_have_count(1)
        page.keyboard.press("j")
        expect(page.get_by_role("link", name=re.compile("^Open ↵|^Open"))).to_have_count(2)
        expect(page.get_by_role("button", name=re.compile("^Mark as read"))).to_have_count(int(claims))
        if claims:
            page.keyboard.press("a")
            options = page.get_by_role("dialog").locator("option")
            expect(options).to_have_text(["nobody", "eve", "ann", "bob"] if assigns else ["nobody", user])
            page.keyboard.press("Escape")


def test_it_says_when_the_router_does_not_run_or_is_behind(served: Desk, see: See, open_page: OpenPage) -> None:
    study = served.study(1)
    served.fake.state = Health(RouterState.RUNNING, queue_depth=31, intake_lag_seconds=900)
    page = see()
    expect(page.get_by_text("AI behind")).to_be_visible()
    expect(page.get_by_text("31 analyses wait, the oldest study has waited 15 min")).to_be_visible()
    served.fake.state = Health(RouterState.REFUSED, reason="Models is no key")
    page = see()
    expect(page.get_by_text("The AI router is not running: it is refused (Models is no key).")).to_be_visible()
    expect(page.get_by_text("ordered by the usual rule")).to_be_visible()
    expect(row(page, study)).to_be_visible()
    page.route("**/ai/health", lambda route: route.abort())
    page.route("**/ai/worklist?*", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("The server does not answer.").first).to_be_visible()
    open_page.tolerate("Failed to fetch")


def test_ten_thousand_studies(served: Desk, see: See) -> None:
    fill(served.journal.store, 10_000)
    page = see()
    expect(rows(page).first).to_be_visible()
    count = int(page.locator(".filters .total").inner_text().split()[0].replace(",", ""))
    assert count > 7000

    def bounded() -> bool:
        return 0 < rows(page).count() < 60 and int(page.evaluate("document.querySelectorAll('*').length")) < 3000

    assert bounded()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(count + 1))
    page.keyboard.press("G")
    expect(page.locator(f'tr[aria-rowindex="{count + 1}"][data-study]')).to_be_focused()
    expect(page.locator(f'tr[aria-rowindex="{count + 1}"]')).to_contain_text(f"#{count}")
    assert bounded()
    for part in (0.25, 0.5, 0.75):
        page.evaluate(f"const list = document.getElementById('list'); list.scrollTop = {part} * list.scrollHeight")
        place = int(part * count)
        seen = page.locator(f'tr[aria-rowindex="{place + 2}"]')
        expect(seen).to_contain_text(f"#{place + 1} why?")
        assert bounded()
    last = served.study(20_001, Priority.STAT, "Zz^Newest")
    page.get_by_label("Search").fill("newest")
    expect(row(page, last)).to_be_visible()


def test_what_one_reads_stays_in_place_when_news_come_before_it(served: Desk, see: See) -> None:
    fill(served.journal.store, 300, seed=3)
    page = see()
    expect(rows(page).first).to_be_visible()
    page.evaluate("document.getElementById('list').scrollTop = 74 * 40")
    held = page.locator('tr[aria-rowindex="42"][data-study]')
    expect(held).to_be_visible()
    study = str(held.get_attribute("data-study"))
    top = page.evaluate("uid => document.querySelector(`tr[data-study='${uid}']`).getBoundingClientRect().top", study)
    served.room.set_priority(
        served.study(20_002), Person("eve", frozenset({Role.SUPERVISOR})), Priority.STAT, "first of all"
    )
    with served.journal.store.write() as db:  # it came a week ago, so that it stands before all the others
        table = tables.reading
        long_ago = {"arrived": "2020-01-01T00:00:00.000000+00:00", "due": "2020-01-01T00:00:00.000000+00:00"}
        db.execute(table.update().where(table.c.study_uid == "1.2.20002").values(long_ago))
        reading_rows.bump(served.journal.store, db)
    expect(row(page, study)).to_have_attribute("aria-rowindex", "43")
    now = page.evaluate("uid => document.querySelector(`tr[data-study='${uid}']`).getBoundingClientRect().top", study)
    assert abs(now - top) <= 1


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1280, 800, "light"), (820, 1180, "light"), (1280, 800, "dark")]
)
def test_it_is_accessible(served: Desk, see: See, width: int, height: int, scheme: str) -> None:
    fill(served.journal.store, 40)
    served.study(1, Priority.STAT)
    page = see(user="eve", width=width, height=height, color_scheme=scheme)
    expect(rows(page).first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page.locator("#toast")).to_be_visible()
    _no_violation(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    page.keyboard.press("x")
    expect(page.get_by_role("dialog")).to_be_visible()
    _no_violation(page)


def _no_violation(page: Page) -> None:
    found = Axe().run(page)
    serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, found.generate_report()


def test_the_studies_of_a_real_archive_with_their_pictures(reading_room: ReadingRoom, open_page: OpenPage) -> None:
    page = open_page("/ai/")
    for case, modality, viewer in (
        (reading_room.slide, "SM", "microscopy"),
        (reading_room.fundus, "OP", "viewer"),
        (reading_room.oct, "OPT", "viewer"),
    ):
        line = row(page, case.study)
        expect(line).to_contain_text(modality)
        link = line.get_by_role("link", name=re.compile("^Open"))
        assert link.get_attribute("href") == f"/ohif/{viewer}?StudyInstanceUIDs={case.study}"
        picture = line.locator("img")
        expect(picture).to_have_js_property("complete", True)
        page.wait_for_function(
            "uid => document.querySelector(`tr[data-study='${uid}'] img`)?.naturalWidth > 32", arg=case.study
        )
        answer = reading_room.process.rest.get(f"/ai/studies/{case.study}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.content[:2] == b"\xff\xd8"
        tag = answer.headers["etag"]
        again = reading_room.process.rest.get(f"/ai/studies/{case.study}/thumbnail", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
    listed = reading_room.process.rest.get("/ai/worklist")
    tag = listed.headers["etag"]
    assert reading_room.process.rest.get("/ai/worklist", headers={"If-None-Match": tag}).status_code == 304
