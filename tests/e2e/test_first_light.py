"""A modality sends, the router analyses, another system reads the results back: real Orthanc, C-STORE and DICOMweb."""

import io

import pydicom
import pytest
from pydicom import Dataset

from tests.dciodvfy import assert_conformant
from tests.e2e.samples import macula, photograph, stained_slide
from tests.router_process import RouterProcess, measurement

pytestmark = pytest.mark.orthanc

SR, SEG = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.66.4"
ANN, PM = "1.2.840.10008.5.1.4.1.1.91.1", "1.2.840.10008.5.1.4.1.1.30"


def part10(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def check_objects(router: RouterProcess, study: str, source: Dataset, classes: set[str]) -> None:
    """What came back conforms, belongs to the same patient and study, names its sources and says it is unverified."""
    objects = router.evidence(study)
    assert {o.SOPClassUID for o in objects} == classes
    for written in objects:
        assert_conformant(written)
        assert written.StudyInstanceUID == source.StudyInstanceUID
        assert written.PatientID == source.PatientID
        assert written.SeriesInstanceUID != source.SeriesInstanceUID
        assert "UNVERIFIED" in written.SeriesDescription
    reports = [o for o in objects if o.SOPClassUID == SR]
    assert all((r.VerificationFlag, r.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY") for r in reports)
    assert len({o.SeriesInstanceUID for o in objects}) == len(objects)


def test_a_slide_is_counted_and_comes_back_as_dicom(router: RouterProcess) -> None:
    phantom, instances = stained_slide()
    study = instances[0].StudyInstanceUID
    router.c_store(*instances)
    (job,) = router.wait_jobs(study)
    assert job["state"] == "COMPLETED", job["reason"]
    assert job["execution_provider"] == "CPUExecutionProvider"
    assert job["progress"]["done"] == job["progress"]["total"] > 0
    (result,) = router.results(study)
    truth = int(phantom.labels.max())
    assert measurement(result, "Number of nuclei") == pytest.approx(truth, rel=0.1)
    positive = 100 * phantom.positive.sum() / truth
    assert measurement(result, "Fraction of positive nuclei") == pytest.approx(positive, abs=6)
    check_objects(router, study, instances[0], {SR, SEG, ANN, PM})


def test_an_oct_volume_is_measured_and_comes_back_as_dicom(router: RouterProcess) -> None:
    source = macula()
    router.c_store(source)
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    assert job["state"] == "COMPLETED", job["reason"]
    (result,) = router.results(source.StudyInstanceUID)
    assert 150 < measurement(result, "Macular Grid.Center Subfield Thickness") < 450
    assert result["not_analysed"], "the outer ring is not covered and must be said not to be"
    check_objects(router, source.StudyInstanceUID, source, {SR, SEG})


def test_a_photograph_is_graded_and_comes_back_as_dicom(router: RouterProcess) -> None:
    source = photograph()
    router.c_store(source)
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    assert job["state"] == "COMPLETED", job["reason"]
    check_objects(router, source.StudyInstanceUID, source, {SR})


def test_stow_rs_and_rest_upload_lead_to_the_same(router: RouterProcess) -> None:
    stowed, uploaded = photograph(), photograph()
    body = b"--boundary\r\nContent-Type: application/dicom\r\n\r\n" + part10(stowed) + b"\r\n--boundary--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=boundary'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    answer = router.rest.post("/dicom-web/studies", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    router.upload(part10(uploaded))
    for source in (stowed, uploaded):
        assert [j["state"] for j in router.wait_jobs(source.StudyInstanceUID)] == ["COMPLETED"]


def test_priority_and_reason_stand_on_the_study_and_on_the_worklist(router: RouterProcess) -> None:
    source = photograph("out-of-focus")
    router.c_store(source)
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    entry = next(e for e in router.ai("worklist", limit=1000)["studies"] if e["study"] == source.StudyInstanceUID)
    assert entry["verdict"]["reason"]
    marks = router.rest.get(f"/studies/{job['study_id']}/metadata?expand").json()
    assert marks["4201"] == entry["verdict"]["priority"]
    assert marks["4202"] == entry["verdict"]["reason"]


def test_every_decision_is_kept_with_its_clauses(router: RouterProcess) -> None:
    source = photograph()
    router.c_store(source)
    router.wait_jobs(source.StudyInstanceUID)
    decisions = router.ai("decisions", study=source.StudyInstanceUID)["decisions"]
    assert {(d["route"], d["outcome"]) for d in decisions} == {
        ("Fundus image quality", "selected"),
        ("Nuclear positivity", "skipped"),
        ("Retinal thickness", "skipped"),
    }
    skipped = next(d for d in decisions if d["route"] == "Nuclear positivity")
    assert skipped["reason"] == "Modality is OP, asked for SM"


def test_our_own_results_make_no_work_also_when_another_pacs_sends_them_back(router: RouterProcess) -> None:
    source = photograph()
    router.c_store(source)
    router.wait_jobs(source.StudyInstanceUID)
    before = len(router.ai("jobs", limit=1000)["jobs"])
    for written in router.evidence(source.StudyInstanceUID):
        stored = router.results(source.StudyInstanceUID)[0]["evidence"][0]["instance"]
        router.rest.delete(f"/instances/{stored}")
        router.c_store(written)
    marker = photograph()
    router.c_store(marker)  # when this one has ended, the returned ones were looked at
    router.wait_jobs(marker.StudyInstanceUID)
    assert len(router.ai("jobs", limit=1000)["jobs"]) == before + 1
    outcomes = [d for d in router.ai("decisions", study=source.StudyInstanceUID)["decisions"] if not d["route"]]
    assert outcomes == []


def test_on_demand_runs_what_is_stored_and_knows_what_was_done(router: RouterProcess) -> None:
    source = photograph()
    router.c_store(source)
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    again = router.rest.post("/ai/jobs", json={"study": source.StudyInstanceUID})
    assert again.status_code == 202, again.text
    assert again.json()["jobs"] == [job["key"]]
    assert len(router.jobs(source.StudyInstanceUID)) == 1
    misfit = router.rest.post(
        "/ai/jobs", json={"study": source.StudyInstanceUID, "pipeline": "retinal-thickness", "model": "oct-layers"}
    )
    assert misfit.json()["jobs"] == []
    assert "reads OPT, not OP" in misfit.json()["decisions"][0]["reason"]


def test_figures_and_interface_are_served(router: RouterProcess) -> None:
    figures = router.rest.get("/ai/metrics").text
    assert "airouter_job_seconds_count" in figures
    assert router.ai("openapi.json")["openapi"].startswith("3.")
    assert {m["name"] for m in router.ai("models")["models"] if m["usable"]} >= {
        "nuclei",
        "oct-layers",
        "fundus-quality",
    }


def test_nothing_is_served_without_a_password(router: RouterProcess) -> None:
    import httpx

    for path in ("/ai/health", "/ai/jobs", "/ai/openapi.json", "/system"):
        assert httpx.get(router.url + path, trust_env=False).status_code == 401
    assert httpx.get(router.url + "/system", auth=("orthanc", "orthanc"), trust_env=False).status_code == 401
