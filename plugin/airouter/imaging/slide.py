"""A whole slide image: the levels of one series and what its header says of the specimen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.drawing import Drawing
from airouter.domain.finding import Ungradable
from airouter.domain.geometry import SlideGeometry
from airouter.domain.study import Instance
from airouter.imaging.brightness import dark_mask
from airouter.imaging.codecs import FrameFormat
from airouter.imaging.colour import icc_profile, to_srgb
from airouter.imaging.header import Frames, first_item, integer, pixel_spacing_um
from airouter.imaging.level import Image, Level, TileCache
from airouter.imaging.memo import Memo
from airouter.imaging.optics import unfit
from airouter.imaging.patches import Patch, PatchPlan, plan
from airouter.imaging.stain import stain
from airouter.imaging.tiling import depth_of, level_of
from airouter.imaging.tissue import Tissue, tissue

__all__ = ["Level", "Patch", "PatchPlan", "Slide", "Tissue", "open_slide"]

_ANISOTROPY: Final = 0.02  # most the spacing may differ between rows and columns
_NEAR: Final = 0.05  # a level this much coarser than asked still counts as the spacing asked
_MOST_ENLARGED: Final = 2.0  # a picture enlarged more than this shows a model nothing it knows
_PLAUSIBLE_UM: Final = (0.02, 100.0)  # pixel size of the finest level; beyond it the unit is wrong
_ELSEWHERE: Final = "the levels of the series do not cover the same area"
# What instances of one size must have in common to be one image twice.
_TELL_APART: Final = (
    ("OpticalPathIdentifier", "their optical path"),
    ("PyramidUID", "their pyramid"),
    ("AcquisitionDateTime", "when they were acquired"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Slide:
    """Levels finest first, with the finest one's `header`; `stain`: "H&E", "H-DAB", None where no code says it.

    `profiles`: the ICC profile of each level, None where it has none; `monochrome`: pixels have three equal channels.
    `annotations`: what was drawn on it, where the pipeline reads that; `memo`: what was made of it before.
    """

    levels: tuple[Level, ...]
    stain: str | None
    header: Dataset = field(repr=False)
    laterality: None = None
    monochrome: bool = False
    profiles: tuple[bytes | None, ...] = field(default=(), repr=False)
    annotations: tuple[Drawing, ...] = field(default=(), repr=False)
    memo: Memo = field(default_factory=Memo, repr=False)

    @property
    def base(self) -> Level:
        """The finest level."""
        return self.levels[0]

    def level_for(self, spacing_um: float) -> Level | Ungradable:
        """The coarsest level not coarser than the spacing (5 % are forgiven), else the finest one.

        Ungradable where even the finest would have to be enlarged more than twofold.
        """
        for level in reversed(self.levels):
            if level.spacing_um <= spacing_um * (1.0 + _NEAR):
                return level
        if self.base.spacing_um <= spacing_um * _MOST_ENLARGED:
            return self.base
        return Ungradable(
            f"not analysed because the slide's pixel spacing is too coarse for the model: "
            f"{self.base.spacing_um:.3g} um, the model reads {spacing_um:.3g} um"
        )

    def tissue(self) -> Tissue:
        """Where tissue is; see airouter.imaging.tissue, and airouter.imaging.brightness for slides without colours."""
        return self.memo.get("tissue", lambda: tissue(self.levels, dark_mask if self.monochrome else None))

    def patches(
        self,
        spacing_um: float,
        size: tuple[int, int] = (256, 256),
        overlap: int = 32,
        tissue: Tissue | None = None,
        icc: bool = False,
    ) -> PatchPlan | Ungradable:
        """Overlapping patches at a spacing, those without tissue left out where a mask is given; see PatchPlan.

        `icc`: their colours are converted to sRGB by the level's ICC profile; Ungradable where that cannot be.
        Raises ValueError where the overlap leaves no core.
        """
        level = self.level_for(spacing_um)
        if isinstance(level, Ungradable):
            return level
        colour = to_srgb(self.profiles[self.levels.index(level)]) if icc else None
        if isinstance(colour, Ungradable):
            return colour
        scale = spacing_um / level.spacing_um
        return plan(
            level,
            1.0 if abs(scale - 1.0) <= _NEAR else scale,
            size,
            overlap,
            tissue,
            level.spacing_um / self.base.spacing_um,
            colour,
        )

    def region(self, level: Level, row: int, column: int, rows: int, columns: int) -> Image:
        """uint8 [rows, columns, 3] of a level's total pixel matrix; white outside. Raises as Level.region does."""
        return level.region(row, column, rows, columns)


