"""Every way in which slides are stored, made small, read back and compared with the pixels they were made of."""

import copy
import itertools
import random
import struct
import threading

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.study import Modality
from airouter.errors import PixelDataError
from airouter.imaging.level import WHITE
from airouter.imaging.slide import Slide
from phantoms import dicom
from phantoms.dicom.pixels import ENCODINGS
from phantoms.slide import slide as phantom
from tests.data import FOLDER
from tests.images import opened, read

ROWS, COLUMNS = 560, 600


def picture(seed: int, samples: int = 3) -> np.ndarray:
    """Smooth, so that lossy encodings keep it; every seed is another."""
    coarse = np.random.default_rng(seed).integers(40, 250, (15, 16, samples), np.uint8)
    return cv2.resize(coarse, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC).reshape(ROWS, COLUMNS, samples)


RGB, GREY = picture(1), picture(2, samples=1)
# Greatest mean difference in grey levels over the whole picture that an encoding may make.
LOSSY = {
    "jpeg": 1.5,
    "jpeg-420": 1.5,
    "jpeg-444": 1.5,
    "jpeg-rgb": 1.5,
    "jpeg2000-lossy": 1.5,
    "htj2k-lossy": 1.5,
    "jpegls-near": 2.0,
    "raw-ybr": 0.6,
    "raw-422": 1.0,
    "rle-ybr": 0.6,
}
COMPRESSED = sorted(name for name in ENCODINGS if not name.startswith("raw"))


def made(image: np.ndarray = RGB, **options) -> list[Dataset]:
    options = {"levels": 1, "tile": 128, "transfer": "raw", **options}
    return dicom.slide_instances(image, 0.5, **options)


def whole(datasets, level: int = 0) -> np.ndarray:
    slide = opened(datasets)
    assert isinstance(slide, Slide), slide
    chosen = slide.levels[level]
    return slide.region(chosen, 0, 0, chosen.rows, chosen.columns)


def same(found: np.ndarray, image: np.ndarray, transfer: str = "raw") -> bool:
    expected = np.broadcast_to(image, (*image.shape[:2], 3))
    if transfer not in LOSSY:
        return bool((found == expected).all())
    return bool(np.abs(found.astype(int) - expected).mean() <= LOSSY[transfer])


def reason(datasets) -> str:
    found = opened(datasets)
    assert isinstance(found, Ungradable), found
    assert found.reason.startswith("not analysed because ")
    return found.reason.removeprefix("not analysed because ")


# --- encodings ---


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
@pytest.mark.parametrize("transfer", sorted(ENCODINGS))
def test_every_transfer_syntax_in_colour(transfer, sparse):
    slide = opened(made(transfer=transfer, sparse=sparse))
    assert not slide.monochrome
    assert same(slide.region(slide.base, 0, 0, ROWS, COLUMNS), RGB, transfer)


GREYS = sorted(set(ENCODINGS) - {"raw-ybr", "raw-422", "raw-planar", "rle-ybr", "jpeg2000-rgb", "jpeg-rgb", "jpeg-420"})


