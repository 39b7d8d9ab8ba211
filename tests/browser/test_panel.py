"""The reading panel in a browser: what it shows, and what a reader decides with it, by mouse and by keyboard."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FrameLocator, Locator, Page, expect

from phantoms.dicom.parts import NOW
from phantoms.eye_case import field
from tests.browser.conftest import ROUTES, OpenPage, ReadingRoom, room_of
from tests.orthanc_process import PASSWORD, USER

pytestmark = pytest.mark.orthanc

FIELDS: list[dict[str, Any]] = [
    {"Name": "Visual field", "Pipeline": "visual-field", "Match": {"Modality": "OPV"}},
    {"Name": "Field progression", "Pipeline": "field-progression", "Match": {"Modality": "OPV"}},
]
USERS = {
    USER: {"Roles": ["reader", "governance", "administrator"], "Name": "Reader^Ada"},
    "second": {"Roles": ["reader"], "Name": "Reader^Bo"},
    "officer": {"Roles": ["governance"]},
}
SERIOUS = ("serious", "critical")
expect.set_options(timeout=30_000)  # a machine may have other things to do


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadingRoom]:
    """A reading room of this module's own, with readers in it."""
    users = dict.fromkeys(USERS, PASSWORD)
    router = {"Users": USERS, "Routes": [*ROUTES, *FIELDS]}
    with room_of(tmp_path_factory.mktemp("panel"), router, RegisteredUsers=users) as made:
        yield made


@pytest.fixture
def panel(room: ReadingRoom, open_page: OpenPage) -> Iterator[Callable[..., Page]]:
    """Open the panel of a study; afterwards every decision on the studies is withdrawn."""

    def opened(study: str, user: str = USER, **options: Any) -> Page:
        page = open_page(f"/ai/panel?study={study}", user=user, process=room.process, **options)
        page.locator("article.finding").first.wait_for()
        return page

    yield opened
    for case in (room.slide, room.fundus, room.oct):
        standing = room.process.ai(f"studies/{case.study}/findings")["results"]
        withdrawn = [
            {"job": r["job"], "finding": f["key"], "version": f["review"]["version"], "verb": "withdraw"}
            for r in standing
            for f in r["findings"]
            if f["review"]["state"] != "pending"
        ]
        if withdrawn:
            body = {"request": uuid.uuid4().hex, "decisions": withdrawn}
            answer = room.process.rest.post(f"/ai/studies/{case.study}/reviews", json=body)
            assert answer.status_code == 200, answer.text


def finding(page: Page | FrameLocator, label: str) -> Locator:
    return page.locator("article.finding").filter(has=page.get_by_role("heading", name=label)).first


def state(card: Locator) -> Locator:
    return card.locator(".tag[data-state]")


def reviews(room: ReadingRoom, study: str) -> dict[str, Any]:
    found: dict[str, Any] = room.process.ai(f"studies/{study}/reviews")
    return found


def test_every_finding_stands_there_with_its_numbers(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.oct.study)
    results = room.process.results(room.oct.study)
    for result in results:
        section = page.locator(f"section.result[data-job='{result['job']}']")
        expect(section).to_contain_text(f"{result['model']['name']} {result['model']['version']}")
        expect(section).to_contain_text(result["phase"])
        for found in result["findings"]:
            card = finding(page, found["label"])
            expect(state(card)).to_have_text("pending")
            for each in found["measurements"]:
                expect(card).to_contain_text(each["name"]["meaning"])
            for each in found["evaluations"]:
                expect(card).to_contain_text(each["value"]["meaning"])
    expect(page.locator("header")).to_contain_text("Phantom, Eye")
    expect(page.locator("header .reason")).to_have_text(re.compile("thickness|fluid"))
    expect(page.get_by_text("Not a medical device")).to_be_visible()


