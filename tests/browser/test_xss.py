"""Text of DICOM headers, users and comments is text: whatever it says, no page takes it for markup or script."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from phantoms.dicom.parts import NOW
from phantoms.eye_case import photograph
from tests.browser.conftest import ROUTES, OpenPage
from tests.orthanc_process import PASSWORD
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc

SCRIPT = "<script>hacked=1</script>"
NAME = "<script>Object.assign(self,{hacked:1})</script>"  # an = would part the groups of a name
IMAGE = "<img src=x onerror=hacked=1>"
# What each field says; values of DICOM end at 64 characters, and a backslash would part them.
PAYLOADS = {
    "PatientName": f"{NAME}^<b>A</b>",
    "PatientID": '"onerror="hacked=1',
    "StudyDescription": IMAGE,
    "SeriesDescription": "<svg/onload=hacked=1>",
    "AccessionNumber": "'-hacked-'",
    "StudyID": "javascript:x",
    "InstitutionName": "</title><script>hacked=1</script>",
    "ManufacturerModelName": "{{hacked=1}}${hacked=1}",
    "ProtocolName": "</script><script>hacked=1</script>",
}
COMMENT = f"{SCRIPT} {IMAGE} <a href='javascript:hacked=1'>x</a> &lt;b&gt;"
READER = 'r"><img src=x onerror=hacked=1>'


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    users = {
        "airouter": {"Roles": ["administrator"]},
        READER: {"Roles": ["supervisor"], "Name": f"{NAME}^R", "Organization": SCRIPT},
    }
    registered = {"airouter": PASSWORD, READER: PASSWORD}
    folder = tmp_path_factory.mktemp("xss")
    with RouterProcess(folder, {"Users": users, "Routes": ROUTES[1:3]}, RegisteredUsers=registered) as process:
        process.wait_state()
        yield process


@pytest.fixture(scope="module")
def study(router: RouterProcess) -> str:
    dataset = photograph("R", NOW, 384, grade=3, exudates=True)
    for keyword, text in PAYLOADS.items():
        setattr(dataset, keyword, text)
    router.c_store(dataset)
    assert {job["state"] for job in router.wait_jobs(dataset.StudyInstanceUID, 2)} == {"COMPLETED"}
    uid: str = dataset.StudyInstanceUID
    return uid


def harmless(page: Page) -> None:
    """No script ran and no markup came of it. That nothing was stopped by the policy either, open_page checks."""
    assert page.evaluate("typeof hacked") == "undefined"
    made = page.evaluate(
        """() => [...document.querySelectorAll('*')]
            .filter((e) => [...e.attributes].some((a) => /^on/.test(a.name) || /^\\s*javascript:/i.test(a.value)))
            .concat([...document.querySelectorAll('script:not([src]), b, svg[onload], iframe[srcdoc]')])
            .map((e) => e.outerHTML)"""
    )
    assert made == []


def shown(page: Page, *texts: str) -> None:
    for text in texts:
        expect(page.get_by_text(text, exact=False).locator("visible=true").first).to_be_visible()


def decide(router: RouterProcess, study: str, **decision: Any) -> httpx.Response:
    token = base64.b64encode(f"{READER}:{PASSWORD}".encode()).decode()
    body = {"request": str(uuid.uuid4()), "decisions": [decision]}
    with httpx.Client(
        base_url=router.url, headers={"Authorization": f"Basic {token}"}, trust_env=False, timeout=60
    ) as c:
        return c.post(f"/ai/studies/{study}/reviews", json=body)


def test_the_worklist_shows_what_the_header_says(router: RouterProcess, study: str, open_page: OpenPage) -> None:
    page = open_page("/ai/", user=READER, process=router)
    shown(page, NAME, PAYLOADS["PatientID"], IMAGE)
    harmless(page)


def test_the_panel_shows_what_header_and_readers_say(router: RouterProcess, study: str, open_page: OpenPage) -> None:
    result = next(r for r in router.results(study) if r["findings"])
    finding = result["findings"][0]
    reasons = router.ai("review-reasons")
    reason = (reasons["reasons"] if isinstance(reasons, dict) else reasons)[0]["value"]
    answer = decide(
        router,
        study,
        job=result["job"],
        finding=finding["key"],
        version=0,
        verb="reject",
        reason=reason,
        comment=COMMENT,
        amendment=None,
    )
    assert answer.status_code == 200, answer.text
    page = open_page(f"/ai/panel?study={study}", user=READER, process=router)
    shown(page, NAME, IMAGE, COMMENT)
    harmless(page)


@pytest.mark.parametrize(
    "query",
    [
        "study=<script>hacked=1</script>",
        "study=%3Cimg%20src%3Dx%20onerror%3Dhacked%3D1%3E",
        "study=1.2&embedded=1#<img src=x onerror=hacked=1>",
    ],
)
def test_an_address_is_no_markup_either(router: RouterProcess, open_page: OpenPage, query: str) -> None:
    page = open_page(f"/ai/panel?{query}", user=READER, process=router)
    page.wait_for_load_state("networkidle")
    harmless(page)


def test_the_test_would_notice(router: RouterProcess, open_page: OpenPage) -> None:
    """The same payload as markup: the policy stops it, and both the page and open_page say so."""
    open_page.tolerate("Content Security Policy")
    page = open_page("/ai/", user=READER, process=router)
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", IMAGE)
    with pytest.raises(AssertionError):
        harmless(page)
    page.wait_for_function("() => document.querySelector('img[src=x]').complete")
    assert page.evaluate("typeof hacked") == "undefined", "even markup runs no script"
    assert any("Content Security Policy" in line for line in open_page.console), json.dumps(open_page.console)
