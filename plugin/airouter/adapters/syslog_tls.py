"""The audit trail as syslog over TLS: RFC 5424 messages, counted as RFC 5425 says, each a DICOM audit message.

Syslog has no answer. So what was sent counts as arrived once the receiver's kernel has taken it and the connection has
then held for some time; where it breaks before, everything since is sent again over the next one.
"""

import contextlib
import fcntl
import re
import socket
import ssl
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airouter import __version__
from airouter.adapters.audit_export import ExportFailed
from airouter.domain.audit import AuditRecord, Head
from airouter.messages.audit_message import AuditSource, head_message, record_message

_FACILITY: Final = 10  # security and authorization (RFC 5424, table 1)
_SEVERITY: Final = {0: 5, 4: 4, 8: 3, 12: 2}  # of an outcome: notice, warning, error, critical
_MESSAGE_ID: Final = "DICOM+RFC3881"
_BOM: Final = "\ufeff"
_SECONDS: Final = 5.0  # within which the receiver takes a connection, or some bytes
_HOLDS: Final = 2.0  # s that a connection must hold after its bytes were taken
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to, and with which certificates; without `ca_file` the system's authorities are believed."""

    host: str
    port: int
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class SyslogTls:
    """An adapters.audit_export.Target."""

    def __init__(
        self,
        receiver: Receiver,
        source: AuditSource,
        *,
        seconds: float = _SECONDS,
        holds: float = _HOLDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"syslog {receiver.host}:{receiver.port}"
        self._receiver = receiver
        self._source = source
        self._seconds = seconds
        self._holds = holds
        self._clock = clock
        self._socket: ssl.SSLSocket | None = None
        self._waiting: deque[tuple[int, float]] = deque()  # number of a record, and when it was taken
        self._unsettled = 0  # number of the last record sent that has not been seen taken
        self._confirmed = 0

    def send(self, records: Sequence[AuditRecord], head: Head | None) -> None:
        messages = [syslog(record, self._source) for record in records]
        if head is not None:
            messages.append(syslog_head(head, self._source))
        with self._failures():
            if self._socket is None:
                self._socket = self._connect()
            self._check(self._socket)
            for message in messages:
                self._socket.sendall(framed(message))
        if records:
            self._unsettled = records[-1].seq

    def confirmed(self) -> int:
        if self._socket is not None:
            with self._failures():
                self._check(self._socket)
                if self._unsettled and _unacknowledged(self._socket) == 0:
                    self._waiting.append((self._unsettled, self._clock()))
                    self._unsettled = 0
            while self._waiting and self._clock() - self._waiting[0][1] >= self._holds:
                self._confirmed = self._waiting.popleft()[0]
        return self._confirmed

    def finish(self) -> int:
        last = self._unsettled or (self._waiting[-1][0] if self._waiting else self._confirmed)
        connection = self._socket
        self._socket = None
        if connection is None:
            return self._confirmed
        with self._failures():
            try:
                connection.unwrap()  # a receiver that answers this has read everything before it
            finally:
                connection.close()
        self._forget()
        return last

    def _connect(self) -> ssl.SSLSocket:
        """Certificates are read anew each time: they are replaced while the router runs."""
        to = self._receiver
        try:
            context = ssl.create_default_context(cafile=to.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if to.client_certificate is not None:
                context.load_cert_chain(to.client_certificate, to.client_key)
        except OSError as error:
            raise ExportFailed("a certificate or key of AIRouter.Audit.Syslog cannot be read") from error
        plain = socket.create_connection((to.host, to.port), self._seconds)
        try:
            return context.wrap_socket(plain, server_hostname=to.host)
        except BaseException:
            plain.close()
            raise

    def _check(self, connection: ssl.SSLSocket) -> None:
        """Raise where the receiver has ended the connection: a first write after that would seem to succeed."""
        connection.settimeout(0)
        try:
            if connection.recv(1) == b"":
                raise ConnectionResetError("the receiver has ended the connection")
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        finally:
            connection.settimeout(self._seconds)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            self._abandon()
            raise ExportFailed(f"its certificate is not trusted: {error.verify_message}") from error
        except OSError as error:  # ssl.SSLError is one
            self._abandon()
            reason = error.strerror or str(error) or type(error).__name__
            raise ExportFailed(f"it cannot be reached: {reason}") from error
        except ExportFailed:
            self._abandon()
            raise

    def _abandon(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._forget()

    def _forget(self) -> None:
        self._waiting.clear()
        self._unsettled = self._confirmed = 0


def syslog(record: AuditRecord, source: AuditSource) -> str:
    """One record as a message of RFC 5424."""
    outcome = int(record.content["outcome"])
    return _message(_SEVERITY[outcome], record.at, record.seq, record_message(record, source), source)


def syslog_head(head: Head, source: AuditSource) -> str:
    """A head as a message of RFC 5424."""
    return _message(_SEVERITY[0], head.at, head.seq, head_message(head, source), source)


def framed(message: str) -> bytes:
    """As RFC 5425 sends it: the number of bytes, a space, the bytes."""
    data = message.encode()
    return b"%d %b" % (len(data), data)


def _message(severity: int, at: str, seq: int, body: str, source: AuditSource) -> str:
    host = _UNPRINTABLE.sub("?", source.host)[:255] or "-"
    header = f"<{_FACILITY * 8 + severity}>1 {at} {host} airouter {source.process} {_MESSAGE_ID}"
    number = (seq - 1) % (2**31 - 1) + 1  # sequenceId goes from 1 to 2147483647
    return f'{header} [meta sequenceId="{number}"][origin software="airouter" swVersion="{__version__}"] {_BOM}{body}'


def _unacknowledged(connection: ssl.SSLSocket) -> int:
    """Bytes that the receiver's kernel has not taken yet."""
    left = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", left)[0])
