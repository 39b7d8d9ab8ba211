import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airouter.imaging.level import WHITE
from phantoms import dicom
from phantoms.slide import slide as phantom
from tests.images import opened

RGB = cv2.resize(np.random.default_rng(0).integers(40, 250, (29, 31, 3), np.uint8), (300, 260))


def slide(rows=260, columns=300, spacing_um=0.5, levels=1):
    rgb = RGB[:rows, :columns]
    return opened(dicom.slide_instances(rgb, spacing_um, levels=levels, tile=64, transfer="raw"))


SLIDE = slide()


def assembled(plan) -> np.ndarray:
    """The level put together from the cores of its patches; every pixel must be given exactly once."""
    times = np.zeros(plan.shape, int)
    whole = np.zeros((*plan.shape, 3), np.uint8)
    for patch in plan:
        rows, columns = patch.core
        r, c = patch.cell
        there = slice(r, r + rows.stop - rows.start), slice(c, c + columns.stop - columns.start)
        times[there] += 1
        whole[there] = patch.pixels[patch.core]
        assert patch.pixels.shape == (*plan.size, 3)
    assert (times == 1).all()
    return whole


@given(
    st.integers(1, 260),
    st.integers(1, 300),
    st.tuples(st.integers(8, 90), st.integers(8, 90)),
    st.integers(0, 12),
    st.floats(0.26, 1.9),
)
@settings(max_examples=60, deadline=None)
def test_cores_partition_the_level_exactly(rows, columns, size, overlap, spacing_um):
    assume(min(size) > 2 * overlap)
    plan = slide(rows, columns).patches(spacing_um, size, overlap)
    covered = plan.shape[0] * plan.scale, plan.shape[1] * plan.scale
    assembled(plan)
    assert rows <= covered[0] < rows + plan.scale + 1e-6
    assert columns <= covered[1] < columns + plan.scale + 1e-6
    assert plan.spacing_um == pytest.approx(plan.scale * 0.5)
    assert abs(plan.spacing_um / spacing_um - 1) <= 0.05


@given(st.tuples(st.integers(2, 9), st.integers(2, 9)), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_reading_by_patches_equals_reading_the_region(size, overlap):
    assume(min(size) * 10 > 20 * overlap)
    plan = SLIDE.patches(0.5, (size[0] * 10, size[1] * 10), overlap * 10)
    assert plan.scale == 1.0
    assert (assembled(plan) == RGB).all()


@pytest.mark.parametrize("spacing_um", [0.6875, 0.75, 1.0, 1.25, 2.0, 2.3])
def test_resampled_patches_are_parts_of_one_resampled_level(spacing_um):
    plan = SLIDE.patches(spacing_um, (64, 64), 16)
    rows, columns = (n * 2 for n in plan.shape)  # room for whole pixels of the plan
    padded = np.full((round(rows / 2 * plan.scale) + 64, round(columns / 2 * plan.scale) + 64, 3), WHITE, np.uint8)
    padded[:260, :300] = RGB
    steps = 16  # the scale is a multiple of 1/16: this many pixels of the plan are whole pixels of the level
    side = round(steps * plan.scale)
    tall, wide = -(-plan.shape[0] // steps), -(-plan.shape[1] // steps)
    canvas = np.full((tall * side, wide * side, 3), WHITE, np.uint8)
    canvas[:260, :300] = RGB[: tall * side, : wide * side]
    whole = cv2.resize(canvas, (wide * steps, tall * steps), interpolation=cv2.INTER_AREA)
    found = assembled(plan)
    assert np.abs(found.astype(int) - whole[: plan.shape[0], : plan.shape[1]]).max() <= 1


def test_a_patch_says_where_it_lies():
    plan = slide(levels=2).patches(1.5, (64, 48), 8)
    assert plan.level.spacing_um == 1.0
    for patch in plan:
        rows, columns = patch.core
        at = patch.row + rows.start * patch.scale, patch.column + columns.start * patch.scale
        assert at == (patch.cell[0] * patch.scale, patch.cell[1] * patch.scale)
    first = plan.read(0)
    assert (first.row, first.column) == (-12.0, -12.0)
    assert (first.pixels[:8] == WHITE).all()
    assert (first.pixels[:, :8] == WHITE).all()


def test_a_near_spacing_is_read_as_it_is_and_the_plan_says_what_it_measures():
    plan = slide(spacing_um=0.499).patches(0.5)
    assert plan.scale == 1.0
    assert plan.spacing_um == pytest.approx(0.499)


def test_an_overlap_that_leaves_no_core_is_refused():
    with pytest.raises(ValueError, match="nothing of a patch"):
        SLIDE.patches(0.5, (64, 64), 32)


def test_patches_are_read_by_index_as_in_order():
    plan = SLIDE.patches(0.8, (64, 64), 8)
    for index, patch in enumerate(plan):
        again = plan.read(index)
        assert (again.pixels == patch.pixels).all()
        assert (again.row, again.column, again.cell) == (patch.row, patch.column, patch.cell)
    assert len(plan) == index + 1
    with pytest.raises(IndexError):
        plan.read(len(plan))


def test_patches_without_tissue_are_left_out_and_none_with_tissue():
    made = phantom(1100, 1300, 0.5, seed=5)
    image = opened(dicom.slide_instances(made.rgb, 0.5, levels=3))
    tissue = image.tissue()
    some, every = image.patches(0.5, tissue=tissue), image.patches(0.5)
    assert 0 < len(some) < len(every)
    lost = np.ones(every.shape, bool)
    for patch in some:
        (rows, columns), (r, c) = patch.core, patch.cell
        lost[r : r + rows.stop - rows.start, c : c + columns.stop - columns.start] = False
    assert made.tissue[lost].sum() < 0.01 * made.tissue.sum()
