"""Parametric Map: a number per field of a slide (PS3.3 A.75), float32 on its own coarse grid in the slide's frame.

Only slides have one: the IOD demands a frame of reference, and photographs and many tomographs have none.
"""

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from airouter.domain import codes
from airouter.domain.finding import NO_VALUE, ParametricMap
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity, clip, code
from airouter.evidence.source import grid_geometry

_MAX_TILE = 512
# What is shown as black and as white, where the unit has ends: by the values that happen to be there the maps of two
# classes would look alike, however rare one of them is.
_SHOWN = {codes.ZERO_TO_ONE: (0.0, 1.0), codes.PERCENT: (0.0, 100.0)}


def parametric_map(
    values: ParametricMap, source: Dataset, identity: Identity, series_number: int
) -> hd.pm.ParametricMap:
    """One map; cells without a value are padding (Float Pixel Padding Value, PS3.3 C.7.6.24).

    `source` is the header of the level it covers. Raises EvidenceError for NaN or infinity, where the map does not just
    cover the level, and where the level has no place on the slide.
    """
    cells = np.ascontiguousarray(values.values, dtype=np.float32)
    if cells.ndim != 2 or not cells.size or not np.isfinite(cells).all():
        raise EvidenceError(f"{values.role} is not a plane of finite numbers")
    rows, columns = cells.shape
    geometry = grid_geometry(source, rows, columns, values.factor)
    known = cells[cells != NO_VALUE]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    black, white = _SHOWN.get(values.unit, (low, high))
    arguments = identity.common(values.label)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=clip(values.quantity.value, 16),
        lut_explanation=clip(values.quantity.meaning),
        unit=code(values.unit),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=code(values.quantity),
    )
    if values.finding is not None:
        of = hd.sr.CodeContentItem(name=code(codes.FINDING), value=code(values.finding))
        mapping.QuantityDefinitionSequence.append(of)
    made = hd.pm.ParametricMap(
        source_images=[source],
        pixel_array=cells[np.newaxis],
        real_world_value_mappings=[mapping],
        # LINEAR_EXACT: the plain LINEAR window may not be narrower than 1, and values may span less (C.11.2.1.2).
        voi_lut_transformations=[
            hd.VOILUTTransformation(
                window_center=(black + white) / 2,
                window_width=max(white - black, 1e-6),
                voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,
            )
        ],
        contains_recognizable_visual_features=False,
        pixel_measures=hd.PixelMeasuresSequence(geometry.spacing, slice_thickness=0.001),
        plane_orientation=hd.PlaneOrientationSequence("SLIDE", geometry.orientation),
        plane_positions=[hd.PlanePositionSequence("SLIDE", geometry.origin, (1, 1))],
        tile_pixel_array=True,
        # whole tiles are stored: one larger than the map would be mostly padding
        tile_size=(min(source.Rows, _MAX_TILE, rows), min(source.Columns, _MAX_TILE, columns)),
        series_instance_uid=identity.job.uid(f"{values.role} series"),
        sop_instance_uid=identity.job.uid(values.role),
        series_number=series_number,
        content_description=clip(values.label),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **arguments,
    )
    if known.size < cells.size:
        made.FloatPixelPaddingValue = made.FloatPixelPaddingRangeLimit = NO_VALUE
    return made
