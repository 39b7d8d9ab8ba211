import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.geometry import SlideGeometry
from airouter.domain.study import Modality
from airouter.errors import PixelDataError
from airouter.imaging.level import WHITE, Place, TileCache
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from phantoms import dicom
from phantoms.slide import slide as phantom
from tests.images import Served, opened, read

RGB = cv2.resize(np.random.default_rng(0).integers(40, 250, (19, 21, 3), np.uint8), (300, 260))


def raw(rgb=RGB, spacing_um=0.5, **options) -> list[Dataset]:
    options = {"levels": 1, "tile": 64, "transfer": "raw", **options}
    return dicom.slide_instances(rgb, spacing_um, **options)


def reason(datasets) -> str:
    slide = opened(datasets)
    assert isinstance(slide, Ungradable), slide
    assert slide.reason.startswith("not analysed because")
    return slide.reason


# --- levels ---


def test_levels_are_finest_first_without_label_and_thumbnail():
    slide = opened(raw(levels=3, with_label=True, with_thumbnail=True)[::-1])
    assert [(level.rows, level.columns, level.spacing_um) for level in slide.levels] == [
        (260, 300, 0.5),
        (130, 150, 1.0),
        (65, 75, 2.0),
    ]
    assert slide.header.TotalPixelMatrixRows == 260


@pytest.mark.parametrize(
    "options",
    [{}, {"sparse": True}, {"concatenation_parts": 3}, {"concatenation_parts": 4, "sparse": True}, {"tile": 512}],
    ids=str,
)
def test_every_way_to_store_tiles_gives_the_same_picture(options):
    slide = opened(raw(**options))
    assert len(slide.levels) == 1
    assert (slide.region(slide.base, 0, 0, 260, 300) == RGB).all()


def test_the_parts_of_a_concatenation_may_come_in_any_order_and_are_one_level():
    parts = raw(concatenation_parts=4)
    slide = opened([parts[2], parts[0], parts[3], parts[1]])
    assert slide.base.instance_uids == tuple(p.SOPInstanceUID for p in parts)
    assert slide.base.instance_uid == parts[0].SOPInstanceUID
    assert (slide.region(slide.base, 0, 0, 260, 300) == RGB).all()


def test_a_concatenation_without_one_of_its_parts_is_not_analysed():
    parts = raw(concatenation_parts=4)
    for missing in range(4):
        assert "concatenation" in reason(parts[:missing] + parts[missing + 1 :])


def test_glass_that_a_sparse_slide_leaves_out_is_white():
    rgb = RGB.copy()
    rgb[64:128, 128:192] = 255
    sparse = raw(rgb, sparse=True)
    assert sparse[0].NumberOfFrames == 24
    slide = opened(sparse)
    assert (slide.region(slide.base, 0, 0, 260, 300) == rgb).all()


def test_the_first_optical_path_and_the_middle_focal_plane_are_read():
    (ds,) = raw()
    planes = [np.full_like(RGB, 10 * n) for n in range(6)]
    planes[1] = RGB  # plane 1 of 3 on path 0
    ds.PixelData = b"".join(raw(image)[0].PixelData for image in planes)
    ds.NumberOfFrames = 6 * 25
    ds.TotalPixelMatrixFocalPlanes, ds.NumberOfOpticalPaths = 3, 2
    slide = opened(ds)
    assert (slide.region(slide.base, 0, 0, 260, 300) == RGB).all()


def test_focal_planes_of_a_sparse_slide_are_told_apart_by_their_depth():
    (ds,) = raw(sparse=True)
    count, groups = int(ds.NumberOfFrames), list(ds.PerFrameFunctionalGroupsSequence)
    data = ds.PixelData
    upper = raw(np.full_like(RGB, 7), sparse=True)[0]
    for group in upper.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSlideSequence[0].ZOffsetInSlideCoordinateSystem = "-1"
    lower = raw(np.full_like(RGB, 9), sparse=True)[0]
    for group in lower.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSlideSequence[0].ZOffsetInSlideCoordinateSystem = "1"
    others = [*upper.PerFrameFunctionalGroupsSequence, *lower.PerFrameFunctionalGroupsSequence]
    ds.PerFrameFunctionalGroupsSequence = groups + others
    ds.PixelData = data + upper.PixelData + lower.PixelData
    ds.NumberOfFrames = 3 * count
    slide = opened(ds)
    assert (slide.region(slide.base, 0, 0, 260, 300) == RGB).all()


