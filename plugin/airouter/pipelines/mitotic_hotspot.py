"""Mitotic figures in tumour, and the circular window of a stated area that holds most of them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.finding import Finding, Measurement, Region
from airouter.imaging import hotspot
from airouter.imaging.hotspot import Hotspot
from airouter.pipelines.compartments import TUBULE, TUMOUR, Compartments
from airouter.pipelines.mitoses_of_slide import Mitoses
from airouter.pipelines.pipeline import Parameter
from airouter.pipelines.tissue_region import TissueRegion

HOTSPOT: Final = Parameter("hotspot_mm2", 2.0, "mm2", "area of the circular window of the hotspot", 0.001, 100.0)

KEY: Final = "hotspot"  # of the finding
_SAMPLES: Final = 200  # along the radius of a window, for the share of it that is tissue
_STEPS: Final = 10  # along the radius, of the places that a window is moved to
_FEW: Final = 25  # samples to choose among these


@dataclass(frozen=True, slots=True, eq=False)
class MitoticCount:
    """The figures that count, and those in the window that holds most.

    `area_mm2`: of the tumour, or of all tissue where `tumour` is False; `outline` goes around it, None where there is
    none. `why`: why there is no window, None where there is. `count`, `tissue_mm2`: figures and analysed tissue in the
    window, which is `region`, or anywhere where no figure was found. `window_mm2`: its area.
    """

    figures: Mitoses
    tumour: bool
    area_mm2: float
    outline: Region | None
    window_mm2: float
    why: str | None = None
    region: Region | None = None
    count: int = 0
    tissue_mm2: float = 0.0

    @property
    def overall(self) -> Measurement | None:
        """Figures per mm2 of all tumour or tissue."""
        if not self.area_mm2:
            return None
        return Measurement(codes.MITOTIC_DENSITY, len(self.figures) / self.area_mm2, codes.PER_MM2)


def mitotic_count(found: Mitoses, region: TissueRegion, tissue: Compartments | None, window_mm2: float) -> MitoticCount:
    """Count the figures, within tumour and tubules only where the tissue was divided into classes."""
    level = region.level
    if tissue is None:
        area, outline = region.tissue.area_mm2, region.outline()
        what, counted = "tissue", found
    else:
        mask = tissue.of(TUMOUR, TUBULE)
        area, what = tissue.area_mm2(mask), "tumour"
        counted = found.take(tissue.at(mask, found.centres, level))
        if not area:
            why = "not analysed because no tumour was found in the tissue"
            return MitoticCount(counted, True, 0.0, None, window_mm2, why)
        outline = tissue.outline(mask)
    known = tissue is not None
    if area < window_mm2:
        why = f"not analysed because the {what} measures {area:.3g} mm2 and the hotspot {window_mm2:g} mm2"
        return MitoticCount(counted, known, area, outline, window_mm2, why)
    best = hotspot.densest(counted.centres * level.spacing_um, window_mm2)
    if best is None:  # no figure at all: every window counts 0
        return MitoticCount(counted, known, area, outline, window_mm2, None, outline, 0, window_mm2)
    best = _inward(best, counted.centres * level.spacing_um, region)
    within = window_mm2 * _share(best.centre, best.radius, region, _SAMPLES)
    return MitoticCount(counted, known, area, outline, window_mm2, None, _drawn(best, region), best.count, within)


def finding(counted: MitoticCount, *extra: Measurement) -> Finding:
    """The group of the window, which must be there. The density is per mm2 of the tissue in it."""
    if counted.region is None:
        raise ValueError("there is no window")
    measured = [
        Measurement(codes.AREA, counted.window_mm2, codes.MM2),
        Measurement(codes.TISSUE_AREA, counted.tissue_mm2, codes.MM2),
        Measurement(codes.MITOTIC_COUNT, float(counted.count), codes.COUNTS),
        Measurement(codes.MITOTIC_DENSITY, counted.count / counted.tissue_mm2, codes.PER_MM2),
    ]
    if counted.tissue_mm2 != counted.window_mm2:
        density = counted.count / counted.window_mm2
        measured.append(Measurement(codes.MITOTIC_WINDOW_DENSITY, density, codes.PER_MM2))
    comment = None
    if not len(counted.figures):
        comment = (
            "No mitotic figure was found: every window counts none, and the region is that of all that was searched."
        )
    elif counted.tissue_mm2 != counted.window_mm2:
        comment = "The density is per mm2 of the tissue in the window, which is not all of it."
    return Finding(
        key=KEY,
        label="Mitotic hotspot",
        finding=codes.MITOTIC_HOTSPOT,
        region=counted.region,
        measurements=(*measured, *extra),
        comment=comment,
        method=codes.METHOD_MITOSES,
    )


def _drawn(best: Hotspot, region: TissueRegion) -> Region:
    """The window on the level, cut off at its edges."""
    level = region.level
    points = np.clip(best.outline() / level.spacing_um, 0.0, [level.columns, level.rows])
    return Region("POLYGON", level.instance_uid, points)


def _inward(best: Hotspot, places: NDArray[np.float64], region: TissueRegion) -> Hotspot:
    """The window moved, with the figures it holds, to where most of it is tissue: the nearest of equal places.

    A window that hangs over the edge would make few figures in little tissue a high density.
    """
    grid = np.arange(-_STEPS, _STEPS + 1) * (best.radius / _STEPS)
    offsets = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    offsets = offsets[np.argsort(np.hypot(*offsets.T), kind="stable")]
    centres = np.asarray(best.centre) + offsets
    away = np.hypot(*(centres[:, None] - places[best.members]).transpose(2, 0, 1)).max(axis=1)
    away[0] = 0.0  # where it is
    centres = centres[away <= best.radius]
    shares = [_share((x, y), best.radius, region, _FEW) for x, y in centres.tolist()]
    x, y = centres[int(np.argmax(shares))].tolist()
    members = best.members | (np.hypot(places[:, 0] - x, places[:, 1] - y) <= best.radius)
    return Hotspot((x, y), best.radius, members)


def _share(centre: tuple[float, float], radius: float, region: TissueRegion, samples: int) -> float:
    """The part of a window that is tissue, of points on a grid; 1 where all of them are. Never 0: it holds a figure."""
    steps = (np.arange(2 * samples) + 0.5) / samples - 1.0
    x, y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    inside = np.hypot(x, y) <= 1.0
    offsets = np.stack([x[inside], y[inside]], axis=1) * radius
    on = _on_tissue((np.asarray(centre) + offsets) / region.level.spacing_um, region)
    return max(float(on.mean()), 1.0 / len(on))


def _on_tissue(points: NDArray[np.float64], region: TissueRegion) -> NDArray[np.bool_]:
    """bool [n]: whether points (column, row) of the level lie on the tissue; none does beyond the level."""
    tissue, level = region.tissue, region.level
    places = np.floor(points * (region.to_base / tissue.factor)).astype(np.intp)
    rows, columns = tissue.mask.shape
    column, row = np.clip(places, 0, [columns - 1, rows - 1]).T
    inside = ((points >= 0.0) & (points < [level.columns, level.rows])).all(axis=1)
    return np.asarray(tissue.mask[row, column] & inside, np.bool_)
