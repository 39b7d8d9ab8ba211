import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging import etdrs
from airouter.imaging.etdrs import Ring, Side

CENTRE = (Ring.CENTRAL, Side.NONE)


def grid(rows, columns, row_um, column_um):
    """x to the right and y downwards of every cell's centre, in mm from the middle of the map."""
    y, x = np.mgrid[:rows, :columns]
    return (x - (columns - 1) / 2) * column_um / 1000, (y - (rows - 1) / 2) * row_um / 1000


def test_nine_fields_with_the_areas_of_the_grid():
    fields = etdrs.fields(np.full((61, 601), 300, np.float32), 110, 11)
    assert len(fields) == 9
    assert fields[CENTRE].area_mm2 == pytest.approx(np.pi * 0.25, rel=0.01)
    for side in (Side.UP, Side.DOWN, Side.LEFT, Side.RIGHT):
        assert fields[Ring.INNER, side].area_mm2 == pytest.approx(np.pi * (1.5**2 - 0.5**2) / 4, rel=0.02)
        assert fields[Ring.OUTER, side].area_mm2 == pytest.approx(np.pi * (3.0**2 - 1.5**2) / 4, rel=0.01)


@given(st.floats(50, 500), st.integers(13, 130), st.integers(200, 900))
@settings(max_examples=25, deadline=None)
def test_a_constant_map_has_its_value_in_every_field_and_the_volume_of_a_cylinder(value, rows, columns):
    fields = etdrs.fields(np.full((rows, columns), value, np.float32), 6200 / rows, 6200 / columns)
    assert all(f.coverage == 1.0 for f in fields.values())
    assert all(f.mean == pytest.approx(value, rel=1e-6) for f in fields.values())
    assert etdrs.volume_mm3(fields) == pytest.approx(np.pi * 9 * value / 1000, rel=1e-3)


def test_a_slope_is_read_in_the_right_directions():
    x, y = grid(61, 601, 110, 11)
    fields = etdrs.fields((300 + 20 * x + 5 * y).astype(np.float32), 110, 11)
    assert fields[CENTRE].mean == pytest.approx(300, abs=0.1)
    # centroid of a quarter ring: 4 sqrt(2) (b^3 - a^3) / (3 pi (b^2 - a^2))
    away = 4 * np.sqrt(2) * (1.5**3 - 0.5**3) / (3 * np.pi * (1.5**2 - 0.5**2))
    assert fields[Ring.INNER, Side.RIGHT].mean == pytest.approx(300 + 20 * away, abs=0.2)
    assert fields[Ring.INNER, Side.LEFT].mean == pytest.approx(300 - 20 * away, abs=0.2)
    assert fields[Ring.INNER, Side.DOWN].mean == pytest.approx(300 + 5 * away, abs=0.2)
    assert fields[Ring.INNER, Side.UP].mean == pytest.approx(300 - 5 * away, abs=0.2)


def test_a_pit_is_averaged_by_area_however_far_apart_the_scans_are():
    # 200 + 100 r^2 (um, mm) has the mean 200 + 100 * 0.5^2 / 2 over the central disc
    for rows, columns, row_um, column_um in ((201, 601, 31, 10.3), (49, 512, 130, 12)):
        x, y = grid(rows, columns, row_um, column_um)
        fields = etdrs.fields((200 + 100 * (x**2 + y**2)).astype(np.float32), row_um, column_um)
        assert fields[CENTRE].mean == pytest.approx(212.5, abs=0.5)


def test_a_narrow_scan_covers_part_of_the_grid():
    fields = etdrs.fields(np.full((31, 300), 280, np.float32), 100, 10)  # 3.1 x 3.0 mm
    assert fields[CENTRE].coverage == 1.0
    assert fields[Ring.INNER, Side.LEFT].coverage == pytest.approx(1.0, abs=0.01)
    assert fields[Ring.OUTER, Side.LEFT].coverage < 0.1


def test_what_is_not_trusted_is_not_covered():
    values = np.full((61, 601), 300, np.float32)
    values[:, 301:] = np.nan
    fields = etdrs.fields(values, 110, 11)
    assert fields[Ring.INNER, Side.RIGHT].coverage == 0.0
    assert np.isnan(fields[Ring.INNER, Side.RIGHT].mean)
    assert fields[CENTRE].coverage == pytest.approx(0.5, abs=0.03)
    assert fields[CENTRE].mean == pytest.approx(300)
    assert np.isnan(etdrs.volume_mm3(fields))


def test_the_centre_can_lie_elsewhere():
    x, _ = grid(61, 801, 110, 11)
    values = (300 + 10 * x).astype(np.float32)
    fields = etdrs.fields(values, 110, 11, centre=(30, 400 + 50))
    assert fields[CENTRE].mean == pytest.approx(300 + 10 * 0.55, abs=0.1)


@pytest.mark.parametrize(("shape", "row_um"), [((0, 5), 10.0), ((5,), 10.0), ((5, 5), 0.0)])
def test_nonsense_is_refused(shape, row_um):
    with pytest.raises(ValueError, match=r"must be positive|is needed"):
        etdrs.fields(np.zeros(shape, np.float32), row_um, 10.0)
