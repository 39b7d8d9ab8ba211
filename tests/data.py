"""Real data for tests: found beside the checkout, never part of it."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("AIROUTER_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def files(*patterns: str) -> list[Path]:
    """Every file of the real data that one of the glob patterns names; the calling test is skipped without any."""
    found = [path for pattern in patterns for path in sorted(FOLDER.glob(pattern))]
    if not found:
        pytest.skip(f"real data is absent: {', '.join(patterns)} (set AIROUTER_DATA to its folder)")
    return found


def data(name: str) -> Path:
    """A file or folder of the real data; the calling test is skipped where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"real data is absent: {path.name} (set AIROUTER_DATA to its folder)")
    return path
