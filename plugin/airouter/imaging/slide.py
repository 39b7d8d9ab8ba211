"""A whole slide image: the levels of one series and what its header says of the specimen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.geometry import SlideGeometry
from airouter.domain.study import Instance
from airouter.errors import PixelDataError
from airouter.imaging.codecs import FrameFormat
from airouter.imaging.header import Frames, first_item, integer, number, pixel_spacing_um
from airouter.imaging.level import Cell, Grid, Image, Level, Place, TileCache
from airouter.imaging.patches import Patch, PatchPlan, plan
from airouter.imaging.stain import stain
from airouter.imaging.tissue import Tissue, tissue

__all__ = ["Level", "Patch", "PatchPlan", "Slide", "Tissue", "open_slide"]

_ANISOTROPY: Final = 0.02  # most the spacing may differ between rows and columns
_NEAR: Final = 0.05  # a level this much coarser than asked still counts as the spacing asked
_MOST_ENLARGED: Final = 2.0  # a picture enlarged more than this shows a model nothing it knows
_PLAUSIBLE_UM: Final = (0.02, 100.0)  # pixel size of the finest level; beyond it the unit is wrong
_MOST_TILES: Final = 1 << 26
_ELSEWHERE: Final = "not analysed because the levels of the series do not cover the same area"


@dataclass(frozen=True, slots=True, eq=False)
class Slide:
    """Levels finest first, with the finest one's `header`; `stain`: "H&E", "H-DAB", None where no code says it."""

    levels: tuple[Level, ...]
    stain: str | None
    header: Dataset = field(repr=False)
    laterality: None = None

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
        """Where tissue is; see airouter.imaging.tissue."""
        return tissue(self.levels)

    def patches(
        self,
        spacing_um: float,
        size: tuple[int, int] = (256, 256),
        overlap: int = 32,
        tissue: Tissue | None = None,
    ) -> PatchPlan | Ungradable:
        """Overlapping patches at a spacing, those without tissue left out where a mask is given; see PatchPlan.

        Raises ValueError where the overlap leaves no core.
        """
        level = self.level_for(spacing_um)
        if isinstance(level, Ungradable):
            return level
        scale = spacing_um / level.spacing_um
        return plan(
            level,
            1.0 if abs(scale - 1.0) <= _NEAR else scale,
            size,
            overlap,
            tissue,
            level.spacing_um / self.base.spacing_um,
        )

    def region(self, level: Level, row: int, column: int, rows: int, columns: int) -> Image:
        """uint8 [rows, columns, 3] of a level's total pixel matrix; white outside. Raises as Level.region does."""
        return level.region(row, column, rows, columns)


def open_slide(headers: Sequence[tuple[Instance, Dataset]], frames: Frames) -> Slide | Ungradable:
    """Read the levels of one series. Labels, overviews and thumbnails are no levels.

    Of several optical paths the first, of several focal planes the middle one is read. Levels that repeat a size are
    read once. Raises PixelDataError where a header contradicts itself or promises more than the router decodes.
    """
    volumes = [pair for pair in headers if _flavour(pair[1]) == "VOLUME"]
    if not volumes:
        return Ungradable("not analysed because the series holds no VOLUME image of the slide")
    if any(integer(header.get("SamplesPerPixel")) != 3 for _, header in volumes):
        return Ungradable("not analysed because the slide is monochrome: brightfield colour is needed")
    cache = TileCache()
    levels: dict[tuple[int, int], tuple[Level, Dataset]] = {}
    for parts in _concatenations(volumes):
        problem = _incomplete(parts) or _spacing_problem(parts[0][1])
        if problem:
            return Ungradable(f"not analysed because {problem}")
        level = _level(parts, frames, cache)
        if isinstance(level, Ungradable):
            return level
        same = levels.setdefault((level.rows, level.columns), (level, parts[0][1]))[0]
        if not _same_place(same, level):
            return Ungradable(_ELSEWHERE)
    ordered = sorted(levels.values(), key=lambda pair: pair[0].spacing_um)
    base = ordered[0][0]
    if not _PLAUSIBLE_UM[0] <= base.spacing_um <= _PLAUSIBLE_UM[1]:
        return Ungradable(f"not analysed because a pixel spacing of {base.spacing_um:.4g} um is implausible")
    if not all(_same_place(base, level) for level, _ in ordered):
        return Ungradable(_ELSEWHERE)
    return Slide(tuple(level for level, _ in ordered), stain(ordered[0][1]), ordered[0][1])


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


def _spacing_problem(header: Dataset) -> str | None:
    spacing = pixel_spacing_um(header)
    if spacing is None:
        return "Pixel Spacing is missing"
    if abs(spacing[0] - spacing[1]) > _ANISOTROPY * max(spacing):
        return f"pixels are not square: {spacing[0]:.4g} x {spacing[1]:.4g} um"
    return None


