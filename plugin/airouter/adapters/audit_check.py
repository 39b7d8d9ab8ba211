"""Checking an audit trail from outside of the router: read only, also while Orthanc runs."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.audit import walk
from airouter.domain.audit import GENESIS, AuditRecord, Head
from airouter.domain.audit_chain import Anchor, Broken, Verified, genuine, verify
from airouter.domain.audit_lines import anchor, parse, record_line
from airouter.errors import JournalError

_Write = Callable[[AuditRecord], AuditRecord]


def check(url: str, key: bytes, files: Iterable[Path] = (), export: Path | None = None) -> Verified | Broken:
    """Verify the trail in the database against its own head and the lines of these files.

    `export`: a new file that gets every record, and stays only if the trail is whole. Raises JournalError where the
    database or a file cannot be read.
    """
    anchors: list[Anchor] = []
    for file in files:
        found = _anchors(file, key)
        if isinstance(found, Broken):
            return found
        anchors += found
    with _reading(url) as db:
        h = tables.audit_head
        row = db.execute(sa.select(h.c.seq, h.c.digest).where(h.c.id == 1)).first()
        with _exported(export) as write:
            result = verify(map(write, walk(db)), key, anchors)
    if isinstance(result, Verified):
        result = _against_head(result, Anchor(row.seq, row.digest) if row is not None else Anchor(0, GENESIS))
    if isinstance(result, Broken) and export is not None:
        export.unlink(missing_ok=True)
    return result


def _against_head(found: Verified, head: Anchor) -> Verified | Broken:
    if found.records < head.seq:
        why = f"missing: the trail ends before it, and its own head names record {head.seq}"
        return Broken(found.records + 1, why)
    if found.records > head.seq:
        return Broken(head.seq + 1, "it is there, and the trail's own head does not know it")
    if found.digest != head.digest:
        return Broken(head.seq, "another record than the one that the trail's own head names")
    return found


def _anchors(file: Path, key: bytes) -> list[Anchor] | Broken:
    found = []
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                said = parse(line)
                if isinstance(said, Head) and not genuine(said, key):
                    return Broken(said.seq, f"{file.name} has a head of this number that was not signed with the key")
                if said is not None:
                    found.append(anchor(said))
    except OSError as error:
        raise JournalError(f"{file} cannot be read: {error.strerror}") from error
    return found


@contextlib.contextmanager
def _exported(export: Path | None) -> Iterator[_Write]:
    if export is None:
        yield lambda record: record
        return
    try:
        handle = os.open(export, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise JournalError(f"{export} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:

        def write(record: AuditRecord) -> AuditRecord:
            file.write(record_line(record) + "\n")
            return record

        yield write


@contextlib.contextmanager
def _reading(url: str) -> Iterator[sa.Connection]:
    """One read transaction that sees the trail as it stands now, and could not write if it wanted to."""
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            path = Path(parsed.database or "").resolve()
            if not path.is_file():
                raise JournalError("there is no database yet at the place that the configuration names")
            uri = f"file:{quote(str(path))}?mode=ro"
            engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=30))
        else:
            options = {"options": "-c default_transaction_read_only=on"}
            engine = sa.create_engine(
                parsed, connect_args=options, isolation_level="REPEATABLE READ", hide_parameters=True
            )
        try:
            with engine.connect() as db:
                if engine.dialect.name == "sqlite":
                    db.exec_driver_sql("BEGIN")
                if not sa.inspect(db).has_table(tables.audit.name):
                    raise JournalError("the database has no audit trail: a version of the router before it wrote it")
                yield db
        finally:
            engine.dispose()
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise JournalError(f"the database cannot be read: {reason}") from error
