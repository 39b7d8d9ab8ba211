"""Whether what a reader puts in the place of a machine's answer can be true, and what the finding then says.

Findings are the plain JSON values that the journal keeps (airouter.services.analyse.finding_values).
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from airouter.domain import codes
from airouter.domain.answers import answers
from airouter.domain.code import Code
from airouter.domain.review import Amendment

MOST_POINTS: Final = 10_000
_LEAST: Final = {"POINT": 1, "POLYLINE": 2, "POLYGON": 3}

# (lowest, highest) by UCUM unit; a unit that is not here takes any finite number.
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    codes.PERCENT.value: (0.0, 100.0),
    codes.ZERO_TO_ONE.value: (0.0, 1.0),
    **{
        unit.value: (0.0, math.inf)
        for unit in (
            codes.COUNTS, codes.PER_MM2, codes.RATIO, codes.UM, codes.MM, codes.UM2, codes.MM2, codes.MM3, codes.UL,
            codes.NL, codes.SECOND, codes.DAY, codes.MONTH, codes.YEAR,
        )
    },
}  # fmt: skip
_WHOLE: Final = frozenset({codes.COUNTS.value})
# Differences are lengths and volumes that may be negative.
_SIGNED: Final = frozenset(
    code.value
    for code in (
        *codes.ETDRS_CHANGES.values(), codes.FLUID_CHANGE, codes.THICKNESS_DIFFERENCE, codes.HEMIFIELD_ASYMMETRY,
        codes.NORMAL_DEVIATION,
    )
)  # fmt: skip
# Numbers without unit whose scale the concept defines.
_SCALES: Final[Mapping[str, tuple[float, float]]] = {
    codes.QUALITY_RATING.value: (0.0, 100.0),
    codes.ANALYSIS_QUALITY_RATING.value: (0.0, 100.0),
    codes.IMAGE_SET_QUALITY_RATING.value: (0.0, 100.0),
    codes.H_SCORE.value: (0.0, 300.0),
    codes.PD_L1_CPS.value: (0.0, 100.0),
    codes.RATE_P.value: (0.0, 1.0),
    codes.RATE_ROBUST_P.value: (0.0, 1.0),
    codes.VESSEL_CORRELATION.value: (-1.0, 1.0),
    codes.RIM_SHARE.value: (0.0, 1.0),
}


def implausible(concept: str, unit: str, value: float) -> str | None:
    """Why a number cannot be the value of this concept in this unit, None where it can."""
    if not math.isfinite(value):
        return "is not a finite number"
    if concept in _SIGNED:
        return None
    low, high = _SCALES.get(concept) or _BOUNDS.get(unit, (-math.inf, math.inf))
    if value < low:
        return f"is below {low:g}"
    if value > high:
        return f"is above {high:g}"
    return "is not a whole number" if unit in _WHOLE and value != round(value) else None


def choices(finding: Mapping[str, Any]) -> dict[str, Any]:
    """What of a finding may be amended: its measurements, and of each evaluation the answers there are.

    A concept that the finding has twice cannot be named, an evaluation with a single answer not changed.
    """
    measured = _single(finding.get("measurements", ()))
    evaluated = {name: _answers(e) for name, e in _single(finding.get("evaluations", ())).items()}
    return {
        "measurements": [dict(m) for m in measured.values()],
        "evaluations": {
            name: [{"value": c.value, "scheme": c.scheme, "meaning": c.meaning} for c in found]
            for name, found in evaluated.items()
            if len(found) > 1
        },
    }


def fault(finding: Mapping[str, Any], amendment: Amendment, size: tuple[int, int] | None) -> str | None:
    """Why the amendment is not possible, None where it is. `size`: (columns, rows) of the region's image, None where
    the finding has no region of its own."""
    if not amendment.measurements and not amendment.evaluations and amendment.points is None:
        return "nothing is amended"
    measured = _single(finding.get("measurements", ()))
    for concept, value in amendment.measurements.items():
        if concept not in measured:
            return f"the finding has not one measurement {concept}"
        if why := implausible(concept, measured[concept]["unit"], value):
            return f"{measured[concept]['name']['meaning']} {why}"
    evaluated = _single(finding.get("evaluations", ()))
    for concept, answer in amendment.evaluations.items():
        if concept not in evaluated:
            return f"the finding has not one evaluation {concept}"
        if answer not in {code.value for code in _answers(evaluated[concept])}:
            return f"{answer} is no answer to {evaluated[concept]['name']['meaning']}"
    return None if amendment.points is None else _misplaced(finding, amendment, size)


def merged(standing: Mapping[str, Any] | None, amendment: Amendment) -> dict[str, Any]:
    """As plain JSON values: what is not named stays as it was amended before."""
    before = standing or {}
    points = before.get("points") if amendment.points is None else [[float(c), float(r)] for c, r in amendment.points]
    return {
        "measurements": {**before.get("measurements", {}), **{k: float(v) for k, v in amendment.measurements.items()}},
        "evaluations": {**before.get("evaluations", {}), **amendment.evaluations},
        "points": points,
    }


def amended(finding: Mapping[str, Any], amendment: Mapping[str, Any] | None) -> dict[str, Any]:
    """The numbers and answers of a finding by concept, as they stand with an amendment (from `merged`)."""
    changed = amendment or {}
    return {
        "measurements": {m["name"]["value"]: m["value"] for m in finding.get("measurements", ())}
        | dict(changed.get("measurements", {})),
        "evaluations": {e["name"]["value"]: e["value"]["value"] for e in finding.get("evaluations", ())}
        | dict(changed.get("evaluations", {})),
        "region amended": changed.get("points") is not None,
    }


def answer(finding: Mapping[str, Any], concept: str, value: str) -> Code:
    """The coded answer to one of the finding's evaluations by its value. Raises KeyError where there is none."""
    for code in _answers(_single(finding["evaluations"])[concept]):
        if code.value == value:
            return code
    raise KeyError(value)


def _single(items: Any) -> dict[str, Any]:
    """By concept; one that is there twice is left out."""
    named = [item for item in items if item.get("name")]
    counts = Counter(item["name"]["value"] for item in named)
    return {item["name"]["value"]: item for item in named if counts[item["name"]["value"]] == 1}


def _answers(evaluation: Mapping[str, Any]) -> tuple[Code, ...]:
    return answers(_code(evaluation["name"]), _code(evaluation["value"]))


def _code(stored: Mapping[str, str]) -> Code:
    return Code(stored["value"], stored["scheme"], stored["meaning"])


def _misplaced(finding: Mapping[str, Any], amendment: Amendment, size: tuple[int, int] | None) -> str | None:
    region = finding.get("region")
    if region is None or size is None:
        return "the finding has no region of its own"
    points = np.asarray(amendment.points, dtype=np.float64)
    graphic = region["graphic"]
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        return "points are pairs of finite numbers"
    least = _LEAST[graphic]
    if len(points) < least or (graphic == "POINT" and len(points) > 1):
        return f"a {graphic} has {'one point' if graphic == 'POINT' else f'at least {least} points'}"
    if len(points) > MOST_POINTS:
        return f"a region has at most {MOST_POINTS} points"
    if (points < 0).any() or (points > np.array(size)).any():
        return f"a point lies outside the image of {size[0]} x {size[1]} pixels"
    if graphic == "POLYGON":
        columns, rows = (points - points[0]).T  # about a corner: far from the origin small areas would drown
        if abs(float(np.dot(columns, np.roll(rows, -1)) - np.dot(rows, np.roll(columns, -1)))) == 0.0:
            return "a POLYGON has an area"
    return None
