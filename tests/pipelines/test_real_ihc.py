"""Our nuclei model on real immunohistochemistry: nuclear markers are scored, a membranous one is not."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result
from airouter.inference.repository import ModelRepository
from airouter.pipelines import PIPELINES
from phantoms.dicom import slide_instances
from tests.data import data
from tests.pipelines.oracle import Progress, job, opened, reasons, value

ROOT = Path(__file__).resolve().parents[2]


def scored(name, spacing_um):
    if not (ROOT / "models/nuclei/manifest.yaml").exists():
        pytest.skip("models/nuclei is not there")
    rgb = np.ascontiguousarray(cv2.imread(str(data(f"ihc/{name}")))[:, :512, ::-1])
    slide = opened(slide_instances(rgb, spacing_um, levels=1, transfer="raw", stain="H-DAB", seed=1))
    model = ModelRepository(ROOT / "models").get("nuclei")
    result = PIPELINES["nuclear-positivity"].run(job(min_nuclei=20), slide, model, Progress())
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
