"""Separating nuclei and measuring their DAB: laws and known cases."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label as components
from skimage.segmentation import find_boundaries

from airouter.imaging.nuclei import DAB_OD, HAEMATOXYLIN_OD, dab_od, instances, mean_per_label
from phantoms.slide import slide

Floats = npt.NDArray[np.float32]

maps = st.tuples(st.integers(3, 24), st.integers(3, 24)).flatmap(
    lambda shape: st.tuples(
        *(hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=16)) for _ in range(2)),
    )
)


def discs(*circles: tuple[int, int, int], shape: tuple[int, int] = (64, 64)) -> tuple[Floats, Floats]:
    """Ideal maps of discs (row, column, radius): nucleus, and its rim of two pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (row, col, radius) in enumerate(circles, start=1):
        labels[(np.hypot(y - row, x - col) <= radius) & (labels == 0)] = number
    return (labels > 0).astype(np.float32), find_boundaries(labels, mode="inner").astype(np.float32)


@given(maps)
@settings(max_examples=150, deadline=None)
def test_labels_partition_the_mask(pair: tuple[Floats, Floats]) -> None:
    nucleus, boundary = pair
    labels = instances(nucleus, boundary, spacing_um=1.0, min_area_um2=0.0)
    assert labels.dtype == np.int32
    assert np.array_equal(labels > 0, nucleus >= 0.5)
    present = np.unique(labels[labels > 0])
    assert present.tolist() == list(range(1, len(present) + 1))
    for k in present:  # every nucleus is one piece
        assert components(labels == k, connectivity=2).max() == 1


@given(maps, st.floats(0, 40), st.floats(0.1, 2.0))
@settings(max_examples=100, deadline=None)
def test_small_nuclei_are_dropped_and_the_rest_kept(pair: tuple[Floats, Floats], least: float, spacing: float) -> None:
    everything = instances(*pair, spacing_um=spacing, min_area_um2=0.0)
    kept = instances(*pair, spacing_um=spacing, min_area_um2=least)
    areas = np.bincount(everything.ravel())[1:] * spacing**2
    assert int(kept.max()) == int((areas >= least).sum())
    assert np.array_equal(kept > 0, np.concatenate([[False], areas >= least])[everything])


