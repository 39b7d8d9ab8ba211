"""The phantom B-scans are what their truth says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms.oct import Noise, varied, volume

CLEAR = Noise(looks=40.0, vessels=0, motion_um=0.0, rolloff_db=0.0, floor=0.0)


@given(st.integers(0, 2**20))
@settings(max_examples=12, deadline=None)
def test_whatever_the_seed_the_retina_lies_in_the_frame_and_the_fluid_in_the_retina(seed: int) -> None:
    p = varied(seed)
    _, rows, cols = p.frames.shape
    assert p.frames.dtype == np.uint8
    assert p.ilm.shape == p.rpe.shape == (1, cols)
    assert (p.ilm > 0).all()
    assert (p.rpe < rows).all()
    assert (p.thickness_um > 80).all()
    assert (p.thickness_um < 1200).all()
    centre = np.arange(rows)[None, :, None] + 0.5
    inside = (centre > p.ilm[:, None]) & (centre < p.rpe[:, None])
    assert not (p.fluid & ~inside).any()


def test_the_same_seed_gives_the_same_volume_and_another_seed_another() -> None:
    a, b, c = (volume(2, 320, 64, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(a.frames, b.frames)
    np.testing.assert_array_equal(a.ilm, b.ilm)
    assert (a.frames != c.frames).mean() > 0.05


def test_the_picture_is_bright_below_the_inner_boundary_and_dark_above() -> None:
    p = volume(1, 512, 128, noise=CLEAR, fluid=False, seed=3)
    for column in range(0, 128, 8):
        at = round(float(p.ilm[0, column]))
        above, beneath = p.frames[0, at - 12 : at - 3, column], p.frames[0, at + 2 : at + 8, column]
        assert beneath.mean() > above.mean() + 40


def test_the_pigment_epithelium_ends_at_the_outer_boundary() -> None:
    p = volume(1, 512, 128, noise=CLEAR, fluid=False, seed=3)
    for column in range(0, 128, 8):
        at = round(float(p.rpe[0, column]))
        assert p.frames[0, at - 4 : at - 1, column].mean() > p.frames[0, at + 3 : at + 9, column].mean() + 10


@pytest.mark.parametrize("laterality", ["R", "L"])
def test_the_fovea_is_where_it_is_said_to_be_and_thinnest(laterality: str) -> None:
    p = volume(25, 512, 512, fluid=False, noise=CLEAR, seed=8, fovea=(0.7, -0.4), laterality=laterality)  # type: ignore[arg-type]
    b, column = p.fovea_px
    assert b == pytest.approx(25 / 2 - 0.4 / 0.12 - 0.5)
    assert column == pytest.approx(512 / 2 + 0.7 / 0.0117 - 0.5)
    yy, xx = np.mgrid[:25, :512]
    away = np.hypot((yy - b) * p.slice_um, (xx - column) * p.lateral_um)
    pit, rim = p.thickness_um[away < 250].mean(), p.thickness_um[(away > 800) & (away < 1300)].mean()
    assert pit < rim - 40


def test_the_disc_side_is_thicker_on_the_right_in_a_right_eye_and_on_the_left_in_a_left_eye() -> None:
    right, left = (
        volume(1, 512, 768, fluid=False, noise=CLEAR, seed=8, laterality=side).thickness_um[0] for side in ("R", "L")
    )
    assert right[-100:].mean() > right[:100].mean() + 20
    assert left[:100].mean() > left[-100:].mean() + 20


def test_fluid_is_there_when_asked_for_and_its_volume_follows_the_spacing() -> None:
    wet, dry = (volume(9, 400, 256, seed=4, fluid=f) for f in (True, False))
    assert wet.fluid.any()
    assert not dry.fluid.any()
    assert dry.fluid_ul == 0.0
    assert wet.fluid_ul == pytest.approx(wet.fluid.sum() * 3.5 * 11.7 * 120.0 * 1e-9)


def test_motion_moves_whole_bscans_and_not_the_thickness() -> None:
    noise = {"looks": 40.0, "vessels": 0}
    still = volume(5, 512, 64, fluid=False, seed=2, noise=Noise(**noise, motion_um=0.0))
    moved = volume(5, 512, 64, fluid=False, seed=2, noise=Noise(**noise, motion_um=30.0))
    assert np.abs(moved.rpe - still.rpe).max() > 3.0
    np.testing.assert_allclose((moved.rpe - still.rpe).std(axis=1), 0.0, atol=1e-2)


def test_a_frame_too_shallow_for_a_retina_is_refused() -> None:
    with pytest.raises(ValueError, match="too shallow"):
        volume(1, 100, 64)
