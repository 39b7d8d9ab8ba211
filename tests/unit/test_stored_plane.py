"""Planes of numbers read back from the objects that hold them, and what is drawn of them."""

import io
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import NO_VALUE, ParametricMap
from airouter.domain.picture import ThicknessMap
from airouter.domain.plot import FieldPanel, FieldPlot, FieldPoint, Plane
from airouter.errors import PixelDataError
from airouter.evidence.encoding import encode
from airouter.evidence.parametric_map import parametric_map
from airouter.evidence.plot import field_png, plane_png
from airouter.evidence.source import header
from airouter.evidence.thickness_map import thickness_map
from airouter.imaging.stored_plane import stored_plane
from tests.unit.test_evidence_pictures import HELD, first
from tests.unit.test_evidence_slide_seg import identity, level


def stored(ds: Dataset) -> Dataset:
    return dcmread(io.BytesIO(b"".join(encode(ds))))


def thickness(values: np.ndarray, *, eye: str = "R", **changes: Any) -> Dataset:
    source = first(HELD)
    source.ImageLaterality = eye
    made = ThicknessMap(
        "map", "Map", str(source.SOPInstanceUID), values.astype(np.float32), (0.12, 0.02),
        codes.RETINAL_THICKNESS_ILM_BM, **changes,
    )  # fmt: skip
    return stored(thickness_map(made, header(source), identity(source), 1))


@pytest.mark.parametrize("deviation", [False, True])
def test_a_thickness_is_what_was_stored(deviation: bool) -> None:
    values = np.array([[250.04, np.nan, 301.0], [0.0, 280.5, 999.9]])
    plane = stored_plane(thickness(values - 260.0 if deviation else values, deviation=deviation))
    np.testing.assert_allclose(plane.values, values - 260.0 if deviation else values, atol=0.051)
    assert (plane.unit, plane.spacing_mm, plane.signed) == ("um", (0.12, 0.02), deviation)
    assert plane.quantity == codes.RETINAL_THICKNESS_ILM_BM.meaning


@pytest.mark.parametrize(("eye", "left"), [("R", "temporal"), ("L", "nasal")])
def test_the_sides_are_those_of_the_eye(eye: str, left: str) -> None:
    values = np.full((2, 3), 300.0)
    assert stored_plane(thickness(values, eye=eye)).sides[0] == left
    assert stored_plane(thickness(values, eye=eye)).sides[2:] == ("superior", "inferior")
    assert stored_plane(thickness(values, eye=eye, anatomical=False)).sides == ()


@pytest.mark.parametrize("shape", [(7, 9), (40, 70)], ids=["one tile", "tiles"])
def test_a_parametric_map_is_put_together(shape: tuple[int, int]) -> None:
    source = level(shape[0] * 10, shape[1] * 10 - 3, (32, 32))
    cells = np.random.default_rng(1).random(shape).astype(np.float32)
    cells[0, 1] = NO_VALUE
    values = ParametricMap(
        "m", "Probability of tumour", source.SOPInstanceUID, cells, codes.PROBABILITY, codes.ZERO_TO_ONE, 10,
        finding=codes.NEOPLASM,
    )  # fmt: skip
    plane = stored_plane(stored(parametric_map(values, source, identity(source), 1)))
    np.testing.assert_array_equal(plane.values, np.where(cells == NO_VALUE, np.nan, cells))
    assert (plane.title, plane.unit, plane.shown) == ("Probability of tumour", "{0:1}", (0.0, 1.0))
    assert plane.quantity == f"{codes.PROBABILITY.meaning}, {codes.NEOPLASM.meaning}"
    assert not plane.signed


@pytest.mark.parametrize(
    "change",
    [
        {"PixelData": b"\0\0"},
        {"Rows": 0},
        {"RealWorldValueMappingSequence": []},
        {"BitsAllocated": 8},
        {"Rows": 60000, "Columns": 60000},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_is_no_map_is_refused(change: Mapping[str, Any]) -> None:
    ds = thickness(np.full((2, 3), 300.0))
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    with pytest.raises(PixelDataError):
        stored_plane(ds)


def pixels(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    missing=st.booleans(),
    signed=st.booleans(),
    spacing=st.sampled_from([None, (0.1, 0.1), (0.5, 0.001), (0.001, 0.5)]),
)
def test_any_plane_is_drawn_in_bounds(
    rows: int, columns: int, missing: bool, signed: bool, spacing: tuple[float, float] | None
) -> None:
    values = np.linspace(-3.0, 5.0, rows * columns, dtype=np.float32).reshape(rows, columns)
    if missing:
        values[:] = np.nan
    drawn = pixels(plane_png(Plane("A $ in a title", "Thickness", "um", values, spacing, signed=signed)))
    assert 100 < max(drawn.shape[:2]) < 1600 and len(np.unique(drawn)) > 2


def test_high_and_low_have_their_colours_and_nothing_is_grey() -> None:
    values = np.full((10, 10), np.nan, np.float32)
    values[:5], values[5:, :5] = 10.0, 20.0
    drawn = pixels(plane_png(Plane("T", "Q", "um", values, (1.0, 1.0))))
    for bgr in ((84, 1, 68), (37, 231, 253), (185, 185, 185)):  # the ends of viridis, and grey
        assert (np.abs(drawn.astype(int) - bgr).max(axis=2) <= 2).sum() > 500, bgr


def test_a_field_shows_its_numbers() -> None:
    points = (FieldPoint(-9.0, 3.0, "<0", 1.0), FieldPoint(3.0, 3.0, "30", 0.1), FieldPoint(3.0, -9.0, "?", 0.0))
    one = pixels(field_png(FieldPlot("F", (FieldPanel("Sensitivity, dB", points),))))
    two = pixels(field_png(FieldPlot("F", (FieldPanel("Sensitivity, dB", points),) * 2, ("MD -3 dB",))))
    assert two.shape[1] > 1.8 * one.shape[1]
    assert (one == 64).all(axis=2).any(), "a point not seen is dark"
