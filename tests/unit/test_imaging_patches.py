import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airouter.domain.study import Modality
from airouter.imaging.level import WHITE
from airouter.imaging.patches import plan as planned
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from airouter.imaging.tissue import Tissue
from phantoms import dicom
from phantoms.slide import slide as phantom
from tests.images import Served, opened

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


def in_patches(plan, rgb) -> tuple[np.ndarray, np.ndarray]:
    """What the patches show, and each pixel of the plan's grid as the mean of the area that it covers."""
    steps = 16  # the scale is a multiple of 1/16: this many pixels of the plan are whole pixels of the level
    side = round(steps * plan.scale)
    tall, wide = -(-plan.shape[0] // steps), -(-plan.shape[1] // steps)
    canvas = np.full((tall * side, wide * side, 3), WHITE, np.uint8)
    canvas[: rgb.shape[0], : rgb.shape[1]] = rgb[: tall * side, : wide * side]
    whole = cv2.resize(canvas, (wide * steps, tall * steps), interpolation=cv2.INTER_AREA)
    return assembled(plan), whole[: plan.shape[0], : plan.shape[1]]


@pytest.mark.parametrize("spacing_um", [0.6875, 0.75, 0.96875, 1.0, 1.0625, 1.25, 1.5, 2.0, 2.3])
def test_resampled_patches_show_the_mean_of_what_lies_there(spacing_um):
    found, expected = in_patches(SLIDE.patches(spacing_um, (64, 64), 16), RGB)
    off = found.astype(int) - expected
    exact = spacing_um in (1.0, 1.5, 2.0)
    assert np.abs(off).mean() <= (0 if exact else 1.0)
    assert np.abs(off.mean()) <= (0 if exact else 0.2)
    # at the edge the white beyond it is interpolated too
    assert np.abs(off[1:-1, 1:-1]).max() <= (0 if exact else 6)


@pytest.mark.parametrize("spacing_um", [0.6875, 0.75, 1.25, 2.3])
def test_resampled_patches_do_not_depend_on_where_they_begin(spacing_um):
    small, large = (assembled(SLIDE.patches(spacing_um, size, 16)) for size in ((64, 64), (160, 128)))
    assert np.abs(small.astype(int) - large).max() <= 1


def test_stripes_finer_than_a_pixel_can_show_do_not_become_coarse_ones():
    stripes = np.zeros((260, 300, 3), np.uint8)
    stripes[:, ::2] = 200
    image = opened(dicom.slide_instances(stripes, 0.5, levels=1, tile=64, transfer="raw"))
    for spacing_um in (0.7, 0.85, 1.1, 1.2):
        core = assembled(image.patches(spacing_um, (64, 64), 16))[4:-4, 4:-4]
        assert core.std() < 0.4 * stripes.std()


def test_a_patch_says_where_it_lies():
    plan = slide(levels=2).patches(1.5, (64, 48), 8)
    assert plan.level.spacing_um == 1.0
    for patch in plan:
        rows, columns = patch.core
        at = patch.row + rows.start * patch.scale, patch.column + columns.start * patch.scale
        assert at == (patch.cell[0] * patch.scale, patch.cell[1] * patch.scale)
    first = plan.read(0)
    assert (first.row, first.column) == (-12.0, -12.0)
    assert (first.pixels[:7] == WHITE).all()
    assert (first.pixels[:, :7] == WHITE).all()


def test_a_near_spacing_is_read_as_it_is_and_the_plan_says_what_it_measures():
    plan = slide(spacing_um=0.499).patches(0.5)
    assert plan.scale == 1.0
    assert plan.spacing_um == pytest.approx(0.499)


def test_a_scale_near_a_whole_number_is_one():
    """Objectives are not quite what they say: 0.2528 um is read at twice its spacing for 0.5 um."""
    for spacing_um, scale in ((0.2528, 2.0), (0.2441, 2.0625), (0.124, 4.0), (0.3, 1.65625)):
        plan = slide(spacing_um=spacing_um).patches(0.5, (256, 256), 32)
        assert plan.scale == scale
        assert plan.spacing_um == pytest.approx(spacing_um * scale)


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


def wide(tile: int, limit: int, rows=512, columns=6000) -> tuple[Served, Slide]:
    """A slide much wider than the tiles that its cache holds."""
    rgb = np.zeros((rows, columns, 3), np.uint8)
    rgb[..., 0] = np.arange(columns) % 251
    served = Served(dicom.slide_instances(rgb, 0.5, levels=1, tile=tile, transfer="raw"))
    image = open_images(Modality.SM, served.headers(), served.frames)
    image.base.cache.limit = limit
    return served, image


@pytest.mark.parametrize(("tile", "kept"), [(64, 40), (64, 60), (512, 4), (256, 8)])
def test_a_slide_wider_than_the_cache_is_read_in_blocks_of_columns(tile, kept):
    served, image = wide(tile, kept * 3 * tile * tile)
    plan = image.patches(0.5, (128, 128), 16)
    assert (assembled(plan)[:, :, 0] == np.arange(6000) % 251).all()
    columns = [column for _, column in plan.cells]
    assert columns != sorted(columns)
    read = [number for _, numbers in served.asked for number in numbers]
    assert len(read) <= 1.7 * len(set(read))  # by whole rows every tile would be read twice or more
    assert {(row, column) for row, column in plan.cells} == {(r, c) for r in range(6) for c in range(63)}


def test_a_slide_that_fits_the_cache_is_read_row_by_row():
    plan = SLIDE.patches(0.5, (64, 64), 8)
    assert list(plan.cells) == sorted(plan.cells)


@given(st.integers(1, 260), st.integers(1, 300), st.tuples(st.integers(20, 90), st.integers(20, 90)), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_order_of_patches_and_their_pixels_do_not_depend_on_threads(rows, columns, size, small):
    def made():
        image = slide(rows, columns)
        image.base.cache.limit = 40_000 if small else 64 << 20
        return image.patches(0.7, size, 4)

    alone, shared = made(), made()
    expected = [patch.pixels for patch in alone]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.read, range(len(shared))))
    assert [patch.cell for patch in found] == [alone.core(cell)[1] for cell in alone.cells]
    assert all((a == b.pixels).all() for a, b in zip(expected, found, strict=True))


