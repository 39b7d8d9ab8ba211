"""Every mitotic figure of a slide once: parts of a model's map, doubles at borders of patches removed, plates joined.

A figure in anaphase or telophase shows two plates, and a model may mark them apart; a pathologist counts one figure.
Parts are joined as long as all parts of a figure lie within a stated distance of each other (complete linkage).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from airouter.domain import codes
from airouter.domain.finding import AnnotationGroup
from airouter.domain.model import Model
from airouter.imaging import contours, seams
from airouter.imaging.level import Level
from airouter.imaging.nuclei import components
from airouter.imaging.patches import Patch, PatchPlan
from airouter.pipelines.nuclei_of_slide import on_level
from airouter.pipelines.pipeline import Parameter, Values

MITOSIS: Final = "mitosis"
PARAMETERS: Final = (
    Parameter("merge_um", 10.0, "um", "parts of the map no further apart than this are one figure", 0.0, 30.0),
    Parameter("min_mitosis_um2", 8.0, "um2", "least area of a part of the map that is counted", 0.0, 200.0),
)

# Two centres of different patches nearer than this are one part: plates of one figure are further apart.
_SAME_UM: Final = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Mitoses:
    """Parts or figures in pixels of one level: centre (column, row) [n, 2], depth in the core, patch, area."""

    centres: NDArray[np.float64]
    depth: NDArray[np.float64]
    patch: NDArray[np.int64]
    area_um2: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centres)

    def take(self, keep: NDArray[np.bool_]) -> "Mitoses":
        return Mitoses(self.centres[keep], self.depth[keep], self.patch[keep], self.area_um2[keep])


def finder(plan: PatchPlan, model: Model, values: Values) -> Callable[[int, Patch, NDArray[np.float32]], Mitoses]:
    """What finds the parts of the map of mitosis in a model's answer on one patch. May be called by several threads."""
    channel = model.head.channel(MITOSIS)
    threshold = model.head.classes[channel].threshold
    least = values["min_mitosis_um2"] / plan.spacing_um**2
    margin = _SAME_UM / plan.spacing_um

    def find(number: int, patch: Patch, maps: NDArray[np.float32]) -> Mitoses:
        labels = components(on_level(maps[channel], patch, plan.level) >= threshold, least=least, connectivity=8)
        centres, counts = contours.centroids(labels)
        rows, columns = patch.core
        x, y = centres.T
        depth = np.stack([x - columns.start, columns.stop - x, y - rows.start, rows.stop - y]).min(axis=0)
        wanted = np.flatnonzero((counts > 0) & (depth > -margin))
        wanted = wanted[wanted > 0]
        return Mitoses(
            centres[wanted] * patch.scale + np.array([patch.column, patch.row]),
            depth[wanted] * patch.scale,
            np.full(len(wanted), number, np.int64),
            (counts[wanted] * plan.spacing_um**2).astype(np.float64),
        )

    return find


def figures(plan: PatchPlan, parts: list[Mitoses], values: Values) -> Mitoses:
    """The figures of all patches, each once, in the order of their topmost part."""
    nothing = Mitoses(np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0))
    fields = zip(*((p.centres, p.depth, p.patch, p.area_um2) for p in [nothing, *parts]), strict=True)
    every = Mitoses(*map(np.concatenate, fields))
    radius = _SAME_UM / plan.level.spacing_um
    return _joined(every.take(seams.unique(every.centres, every.depth, every.patch, radius)), values["merge_um"], plan)


def annotations(level: Level, found: Mitoses) -> tuple[AnnotationGroup, ...]:
    """The figures as points; none where there are none."""
    if not len(found):
        return ()
    return (
        AnnotationGroup(
            role="mitotic-figures",
            label="Mitotic figures",
            source=level.instance_uid,
            graphic="POINT",
            category=codes.ANATOMICAL_STRUCTURE,
            type=codes.MITOTIC_FIGURE,
            points=found.centres.astype(np.float32),
            starts=np.arange(len(found) + 1, dtype=np.int64),
            measurements={(codes.AREA, codes.UM2): found.area_um2.astype(np.float32)},
        ),
    )


def _joined(parts: Mitoses, merge_um: float, plan: PatchPlan) -> Mitoses:
    """Parts that lie within the distance of each other as one: the mean place by area, the sum of areas."""
    group = _groups(parts.centres * plan.level.spacing_um, merge_um)
    area = np.bincount(group, weights=parts.area_um2).astype(np.float64)
    centres = np.stack([np.bincount(group, weights=axis * parts.area_um2) for axis in parts.centres.T], axis=1)
    first = np.unique(group, return_index=True)[1]
    return Mitoses(centres / area[:, None], parts.depth[first], parts.patch[first], area)


def _groups(points_um: NDArray[np.float64], merge_um: float) -> NDArray[np.int64]:
    """int64 [n]: number of the figure each part belongs to, from 0 in the order of the topmost, then leftmost part."""
    count = len(points_um)
    if not count:
        return np.zeros(0, np.int64)
    pairs = cKDTree(points_um).query_pairs(merge_um, output_type="ndarray")
    near = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    chains = connected_components(near, directed=False)[1].astype(np.int64)
    group = chains.copy()
    for chain in np.flatnonzero(np.bincount(chains) > 2).tolist():  # two are near enough by themselves
        members = np.flatnonzero(chains == chain)
        apart = fcluster(linkage(points_um[members], "complete"), merge_um, "distance")
        group[members] = group.max() + apart
    order = np.lexsort((points_um[:, 0], points_um[:, 1]))
    _, first, which = np.unique(group[order], return_index=True, return_inverse=True)
    numbered = np.empty(count, np.int64)
    numbered[order] = np.argsort(np.argsort(first))[which]
    return numbered
