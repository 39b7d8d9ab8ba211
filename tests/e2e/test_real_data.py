"""Real slides, B-scans and photographs through the real thing, with wide margins; exact figures stand on the cards."""

import json
from collections.abc import Iterator

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from phantoms.dicom import fundus_instance, slide_instances
from tests.data import data, files
from tests.dciodvfy import assert_conformant
from tests.e2e.test_first_light import part10
from tests.router_process import ROOT, RouterProcess, measurement

pytestmark = pytest.mark.orthanc


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """An Orthanc of its own: several of these files carry the same patient and study identifiers as others'."""
    shipped = json.loads((ROOT / "orthanc.json").read_text())["AIRouter"]["Routes"]
    # A panel of 512 x 512 pixels holds fewer nuclei than the index asks for by default.
    few = [r | {"Parameters": {"min_nuclei": 20}} if r["Model"] == "nuclei" else r for r in shipped]
    with RouterProcess(tmp_path_factory.mktemp("real"), {"Routes": few}) as process:
        process.wait_state()
        yield process


def rgb(name: str) -> np.ndarray:  # type: ignore[type-arg]
    read = cv2.imread(str(data(name)), cv2.IMREAD_COLOR)
    assert read is not None
    return np.ascontiguousarray(read[..., ::-1])


def upload(router: RouterProcess, *patterns: str) -> str:
    """Store files as they are (some lack what C-STORE asks for); the Study Instance UID comes back."""
    uids = set()
    for path in files(*patterns):
        router.upload(path.read_bytes())
        uids.add(str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID))
    (uid,) = uids
    return uid


def check_conformance(router: RouterProcess, study: str) -> None:
    for written in router.evidence(study):
        assert_conformant(written)


def test_nuclei_of_a_real_slide_are_counted(router: RouterProcess) -> None:
    study = upload(router, "sm/cmu1_pyramid/*.dcm")
    (job,) = router.wait_jobs(study)
    assert job["state"] == "COMPLETED", job["reason"]
    (result,) = router.results(study)
    assert 1000 < measurement(result, "Number of nuclei") < 5000
    assert any("stain" in n["reason"] for n in result["not_analysed"])
    check_conformance(router, study)


def test_short_edge_tiles_are_read(router: RouterProcess) -> None:
    study = upload(router, "sm/short_edge_tiles/*.dcm")
    (job,) = router.wait_jobs(study)
    assert job["state"] == "COMPLETED", job["reason"]
    (result,) = router.results(study)
    assert measurement(result, "Number of nuclei") > 1000
    check_conformance(router, study)


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000"])
def test_a_slide_level_of_29_um_is_too_coarse_for_nuclei(router: RouterProcess, name: str) -> None:
    study = upload(router, f"sm/camelyon/{name}.dcm")
    (job,) = router.wait_jobs(study)
    assert job["state"] == "COMPLETED"
    assert "too coarse for the model: 29 um" in job["reason"]
    assert router.results(study)[0]["findings"] == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sm_image_grayscale", "not brightfield"),
        ("sm_image_jpegls", "no tissue"),
        ("sm_image_jpegls_nobot", "no tissue"),
    ],
)
def test_tiny_and_odd_slides_end_with_a_reason(router: RouterProcess, name: str, reason: str) -> None:
    source = pydicom.dcmread(data(f"sm/highdicom/{name}.dcm"))
    # They all carry the UIDs of one and the same object.
    source.StudyInstanceUID = generate_uid()
    source.SeriesInstanceUID = generate_uid()
    source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    router.upload(part10(source))
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    assert job["state"] == "COMPLETED"
    assert reason in job["reason"], "a slide of a few pixels has nothing to count, and that must be said"


def test_ki67_of_a_real_panel_is_near_its_ground_truth(router: RouterProcess) -> None:
    panel = rgb("ihc/val__Lung1.png")[:, :512]
    published = json.loads(data("ihc/val__Lung1.json").read_text())["percent_pos"]
    instances = slide_instances(panel, 0.25, stain="H-DAB")  # 40x, as the panel's publication says
    router.c_store(*instances)
    (job,) = router.wait_jobs(instances[0].StudyInstanceUID)
    assert job["state"] == "COMPLETED", job["reason"]
    (result,) = router.results(instances[0].StudyInstanceUID)
    assert measurement(result, "Fraction of positive nuclei") == pytest.approx(published, abs=10)
    check_conformance(router, instances[0].StudyInstanceUID)


def test_a_real_bscan_is_measured_along_its_line_and_not_beyond(router: RouterProcess) -> None:
    study = upload(router, "oct/fda_minimized.dcm")
    (job,) = router.wait_jobs(study)
    assert job["state"] == "COMPLETED", job["reason"]
    (result,) = router.results(study)
    values = [m["value"] for f in result["findings"] for m in f["measurements"] if m["unit"] == "um"]
    # By hand, the seven columns read on this scan are 242 to 296 um thick.
    assert values
    assert all(240 < v < 300 for v in values)
    assert any("entral subfield" in n["quantity"] or "Center Subfield" in n["quantity"] for n in result["not_analysed"])
    check_conformance(router, study)


@pytest.mark.parametrize(("name", "priority"), [("fundus1", "HIGH"), ("example2", "ROUTINE")])
def test_real_photographs_kept_out_of_training(router: RouterProcess, name: str, priority: str) -> None:
    source = fundus_instance(rgb(f"fundus/{name}.jpg"), laterality="R")
    router.c_store(source)
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    assert job["state"] == "COMPLETED", job["reason"]
    assert router.results(source.StudyInstanceUID)[0]["verdict"]["priority"] == priority
    check_conformance(router, source.StudyInstanceUID)
