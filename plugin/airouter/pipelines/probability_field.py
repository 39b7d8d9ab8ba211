"""How probable a class is in each field of a level: sums kept patch by patch while a model runs, and their map."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import NO_VALUE
from airouter.imaging.patches import Patch
from airouter.pipelines.tissue_region import TissueRegion


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What the core of a patch adds: sums of probability and numbers of pixels of fields from `row`, `column` on."""

    row: int
    column: int
    sums: NDArray[np.float64]
    counts: NDArray[np.float64]


class ProbabilityField:
    """The mean of the summed probabilities of some `channels` over the tissue, in fields of `factor` level pixels."""

    def __init__(self, region: TissueRegion, channels: list[int], field_um: float) -> None:
        level = region.level
        self.factor = max(1, round(field_um / level.spacing_um))
        self._shape = (-(-level.rows // self.factor), -(-level.columns // self.factor))
        self._channels = channels
        self._tissue = region.tissue.mask
        self._to_tissue = region.to_base / region.tissue.factor

    def part(self, number: int, patch: Patch, maps: NDArray[np.float32]) -> Part:
        """What a patch adds, from the model's answer [classes, rows, columns]. May be called by several threads."""
        core = maps[:, *patch.core][self._channels].sum(axis=0)
        (rows, high, there_r), (columns, wide, there_c) = (
            self._axis(axis, start, patch.core[axis], patch.scale)
            for axis, start in enumerate((patch.row, patch.column))
        )
        there = self._tissue[np.ix_(there_r, there_c)].astype(np.float64)
        return Part(rows, columns, high @ (core * there) @ wide.T, high @ there @ wide.T)

    def values(self, parts: Any) -> NDArray[np.float32]:
        """float32 [rows, columns]: the mean in each field, NO_VALUE where no tissue was analysed."""
        sums, counts = np.zeros(self._shape), np.zeros(self._shape)
        for part in parts:
            rows, columns = part.sums.shape
            window = (slice(part.row, part.row + rows), slice(part.column, part.column + columns))
            sums[window] += part.sums
            counts[window] += part.counts
        means = np.full(self._shape, NO_VALUE)
        np.divide(sums, counts, out=means, where=counts > 0)
        return np.asarray(np.minimum(means, 1.0), np.float32)  # a sum of probabilities may be rounded up

    def _axis(
        self, axis: int, start: float, core: slice, scale: float
    ) -> tuple[int, NDArray[np.float64], NDArray[np.intp]]:
        """The first field the core touches, which of its pixels lie in which [fields, pixels], and their tissue."""
        centres = start + (np.arange(core.start, core.stop) + 0.5) * scale
        fields = np.clip((centres / self.factor).astype(np.intp), 0, self._shape[axis] - 1)
        first = int(fields[0])
        members = (fields - first == np.arange(fields[-1] - first + 1)[:, None]).astype(np.float64)
        tissue = np.clip((centres * self._to_tissue).astype(np.intp), 0, self._tissue.shape[axis] - 1)
        return first, members, tissue
