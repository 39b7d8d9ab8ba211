"""What was found in a study, in one line of the worklist."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from airouter.domain import codes

MOST: Final = 160  # characters
# How certain a model is, and how much it looked at: not what was found.
_BESIDES: Final = frozenset({codes.CERTAINTY_OF_FINDING.value, codes.PROBABILITY.value, codes.FIELDS_GRADED.value})
_UNITS: Final = {"%": " %", "um": " µm", "mm2": " mm²", "um2": " µm²", "/mm2": "/mm²", "1": "", "deg": "°"}
_SIDES: Final = {"R": "right", "L": "left", "B": "both"}


def findings_line(results: Sequence[tuple[Sequence[Mapping[str, Any]], Collection[str]]], most: int = MOST) -> str:
    """Of each result its findings, as they are kept in the journal, and the keys of those that made its priority.

    What made a priority comes first, then the first finding of each result, then the others.
    """
    parts = list(dict.fromkeys(filter(None, map(_said, _in_order(results)))))
    line = ""
    for n, part in enumerate(parts):
        longer = f"{line} · {part}" if line else part
        left = len(parts) - n - 1
        room = most - (len(f" · +{left}") if left else 0)
        if len(longer) > room:
            if not line:
                return f"{part[: most - 1].rstrip()}…"
            return f"{line} · +{left + 1}"
        line = longer
    return line


def _in_order(results: Iterable[tuple[Sequence[Mapping[str, Any]], Collection[str]]]) -> Iterator[Mapping[str, Any]]:
    known = [(list(findings), set(grounds)) for findings, grounds in results]
    for findings, grounds in known:
        yield from (finding for finding in findings if finding.get("key") in grounds)
    for findings, _ in known:
        yield from findings[:1]
    for findings, _ in known:
        yield from findings[1:]


def _said(finding: Mapping[str, Any]) -> str:
    """One finding: its side unless the label says it, its label, and its main answer or else its main number."""
    label = " ".join(str(finding.get("label", "")).split())
    side = str(finding.get("laterality") or "")
    mark = f"{side} " if side in _SIDES and _SIDES[side] not in label.lower().split() else ""
    value = _answer(finding) or _number(finding)
    return f"{mark}{label}: {value}" if value else f"{mark}{label}"


def _answer(finding: Mapping[str, Any]) -> str:
    answers = [each["value"]["meaning"] for each in finding.get("evaluations", ()) if "value" in each]
    return str(answers[0]) if answers else ""


def _number(finding: Mapping[str, Any]) -> str:
    """The first number that is no area or count, how much was looked at; such a one only where there is no other."""
    told = [m for m in finding.get("measurements", ()) if m.get("name", {}).get("value") not in _BESIDES]
    if not told:
        return ""
    main = next((m for m in told if not _extent(str(m.get("unit", "1")))), told[0])
    unit = str(main.get("unit", "1"))
    return f"{main['value']:.4g}{_UNITS.get(unit, '' if unit.startswith('{') else f' {unit}')}"


def _extent(unit: str) -> bool:
    return unit in ("mm2", "um2") or unit.startswith("{")
