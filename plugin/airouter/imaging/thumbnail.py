"""Small pictures of a slide and of places on it, from its stored levels. Labels and overviews of the glass are no
levels, so that nothing written on a label shows."""

from typing import Final

import cv2
import numpy as np

from airouter.domain.finding import Field
from airouter.errors import PixelDataError
from airouter.imaging.level import WHITE, Cell, Image, Level
from airouter.imaging.slide import Slide

_MOST_PIXELS: Final = 1 << 24  # of a level that are read for one picture
_MOST_TILES: Final = 4096
_MOST_REDUCED: Final = 32
_QUALITY: Final = 88


def jpeg_of_field(slide: Slide, field: Field, side: int) -> bytes:
    """A place on a slide as JPEG, its longer side `side` pixels or as many as are stored, if these are fewer.

    Raises PixelDataError where the slide has no such level, or the place is too large, and as Level.region does.
    """
    level = next((level for level in slide.levels if level.instance_uid == field.source), None)
    if level is None or not 0 < field.rows * field.columns <= _MOST_PIXELS:
        raise PixelDataError(f"the slide has no such place on a level {field.source}")
    return _jpeg(_small(level.region(field.row, field.column, field.rows, field.columns), side))


def jpeg_of_slide(slide: Slide, side: int) -> bytes:
    """A slide's coarsest level as JPEG, its longer side at most `side` pixels.

    Raises PixelDataError where even that level has too many tiles, and as Level.reduced does.
    """
    level = slide.levels[-1]
    factor = 1
    while (
        factor < _MOST_REDUCED
        and max(level.rows, level.columns) // (2 * factor) >= side
        and level.tile_rows % (2 * factor) == level.tile_columns % (2 * factor) == 0
    ):
        factor *= 2
    rows, columns = -(-level.rows // factor), -(-level.columns // factor)
    cells = level.cells(0, 0, level.rows, level.columns)
    if len(cells) > _MOST_TILES or rows * columns > _MOST_PIXELS:
        raise PixelDataError(f"the coarsest level is too large for a thumbnail: {level.rows} x {level.columns} pixels")
    return _jpeg(_small(_reduced(level, cells, factor, rows, columns), side))


def _reduced(level: Level, cells: list[Cell], factor: int, rows: int, columns: int) -> Image:
    if factor == 1:
        return level.region(0, 0, level.rows, level.columns)
    picture = np.full((rows, columns, 3), WHITE, np.uint8)
    for (r, c), tile in level.reduced(cells, factor):
        top, left = r * (level.tile_rows // factor), c * (level.tile_columns // factor)
        part = picture[top : top + tile.shape[0], left : left + tile.shape[1]]
        part[:] = tile[: part.shape[0], : part.shape[1]]
    return picture


def _small(picture: Image, side: int) -> Image:
    scale = side / max(picture.shape[:2])
    if scale >= 1.0:
        return picture
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(picture: Image) -> bytes:
    made, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not made:
        raise PixelDataError("the thumbnail cannot be encoded")
    return bytes(data)
