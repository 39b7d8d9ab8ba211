"""Work spread over threads whose answers come in order, so that no result depends on which thread was first."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from airouter.pipelines.pipeline import Parameter

Item = TypeVar("Item")
Answer = TypeVar("Answer")

WORKERS = Parameter("workers", None, "1", "threads; where not set one per core, 2 to 8", 1, 64, whole=True)


def workers(asked: float | None) -> int:
    """How many threads: what was asked for, else one per core, at least 2 (one may wait for the archive), at most 8."""
    return int(asked) if asked else min(8, max(2, os.cpu_count() or 2))


def in_order(work: Callable[[Item], Answer], items: Iterable[Item], threads: int) -> Iterator[Answer]:
    """Answers in the order of the items; at most two items per thread are under way, so memory stays flat.

    Each thread does the whole of an item: slices, decodes and runs the model. What `work` raises is raised here, and
    nothing new is begun after it, nor after the caller stops.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="airouter-pipeline") as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
