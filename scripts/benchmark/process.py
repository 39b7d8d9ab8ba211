"""Work in a process of its own, so that its time and memory are its own; and how much memory a process holds.

Peaks are the kernel's high-water mark of the resident set (VmHWM), which can be put back to what is resident now
(proc(5), clear_refs). Linux only.
"""

import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

T = TypeVar("T")

_STARTED_SECONDS: Final = 120.0
_END_SECONDS: Final = 30.0


def rss_mb(pid: int | str = "self") -> float:
    """Resident memory of a process now, in MB (10^6 bytes)."""
    return _status(pid, "VmRSS")


def peak_mb(pid: int | str = "self") -> float:
    """Most resident memory of a process since it began, or since `reset_peak`, in MB."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int | str = "self") -> None:
    """Let the peak of a process start again at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int | str, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"the kernel does not tell {key} of process {pid}")


@dataclass(frozen=True, slots=True)
class Measured(Generic[T]):
    """What a function gave, the seconds it took, and memory in MB before it and at its peak."""

    value: T
    seconds: float
    idle_mb: float
    peak_mb: float


class Child:
    """A fresh Python that runs functions one after the other and keeps what they keep at module level.

    Functions must be importable by name, arguments and values picklable. What a function raises is raised here as
    RuntimeError with the child's traceback.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        there.close()
        if not self._here.poll(_STARTED_SECONDS):
            self.close()
            raise RuntimeError("a child process does not start")
        self._answer()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def call(self, function: Callable[..., T], *args: Any, **keywords: Any) -> Measured[T]:
        """Run a function there and wait for it."""
        self._here.send((function, args, keywords))
        measured: Measured[T] = self._answer()
        return measured

    def _answer(self) -> Any:
        try:
            good, answer = self._here.recv()
        except EOFError:
            self._process.join(_END_SECONDS)
            raise RuntimeError(f"a child process ended with {self._process.exitcode}") from None
        if not good:
            raise RuntimeError(f"in a child process:\n{answer}")
        return answer

    def close(self) -> None:
        self._here.close()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def in_child(function: Callable[..., T], *args: Any, **keywords: Any) -> Measured[T]:
    """Run a function once in a fresh Python."""
    with Child() as child:
        return child.call(function, *args, **keywords)


def _serve(pipe: Connection) -> None:
    pipe.send((True, None))
    while True:
        try:
            function, args, keywords = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, _measured(function, args, keywords)))
        except Exception:  # noqa: BLE001 - outermost seam of this process: the parent is told
            pipe.send((False, traceback.format_exc()))
        sys.stdout.flush()


def _measured(function: Callable[..., T], args: tuple[Any, ...], keywords: dict[str, Any]) -> Measured[T]:
    reset_peak()
    idle = rss_mb()
    start = time.perf_counter()
    value = function(*args, **keywords)
    return Measured(value, time.perf_counter() - start, idle, peak_mb())
