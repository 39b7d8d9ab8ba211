"""Orthanc's REST API over loopback HTTP, with failures turned into ours.

pyorthanc's client (an httpx.Client) does the talking: never orthanc.RestApiPost and its like, which hold the GIL while
they wait for Orthanc's locks and so deadlock the server.
"""

import io
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from pyorthanc import Orthanc

from airouter.errors import ArchiveError, ArchiveUnavailable, ConfigurationError, NotInArchive, PixelDataError

# What cannot be answered now, RFC 9110: 5xx, and 429 (RFC 6585). Orthanc answers 500 where its disk is full.
_UNAVAILABLE: Final = {429, *range(500, 600)}
# Of these, what Orthanc's own error code says no waiting heals: BadFileFormat, CorruptedFile, IncompatibleImageFormat
# and IncompatibleImageSize of its OrthancPluginErrorCode.
_DAMAGED: Final = {15, 20, 23, 24}


def connect(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    token: str | None = None,
    timeout: float = 120.0,
    certificate: Path | None = None,
) -> Orthanc:
    """A client for Orthanc at `url`: with `token` (from GenerateRestApiAuthorizationToken) in the plugin, else by name.

    `certificate`: for https, the PEM file of Orthanc's own SslCertificate. Only that very certificate is trusted, in
    whatever name it was issued: none is for 127.0.0.1, and many are self-signed. Raises ConfigurationError where it
    cannot be read.
    Proxies and credentials of the environment are ignored, redirects are not followed. Threads may share it.
    """
    headers = {"Accept-Encoding": "identity"}  # gzip on the loopback device costs more than it saves
    if token is not None:
        headers["Authorization"] = token
    return Orthanc(
        url.rstrip("/"),
        username=username,
        password=password,
        headers=headers,
        timeout=httpx.Timeout(timeout, connect=10.0),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
        trust_env=False,
        follow_redirects=False,
        verify=True if certificate is None else _only(certificate),
    )


def _only(certificate: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except OSError as error:  # ssl.SSLError is one
        reason = f"{certificate} cannot be read: {error.strerror or error}"
        raise ConfigurationError("SslCertificate", reason) from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself may be the anchor
    return context


class Body(Protocol):
    """What is too large to be held in one piece: of known length, and the same each time that it is iterated."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class Rest:
    """Requests on one client.

    Every method raises ArchiveUnavailable, NotInArchive (404), PixelDataError (Orthanc cannot read what it has stored)
    or ArchiveError (other 4xx).
    """

    def __init__(self, client: Orthanc) -> None:
        self._client: httpx.Client = client
        self._root: str = str(client.url).rstrip("/")

    def close(self) -> None:
        """Close every connection; the object is of no use afterwards."""
        self._client.close()

    def json(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """GET, parsed."""
        return self.send("GET", path, params=params).json()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        content: bytes | Body | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> httpx.Response:
        """One request; the statuses in `accept` are answers, not failures."""
        if content is not None:
            # Else httpx would send what is no bytes in chunks of unknown number.
            headers = {**(headers or {}), "Content-Length": str(len(content))}
        for last in (False, True):
            try:
                response = self._client.request(
                    method, self._root + path, params=params, content=content, headers=headers
                )
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                # Orthanc closes an idle connection after a second; a request that meets the closing is sent once
                # more. Everything we send may be repeated: objects carry their UIDs, metadata their values.
                if last:
                    raise ArchiveUnavailable(f"Orthanc broke the connection: {type(error).__name__}") from error
            except httpx.HTTPError as error:
                raise ArchiveUnavailable(f"Orthanc does not answer: {type(error).__name__}") from error
        if response.status_code not in accept:
            check(response, path)
        return response

    @contextmanager
    def stream(self, path: str) -> Iterator[io.BufferedIOBase]:
        """GET, read only as far as the reader goes: a seekable file over the answer's body."""
        try:
            with self._client.stream("GET", self._root + path) as response:
                if response.status_code >= 400:
                    response.read()
                    check(response, path)
                yield _Body(response.iter_bytes(64 * 1024))
        except httpx.HTTPError as error:
            raise ArchiveUnavailable(f"Orthanc does not answer: {type(error).__name__}") from error


def check(response: httpx.Response, path: str) -> None:
    """Raise what the status means. Orthanc's own words for the error are told, never what was sent."""
    status = response.status_code
    if status < 400:
        return
    reason = f"{path}: HTTP {status}"
    code = None
    try:
        body = response.json()
        reason += f", {body['OrthancError']}"
        code = body.get("OrthancStatus")
    except (ValueError, KeyError, TypeError):
        pass
    if status == 404:
        raise NotInArchive(reason)
    if status in _UNAVAILABLE:
        if code in _DAMAGED:
            raise PixelDataError(reason)
        raise ArchiveUnavailable(reason)
    raise ArchiveError(reason)


class _Body(io.BufferedIOBase):
    """What has come of a body so far, fetching more when it is asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = bytearray()
        self._at = 0
        self._whole = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            self._fetch(None)
            offset += len(self._data)
        elif whence == io.SEEK_CUR:
            offset += self._at
        self._at = max(0, offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        end = None if size is None or size < 0 else self._at + size
        self._fetch(end)
        data = bytes(self._data[self._at : end])
        self._at += len(data)
        return data

    def _fetch(self, end: int | None) -> None:
        while not self._whole and (end is None or len(self._data) < end):
            chunk = next(self._chunks, None)
            if chunk is None:
                self._whole = True
            else:
                self._data += chunk
