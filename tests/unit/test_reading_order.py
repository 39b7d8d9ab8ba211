"""The order in which studies are read: laws that hold whatever arrives."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.audit_sample import drawn
from airouter.domain.priority import Priority
from airouter.domain.reading_order import ALLOWANCE_MINUTES, Allowances, Lock, Place, counted, place, spoken, why_before

START = datetime(2026, 1, 1, tzinfo=UTC)
PRIORITIES = st.sampled_from(list(Priority))
ALLOWANCES = st.lists(st.integers(0, 10_000), min_size=4, max_size=4).map(
    lambda minutes: Allowances(dict(zip(Priority, sorted(minutes), strict=True)))
)
ARRIVALS = st.lists(st.tuples(st.integers(0, 20_000), PRIORITIES), min_size=1, max_size=60)


def places(arrivals: list[tuple[int, Priority]], allowances: Allowances) -> list[Place]:
    return [
        place(f"1.{n}", START + timedelta(minutes=minute), priority, allowances)
        for n, (minute, priority) in enumerate(arrivals)
    ]


@given(ARRIVALS, ALLOWANCES)
def test_the_order_is_total(arrivals: list[tuple[int, Priority]], allowances: Allowances) -> None:
    made = places(arrivals, allowances)
    assert len({one.key for one in made}) == len(made)
    turned = made[::-1]
    assert sorted(turned, key=lambda one: one.key) == sorted(made, key=lambda one: one.key)


@given(ARRIVALS, ALLOWANCES)
def test_only_what_arrived_before_a_study_is_due_ever_stands_before_it(
    arrivals: list[tuple[int, Priority]], allowances: Allowances
) -> None:
    """So none waits for ever: after its due time nothing is put before it any more."""
    made = places(arrivals, allowances)
    for one in made:
        assert all(other.arrived <= one.due for other in made if other.key < one.key)


@given(ARRIVALS, ALLOWANCES)
def test_every_study_reaches_the_head_in_bounded_time(
    arrivals: list[tuple[int, Priority]], allowances: Allowances
) -> None:
    """One reader who takes the head each minute, while more arrive: from its arrival to its reading a study waits its
    allowance at most, and a minute for each study that was there by its due time."""
    made = places(arrivals, allowances)
    unread, now, read = set(made), START, {}
    while unread:
        there = [one for one in unread if one.arrived <= now]
        if there:
            head = min(there, key=lambda one: one.key)
            unread.remove(head)
            read[head.study_uid] = now
        now += timedelta(minutes=1)
    for one in made:
        before = sum(other.arrived <= one.due for other in made)
        assert read[one.study_uid] <= one.due + timedelta(minutes=before)


@given(st.integers(0, 1000), PRIORITIES, PRIORITIES, ALLOWANCES)
def test_more_urgent_is_never_due_later_at_equal_arrival(
    minute: int, one: Priority, other: Priority, allowances: Allowances
) -> None:
    arrived = START + timedelta(minutes=minute)
    urgent, calm = sorted((one, other), key=lambda priority: priority.rank)
    assert allowances.due(arrived, urgent) <= allowances.due(arrived, calm)


@given(st.integers(0, 1000), PRIORITIES)
def test_what_has_waited_its_allowance_is_level_with_a_stat_that_arrives_now(minute: int, priority: Priority) -> None:
    usual = Allowances()
    arrived = START + timedelta(minutes=minute)
    now = arrived + timedelta(minutes=ALLOWANCE_MINUTES[priority])
    waited, stat = place("1.1", arrived, priority, usual), place("1.2", now, Priority.STAT, usual)
    assert waited.due == stat.due
    assert min(waited, stat, key=lambda one: one.key) is waited, "of equals the one that came first"


def test_the_usual_allowances() -> None:
    assert [ALLOWANCE_MINUTES[priority] for priority in Priority] == [0, 240, 1440, 4320]


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        ((0, 1, 2), "each of"),
        ((0, 10, 5, 20), "must not have a longer"),
        ((-1, 0, 0, 0), "0 or more"),
        ((0, 0, 0, float("inf")), "0 or more"),
        ((0, 0, float("nan"), 1), "0 or more"),
    ],
)
def test_impossible_allowances_are_refused(minutes: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Allowances(dict(zip(Priority, minutes, strict=False)))


def test_a_persons_priority_counts_instead_of_the_machines() -> None:
    lock = Lock(Priority.LOW, "seen by phone", "ann", "2026-01-01T00:00:00+00:00")
    assert counted(Priority.STAT, lock) is Priority.LOW
    assert counted(Priority.STAT, None) is Priority.STAT


def test_neighbours_are_explained() -> None:
    usual = Allowances()
    stat = place("1.1", START, Priority.STAT, usual)
    high = place("1.2", START, Priority.HIGH, usual)
    old = place("1.3", START - timedelta(days=3, hours=1), Priority.LOW, usual)
    assert why_before(stat, high) == "due 4 h earlier: STAT is more urgent than HIGH"
    assert why_before(old, stat) == "due 1 h earlier: LOW, but it has waited 3 d 1 h longer"
    later = place("1.4", START + timedelta(minutes=5), Priority.HIGH, usual)
    assert why_before(high, later) == "due 5 min earlier: both HIGH, and it arrived earlier"
    level = place("1.5", START + timedelta(hours=4), Priority.STAT, usual)
    assert why_before(high, level) == "due at the same time and arrived earlier"
    assert why_before(stat, place("1.9", START, Priority.STAT, usual)) == "due and arrived at the same time"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7260, "2 h 1 min"), (86400, "1 d"), (97200, "1 d 3 h")],
)
def test_lengths_of_time(seconds: int, said: str) -> None:
    assert spoken(timedelta(seconds=seconds)) == said


@given(st.binary(min_size=1, max_size=32), st.integers(0, 10**9))
def test_the_audit_draws_the_same_study_again(key: bytes, number: int) -> None:
    uid = f"1.2.{number}"
    assert not drawn(key, uid, 0.0)
    assert drawn(key, uid, 1.0)
    shares = [drawn(key, uid, share / 10) for share in range(11)]
    assert shares == sorted(shares), "a larger share draws all that a smaller one draws"


def test_the_audit_draws_its_share_and_not_without_the_key() -> None:
    uids = [f"1.2.{n}" for n in range(4000)]
    one, other = ({uid for uid in uids if drawn(key, uid, 0.1)} for key in (b"a key", b"another"))
    assert 320 <= len(one) <= 480
    assert one != other
    assert len(one & other) < 100
