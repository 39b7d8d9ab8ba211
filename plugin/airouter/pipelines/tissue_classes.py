"""How tissue divides into the classes of a model: what such pipelines ask of it, and what they report of each class.

A class is reported under the code that the manifest gives it; the router invents none. Only a class named `background`
may go without: it takes part when the model chooses among its classes, and nothing is said about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Finding, Measurement
from airouter.domain.model import Model, ModelClass, Scalar
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.errors import ConfigurationError
from airouter.pipelines.pipeline import Misfit, Parameter, Values
from airouter.pipelines.tissue_region import TissueRegion

BACKGROUND: Final = "background"
_MOST_CLASSES: Final = 254  # of a mask of bytes, beside what was not analysed and what is of no class
_NAMED: Final = 4  # classes that the reason of a verdict names

# Together they make the rule for priority HIGH. Parameters are numbers, so a class is named by its number.
HIGH: Final = (
    Parameter("high_class", None, "1", "class, counted from 1 as in the manifest, that decides", 1, 255, whole=True),
    Parameter("high_percent", None, "%", "share of the tissue from which on the priority is HIGH", 0.0, 100.0),
    Parameter("high_mm2", None, "mm2", "area of tissue from which on the priority is HIGH", 0.0),
)


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the tissue is of class `number`, the channel of the model counted from 0."""

    number: int
    area_mm2: float
    percent: float


def reported(model: Model) -> tuple[tuple[int, ModelClass, Code], ...]:
    """Channel (from 0), class and code of every class that is reported, in the manifest's order."""
    return tuple((n, each, each.code) for n, each in enumerate(model.head.classes) if each.code is not None)


def misfit(model: Model, parameters: Mapping[str, Scalar]) -> str | None:
    """Why a model with these parameters cannot divide tissue into classes, None where it can."""
    nameless = [each.name for each in model.head.classes if each.code is None and each.name != BACKGROUND]
    if nameless:
        return f"model {model.name} has no code for the classes {', '.join(nameless)}, and none is guessed"
    known = reported(model)
    if not known:
        return f"model {model.name} has no class beside {BACKGROUND}"
    number = parameters.get("high_class")
    limits = [name for name in ("high_percent", "high_mm2") if name in parameters]
    if number is None:
        return f"parameter {limits[0]} needs high_class, the class it holds for" if limits else None
    if not limits:
        return "parameter high_class needs high_percent or high_mm2"
    if int(number) - 1 not in {n for n, _, _ in known}:
        return f"parameter high_class: model {model.name} reports no class {number}"
    return None


def mask_misfit(model: Model, parameters: Mapping[str, Scalar]) -> str | None:
    """As `misfit`; moreover a pixel of the mask has one class."""
    if len(model.head.classes) > 1 and not model.head.exclusive:
        return f"model {model.name} has classes that may overlap (head.exclusive: false)"
    if len(model.head.classes) > _MOST_CLASSES:
        return f"model {model.name} has more than {_MOST_CLASSES} classes"
    return misfit(model, parameters)


def require(misfit: Misfit, model: Model, parameters: Mapping[str, Scalar]) -> None:
    """Raise ConfigurationError where `misfit` has a reason: a job may be older than the manifest."""
    if why := misfit(model, {**model.parameters, **parameters}):
        raise ConfigurationError("parameters or manifest.yaml", why)


def findings(
    region: TissueRegion, model: Model, tissue_mm2: float, shares: Sequence[Share], comment: str
) -> tuple[Finding, ...]:
    """One group for the tissue, then one for each reported class, also where there is none of it.

    All have the outline of the tissue as their region: a slide viewer fails on a group without one.
    """
    outline = region.outline()
    made = [
        Finding(
            key="tissue",
            label="Analysed tissue",
            finding=codes.TISSUE,
            region=outline,
            measurements=(
                Measurement(codes.TISSUE_AREA, tissue_mm2, codes.MM2),
                Measurement(codes.PATCH_COUNT, float(len(region.plan)), codes.COUNTS),
            ),
            comment=comment,
        )
    ]
    by_number = {share.number: share for share in shares}
    for number, each, code in reported(model):
        share = by_number[number]
        made.append(
            Finding(
                key=_key(each.name),
                label=each.name.translate(str.maketrans("()", "[]")),
                finding=code,
                region=outline,
                measurements=(
                    Measurement(codes.AREA, share.area_mm2, codes.MM2),
                    Measurement(codes.TISSUE_SHARE, share.percent, codes.PERCENT),
                ),
            )
        )
    return tuple(made)


def verdict(model: Model, shares: Sequence[Share], values: Values) -> Verdict:
    """HIGH where the class that decides reaches a limit; else ROUTINE with what there is most of.

    A class that there is nothing of reaches none, not even 0.
    """
    number, percent, mm2 = (values.get(name) for name in ("high_class", "high_percent", "high_mm2"))
    by_number = {share.number: share for share in shares}
    if number is not None:
        name, share = model.head.classes[int(number) - 1].name, by_number[int(number) - 1]
        if percent is not None and share.percent >= percent and share.area_mm2:
            reason = f"{name} {share.percent:.1f} % of the tissue reaches {percent:g} %"
            return verdict_of(Ground(Priority.HIGH, reason, (_key(name),)))
        if mm2 is not None and share.area_mm2 >= mm2 and share.area_mm2:
            return verdict_of(
                Ground(Priority.HIGH, f"{name} {share.area_mm2:.3g} mm2 reaches {mm2:g} mm2", (_key(name),))
            )
    largest = sorted(reported(model), key=lambda entry: -by_number[entry[0]].percent)[:_NAMED]
    of = ", ".join(f"{each.name} {by_number[n].percent:.1f} %" for n, each, _ in largest)
    return verdict_of(Ground(Priority.ROUTINE, f"{of} of the tissue", tuple(_key(each.name) for _, each, _ in largest)))


def _key(name: str) -> str:
    """Key of the finding of a class."""
    return f"class {name}"
