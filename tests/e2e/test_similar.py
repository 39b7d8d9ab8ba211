"""Similar cases in a real Orthanc: a filter of Orthanc's decides who may see what, and the router abides by it."""

from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from pydicom import Dataset

from phantoms.dicom import slide_instances
from phantoms.slide import slide
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import ROOT, RouterProcess

ROUTE = {
    "Name": "similar",
    "Pipeline": "similar-cases",
    "Model": "slide-embedding",
    "Match": {"Modality": "SM"},
}
# Bob may not read the studies named in the file, nor anything below them. All other requests are let through.
FILTER = """
function IncomingHttpRequestFilter(method, uri, ip, username, headers)
  if username ~= 'bob' then return true end
  local file = io.open('{hidden}')
  if file == nil then return true end
  for id in file:lines() do
    if string.find(uri, id, 1, true) then file:close() return false end
  end
  file:close()
  return true
end
"""


def tissue(seed: int, patient: str, density: float) -> list[Dataset]:
    phantom = slide(640, 640, 0.5, stain="H&E", nuclei_per_mm2=density, seed=seed)
    return slide_instances(phantom.rgb, 0.5, stain="H&E", levels=3, patient_id=patient, seed=f"similar {seed}")


def ask(router: RouterProcess, path: str, user: str | None, **params: Any) -> httpx.Response:
    auth = (user, PASSWORD) if user else None
    return httpx.get(f"{router.url}{path}", auth=auth, params=params, timeout=60, trust_env=False)


def test_a_user_finds_the_earlier_cases_that_orthanc_lets_them_see(tmp_path: Path) -> None:
    if not (ROOT / "models" / "slide-embedding" / "manifest.yaml").exists():
        pytest.skip("models/slide-embedding is not there")
    hidden, script = tmp_path / "hidden", tmp_path / "filter.lua"
    script.write_text(FILTER.replace("{hidden}", str(hidden)))
    slides = [tissue(1, "A", 900.0), tissue(2, "B", 1000.0), tissue(3, "A", 5000.0), tissue(4, "A", 950.0)]
    users = {USER: PASSWORD, "bob": PASSWORD}
    settings = {"LuaScripts": [str(script)], "RegisteredUsers": users}
    with RouterProcess(tmp_path / "orthanc", {"Routes": [ROUTE]}, **settings) as router:
        router.wait_state()
        for instances in slides:
            router.c_store(*instances)
            (job,) = router.wait_jobs(instances[0].StudyInstanceUID)
            assert (job["state"], job["reason"]) == ("COMPLETED", None), job
        studies = [instances[0].StudyInstanceUID for instances in slides]
        (result,) = router.results(studies[0])
        assert result["evidence"] == []
        assert router.instance_count(studies[0]) == len(slides[0])  # nothing was written to the archive

        here = f"/ai/similar/{slides[-1][0].SeriesInstanceUID}"
        found = ask(router, here, USER).json()
        assert {case["study"] for case in found["cases"]} == set(studies[:3])
        assert [case["study"] for case in found["cases"]][-1] == studies[2]  # five times as many nuclei
        assert {case["study"]: case["same_patient"] for case in found["cases"]} == dict(
            zip(studies[:3], (True, False, True), strict=True)
        )
        picture = ask(router, found["cases"][0]["matches"][0]["case_thumbnail"], USER, size=128)
        assert picture.headers["content-type"] == "image/jpeg"
        assert "no-store" in picture.headers["cache-control"]
        shown = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (128, 128, 3)
        assert shown.std() > 5

        # Orthanc's filter denies Bob one study: as if it were not there, for him alone, and at once.
        (denied,) = router.rest.post(
            "/tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": studies[0]}}
        ).json()
        pictures = [case["thumbnail"] for case in found["cases"] if case["study"] == studies[0]]
        assert ask(router, pictures[0], "bob").status_code == 200
        hidden.write_text(f"{denied}\n")
        seen = ask(router, here, "bob")
        assert {case["study"] for case in seen.json()["cases"]} == {studies[1], studies[2]}
        assert not any(text in seen.text for text in (studies[0], denied, pictures[0]))
        assert len(ask(router, here, "bob", limit=2).json()["cases"]) == 2
        assert ask(router, pictures[0], "bob").status_code == 404
        one, none = (f"/ai/similar/{uid}" for uid in (slides[0][0].SeriesInstanceUID, "1.2.3.4.5"))
        assert ask(router, one, "bob").json() == ask(router, none, "bob").json()
        assert ask(router, one, "bob").status_code == 404
        assert {case["study"] for case in ask(router, here, USER).json()["cases"]} == set(studies[:3])
        assert ask(router, here, None).status_code == 401

        # What is deleted is gone from the next answer on.
        router.rest.delete(f"/studies/{denied}").raise_for_status()
        assert {case["study"] for case in ask(router, here, USER).json()["cases"]} == {studies[1], studies[2]}
