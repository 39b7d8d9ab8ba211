"""The command `airouter`, as an administrator uses it."""

import json
import shutil
import stat
from pathlib import Path

import pytest
from pydicom import dcmwrite
from typer.testing import CliRunner

from airouter import __version__
from airouter.adapters.configuration import make_credentials, read
from airouter.cli import app
from airouter.errors import ConfigurationError
from phantoms.dicom import fundus_instance
from phantoms.fundus import fundus

ROOT = Path(__file__).resolve().parents[2]
runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration folder as an installation has it: the shipped file, with this checkout's models."""
    document = json.loads((ROOT / "orthanc.json").read_text())
    document["AIRouter"]["ModelsDirectory"] = str(ROOT / "models")
    (tmp_path / "orthanc.json").write_text(json.dumps(document))
    return tmp_path


def test_credentials_are_made_once_and_for_their_owner_alone(folder: Path) -> None:
    first = runner.invoke(app, ["credentials", str(folder)])
    assert first.exit_code == 0
    file = folder / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    users = json.loads(file.read_text())["RegisteredUsers"]
    assert len(users["airouter"]) >= 24
    assert "already" in runner.invoke(app, ["credentials", str(folder)]).output
    assert json.loads(file.read_text())["RegisteredUsers"] == users


def test_no_two_installations_share_a_password(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "orthanc.json").write_text("{}")
        path = make_credentials(tmp_path / name)
        assert path is not None
        made.append(path.read_text())
    assert made[0] != made[1]


def test_check_accepts_the_shipped_configuration_once_a_user_is_there(folder: Path) -> None:
    refused = runner.invoke(app, ["check", str(folder)])
    assert refused.exit_code == 1
    assert "RegisteredUsers" in refused.output
    runner.invoke(app, ["credentials", str(folder)])
    accepted = runner.invoke(app, ["check", str(folder)])
    assert accepted.exit_code == 0, accepted.output
    assert "sound" in accepted.output


def test_check_names_every_path(folder: Path) -> None:
    runner.invoke(app, ["credentials", str(folder)])
    document = json.loads((folder / "orthanc.json").read_text())
    document["AIRouter"]["Routes"][0]["Model"] = "gone"
    document["AIRouter"]["Routes"][1]["Pipeline"] = "gone"
    document["AIRouter"]["Routes"][2]["Parameters"] = {"gone": 1}
    (folder / "orthanc.json").write_text(json.dumps(document))
    result = runner.invoke(app, ["check", str(folder)])
    assert result.exit_code == 1
    for path in ("Routes[0].Model", "Routes[1].Pipeline", "Routes[2].Parameters"):
        assert f"AIRouter.{path}" in result.output


def test_models_are_listed_and_a_broken_one_is_an_error(folder: Path) -> None:
    runner.invoke(app, ["credentials", str(folder)])
    sound = runner.invoke(app, ["models", str(folder)])
    assert sound.exit_code == 0, sound.output
    assert "nuclei" in sound.output
    shutil.copytree(ROOT / "models" / "fundus-quality", folder / "models" / "fundus-quality")
    (folder / "models" / "fundus-quality" / "model.onnx").write_bytes(b"not this")
    document = json.loads((folder / "orthanc.json").read_text())
    document["AIRouter"]["ModelsDirectory"] = "models"
    (folder / "orthanc.json").write_text(json.dumps(document))
    broken = runner.invoke(app, ["models", str(folder)])
    assert broken.exit_code == 1
    assert "NOT USABLE" in broken.output


def test_explain_shows_every_clause_of_a_real_file(folder: Path) -> None:
    runner.invoke(app, ["credentials", str(folder)])
    file = folder / "eye.dcm"
    dcmwrite(file, fundus_instance(fundus(256, "R", seed=1).rgb), enforce_file_format=True)
    result = runner.invoke(app, ["explain", str(file), "--config", str(folder)])
    assert result.exit_code == 0, result.output
    assert "route 'Fundus image quality'" in result.output
    assert "yes  Modality: asked for OP; the file has OP" in result.output
    assert "no   Modality: asked for SM; the file has OP" in result.output
    nonsense = folder / "nonsense.dcm"
    nonsense.write_text("nonsense")
    assert runner.invoke(app, ["explain", str(nonsense), "--config", str(folder)]).exit_code == 1


def test_the_version_is_told() -> None:
    assert __version__ in runner.invoke(app, ["--version"]).output


def test_configuration_files_are_read_as_orthanc_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIROUTER_TEST_PORT", "8123")
    (tmp_path / "a.json").write_text('{ // a comment\n "HttpPort": ${AIROUTER_TEST_PORT}, "Name": "${NONE:-x}" }')
    (tmp_path / "b.json").write_text('{ /* another */ "DicomPort": 4242 }')
    assert read(tmp_path) == {"HttpPort": 8123, "Name": "x", "DicomPort": 4242}
    (tmp_path / "c.json").write_text('{ "HttpPort": 1 }')
    with pytest.raises(ConfigurationError, match="second time"):
        read(tmp_path)
    (tmp_path / "c.json").write_text('{ "HttpPort": ')
    with pytest.raises(ConfigurationError, match="not JSON"):
        read(tmp_path)