@dataclass(frozen=True, slots=True, eq=False)
class _Volume:
    """A level that was found, with the header of its (first) instance and the depth of its focal plane in mm."""

    level: Level
    header: Dataset
    depth: float

    @property
    def size(self) -> tuple[int, int]:
        return self.level.rows, self.level.columns


def open_slide(headers: Sequence[tuple[Instance, Dataset]], frames: Frames) -> Slide | Ungradable:
    """Read the levels of one series. Labels, overviews and thumbnails are no levels.

    Of several optical paths the first, of several focal planes the middle one is read, also where planes are stored
    as instances of their own. Levels that repeat a size are read once. Raises PixelDataError where a header
    contradicts itself or promises more than the router decodes.
    """
    volumes = [pair for pair in headers if _flavour(pair[1]) == "VOLUME"]
    if not volumes:
        return Ungradable("not analysed because the series holds no VOLUME image of the slide")
    cache = TileCache()
    found: list[_Volume] = []
    for parts in _concatenations(volumes):
        header = parts[0][1]
        made = FrameFormat.of(header)
        spacing = pixel_spacing_um(header)
        problem = _incomplete(parts) or unfit(header, made) or _spacing_problem(spacing)
        if problem or spacing is None:
            return Ungradable(f"not analysed because {problem}")
        level = level_of(parts, made, spacing, frames, cache)
        if isinstance(level, Ungradable):
            return level
        found.append(_Volume(level, header, depth_of(header, level.grid)))
    if len({volume.level.format.samples for volume in found}) > 1:
        return Ungradable("not analysed because some levels of the series are monochrome and others are not")
    levels = _one_each(found)
    problem = levels if isinstance(levels, str) else _disagreement(levels)
    if problem or isinstance(levels, str):
        return Ungradable(f"not analysed because {problem}")
    base = levels[0]
    return Slide(
        tuple(volume.level for volume in levels),
        stain(base.header),
        base.header,
        monochrome=base.level.format.samples == 1,
        profiles=tuple(icc_profile(volume.header) for volume in levels),
    )


