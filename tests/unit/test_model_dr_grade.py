"""The shipped model `dr-grade` is whole, is what its manifest says, and tells grades of phantoms apart."""

import functools

import numpy as np
import onnx
import pytest

from phantoms.fundus_lesions import lesions
from tests.reference_models import MODELS, ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("dr-grade")
GRADES = ("no-retinopathy", "mild", "moderate", "severe", "proliferative")
FIRST = 40_000  # seeds that training never saw


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 3
    classes = GRADES
    maps = False

    def shows_something(self, expected: Tensor) -> bool:
        """Severe retinopathy."""
        return bool(expected[0].argmax() == GRADES.index("severe"))


def test_its_trunk_is_the_shipped_model_of_lesions() -> None:
    weights = [
        {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(MODELS / name / "model.onnx")).graph.initializer}
        for name in ("fundus-lesions", "dr-grade")
    ]
    trunk, whole = weights
    assert trunk
    assert trunk.keys() < whole.keys()
    assert all(np.array_equal(value, whole[name]) for name, value in trunk.items())


@functools.cache
def answers(grade: int) -> np.ndarray:
    pictures = [lesions(512, "R" if seed % 2 else "L", FIRST + seed, grade).rgb for seed in range(4)]
    return np.concatenate([MODEL((p.transpose(2, 0, 1)[None] / 255.0).astype(np.float32)) for p in pictures])


@pytest.mark.parametrize("grade", range(5))
def test_probabilities_add_up_to_one(grade: int) -> None:
    np.testing.assert_allclose(answers(grade).sum(axis=1), 1.0, atol=1e-4)


def test_grades_of_phantoms_are_told_apart() -> None:
    told = np.stack([answers(grade).argmax(axis=1) for grade in range(5)])
    truth = np.arange(5)[:, None]
    assert (told == truth).mean() >= 0.7
    assert (np.abs(told - truth) <= 1).mean() >= 0.85


def test_referable_retinopathy_is_told_from_none() -> None:
    referable = [float((answers(grade)[:, 2:].sum(axis=1) >= 0.5).mean()) for grade in (0, 3, 4)]
    assert referable[0] <= 0.2
    assert min(referable[1:]) >= 0.8
