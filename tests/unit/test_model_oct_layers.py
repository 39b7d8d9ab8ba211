"""The shipped model `oct-layers` is whole, is what its manifest says, and finds the boundaries of the retina."""

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from airouter.imaging.layers import surfaces
from phantoms.oct import Noise, varied, volume
from tests.data import data
from tests.reference_models import ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("oct-layers")
BOUNDARY_TOLERANCE_UM = 10.0  # mean absolute error over fresh phantoms
LEAST_TRUSTED = 0.9  # share of columns with an answer
LEAST_FLUID_DICE = 0.75  # large bodies of fluid, ordinary noise


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 1
    classes = ("vitreous", "retina", "fluid", "below")
    maps = True
    grey = 0.2

    def shows_something(self, expected: Tensor) -> bool:
        return bool((expected[:, 1] > 0.5).mean() > 0.02)


def ask(frame: npt.NDArray[np.uint8]) -> Tensor:
    """Probabilities on the B-scan's own pixels, as `fit: stretch` asks for."""
    small = cv2.resize(frame, MODEL.size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    prob = MODEL(small[None, None])[0]
    return np.stack([cv2.resize(c, frame.shape[::-1], interpolation=cv2.INTER_LINEAR) for c in prob])


def test_the_boundaries_of_fresh_phantoms_are_found() -> None:
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


def test_large_fluid_is_found_and_none_where_there_is_none() -> None:
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


def test_brightness_does_not_move_the_boundaries() -> None:
    p = volume(1, 512, 384, seed=40, noise=Noise(looks=6.0), fluid=False)
    plain = surfaces(ask(p.frames[0]))
    dim = surfaces(ask((p.frames[0] * 0.4).astype(np.uint8)))
    for a, b in zip(plain, dim, strict=True):
        assert np.nanmean(np.abs(a - b)) < 2.0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_frame_has_no_retina(level: int) -> None:
    ilm, rpe = surfaces(ask(np.full((512, 384), level, np.uint8)))
    assert np.isnan(ilm).mean() > 0.9
    assert np.isnan(rpe).mean() > 0.9


def test_neighbouring_bscans_do_not_change_each_other() -> None:
    rng = np.random.default_rng(0)
    batch = rng.random((2, 1, 320, 256)).astype(np.float32) * np.array([0.2, 1.0], np.float32)[:, None, None, None]
    alone = np.concatenate([MODEL(batch[i : i + 1]) for i in range(2)])
    assert np.abs(MODEL(batch) - alone).max() < 1e-4


def test_a_real_bscan_agrees_with_its_hand_reading() -> None:
    pixels = np.squeeze(pydicom.dcmread(data("oct/fda_minimized.dcm")).pixel_array).astype(np.float32)
    frame = np.rint(pixels / pixels.max() * 255).astype(np.uint8)
    ilm, rpe = surfaces(ask(frame))
    columns = [40, 110, 180, 256, 330, 400, 470]  # read by eye, see models/oct-layers/card.md
    np.testing.assert_allclose(ilm[columns], [252.5, 263.5, 281.0, 291.5, 288.0, 265.5, 235.0], atol=5.0)
    np.testing.assert_allclose(rpe[columns], [326.5, 348.0, 363.5, 369.5, 360.0, 339.5, 304.0], atol=6.0)
