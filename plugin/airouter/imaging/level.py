"""One level of a slide: where each of its tiles is, and reading a part of its total pixel matrix."""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain.geometry import SlideGeometry
from airouter.errors import PixelDataError
from airouter.imaging.codecs import FrameFormat, averaged, decode
from airouter.imaging.header import Frames

Image = NDArray[np.uint8]
Cell = tuple[int, int]  # row and column of a tile in the grid of tiles

WHITE = 255  # what glass looks like: fills what no tile covers
_LEAST_TILES: Final = 4  # that a patch at their common corner needs, however large they are


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
        first, instance = self.parts[bisect_right(self.parts, frame, key=lambda part: part[0]) - 1]
        return Place(instance, frame - first + 1)


class TileCache:
    """Decoded tiles that were used last, up to a number of bytes; shared by the levels and threads of one slide.

    It holds four tiles even where they are larger than `limit`. Who wants a tile that is not there may `claim` it, so
    that another thread which needs it too waits rather than decode it again.
    """

    def __init__(self, limit: int = 64 << 20) -> None:
        self.limit = limit
        self._held = 0
        self._tiles: OrderedDict[tuple[str, int], Image] = OrderedDict()
        self._claimed: dict[tuple[str, int], threading.Event | None] = {}  # an event where somebody waits
        self._lock = threading.Lock()

    def get(self, place: Place) -> Image | None:
        """The tile where it is held; it must not be written to."""
        key = (place.instance_id, place.frame)
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def claim(self, place: Place) -> Image | threading.Event | None:
        """The tile where it is held; where another thread decodes it, what tells its end; else None.

        Whoever gets None must `put` the tile or `release` it.
        """
        key = (place.instance_id, place.frame)
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                return tile
            if key not in self._claimed:
                self._claimed[key] = None
                return None
            event = self._claimed[key] or threading.Event()
            self._claimed[key] = event
            return event

    def put(self, place: Place, tile: Image) -> None:
        """Keep a tile, and let those who wait for it have it."""
        key = (place.instance_id, place.frame)
        with self._lock:
            event = self._claimed.pop(key, None)
            if key not in self._tiles:
                self._tiles[key] = tile
                self._held += tile.nbytes
                while self._held > self.limit and len(self._tiles) > _LEAST_TILES:
                    self._held -= self._tiles.popitem(last=False)[1].nbytes
        if event is not None:
            event.set()

    def release(self, place: Place) -> None:
        """Give up a claim without a tile; nothing where there is none (any more)."""
        with self._lock:
            event = self._claimed.pop((place.instance_id, place.frame), None)
        if event is not None:
            event.set()


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

        The array is the caller's own. Tiles that were read are kept for the next region, but for one that is the
        region as a whole: patches that lie as the tiles do have no use for it again. Raises PixelDataError for a tile
        that is broken or of the wrong size, and what the archive raises.
        """
        cells = self.cells(row, column, rows, columns)
        inside = row >= 0 and column >= 0 and row + rows <= self.rows and column + columns <= self.columns
        if inside and len(cells) == 1 and (rows, columns) == (self.tile_rows, self.tile_columns):
            return self._one(cells[0])
        tiles = self.load(cells)
        if inside and len(tiles) == len(cells):
            out = np.empty((rows, columns, 3), np.uint8)
        else:
            out = np.full((rows, columns, 3), WHITE, np.uint8)
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
        """Decoded tiles (those that are stored at all), read together, one call per instance; not to be written to."""
        tiles: dict[Cell, Image] = {}
        wanted: dict[str, list[tuple[Cell, Place]]] = {}
        decoded_elsewhere: list[tuple[Cell, Place, threading.Event]] = []
        try:
            for cell in cells:
                place = self.grid.place(cell)
                if place is None:
                    continue
                found = self.cache.claim(place)
                if found is None:
                    wanted.setdefault(place.instance_id, []).append((cell, place))
                elif isinstance(found, threading.Event):
                    decoded_elsewhere.append((cell, place, found))
                else:
                    tiles[cell] = found
            for instance, needed in wanted.items():
                frames = self.frames(instance, [place.frame for _, place in needed])
                for (cell, place), frame in zip(needed, frames, strict=True):
                    tiles[cell] = self._decode(frame, cell)
                    self.cache.put(place, tiles[cell])
        finally:
            for needed in wanted.values():
                for cell, place in needed:
                    if cell not in tiles:
                        self.cache.release(place)
        # Only now, with no claim of its own left, may a thread wait for another.
        for cell, place, event in decoded_elsewhere:
            event.wait()
            tile = self.cache.get(place)
            tiles.update({cell: tile} if tile is not None else self.load([cell]))
        return tiles

    def reduced(self, cells: Iterable[Cell], factor: int) -> Iterator[tuple[Cell, Image]]:
        """Stored tiles at 1 / factor of their rows and columns, three channels, white outside of the level.

        `factor`: a power of two that divides the tile's rows and columns. One call per instance; no tile is kept.
        Raises as region does.
        """
        wanted: dict[str, list[tuple[Cell, Place]]] = {}
        for cell in cells:
            place = self.grid.place(cell)
            if place is not None:
                wanted.setdefault(place.instance_id, []).append((cell, place))
        for instance, needed in wanted.items():
            frames = self.frames(instance, [place.frame for _, place in needed])
            for (cell, _), frame in zip(needed, frames, strict=True):
                below, right = self._left(cell)
                if below >= self.tile_rows and right >= self.tile_columns:
                    yield cell, _coloured(decode(frame, self.format, reduce=factor))
                    continue
                tile = np.array(self._decode(frame, cell))  # what it holds beyond the level is not the slide
                tile[below:] = WHITE
                tile[:, right:] = WHITE
                yield cell, _coloured(averaged(tile, factor))

    def _one(self, cell: Cell) -> Image:
        """A whole tile, as the caller's own."""
        place = self.grid.place(cell)
        if place is None:
            return np.full((self.tile_rows, self.tile_columns, 3), WHITE, np.uint8)
        tile = self.cache.get(place)
        if tile is not None:
            return _coloured(tile.copy())
        (frame,) = self.frames(place.instance_id, (place.frame,))
        tile = _coloured(self._decode(frame, cell))
        return tile if tile.flags.writeable else tile.copy()

    def _left(self, cell: Cell) -> tuple[int, int]:
        """Rows and columns of the level from the top left corner of a tile on."""
        return self.rows - cell[0] * self.tile_rows, self.columns - cell[1] * self.tile_columns

    def _decode(self, frame: bytes, cell: Cell) -> Image:
        """A whole tile. Some writers encode the tiles of the last row and column shorter than Rows x Columns."""
        below, right = self._left(cell)
        tile = decode(frame, self.format, shorter=below < self.tile_rows or right < self.tile_columns)
        rows, columns = tile.shape[:2]
        if rows < min(self.tile_rows, below) or columns < min(self.tile_columns, right):
            raise PixelDataError(f"the tile at row {cell[0]}, column {cell[1]} is only {rows} x {columns} pixels")
        if (rows, columns) == (self.tile_rows, self.tile_columns):
            return tile
        whole = np.full((self.tile_rows, self.tile_columns, tile.shape[2]), WHITE, np.uint8)
        whole[:rows, :columns] = tile
        return whole


def _coloured(tile: Image) -> Image:
    """Three channels, equal where the slide is monochrome."""
    return tile if tile.shape[2] == 3 else np.asarray(cv2.cvtColor(tile, cv2.COLOR_GRAY2RGB), np.uint8)
