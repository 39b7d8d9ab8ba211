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


@pytest.mark.parametrize("name", encodings())
@pytest.mark.parametrize("left", [0.0, 0.05, 0.5, 0.9])
def test_a_truncated_frame_is_an_error(name, left):
    frame, header = encodings()[name]
    with pytest.raises(PixelDataError):
        decode(frame[: int(len(frame) * left)], header)


@pytest.mark.parametrize("name", [n for n in encodings() if n != "raw"])
@given(junk=st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_garbage_is_an_error(name, junk):
    _, header = encodings()[name]
    with pytest.raises(PixelDataError):
        decode(junk, header)


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
