"""Findings of other jobs as a summary reads them: by eye, with what of them is told again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Measurement, Origin
from airouter.domain.study import Laterality
from airouter.domain.summary import SourceResult

_UNITS: Final[Mapping[str, Code]] = MappingProxyType({c.value: c for c in codes.ALL.values() if c.scheme == "UCUM"})

# What a summary repeats of a finding's numbers; the others stand in the report it refers to.
KEY_MEASUREMENTS: Final = frozenset(
    {
        codes.CST,
        codes.CENTRAL_THICKNESS,
        codes.TOTAL_VOLUME,
        codes.FLUID_VOLUME,
        codes.FLUID_AREA,
        codes.FLUID_CENTRAL,
        codes.DRUSEN_VOLUME_3,
        codes.DRUSEN_VOLUME_5,
        codes.ATROPHY_AREA,
        codes.RNFL_AVERAGE,
        codes.GC_AVERAGE,
        codes.MEAN_DEVIATION,
        codes.PATTERN_STANDARD_DEVIATION,
        codes.VISUAL_FIELD_INDEX,
        codes.VERTICAL_CDR,
        codes.CERTAINTY_OF_FINDING,
        codes.RECOMMENDED_FOLLOW_UP,
        codes.LESION_COUNT,
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One finding of one job. `said` and `answers`: all of its measurements and evaluations."""

    pipeline: str
    label: str
    finding: Code
    laterality: Laterality | None
    said: tuple[Measurement, ...]
    answers: tuple[Evaluation, ...]
    origin: Origin | None
    key: str = field(default="")

    def value(self, name: Code) -> float | None:
        """A number of it, None where it has none of that name."""
        return next((m.value for m in self.said if m.name == name), None)

    def answer(self, name: Code) -> Code | None:
        """What it answers, None where it has no such evaluation."""
        return next((e.value for e in self.answers if e.name == name), None)

    @property
    def told(self) -> tuple[Measurement, ...]:
        """The numbers that a summary repeats."""
        return tuple(m for m in self.said if m.name in KEY_MEASUREMENTS)


def facts(results: Iterable[SourceResult]) -> list[Fact]:
    """Every finding, in the order of the results."""
    return [_fact(result, finding) for result in results for finding in result.findings]


def of_eye(all_facts: Iterable[Fact], eye: Laterality) -> list[Fact]:
    """Those of one eye; what is said of both eyes is neither's alone."""
    return [fact for fact in all_facts if fact.laterality is eye]


def first(all_facts: Iterable[Fact], pipeline: str, name: Code) -> Fact | None:
    """The first finding of a pipeline that has a number of that name."""
    return next((f for f in all_facts if f.pipeline == pipeline and f.value(name) is not None), None)


def fact_key(result: SourceResult, finding: str) -> str:
    """Key under which a finding of a result is told again."""
    return f"{result.job.key[:12]} {finding}"


def _fact(result: SourceResult, finding: Mapping[str, Any]) -> Fact:
    side = finding.get("laterality")
    return Fact(
        pipeline=result.job.pipeline,
        label=str(finding["label"]),
        finding=_code(finding["finding"]),
        laterality=Laterality(side) if side else None,
        said=tuple(
            Measurement(_code(m["name"]), float(m["value"]), _unit(m["unit"])) for m in finding.get("measurements", ())
        ),
        answers=tuple(Evaluation(_code(e["name"]), _code(e["value"])) for e in finding.get("evaluations", ())),
        origin=result.origin(finding),
        key=fact_key(result, finding["key"]),
    )


def _code(said: Mapping[str, str]) -> Code:
    return Code(said["value"], said["scheme"], said["meaning"])


def _unit(value: str) -> Code:
    return _UNITS.get(value) or Code(value, "UCUM", value)
