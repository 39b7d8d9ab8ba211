from dataclasses import replace

import cv2
import imagecodecs
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from airouter.errors import PixelDataError
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.frames import dataset_frames
from phantoms import dicom
from phantoms.slide import slide as phantom
from tests.images import read

RGB = cv2.resize(np.random.default_rng(0).integers(40, 250, (9, 11, 3), np.uint8), (70, 60))
GREY16 = (RGB[..., 0].astype(np.uint16) * 200) + 3


def colour(syntax=ExplicitVRLittleEndian, photometric="RGB", **changes) -> FrameFormat:
    return replace(FrameFormat(60, 70, 3, 8, 8, False, photometric, False, syntax), **changes)


def grey(syntax=ExplicitVRLittleEndian, photometric="MONOCHROME2", bits=8, **changes) -> FrameFormat:
    return replace(FrameFormat(60, 70, 1, bits, bits, False, photometric, False, syntax), **changes)


def encodings() -> dict[str, tuple[bytes, FrameFormat]]:
    return {
        "raw": (RGB.tobytes(), colour()),
        "jpeg": (simplejpeg.encode_jpeg(RGB, 95), colour(JPEGBaseline8Bit, "YBR_FULL_422")),
        "jpeg2000": (imagecodecs.jpeg2k_encode(RGB, level=0, codecformat="j2k"), colour(JPEG2000Lossless, "YBR_RCT")),
        "htj2k": (imagecodecs.htj2k_encode(RGB), colour(HTJ2K, "YBR_RCT")),
        "jpegls": (imagecodecs.jpegls_encode(RGB), colour(JPEGLSLossless)),
        "rle": (rle(RGB), colour(RLELossless)),
        "jpeg lossless": (imagecodecs.ljpeg_encode(RGB[..., 0]), grey(JPEGLosslessSV1)),
    }


def rle(image: np.ndarray) -> bytes:
    ds = dicom.fundus_instance(image, transfer="raw")
    ds.compress(RLELossless)
    return next(dataset_frames(ds, [1]))


@pytest.mark.parametrize("name", encodings())
def test_every_encoding_gives_the_picture(name):
    frame, header = encodings()[name]
    pixels = decode(frame, header)
    expected = RGB if header.samples == 3 else RGB[..., :1]
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= (25 if name == "jpeg" else 0)
    assert np.abs(pixels.astype(int) - expected).mean() <= (3 if name == "jpeg" else 0)


TISSUE = phantom(300, 300, 0.5, seed=3).rgb[20:276, 20:276]


def averaged(whole: np.ndarray, factor: int) -> np.ndarray:
    """The mean of every factor x factor pixels, those at the edge of what is there."""
    rows, columns = (range(0, length, factor) for length in whole.shape[:2])
    return np.array([[whole[r : r + factor, c : c + factor].mean(axis=(0, 1)) for c in columns] for r in rows])


