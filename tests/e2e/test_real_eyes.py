"""Real photographs, a real B-scan and a real series of visual fields through every pipeline on eyes."""

import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from scipy.stats import linregress

from phantoms.dicom import fundus_instance
from phantoms.perimetry import CONTROLS, RETEST, eyes, instance, normals, read
from tests.data import data, files
from tests.dciodvfy import errors
from tests.e2e.test_ophthalmology import THICKNESS_MAP
from tests.router_process import ROOT, RouterProcess

pytestmark = pytest.mark.orthanc

ROUTES = json.loads((ROOT / "scripts" / "ophthalmology-routes.json").read_text())


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    # The B-scan says nothing of its anatomic region: routes of a hospital ask for what its devices write.
    routes = [r | {"Match": {"Modality": r["Match"]["Modality"]}} for r in ROUTES]
    with RouterProcess(tmp_path_factory.mktemp("real-eyes"), {"Routes": routes}) as process:
        process.wait_state()
        yield process


def ended(router: RouterProcess, study: str, least: int = 1) -> dict[str, dict[str, Any]]:
    """Results by pipeline once the study rests; every job must have completed, and every object conforms."""
    router.wait_jobs(study, least)
    router.until(lambda: router.ai("health")["intake_lag_seconds"] == 0, "a quiet intake")
    jobs = router.wait_jobs(study, least)
    assert {(j["state"], j["discontinuation"]) for j in jobs} == {("COMPLETED", None)}, jobs
    for written in router.evidence(study):
        unknown = ["Error - Information Object Not found"] if written.SOPClassUID == THICKNESS_MAP else []
        assert errors(written) == unknown, written.SeriesDescription
    return {r["pipeline"]: r for r in router.results(study)}


def test_a_real_bscan_is_a_line_and_no_grid(router: RouterProcess) -> None:
    (path,) = files("oct/fda_minimized.dcm")
    router.upload(path.read_bytes())
    study = str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)
    found = ended(router, study, 4)
    thick = [m["value"] for f in found["macular-oedema"]["findings"] for m in f["measurements"] if m["unit"] == "um"]
    # By hand, the seven columns read on this scan are 242 to 296 um thick.
    assert thick and all(200 < value < 330 for value in thick), thick
    assert not any(m["unit"] == "uL" for r in found.values() for f in r["findings"] for m in f["measurements"])
    assert any("one B-scan" in n["reason"] for n in found["macular-oedema"]["not_analysed"])


@pytest.mark.parametrize("name", ["drimdb_example", "example1", "example2", "fundus1", "retina"])
def test_a_real_photograph_gets_a_recommendation_or_a_reason(router: RouterProcess, name: str) -> None:
    picture = cv2.imread(str(data(f"fundus/{name}.jpg")), cv2.IMREAD_COLOR)
    assert picture is not None
    source = fundus_instance(np.ascontiguousarray(picture[..., ::-1]), laterality="R", patient_id=f"REAL-{name}")
    router.c_store(source)
    found = ended(router, str(source.StudyInstanceUID), 3)
    retinopathy = found["diabetic-retinopathy"]
    if retinopathy["reason"]:
        assert retinopathy["reason"].startswith("not analysed because") and not retinopathy["findings"]
    else:
        assert [f["key"] for f in retinopathy["findings"]].count("recommendation") == 1
        assert any(n["quantity"].lower().count("left eye") for n in retinopathy["not_analysed"])
    critical = {e["value"]["meaning"] for f in found["critical-findings"]["findings"] for e in f["evaluations"]}
    assert critical & {"Present", "Absent", "Undetermined"}


def test_a_real_series_that_arrives_backwards_has_its_slope(router: RouterProcess) -> None:
    folder = data("perimetry")
    reference = normals(read(folder / CONTROLS))
    # Unreliable tests take no part in a trend: a series without them has the slope of all of its tests.
    reliable = [
        t
        for t in read(folder / RETEST)
        if t.fixation_losses < 0.2 and t.false_positives < 0.15 and t.false_negatives < 0.3
    ]
    series = max(eyes(reliable).values(), key=len)
    tests = [instance(test, reference) for test in sorted(series, key=lambda t: t.when)][:8]
    assert len(tests) >= 5
    for source in reversed(tests):  # each is a prior of those that are there: these must be looked at again
        router.c_store(source)
    last = str(tests[-1].StudyInstanceUID)

    def whole() -> dict[str, Any] | None:
        jobs = [j for j in router.jobs(last) if j["pipeline"] == "field-progression" and j["state"] == "COMPLETED"]
        return next((j for j in jobs if len(j["sources"]) == len(tests)), None)

    job = router.until(whole, "a trend over all tests")
    (result,) = (r for r in router.results(last) if r["job"] == job["key"])
    rates = {
        m["value"]
        for f in result["findings"]
        for m in f["measurements"]
        if m["unit"] == "dB/a" and m["name"]["meaning"].startswith("Rate of change")
    }
    assert rates and min(abs(rate - _slope(tests)) for rate in rates) < 0.01, (rates, _slope(tests))


def _slope(tests: list[Dataset]) -> float:
    """dB per year by scipy, of the mean deviations that the objects carry."""
    days = np.array([np.datetime64(_day(ds), "D").astype(int) for ds in tests], float)
    values = [float(ds.ResultsNormalsSequence[0].GlobalDeviationFromNormal) for ds in tests]
    return float(linregress(days / 365.25, values).slope)


def _day(ds: Dataset) -> str:
    said = str(ds.AcquisitionDateTime)
    return f"{said[:4]}-{said[4:6]}-{said[6:8]}"
