"""Photographs of one eye are laid on each other, those of two eyes never; and each reason for a refusal."""

import itertools
from functools import cache

import cv2
import numpy as np
import pytest

from airouter.imaging.fundus_view import DIAMETER, View, view
from airouter.imaging.registration import Limits, Registered, Unregistered, register, register_views
from phantoms.fundus import fundus
from tests.data import files
from tests.warps import drawn, miss, other_visit, pose

SIZE = 384
SEEDS = range(6)


@cache
def photo(seed, laterality="R"):
    return fundus(SIZE, laterality, seed).rgb


@cache
def seen(seed, laterality="R", mirrored=False):
    rgb = photo(seed, laterality)
    made = view(np.ascontiguousarray(rgb[:, ::-1]) if mirrored else rgb)
    assert isinstance(made, View)
    return made


def visit(rgb, matrix, seed=0, **changes):
    """An earlier photograph, and how it lies on `rgb`."""
    return other_visit(rgb, np.linalg.inv(matrix), np.random.default_rng(seed), **changes), matrix


@pytest.mark.parametrize("seed", SEEDS)
def test_another_visit_of_the_same_eye_is_laid_within_a_hundredth_of_the_field(seed):
    rgb = photo(seed, "RL"[seed % 2])
    earlier, true = visit(rgb, drawn(np.random.default_rng([5, seed]), rgb.shape), seed)
    found = register(rgb, earlier)
    assert isinstance(found, Registered), found
    assert miss(found.matrix, true, rgb) < 0.01
    assert found.kind == "RIGID_SCALE"
    assert found.quality.correlation > found.quality.before


@pytest.mark.parametrize("seed", SEEDS)
def test_another_eye_is_refused(seed):
    """Another patient, the fellow eye, and the same eye mirrored."""
    here = seen(seed)
    for there in (seen((seed + 1) % len(SEEDS)), seen(seed, "L"), seen(seed, mirrored=True)):
        found = register_views(here, there, Limits())
        assert isinstance(found, Unregistered)
        assert found.reason


def real():
    for path in files("fundus/*.jpg"):
        rgb = cv2.imread(str(path))[:, :, ::-1]
        factor = min(1.0, 700 / max(rgb.shape))
        yield path.stem, np.ascontiguousarray(cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def test_real_photographs():
    """Each after a known movement; no two of different eyes. Two of them show one eye at two exposures."""
    photographs = dict(real())
    one_eye = {"example1", "example2"}
    views = {}
    for number, (name, rgb) in enumerate(photographs.items()):
        earlier, true = visit(rgb, drawn(np.random.default_rng([6, number]), rgb.shape), number)
        found = register(rgb, earlier)
        assert isinstance(found, Registered), (name, found)
        assert miss(found.matrix, true, rgb) < 0.01, name
        views[name] = view(rgb)
    for (name, here), (other, there) in itertools.combinations(views.items(), 2):
        same = {name, other} == one_eye
        assert isinstance(register_views(here, there, Limits()), Registered) == same, (name, other)
    mirrored = view(np.ascontiguousarray(photographs["retina"][:, ::-1]))
    for name, here in views.items():
        assert isinstance(register_views(here, mirrored, Limits()), Unregistered), name


def test_the_same_photograph_lies_where_it_lies():
    found = register(photo(3), photo(3))
    assert isinstance(found, Registered)
    assert np.allclose(found.matrix, np.eye(3), atol=1e-2)
    assert found.quality.overlap == pytest.approx(1.0, abs=0.01)


def test_the_same_input_gives_the_same_answer():
    earlier, _ = visit(photo(2), pose((SIZE, SIZE), 5, 1.1, (20, -10)))
    one, other = (register(photo(2), earlier) for _ in range(2))
    assert np.array_equal(one.matrix, other.matrix)


def test_photographs_of_different_size_are_laid_in_pixels_of_each():
    rgb = photo(4)
    small = cv2.resize(rgb, (288, 288), interpolation=cv2.INTER_AREA)
    found = register(rgb, small)
    assert isinstance(found, Registered)
    assert np.allclose(found.matrix, np.diag([SIZE / 288, SIZE / 288, 1.0]), atol=0.6)


def test_a_sheared_photograph_is_affine():
    rgb = photo(5)
    sheared = np.array([[1.0, 0.0, 0.0], [0.03, 1.04, -0.035 * SIZE], [0.0, 0.0, 1.0]])
    earlier, true = visit(rgb, sheared, lesions=0)
    found = register(rgb, earlier, Limits(error=0.02))
    assert isinstance(found, Registered), found
    assert found.kind == "AFFINE"
    assert miss(found.matrix, true, rgb) < 0.01


@pytest.mark.parametrize(
    ("matrix", "limits", "why"),
    [
        (pose((SIZE, SIZE), 40), Limits(), "implausible 40 degrees"),
        (pose((SIZE, SIZE), 0, 0.8), Limits(scale=1.1), "implausible factor"),
        (pose((SIZE, SIZE), 3), Limits(overlap=1.1), "of the fields overlap"),
        (pose((SIZE, SIZE), 3), Limits(spread=0.99), "lie in one corner"),
        (pose((SIZE, SIZE), 3), Limits(inliers=1900), "details of the photographs match"),
        (pose((SIZE, SIZE), 3), Limits(error=1e-5), "miss each other"),
        (pose((SIZE, SIZE), 3), Limits(correlation=0.999), "correlate by"),
        (pose((SIZE, SIZE), 3), Limits(parts=1.1), "parts of the overlap only"),
    ],
)
def test_every_limit_refuses_with_its_reason(matrix, limits, why):
    earlier, _ = visit(photo(1), matrix, lesions=0)
    found = register(photo(1), earlier, limits)
    assert isinstance(found, Unregistered)
    assert why in found.reason


def test_what_shows_no_vessels_is_refused():
    plain = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(plain, (SIZE // 2, SIZE // 2), SIZE // 2 - 10, (180, 90, 40), -1)
    assert "match" in register(photo(0), plain).reason
    assert "match" in register(plain, plain).reason
    assert "no lit field" in register(photo(0), np.zeros_like(plain)).reason
    assert "earlier photograph the field" in register(photo(0), cv2.resize(plain, (100, 100))).reason


def test_light_focus_and_size_do_not_change_the_view_much():
    rgb = photo(6)
    dim = np.clip(rgb * 0.6 + 5, 0, 255).astype(np.uint8)
    one, other = view(rgb), view(dim)
    assert abs(2 * np.sqrt(one.field.sum() / np.pi) - DIAMETER) < 40  # without its rim
    both = one.field & other.field
    assert np.corrcoef(one.vessels[both], other.vessels[both])[0, 1] > 0.9
