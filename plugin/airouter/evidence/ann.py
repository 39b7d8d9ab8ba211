"""ANN: many like objects as Microscopy Bulk Simple Annotations (PS3.3 A.87), 2D in pixels of the level.

highdicom makes the object from the first annotation; the bulk of all is put in afterwards. Given a million polygons it
would look at each for itself, and keep every one as an array of its own.
"""

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from airouter.domain.finding import AnnotationGroup
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity, clip, code
from airouter.evidence.source import plain

_LEAST_POINTS = {"POINT": 1, "POLYLINE": 2, "POLYGON": 3}
# Points looked at together: what comparing them takes stays small beside the points.
_BLOCK = 1 << 18
_MAX_INDEX = np.iinfo(np.uint32).max


def annotations(group: AnnotationGroup, source: Dataset, identity: Identity, series_number: int) -> Dataset:
    """One annotation group with its measurements. `source` is the header of the level the points lie on.

    Raises EvidenceError where an object has too few points, a point is not finite, a polygon repeats its first point
    at its end, or a measurement is not one finite number per object.
    """
    points = np.ascontiguousarray(group.points, dtype="<f4")
    _check_points(group, points)
    first = slice(0, int(group.starts[1]))
    item = hd.ann.AnnotationGroup(
        number=1,
        uid=identity.job.uid(f"finding|{group.role}|group"),
        label=clip(group.label),
        annotated_property_category=code(group.category),
        annotated_property_type=code(group.type),
        graphic_type=group.graphic,
        graphic_data=[points[first]],
        algorithm_type=hd.ann.AnnotationGroupGenerationTypeValues.AUTOMATIC,
        algorithm_identification=identity.algorithm(),
        measurements=[
            hd.ann.Measurements(code(name), np.zeros(1, dtype=np.float32), code(unit))
            for name, unit in group.measurements
        ]
        or None,
    )
    ann = plain(
        hd.ann.MicroscopyBulkSimpleAnnotations(
            source_images=[source],
            annotation_coordinate_type=hd.ann.AnnotationCoordinateTypeValues.SCOORD,
            annotation_groups=[item],
            series_instance_uid=identity.job.uid(f"{group.role} series"),
            sop_instance_uid=identity.job.uid(group.role),
            series_number=series_number,
            content_description=clip(group.label),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **identity.common(group.label),
        )
    )
    ann.AnnotationGroupSequence = [_with_bulk(plain(item), group, points)]
    return ann


def _with_bulk(item: Dataset, group: AnnotationGroup, points: NDArray[np.float32]) -> Dataset:
    """All annotations in place of the first (PS3.3 C.37.1.2).

    The index list says where each primitive begins, counted from 1 in single numbers, two of which make a point.
    Every annotation has every measurement, so that no measurement has an index list.
    """
    item.NumberOfAnnotations = len(group)
    item.PointCoordinatesData = points.tobytes()
    if "LongPrimitivePointIndexList" in item:
        item.LongPrimitivePointIndexList = (group.starts[:-1] * 2 + 1).astype("<u4").tobytes()
    for made, ((name, _), values) in zip(
        item.get("MeasurementsSequence") or (), group.measurements.items(), strict=True
    ):
        stored = np.ascontiguousarray(values, dtype="<f4")
        if stored.shape != (len(group),) or not np.isfinite(stored).all():
            raise EvidenceError(f"{name.meaning} is not one finite number per object of {group.role}")
        made.MeasurementValuesSequence[0].FloatingPointValues = stored.tobytes()
    return item


def _check_points(group: AnnotationGroup, points: NDArray[np.float32]) -> None:
    starts = group.starts
    sizes = np.diff(starts)
    least = _LEAST_POINTS.get(group.graphic)
    if least is None:
        raise EvidenceError(f"{group.graphic!r} is not a graphic type of annotations")
    if points.ndim != 2 or points.shape[1] != 2:
        raise EvidenceError(f"the points of {group.role} are {points.shape}, not (column, row) pairs")
    if len(group) < 1 or starts[0] != 0 or starts[-1] != len(points) or sizes.min() < least:
        raise EvidenceError(f"the points of {group.role} do not make {len(group)} {group.graphic}s")
    if group.graphic == "POINT" and sizes.max() > 1:
        raise EvidenceError(f"a POINT of {group.role} has more than one place")
    if 2 * len(points) > _MAX_INDEX:
        raise EvidenceError(f"{group.role} has {len(points)} points, more than one annotation group can hold")
    for at in range(0, len(points), _BLOCK):
        if not np.isfinite(points[at : at + _BLOCK]).all():
            raise EvidenceError(f"a point of {group.role} is not finite")
    if group.graphic == "POLYGON":
        for at in range(0, len(group), _BLOCK):
            begins, ends = starts[:-1][at : at + _BLOCK], starts[1:][at : at + _BLOCK] - 1
            if (points[begins] == points[ends]).all(axis=1).any():
                raise EvidenceError(f"a POLYGON of {group.role} repeats its first point at its end")
