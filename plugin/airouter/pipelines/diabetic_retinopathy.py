"""Grades diabetic retinopathy in the photographs of one visit: one grade for each eye, one recommendation for both.

Three models: whether a photograph can be graded (companion `gradability`), its grade on the international scale (the
main one, a classification of the five grades) and, where the route names it, its lesions (companion `lesions`). A
photograph that cannot be graded takes no part in a grade, and an eye without any that can gets none.
"""

from typing import Final

from airouter.domain.finding import NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.study import Laterality, Modality
from airouter.imaging.fundus import Fundus
from airouter.imaging.visit import Visit
from airouter.inference.whole import whole
from airouter.pipelines.dr_eye import CLASSES, EYES, Photograph, eyes
from airouter.pipelines.dr_findings import findings, missing, segmentations
from airouter.pipelines.dr_follow_up import INTERVALS, RULES, recommendation, verdict
from airouter.pipelines.dr_lesions import DISC, FOVEA, LESIONS, lesion_map
from airouter.pipelines.photograph_quality import LIMITS, gradability, judged, lit
from airouter.pipelines.pipeline import WHOLE_IMAGE, Companion, Extent, Parameter, Pipeline, Values, companion
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    *LIMITS,
    Parameter("min_lesion_share", 5e-6, "{ratio}", "least area of a lesion as a share of the lit field", 0.0, 0.1),
    Parameter("max_regions", 50, "1", "most lesions of a kind and photograph that get a region", 0, 1000, whole=True),
    *RULES,
    *INTERVALS,
)


def run(job: Job, images: Visit[Fundus], predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Grade, referable or not, suspicion of macular oedema and lesions of each eye; one recommendation and verdict.

    Ungradable where no photograph says which eye it shows. Raises ModelOutputError, JobCanceled, ConfigurationError.
    """
    values = Values(PARAMETERS, predict.model, job)
    unread = [NotAnalysed(f"photograph {each.instance_uid}", each.reason) for each in images.refused]
    photographs: list[Photograph] = []
    progress(0, len(images.images), "images")
    for number, image in enumerate(images.images, start=1):
        if image.laterality in EYES:
            photographs.append(_photograph(number, image, image.laterality, predict, values))
        else:
            why = "is missing" if image.laterality is None else "says both eyes"
            unread.append(NotAnalysed(f"photograph {image.instance_uid}", f"not analysed because the laterality {why}"))
        progress(number, len(images.images), "images")
    if not photographs:
        return Ungradable("not analysed because no photograph says whether it shows the right or the left eye")
    both = eyes(photographs)
    fieldless = [
        NotAnalysed(f"photograph {each.image.instance_uid}", each.unusable)
        for each in photographs
        if each.quality is None
    ]
    has_lesions = companion(predict, "lesions") is not None
    return Result(
        findings=tuple(findings(both, recommendation(both, values), values)),
        verdict=verdict(both, len(unread) + len(fieldless), job, values),
        segmentations=tuple(segmentations(both)),
        not_analysed=(*unread, *fieldless, *missing(both, has_lesions)),
        execution_provider=predict.provider,
    )


def _photograph(number: int, image: Fundus, eye: Laterality, predict: Predictor, values: Values) -> Photograph:
    """Judged first; graded, and its lesions looked for, only where it can be."""
    seen = lit(image.rgb, values)
    if isinstance(seen, Ungradable):
        return Photograph(number, image, eye, None, seen.reason)
    judge, lesions = companion(predict, "gradability"), companion(predict, "lesions")
    if judge is None:
        raise ValueError("the job has no model that says what can be graded")  # companions_problem refuses such a job
    quality = judged(image.rgb, seen, judge)
    if not quality.gradable:
        return Photograph(number, image, eye, quality)
    order = [predict.model.head.channel(name) for name in CLASSES]
    probabilities = whole(predict, image.rgb)[order]
    found = None
    if lesions is not None:
        found = lesion_map(image, eye, quality.outline, values["min_lesion_share"], lesions)
    return Photograph(number, image, eye, quality, "", probabilities, found)


PIPELINE: Final = Pipeline(
    name="diabetic-retinopathy",
    version="1.0.0",
    modality=Modality.OP,
    head=HeadKind.CLASSIFICATION,
    classes=CLASSES,
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    companions=(
        gradability(required=True),
        Companion("lesions", HeadKind.SEGMENTATION, (DISC, FOVEA, *LESIONS), fits=WHOLE_IMAGE),
    ),
    extent=Extent.STUDY,
)
