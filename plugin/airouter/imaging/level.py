"""One level of a slide: where each of its tiles is, and reading a part of its total pixel matrix."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from airouter.domain.geometry import SlideGeometry
from airouter.errors import PixelDataError
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.header import Frames

Image = NDArray[np.uint8]
Cell = tuple[int, int]  # row and column of a tile in the grid of tiles

WHITE = 255  # what glass looks like: fills what no tile covers


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile is stored: the instance (one part of a concatenation) and its 1-based frame number."""

    instance_id: str
    frame: int


@dataclass(frozen=True, slots=True)
class Grid:
    """The places of a level's tiles.

    TILED_FULL is arithmetic (PS3.3 C.7.6.17.3): frame `start` is the first tile, row by row, `parts` being
    (first frame counted from 0, instance) of each part. TILED_SPARSE lists the `listed` tiles, the others are glass.
    """

    across: int  # tiles in a row of tiles
    start: int = 0
    parts: tuple[tuple[int, str], ...] = ()
    listed: Mapping[Cell, Place] | None = None

    def place(self, cell: Cell) -> Place | None:
        if self.listed is not None:
            return self.listed.get(cell)
        frame = self.start + cell[0] * self.across + cell[1]
        first, instance = max(part for part in self.parts if part[0] <= frame)
        return Place(instance, frame - first + 1)


class TileCache:
    """Decoded tiles that were used last, up to a number of bytes; shared by the levels and threads of one slide."""

    def __init__(self, limit: int = 128 << 20) -> None:
        self._limit = limit
        self._held = 0
        self._tiles: OrderedDict[tuple[str, int], Image] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: Place) -> Image | None:
        key = (place.instance_id, place.frame)
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, place: Place, tile: Image) -> None:
        key = (place.instance_id, place.frame)
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = tile
            self._held += tile.nbytes
            while self._held > self._limit and len(self._tiles) > 1:
                self._held -= self._tiles.popitem(last=False)[1].nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One level of the pyramid. `rows`, `columns`: its total pixel matrix; `spacing_um`: size of its pixels.

    `instance_uid` and `instance_id` name the instance, or the first part of its concatenation (`instance_uids` all).
    `geometry`: where the matrix lies on the glass, or why it cannot be told. Pixels can be read without it.
    """

    instance_uid: str
    instance_id: str
    instance_uids: tuple[str, ...]
    rows: int
    columns: int
    tile_rows: int
    tile_columns: int
    spacing_um: float
    geometry: SlideGeometry | str
    format: FrameFormat = field(repr=False)
    grid: Grid = field(repr=False)
    frames: Frames = field(repr=False)
    cache: TileCache = field(repr=False)

    def region(self, row: int, column: int, rows: int, columns: int) -> Image:
        """uint8 [rows, columns, 3], top left at (row, column) of the total pixel matrix; white outside of it.

        Raises PixelDataError for a tile that is broken or of the wrong size, and what the archive raises.
        """
        out = np.full((rows, columns, 3), WHITE, np.uint8)
        cells = self.cells(row, column, rows, columns)
        tiles = self.load(cells)
        for (r, c), tile in tiles.items():
            top, left = r * self.tile_rows, c * self.tile_columns
            r0, r1 = max(row, top), min(row + rows, top + self.tile_rows, self.rows)
            c0, c1 = max(column, left), min(column + columns, left + self.tile_columns, self.columns)
            out[r0 - row : r1 - row, c0 - column : c1 - column] = tile[r0 - top : r1 - top, c0 - left : c1 - left]
        return out

    def cells(self, row: int, column: int, rows: int, columns: int) -> list[Cell]:
        """The tiles that a part of the total pixel matrix touches, row by row."""
        r0, r1 = max(0, row), min(self.rows, row + rows)
        c0, c1 = max(0, column), min(self.columns, column + columns)
        if r0 >= r1 or c0 >= c1:
            return []
        down = range(r0 // self.tile_rows, (r1 - 1) // self.tile_rows + 1)
        across = range(c0 // self.tile_columns, (c1 - 1) // self.tile_columns + 1)
        return [(r, c) for r in down for c in across]

    def load(self, cells: Iterable[Cell]) -> dict[Cell, Image]:
        """Decoded tiles (those that are stored at all), read together, one call per instance."""
        tiles: dict[Cell, Image] = {}
        wanted: dict[str, list[tuple[Cell, Place]]] = {}
        for cell in cells:
            place = self.grid.place(cell)
            if place is None:
                continue
            tile = self.cache.get(place)
            if tile is not None:
                tiles[cell] = tile
            else:
                wanted.setdefault(place.instance_id, []).append((cell, place))
        for instance, needed in wanted.items():
            frames = self.frames(instance, [place.frame for _, place in needed])
            for (cell, place), frame in zip(needed, frames, strict=True):
                tiles[cell] = self._decode(frame, cell)
                self.cache.put(place, tiles[cell])
        return tiles

    def _decode(self, frame: bytes, cell: Cell) -> Image:
        """A whole tile. Some writers encode the tiles of the last row and column shorter than Rows x Columns."""
        below = self.rows - cell[0] * self.tile_rows
        right = self.columns - cell[1] * self.tile_columns
        tile = decode(frame, self.format, shorter=below < self.tile_rows or right < self.tile_columns)
        rows, columns = tile.shape[:2]
        if rows < min(self.tile_rows, below) or columns < min(self.tile_columns, right):
            raise PixelDataError(f"the tile at row {cell[0]}, column {cell[1]} is only {rows} x {columns} pixels")
        if (rows, columns) == (self.tile_rows, self.tile_columns):
            return tile
        whole = np.full((self.tile_rows, self.tile_columns, 3), WHITE, np.uint8)
        whole[:rows, :columns] = tile
        return whole
