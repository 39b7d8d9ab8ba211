"""SEG of a slide (PS3.3 A.51): a label mask on its own grid in the slide's frame of reference, tiled, empty tiles
left out.

highdicom makes the object from a mask of one pixel; the frames are written here, tile by tile. Given the whole mask it
would hold every frame twice, and every functional group's parts once per frame.
"""

from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.spatial import compute_tile_positions_per_frame
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from airouter.domain.finding import Segmentation
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity
from airouter.evidence.segmented import Bits, arguments
from airouter.evidence.source import grid_geometry, plain

_MAX_TILE = 512
# Tags by number: setting attributes by keyword for each of thousands of frames takes longer than packing their pixels.
_DERIVATION_IMAGE = 0x00089124
_FRAME_CONTENT = 0x00209111
_DIMENSION_INDEX_VALUES = 0x00209157
_PLANE_POSITION_SLIDE = 0x0048021A
_SEGMENT_IDENTIFICATION = 0x0062000A
_REFERENCED_SEGMENT_NUMBER = 0x0062000B


def slide_segmentation(segmentation: Segmentation, source: Dataset, identity: Identity, series_number: int) -> Dataset:
    """A slide mask on its own grid. `source` is the header of the level that the mask covers.

    The mask is read in place, tile by tile. One without any pixel of a segment gets a single empty frame, as a
    segmentation needs one. Raises EvidenceError where the mask does not cover the level, holds the number of no
    segment, or the level has no place on the slide.
    """
    mask = segmentation.mask
    rows, columns = mask.shape
    geometry = grid_geometry(source, rows, columns, segmentation.factor)
    tile = (min(source.Rows, _MAX_TILE), min(source.Columns, _MAX_TILE))
    seg = plain(
        hd.seg.Segmentation(
            source_images=[_of_one_pixel(source, mask.shape)],
            pixel_array=np.ones((1, 1, 1), dtype=np.uint8),
            pixel_measures=hd.PixelMeasuresSequence(geometry.spacing, slice_thickness=_thickness(source)),
            plane_orientation=hd.PlaneOrientationSequence("SLIDE", geometry.orientation),
            plane_positions=[hd.PlanePositionSequence("SLIDE", geometry.origin, (1, 1))],
            tile_pixel_array=True,
            tile_size=tile,
            **arguments(segmentation, identity, series_number),
        )
    )
    seg.TotalPixelMatrixRows, seg.TotalPixelMatrixColumns = rows, columns
    positions = compute_tile_positions_per_frame(
        *tile, rows, columns, geometry.origin, geometry.orientation, _spacing(seg)
    )
    tiles = _filled(mask, tile, positions, len(segmentation.segments), segmentation.role)
    _put_frames(seg, mask, tile, tiles, [segment.number for segment in segmentation.segments])
    return seg


@dataclass(frozen=True, slots=True)
class _Tile:
    """A tile with a pixel of some segment: its top left pixel, its dimension indices and its Plane Position."""

    row: int
    column: int
    index: tuple[int, int]
    position: DataElement


def _of_one_pixel(source: Dataset, shape: tuple[int, ...]) -> Dataset:
    """The source as highdicom needs it beside a mask of one pixel.

    Where mask and level have the same grid, highdicom wants them to have the same size.
    """
    stand_in = plain(source)
    if shape == (source.TotalPixelMatrixRows, source.TotalPixelMatrixColumns):
        stand_in.TotalPixelMatrixRows = stand_in.TotalPixelMatrixColumns = 1
    return stand_in


def _spacing(seg: Dataset) -> tuple[float, float]:
    """As it stands in the object, rounded to what a decimal string holds: tiles lie where readers will put them."""
    rows, columns = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    return float(rows), float(columns)


def _filled(
    mask: NDArray[np.uint8],
    tile: tuple[int, int],
    positions: list[tuple[list[int], list[float]]],
    segments: int,
    role: str,
) -> list[_Tile]:
    """Tiles that are not empty, in rows; the first one where all are."""
    found = []
    for (column, row), place in positions:
        highest = mask[row - 1 : row - 1 + tile[0], column - 1 : column - 1 + tile[1]].max()
        if highest > segments:
            raise EvidenceError(f"{role} holds the value {highest}, but has {segments} segments")
        if highest > 0:
            found.append((row, column, place))
    if not found:
        (column, row), place = positions[0]
        found.append((row, column, place))
    # Dimension Index Values count the rows and columns that are there (C.7.6.17).
    rows = {row: n for n, row in enumerate(sorted({row for row, _, _ in found}), 1)}
    columns = {column: n for n, column in enumerate(sorted({column for _, column, _ in found}), 1)}
    return [
        _Tile(
            row,
            column,
            (rows[row], columns[column]),
            DataElement(_PLANE_POSITION_SLIDE, "SQ", hd.PlanePositionSequence("SLIDE", place, (column, row))),
        )
        for row, column, place in found
    ]


def _put_frames(
    seg: Dataset, mask: NDArray[np.uint8], tile: tuple[int, int], tiles: list[_Tile], segments: list[int]
) -> None:
    """Per-frame groups and bits, segment by segment, in place of the single frame highdicom made."""
    bits = Bits()
    items: list[Dataset] = []
    nothing = DataElement(_DERIVATION_IMAGE, "SQ", [])
    plane = np.zeros(tile, dtype=np.bool_)
    for number in segments:
        # highdicom shares the identification of an only segment.
        identification = _identification(number) if len(segments) > 1 else None
        for place in tiles:
            part = mask[place.row - 1 : place.row - 1 + tile[0], place.column - 1 : place.column - 1 + tile[1]]
            if part.shape != tile:
                plane[:] = False
            np.equal(part, number, out=plane[: part.shape[0], : part.shape[1]])
            if not plane.any():
                continue
            items.append(_per_frame((number, *place.index), place.position, nothing, identification))
            bits.add(plane)
    if not items:
        first = _identification(segments[0]) if len(segments) > 1 else None
        items.append(_per_frame((segments[0], *tiles[0].index), tiles[0].position, nothing, first))
        bits.add(np.zeros(tile, dtype=np.bool_))
    seg.NumberOfFrames = len(items)
    seg.PerFrameFunctionalGroupsSequence = items
    seg.PixelData = bits.pixel_data()


def _identification(number: int) -> DataElement:
    item = Dataset()
    item.add(DataElement(_REFERENCED_SEGMENT_NUMBER, "US", number))
    return DataElement(_SEGMENT_IDENTIFICATION, "SQ", [item])


def _per_frame(
    index: tuple[int, int, int], position: DataElement, derivation: DataElement, identification: DataElement | None
) -> Dataset:
    """The functional groups of one frame; only Frame Content is its own, the others are shared with other frames."""
    content = Dataset()
    content.add(DataElement(_DIMENSION_INDEX_VALUES, "UL", list(index)))
    item = Dataset()
    item.add(derivation)
    item.add(DataElement(_FRAME_CONTENT, "SQ", [content]))
    item.add(position)
    if identification is not None:
        item.add(identification)
    return item


def _thickness(source: Dataset) -> float:
    """Slice Thickness in mm, type 1C of Pixel Measures; 1 um where the source does not know it."""
    shared = source.get("SharedFunctionalGroupsSequence") or [Dataset()]
    measures = shared[0].get("PixelMeasuresSequence") or [Dataset()]
    return float(measures[0].get("SliceThickness") or 0.001)
