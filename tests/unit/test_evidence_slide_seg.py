"""Masks of slides: what is written tile by tile is what highdicom makes of the whole mask, in less memory."""

import copy
import io
import tracemalloc

import highdicom as hd
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import ParametricMap, Result, Segment, Segmentation
from airouter.domain.priority import Priority, Verdict
from airouter.errors import EvidenceError
from airouter.evidence.encoding import encode
from airouter.evidence.identity import Identity
from airouter.evidence.parametric_map import parametric_map
from airouter.evidence.segmented import Bits, arguments
from airouter.evidence.slide_seg import slide_segmentation
from airouter.evidence.source import header, slide_geometry
from airouter.imaging.header import pixel_spacing_um
from tests import evidence_samples as samples
from tests.dciodvfy import assert_conformant

SEGMENTS = tuple(Segment(n, f"Class {n}", codes.TISSUE, codes.TISSUE) for n in (1, 2, 3))


def level(rows: int, columns: int, tile: tuple[int, int]) -> Dataset:
    """The header of a slide level of that size."""
    stored = next(iter(samples.slide_phantom().values()))
    source = header(stored)
    source.TotalPixelMatrixRows, source.TotalPixelMatrixColumns = rows, columns
    source.Rows, source.Columns = tile
    return source


def identity(source: Dataset) -> Identity:
    job = samples.job({str(source.SOPInstanceUID): source})
    return Identity(job, samples.model(), Result((), Verdict(Priority.ROUTINE, "")), samples.NOW)


def segmentation(source: Dataset, mask: np.ndarray, *, segments: int = 3, factor: int = 1) -> Segmentation:
    return Segmentation("mask", "Mask", source.SOPInstanceUID, mask, SEGMENTS[:segments], factor)


def plainly(given_: Segmentation, source: Dataset) -> Dataset:
    """highdicom's plain call on the whole mask."""
    geometry = slide_geometry(source).coarser(given_.factor)
    return hd.seg.Segmentation(
        source_images=[source],
        pixel_array=given_.mask[np.newaxis],
        pixel_measures=hd.PixelMeasuresSequence(geometry.spacing, slice_thickness=0.001),
        plane_orientation=hd.PlaneOrientationSequence("SLIDE", geometry.orientation),
        plane_positions=[hd.PlanePositionSequence("SLIDE", geometry.origin, (1, 1))],
        tile_pixel_array=True,
        tile_size=(min(source.Rows, 512), min(source.Columns, 512)),
        **arguments(given_, identity(source), 1),
    )


def part10(ds: Dataset) -> bytes:
    """The file, without what differs between any two runs: random UIDs and the clock."""
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in ds[keyword].value:
            item.DimensionOrganizationUID = "1.2.3"
    for item in ds.ContributingEquipmentSequence:
        item.ContributionDateTime = "20260101"
    ds.InstanceCreationDate, ds.InstanceCreationTime = "20260101", "000000"
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def test_a_spacing_that_every_frame_says_for_itself_is_that_of_the_level() -> None:
    stored = copy.deepcopy(next(iter(samples.slide_phantom().values())))
    expected = slide_geometry(header(stored)).spacing
    (shared,) = stored.SharedFunctionalGroupsSequence
    groups = [Dataset(), Dataset()]
    for group in groups:
        group.PixelMeasuresSequence = copy.deepcopy(shared.PixelMeasuresSequence)
    stored.PerFrameFunctionalGroupsSequence = groups
    del shared.PixelMeasuresSequence
    assert slide_geometry(header(stored)).spacing == expected
    assert pixel_spacing_um(stored) == pytest.approx([1000 * value for value in expected])
    del stored.SharedFunctionalGroupsSequence
    assert slide_geometry(header(stored)).spacing == expected
    groups[1].PixelMeasuresSequence[0].PixelSpacing = [0.1, 0.1]
    assert pixel_spacing_um(stored) is None
    with pytest.raises(EvidenceError, match="spacing"):
        slide_geometry(header(stored))


@st.composite
def masks(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int], int, int]:
    """A mask with boxes and crumbs in it, a tile size, the number of segments and the factor."""
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    tile = draw(st.integers(3, 17)), draw(st.integers(3, 17))  # below 8 pixels a tile highdicom packs otherwise
    segments = draw(st.integers(1, 3))
    mask = np.zeros((rows, columns), np.uint8)
    for _ in range(draw(st.integers(1, 4))):
        row, column = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
        mask[row : row + draw(st.integers(1, 20)), column : column + draw(st.integers(1, 20))] = draw(
            st.integers(1, segments)
        )
    return mask, tile, segments, draw(st.sampled_from([1, 1, 4]))


