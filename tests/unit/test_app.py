"""The router's life inside Orthanc, with Orthanc played by a few lines: what it waits for and what it refuses."""

import contextlib
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airouter import app
from airouter.adapters.rest import Rest, connect
from airouter.errors import ArchiveUnavailable, ConfigurationError
from airouter.web.services import RouterState
from tests.model_folders import manifest, write
from tests.orthanc_process import free_port


class Handler(BaseHTTPRequestHandler):
    """An empty Orthanc."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        answers = {"/system": {"Version": "1.12.11"}, "/changes": {"Changes": [], "Done": True, "Last": 0}}
        body = json.dumps(answers.get(path, [])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextlib.contextmanager
def served(port: int, certificate: Path | None = None) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def orthanc(folder: Path, section: Any, **document: Any) -> Any:
    """The part of the module `orthanc` that the plugin uses. `logged` holds what it wrote to the log."""
    (folder / "models").mkdir(exist_ok=True)
    logged: list[str] = []
    whole = {"RegisteredUsers": {"a": "b"}, "AuthenticationEnabled": True, "AIRouter": section, **document}
    return SimpleNamespace(
        GetConfiguration=lambda: json.dumps(whole),
        GetConfigurationPath=lambda: str(folder),
        GenerateRestApiAuthorizationToken=lambda: "token",
        CheckVersionAdvanced=lambda *_: 1,
        RegisterRestCallback=lambda *_: None,
        RegisterIncomingHttpRequestFilter=lambda *_: None,
        RegisterOnStoredInstanceCallback=lambda *_: None,
        RegisterOnChangeCallback=lambda *_: None,
        ChangeType=SimpleNamespace(ORTHANC_STARTED=1, ORTHANC_STOPPED=2, DELETED=3),
        ResourceType=SimpleNamespace(STUDY=1),
        LogError=logged.append,
        LogWarning=logged.append,
        logged=logged,
    )


def wait(plugin: app.Plugin, state: RouterState, reason: str = "") -> None:
    pause = threading.Event()
    for _ in range(600):
        health = plugin.health()
        if health.state is state and reason in health.reason:
            return
        pause.wait(0.05)
    raise AssertionError(plugin.health())


def test_a_server_that_comes_up_late_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    plugin = app.Plugin(orthanc(tmp_path, {"Node": "n"}, HttpPort=port))
    plugin.on_change(1, 0, "")
    try:
        wait(plugin, RouterState.PASSIVE, "does not answer")
        with served(port):
            wait(plugin, RouterState.RUNNING)
            assert plugin.health().reason == ""
            plugin.stop()
    finally:
        plugin.stop()


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ([], "AIRouter: must be an object"),
        ({"Enabled": 0}, "AIRouter.Enabled: "),
        ({"StateDirectory": "occupied/state"}, "AIRouter.StateDirectory: "),
    ],
)
def test_a_mistake_is_named_by_its_path(tmp_path: Path, section: Any, path: str) -> None:
    (tmp_path / "occupied").write_text("a file stands here")
    plugin = app.Plugin(orthanc(tmp_path, section, HttpPort=free_port()))
    plugin.on_change(1, 0, "")
    try:
        wait(plugin, RouterState.REFUSED, path)
    finally:
        plugin.stop()


@pytest.fixture
def certificates(tmp_path: Path) -> list[Path]:
    """Two self-signed certificates with their keys, for a host that is not this one."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    made = []
    for name in ("own", "other"):
        pem, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pacs"]
        subprocess.run([*command, "-keyout", key, "-out", pem], check=True, capture_output=True)
        pem.write_text(key.read_text() + pem.read_text())
        made.append(pem)
    return made


def test_over_https_orthancs_own_certificate_is_trusted_and_no_other(certificates: list[Path]) -> None:
    own, other = certificates
    port = free_port()
    with served(port, own):
        url = f"https://127.0.0.1:{port}"
        assert Rest(connect(url, certificate=own)).json("/system")["Version"] == "1.12.11"
        with pytest.raises(ArchiveUnavailable):
            Rest(connect(url, certificate=other)).json("/system")
        with pytest.raises(ConfigurationError, match="SslCertificate"):
            connect(url, certificate=own.with_name("missing.pem"))


def test_an_import_folder_that_cannot_be_used_is_a_warning_and_the_router_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    port = free_port()
    plugin = app.Plugin(orthanc(tmp_path, {"Node": "n", "ImportDirectory": "file/import"}, HttpPort=port))
    with served(port):
        plugin.on_change(1, 0, "")
        try:
            wait(plugin, RouterState.RUNNING)
            pause = threading.Event()
            for _ in range(600):
                if plugin.health().notices:
                    break
                pause.wait(0.05)
            (notice,) = plugin.health().notices
            assert "AIRouter.ImportDirectory" in notice.reason
        finally:
            plugin.on_change(2, 0, "")


def test_the_setting_decides_which_weights_a_model_runs_with(tmp_path: Path) -> None:
    write(tmp_path / "models")
    write(tmp_path / "models", manifest("other"))
    port = free_port()
    plugin = app.Plugin(orthanc(tmp_path, {"Node": "n", "QuantizedModels": ["stub"]}, HttpPort=port))
    with served(port):
        plugin.on_change(1, 0, "")
        try:
            wait(plugin, RouterState.RUNNING)
            status = {model.name: model for model in plugin.services().models()}
        finally:
            plugin.stop()
    assert status["other"].usable
    assert not status["stub"].usable
    assert "int8.yaml: is missing" in str(status["stub"].reason)


def test_the_callback_sets_a_flag_and_touches_nothing_else(tmp_path: Path) -> None:
    """Orthanc holds a lock of its own and a sender waits while it runs: no archive, no database, no argument read."""

    class Untouchable:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked of the stored instance")

    woken: list[bool] = []
    plugin = app.Plugin(orthanc(tmp_path, {"Node": "n"}))
    plugin.on_stored(Untouchable(), "0")  # Orthanc takes in images before the router runs
    plugin._parts = SimpleNamespace(intake=SimpleNamespace(wake=lambda: woken.append(True)))  # type: ignore[assignment]
    plugin.on_stored(Untouchable(), "1")
    plugin._parts = None
    plugin.stop()
    assert woken == [True]
    assert b"airouter_on_stored_seconds_count 2.0" in plugin.metrics.text()
