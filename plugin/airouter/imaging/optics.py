"""Whether a slide's light and pixels are of the kind that can be analysed: brightfield, 8 bits of grey or colour."""

from typing import Final

from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.imaging.codecs import FrameFormat
from airouter.imaging.header import first_item, is_code

# Concepts of CID 8123. Brightfield is transmitted light; some writers say only that.
_BRIGHTFIELD: Final = (codes.BRIGHTFIELD_ILLUMINATION, codes.TRANSMISSION_ILLUMINATION)
_OTHERS: Final = (
    codes.REFLECTION_ILLUMINATION,
    codes.EPIFLUORESCENCE_ILLUMINATION,
    codes.DARKFIELD_ILLUMINATION,
    codes.OBLIQUE_ILLUMINATION,
    codes.PHASE_CONTRAST_ILLUMINATION,
    codes.DIFFERENTIAL_INTERFERENCE_CONTRAST,
    codes.TOTAL_INTERNAL_REFLECTION_FLUORESCENCE,
)
_BITS: Final = 8


def unfit(header: Dataset, pixels: FrameFormat) -> str | None:
    """Why the images of a header must not be analysed, None where they may.

    Illumination Type is that of the optical path that is read, the first. Colour images that say nothing known of it
    are taken for brightfield; grey ones are not, as fluorescence is grey too.
    """
    path = first_item(header, "OpticalPathSequence")
    items = (path.get("IlluminationTypeCodeSequence") if path is not None else None) or []
    for other in _OTHERS:
        if any(is_code(item, other) for item in items):
            return f"the slide is not brightfield but {other.meaning}"
    grey = pixels.samples == 1
    if grey and not any(is_code(item, known) for item in items for known in _BRIGHTFIELD):
        return "the slide is monochrome and does not say that it is brightfield"
    if pixels.signed:
        return "the pixels of the slide are signed"
    if pixels.bits_stored < _BITS:
        return f"the slide has only {pixels.bits_stored} bits per sample"
    if grey and pixels.bits_stored > _BITS:
        # more bits have no fixed scale: stretched tile by tile they would make seams
        return f"the slide is monochrome with {pixels.bits_stored} bits per sample, of which none says what is white"
    return None
