"""From the colours of a scanner to sRGB, by the ICC profile that a slide carries.

The intent is relative colorimetric without black point compensation: colours as they were measured, with the medium's
white (glass) as white. Perceptual tables re-render colours to the taste of the profile's maker, and the intent that a
profile's own header names is a preference for display.
"""

import io
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image as Picture
from PIL import ImageCms
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.imaging.header import first_item
from airouter.imaging.level import Image

_WHY: Final = "not analysed because the model reads sRGB colours and the slide's ICC profile {}"
_MOST_BYTES: Final = 32 << 20  # the largest profiles of scanners have a few megabytes


def icc_profile(header: Dataset) -> bytes | None:
    """ICC Profile (PS3.3 C.11.15) of the optical path that is read: the first of Optical Path Sequence."""
    path = first_item(header, "OpticalPathSequence")
    profile = path.get("ICCProfile") if path is not None else None
    return profile if isinstance(profile, bytes) and profile else None


def to_srgb(profile: bytes | None) -> Callable[[Image], Image] | Ungradable:
    """What turns uint8 RGB [rows, columns, 3] of that profile into sRGB; threads may share it.

    Ungradable where there is no profile, it cannot be read, or it is not of RGB colours.
    """
    if profile is None:
        return Ungradable(_WHY.format("is missing"))
    if len(profile) > _MOST_BYTES:
        return Ungradable(_WHY.format(f"is implausibly large: {len(profile)} bytes"))
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != "RGB":
            return Ungradable(_WHY.format(f"is one of {space} colours"))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return Ungradable(_WHY.format(f"cannot be used: {error}"))

    def convert(pixels: Image) -> Image:
        return np.array(transform.apply(Picture.fromarray(pixels)), np.uint8)

    return convert