def test_tiles_off_the_grid_or_without_a_place_are_not_guessed():
    (ds,) = raw(sparse=True)
    place = ds.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0]
    place.RowPositionInTotalImagePixelMatrix = 6
    assert "regular grid" in reason(ds)
    del ds.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence
    assert "where on the slide" in reason(ds)


def test_a_frame_count_that_the_tiles_do_not_make_is_an_error():
    (ds,) = raw()
    ds.TotalPixelMatrixColumns = 10**6
    with pytest.raises(PixelDataError, match="frames are there"):
        opened(ds)
    ds.TotalPixelMatrixRows = ds.TotalPixelMatrixColumns = 2**32 - 1
    with pytest.raises(PixelDataError, match="promises"):
        opened(ds)


# --- what is not analysed ---


def test_without_pixel_spacing_nothing_is_analysed_whatever_the_imaged_volume_says():
    assert "Pixel Spacing is missing" in reason(raw(omit_spacing=True))
    (ds,) = raw(omit_spacing=True)
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = 0.15, 0.13
    assert "Pixel Spacing is missing" in reason(ds)


@pytest.mark.parametrize(
    ("spacing", "word"),
    [
        (["0.0005", "0.0004"], "not square"),
        (["0", "0"], "missing"),
        (["-0.0005", "-0.0005"], "missing"),
        (["0.5", "0.5"], "implausible"),  # micrometres written as millimetres
    ],
)
def test_impossible_pixel_spacing_is_refused(spacing, word):
    (ds,) = raw()
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = spacing
    assert word in reason(ds)


def test_levels_that_all_claim_the_same_spacing_are_refused():
    levels = raw(levels=2)
    measures = levels[1].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = ["0.0005", "0.0005"]
    assert "same area" in reason(levels)


def test_a_series_of_labels_is_not_analysed():
    assert "no VOLUME" in reason(raw(with_label=True)[1:])


def test_the_sop_class_decides_and_modality_must_not_contradict_it():
    (ds,) = raw()
    ds.Modality = "OP"
    assert "contradicts" in reason(ds)
    assert "is not a OPT image" in opened(ds, Modality.OPT).reason
    with pytest.raises(ValueError, match="no header"):
        open_images(Modality.SM, [], lambda _, __: iter(()))


# --- pixels ---


def test_frames_are_read_only_when_needed_once_and_together():
    served = Served(raw())
    slide = open_images(Modality.SM, served.headers(), served.frames)
    assert served.asked == []
    slide.region(slide.base, 10, 10, 100, 100)
    assert served.asked == [("instance-0", [1, 2, 6, 7])]
    slide.region(slide.base, 0, 0, 128, 130)
    assert served.asked[1:] == [("instance-0", [3, 8])]


