"""Work spread over threads whose answers come in order, so that no result depends on which thread was first."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from airouter.pipelines.pipeline import Parameter

Item = TypeVar("Item")
Answer = TypeVar("Answer")

WORKERS = Parameter("workers", None, "1", "threads; where not set one per core, 2 to 8", 1, 64, whole=True)


# Nice value of the threads that analyse: a thread of Orthanc that wakes goes before them, and where nothing else wants
# the processor they lose nothing. Not the lowest: a thread may hold Python's interpreter lock while it waits for its
# turn, and Orthanc's callbacks wait for that lock.
NICENESS = 10


def yield_to_archive() -> None:
    """Let the calling thread give way to Orthanc's own threads, for as long as it lives: it must be one of ours.

    On Linux a nice value belongs to a thread. Elsewhere it belongs to the process, archive included: left as it is.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


# Nothing new is begun while a transfer is young, so that Orthanc has the machine to itself; of one that goes on for
# longer, one worker fewer goes on beside it. Times in s: how long after an instance another one is expected, how long
# all workers rest, and how long nothing must have come for the next instance to begin another transfer.
_EXPECTED = 0.25
_ALL_REST = 3.0
_APART = 10.0
_LOOK_AGAIN = 0.02


class Arrivals:
    """When the archive took something in. `touch` may be called from any thread and costs nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first = self._last = float("-inf")

    def touch(self) -> None:
        """Something was stored just now."""
        now = self._clock()
        if now - self._last > _APART:
            self._first = now
        self._last = now

    def admitted(self, workers: int) -> int:
        """How many of so many workers may go on now."""
        now = self._clock()
        if now - self._last >= _EXPECTED:
            return workers
        return 0 if now - self._first < _ALL_REST else max(1, workers - 1)


# One for the process: what is to be spared is the machine.
ARRIVALS = Arrivals()


class _Gate:
    """Lets as many workers at a time go on as the arrivals leave room for."""

    def __init__(self, workers: int, arrivals: Arrivals) -> None:
        self._workers = workers
        self._arrivals = arrivals
        self._inside = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            while self._inside >= self._arrivals.admitted(self._workers):
                self._changed.wait(_LOOK_AGAIN)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify()


def workers(asked: float | None) -> int:
    """How many threads: what was asked for, else one per core, at least 2 (one may wait for the archive), at most 8."""
    return int(asked) if asked else min(8, max(2, os.cpu_count() or 2))


def in_order(
    work: Callable[[Item], Answer], items: Iterable[Item], threads: int, arrivals: Arrivals = ARRIVALS
) -> Iterator[Answer]:
    """Answers in the order of the items; at most two items per thread are under way, so memory stays flat.

    Each thread does the whole of an item: slices, decodes and runs the model. What `work` raises is raised here, and
    nothing new is begun after it, nor after the caller stops. While something arrives in the archive threads rest.
    """
    gate = _Gate(threads, arrivals)

    def admitted(item: Item) -> Answer:
        with gate:
            return work(item)

    with ThreadPoolExecutor(threads, thread_name_prefix="airouter-pipeline", initializer=yield_to_archive) as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(admitted, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
