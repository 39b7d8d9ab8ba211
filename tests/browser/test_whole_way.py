"""The way of a reader, whole, by mouse: worklist, viewer with overlay, decisions, what is in the archive then, and the
worklist again. Once for a slide, a photograph and a tomography."""

import json
import re
from collections.abc import Iterator

import pydicom
import pytest
from playwright.sync_api import Frame, Locator, Page, expect
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO

from tests.browser import viewer
from tests.browser.conftest import ROUTES, Case, OpenPage, ReadingRoom, require_viewer, room_of
from tests.browser.pixels import painted, settled
from tests.browser.reader_panel import ReaderPanel
from tests.dciodvfy import assert_conformant
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import RouterProcess, _first_part

pytestmark = pytest.mark.orthanc

READER = "reader"
USERS = {
    USER: {"Roles": ["reader", "governance", "administrator"]},
    READER: {"Roles": ["reader"], "Name": "Reader^Rhea"},
}
_VERIFIED, _PREDECESSORS = "VerificationFlag", "PredecessorDocumentsSequence"
_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.88.59"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadingRoom]:
    require_viewer()
    router = {"Users": USERS, "Routes": ROUTES}
    with room_of(tmp_path_factory.mktemp("whole-way"), router, RegisteredUsers=dict.fromkeys(USERS, PASSWORD)) as made:
        yield made


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    expect.set_options(timeout=60_000)
    yield
    expect.set_options(timeout=5_000)


def cards(panel: Frame, state: str) -> Locator:
    return panel.locator(f"article.finding[data-state={state}]")


def decide(panel: Frame, verb: str, among: str = "pending") -> None:
    """Do that with the first finding in a state, and wait until it is done."""
    card = cards(panel, among).first
    mine = panel.locator(f"article.finding[data-id={json.dumps(card.get_attribute('data-id'))}]")
    card.get_by_role("button", name=verb).click()
    if verb != "Accept":
        dialog = panel.get_by_role("dialog")
        if verb == "Reject":
            dialog.get_by_label("False positive").check()
        else:
            _change_a_number(dialog)
        dialog.get_by_role("button", name=verb, exact=True).click()
        expect(dialog).to_have_count(0)
    expect(mine).to_have_attribute("data-state", {"Accept": "accepted", "Amend": "amended", "Reject": "rejected"}[verb])


def accept_the_rest(panel: Frame) -> None:
    """Of each result all that is pending at once, but for a single one, which has its own button alone."""
    every = panel.get_by_role("button", name=re.compile(r"^Accept all \d+ pending"))
    while left := every.count():
        every.first.click()
        panel.get_by_role("dialog").get_by_role("button", name=re.compile(r"^Accept \d+")).click()
        expect(every).to_have_count(left - 1)
    while cards(panel, "pending").count():
        decide(panel, "Accept")


def _change_a_number(dialog: Locator) -> None:
    number = dialog.locator("input[type=number], input[inputmode=decimal]").first
    value = float(number.input_value())
    number.fill(str(int(value) // 2 + 1) if value.is_integer() else f"{value / 2:.3f}")


def in_archive(process: RouterProcess, study: str, modality: str) -> list[Dataset]:
    """Every object of a modality that DICOMweb finds in the study, as another system asks for it."""
    found = []
    series = process.rest.get(f"/dicom-web/studies/{study}/series", params={"Modality": modality}).json()
    for each in series:
        path = f"/dicom-web/studies/{study}/series/{each['0020000E']['Value'][0]}"
        answer = process.rest.get(path, headers={"Accept": "multipart/related; type=application/dicom"})
        found.append(pydicom.dcmread(DicomBytesIO(_first_part(answer.headers["content-type"], answer.content))))
    return found


def tracked(report: Dataset) -> set[str]:
    """Tracking UIDs of a report's groups."""
    found: set[str] = set()

    def walk(item: Dataset) -> None:
        for child in item.get("ContentSequence", []):
            if child.ValueType == "UIDREF" and child.ConceptNameCodeSequence[0].CodeValue == "112040":
                found.add(str(child.UID))
            walk(child)

    walk(report)
    return found


def overlay_shows(page: Page, panel: ReaderPanel) -> None:
    """The pixels of the image change as its overlays are hidden and shown again."""
    series = next(o["series"] for o in panel.overlays() if o["available"] and o["kind"] in ("SEG", "ANN"))
    panel.show(series)
    on = settled(page)
    panel.show()
    off = settled(page)
    assert painted(on, off).sum() > 500
    panel.show(series)
    assert painted(settled(page), off).sum() > 500


@pytest.mark.parametrize("name", ["slide", "fundus", "oct"])
def test_from_the_worklist_to_a_verified_report(room: ReadingRoom, open_page: OpenPage, name: str) -> None:
    case: Case = getattr(room, name)
    process = room.process
    page = open_page("/ai/", user=READER, process=process)
    row = page.locator(f'tr[data-study="{case.study}"]')
    expect(row).to_be_visible()
    row.get_by_role("link", name=re.compile("^Open")).click()

    page.wait_for_url("**/ohif/**")
    if name != "slide":
        viewer.wait_image(page)
    panel = ReaderPanel(page, case.study, overlays=1)
    overlay_shows(page, panel)

    frame = panel.frame
    expect(cards(frame, "pending").first).to_be_visible()
    count = sum(len(r["findings"]) for r in process.results(case.study) if not r["superseded"])
    decide(frame, "Accept")
    decide(frame, "Amend", among="pending" if count > 1 else "accepted")
    if count > 2:
        decide(frame, "Reject")
    accept_the_rest(frame)
    expect(frame.locator("header .progress")).to_contain_text(f"{count} of {count}")
    decided = {"amended"} | ({"accepted"} if count > 1 else set()) | ({"rejected"} if count > 2 else set())
    for state in decided:
        expect(cards(frame, state).first).to_be_attached()

    verified = [ds for ds in in_archive(process, case.study, "SR") if ds.get(_VERIFIED) == "VERIFIED"]
    last = [ds for ds in verified if not any(_refers(other, ds) for other in verified)]
    assert last and all(ds.SOPClassUID == _SR and ds.PreliminaryFlag == "FINAL" for ds in last)
    assert {str(ds.VerifyingObserverSequence[0].VerifyingObserverName) for ds in last} == {"Reader^Rhea"}
    assert all(ds.get(_PREDECESSORS) for ds in last)
    states = {
        f["tracking_uid"]: f["review"]["state"] for r in process.results(case.study) for f in r["findings"]
    }  # fmt: skip
    kept = {uid for uid, state in states.items() if state in ("accepted", "amended")}
    assert set.union(*(tracked(ds) for ds in last)) == kept
    rejections = in_archive(process, case.study, "KO")
    assert bool(rejections) == ("rejected" in decided)
    for made in [*last, *rejections]:
        assert_conformant(made)
    assert all(ds.SOPClassUID == _KEY_OBJECT for ds in rejections)

    page.goto("/ai/")
    page.get_by_role("button", name=re.compile(r"^Read \d")).click()
    expect(page.locator(f'tr[data-study="{case.study}"]')).to_be_visible()
    page.get_by_role("button", name=re.compile(r"^Full reading \d")).click()
    expect(page.locator(f'tr[data-study="{case.study}"]')).to_have_count(0)
    assert process.ai("audit", study=case.study, kind="finding reviewed")["records"]


def _refers(later: Dataset, earlier: Dataset) -> bool:
    """Whether one report names the other as its predecessor."""
    return any(
        str(instance.ReferencedSOPInstanceUID) == str(earlier.SOPInstanceUID)
        for study in later.get(_PREDECESSORS, [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    )
