"""Which verdict decides a study, and from which bucket it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.priority import Priority, Reading, Verdict, most_urgent

FULL, RELEASE = Reading.FULL, Reading.REVIEW_AND_RELEASE
VERDICTS = st.lists(
    st.builds(Verdict, st.sampled_from(Priority), st.sampled_from(["a", "b"]), st.sampled_from([None, FULL, RELEASE])),
    max_size=5,
)


def verdict(priority: Priority, reading: Reading | None = None, reason: str = "") -> Verdict:
    return Verdict(priority, reason or f"{priority} {reading}", reading)


def test_without_results_nothing_decides() -> None:
    assert most_urgent([]) is None


def test_the_first_of_the_most_urgent_decides() -> None:
    first = verdict(Priority.HIGH, reason="first")
    assert most_urgent([verdict(Priority.LOW), first, verdict(Priority.HIGH, reason="second")]) == first


@pytest.mark.parametrize(
    ("asked", "bucket"),
    [
        ([(Priority.ROUTINE, None)], None),
        ([(Priority.STAT, None)], None),
        ([(Priority.ROUTINE, RELEASE)], RELEASE),
        ([(Priority.LOW, RELEASE), (Priority.ROUTINE, None)], RELEASE),
        ([(Priority.ROUTINE, RELEASE), (Priority.LOW, FULL)], FULL),
        ([(Priority.ROUTINE, FULL)], FULL),
        ([(Priority.HIGH, None), (Priority.ROUTINE, RELEASE)], FULL),
        ([(Priority.STAT, RELEASE)], FULL),
    ],
)
def test_the_bucket_is_that_of_all_results_together(
    asked: list[tuple[Priority, Reading | None]], bucket: Reading | None
) -> None:
    decides = most_urgent([verdict(*each) for each in asked])
    assert decides is not None and decides.reading is bucket


@given(VERDICTS)
def test_nobody_releases_what_is_urgent_or_what_anyone_wants_read(verdicts: list[Verdict]) -> None:
    decides = most_urgent(verdicts)
    if decides is None:
        assert verdicts == []
        return
    asked = {v.reading for v in verdicts}
    urgent = any(v.priority in (Priority.STAT, Priority.HIGH) for v in verdicts)
    assert decides.priority.rank == min(v.priority.rank for v in verdicts)
    assert (decides.reading is RELEASE) == (RELEASE in asked and FULL not in asked and not urgent)
    assert (decides.reading is None) == (asked == {None})
