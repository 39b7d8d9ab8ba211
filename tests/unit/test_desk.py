"""Who may do what with a study on the worklist."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from airouter.domain.desk import Desk, NotDone, assign, claim, complete, holds, release, reopen, set_priority
from airouter.domain.priority import Priority
from airouter.domain.role import Person, Role

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN, BOB = (Person(name, frozenset({Role.READER})) for name in ("ann", "bob"))
EVE = Person("eve", frozenset({Role.SUPERVISOR}))
NOBODY = Person(None, frozenset(Role))
HERS = Desk(claimed_by="ann", claimed_until=NOW + HOUR)
READ = Desk(completed_by="ann", completed_at=NOW)


def done(outcome: Desk | NotDone) -> Desk:
    assert isinstance(outcome, Desk), outcome
    return outcome


def refused(outcome: Desk | NotDone, *, forbidden: bool) -> None:
    assert isinstance(outcome, NotDone), outcome
    assert outcome.forbidden is forbidden


def test_a_claim_is_for_one_and_for_a_time() -> None:
    assert done(claim(Desk(), ANN, NOW, HOUR)) == HERS
    assert done(claim(HERS, ANN, NOW + HOUR / 2, HOUR)).claimed_until == NOW + 1.5 * HOUR
    refused(claim(HERS, BOB, NOW, HOUR), forbidden=False)
    assert holds(HERS, NOW + HOUR) is None
    assert done(claim(HERS, BOB, NOW + HOUR, HOUR)).claimed_by == "bob"
    refused(claim(READ, BOB, NOW, HOUR), forbidden=False)


def test_a_claim_is_given_back_by_its_holder_or_taken_by_a_supervisor() -> None:
    for person in (ANN, EVE):
        assert done(release(HERS, person, NOW)) == Desk()
    refused(release(HERS, BOB, NOW), forbidden=True)
    assert done(release(HERS, BOB, NOW + HOUR)) == Desk(), "it has run out"


@pytest.mark.parametrize(
    ("person", "standing", "reader", "may"),
    [
        (ANN, None, "ann", True),
        (ANN, "ann", None, True),
        (ANN, None, "bob", False),
        (ANN, "bob", "ann", False),
        (ANN, "bob", None, False),
        (EVE, "bob", "ann", True),
        (EVE, None, "bob", True),
    ],
)
def test_assigning(person: Person, standing: str | None, reader: str | None, may: bool) -> None:
    outcome = assign(Desk(assigned=standing), person, reader)
    if may:
        assert done(outcome).assigned == reader
    else:
        refused(outcome, forbidden=True)


def test_a_lock_is_its_makers_and_a_supervisors() -> None:
    locked = done(set_priority(Desk(), ANN, Priority.LOW, "known", NOW))
    assert locked.lock is not None
    assert (locked.lock.priority, locked.lock.reason, locked.lock.by) == (Priority.LOW, "known", "ann")
    refused(set_priority(locked, BOB, None, "", NOW), forbidden=True)
    refused(set_priority(locked, BOB, Priority.STAT, "no", NOW), forbidden=True)
    for person in (ANN, EVE):
        assert done(set_priority(locked, person, None, "", NOW)) == Desk()
    refused(set_priority(Desk(assigned="bob"), ANN, Priority.STAT, "mine", NOW), forbidden=True)
    refused(set_priority(HERS, BOB, Priority.STAT, "mine", NOW), forbidden=True)
    assert done(set_priority(HERS, BOB, Priority.STAT, "free again", NOW + HOUR)).lock is not None


def test_completing_and_reopening() -> None:
    assert done(complete(HERS, ANN, NOW)) == READ
    refused(complete(HERS, BOB, NOW), forbidden=False)
    refused(complete(READ, ANN, NOW), forbidden=False)
    for person in (ANN, EVE):
        assert done(reopen(READ, person)) == Desk()
    refused(reopen(READ, BOB), forbidden=True)
    refused(reopen(Desk(), ANN), forbidden=False)


@pytest.mark.parametrize(
    "act",
    [
        lambda person: claim(Desk(), person, NOW, HOUR),
        lambda person: assign(Desk(), person, None),
        lambda person: set_priority(Desk(), person, Priority.STAT, "x", NOW),
        lambda person: complete(Desk(), person, NOW),
    ],
)
def test_nobody_without_a_name_does_anything(act: Callable[[Person], Desk | NotDone]) -> None:
    refused(act(NOBODY), forbidden=True)
