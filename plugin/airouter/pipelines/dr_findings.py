"""Grades, lesions and the recommendation as findings of the report."""

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Region, Segment, Segmentation
from airouter.domain.study import Laterality
from airouter.imaging.landmarks import Landmarks
from airouter.pipelines.dr_eye import EYES, SIDE, Eye, Photograph
from airouter.pipelines.dr_follow_up import Recommendation, grade_key, oedema_key, referable
from airouter.pipelines.dr_lesions import (
    HAEMORRHAGE,
    HARD_EXUDATE,
    LESIONS,
    MACULAR_DISC_DIAMETERS,
    MICROANEURYSM,
    NEOVASCULARISATION,
    SOFT_EXUDATE,
    LesionMap,
)
from airouter.pipelines.photograph_quality import against, finding
from airouter.pipelines.pipeline import Values

_KINDS: Final = {
    MICROANEURYSM: (codes.MICROANEURYSM, "Microaneurysm"),
    HAEMORRHAGE: (codes.RETINAL_HAEMORRHAGE, "Haemorrhage"),
    HARD_EXUDATE: (codes.HARD_EXUDATE, "Hard exudate"),
    SOFT_EXUDATE: (codes.SOFT_EXUDATE, "Soft exudate"),
    NEOVASCULARISATION: (codes.RETINAL_NEOVASCULARISATION, "Neovascularisation"),
}
_QUADRANTS: Final = {
    "superotemporal": codes.COUNT_SUPEROTEMPORAL,
    "superonasal": codes.COUNT_SUPERONASAL,
    "inferotemporal": codes.COUNT_INFEROTEMPORAL,
    "inferonasal": codes.COUNT_INFERONASAL,
}
_SEVERITY: Final = {Laterality.R: codes.DR_SEVERITY_RIGHT, Laterality.L: codes.DR_SEVERITY_LEFT}
_CIRCLE: Final = 36  # corners of the polygon that stands for a circle


def findings(eyes: Sequence[Eye], advice: Recommendation, values: Values) -> Iterator[Finding]:
    """The recommendation first, then each eye: its grade (or that it has none), oedema, quality and lesions."""
    yield _recommended(eyes, advice)
    for eye in eyes:
        yield _ungraded(eye) if eye.grade is None else _graded(eye, eye.grade, values)
        if eye.oedema is not None:
            yield _oedema(eye)
        for each in eye.photographs:
            if each.quality is not None:
                uid, where = each.image.instance_uid, f"{eye.name}, photograph {each.number}"
                yield finding(each.quality, uid, eye.side, f"quality-{each.number}", f"Image quality, {where}")
            if each.lesions is not None:
                yield from _lesions(each, each.lesions, values)


def missing(eyes: Sequence[Eye], lesions: bool) -> Iterator[NotAnalysed]:
    """What one may expect of both eyes and does not get. `lesions`: whether the job has a model of them."""
    for side in EYES:
        eye = next((each for each in eyes if each.side is side), None)
        name = SIDE[side]
        grade = f"grade of diabetic retinopathy of the {name}"
        if eye is None:
            yield NotAnalysed(grade, f"not analysed because no usable photograph of the {name} is in the study")
            continue
        if eye.grade is None:
            why = "; ".join(f"photograph {each.number}: {each.against}" for each in eye.photographs)
            yield NotAnalysed(grade, f"not analysed because no photograph of the {name} can be graded: {why}")
        if not lesions:
            why = "the job has no model of lesions"
            yield NotAnalysed(f"lesions of the {name}", f"not analysed because {why}")
        elif eye.grade is None:
            continue
        else:
            why = "; ".join(f"photograph {e.number}: {e.lesions.unplaced}" for e in eye.graded if e.lesions)
        if eye.grade is not None and eye.oedema is None:
            yield NotAnalysed(f"macular oedema of the {name}", f"not analysed because {why}")


