"""The artefacts: what is simulated is what optics says, the truth is where it is, and elsewhere nothing changes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import artefacts
from phantoms.artefacts import Spoiled, blur_radius_um
from phantoms.slide import slide

UM = 1.0
TISSUE = slide(220, 260, UM, "H&E", 2500, 0.0, seed=4).rgb


def od(rgb: np.ndarray) -> np.ndarray:
    return -np.log10(np.maximum(rgb, 1) / 255.0)


def test_the_blur_of_a_defocus_is_that_of_geometrical_optics() -> None:
    assert blur_radius_um(0.0) == 0.0
    assert blur_radius_um(2.0, aperture=0.6) == pytest.approx(1.5)  # 2 um times 0.6 / 0.8
    assert blur_radius_um(-2.0, aperture=0.6) == pytest.approx(1.5)


@pytest.mark.parametrize("um", [0.5, 1.0, 2.0])
def test_a_point_becomes_a_disc_of_its_radius_in_micrometres(um: float) -> None:
    dark = np.full((81, 81, 3), 255, np.uint8)
    dark[40, 40] = 0
    radius = 8.0
    blurred = artefacts.defocus(dark, um, radius).rgb.astype(int)
    y, x = np.mgrid[-40:41, -40:41]
    away = np.hypot(y, x) * um
    light = 255 - blurred[..., 0]
    inside, outside = light[away < radius - um], light[away > radius + um]
    assert inside.max() - inside.min() <= 1  # even over the disc
    assert outside.max() == 0


def test_blur_keeps_the_mean_and_takes_detail() -> None:
    for kind in ("disc", "gaussian"):
        blurred = artefacts.defocus(TISSUE, UM, 5.0, kind=kind).rgb  # type: ignore[arg-type]
        assert blurred.mean() == pytest.approx(TISSUE.mean(), abs=1.0)
        assert np.var(np.diff(blurred.astype(float), axis=0)) < 0.2 * np.var(np.diff(TISSUE.astype(float), axis=0))


def test_a_fold_adds_the_densities_of_its_layers() -> None:
    even = np.full((100, 100, 3), (200, 120, 170), np.uint8)
    even[:2, :] = 255  # a little glass, so that white is known
    line = np.array([[50.0, -10.0], [50.0, 110.0]])
    folded = artefacts.fold(even, UM, line, 20.0, (0.0, 5.0))
    centre = od(folded.rgb[50, 50]) / od(even[50, 50])
    assert centre == pytest.approx(np.full(3, 2.1), rel=0.03)  # the tissue and 1.1 times that beside it
    columns = np.flatnonzero(folded.mask[50])
    assert columns.max() - columns.min() + 1 == pytest.approx(20, abs=1)


@given(st.floats(0.2, 3.0))
@settings(max_examples=20, deadline=None)
def test_staining_scales_the_density(factor: float) -> None:
    stained = artefacts.stain(TISSUE, UM, factor)
    white = np.percentile(TISSUE.reshape(-1, 3), 99.5, axis=0)
    before, after = (-np.log10(np.clip(rgb / white, 1 / 255, 1)) for rgb in (TISSUE, stained.rgb))
    seen = (before > 0.1) & (before * factor < 1.2) & (before * factor > 0.05)
    assert np.median(after[seen] / before[seen]) == pytest.approx(factor, rel=0.05)


def test_ink_hides_what_is_below() -> None:
    line = np.array([[-10.0, 100.0], [300.0, 100.0]])
    inked = artefacts.pen(TISSUE, UM, line, 60.0, (20, 40, 150))
    middle = inked.rgb[90:110]
    assert np.abs(middle.mean(axis=(0, 1)) - (20, 40, 150)).max() < 25
    assert inked.mask.any(axis=1).sum() == pytest.approx(60, abs=1)


def test_a_bubble_has_a_dark_rim_and_a_blurred_inside() -> None:
    made = artefacts.bubble(TISSUE, UM, (130.0, 110.0), 60.0)
    y, x = np.mgrid[:220, :260] + 0.5
    away = np.hypot(x - 130, y - 110)
    assert np.array_equal(made.mask, away <= 60.0)
    grey = made.rgb.mean(axis=2)
    assert grey[np.abs(away - 60) < 2].mean() < 0.5 * grey[away < 30].mean()


def test_beyond_the_edge_of_the_cover_slip_it_is_dark_and_blurred() -> None:
    glass = np.full((100, 200, 3), 240, np.uint8)
    made = artefacts.coverslip(glass, UM, (100.0, 50.0), 0.0, line_um=10.0, brightness=0.8)
    grey = made.rgb.mean(axis=2)
    assert grey[:, 150:].mean() == pytest.approx(0.8 * 240, abs=1)
    assert grey[:, :70].mean() == 240
    assert grey[:, 99:101].mean() < 0.5 * 240
    assert made.mask[:, 100:].all()
    assert not made.mask[:, :90].any()


def test_stripes_repeat_with_their_period() -> None:
    glass = np.full((20, 400, 3), 200, np.uint8)
    row = artefacts.stripes(glass, UM, 50.0, 0.1).rgb[10, :, 0].astype(int)
    assert np.array_equal(row[:-50], row[50:])
    assert (row.min(), row.max()) == (180, 220)
    down = artefacts.stripes(glass.transpose(1, 0, 2), UM, 50.0, 0.1, across=False).rgb[:, 10, 0]
    assert np.array_equal(row, down)


def everywhere_else() -> list[tuple[str, Spoiled, int]]:
    """Artefacts with a border, and how far from it the picture may change (um)."""
    part = np.zeros(TISSUE.shape[:2], bool)
    part[:, 130:] = True
    line = np.array([[130.0, -10.0], [130.0, 240.0]])
    return [
        ("defocus", artefacts.defocus(TISSUE, UM, 6.0, part), 12),
        ("stain", artefacts.stain(TISSUE, UM, 2.5, part), 20),
        ("fold", artefacts.fold(TISSUE, UM, line, 30.0, (20.0, 20.0)), 6),
        ("pen", artefacts.pen(TISSUE, UM, line, 30.0), 8),
        ("bubble", artefacts.bubble(TISSUE, UM, (130.0, 110.0), 40.0), 30),
        ("coverslip", artefacts.coverslip(TISSUE, UM, (130.0, 110.0), 0.0), 40),
    ]


@pytest.mark.parametrize("number", range(6))
def test_nothing_changes_far_from_the_artefact(number: int) -> None:
    name, made, reach = everywhere_else()[number]
    column = np.indices(made.mask.shape)[1]  # the glass in it is changed too, and is not in the mask
    affected = {"defocus": column >= 130, "stain": column >= 130, "fold": np.abs(column - 130) <= 16}
    region = made.mask | affected.get(name, False)
    far = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5) > reach
    assert far.any()
    assert np.array_equal(made.rgb[far], TISSUE[far])
    assert not np.array_equal(made.rgb[made.mask], TISSUE[made.mask])


def test_truth_of_focus_and_stain_is_of_tissue_alone() -> None:
    glass = np.full((80, 80, 3), 240, np.uint8)
    assert not artefacts.defocus(glass, UM, 5.0).mask.any()
    assert not artefacts.stain(glass, UM, 2.0).mask.any()
    assert np.abs(artefacts.stain(glass, UM, 2.0).rgb.astype(int) - 240).max() <= 1


def test_artefacts_repeat_by_their_seed() -> None:
    line = artefacts.line_through((220, 260), np.random.default_rng(1))
    assert np.array_equal(line, artefacts.line_through((220, 260), np.random.default_rng(1)))
    one, other = (artefacts.pen(TISSUE, UM, line, 30.0, seed=seed).rgb for seed in (1, 2))
    assert np.array_equal(one, artefacts.pen(TISSUE, UM, line, 30.0, seed=1).rgb)
    assert not np.array_equal(one, other)
