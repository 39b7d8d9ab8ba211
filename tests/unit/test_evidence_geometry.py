"""Slide geometry: laws, and highdicom.spatial as independent software."""

import highdicom.spatial
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.geometry import SlideGeometry

places = st.floats(-100, 100)
spacings = st.floats(1e-5, 0.1)


@st.composite
def geometries(draw: st.DrawFn) -> SlideGeometry:
    angle = draw(st.floats(0, 2 * np.pi))
    flip = draw(st.sampled_from([1.0, -1.0]))
    along = (np.cos(angle), np.sin(angle), 0.0)
    down = (-flip * np.sin(angle), flip * np.cos(angle), 0.0)
    return SlideGeometry(
        (draw(places), draw(places), 0.0), (*along, *down), (draw(spacings), draw(spacings))
    )  # fmt: skip


pixels = st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), min_size=1, max_size=5).map(np.array)


@given(geometries(), pixels)
def test_round_trip(geometry: SlideGeometry, points: np.ndarray) -> None:
    np.testing.assert_allclose(geometry.to_pixels(geometry.to_slide(points)), points, rtol=1e-6, atol=1e-3)


@given(geometries(), pixels)
def test_agrees_with_highdicom(geometry: SlideGeometry, points: np.ndarray) -> None:
    transformer = highdicom.spatial.ImageToReferenceTransformer(
        image_position=geometry.origin, image_orientation=geometry.orientation, pixel_spacing=geometry.spacing
    )
    np.testing.assert_allclose(geometry.to_slide(points), transformer(points), atol=1e-6)


@given(geometries(), st.integers(1, 64), pixels)
def test_a_coarser_grid_puts_its_cells_where_they_were(
    geometry: SlideGeometry, factor: int, points: np.ndarray
) -> None:
    np.testing.assert_allclose(geometry.coarser(factor).to_slide(points / factor), geometry.to_slide(points), atol=1e-6)


def test_the_centre_of_the_first_pixel_is_the_origin() -> None:
    geometry = SlideGeometry((25.0, 50.0, 0.0), (0, -1, 0, -1, 0, 0), (0.001, 0.002))
    np.testing.assert_allclose(geometry.to_slide(np.array([[0.5, 0.5]])), [[25.0, 50.0, 0.0]])
    np.testing.assert_allclose(geometry.to_slide(np.array([[1.5, 0.5]])), [[25.0, 49.998, 0.0]])


@pytest.mark.parametrize(
    ("orientation", "spacing"),
    [
        ((1, 0, 0, 1, 0, 0), (0.001, 0.001)),
        ((2, 0, 0, 0, 1, 0), (0.001, 0.001)),
        ((1, 0, 0, 0, 1, 0), (0.0, 0.001)),
        ((1, 0, 0, 0, 1, 0), (0.001, float("nan"))),
    ],
)
def test_impossible_geometry_is_refused(orientation: tuple, spacing: tuple) -> None:
    with pytest.raises(ValueError, match=r"impossible|perpendicular"):
        SlideGeometry((0.0, 0.0, 0.0), orientation, spacing)


def test_a_factor_below_one_is_refused() -> None:
    geometry = SlideGeometry((0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0), (0.001, 0.001))
    with pytest.raises(ValueError, match="factor"):
        geometry.coarser(0)
