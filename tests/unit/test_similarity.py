"""The index of vectors gives what comparing with each of them gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.adapters.similarity import FaissIndex

VALUES = 6


def unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, VALUES)).astype(np.float32)
    made: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return made


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 700), seed=st.integers(0, 2**16), data=st.data())
def test_the_order_is_that_of_the_cosines(count: int, seed: int, data: st.DataObject) -> None:
    vectors = unit(count, seed)
    ids = np.random.default_rng(seed).permutation(10 * count)[:count] + (1 << 40)
    index = FaissIndex(VALUES)
    cut = data.draw(st.integers(0, count))
    index.add(ids[:cut].tolist(), vectors[:cut])
    index.add(ids[cut:].tolist(), vectors[cut:])
    asked = data.draw(st.integers(0, count - 1))
    found = list(index.ranked(vectors[asked]))
    assert found[0][0] == ids[asked]  # each finds itself first
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)
    cosines = dict(zip(ids.tolist(), (vectors @ vectors[asked]).tolist(), strict=True))
    assert sorted(id for id, _ in found) == sorted(cosines)
    assert [cosines[id] for id, _ in found] == pytest.approx(sorted(cosines.values(), reverse=True), abs=1e-6)
    assert [similarity for _, similarity in found] == pytest.approx([cosines[id] for id, _ in found], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_what_is_removed_is_not_found(count: int, seed: int, data: st.DataObject) -> None:
    vectors, index = unit(count, seed), FaissIndex(VALUES)
    index.add(range(count), vectors)
    gone = data.draw(st.sets(st.integers(0, count + 3)))
    for _ in range(2):
        index.remove(sorted(gone))
        left = set(range(count)) - gone
        assert {id for id, _ in index.ranked(vectors[0])} == left
        assert len(index) == len(left)
    kept = sorted(left)
    assert np.array_equal(index.vectors(kept), vectors[kept])


def test_vectors_by_identifier() -> None:
    index = FaissIndex(VALUES)
    assert list(index.ranked(unit(1, 0)[0])) == []
    index.add([7, 3], unit(2, 0))
    assert np.array_equal(index.vectors([3, 7]), unit(2, 0)[::-1])
    assert index.vectors([]).shape == (0, VALUES)
    with pytest.raises(KeyError):
        index.vectors([3, 4])


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="6 values"):
        FaissIndex(VALUES).add([1], np.ones((1, 3), np.float32))


def test_what_is_added_while_somebody_reads_disturbs_nobody() -> None:
    index = FaissIndex(VALUES)
    index.add(range(200), unit(200, 1))
    ranking = index.ranked(unit(1, 2)[0])
    first = [next(ranking)[0] for _ in range(50)]
    index.add(range(200, 400), unit(200, 3))
    rest = [id for id, _ in ranking]
    assert len(set(first + rest)) == len(first + rest) >= 200
