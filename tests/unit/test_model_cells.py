"""The shipped model `cells` is whole, is what its manifest says, and tells kinds of generated cells apart."""

import numpy as np
import pytest

from airouter.inference.repository import ModelRepository
from airouter.pipelines import PIPELINES, problem
from phantoms.histology import histology
from tests.reference_models import MODELS, ReferenceModel, ReferenceModelChecks, Tensor

CLASSES = ("nucleus", "boundary", "tumour", "lymphocyte", "stromal", "normal", "mitosis")


class TestFolder(ReferenceModelChecks):
    model = ReferenceModel("cells")
    channels = 3
    any_size = True
    classes = CLASSES
    maps = True
    exclusive = False

    def shows_something(self, expected: Tensor) -> bool:
        """Nuclei, and most of them of tumour."""
        maps = expected[0]
        return bool(all((maps[n] > 0.5).mean() > 0.01 for n in (0, 2)))


@pytest.fixture(scope="module")
def predictor():
    return ModelRepository(MODELS).get("cells")


def test_it_serves_the_pipelines_that_count_cells(predictor) -> None:
    for name in ("mitotic-count", "til-score", "nottingham", "membrane-scoring", "nuclear-positivity"):
        assert problem(PIPELINES[name], predictor.model) is None, name


def test_tumour_and_lymphocytes_of_a_generated_field_are_told_apart(predictor) -> None:
    made = histology(256, 256, 0.5, seed=987_654, edge=False, til=0.2, mitoses_per_mm2=0.0)
    (maps,) = predictor.predict([made.rgb])
    kinds = {2: made.of_kind("tumour"), 3: made.of_kind("lymphocyte")}
    for channel, numbers in kinds.items():
        assert len(numbers) > 10
        other = 5 - channel
        mine = np.isin(made.labels, numbers)
        assert (maps[channel][mine] > maps[other][mine]).mean() > 0.8