@pytest.mark.parametrize("inverted", [False, True], ids=["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("transfer", GREYS)
def test_every_transfer_syntax_in_grey(transfer, inverted):
    (ds,) = made(GREY, transfer=transfer, inverted=inverted)
    assert ds.PhotometricInterpretation == ("MONOCHROME1" if inverted else "MONOCHROME2")
    slide = opened(ds)
    assert slide.monochrome
    assert same(slide.region(slide.base, 0, 0, ROWS, COLUMNS), GREY, transfer)


@pytest.mark.parametrize("transfer", ["raw", "jpeg", "htj2k"])
@pytest.mark.parametrize("tile", [128, 240, 256, 512, 1024, 2048])
def test_tiles_of_every_size(tile, transfer):
    assert same(whole(made(tile=tile, transfer=transfer)), RGB, transfer)


@pytest.mark.parametrize(
    ("table", "fragments"), [("basic", 1), ("extended", 1), ("none", 1), ("basic", 3), ("none", 3)]
)
@pytest.mark.parametrize("transfer", ["jpeg", "jpeg2000", "jpegls", "htj2k", "rle"])
def test_every_offset_table_and_number_of_fragments(transfer, table, fragments):
    datasets = made(transfer=transfer, offset_table=table, fragments=fragments)
    if transfer == "rle" and fragments > 1 and table == "none":  # nothing in RLE tells where a frame starts
        with pytest.raises(PixelDataError, match="without an offset table"):
            whole(datasets)
    else:
        assert same(whole(datasets), RGB, transfer)


@pytest.mark.parametrize("edges", ["white", "black", "short"])
@pytest.mark.parametrize("transfer", ["jpeg-444", "jpeg-420", "jpeg2000", "htj2k", "jpegls"])
def test_edge_tiles_filled_up_or_cut_short(transfer, edges):
    slide = opened(made(transfer=transfer, edges=edges))
    found = slide.region(slide.base, 0, 0, ROWS + 30, COLUMNS + 50)
    limit = 2.5 if edges == "black" else LOSSY.get(transfer, 0)  # a black border rings into the picture
    assert np.abs(found[:ROWS, :COLUMNS].astype(int) - RGB).mean() <= limit
    assert (found[ROWS:] == WHITE).all()
    assert (found[:, COLUMNS:] == WHITE).all()


# --- levels ---


@pytest.mark.parametrize("levels", [1, 2, 3, 6])
@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_any_number_of_levels_in_any_order_beside_label_overview_and_thumbnail(levels, sparse):
    datasets = made(levels=levels, sparse=sparse, with_label=True, with_overview=True, with_thumbnail=True)
    assert len(datasets) == levels + 3
    random.Random(levels).shuffle(datasets)
    slide = opened(datasets)
    assert [level.spacing_um for level in slide.levels] == [0.5 * 2**n for n in range(levels)]
    expected = RGB
    for n, level in enumerate(slide.levels):
        assert (slide.region(level, 0, 0, level.rows, level.columns) == expected).all(), n
        expected = cv2.resize(expected, (level.columns // 2, level.rows // 2), interpolation=cv2.INTER_AREA)


def test_images_that_are_no_levels_are_told_apart_by_image_type_alone():
    datasets = made(with_label=True, with_overview=True, with_thumbnail=True)
    assert [str(ds.ImageType[2]) for ds in datasets] == ["VOLUME", "THUMBNAIL", "OVERVIEW", "LABEL"]
    assert "no VOLUME image" in reason(datasets[1:])
    datasets[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    assert "no VOLUME image" in reason(datasets)
    datasets[0].ImageType = ["ORIGINAL", "PRIMARY"]
    assert "no VOLUME image" in reason(datasets)


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
@pytest.mark.parametrize("transfer", ["raw", "jpeg", "jpeg2000"])
def test_a_concatenation_is_one_level_whatever_order_its_parts_arrive_in(transfer, sparse):
    datasets = made(levels=3, transfer=transfer, sparse=sparse, concatenation_parts=4)
    assert len(datasets) == 6
    random.Random(3).shuffle(datasets)
    slide = opened(datasets)
    assert [len(level.instance_uids) for level in slide.levels] == [4, 1, 1]
    assert same(slide.region(slide.base, 0, 0, ROWS, COLUMNS), RGB, transfer)


def test_levels_that_are_cut_to_a_slightly_different_area_are_one_slide():
    coarse = cv2.resize(RGB, (COLUMNS // 4, ROWS // 4), interpolation=cv2.INTER_AREA)[:-2, :-3]
    other = dicom.slide_instances(coarse, 2.0, levels=1, tile=128, transfer="raw")
    datasets = made(levels=2) + other
    other[0].PyramidUID = datasets[0].PyramidUID
    slide = opened(datasets)
    assert [(level.rows, level.columns) for level in slide.levels] == [(560, 600), (280, 300), (138, 147)]
    plan = slide.patches(2.0, (64, 64), 0)
    assert plan.level is slide.levels[2]
    mask = slide.tissue()
    assert mask.covered == (ROWS, COLUMNS)


def test_a_level_of_another_area_or_of_the_same_spacing_is_refused():
    half = dicom.slide_instances(RGB[:, :300], 1.0, levels=1, tile=128, transfer="raw")
    assert "do not cover the same area" in reason(made() + half)
    rescan = dicom.slide_instances(RGB[:-1], 0.5, levels=1, tile=128, transfer="raw")
    assert "of one pixel spacing" in reason(made() + rescan)


# --- optical paths and focal planes ---


def stack(paths: int, planes: int) -> np.ndarray:
    return np.array([[picture(10 * path + plane) for plane in range(planes)] for path in range(paths)])


@pytest.mark.parametrize("parts", [1, 5], ids=["whole", "concatenation"])
@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
@pytest.mark.parametrize(("paths", "planes"), [(1, 3), (2, 1), (2, 3), (1, 2), (3, 4)])
def test_the_first_optical_path_and_the_middle_focal_plane_are_read(paths, planes, sparse, parts):
    pictures = stack(paths, planes)
    datasets = made(pictures, levels=2, sparse=sparse, concatenation_parts=parts)
    assert sum(ds.NumberOfFrames for ds in datasets[:parts]) == 25 * paths * planes
    for level, size in enumerate([(ROWS, COLUMNS), (ROWS // 2, COLUMNS // 2)]):
        expected = cv2.resize(pictures[0, planes // 2], size[::-1], interpolation=cv2.INTER_AREA)
        assert (whole(datasets, level) == expected).all()


def test_focal_planes_that_follow_the_tissue_are_the_middle_ones_of_each_tile():
    pictures = stack(1, 3)
    (ds,) = made(pictures, sparse=True)
    for group in ds.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSlideSequence[0]
        uneven = place.ColumnPositionInTotalImagePixelMatrix * 1e-4
        place.ZOffsetInSlideCoordinateSystem = f"{float(place.ZOffsetInSlideCoordinateSystem) + uneven:.6f}"
    assert (whole(ds) == pictures[0, 1]).all()


def test_focal_planes_in_instances_of_their_own_are_read_as_one_stack():
    pictures = stack(1, 3)[0]
    depths = [-0.002, 0.001, 0.003]
    datasets = []
    for image, depth in zip(pictures, depths, strict=True):
        datasets += made(image, levels=2, depth_mm=depth, seed=depth)
    for order in itertools.permutations(range(3)):
        slide = opened([ds for n in order for ds in datasets[2 * n : 2 * n + 2]])
        assert [level.instance_uid for level in slide.levels] == [ds.SOPInstanceUID for ds in datasets[2:4]]
    assert (whole(datasets) == pictures[1]).all()
    del datasets[3]  # a low level may have one plane alone
    slide = opened(datasets[2:3] + datasets[:2] + datasets[3:])
    assert slide.levels[1].instance_uid == datasets[4].SOPInstanceUID


def test_images_of_one_size_that_differ_in_anything_else_are_not_chosen_from():
    def twice(**changes):
        (first,) = made(seed="twice")
        second = copy.deepcopy(first)
        second.SOPInstanceUID += ".1"
        for keyword, value in changes.items():
            setattr(second.OpticalPathSequence[0] if keyword.startswith("Optical") else second, keyword, value)
        return [first, second]

    assert len(opened(twice()).levels) == 1
    assert "2 images of 560 x 600 pixels that differ in their optical path" in reason(twice(OpticalPathIdentifier="9"))
    assert "differ in their pyramid" in reason(twice(PyramidUID="2.25.1"))
    assert "differ in when they were acquired" in reason(twice(AcquisitionDateTime="20260105093001"))


def test_several_pyramids_in_a_series_are_not_chosen_from():
    datasets = made(levels=3)
    datasets[2].PyramidUID = "2.25.1"
    assert "holds 2 pyramids" in reason(datasets)
    datasets[1].PyramidUID = "2.25.2"  # one for each level: a sloppy writer
    assert len(opened(datasets).levels) == 3
    for ds in datasets:
        del ds.PyramidUID
    assert len(opened(datasets).levels) == 3


def test_frames_of_the_first_path_are_found_where_only_the_shared_groups_name_it():
    (ds,) = made(sparse=True)
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.OpticalPathIdentificationSequence
    assert same(whole(ds), RGB)
    other = Dataset()
    other.OpticalPathIdentifier = "2"
    ds.SharedFunctionalGroupsSequence[0].OpticalPathIdentificationSequence = Sequence([other])
    assert "no frame belongs to the first optical path" in reason(ds)


# --- grey ---


def test_a_monochrome_slide_has_equal_channels_and_its_tissue_is_what_is_dark():
    colour = phantom(1024, 1024, 0.5, seed=4).rgb
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    slides = [opened(dicom.slide_instances(image, 0.5, levels=3, transfer="raw")) for image in (colour, grey)]
    assert [slide.monochrome for slide in slides] == [False, True]
    masks = [slide.tissue() for slide in slides]
    both, either = masks[0].mask & masks[1].mask, masks[0].mask | masks[1].mask
    assert 0.2 < masks[1].mask.mean() < 0.95
    assert both.sum() / either.sum() > 0.95
    patch = next(iter(slides[1].patches(1.0, (128, 128), 16, masks[1])))
    assert patch.pixels.shape == (128, 128, 3)
    assert (patch.pixels == patch.pixels[..., :1]).all()


@pytest.mark.parametrize("level", [255, 243, 215])
def test_glass_alone_is_no_tissue_on_a_monochrome_slide(level):
    noise = np.random.default_rng(level).normal(level, 2, (512, 512, 1))
    slide = opened(made(np.clip(noise, 0, 255).astype(np.uint8)))
    assert slide.monochrome
    assert not slide.tissue()


# --- ICC ---

# Colorants of sRGB, adapted to D50 (ICC.1, IEC 61966-2-1), as columns.
SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


def icc(colorants: np.ndarray, gamma: float, space: bytes = b"RGB ") -> bytes:
    """A matrix profile (ICC.1:2001-04): each channel a power, then the colorants."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))

    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)}
    tags |= {
        name: b"XYZ \0\0\0\0" + fixed(*c) for name, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants.T, strict=True)
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = at + len(data)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02100000, b"scnr", space, b"XYZ ", b"acsp").ljust(68, b"\0")
    return (head + fixed(0.9642, 1.0, 0.8249)).ljust(128, b"\0") + table + data


def by_hand(rgb: np.ndarray, colorants: np.ndarray, gamma: float) -> np.ndarray:
    """What the profile means, computed from its definition: power, colorants, and back through those of sRGB."""
    linear = (rgb / 255.0) ** gamma @ colorants.T @ np.linalg.inv(SRGB).T
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded)


# Rows still sum to D50, so that white stays white; the primaries are nearer to each other than those of sRGB.
MIXED = SRGB @ np.array([[0.8, 0.1, 0.1], [0.15, 0.8, 0.05], [0.0, 0.1, 0.9]])


@pytest.mark.parametrize(("colorants", "gamma"), [(SRGB[:, ::-1], 2.2), (MIXED, 1.8), (MIXED, 1.0)], ids=str)
def test_an_icc_profile_changes_the_patches_as_it_says(colorants, gamma):
    slide = opened(made(levels=2, icc=icc(colorants, gamma)))
    for spacing in (0.5, 1.0, 1.3):
        plain = slide.patches(spacing, (96, 96), 8)
        converted = slide.patches(spacing, (96, 96), 8, icc=True)
        assert len(plain) == len(converted)
        for before, after in zip(plain, converted, strict=True):
            expected = by_hand(before.pixels, colorants, gamma)
            assert np.abs(after.pixels - expected).max() <= 2
            assert after.pixels.dtype == np.uint8
        middle = len(plain) // 2
        changed = np.abs(plain.read(middle).pixels.astype(int) - converted.read(middle).pixels)
        assert changed.mean() > 5


def test_white_stays_white_and_srgb_stays_as_it_is():
    white = opened(made(np.full_like(RGB, 255), icc=icc(MIXED, 1.8)))
    assert all((patch.pixels == 255).all() for patch in white.patches(0.5, (128, 128), 0, icc=True))
    slide = opened(made())
    for before, after in zip(
        slide.patches(0.5, (128, 128), 0), slide.patches(0.5, (128, 128), 0, icc=True), strict=True
    ):
        assert np.abs(before.pixels.astype(int) - after.pixels).max() <= 1


def test_each_level_is_converted_by_its_own_profile():
    datasets = made(levels=2, icc=icc(SRGB[:, ::-1], 2.2))
    datasets[1].OpticalPathSequence[0].ICCProfile = icc(SRGB, 2.2)
    slide = opened(datasets)
    fine, coarse = (next(iter(slide.patches(um, (64, 64), 0, icc=True))).pixels for um in (0.5, 1.0))
    assert np.abs(fine.astype(int) - RGB[:64, :64, ::-1]).mean() < 3
    small = cv2.resize(RGB, (COLUMNS // 2, ROWS // 2), interpolation=cv2.INTER_AREA)
    assert np.abs(coarse.astype(int) - small[:64, :64]).mean() < 3


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        (None, "is missing"),
        (b"", "is missing"),
        (b"not a profile", "cannot be used"),
        (icc(SRGB, 2.2)[:200], "cannot be used"),
        (icc(SRGB, 2.2, space=b"CMYK"), "is one of CMYK colours"),
    ],
    ids=["none", "empty", "text", "cut", "cmyk"],
)
def test_a_profile_that_cannot_be_used_is_a_reason_only_where_it_is_asked_for(profile, word):
    (ds,) = made()
    if profile is None:
        del ds.OpticalPathSequence[0].ICCProfile
    else:
        ds.OpticalPathSequence[0].ICCProfile = profile
    slide = opened(ds)
    assert len(slide.patches(0.5, (128, 128), 0)) == 25
    found = slide.patches(0.5, (128, 128), 0, icc=True)
    assert isinstance(found, Ungradable)
    assert found.reason.startswith("not analysed because the model reads sRGB colours and the slide's ICC profile")
    assert word in found.reason


def test_a_monochrome_slide_has_no_colours_to_convert():
    assert "is missing" in opened(made(GREY)).patches(0.5, (128, 128), 0, icc=True).reason


def test_the_profile_is_that_of_the_first_optical_path():
    slide = opened(made(stack(2, 1), icc=icc(SRGB[:, ::-1], 2.2)))
    patch = slide.patches(0.5, (128, 128), 0, icc=True).read(6)
    plain = slide.patches(0.5, (128, 128), 0).read(6)
    assert np.abs(patch.pixels.astype(int) - plain.pixels[..., ::-1]).mean() < 3


def test_threads_share_a_conversion():
    slide = opened(made(icc=icc(MIXED, 1.8)))
    plan = slide.patches(0.5, (128, 128), 0, icc=True)
    expected = [patch.pixels for patch in plan]
    wrong: list[int] = []

    def look(start: int) -> None:
        for n in range(2 * len(plan)):
            at = (n * 7 + start) % len(plan)
            if not (plan.read(at).pixels == expected[at]).all():
                wrong.append(at)

    threads = [threading.Thread(target=look, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- what is refused ---


@pytest.mark.parametrize(
    "code",
    [
        codes.REFLECTION_ILLUMINATION,
        codes.EPIFLUORESCENCE_ILLUMINATION,
        codes.DARKFIELD_ILLUMINATION,
        codes.OBLIQUE_ILLUMINATION,
        codes.PHASE_CONTRAST_ILLUMINATION,
        codes.DIFFERENTIAL_INTERFERENCE_CONTRAST,
        codes.TOTAL_INTERNAL_REFLECTION_FLUORESCENCE,
    ],
    ids=str,
)
@pytest.mark.parametrize("image", [RGB, GREY], ids=["colour", "grey"])
def test_a_slide_that_is_not_brightfield_is_refused(image, code):
    assert reason(made(image, illumination=code)) == f"the slide is not brightfield but {code.meaning}"


@pytest.mark.parametrize("code", [codes.BRIGHTFIELD_ILLUMINATION, codes.TRANSMISSION_ILLUMINATION], ids=str)
@pytest.mark.parametrize("image", [RGB, GREY], ids=["colour", "grey"])
def test_transmitted_light_is_brightfield(image, code):
    assert same(whole(made(image, illumination=code)), image)


def test_without_illumination_type_colour_is_read_and_grey_is_not():
    assert same(whole(made(illumination=None)), RGB)
    assert reason(made(GREY, illumination=None)) == "the slide is monochrome and does not say that it is brightfield"


def test_the_illumination_of_a_path_that_is_not_read_does_not_matter():
    (ds,) = made(stack(2, 1))
    ds.OpticalPathSequence[1].IlluminationTypeCodeSequence[0].CodeValue = codes.EPIFLUORESCENCE_ILLUMINATION.value
    assert (whole(ds) == picture(0)).all()


@pytest.mark.parametrize("transfer", ["raw", "jpeg2000", "jpegls", "rle"])
def test_grey_of_more_than_eight_bits_is_refused(transfer):
    deep = GREY.astype(np.uint16) * 200
    assert "monochrome with 16 bits per sample" in reason(made(deep, transfer=transfer))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"BitsStored": 6}, "only 6 bits per sample"),
        ({"PixelRepresentation": 1}, "signed"),
    ],
)
def test_samples_without_a_scale_are_refused(changes, word):
    (ds,) = made()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    assert word in reason(ds)


def spacing(ds: Dataset, *values: str) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = list(values)


def test_impossible_spacing_is_refused():
    (ds,) = made()
    spacing(ds, "0.0005", "0.00052")
    assert reason(ds) == "pixels are not square: 0.5 x 0.52 um"
    spacing(ds, "0.0005", "0.000505")  # one in a hundred is how finely some scanners measure
    assert same(whole(ds), RGB)
    spacing(ds, "0.5", "0.5")
    assert "a pixel spacing of 500 um is implausible" in reason(ds)
    assert reason(made(omit_spacing=True)) == "Pixel Spacing is missing"


def test_tiles_in_no_grid_are_refused():
    (ds,) = made(sparse=True)
    groups = ds.PerFrameFunctionalGroupsSequence
    groups[3].PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix = 6
    assert reason(ds) == "the tiles do not lie on a regular grid"
    del groups[3].PlanePositionSlideSequence
    assert reason(ds) == "a frame does not say where on the slide it lies"
    groups[3] = copy.deepcopy(groups[2])
    assert reason(ds) == "several frames lie at the same place of the slide and at the same depth"


def test_a_concatenation_with_a_missing_part_or_a_gap_is_refused():
    parts = made(concatenation_parts=4)
    assert "parts [1, 2, 4] of 4 of a concatenation" in reason([parts[0], parts[3], parts[1]])
    parts[2].ConcatenationFrameOffsetNumber = 3
    assert "parts of a concatenation do not follow each other" in reason(parts)


def test_levels_of_grey_and_of_colour_are_not_one_slide():
    grey = cv2.cvtColor(cv2.resize(RGB, (COLUMNS // 2, ROWS // 2)), cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    other = dicom.slide_instances(grey, 1.0, levels=1, tile=128, transfer="raw")
    assert "some levels of the series are monochrome" in reason(made() + other)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (
            {"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1},
            "Photometric Interpretation PALETTE COLOR",
        ),
        ({"BitsAllocated": 32}, "Bits Allocated 32"),
        ({"NumberOfFrames": 24}, "24 frames are there"),
        ({"TotalPixelMatrixRows": 0}, "Total Pixel Matrix is 0 x 600"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_headers_that_contradict_themselves_are_failures_with_their_reason(changes, word):
    (ds,) = made()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    with pytest.raises(PixelDataError, match=word):
        opened(ds)


# --- real slides ---

REAL = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("sm/**/*.dcm") if "not_a_slide" not in path.parts)


@pytest.mark.skipif(not REAL, reason="real data is absent (set AIROUTER_DATA to its folder)")
@pytest.mark.parametrize("name", REAL)
def test_every_real_instance_is_read_as_pydicom_reads_its_frames_or_refused_with_a_reason(name):
    (ds,) = read(name)
    if ds.ImageType[2] != "VOLUME":
        assert "no VOLUME image" in reason(ds)
        return
    if "grayscale" in name:
        assert reason(ds) == "the slide is not brightfield but Epifluorescence illumination"
        return
    slide = opened(ds)
    rows, columns = ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns
    found = slide.region(slide.base, 0, 0, rows, columns)
    across = -(-columns // ds.Columns)
    if "short_edge_tiles" in name and (rows % ds.Rows or columns % ds.Columns):
        expected = None  # pydicom refuses frames of several sizes
    else:
        frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns, 3)
        bands = [np.concatenate(frames[n : n + across], axis=1) for n in range(0, len(frames), across)]
        expected = np.concatenate(bands)[:rows, :columns]
        assert np.abs(found.astype(int) - expected).mean() < 0.5
    assert found.shape == (rows, columns, 3)
    assert 40 < found.mean() < 254 or "highdicom" in name


def test_what_only_calls_itself_a_slide_is_not_read():
    (ds,) = read("sm/not_a_slide/*.dcm")
    assert "is not a SM image" in opened(ds, Modality.SM).reason