def test_accepted_amended_rejected_withdrawn(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    study = room.oct.study
    page = panel(study)

    thickness = finding(page, "Macular thickness")
    thickness.get_by_role("button", name="Accept").click()
    expect(state(thickness)).to_have_text("accepted")
    expect(thickness).to_contain_text("Accepted by")

    fluid = finding(page, "Intraretinal fluid")
    fluid.get_by_role("button", name="Amend").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Volume of retinal fluid").fill("0.5")
    dialog.get_by_label("Lies within the central subfield").select_option("No")
    dialog.get_by_label("Comment").fill("measured by hand")
    dialog.get_by_role("button", name="Amend").click()
    expect(state(fluid)).to_have_text("amended")
    expect(fluid.locator("ins")).to_have_text([re.compile("No"), re.compile("0.50 µL")])
    expect(fluid).to_contain_text("measured by hand")

    other = finding(page, "Subretinal fluid")
    other.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Reject").click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose a reason.")
    dialog.get_by_label("False positive").check()
    dialog.get_by_role("button", name="Reject").click()
    expect(state(other)).to_have_text("rejected")
    expect(other).to_contain_text("False positive")

    decisions = {d["finding"]: d for d in reviews(room, study)["decisions"]}
    assert decisions["irf"]["amendment"]["measurements"] and decisions["srf"]["reason"]["value"]
    written = reviews(room, study)["objects"]
    listed = page.locator("details.reviewed li")
    expect(listed).to_have_count(len(written))
    for each in written:
        expect(page.get_by_text(each["sop_instance_uid"])).to_be_visible()

    other.get_by_role("button", name="Withdraw").click()
    page.get_by_role("dialog").get_by_role("button", name="Withdraw").click()
    expect(state(other)).to_have_text("pending")
    expect(page.locator("header .progress")).to_contain_text("2 of ")


def test_a_region_is_moved_and_drawn(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.fundus.study)
    card = page.locator("article.finding").filter(has_text=re.compile("aemorrhage 1|icroaneurysm 1|xudate 1")).first
    label = card.get_by_role("heading").inner_text()
    card.get_by_role("button", name="Amend").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Region", exact=True).click()
    points = dialog.get_by_label("Points: column, row")
    before = points.input_value()
    canvas = dialog.locator("canvas.region")
    canvas.scroll_into_view_if_needed()
    shown = canvas.evaluate("c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                            "return new Set(d.filter((_, n) => n % 4 === 1)).size; }")  # fmt: skip
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 12, y + 9, steps=3)
    page.mouse.up()
    moved = points.input_value()
    assert moved != before
    dialog.get_by_role("button", name="Draw").click()
    page.mouse.move(x - 30, y - 30)
    page.mouse.down()
    for dx, dy in ((30, -30), (30, 30), (-30, 30)):
        page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()
    drawn = points.input_value()
    assert drawn not in (before, moved) and len(drawn.splitlines()) > 6
    dialog.get_by_role("button", name="Amend").click()
    expect(dialog).to_have_count(0)
    card = finding(page, label)
    expect(state(card)).to_have_text("amended")
    expect(card).to_contain_text("region drawn anew")
    kept = next(d for d in reviews(room, room.fundus.study)["decisions"] if d["state"] == "amended")
    sent = [[float(v) for v in line.split(", ")] for line in drawn.splitlines()]
    assert kept["amendment"]["points"] == sent
    assert shown > 20, "the image is not drawn under the region"


def test_all_of_a_result_at_once(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.fundus.study)
    button = page.get_by_role("button", name=re.compile(r"Accept all \d+ pending")).last
    section = page.locator("section.result").filter(has=button).last
    job = section.get_attribute("data-job")
    result = next(r for r in room.process.results(room.fundus.study) if r["job"] == job)
    count = len(result["findings"])
    assert count > 1
    button.click()
    page.get_by_role("dialog").get_by_role("button", name=f"Accept {count}").click()
    section = page.locator(f"section.result[data-job='{job}']")
    expect(section.get_by_role("button", name="Accept all")).to_have_count(0)
    expect(section).to_contain_text(f"{count} findings, {count} decided")
    standing = [d for d in reviews(room, room.fundus.study)["decisions"] if d["job"] == job and d["verb"] == "accept"]
    assert {d["finding"] for d in standing} == {f["key"] for f in result["findings"]}


