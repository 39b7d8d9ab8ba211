"""Says whether a fundus photograph can be graded and, if not, why, while the patient may still be there.

The model (classification) answers `gradable` first and then one class for each reason against it; a reason's code
comes from the manifest.
"""

from typing import Final

from airouter.domain.finding import NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging.fundus import Fundus
from airouter.pipelines.photograph_quality import GRADABLE, KEY, LIMITS, Gradability, finding, judged, lit
from airouter.pipelines.pipeline import WHOLE_IMAGE, Pipeline, Values
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = LIMITS


def run(job: Job, images: Fundus, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """One statement on one photograph: diagnostic, limited or non-diagnostic, a rating of 0 to 100, the reasons.

    Ungradable (nothing is stated) where there is no photograph of a field to judge: too small, dark, or without the
    laterality that the model asks for. Raises ModelOutputError, JobCanceled, ConfigurationError.
    """
    values = Values(PARAMETERS, predict.model, job)
    progress(0, 1, "images")
    seen = lit(images.rgb, values)
    if isinstance(seen, Ungradable):
        return seen
    sided = images.laterality in (Laterality.R, Laterality.L)
    if predict.model.reads.laterality_required and not sided:
        return Ungradable("not analysed because the laterality is missing and the model asks for it")
    found = judged(images.rgb, seen, predict)
    progress(1, 1, "images")
    return Result(
        (finding(found, images.instance_uid, images.laterality),),
        _verdict(found),
        not_analysed=() if sided else (_eye(images.laterality),),
        execution_provider=predict.provider,
    )


def _eye(laterality: Laterality | None) -> NotAnalysed:
    why = "is missing" if laterality is None else "says both eyes"
    return NotAnalysed("statement on one eye", f"not analysed because the laterality of the image {why}")


def _verdict(found: Gradability) -> Verdict:
    if found.gradable:
        return verdict_of(Ground(Priority.ROUTINE, "the photograph can be graded", (KEY,)))
    why = f": {found.reasons[0][0].name}" if found.reasons else ""
    reason = f"the photograph cannot be graded{why}; repeat it while the patient is present"
    return verdict_of(Ground(Priority.HIGH, reason, (KEY,)))


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
