"""Looks for what cannot wait in one fundus photograph: retinal detachment, vitreous haemorrhage, advanced glaucoma.

The model segments; each answer is present, absent or undetermined. A photograph that cannot be graded (companion
`gradability`) never gives an absent: what is not seen in it is undetermined. Blood in the vitreous is itself a reason
why a photograph cannot be graded, so what is seen in it is told all the same.
"""

from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Region, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging.disc_cup import DiscCup, disc_cup
from airouter.imaging.fundus import Fundus
from airouter.imaging.spots import spots
from airouter.pipelines.photograph_maps import Maps, photograph_maps
from airouter.pipelines.photograph_quality import LIMITS, Gradability, finding, gradability, judged, lit
from airouter.pipelines.pipeline import WHOLE_IMAGE, Parameter, Pipeline, Values, companion
from airouter.ports import Predictor, ProgressSink

DISC: Final = "optic-disc"
CUP: Final = "optic-cup"
DETACHMENT: Final = "retinal-detachment"
BLOOD: Final = "vitreous-haemorrhage"

PARAMETERS: Final = (
    *LIMITS,
    Parameter("min_detachment", 0.01, "{ratio}", "least share of the field of a retinal detachment", 1e-6, 1.0),
    Parameter("min_haemorrhage", 0.01, "{ratio}", "least share of the field of a vitreous haemorrhage", 1e-6, 1.0),
    Parameter("min_trace", 0.001, "{ratio}", "share of the field from which less than that is undetermined", 1e-6, 1.0),
    # Own figure. In populations a ratio of 0.7 to 0.8 is the 97.5th to 99.5th percentile (Foster PJ et al. The
    # definition and classification of glaucoma in prevalence surveys. Br J Ophthalmol 2002;86:238-242).
    Parameter("advanced_cdr", 0.9, "{ratio}", "vertical cup-to-disc ratio from which glaucoma is advanced", 0.5, 1.0),
)

_FIELD_ONLY: Final = "Of the photographed field only: what lies further out is not seen."


@dataclass(frozen=True, slots=True)
class _Answer:
    """One critical finding; `word` for people, `reason` where it is STAT, `doubt` where it is undetermined."""

    finding: Finding
    value: Code
    word: str
    reason: str
    doubt: str = ""


