"""The phantom photographs with disease show what their truth says."""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from phantoms.fundus import fundus
from phantoms.fundus_lesions import CLASSES, FOVEA_RADIUS, LEAST_SIZE, MACULAR, LesionPhantom, lesions

SIZE = LEAST_SIZE


@functools.cache
def eye(seed: int, grade: int, side: str = "R", **disease: Any) -> LesionPhantom:
    return lesions(SIZE, side, seed, grade, **disease)  # type: ignore[arg-type]


def kinds(p: LesionPhantom) -> set[str]:
    return {lesion.kind for lesion in p.lesions}


def quadrants(p: LesionPhantom, kind: str, about: tuple[float, float]) -> list[int]:
    """Separate spots in each quadrant of the picture about a point, by the middle of each."""
    labels, n = ndimage.label(p.masks[kind], np.ones((3, 3)))
    middles = ndimage.center_of_mass(p.masks[kind], labels, range(1, n + 1))
    where = [(row + 0.5 > about[1], column + 0.5 > about[0]) for row, column in middles]
    return [where.count((below, right)) for below, right in itertools.product((False, True), repeat=2)]


@pytest.mark.parametrize("seed", range(4))
def test_each_grade_shows_what_the_scale_says(seed: int) -> None:
    assert not kinds(eye(seed, 0))
    assert kinds(eye(seed, 1)) == {"microaneurysm"}
    assert {"microaneurysm", "haemorrhage"} <= kinds(eye(seed, 2))
    assert "neovascularisation" not in kinds(eye(seed, 2)) | kinds(eye(seed, 3))
    assert eye(seed, 4).masks["neovascularisation"].sum() > 10


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("landmark", ["macula", "disc"])
def test_more_than_20_haemorrhages_in_each_quadrant_are_severe_and_fewer_are_not(seed: int, landmark: str) -> None:
    severe, moderate = eye(seed, 3), eye(seed, 2)
    assert min(quadrants(severe, "haemorrhage", getattr(severe, landmark))) > 20
    assert max(quadrants(moderate, "haemorrhage", getattr(moderate, landmark))) <= 20
    assert sum(quadrants(moderate, "haemorrhage", moderate.disc)) >= 1


@given(st.integers(0, 2**20), st.sampled_from([1, 2, 3]))
@settings(max_examples=8, deadline=None)
def test_spots_stay_apart_and_within_the_field(seed: int, grade: int) -> None:
    p = lesions(SIZE, "R", seed, grade)
    for kind in ("microaneurysm", "haemorrhage"):
        _, n = ndimage.label(p.masks[kind], np.ones((3, 3)))
        assert n == sum(lesion.kind == kind for lesion in p.lesions)
    for lesion in p.lesions:
        x, y = (int(v) for v in lesion.at)
        assert p.masks[lesion.kind][y, x]
    assert not any((mask & ~p.field).any() for mask in p.masks.values())


@pytest.mark.parametrize(
    ("kind", "sign"), [("haemorrhage", -1), ("microaneurysm", -1), ("hard-exudate", 1), ("soft-exudate", 1)]
)
def test_masks_lie_where_the_colours_changed(kind: str, sign: int) -> None:
    """Green of each spot against the retina around it; vessels and neighbours spoil a few."""
    differences = []
    for seed in range(6):
        p = eye(seed, 2, macular_exudates=True)
        green = p.rgb[..., 1].astype(float)
        bare = p.field & ~np.logical_or.reduce([p.masks[name] for name in CLASSES])
        labels, n = ndimage.label(p.masks[kind], np.ones((3, 3)))
        for k in range(1, n + 1):
            spot = labels == k
            ring = ndimage.binary_dilation(spot, iterations=5) & ~ndimage.binary_dilation(spot, iterations=2) & bare
            differences.append(sign * (green[spot].mean() - np.median(green[ring])))
    assert len(differences) > 5
    assert np.mean(np.array(differences) > 3.0) > 0.9


def test_a_left_eye_is_the_mirror_image_of_the_right_one() -> None:
    right, left = (eye(2, 4, side, macular_exudates=True) for side in ("R", "L"))
    np.testing.assert_array_equal(left.rgb, right.rgb[:, ::-1])
    for name in CLASSES:
        np.testing.assert_array_equal(left.masks[name], right.masks[name][:, ::-1])
    assert left.disc == (SIZE - right.disc[0], right.disc[1])
    assert right.disc[0] > right.macula[0]
    assert left.disc[0] < left.macula[0]
    assert (left.laterality, right.laterality) == ("L", "R")


