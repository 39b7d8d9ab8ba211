"""The phantom volumes with layers are what their truth says."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms.oct import Blob, Noise
from phantoms.oct_flat import SHARES, Ellipsoid, flat
from phantoms.oct_layers import CLASS, CLASSES, SURFACES, Disease, Dome, LayerPhantom, Patch, macula, varied

CLEAR = Noise(looks=40.0, vessels=0, motion_um=0.0, rolloff_db=0.0, floor=0.0)


WELL = Disease()


@cache
def clear(disease: Disease = WELL) -> LayerPhantom:
    """Two B-scans per mm over 4 mm, 3.4 mm wide."""
    return macula(8, 340, 170, 5.0, 20.0, 500.0, seed=3, disease=disease, noise=CLEAR)


def layer_mean(p: LayerPhantom, name: str) -> float:
    return float(p.frames[p.labels == CLASS[name]].mean())


def test_the_classes_are_those_of_the_model_in_its_order() -> None:
    assert CLASSES == (
        "vitreous", "rnfl", "gcl-ipl", "outer-retina", "rpe", "drusen", "choroid", "irf", "srf", "ped",
    )  # fmt: skip


@given(st.integers(0, 2**20))
@settings(max_examples=10, deadline=None)
def test_whatever_the_seed_the_surfaces_are_in_order_and_the_labels_lie_between_them(seed: int) -> None:
    p = varied(seed)
    _, rows, cols = p.frames.shape
    order = np.stack([p.surfaces[name][0] for name in SURFACES])
    assert np.isfinite(order).all()
    assert (np.diff(order, axis=0) >= 0.0).all()
    assert (order[0] > 0).all()
    assert (order[-1] < rows).all()
    centre = np.arange(rows)[:, None] + 0.5
    label = p.labels[0]
    bounds: dict[str, tuple[str | None, str | None]] = {
        "vitreous": (None, "ilm"),
        "rnfl": ("ilm", "rnfl"),
        "gcl-ipl": ("rnfl", "ipl"),
        "outer-retina": ("ipl", "rpe"),
        "rpe": ("rpe", "rpe-outer"),
        "drusen": ("rpe-outer", "bm"),
        "ped": ("rpe-outer", "bm"),
        "choroid": ("bm", None),
        "irf": ("ilm", "rpe"),
        "srf": ("ipl", "rpe"),
    }
    for name, (upper, lower) in bounds.items():
        here = label == CLASS[name]
        if upper is not None:
            assert (centre >= p.surfaces[upper][0][None])[here].all()
        if lower is not None:
            assert (centre < p.surfaces[lower][0][None])[here].all()
    assert p.one_hot(0).shape == (10, rows, cols)
    np.testing.assert_array_equal(p.one_hot(0).argmax(0), label)


def test_the_same_seed_gives_the_same_volume_and_another_seed_another() -> None:
    a, b, c = (macula(1, 340, 64, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(a.frames, b.frames)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert (a.frames != c.frames).mean() > 0.05


def test_a_healthy_eye_has_the_layers_and_nothing_else() -> None:
    p = clear()
    healthy = ("vitreous", "rnfl", "gcl-ipl", "outer-retina", "rpe", "choroid")
    assert set(np.unique(p.labels)) == {CLASS[name] for name in healthy}
    assert not p.atrophy.any()
    np.testing.assert_array_equal(p.surfaces["rpe-outer"], p.surfaces["bm"])
    assert (p.thickness_um("rpe", "bm") > 10.0).all()
    assert layer_mean(p, "rpe") > layer_mean(p, "outer-retina") + 30
    assert layer_mean(p, "rnfl") > layer_mean(p, "gcl-ipl") > layer_mean(p, "vitreous") + 40


def test_drusen_lift_the_pigment_epithelium_by_their_height() -> None:
    dome = Dome(0.3, 0.25, 0.4, 100.0)
    well, ill = clear(), clear(Disease(drusen=(dome,)))
    lift = ill.thickness_um("rpe-outer", "bm")
    assert lift.max() == pytest.approx(100.0, abs=1.0)  # y of the fifth B-scan is 0.25 mm
    assert (lift > 0.0).any(axis=1).tolist() == [False] * 4 + [True] + [False] * 3
    np.testing.assert_allclose(ill.thickness_um("ilm", "rpe-outer"), well.thickness_um("ilm", "rpe-outer"), atol=0.01)
    assert layer_mean(ill, "drusen") > layer_mean(ill, "vitreous") + 40
    assert not (ill.labels == CLASS["ped"]).any()


def test_the_volume_of_a_dome_is_that_of_a_paraboloid() -> None:
    dome = Dome(0.0, 0.0, 0.8, 300.0)
    p = macula(40, 512, 160, 2.5, 12.5, 50.0, disease=Disease(ped=(dome,)), noise=CLEAR, seed=2)
    assert dome.volume_nl == pytest.approx(np.pi * 0.64 * 300 / 2)
    assert p.volume_nl("ped") == pytest.approx(dome.volume_nl, rel=0.02)
    assert p.volume_nl("drusen") == 0.0
    assert layer_mean(p, "ped") < layer_mean(p, "rpe") - 60


def test_fluid_is_labelled_by_where_it_lies() -> None:
    cyst = Blob("ONL", 0.5, 0.25, 0.3, 0.3, 120.0)
    blister = Blob("SRF", -0.5, 0.25, 0.6, 0.6, 150.0)
    p = clear(Disease(fluid=(cyst, blister)))
    irf, srf = (p.labels == CLASS[c] for c in ("irf", "srf"))
    x = (np.arange(170) + 0.5 - 85) * 0.02
    assert np.abs(x[irf.any(axis=(0, 1))] - 0.5).max() < 0.31
    assert np.abs(x[srf.any(axis=(0, 1))] + 0.5).max() < 0.61
    below = np.stack([np.roll(p.labels[b], -1, axis=0) for b in range(8)])  # the pixel beneath each
    assert set(np.unique(below[srf])) == {CLASS["srf"], CLASS["rpe"]}
    dark = layer_mean(p, "vitreous") + 60
    assert layer_mean(p, "irf") < dark
    assert layer_mean(p, "srf") < dark


def test_in_atrophy_the_pigment_epithelium_is_missing_the_retina_thin_and_the_choroid_bright() -> None:
    p, well = clear(Disease(atrophy=(Patch(0.0, 0.0, 0.8),))), clear()
    y = (np.arange(8) + 0.5 - 4) * 0.5
    x = (np.arange(170) + 0.5 - 85) * 0.02
    np.testing.assert_array_equal(p.atrophy, np.hypot(x[None], y[:, None]) < 0.8)
    assert not (p.labels == CLASS["rpe"]).any(axis=1)[p.atrophy].any()
    assert (p.labels == CLASS["rpe"]).any(axis=1)[~p.atrophy].all()
    assert p.atrophy_mm2 == pytest.approx(p.atrophy.sum() * 0.02 * 0.5)
    outer = [v.thickness_um("ipl", "bm")[p.atrophy].mean() for v in (p, well)]
    assert outer[0] < 0.65 * outer[1]
    choroid = (p.labels == CLASS["choroid"]) & (np.arange(340)[None, :, None] < p.surfaces["bm"][:, None] + 20)
    gone = np.broadcast_to(p.atrophy[:, None], choroid.shape)
    assert p.frames[choroid & gone].mean() > p.frames[choroid & ~gone].mean() + 15


def test_a_random_disease_has_what_was_asked_for() -> None:
    d = Disease.random(np.random.default_rng(1), irf=3, srf=2, ped=1, drusen=5, atrophy=2)
    assert (len(d.fluid), len(d.ped), len(d.drusen), len(d.atrophy)) == (5, 1, 5, 2)
    assert all(20.0 <= dome.height <= 120.0 for dome in d.drusen)
    assert all(100.0 <= dome.height <= 400.0 for dome in d.ped)


def test_a_frame_too_shallow_for_the_retina_is_refused() -> None:
    with pytest.raises(ValueError, match="too shallow"):
        macula(1, 100, 64, 3.5, noise=CLEAR)


def test_a_flat_slab_has_the_thicknesses_asked_for() -> None:
    p = flat(3, 128, 32, thickness_um=250.0, axial_um=4.0)
    np.testing.assert_allclose(p.thickness_um("ilm", "bm"), 250.0)
    bounds = list(zip(SHARES, (("ilm", "rnfl"), ("rnfl", "ipl"), ("ipl", "rpe"), ("rpe", "bm")), strict=True))
    for name, (upper, lower) in bounds:
        np.testing.assert_allclose(p.thickness_um(upper, lower), 250.0 * SHARES[name], rtol=1e-5)
        rows = (p.labels[1] == CLASS[name]).sum(axis=0)
        assert (np.abs(rows * 4.0 - 250.0 * SHARES[name]) <= 4.0).all()
    assert p.fovea_px == (1.0, 15.5)


@given(st.floats(0.3, 1.2), st.floats(0.5, 1.5), st.floats(25.0, 60.0))
@settings(max_examples=10, deadline=None)
def test_the_volume_of_an_ellipsoid_is_that_of_the_formula(rx: float, ry: float, rz: float) -> None:
    body = Ellipsoid("irf", 0.1, -0.2, 130.0, rx, ry, rz)
    p = flat(40, 128, 128, lateral_um=40.0, slice_um=100.0, bodies=[body])
    assert body.volume_nl == pytest.approx(4 / 3 * np.pi * rx * ry * rz)
    assert p.volume_nl("irf") == pytest.approx(body.volume_nl, rel=0.06)


def test_a_slab_that_leaves_the_frame_or_has_other_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves a frame"):
        flat(1, 64, 8, thickness_um=250.0)
    with pytest.raises(ValueError, match="sum to 1"):
        flat(1, 128, 8, shares={**SHARES, "rpe": 0.5})


def test_a_slab_without_pigment_epithelium_is_atrophic() -> None:
    p = flat(2, 128, 8, shares={"rnfl": 0.2, "gcl-ipl": 0.3, "outer-retina": 0.5, "rpe": 0.0})
    assert p.atrophy.all()
    assert not (p.labels == CLASS["rpe"]).any()
