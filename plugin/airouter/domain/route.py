"""Routes: which images go to which pipeline and model, as data.

A condition names an attribute by its DICOM keyword; a path with dots walks into sequences, any item counting.
Matching follows C-FIND (PS3.4 C.2.2.2): single value, wildcards `*` and `?` (text VRs only), list of UIDs separated by
a backslash, date and time ranges with a hyphen. Numeric ranges and `Exists` are our additions. Unlike C-FIND, a
missing or empty attribute never matches anything but ``Exists: false``.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airouter.domain.decision import Clause
from airouter.domain.model import Scalar
from airouter.domain.priority import Priority
from airouter.domain.study import Attribute, Attributes

RANGED = frozenset({"DA", "DT", "TM"})  # PS3.4 C.2.2.2.5
NUMERIC = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
# PS3.4 C.2.2.2.4: wildcard matching is not defined for these value representations.
NO_WILDCARD = RANGED | NUMERIC | {"AS", "AT", "UI"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One clause of a route. Exactly one of `any_of`, a range and `exists` is given."""

    path: tuple[str, ...]
    any_of: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    exists: bool | None = None

    def __str__(self) -> str:
        if self.exists is not None:
            return "exists" if self.exists else "does not exist"
        if self.any_of:
            return " or ".join(self.any_of)
        low = "" if self.minimum is None else f">= {self.minimum:g}"
        high = "" if self.maximum is None else f"<= {self.maximum:g}"
        return " and ".join(part for part in (low, high) if part)


@dataclass(frozen=True, slots=True)
class Route:
    """All conditions must match; then `pipeline` runs with `model` and `parameters`."""

    name: str
    pipeline: str
    model: str
    conditions: tuple[Condition, ...] = ()
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    priority: Priority = Priority.ROUTINE
    companions: Mapping[str, str] = field(default_factory=dict)  # role -> model

    @property
    def revision(self) -> str:
        """Digest (12 hex digits) of everything that decides what the route does, for the record."""
        parts = (self.name, self.pipeline, self.model, self.conditions, sorted(self.parameters.items()), self.priority)
        text = repr((*parts, sorted(self.companions.items())) if self.companions else parts)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def explain(route: Route, attributes: Attributes) -> tuple[Clause, ...]:
    """Every clause of the route with the value that stands in the header and whether it matched."""
    return tuple(_evaluate(condition, attributes) for condition in route.conditions)


def matches(clauses: tuple[Clause, ...]) -> bool:
    """Whether all clauses matched; a route without conditions matches nothing."""
    return bool(clauses) and all(clause.matched for clause in clauses)


def _evaluate(condition: Condition, attributes: Attributes) -> Clause:
    found = [a for a in _walk(attributes, condition.path) if a.values]
    shown = [_text(v) for a in found for v in a.values if not isinstance(v, Mapping)]
    if condition.exists is not None:
        matched = bool(found) == condition.exists
    else:
        matched = any(_value_matches(condition, a.vr, v) for a in found for v in a.values)
    return Clause(
        path=".".join(condition.path),
        expected=str(condition),
        found="\\".join(shown) if shown else ("present" if found else "missing"),
        matched=matched,
    )


def _walk(attributes: Attributes, path: tuple[str, ...]) -> Iterator[Attribute]:
    attribute = attributes.get(path[0])
    if attribute is None:
        return
    if len(path) == 1:
        yield attribute
        return
    for item in attribute.values:
        if isinstance(item, Mapping):
            yield from _walk(item, path[1:])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value_matches(condition: Condition, vr: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        return False
    if not condition.any_of:
        return isinstance(value, int | float) and (
            (condition.minimum is None or value >= condition.minimum)
            and (condition.maximum is None or value <= condition.maximum)
        )
    return any(_single(wanted, vr, value) for wanted in condition.any_of)


def _single(wanted: str, vr: str, value: Any) -> bool:
    if vr in NUMERIC:
        try:
            return float(wanted) == float(value)
        except ValueError:
            return False
    text = _text(value).strip()
    if vr == "UI":
        return text in wanted.split("\\")
    if vr in RANGED:
        return _in_range(wanted, text)
    if vr == "PN":  # PS3.4 C.2.2.2.1: matching of person names may ignore case
        wanted, text = wanted.casefold(), text.casefold()
    if vr not in NO_WILDCARD and ("*" in wanted or "?" in wanted):
        # re.escape, then give the two wildcards back their meaning: no character class can be smuggled in.
        pattern = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(pattern, text, re.DOTALL) is not None
    return text == wanted


def _in_range(wanted: str, text: str) -> bool:
    if "-" not in wanted:
        return text == wanted
    low, high = wanted.split("-", 1)
    # A shorter bound includes everything it is a prefix of: 20260101-20261231 against 20261231093000.
    return (not low or text[: len(low)] >= low) and (not high or text[: len(high)] <= high)
