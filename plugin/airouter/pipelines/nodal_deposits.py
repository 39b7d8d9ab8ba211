"""The largest tumour deposit in a lymph node and what its size makes of it.

AJCC Cancer Staging Manual, 8th edition (2017), breast: isolated tumour cells up to 0.2 mm, micrometastasis above that
and up to 2 mm, macrometastasis above 2 mm, by the greatest dimension of the largest contiguous deposit; the sizes of
several deposits are not added up.
"""

from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, Region
from airouter.imaging.deposits import Deposits, deposits
from airouter.pipelines.compartments import TUBULE, TUMOUR, Compartments
from airouter.pipelines.pipeline import Parameter, Values

PARAMETERS: Final = (
    Parameter("gap_um", 0.0, "um", "parts of tumour no farther apart than this are one deposit", 0.0, 1000.0),
    Parameter("min_deposit_um2", 200.0, "um2", "least area of a deposit", 0.0),
)

ISOLATED_MM: Final = 0.2
MICROMETASTASIS_MM: Final = 2.0


def category(length_mm: float) -> Code:
    """Isolated tumour cells, micrometastasis or macrometastasis, by the greatest dimension of a deposit."""
    if length_mm <= ISOLATED_MM:
        return codes.ISOLATED_TUMOUR_CELLS
    return codes.MICROMETASTASIS if length_mm <= MICROMETASTASIS_MM else codes.MACROMETASTASIS


@dataclass(frozen=True, slots=True, eq=False)
class NodalDeposits:
    """The deposits on a slide of lymph nodes; `length_mm` of the largest, None where there is none."""

    count: int
    length_mm: float | None
    area_mm2: float
    region: Region
    cut: bool

    @property
    def category(self) -> Code | None:
        return None if self.length_mm is None else category(self.length_mm)

    def finding(self) -> Finding:
        """The largest deposit; where there is none, that there are 0."""
        measurements = [Measurement(codes.DEPOSIT_COUNT, float(self.count), codes.COUNTS)]
        evaluations: tuple[Evaluation, ...] = ()
        if self.length_mm is not None:
            measurements += [
                Measurement(codes.LONG_AXIS, self.length_mm, codes.MM),
                Measurement(codes.AREA, self.area_mm2, codes.MM2),
            ]
            evaluations = (Evaluation(codes.DEPOSIT_CATEGORY, category(self.length_mm)),)
        return Finding(
            key="deposit",
            label="Largest tumour deposit" if self.count else "No tumour deposit",
            finding=codes.TUMOUR_DEPOSIT,
            region=self.region,
            site=codes.LYMPH_NODE,
            measurements=tuple(measurements),
            evaluations=evaluations,
            comment="The deposit is cut off by the end of the scan and may be larger." if self.cut else None,
            method=codes.METHOD_DEPOSIT,
        )


def nodal_deposits(found: Compartments, values: Values) -> NodalDeposits:
    """Measure the deposits of tumour, tubules included, on the compartments' grid."""
    made: Deposits = deposits(
        found.of(TUMOUR, TUBULE), values["gap_um"] / found.pixel_um, values["min_deposit_um2"] / found.pixel_um**2
    )
    if made.largest is None or made.axis is None:
        return NodalDeposits(0, None, 0.0, found.region.outline(), cut=False)
    largest = made.largest
    return NodalDeposits(
        made.count,
        made.axis.length * found.pixel_um / 1000.0,
        found.area_mm2(largest),
        found.outline(largest),
        cut=bool(largest[[0, -1]].any() or largest[:, [0, -1]].any()),
    )
