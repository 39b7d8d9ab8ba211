"""The databases of the contracts: SQLite, and a PostgreSQL server for each module, emptied for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airouter.adapters import tables
from tests.postgresql_process import postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/journal.db"
    found: str = request.getfixturevalue("server")
    engine = sa.create_engine(found)
    tables.metadata.drop_all(engine)
    engine.dispose()
    return found
