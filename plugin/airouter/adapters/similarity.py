"""The nearest of many vectors, by faiss: exact, in memory (docs/decisions/0013-index-of-vectors.md)."""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

_FIRST: Final = 64  # how many are asked for at first,
_TIMES: Final = 8  # and how many times as many where these were not enough


class FaissIndex:
    """ports.VectorIndex of vectors with `values` values each: every one is compared, none is approximated."""

    def __init__(self, values: int) -> None:
        self._values = values
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(values))  # the inner product of unit vectors is the cosine
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """As the port says. Raises ValueError for vectors of another number of values."""
        if vectors.ndim != 2 or vectors.shape[1] != self._values:
            raise ValueError(f"vectors of shape {vectors.shape} in an index of {self._values} values")
        with self._lock:
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.array(ids, np.int64))

    def remove(self, ids: Sequence[int]) -> None:
        with self._lock:
            self._index.remove_ids(faiss.IDSelectorBatch(np.array(ids, np.int64)))

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        try:
            with self._lock:
                found = [self._index.reconstruct(int(id)) for id in ids]
        except RuntimeError as error:  # faiss says "key not found" so
            raise KeyError(f"one of {len(ids)} identifiers is not in the index") from error
        return np.array(found, np.float32).reshape(len(ids), self._values)

    def ranked(self, vector: NDArray[np.float32]) -> Iterator[tuple[int, float]]:
        query = np.ascontiguousarray(vector, np.float32).reshape(1, self._values)
        given: set[int] = set()
        count = _FIRST
        while True:
            with self._lock:
                there = int(self._index.ntotal)
                if not there:
                    return
                similarities, ids = self._index.search(query, min(count, there))
            for id, similarity in zip(ids[0].tolist(), similarities[0].tolist(), strict=True):
                if id not in given:
                    given.add(id)
                    yield id, min(1.0, max(-1.0, similarity))
            if count >= there:
                return
            count *= _TIMES
