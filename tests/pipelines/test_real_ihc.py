"""Our nuclei model on real immunohistochemistry: nuclear markers are scored, a membranous one is not."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.model import HeadKind
from airouter.domain.study import Modality
from airouter.inference.repository import ModelRepository
from airouter.pipelines import PIPELINES, WithCompanions
from phantoms.dicom import slide_instances
from tests.data import data
from tests.pipelines.oracle import Progress, Seen, job, model, opened, reasons, value

ROOT = Path(__file__).resolve().parents[2]


def scored(name, spacing_um, pipeline="nuclear-positivity", **parameters):
    if not (ROOT / "models/nuclei/manifest.yaml").exists():
        pytest.skip("models/nuclei is not there")
    rgb = np.ascontiguousarray(cv2.imread(str(data(f"ihc/{name}")))[:, :512, ::-1])
    slide = opened(slide_instances(rgb, spacing_um, levels=1, transfer="raw", stain="H-DAB", seed=1))
    nuclei = ModelRepository(ROOT / "models").get("nuclei")
    parameters = parameters or {"min_nuclei": 20}
    result = PIPELINES[pipeline].run(job(**parameters), slide, nuclei, Progress())
    assert isinstance(result, Result), result
    return result


@pytest.mark.parametrize("name", ["val__Bladder1", "val__Lung1"])
def test_a_nuclear_marker_is_scored_about_as_published(name):
    result = scored(f"{name}.png", 0.25)
    published = json.loads(data(f"ihc/{name}.json").read_text())["percent_pos"]
    assert value(result, "tissue", codes.POSITIVE_FRACTION) == pytest.approx(published, abs=10)


def test_a_membranous_marker_is_not_scored():
    result = scored("membranous_dab.png", 0.5)
    assert "not confined to the nuclei" in reasons(result)["nuclear positivity index"]


def test_the_index_is_within_a_few_points_of_the_drawn_truth():
    """The truth draws positive nuclei red and negative ones blue, each with a green outline."""
    truth = cv2.imread(str(data("ihc/test_groundtruth__22_2.png")))[..., ::-1]
    red, green, blue = (truth[..., n] > 128 for n in range(3))
    positive, negative = (
        int((cv2.connectedComponentsWithStats((each & ~green).astype(np.uint8))[2][1:, cv2.CC_STAT_AREA] >= 30).sum())
        for each in (red, blue)
    )
    assert positive + negative > 100
    result = scored("test__22_2.png", 0.25, marker="Ki-67", min_nuclei=20)
    assert value(result, "tissue", codes.KI67_INDEX) == pytest.approx(100 * positive / (positive + negative), abs=3)


def test_membranes_are_graded_where_the_stain_is_membranous():
    """Glands are brown, the stroma between them is not; nothing says which cells are tumour: there is no score."""
    result = scored("membranous_dab.png", 0.5, "membrane-scoring", marker="HER2")
    assert reasons(result) == {"HER2 score": "not analysed because nothing tells tumour cells from others"}
    assert 40 < value(result, "tissue", codes.MEMBRANE_STAINED) < 75
    assert not any(finding.evaluations for finding in result.findings)


@pytest.mark.parametrize("name", ["val__Bladder1", "val__Lung1", "test__22_2"])
def test_a_nuclear_marker_gives_no_membrane_class(name):
    result = scored(f"{name}.png", 0.25, "membrane-scoring", marker="HER2")
    assert set(reasons(result)) == {"membrane staining", "HER2 score"}
    assert "the DAB is in the nuclei and not on the membranes" in reasons(result)["HER2 score"]


@pytest.mark.parametrize("name", ["mitotic-count", "til-score", "nottingham"])
@pytest.mark.parametrize(("stain", "said"), [("H-DAB", "is H-DAB"), (None, "is not stated in the header")])
def test_what_is_defined_in_h_and_e_is_not_measured_in_another_stain(name, stain, said):
    """Whatever stains the models take: these read both."""
    rgb = np.ascontiguousarray(cv2.imread(str(data("ihc/membranous_dab.png")))[:, :512, ::-1])
    slide = opened(slide_instances(rgb, 0.5, levels=1, transfer="raw", stain=stain, seed=1))
    repository = ModelRepository(ROOT / "models")
    predict = WithCompanions(repository.get("cells"), {"tissue": repository.get("tissue-classes")})
    result = PIPELINES[name].run(job(), slide, predict, Progress())
    assert isinstance(result, Ungradable)
    assert result.reason.startswith(f"not analysed because the stain {said}, and ")


def test_a_model_for_another_stain_is_not_shown_the_slide():
    rgb = np.ascontiguousarray(cv2.imread(str(data("ihc/membranous_dab.png")))[:, :512, ::-1])
    slide = opened(slide_instances(rgb, 0.5, levels=1, transfer="raw", stain="H-DAB", seed=1))
    about = model(Modality.SM, HeadKind.SEGMENTATION, ("background", "tumour"), spacing_um=2.0, exclusive=True,
                  stains=("H&E",), codeless=("background",))  # fmt: skip
    found = PIPELINES["tissue-classes"].run(job(), slide, Seen(about, lambda image: 1 / 0), Progress())
    assert found == Ungradable("not analysed because the stain is H-DAB and the model is made for H&E")
