"""A receiver of syslog over TLS for tests: reads frames of RFC 5425, and can stall, cut and stay away."""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificates:
    """Files of an authority, and of a server and a client that it knows; `other` is an authority it is not."""

    authority: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]
    other: Path


def make_certificates(folder: Path, host: str = "localhost") -> Certificates:
    """Made with openssl; skips without it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")

    def run(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def authority(name: str) -> Path:
        made = folder / f"{name}.pem"
        key = folder / f"{name}.key"
        subject = ("-subj", f"/CN={name}")
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, "-keyout", key, "-out", made)
        return made

    def signed(name: str, common: str) -> tuple[Path, Path]:
        request, key, made = folder / f"{name}.csr", folder / f"{name}.key", folder / f"{name}.pem"
        extensions = folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{common}\n")
        run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common}", "-keyout", key, "-out", request)
        ca = ("-CA", folder / "authority.pem", "-CAkey", folder / "authority.key", "-CAcreateserial")
        run("x509", "-req", "-in", request, *ca, "-days", "2", "-extfile", extensions, "-out", made)
        return made, key

    return Certificates(authority("authority"), signed("server", host), signed("client", "router"), authority("other"))


class SyslogServer:
    """Listens on a free port. `messages` are those read whole, over all connections, in the order read."""

    def __init__(self, certificates: Certificates, port: int = 0, *, clients: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificates.server)
        if clients:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(certificates.authority)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.messages: list[bytes] = []
        self.connections = 0
        self.cut_after: int | None = None  # bytes of a connection, after which it is reset
        self.reading = threading.Event()  # not set: takes connections and reads nothing
        self.reading.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self.reading.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(0.05)
            with contextlib.suppress(OSError), plain:
                plain.settimeout(5)
                connection = self._context.wrap_socket(plain, server_side=True)
                self.connections += 1
                self._read(connection)

    def _read(self, connection: ssl.SSLSocket) -> None:
        connection.settimeout(0.05)
        data, taken = b"", 0
        with connection:
            while not self._ended.is_set():
                if not self.reading.wait(0.05):
                    continue
                try:
                    part = connection.recv(777)
                except (TimeoutError, ssl.SSLWantReadError):
                    continue
                if not part:
                    connection.settimeout(1)
                    with contextlib.suppress(OSError):
                        connection.unwrap()  # says that everything was read
                    return
                taken += len(part)
                if self.cut_after is not None and taken > self.cut_after:
                    self.cut_after = None
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                data = self._frames(data + part)

    def _frames(self, data: bytes) -> bytes:
        """Keep every whole frame; what is left of the data."""
        while b" " in data[:12]:
            length, _, rest = data.partition(b" ")
            if len(rest) < int(length):
                break
            self.messages.append(rest[: int(length)])
            data = rest[int(length) :]
        return data


@contextlib.contextmanager
def syslog_server(certificates: Certificates, port: int = 0, *, clients: bool = False) -> Iterator[SyslogServer]:
    server = SyslogServer(certificates, port, clients=clients)
    try:
        yield server
    finally:
        server.close()
