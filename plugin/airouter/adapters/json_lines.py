"""The audit trail as a file that grows by a line for each record. Whoever rotates it may rename or truncate it."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from airouter.adapters.audit_export import ExportFailed
from airouter.domain.audit import AuditRecord, Head
from airouter.domain.audit_lines import head_line, record_line


class JsonLines:
    """An adapters.audit_export.Target: each batch is on the disk when `send` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Another file gets the whole trail, so that each is whole by itself.
        self.name = f"JSON lines {hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
        self._confirmed = 0

    def send(self, records: Sequence[AuditRecord], head: Head | None) -> None:
        lines = [record_line(record) for record in records]
        if head is not None:
            lines.append(head_line(head))
        try:
            self._append("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise ExportFailed(f"the file AIRouter.Audit.JsonLines cannot be written: {error.strerror}") from error
        if records:
            self._confirmed = records[-1].seq

    def confirmed(self) -> int:
        return self._confirmed

    def finish(self) -> int:
        return self._confirmed

    def _append(self, data: bytes) -> None:
        """Opened each time, so that a file that was rotated away is not written on."""
        new = not self._path.exists()
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                data = b"\n" + data  # a crash left half a line; it is ended, and its record comes again
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
