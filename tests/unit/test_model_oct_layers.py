"""The shipped model `oct-layers` is whole, is what its manifest says, and finds the boundaries of the retina."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pydicom
import pytest
import yaml

from airouter.imaging.layers import surfaces
from phantoms.oct import Noise, varied, volume
from tests.data import data

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models" / "oct-layers"
BOUNDARY_TOLERANCE_UM = 10.0  # mean absolute error over fresh phantoms
LEAST_TRUSTED = 0.9  # share of columns with an answer
LEAST_FLUID_DICE = 0.75  # large bodies of fluid, ordinary noise

Ask = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


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
def ask(manifest: dict[str, Any], session: onnxruntime.InferenceSession) -> Ask:
    """Probabilities on the B-scan's own pixels, as `fit: stretch` asks for."""
    rows, cols = manifest["input"]["size"]

    def run(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        small = cv2.resize(frame, (cols, rows), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
        prob = session.run(["classes"], {"bscan": small[None, None]})[0][0]
        return np.stack([cv2.resize(c, frame.shape[::-1], interpolation=cv2.INTER_LINEAR) for c in prob])

    return run


def test_the_weights_are_those_of_the_manifest(manifest: dict[str, Any]) -> None:
    file = FOLDER / manifest["weights"]["file"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == manifest["weights"]["sha256"]
    assert file.stat().st_size < 4_000_000
    assert sorted(p.name for p in FOLDER.iterdir()) == ["card.md", "manifest.yaml", "model.onnx", "selftest.npz"]


def test_only_standard_operators_and_no_external_data() -> None:
    model = onnx.load(str(FOLDER / "model.onnx"), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_input_and_output_are_those_of_the_manifest(
    manifest: dict[str, Any], session: onnxruntime.InferenceSession
) -> None:
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    rows, cols = manifest["input"]["size"]
    assert (given.name, given.type) == (manifest["input"]["name"], "tensor(float)")
    assert isinstance(given.shape[0], str)  # any number of B-scans
    assert given.shape[1:] == [manifest["input"]["channels"], rows, cols]
    assert made.name == manifest["head"]["output"]
    assert [c["name"] for c in manifest["head"]["classes"]] == ["vitreous", "retina", "fluid", "below"]
    for n in (1, 3):
        out = session.run([made.name], {given.name: np.full((n, 1, rows, cols), 0.2, np.float32)})[0]
        assert out.shape == (n, 4, rows, cols)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out.sum(axis=1), 1.0, atol=1e-4)


def test_selftest(manifest: dict[str, Any], session: onnxruntime.InferenceSession) -> None:
    file = FOLDER / "selftest.npz"
    assert file.stat().st_size < 300_000
    with np.load(file) as arrays:
        given, expected = arrays["input"], arrays["output"]
    assert given.dtype == expected.dtype == np.float32
    assert list(given.shape) == [1, 1, *manifest["input"]["size"]]
    made = session.run([manifest["head"]["output"]], {manifest["input"]["name"]: given})[0]
    assert np.abs(made - expected).max() < 1e-3
    assert (expected[:, 1] > 0.5).mean() > 0.02  # it is not a picture of nothing


def test_the_boundaries_of_fresh_phantoms_are_found(ask: Ask) -> None:
    errors: list[npt.NDArray[np.float64]] = []
    trusted = []
    for seed in range(20_000_000, 20_000_012):
        p = varied(seed)
        ilm, rpe = surfaces(ask(p.frames[0]))
        known = np.isfinite(ilm)
        trusted.append(known.mean())
        errors.append(np.stack([ilm - p.ilm[0], rpe - p.rpe[0]])[:, known] * p.axial_um)
    inner, outer = np.abs(np.concatenate(errors, axis=1)).mean(axis=1)
    assert inner < BOUNDARY_TOLERANCE_UM
    assert outer < BOUNDARY_TOLERANCE_UM
    assert np.mean(trusted) > LEAST_TRUSTED


def test_large_fluid_is_found_and_none_where_there_is_none(ask: Ask) -> None:
    noise = Noise(looks=8.0, signal_db=2.0)
    hit = said = true = alarm = 0
    seeds = range(31, 43)
    for seed in seeds:
        wet = volume(3, 512, 384, slice_um=250.0, seed=seed, noise=noise)
        dry = volume(1, 512, 384, seed=seed, noise=noise, fluid=False)
        for frame, truth in zip(wet.frames, wet.fluid, strict=True):
            if truth.sum() < 1500:
                continue
            found = ask(frame)[2] >= 0.5
            hit, said, true = hit + int((found & truth).sum()), said + int(found.sum()), true + int(truth.sum())
        alarm += int((ask(dry.frames[0])[2] >= 0.5).sum())
    assert true > 10_000
    assert 2 * hit / (said + true) > LEAST_FLUID_DICE
    assert alarm < 0.001 * len(seeds) * 512 * 384


def test_brightness_does_not_move_the_boundaries(ask: Ask) -> None:
    p = volume(1, 512, 384, seed=40, noise=Noise(looks=6.0), fluid=False)
    plain = surfaces(ask(p.frames[0]))
    dim = surfaces(ask((p.frames[0] * 0.4).astype(np.uint8)))
    for a, b in zip(plain, dim, strict=True):
        assert np.nanmean(np.abs(a - b)) < 2.0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_frame_has_no_retina(ask: Ask, level: int) -> None:
    ilm, rpe = surfaces(ask(np.full((512, 384), level, np.uint8)))
    assert np.isnan(ilm).mean() > 0.9
    assert np.isnan(rpe).mean() > 0.9


def test_neighbouring_bscans_do_not_change_each_other(session: onnxruntime.InferenceSession) -> None:
    rng = np.random.default_rng(0)
    batch = rng.random((2, 1, 320, 256)).astype(np.float32) * np.array([0.2, 1.0], np.float32)[:, None, None, None]
    together = session.run(None, {"bscan": batch})[0]
    alone = np.concatenate([session.run(None, {"bscan": batch[i : i + 1]})[0] for i in range(2)])
    assert np.abs(together - alone).max() < 1e-4


def test_a_real_bscan_agrees_with_its_hand_reading(ask: Ask) -> None:
    pixels = np.squeeze(pydicom.dcmread(data("oct/fda_minimized.dcm")).pixel_array).astype(np.float32)
    frame = np.rint(pixels / pixels.max() * 255).astype(np.uint8)
    ilm, rpe = surfaces(ask(frame))
    columns = [40, 110, 180, 256, 330, 400, 470]  # read by eye, see models/oct-layers/card.md
    np.testing.assert_allclose(ilm[columns], [252.5, 263.5, 281.0, 291.5, 288.0, 265.5, 235.0], atol=5.0)
    np.testing.assert_allclose(rpe[columns], [326.5, 348.0, 363.5, 369.5, 360.0, 339.5, 304.0], atol=6.0)


def test_the_card_tells_the_evidence(manifest: dict[str, Any]) -> None:
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert "not a medical device" in card
    assert manifest["weights"]["sha256"] in card
    assert manifest["evidence"]
    for row in manifest["evidence"]:
        assert f"| {row['dataset']} | {row['metric']} | {row['value']} | {row['n']} |" in card