def segmentations(eyes: Sequence[Eye]) -> Iterator[Segmentation]:
    """The lesions of each photograph that shows any, on the photograph's own pixels; of two kinds one covers."""
    for each in (each for eye in eyes for each in eye.photographs if each.lesions is not None):
        if each.lesions is None or not each.lesions.mask.any():
            continue
        rows, columns = each.image.rgb.shape[:2]
        present = [n for n in range(1, len(LESIONS) + 1) if (each.lesions.mask == n).any()]
        numbers = np.zeros(len(LESIONS) + 1, np.uint8)
        numbers[present] = np.arange(1, len(present) + 1)
        mask = cv2.resize(numbers[each.lesions.mask], (columns, rows), interpolation=cv2.INTER_NEAREST)
        segments = []
        for number, n in enumerate(present, start=1):
            code, label = _KINDS[LESIONS[n - 1]]
            segments.append(Segment(number, label, codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE, code))
        yield Segmentation(
            role=f"lesions-{each.number}",
            label=f"Lesions, {SIDE[each.eye]}, photograph {each.number}",
            source=each.image.instance_uid,
            mask=np.asarray(mask, np.uint8)[np.newaxis],
            segments=tuple(segments),
            frames=(1,),
        )


def _field(each: Photograph | None) -> Region | None:
    """The lit field of a photograph: where nothing more exact is meant."""
    if each is None or each.quality is None:
        return None
    return Region("POLYGON", each.image.instance_uid, each.quality.outline)


def _any_field(eye: Eye) -> Region | None:
    return next((region for each in eye.photographs if (region := _field(each)) is not None), None)


def _yes(value: bool) -> Code:
    return codes.YES if value else codes.NO


def _recommended(eyes: Sequence[Eye], advice: Recommendation) -> Finding:
    names = " and ".join(eye.name for eye in eyes)
    both = len(eyes) == len(EYES)
    part = f"For both eyes, {names}." if both else f"For the {names} only; the other eye was not photographed."
    worst = max(eyes, key=lambda eye: -1 if eye.grade is None else eye.grade)
    return Finding(
        key="recommendation",
        label="Recommendation for the patient",
        finding=codes.DIABETIC_RETINOPATHY,
        region=_field(worst.deciding) or next((r for eye in eyes if (r := _any_field(eye)) is not None), None),
        site=codes.EYE,
        laterality=Laterality.B if both else eyes[0].side,
        measurements=(Measurement(codes.RECOMMENDED_FOLLOW_UP, advice.months, codes.MONTH),),
        evaluations=(
            Evaluation(codes.RECOMMENDED_FOLLOW_UP, advice.action),
            Evaluation(codes.REFERABLE_DR, _yes(advice.referable)),
        ),
        comment=f"{advice.action.meaning} within {advice.months:g} months. {part} It follows from: "
        f"{'; '.join(advice.why)}.",
        method=codes.METHOD_DR,
    )


def _graded(eye: Eye, grade: int, values: Values) -> Finding:
    deciding = eye.deciding
    if deciding is None:
        raise ValueError(f"the {eye.name} has no grade")
    by_lesions = eye.grade_by_lesions
    answers = [
        Evaluation(_SEVERITY[eye.side], codes.ICDR[grade]),
        Evaluation(codes.REFERABLE_DR, _yes(referable(eye, values))),
    ]
    if by_lesions is not None:
        answers.append(Evaluation(codes.DR_BY_LESIONS, codes.ICDR[by_lesions]))
    taken = len(eye.photographs)
    parts = [
        f"International grade {grade}, the worst of {len(eye.graded)} gradable of {taken} photographs of the "
        f"{eye.name}; photograph {deciding.number} decides. The certainty is the probability of that grade in it."
    ]
    if by_lesions is not None:
        parts.append(
            f"By the lesions alone the grade is {by_lesions} (venous beading and intraretinal microvascular "
            "abnormalities are not looked for)."
        )
        if eye.disagreement() >= values["disagreement_levels"]:
            parts.append("Grade and lesions contradict each other.")
    if eye.mirrored:
        parts.append("In a photograph the disc lies on the side of the other eye: check the laterality.")
    return Finding(
        key=grade_key(eye),
        label=f"Diabetic retinopathy, {eye.name}",
        finding=codes.DIABETIC_RETINOPATHY,
        region=_field(deciding),
        site=codes.EYE,
        laterality=eye.side,
        measurements=(
            Measurement(codes.CERTAINTY_OF_FINDING, round(100.0 * deciding.certainty, 1), codes.PERCENT),
            Measurement(codes.FIELDS_GRADED, float(len(eye.graded)), codes.COUNTS),
        ),
        evaluations=tuple(answers),
        comment=" ".join(parts),
        method=codes.METHOD_DR,
    )


