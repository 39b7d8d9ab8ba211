"""One process per state folder: an flock that the kernel lets go when the process ends, however it ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from airouter.errors import ConfigurationError, StateLocked


class StateLock:
    """Exclusive lock on `folder` (made where missing), held from construction until `release`.

    `setting`: the one that names the folder, for errors.

    Two Orthancs on one storage both stay alive (the second only logs that its index is busy), so Orthanc itself does
    not keep a second router away from our journal and queue. Raises StateLocked where another process holds the lock,
    ConfigurationError where the folder cannot be made or written.
    """

    def __init__(self, folder: Path, setting: str = "StateDirectory") -> None:
        # The folder holds findings with their study identifiers: nobody else needs to read it.
        self.path = folder / "lock"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not O_TRUNC: the holder's process id must survive our attempt.
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"AIRouter.{setting}", f"{folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            what = "state folder" if setting == "StateDirectory" else "folder"
            raise StateLocked(f"{what} {folder} is in use by process {holder}") from None
        except OSError:
            os.close(self._fd)
            raise
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let go; a second time is a no-op. The file stays: removing it would race with the next holder."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
