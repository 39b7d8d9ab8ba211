"""Circle scans and cubes of the disc are what their truth says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms.oct import Noise
from phantoms.oct_disc import DIAMETER_MM, QUADRANTS, Notch, circle, clock_hour, disc_cube, profile_um, varied
from phantoms.oct_layers import CLASS

CLEAR = Noise(looks=40.0, vessels=0, motion_um=0.0, rolloff_db=0.0, floor=0.0)
TURN = (np.arange(720) + 0.5) / 2.0


@given(st.floats(0.4, 1.3), st.floats(0.8, 1.2), st.floats(0.8, 1.2))
@settings(max_examples=20, deadline=None)
def test_the_means_of_the_quadrants_are_those_asked_for(all_: float, upper: float, lower: float) -> None:
    asked = {name: v * all_ for name, v in QUADRANTS.items()}
    asked = {**asked, "superior": asked["superior"] * upper, "inferior": asked["inferior"] * lower}
    c = circle(300, 360, 5.0, quadrants=asked, noise=CLEAR)
    for name, mean in asked.items():
        assert c.mean_um(name) == pytest.approx(mean, rel=1e-3)
    np.testing.assert_allclose(c.scan.thickness_um("ilm", "rnfl")[0], c.rnfl_um, atol=0.01)


def test_the_profile_has_two_humps() -> None:
    thick = profile_um(TURN)
    at = np.flatnonzero((thick > np.roll(thick, 1)) & (thick > np.roll(thick, -1)))
    superior, inferior = sorted(TURN[sorted(at, key=lambda i: -thick[i])[:2]])
    assert 60.0 < superior < 120.0
    assert 240.0 < inferior < 300.0
    assert thick[[0, 360]].max() < 0.7 * thick[at].max()  # temporal and nasal


def test_impossible_quadrants_are_refused() -> None:
    with pytest.raises(ValueError, match="no smooth profile"):
        profile_um(TURN, {"temporal": 10.0, "superior": 200.0, "nasal": 10.0, "inferior": 200.0})


def test_a_notch_thins_its_clock_hour_and_not_the_opposite_one() -> None:
    well = circle(300, 720, 5.0, noise=CLEAR)
    ill = circle(300, 720, 5.0, noise=CLEAR, notches=[Notch(clock_hour(7), 10.0, 0.6)])
    assert ill.hour_um(7) < 0.6 * well.hour_um(7)
    assert ill.hour_um(1) == pytest.approx(well.hour_um(1), rel=1e-3)
    assert [clock_hour(h) for h in (9, 12, 3, 6)] == [0.0, 90.0, 180.0, 270.0]


@pytest.mark.parametrize("side", ["R", "L"])
def test_the_path_starts_temporally_goes_up_and_has_the_diameter(side: str) -> None:
    c = circle(300, 360, 5.0, laterality=side, noise=CLEAR)  # type: ignore[arg-type]
    path = c.path((200.0, 220.0), 0.01)
    assert path.shape == (360, 2)
    radius = np.hypot(path[:, 0] - 200.0, path[:, 1] - 220.0)
    np.testing.assert_allclose(radius, DIAMETER_MM / 2 / 0.01)
    temporal = -1.0 if side == "R" else 1.0
    assert np.sign(path[0, 1] - 220.0) == temporal
    assert path[90, 0] < 200.0  # superior is up
    assert np.sign(path[180, 1] - 220.0) == -temporal
    assert path[270, 0] > 200.0


def test_a_circle_scan_shows_a_bright_nerve_fibre_layer_of_that_thickness() -> None:
    c = circle(400, 360, 4.0, noise=CLEAR, seed=4)
    rnfl, below = (c.scan.frames[c.scan.labels == CLASS[n]].mean() for n in ("rnfl", "gcl-ipl"))
    assert rnfl > below + 10
    rows = (c.scan.labels[0] == CLASS["rnfl"]).sum(axis=0)
    assert np.abs(rows * 4.0 - c.rnfl_um).max() <= 4.0
    assert c.scan.lateral_um == pytest.approx(np.pi * 3460.0 / 360)


@pytest.mark.parametrize("side", ["R", "L"])
def test_a_cube_reads_the_profile_on_the_circle(side: str) -> None:
    d = disc_cube(
        60, 300, 120, 5.0, 6.0, side, seed=1, notches=[Notch(300.0)], centre=(0.4, -0.3), noise=CLEAR  # type: ignore[arg-type]
    )  # fmt: skip
    b, column = d.disc_px
    assert b == pytest.approx(30 - 3.0 - 0.5)
    assert column == pytest.approx(60 + 8.0 - 0.5)
    at = np.deg2rad(np.arange(0.0, 360.0, 10.0))
    temporal = -1.0 if side == "R" else 1.0
    row = np.rint(b - DIAMETER_MM / 2 * np.sin(at) / 0.1).astype(int)
    col = np.rint(column + temporal * DIAMETER_MM / 2 * np.cos(at) / 0.05).astype(int)
    read = d.rnfl_um[row, col]
    # Grid points lie up to half a cell off the circle and its angle.
    np.testing.assert_allclose(read, d.circle_um(np.rad2deg(at)), rtol=0.12)
    np.testing.assert_allclose(d.scan.thickness_um("ilm", "rnfl")[row, col], read, atol=0.05)


def test_inside_the_opening_there_is_no_pigment_epithelium_and_a_cup() -> None:
    d = disc_cube(15, 300, 120, 5.0, 6.0, seed=1, noise=CLEAR, cup=0.6)
    inside = d.opening
    assert inside.sum() * 0.05 * 0.4 == pytest.approx(np.pi * 0.85**2, rel=0.1)
    labels = d.scan.labels
    for name in ("rpe", "gcl-ipl", "outer-retina"):
        assert not (labels == CLASS[name]).any(axis=1)[inside].any()
    assert (labels == CLASS["rpe"]).any(axis=1)[~inside].all()
    assert (labels == CLASS["rnfl"]).any(axis=1).all()
    for name, surface in d.scan.surfaces.items():
        assert np.isnan(surface[inside]).all() == (name != "ilm")
        assert np.isfinite(surface[~inside]).all()
    ilm = d.scan.surfaces["ilm"][7]
    assert ilm[60] > np.median(ilm[[30, 90]]) + 5  # deeper in the cup


@given(st.integers(0, 2**20))
@settings(max_examples=8, deadline=None)
def test_whatever_the_seed_the_tissue_lies_in_the_frame(seed: int) -> None:
    p = varied(seed)
    assert p.frames.shape == p.labels.shape
    assert (p.labels[:, 0] == CLASS["vitreous"]).all()
    assert (p.labels[:, -1] == CLASS["choroid"]).all()
    assert (np.diff((p.labels == CLASS["vitreous"]).astype(int), axis=1) <= 0).all()