def _ungraded(eye: Eye) -> Finding:
    """An eye that could not be graded is a statement of its own, and no grade."""
    why = "; ".join(f"photograph {each.number}: {each.against}" for each in eye.photographs)
    return Finding(
        key=grade_key(eye),
        label=f"Not gradable, {eye.name}",
        finding=codes.QUALITY_FINDING,
        region=_any_field(eye),
        site=codes.EYE,
        laterality=eye.side,
        evaluations=(
            Evaluation(codes.GRADABILITY, codes.UNGRADABLE),
            *against(eye.reasons),
            Evaluation(codes.RECOMMENDED_FOLLOW_UP, codes.DR_REPHOTOGRAPH),
        ),
        comment=f"No photograph of the {eye.name} can be graded: {why}. This is no grade; disease is not excluded.",
    )


def _oedema(eye: Eye) -> Finding:
    found = eye.nearest_exudate
    if found is None or found[1].lesions is None or isinstance(found[1].lesions.marks, str):
        raise ValueError(f"the fovea of the {eye.name} was not found")
    distance, each = found
    lesions, marks = found[1].lesions, found[1].lesions.marks
    near = "No hard exudate was found." if np.isinf(distance) else (
        f"The nearest hard exudate lies {distance:.2f} disc diameters from the middle of the fovea."
    )  # fmt: skip
    return Finding(
        key=oedema_key(eye),
        label=f"Macular oedema by hard exudate, {eye.name}",
        finding=codes.DIABETIC_MACULAR_OEDEMA,
        region=Region("POLYGON", each.image.instance_uid, lesions.image_points(_macula(marks))),
        site=codes.EYE,
        laterality=eye.side,
        evaluations=(
            Evaluation(codes.DIABETIC_MACULAR_OEDEMA, codes.PRESENT if eye.oedema else codes.ABSENT),
        ),
        comment=f"Suspected where a hard exudate lies within {MACULAR_DISC_DIAMETERS:g} disc diameter of the fovea, a "
        f"surrogate: thickness is not seen in a photograph. {near} The region is that circle.",
        method=codes.METHOD_DME,
    )  # fmt: skip


def _macula(marks: Landmarks) -> NDArray[np.float64]:
    """The circle around the fovea that exudates count in."""
    angle = 2.0 * np.pi * np.arange(_CIRCLE) / _CIRCLE
    radius = MACULAR_DISC_DIAMETERS * marks.diameter
    return np.stack([marks.fovea[0] + radius * np.cos(angle), marks.fovea[1] + radius * np.sin(angle)], axis=1)


def _lesions(each: Photograph, lesions: LesionMap, values: Values) -> Iterator[Finding]:
    """Of each kind that the photograph shows: how many, in which quadrants, and where the largest are."""
    where = f"{SIDE[each.eye]}, photograph {each.number}"
    most = int(values["max_regions"])
    for kind in LESIONS:
        spots = lesions.by_kind[kind]
        if not spots:
            continue
        code, label = _KINDS[kind]
        numbers = [Measurement(codes.LESION_COUNT, float(len(spots)), codes.COUNTS)]
        quadrants = lesions.quadrants(kind)
        if quadrants is not None:
            numbers += [Measurement(_QUADRANTS[name], float(n), codes.COUNTS) for name, n in quadrants.items()]
            comment = "Quadrants are about the fovea."
        else:
            comment = f"Quadrants: not analysed because {lesions.unplaced}."
        if len(spots) > most:
            comment += f" The {most} largest have a region, {len(spots) - most} are counted only."
        yield Finding(
            key=f"{kind}-{each.number}",
            label=f"{label} count, {where}",
            finding=code,
            region=_field(each),
            site=codes.RETINA,
            laterality=each.eye,
            measurements=tuple(numbers),
            comment=comment,
            method=codes.METHOD_DR_RULE,
        )
        for n, (spot, certain) in enumerate(zip(spots[:most], lesions.certain[kind][:most], strict=True), start=1):
            point = kind == MICROANEURYSM
            points = np.array([spot.centre]) if point else spot.outline()
            region = Region("POINT" if point else "POLYGON", each.image.instance_uid, lesions.image_points(points))
            yield Finding(
                key=f"{kind}-{each.number}-{n}",
                label=f"{label} {n}, {where}",
                finding=code,
                region=region,
                site=codes.RETINA,
                laterality=each.eye,
                measurements=(Measurement(codes.CERTAINTY_OF_FINDING, round(100.0 * certain, 1), codes.PERCENT),),
                method=codes.METHOD_DR_RULE,
            )
