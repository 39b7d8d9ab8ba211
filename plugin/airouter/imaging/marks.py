"""Where on a slide anything is but clean glass: tissue, and pen marks, bubbles or edges of glass beside it.

What absorbs or scatters light is darker than the glass, what is coloured need not be: a pixel counts where the tissue's
mask has it (airouter.imaging.tissue) or where it is darker than the glass (airouter.imaging.brightness).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.brightness import dark_mask
from airouter.imaging.level import Image
from airouter.imaging.slide import Slide
from airouter.imaging.tissue import Tissue, tissue, tissue_mask


def anything(slide: Slide) -> Tissue:
    """Mask of what is not clean glass, on the same grid as `Slide.tissue`. Raises PixelDataError as that does."""
    return tissue(slide.levels, dark_mask if slide.monochrome else anything_mask)


def anything_mask(rgb: Image, pixel_um: float) -> NDArray[np.bool_]:
    """bool [rows, columns]: which pixels of a low-power picture (uint8 RGB, pixel_um per pixel) are not clean glass."""
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.asarray(tissue_mask(rgb, pixel_um) | dark_mask(grey[..., None], pixel_um), np.bool_)
