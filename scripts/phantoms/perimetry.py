"""Static perimetry from the tables of the R package visualFields, wrapped as OPV instances; and made-up fields.

A table has a row per test: id, eye (OD or OS), date (days since 1970-01-01), time, age, type, fpr, fnr, fl (shares of
false positives, false negatives, fixation losses), duration, and l1 to l54, the sensitivities of the 24-2 pattern from
above and from left to right as of a right eye: rows of left eyes are mirrored. The tables carry no deviations and no
global indices. `Normals` works them out from the control subjects of the same package: a stand-in for the normative
data of a perimeter, good enough to test with and nothing else.
"""

import csv
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from phantoms.dicom.field import Deviations, field_instance

CONTROLS: Final = "vfctrSunyiu24d2.csv"
RETEST: Final = "vfpwgRetest24d2.csv"
_ROWS: Final = {
    21: (-9, 4),
    15: (-15, 6),
    9: (-21, 8),
    3: (-27, 9),
    -3: (-27, 9),
    -9: (-21, 8),
    -15: (-15, 6),
    -21: (-9, 4),
}
# The 24-2 pattern of a right eye, from above and from left to right.
GRID: Final = tuple((float(first + 6 * n), float(y)) for y, (first, count) in _ROWS.items() for n in range(count))
BLIND_SPOT: Final = (25, 34)  # indices into GRID of the points (15, 3) and (15, -3)
_KEPT: Final = np.array([n for n in range(len(GRID)) if n not in BLIND_SPOT])
_LIMITS: Final = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """One row of a table. `levels` in dB, as of a right eye; shares are 0..1; `duration_s` 0 where not recorded."""

    subject: str
    laterality: str
    when: datetime.datetime
    age: float
    fixation_losses: float
    false_positives: float
    false_negatives: float
    duration_s: float
    levels: NDArray[np.float64]

    __test__ = False  # not a test case of pytest


def read(path: Path) -> list[Test]:
    """Every row of a table, in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_test(row) for row in csv.DictReader(file)]


def eyes(tests: Sequence[Test]) -> dict[tuple[str, str], list[Test]]:
    """The tests of each eye (subject, laterality), oldest first."""
    found: dict[tuple[str, str], list[Test]] = {}
    for test in sorted(tests, key=lambda t: t.when):
        found.setdefault((test.subject, test.laterality), []).append(test)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Normals:
    """Per point: sensitivity of normals by age (`level` + `slope` x age), its standard deviation, limits of deviation.

    `limits` is [4, 54]: the total deviation that 0.5, 1, 2 and 5 % of normals do not reach; `pattern_limits` the same
    of the pattern deviation.
    """

    level: NDArray[np.float64]
    slope: NDArray[np.float64]
    sd: NDArray[np.float64]
    limits: NDArray[np.float64]
    pattern_limits: NDArray[np.float64]

    def total(self, test: Test) -> NDArray[np.float64]:
        """Total deviations [54] in dB."""
        return np.asarray(test.levels - (self.level + self.slope * test.age), dtype=np.float64)

    def deviations(self, test: Test) -> list[Deviations]:
        """Total and pattern deviation of each point with probabilities in %, which say nothing at the blind spot."""
        total = self.total(test)
        pattern = total - _general(total)
        return [
            (
                float(total[n]),
                100.0 if n in BLIND_SPOT else _probability(total[n], self.limits[:, n]),
                float(pattern[n]),
                100.0 if n in BLIND_SPOT else _probability(pattern[n], self.pattern_limits[:, n]),
            )
            for n in range(len(GRID))
        ]

    def md(self, test: Test) -> float:
        """Mean of the total deviations, each weighing by the inverse of its variance among normals (STATPAC)."""
        return float(np.average(self.total(test)[_KEPT], weights=1.0 / self.sd[_KEPT] ** 2))

    def psd(self, test: Test) -> float:
        """Weighted standard deviation of the total deviations about the mean deviation (STATPAC)."""
        variance = self.sd[_KEPT] ** 2
        away = (self.total(test)[_KEPT] - self.md(test)) ** 2
        return float(np.sqrt(variance.mean() * (away / variance).sum() / (len(_KEPT) - 1)))


def normals(controls: Sequence[Test]) -> Normals:
    """Fit to the control subjects, each eye's tests counting one by one."""
    levels = np.stack([test.levels for test in controls])
    ages = np.array([test.age for test in controls])
    design = np.stack([np.ones_like(ages), ages], axis=1)
    (level, slope), *_ = np.linalg.lstsq(design, levels, rcond=None)
    away = levels - (level + ages[:, None] * slope)
    pattern = np.stack([total - _general(total) for total in away])
    return Normals(
        level=level,
        slope=slope,
        sd=away.std(axis=0, ddof=2),
        limits=np.percentile(away, _LIMITS, axis=0),
        pattern_limits=np.percentile(pattern, _LIMITS, axis=0),
    )


def instance(test: Test, reference: Normals | None = None, **changes: Any) -> Dataset:
    """A test as an OPV instance, with deviations and indices where there are normals; `changes` are of field_instance.

    The tables give shares, DICOM counts of fixation losses: they stand as so many of 100.
    """
    mirror = -1.0 if test.laterality == "L" else 1.0
    said: dict[str, Any] = {
        "laterality": test.laterality,
        "when": test.when,
        "birth_date": "",
        "age": f"{round(test.age):03d}Y",
        "duration_s": test.duration_s,
        "fixation": (round(100 * test.fixation_losses), 100),
        "false_positives": None,
        "false_positive_percent": 100.0 * test.false_positives,
        "false_negatives": None,
        "false_negative_percent": 100.0 * test.false_negatives,
        "patient_id": f"PERIMETRY-{test.subject}",
    }
    if reference is not None:
        said |= {
            "deviations": reference.deviations(test),
            "md": (reference.md(test), None),
            "psd": (reference.psd(test), None),
            "normals": ("Controls of visualFields", "1"),
        }
    points = [(mirror * x, y, float(db)) for (x, y), db in zip(GRID, test.levels, strict=True)]
    return field_instance(points, **(said | changes))


def instances(folder: Path, table: str = RETEST, **changes: Any) -> list[Dataset]:
    """Every test of a table in the folder as an OPV instance, with the controls of the same folder as normals."""
    reference = normals(read(folder / CONTROLS))
    return [instance(test, reference, **changes) for test in read(folder / table)]


def _test(row: dict[str, str]) -> Test:
    hours, minutes, seconds = (int(part) for part in row["time"].split(":"))
    day = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=float(row["date"]))
    lasted = [int(part) for part in row["duration"].split(":")]
    return Test(
        subject=row["id"],
        laterality={"OD": "R", "OS": "L"}[row["eye"]],
        when=day.replace(hour=hours, minute=minutes, second=seconds),
        age=float(row["age"]),
        fixation_losses=float(row["fl"]),
        false_positives=float(row["fpr"]),
        false_negatives=float(row["fnr"]),
        duration_s=float(lasted[0] * 3600 + lasted[1] * 60 + lasted[2]),
        levels=np.array([float(row[f"l{n}"]) for n in range(1, len(GRID) + 1)]),
    )


def _general(total: NDArray[np.float64]) -> float:
    """The general height of the field: the seventh highest total deviation outside the blind spot."""
    return float(np.sort(total[_KEPT])[-7])


def _probability(deviation: float, limits: NDArray[np.float64]) -> float:
    """The smallest percentage whose limit is not reached, 100 where none is missed."""
    return next((p for p, limit in zip(_LIMITS, limits, strict=True) if deviation < limit), 100.0)