def _level(parts: Sequence[tuple[Instance, Dataset]], frames: Frames, cache: TileCache) -> Level | Ungradable:
    instance, header = parts[0]
    made = FrameFormat.of(header)
    rows, columns = integer(header.get("TotalPixelMatrixRows")), integer(header.get("TotalPixelMatrixColumns"))
    if rows < 1 or columns < 1:
        raise PixelDataError(f"Total Pixel Matrix is {rows} x {columns}")
    if any(FrameFormat.of(other) != made for _, other in parts[1:]):
        raise PixelDataError("the parts of a concatenation differ in their pixels")
    across, down = -(-columns // made.columns), -(-rows // made.rows)
    if across * down > _MOST_TILES:
        raise PixelDataError(f"Total Pixel Matrix {rows} x {columns} promises {across * down} tiles")
    listed = any("PerFrameFunctionalGroupsSequence" in other for _, other in parts)
    if header.get("DimensionOrganizationType") == "TILED_SPARSE" or (
        listed and header.get("DimensionOrganizationType") != "TILED_FULL"
    ):
        places = _listed(parts, made)
        if isinstance(places, Ungradable):
            return places
        grid = Grid(across, listed=places)
    else:
        grid = _full(parts, across, down)
    spacing = pixel_spacing_um(header)
    assert spacing is not None  # _spacing_problem was asked before
    return Level(
        instance_uid=instance.uid,
        instance_id=instance.id,
        instance_uids=tuple(part.uid for part, _ in parts),
        rows=rows,
        columns=columns,
        tile_rows=made.rows,
        tile_columns=made.columns,
        spacing_um=(spacing[0] + spacing[1]) / 2.0,
        geometry=_geometry(header, spacing),
        format=made,
        grid=grid,
        frames=frames,
        cache=cache,
    )


def _full(parts: Sequence[tuple[Instance, Dataset]], across: int, down: int) -> Grid:
    """TILED_FULL: tiles of a plane row by row, then focal planes, then optical paths (PS3.3 C.7.6.17.3)."""
    header = parts[0][1]
    planes = max(1, integer(header.get("TotalPixelMatrixFocalPlanes"), 1))
    paths = max(1, integer(header.get("NumberOfOpticalPaths"), len(header.get("OpticalPathSequence") or [0])))
    starts, count = [], 0
    for instance, part in parts:
        starts.append((count, instance.id))
        count += integer(part.get("NumberOfFrames"), 1)
    if count != across * down * planes * paths:
        raise PixelDataError(
            f"{count} frames are there; {down} x {across} tiles, {planes} focal planes and {paths} optical paths "
            f"make {across * down * planes * paths}"
        )
    return Grid(across, start=planes // 2 * across * down, parts=tuple(starts))


def _listed(parts: Sequence[tuple[Instance, Dataset]], made: FrameFormat) -> Mapping[Cell, Place] | Ungradable:
    """TILED_SPARSE: places from Plane Position (Slide) of every frame (PS3.3 C.8.12.6.1), counted from 1."""
    path = first_item(parts[0][1], "OpticalPathSequence")
    first_path = path.get("OpticalPathIdentifier") if path is not None else None
    planes: dict[float, dict[Cell, Place]] = {}
    for instance, header in parts:
        groups = header.get("PerFrameFunctionalGroupsSequence") or []
        if len(groups) != integer(header.get("NumberOfFrames"), 1):
            raise PixelDataError(f"{len(groups)} per-frame groups for {header.get('NumberOfFrames')} frames")
        shared_path = _path(first_item(header, "SharedFunctionalGroupsSequence"))
        for frame, group in enumerate(groups, start=1):
            if first_path is not None and (_path(group) or shared_path or first_path) != first_path:
                continue
            position = first_item(group, "PlanePositionSlideSequence")
            row = integer(position.get("RowPositionInTotalImagePixelMatrix")) - 1 if position is not None else -1
            column = integer(position.get("ColumnPositionInTotalImagePixelMatrix")) - 1 if position is not None else -1
            if position is None or row < 0 or column < 0:
                return Ungradable("not analysed because a frame does not say where on the slide it lies")
            if row % made.rows or column % made.columns:
                return Ungradable("not analysed because the tiles do not lie on a regular grid")
            depth = number(position.get("ZOffsetInSlideCoordinateSystem")) or 0.0
            cell = (row // made.rows, column // made.columns)
            planes.setdefault(depth, {})[cell] = Place(instance.id, frame)
    if not planes:
        return Ungradable("not analysed because no frame belongs to the first optical path")
    return planes[sorted(planes)[len(planes) // 2]]


def _path(group: Dataset | None) -> str | None:
    item = first_item(group, "OpticalPathIdentificationSequence")
    return item.get("OpticalPathIdentifier") if item is not None else None


def _geometry(header: Dataset, spacing_um: tuple[float, float]) -> SlideGeometry | str:
    """Where the total pixel matrix lies on the glass (PS3.3 C.8.12.4), or what of it is missing or impossible."""
    if not header.get("FrameOfReferenceUID"):
        return "Frame of Reference UID is missing"
    origin = first_item(header, "TotalPixelMatrixOriginSequence")
    if origin is None:
        return "Total Pixel Matrix Origin is missing"
    x, y = (number(origin.get(f"{axis}OffsetInSlideCoordinateSystem")) for axis in "XY")
    z = number(origin.get("ZOffsetInSlideCoordinateSystem")) or 0.0
    if x is None or y is None:
        return "Total Pixel Matrix Origin has no offsets"
    directions = [value for value in map(number, header.get("ImageOrientationSlide") or []) if value is not None]
    if len(directions) != 6:
        return "Image Orientation (Slide) is missing"
    a, b, c, d, e, f = directions
    try:
        return SlideGeometry((x, y, z), (a, b, c, d, e, f), (spacing_um[0] / 1000.0, spacing_um[1] / 1000.0))
    except ValueError as error:
        return f"its place on the glass is impossible: {error}"


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
