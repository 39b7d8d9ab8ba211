"""Planes of numbers as they are stored in the archive: thickness maps of the retina, parametric maps of slides."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.plot import Plane
from airouter.errors import PixelDataError
from airouter.imaging.header import MALFORMED, first_item, integer, is_code, number

THICKNESS_MAP: Final = "1.2.840.10008.5.1.4.1.1.81.1"  # Ophthalmic Thickness Map Storage
PARAMETRIC_MAP: Final = "1.2.840.10008.5.1.4.1.1.30"  # Parametric Map Storage
_MOST_CELLS: Final = 1 << 26


def stored_plane(ds: Dataset) -> Plane:
    """The plane of a whole object of either class. Raises PixelDataError where it does not hold one."""
    try:
        return _thickness(ds) if str(ds.get("SOPClassUID", "")) == THICKNESS_MAP else _parametric(ds)
    except MALFORMED as error:
        raise PixelDataError(f"the map cannot be read: {type(error).__name__}") from error


def _thickness(ds: Dataset) -> Plane:
    """Numbers without a unit would be guesses: a map without a mapping to real values is not drawn."""
    rows, columns = integer(ds.get("Rows")), integer(ds.get("Columns"))
    mapping = first_item(ds, "RealWorldValueMappingSequence")
    slope, intercept = _number(mapping, "RealWorldValueSlope"), _number(mapping, "RealWorldValueIntercept")
    if ds.get("BitsAllocated") != 16 or ds.get("PixelRepresentation") != 0 or integer(ds.get("SamplesPerPixel")) != 1:
        raise PixelDataError("the map is not of unsigned 16-bit numbers")
    pixels = _cells(ds.get("PixelData"), np.dtype("<u2"), rows, columns)
    first, last = (_number(mapping, f"RealWorldValue{end}ValueMapped", d) for end, d in (("First", 0), ("Last", 65535)))
    values = np.where((pixels >= first) & (pixels <= last), pixels * slope + intercept, np.nan).astype(np.float32)
    kind = first_item(ds, "OphthalmicThicknessMapTypeCodeSequence")
    defined = first_item(ds, "RetinalThicknessDefinitionCodeSequence")
    return Plane(
        title=_title(ds),
        quantity=_meaning(defined, "Thickness"),
        unit=_unit(mapping),
        values=values,
        spacing_mm=_spacing(ds.get("PixelSpacing")),
        signed=kind is not None and is_code(kind, codes.THICKNESS_DIFFERENCE),
        sides=_sides(ds),
    )


def _parametric(ds: Dataset) -> Plane:
    data = ds.get("FloatPixelData")
    rows, columns = integer(ds.get("Rows")), integer(ds.get("Columns"))
    frames = max(1, integer(ds.get("NumberOfFrames"), 1))
    tiles = _cells(data, np.dtype("<f4"), rows * frames, columns).reshape(frames, rows, columns)
    values = _whole(ds, tiles)
    padding = number(ds.get("FloatPixelPaddingValue"))
    if padding is not None:
        values = np.where(values == padding, np.float32(np.nan), values)
    shared = first_item(ds, "SharedFunctionalGroupsSequence")
    mapping = _group(ds, shared, "RealWorldValueMappingSequence")
    window = _group(ds, shared, "FrameVOILUTSequence")
    centre, width = _number(window, "WindowCenter", np.nan), _number(window, "WindowWidth", np.nan)
    measures = _group(ds, shared, "PixelMeasuresSequence")
    return Plane(
        title=_title(ds),
        quantity=_quantity(mapping),
        unit=_unit(mapping),
        values=values,
        spacing_mm=_spacing(measures.get("PixelSpacing")) if measures is not None else None,
        shown=(centre - width / 2, centre + width / 2) if np.isfinite(centre) and width > 0 else None,
    )


def _whole(ds: Dataset, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """The total pixel matrix of tiles, NaN where no tile lies; the only plane where the object is not tiled."""
    height, width = integer(ds.get("TotalPixelMatrixRows")), integer(ds.get("TotalPixelMatrixColumns"))
    if not height or not width:
        if len(tiles) != 1:
            raise PixelDataError(f"the map has {len(tiles)} planes: one is drawn")
        plane: NDArray[np.float32] = tiles[0]
        return plane
    if height * width > _MOST_CELLS:
        raise PixelDataError(f"the map is too large to be drawn: {height} x {width}")
    whole = np.full((height, width), np.nan, np.float32)
    _, rows, columns = tiles.shape
    across = -(-width // columns)
    groups = ds.get("PerFrameFunctionalGroupsSequence") or []
    for n, tile in enumerate(tiles):
        place = first_item(groups[n], "PlanePositionSlideSequence") if n < len(groups) else None
        top = integer(place.get("RowPositionInTotalImagePixelMatrix"), 0) - 1 if place else n // across * rows
        left = integer(place.get("ColumnPositionInTotalImagePixelMatrix"), 0) - 1 if place else n % across * columns
        if not (0 <= top < height and 0 <= left < width):
            raise PixelDataError("a tile of the map lies outside of it")
        part = whole[top : top + rows, left : left + columns]
        part[:] = tile[: part.shape[0], : part.shape[1]]
    return whole


def _cells(data: Any, kind: "np.dtype[Any]", rows: int, columns: int) -> NDArray[Any]:
    needed = rows * columns * kind.itemsize
    if not isinstance(data, bytes) or not 0 < rows * columns <= _MOST_CELLS or len(data) < needed:
        raise PixelDataError("the map's pixel data is missing, truncated or too large")
    return np.frombuffer(data[:needed], kind).reshape(rows, columns)


def _group(ds: Dataset, shared: Dataset | None, keyword: str) -> Dataset | None:
    """A functional group of all frames, else of the first one."""
    return first_item(shared, keyword) or first_item(ds, "PerFrameFunctionalGroupsSequence", keyword)


def _number(item: Dataset | None, keyword: str, default: float | None = None) -> float:
    value = item.get(keyword) if item is not None else None
    made = number(value[0] if isinstance(value, list | tuple) and value else value)
    if made is None and default is None:
        raise PixelDataError(f"the map does not say its {keyword}")
    return float(default if made is None else made)  # type: ignore[arg-type]


def _spacing(value: Any) -> tuple[float, float] | None:
    made = tuple(number(v) or 0.0 for v in value) if value else ()
    return (made[0], made[1]) if len(made) == 2 and min(made) > 0 else None


def _meaning(item: Dataset | None, default: str) -> str:
    return str(item.get("CodeMeaning") or default) if item is not None else default


def _unit(mapping: Dataset | None) -> str:
    unit = first_item(mapping, "MeasurementUnitsCodeSequence")
    return str(unit.get("CodeValue") or "") if unit is not None else ""


def _quantity(mapping: Dataset | None) -> str:
    """What the numbers are, and of what: the concepts of the Quantity Definition (PS3.3 C.7.6.16.2.11)."""
    items = mapping.get("QuantityDefinitionSequence") or [] if mapping is not None else []
    said = [_meaning(first_item(item, "ConceptCodeSequence"), "") for item in items]
    return ", ".join(word for word in said if word) or "Value"


def _title(ds: Dataset) -> str:
    return str(ds.get("ContentDescription") or ds.get("SeriesDescription") or "Map")


def _sides(ds: Dataset) -> tuple[str, ...]:
    """Words for the edges where rows run to the patient's left and columns to the feet (C.7.6.1.1.1)."""
    eye = str(ds.get("ImageLaterality") or "")
    if list(ds.get("PatientOrientation") or []) != ["L", "F"] or eye not in ("R", "L"):
        return ()
    return (*(("temporal", "nasal") if eye == "R" else ("nasal", "temporal")), "superior", "inferior")