def _one_each(found: Sequence[_Volume]) -> list[_Volume] | str:
    """One level of each size, finest first, or why it cannot be told which one.

    Instances of one size at different depths are focal planes: the middle one of the finest level is read, of the
    other levels the nearest to it. Else they must be the same image twice.
    """
    sizes: dict[tuple[int, int], list[_Volume]] = {}
    for volume in sorted(found, key=lambda volume: volume.level.spacing_um):
        sizes.setdefault(volume.size, []).append(volume)
    depth: float | None = None
    chosen = []
    for same in sizes.values():
        if not all(_same_place(same[0].level, other.level) for other in same):
            return _ELSEWHERE
        depths = sorted({volume.depth for volume in same})
        if depth is None:
            depth = depths[len(depths) // 2]
        nearest = min(depths, key=lambda one: abs(one - depth))
        plane = [volume for volume in same if volume.depth == nearest]
        for keyword, name in _TELL_APART:
            if len({_said(volume.header, keyword) for volume in plane}) > 1:
                rows, columns = plane[0].size
                return f"the series holds {len(plane)} images of {rows} x {columns} pixels that differ in {name}"
        chosen.append(plane[0])
    return chosen


def _said(header: Dataset, keyword: str) -> str:
    path = first_item(header, "OpticalPathSequence")
    value = header.get(keyword) if keyword in header or path is None else path.get(keyword)
    return str(value or "")


def _disagreement(levels: Sequence[_Volume]) -> str | None:
    """Why levels, finest first, are not those of one slide."""
    base = levels[0].level
    if not _PLAUSIBLE_UM[0] <= base.spacing_um <= _PLAUSIBLE_UM[1]:
        return f"a pixel spacing of {base.spacing_um:.4g} um is implausible"
    pyramids = [uid for volume in levels if (uid := str(volume.header.get("PyramidUID") or ""))]
    several = len(set(pyramids))
    if 1 < several < len(pyramids):  # as many as there are levels: a writer that gives each a UID of its own
        return f"the series holds {several} pyramids, and which of them is meant is not said"
    if not all(_same_place(base, volume.level) for volume in levels):
        return _ELSEWHERE
    for one, other in pairwise(volume.level for volume in levels):
        if other.spacing_um < one.spacing_um * (1.0 + _NEAR):
            return (
                f"the series holds images of {one.rows} x {one.columns} and {other.rows} x {other.columns} pixels "
                f"of one pixel spacing, {one.spacing_um:.4g} um, and which of them is meant is not said"
            )
    return None


def _flavour(header: Dataset) -> str:
    """Value 3 of Image Type (PS3.3 C.8.12.4.1.1)."""
    values = header.get("ImageType") or []
    return str(values[2]) if not isinstance(values, str) and len(values) > 2 else ""


def _concatenations(
    volumes: Iterable[tuple[Instance, Dataset]],
) -> list[list[tuple[Instance, Dataset]]]:
    """Instances that are one image, parts in order (PS3.3 C.7.6.16.2.2.4); an instance of its own is one part."""
    groups: dict[str, list[tuple[Instance, Dataset]]] = {}
    for instance, header in sorted(volumes, key=lambda pair: pair[0].uid):
        groups.setdefault(str(header.get("ConcatenationUID") or instance.uid), []).append((instance, header))
    return [sorted(g, key=lambda pair: integer(pair[1].get("InConcatenationNumber"), 1)) for g in groups.values()]


def _incomplete(parts: Sequence[tuple[Instance, Dataset]]) -> str | None:
    """Whether parts are missing, repeated or do not follow each other."""
    if "ConcatenationUID" not in parts[0][1]:
        return None
    total = integer(parts[-1][1].get("InConcatenationTotalNumber"), len(parts))
    numbers = [integer(header.get("InConcatenationNumber")) for _, header in parts]
    if numbers != list(range(1, total + 1)):
        return f"parts {numbers} of {total} of a concatenation are there"
    expected = 0
    for _, header in parts:
        if integer(header.get("ConcatenationFrameOffsetNumber"), -1) != expected:
            return "the parts of a concatenation do not follow each other"
        expected += integer(header.get("NumberOfFrames"), 1)
    return None


def _spacing_problem(spacing: tuple[float, float] | None) -> str | None:
    if spacing is None:
        return "Pixel Spacing is missing"
    if abs(spacing[0] - spacing[1]) > _ANISOTROPY * max(spacing):
        return f"pixels are not square: {spacing[0]:.4g} x {spacing[1]:.4g} um"
    return None


def _same_place(base: Level, level: Level) -> bool:
    """Whether both levels show the same millimetres of glass, give or take 3 % or two pixels of rounding.

    Their corners are compared where both levels say where they lie, else their height and width.
    """
    least = 2.0 * max(base.spacing_um, level.spacing_um)
    mine, theirs = (np.array([one.rows, one.columns]) * one.spacing_um for one in (base, level))
    if np.any(np.abs(mine - theirs) > np.maximum(0.03 * mine, least)):
        return False
    if isinstance(base.geometry, str) or isinstance(level.geometry, str):
        return True
    apart = (_corners(base, base.geometry) - _corners(level, level.geometry)) * 1000.0
    return bool(np.linalg.norm(apart, axis=1).max() <= max(0.03 * float(np.hypot(*mine)), 1.5 * least))


def _corners(level: Level, geometry: SlideGeometry) -> NDArray[np.float64]:
    """The four corners of a level as x, y in mm; the depth of focus is no other place."""
    right, bottom = float(level.columns), float(level.rows)
    return geometry.to_slide(np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]]))[:, :2]
