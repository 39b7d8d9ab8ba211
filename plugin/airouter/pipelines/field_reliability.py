"""Whether a visual field test can be relied on: limits of fixation losses and false answers, and what is above them."""

from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.imaging.perimetry import Reliability
from airouter.pipelines.pipeline import Parameter, Values

# Fixation losses and false negatives: Anderson DR, Patella VM. Automated static perimetry. 2nd ed. St Louis: Mosby;
# 1999. False positives, which SITA estimates from reaction times: Heijl A, Patella VM, Bengtsson B. The field analyzer
# primer: effective perimetry. 4th ed. Carl Zeiss Meditec; 2012.
PARAMETERS: Final = (
    Parameter("max_fixation_losses", 20.0, "%", "fixation losses above which a test is unreliable", 0.0, 100.0),
    Parameter("max_false_positives", 15.0, "%", "false positives above which a test is unreliable", 0.0, 100.0),
    Parameter("max_false_negatives", 33.0, "%", "false negatives above which a test is unreliable", 0.0, 100.0),
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`reasons`: what makes the test unreliable; `known`: whether any index of reliability was recorded."""

    reasons: tuple[str, ...]
    known: bool

    @property
    def unreliable(self) -> bool:
        return bool(self.reasons)

    @property
    def code(self) -> Code:
        """YES, NO or UNDETERMINED."""
        if self.unreliable:
            return codes.NO
        return codes.YES if self.known else codes.UNDETERMINED


def judge(found: Reliability, values: Values) -> Judgement:
    """Compare with the limits. An estimate of the perimeter goes before a count of catch trials, which are few."""
    reasons, known = [], False
    for name, count, percent, limit in (
        ("fixation losses", found.fixation_losses, None, values["max_fixation_losses"]),
        ("false positives", found.false_positives, found.false_positive_percent, values["max_false_positives"]),
        ("false negatives", found.false_negatives, found.false_negative_percent, values["max_false_negatives"]),
    ):
        share = percent if percent is not None else 100.0 * count.ratio if count else None
        if share is None:
            continue
        known = True
        if share > limit:
            counted = f" ({count.times} of {count.trials})" if count and percent is None else ""
            reasons.append(f"{name} {share:.0f} %{counted} above {limit:g} %")
    reasons += [
        f"{name} are excessive, says the perimeter"
        for name in found.excessive
        if not any(reason.startswith(name) for reason in reasons)
    ]
    return Judgement(tuple(reasons), known or bool(found.excessive))
