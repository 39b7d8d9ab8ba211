import os
import sys
import threading

import pytest

from airouter.pipelines.parallel import NICENESS, Arrivals, in_order, workers, yield_to_archive


def test_answers_come_in_order_whichever_thread_is_first():
    released = threading.Event()

    def work(n):
        if n == 0:
            assert released.wait(10)
        else:
            released.set()
        return n

    assert list(in_order(work, range(20), 3)) == list(range(20))


def test_a_failure_is_raised_and_nothing_new_is_begun():
    begun = []

    def work(n):
        begun.append(n)
        if n == 1:
            raise KeyError("broken")
        return n

    with pytest.raises(KeyError):
        list(in_order(work, range(1000), 2))
    assert len(begun) <= 8


def test_little_is_under_way_at_a_time():
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield n

    answers = in_order(lambda n: n, items(), 2)
    next(answers)
    assert len(taken) <= 4
    answers.close()
    assert len(taken) <= 4


def test_workers_are_bounded():
    assert workers(3) == 3
    assert 2 <= workers(None) <= 8


linux = pytest.mark.skipif(sys.platform != "linux", reason="a nice value belongs to a thread on Linux only")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@linux
def test_threads_that_analyse_give_way_to_those_of_the_archive_and_the_caller_does_not():
    before = niceness()
    assert set(in_order(lambda _: niceness(), range(10), 2)) == {max(before, NICENESS)}
    assert niceness() == before


@linux
def test_a_thread_that_gave_way_already_is_not_raised():
    seen = []

    def work():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS + 5)
        yield_to_archive()
        seen.append(niceness())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [NICENESS + 5]


class Crowd:
    """How many threads are inside `work` at once; each stays until as many as are expected have come, or none comes."""

    def __init__(self, expected: int) -> None:
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()
        self._all_here = threading.Event()
        self._expected = expected

    def work(self, _: int) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            if self._inside >= self._expected:
                self._all_here.set()
        self._all_here.wait(0.1)
        with self._lock:
            self._inside -= 1


def arriving_for(seconds):
    """Arrivals of a transfer that began so long ago and goes on."""
    now = [0.0]
    arrivals = Arrivals(clock=lambda: now[0])
    while now[0] <= seconds:
        arrivals.touch()
        now[0] += 0.1
    now[0] -= 0.1
    return arrivals, now


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (2, 1), (4, 3)])
def test_one_worker_rests_while_a_transfer_goes_on(threads, at_once):
    arrivals, _ = arriving_for(5.0)
    crowd = Crowd(threads + 1)
    list(in_order(crowd.work, range(3 * threads), threads, arrivals))
    assert crowd.most == at_once


def test_nothing_is_begun_while_a_transfer_is_young_and_all_go_on_after_it():
    arrivals, now = arriving_for(1.0)
    begun = threading.Event()
    done = []
    reader = threading.Thread(target=lambda: done.extend(in_order(lambda n: begun.set() or n, range(4), 2, arrivals)))
    reader.start()
    assert not begun.wait(0.2)
    now[0] += 0.3
    reader.join(10)
    assert done == [0, 1, 2, 3]


def test_a_trickle_of_images_does_not_stop_the_analysis():
    now = [0.0]
    arrivals = Arrivals(clock=lambda: now[0])
    rested = 0
    for _ in range(200):  # one a second: they are one transfer, however slow
        arrivals.touch()
        rested += arrivals.admitted(2) == 0
        now[0] += 1.0
    assert rested <= 3


def test_all_workers_go_on_when_nothing_arrives_any_more():
    arrivals, now = arriving_for(5.0)
    crowd = Crowd(2)
    answers = in_order(crowd.work, range(20), 2, arrivals)
    next(answers)
    now[0] += 1.0
    list(answers)
    assert crowd.most == 2
