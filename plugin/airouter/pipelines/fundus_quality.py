"""Says whether a fundus photograph can be graded and, if not, why, while the patient may still be there.

The model (classification) answers `gradable` first and then one class for each reason against it; a reason's code
comes from the manifest.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Region, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind, Model, ModelClass
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Laterality, Modality
from airouter.imaging.field_of_view import field_of_view
from airouter.imaging.fundus import Fundus
from airouter.inference.whole import whole
from airouter.pipelines.pipeline import WHOLE_IMAGE, Parameter, Pipeline, Values
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("min_pixels", 256, "1", "least length of the image's shorter side in pixels", 1, whole=True),
    Parameter("min_field", 0.1, "{ratio}", "least share of the image that the lit field fills", 0.0, 1.0),
)

GRADABLE: Final = "gradable"


def run(job: Job, images: Fundus, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """One statement on one photograph: diagnostic, limited or non-diagnostic, a rating of 0 to 100, the reasons.

    Ungradable (nothing is stated) where there is no photograph of a field to judge: too small, dark, or without the
    laterality that the model asks for. Raises ModelOutputError, JobCanceled, ConfigurationError.
    """
    model = predict.model
    values = Values(PARAMETERS, model, job)
    rows, columns = images.rgb.shape[:2]
    progress(0, 1, "images")
    if min(rows, columns) < values["min_pixels"]:
        return Ungradable(f"not analysed because the image has only {columns} x {rows} pixels")
    if model.reads.laterality_required and images.laterality not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing and the model asks for it")
    outline, share = field_of_view(images.rgb)
    if share < values["min_field"]:
        return Ungradable("not analysed because no lit field of the retina was found in the image")
    probabilities = whole(predict, images.rgb)
    progress(1, 1, "images")

    gradable, reasons = _answers(model, probabilities)
    certain = float(probabilities[_gradable(model)])
    named = [f"{c.name} {p:.2f}" for c, p in reasons]
    missing = () if images.laterality in (Laterality.R, Laterality.L) else (_eye(images.laterality),)
    finding = Finding(
        key="quality",
        label="Image quality",
        finding=codes.QUALITY_FINDING,
        region=Region("POLYGON", images.instance_uid, outline),
        site=codes.EYE,
        laterality=images.laterality,
        measurements=(Measurement(codes.QUALITY_RATING, round(100.0 * certain, 1), codes.ONE),),
        evaluations=(
            Evaluation(codes.QUALITY_ASSESSMENT, _grade(gradable, bool(reasons))),
            Evaluation(codes.GRADABILITY, codes.GRADABLE if gradable else codes.UNGRADABLE),
            *(Evaluation(codes.UNGRADABLE_REASON, c.code) for c, _ in reasons if c.code and not gradable),
        ),
        comment=f"Probability of being gradable {certain:.2f}."
        + (f" Reasons against it: {', '.join(named)}." if named else ""),
    )
    return Result((finding,), _verdict(gradable, reasons), not_analysed=missing, execution_provider=predict.provider)


def _gradable(model: Model) -> int:
    index = model.head.index(GRADABLE)
    if index is None:
        raise ValueError(f"the model has no class {GRADABLE!r}")  # airouter.pipelines.problem refuses such a model
    return index


def _answers(model: Model, probabilities: NDArray[np.float32]) -> tuple[bool, list[tuple[ModelClass, float]]]:
    """Whether the image can be graded, and the reasons that reach their threshold, the most probable first.

    An image that cannot be graded has at least one reason where the model knows any: its most probable.
    """
    index = _gradable(model)
    gradable = bool(probabilities[index] >= model.head.classes[index].threshold)
    answers = [(c, float(p)) for c, p in zip(model.head.classes, probabilities, strict=True)]
    others = answers[:index] + answers[index + 1 :]
    others.sort(key=lambda answer: -answer[1])
    reasons = [(c, p) for c, p in others if p >= c.threshold]
    return gradable, reasons if reasons or gradable else others[:1]


def _grade(gradable: bool, doubts: bool) -> Code:
    if not gradable:
        return codes.NON_DIAGNOSTIC_QUALITY
    return codes.LIMITED_QUALITY if doubts else codes.DIAGNOSTIC_QUALITY


def _eye(laterality: Laterality | None) -> NotAnalysed:
    why = "is missing" if laterality is None else "says both eyes"
    return NotAnalysed("statement on one eye", f"not analysed because the laterality of the image {why}")


def _verdict(gradable: bool, reasons: list[tuple[ModelClass, float]]) -> Verdict:
    if gradable:
        return Verdict(Priority.ROUTINE, "the photograph can be graded")
    why = f": {reasons[0][0].name}" if reasons else ""
    return Verdict(Priority.HIGH, f"the photograph cannot be graded{why}; repeat it while the patient is present")


PIPELINE: Final = Pipeline(
    name="fundus-quality",
    version="1.0.0",
    modality=Modality.OP,
    head=HeadKind.CLASSIFICATION,
    classes=(GRADABLE,),
    fits=WHOLE_IMAGE,
    run=run,
    parameters=PARAMETERS,
)
