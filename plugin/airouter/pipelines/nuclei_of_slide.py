"""Every nucleus of a slide once: patches through the model, nuclei apart, doubles at the borders of patches removed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Model
from airouter.imaging import contours, nuclei, seams
from airouter.imaging.level import Level
from airouter.imaging.patches import Patch, PatchPlan
from airouter.pipelines.pipeline import Values
from airouter.pipelines.predictions import predictions
from airouter.ports import Predictor, ProgressSink

CLASSES: Final = ("nucleus", "boundary")
# Kinds of cell that a model may tell apart, each by a class of its own beside the two above.
KINDS: Final = ("tumour", "lymphocyte", "stromal", "normal")

# Two centres nearer than this are one nucleus: the smallest that is counted is 3.2 um across (8 um2).
_SAME_UM: Final = 1.5
# Where the surround of a nucleus is looked at: beyond the blur of its edge, well within the cytoplasm.
_SURROUND_UM: Final = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei in pixels of one level: centre (column, row), depth in their core, area, outline.

    `od` is the mean optical density of DAB in the nucleus, `surround` that around it; NaN where it was not measured.
    `kind` is the place of its kind among those that were asked for, -1 where the model knows none of them or none wins.
    `measured`: [n, values], what the caller had measured of each; no values where it had nothing.
    """

    centres: NDArray[np.float64]
    depth: NDArray[np.float64]
    patch: NDArray[np.int64]
    area_um2: NDArray[np.float64]
    od: NDArray[np.float64]
    surround: NDArray[np.float64]
    kind: NDArray[np.int64]
    measured: NDArray[np.float64]
    outlines: list[NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.centres)

    def take(self, keep: NDArray[np.bool_]) -> "Nuclei":
        outlines = [points for points, kept in zip(self.outlines, keep.tolist(), strict=True) if kept]
        return Nuclei(
            self.centres[keep],
            self.depth[keep],
            self.patch[keep],
            self.area_um2[keep],
            self.od[keep],
            self.surround[keep],
            self.kind[keep],
            self.measured[keep],
            outlines,
        )


InPatch = Callable[[int, Patch, NDArray[np.float32]], Nuclei]
# (patch, labels of its nuclei, wanted labels): float64 [wanted, values]. Called by several threads.
Measure = Callable[[Patch, NDArray[np.int32], NDArray[np.int64]], NDArray[np.float64]]


def count(
    plan: PatchPlan,
    predict: Predictor,
    values: Values,
    stained: bool,
    progress: ProgressSink,
    kinds: Sequence[str] = KINDS,
    measure: Measure | None = None,
) -> Nuclei:
    """All nuclei of the plan, each once, in the order of patches and of rows within a patch.

    A nucleus is of the kind, among `kinds` that the model has a class for, whose mean probability over its pixels is
    highest, if that reaches the threshold of the class. Raises as `predictions` does.
    """
    separate = finder(plan, predict.model, values, stained, kinds, measure)
    return unique(plan, list(predictions(plan, predict, values.get("workers"), progress, separate)))


def finder(
    plan: PatchPlan,
    model: Model,
    values: Values,
    stained: bool,
    kinds: Sequence[str] = KINDS,
    measure: Measure | None = None,
) -> InPatch:
    """What finds the nuclei of one patch in a model's answer, for callers that look for other things in it too."""
    nucleus, boundary = (model.head.channel(name) for name in CLASSES)
    threshold = model.head.classes[nucleus].threshold
    typed = [(n, index) for n, name in enumerate(kinds) if (index := model.head.index(name)) is not None]
    limits = np.array([model.head.classes[index].threshold for _, index in typed], np.float32)  # as the maps are
    numbers, channels = np.array(typed, np.int64).reshape(-1, 2).T

    least = values["min_area_um2"]

    def separate(number: int, patch: Patch, maps: NDArray[np.float32]) -> Nuclei:
        return _in_patch(
            patch,
            number,
            maps[nucleus],
            maps[boundary],
            plan,
            threshold,
            least,
            stained,
            lambda labels: _kinds(maps[channels], labels, numbers, limits),
            measure,
        )

    return separate


def unique(plan: PatchPlan, parts: list[Nuclei]) -> Nuclei:
    """The nuclei of all patches, each once: what two patches found at their border is one."""
    found = _joined(parts)
    radius = _SAME_UM / plan.level.spacing_um
    return found.take(seams.unique(found.centres, found.depth, found.patch, radius))


