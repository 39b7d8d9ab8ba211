"""Whether one photograph of the fundus can be graded, for every pipeline and service that asks before it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, Region, Ungradable
from airouter.domain.model import HeadKind, ModelClass
from airouter.domain.study import Laterality
from airouter.imaging.field_of_view import field_of_view
from airouter.inference.whole import whole
from airouter.pipelines.pipeline import WHOLE_IMAGE, Companion, Parameter, Values
from airouter.ports import Predictor

LIMITS: Final = (
    Parameter("min_pixels", 256, "1", "least length of the image's shorter side in pixels", 1, whole=True),
    Parameter("min_field", 0.1, "{ratio}", "least share of the image that the lit field fills", 0.0, 1.0),
)

GRADABLE: Final = "gradable"


def gradability(*, required: bool) -> Companion:
    """The companion that says whether a photograph can be graded."""
    return Companion("gradability", HeadKind.CLASSIFICATION, (GRADABLE,), required, WHOLE_IMAGE)


@dataclass(frozen=True, slots=True, eq=False)
class Gradability:
    """One photograph as the model judges it.

    `certain`: probability of being gradable; `reasons` against it that reach their threshold, the most probable first.
    A photograph that cannot be graded has at least one where the model knows any: its most probable. `outline`:
    float64 [n, 2] of (column, row), the lit field, and `share` its part of the image.
    """

    gradable: bool
    certain: float
    reasons: tuple[tuple[ModelClass, float], ...]
    outline: NDArray[np.float64] = field(repr=False)
    share: float

    @property
    def named(self) -> str:
        """The reasons with their probabilities, empty where there is none."""
        return ", ".join(f"{c.name} {p:.2f}" for c, p in self.reasons)


@dataclass(frozen=True, slots=True, eq=False)
class Lit:
    """A photograph that shows a field: its outline as in Gradability, and its share of the image."""

    outline: NDArray[np.float64] = field(repr=False)
    share: float


def lit(rgb: NDArray[np.uint8], values: Values | Mapping[str, float]) -> Lit | Ungradable:
    """The lit field of a photograph; Ungradable where the image is too small or shows none. `values` has LIMITS."""
    rows, columns = rgb.shape[:2]
    if min(rows, columns) < values["min_pixels"]:
        return Ungradable(f"not analysed because the image has only {columns} x {rows} pixels")
    outline, share = field_of_view(rgb)
    if share < values["min_field"]:
        return Ungradable("not analysed because no lit field of the retina was found in the image")
    return Lit(outline, share)


def judged(rgb: NDArray[np.uint8], seen: Lit, predict: Predictor) -> Gradability:
    """Ask the model. Raises ModelOutputError."""
    probabilities = whole(predict, rgb)
    index = predict.model.head.channel(GRADABLE)
    classes = predict.model.head.classes
    gradable = bool(probabilities[index] >= classes[index].threshold)
    answers = [(c, float(p)) for c, p in zip(classes, probabilities, strict=True)]
    others = answers[:index] + answers[index + 1 :]
    others.sort(key=lambda answer: -answer[1])
    reasons = [(c, p) for c, p in others if p >= c.threshold]
    reasons = reasons if reasons or gradable else others[:1]
    return Gradability(gradable, float(probabilities[index]), tuple(reasons), seen.outline, seen.share)


KEY: Final = "quality"  # of the finding on a single photograph


def finding(
    found: Gradability,
    instance_uid: str,
    laterality: Laterality | None,
    key: str = KEY,
    label: str = "Image quality",
) -> Finding:
    """The statement on one photograph: diagnostic, limited or non-diagnostic, a rating of 0 to 100, the reasons."""
    return Finding(
        key=key,
        label=label,
        finding=codes.QUALITY_FINDING,
        region=Region("POLYGON", instance_uid, found.outline),
        site=codes.EYE,
        laterality=laterality,
        measurements=(Measurement(codes.QUALITY_RATING, round(100.0 * found.certain, 1), codes.ONE),),
        evaluations=(
            Evaluation(codes.QUALITY_ASSESSMENT, _grade(found)),
            Evaluation(codes.GRADABILITY, codes.GRADABLE if found.gradable else codes.UNGRADABLE),
            *(() if found.gradable else against(found.reasons)),
        ),
        comment=f"Probability of being gradable {found.certain:.2f}."
        + (f" Reasons against it: {found.named}." if found.reasons else ""),
    )


def against(reasons: Sequence[tuple[ModelClass, float]]) -> tuple[Evaluation, ...]:
    """Reasons as coded answers, each once; those without a code in the manifest stand in the comment only."""
    found = dict.fromkeys(c.code for c, _ in reasons if c.code)
    return tuple(Evaluation(codes.UNGRADABLE_REASON, code) for code in found if code)


def _grade(found: Gradability) -> Code:
    if not found.gradable:
        return codes.NON_DIAGNOSTIC_QUALITY
    return codes.LIMITED_QUALITY if found.reasons else codes.DIAGNOSTIC_QUALITY
