"""`airouter import`, as far as it needs no Orthanc."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airouter.adapters.slide_import import Summary
from airouter.cli import _told, app
from tests.orthanc_process import free_port
from tests.slide_files import sidecar

runner = CliRunner()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The command sets its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Canary.svs"
    path.write_bytes(b"no slide")
    return path


@pytest.mark.parametrize("option", [["--container", "C"], ["--specimen", "S"], ["--sidecar"]])
def test_what_belongs_to_one_slide_is_not_given_to_several(file: Path, option: list[str]) -> None:
    value = option if len(option) > 1 else [*option, str(sidecar(file))]
    done = runner.invoke(app, ["import", str(file), str(file), *value, "--url", "http://127.0.0.1:9"])
    assert done.exit_code == 2
    assert "one slide" in done.output


def test_two_ways_to_find_orthanc_are_one_too_many(file: Path, tmp_path: Path) -> None:
    (tmp_path / "orthanc.json").write_text("{}")
    arguments = ["--config", str(tmp_path / "orthanc.json"), "--url", "http://127.0.0.1:9"]
    done = runner.invoke(app, ["import", str(file), *arguments])
    assert done.exit_code == 2


def test_every_slide_is_tried_and_every_failure_told(file: Path, tmp_path: Path) -> None:
    sidecar(file)
    other = tmp_path / "other.svs"
    other.write_bytes(b"no slide either")
    done = runner.invoke(app, ["import", str(other), str(file), "--url", f"http://127.0.0.1:{free_port()}"])
    assert done.exit_code == 1
    assert "other.svs: patient.id is missing; specimen.container is missing" in done.output
    assert "Canary.svs: Orthanc does not answer" in done.output


def test_a_terminal_that_is_closed_leaves_no_temporary_files(file: Path) -> None:
    """Both end the command in Python, whose context managers clear away; nohup goes on meaning what it means."""
    arguments = ["import", str(file), "--url", "http://127.0.0.1:9"]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may themselves run under nohup
    runner.invoke(app, arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        handler = signal.getsignal(number)
        assert callable(handler)
        with pytest.raises(SystemExit) as ended:
            handler(number, None)
        assert ended.value.code == 128 + number
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    runner.invoke(app, arguments)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_slide_without_a_stain_is_told_as_such() -> None:
    told = _told("a.svs", Summary("1.2", "1.3", 1, 1, ("256 x 256",), 0.5, True, None, False, ("label",)))
    for line in ("stain    not given", "spacing  0.5 um (given)", "tiles    encoded anew (JPEG)", "left out label"):
        assert line in told
