"""A browser before a router with three analysed studies. Everything a browser test needs:

    def test_something(reading_room: ReadingRoom, open_page: OpenPage) -> None:
        page = open_page("/ai/")                      # logged in, 1280 x 800, loaded; a Page of playwright's sync API
        page = open_page("/ai/panel", width=820)      # another width, e.g. a tablet's
        page = open_page("/ai/", user="reader", password="...")   # another user of Orthanc (as room.process knows them)
        page.get_by_role("button", name="Accept").click()
        expect(page.get_by_text("accepted")).to_be_visible()      # playwright waits; no sleeps

`reading_room` (one for all tests of a run: leave what you change as it was, or make a router of your own by `room_of`)
has `.process`, a tests.router_process.RouterProcess, and `.slide`, `.fundus`, `.oct`: a Case each, with `.study` (UID),
`.sources`, `.results` (of GET /ai/studies/{uid}/findings) and `.evidence` (the objects written, pydicom), and
`.object("SEG")`, `.object("SR", "retina")` to pick one by modality and part of its series description.

`open_page` fails the test when it ends if a page had an uncaught error or its Content-Security-Policy stopped anything.
A test that provokes such things says so: `open_page.tolerate("part of the message")`. Every page keeps what its console
said in `open_page.console`, and the addresses of answers of status 400 and above in `open_page.refused`.

tests.browser.pixels compares screenshots; tests.browser.viewer knows OHIF's two modes (ready conditions, transforms,
showing and hiding overlays). Where Chromium or the viewer is not installed the tests skip and say how to get it.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Response, sync_playwright
from pydicom import Dataset

from phantoms.dicom.parts import NOW
from phantoms.eye_case import photograph, scan
from tests.e2e.samples import stained_slide
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import ROOT, RouterProcess

CHROMIUM = os.environ.get("AIROUTER_CHROMIUM") or shutil.which("chromium")
# Without a GPU, and without a request to anybody but the router.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
WIDTH, HEIGHT = 1280, 800

ROUTES: list[dict[str, Any]] = [
    {"Name": "Nuclei", "Pipeline": "nuclear-positivity", "Model": "nuclei", "Match": {"Modality": "SM"}},
    {
        "Name": "Critical findings",
        "Pipeline": "critical-findings",
        "Model": "fundus-lesions",
        "Companions": {"gradability": "fundus-quality"},
        "Match": {"Modality": "OP"},
        "Priority": "HIGH",
    },
    {
        "Name": "Diabetic retinopathy",
        "Pipeline": "diabetic-retinopathy",
        "Model": "dr-grade",
        "Companions": {"gradability": "fundus-quality", "lesions": "fundus-lesions"},
        "Match": {"Modality": "OP"},
    },
    {"Name": "Macular oedema", "Pipeline": "macular-oedema", "Model": "retina-layers", "Match": {"Modality": "OPT"}},
]


@dataclass(frozen=True)
class Case:
    """One study, analysed."""

    study: str
    sources: Sequence[Dataset]
    results: Sequence[Mapping[str, Any]]
    evidence: Sequence[Dataset]

    def object(self, modality: str, described: str = "") -> Dataset:
        """The first object of a modality whose series description contains that."""
        found = [ds for ds in self.evidence if ds.Modality == modality and described in ds.SeriesDescription]
        assert found, (modality, described, [(ds.Modality, ds.SeriesDescription) for ds in self.evidence])
        return found[0]


@dataclass(frozen=True)
class ReadingRoom:
    process: RouterProcess
    slide: Case
    fundus: Case
    oct: Case


@contextmanager
def room_of(folder: Path, router: Mapping[str, Any] | None = None, **config: Any) -> Iterator[ReadingRoom]:
    """A router of its own with the three cases; `router` overrides keys of AIRouter, `config` those of Orthanc."""
    with RouterProcess(folder, {"Routes": ROUTES, **(router or {})}, **config) as process:
        process.wait_state()
        sent = {
            "slide": (stained_slide(768)[1], 1),
            "fundus": ([photograph("R", NOW, 384, grade=3, exudates=True)], 2),
            "oct": ([scan("R", NOW, irf_um=180.0)], 1),
        }
        for sources, _ in sent.values():
            process.c_store(*sources)
        yield ReadingRoom(process, **{name: _case(process, *each) for name, each in sent.items()})


def _case(process: RouterProcess, sources: Sequence[Dataset], jobs: int) -> Case:
    study = str(sources[0].StudyInstanceUID)
    ended = process.wait_jobs(study, jobs)
    assert {job["state"] for job in ended} == {"COMPLETED"}, [(j["pipeline"], j["reason"]) for j in ended]
    return Case(study, sources, process.results(study), process.evidence(study))


def require_viewer() -> None:
    """Skip the calling test where OHIF is not there."""
    if not (ROOT / ".cache" / "ohif" / "viewer" / "airouter.json").exists():
        pytest.skip("the viewer is not installed: run scripts/ohif")


class OpenPage(Protocol):
    """What `open_page` is."""

    console: list[str]
    refused: list[str]

    def __call__(
        self,
        path: str,
        *,
        user: str | None = USER,
        password: str = PASSWORD,
        width: int = WIDTH,
        height: int = HEIGHT,
        process: RouterProcess | None = None,
        **context: Any,
    ) -> Page: ...

    def tolerate(self, part: str) -> None: ...


@dataclass
class _Pages:
    """OpenPage over one browser."""

    browser: Browser
    process: Callable[[], RouterProcess]
    console: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _faults: list[str] = field(default_factory=list)
    _tolerated: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(
        self,
        path: str,
        *,
        user: str | None = USER,
        password: str = PASSWORD,
        width: int = WIDTH,
        height: int = HEIGHT,
        process: RouterProcess | None = None,
        **context: Any,
    ) -> Page:
        if user is not None:
            context["http_credentials"] = {"username": user, "password": password}
        made = self.browser.new_context(
            base_url=(process or self.process()).url, viewport={"width": width, "height": height}, **context
        )
        made.set_default_timeout(60_000)
        self._contexts.append(made)
        page = made.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._faults.append(f"uncaught: {error}"))
        page.on("response", self._answered)
        page.goto(path)
        return page

    def tolerate(self, part: str) -> None:
        self._tolerated.append(part)

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")
        if "Content Security Policy" in message.text or "Content-Security-Policy" in message.text:
            self._faults.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {response.url}")

    def close(self) -> list[str]:
        """Close every page; what must not have happened comes back."""
        for each in self._contexts:
            each.close()
        return [fault for fault in self._faults if not any(part in fault for part in self._tolerated)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: playwright keeps an event loop running in the main thread from its first test to the
    end, and DBOS behaves otherwise beneath one."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here in item.path.parents)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
    yield started
    started.close()


@pytest.fixture(scope="session")
def reading_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadingRoom]:
    with room_of(tmp_path_factory.mktemp("reading-room")) as room:
        yield room


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    def process() -> RouterProcess:
        room: ReadingRoom = request.getfixturevalue("reading_room")
        return room.process

    pages = _Pages(browser, process)
    yield pages
    faults = pages.close()
    assert not faults, faults
