"""What a visual field says of its points and of the whole, held against each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from airouter.domain.finding import NotAnalysed
from airouter.domain.study import Laterality
from airouter.imaging.field import VisualField
from airouter.imaging.perimetry import Index, Location
from airouter.pipelines import garway_heath
from airouter.pipelines.pipeline import Parameter, Values

# Our own figures. Total and pattern deviation may both be rounded to whole dB, and are then up to 1 dB off.
PARAMETERS: Final = (
    Parameter("max_deviation_db", 1.5, "dB", "largest disagreement of total and pattern deviation", 0.0, 20.0),
    Parameter(
        "max_md_difference_db", 3.0, "dB", "difference of MD and mean total deviation that is remarked on", 0.0, 40.0
    ),
)

# Our own limits of what a normal sensitivity within 30 degrees can be (white on white, size III), in dB.
_NORMAL_DB: Final = (10.0, 45.0)
_ROUNDED_DB: Final = 0.5  # half of a whole dB, for values that were rounded


@dataclass(frozen=True, slots=True)
class Checked:
    """What holds after the checks; what does not is empty or None, and told.

    `points`: all but the blind spot. `total`, `pattern`: those of them whose deviation holds. `contradictions`: what
    the object says against itself; `absent`: what it does not say. `remarks`: for a comment.
    """

    points: tuple[Location, ...]
    total: tuple[Location, ...]
    pattern: tuple[Location, ...]
    md: Index | None
    mean_total: float | None
    contradictions: tuple[NotAnalysed, ...]
    absent: tuple[NotAnalysed, ...]
    remarks: tuple[str, ...]


def check(field: VisualField, side: Laterality, values: Values) -> Checked:
    """Hold what the object says of its points and of the whole field against each other."""
    points = tuple(p for p in field.points if not garway_heath.is_blind_spot(p.x, p.y, side))
    total = tuple(p for p in points if p.total is not None)
    against: list[NotAnalysed] = []
    if strange := _strange_normals(total):
        first, normal = strange[0]
        why = (
            f"sensitivity less total deviation is no normal value at {len(strange)} points, first {normal:.1f} dB at "
            f"{first.x:g}, {first.y:g} degrees"
        )
        against.append(NotAnalysed("total and pattern deviation", f"not analysed because {why}"))
        total = ()
    pattern = tuple(p for p in total if p.pattern is not None)
    if off := _uneven(pattern, values["max_deviation_db"]):
        why = (
            "it differs from the total deviation by no single correction: "
            f"{off} points are more than {values['max_deviation_db']:g} dB off"
        )
        against.append(NotAnalysed("pattern deviation", f"not analysed because {why}"))
        pattern = ()
    mean_total = fmean(total_of(p) for p in total) if total else None
    md, remarks = field.md, []
    if md is not None and mean_total is not None:
        least, most = min(total_of(p) for p in total), max(total_of(p) for p in total)
        if not least - _ROUNDED_DB <= md.value <= most + _ROUNDED_DB:
            why = f"{md.value:.2f} dB cannot be a mean of total deviations between {least:.1f} and {most:.1f} dB"
            against.append(NotAnalysed("mean deviation", f"not analysed because {why}"))
            md = None
        elif (apart := abs(md.value - mean_total)) > values["max_md_difference_db"]:
            remarks.append(
                f"The mean deviation differs from the unweighted mean of the total deviations by {apart:.1f} dB."
            )
    return Checked(points, total, pattern, md, mean_total, tuple(against), _absent(points), tuple(remarks))


def _absent(points: Sequence[Location]) -> tuple[NotAnalysed, ...]:
    """The deviations that no point has."""
    missing = [] if any(p.total is not None for p in points) else ["total deviation"]
    missing += [] if any(p.pattern is not None for p in points) else ["pattern deviation"]
    return tuple(NotAnalysed(name, "not analysed because the object carries none") for name in missing)


def total_of(point: Location) -> float:
    """A point's total deviation, NaN where it has none."""
    return point.total if point.total is not None else float("nan")


def _strange_normals(points: Sequence[Location]) -> list[tuple[Location, float]]:
    """Points whose sensitivity less total deviation cannot be the normal sensitivity of any age, with that value."""
    least, most = _NORMAL_DB
    implied = [
        (p, p.sensitivity - p.total) for p in points if p.seen and p.sensitivity is not None and p.total is not None
    ]
    return [(p, normal) for p, normal in implied if not least <= normal <= most]


def _uneven(points: Sequence[Location], tolerance: float) -> int:
    """How many points deviate from the common correction of the field, the median of pattern less total deviation."""
    corrections = [p.pattern - p.total for p in points if p.pattern is not None and p.total is not None]
    if not corrections:
        return 0
    common = median(corrections)
    return sum(abs(c - common) > tolerance for c in corrections)
