"""Runs airouter.adapters.dicomize as a child process: with a time limit, ended with us, and without our secrets."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import airouter
from airouter.adapters.sidecar import Description
from airouter.errors import ImportStopped, NoRoom, RouterError, SidecarError, SlideError

_PROGRAM: Final = "airouter.adapters.dicomize"
_KINDS: Final[dict[str, Callable[[str], RouterError]]] = {
    kind.__name__: kind for kind in (SlideError, SidecarError, NoRoom)
}
_LOOK: Final = 0.2  # s
_GRACE: Final = 5.0  # s between SIGTERM and SIGKILL
# What a child needs of our environment; nothing else is passed on.
_PASSED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Converted:
    """DICOM files, finest level first. `sha256`: of the slide, once it was converted; identities derive from it.

    `left_out`: images of the file that were not converted.
    """

    sha256: str
    files: tuple[Path, ...]
    spacing_um: float
    spacing_given: bool
    tiles_kept: bool
    left_out: tuple[str, ...]


class Converter:
    """One conversion at a time; `stop` may come from another thread and is for good."""

    def __init__(self, *, limit_seconds: float = 4 * 3600.0) -> None:
        self._limit = limit_seconds
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the child under way; every conversion from now on raises ImportStopped."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def convert(
        self,
        file: Path,
        folder: Path,
        description: Description,
        *,
        with_label: bool = False,
        with_overview: bool = False,
    ) -> Converted:
        """Convert into `folder`, which is there and empty. Raises SlideError, NoRoom (transient), ImportStopped."""
        request = {
            "file": str(file.resolve()),
            "folder": str(folder.resolve()),
            "description": description.model_dump(mode="json"),
            "with_label": with_label,
            "with_overview": with_overview,
        }
        answer = self._ask(request, folder)
        if "error" in answer:
            raise _KINDS.get(str(answer.get("kind")), SlideError)(str(answer["error"]))
        return Converted(
            sha256=str(answer["sha256"]),
            files=tuple(folder / name for name in answer["files"]),
            spacing_um=float(answer["spacing_um"]),
            spacing_given=bool(answer["spacing_given"]),
            tiles_kept=bool(answer["kept"]),
            left_out=tuple(answer["left_out"]),
        )

    def _ask(self, request: dict[str, Any], folder: Path) -> Any:
        if self._stop.is_set():
            raise ImportStopped("the router stops")
        # A file and not a pipe: nobody reads while it runs. Unnamed: it is gone with the two of us.
        with (folder / "answer").open("w+b") as answer:
            (folder / "answer").unlink()
            child = subprocess.Popen(
                [str(interpreter()), "-m", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=answer,
                stderr=subprocess.DEVNULL,  # libraries name files there, and files may be named for patients
                env=environment(folder),
                cwd=folder,
                start_new_session=True,
            )
            try:
                self._wait(child, json.dumps(request).encode() + b"\n")
            finally:
                _end(child)
            answer.seek(0)
            lines = answer.read().splitlines()
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            code = child.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise SlideError(
                f"the converter ended with {how}: the file may be damaged, or the converter not installed whole"
            ) from None

    def _wait(self, child: subprocess.Popen[bytes], request: bytes) -> None:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; its exit code will tell
            child.stdin.write(request)
            child.stdin.flush()
        end = time.monotonic() + self._limit
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_LOOK)
                return
            if self._stop.is_set():
                raise ImportStopped("the router stops")
            if time.monotonic() > end:
                raise SlideError(f"the conversion took longer than {self._limit / 3600:g} h and was ended")


def _end(child: subprocess.Popen[bytes]) -> None:
    """End and reap it where it still runs. Its standard input closes last: that alone would end it too."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def environment(folder: Path) -> dict[str, str]:
    """The child's: where our packages are, temporary files in `folder`, one thread in numerical libraries."""
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {
        **passed,
        # Orthanc's interpreter may have found its packages in ways that a child would not repeat.
        "PYTHONPATH": os.pathsep.join([str(Path(airouter.__file__).resolve().parents[1]), *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "TMPDIR": str(folder.resolve()),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def interpreter() -> Path:
    """A Python of our version, our environment's first: inside Orthanc, sys.executable may be any python3 on PATH."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home = Path(os.environ.get("AIROUTER_VENV", Path(airouter.__file__).resolve().parents[2] / ".venv"))
    ours = sys.prefix if sys.prefix != sys.base_prefix else home
    candidates = [*(Path(prefix) / "bin" / version for prefix in (ours, sys.base_prefix)), Path(sys.executable or "?")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise SlideError("no Python interpreter was found to run the converter with")
