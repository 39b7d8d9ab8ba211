"""From one encoded frame to 8-bit pixels.

What a frame claims to be is read from its own header first and compared with the DICOM header, so that no decoder is
asked to make a picture of another size than was promised, or one that does not fit the budget.

The mask of a slide that has no low level needs a twentieth of its rows and columns: a frame can be decoded at 1/2, 1/4,
1/8, ... of its size, where JPEG and JPEG 2000 leave most of the work undone.
"""

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from airouter.errors import PixelDataError
from airouter.imaging.header import MALFORMED

Image = NDArray[np.uint8]

MAX_FRAME_BYTES: Final = 1 << 28  # decoded; the largest fundus cameras make about 1e8
_MAX_J2K_TILES: Final = 4096
# The inverse DCT of 1/4 and 1/8 of a block's frequencies is the mean of its pixels, give or take a few grey levels; of
# 1/2 it is not, and saves nothing. Chroma that has half of both rows and columns is decoded at twice the scale; that of
# half the columns alone keeps that ratio: at 1/4 one value is the mean of eight pixels, the least that colours of
# tissue bear. The low band of a wavelet lets more of the detail through, so that it makes a third of the halvings, and
# averaging the others.
_DCT_SCALES: Final = {"Gray": (8, 4), "444": (8, 4), "420": (8, 4), "422": (4,), "440": (4,)}
# 16-bit grey values between these percentiles of the frame become 0..255.
_DARKEST, _BRIGHTEST = 0.5, 99.9
_COLOURS: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_GREYS: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """What the header says of every frame: the Image Pixel module (PS3.3 C.7.6.3) and the transfer syntax UID."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    planar: bool
    transfer_syntax: str

    @classmethod
    def of(cls, header: Dataset) -> "FrameFormat":
        """Read it from a header with file meta information.

        Raises PixelDataError for what is missing, contradictory, unsupported or larger than MAX_FRAME_BYTES.
        """
        try:
            samples = int(header.SamplesPerPixel)
            allocated = int(header.BitsAllocated)
            made = cls(
                rows=int(header.Rows),
                columns=int(header.Columns),
                samples=samples,
                bits_allocated=allocated,
                bits_stored=int(header.get("BitsStored") or allocated),
                signed=bool(header.get("PixelRepresentation", 0)),
                photometric=str(header.PhotometricInterpretation),
                planar=samples > 1 and bool(header.get("PlanarConfiguration", 0)),
                transfer_syntax=str(header.file_meta.TransferSyntaxUID),
            )
        except MALFORMED as error:
            raise PixelDataError(f"the Image Pixel module is incomplete: {error}") from error
        made._check()
        return made

    def _check(self) -> None:
        if self.transfer_syntax not in _DECODERS:
            raise PixelDataError(f"unsupported transfer syntax {UID(self.transfer_syntax).name}")
        if self.rows < 1 or self.columns < 1:
            raise PixelDataError(f"Rows x Columns is {self.rows} x {self.columns}")
        if self.bits_allocated not in (8, 16) or not 1 <= self.bits_stored <= self.bits_allocated:
            raise PixelDataError(f"unsupported Bits Allocated {self.bits_allocated}, Bits Stored {self.bits_stored}")
        if (self.samples, self.photometric) not in {(1, grey) for grey in _GREYS} | {(3, name) for name in _COLOURS}:
            raise PixelDataError(
                f"unsupported pixels: {self.samples} samples per pixel, Photometric Interpretation {self.photometric}"
            )
        if self.rows * self.columns * self.samples * self.bits_allocated // 8 > MAX_FRAME_BYTES:
            raise PixelDataError(f"a frame of {self.rows} x {self.columns} is larger than the router decodes")

    @property
    def dtype(self) -> "np.dtype[Any]":
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def decode(frame: bytes, header: FrameFormat, *, shorter: bool = False, reduce: int = 1) -> Image:
    """One frame as uint8 [rows, columns, samples]; three samples are RGB.

    Grey: MONOCHROME1 is inverted. More than 8 bits of grey are mapped linearly from the 0.5 to the 99.9 percentile of
    this frame to 0..255 and clipped; a window in the header is a display preference and not used. More than 8 bits of
    colour lose their low bits. `shorter` accepts a codestream with fewer rows or columns than the header says, as some
    writers make the tiles at the right and bottom edge; the array then has the size of the codestream.

    `reduce`, a power of two, gives ceil(rows / reduce) x ceil(columns / reduce) pixels, each the mean of the reduce x
    reduce pixels that it stands for (beyond the edge the last ones count again), of lossy and wavelet encodings to a
    few grey levels.

    Raises PixelDataError for truncated or foreign data, and for a codestream of another size than the header says.
    """
    try:
        pixels, left = _DECODERS[header.transfer_syntax](frame, header, shorter, reduce)
    except (ValueError, RuntimeError, struct.error, IndexError) as error:
        raise PixelDataError(f"a frame cannot be decoded: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    done = reduce // left
    rows, columns = -(-header.rows // done), -(-header.columns // done)
    fits = pixels.ndim == 3 and pixels.shape[2] == header.samples
    fits &= pixels.shape[0] <= rows and pixels.shape[1] <= columns
    if not fits or (not shorter and pixels.shape[:2] != (rows, columns)):
        raise PixelDataError(
            f"a frame decodes to {pixels.shape}, the header says {header.rows} x {header.columns} x {header.samples}"
        )
    made = _eight_bit(pixels, header)
    return made if left == 1 else averaged(made, left)


def averaged(pixels: Image, factor: int) -> Image:
    """The mean of each factor x factor pixels; beyond the edge the last ones count again."""
    rows, columns, samples = pixels.shape
    tall, wide = -(-rows // factor), -(-columns // factor)
    more = tall * factor - rows, wide * factor - columns
    if any(more):
        pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE), np.uint8)
    made = np.asarray(cv2.resize(pixels, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)
    return made.reshape(tall, wide, samples)


def _eight_bit(pixels: NDArray[Any], header: FrameFormat) -> Image:
    if header.samples == 3:
        if pixels.dtype != np.uint8:
            pixels = np.clip(pixels >> max(0, header.bits_stored - 8), 0, 255)
        return np.ascontiguousarray(pixels, np.uint8)
    grey = pixels if pixels.dtype == np.uint8 else _stretch(pixels)
    if header.photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.ascontiguousarray(grey, np.uint8)


def _stretch(pixels: NDArray[Any]) -> Image:
    low, high = np.percentile(pixels, (_DARKEST, _BRIGHTEST))
    if high <= low:
        low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return np.zeros(pixels.shape, np.uint8)
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def _native(frame: bytes, header: FrameFormat) -> NDArray[Any]:
    shape = (header.rows, header.columns)
    size = header.rows * header.columns * header.dtype.itemsize
    if header.photometric == "YBR_FULL_422":
        if header.columns % 2 or header.dtype.itemsize != 1:
            raise PixelDataError("YBR_FULL_422 needs 8 bits and an even number of columns")
        _at_least(frame, 2 * size)
        pairs = np.frombuffer(frame, np.uint8, 2 * size).reshape(*shape[:1], header.columns // 2, 4)
        chroma = np.repeat(pairs[:, :, 2:], 2, axis=1)
        return _rgb(np.concatenate([pairs[:, :, :2].reshape(*shape, 1), chroma], axis=2))
    _at_least(frame, size * header.samples)
    flat = np.frombuffer(frame, header.dtype, header.rows * header.columns * header.samples)
    pixels = np.moveaxis(flat.reshape(-1, *shape), 0, -1) if header.planar else flat.reshape(*shape, header.samples)
    return _colour(pixels, header)


def _at_least(frame: bytes, length: int) -> None:
    if len(frame) < length:
        raise PixelDataError(f"a frame is truncated: {len(frame)} of {length} bytes")


def _colour(pixels: NDArray[Any], header: FrameFormat) -> NDArray[Any]:
    """RGB of samples as they are stored, all of full resolution; for encodings that have no colours of their own."""
    if header.photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _rgb(pixels)
    if header.photometric.startswith("YBR"):
        # a transform of JPEG 2000, which nothing here has undone
        raise PixelDataError(f"Photometric Interpretation {header.photometric} contradicts how a frame is encoded")
    return pixels


def _rgb(ybr: NDArray[Any]) -> NDArray[Any]:
    """YBR_FULL to RGB (PS3.3 C.7.6.3.1.2)."""
    if ybr.dtype != np.uint8:
        raise PixelDataError("YBR_FULL with more than 8 bits is not supported")
    swapped = np.ascontiguousarray(ybr[:, :, [0, 2, 1]])  # cv2 orders Y, Cr, Cb
    return cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB)


def _jpeg(frame: bytes, header: FrameFormat, shorter: bool, reduce: int) -> tuple[NDArray[Any], int]:
    """JPEG baseline and extended with 8 bits. The codestream's own colour markers win over the DICOM header."""
    if header.bits_allocated != 8:
        raise PixelDataError("JPEG with 12 bits is not supported")
    rows, columns, colour, subsampling = simplejpeg.decode_jpeg_header(frame)
    _same_size(rows, columns, 1 if colour == "Gray" else header.samples, header, shorter)
    scale = next((scale for scale in _DCT_SCALES.get(subsampling, ()) if reduce >= scale), 1)
    least = (-(-rows // scale), -(-columns // scale)) if scale > 1 else (0, 0)  # 0: whole
    if header.samples == 1:
        return _array(simplejpeg.decode_jpeg(frame, "GRAY", min_height=least[0], min_width=least[1])), reduce // scale
    unmarked = colour == "YCbCr" and subsampling == "444" and header.photometric == "RGB"
    if unmarked and frame[2:4] not in (b"\xff\xe0", b"\xff\xee"):
        # libjpeg takes three unmarked components for YCbCr; an Adobe marker with transform 0 says that they are RGB.
        frame = frame[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + frame[2:]
    return _array(simplejpeg.decode_jpeg(frame, "RGB", min_height=least[0], min_width=least[1])), reduce // scale


def _jpeg_lossless(frame: bytes, header: FrameFormat, shorter: bool) -> NDArray[Any]:
    _same_size(*_start_of_frame(frame), header, shorter)
    return _colour(_array(imagecodecs.jpegsof3_decode(frame)), header)


def _jpeg_ls(frame: bytes, header: FrameFormat, shorter: bool) -> NDArray[Any]:
    if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        # CharLS takes half a minute to find that out of a codestream without its end
        raise PixelDataError("a frame is truncated: the end-of-image marker is missing")
    _same_size(*_start_of_frame(frame), header, shorter)
    return _colour(_array(imagecodecs.jpegls_decode(frame)), header)


def _start_of_frame(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and components of a JPEG or JPEG-LS codestream (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    if frame[:2] != b"\xff\xd8":
        raise PixelDataError("a frame is no JPEG codestream")
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns, components = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return rows, columns, components
        at += 2 + length
    raise PixelDataError("a frame has no start-of-frame marker")


def _jpeg2000(frame: bytes, header: FrameFormat, shorter: bool, reduce: int) -> tuple[NDArray[Any], int]:
    """JPEG 2000 and HTJ2K codestreams (ITU-T T.800 A.5.1 and A.6.1, T.814)."""
    if frame[:4] != b"\xff\x4f\xff\x51" or len(frame) < 42:
        raise PixelDataError("a frame is no JPEG 2000 codestream")
    x, y, x0, y0, tile_x, tile_y = struct.unpack(">6I", frame[8:32])
    rows, columns, components = y - y0, x - x0, int.from_bytes(frame[40:42], "big")
    _same_size(rows, columns, components, header, shorter)
    if not tile_x or not tile_y or -(-x // tile_x) * -(-y // tile_y) > _MAX_J2K_TILES:
        raise PixelDataError("a frame is cut into too many JPEG 2000 tiles")
    decompositions, transformed = _coding_style(frame)
    halvings = min(reduce.bit_length() // 3, decompositions)
    plain = all(frame[at : at + 3] == b"\x07\x01\x01" for at in range(42, 42 + 3 * components, 3))  # 8 bits, no chroma
    small = _low_bands(frame, halvings) if halvings > 0 and plain and not x0 and not y0 else None  # subsampled
    if small is not None and small.shape[:2] == (-(-rows >> halvings), -(-columns >> halvings)):
        pixels = small
    else:
        pixels, halvings = _array(imagecodecs.jpeg2k_decode(frame)), 0
    return pixels if transformed else _colour(pixels, header), reduce >> halvings


def _low_bands(frame: bytes, halvings: int) -> NDArray[Any] | None:
    """The low bands of every tile-component alone; None where this decoder cannot.

    Pillow is the one that offers it. It holds the GIL meanwhile, for a tenth of the time that all bands would take.
    """
    try:
        with Pillow.open(io.BytesIO(frame), formats=["JPEG2000"]) as picture:
            picture.reduce = halvings  # type: ignore[method-assign,assignment]  # what its JPEG 2000 reader looks at
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError):
        return None


def _coding_style(frame: bytes) -> tuple[int, bool]:
    """How often the codestream's wavelet transform halves it, and whether it has a multiple component transform.

    Its decoder undoes that transform, which the DICOM header can only name (ITU-T T.800 A.6.1).
    """
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF and frame[at + 1] != 0x90:  # up to the first tile-part
        if frame[at + 1] == 0x52:  # COD
            return frame[at + 9], frame[at + 8] != 0
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return 0, False


def _rle(frame: bytes, header: FrameFormat) -> NDArray[Any]:
    """RLE Lossless (PS3.5 Annex G): planes of samples come out of it."""
    shape = (header.samples, header.rows, header.columns)
    data = bytes(imagecodecs.dicomrle_decode(frame, header.dtype.str.replace("i", "u")))
    _at_least(data, int(np.prod(shape)) * header.dtype.itemsize)
    planes = np.frombuffer(data, header.dtype, int(np.prod(shape))).reshape(shape)
    return _colour(np.moveaxis(planes, 0, -1), header)


def _same_size(rows: int, columns: int, components: int, header: FrameFormat, shorter: bool) -> None:
    """Refuse before decoding what is not the picture that the header promises."""
    fits = 1 <= rows <= header.rows and 1 <= columns <= header.columns and components == header.samples
    if not fits or (not shorter and (rows, columns) != (header.rows, header.columns)):
        raise PixelDataError(
            f"a frame is {rows} x {columns} x {components}, "
            f"the header says {header.rows} x {header.columns} x {header.samples}"
        )


def _array(decoded: Any) -> NDArray[Any]:
    return np.asarray(decoded)


# Pixels, and by which factor they still have to be reduced.
_Decoder = Callable[[bytes, FrameFormat, bool, int], tuple[NDArray[Any], int]]


def _whole(decode: Callable[[bytes, FrameFormat, bool], NDArray[Any]]) -> _Decoder:
    """Of a decoder that knows only whole pictures."""
    return lambda frame, header, shorter, reduce: (decode(frame, header, shorter), reduce)


def _unsized(decode: Callable[[bytes, FrameFormat], NDArray[Any]]) -> _Decoder:
    """Of one whose encoding has no size of its own."""
    return lambda frame, header, shorter, reduce: (decode(frame, header), reduce)


_DECODERS: Final[Mapping[str, _Decoder]] = {
    ImplicitVRLittleEndian: _unsized(_native),
    ExplicitVRLittleEndian: _unsized(_native),
    JPEGBaseline8Bit: _jpeg,
    JPEGExtended12Bit: _jpeg,
    JPEGLossless: _whole(_jpeg_lossless),
    JPEGLosslessSV1: _whole(_jpeg_lossless),
    JPEGLSLossless: _whole(_jpeg_ls),
    JPEGLSNearLossless: _whole(_jpeg_ls),
    JPEG2000Lossless: _jpeg2000,
    JPEG2000: _jpeg2000,
    HTJ2KLossless: _jpeg2000,
    HTJ2KLosslessRPCL: _jpeg2000,
    HTJ2K: _jpeg2000,
    RLELossless: _unsized(_rle),
}
