"""The shipped model `nuclei` is whole, is what its manifest says, and finds nuclei."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import yaml

from airouter.imaging.nuclei import dab_od, instances, mean_per_label
from phantoms.slide import SlidePhantom, Stain, slide

FOLDER = Path(__file__).resolve().parents[2] / "models" / "nuclei"
COUNT_TOLERANCE = 0.10  # relative error of the count on a phantom
LEAST_F1 = 0.85  # at IoU 0.5 on a phantom
INDEX_TOLERANCE = 5.0  # percentage points of the positive index on a phantom

Maps = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "manifest.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def maps(session: onnxruntime.InferenceSession) -> Maps:
    def run(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        image = (rgb.transpose(2, 0, 1)[None] / 255.0).astype(np.float32)
        return np.asarray(session.run(["maps"], {"image": image})[0][0])

    return run


def hits(found: npt.NDArray[np.int32], true: npt.NDArray[np.int32]) -> int:
    """Nuclei found with an intersection over union above 0.5, which pairs them one to one."""
    both = np.zeros((found.max() + 1, true.max() + 1), np.int64)
    np.add.at(both, (found.ravel(), true.ravel()), 1)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    return int((both[1:, 1:] > 0.5 * union[1:, 1:]).sum())


def test_the_weights_are_those_of_the_manifest(manifest: dict[str, Any]) -> None:
    file = FOLDER / manifest["weights"]["file"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == manifest["weights"]["sha256"]
    assert file.stat().st_size < 4_000_000
    assert sorted(p.name for p in FOLDER.iterdir()) == ["card.md", "manifest.yaml", "model.onnx", "selftest.npz"]


def test_only_standard_operators_and_no_external_data() -> None:
    model = onnx.load(str(FOLDER / "model.onnx"), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert all(entry.version <= 20 for entry in model.opset_import)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_input_and_output_are_those_of_the_manifest(
    manifest: dict[str, Any], session: onnxruntime.InferenceSession
) -> None:
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type) == (manifest["input"]["name"], "tensor(float)")
    assert given.shape[1] == manifest["input"]["channels"] == 3
    assert isinstance(given.shape[0], str)  # any number of patches
    assert made.name == manifest["head"]["output"]
    rows, cols = manifest["input"]["size"]
    for n in (1, 3):
        out = session.run([made.name], {given.name: np.ones((n, 3, rows, cols), np.float32)})[0]
        assert out.shape == (n, len(manifest["head"]["classes"]), rows, cols)
        assert out.dtype == np.float32
        assert out.min() >= 0
        assert out.max() <= 1
    assert [c["name"] for c in manifest["head"]["classes"]] == ["nucleus", "boundary"]


def test_selftest(manifest: dict[str, Any], session: onnxruntime.InferenceSession) -> None:
    file = FOLDER / "selftest.npz"
    assert file.stat().st_size < 300_000
    with np.load(file) as arrays:
        given, expected = arrays["input"], arrays["output"]
    assert given.dtype == expected.dtype == np.float32
    assert list(given.shape) == [1, 3, *manifest["input"]["size"]]
    made = session.run([manifest["head"]["output"]], {manifest["input"]["name"]: given})[0]
    assert np.abs(made - expected).max() < 1e-3
    assert (expected[:, 0] > 0.5).mean() > 0.05  # it is not a picture of nothing


@pytest.mark.parametrize("stain", ["H&E", "H-DAB"])
@pytest.mark.parametrize("seed", [101, 102])
def test_nuclei_of_a_phantom_are_counted(manifest: dict[str, Any], maps: Maps, stain: Stain, seed: int) -> None:
    phantom: SlidePhantom = slide(512, 512, manifest["input"]["spacing_um"], stain, 2500, 0.3, seed)
    nucleus, boundary = maps(phantom.rgb)
    labels = instances(nucleus, boundary, spacing_um=phantom.spacing_um)
    found, true = int(labels.max()), int(phantom.labels.max())
    assert true > 80
    assert abs(found - true) <= COUNT_TOLERANCE * true
    assert 2 * hits(labels, phantom.labels) / (found + true) >= LEAST_F1
    if stain == "H-DAB":
        means = mean_per_label(dab_od(phantom.rgb), labels)[1:]
        index = 100 * (means >= manifest["parameters"]["dab_threshold"]).mean()
        assert abs(index - 100 * phantom.positive[1:].mean()) <= INDEX_TOLERANCE


def test_glass_holds_no_nuclei(maps: Maps) -> None:
    for level in (255, 235):
        nucleus, _ = maps(np.full((256, 256, 3), level, np.uint8))
        assert nucleus.max() < 0.5


def test_neighbouring_patches_do_not_change_each_other(session: onnxruntime.InferenceSession) -> None:
    patches = np.stack([slide(256, 256, 0.5, stain, seed=7).rgb for stain in ("H&E", "H-DAB")])
    batch = (patches.transpose(0, 3, 1, 2) / 255.0).astype(np.float32)
    together = session.run(None, {"image": batch})[0]
    alone = np.concatenate([session.run(None, {"image": batch[i : i + 1]})[0] for i in range(2)])
    assert np.abs(together - alone).max() < 1e-4


def test_the_card_tells_the_evidence(manifest: dict[str, Any]) -> None:
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert "not a medical device" in card
    assert manifest["weights"]["sha256"] in card
    assert f"`dab_threshold` {manifest['parameters']['dab_threshold']}" in card
    assert manifest["evidence"]
    for row in manifest["evidence"]:
        assert f"| {row['dataset']} | {row['metric']} | {row['value']} | {row['n']} |" in card


def test_held_out_h_and_e_reaches_a_useful_f1(manifest: dict[str, Any]) -> None:
    measured = {row["dataset"]: row["value"] for row in manifest["evidence"] if row["metric"] == "F1 at IoU 0.5"}
    assert min(v for name, v in measured.items() if "held out" in name) > 0.5