def test_the_same_seed_gives_the_same_eye_and_another_one_another() -> None:
    np.testing.assert_array_equal(eye(7, 2).rgb, lesions(SIZE, "R", 7, 2).rgb)
    assert (eye(7, 2).rgb != eye(8, 2).rgb).mean() > 0.2


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9, 0.95])
def test_the_cup_is_as_high_as_asked(ratio: float) -> None:
    p = lesions(512, "R", 3, cup_ratio=ratio)
    high = {name: np.ptp(np.nonzero(p.masks[name])[0]) + 1 for name in ("optic-disc", "optic-cup")}
    assert high["optic-cup"] / high["optic-disc"] == pytest.approx(ratio, abs=2.5 / high["optic-disc"])
    assert p.masks["optic-disc"][p.masks["optic-cup"]].all()
    assert p.disc_diameter == pytest.approx(2 * np.sqrt(p.masks["optic-disc"].sum() / np.pi), abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_exudates_are_near_the_fovea_only_where_asked_for(seed: int) -> None:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for asked in (False, True):
        p = eye(seed, 2, macular_exudates=asked)
        near = np.hypot(columns - p.macula[0], rows - p.macula[1]) < MACULAR * p.disc_diameter
        assert bool((p.masks["hard-exudate"] & near).any()) == asked
    area = np.pi * (FOVEA_RADIUS * p.disc_diameter) ** 2
    assert p.masks["fovea"].sum() == pytest.approx(area, rel=0.08)


@pytest.mark.parametrize("seed", range(3))
def test_a_detached_retina_is_greyer_and_no_lesion_is_drawn_on_it(seed: int) -> None:
    p = eye(seed, 2, detachment=True)
    off = p.masks["retinal-detachment"]
    assert off.sum() > 0.05 * p.field.sum()
    assert not (off & p.masks["optic-disc"]).any()
    assert not (off & p.masks["fovea"]).any()
    spots = [lesion.at for lesion in p.lesions if lesion.kind != "retinal-detachment"]
    assert spots
    assert not any(off[int(y), int(x)] for x, y in spots)

    def colour(where: np.ndarray) -> float:
        return float(np.mean(p.rgb[where][:, 0].astype(float) - p.rgb[where][:, 2]))

    assert colour(off) < 0.7 * colour(p.field & ~off)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grade", [0, 4])
def test_blood_before_the_retina_is_dark_and_hides_what_lies_behind(seed: int, grade: int) -> None:
    p = eye(seed, grade, vitreous_haemorrhage=True)
    blood = p.masks["vitreous-haemorrhage"]
    assert blood.sum() > 0.01 * p.field.sum()
    assert p.rgb[blood][:, 1].mean() < 0.6 * p.rgb[p.field & ~blood][:, 1].mean()
    shown = np.logical_or.reduce([p.masks[name] for name in CLASSES[:-1]])
    assert (shown & ndimage.binary_erosion(blood, iterations=8)).sum() < 0.05 * blood.sum()


def test_a_spoiled_photograph_says_why_and_keeps_the_truth_of_the_eye() -> None:
    good, spoiled = eye(5, 2), eye(5, 2, quality="out-of-focus")
    assert spoiled.reasons == {"out-of-focus"}
    assert not good.reasons
    np.testing.assert_array_equal(good.masks["haemorrhage"], spoiled.masks["haemorrhage"])


def test_the_landmarks_are_those_of_the_plain_phantom() -> None:
    """The truth is of the drawing itself: the same seed gives the same eye, and the disc is bright in its mask."""
    p, plain = lesions(SIZE, "R", 11), fundus(SIZE, "R", 11)
    apart = [(q.disc[0] - q.macula[0], q.disc[1] - q.macula[1]) for q in (p, plain)]
    assert apart[0] == pytest.approx(apart[1])
    disc = p.masks["optic-disc"]
    ring = ndimage.binary_dilation(disc, iterations=8) & ~ndimage.binary_dilation(disc, iterations=3) & p.field
    bright, around = (np.percentile(p.rgb[where][:, 1], 80) for where in (disc, ring))  # vessels cross the disc
    assert bright > around + 15
    assert np.mean(np.nonzero(disc)[1]) + 0.5 == pytest.approx(p.disc[0], abs=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 100}, {"grade": 5}, {"cup_ratio": 0.99}, {"grade": 1, "macular_exudates": True},
        {"quality": "field"}, {"quality": "sleepy"}, {"grade": 3, "detachment": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"size|grade|quality|detachment"):
        lesions(**wrong)
