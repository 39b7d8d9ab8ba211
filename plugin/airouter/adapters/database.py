"""The journal in a database: one SQLite file, or PostgreSQL by its URL.

SQLite runs in WAL mode with synchronous=FULL: what a method has written survives a power cut when it returns.
Every write is one transaction that takes the write lock at its start, so that threads wait instead of failing.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from airouter.adapters import embeddings, rescans, results, tables
from airouter.adapters.rows import decision_content, decision_key, decision_of, job_content, job_of, record_of
from airouter.domain.decision import Decision, Outcome
from airouter.domain.job import Discontinuation, Job, JobState, Progress
from airouter.domain.picture import Chart
from airouter.domain.rescan import RescanEntry, RescanState
from airouter.errors import JobCanceled, JournalError, JournalUnavailable
from airouter.ports import JobRecord, ResultRecord, StoredEmbedding, WorklistEntry

_BUSY_SECONDS: Final = 30
_ENDED: Final = (JobState.COMPLETED, JobState.CANCELED)


class DatabaseJournal:
    """ports.Journal at an SQLAlchemy URL (`sqlite:////path/journal.db`, `postgresql+psycopg://...`); threads share it.

    Raises JournalError where the database is damaged or of a newer version, JournalUnavailable (transient) where it
    does not take a read or write now: locked for more than half a minute, disk full, server down.
    """

    def __init__(self, url: str) -> None:
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

    # -- cursor -------------------------------------------------------------------------------------------------------

    def cursor(self) -> int:
        with self._read() as db:
            return db.execute(sa.select(tables.cursor.c.seq)).scalar_one_or_none() or 0

    def advance(self, seq: int) -> None:
        upsert = self._insert(tables.cursor).values(id=1, seq=seq)
        with self._write() as db:
            db.execute(
                upsert.on_conflict_do_update(
                    index_elements=["id"], set_={"seq": seq}, where=tables.cursor.c.seq < upsert.excluded.seq
                )
            )

    # -- decisions ----------------------------------------------------------------------------------------------------

    def decide(self, decisions: Sequence[Decision]) -> None:
        t = tables.decision
        made = _now()
        # What was waited for has more sources now, or none of the routes' names: it does not replace itself.
        # What a job came to says nothing of what is waited for now.
        decided = {d.series_uid for d in decisions if d.outcome not in (Outcome.WAITING, Outcome.UNGRADABLE)}
        with self._write() as db:
            db.execute(t.delete().where(t.c.waiting.in_(sorted(decided))))
            for decision in decisions:
                key, content = decision_key(decision), decision_content(decision)
                same = (t.c.sources == key) & (t.c.route == decision.route)
                standing = db.execute(sa.select(t.c.content).where(same)).scalar_one_or_none()
                if standing == content:
                    continue  # the time is when it was decided so first
                row = {
                    "sources": key,
                    "route": decision.route,
                    "study_uid": decision.study_uid,
                    "made": made,
                    "waiting": decision.series_uid if decision.outcome is Outcome.WAITING else None,
                    "content": content,
                }
                db.execute(
                    self._insert(t).values(row).on_conflict_do_update(index_elements=["sources", "route"], set_=row)
                )

    def decisions(self, study_uid: str | None = None, limit: int = 100) -> list[tuple[str, Decision]]:
        t = tables.decision
        query = sa.select(t.c.made, t.c.content).order_by(t.c.made.desc(), t.c.id.desc()).limit(_limit(limit))
        if study_uid is not None:
            query = query.where(t.c.study_uid == study_uid)
        with self._read() as db:
            return [(made, decision_of(content)) for made, content in db.execute(query)]

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def add(self, job: Job, requested_by: str | None = None) -> bool:
        row = {
            "key": job.key,
            "study_uid": job.study_uid,
            "study_id": job.study_id,
            "content": job_content(job),
            "state": JobState.SCHEDULED,
            "created": _now(),
            "requested_by": requested_by,
            "attempts": 0,
        }
        added = self._insert(tables.job).values(row).on_conflict_do_nothing(index_elements=["key"])
        with self._write() as db:
            return db.execute(added.returning(tables.job.c.id)).first() is not None

    def job(self, key: str) -> JobRecord | None:
        with self._read() as db:
            row = db.execute(sa.select(tables.job).where(tables.job.c.key == key)).mappings().first()
        return record_of(row) if row is not None else None

    def jobs(self, study_uid: str | None = None, state: JobState | None = None, limit: int = 100) -> list[JobRecord]:
        t = tables.job
        query = sa.select(t).order_by(t.c.id.desc()).limit(_limit(limit))
        if study_uid is not None:
            query = query.where(t.c.study_uid == study_uid)
        if state is not None:
            query = query.where(t.c.state == state)
        with self._read() as db:
            return [record_of(row) for row in db.execute(query).mappings()]

    def counts(self) -> dict[JobState, int]:
        t = tables.job
        with self._read() as db:
            rows = db.execute(sa.select(t.c.state, sa.func.count()).group_by(t.c.state)).all()
        return {JobState(state): count for state, count in rows}

    def start(self, key: str, execution_provider: str) -> None:
        """As the port says. Raises JobCanceled where it was canceled meanwhile; a COMPLETED job stays as it is."""
        t = tables.job
        with self._write() as db:
            if self._state(db, key) is JobState.COMPLETED:
                return
            db.execute(
                t.update()
                .where(t.c.key == key)
                .values(
                    state=JobState.IN_PROGRESS,
                    started=_now(),
                    execution_provider=execution_provider,
                    attempts=t.c.attempts + 1,
                    done=None,
                    total=None,
                    unit=None,
                )
            )

    def progress(self, key: str, progress: Progress) -> None:
        t = tables.job
        with self._write() as db:
            db.execute(
                t.update()
                .where(t.c.key == key, t.c.state == JobState.IN_PROGRESS)
                .values(done=progress.done, total=progress.total, unit=progress.unit)
            )

    def complete(self, result: ResultRecord, reason: str | None = None) -> None:
        """As the port says. Raises JobCanceled where it was canceled meanwhile: nothing is kept of the result then."""
        now = _now()
        with self._write() as db:
            if self._state(db, result.job) is JobState.COMPLETED:
                return
            t = tables.job
            done = t.update().where(t.c.key == result.job).values(state=JobState.COMPLETED, ended=now, reason=reason)
            job = job_of(db.execute(done.returning(t.c.content)).scalar_one())
            results.keep(db, self._insert, result)
            if result.embedding is not None:
                embeddings.keep(db, job, result.embedding, now)
            if result.fitness is not None:
                rescans.keep(db, job, result.fitness, now)
            results.prioritise(db, self._insert, result.study_uid, job.study_id, now)

    def cancel(self, key: str, why: Discontinuation, reason: str) -> None:
        t = tables.job
        with self._write() as db:
            db.execute(
                t.update()
                .where(t.c.key == key, t.c.state.not_in(_ENDED))
                .values(state=JobState.CANCELED, ended=_now(), discontinuation=why, reason=reason)
            )

    def reschedule(self, key: str, requested_by: str | None = None) -> bool:
        t = tables.job
        blank = dict.fromkeys(("started", "ended", "reason", "discontinuation", "done", "total", "unit"))
        again = t.update().where(t.c.key == key, t.c.state == JobState.CANCELED)
        with self._write() as db:
            changes = {"state": JobState.SCHEDULED, "requested_by": requested_by, **blank}
            return db.execute(again.values(changes).returning(t.c.id)).first() is not None

    # -- results ------------------------------------------------------------------------------------------------------

    def results(self, study_uid: str) -> list[ResultRecord]:
        with self._read() as db:
            return results.of_study(db, study_uid)

    def charts(self, job: str) -> tuple[Chart, ...]:
        with self._read() as db:
            return results.charts(db, job)

    def worklist(self, limit: int = 100) -> list[WorklistEntry]:
        with self._read() as db:
            return results.worklist(db, _limit(limit))

    def ours(self, uids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with self._read() as db:
            for at in range(0, len(uids), 500):  # SQLite binds a limited number of values in one statement
                some = tables.evidence.c.uid.in_(uids[at : at + 500])
                found.update(db.execute(sa.select(tables.evidence.c.uid).where(some)).scalars())
        return found

    # -- slides to scan again -----------------------------------------------------------------------------------------

    def rescans(self, state: RescanState | None = RescanState.OPEN, limit: int = 100) -> list[RescanEntry]:
        with self._read() as db:
            return rescans.read(db, state, _limit(limit))

    def rescans_of(self, study_uid: str) -> list[RescanEntry]:
        with self._read() as db:
            return rescans.of_study(db, study_uid)

    def rescan(self, series_uid: str) -> RescanEntry | None:
        with self._read() as db:
            return rescans.of_series(db, series_uid)

    def dismiss(self, series_uid: str, reason: str, by: str | None = None) -> RescanEntry | None:
        with self._write() as db:
            return rescans.dismiss(db, series_uid, reason, by, _now())

    # -- embeddings ---------------------------------------------------------------------------------------------------

    def embeddings(self, after: int = 0, limit: int = 500) -> list[StoredEmbedding]:
        with self._read() as db:
            return embeddings.read(db, after, _limit(limit))

    def forget(self, study_id: str) -> None:
        with self._write() as db:
            embeddings.forget(db, study_id)

    def job_of(self, series_uid: str, pipeline: str) -> JobRecord | None:
        t = tables.job
        said = t.c.content["series_uid"].as_string() == series_uid, t.c.content["pipeline"].as_string() == pipeline
        with self._read() as db:
            row = db.execute(sa.select(t).where(*said).order_by(t.c.id.desc()).limit(1)).mappings().first()
        return record_of(row) if row is not None else None

    # -- what the intake remembers ------------------------------------------------------------------------------------

    def settled(self, study_id: str) -> str | None:
        t = tables.settled
        with self._read() as db:
            return db.execute(sa.select(t.c.digest).where(t.c.study_id == study_id)).scalar_one_or_none()

    def settle(self, study_id: str, digest: str) -> None:
        row = {"study_id": study_id, "digest": digest}
        kept = self._insert(tables.settled).values(row)
        with self._write() as db:
            db.execute(kept.on_conflict_do_update(index_elements=["study_id"], set_=row))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Check the file, then its version, then make what is missing."""
        if self._sqlite:
            with self._read() as db:
                verdict = db.execute(sa.text("PRAGMA quick_check(1)")).scalar_one()
            if verdict != "ok":
                raise JournalError(f"database {self._name} is damaged: {verdict}")
        with self._write() as db:
            # Before anything is made: a database of a newer version is left exactly as it was.
            known = sa.inspect(db).has_table(tables.schema.name)
            version = db.execute(sa.select(tables.schema.c.version)).scalar_one_or_none() if known else None
            if version is not None and version > tables.SCHEMA:
                raise JournalError(
                    f"database {self._name} has version {version}, this router knows up to {tables.SCHEMA}"
                )
            tables.metadata.create_all(db)
            if version is None:
                db.execute(self._insert(tables.schema).values(version=tables.SCHEMA))
            elif version < tables.SCHEMA:  # what later versions added: tables, which stand there by now, and columns
                for column in tables.LATER:
                    if column.name not in {c["name"] for c in sa.inspect(db).get_columns(column.table.name)}:
                        db.execute(sa.text(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} TEXT"))
                db.execute(tables.schema.update().values(version=tables.SCHEMA))

    @property
    def _name(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def _insert(self, table: sa.Table) -> Any:
        """INSERT with ON CONFLICT, which both databases spell alike and SQLAlchemy types apart."""
        return sqlite.insert(table) if self._sqlite else postgresql.insert(table)

    def _state(self, db: sa.Connection, key: str) -> JobState:
        """State of a job, its row locked. Raises JobCanceled for CANCELED, JournalError for an unknown key."""
        t = tables.job
        query = sa.select(t.c.state, t.c.reason).where(t.c.key == key).with_for_update()
        row = db.execute(query).first()
        if row is None:
            raise JournalError(f"job {key} is unknown")
        if row.state == JobState.CANCELED:
            raise JobCanceled(f"job {key} was canceled: {row.reason}")
        return JobState(row.state)

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._failures(), self._engine.connect() as db:
            yield db

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
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


def _limit(limit: int) -> int:
    return max(0, limit)  # SQLite takes a negative one for none at all


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
