"""What every segmentation has, whatever it lies on: its segments, and frames packed to bits."""

import io
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from airouter.domain.finding import Segmentation
from airouter.evidence.identity import Identity, clip, code

# Display colours (RGB) of segments 1, 2, ...: distinct also with red-green colour blindness (Okabe and Ito, 2008).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def _descriptions(segmentation: Segmentation, identity: Identity) -> list[hd.seg.SegmentDescription]:
    return [
        hd.seg.SegmentDescription(
            segment_number=segment.number,
            segment_label=clip(segment.label),
            segmented_property_category=code(segment.category),
            segmented_property_type=code(segment.type),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identity.algorithm(),
            tracking_uid=identity.job.uid(f"finding|{segmentation.role}|segment {segment.number}"),
            tracking_id=clip(f"{segmentation.label} {segment.label}"),
            display_color=hd.color.CIELabColor.from_rgb(*_COLOURS[(segment.number - 1) % len(_COLOURS)]),
        )
        for segment in segmentation.segments
    ]


def arguments(segmentation: Segmentation, identity: Identity, series_number: int) -> dict[str, Any]:
    """Keyword arguments of hd.seg.Segmentation that do not depend on the mask."""
    return {
        **identity.common(segmentation.label),
        "segmentation_type": hd.seg.SegmentationTypeValues.BINARY,
        "segment_descriptions": _descriptions(segmentation, identity),
        "series_instance_uid": identity.job.uid(f"{segmentation.role} series"),
        "sop_instance_uid": identity.job.uid(segmentation.role),
        "series_number": series_number,
        "content_description": clip(segmentation.label),
        "transfer_syntax_uid": ExplicitVRLittleEndian,
    }


class Bits:
    """Pixel Data of BINARY frames: bit after bit, also across the border of two frames (PS3.5 8.1.1)."""

    def __init__(self) -> None:
        self._packed = io.BytesIO()
        self._rest = np.empty(0, dtype=np.bool_)  # fewer than 8 pixels that do not fill a byte yet

    def add(self, plane: NDArray[np.bool_]) -> None:
        """One more frame; `plane` is not kept."""
        pixels = plane.reshape(-1)
        if len(self._rest) or len(pixels) % 8:
            pixels = np.concatenate([self._rest, pixels])
            whole = len(pixels) // 8 * 8
            pixels, self._rest = pixels[:whole], pixels[whole:].copy()
        self._packed.write(np.packbits(pixels, bitorder="little").data)

    def pixel_data(self) -> bytes:
        """All frames, padded with zero bits to an even number of bytes. Nothing may be added afterwards."""
        self._packed.write(np.packbits(self._rest, bitorder="little").data)
        if self._packed.tell() % 2:
            self._packed.write(b"\0")
        return self._packed.getvalue()
