"""The audit trail of one running router: its beginning and end, the views, and the exports on their threads."""

import json
import logging
import os
import platform
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from airouter import __version__
from airouter.adapters.audit import AuditTrail
from airouter.adapters.audit_export import Exporter
from airouter.adapters.json_lines import JsonLines
from airouter.adapters.store import Store
from airouter.adapters.syslog_tls import Receiver, SyslogTls
from airouter.adapters.views import Views
from airouter.config import Settings
from airouter.domain.audit import AuditEvent, AuditKind, seal
from airouter.errors import JournalError
from airouter.messages.audit_message import AuditSource

log = logging.getLogger("airouter.audit")

_STOP_SECONDS: Final = 10.0


class UsedModel(Protocol):
    """What is recorded of a model at the start."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def usable(self) -> bool: ...


class Auditing:
    """Begins with `start`, which fails where the trail cannot be written; ends with `stop`, which does not."""

    def __init__(self, store: Store, settings: Settings, base: Path, views: Views) -> None:
        self.trail = AuditTrail(store)
        self.views = views
        self._store = store
        self._node = settings.node
        self._exporters = tuple(_exporters(self.trail, settings, base))
        self._threads: list[threading.Thread] = []

    def start(self, settings: Mapping[str, Any], orthanc: str, models: Iterable[UsedModel]) -> None:
        """Record that the router starts, and with what. Raises JournalError."""
        said = json.dumps(settings, sort_keys=True)
        detail = {
            "node": self._node,
            "airouter": __version__,
            "orthanc": orthanc,
            "python": platform.python_version(),
            # With the key: a plain digest would let a password in it be guessed.
            "configuration": seal(self._store.seal, "configuration", said),
            "models": [{"name": m.name, "version": m.version, "sha256": m.sha256, "usable": m.usable} for m in models],
        }
        self.trail.record(AuditEvent(AuditKind.STARTED, detail=detail))
        self._spawn("airouter-views", lambda: self.views.run(self.trail.record))
        for exporter in self._exporters:
            self._spawn("airouter-audit-export", exporter.run)

    def stop(self) -> None:
        """Write what waits, record the end, and pass on what can be passed on."""
        if not self._threads:
            return
        self.views.stop()
        self._threads[0].join(_STOP_SECONDS)
        try:
            self.trail.record(AuditEvent(AuditKind.STOPPED, detail={"node": self._node}))
        except JournalError as error:
            log.error("the end of the router is missing in the audit trail: %s", error)
        for exporter in self._exporters:
            exporter.stop()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)

    def problems(self) -> list[str]:
        """What an operator should know. Raises JournalError."""
        found = []
        if self.views.problem:
            found.append(f"views of studies wait to be written to the audit trail: {self.views.problem}")
        found += [
            f"the audit trail is not passed on to {s.name}: {s.problem}; {s.behind} records wait"
            for s in (exporter.standing() for exporter in self._exporters)
            if s.problem
        ]
        return found

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _exporters(trail: AuditTrail, settings: Settings, base: Path) -> Iterable[Exporter]:
    audit = settings.audit
    if audit.json_lines is not None:
        target = JsonLines((base / audit.json_lines).resolve())
        yield Exporter(trail, target, settings.node, head_records=audit.head_records, head_seconds=audit.head_seconds)
    if audit.syslog is not None:

        def file(name: str | None) -> Path | None:
            return (base / name).resolve() if name is not None else None

        to = audit.syslog
        receiver = Receiver(to.host, to.port, file(to.ca_file), file(to.client_certificate), file(to.client_key))
        source = AuditSource(settings.node, socket.getfqdn(), os.getpid(), settings.organization)
        yield Exporter(
            trail,
            SyslogTls(receiver, source),
            settings.node,
            head_records=audit.head_records,
            head_seconds=audit.head_seconds,
        )
