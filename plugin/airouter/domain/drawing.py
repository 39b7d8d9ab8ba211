"""What a person or another system drew on a slide."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from airouter.domain.code import Code


@dataclass(frozen=True, slots=True)
class Drawing:
    """One annotation group on a slide.

    `uid`: SOP Instance UID of the object that holds it; `label` and `type` as written there; `graphic`: POINT,
    POLYLINE, POLYGON, RECTANGLE or ELLIPSE; `automatic`: no person took part; `shapes`: for each annotation float64
    [n, 2] of (column, row) in pixels of the slide's finest level.
    """

    uid: str
    label: str
    type: Code
    graphic: str
    automatic: bool
    shapes: tuple[NDArray[np.float64], ...] = field(repr=False)
