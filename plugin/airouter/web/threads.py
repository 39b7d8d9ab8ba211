"""Threads with room to work: Orthanc's HTTP threads have a 100 KB stack, on which a deep JSON body is a crash."""

import threading
from concurrent.futures import ThreadPoolExecutor

STACK_BYTES = 16 << 20


def large_stack_pool(workers: int, stack_bytes: int = STACK_BYTES) -> ThreadPoolExecutor:
    """A pool whose threads all run already, each with a stack of `stack_bytes`.

    They are started here and not on demand: a thread takes the stack size that is set when it starts, and nothing
    should be started from a callback. Shut the pool down when Orthanc stops: `shutdown(cancel_futures=True)`.
    Raises ValueError for fewer than one worker or a stack size the system refuses.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="airouter-web")
    everyone = threading.Barrier(workers + 1)
    before = threading.stack_size(stack_bytes)
    try:
        # A task that waits for all others keeps its thread busy, so that every submit has to start a new one.
        for _ in range(workers):
            pool.submit(everyone.wait)
        everyone.wait()
    finally:
        threading.stack_size(before)
    return pool
