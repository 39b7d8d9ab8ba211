"""One process per state folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airouter.adapters.lock import StateLock
from airouter.errors import StateLocked

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from airouter.adapters.lock import StateLock
lock = StateLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with StateLock(tmp_path / "state"), pytest.raises(StateLocked, match=str(os.getpid())):
        StateLock(tmp_path / "state")


def test_after_release_it_is_free(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    lock.release()
    lock.release()
    StateLock(tmp_path).release()


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugin")}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateLocked, match=str(holder.pid)):
            StateLock(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait(20)
    with StateLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