@given(maps, st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_moving_the_image_moves_the_nuclei(pair: tuple[Floats, Floats], down: int, right: int) -> None:
    rows, cols = pair[0].shape
    still = [np.pad(m, ((1, 10), (1, 10))) for m in pair]
    moved = [np.pad(m, ((1 + down, 10 - down), (1 + right, 10 - right))) for m in pair]
    a, b = (instances(*m, spacing_um=1.0, min_area_um2=3.0) for m in (still, moved))
    assert np.array_equal(a[1 : 1 + rows, 1 : 1 + cols], b[1 + down : 1 + down + rows, 1 + right : 1 + right + cols])


@given(st.permutations(range(4)), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_place_and_turn_of_a_nucleus_do_not_change_it(order: list[int], turns: int) -> None:
    cells = [discs((16, 16, r), shape=(32, 32)) for r in (5, 7, 9, 11)]
    grid = [
        np.block([[cells[order[0]][i], cells[order[1]][i]], [cells[order[2]][i], cells[order[3]][i]]]) for i in (0, 1)
    ]
    labels = instances(np.rot90(grid[0], turns), np.rot90(grid[1], turns), spacing_um=0.5)
    expected = sorted(int(cell[0].sum()) for cell in cells)
    assert sorted(np.bincount(labels.ravel())[1:].tolist()) == expected


def test_touching_nuclei_are_separated() -> None:
    nucleus, boundary = discs((32, 22, 10), (32, 42, 10))
    assert components(nucleus > 0, connectivity=2).max() == 1  # they do touch
    labels = instances(nucleus, boundary, spacing_um=0.5)
    assert int(labels.max()) == 2
    areas = np.bincount(labels.ravel())[1:]
    assert abs(int(areas[0]) - int(areas[1])) <= 0.05 * areas.sum()
    assert labels[32, 22] != labels[32, 42]


def test_a_nucleus_without_interior_is_still_counted() -> None:
    nucleus = np.zeros((20, 20), np.float32)
    nucleus[8:14, 8:14] = 0.6
    assert int(instances(nucleus, np.full_like(nucleus, 0.9), spacing_um=0.5).max()) == 1


def test_spacing_decides_what_is_too_small() -> None:
    maps = discs((32, 32, 4))  # 49 pixels
    assert int(instances(*maps, spacing_um=0.5).max()) == 1  # 12 um2
    assert int(instances(*maps, spacing_um=0.25).max()) == 0  # 3 um2


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan")])
def test_no_nuclei_without_spacing(spacing: float) -> None:
    with pytest.raises(ValueError, match="spacing"):
        instances(*discs((32, 32, 8)), spacing_um=spacing)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_with_nan_is_refused(value: float) -> None:
    nucleus, boundary = discs((32, 32, 8))
    boundary[3, 4] = value
    with pytest.raises(ValueError, match="NaN"):
        instances(nucleus, boundary, spacing_um=0.5)


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        instances(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.float32), spacing_um=0.5)


def test_an_empty_field_has_no_nuclei() -> None:
    assert not instances(np.zeros((9, 9), np.float32), np.zeros((9, 9), np.float32), spacing_um=0.5).any()


def stained(haematoxylin: float, dab: float) -> npt.NDArray[np.uint8]:
    """One pixel by Beer-Lambert."""
    od = haematoxylin * np.array(HAEMATOXYLIN_OD) + dab * np.array(DAB_OD)
    return np.round(255 * 10.0**-od).astype(np.uint8)[None, None, :]


@given(st.floats(0, 0.9), st.floats(0, 0.9))
def test_dab_is_read_back_whatever_the_haematoxylin(haematoxylin: float, dab: float) -> None:
    # the error is the rounding to 8 bits, which weighs most in dark pixels
    assert dab_od(stained(haematoxylin, dab))[0, 0] == pytest.approx(dab, abs=0.05)


@given(st.floats(0.05, 0.6), st.floats(0.1, 0.5))
def test_more_dab_reads_as_more(dab: float, more: float) -> None:
    assert dab_od(stained(0.2, dab + more))[0, 0] > dab_od(stained(0.2, dab))[0, 0]


def test_glass_and_blue_hold_no_dab_and_black_is_finite() -> None:
    assert dab_od(np.full((2, 2, 3), 255, np.uint8)) == pytest.approx(0.0, abs=1e-6)
    assert abs(float(dab_od(stained(0.6, 0.0))[0, 0])) < 0.02
    assert np.isfinite(dab_od(np.zeros((2, 2, 3), np.uint8))).all()


def test_dab_needs_an_rgb_image() -> None:
    with pytest.raises(ValueError, match="RGB"):
        dab_od(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="RGB"):
        dab_od(np.zeros((4, 4, 3), np.float32))  # type: ignore[arg-type]


@given(
    hnp.arrays(np.int32, (12, 9), elements=st.integers(0, 6)),
    hnp.arrays(np.float32, (12, 9), elements=st.floats(-2, 2, width=16)),
)
def test_means_are_those_of_each_label(labels: npt.NDArray[np.int32], values: Floats) -> None:
    means = mean_per_label(values, labels)
    assert means.shape == (labels.max() + 1,)
    assert means.dtype == np.float32
    for k, mean in enumerate(means):
        if (labels == k).any():
            assert mean == pytest.approx(float(values[labels == k].mean()), abs=1e-5)
        else:
            assert np.isnan(mean)


@given(st.permutations(range(1, 6)))
def test_numbering_the_nuclei_otherwise_permutes_the_means(order: list[int]) -> None:
    labels = np.random.default_rng(3).integers(0, 6, (20, 20)).astype(np.int32)
    values = np.random.default_rng(4).random((20, 20), dtype=np.float32)
    number = np.array([0, *order], np.int32)
    assert np.allclose(mean_per_label(values, number[labels])[number], mean_per_label(values, labels))


def test_means_refuse_labels_of_another_shape() -> None:
    with pytest.raises(ValueError, match="shape"):
        mean_per_label(np.zeros((3, 3), np.float32), np.zeros((3, 4), np.int32))


def test_positive_nuclei_of_a_phantom_are_told_by_their_dab() -> None:
    phantom = slide(384, 384, 0.5, "H-DAB", nuclei_per_mm2=2500, positive_fraction=0.3, seed=5)
    means = mean_per_label(dab_od(phantom.rgb), phantom.labels)
    found = means[1:] >= 0.2
    assert len(found) > 20
    assert (found == phantom.positive[1:]).mean() > 0.98