def tissue_encodings(image: np.ndarray) -> dict[str, tuple[bytes, FrameFormat]]:
    """Encoded tissue with the header that fits; colours of JPEG are stored as YCbCr, subsampled or not, or as RGB."""
    image = np.ascontiguousarray(image)

    def header(syntax, photometric="RGB"):
        return FrameFormat(*image.shape[:2], 3, 8, 8, False, photometric, False, syntax)

    def jpeg(subsampling):
        return simplejpeg.encode_jpeg(image, 90, colorsubsampling=subsampling)

    marked = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    unmarked = imagecodecs.jpeg8_encode(image, 90, colorspace="rgb", outcolorspace="rgb")
    return {
        "raw": (image.tobytes(), header(ExplicitVRLittleEndian)),
        "jpeg 420": (jpeg("420"), header(JPEGBaseline8Bit, "YBR_FULL_422")),
        "jpeg 422": (jpeg("422"), header(JPEGBaseline8Bit, "YBR_FULL_422")),
        "jpeg 440": (jpeg("440"), header(JPEGBaseline8Bit, "YBR_FULL")),
        "jpeg 444": (jpeg("444"), header(JPEGBaseline8Bit, "YBR_FULL")),
        "jpeg rgb": (unmarked, header(JPEGBaseline8Bit)),
        "jpeg2000": (imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k"), header(JPEG2000Lossless, "YBR_RCT")),
        "jpeg2000 lossy": (imagecodecs.jpeg2k_encode(image, level=35, codecformat="j2k"), header(JPEG2000, "YBR_ICT")),
        "jpeg2000 ybr": (
            imagecodecs.jpeg2k_encode(np.ascontiguousarray(marked), level=0, codecformat="j2k", mct=False),
            header(JPEG2000Lossless, "YBR_FULL"),
        ),
        "jpeg2000 shallow": (
            imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k", resolutions=2),
            header(JPEG2000Lossless, "YBR_RCT"),
        ),
        "htj2k": (imagecodecs.htj2k_encode(image), header(HTJ2K, "YBR_RCT")),
        "jpegls": (imagecodecs.jpegls_encode(image), header(JPEGLSLossless)),
    }


@pytest.mark.parametrize("name", tissue_encodings(TISSUE))
@pytest.mark.parametrize("size", [(256, 256), (77, 131), (9, 5), (1, 1)])
def test_a_reduced_frame_is_the_mean_of_its_pixels(name, size):
    """To a grey level on average, of wavelets two: the nuclei of the phantom have sharper edges than any real ones."""
    frame, header = tissue_encodings(TISSUE[: size[0], : size[1]])[name]
    whole = decode(frame, header)
    assert (decode(frame, header, reduce=1) == whole).all()
    for factor in (2, 4, 8, 16, 32, 64):
        small = decode(frame, header, reduce=factor)
        assert small.shape == (-(-size[0] // factor), -(-size[1] // factor), 3)
        assert small.dtype == np.uint8
        off = np.abs(averaged(whole, factor) - small)
        inner = off[: size[0] // factor, : size[1] // factor]
        exact = name in ("raw", "jpegls") or (name.startswith("jpeg ") and factor == 2)
        even = name in ("jpeg 444", "jpeg 420", "jpeg rgb")  # chroma as detailed in rows as in columns
        most, mean = (0.6, 0.6) if exact else (10, 1) if even else (40, 3)
        if inner.size:
            assert inner.max() <= most
            assert inner.mean() <= mean
            assert abs((averaged(whole, factor) - small)[: inner.shape[0], : inner.shape[1]].mean()) <= 1.8


def test_a_reduced_short_tile_has_the_size_of_what_is_there():
    for name in ("jpeg 420", "jpeg2000", "jpegls"):
        frame, header = tissue_encodings(TISSUE[:77, :131])[name]
        full = replace(header, rows=256, columns=256)
        assert decode(frame, full, shorter=True, reduce=8).shape == (10, 17, 3)
        with pytest.raises(PixelDataError, match="the header says"):
            decode(frame, full, reduce=8)


@pytest.mark.parametrize("reduce", [4, 16, 64])
def test_reduced_grey_is_grey_and_inverted_where_it_must_be(reduce):
    image = np.ascontiguousarray(TISSUE[..., 1])
    for syntax, frame in (
        (JPEGBaseline8Bit, simplejpeg.encode_jpeg(image[..., None], 90, "GRAY", "Gray")),
        (JPEG2000Lossless, imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k")),
        (ExplicitVRLittleEndian, image.tobytes()),
    ):
        header = FrameFormat(256, 256, 1, 8, 8, False, "MONOCHROME1", False, syntax)
        small = decode(frame, header, reduce=reduce)
        assert small.shape == (256 // reduce, 256 // reduce, 1)
        assert np.abs(small - averaged(decode(frame, header), reduce)).mean() < 4
    deep = imagecodecs.jpeg2k_encode(image.astype(np.uint16) * 16, level=0, codecformat="j2k", bitspersample=12)
    header = FrameFormat(256, 256, 1, 16, 12, False, "MONOCHROME2", False, JPEG2000Lossless)
    small = decode(deep, header, reduce=reduce)
    assert np.abs(small - averaged(decode(deep, header), reduce)).max() <= 0.6


@pytest.mark.parametrize("name", encodings())
@pytest.mark.parametrize("left", [0.0, 0.05, 0.5, 0.9])
def test_a_truncated_frame_is_an_error(name, left):
    frame, header = encodings()[name]
    for reduce in (1, 8, 64):
        with pytest.raises(PixelDataError):
            decode(frame[: int(len(frame) * left)], header, reduce=reduce)


@pytest.mark.parametrize("name", [n for n in encodings() if n != "raw"])
@given(junk=st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_garbage_is_an_error(name, junk):
    _, header = encodings()[name]
    for reduce in (1, 16):
        with pytest.raises(PixelDataError):
            decode(junk, header, reduce=reduce)


@pytest.mark.parametrize("name", [n for n in encodings() if n not in ("raw", "rle")])
def test_a_codestream_of_another_size_than_the_header_says_is_refused(name):
    frame, header = encodings()[name]
    for other in (replace(header, rows=59), replace(header, columns=69), replace(header, rows=61)):
        with pytest.raises(PixelDataError, match="the header says"):
            decode(frame, other)


def test_a_shorter_codestream_is_taken_as_it_is_where_that_is_allowed():
    frame, header = encodings()["jpeg"]
    wider = replace(header, rows=64, columns=64 * 2)
    assert decode(frame, wider, shorter=True).shape == (60, 70, 3)
    with pytest.raises(PixelDataError):
        decode(frame, replace(header, rows=59), shorter=True)


def test_a_codestream_that_promises_a_huge_picture_is_refused_before_it_is_decoded():
    huge = {
        "jpeg": b"\xff\xc0\x00\x11\x08",
        "jpegls": b"\xff\xf7\x00\x11\x08",
    }
    for name, marker in huge.items():
        frame, header = encodings()[name]
        at = frame.index(marker) + len(marker)
        with pytest.raises(PixelDataError):
            decode(frame[:at] + b"\xff\xff\xff\xff" + frame[at + 4 :], header)
    frame, header = encodings()["jpeg2000"]
    with pytest.raises(PixelDataError, match="4294967295"):
        decode(frame[:8] + b"\xff\xff\xff\xff" * 2 + frame[16:], header)
    with pytest.raises(PixelDataError, match="too many"):
        decode(frame[:24] + b"\0\0\0\1" * 2 + frame[32:], header, shorter=True)


def test_headers_that_promise_too_much_or_contradict_themselves_are_refused():
    ds = dicom.fundus_instance(RGB)
    assert FrameFormat.of(ds).photometric == "YBR_FULL_422"
    for keyword, value, reason in (
        ("Rows", 65535, "larger"),
        ("Rows", 0, "Rows x Columns"),
        ("BitsAllocated", 32, "Bits Allocated"),
        ("BitsStored", 12, "Bits Stored"),
        ("PhotometricInterpretation", "PALETTE COLOR", "Photometric"),
        ("SamplesPerPixel", 4, "samples per pixel"),
    ):
        ds = dicom.fundus_instance(RGB)
        setattr(ds, keyword, value)
        ds.Columns = 65535 if reason == "larger" else ds.Columns
        with pytest.raises(PixelDataError, match=reason):
            FrameFormat.of(ds)
    del ds.Rows
    with pytest.raises(PixelDataError, match="incomplete"):
        FrameFormat.of(ds)
    ds = dicom.fundus_instance(RGB)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    with pytest.raises(PixelDataError, match="MPEG2"):
        FrameFormat.of(ds)


def test_monochrome1_is_inverted():
    image = RGB[..., 0]
    assert (decode(image.tobytes(), grey())[..., 0] == image).all()
    assert (decode(image.tobytes(), grey(photometric="MONOCHROME1"))[..., 0] == 255 - image).all()


def test_sixteen_bits_are_stretched_between_percentiles_whatever_their_range():
    pixels = decode(GREY16.tobytes(), grey(bits=16))[..., 0]
    low, high = np.percentile(GREY16, (0.5, 99.9))
    expected = np.clip(np.rint((GREY16 - low) * 255 / (high - low)), 0, 255)
    assert np.abs(pixels - expected).max() <= 1
    assert (decode((GREY16 // 40).tobytes(), grey(bits=16))[..., 0].astype(int) - pixels).max() <= 5


def test_sixteen_bits_of_one_value_or_with_one_bright_pixel_do_not_divide_by_zero():
    flat = np.full((60, 70), 700, np.uint16)
    assert not decode(flat.tobytes(), grey(bits=16)).any()
    flat[3, 4] = 900
    assert (np.argwhere(decode(flat.tobytes(), grey(bits=16))[..., 0]) == [[3, 4]]).all()


def test_signed_values_are_read_as_signed():
    image = GREY16.astype(np.int32) - 20000
    signed = decode(image.astype("<i2").tobytes(), grey(bits=16, signed=True))
    assert (signed == decode(GREY16.tobytes(), grey(bits=16))).all()


def test_colour_of_sixteen_bits_loses_its_low_bits():
    image = RGB.astype(np.uint16) << 4
    assert (decode(image.tobytes(), colour(bits_allocated=16, bits_stored=12)) == RGB).all()


def test_native_planes_and_ybr_are_understood():
    assert (decode(np.moveaxis(RGB, 2, 0).tobytes(), colour(planar=True)) == RGB).all()
    ybr = cv2.cvtColor(RGB, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    assert np.abs(decode(ybr.tobytes(), colour(photometric="YBR_FULL")).astype(int) - RGB).max() <= 3
    pairs = np.empty((60, 35, 4), np.uint8)
    pairs[..., :2] = ybr[..., 0].reshape(60, 35, 2)
    pairs[..., 2:] = ybr[:, ::2, 1:]
    shared = np.abs(decode(pairs.tobytes(), colour(photometric="YBR_FULL_422")).astype(int) - RGB)
    assert shared.mean() < 4


def test_unmarked_jpeg_components_are_what_the_header_says_and_markers_win():
    marked = simplejpeg.encode_jpeg(RGB, 98, "RGB", "444")
    assert np.abs(decode(marked, colour(JPEGBaseline8Bit, "RGB")).astype(int) - RGB).mean() < 3
    unmarked = marked[:2] + marked[2 + 2 + int.from_bytes(marked[4:6], "big") :]  # without JFIF
    assert np.abs(decode(unmarked, colour(JPEGBaseline8Bit, "YBR_FULL")).astype(int) - RGB).mean() < 3
    raw = decode(unmarked, colour(JPEGBaseline8Bit, "RGB"))
    ybr = cv2.cvtColor(RGB, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    assert np.abs(raw.astype(int) - ybr).mean() < 3


def test_jpeg_with_components_that_do_not_fit_is_refused():
    with pytest.raises(PixelDataError):
        decode(simplejpeg.encode_jpeg(RGB[..., :1].copy(), 90, "GRAY", "444"), colour(JPEGBaseline8Bit, "RGB"))
    with pytest.raises(PixelDataError):
        decode(encodings()["jpeg2000"][0], grey(JPEG2000))


def test_real_jpeg_ls_with_and_without_an_offset_table_equals_the_uncompressed_slide():
    frames = []
    for name in ("sm_image_jpegls", "sm_image_jpegls_nobot", "sm_image"):
        (ds,) = read(f"sm/highdicom/{name}.dcm")
        header = FrameFormat.of(ds)
        frames.append([decode(frame, header) for frame in dataset_frames(ds, range(1, 26))])
    assert np.array_equal(frames[0], frames[2])
    assert np.array_equal(frames[1], frames[2])


@pytest.mark.parametrize("name", ["camelyon/jpeg", "camelyon/jpeg2000", "cmu1_pyramid/level_1"])
def test_real_tiles_equal_those_that_pydicom_decodes(name):
    (ds,) = read(f"sm/{name}.dcm")
    header = FrameFormat.of(ds)
    mine = [decode(frame, header) for frame in dataset_frames(ds, range(1, int(ds.NumberOfFrames) + 1))]
    assert np.abs(np.stack(mine).astype(int) - ds.pixel_array).max() <= 1


YBR = cv2.cvtColor(RGB, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]].copy()
STORED_AS_YBR = {
    "jpegls": (imagecodecs.jpegls_encode(YBR), JPEGLSLossless),
    "jpeg lossless": (
        imagecodecs.jpeg_encode(YBR, lossless=True, colorspace="RGB", outcolorspace="RGB"),
        JPEGLosslessSV1,
    ),
    "rle": (rle(YBR), RLELossless),
    "jpeg2000": (imagecodecs.jpeg2k_encode(YBR, level=0, codecformat="j2k", mct=False), JPEG2000Lossless),
    "raw": (YBR.tobytes(), ExplicitVRLittleEndian),
}


@pytest.mark.parametrize("name", STORED_AS_YBR)
def test_luma_and_chroma_become_colours_whatever_encodes_them(name):
    frame, syntax = STORED_AS_YBR[name]
    assert np.abs(decode(frame, colour(syntax, "YBR_FULL")).astype(int) - RGB).max() <= 2
    assert np.array_equal(decode(frame, colour(syntax, "RGB")), YBR)


@pytest.mark.parametrize("name", STORED_AS_YBR)
@pytest.mark.parametrize("photometric", ["YBR_ICT", "YBR_RCT"])
def test_a_transform_that_is_not_in_the_codestream_is_not_guessed(name, photometric):
    frame, syntax = STORED_AS_YBR[name]
    with pytest.raises(PixelDataError, match=photometric):
        decode(frame, colour(syntax, photometric))
