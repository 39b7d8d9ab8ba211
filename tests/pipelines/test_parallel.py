import threading

import pytest

from airouter.pipelines.parallel import in_order, workers


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
