"""The optic disc on a raster of B-scans: where the pigment epithelium and the outer layers of the retina end."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_BRIDGED_MM: Final = 0.15  # gaps so wide (vessels, columns that are not trusted) do not divide a disc
# Diameters of healthy discs are 1.2 to 2.5 mm (Jonas JB et al. Optic disc, cup and neuroretinal rim size,
# configuration and correlations in normal eyes. Invest Ophthalmol Vis Sci 1988;29:1151-1158: 0.8 to 6 mm2).
_AREA_MM2: Final = (0.5, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class Disc:
    """`centre`: (row, column) of its centre of gravity in cells, (0, 0) being the centre of the first cell.

    `away_mm`: distance of the centre from the middle of the scan. `mask`: bool [rows, columns].
    """

    centre: tuple[float, float]
    area_mm2: float
    away_mm: float
    mask: NDArray[np.bool_]


def find(open_: NDArray[np.bool_], row_um: float, column_um: float) -> Disc | None:
    """The opening of the size of a disc that lies nearest to the middle of the scan, None where there is none.

    `open_`: bool [B-scans, columns], the columns without the layers that a disc lacks. An opening that touches the
    border of the scan is cut off: it has no centre and is not taken.
    """
    reach = [max(1, round(_BRIDGED_MM * 1000.0 / spacing / 2)) for spacing in (row_um, column_um)]
    padded = np.pad(open_, [(r, r) for r in reach])
    closed = ndimage.binary_closing(padded, np.ones([2 * r + 1 for r in reach]))
    closed = ndimage.binary_fill_holes(closed)[reach[0] : -reach[0], reach[1] : -reach[1]]
    parts, count = ndimage.label(closed, np.ones((3, 3)))
    middle = (np.array(open_.shape) - 1) / 2
    found: list[Disc] = []
    for number in range(1, count + 1):
        mask = parts == number
        area = float(mask.sum()) * row_um * column_um * 1e-6
        border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
        if border or not _AREA_MM2[0] <= area <= _AREA_MM2[1]:
            continue
        row, column = (float(v.mean()) for v in np.nonzero(mask))
        away = np.hypot((row - middle[0]) * row_um, (column - middle[1]) * column_um) / 1000.0
        found.append(Disc((row, column), area, float(away), mask))
    return min(found, key=lambda d: d.away_mm, default=None)
