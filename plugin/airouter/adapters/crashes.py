"""Which jobs ran when the process died, and how often: the queue's memory of poison.

DBOS counts how often a workflow was dispatched, and parks it above a limit. That count also rises when Orthanc is
restarted in an orderly way, and for a harmless job that ran beside the one that crashed. Here a run that ends, or that
a clean stop interrupts, leaves no trace; only one that was cut off by the end of the process counts.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from airouter.adapters.store import set_up_sqlite

_metadata: Final = sa.MetaData()
_run: Final = sa.Table(
    "airouter_run",
    _metadata,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("executor", sa.Text),  # who runs it now, NULL where nobody does
)


class CrashLog:
    """Runs begun and not ended, in the queue's own database. One thread works on one key at a time."""

    def __init__(self, url: str, executor: str) -> None:
        self._executor = executor
        self._engine = sa.create_engine(url, hide_parameters=True)
        if self._engine.dialect.name == "sqlite":
            set_up_sqlite(self._engine)
        _metadata.create_all(self._engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def recover(self) -> None:
        """Called before anything runs: what this executor was running, it was running when it died."""
        died = _run.update().where(_run.c.executor == self._executor)
        with self._write() as db:
            db.execute(died.values(executor=None, crashes=_run.c.crashes + 1))

    def crashes(self, key: str) -> int:
        """How many times the process died while it ran."""
        with self._engine.connect() as db:
            return db.execute(sa.select(_run.c.crashes).where(_run.c.key == key)).scalar_one_or_none() or 0

    def begin(self, key: str) -> None:
        """It runs now."""
        with self._write() as db:
            if not db.execute(_run.update().where(_run.c.key == key).values(executor=self._executor)).rowcount:
                db.execute(_run.insert().values(key=key, crashes=0, executor=self._executor))

    def pause(self, key: str) -> None:
        """A clean stop interrupted it: not its fault, and not its absolution."""
        with self._write() as db:
            db.execute(_run.update().where(_run.c.key == key).values(executor=None))

    def end(self, key: str) -> None:
        """It came to an end, whatever end."""
        with self._write() as db:
            db.execute(_run.delete().where(_run.c.key == key))

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._engine.connect().execution_options(airouter_write=True) as db, db.begin():
            yield db


class Gate:
    """Suspects run alone: many may be inside as `together`, or a single one as not.

    Where two jobs ran when the process died, only running each alone shows which of them it was.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._alone = False
        self._suspects_waiting = 0

    @contextmanager
    def enter(self, *, alone: bool, still: Callable[[], None]) -> Iterator[None]:
        """Wait for the place and hold it for the length of the `with`.

        `still` is called now and then while waiting; what it raises ends the wait.
        """
        with self._condition:
            if alone:
                self._suspects_waiting += 1
                try:
                    while self._inside or self._alone:
                        still()
                        self._condition.wait(0.5)
                finally:
                    self._suspects_waiting -= 1
                    self._condition.notify_all()
                self._alone = True
            else:
                # A suspect goes first, or a busy queue would keep it out for ever.
                while self._alone or self._suspects_waiting:
                    still()
                    self._condition.wait(0.5)
                self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                if alone:
                    self._alone = False
                else:
                    self._inside -= 1
                self._condition.notify_all()
