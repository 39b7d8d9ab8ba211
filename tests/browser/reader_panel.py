"""The panel "AI" inside OHIF: what it is told, and what it asks the viewer for, through its own frame."""

from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Frame, Page, expect

_ASK = """([message, answer]) => new Promise(resolve => {
  const take = event => {
    if (event.data?.airouter !== 1 || event.data.type !== answer) return;
    window.removeEventListener('message', take);
    resolve(event.data);
  };
  window.addEventListener('message', take);
  window.parent.postMessage({ airouter: 1, ...message }, window.location.origin);
})"""


class ReaderPanel:
    """The panel of a page of OHIF, once the viewer has told it of overlays."""

    def __init__(self, page: Page, study: str, overlays: int) -> None:
        self.page = page
        frame = page.locator(f'iframe[src^="/ai/panel?study={study}"]')
        expect(frame).to_be_visible(timeout=90_000)
        expect(frame.content_frame.locator("body")).to_contain_text("Overlays", timeout=60_000)
        self.frame: Frame = next(each for each in page.frames if "/ai/panel" in each.url)
        # The objects of a study come one after the other.
        for _ in range(100):
            if len(self.overlays()) >= overlays:
                return
            page.wait_for_timeout(200)
        raise AssertionError(f"{overlays} overlays are not offered: {self.overlays()}")

    def ask(self, message: Mapping[str, Any], answer: str) -> dict[str, Any]:
        """Send a message as the panel's page does, and wait for the answer of that type."""
        found: dict[str, Any] = self.frame.evaluate(_ASK, [dict(message), answer])
        return found

    def overlays(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask({"type": "ready"}, "overlays")["overlays"]
        return found

    def overlay(self, kind: str, label: str = "") -> dict[str, Any]:
        """The first overlay of a kind whose label contains that."""
        found = self.overlays()
        fitting = [each for each in found if each["kind"] == kind and label in each["label"]]
        assert fitting, (kind, label, found)
        return fitting[0]

    def show(self, *series: str, opacity: float = 1.0) -> list[dict[str, Any]]:
        """Show these overlays and no others; what the viewer says of all of them then."""
        told = self.overlays()
        for each in told:
            wanted = {"visible": each["series"] in series, "opacity": opacity}
            if each["available"] and any(each[name] != value for name, value in wanted.items()):
                told = self.ask({"type": "overlay", "series": each["series"], **wanted}, "overlays")["overlays"]
        return told

    def jump(self, region: Mapping[str, Any]) -> dict[str, Any]:
        return self.ask({"type": "jump", "region": dict(region), "tracking_uid": "1.2.3"}, "jumped")
