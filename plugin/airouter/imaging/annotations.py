"""Reads what was drawn on a slide from Microscopy Bulk Simple Annotations (PS3.3 A.87, C.37.1)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.code import Code
from airouter.domain.drawing import Drawing
from airouter.errors import PixelDataError
from airouter.imaging.header import MALFORMED
from airouter.imaging.slide import Slide

# Points of an annotation where no index list says where each begins (C.37.1.2.2).
_FIXED: Final = {"POINT": 1, "RECTANGLE": 4, "ELLIPSE": 4}
_BULK: Final = (("PointCoordinatesData", "<f4"), ("DoublePointCoordinatesData", "<f8"))


def annotated(slide: Slide, objects: Sequence[Dataset]) -> Slide:
    """The slide with every group of these objects that lies on it; others are left out.

    Raises PixelDataError where an object contradicts itself.
    """
    if not objects:
        return slide
    found: list[Drawing] = []
    for ds in objects:
        try:
            found += _drawings(ds, slide)
        except (*MALFORMED, TypeError) as error:
            raise PixelDataError(f"annotations cannot be read: {error}") from error
    return replace(slide, annotations=tuple(found))


def _drawings(ds: Dataset, slide: Slide) -> Iterator[Drawing]:
    scale = _scale(ds, slide)
    if scale is None and ds.get("AnnotationCoordinateType") != "3D":
        return
    for group in ds.get("AnnotationGroupSequence") or []:
        graphic = str(group.get("GraphicType") or "")
        points, starts = _points(group, graphic, "CommonZCoordinateValue" in group or scale is not None)
        if scale is not None:
            placed: NDArray[np.float64] = points[:, :2] * scale
        elif isinstance(slide.base.geometry, str) or ds.get("FrameOfReferenceUID") != slide.header.get(
            "FrameOfReferenceUID"
        ):
            continue  # millimetres of another glass, or of one that says nothing of its place
        else:
            depth = float(group.get("CommonZCoordinateValue") or 0.0)
            third = points[:, 2:] if points.shape[1] == 3 else np.full((len(points), 1), depth)
            placed = slide.base.geometry.to_pixels(np.hstack([points[:, :2], third]))
        types = group.get("AnnotationPropertyTypeCodeSequence") or [Dataset()]
        yield Drawing(
            uid=str(ds.SOPInstanceUID),
            label=str(group.get("AnnotationGroupLabel") or ""),
            type=Code(*(str(types[0].get(k) or "?") for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))),
            graphic=graphic,
            automatic=group.get("AnnotationGroupGenerationType") == "AUTOMATIC",
            shapes=tuple(np.split(placed, starts[1:])) if len(starts) else (),
        )


def _scale(ds: Dataset, slide: Slide) -> float | None:
    """Pixels of the finest level per pixel of the image that 2D points lie on; None where it is none of the slide's.

    Points counted within a frame (Pixel Origin Interpretation FRAME) lie on no total pixel matrix, and are left out.
    """
    if ds.get("AnnotationCoordinateType") != "2D" or ds.get("PixelOriginInterpretation", "VOLUME") != "VOLUME":
        return None
    named = {str(item.get("ReferencedSOPInstanceUID")) for item in ds.get("ReferencedImageSequence") or []}
    for level in slide.levels:
        if named & set(level.instance_uids):
            return level.spacing_um / slide.base.spacing_um
    return None


def _points(group: Dataset, graphic: str, flat: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """float64 [n, 2 or 3] and where each annotation begins."""
    kind, values = next(((k, group[name].value) for name, k in _BULK if name in group), ("<f4", b""))
    numbers = np.frombuffer(bytes(values), dtype=kind).astype(np.float64)
    width = 2 if flat else 3
    if len(numbers) % width:
        raise ValueError(f"{len(numbers)} coordinates are no points of {width}")
    points = numbers.reshape(-1, width)
    if not np.isfinite(points).all():
        raise ValueError("a point is not finite")
    if graphic in _FIXED:
        starts = np.arange(0, len(points), _FIXED[graphic], dtype=np.int64)
    else:
        index = group.get("LongPrimitivePointIndexList")
        first = np.frombuffer(bytes(index), "<u4").astype(np.int64) if index is not None else np.ones(1, np.int64)
        starts = (first - 1) // width
    if len(starts) and (starts[0] != 0 or np.any(np.diff(starts) <= 0) or starts[-1] >= max(1, len(points))):
        raise ValueError("the index of the points does not follow them")
    return points, starts if len(points) else starts[:0]
