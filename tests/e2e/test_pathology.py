"""A generated pathology case through a real Orthanc: the numbers of every pipeline come back by DICOMweb."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import srread
from pydicom import Dataset, dcmwrite
from pydicom.filebase import DicomBytesIO

from phantoms.pathology_case import earlier_case, pathology_case
from tests.dciodvfy import assert_conformant
from tests.router_process import ROOT, RouterProcess
from tests.unit.test_imaging_annotations import drawn

pytestmark = pytest.mark.orthanc

ROUTES = json.loads((ROOT / "scripts" / "pathology-routes.json").read_text())
# A section of half a square millimetre holds no hotspot of two.
SMALL = {
    "Mitoses": {"hotspot_mm2": 0.05},
    "Nottingham suggestion": {"hotspot_mm2": 0.05, "normal_um2": 38.0},
    "Triage": {"hotspot_mm2": 0.05, "normal_um2": 38.0},
}


class Case:
    """The case once every job has ended."""

    def __init__(self, router: RouterProcess) -> None:
        self.router = router
        earlier, slides = earlier_case(640), pathology_case(1152, 640)
        self.names = {str(levels[0].SeriesInstanceUID): name for name, levels in slides.items()}
        self.series = {name: uid for uid, name in self.names.items()}
        self.study = str(slides["excision"][0].StudyInstanceUID)
        self.earlier = earlier
        router.c_store(*earlier, *(level for levels in slides.values() for level in levels))
        expected = sum(len(applying(name)) for name in slides)
        router.wait_jobs(str(earlier[0].StudyInstanceUID), seconds=600)
        self.jobs = {job["key"]: job for job in router.wait_jobs(self.study, expected, seconds=600)}
        self.objects = {str(ds.SOPInstanceUID): ds for ds in router.evidence(self.study)}
        self.results = {
            (self.names[self.jobs[r["job"]]["series"]], r["pipeline"]): r for r in router.results(self.study)
        }


def applying(name: str) -> list[str]:
    """Routes that a slide of the case matches by its description, counted by hand."""
    return {
        "excision": ["quality", "tissue", "triage", "mitoses", "til", "nottingham", "margin", "similar"],
        "Ki-67": ["quality", "ki67"],
        "HER2": ["quality", "her2"],
        "PD-L1": ["quality", "pd-l1"],
        "lymph node": ["quality", "tissue", "triage", "mitoses", "similar"],
        "poor scan": ["quality", "tissue", "triage", "mitoses", "til", "nottingham", "similar"],
    }[name]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    routes = [r | {"Parameters": {**r.get("Parameters", {}), **SMALL.get(r["Name"], {})}} for r in ROUTES]
    with RouterProcess(tmp_path_factory.mktemp("pathology"), {"Routes": routes}) as process:
        process.wait_state()
        yield Case(process)


def numbers(report: Dataset) -> dict[tuple[str, str], tuple[float, str]]:
    """(tracking UID, concept) -> value and unit of every measurement, as highdicom reads them."""
    buffer = DicomBytesIO()
    dcmwrite(buffer, report, enforce_file_format=True)
    buffer.seek(0)
    found = {}
    for group in srread(buffer).content.get_planar_roi_measurement_groups():
        for m in group.get_measurements():
            found[str(group.tracking_uid), m.name.meaning] = (float(m.value), m.unit.value)
    return found


def test_every_job_completes(case: Case) -> None:
    ended = {(case.names[j["series"]], j["pipeline"]): (j["state"], j["reason"]) for j in case.jobs.values()}
    assert {state for state, _ in ended.values()} == {"COMPLETED"}, ended


def test_every_object_conforms_and_is_unverified(case: Case) -> None:
    assert len(case.objects) > 20
    for ds in case.objects.values():
        assert_conformant(ds)
        assert "UNVERIFIED" in ds.SeriesDescription


def test_the_numbers_of_every_report_are_those_that_were_found(case: Case) -> None:
    checked: set[str] = set()
    for (_, pipeline), result in case.results.items():
        reports = [e for e in result["evidence"] if e["role"] == "report"]
        stored = numbers(case.objects[reports[0]["sop_instance_uid"]]) if reports else {}
        found = [m for finding in result["findings"] for m in finding["measurements"]]
        assert sorted((m["name"]["meaning"], m["unit"]) for m in found) == sorted(
            (name, unit) for (_, name), (_, unit) in stored.items()
        )
        values = sorted(value for value, _ in stored.values())
        assert values == pytest.approx(sorted(m["value"] for m in found), rel=1e-6)
        assert all(finding["method"] or pipeline == "nuclear-positivity" for finding in result["findings"])
        if stored:
            checked.add(pipeline)
    assert checked >= {
        "slide-quality", "tissue-classes", "slide-triage", "mitotic-count", "til-score", "nottingham", "margin",
        "nuclear-positivity", "membrane-scoring",
    }  # fmt: skip


def test_every_model_that_took_part_stands_in_the_report(case: Case) -> None:
    result = case.results["excision", "til-score"]
    (report,) = (e for e in result["evidence"] if e["role"] == "report")
    items = case.objects[report["sop_instance_uid"]].ContributingEquipmentSequence
    assert {"cells", "tissue-classes"} <= {item.get("ManufacturerModelName") for item in items}
    assert result["companions"]["tissue"]["name"] == "tissue-classes"


def test_similar_cases_are_no_dicom_and_are_found_by_rest(case: Case) -> None:
    assert case.results["excision", "similar-cases"]["evidence"] == []
    found: dict[str, Any] = case.router.ai(f"similar/{case.series['excision']}")
    assert [each["same_patient"] for each in found["cases"]] == [False]
    picture = case.router.rest.get(found["cases"][0]["thumbnail"])
    assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"


def test_the_poor_scan_is_on_the_technicians_list(case: Case) -> None:
    listed = {case.names.get(each["series"]): each for each in case.router.ai("rescans")["slides"]}
    assert "poor scan" in listed and "excision" not in listed


def test_a_margin_that_a_person_draws_is_measured_to_by_a_job_of_its_own(case: Case) -> None:
    study = str(case.earlier[0].StudyInstanceUID)
    before = {job["key"]: job["pipeline"] for job in case.router.jobs(study)}
    line = [[40.0, 40.0], [600.0, 60.0]]
    case.router.c_store(drawn(case.earlier[0], [line]))
    after = case.router.wait_jobs(study, len(before) + 1)
    (job,) = (job for job in after if job["key"] not in before)
    assert job["pipeline"] == "margin" and job["state"] == "COMPLETED"
    (result,) = (r for r in case.router.results(study) if r["job"] == job["key"])
    said = [e["value"]["meaning"] for finding in result["findings"] for e in finding["evaluations"]]
    assert "Margin drawn by a person" in said, said
    assert len(job["sources"]) == len(case.earlier) + 1


def test_the_routes_of_the_how_to_are_those_that_work() -> None:
    page = (ROOT / "docs" / "how-to" / "analyse-pathology.md").read_text()
    block = json.loads(page.split("```json\n")[1].split("```")[0])
    assert block in ROUTES
    assert {r["Pipeline"] for r in ROUTES} >= {"tissue-classes", "similar-cases"} and Path(ROOT / "models").is_dir()
