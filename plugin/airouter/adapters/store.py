"""The database under the journal: one SQLite file, or PostgreSQL by its URL; opening, migration, transactions.

SQLite runs in WAL mode with synchronous=FULL: what a transaction has written survives a power cut when it returns.
Every write is one transaction that takes the write lock at its start, so that threads wait instead of failing.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from airouter.adapters import tables
from airouter.errors import JournalError, JournalUnavailable

_BUSY_SECONDS: Final = 30


class Store:
    """The tables at an SQLAlchemy URL (`sqlite:////path/journal.db`, `postgresql+psycopg://...`); threads share it.

    `seal` is the key of the audit trail's chain; with an empty one the chain proves the order but not the author.
    Raises JournalError where the database is damaged or of a newer version, JournalUnavailable (transient) where it
    does not take a read or write now: locked for more than half a minute, disk full, server down.
    """

    def __init__(self, url: str, seal: bytes = b"") -> None:
        self.seal = seal
        try:
            self._url = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError) as error:  # the text is not repeated: it may hold a password
            raise JournalError("the database URL cannot be read") from error
        self._sqlite = self._url.get_backend_name() == "sqlite"
        if not self._sqlite and self._url.get_backend_name() != "postgresql":
            raise JournalError(f"unsupported database {self._url.get_backend_name()}: use sqlite or postgresql")
        if self._sqlite and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(self._url, pool_pre_ping=not self._sqlite, hide_parameters=True)
        if self._sqlite:
            set_up_sqlite(self._engine)
        try:
            self._open()
        except BaseException:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def insert(self, table: sa.Table) -> Any:
        """INSERT with ON CONFLICT, which both databases spell alike and SQLAlchemy types apart."""
        return sqlite.insert(table) if self._sqlite else postgresql.insert(table)

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        with self._failures(), self._engine.connect() as db:
            yield db

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with (
            self._failures(),
            self._engine.connect().execution_options(airouter_write=True) as db,
            db.begin(),
        ):
            yield db

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            raise JournalUnavailable(f"database {self._name}: {_reason(error)}") from error
        except sqlite3.OperationalError as error:  # from a pragma on a new connection, which SQLAlchemy does not wrap
            raise JournalUnavailable(f"database {self._name}: {_reason(error)}") from error
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:  # "file is not a database", "malformed"
            raise JournalError(f"database {self._name}: {_reason(error)}") from error

    def _open(self) -> None:
        """Check the file, then its version, then make what is missing."""
        if self._sqlite:
            with self.read() as db:
                verdict = db.execute(sa.text("PRAGMA quick_check(1)")).scalar_one()
            if verdict != "ok":
                raise JournalError(f"database {self._name} is damaged: {verdict}")
        with self.write() as db:
            # Before anything is made: a database of a newer version is left exactly as it was.
            known = sa.inspect(db).has_table(tables.schema.name)
            version = db.execute(sa.select(tables.schema.c.version)).scalar_one_or_none() if known else None
            if version is not None and version > tables.SCHEMA:
                raise JournalError(
                    f"database {self._name} has version {version}, this router knows up to {tables.SCHEMA}"
                )
            tables.metadata.create_all(db)
            if version is None:
                db.execute(self.insert(tables.schema).values(version=tables.SCHEMA))
            elif version < tables.SCHEMA:  # what later versions added: tables, which stand there by now, and columns
                for column in tables.LATER:
                    if column.name not in {c["name"] for c in sa.inspect(db).get_columns(column.table.name)}:
                        db.execute(sa.text(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} TEXT"))
                db.execute(tables.schema.update().values(version=tables.SCHEMA))

    @property
    def _name(self) -> str:
        return self._url.render_as_string(hide_password=True)


def set_up_sqlite(engine: sa.Engine) -> None:
    """Pragmas for every connection, and transactions that begin when we say so instead of at the first change."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={_BUSY_SECONDS * 1000}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that reads first and then writes cannot wait for the lock (SQLITE_BUSY_SNAPSHOT): take it now.
        immediate = connection.get_execution_options().get("airouter_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _reason(error: Exception) -> str:
    """The driver's own words, without the statement."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def now() -> str:
    """The time as every table keeps it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
