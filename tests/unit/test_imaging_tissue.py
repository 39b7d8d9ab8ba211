import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.errors import PixelDataError
from airouter.imaging import tissue as module
from airouter.imaging.level import WHITE
from airouter.imaging.tissue import tissue_mask
from phantoms import dicom
from phantoms.slide import slide as phantom
from tests.images import opened, read

RNG = np.random.default_rng(0)
GLASS, EOSIN, DARK, COUNTERSTAIN, DAB = (
    (243, 242, 244),
    (226, 178, 205),
    (110, 70, 140),
    (219, 221, 232),
    (150, 105, 70),
)


def picture(*areas, noise=3.0, size=(200, 240)) -> tuple[np.ndarray, np.ndarray]:
    """A low-power picture: glass, and areas (colour, rows, columns) on it; and where they are."""
    rgb = np.empty((*size, 3))
    rgb[:] = GLASS
    where = np.zeros(size, bool)
    for colour, rows, columns in areas:
        rgb[rows, columns] = colour
        where[rows, columns] = True
    rgb += RNG.normal(0, noise, rgb.shape) * (0.3 + 0.7 * where[..., None])
    return np.clip(rgb, 0, 255).astype(np.uint8), where


def agreement(mask, where) -> float:
    return float((mask & where).sum() / (mask | where).sum())


HALF, QUARTER = slice(40, 160), slice(60, 200)


@pytest.mark.parametrize("colour", [EOSIN, DARK, COUNTERSTAIN, DAB], ids=["eosin", "dark", "counterstain", "dab"])
def test_stained_tissue_is_found_however_pale(colour):
    rgb, where = picture((colour, HALF, QUARTER))
    assert agreement(tissue_mask(rgb, 10.0), where) > 0.95


def test_pale_tissue_is_found_beside_dark_tissue():
    rgb, where = picture((DARK, HALF, slice(20, 100)), (COUNTERSTAIN, HALF, slice(100, 220)))
    assert agreement(tissue_mask(rgb, 10.0), where) > 0.95


@pytest.mark.parametrize("colours", [(EOSIN, DARK), (EOSIN, EOSIN), (DARK, DARK), (DAB, COUNTERSTAIN)], ids=str)
def test_a_picture_full_of_tissue_keeps_all_of_it(colours):
    everywhere = slice(0, 200), slice(0, 120), slice(120, 240)
    rgb, where = picture((colours[0], everywhere[0], everywhere[1]), (colours[1], everywhere[0], everywhere[2]))
    assert where.all()
    assert tissue_mask(rgb, 10.0).mean() > 0.97


@pytest.mark.parametrize(
    "glass",
    [(255, 255, 255), (243, 242, 244), (236, 231, 222), (205, 206, 203)],
    ids=["white", "grey", "yellow", "dim"],
)
def test_glass_alone_holds_no_tissue(glass):
    rgb = np.clip(np.asarray(glass) + RNG.normal(0, 1.0, (150, 170, 3)), 0, 255).astype(np.uint8)
    assert not tissue_mask(rgb, 10.0).any()


