"""A generated eye patient through a real Orthanc: priors, trends, comparisons and the summary of the visit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom.sr import srread
from pydicom import Dataset, dcmwrite
from pydicom.filebase import DicomBytesIO
from scipy.stats import linregress

from phantoms.eye_case import all_of, earlier_visits, visit
from tests.dciodvfy import errors
from tests.router_process import ROOT, RouterProcess

pytestmark = pytest.mark.orthanc

ROUTES = json.loads((ROOT / "scripts" / "ophthalmology-routes.json").read_text())
THICKNESS_MAP = "1.2.840.10008.5.1.4.1.1.81.1"
PIPELINES = {route["Pipeline"] for route in ROUTES}


class Case:
    """The patient once every job has ended, the summary included."""

    def __init__(self, router: RouterProcess) -> None:
        self.router = router
        self.earlier, self.today = earlier_visits(384, 4), visit(384)
        router.c_store(*all_of(self.earlier))
        self.earlier_studies = list(dict.fromkeys(str(ds.StudyInstanceUID) for ds in all_of(self.earlier)))
        for study in self.earlier_studies:
            router.wait_jobs(study, seconds=600)
        router.c_store(*all_of(self.today))
        self.studies = list(dict.fromkeys(str(ds.StudyInstanceUID) for ds in all_of(self.today)))
        router.until(self._summarised, "the summary of the visit", 600)
        self.jobs = {job["key"]: job for study in self.studies for job in router.jobs(study)}
        self.results = [r for study in self.studies for r in router.results(study)]
        self.objects = {str(ds.SOPInstanceUID): ds for study in self.studies for ds in router.evidence(study)}

    def _summarised(self) -> bool:
        """Nothing of the visit is under way, and the newest summary has all other results of it."""
        if self.router.ai("health")["intake_lag_seconds"] > 0:
            return False
        jobs = [job for study in self.studies for job in self.router.jobs(study)]
        if not jobs or any(job["state"] not in ("COMPLETED", "CANCELED") for job in jobs):
            return False
        summaries = [job for job in jobs if job["pipeline"] == "visit-summary"]
        return bool(summaries) and {j["pipeline"] for j in jobs} >= {"visual-field", "nerve-fibre-layer"}

    def result(self, pipeline: str, eye: str | None = None) -> dict[str, Any]:
        """The newest result of a pipeline today, of one eye where that is given."""
        found = [
            r
            for r in self.results
            if r["pipeline"] == pipeline and (eye is None or any(f["laterality"] == eye for f in r["findings"]))
        ]
        assert found, (pipeline, [(j["pipeline"], j["state"], j["reason"]) for j in self.jobs.values()])
        return found[-1]

    def decisions(self) -> list[dict[str, Any]]:
        return [d for study in self.studies for d in self.router.ai("decisions", study=study)["decisions"]]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with RouterProcess(tmp_path_factory.mktemp("eye"), {"Routes": ROUTES}) as process:
        process.wait_state()
        yield Case(process)


def value(result: dict[str, Any], name: str, finding: str | None = None) -> float:
    found = [
        m["value"]
        for f in result["findings"]
        for m in f["measurements"]
        if m["name"]["meaning"] == name and (finding is None or f["label"] == finding)
    ]
    assert found, (name, [(f["label"], [m["name"]["meaning"] for m in f["measurements"]]) for f in result["findings"]])
    return float(found[0])


def numbers(report: Dataset) -> list[tuple[str, str, str, float]]:
    """(tracking UID, concept, unit, value) of every measurement of a report, as highdicom reads them."""
    buffer = DicomBytesIO()
    dcmwrite(buffer, report, enforce_file_format=True)
    buffer.seek(0)
    content = srread(buffer).content
    groups = [*content.get_planar_roi_measurement_groups(), *content.get_image_measurement_groups()]
    return sorted(
        (str(group.tracking_uid), m.name.meaning, m.unit.value, float(m.value))
        for group in groups
        for m in group.get_measurements()
    )


def test_every_job_completes(case: Case) -> None:
    ended = {(j["pipeline"], j["series"]): (j["state"], j["reason"]) for j in case.jobs.values()}
    assert {state for state, _ in ended.values()} == {"COMPLETED"}, ended
    assert {j["pipeline"] for j in case.jobs.values()} == PIPELINES


def test_every_object_conforms_and_is_unverified(case: Case) -> None:
    assert len(case.objects) > 20
    for ds in case.objects.values():
        # the validator does not know thickness maps; that it says no more is checked all the same
        unknown = ["Error - Information Object Not found"] if ds.SOPClassUID == THICKNESS_MAP else []
        assert errors(ds) == unknown, ds.SeriesDescription
        assert "UNVERIFIED" in ds.SeriesDescription


def test_the_numbers_of_every_report_are_those_that_were_found(case: Case) -> None:
    checked: set[str] = set()
    for result in case.results:
        reports = [e for e in result["evidence"] if e["role"] in ("report", "scores")]
        stored = [n for e in reports for n in numbers(case.objects[e["sop_instance_uid"]])]
        found = [m for finding in result["findings"] for m in finding["measurements"]]
        assert sorted((name, unit) for _, name, unit, _ in stored) == sorted(
            (m["name"]["meaning"], m["unit"]) for m in found
        )
        assert sorted(v for *_, v in stored) == pytest.approx(sorted(m["value"] for m in found), rel=1e-6)
        if stored:
            checked.add(result["pipeline"])
    assert checked >= PIPELINES - {"fundus-quality", "visit-summary"}


def test_the_thickness_map_holds_the_central_subfield(case: Case) -> None:
    result = case.result("macular-oedema")
    cst = value(result, "Macular Grid.Center Subfield Thickness")
    (uid,) = [
        e["sop_instance_uid"] for e in result["evidence"] if case.objects[e["sop_instance_uid"]].Modality == "OPM"
    ]
    ds = case.objects[uid]
    pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns).astype(float)
    mapping = ds.RealWorldValueMappingSequence[0]
    thickness = np.where(pixels > 0, pixels * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept, np.nan)
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in thickness.shape)
    near = np.hypot(rows[:, None] * ds.PixelSpacing[0], columns[None] * ds.PixelSpacing[1]) <= 0.8
    assert np.nanmin(thickness[near]) - 1 <= cst <= np.nanmax(thickness[near]) + 1
    assert ds.ImageLaterality == "R"


def test_the_trend_of_the_field_is_that_of_its_indices(case: Case) -> None:
    tests = [ds for ds in all_of({**case.earlier, **case.today}) if ds.Modality == "OPV"]
    years = [float(str(ds.AcquisitionDateTime)[:4]) for ds in tests]  # a year apart, to the day
    means = [float(ds.ResultsNormalsSequence[0].GlobalDeviationFromNormal) for ds in tests]
    slope = linregress(years, means).slope
    result = case.result("field-progression")
    rates = [
        m["value"]
        for f in result["findings"]
        for m in f["measurements"]
        if m["unit"] == "dB/a" and "Theil" not in m["name"]["meaning"] and "interval" not in m["name"]["meaning"]
    ]
    assert any(abs(rate - slope) < 0.01 for rate in rates), (slope, rates)
    assert len(case.jobs[result["job"]]["sources"]) == len(tests)


def test_a_trend_can_be_seen(case: Case) -> None:
    result = case.result("field-progression")
    charts = case.router.ai(f"jobs/{result['job']}/charts")["charts"]
    assert charts and any(t["kind"] == "points" and len(t["x"]) == 5 for c in charts for t in c["traces"])
    answer = case.router.rest.get(f"/ai/jobs/{result['job']}/charts/{charts[0]['role']}/svg")
    assert answer.headers["content-type"].startswith("image/svg+xml") and b"<svg" in answer.content
    captured = [e for e in result["evidence"] if e["role"] == charts[0]["role"]]
    assert case.objects[captured[0]["sop_instance_uid"]].SOPClassUID.name == "Secondary Capture Image Storage"


@pytest.mark.parametrize("pipeline", ["fundus-comparison", "oct-comparison"])
def test_a_comparison_refers_to_the_earlier_study(case: Case, pipeline: str) -> None:
    result = case.result(pipeline)
    registrations = [
        ds
        for e in result["evidence"]
        if (ds := case.objects[e["sop_instance_uid"]]).SOPClassUID.name == "Spatial Registration Storage"
    ]
    assert len(registrations) == 1, result["findings"]
    others = [s.StudyInstanceUID for s in registrations[0].StudiesContainingOtherReferencedInstancesSequence]
    assert len(others) == 1 and others[0] in case.earlier_studies


def test_the_two_eyes_get_one_recommendation(case: Case) -> None:
    result = case.result("diabetic-retinopathy")
    assert {f["laterality"] for f in result["findings"]} >= {"R", "L"}
    assert len([f for f in result["findings"] if f["key"] == "recommendation"]) == 1
    assert len(case.jobs[result["job"]]["sources"]) == 2


def test_the_summary_leads_to_every_finding_and_every_reference_exists(case: Case) -> None:
    result = case.result("visit-summary")
    heads = {f["laterality"]: f for f in result["findings"] if f["key"].startswith("summary-")}
    others = [r for r in case.results if r["pipeline"] != "visit-summary"]
    of_right = sum(f["laterality"] == "R" for r in others for f in r["findings"])
    assert len(heads["R"]["origins"]) == of_right
    assert {o["study"] for o in heads["R"]["origins"]} == set(case.studies)
    known = {uid: _tracking(ds) for uid, ds in case.objects.items() if ds.Modality == "SR"}
    for head in heads.values():
        for origin in head["origins"]:
            assert origin["tracking_uid"] in known[origin["report"]]


def _tracking(report: Dataset) -> set[str]:
    """Tracking UIDs of a report's groups, also of those without a number."""
    return {str(element.value) for element in report.iterall() if element.keyword == "UID"}


def test_every_image_has_a_reason_why_it_was_analysed_or_not(case: Case) -> None:
    decided = {uid for d in case.decisions() for uid in d["sources"]}
    assert {str(ds.SOPInstanceUID) for ds in all_of(case.today)} <= decided


def test_the_routes_of_the_how_to_are_those_that_work() -> None:
    page = (ROOT / "docs" / "how-to" / "analyse-eyes.md").read_text()
    blocks = [json.loads(block.split("```")[0]) for block in page.split("```json\n")[1:]]
    assert blocks and all(block in ROUTES for block in blocks)
    assert Path(ROOT / "models").is_dir()
