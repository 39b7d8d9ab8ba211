"""Views of studies on their way to the audit trail: one for each user, study and window, and none lost in silence."""

import threading
from collections.abc import Callable

import pytest

from airouter.adapters.views import Views
from airouter.domain.audit import AuditEvent, AuditKind, Outcome
from airouter.domain.role import Person, Role
from airouter.errors import JournalUnavailable

ALICE = Person("alice", frozenset({Role.READER}))
BOB = Person("bob", frozenset({Role.SUPERVISOR}))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Database:
    """Keeps events; fails as long as it is told to."""

    def __init__(self) -> None:
        self.kept: list[AuditEvent] = []
        self.fails = False
        self.tried = threading.Event()

    def record(self, event: AuditEvent) -> None:
        if self.fails:
            self.tried.set()
            raise JournalUnavailable("the disk is full")
        self.kept.append(event)


def written(views: Views, database: Database) -> list[tuple[str | None, str | None, dict[str, object]]]:
    """Everything told so far, once it is written."""
    views.stop()
    views.run(database.record)
    return [(e.user, e.study_uid, dict(e.detail)) for e in database.kept]


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def test_one_user_one_study_one_window_is_one_view() -> None:
    clock, database = Clock(), Database()
    views = Views(window=300, clock=clock)
    for what in ("findings", "panel", "images"):
        views.seen(ALICE, "1.2", what)
    views.seen(BOB, "1.2", "images")
    views.seen(ALICE, "1.3", "findings")
    clock.now = 299.0
    views.seen(ALICE, "1.2", "panel")
    clock.now = 300.0
    views.seen(ALICE, "1.2", "panel")
    assert written(views, database) == [
        ("alice", "1.2", {"opened": "findings"}),
        ("bob", "1.2", {"opened": "images"}),
        ("alice", "1.3", {"opened": "findings"}),
        ("alice", "1.2", {"opened": "panel"}),
    ]
    assert database.kept[0].roles == ("reader",)
    assert {e.kind for e in database.kept} == {AuditKind.VIEW}


def test_what_does_not_fit_is_counted_and_told() -> None:
    database = Database()
    views = Views(room=3)
    for n in range(10):
        views.seen(ALICE, f"1.{n}", "images")
    found = written(views, database)
    assert [study for _, study, _ in found] == ["1.0", "1.1", "1.2", None]
    assert found[-1][2] == {"not_listed": 7}
    assert database.kept[-1].outcome is Outcome.MINOR_FAILURE


def test_views_wait_for_a_database_that_fails_and_none_is_lost() -> None:
    database = Database()
    database.fails = True
    views = Views(room=100)
    thread = threading.Thread(target=views.run, args=(database.record,))
    thread.start()
    for n in range(20):
        views.seen(ALICE, f"1.{n}", "images")
    assert database.tried.wait(10)
    wait_until(lambda: views.problem != "")
    assert views.problem == "the disk is full"
    database.fails = False
    wait_until(lambda: len(database.kept) == 20)
    views.stop()
    thread.join(10)
    assert [e.study_uid for e in database.kept] == [f"1.{n}" for n in range(20)]
    assert views.problem == ""


def test_what_cannot_be_written_at_the_end_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.fails = True
    views = Views(room=5)
    for n in range(8):
        views.seen(ALICE, f"1.2.{n}", "images")
    assert written(views, database) == []
    assert "8 views of studies are missing in the audit trail: the disk is full" in caplog.text
    assert "alice" not in caplog.text
    assert "1.2." not in caplog.text


def test_telling_from_many_threads_loses_none() -> None:
    database = Database()
    views = Views()
    thread = threading.Thread(target=views.run, args=(database.record,))
    thread.start()

    def tell(n: int) -> None:
        for k in range(200):
            views.seen(Person(f"u{n % 4}", frozenset()), f"1.{k}", "images")

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    views.stop()
    thread.join(30)
    assert len({(e.user, e.study_uid) for e in database.kept}) == len(database.kept) == 800


def test_what_is_remembered_stays_bounded() -> None:
    database = Database()
    views = Views(room=10)
    thread = threading.Thread(target=views.run, args=(database.record,))
    thread.start()
    for n in range(100):
        views.seen(ALICE, f"1.{n}", "images")
        wait_until(lambda n=n: len(database.kept) == n + 1)  # type: ignore[misc]
    views.stop()
    thread.join(10)
    assert len(views._until) <= 10
