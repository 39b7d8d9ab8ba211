"""What every shipped model must be: whole, what its manifest says, free of surprises, and told of in its card."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import yaml

MODELS = Path(__file__).resolve().parents[1] / "models"

Tensor = npt.NDArray[np.float32]


class ReferenceModel:
    """One folder of models/, with its manifest and one session on its weights."""

    def __init__(self, name: str) -> None:
        self.folder = MODELS / name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((self.folder / "manifest.yaml").read_text(encoding="utf-8"))
        return loaded

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        weights = str(self.folder / "model.onnx")
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    @cached_property
    def card(self) -> str:
        return (self.folder / "card.md").read_text(encoding="utf-8")

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the input."""
        rows, columns = self.manifest["input"]["size"]
        return rows, columns

    @property
    def classes(self) -> list[str]:
        return [c["name"] for c in self.manifest["head"]["classes"]]

    def __call__(self, images: Tensor) -> Tensor:
        """[N, channels, rows, columns] in 0..1 -> the output, by the names that the manifest gives."""
        made = self.session.run([self.manifest["head"]["output"]], {self.manifest["input"]["name"]: images})[0]
        return np.asarray(made)


class ReferenceModelChecks:
    """Base of a test class in each model's module."""

    model: ClassVar[ReferenceModel]
    channels: ClassVar[int]
    any_size: ClassVar[bool] = False  # rows and columns of the input are free
    classes: ClassVar[Sequence[str]]
    maps: ClassVar[bool]  # one map for each class, or one number
    grey: ClassVar[float] = 1.0  # of the plain image that is tried

    def shows_something(self, expected: Tensor) -> bool:
        """Whether the output of the self-test is not that of a picture of nothing."""
        raise NotImplementedError

    def test_the_weights_are_those_of_the_manifest(self) -> None:
        folder, weights = self.model.folder, self.model.manifest["weights"]
        file = folder / weights["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == weights["sha256"]
        assert file.stat().st_size < 4_000_000
        assert sorted(p.name for p in folder.iterdir()) == ["card.md", "manifest.yaml", "model.onnx", "selftest.npz"]

    def test_only_standard_operators_and_no_external_data(self) -> None:
        model = onnx.load(str(self.model.folder / "model.onnx"), load_external_data=False)
        onnx.checker.check_model(model, full_check=True)
        assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
        assert all(entry.version <= 20 for entry in model.opset_import)
        assert not any(tensor.external_data for tensor in model.graph.initializer)

    def test_input_and_output_are_those_of_the_manifest(self) -> None:
        manifest, size = self.model.manifest, self.model.size
        (given,), (made,) = self.model.session.get_inputs(), self.model.session.get_outputs()
        assert (given.name, given.type) == (manifest["input"]["name"], "tensor(float)")
        assert manifest["input"]["channels"] == self.channels
        assert isinstance(given.shape[0], str)  # any number of images
        assert given.shape[1] == self.channels
        if self.any_size:
            assert all(isinstance(length, str) for length in given.shape[2:])
        else:
            assert given.shape[2:] == list(size)
        assert made.name == manifest["head"]["output"]
        assert self.model.classes == list(self.classes)
        for n in (1, 3):
            out = self.model(np.full((n, self.channels, *size), self.grey, np.float32))
            assert out.shape == (n, len(self.classes), *(size if self.maps else ()))
            assert out.dtype == np.float32
            assert out.min() >= 0.0
            assert out.max() <= 1.0
            if manifest["head"]["exclusive"]:
                np.testing.assert_allclose(out.sum(axis=1), 1.0, atol=1e-4)

    def test_selftest(self) -> None:
        file = self.model.folder / "selftest.npz"
        assert file.stat().st_size < 300_000
        with np.load(file) as arrays:
            given, expected = arrays["input"], arrays["output"]
        assert given.dtype == expected.dtype == np.float32
        assert given.shape == (1, self.channels, *self.model.size)
        assert np.abs(self.model(given) - expected).max() < 1e-3
        assert self.shows_something(expected)

    def test_the_card_tells_the_evidence(self) -> None:
        manifest, card = self.model.manifest, self.model.card
        assert "not a medical device" in card
        assert manifest["weights"]["sha256"] in card
        assert manifest["evidence"]
        for row in manifest["evidence"]:
            assert f"| {row['dataset']} | {row['metric']} | {row['value']} | {row['n']} |" in card
