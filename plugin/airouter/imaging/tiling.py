"""From the header of a level, or of the parts of its concatenation, to where each of its tiles is stored.

Of several optical paths the first is read, of several focal planes the middle one.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from airouter.imaging.groups import Positions, positions
from airouter.imaging.header import Frames, first_item, integer, number
from airouter.imaging.level import Cell, Grid, Level, Place, TileCache

Parts = Sequence[tuple[Instance, Dataset]]

_MOST_TILES: Final = 1 << 26


@dataclass(frozen=True, slots=True, eq=False)
class Listed(Mapping[Cell, Place]):
    """The places of a TILED_SPARSE level in some twenty bytes a tile: cells as sorted numbers, and their frames."""

    across: int
    instances: tuple[str, ...]
    cells: NDArray[np.int64] = field(repr=False)  # row * across + column
    parts: NDArray[np.int32] = field(repr=False)  # index of the instance
    frames: NDArray[np.int32] = field(repr=False)  # counted from 1
    depth: float = 0.0  # of its focal plane, in mm; the median where it follows the tissue

    def __getitem__(self, cell: Cell) -> Place:
        wanted = cell[0] * self.across + cell[1]
        at = int(np.searchsorted(self.cells, wanted))
        if at == len(self.cells) or self.cells[at] != wanted or not 0 <= cell[1] < self.across:
            raise KeyError(cell)
        return Place(self.instances[self.parts[at]], int(self.frames[at]))

    def __iter__(self) -> Iterator[Cell]:
        return (divmod(int(cell), self.across) for cell in self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def level_of(
    parts: Parts, made: FrameFormat, spacing_um: tuple[float, float], frames: Frames, cache: TileCache
) -> Level | Ungradable:
    """A level of an instance, or of all parts of a concatenation in their order.

    `made`: what the frames of the first part are; `spacing_um`: between rows, between columns. Ungradable where the
    frames do not say where they lie, or lie in no grid. Raises PixelDataError where the headers contradict themselves
    or promise more than the router decodes.
    """
    instance, header = parts[0]
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
        places = _listed(parts, made, down, across)
        if isinstance(places, Ungradable):
            return places
        grid = Grid(across, listed=places)
    else:
        grid = _full(parts, across, down)
    return Level(
        instance_uid=instance.uid,
        instance_id=instance.id,
        instance_uids=tuple(part.uid for part, _ in parts),
        rows=rows,
        columns=columns,
        tile_rows=made.rows,
        tile_columns=made.columns,
        spacing_um=(spacing_um[0] + spacing_um[1]) / 2.0,
        geometry=_geometry(header, spacing_um),
        format=made,
        grid=grid,
        frames=frames,
        cache=cache,
    )


def depth_of(header: Dataset, grid: Grid) -> float:
    """Z offset in mm of the focal plane that is read, 0 where nothing says it; to tell instances of one size apart."""
    if isinstance(grid.listed, Listed):
        return grid.listed.depth
    shared = first_item(header, "SharedFunctionalGroupsSequence", "PlanePositionSlideSequence")
    for item in (shared, first_item(header, "TotalPixelMatrixOriginSequence")):
        depth = number(item.get("ZOffsetInSlideCoordinateSystem")) if item is not None else None
        if depth is not None:
            return depth
    return 0.0


def focal_planes(header: Dataset) -> int:
    """How many focal planes a TILED_FULL image has."""
    return max(1, integer(header.get("TotalPixelMatrixFocalPlanes"), 1))


def _full(parts: Parts, across: int, down: int) -> Grid:
    """TILED_FULL: tiles of a plane row by row, then focal planes, then optical paths (PS3.3 C.7.6.17.3)."""
    header = parts[0][1]
    planes = focal_planes(header)
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


def _listed(parts: Parts, made: FrameFormat, down: int, across: int) -> Listed | Ungradable:
    """TILED_SPARSE: places from Plane Position (Slide) of every frame (PS3.3 C.8.12.6.1), counted from 1."""
    first = first_item(parts[0][1], "OpticalPathSequence")
    wanted = first.get("OpticalPathIdentifier") if first is not None else None
    found = []
    for index, (_, header) in enumerate(parts):
        said = positions(header)
        if len(said) != integer(header.get("NumberOfFrames"), 1):
            raise PixelDataError(f"{len(said)} per-frame groups for {header.get('NumberOfFrames')} frames")
        frames = np.flatnonzero(_of_path(said, header, wanted))
        found.append(
            (np.full(len(frames), index), frames + 1, *(a[frames] for a in (said.rows, said.columns, said.depths)))
        )
    part, frame, row, column, depth = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    if not len(frame):
        return Ungradable("not analysed because no frame belongs to the first optical path")
    if row.min() < 1 or column.min() < 1:
        return Ungradable("not analysed because a frame does not say where on the slide it lies")
    row, column = row - 1, column - 1
    if np.any(row % made.rows) or np.any(column % made.columns):
        return Ungradable("not analysed because the tiles do not lie on a regular grid")
    row, column = row // made.rows, column // made.columns
    inside = (row < down) & (column < across)
    cell = (row * across + column)[inside]
    part, frame, depth = part[inside], frame[inside], depth[inside]
    order = np.lexsort((depth, cell))
    cell, depth = cell[order], depth[order]
    if np.any((np.diff(cell) == 0) & (np.diff(depth) == 0)):
        return Ungradable(
            "not analysed because several frames lie at the same place of the slide and at the same depth"
        )
    # Planes may follow the surface of the tissue: the middle one is that of each tile, whatever its neighbours' depths.
    cells, starts, counts = np.unique(cell, return_index=True, return_counts=True)
    middle = order[starts + counts // 2]
    instances = tuple(instance.id for instance, _ in parts)
    return Listed(
        across,
        instances,
        cells,
        part[middle].astype(np.int32),
        frame[middle].astype(np.int32),
        float(np.median(depth[starts + counts // 2])) if len(cells) else 0.0,
    )


def _of_path(said: Positions, header: Dataset, wanted: str | None) -> NDArray[np.bool_]:
    """Which frames are of the optical path: as their own groups say, else the shared ones; all where nothing does."""
    if wanted is None:
        return np.ones(len(said), np.bool_)
    wanted = str(wanted).strip()
    shared = first_item(header, "SharedFunctionalGroupsSequence", "OpticalPathIdentificationSequence")
    default = str((shared.get("OpticalPathIdentifier") if shared is not None else None) or wanted)
    return np.array([(path or default).strip() == wanted for path in said.paths], np.bool_)


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
