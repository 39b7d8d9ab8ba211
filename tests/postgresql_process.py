"""A throw-away PostgreSQL for tests, on a free port, run by an unprivileged user where the tests run as root."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orthanc_process import free_port


def programs() -> Path | None:
    """Folder of initdb and postgres of the newest installed version, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The SQLAlchemy URL of an empty server; stopped and removed afterwards. Skips where none is installed."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    who: dict[str, Any] = {}
    root = Path(tempfile.mkdtemp(prefix="airouter-pg-"))
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = pwd.getpwnam("nobody")
        os.chown(root, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    port, data = free_port(), root / "data"
    options = {"cwd": root, "capture_output": True, **who}
    server: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [folder / "initdb", "-D", data, "-U", "airouter", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            **options,
        )
        with (root / "log").open("wb") as log:
            server = subprocess.Popen(
                [folder / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", root, "-F"],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **who,
            )
        _wait(folder, port)
        yield f"postgresql+psycopg://airouter@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # fast shutdown
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(30)
        shutil.rmtree(root, ignore_errors=True)


def _wait(folder: Path, port: int) -> None:
    for _ in range(240):
        ready = subprocess.run(
            [folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "1", "-q"], check=False
        )
        if ready.returncode == 0:
            return
        time.sleep(0.25)
    raise AssertionError("PostgreSQL does not answer")
