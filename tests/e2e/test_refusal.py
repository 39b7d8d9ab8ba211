"""Bad settings, bad models and bad images: Orthanc serves on, and the reason is stored where a person looks for it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from pydicom.encaps import encapsulate, generate_frames

from phantoms.dicom import oct_instance, slide_instances
from tests.data import data
from tests.e2e.samples import photograph, stained_slide
from tests.e2e.test_first_light import part10
from tests.model_folders import classes, graph, manifest, write
from tests.router_process import ROOT, RouterProcess

pytestmark = pytest.mark.orthanc


def test_an_unknown_key_refuses_the_router_and_orthanc_serves_on(tmp_path: Path) -> None:
    with RouterProcess(tmp_path, {"Wrokers": 2}) as router:
        health = router.wait_state("refused")
        assert health["reason"].startswith("AIRouter.Wrokers: unknown key")
        assert "AIRouter.Wrokers: unknown key" in router.output()
        assert router.upload(part10(photograph()))["Status"] == "Success"
        assert router.rest.get("/ai/jobs").status_code == 503


def test_an_impossible_route_refuses_the_router(tmp_path: Path) -> None:
    route = {"Name": "r", "Pipeline": "no-such", "Model": "nuclei", "Match": {"Modality": "SM"}}
    with RouterProcess(tmp_path, {"Routes": [route]}) as router:
        assert router.wait_state("refused")["reason"].startswith("AIRouter.Routes[0].Pipeline: there is no 'no-such'")


def test_a_tampered_model_is_not_loaded_and_the_others_work(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models)
    weights = models / "fundus-quality" / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    eye = photograph()
    _, slide = stained_slide(512)
    with RouterProcess(tmp_path / "orthanc", {"ModelsDirectory": str(models)}) as router:
        router.wait_state()
        broken = next(m for m in router.ai("models")["models"] if m["name"] == "fundus-quality")
        assert not broken["usable"]
        assert "sha256" in broken["reason"].lower()
        router.c_store(eye, *slide)
        skipped = router.wait_decision(eye.StudyInstanceUID, "skipped")
        assert router.jobs(eye.StudyInstanceUID) == []
        assert any(
            "fundus-quality is not usable" in d["reason"]
            for d in router.ai("decisions", study=eye.StudyInstanceUID)["decisions"]
        ), skipped
        assert [j["state"] for j in router.wait_jobs(slide[0].StudyInstanceUID)] == ["COMPLETED"]


def test_a_slide_without_spacing_is_ungradable_not_guessed(router: RouterProcess) -> None:
    _, instances = stained_slide(512, omit_spacing=True)
    study = instances[0].StudyInstanceUID
    router.c_store(*instances)
    (job,) = router.wait_jobs(study)
    assert job["state"] == "COMPLETED"
    assert "spacing" in job["reason"].lower()
    (result,) = router.results(study)
    assert result["findings"] == []
    assert result["evidence"] == []
    assert router.wait_decision(study, "ungradable")["reason"] == job["reason"]


def test_an_oct_volume_without_spacing_is_ungradable(router: RouterProcess) -> None:
    source = oct_instance(np.zeros((3, 64, 64), np.uint8), omit_spacing=True)
    router.c_store(source)
    (job,) = router.wait_jobs(source.StudyInstanceUID)
    assert "spacing" in job["reason"].lower()
    assert router.results(source.StudyInstanceUID)[0]["findings"] == []


def test_an_unknown_stain_gives_counts_but_no_index(router: RouterProcess) -> None:
    _, instances = stained_slide(512, stain=None)
    study = instances[0].StudyInstanceUID
    router.c_store(*instances)
    router.wait_jobs(study)
    (result,) = router.results(study)
    names = {m["name"]["meaning"] for f in result["findings"] for m in f["measurements"]}
    assert "Number of nuclei" in names
    assert not any("positive" in n for n in names)
    assert any("stain" in n["reason"] for n in result["not_analysed"])


def test_garbage_where_a_tile_should_be_fails_with_the_reason(router: RouterProcess) -> None:
    _, instances = stained_slide(512)
    base = instances[0]
    frames = list(generate_frames(base.PixelData, number_of_frames=int(base.NumberOfFrames)))
    base.PixelData = encapsulate([frame[: len(frame) // 3] for frame in frames])
    router.c_store(*instances)
    (job,) = router.wait_jobs(base.StudyInstanceUID)
    assert (job["state"], job["discontinuation"]) == ("CANCELED", "failure")
    assert "PixelDataError" in job["reason"]
    assert router.instance_count(base.StudyInstanceUID) == len(instances)


def test_white_glass_is_ungradable(router: RouterProcess) -> None:
    instances = slide_instances(np.full((512, 512, 3), 245, np.uint8), 0.5)
    router.c_store(*instances)
    (job,) = router.wait_jobs(instances[0].StudyInstanceUID)
    assert "tissue" in job["reason"]


def test_an_oct_that_says_it_is_a_photograph_is_not_analysed(router: RouterProcess) -> None:
    uploaded = router.upload((data("sm/not_a_slide/opt_sop_class_modality_op.dcm")).read_bytes())
    study = router.rest.get(f"/studies/{uploaded['ParentStudy']}").json()["MainDicomTags"]["StudyInstanceUID"]
    assert "contradicts the SOP class" in router.wait_decision(study, "skipped")["reason"]
    assert router.jobs(study) == []


def test_no_patient_stands_in_the_log(router: RouterProcess) -> None:
    source = photograph(patient_id="CANARY-4711", patient_name="Canary^Yellow")
    router.c_store(source)
    router.wait_jobs(source.StudyInstanceUID)
    assert "CANARY" not in router.output().upper()


def test_a_model_that_answers_nan_fails_the_job_and_nothing_is_stored(tmp_path: Path) -> None:
    # Sound on noise, whose mean is above the threshold, and not a number on a photograph, whose mean is below.
    threshold = helper.make_tensor("threshold", TensorProto.FLOAT, [1], [0.45])
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"], axis=1),
        helper.make_node("Sub", ["mean", "threshold"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["y"]),
    ]
    content = manifest(
        "broken",
        input__fit="letterbox",
        head__kind="classification",
        head__layout=...,
        head__classes=classes("gradable", "illumination", "artefact"),
    )
    write(tmp_path / "models", content, graph(nodes, gives=["N", 3], initializers=[threshold]))
    route = {"Name": "r", "Pipeline": "fundus-quality", "Model": "broken", "Match": {"Modality": "OP"}}
    source = photograph()
    with RouterProcess(
        tmp_path / "orthanc", {"ModelsDirectory": str(tmp_path / "models"), "Routes": [route]}
    ) as router:
        router.wait_state()
        router.c_store(source)
        (job,) = router.wait_jobs(source.StudyInstanceUID)
        assert (job["state"], job["discontinuation"]) == ("CANCELED", "failure"), job
        assert "ModelOutputError" in job["reason"]
        assert router.instance_count(source.StudyInstanceUID) == 1


def test_orthanc_starts_and_serves_without_the_routers_packages(tmp_path: Path) -> None:
    process = RouterProcess.without_packages(tmp_path)
    with process:
        assert "AI router not loaded: ModuleNotFoundError" in process.output()
        assert process.upload(part10(photograph()))["Status"] == "Success"
        assert process.rest.get("/ai/health").status_code == 404
