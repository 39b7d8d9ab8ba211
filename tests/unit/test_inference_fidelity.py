"""The agreement of two versions of a model: known values, and laws that hold for any."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airouter.domain.model import Head, HeadKind, ModelClass
from airouter.errors import NotQuantizable
from airouter.inference.fidelity import METRICS, Fidelity

Floats = npt.NDArray[np.float32]


def head(kind: HeadKind, *thresholds: float, exclusive: bool = False) -> Head:
    classes = tuple(ModelClass(f"class {n}", None, t) for n, t in enumerate(thresholds))
    return Head(kind, "y", classes=classes, exclusive=exclusive, unit="um" if kind is HeadKind.REGRESSION else None)


def agreement(of: Head, *pairs: tuple[Any, Any]) -> float:
    fidelity = Fidelity(of)
    for first, second in pairs:
        fidelity.add(np.asarray(first, np.float32), np.asarray(second, np.float32))
    return fidelity.agreement()


def test_dice_is_over_all_images_and_the_least_of_the_classes_that_occur() -> None:
    of = head(HeadKind.SEGMENTATION, 0.5, 0.8, 0.5)
    first = np.zeros((3, 2, 4))
    first[0, 0] = 0.5  # the threshold itself is enough
    first[1, 0, :2] = 0.8
    second = first.copy()
    second[0, 0, 0] = 0.4  # 3 of 4 pixels left: 2 * 3 / 7
    blank = np.zeros((3, 2, 4))
    full = blank.copy()
    full[1] = 0.9
    assert agreement(of, (first, second)) == pytest.approx(6 / 7)
    # class 1: 2 pixels alike in the first image, 8 in the second that the other does not see
    assert agreement(of, (first, first), (full, blank)) == pytest.approx(2 * 2 / (2 + 2 + 8))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.9])
def test_a_probability_at_the_threshold_is_enough_whatever_the_threshold(threshold: float) -> None:
    fidelity = Fidelity(head(HeadKind.CLASSIFICATION, threshold))
    fidelity.add(np.array([threshold], np.float32), np.array([threshold], np.float32))
    assert fidelity.shows == {"class 0": 1}


def test_exclusive_classes_are_decided_by_the_largest() -> None:
    of = head(HeadKind.SEGMENTATION, 0.9, 0.9, exclusive=True)
    first = np.array([[[0.6, 0.6]], [[0.4, 0.4]]])
    second = np.array([[[0.51, 0.49]], [[0.49, 0.51]]])
    assert agreement(of, (first, second)) == 0.0  # class 1 is in the second only
    assert agreement(of, (first, first * 0.9)) == 1.0


@pytest.mark.parametrize(
    ("exclusive", "expected"),
    [(True, 2 / 3), (False, 1 / 3)],
)
def test_classification_is_the_share_of_equal_decisions(exclusive: bool, expected: float) -> None:
    of = head(HeadKind.CLASSIFICATION, 0.5, 0.5, exclusive=exclusive)
    pairs = [([0.9, 0.1], [0.8, 0.2]), ([0.4, 0.3], [0.6, 0.3]), ([0.2, 0.7], [0.51, 0.5])]
    assert agreement(of, *pairs) == pytest.approx(expected)


def test_regression_is_lins_coefficient_and_not_correlation() -> None:
    of = head(HeadKind.REGRESSION, 0.5, 0.5)
    x = np.array([1.0, 2.0, 3.0, 4.0])
    shifted = x + 1.0  # correlation 1, concordance 2 * 1.25 / (1.25 + 1.25 + 1)
    pairs = [([a, a], [a, b]) for a, b in zip(x, shifted, strict=True)]
    assert agreement(of, *pairs) == pytest.approx(2.5 / 3.5)


def test_embedding_is_the_mean_cosine() -> None:
    of = head(HeadKind.EMBEDDING)
    assert agreement(of, ([1, 0], [5, 0]), ([1, 0], [0, 1]), ([1, 1], [0, 0])) == pytest.approx(1 / 3)


def test_what_was_seen_is_counted_by_images() -> None:
    fidelity = Fidelity(head(HeadKind.CLASSIFICATION, 0.5, 0.5))
    for answer in ([0.9, 0.9], [0.9, 0.1], [0.1, 0.1]):
        fidelity.add(np.array(answer, np.float32), np.zeros(2, np.float32))
    assert fidelity.shows == {"class 0": 2, "class 1": 1}
    assert Fidelity(head(HeadKind.EMBEDDING)).shows == {}


@pytest.mark.parametrize(
    ("kind", "pairs", "reason"),
    [
        (HeadKind.SEGMENTATION, [(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)))], "no class occurs"),
        (HeadKind.REGRESSION, [([1.0], [1.0]), ([1.0], [2.0])], "same for every image"),
        (HeadKind.CLASSIFICATION, [], "no image"),
    ],
)
def test_without_anything_to_compare_there_is_no_figure(kind: HeadKind, pairs: list[Any], reason: str) -> None:
    with pytest.raises(NotQuantizable, match=reason):
        agreement(head(kind, 0.5), *pairs)


ANSWERS = hnp.arrays(np.float32, (5, 3), elements=st.floats(0, 1, width=32))


@settings(deadline=None, max_examples=50)
@given(first=ANSWERS, second=ANSWERS, kind=st.sampled_from(list(METRICS)), exclusive=st.booleans())
def test_equals_agree_wholly_and_nothing_agrees_more(
    first: Floats, second: Floats, kind: HeadKind, exclusive: bool
) -> None:
    classes = () if kind is HeadKind.EMBEDDING else (0.5, 0.3, 0.9)
    of = head(kind, *classes, exclusive=exclusive)
    shape = (3, 1, 1) if kind is HeadKind.SEGMENTATION else (3,)
    first = first + np.arange(5, dtype=np.float32)[:, None] / 8 if kind is HeadKind.REGRESSION else first
    # somewhere every class is seen, and no vector is zero
    first = np.concatenate([first, np.ones((1, 3), np.float32)])
    second = np.concatenate([second, np.ones((1, 3), np.float32)])
    alike = agreement(of, *((a.reshape(shape), a.reshape(shape)) for a in first if a.any()))
    other = agreement(of, *((a.reshape(shape), b.reshape(shape)) for a, b in zip(first, second, strict=True)))
    assert alike == pytest.approx(1.0)
    assert -1.0 <= other <= 1.0
