"""A real Orthanc for tests: own folder, own free ports, and only its own process is ever signalled."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

ORTHANC = Path(os.environ.get("AIROUTER_ORTHANC", "/usr/sbin/Orthanc"))
USER, PASSWORD = "airouter", "let-me-in"


def require_orthanc() -> None:
    """Skip the calling test where no Orthanc is installed."""
    if not ORTHANC.exists() and shutil.which(str(ORTHANC)) is None:
        pytest.skip(f"{ORTHANC} is not installed (Debian: apt-get install orthanc orthanc-python orthanc-dicomweb)")


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class OrthancProcess:
    """Orthanc in `folder` with `config` laid over a small safe configuration; answers when the constructor returns.

    `config` keys replace the defaults one by one (top level); `env` is added to the environment. The object can be
    started again after `stop` or `kill` and keeps its ports and storage. `url`, `rest` (a client with credentials),
    `dicom_port`, `aet`, `storage`, `log` (path of all output).
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        wait: float = 60.0,
    ) -> None:
        require_orthanc()
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.storage = folder / "storage"
        self.log = folder / "orthanc.log"
        self.http_port, self.dicom_port = free_port(), free_port()
        self.aet = "AIROUTER"
        self.config: dict[str, Any] = {
            "Name": "airouter-test",
            "StorageDirectory": str(self.storage),
            "IndexDirectory": str(self.storage),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.aet,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "StorageCompression": False,
            "StoreMD5ForAttachments": True,
            "OverwriteInstances": False,
            "SaveJobs": False,
            "StableAge": 1,
            **(config or {}),
        }
        self.http_port, self.dicom_port = int(self.config["HttpPort"]), int(self.config["DicomPort"])
        self.storage = Path(self.config["StorageDirectory"])
        self.env = dict(env or {})
        self.arguments = arguments
        self.wait = wait
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._rest: httpx.Client | None = None
        self.start()

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start (again) and wait until /system answers; AssertionError with the end of the log where it does not."""
        assert self._process is None, "already running"
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(self.config, indent=1))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(ORTHANC), *self.arguments, str(file)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TZ": "UTC", **self.env},
                start_new_session=True,
            )
        deadline = time.monotonic() + self.wait
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                code, self._process = self._process.returncode, None
                raise AssertionError(f"Orthanc ended with {code} while starting:\n{self.tail()}")
            with contextlib.suppress(httpx.TransportError):
                if self.rest.get("/system").status_code == 200:
                    return self
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"Orthanc does not answer within {self.wait} s:\n{self.tail()}")

    @property
    def rest(self) -> httpx.Client:
        """A client with `url` as base and the credentials of the test user."""
        if self._rest is None:
            # Orthanc closes a connection after a second without a request: one about that old must not be used again.
            limits = httpx.Limits(keepalive_expiry=0.4)
            self._rest = httpx.Client(
                base_url=self.url, auth=(USER, PASSWORD), timeout=30, trust_env=False, limits=limits
            )
        return self._rest

    @property
    def pid(self) -> int:
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as a crash would; nothing happens where it has ended already."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
        self._forget()

    def stop(self, timeout: float = 30.0) -> None:
        """SIGTERM; AssertionError unless it ends by itself within `timeout` seconds, with return code 0."""
        assert self._process is not None, "not running"
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"Orthanc did not stop within {timeout} s:\n{self.tail()}") from None
        self._forget()
        assert code == 0, f"Orthanc ended with {code}:\n{self.tail()}"

    def wait_dead(self, timeout: float = 30.0) -> int:
        """Wait for an end that somebody else brings about (a crash point); its return code comes back."""
        assert self._process is not None, "not running"
        code = self._process.wait(timeout)
        self._forget()
        return code

    def _forget(self) -> None:
        self._process = None
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    # -- what it holds ------------------------------------------------------------------------------------------------

    def upload(self, part10: bytes) -> dict[str, Any]:
        """POST /instances; the parsed answer (ID, Status, ParentStudy ...)."""
        answer = self.rest.post("/instances", content=part10)
        answer.raise_for_status()
        parsed: dict[str, Any] = answer.json()
        return parsed

    def output(self) -> str:
        """Everything it wrote to standard output and error, over all starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running and error is None:
            self.stop()
        else:
            self.kill()


@contextlib.contextmanager
def orthanc(folder: Path, config: Mapping[str, Any] | None = None, **options: Any) -> Iterator[OrthancProcess]:
    """An Orthanc for the length of a `with`; stopped cleanly, or killed where the body failed."""
    with OrthancProcess(folder, config, **options) as process:
        yield process
