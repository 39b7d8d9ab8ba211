"""Laws of reading boundaries off class probabilities."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging.layers import Classes, surfaces, thickness_um

ROWS, COLS = 240, 48


def drawn(ilm: npt.NDArray[np.float64], rpe: npt.NDArray[np.float64], rows: int = ROWS) -> npt.NDArray[np.float64]:
    """Exact probabilities [4, rows, cols]: a pixel cut by a boundary belongs to both sides by its shares."""
    r = np.arange(rows)[:, None]
    vitreous = np.clip(ilm[None] - r, 0.0, 1.0)
    below = np.clip(r + 1.0 - rpe[None], 0.0, 1.0)
    return np.stack([vitreous, 1.0 - vitreous - below, np.zeros_like(below), below])


@st.composite
def retinas(draw: st.DrawFn) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Smooth boundaries well inside the frame."""
    x = np.linspace(-1.0, 1.0, COLS)
    ilm = draw(st.floats(70, 100)) + draw(st.floats(-20, 20)) * x + draw(st.floats(-15, 15)) * x**2
    return ilm, ilm + draw(st.floats(25, 70)) + draw(st.floats(-5, 5)) * x


@given(retinas())
@settings(max_examples=60, deadline=None)
def test_exact_probabilities_give_the_boundaries_back(retina: tuple[npt.NDArray, npt.NDArray]) -> None:
    ilm, rpe = surfaces(drawn(*retina), smooth=False)
    np.testing.assert_allclose(ilm, retina[0], atol=1e-6)
    np.testing.assert_allclose(rpe, retina[1], atol=1e-6)
    smoothed = surfaces(drawn(*retina))
    np.testing.assert_allclose(smoothed[0], retina[0], atol=1.0)
    np.testing.assert_allclose(smoothed[1], retina[1], atol=1.0)


@given(retinas(), st.integers(-30, 30), st.floats(0.5, 10.0))
@settings(max_examples=60, deadline=None)
def test_a_shift_by_rows_shifts_the_boundaries_and_leaves_the_thickness(
    retina: tuple[npt.NDArray, npt.NDArray], k: int, axial_um: float
) -> None:
    here, there = surfaces(drawn(*retina)), surfaces(drawn(retina[0] + k, retina[1] + k))
    np.testing.assert_allclose(there[0] - here[0], k, atol=1e-6)
    np.testing.assert_allclose(there[1] - here[1], k, atol=1e-6)
    np.testing.assert_allclose(thickness_um(*there, axial_um), thickness_um(*here, axial_um), atol=1e-4)


@given(retinas())
@settings(max_examples=40, deadline=None)
def test_mirroring_the_columns_mirrors_the_boundaries(retina: tuple[npt.NDArray, npt.NDArray]) -> None:
    prob = drawn(*retina)
    for plain, mirrored in zip(surfaces(prob), surfaces(prob[:, :, ::-1]), strict=True):
        np.testing.assert_allclose(mirrored[::-1], plain, atol=1e-6)


@given(retinas(), st.integers(0, 2**31), st.floats(0.0, 0.25))
@settings(max_examples=60, deadline=None)
def test_whatever_the_noise_the_inner_boundary_is_never_below_the_outer(
    retina: tuple[npt.NDArray, npt.NDArray], seed: int, amount: float
) -> None:
    rng = np.random.default_rng(seed)
    prob = (1.0 - amount) * drawn(*retina) + amount * rng.dirichlet(np.ones(4), (ROWS, COLS)).transpose(2, 0, 1)
    ilm, rpe = surfaces(prob)
    assert (np.isnan(ilm) == np.isnan(rpe)).all()
    known = np.isfinite(ilm)
    assert (ilm[known] <= rpe[known]).all()
    assert (ilm[known] >= 0).all()
    assert (rpe[known] <= ROWS).all()


@given(retinas(), st.sets(st.integers(0, COLS - 1), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_columns_without_finite_probabilities_are_nan_and_only_those(
    retina: tuple[npt.NDArray, npt.NDArray], lost: set[int]
) -> None:
    prob = drawn(*retina)
    columns = sorted(lost)
    prob[1, 120, columns] = np.nan
    ilm, rpe = surfaces(prob)
    assert np.isnan(ilm[columns]).all()
    assert np.isnan(rpe[columns]).all()
    assert np.isfinite(np.delete(ilm, columns)).all()
    assert np.isnan(thickness_um(ilm, rpe, 3.5)[columns]).all()


def flat(ilm: float = 80.0, rpe: float = 140.0) -> npt.NDArray[np.float64]:
    return drawn(np.full(COLS, ilm), np.full(COLS, rpe))


@pytest.mark.parametrize("channel", range(4))
def test_a_frame_of_one_class_has_no_boundary(channel: int) -> None:
    prob = np.zeros((4, ROWS, COLS))
    prob[channel] = 1.0
    assert np.isnan(surfaces(prob)).all()


def test_an_undecided_model_gives_no_boundary() -> None:
    assert np.isnan(surfaces(np.full((4, ROWS, COLS), 0.25))).all()


def test_a_retina_that_leaves_the_frame_is_not_measured() -> None:
    assert np.isnan(surfaces(flat(ilm=0.0))).all()
    assert np.isnan(surfaces(flat(rpe=float(ROWS)))).all()


def test_a_hesitant_model_is_not_trusted_where_it_hesitates() -> None:
    prob = flat()
    prob[:, 60:160, 20:25] = 0.25
    ilm, _ = surfaces(prob)
    assert np.isnan(ilm[20:25]).all()
    assert np.isfinite(np.delete(ilm, range(20, 25))).all()


def test_stray_answers_far_from_a_boundary_do_not_move_it() -> None:
    prob = flat()
    prob[:, 200:205] = np.array([1.0, 0.0, 0.0, 0.0])[:, None, None]  # 'vitreous' in the sclera
    ilm, rpe = surfaces(prob)
    np.testing.assert_allclose(ilm, 80.0, atol=1e-6)
    np.testing.assert_allclose(rpe, 140.0, atol=1e-6)


def test_fluid_belongs_to_the_retina() -> None:
    prob = flat()
    prob[:, 90:130] = np.array([0.0, 0.0, 1.0, 0.0])[:, None, None]
    ilm, rpe = surfaces(prob)
    np.testing.assert_allclose(rpe - ilm, 60.0, atol=1e-6)


def test_a_single_jumping_column_is_rejected() -> None:
    ilm = np.full(COLS, 80.0)
    ilm[30] = 40.0
    prob = drawn(ilm, np.full(COLS, 140.0))
    found, _ = surfaces(prob)
    assert np.isnan(found[30])
    np.testing.assert_allclose(np.delete(found, 30), 80.0, atol=1e-6)


def test_the_order_of_classes_is_the_models_own() -> None:
    order = [3, 2, 1, 0]
    np.testing.assert_allclose(surfaces(flat()[order], Classes(*order)), surfaces(flat()))


@pytest.mark.parametrize("shape", [(4, 10), (3, 10, 10), (4, 0, 10)])
def test_a_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="probabilities must be"):
        surfaces(np.zeros(shape))


@pytest.mark.parametrize("axial_um", [0.0, -1.0, float("nan"), float("inf")])
def test_no_thickness_without_a_row_spacing(axial_um: float) -> None:
    with pytest.raises(ValueError, match="row spacing"):
        thickness_um(np.zeros(3), np.ones(3), axial_um)
