"""ANN: many like objects as Microscopy Bulk Simple Annotations (PS3.3 A.87), 2D in pixels of the level."""

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from airouter.domain.finding import AnnotationGroup
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity, clip, code

_LEAST_POINTS = {"POINT": 1, "POLYLINE": 2, "POLYGON": 3}


def annotations(
    group: AnnotationGroup, source: Dataset, identity: Identity, series_number: int
) -> hd.ann.MicroscopyBulkSimpleAnnotations:
    """One annotation group with its measurements. `source` is the header of the level the points lie on.

    Raises EvidenceError where an object has too few points, or a measurement is not one finite number per object.
    """
    starts = group.starts
    sizes = np.diff(starts)
    least = _LEAST_POINTS.get(group.graphic)
    if least is None:
        raise EvidenceError(f"{group.graphic!r} is not a graphic type of annotations")
    if not len(group) or starts[0] != 0 or starts[-1] != len(group.points) or sizes.min() < least:
        raise EvidenceError(f"the points of {group.role} do not make {len(group)} {group.graphic}s")
    if group.graphic == "POINT" and sizes.max() > 1:
        raise EvidenceError(f"a POINT of {group.role} has more than one place")
    points = np.ascontiguousarray(group.points, dtype=np.float32)
    measurements = []
    for (name, unit), values in group.measurements.items():
        if values.shape != (len(group),) or not np.isfinite(values).all():
            raise EvidenceError(f"{name.meaning} is not one finite number per object of {group.role}")
        measurements.append(hd.ann.Measurements(code(name), np.asarray(values, dtype=np.float32), code(unit)))
    item = hd.ann.AnnotationGroup(
        number=1,
        uid=identity.job.uid(f"finding|{group.role}|group"),
        label=clip(group.label),
        annotated_property_category=code(group.category),
        annotated_property_type=code(group.type),
        graphic_type=group.graphic,
        graphic_data=np.split(points, starts[1:-1]),
        algorithm_type=hd.ann.AnnotationGroupGenerationTypeValues.AUTOMATIC,
        algorithm_identification=identity.algorithm(),
        measurements=measurements or None,
    )
    return hd.ann.MicroscopyBulkSimpleAnnotations(
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
