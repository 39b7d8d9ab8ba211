"""Where tissue is on a slide without colours: what is darker than the glass.

Of a brightfield picture the glass is the brightest. Otsu's threshold on the darkness is held between two distances
from the glass, as `airouter.imaging.tissue` does with the saturation of a colour picture; they are wider, since a lamp
that lights the field unevenly changes brightness and leaves saturation as it is.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.level import Image
from airouter.imaging.tissue import cleaned

_MEDIAN: Final = 3
# Darkness is 255 less the grey value.
_GLASS: Final = 55  # glass is no darker than this
_GLASS_SHARE: Final = 0.005  # fewer such pixels are no glass but pale tissue
_ABOVE_GLASS: Final = (10, 20)
_WITHOUT_GLASS: Final = 20


def dark_mask(grey: Image, pixel_um: float) -> NDArray[np.bool_]:
    """bool [rows, columns]: which pixels of a low-power picture (uint8, equal channels, pixel_um each) are tissue."""
    darkness = 255 - np.asarray(cv2.medianBlur(np.ascontiguousarray(grey[..., 0]), _MEDIAN), np.uint8)
    glass = darkness[darkness <= _GLASS]
    if glass.size < _GLASS_SHARE * darkness.size:
        return cleaned(darkness > _WITHOUT_GLASS, pixel_um)
    base = float(np.percentile(glass, 10))
    otsu, _ = cv2.threshold(darkness, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return cleaned(darkness > float(np.clip(otsu, base + _ABOVE_GLASS[0], base + _ABOVE_GLASS[1])), pixel_um)
