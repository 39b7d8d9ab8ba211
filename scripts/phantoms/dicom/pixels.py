"""Encoded frames: the transfer syntaxes a phantom can have, the Image Pixel module and Pixel Data."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from phantoms.dicom.parts import decimal

Transfer = Literal[
    "jpeg",
    "jpeg-420",
    "jpeg-444",
    "jpeg-rgb",
    "jpeg2000",
    "jpeg2000-rgb",
    "jpeg2000-lossy",
    "htj2k",
    "htj2k-rpcl",
    "htj2k-lossy",
    "jpegls",
    "jpegls-near",
    "rle",
    "rle-ybr",
    "raw",
    "raw-implicit",
    "raw-planar",
    "raw-ybr",
    "raw-422",
]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Encoding:
    syntax: str
    encode: Callable[[Image], bytes]
    colour: str  # Photometric Interpretation of an RGB image
    lossy: str | None = None  # Lossy Image Compression Method
    planar: int = 0  # Planar Configuration of an RGB image


def _jpeg(subsampling: str) -> Callable[[Image], bytes]:
    def encode(image: Image) -> bytes:
        space = "RGB" if image.shape[2] == 3 else "GRAY"
        how = subsampling if space == "RGB" else "444"
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), 90, space, how))

    return encode


def _jpeg_rgb(image: Image) -> bytes:
    """Components that are red, green and blue themselves, with no marker that says so, as some scanners write them."""
    if image.shape[2] == 1:
        return _jpeg("444")(image)
    data = imagecodecs.jpeg8_encode(np.ascontiguousarray(image), level=90, colorspace="RGB", outcolorspace="RGB")
    at, kept = 2, bytearray(data[:2])
    while data[at + 1] != 0xDA:  # drop the application markers before the scan
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not 0xE0 <= data[at + 1] <= 0xEF:
            kept += data[at : at + length]
        at += length
    return bytes(kept + data[at:])


def _ybr(image: Image) -> Image:
    """YBR_FULL of RGB (PS3.3 C.7.6.3.1.2)."""
    weights = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(image @ weights.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def _ybr_422(image: Image) -> bytes:
    ybr = _ybr(image)
    pairs = np.empty((image.shape[0], image.shape[1] // 2, 4), np.uint8)
    pairs[..., 0], pairs[..., 1] = ybr[:, ::2, 0], ybr[:, 1::2, 0]
    pairs[..., 2:] = np.rint((ybr[:, ::2, 1:].astype(np.float64) + ybr[:, 1::2, 1:]) / 2)
    return pairs.tobytes()


def _rle(image: Image) -> bytes:
    rows, columns, samples = image.shape
    bits = image.dtype.itemsize * 8
    data = RLELosslessEncoder.encode(
        np.ascontiguousarray(image.squeeze()),
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        number_of_frames=1,
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
        planar_configuration=0,
    )
    return bytes(data)


def _codec(encode: Callable[..., bytes], **options: object) -> Callable[[Image], bytes]:
    return lambda image: bytes(encode(np.ascontiguousarray(image.squeeze()), **options))


ENCODINGS: Final[dict[str, Encoding]] = {
    "raw": Encoding(ExplicitVRLittleEndian, lambda image: image.tobytes(), "RGB"),
    "raw-implicit": Encoding(ImplicitVRLittleEndian, lambda image: image.tobytes(), "RGB"),
    "raw-planar": Encoding(ExplicitVRLittleEndian, lambda image: np.moveaxis(image, 2, 0).tobytes(), "RGB", planar=1),
    "raw-ybr": Encoding(ExplicitVRLittleEndian, lambda image: _ybr(image).tobytes(), "YBR_FULL"),
    "raw-422": Encoding(ExplicitVRLittleEndian, _ybr_422, "YBR_FULL_422"),
    "rle": Encoding(RLELossless, _rle, "RGB"),
    "rle-ybr": Encoding(RLELossless, lambda image: _rle(_ybr(image)), "YBR_FULL"),
    "jpeg": Encoding(JPEGBaseline8Bit, _jpeg("422"), "YBR_FULL_422", "ISO_10918_1"),
    "jpeg-420": Encoding(JPEGBaseline8Bit, _jpeg("420"), "YBR_FULL_422", "ISO_10918_1"),
    "jpeg-444": Encoding(JPEGBaseline8Bit, _jpeg("444"), "YBR_FULL", "ISO_10918_1"),
    "jpeg-rgb": Encoding(JPEGBaseline8Bit, _jpeg_rgb, "RGB", "ISO_10918_1"),
    "jpeg2000": Encoding(
        JPEG2000Lossless, _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=0, mct=True), "YBR_RCT"
    ),
    "jpeg2000-rgb": Encoding(
        JPEG2000Lossless, _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=0, mct=False), "RGB"
    ),
    "jpeg2000-lossy": Encoding(
        JPEG2000,
        _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=45, mct=True, reversible=False),
        "YBR_ICT",
        "ISO_15444_1",
    ),
    "htj2k": Encoding(HTJ2KLossless, _codec(imagecodecs.htj2k_encode), "YBR_RCT"),
    "htj2k-rpcl": Encoding(HTJ2KLosslessRPCL, _codec(imagecodecs.htj2k_encode), "YBR_RCT"),
    "htj2k-lossy": Encoding(HTJ2K, _codec(imagecodecs.htj2k_encode, reversible=False), "YBR_ICT", "ISO_15444_15"),
    "jpegls": Encoding(JPEGLSLossless, _codec(imagecodecs.jpegls_encode), "RGB"),
    "jpegls-near": Encoding(JPEGLSNearLossless, _codec(imagecodecs.jpegls_encode, level=3), "RGB", "ISO_14495_1"),
}


def put_pixels(
    ds: Dataset,
    frames: Sequence[NDArray[np.uint8] | NDArray[np.uint16]],
    transfer: Transfer,
    offset_table: str = "basic",
    *,
    size: tuple[int, int] | None = None,
    inverted: bool = False,
    fragments: int = 1,
) -> None:
    """The Image Pixel module and the encoded frames.

    `size`: Rows and Columns where they are not those of the first frame, as frames may be encoded shorter; `inverted`:
    grey is stored as MONOCHROME1; `fragments`: how many each frame is cut into.
    """
    encoding = ENCODINGS[transfer]
    rows, columns, samples = *(size or frames[0].shape[:2]), frames[0].shape[2]
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, samples
    bits = frames[0].dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    ds.PhotometricInterpretation = encoding.colour if samples == 3 else f"MONOCHROME{1 if inverted else 2}"
    if samples == 3:
        ds.PlanarConfiguration = encoding.planar
    else:
        ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    if inverted:
        frames = [np.iinfo(frame.dtype).max - frame for frame in frames]
    encoded = [encoding.encode(frame) for frame in frames]  # type: ignore[arg-type]
    ds.LossyImageCompression = "00" if encoding.lossy is None else "01"
    if encoding.lossy is not None:
        ratio = sum(frame.nbytes for frame in frames) / sum(len(data) for data in encoded)
        ds.LossyImageCompressionRatio = decimal(round(ratio, 2))
        ds.LossyImageCompressionMethod = encoding.lossy
    store_frames(ds, encoded, transfer, offset_table, fragments)


def store_frames(
    ds: Dataset, encoded: Sequence[bytes], transfer: Transfer, offset_table: str, fragments: int = 1
) -> None:
    """Pixel Data and its offset table. Raises ValueError for an Extended Offset Table of fragmented frames."""
    if transfer.startswith("raw"):
        data = b"".join(encoded)
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
        return
    ds.PixelData = encapsulate(list(encoded), fragments_per_frame=fragments, has_bot=offset_table == "basic")
    ds["PixelData"].VR = "OB"
    if offset_table == "extended":
        if fragments > 1:
            raise ValueError("with an Extended Offset Table each frame is one fragment (PS3.3 C.7.6.3.1.8)")
        lengths = [len(data) + len(data) % 2 for data in encoded]
        offsets = [0, *itertools.accumulate(length + 8 for length in lengths)][:-1]
        ds.ExtendedOffsetTable = np.asarray(offsets, "<u8").tobytes()
        ds.ExtendedOffsetTableLengths = np.asarray(lengths, "<u8").tobytes()
