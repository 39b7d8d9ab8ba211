"""The shipped model `tissue-classes` is whole, is what its manifest says, and knows the generator it was trained on."""

import numpy as np
import pytest

from airouter.domain.model import HeadKind
from airouter.inference.repository import ModelRepository
from airouter.pipelines import PIPELINES, companions_problem, problem
from phantoms.dicom import slide_instances
from phantoms.histology import NAMES, histology
from tests.pipelines.oracle import Progress, job, opened, value
from tests.reference_models import MODELS, ReferenceModel, ReferenceModelChecks, Tensor


class TestFolder(ReferenceModelChecks):
    model = ReferenceModel("tissue-classes")
    channels = 3
    any_size = True
    classes = NAMES
    maps = True

    def shows_something(self, expected: Tensor) -> bool:
        """More than one class of tissue."""
        return int((np.bincount(expected[0].argmax(axis=0).ravel(), minlength=7) > 500).sum()) >= 2


@pytest.fixture(scope="module")
def predictor():
    return ModelRepository(MODELS).get("tissue-classes")


def test_it_serves_the_pipelines_that_divide_tissue(predictor) -> None:
    for name in ("tissue-classes", "margin", "slide-triage", "slide-segmentation"):
        assert problem(PIPELINES[name], predictor.model) is None
    for name in ("mitotic-count", "til-score", "nottingham", "membrane-scoring", "nuclear-positivity"):
        assert companions_problem(PIPELINES[name], {"tissue": predictor.model}) is None
    assert predictor.model.head.kind is HeadKind.SEGMENTATION and predictor.model.intended_use == "demonstration"


def test_areas_of_a_generated_slide_are_near_the_truth(predictor) -> None:
    """The gap to the oracle, which gives exact areas, is the model's error."""
    made = histology(900, 900, 1.0, seed=123_456, tumour=0.4, tubules=0.3)
    images = opened(slide_instances(made.rgb, 1.0, levels=1, transfer="raw", seed=1))
    result = PIPELINES["tissue-classes"].run(job(), images, predictor, Progress())
    from airouter.domain import codes

    tumour = value(result, "tumour", codes.AREA)
    assert tumour == pytest.approx(made.mm2("tumour", "tubule"), rel=0.15)
