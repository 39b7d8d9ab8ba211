"""The tissue of a slide divided into classes: tumour, stroma and what else a model of tissue knows.

The model sees overlapping patches at its own spacing over the tissue; of each answer only the core counts, which no
other patch has. What lies off the tissue is not analysed, because how much glass a patch shows is chance.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Region, Segment, Segmentation, Ungradable
from airouter.domain.model import Head, HeadKind, Model, contract
from airouter.imaging.level import Level
from airouter.imaging.mosaic import Mosaic
from airouter.imaging.patches import Patch
from airouter.imaging.slide import Slide
from airouter.imaging.tissue import pixels_of_cells
from airouter.pipelines import tissue_classes
from airouter.pipelines.pipeline import Companion
from airouter.pipelines.predictions import predictions
from airouter.pipelines.tissue_region import TissueRegion, outline_of, tissue_region
from airouter.ports import Predictor, ProgressSink

# The companion that divides the tissue, and the names of the classes that pipelines know.
TISSUE: Final = "tissue"
TUMOUR: Final = "tumour"
TUBULE: Final = "tubule"  # tumour that forms tubules, their lumen included
STROMA: Final = "stroma"
NECROSIS: Final = "necrosis"
NORMAL: Final = "normal"
INK: Final = "ink"  # on the margin of the specimen

_BED_PIXELS: Final = 1 << 26  # a larger field is closed on a coarser grid
# Segmented property category (CID 7150) of the types the router knows; of any other class it only says: tissue.
_CATEGORY: Final = {
    (code.value, code.scheme): category
    for category, members in {
        codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE: (codes.NEOPLASM, codes.NECROSIS, codes.TUMOUR_TUBULE),
        codes.SUBSTANCE: (codes.MARGIN_INK,),
        codes.QUALITY: (
            *(codes.USABLE_TISSUE, codes.UNUSABLE_TISSUE, codes.IN_FOCUS, codes.OUT_OF_FOCUS, codes.FOLDED_TISSUE),
            *(codes.ADEQUATELY_STAINED, codes.INADEQUATELY_STAINED, codes.SLIDE_MARKING, codes.TISSUE_MARKING),
            *(codes.AIR_BUBBLE, codes.COVERSLIP_EDGE, codes.COVER_SLIP_DEFECT, codes.SCRATCH),
            *(codes.STITCHING, codes.STRIPES, codes.FOREIGN_MATERIAL),
        ),
    }.items()
    for code in members
}

# (number, patch, maps) -> anything; `maps` as Predictor.predict gives them. Called by several threads.
Watch = Callable[[int, Patch, NDArray[np.float32]], Any]


def tissue_companion(*classes: str, required: bool = False) -> Companion:
    """What a pipeline asks of a model that divides the tissue for it."""
    return Companion(TISSUE, HeadKind.SEGMENTATION, classes, required)


@dataclass(frozen=True, slots=True, eq=False)
class Compartments:
    """The classes of a model on one level.

    `mask`: uint8 [rows, columns] over the whole level, `factor` level pixels a side per pixel; 0 was not analysed,
    n + 1 is class n of the model, one more than the number of classes is none of them. `pixels`: float64 [256], how
    many level pixels have each value. `watched`: what the watcher said of each patch, in the order of the patches.
    """

    region: TissueRegion
    model: Model
    mask: NDArray[np.uint8] = field(repr=False)
    factor: int
    pixels: NDArray[np.float64] = field(repr=False)
    watched: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def level(self) -> Level:
        """The level that the mask lies on."""
        return self.region.level

    @property
    def pixel_um(self) -> float:
        """Side of a pixel of the mask in um."""
        return self.factor * self.level.spacing_um

    @property
    def tissue_mm2(self) -> float:
        """Area of all tissue that was analysed."""
        return float(self.pixels[1:].sum()) * self.level.spacing_um**2 * 1e-6

    def has(self, name: str) -> bool:
        """Whether the model knows the class."""
        return self.model.head.index(name) is not None

    def class_mm2(self, name: str) -> float:
        """Area of one class, 0 of one that the model does not know."""
        index = self.model.head.index(name)
        return 0.0 if index is None else float(self.pixels[index + 1]) * self.level.spacing_um**2 * 1e-6

    def of(self, *names: str) -> NDArray[np.bool_]:
        """bool as `mask`: the pixels of any of the classes; those that the model does not know have none."""
        wanted = np.zeros(256, np.bool_)
        wanted[[index + 1 for name in names if (index := self.model.head.index(name)) is not None]] = True
        return np.asarray(wanted[self.mask], np.bool_)

    def analysed(self) -> NDArray[np.bool_]:
        """bool as `mask`: the tissue, of whatever class."""
        return np.asarray(self.mask > 0, np.bool_)

    def area_mm2(self, mask: NDArray[np.bool_]) -> float:
        """Area of a mask on this grid; of a pixel at the end of the level only what lies on it."""
        high, wide = (
            pixels_of_cells(length, cells, self.factor).astype(np.float64)
            for length, cells in zip((self.level.rows, self.level.columns), mask.shape, strict=True)
        )
        return float(high @ mask @ wide) * self.level.spacing_um**2 * 1e-6

    def at(self, mask: NDArray[Any], points: NDArray[np.floating], level: Level) -> NDArray[Any]:
        """[n]: the values of a mask on this grid at (column, row) [n, 2] in pixels of any level of the slide."""
        places = np.asarray(points, np.float64).reshape(-1, 2) * (level.spacing_um / self.pixel_um)
        columns, rows = np.clip(places.astype(np.intp), 0, [mask.shape[1] - 1, mask.shape[0] - 1]).T
        return np.asarray(mask[rows, columns])

    def to_level(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(column, row) in pixels of the mask to pixels of its level, kept on it."""
        limit = [self.level.columns, self.level.rows]
        return np.asarray(np.clip(np.asarray(points, np.float64) * self.factor, 0, limit), np.float64)

    def outline(self, mask: NDArray[np.bool_]) -> Region:
        """One polygon around a mask on this grid that is not empty: its largest part, or the hull where it has several.

        A part with nine tenths of the area stands for all.
        """
        return outline_of(mask, float(self.factor), self.level)

    def bed(self, distance_um: float) -> NDArray[np.bool_]:
        """bool as `mask`: the tumour bed: tumour, tubules and necrosis closed by a disc of this radius, within tissue.

        What lies between nests of tumour less than twice the distance apart belongs to the bed.
        """
        tumour = self.of(TUMOUR, TUBULE, NECROSIS)
        return closed(tumour, distance_um / self.pixel_um) & self.analysed()

    def segmentation(self, role: str, label: str, *, in_place: bool = False) -> Segmentation | None:
        """The mask with the reported classes alone, numbered from 1; None where there is nothing of them.

        `in_place`: `mask` becomes the segmentation's own, which saves a second one of its size.
        """
        reported = tissue_classes.reported(self.model)
        if not any(self.pixels[n + 1] for n, _, _ in reported):
            return None
        values = np.zeros(256, np.uint8)
        for segment, (n, _, _) in enumerate(reported, start=1):
            values[n + 1] = segment
        mask = self.mask if in_place else np.empty_like(self.mask)
        for there, out in zip(self.mask, mask, strict=True):
            np.take(values, there, out=out, mode="clip")  # the mode keeps numpy from buffering
        segments = tuple(
            Segment(segment, each.name, _category(code), code)
            for segment, (_, each, code) in enumerate(reported, start=1)
        )
        return Segmentation(role, label, self.level.instance_uid, mask, segments, self.factor)


