"""A visual field as a small picture in grey: each place as dark as the nearest test point saw little."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.imaging.perimetry import Location

_WHITE_DB: Final = 33.0  # a sensitivity that is drawn white
_PAPER: Final = 236
_REACH_DEG: Final = 5.0  # from a test point; beyond lies paper
_DARKEST, _LIGHTEST = 20.0, 250.0


def field_thumbnail(points: Sequence[Location], side: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3], the fixation in the middle, up above. A point that was not seen is black, one of which
    nothing is known is left out."""
    known = [point for point in points if not point.seen or point.sensitivity is not None]
    picture = np.full((side, side), float(_PAPER))
    if known:
        at = np.array([point.at for point in known])
        seen = np.array([point.sensitivity if point.seen and point.sensitivity is not None else 0.0 for point in known])
        reach = float(np.abs(at).max()) + _REACH_DEG
        axis = (np.arange(side) + 0.5) / side * 2.0 * reach - reach
        x, y = np.meshgrid(axis, -axis)
        far = np.hypot(x[..., None] - at[:, 0], y[..., None] - at[:, 1])
        grey = _DARKEST + np.clip(seen / _WHITE_DB, 0.0, 1.0) * (_LIGHTEST - _DARKEST)
        drawn = far.min(axis=2) <= _REACH_DEG
        picture[drawn] = grey[far.argmin(axis=2)][drawn]
        middle = side // 2
        picture[middle, :] = np.minimum(picture[middle, :], 150.0)
        picture[:, middle] = np.minimum(picture[:, middle], 150.0)
    return np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2)
