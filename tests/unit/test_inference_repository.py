"""A folder of models: each loaded once, tested, and none spoilt by another."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from airouter.errors import ConfigurationError, ManifestError, ModelRefused
from airouter.inference import selftest
from airouter.inference import session as session_module
from airouter.inference.repository import ModelRepository
from tests.model_folders import identity, manifest, times, write

RAMP = np.linspace(0, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)


def test_a_model_is_loaded_once_by_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, selftest=(RAMP, RAMP))
    write(tmp_path, manifest("half"), times(0.5))
    repository = ModelRepository(tmp_path)
    made: list[str] = []
    real = session_module.Session.__init__

    def counting(self: Any, model: Any, *arguments: Any) -> None:
        made.append(model.name)
        real(self, model, *arguments)

    monkeypatch.setattr(session_module.Session, "__init__", counting)
    start = threading.Barrier(8)

    def get(n: int) -> object:
        start.wait(timeout=10)
        return repository.get(("stub", "half")[n % 2])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get, range(8)))
    assert sorted(made) == ["half", "stub"]
    assert len({id(predictor) for predictor in found}) == 2
    assert repository.get("stub") is found[0]


def test_a_broken_model_says_why_and_spoils_no_other(tmp_path: Path) -> None:
    digest = manifest()["weights"]["sha256"]
    sound = write(tmp_path, selftest=(RAMP, RAMP))
    tampered = write(tmp_path, manifest("tampered")) / "model.onnx"
    tampered.write_bytes(tampered.read_bytes() + b"\0")
    (write(tmp_path, manifest("torn")) / "manifest.yaml").write_text("name: [")
    (write(tmp_path, manifest("cardless")) / "card.md").unlink()
    (write(tmp_path, manifest("weightless")) / "model.onnx").unlink()
    (write(tmp_path, manifest("silent")) / "manifest.yaml").unlink()
    write(tmp_path, manifest("untested"))
    write(tmp_path, manifest("loud"), times(300.0))
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "README.md").write_text("not a model")

    repository = ModelRepository(tmp_path)
    expected = ("cardless", "loud", "silent", "stub", "tampered", "torn", "untested", "weightless")
    assert repository.names() == expected
    status = {s.name: s for s in repository.status()}
    assert tuple(status) == expected
    stub = status["stub"]
    assert (stub.version, stub.provider, stub.usable, stub.reason) == ("1.0.0", "CPUExecutionProvider", True, None)
    assert stub.sha256 not in (None, digest)
    assert {name for name, s in status.items() if s.usable} == {"stub", "untested"}
    for name, reason in {
        "cardless": "card.md",
        "loud": "not probabilities",
        "silent": "manifest.yaml: cannot be read",
        "tampered": "sha256 is",
        "torn": "not YAML",
        "untested": "no selftest.npz",
        "weightless": "model.onnx: cannot be read",
    }.items():
        assert reason in str(status[name].reason), name
    assert (status["tampered"].version, status["torn"].version) == ("1.0.0", None)
    assert repository.get("stub").model.name == sound.name
    for name, kind in (("tampered", ModelRefused), ("torn", ManifestError), ("loud", ModelRefused)):
        for _ in range(2):
            with pytest.raises(kind):
                repository.get(name)


def test_an_unknown_name_tells_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ManifestError, match="no model is called 'other'; there are: stub"):
        ModelRepository(tmp_path).get("other")


def test_a_folder_without_models_and_no_folder(tmp_path: Path) -> None:
    assert ModelRepository(tmp_path).status() == []
    with pytest.raises(ConfigurationError, match=r"AIRouter\.ModelsDirectory"):
        ModelRepository(tmp_path / "absent")


def test_without_a_provider_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"AIRouter\.ExecutionProviders"):
        ModelRepository(tmp_path, configured=["OpenVINO"])


def test_the_size_cap_is_a_setting(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ModelRefused, match="larger than 16 bytes"):
        ModelRepository(tmp_path, most_bytes=16).get("stub")


def why_not(folder: Path, pair: tuple[npt.NDArray[Any], npt.NDArray[Any]], **changes: Any) -> str | None:
    write(folder, manifest(**changes), identity(), pair)
    (status,) = ModelRepository(folder).status()
    return None if status.usable else status.reason


def test_the_self_test_has_a_tolerance(tmp_path: Path) -> None:
    within = RAMP + np.float32(0.9 * selftest.ABSOLUTE)
    beyond = RAMP.copy()
    beyond[0, 1, 2, 3] += 3 * (selftest.ABSOLUTE + selftest.RELATIVE)
    assert why_not(tmp_path / "a", (RAMP, within)) is None
    assert "differs from its record by up to 0.00" in str(why_not(tmp_path / "b", (RAMP, beyond)))


def test_the_self_test_may_have_another_size_than_the_batch(tmp_path: Path) -> None:
    pair = np.concatenate([RAMP, RAMP, RAMP])
    assert why_not(tmp_path, (pair, pair), input__batch=1) is None


@pytest.mark.parametrize(
    ("given", "recorded", "reason"),
    [
        (RAMP, RAMP[:, :2], "self-test gives shape"),
        (RAMP[:, :2], RAMP, "self-test failed"),
        (RAMP * np.float32(np.nan), RAMP, "finite floats"),
        (RAMP, RAMP.astype(np.int64), "finite floats"),
        (np.zeros((0, 3, 8, 8), np.float32), RAMP, "finite floats"),
        (np.array([{"a": 1}], dtype=object), RAMP, "not a self-test"),
    ],
)
def test_a_self_test_that_is_none_is_refused(
    tmp_path: Path, given: npt.NDArray[Any], recorded: npt.NDArray[Any], reason: str
) -> None:
    assert reason in str(why_not(tmp_path, (given, recorded)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"not a zip"])
def test_a_self_test_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (write(tmp_path) / "selftest.npz").write_bytes(content)
    with pytest.raises(ModelRefused, match="not a self-test"):
        ModelRepository(tmp_path).get("stub")


def test_a_self_test_without_its_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(write(tmp_path) / "selftest.npz", input=RAMP)
    with pytest.raises(ModelRefused, match="not a self-test"):
        ModelRepository(tmp_path).get("stub")


def test_a_clinical_model_needs_its_self_test(tmp_path: Path) -> None:
    write(tmp_path / "a", manifest(intended_use="clinical"))
    with pytest.raises(ModelRefused, match=r"selftest\.npz is missing"):
        ModelRepository(tmp_path / "a").get("stub")
    assert why_not(tmp_path / "b", (RAMP, RAMP), intended_use="clinical") is None