def compartments_for(
    slide: Slide, predict: Predictor, threads: float | None, progress: ProgressSink
) -> Compartments | Ungradable:
    """`compartments`, made once for all jobs that wait for the slide: nobody may write into its mask."""
    key = ("compartments", predict.model.sha256, contract(predict.model), predict.model.reads.stains)
    return slide.memo.get(key, lambda: compartments(slide, predict, threads, progress))


def compartments(
    slide: Slide,
    predict: Predictor,
    threads: float | None,
    progress: ProgressSink,
    watch: Watch | None = None,
    region: TissueRegion | None = None,
) -> Compartments | Ungradable:
    """Give every pixel of the tissue its class. `region`: that of slide and model, where the caller has it already.

    Ungradable as airouter.pipelines.tissue_region says, and where the patches show no tissue. Raises ModelOutputError,
    PixelDataError, ArchiveError, JobCanceled.
    """
    found = region or tissue_region(slide, predict.model)
    if isinstance(found, Ungradable):
        return found
    mosaic = Mosaic(found.plan, found.tissue, found.to_base)
    head = predict.model.head

    def put(number: int, patch: Patch, maps: NDArray[np.float32]) -> tuple[NDArray[np.float64], Any]:
        counts = mosaic.put(patch, _classes(maps[:, *patch.core], head))
        return counts, None if watch is None else watch(number, patch, maps)

    pixels = np.zeros(256)
    watched = []
    for counts, said in predictions(found.plan, predict, threads, progress, put):
        pixels += counts
        if watch is not None:
            watched.append(said)
    if not pixels[1:].any():
        return Ungradable("not analysed because no tissue was found on the slide")
    return Compartments(found, predict.model, mosaic.mask, mosaic.factor, pixels, tuple(watched))


def closed(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Closing of a mask by a disc of `radius` pixels, as if the plane went on beyond its edges.

    A mask of more than 64 M pixels is closed on a coarser grid.
    """
    if not mask.any():
        return mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    part = mask[box]
    shape = part.shape
    coarse = 1
    while (shape[0] // coarse + 2 * radius / coarse) * (shape[1] // coarse + 2 * radius / coarse) > _BED_PIXELS:
        coarse *= 2
    if coarse > 1:
        part = _any_of(part, coarse)
    margin = int(np.ceil(radius / coarse)) + 1
    away = cv2.distanceTransform((~np.pad(part, margin)).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = np.asarray(away <= radius / coarse)
    inside = cv2.distanceTransform(grown.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    kept = np.asarray(inside > radius / coarse)[margin:-margin, margin:-margin]
    if coarse > 1:
        kept = kept.repeat(coarse, axis=0).repeat(coarse, axis=1)[: shape[0], : shape[1]]
    out = mask.copy()
    out[box] |= kept
    return out


def _any_of(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    padded = np.pad(mask, [(0, -length % factor) for length in mask.shape])
    return np.asarray(
        padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor).any(axis=(1, 3)), np.bool_
    )


def _classes(maps: NDArray[np.float32], head: Head) -> NDArray[np.uint8]:
    """[rows, columns]: number of the class from 1, or of none of them, which comes after the last."""
    if head.exclusive:
        return np.asarray(maps.argmax(axis=0) + 1, np.uint8)
    return np.asarray(2 - (maps[0] >= head.classes[0].threshold), np.uint8)


def _category(code: Code) -> Code:
    return _CATEGORY.get((code.value, code.scheme), codes.TISSUE)
