"""Pictures of the reading room for docs/images: a real Orthanc, generated patients, Chromium."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the room is that of the browser tests

from tests.browser import viewer  # noqa: E402
from tests.browser.conftest import CHROMIUM, FLAGS, HEIGHT, ROUTES, WIDTH, ReadingRoom, room_of  # noqa: E402
from tests.browser.reader_panel import ReaderPanel  # noqa: E402
from tests.orthanc_process import PASSWORD, USER  # noqa: E402

IMAGES = ROOT / "docs" / "images"
USERS = {USER: {"Roles": ["reader", "governance", "administrator"], "Name": "Reader^Rhea"}}
TABLET = 820


def main() -> None:
    """Write every picture anew."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        room_of(Path(folder), {"Users": USERS, "Routes": ROUTES}) as room,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        for width, name in ((WIDTH, "worklist"), (TABLET, "worklist-tablet")):
            page = _page(browser, room, "/ai/", width)
            page.locator("tr[data-study] img").first.wait_for()
            page.wait_for_load_state("networkidle")
            _shoot(page, name)
            if width == WIDTH:
                page.locator("tr[data-study] .why").first.click()
                page.get_by_role("dialog").wait_for()
                _shoot(page, "why-here")
        for case, address, name in (
            (room.slide, viewer.microscopy(room.slide.study), "viewer-slide"),
            (room.fundus, viewer.basic(room.fundus.study), "viewer-photograph"),
            (room.oct, viewer.basic(room.oct.study), "viewer-tomography"),
        ):
            page = _page(browser, room, address, WIDTH)
            if case is not room.slide:
                viewer.wait_image(page)
            ReaderPanel(page, case.study, overlays=2)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(2_000)  # OHIF fades its messages out
            _shoot(page, name)
        page = _page(browser, room, f"/ai/panel?study={room.oct.study}", TABLET)
        page.locator("figure img").first.wait_for()
        page.wait_for_load_state("networkidle")
        _shoot(page, "panel-tablet")
        browser.close()


def _page(browser, room: ReadingRoom, path: str, width: int) -> Page:  # type: ignore[no-untyped-def]
    context = browser.new_context(
        base_url=room.process.url,
        viewport={"width": width, "height": HEIGHT},
        http_credentials={"username": USER, "password": PASSWORD},
    )
    page: Page = context.new_page()
    page.goto(path)
    return page


def _shoot(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    main()
