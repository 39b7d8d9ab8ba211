"""The adapters inside Orthanc's own Python: token instead of password, worker threads, and an end without a hang."""

import sys
import threading
from pathlib import Path

import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.domain.job import JobState
from tests.contract.test_archive import part10, volume
from tests.orthanc_process import OrthancProcess, free_port

PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys, threading
threading.stack_size(16 << 20)
sys.path[:0] = [{plugin!r}, {root!r}, {scripts!r}]
import orthanc
from pathlib import Path
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.durable import DurableQueue
from airouter.adapters.lock import StateLock
from airouter.adapters.orthanc import OrthancArchive
from airouter.adapters.rest import connect
from airouter.errors import JobCanceled
from tests.contract.test_journal import job, result
from tests.contract.test_archive import report

folder = Path({folder!r})
parts = {{}}

def run(key):
    journal, archive = parts["journal"], parts["archive"]
    journal.start(key, "CPU")
    if key == "endless":
        nap = threading.Event()
        while not parts["queue"].interrupted(key):
            nap.wait(0.02)
        (folder / "interrupted").touch()
        raise JobCanceled(key)
    seen = [change.study for change in archive.changes(0)]
    study = archive.study(seen[0])
    instance = next(i for i in study.instances if i.modality)
    frames = list(archive.frames(instance.id, [2, 1]))
    (folder / "frames").write_bytes(b"".join(frames))
    archive.store(report(study.uid, uid="2.25.123"))
    archive.mark(study.id, {{"priority": "STAT"}})
    journal.complete(result(key))

def changed(change, level, resource):
    if change == orthanc.ChangeType.ORTHANC_STARTED:
        parts["lock"] = StateLock(folder / "state")
        url = "http://127.0.0.1:{port}"
        token = orthanc.GenerateRestApiAuthorizationToken()
        parts["archive"] = OrthancArchive(connect(url, token=token), Path({storage!r}))
        parts["journal"] = DatabaseJournal(f"sqlite:///{{folder}}/state/journal.db")
        parts["queue"] = queue = DurableQueue(
            f"sqlite:///{{folder}}/state/queue.db", run, parts["journal"].cancel, workers=2, polling=0.05)
        queue.launch()
        (folder / "launched").touch()
    elif change == orthanc.ChangeType.NEW_INSTANCE and not (folder / "queued").exists():
        (folder / "queued").touch()
        for key in ("k1", "endless"):
            parts["journal"].add(job(key))
            parts["queue"].enqueue(job(key))
    elif change == orthanc.ChangeType.ORTHANC_STOPPED:
        (folder / ("clean" if parts["queue"].stop() else "hanging")).touch()
        parts["archive"].close()
        parts["journal"].close()
        parts["lock"].release()

orthanc.RegisterOnChangeCallback(changed)
"""


@pytest.mark.orthanc
def test_a_job_runs_inside_orthanc_and_orthanc_stops_cleanly(tmp_path: Path) -> None:
    if not PLUGINS.exists():
        pytest.skip(f"{PLUGINS} is not installed (Debian: apt-get install orthanc-python)")
    script, port, storage = tmp_path / "plugin.py", free_port(), tmp_path / "storage"
    script.write_text(
        SCRIPT.format(
            plugin=str(ROOT / "plugin"),
            root=str(ROOT),
            scripts=str(ROOT / "scripts"),
            folder=str(tmp_path),
            port=port,
            storage=str(storage),
        )
    )
    config = {"Plugins": [str(PLUGINS)], "PythonScript": str(script), "HttpPort": port}
    with OrthancProcess(tmp_path, config, env={"PYTHONEXECUTABLE": sys.executable}, wait=120) as process:
        nap = threading.Event()

        def wait(name: str) -> None:
            for _ in range(1200):
                if (tmp_path / name).exists():
                    return
                nap.wait(0.05)
            raise AssertionError(f"no {name}:\n{process.tail()}")

        wait("launched")
        answer = process.upload(part10(volume("1.2.3")))
        wait("frames")
        journal = DatabaseJournal(f"sqlite:///{tmp_path}/state/journal.db")
        for _ in range(1200):
            record = journal.job("k1")
            assert record is not None
            if record.state is not JobState.IN_PROGRESS and record.state is not JobState.SCHEDULED:
                break
            nap.wait(0.05)
        assert record.state is JobState.COMPLETED, (record, process.tail())
        journal.close()
        assert process.rest.get(f"/studies/{answer['ParentStudy']}/metadata/4201").text == "STAT"
        assert len(process.rest.get(f"/studies/{answer['ParentStudy']}/instances").json()) == 2
        process.stop()
    assert (tmp_path / "clean").exists()
    assert (tmp_path / "interrupted").exists()
    assert "Traceback" not in process.output()
