"""Images of the eye that no number may come from: each ends in a reason that is stored with the study."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from pydicom import Dataset

from phantoms.dicom import (
    BSCAN_VOLUME_ANALYSIS,
    EN_FACE,
    MONTAGE,
    WIDE_FIELD_3D,
    WIDE_FIELD_STEREOGRAPHIC,
    derived_instance,
    field_instance,
    fundus_instance,
    oct_instance,
)
from phantoms.fundus import fundus
from tests.router_process import ROOT, RouterProcess

pytestmark = pytest.mark.orthanc

ROUTES = json.loads((ROOT / "scripts" / "ophthalmology-routes.json").read_text())
WITHOUT = ("visit-summary", "fundus-comparison", "oct-comparison")  # they need another study, or another job


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    routes = [r for r in ROUTES if r["Pipeline"] not in WITHOUT]
    with RouterProcess(tmp_path_factory.mktemp("refused"), {"Routes": routes}) as process:
        process.wait_state()
        yield process


def photograph(**options: object) -> Dataset:
    return fundus_instance(fundus(512, "R", seed=5).rgb, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sop_class", "why"),
    [
        (WIDE_FIELD_STEREOGRAPHIC, "wide-field photograph"),
        (WIDE_FIELD_3D, "wide-field photograph"),
        (EN_FACE, "en face image"),
        (BSCAN_VOLUME_ANALYSIS, "OCT angiography volume"),
    ],
)
def test_another_kind_of_image_is_refused_by_its_class(eyes: RouterProcess, sop_class: str, why: str) -> None:
    if sop_class in (WIDE_FIELD_STEREOGRAPHIC, WIDE_FIELD_3D):
        source = photograph(sop_class=sop_class)
    else:
        source = derived_instance(np.zeros((2, 16, 16), np.uint8), sop_class)
    eyes.c_store(source)
    decision = eyes.wait_decision(str(source.StudyInstanceUID), "skipped")
    assert decision["reason"].startswith("not analysed because it is ") and why in decision["reason"]
    assert eyes.jobs(str(source.StudyInstanceUID)) == []


def test_a_montage_is_refused(eyes: RouterProcess) -> None:
    source = photograph(image_type=MONTAGE)
    eyes.c_store(source)
    said = _ended(eyes, source)
    assert said and all("montage" in reason for reason in said), said


def test_a_photograph_without_laterality_gets_no_grade(eyes: RouterProcess) -> None:
    source = photograph(laterality=None)
    eyes.c_store(source)
    assert _ended(eyes, source, "diabetic-retinopathy") == [
        "not analysed because no photograph says whether it shows the right or the left eye"
    ]


def test_a_field_without_laterality_is_no_field(eyes: RouterProcess) -> None:
    source = field_instance(laterality=None)
    eyes.c_store(source)
    said = _ended(eyes, source)
    assert said and all("laterality" in reason for reason in said), said


def test_a_tomograph_without_spacing_has_no_thickness(eyes: RouterProcess) -> None:
    source = oct_instance(np.zeros((3, 64, 64), np.uint8), omit_spacing=True)
    eyes.c_store(source)
    said = _ended(eyes, source)
    assert said and all("Pixel Spacing is missing" in reason for reason in said), said


def _ended(router: RouterProcess, source: Dataset, pipeline: str | None = None) -> list[str]:
    """The stored reasons of the jobs on a source that found nothing; every such job of it must have one."""
    study = str(source.StudyInstanceUID)
    router.until(lambda: bool(router.jobs(study)), "a job")
    router.until(lambda: router.ai("health")["intake_lag_seconds"] == 0, "a quiet intake")
    jobs = router.wait_jobs(study)
    results = {r["job"]: r for r in router.results(study)}
    told = []
    for job in jobs:
        assert job["state"] == "COMPLETED", job
        if pipeline in (None, job["pipeline"]):
            assert results[job["key"]]["findings"] == [] and results[job["key"]]["evidence"] == [], job["pipeline"]
            told.append(job["reason"])
    return told
