"""Signal, missing B-scans, a retina cut off or tilted, on scans whose truth is known."""

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging.oct_quality import (
    CUT_SHARE,
    POOR_DB,
    WEAK_DB,
    bscan_quality,
    signal_db,
    volume_quality,
    without_padding,
)
from phantoms import oct
from phantoms.dicom import oct_instance
from tests.data import files
from tests.images import opened

AXIAL, LATERAL = 3.5, 11.7
ROWS, COLUMNS = 496, 512


def scan(top=150.0, tilt=0.0, *, noise=8.0, thickness=80, seed=0, rows=ROWS, background=20.0):
    """A bright band below `top` (rows, at the middle), `tilt` in degrees, and a dim choroid below it."""
    rng = np.random.default_rng(seed)
    across = (np.arange(COLUMNS) - COLUMNS / 2) * LATERAL
    inner = top + np.tan(np.radians(tilt)) * across / AXIAL
    row = np.arange(rows)[:, None]
    retina = (row >= inner) & (row < inner + thickness)
    choroid = (row >= inner + thickness) & (row < inner + thickness + 90)
    pigment = (row >= inner + thickness - 8) & (row < inner + thickness)
    frame = background + 60.0 * retina + 60.0 * pigment + 25.0 * choroid
    return np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)


def quality(frame):
    return bscan_quality(1, frame, AXIAL, LATERAL)


@cache
def phantom(signal, seed=4):
    return oct.volume(1, ROWS, COLUMNS, seed=seed, noise=oct.Noise(signal_db=signal)).frames[0]


def test_signal_falls_as_the_signal_falls():
    found = [signal_db(phantom(db)) for db in (0, -6, -12, -18, -24)]
    assert found == sorted(found, reverse=True)
    assert found[0] > WEAK_DB
    assert found[-1] < POOR_DB


@settings(max_examples=25, deadline=None)
@given(st.floats(0.4, 1.0), st.floats(0.0, 60.0))
def test_signal_does_not_depend_on_brightness_and_contrast(gain, offset):
    shown = np.clip(scan().astype(np.float64) * gain + offset, 0, 255).astype(np.uint8)
    assert signal_db(shown) == pytest.approx(signal_db(scan()), abs=0.5)


def test_the_ratio_is_that_of_the_variances():
    """Structure of known variance under white noise of known variance; three rows are averaged, so a third of it."""
    rng = np.random.default_rng(1)
    rows = cv2.GaussianBlur(rng.normal(0, 1, (ROWS, 1)), (1, 31), 6)
    structure = rows / rows.std() * 20.0
    for noise in (5.0, 20.0, 40.0):
        frame = np.clip(128 + structure + rng.normal(0, noise, (ROWS, COLUMNS)), 0, 255).astype(np.uint8)
        smooth = cv2.blur(structure, (1, 3))
        wanted = 10 * np.log10(smooth.var() / (noise**2 / 3))
        assert signal_db(frame) == pytest.approx(wanted, abs=0.6)


def test_noise_alone_has_no_signal():
    frame = np.random.default_rng(2).normal(60, 20, (ROWS, COLUMNS)).clip(0, 255).astype(np.uint8)
    assert signal_db(frame) < -10
    assert quality(frame).tilt_deg is None
    assert not quality(frame).blank


@pytest.mark.parametrize("tilt", [-25, -12, 0, 8, 20])
def test_tilt_is_told_in_degrees_and_costs_no_signal(tilt):
    found = quality(scan(200, tilt))
    assert found.tilt_deg == pytest.approx(tilt, abs=1.0)
    assert found.signal_db == pytest.approx(quality(scan(200)).signal_db, abs=3.0)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_blank_scan_is_blank(value):
    assert quality(np.full((ROWS, COLUMNS), value, np.uint8)).blank
    assert not quality(scan()).blank


@pytest.mark.parametrize("rows", [300, 496, 1024])
def test_a_retina_within_the_scan_is_whole(rows):
    for top in (30, 90, rows - 190):
        found = quality(scan(top, rows=rows))
        assert (found.cut_top, found.cut_bottom) == (0, 0)


def test_a_retina_that_leaves_the_scan_is_cut():
    assert quality(scan(-10)).cut_top == 1
    assert quality(scan(ROWS - 40)).cut_bottom == 1
    # tilted by t, half of it lies above the scan where it crosses the edge in the middle
    half = quality(scan(0, 10))
    assert half.cut_top == pytest.approx(0.5, abs=0.05)
    assert half.cut_bottom == 0


def test_what_a_device_filled_up_is_no_tissue():
    frame = scan(200)
    filled = frame.copy()
    filled[:60] = 90
    assert quality(filled).cut_top == 0
    assert quality(filled).tilt_deg == pytest.approx(0, abs=1.0)
    assert (without_padding(filled)[:60] == filled.min()).all()
    assert np.array_equal(without_padding(filled)[63:], frame[63:])
    assert without_padding(frame) is frame


def test_a_volume_is_as_good_as_its_worst_scan():
    frames = np.stack([scan(150, seed=n) for n in range(7)])
    frames[2] = 0
    frames[4] = scan(150, noise=90.0)
    frames[5] = scan(-10)
    found = volume_quality(opened(oct_instance(frames, axial_um=AXIAL, lateral_um=LATERAL)))
    assert found.blank == (3,)
    assert found.weakest.number == 5
    assert found.signal_db == signal_db(frames[4]) < WEAK_DB
    assert found.cut_top == (6,)
    assert found.cut_bottom == ()
    assert (found.frames, len(found.scans)) == (7, 7)


def test_of_a_large_volume_some_scans_are_looked_at():
    frames = np.stack([scan(150, seed=n % 3, rows=200) for n in range(100)])
    found = volume_quality(opened(oct_instance(frames, axial_um=AXIAL, lateral_um=LATERAL)))
    numbers = [s.number for s in found.scans]
    assert (found.frames, len(numbers)) == (100, 16)
    assert (numbers[0], numbers[-1]) == (1, 100)
    assert max(np.diff(numbers)) <= 7


def test_phantoms_of_many_devices_are_gradable():
    kept = 0
    for seed in range(8):
        truth = oct.varied(seed)
        found = bscan_quality(1, truth.frames[0], truth.axial_um, truth.lateral_um)
        kept += (found.signal_db or -60) >= POOR_DB and max(found.cut_top, found.cut_bottom) <= CUT_SHARE
    assert kept >= 6


def test_real_b_scans_have_signal():
    import pydicom

    (path,) = files("oct/*.dcm")
    found = volume_quality(opened(pydicom.dcmread(path)))
    assert found.signal_db > WEAK_DB
    assert found.tilt_deg < 5
    assert (found.cut_top, found.cut_bottom, found.blank) == ((), (), ())
    (path,) = files("oct/relaynet_notebook_bscan_512.png")
    upright = np.ascontiguousarray(cv2.imread(str(path), 0).T)  # published lying on its side
    found = bscan_quality(1, upright, 3.9, 11.0)
    assert found.signal_db > WEAK_DB
    assert abs(found.tilt_deg) < 5
    assert (found.cut_top, found.cut_bottom) == (0, 0)