@given(st.integers(-40, 300), st.integers(-40, 340), st.integers(1, 120), st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_a_region_is_what_numpy_cuts_out_and_white_outside(row, column, rows, columns):
    padded = np.full((700, 700, 3), WHITE, np.uint8)
    padded[100:360, 100:400] = RGB
    found = _SLIDE.region(_SLIDE.base, row, column, rows, columns)
    assert (found == padded[100 + row : 100 + row + rows, 100 + column : 100 + column + columns]).all()


_SLIDE = opened(raw())


def test_a_broken_tile_is_an_error_and_the_others_can_still_be_read():
    (ds,) = raw(transfer="jpeg")
    data = bytearray(ds.PixelData)
    second = data.index(b"\xff\xd8", data.index(b"\xff\xd8") + 2)
    data[second + 30 : second + 700] = b"\0" * 670
    ds.PixelData = bytes(data)
    slide = opened(ds)
    assert slide.region(slide.base, 0, 0, 64, 64).any()
    with pytest.raises(PixelDataError):
        slide.region(slide.base, 0, 64, 64, 64)


def test_a_short_tile_is_padded_at_the_edge_and_refused_inside():
    import simplejpeg
    from pydicom.encaps import encapsulate

    def with_tiles(shape):
        ds = raw(np.full((100, 100, 3), 90, np.uint8), transfer="jpeg")[0]
        tiles = [simplejpeg.encode_jpeg(np.full((*s, 3), 90, np.uint8), 95) for s in shape]
        ds.PixelData = encapsulate(tiles)
        slide = opened(ds)
        return slide.region(slide.base, 0, 0, 110, 110)

    whole = with_tiles([(64, 64), (64, 36), (36, 64), (36, 36)])
    assert np.abs(whole[:100, :100].astype(int) - 90).max() <= 3
    assert (whole[100:] == WHITE).all()
    assert (whole[:, 100:] == WHITE).all()
    for wrong in ([(64, 36)] * 4, [(64, 64), (64, 35), (36, 64), (36, 36)], [(36, 64)] * 4):
        with pytest.raises(PixelDataError):
            with_tiles(wrong)


def test_threads_share_a_slide():
    slide = opened(raw(transfer="jpeg"))
    expected = slide.region(slide.base, 0, 0, 260, 300)
    fresh = opened(raw(transfer="jpeg"))
    found: list[bool] = []

    def look() -> None:
        found.append(all((fresh.region(fresh.base, 0, 0, 260, 300) == expected).all() for _ in range(5)))

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 6


def test_the_cache_holds_no_more_than_its_limit_and_drops_what_was_used_longest_ago():
    cache, tile = TileCache(limit=5 * 300), np.zeros((10, 10, 3), np.uint8)
    places = [Place("a", n) for n in range(7)]
    for place in places[:5]:
        cache.put(place, tile)
    assert cache.get(places[0]) is tile
    cache.put(places[5], tile)
    assert [cache.get(place) is tile for place in places] == [True, False, True, True, True, True, False]


def test_the_cache_holds_the_tiles_that_meet_at_a_corner_however_large_they_are():
    cache, tile = TileCache(limit=1), np.zeros((10, 10, 3), np.uint8)
    places = [Place("a", n) for n in range(5)]
    for place in places:
        cache.put(place, tile)
    assert [cache.get(place) is tile for place in places] == [False, True, True, True, True]


class Gate:
    """Frames of a slide that are handed out only once the gate is open."""

    def __init__(self, datasets: list[Dataset]) -> None:
        self.served = Served(datasets)
        self.asked, self.open = threading.Event(), threading.Event()
        self.broken = False
        self.slide = open_images(Modality.SM, self.served.headers(), self.frames)

    def frames(self, instance, numbers):
        frames = list(self.served.frames(instance, numbers))
        self.asked.set()
        assert self.open.wait(30)
        yield from (b"" if self.broken else frame for frame in frames)


def test_a_tile_that_another_thread_is_decoding_is_waited_for_not_decoded_again():
    gate = Gate(raw())
    level = gate.slide.base
    waits = threading.Event()
    claim = level.cache.claim

    def watched(place):
        found = claim(place)
        if isinstance(found, threading.Event):
            waits.set()
        return found

    level.cache.claim = watched
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(level.region, 10, 10, 40, 40)
        assert gate.asked.wait(30)
        second = pool.submit(level.region, 10, 10, 60, 60)  # of the same tile and three more
        assert waits.wait(30)
        gate.open.set()
        assert (first.result() == RGB[10:50, 10:50]).all()
        assert (second.result() == RGB[10:70, 10:70]).all()
    read_ = [number for _, numbers in gate.served.asked for number in numbers]
    assert sorted(read_) == [1, 2, 6, 7]


def test_a_tile_that_another_thread_failed_to_read_is_tried_again():
    gate = Gate(raw())
    gate.broken = True
    level = gate.slide.base
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(level.region, 10, 10, 40, 40)
        assert gate.asked.wait(30)
        second = pool.submit(level.region, 10, 10, 30, 30)
        gate.open.set()
        for failed in (first, second):
            with pytest.raises(PixelDataError):
                failed.result()
    gate.broken = False
    assert (level.region(10, 10, 40, 40) == RGB[10:50, 10:50]).all()


@pytest.mark.parametrize("transfer", ["raw", "jpeg"])
def test_a_region_that_is_one_tile_is_the_callers_own(transfer):
    slide = opened(raw(transfer=transfer))
    whole = slide.region(slide.base, 0, 0, 260, 300)
    for fresh in (slide, opened(raw(transfer=transfer))):  # of the cache, of the file
        tile = fresh.region(fresh.base, 64, 128, 64, 64)
        assert (tile == whole[64:128, 128:192]).all()
        tile[:] = 0
        assert (fresh.region(fresh.base, 64, 128, 64, 64) == whole[64:128, 128:192]).all()
    edge = slide.region(slide.base, 256, 256, 64, 64)
    assert (edge[:4, :44] == whole[256:, 256:]).all()
    assert (edge[4:] == WHITE).all()
    assert (edge[:, 44:] == WHITE).all()


@pytest.mark.parametrize("options", [{}, {"transfer": "jpeg"}, {"sparse": True}], ids=str)
@pytest.mark.parametrize("factor", [1, 2, 8])
def test_reduced_tiles_are_the_level_averaged(options, factor):
    rgb = RGB.copy()
    rgb[64:128, 128:192] = 255
    slide = opened(raw(rgb, **options))
    level = slide.base
    canvas = slide.region(level, 0, 0, 320, 320)
    found = np.full((320 // factor, 320 // factor, 3), WHITE, np.uint8)
    side = 64 // factor
    for (r, c), tile in level.reduced([(r, c) for r in range(5) for c in range(5)], factor):
        assert tile.shape == (side, side, 3)
        found[r * side : (r + 1) * side, c * side : (c + 1) * side] = tile
    expected = cv2.resize(canvas, (320 // factor, 320 // factor), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).max() <= (20 if options.get("transfer") == "jpeg" else 0)


# --- the level for a model ---


@pytest.mark.parametrize(
    ("asked", "found"),
    [(0.5, 0.5), (0.48, 0.5), (0.9, 0.5), (0.96, 1.0), (1.9, 1.0), (1.95, 2.0), (9.0, 2.0), (0.25, 0.5)],
)
def test_the_coarsest_level_that_is_fine_enough_is_read(asked, found):
    assert opened(raw(levels=3)).level_for(asked).spacing_um == found


def test_a_slide_that_would_have_to_be_enlarged_more_than_twofold_is_not_read():
    slide = opened(raw())
    assert "too coarse for the model" in slide.level_for(0.24).reason
    assert isinstance(slide.patches(0.24), Ungradable)


# --- real slides ---


def real(name: str) -> Slide:
    slide = opened(read(name))
    assert isinstance(slide, Slide), slide
    return slide


def test_real_pyramid_shows_the_same_picture_on_every_level():
    slide = real("sm/cmu1_pyramid/*.dcm")
    assert [level.rows for level in slide.levels] == [2048, 1024, 512, 256]
    assert slide.stain is None
    fine = slide.region(slide.base, 512, 256, 1024, 1024)
    for n, level in enumerate(slide.levels[1:], start=1):
        factor = 2**n
        coarse = slide.region(level, 512 // factor, 256 // factor, 1024 // factor, 1024 // factor)
        expected = cv2.resize(fine, (1024 // factor, 1024 // factor), interpolation=cv2.INTER_AREA)
        assert np.abs(coarse.astype(int) - expected).mean() < 6, f"level {n}"


def test_a_real_level_is_what_openslide_reads(tmp_path):
    openslide = pytest.importorskip("openslide")
    from tests.data import files

    paths = files("sm/cmu1_pyramid/*.dcm")
    slide = real("sm/cmu1_pyramid/*.dcm")
    try:
        other = openslide.OpenSlide(paths[0])
    except openslide.OpenSlideError as error:
        pytest.skip(f"openslide cannot open the pyramid: {error}")
    for n, level in enumerate(slide.levels):
        factor = 2**n
        theirs = np.asarray(other.read_region((304, 200), n, (200, 150)).convert("RGB"))
        mine = level.region(200 // factor, 304 // factor, 150, 200)
        inside = level.rows - 200 // factor, level.columns - 304 // factor
        difference = np.abs(mine.astype(int) - theirs)[: inside[0], : inside[1]]
        assert difference.mean() < 2, f"level {n}"


def test_a_real_slide_with_short_edge_tiles_reads_to_its_last_pixel():
    slide = real("sm/short_edge_tiles/*.dcm")
    assert [(level.rows, level.columns) for level in slide.levels] == [
        (2967, 2220),
        (1484, 1110),
        (742, 555),
        (371, 278),
        (186, 139),
    ]
    whole = slide.region(slide.base, 0, 0, 2967, 2220)
    for level in slide.levels[1:]:
        mine = slide.region(level, 0, 0, level.rows, level.columns)
        expected = cv2.resize(whole, (level.columns, level.rows), interpolation=cv2.INTER_AREA)
        assert np.abs(mine.astype(int) - expected).mean() < 12
        assert np.abs(mine[-20:, -20:].astype(int) - expected[-20:, -20:]).mean() < 12


@pytest.mark.parametrize(("name", "size"), [("jpeg", (700, 1152)), ("jpeg2000", (812, 1696))])
def test_real_lymph_node_slides_equal_what_pydicom_assembles(name, size):
    (ds,) = read(f"sm/camelyon/{name}.dcm")
    slide = real(f"sm/camelyon/{name}.dcm")
    tiles = ds.pixel_array
    across = -(-size[1] // 256)
    rows = [np.concatenate(tiles[n : n + across], axis=1) for n in range(0, len(tiles), across)]
    whole = np.concatenate(rows)[: size[0], : size[1]]
    assert np.abs(slide.region(slide.base, 0, 0, *size).astype(int) - whole).max() <= 1
    assert "too coarse" in slide.patches(0.5).reason


def test_a_coded_stain_is_read():
    assert real("sm/highdicom/sm_image.dcm").stain == "H&E"


def test_a_phantom_keeps_its_picture_through_jpeg():
    made = phantom(300, 280, 0.5, seed=3)
    slide = opened(dicom.slide_instances(made.rgb, 0.5, levels=1, tile=128))
    found = slide.region(slide.base, 0, 0, 300, 280)
    assert np.abs(found.astype(int) - made.rgb).mean() < 6


def test_levels_that_lie_elsewhere_on_the_glass_are_refused():
    datasets = raw(levels=2)
    assert not isinstance(opened(datasets), Ungradable)
    datasets[1].TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = "5.0"
    assert "do not cover the same area" in reason(datasets)
    datasets = raw(levels=2)
    datasets[1].ImageOrientationSlide = ["1", "0", "0", "0", "1", "0"]
    assert "do not cover the same area" in reason(datasets)


def test_levels_of_one_size_that_differ_in_spacing_or_place_are_not_taken_for_one():
    def twice(spacing_um, x):
        first, other = (raw(levels=1, spacing_um=um, seed="twice")[0] for um in (0.5, spacing_um))
        other.SOPInstanceUID += ".1"
        other.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = x
        return [first, other]

    assert len(opened(twice(0.5, "20.0")).levels) == 1
    assert "do not cover the same area" in reason(twice(0.25, "20.0"))
    assert "do not cover the same area" in reason(twice(0.5, "12.0"))


def test_a_level_says_where_it_lies_or_why_not():
    datasets = raw(levels=2)
    del datasets[1].TotalPixelMatrixOriginSequence
    fine, coarse = opened(datasets).levels
    assert fine.geometry == SlideGeometry((20.0, 40.0, 0.0), (0.0, -1.0, 0.0, -1.0, 0.0, 0.0), (0.0005, 0.0005))
    assert coarse.geometry == "Total Pixel Matrix Origin is missing"
