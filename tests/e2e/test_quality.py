"""Quality at acquisition inside a real Orthanc: answered at once, stored nowhere, and only on what the user may see."""

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image
from pydicom import pixels

from tests.e2e.samples import macula, photograph
from tests.e2e.test_first_light import part10
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import RouterProcess

pytestmark = pytest.mark.orthanc

# Whoever asks for what belongs to the instance named in the file is refused, but for the test's own user.
FILTER = """
function IncomingHttpRequestFilter(method, uri, ip, username, headers)
  local file = io.open("%s", "r")
  local hidden = file and file:read("*l") or nil
  if file then file:close() end
  return not (username == "bob" and hidden and string.find(uri, hidden, 1, true))
end
"""


def asked(router: RouterProcess, body: bytes, kind: str, user: str = USER) -> httpx.Response:
    return httpx.post(
        f"{router.url}/ai/quality", content=body, headers={"Content-Type": kind}, auth=(user, PASSWORD), timeout=60,
        trust_env=False,
    )  # fmt: skip


def test_quality_is_told_and_nothing_is_stored(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.write_text("")
    script = tmp_path / "filter.lua"
    script.write_text(FILTER % hidden)
    settings = {"LuaScripts": [str(script)], "RegisteredUsers": {USER: PASSWORD, "bob": PASSWORD}}
    sharp, blurred, scan = photograph(), photograph("out-of-focus"), macula()
    with RouterProcess(tmp_path / "orthanc", {"Routes": []}, **settings) as router:
        router.wait_state()
        for ds, gradable in ((sharp, True), (blurred, False)):
            file = io.BytesIO()
            Image.fromarray(pixels.pixel_array(ds)).save(file, "PNG")
            for body, kind in ((file.getvalue(), "image/png"), (part10(ds), "application/dicom")):
                answer = asked(router, body, kind)
                assert answer.status_code == 200, answer.text
                found = answer.json()
                assert (found["kind"], found["gradable"]) == ("photograph", gradable), found
                assert found["model"]["name"] == "fundus-quality"
        assert asked(router, part10(scan), "application/dicom").json()["kind"] == "tomography"
        assert asked(router, b"\x00\xff no picture", "image/jpeg").status_code == 400
        assert asked(router, bytes((25 << 20) + 1), "image/png").status_code == 413
        assert router.rest.get("/statistics").json()["CountInstances"] == 0
        assert router.ai("jobs")["jobs"] == []

        stored = router.upload(part10(sharp))["ID"]
        body = f'{{"instance": "{stored}"}}'.encode()
        for user in (USER, "bob"):
            answer = asked(router, body, "application/json", user)
            assert answer.json()["gradable"] is True, answer.text
        hidden.write_text(stored)
        denied = asked(router, body, "application/json", "bob")
        other = stored[:-8] + ("00000000" if stored[-8:] != "00000000" else "11111111")
        unknown = asked(router, f'{{"instance": "{other}"}}'.encode(), "application/json", "bob")
        assert (denied.status_code, unknown.status_code) == (404, 404)
        assert denied.json() == unknown.json()
        assert asked(router, body, "application/json").status_code == 200