def run(job: Job, images: Fundus, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """The three answers with outlines, the cup-to-disc ratios, and STAT with the reason of each that is present.

    Ungradable where the image is too small or shows no field. Raises ModelOutputError, JobCanceled, ConfigurationError.
    """
    values = Values(PARAMETERS, predict.model, job)
    progress(0, 1, "images")
    seen = lit(images.rgb, values)
    if isinstance(seen, Ungradable):
        return seen
    judge = companion(predict, "gradability")
    quality = judged(images.rgb, seen, judge) if judge is not None else None
    maps = photograph_maps(images.rgb, seen.outline, predict)
    measured = disc_cup(maps.above(DISC), maps.above(CUP), maps.field_width, maps.lit)
    answers = (
        _area(
            images,
            maps,
            quality,
            DETACHMENT,
            codes.RETINAL_DETACHMENT,
            "retinal detachment",
            values["min_detachment"],
            values,
        ),
        _area(
            images,
            maps,
            quality,
            BLOOD,
            codes.VITREOUS_HAEMORRHAGE,
            "vitreous haemorrhage",
            values["min_haemorrhage"],
            values,
        ),
        _glaucoma(images, maps, quality, measured, values["advanced_cdr"]),
    )
    progress(1, 1, "images")
    missing = [NotAnalysed(a.word, f"not analysed because {a.doubt}") for a in answers if a.value == codes.UNDETERMINED]
    if images.laterality not in (Laterality.R, Laterality.L):
        why = "is missing" if images.laterality is None else "says both eyes"
        missing.append(NotAnalysed("statement on one eye", f"not analysed because the laterality of the image {why}"))
    judgement = (finding(quality, images.instance_uid, images.laterality),) if quality else ()
    return Result(
        findings=(*(a.finding for a in answers), *judgement),
        verdict=_verdict(answers),
        not_analysed=tuple(missing),
        execution_provider=predict.provider,
    )


def _area(
    image: Fundus,
    maps: Maps,
    quality: Gradability | None,
    name: str,
    code: Code,
    word: str,
    least: float,
    values: Values,
) -> _Answer:
    """Present where the region has its least share of the field; a smaller one from the trace on is undetermined."""
    parts = spots(maps.above(name) & maps.lit)
    share = sum(part.area for part in parts) / maps.field_px
    trace = min(values["min_trace"], least)
    doubt = ""
    if share >= least:
        value, certain = codes.PRESENT, maps.mean(name, maps.above(name) & maps.lit)
        said = "The certainty is the mean probability in the region."
    else:
        value, certain = codes.ABSENT, 1.0 - maps.highest(name, least)
        said = "The certainty is what lacks to 1 of the mean probability in the most suspect part of that size."
        if share >= trace:
            doubt = f"a region of {100 * share:.2f} % of the field is smaller than {100 * least:g} %"
        elif quality is not None and not quality.gradable:
            doubt = f"the photograph cannot be graded ({quality.named or 'the model says so'})"
    if doubt:
        value = codes.UNDETERMINED
    numbers = [Measurement(codes.FIELD_SHARE, 100.0 * share, codes.PERCENT)]
    if value != codes.UNDETERMINED:
        numbers.append(Measurement(codes.CERTAINTY_OF_FINDING, round(100.0 * certain, 1), codes.PERCENT))
    outline = parts[0].outline() if parts and value != codes.ABSENT and share >= trace else None
    made = Finding(
        key=name,
        label=word.capitalize(),
        finding=code,
        region=Region("POLYGON", image.instance_uid, maps.whole_outline if outline is None else maps.image(outline)),
        site=codes.EYE,
        laterality=image.laterality,
        measurements=tuple(numbers),
        evaluations=(Evaluation(code, value),),
        comment=" ".join(
            [
                f"Present from {100 * least:g} % of the lit field on.",
                said if value != codes.UNDETERMINED else f"Undetermined: {doubt}.",
                "The region is the largest part." if outline is not None else "The region is the field.",
                _FIELD_ONLY,
            ]
        ),
        method=codes.METHOD_CRITICAL,
    )
    return _Answer(made, value, word, f"{word} on {100 * share:.1f} % of the field", doubt)


def _glaucoma(image: Fundus, maps: Maps, quality: Gradability | None, measured: DiscCup | str, limit: float) -> _Answer:
    """Advanced glaucoma by the vertical cup-to-disc ratio."""
    word = "advanced glaucoma"
    numbers: list[Measurement] = []
    value, reason, doubt = codes.UNDETERMINED, "", ""
    if isinstance(measured, str):
        doubt = measured
    elif quality is not None and not quality.gradable:
        doubt = f"the photograph cannot be graded ({quality.named or 'the model says so'})"
    else:
        value = codes.PRESENT if measured.vertical >= limit else codes.ABSENT
        reason = f"advanced glaucoma suspected: vertical cup-to-disc ratio {measured.vertical:.2f} reaches {limit:g}"
        certain = min(maps.mean(DISC, maps.above(DISC)), maps.mean(CUP, maps.above(CUP)))
        numbers = [
            Measurement(codes.VERTICAL_CDR, measured.vertical, codes.RATIO),
            Measurement(codes.AREA_CDR, measured.area, codes.RATIO),
            Measurement(codes.RIM_SHARE, measured.rim, codes.RATIO),
            Measurement(codes.CERTAINTY_OF_FINDING, round(100.0 * certain, 1), codes.PERCENT),
        ]
    outline = None if isinstance(measured, str) or doubt else measured.disc.outline()
    parts = [f"Suspected from a vertical cup-to-disc ratio of {limit:g} on."]
    if doubt:
        parts.append(f"Undetermined: {doubt}. The region is the field.")
    else:
        parts.append(
            "The certainty is the mean probability in disc and cup, the lower of the two; it is that of the masks, "
            "not of a disease. The region is the disc. Fields and nerve fibre layer are not looked at."
        )
    made = Finding(
        key="advanced-glaucoma",
        label="Advanced glaucoma",
        finding=codes.ADVANCED_GLAUCOMA,
        region=Region("POLYGON", image.instance_uid, maps.whole_outline if outline is None else maps.image(outline)),
        site=codes.EYE if outline is None else codes.OPTIC_DISC,
        laterality=image.laterality,
        measurements=tuple(numbers),
        evaluations=(Evaluation(codes.ADVANCED_GLAUCOMA, value),),
        comment=" ".join(parts),
        method=codes.METHOD_CDR,
    )
    return _Answer(made, value, word, reason, doubt)


def _verdict(answers: tuple[_Answer, ...]) -> Verdict:
    stat = [Ground(Priority.STAT, a.reason, (a.finding.key,)) for a in answers if a.value == codes.PRESENT]
    if stat:
        return verdict_of(*stat)
    open_ = [f"{a.word} ({a.doubt})" for a in answers if a.value == codes.UNDETERMINED]
    absent = [a.word for a in answers if a.value == codes.ABSENT]
    said = [f"no {', no '.join(absent)} in the photographed field"] if absent else []
    reason = "; ".join([*said, *(f"undetermined: {each}" for each in open_)])
    return verdict_of(Ground(Priority.ROUTINE, reason, tuple(a.finding.key for a in answers)))


PIPELINE: Final = Pipeline(
    name="critical-findings",
    version="1.0.0",
    modality=Modality.OP,
    head=HeadKind.SEGMENTATION,
    classes=(DISC, CUP, DETACHMENT, BLOOD),
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    companions=(gradability(required=False),),
)