def test_dust_is_no_tissue():
    rgb, _ = picture((DARK, slice(50, 53), slice(50, 53)), noise=1.0)
    assert not tissue_mask(rgb, 10.0).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_any_picture_gives_a_mask_of_its_size(rows, columns, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    mask = tissue_mask(rgb, 10.0)
    assert mask.shape == (rows, columns)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("stain", ["H&E", "H-DAB"])
@pytest.mark.parametrize("shape", [(1024, 1300, 3), (777, 801, 1), (600, 2000, 2)])
def test_the_mask_of_a_slide_lies_on_whole_pixels_of_its_finest_level(stain, shape):
    rows, columns, levels = shape
    made = phantom(rows, columns, 0.5, stain, seed=2)
    slide = opened(dicom.slide_instances(made.rgb, 0.5, levels=levels, stain=stain))
    tissue = slide.tissue()
    assert tissue
    assert tissue.mask.shape == (-(-rows // tissue.factor), -(-columns // tissue.factor))
    assert tissue.pixel_um == tissue.factor * 0.5
    truth = cv2.resize(made.tissue.astype(np.float32), tissue.mask.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    # some of the phantom's stroma is as pale as glass; its nuclei are what must not be lost
    assert agreement(tissue.mask, truth) > 0.88
    fine = np.kron(tissue.mask, np.ones((tissue.factor, tissue.factor), bool))[:rows, :columns]
    assert fine[made.labels > 0].mean() > 0.98
    assert tissue.area_mm2 == pytest.approx(made.tissue.sum() * 0.25e-6, rel=0.1)


def test_the_fraction_of_a_rectangle():
    made = phantom(1024, 1024, 0.5, seed=1)
    tissue = opened(dicom.slide_instances(made.rgb, 0.5)).tissue()
    f = tissue.factor
    for r, c, h, w in [(0, 0, 10, 10), (20, 12, 5, 30), (60, 60, 9, 9)]:
        expected = tissue.mask[r : r + h, c : c + w].mean()
        assert tissue.fraction(r * f, c * f, h * f, w * f) == pytest.approx(expected)
    assert tissue.fraction(-50, -50, 20, 20) == 0.0
    assert tissue.fraction(10**6, 0, 20, 20) == 0.0


def test_a_white_slide_has_no_tissue_and_no_patches():
    slide = opened(dicom.slide_instances(np.full((600, 600, 3), 244, np.uint8), 0.5))
    tissue = slide.tissue()
    assert not tissue
    assert tissue.area_mm2 == 0.0
    assert len(slide.patches(0.5, tissue=tissue)) == 0


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("cmu1_pyramid/*", 0.25, 0.5), ("short_edge_tiles/*", 0.25, 0.6), ("camelyon/jpeg", 0.2, 0.45)],
)
def test_real_slides_are_partly_tissue(name, low, high):
    tissue = opened(read(f"sm/{name}.dcm")).tissue()
    assert low < tissue.mask.mean() < high


@pytest.mark.parametrize("side", [191, 500, 1000, 1023])
def test_the_area_ends_where_the_slide_ends(side):
    rgb = np.random.default_rng(0).integers(100, 200, (side, side - 3, 3), np.uint8)
    rgb[..., 1] //= 2
    tissue = opened(dicom.slide_instances(rgb, 0.5, levels=1, transfer="raw", seed=1)).tissue()
    assert tissue.mask.all()
    assert tissue.area_mm2 == pytest.approx(side * (side - 3) * 0.25e-6)


LARGE = phantom(400, 500, 0.5, seed=4).rgb.repeat(2, axis=0).repeat(2, axis=1)


def seen(slide) -> tuple[np.ndarray, float]:
    """The low-power picture that the mask of a slide is made of, and what its pixels measure."""
    found = []

    def look(rgb, pixel_um):
        found.append((rgb.copy(), pixel_um))
        return np.zeros(rgb.shape[:2], bool)

    module.tissue(slide.levels, look)
    return found[0]


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([32, 48, 60, 63, 256]),
    st.floats(0.3, 9),
    st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_the_picture_is_the_finest_level_averaged(rows, columns, tile, spacing_um, seed):
    """Whichever way its tiles are cut, and white beyond the edge."""
    rgb = cv2.resize(np.random.default_rng(seed).integers(0, 256, (30, 30, 3), np.uint8), (columns, rows))
    slide = opened(dicom.slide_instances(rgb, spacing_um, levels=1, tile=tile, transfer="raw"))
    picture_, pixel_um = seen(slide)
    reduce = round(pixel_um / slide.base.spacing_um)
    tall, wide = picture_.shape[:2]
    assert (tall, wide) == (-(-rows // reduce), -(-columns // reduce))
    canvas = np.full((tall * reduce, wide * reduce, 3), WHITE, np.uint8)
    canvas[:rows, :columns] = rgb
    expected = canvas.reshape(tall, reduce, wide, reduce, 3).mean(axis=(1, 3))
    assert np.abs(picture_ - expected).max() <= 1.01


@pytest.mark.parametrize("transfer", ["jpeg", "jpeg2000"])
def test_reduced_decoding_hardly_changes_the_picture_and_the_mask(transfer):
    slide = opened(dicom.slide_instances(LARGE, 0.5, levels=1, transfer=transfer, seed=1))
    picture_, pixel_um = seen(slide)
    reduce = round(pixel_um / 0.5)
    assert reduce == 12  # tiles are decoded at a quarter
    tall, wide = picture_.shape[:2]
    whole = slide.region(slide.base, 0, 0, tall * reduce, wide * reduce)
    expected = cv2.resize(whole, (wide, tall), interpolation=cv2.INTER_AREA)
    assert np.abs(picture_.astype(int) - expected).mean() < 2
    assert agreement(tissue_mask(picture_, pixel_um), tissue_mask(expected, pixel_um)) > 0.95


def test_the_mask_does_not_depend_on_the_number_of_threads(monkeypatch):
    slide = opened(dicom.slide_instances(LARGE, 0.5, levels=1, tile=128, seed=1))
    pictures = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(module, "_THREADS", threads)
        pictures += [seen(slide)[0] for _ in range(2)]
    assert all((other == pictures[0]).all() for other in pictures[1:])


def test_no_level_is_held_in_full_for_a_mask():
    rgb = np.full((4096, 4096, 3), (200, 120, 160), np.uint8)
    slide = opened(dicom.slide_instances(rgb, 0.25, levels=1, seed=1))
    tracemalloc.start()
    try:
        assert slide.tissue()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < rgb.nbytes / 6


def test_a_broken_tile_is_an_error_of_the_mask():
    ds = dicom.slide_instances(phantom(600, 600, 0.5, seed=1).rgb, 0.5, levels=1, transfer="jpeg", seed=1)[0]
    start = ds.PixelData.index(b"\xff\xda", len(ds.PixelData) // 2)
    ds.PixelData = ds.PixelData[: start - 300] + b"\xff" * 300 + ds.PixelData[start:]
    with pytest.raises(PixelDataError):
        opened(ds).tissue()


def test_fractions_of_a_grid_are_those_of_its_rectangles():
    made = phantom(1024, 1024, 0.5, seed=1)
    found = opened(dicom.slide_instances(made.rgb, 0.5)).tissue()
    row, column = np.array([-50.0, 0, 333, 900, 2000]), np.array([-2000.0, 10, 512, 1000])
    rows, columns = np.array([60.0, 17, 100, 400, 5]), np.array([10.0, 1, 90, 24])
    grid = found.fractions(row, column, rows, columns)
    for r, c in np.ndindex(5, 4):
        assert grid[r, c] == found.fraction(row[r], column[c], rows[r], columns[c])
    assert grid[:, 0].max() == grid[4].max() == 0.0
    assert grid.max() <= 1.0
