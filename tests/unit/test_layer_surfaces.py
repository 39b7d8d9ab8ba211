"""Five surfaces from probabilities of ten classes: exact where the answer is, NaN where it contradicts itself."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging.layer_surfaces import Channels, surfaces
from phantoms.oct import Blob
from phantoms.oct_layers import Disease, Dome, Patch, macula

ROWS, COLUMNS = 200, 48
NAMES = ("ilm", "rnfl", "ipl", "rpe", "bm")
C = Channels()
LAYERS = (C.vitreous, C.rnfl, C.gcl_ipl, C.outer_retina, C.rpe, C.choroid)


def maps(edges, rows=ROWS, columns=COLUMNS):
    """What a perfect model answers for layers between these surfaces: the share of each pixel in each of them."""
    top = np.arange(rows)[:, None]
    edges = [np.broadcast_to(np.asarray(e, np.float64), columns) for e in edges]
    below = [np.ones((rows, columns)), *(np.clip(top + 1 - e[None], 0, 1) for e in edges), np.zeros((rows, columns))]
    prob = np.zeros((10, rows, columns))
    for channel, upper, lower in zip(LAYERS, below, below[1:], strict=False):
        prob[channel] = upper - lower
    return prob


def put(prob, channel, rows, columns):
    """A block of pixels that are wholly of one class."""
    prob[:, rows, columns] = 0
    prob[channel, rows, columns] = 1
    return prob


def found(prob, **options):
    made = surfaces(prob, **options)
    return np.stack([getattr(made, name) for name in NAMES])


EDGES = (50.3, 60.75, 80.5, 120.25, 126.6)


def test_flat_surfaces_are_found_to_a_fraction_of_a_row():
    assert found(maps(EDGES)) == pytest.approx(np.repeat(np.array(EDGES)[:, None], COLUMNS, 1), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(30, 60),
    st.lists(st.one_of(st.just(0.0), st.floats(2.0, 25.0)), min_size=3, max_size=3),
    st.floats(3.0, 10.0),
    st.floats(-0.4, 0.4),
)
def test_surfaces_of_any_thickness_are_exact_and_in_order(top, between, pigment, slope):
    edges = np.cumsum([top, *between, pigment])
    if edges[-1] - edges[0] < 4:
        edges[-1] = edges[0] + 4
    tilted = edges[:, None] + slope * (np.arange(COLUMNS) - COLUMNS / 2)
    made = found(maps(tilted))
    assert np.isfinite(made).all()
    assert (np.diff(made, axis=0) >= 0).all()
    assert np.abs(made - tilted).max() < 0.75


def test_a_druse_lifts_the_pigment_epithelium_and_nothing_else():
    rows = np.array(EDGES)[:, None] * np.ones(COLUMNS)
    rows[3, 20:28] -= 20
    prob = maps(rows)
    for column in range(20, 28):
        prob[C.drusen, :, column], prob[C.rpe, :, column] = prob[C.rpe, :, column], 0
    for column in range(20, 28):  # six rows of RPE on top of the druse
        prob = put(prob, C.rpe, slice(101, 107), slice(column, column + 1))
    made = found(prob)
    assert made[[0, 1, 2, 4]] == pytest.approx(np.repeat(np.array(EDGES)[[0, 1, 2, 4], None], COLUMNS, 1), abs=0.01)
    assert made[3, 22:26] == pytest.approx(100.25, abs=1)
    assert made[3, :16] == pytest.approx(120.25, abs=0.01)


@pytest.mark.parametrize("channel", [C.irf, C.srf, C.ped])
def test_fluid_bends_no_surface_that_it_does_not_touch(channel):
    rows = {C.irf: slice(90, 110), C.srf: slice(100, 120), C.ped: slice(130, 150)}[channel]
    edges = np.array(EDGES)[:, None] * np.ones(COLUMNS)
    if channel == C.ped:
        edges[4] = 156.6
    made = found(put(maps(edges), channel, rows, slice(10, 40)))
    assert made[[0, 1, 2]] == pytest.approx(edges[[0, 1, 2]], abs=0.01)
    assert made[4] == pytest.approx(edges[4], abs=0.01)
    expected = 120.0 if channel == C.srf else 120.25
    assert made[3, 15:35] == pytest.approx(expected, abs=0.3)


def test_fluid_inside_the_ganglion_cells_belongs_to_them():
    made = found(put(maps(EDGES), C.irf, slice(66, 76), slice(10, 40)))
    assert made == pytest.approx(np.repeat(np.array(EDGES)[:, None], COLUMNS, 1), abs=0.01)


def test_without_pigment_epithelium_it_ends_where_bruchs_membrane_is():
    edges = (50.0, 60.0, 80.0, 110.0, 110.0)
    made = found(maps(edges))
    assert made[3] == pytest.approx(made[4])
    assert made[4] == pytest.approx(110.0)


def test_a_column_that_is_not_a_retina_is_not_trusted():
    prob = maps(EDGES)
    prob[:, :, 5:10] = 0.1  # undecided
    prob[:, :, 20] = np.nan
    prob[:, :, 30:32] = 0  # everything is vitreous
    prob[C.vitreous, :, 30:32] = 1
    made = found(prob, smooth=False)
    lost = np.isnan(made).all(axis=0)
    assert set(np.flatnonzero(lost)) == {5, 6, 7, 8, 9, 20, 30, 31}
    assert np.isfinite(made[:, ~lost]).all()


def test_an_inner_surface_can_be_lost_alone():
    prob = maps(EDGES)
    within = slice(51, 80)  # RNFL and ganglion cells cannot be told apart
    prob[C.rnfl, within] = prob[C.gcl_ipl, within] = 0.5
    made = found(prob)
    assert np.isnan(made[1]).all()
    assert np.isfinite(made[[0, 2, 3, 4]]).all()


@pytest.mark.parametrize("doubt", [0.0, 0.15])
def test_a_diseased_retina_seen_by_a_doubtful_model(doubt):
    """Every surface of a phantom with fluid, drusen, a detachment and atrophy, from blurred and noisy answers."""
    disease = Disease(
        fluid=(Blob("INL", -0.9, 0.0, 0.25, 0.3, 80.0), Blob("SRF", 0.5, 0.0, 0.5, 0.5, 100.0)),
        drusen=(Dome(-1.6, 0.0, 0.2, 60.0),),
        ped=(Dome(1.7, 0.0, 0.5, 150.0),),
        atrophy=(Patch(-2.4, 0.0, 0.4),),
    )
    truth = macula(1, 400, 256, 4.0, 25.0, 100.0, seed=4, disease=disease)
    prob = truth.one_hot(0)
    if doubt:
        rng = np.random.default_rng(7)
        blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in prob])
        prob = blurred * (1 - doubt) + doubt * rng.dirichlet(np.ones(10), (400, 256)).transpose(2, 0, 1)
    made = surfaces(prob, lateral_um=25.0)
    for name in NAMES:
        away = np.abs(getattr(made, name) - truth.surfaces[name][0])
        # the phantom's bodies have steep sides, where half a column matters
        assert np.isfinite(away).mean() > 0.97, name
        assert np.nanmean(away) < (0.5 if not doubt else 1.0), name
        assert np.nanpercentile(away, 95) < (1.5 if not doubt else 2.5), name


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="must be"):
        surfaces(np.zeros((4, 10, 10)))
