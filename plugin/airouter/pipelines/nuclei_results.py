"""How nuclei of a slide are reported, whatever was measured of them: groups of outlines, and maps of fields."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import NO_VALUE, AnnotationGroup, ParametricMap, Segment, Segmentation
from airouter.imaging.level import Level
from airouter.imaging.slide import Slide
from airouter.imaging.tissue import Tissue, pixels_of_cells
from airouter.pipelines.nuclei_of_slide import Nuclei


def group(
    role: str,
    label: str,
    kind: Code,
    level: Level,
    mine: Nuclei,
    measured: Mapping[tuple[Code, Code], NDArray[np.floating]],
) -> AnnotationGroup | None:
    """The outlines of nuclei, with their area and what was `measured` of each of them; None where there is none."""
    if not len(mine):
        return None
    values = {(codes.AREA, codes.UM2): mine.area_um2, **measured}
    return AnnotationGroup(
        role=role,
        label=label,
        source=level.instance_uid,
        graphic="POLYGON",
        category=codes.ANATOMICAL_STRUCTURE,
        type=kind,
        points=np.concatenate(mine.outlines),
        starts=np.cumsum([0, *map(len, mine.outlines)], dtype=np.int64),
        measurements={name: each.astype(np.float32) for name, each in values.items()},
    )


def share_map(
    level: Level,
    centres: NDArray[np.float64],
    positive: NDArray[np.bool_],
    field_um: float,
    least: float,
    label: str,
    quantity: Code,
) -> ParametricMap:
    """Per field the positive share of the nuclei at `centres` in %; a field with fewer than `least` has no value."""
    factor, shape = _fields(level, field_um)
    total = _per_field(centres, factor, shape, np.ones(len(centres)))
    share = 100.0 * _per_field(centres, factor, shape, positive) / np.maximum(total, 1.0)
    values = np.where(total >= least, share, NO_VALUE)
    return _heat_map(level, factor, values, label, quantity, codes.PERCENT)


def density_map(level: Level, centres: NDArray[np.float64], field_um: float) -> ParametricMap:
    """Per field the nuclei per mm2 of the field, whatever part of it is tissue."""
    factor, shape = _fields(level, field_um)
    high = pixels_of_cells(level.rows, shape[0], factor)
    wide = pixels_of_cells(level.columns, shape[1], factor)
    area_mm2 = np.outer(high, wide) * level.spacing_um**2 * 1e-6
    values = _per_field(centres, factor, shape, np.ones(len(centres))) / area_mm2
    return _heat_map(level, factor, values, "Nuclei per field", codes.FIELD_DENSITY, codes.PER_MM2)


def tissue_segmentation(slide: Slide, tissue: Tissue) -> Segmentation:
    """The tissue that was analysed."""
    return Segmentation(
        role="tissue",
        label="Tissue that was analysed",
        source=slide.base.instance_uid,
        mask=tissue.mask.astype(np.uint8),
        segments=(Segment(1, "Analysed tissue", codes.TISSUE, codes.TISSUE),),
        factor=tissue.factor,
    )


def _fields(level: Level, field_um: float) -> tuple[int, tuple[int, int]]:
    """Pixels of the level along a side of a field, and how many rows and columns of fields there are."""
    factor = max(1, round(field_um / level.spacing_um))
    return factor, (-(-level.rows // factor), -(-level.columns // factor))


def _heat_map(
    level: Level, factor: int, values: NDArray[np.float64], label: str, quantity: Code, unit: Code
) -> ParametricMap:
    return ParametricMap(
        role="heatmap",
        label=label,
        source=level.instance_uid,
        values=values.astype(np.float32),
        quantity=quantity,
        unit=unit,
        factor=factor,
    )


def _per_field(
    centres: NDArray[np.float64], factor: int, shape: tuple[int, int], weights: NDArray[np.generic]
) -> NDArray[np.float64]:
    column, row = np.minimum((centres // factor).astype(np.int64), [shape[1] - 1, shape[0] - 1]).T
    cells = np.bincount(row * shape[1] + column, weights=weights.astype(np.float64), minlength=shape[0] * shape[1])
    return np.asarray(cells.reshape(shape), np.float64)
