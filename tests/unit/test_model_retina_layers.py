"""The shipped model `retina-layers` is whole, is what its manifest says, and finds layers, fluid and atrophy."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from airouter.domain import codes
from airouter.imaging import layers
from phantoms.oct import Noise
from phantoms.oct_disc import circle
from phantoms.oct_layers import CLASS, CLASSES, Disease, LayerPhantom, Patch, macula, varied
from tests.data import data
from tests.reference_models import ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("retina-layers")
RECENT = Noise(looks=8.0, signal_db=2.0)  # how a recent device images


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 1
    classes = CLASSES
    maps = True
    grey = 0.2

    def shows_something(self, expected: Tensor) -> bool:
        most = expected[0].argmax(0)
        return all((most == CLASS[name]).mean() > 0.005 for name in ("rnfl", "gcl-ipl", "outer-retina", "rpe"))


def ask(frame: npt.NDArray[np.uint8]) -> Tensor:
    """Probabilities on the B-scan's own pixels, as `fit: stretch` asks for."""
    small = cv2.resize(frame, MODEL.size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    prob = MODEL(small[None, None])[0]
    return np.stack([cv2.resize(c, frame.shape[::-1], interpolation=cv2.INTER_LINEAR) for c in prob])


def boundary(prob: Tensor, *above: str) -> npt.NDArray[np.float64]:
    """Where these classes end and the other tissue begins, in rows from the top edge [cols]."""
    upper, below = prob[[CLASS[name] for name in above]].sum(0), prob[CLASS["choroid"]]
    return layers.surfaces(np.stack([upper, 1.0 - upper - below, np.zeros_like(below), below]))[0]


def outer(prob: Tensor) -> npt.NDArray[np.float64]:
    """Bruch's membrane, in rows from the top edge [cols]."""
    upper, below = prob[CLASS["vitreous"]], prob[CLASS["choroid"]]
    return layers.surfaces(np.stack([upper, 1.0 - upper - below, np.zeros_like(below), below]))[1]


@cache
def ill() -> tuple[LayerPhantom, tuple[Tensor, ...]]:
    """A volume with every kind of fluid and drusen, and the answers for its B-scans."""
    disease = Disease.random(np.random.default_rng(4), irf=6, srf=1, ped=1, drusen=8, spread=(0.9, 0.4))
    p = macula(7, 640, 384, 3.5, 15.0, 300.0, seed=20_000_001, disease=disease, noise=RECENT)
    return p, tuple(ask(frame) for frame in p.frames)


def test_the_classes_have_the_codes_of_the_table() -> None:
    said = {c["name"]: c.get("code", {}).get("value") for c in MODEL.manifest["head"]["classes"]}
    assert said == {
        "vitreous": None,
        "rnfl": codes.RNFL_LAYER.value,
        "gcl-ipl": codes.GCL_IPL_LAYER.value,
        "outer-retina": codes.OUTER_RETINA_LAYER.value,
        "rpe": codes.RPE_LAYER.value,
        "drusen": codes.DRUSEN.value,
        "choroid": codes.CHOROID.value,
        "irf": codes.INTRARETINAL_FLUID.value,
        "srf": codes.SUBRETINAL_FLUID.value,
        "ped": codes.PIGMENT_EPITHELIAL_DETACHMENT.value,
    }


def test_the_boundaries_of_fresh_phantoms_are_found() -> None:
    errors: list[npt.NDArray[np.float64]] = []
    for seed in range(20_000_000, 20_000_012):
        p = varied(seed)
        prob = ask(p.frames[0])
        found = np.stack(
            [
                boundary(prob, "vitreous"),
                boundary(prob, "vitreous", "rnfl"),
                boundary(prob, "vitreous", "rnfl", "gcl-ipl"),
                outer(prob),
            ]
        )
        true = np.stack([p.surfaces[name][0] for name in ("ilm", "rnfl", "ipl", "bm")])
        errors.append(np.abs(found - true) * p.axial_um)
    whole = np.concatenate(errors, axis=1)
    assert np.isfinite(whole).mean() > 0.85
    inner, rnfl, ipl, bruch = np.nanmean(whole, axis=1)
    assert inner < 8.0
    assert rnfl < 12.0
    assert ipl < 14.0
    assert bruch < 10.0


@pytest.mark.parametrize(("name", "least"), [("srf", 0.7), ("ped", 0.7), ("irf", 0.5), ("drusen", 0.4)])
def test_fluid_and_drusen_are_found_and_told_apart(name: str, least: float) -> None:
    p, answers = ill()
    said = np.stack([prob.argmax(0) for prob in answers]) == CLASS[name]
    true = p.labels == CLASS[name]
    assert true.sum() > 1000
    assert 2 * (said & true).sum() / (said.sum() + true.sum()) > least


def test_a_healthy_macula_has_no_fluid() -> None:
    p = macula(1, 560, 384, 3.5, 15.0, seed=20_000_002, noise=RECENT)
    most = ask(p.frames[0]).argmax(0)
    assert np.isin(most, [CLASS[name] for name in ("irf", "srf", "ped")]).sum() < 0.0005 * most.size


def test_atrophy_has_no_pigment_epithelium() -> None:
    disease = Disease(atrophy=(Patch(0.0, 0.0, 1.2),))
    p = macula(1, 560, 384, 3.5, 15.0, seed=20_000_003, disease=disease, noise=RECENT)
    gone = ~(ask(p.frames[0]).argmax(0) == CLASS["rpe"]).any(0)
    true = p.atrophy[0]
    assert 2 * (gone & true).sum() / (gone.sum() + true.sum()) > 0.75


def test_the_nerve_fibre_layer_of_a_circle_scan_is_measured() -> None:
    c = circle(seed=20_000_004, noise=RECENT)
    prob = ask(c.scan.frames[0])
    thick = (boundary(prob, "vitreous", "rnfl") - boundary(prob, "vitreous")) * c.scan.axial_um
    assert np.isfinite(thick).mean() > 0.9
    assert np.nanmean(thick - c.rnfl_um) == pytest.approx(0.0, abs=8.0)
    assert np.nanmean(np.abs(thick - c.rnfl_um)) < 12.0


def test_brightness_does_not_move_the_boundaries() -> None:
    frame = macula(1, 512, 384, seed=20_000_005, noise=RECENT).frames[0]
    plain, dim = ask(frame), ask((frame * 0.4).astype(np.uint8))
    for read in (lambda p: boundary(p, "vitreous"), outer):
        assert np.nanmean(np.abs(read(plain) - read(dim))) < 2.0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_frame_has_no_retina(level: int) -> None:
    assert np.isnan(outer(ask(np.full((512, 384), level, np.uint8)))).mean() > 0.9


def test_a_real_bscan_agrees_with_its_hand_reading() -> None:
    pixels = np.squeeze(pydicom.dcmread(data("oct/fda_minimized.dcm")).pixel_array).astype(np.float32)
    prob = ask(np.rint(pixels / pixels.max() * 255).astype(np.uint8))
    columns = [40, 110, 180, 256, 330, 400, 470]  # read by eye, see models/oct-layers/card.md
    ilm, bruch = boundary(prob, "vitreous")[columns], outer(prob)[columns]
    np.testing.assert_allclose(ilm, [252.5, 263.5, 281.0, 291.5, 288.0, 265.5, 235.0], atol=6.0)
    np.testing.assert_allclose(bruch, [326.5, 348.0, 363.5, 369.5, 360.0, 339.5, 304.0], atol=7.0)