def _in_patch(
    patch: Patch,
    number: int,
    nucleus: NDArray[np.float32],
    boundary: NDArray[np.float32],
    plan: PatchPlan,
    threshold: float,
    min_area_um2: float,
    stained: bool,
    kinds: Callable[[NDArray[np.int32]], NDArray[np.int64]],
    measure: Measure | None,
) -> Nuclei:
    """Nuclei whose centre lies in the patch's core, or so near outside that the neighbour may miss them."""
    spacing_um = plan.spacing_um
    nucleus = on_level(nucleus, patch, plan.level)
    labels = nuclei.instances(nucleus, boundary, spacing_um=spacing_um, threshold=threshold, min_area_um2=min_area_um2)
    centres, counts = contours.centroids(labels)
    rows, columns = patch.core
    x, y = centres.T
    depth = np.stack([x - columns.start, columns.stop - x, y - rows.start, rows.stop - y]).min(axis=0)
    wanted = np.flatnonzero((counts > 0) & (depth > -_SAME_UM / spacing_um))
    wanted = wanted[wanted > 0]
    origin = np.array([patch.column, patch.row])
    limit = np.array([plan.level.columns, plan.level.rows])
    outlines = contours.outlines(labels, wanted)
    od, surround = np.full((2, len(counts)), np.nan)
    if stained:
        density = nuclei.dab_od(patch.pixels)
        od = nuclei.mean_per_label(density, labels).astype(np.float64)
        around = nuclei.mean_per_label(density, _around(labels, spacing_um)).astype(np.float64)
        surround[: len(around)] = around  # the last nuclei may have no surround of their own
    return Nuclei(
        centres=centres[wanted] * patch.scale + origin,
        depth=depth[wanted] * patch.scale,
        patch=np.full(len(wanted), number, np.int64),
        area_um2=(counts[wanted] * spacing_um**2).astype(np.float64),
        od=od[wanted],
        surround=surround[wanted],
        kind=kinds(labels)[wanted],
        measured=measure(patch, labels, wanted) if measure else np.zeros((len(wanted), 0)),
        outlines=[np.clip(points * patch.scale + origin, 0, limit).astype(np.float32) for points in outlines],
    )


def _kinds(
    maps: NDArray[np.float32], labels: NDArray[np.int32], numbers: NDArray[np.int64], limits: NDArray[np.float32]
) -> NDArray[np.int64]:
    """int64 [labels + 1]: number of the kind whose map [kinds, rows, columns] is highest on average, else -1."""
    count = int(labels.max()) + 1 if labels.size else 1
    if not len(numbers):
        return np.full(count, -1, np.int64)
    means = np.stack([nuclei.mean_per_label(each, labels) for each in maps])
    first = means.argmax(axis=0)  # the earlier of equals
    reached = means[first, np.arange(count)] >= limits[first]
    return np.where(reached, numbers[first], -1)


def on_level(nucleus: NDArray[np.float32], patch: Patch, level: Level) -> NDArray[np.float32]:
    """The map with nothing beyond the level: what a model adds to a nucleus there is not on the slide."""
    inside = []
    for start, count, end in zip((patch.row, patch.column), nucleus.shape, (level.rows, level.columns), strict=True):
        places = start + (np.arange(count) + 0.5) * patch.scale
        inside.append((places >= 0) & (places < end))
    if all(axis.all() for axis in inside):
        return nucleus
    return np.where(np.outer(*inside), nucleus, np.float32(0.0))


def _around(labels: NDArray[np.int32], spacing_um: float) -> NDArray[np.int32]:
    """A ring around each label, free of other labels; where two rings meet the higher label has it."""
    inner, outer = (2 * max(1, round(um / spacing_um)) + 1 for um in _SURROUND_UM)
    numbers = labels.astype(np.float32)
    near = cv2.dilate(numbers, np.ones((inner, inner), np.uint8))
    far = cv2.dilate(numbers, np.ones((outer, outer), np.uint8))
    return np.where(np.asarray(near) > 0, 0, np.asarray(far)).astype(np.int32)


def _joined(parts: list[Nuclei]) -> Nuclei:
    none, whole = np.zeros(0), np.zeros(0, np.int64)
    values = parts[0].measured.shape[1] if parts else 0
    nothing = Nuclei(np.zeros((0, 2)), none, whole, none, none, none, whole, np.zeros((0, values)), [])
    parts = [nothing, *parts]
    return Nuclei(
        np.concatenate([p.centres for p in parts]),
        np.concatenate([p.depth for p in parts]),
        np.concatenate([p.patch for p in parts]),
        np.concatenate([p.area_um2 for p in parts]),
        np.concatenate([p.od for p in parts]),
        np.concatenate([p.surround for p in parts]),
        np.concatenate([p.kind for p in parts]),
        np.concatenate([p.measured for p in parts]),
        [outline for p in parts for outline in p.outlines],
    )