@settings(max_examples=25, deadline=None)
@given(masks())
@example((np.eye(24, dtype=np.uint8), (8, 8), 1, 1))
@example((np.eye(25, dtype=np.uint8) * 2, (5, 5), 3, 1))
def test_it_is_what_highdicom_makes(case: tuple[np.ndarray, tuple[int, int], int, int]) -> None:
    mask, tile, segments, factor = case
    source = level(mask.shape[0] * factor, mask.shape[1] * factor, tile)
    mine = segmentation(source, mask, segments=segments, factor=factor)
    expected = plainly(mine, source)
    bits = int(expected.NumberOfFrames) * expected.Rows * expected.Columns
    count = -(-bits // 8)
    # highdicom fills up an odd number of bytes with the character "0".
    expected.PixelData = expected.PixelData[:count] + b"\0" * (count % 2)
    assert part10(slide_segmentation(mine, source, identity(source), 1)) == part10(expected)


@settings(max_examples=12, deadline=None)
@given(masks())
def test_it_reads_back_as_the_mask(case: tuple[np.ndarray, tuple[int, int], int, int]) -> None:
    mask, tile, segments, factor = case
    source = level(mask.shape[0] * factor, mask.shape[1] * factor, tile)
    mine = segmentation(source, mask, segments=segments, factor=factor)
    file = io.BytesIO(part10(slide_segmentation(mine, source, identity(source), 1)))
    read = hd.seg.segread(file).get_total_pixel_matrix(combine_segments=True)
    np.testing.assert_array_equal(read, mask)


@pytest.mark.parametrize("tile", [(256, 256), (37, 41)])
@pytest.mark.parametrize("segments", [1, 3])
def test_it_is_conformant(tile: tuple[int, int], segments: int) -> None:
    mask = np.zeros((300, 350), np.uint8)
    mask[40:90, 200:340] = 1
    mask[250:, 20:40] = segments
    source = level(300, 350, tile)
    mine = segmentation(source, mask, segments=segments)
    made = slide_segmentation(mine, source, identity(source), 1)
    assert_conformant(made)


@pytest.mark.parametrize("segments", [1, 3])
def test_a_mask_of_nothing_has_one_empty_frame(segments: int) -> None:
    source = level(100, 90, (32, 32))
    mine = segmentation(source, np.zeros((100, 90), np.uint8), segments=segments)
    made = slide_segmentation(mine, source, identity(source), 1)
    assert made.NumberOfFrames == len(made.PerFrameFunctionalGroupsSequence) == 1
    assert set(made.PixelData) == {0} and len(made.PixelData) == 32 * 32 // 8
    assert_conformant(made)
    read = hd.seg.segread(io.BytesIO(part10(made)))
    assert not read.get_total_pixel_matrix(combine_segments=True).any()


@pytest.mark.parametrize("value", [4, 255])
def test_a_value_that_is_no_segment_is_refused(value: int) -> None:
    mask = np.zeros((100, 90), np.uint8)
    mask[99, 89] = value
    source = level(100, 90, (32, 32))
    with pytest.raises(EvidenceError, match=str(value)):
        slide_segmentation(segmentation(source, mask), source, identity(source), 1)


@pytest.mark.parametrize(
    ("shape", "factor"), [((99, 90), 1), ((101, 90), 1), ((24, 23), 4), ((25, 22), 4), ((26, 23), 4), ((25, 24), 4)]
)
def test_a_mask_or_map_that_does_not_just_cover_the_level_is_refused(shape: tuple[int, int], factor: int) -> None:
    source = level(100, 90, (32, 32))
    ones = np.ones(shape, np.uint8)
    with pytest.raises(EvidenceError, match="do not cover a level"):
        slide_segmentation(segmentation(source, ones, factor=factor), source, identity(source), 1)
    values = ParametricMap(
        "m", "M", source.SOPInstanceUID, ones.astype(np.float32), codes.PROBABILITY, codes.ONE, factor
    )
    with pytest.raises(EvidenceError, match="do not cover a level"):
        parametric_map(values, source, identity(source), 1)


def test_a_mask_is_read_in_place() -> None:
    """Neither a copy of the mask nor a second one of the packed bits, though each tile has every segment."""
    side = 4096
    mask = np.zeros((side, side), np.uint8)
    for number, at in enumerate((0, 8, 16), 1):
        mask[at::512, at::512] = number
    mask.setflags(write=False)
    source = level(side, side, (512, 512))
    mine = segmentation(source, mask)
    before = source.to_json()
    slide_segmentation(mine, source, identity(source), 1)  # highdicom loads tables once
    assert source.to_json() == before
    tracemalloc.start()
    try:
        made = slide_segmentation(mine, source, identity(source), 1)
        sent = sum(len(block) for block in encode(made))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.NumberOfFrames == 3 * 64
    assert sent > len(made.PixelData)
    assert len(made.PixelData) == 3 * mask.size // 8
    assert peak < 0.5 * mask.nbytes


@given(st.lists(st.integers(1, 70), max_size=6), st.integers(0, 2**32 - 1))
def test_frames_of_any_size_follow_bit_after_bit(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    planes = [random.random(size) < 0.5 for size in sizes]
    bits = Bits()
    for plane in planes:
        bits.add(plane.copy())
    data = bits.pixel_data()
    total = sum(sizes)
    assert len(data) == -(-total // 16) * 2
    read = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
    expected = np.concatenate([*planes, np.zeros(len(data) * 8 - total, bool)])
    np.testing.assert_array_equal(read, expected)


def test_the_frames_can_be_read_one_by_one() -> None:
    mask = np.zeros((35, 35), np.uint8)
    mask[3, 3], mask[34, 0], mask[17, 17] = 1, 2, 3
    source = level(35, 35, (7, 5))
    made = slide_segmentation(segmentation(source, mask), source, identity(source), 1)
    frames = dcmread(io.BytesIO(part10(made))).pixel_array
    assert frames.shape == (3, 7, 5) and frames.sum() == 3
    assert frames[0, 3, 3] and frames[1, 6, 0] and frames[2, 3, 2]
