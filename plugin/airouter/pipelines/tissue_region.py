"""What every pipeline on slides does first: may the model see this slide, where is tissue, which patches hold it."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Region, Ungradable
from airouter.domain.model import Model
from airouter.imaging import contours
from airouter.imaging.level import Level
from airouter.imaging.patches import PatchPlan
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_AND_E, H_DAB
from airouter.imaging.tissue import Tissue

_MANY: Final = 0.9  # share of the tissue that one piece must hold to stand for all of it as the finding's region
_NO_TISSUE: Final = "not analysed because no tissue was found on the slide"


@dataclass(frozen=True, slots=True, eq=False)
class TissueRegion:
    """The tissue of a slide and the plan of the patches that a model sees of it."""

    slide: Slide
    tissue: Tissue
    plan: PatchPlan

    @property
    def level(self) -> Level:
        """The level that the model's patches are taken from."""
        return self.plan.level

    @property
    def to_base(self) -> float:
        """Pixels of the slide's finest level per pixel of the level, as the plan was told."""
        return self.level.spacing_um / self.slide.base.spacing_um

    def outline(self) -> Region:
        """One polygon on the level: around the largest piece of tissue, or the hull where there are several."""
        level, base = self.level, self.slide.base
        scale = np.array([level.columns / base.columns, level.rows / base.rows])
        return outline_of(self.tissue.mask, self.tissue.factor * scale, level)

    def areas_mm2(self) -> NDArray[np.float64]:
        """[n]: tissue in the core of each patch of the plan, in mm2; their sum is the area of the tissue.

        A core has its share of each pixel of the tissue's mask that it cuts.
        """
        areas = self.tissue.areas_mm2(self._edges(0), self._edges(1))
        rows, columns = np.array(self.plan.cells, np.intp).reshape(-1, 2).T
        return np.asarray(areas[rows, columns], np.float64)

    def _edges(self, axis: int) -> NDArray[np.float64]:
        """Where the cores begin, and the last one ends, in pixels of the slide's finest level."""
        step = self.plan.size[axis] - 2 * self.plan.overlap
        end = self.tissue.covered[axis]
        starts = np.arange(-(-self.plan.shape[axis] // step)) * step * self.plan.scale * self.to_base
        return np.append(np.minimum(starts, end), end)


def outline_of(mask: NDArray[np.bool_], scale: float | NDArray[np.float64], level: Level) -> Region:
    """One polygon on a level around a mask that is not empty: its largest part, or the hull where it has several.

    `scale`: level pixels per pixel of the mask, one number or (along columns, along rows).
    """
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    pieces = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + int(pieces.argmax())
    alone = pieces.max() >= _MANY * pieces.sum()
    found = []
    for number in [largest] if alone else range(1, len(stats)):
        x, y, wide, high = stats[number, :4]
        found.append(contours.outline(parts[y : y + high, x : x + wide] == number) + np.array([x, y], np.float32))
    points = found[0] if alone else contours.hull(np.concatenate(found))
    placed = np.clip(points * scale, 0, [level.columns, level.rows])
    return Region("POLYGON", level.instance_uid, np.asarray(placed, np.float64))


def tissue_region(slide: Slide, model: Model, where: Tissue | None = None) -> TissueRegion | Ungradable:
    """Plan the patches of `model` on the tissue of a slide, or on what `where` has in its place.

    Ungradable where the model is not made for the stain or needs colour, where there is no tissue, where the slide is
    coarser than the model needs, and where it does not say where its pixels lie on the glass.
    """
    if reason := _unfit(slide, model):
        return Ungradable(reason)
    tissue = slide.tissue() if where is None else where
    if not tissue:
        return Ungradable(_NO_TISSUE)
    image = model.input
    spacing_um = image.spacing_um or slide.base.spacing_um
    plan = slide.patches(spacing_um, size=image.size, overlap=image.overlap, tissue=tissue, icc=image.icc)
    if isinstance(plan, Ungradable):
        return plan
    if not len(plan):  # a coarser level may end short of the last pixels of the finest one
        return Ungradable(_NO_TISSUE)
    for level in (slide.base, plan.level):
        if isinstance(level.geometry, str):  # no mask, map or region could say where on the glass it lies
            return Ungradable(f"not analysed because the slide does not say where its pixels lie: {level.geometry}")
    return TissueRegion(slide, tissue, plan)


def other_stain(slide: Slide, wanted: str, defined: str) -> Ungradable | None:
    """Why a quantity that is `defined` (a clause: "mitoses are counted") in one stain cannot be measured, or None.

    Whatever stains a model takes, an unstated stain is none: the quantity would be another one.
    """
    if slide.stain == wanted:
        return None
    stain = f"is {slide.stain}" if slide.stain else "is not stated in the header"
    return Ungradable(f"not analysed because the stain {stain}, and {defined} in {wanted}")


def _unfit(slide: Slide, model: Model) -> str | None:
    """Why the model must not see the slide. An unstated stain may be any of those the router can tell apart."""
    if slide.monochrome and model.input.channels == 3:
        return "not analysed because the slide is monochrome and the model reads colours"
    accepted = model.reads.stains
    possible = {slide.stain} if slide.stain else {H_AND_E, H_DAB}
    if not accepted or possible <= set(accepted):
        return None
    stain = f"is {slide.stain}" if slide.stain else "is not stated in the header"
    return f"not analysed because the stain {stain} and the model is made for {' and '.join(accepted)}"
