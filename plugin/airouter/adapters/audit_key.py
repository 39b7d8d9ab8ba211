"""The key that seals the audit trail: 32 bytes in a file of its owner alone, made when the trail begins.

A trail goes on with the key it was begun with or not at all: with another one its chain would fork, and nobody could
tell an honest change of the key from a forged trail. The database knows the key's fingerprint, never the key.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.store import Store
from airouter.domain.audit import GENESIS, fingerprint, seal
from airouter.errors import AuditKeyError

BYTES: Final = 32


def adopt(store: Store, path: Path) -> None:
    """Let the store seal with the key of this file, which is made where no trail has begun yet.

    Raises AuditKeyError where a trail has begun and the key is missing or another one.
    """
    if not path.exists():
        if _begun(store):
            raise AuditKeyError("the audit trail has begun already, and its key is missing: with another one it forks")
        _make(path)
    key = load(path)
    t = tables.audit_key
    with store.write() as db:
        mine = store.insert(t).values(id=1, fingerprint=fingerprint(key))
        db.execute(mine.on_conflict_do_nothing(index_elements=["id"]))
        known = db.execute(sa.select(t.c.fingerprint).where(t.c.id == 1)).scalar_one()
        if known != fingerprint(key) or not _sealed(db, key):
            raise AuditKeyError("the key of the audit trail is not the one that the trail was begun with")
    store.seal = key


def load(path: Path) -> bytes:
    """The key of a file. Raises AuditKeyError."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise AuditKeyError(f"the key of the audit trail cannot be read: {error.strerror}") from error
    if len(key) != BYTES:
        raise AuditKeyError(f"the key of the audit trail has {len(key)} bytes, not {BYTES}")
    return key


def _begun(store: Store) -> bool:
    with store.read() as db:
        return any(
            db.execute(sa.select(sa.literal(1)).select_from(t).limit(1)).first() is not None
            for t in (tables.audit, tables.audit_head, tables.audit_key)
        )


def _sealed(db: sa.Connection, key: bytes) -> bool:
    """Whether the last record carries the seal of this key; true of an empty trail."""
    t = tables.audit
    last = db.execute(sa.select(t.c.text, t.c.digest).order_by(t.c.seq.desc()).limit(2)).all()
    if not last:
        return True
    return bool(last[0].digest == seal(key, last[1].digest if len(last) > 1 else GENESIS, last[0].text))


def _make(path: Path) -> None:
    """Write a new key; of two processes at once one wins, and the file is never there in part."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise AuditKeyError(f"the key of the audit trail cannot be written: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)