@given(
    st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 300), st.integers(0, 40), st.floats(0.3, 9), st.data()
)
@settings(max_examples=60, deadline=None)
def test_the_cells_of_a_plan_are_those_whose_core_touches_tissue(rows, columns, side, overlap, scale, data):
    assume(side > 2 * overlap and rows * columns / ((side - 2 * overlap) * scale) ** 2 < 4000)
    level = replace(SLIDE.base, rows=rows, columns=columns)
    factor = data.draw(st.integers(5, 40))
    mask = np.random.default_rng(0).random((-(-rows // factor), -(-columns // factor))) < 0.03
    tissue = Tissue(mask, factor, factor * 0.5, level, (rows, columns))
    made = planned(level, scale, (side, side), overlap, tissue, 1.0)
    step = side - 2 * overlap
    expected = []
    for r, c in np.ndindex(*(-(-n // step) for n in made.shape)):
        y, x = r * step * made.scale, c * step * made.scale
        h, w = (min(step, n - i * step) * made.scale for n, i in zip(made.shape, (r, c), strict=True))
        there = mask[
            int(y // factor) : int(np.ceil((y + h) / factor)), int(x // factor) : int(np.ceil((x + w) / factor))
        ]
        if there.any():
            expected.append((r, c))
    assert list(made.cells) == expected


def test_cells_are_a_sequence_of_pairs_and_an_array():
    cells = SLIDE.patches(0.5, (64, 64), 8).cells
    pairs = list(cells)
    assert pairs == [cells[n] for n in range(len(cells))]
    assert all(type(row) is int and type(column) is int for row, column in pairs)
    assert (np.array(cells, np.intp) == pairs).all()
    assert pairs[3] in cells
    assert (99, 0) not in cells
    assert "no cell" not in cells
    assert list(cells[2:5]) == pairs[2:5]
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(cells)[0] = 1


def test_the_plan_of_a_huge_slide_is_made_at_once_and_is_small():
    level = replace(SLIDE.base, rows=100_000, columns=100_000)
    mask = np.ones((2500, 2500), bool)
    tracemalloc.start()
    try:
        made = planned(level, 1.0, (128, 128), 0, Tissue(mask, 40, 10.0, level, (100_000, 100_000)), 1.0)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made) == 782 * 782
    assert held < 12e6 + mask.size * 4 + 1e6  # and the sums of the mask
    assert most < 100e6


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
