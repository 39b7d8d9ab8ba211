"""The phantom photographs are what their truth says, and the degraders do what they are named for."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms.fundus import DEGRADERS, REASONS, fundus, not_a_fundus, off_field

SIZE = 256


def sharpness(rgb: np.ndarray) -> float:
    """Variance of the Laplacian of the green channel, away from the rim."""
    inner = rgb[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4, 1]
    return float(cv2.Laplacian(inner, cv2.CV_64F, ksize=3).var())


@given(st.integers(0, 2**20), st.sampled_from(["R", "L"]))
@settings(max_examples=12, deadline=None)
def test_a_good_photograph_has_both_landmarks_in_the_field_and_black_around_it(seed: int, side: str) -> None:
    p = fundus(SIZE, side, seed)  # type: ignore[arg-type]
    assert p.gradable
    for x, y in (p.disc, p.macula):
        assert p.mask[int(y), int(x)]
    assert p.rgb[~p.mask].mean() < 15
    assert p.rgb[p.mask].mean() > 40
    assert (p.disc[0] > p.macula[0]) == (side == "R")


@given(st.integers(0, 2**20))
@settings(max_examples=12, deadline=None)
def test_the_disc_is_brighter_than_the_macula(seed: int) -> None:
    p = fundus(SIZE, "R", seed)

    def green(at: tuple[float, float]) -> float:
        x, y = (round(v) for v in at)
        return float(np.percentile(p.rgb[y - 9 : y + 10, x - 9 : x + 10, 1], 80))  # vessels cross the disc

    assert green(p.disc) > green(p.macula) + 10


def test_the_same_seed_gives_the_same_photograph() -> None:
    np.testing.assert_array_equal(fundus(SIZE, "L", 3).rgb, fundus(SIZE, "L", 3).rgb)
    assert (fundus(SIZE, "L", 3).rgb != fundus(SIZE, "L", 4).rgb).mean() > 0.2


@pytest.mark.parametrize("reason", REASONS)
def test_a_spoiled_photograph_says_why(reason: str) -> None:
    p = fundus(SIZE, "R", 7, reason)
    assert p.reasons == {reason}
    assert not p.gradable
    assert fundus(SIZE, "R", 7, reason, severity=0.2).gradable or reason == "field"


@given(st.integers(0, 2**20))
@settings(max_examples=10, deadline=None)
def test_out_of_the_field_neither_landmark_is_in_it(seed: int) -> None:
    p = fundus(SIZE, "R", seed, "field")
    for x, y in (p.disc, p.macula):
        outside = not (0 <= x < SIZE and 0 <= y < SIZE)
        assert outside or not p.mask[int(y), int(x)]


@pytest.mark.parametrize("name", DEGRADERS)
@pytest.mark.parametrize("shape", [(200, 200, 3), (150, 220, 3)])
def test_a_degrader_keeps_shape_and_kind_and_leaves_the_black_border_black(name: str, shape: tuple[int, ...]) -> None:
    picture = cv2.resize(fundus(SIZE, "R", 9).rgb, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    before = picture.copy()
    out = DEGRADERS[name](picture, np.random.default_rng(1), 0.8)
    assert out.shape == shape
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(picture, before)
    assert out[:4, :4].max() <= 12
    assert np.abs(out.astype(int) - before).mean() > 1.0


def test_blur_takes_sharpness_and_more_blur_takes_more() -> None:
    photo = fundus(SIZE, "R", 5).rgb
    values = [sharpness(DEGRADERS["out-of-focus"](photo, np.random.default_rng(5), s)) for s in (0.5, 1.0)]
    assert sharpness(photo) > 2 * values[0] > 2 * values[1]


def test_haze_takes_contrast_of_the_vessels() -> None:
    p = fundus(SIZE, "R", 5)
    hazy = DEGRADERS["low-contrast"](p.rgb, np.random.default_rng(0), 0.9)
    inner = cv2.erode(p.mask.astype(np.uint8), np.ones((15, 15))) > 0
    assert hazy[..., 1][inner].std() < 0.5 * p.rgb[..., 1][inner].std()


def test_a_field_cut_from_the_periphery_holds_no_landmark() -> None:
    p = fundus(512, "R", 6)
    cut = off_field(p.rgb, np.random.default_rng(0), p.disc, p.macula)
    assert cut is not None
    assert cut.shape == (512, 512, 3)
    assert cut[256, 256].max() > 20


def test_pictures_of_something_else_are_many_and_varied() -> None:
    pictures = [not_a_fundus(64, s) for s in range(30)]
    assert all(p.shape == (64, 64, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == 30


def test_an_unknown_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown reason"):
        fundus(SIZE, "R", 0, "sleepy")