def test_by_keyboard_alone(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.oct.study)
    cards = page.locator("article.finding")
    page.keyboard.press("j")
    expect(cards.nth(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("a")
    expect(state(cards.nth(0))).to_have_text("accepted")
    expect(cards.nth(1)).to_be_focused()  # the next one that is pending
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("False positive").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(state(cards.nth(1))).to_have_text("rejected")
    page.keyboard.press("k")
    page.keyboard.press("u")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("next pending finding")


def test_of_two_readers_the_second_sees_what_the_first_did(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    first, second = panel(room.oct.study), panel(room.oct.study, user="second")
    finding(first, "Macular thickness").get_by_role("button", name="Accept").click()
    expect(state(finding(first, "Macular thickness"))).to_have_text("accepted")
    finding(second, "Macular thickness").get_by_role("button", name="Reject").click()
    dialog = second.get_by_role("dialog")
    dialog.get_by_label("Other reason").check()
    dialog.get_by_role("button", name="Reject").click()
    expect(second.locator(".notice.message")).to_contain_text("nothing of yours was kept")
    expect(second.locator(".notice.message")).to_contain_text(f"accepted by {USER}")
    expect(state(finding(second, "Macular thickness"))).to_have_text("accepted")


def test_an_answer_that_is_lost_decides_nothing_twice(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.oct.study)
    before = len(reviews(room, room.oct.study)["decisions"])
    sent: list[str] = []

    def lose(route: Any) -> None:
        sent.append(route.request.post_data_json["request"])
        if len(sent) == 1:
            route.fetch()  # the router gets it and answers
            route.abort()
        else:
            route.continue_()

    page.route("**/reviews", lambda route: lose(route) if route.request.method == "POST" else route.continue_())
    finding(page, "Macular thickness").get_by_role("button", name="Accept").click()
    page.get_by_role("button", name="Try again").click()
    expect(state(finding(page, "Macular thickness"))).to_have_text("accepted")
    assert len(sent) == 2 and sent[0] == sent[1]
    assert len(reviews(room, room.oct.study)["decisions"]) == before + 1


def test_who_may_not_review_sees_why(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.oct.study, user="officer")
    expect(page.locator("header .notice")).to_contain_text("governance")
    expect(page.get_by_role("button", name=re.compile("Accept|Amend|Reject|Withdraw|Reading done"))).to_have_count(0)


def seen(images: Locator) -> None:
    """Every picture has arrived and has pixels."""
    for n in range(images.count()):
        image = images.nth(n)
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("i => i.naturalWidth") > 100, image.get_attribute("src")


def test_what_no_viewer_draws_is_there(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.oct.study)
    maps = page.locator("figure[data-kind=map] img")
    expect(maps).to_have_count(len([d for d in room.oct.evidence if d.Modality == "OPM"]))
    assert maps.count() > 0
    seen(page.locator("figure img"))
    page.get_by_role("button", name="Enlarge: Map").first.click()
    expect(page.get_by_role("dialog").locator("img.large")).to_be_visible()
    page = panel(room.slide.study)
    assert page.locator("figure[data-kind=map] img").count() > 0
    seen(page.locator("figure img"))


def test_fields_and_their_trend_are_drawn(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    tests = [field("R", NOW.replace(year=NOW.year - n), 7.0 - n) for n in range(4, -1, -1)]
    room.process.c_store(*tests)
    for each in tests:
        room.process.wait_jobs(str(each.StudyInstanceUID), 2)
    page = panel(str(tests[-1].StudyInstanceUID))
    assert page.locator("figure[data-kind=field] img").count() == 1
    assert page.locator("figure[data-kind=chart] img").count() >= 1
    seen(page.locator("figure img"))
    expect(page.get_by_text("Open images")).to_have_count(0)  # no viewer shows a visual field


def test_reading_done_leads_back_to_the_worklist(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.slide.study)
    page.get_by_role("button", name="Reading done").click()
    page.get_by_role("dialog").get_by_role("button", name="Reading done").click()
    page.wait_for_url("**/ai/")
    assert room.process.ai(f"worklist/{room.slide.study}")["status"] == "read"
    answer = room.process.rest.post(f"/ai/worklist/{room.slide.study}/reopen", json={})
    assert answer.status_code == 200, answer.text


_HOST = """([address, overlays]) => {
  window.heard = [];
  window.addEventListener('message', event => {
    if (event.origin !== location.origin || event.data?.airouter !== 1) return;
    window.heard.push(event.data);
    if (event.data.type === 'ready')
      event.source.postMessage({airouter: 1, type: 'overlays', overlays}, location.origin);
  });
  const frame = document.createElement('iframe');
  frame.src = address;
  frame.title = 'AI';
  frame.width = 320;
  frame.height = 700;
  document.body.replaceChildren(frame);
}"""


def test_in_the_viewer_it_jumps_and_sets_overlays(room: ReadingRoom, panel: Callable[..., Page]) -> None:
    page = panel(room.oct.study)
    overlays = [
        {"series": "1.2", "modality": "SEG", "label": "Layers", "kind": "SEG", "visible": True, "opacity": 0.5,
         "available": True, "reason": ""},
        {"series": "1.3", "modality": "SR", "label": "Regions", "kind": "SR", "visible": False, "opacity": None,
         "available": False, "reason": "not loaded yet"},
    ]  # fmt: skip
    page.evaluate(_HOST, [f"/ai/panel?study={room.oct.study}&embedded=1", overlays])
    frame = page.frame_locator("iframe")
    first = frame.locator("article.finding").first
    first.wait_for()
    assert frame.locator("html").evaluate("h => h.scrollWidth") <= 320

    def heard(kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = page.evaluate("kind => window.heard.filter(m => m.type === kind)", kind)
        return found

    layers = frame.get_by_label("Layers Segmentation")
    expect(layers).to_be_checked()
    layers.uncheck()
    frame.get_by_label("Opacity of Layers").fill("0.8")
    expect(frame.get_by_label("Regions Regions")).to_be_disabled()
    expect(frame.get_by_text("not loaded yet")).to_be_visible()
    first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("h")
    frame.get_by_role("button", name="Macular thickness").click()
    assert [(m["series"], m["visible"], m["opacity"]) for m in heard("overlay")][0:1] == [("1.2", False, 0.5)]
    assert heard("overlay")[-1]["opacity"] == 0.8
    assert heard("hide-all") == [{"airouter": 1, "type": "hide-all", "hidden": True}]
    jumps = heard("jump")
    assert len(jumps) == 2
    result = next(
        r for r in room.process.results(room.oct.study) for f in r["findings"] if f["label"] == "Macular thickness"
    )
    there = next(f for f in result["findings"] if f["label"] == "Macular thickness")
    assert jumps[-1]["tracking_uid"] == there["tracking_uid"]
    assert jumps[-1]["region"]["source"] == there["region"]["source"]
    assert jumps[-1]["region"]["points"] == there["region"]["points"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 820, 1280])
def test_it_is_accessible_and_fits(room: ReadingRoom, panel: Callable[..., Page], width: int, scheme: str) -> None:
    page = panel(room.oct.study, width=width, color_scheme=scheme, bypass_csp=True)  # axe is put into the page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    card = page.locator("article.finding").first
    wrong = [v for v in Axe().run(page).response["violations"] if v["impact"] in SERIOUS]
    card.get_by_role("button", name="Amend").click()
    page.get_by_role("dialog").get_by_text("Region", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wrong += [v for v in Axe().run(page).response["violations"] if v["impact"] in SERIOUS]
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Reject").click()
    page.get_by_role("dialog").wait_for()
    wrong += [v for v in Axe().run(page).response["violations"] if v["impact"] in SERIOUS]
    assert not wrong, [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in wrong]
