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
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from phantoms.dicom.parts import decimal

Transfer = Literal["jpeg", "raw", "jpeg2000", "jpeg2000-lossy", "htj2k", "jpegls"]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Encoding:
    syntax: str
    encode: Callable[[Image], bytes]
    colour: str  # Photometric Interpretation of an RGB image
    lossy: str | None = None  # Lossy Image Compression Method


def _jpeg(image: Image) -> bytes:
    space = "RGB" if image.shape[2] == 3 else "GRAY"
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), 90, space, "422" if space == "RGB" else "444")
    return bytes(data)


def _codec(encode: Callable[..., bytes], **options: object) -> Callable[[Image], bytes]:
    return lambda image: bytes(encode(np.ascontiguousarray(image.squeeze()), **options))


ENCODINGS: Final[dict[str, Encoding]] = {
    "raw": Encoding(ExplicitVRLittleEndian, lambda image: image.tobytes(), "RGB"),
    "jpeg": Encoding(JPEGBaseline8Bit, _jpeg, "YBR_FULL_422", "ISO_10918_1"),
    "jpeg2000": Encoding(
        JPEG2000Lossless, _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=0, mct=True), "YBR_RCT"
    ),
    "jpeg2000-lossy": Encoding(
        JPEG2000,
        _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=45, mct=True, reversible=False),
        "YBR_ICT",
        "ISO_15444_1",
    ),
    "htj2k": Encoding(HTJ2KLossless, _codec(imagecodecs.htj2k_encode), "YBR_RCT"),
    "jpegls": Encoding(JPEGLSLossless, _codec(imagecodecs.jpegls_encode), "RGB"),
}


def put_pixels(
    ds: Dataset,
    frames: Sequence[NDArray[np.uint8] | NDArray[np.uint16]],
    transfer: Transfer,
    offset_table: str = "basic",
) -> None:
    """The Image Pixel module and the encoded frames."""
    encoding = ENCODINGS[transfer]
    rows, columns, samples = frames[0].shape
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, samples
    bits = frames[0].dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    ds.PhotometricInterpretation = encoding.colour if samples == 3 else "MONOCHROME2"
    if samples == 3:
        ds.PlanarConfiguration = 0
    else:
        ds.PresentationLUTShape = "IDENTITY"
    encoded = [encoding.encode(frame) for frame in frames]  # type: ignore[arg-type]
    ds.LossyImageCompression = "00" if encoding.lossy is None else "01"
    if encoding.lossy is not None:
        ratio = sum(frame.nbytes for frame in frames) / sum(len(data) for data in encoded)
        ds.LossyImageCompressionRatio = decimal(round(ratio, 2))
        ds.LossyImageCompressionMethod = encoding.lossy
    store_frames(ds, encoded, transfer, offset_table)


def store_frames(ds: Dataset, encoded: Sequence[bytes], transfer: Transfer, offset_table: str) -> None:
    if transfer == "raw":
        data = b"".join(encoded)
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
        return
    ds.PixelData = encapsulate(list(encoded), has_bot=offset_table == "basic")
    ds["PixelData"].VR = "OB"
    if offset_table == "extended":
        lengths = [len(data) + len(data) % 2 for data in encoded]
        offsets = [0, *itertools.accumulate(length + 8 for length in lengths)][:-1]
        ds.ExtendedOffsetTable = np.asarray(offsets, "<u8").tobytes()
        ds.ExtendedOffsetTableLengths = np.asarray(lengths, "<u8").tobytes()
