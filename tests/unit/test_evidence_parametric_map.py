"""Maps: how large they are stored, and how viewers are told to show them."""

import io

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import NO_VALUE, ParametricMap
from airouter.evidence.encoding import encode
from airouter.evidence.parametric_map import parametric_map
from tests.dciodvfy import assert_conformant
from tests.unit.test_evidence_slide_seg import identity, level


@pytest.mark.parametrize(
    ("shape", "tile"), [((7, 9), (7, 9)), ((40, 9), (32, 9)), ((7, 70), (7, 32)), ((40, 70), (32, 32))]
)
def test_a_tile_is_no_larger_than_the_map(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    source = level(shape[0] * 10, shape[1] * 10 - 3, (32, 32))
    cells = np.random.default_rng(1).random(shape).astype(np.float32)
    values = ParametricMap("m", "M", source.SOPInstanceUID, cells, codes.PROBABILITY, codes.ZERO_TO_ONE, 10)
    made = parametric_map(values, source, identity(source), 1)
    assert (made.Rows, made.Columns) == tile
    assert_conformant(made)
    read = hd.Image.from_dataset(dcmread(io.BytesIO(b"".join(encode(made)))))
    np.testing.assert_array_equal(read.get_total_pixel_matrix(apply_real_world_transform=False), cells)


@pytest.mark.parametrize(
    ("unit", "values", "window"),
    [
        (codes.ZERO_TO_ONE, (0.0, 0.05), (0.5, 1.0)),  # a class that is nowhere likely stays dark
        (codes.ZERO_TO_ONE, (0.0, 0.0), (0.5, 1.0)),
        (codes.PERCENT, (20.0, 30.0), (50.0, 100.0)),
        (codes.PER_MM2, (100.0, 900.0), (500.0, 800.0)),
        (codes.PER_MM2, (7.0, 7.0), (7.0, 1e-6)),
    ],
)
def test_what_has_ends_is_shown_between_them(
    unit: Code, values: tuple[float, float], window: tuple[float, float]
) -> None:
    source = level(20, 30, (32, 32))
    cells = np.array([[*values, NO_VALUE]], np.float32)
    made = parametric_map(
        ParametricMap("m", "M", source.SOPInstanceUID, np.repeat(cells, 2, axis=0), codes.PROBABILITY, unit, 10),
        source, identity(source), 1,
    )  # fmt: skip
    (shown,) = made.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    assert (shown.WindowCenter, shown.WindowWidth) == pytest.approx(window)
    (mapped,) = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    first, last = mapped.DoubleFloatRealWorldValueFirstValueMapped, mapped.DoubleFloatRealWorldValueLastValueMapped
    assert (first, last) == pytest.approx(values)
