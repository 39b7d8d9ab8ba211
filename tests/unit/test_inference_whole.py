"""Whole images: fitted to the model, and maps brought back on the grid of the image."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain.model import Model
from airouter.inference import manifest, weights
from airouter.inference.session import Session
from airouter.inference.whole import whole, whole_many
from tests.model_folders import identity, means, times, write
from tests.model_folders import manifest as keys

Pixels = npt.NDArray[np.uint8]


class Recording:
    """A predictor that keeps what it was given."""

    def __init__(self, inner: Session) -> None:
        self.inner = inner
        self.calls: list[list[Pixels]] = []

    @property
    def model(self) -> Model:
        return self.inner.model

    @property
    def provider(self) -> str:
        return self.inner.provider

    def predict(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        self.calls.append(list(images))
        return self.inner.predict(images)


def predictor(proto: onnx.ModelProto | None = None, **changes: Any) -> Recording:
    with tempfile.TemporaryDirectory() as models:
        folder = write(Path(models), keys(**changes), identity() if proto is None else proto)
        model = manifest.load(folder)
        return Recording(Session(model, weights.load(folder / "model.onnx", model.sha256)))


def smooth(rows: int, columns: int) -> Pixels:
    """A picture that survives resizing: ramps along rows and columns, and a constant."""
    down, along = np.mgrid[0:rows, 0:columns].astype(np.float64)
    planes = down / max(rows - 1, 1) * 255, along / max(columns - 1, 1) * 255, np.full((rows, columns), 77.0)
    return np.stack(planes, axis=2).round().astype(np.uint8)


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    fit=st.sampled_from(["stretch", "letterbox", "pad"]),
    mode=st.sampled_from(["constant", "reflect", "edge"]),
    transpose=st.booleans(),
    grey=st.booleans(),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_maps_have_the_grid_of_the_image(
    rows: int, columns: int, fit: str, mode: str, transpose: bool, grey: bool, size: tuple[int, int]
) -> None:
    model = predictor(input__fit=fit, input__size=list(size), input__transpose=transpose, input__padding={"mode": mode})
    image = noise(rows, rows, columns) if grey else noise(rows, rows, columns, 3)
    maps = whole(model, image)
    assert maps.shape == (3, rows, columns)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    if fit == "pad" or (rows, columns) == (size[::-1] if transpose else size):
        expected = np.repeat(image[..., None], 3, axis=2) if grey else image
        np.testing.assert_allclose(maps, np.moveaxis(expected, 2, 0) / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 40), (40, 20), (20, 40), (64, 48), (37, 61)])
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("transpose", [False, True])
def test_maps_lie_where_the_image_has_it(shape: tuple[int, int], fit: str, transpose: bool) -> None:
    """A ramp comes back as the same ramp: neither shifted, nor turned, nor of another scale."""
    image = smooth(*shape)
    model = predictor(input__fit=fit, input__size=[32, 48], input__transpose=transpose)
    maps = whole(model, image)
    border = 3  # where a letterbox meets its padding, resizing mixes them
    inside = (slice(None), slice(border, -border), slice(border, -border))
    difference = (maps * 255 - np.moveaxis(image, 2, 0))[inside]
    assert np.abs(difference).max() < 6


def test_letterbox_keeps_the_aspect_ratio_and_centres() -> None:
    model = predictor(input__fit="letterbox", input__size=[10, 10], input__padding={"value": 9})
    whole(model, np.full((40, 20, 3), 200, np.uint8))
    expected = np.full((10, 10, 3), 9, np.uint8)
    expected[:, 2:7] = 200
    np.testing.assert_array_equal(model.calls[0][0], expected)


def test_pad_fills_at_the_bottom_and_at_the_right() -> None:
    image = noise(0, 9, 4, 3)
    model = predictor(input__fit="pad", input__padding={"value": 9})
    whole(model, image)
    expected = np.full((16, 8, 3), 9, np.uint8)
    expected[:9, :4] = image
    np.testing.assert_array_equal(model.calls[0][0], expected)


@pytest.mark.parametrize(("mode", "as_numpy"), [("reflect", "reflect"), ("edge", "edge")])
def test_padding_modes(mode: str, as_numpy: Any) -> None:
    image = noise(0, 6, 7, 3)
    model = predictor(input__fit="pad", input__padding={"mode": mode})
    whole(model, image)
    np.testing.assert_array_equal(model.calls[0][0], np.pad(image, ((0, 2), (0, 1), (0, 0)), as_numpy))


def test_shrinking_averages_and_leaves_nothing_out() -> None:
    """One white pixel of 64 x 64 must still be seen in 8 x 8."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[13, 27] = 255
    model = predictor()
    assert whole(model, image).max() > 0
    assert model.calls[0][0].max() == round(255 / 64)


def test_vectors_come_back_as_they_are() -> None:
    model = predictor(means(), head__kind="embedding", head__classes=[], input__fit="letterbox")
    np.testing.assert_allclose(whole(model, np.full((16, 16, 3), 51, np.uint8)), [0.2, 0.2, 0.2], atol=1e-6)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_many_images_come_back_in_order(fit: str) -> None:
    images = [np.full((5 + 7 * (n % 3), 9, 3), 10 * n, np.uint8) for n in range(11)]
    model = predictor(times(0.5), input__fit=fit, input__batch=4)
    for image, maps in zip(images, whole_many(model, iter(images)), strict=True):
        assert maps.shape == (3, *image.shape[:2])
        np.testing.assert_allclose(maps, image[0, 0, 0] / 510, atol=1e-6)
    assert max(len(call) for call in model.calls) <= 4
    assert len(list(whole_many(model, images, 1))) == 11
    assert list(whole_many(model, [])) == []


def test_many_images_are_read_as_they_are_needed() -> None:
    taken = []

    def source() -> Any:
        for n in range(6):
            taken.append(n)
            yield noise(n, 8, 8, 3)

    answers = whole_many(predictor(), source(), 2)
    next(answers)
    assert taken == [0, 1]


def test_what_is_no_image_is_refused() -> None:
    model = predictor()
    for wrong in (np.zeros((4, 4), np.float32), np.zeros((2, 2, 2, 2), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match="8-bit image"):
            whole(model, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch"):
        list(whole_many(model, [], 0))


def test_a_tile_model_reads_no_whole_image() -> None:
    model = predictor(reads__modality="SM", input__fit="tile", input__spacing_um=0.5)
    with pytest.raises(ValueError, match="patches"):
        whole(model, noise(0, 8, 8, 3))


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "pad"])
def test_any_memory_layout_of_an_image_is_read(fit: str) -> None:
    source = noise(3, 21, 30, 3)
    source.flags.writeable = False
    model = predictor(input__fit=fit)
    for view in (source[::-1, ::2], source.swapaxes(0, 1), source[..., ::-1], source[..., 1], source[..., :1]):
        np.testing.assert_array_equal(whole(model, view), whole(model, view.copy()))
