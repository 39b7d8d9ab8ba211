"""Work taken by several threads, each the next piece when it is done with one, and how long all of it took."""

import itertools
import threading
import time
from collections.abc import Callable


def seconds(work: Callable[[int], object], count: int, threads: int) -> float:
    """Seconds until `work` was called with 0 to `count` - 1. Raises the first thing that it raised."""
    takes = itertools.count()
    failures: list[BaseException] = []

    def take() -> None:
        try:
            while (number := next(takes)) < count:
                work(number)
        except BaseException as error:  # noqa: BLE001 - told to whoever started this thread
            failures.append(error)

    workers = [threading.Thread(target=take) for _ in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - begin
