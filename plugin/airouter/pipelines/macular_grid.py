"""Thickness of the macula over a raster of B-scans: the nine ETDRS fields, total volume, average.

Each only where the scan supports it: what is missing is said with its reason.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.finding import Measurement, NotAnalysed
from airouter.imaging import etdrs
from airouter.imaging.etdrs import Ring, Side
from airouter.imaging.oct import OctVolume
from airouter.imaging.orientation import anatomy, raster_problem
from airouter.pipelines.pipeline import Parameter

# Chalam KV et al. (DRCR.net). Retinal thickness in people with diabetes and minimal or no diabetic retinopathy.
# Invest Ophthalmol Vis Sci 2012;53:8154-8161: 320 um in men, 305 um in women; the higher one holds for both.
HIGH_CST: Final = Parameter(
    "high_cst_um", 320.0, "um", "central subfield thickness above which the priority is HIGH", 100.0, 2000.0
)
MIN_COVERAGE: Final = Parameter("min_coverage", 0.9, "{ratio}", "least share of a field that the scan covers", 0.5, 1.0)
MAX_SLICE: Final = Parameter(
    "max_slice_um", 500.0, "um", "widest distance of B-scans that still make a grid", 1.0, 1000.0
)

CENTRAL_MM: Final = 1.0  # diameter of the central subfield
GRID_MM2: Final = np.pi * etdrs.RADII_MM[-1] ** 2

Centre = tuple[float, float]  # (row, column) of a map, (0, 0) being the centre of its first cell


@dataclass(frozen=True, slots=True)
class Grid:
    """Measurements of thickness, what could not be measured, and the central subfield thickness in um."""

    measured: tuple[Measurement, ...]
    missing: tuple[NotAnalysed, ...]
    cst: float | None


def grid(
    volume: OctVolume,
    thickness: NDArray[np.float64],
    min_coverage: float,
    max_slice_um: float,
    centre: Centre | None = None,
) -> Grid:
    """The ETDRS fields of a thickness map [B-scans, columns] in um, NaN where not trusted.

    `centre`: of the fovea; None is the middle of the scan. A single B-scan has no grid: its own means come instead,
    unless it is a circle.
    """
    why = no_grid(volume, max_slice_um)
    if why or volume.slice_um is None:
        quantities = ("central subfield thickness", "ETDRS grid", "total macular volume")
        missing = tuple(NotAnalysed(quantity, f"not analysed because {why}") for quantity in quantities)
        return Grid(tuple(_along_the_line(thickness[0], volume.lateral_um)) if is_line(volume) else (), missing, None)
    fields = etdrs.fields(thickness.astype(np.float32), volume.slice_um, volume.lateral_um, centre)
    covered = {key for key, field in fields.items() if field.coverage >= min_coverage}
    measured, absent = _fields(volume, fields, covered)
    if len(covered) == len(fields):
        total = etdrs.volume_mm3(fields)
        measured.append(Measurement(codes.TOTAL_VOLUME, total, codes.UL))  # 1 mm3 is 1 uL
        measured.append(Measurement(codes.AVERAGE_THICKNESS, 1e3 * total / GRID_MM2, codes.UM))
    else:
        reason = "not analysed because the scan does not cover the whole grid of 6 mm"
        absent += [NotAnalysed(quantity, reason) for quantity in ("total macular volume", "average macular thickness")]
    central = (Ring.CENTRAL, Side.NONE)
    return Grid(tuple(measured), tuple(absent), fields[central].mean if central in covered else None)


def no_grid(volume: OctVolume, widest_um: float) -> str | None:
    """Why the ETDRS grid cannot be laid over the scan, None where it can."""
    if problem := raster_problem(volume):
        return problem
    if volume.slice_um is not None and volume.slice_um > widest_um:
        return f"the B-scans are {volume.slice_um:.0f} um apart, more than {widest_um:.0f} um"
    return None


def is_line(volume: OctVolume) -> bool:
    """Whether it is a single straight B-scan, as far as the header says."""
    return volume.scan_pattern == "SINGLE"


def _fields(
    volume: OctVolume, fields: dict[tuple[Ring, Side], etdrs.Field], covered: set[tuple[Ring, Side]]
) -> tuple[list[Measurement], list[NotAnalysed]]:
    """The covered fields by their anatomical names, and why the others have no value or no name."""
    sides, unknown = anatomy(volume)
    measured, missing = [], []
    for (ring, side), field in fields.items():
        if ring is not Ring.CENTRAL and side not in sides:
            continue
        name = codes.ETDRS_FIELDS["centre" if ring is Ring.CENTRAL else f"{ring} {sides[side]}"]
        if (ring, side) in covered:
            measured.append(Measurement(name, field.mean, codes.UM))
        else:
            share = f"the scan covers {100 * field.coverage:.0f} % of the field"
            missing.append(NotAnalysed(name.meaning, f"not analysed because {share}"))
    for direction, reason in unknown.items():
        missing.append(NotAnalysed(f"{direction} fields of the ETDRS grid", f"not analysed because {reason}"))
    return measured, missing


def _along_the_line(thickness: NDArray[np.float64], lateral_um: float) -> list[Measurement]:
    """Mean over a single B-scan, and over its central millimetre; neither is a central subfield thickness."""
    known = np.isfinite(thickness)
    found = [Measurement(codes.RETINAL_THICKNESS, float(thickness[known].mean()), codes.UM)]
    away = np.abs(np.arange(len(thickness)) - (len(thickness) - 1) / 2) * lateral_um / 1000.0
    centre = away <= CENTRAL_MM / 2
    if len(thickness) * lateral_um / 1000.0 >= CENTRAL_MM and known[centre].mean() >= 0.9:
        found.append(Measurement(codes.CENTRAL_THICKNESS, float(thickness[centre & known].mean()), codes.UM))
    return found
