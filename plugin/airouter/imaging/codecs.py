"""From one encoded frame to 8-bit pixels.

What a frame claims to be is read from its own header first and compared with the DICOM header, so that no decoder is
asked to make a picture of another size than was promised, or one that does not fit the budget.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
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


def decode(frame: bytes, header: FrameFormat, *, shorter: bool = False) -> Image:
    """One frame as uint8 [rows, columns, samples]; three samples are RGB.

    Grey: MONOCHROME1 is inverted. More than 8 bits of grey are mapped linearly from the 0.5 to the 99.9 percentile of
    this frame to 0..255 and clipped; a window in the header is a display preference and not used. More than 8 bits of
    colour lose their low bits. `shorter` accepts a codestream with fewer rows or columns than the header says, as some
    writers make the tiles at the right and bottom edge; the array then has the size of the codestream.

    Raises PixelDataError for truncated or foreign data, and for a codestream of another size than the header says.
    """
    try:
        pixels = _DECODERS[header.transfer_syntax](frame, header, shorter)
    except (ValueError, RuntimeError, struct.error, IndexError) as error:
        raise PixelDataError(f"a frame cannot be decoded: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    fits = pixels.ndim == 3 and pixels.shape[2] == header.samples
    fits &= pixels.shape[0] <= header.rows and pixels.shape[1] <= header.columns
    if not fits or (not shorter and pixels.shape[:2] != (header.rows, header.columns)):
        raise PixelDataError(
            f"a frame decodes to {pixels.shape}, the header says {header.rows} x {header.columns} x {header.samples}"
        )
    return _eight_bit(pixels, header)


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


def _native(frame: bytes, header: FrameFormat, _: bool) -> NDArray[Any]:
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


def _jpeg(frame: bytes, header: FrameFormat, shorter: bool) -> NDArray[Any]:
    """JPEG baseline and extended with 8 bits. The codestream's own colour markers win over the DICOM header."""
    if header.bits_allocated != 8:
        raise PixelDataError("JPEG with 12 bits is not supported")
    rows, columns, colour, subsampling = simplejpeg.decode_jpeg_header(frame)
    _same_size(rows, columns, 1 if colour == "Gray" else header.samples, header, shorter)
    if header.samples == 1:
        return _array(simplejpeg.decode_jpeg(frame, colorspace="GRAY"))
    unmarked = colour == "YCbCr" and subsampling == "444" and header.photometric == "RGB"
    if unmarked and frame[2:4] not in (b"\xff\xe0", b"\xff\xee"):
        # libjpeg takes three unmarked components for YCbCr; an Adobe marker with transform 0 says that they are RGB.
        frame = frame[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + frame[2:]
    return _array(simplejpeg.decode_jpeg(frame, colorspace="RGB"))


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


def _jpeg2000(frame: bytes, header: FrameFormat, shorter: bool) -> NDArray[Any]:
    """JPEG 2000 and HTJ2K codestreams (ITU-T T.800 A.5.1 and A.6.1, T.814)."""
    if frame[:4] != b"\xff\x4f\xff\x51" or len(frame) < 42:
        raise PixelDataError("a frame is no JPEG 2000 codestream")
    x, y, x0, y0, tile_x, tile_y = struct.unpack(">6I", frame[8:32])
    _same_size(y - y0, x - x0, int.from_bytes(frame[40:42], "big"), header, shorter)
    if not tile_x or not tile_y or -(-x // tile_x) * -(-y // tile_y) > _MAX_J2K_TILES:
        raise PixelDataError("a frame is cut into too many JPEG 2000 tiles")
    pixels = _array(imagecodecs.jpeg2k_decode(frame))
    return pixels if _multiple_component_transform(frame) else _colour(pixels, header)


def _multiple_component_transform(frame: bytes) -> bool:
    """Whether the codestream itself carries the colour transform, which its decoder then undoes."""
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF and frame[at + 1] != 0x90:  # up to the first tile-part
        if frame[at + 1] == 0x52:  # COD
            return frame[at + 8] != 0
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return False


def _rle(frame: bytes, header: FrameFormat, _: bool) -> NDArray[Any]:
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


_Decoder = Callable[[bytes, FrameFormat, bool], NDArray[Any]]
_DECODERS: Final[Mapping[str, _Decoder]] = {
    ImplicitVRLittleEndian: _native,
    ExplicitVRLittleEndian: _native,
    JPEGBaseline8Bit: _jpeg,
    JPEGExtended12Bit: _jpeg,
    JPEGLossless: _jpeg_lossless,
    JPEGLosslessSV1: _jpeg_lossless,
    JPEGLSLossless: _jpeg_ls,
    JPEGLSNearLossless: _jpeg_ls,
    JPEG2000Lossless: _jpeg2000,
    JPEG2000: _jpeg2000,
    HTJ2KLossless: _jpeg2000,
    HTJ2KLosslessRPCL: _jpeg2000,
    HTJ2K: _jpeg2000,
    RLELossless: _rle,
}
