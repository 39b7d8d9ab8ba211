"""The synthetic slide says the truth about itself."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as components

from phantoms.slide import SlidePhantom, Stain, slide


@pytest.fixture(scope="module", params=["H&E", "H-DAB"])
def phantom(request: pytest.FixtureRequest) -> SlidePhantom:
    return slide(600, 500, 0.5, request.param, nuclei_per_mm2=2000, positive_fraction=0.25, seed=2)


def test_shapes_and_types(phantom: SlidePhantom) -> None:
    assert phantom.rgb.shape == (600, 500, 3)
    assert phantom.rgb.dtype == np.uint8
    assert phantom.labels.shape == phantom.tissue.shape == (600, 500)
    assert phantom.labels.dtype == np.int32
    assert phantom.positive.shape == (phantom.labels.max() + 1,)
    assert phantom.spacing_um == 0.5


def test_nuclei_are_numbered_without_gaps_whole_and_on_tissue(phantom: SlidePhantom) -> None:
    present = np.unique(phantom.labels)
    assert present.tolist() == list(range(len(present)))
    assert phantom.tissue[phantom.labels > 0].all()
    pieces = sum(int(components(phantom.labels == k).max()) for k in present[1:])
    assert pieces == len(present) - 1


def test_density_is_as_asked(phantom: SlidePhantom) -> None:
    mm2 = phantom.tissue.sum() * 0.5**2 * 1e-6
    assert phantom.labels.max() == round(mm2 * 2000)


def test_nuclei_are_six_to_ten_micrometres_wide(phantom: SlidePhantom) -> None:
    areas = np.bincount(phantom.labels.ravel())[1:] * 0.5**2
    cut = np.unique(np.concatenate([phantom.labels[i] for i in (0, -1)] + [phantom.labels[:, i] for i in (0, -1)]))
    whole = np.setdiff1d(np.arange(1, len(areas) + 1), cut)
    diameters = 2 * np.sqrt(areas[whole - 1] / np.pi)
    assert diameters.min() > 5.5
    assert diameters.max() < 10.8
    assert 7.0 < np.median(diameters) < 9.0


def test_glass_is_white_and_nuclei_are_darker_than_their_surroundings(phantom: SlidePhantom) -> None:
    grey = phantom.rgb.mean(axis=2)
    assert 0.4 < phantom.tissue.mean() < 0.95
    assert np.median(grey[~phantom.tissue]) > 235
    assert np.median(grey[phantom.labels > 0]) + 30 < np.median(grey[phantom.tissue & (phantom.labels == 0)])


def test_only_dab_slides_have_positive_nuclei_and_these_are_brown() -> None:
    assert not slide(200, 200, 0.5, "H&E", positive_fraction=0.9, seed=1).positive.any()
    phantom = slide(400, 400, 0.5, "H-DAB", nuclei_per_mm2=2500, positive_fraction=0.4, seed=1)
    assert phantom.positive[1:].mean() == pytest.approx(0.4, abs=0.02)
    assert not phantom.positive[0]
    red, blue = (phantom.rgb[..., i].astype(int) for i in (0, 2))
    brown = phantom.positive[phantom.labels]
    assert np.median((red - blue)[brown]) > 15
    assert np.median((red - blue)[~brown & (phantom.labels > 0)]) < -15


@given(
    st.integers(16, 90),
    st.integers(16, 90),
    st.floats(0.2, 2.0),
    st.sampled_from(["H&E", "H-DAB"]),
    st.floats(0, 8000),
    st.floats(0, 1),
    st.integers(0, 10_000),
)
@settings(max_examples=30, deadline=None)
def test_any_slide_keeps_its_promises_and_comes_out_again(
    rows: int, cols: int, spacing: float, stain: Stain, density: float, fraction: float, seed: int
) -> None:
    a, b = (slide(rows, cols, spacing, stain, density, fraction, seed) for _ in range(2))
    assert np.array_equal(a.rgb, b.rgb)
    assert np.array_equal(a.labels, b.labels)
    assert np.array_equal(a.positive, b.positive)
    assert a.rgb.shape == (rows, cols, 3)
    assert not (a.labels > 0)[~a.tissue].any()
    assert len(np.unique(a.labels[a.labels > 0])) == a.labels.max() == len(a.positive) - 1


def test_another_seed_is_another_slide() -> None:
    assert not np.array_equal(slide(64, 64, 0.5, seed=1).rgb, slide(64, 64, 0.5, seed=2).rgb)


def test_physical_size_does_not_depend_on_spacing() -> None:
    fine, coarse = slide(800, 800, 0.25, seed=3), slide(400, 400, 0.5, seed=3)
    areas = [np.median(np.bincount(p.labels.ravel())[1:] * p.spacing_um**2) for p in (fine, coarse)]
    assert areas[0] == pytest.approx(areas[1], rel=0.15)
    assert fine.labels.max() == pytest.approx(coarse.labels.max(), rel=0.1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rows": 8},
        {"spacing_um": 0.0},
        {"spacing_um": float("nan")},
        {"nuclei_per_mm2": -1.0},
        {"positive_fraction": 1.5},
        {"stain": "PAS"},
    ],
)
def test_impossible_slides_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        slide(**{"rows": 64, "cols": 64, "spacing_um": 0.5, **arguments})  # type: ignore[arg-type]


def test_a_large_slide_is_made_quickly() -> None:
    start = time.process_time()
    phantom = slide(2048, 2048, 0.5, "H-DAB", seed=1)
    assert phantom.labels.max() > 1000
    assert time.process_time() - start < 15.0  # about 1.5 s on an idle machine
