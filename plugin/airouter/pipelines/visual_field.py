"""Reports a visual field: reliability, global indices, deviations checked against each other, sectors of the disc.

No model takes part. Indices are those the perimeter wrote into the object; what it did not write is not made up. The
object carries no normal values of its own: sensitivity less total deviation is the normal value that was compared with,
and pattern deviation less total deviation is one correction for the whole field, so both can be checked. It carries no
variances either, so the mean deviation, a weighted mean, cannot be computed again; the unweighted mean of the total
deviations has a name of its own.
"""

from statistics import fmean
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging.field import VisualField
from airouter.imaging.perimetry import Index, Location
from airouter.pipelines import field_checks, field_reliability, garway_heath
from airouter.pipelines.field_checks import Checked, check, total_of
from airouter.pipelines.field_reliability import Judgement, judge
from airouter.pipelines.garway_heath import Sector
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    *field_reliability.PARAMETERS,
    # Hodapp E, Parrish RK, Anderson DR. Clinical decisions in glaucoma. St Louis: Mosby; 1993: the limits of the mean
    # deviation. Their further criteria, on single points, are not applied.
    Parameter("moderate_md_db", -6.0, "dB", "mean deviation below which field loss is moderate", -40.0, 0.0),
    Parameter("advanced_md_db", -12.0, "dB", "mean deviation below which field loss is advanced", -40.0, 0.0),
    Parameter("advanced_priority", "STAT", "-", "priority of advanced field loss", choices=("STAT", "HIGH", "ROUTINE")),
    *field_checks.PARAMETERS,
    Parameter("min_sector_share", 0.5, "{ratio}", "least share of a disc sector's points that were tested", 0.0, 1.0),
)

_RELIABILITY, _FIELD = "reliability", "field"  # keys of findings


def run(job: Job, images: VisualField, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Everything the object says, and what follows from it.

    Ungradable without laterality. Raises ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    side = images.laterality
    if side not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing")
    progress(0, 1, "visual fields")
    reliable = judge(images.reliability, values)
    checked = check(images, side, values)
    stage, no_stage = _stage(checked, reliable, values)
    sectors, no_sectors = _sectors(checked, side, values["min_sector_share"])
    findings = (_reliability(images, reliable), _global(images, checked, stage), *sectors)
    progress(1, 1, "visual fields")
    return Result(
        findings=findings,
        verdict=_verdict(checked.md, stage, reliable, values),
        not_analysed=(*checked.contradictions, *checked.absent, *_not_carried(images), *no_stage, *no_sectors),
        execution_provider=predict.provider,
    )


def _stage(checked: Checked, reliable: Judgement, values: Values) -> tuple[Code | None, tuple[NotAnalysed, ...]]:
    """The stage of field loss by the mean deviation alone."""
    if reliable.unreliable:
        reason = f"not analysed because the test is unreliable: {'; '.join(reliable.reasons)}"
        return None, (NotAnalysed(codes.FIELD_STAGE.meaning, reason),)
    if checked.md is None:
        return None, (NotAnalysed(codes.FIELD_STAGE.meaning, "not analysed because there is no mean deviation"),)
    if checked.md.value < values["advanced_md_db"]:
        return codes.FIELD_ADVANCED, ()
    return (codes.FIELD_MODERATE if checked.md.value < values["moderate_md_db"] else codes.FIELD_MILD), ()


def _not_carried(field: VisualField) -> tuple[NotAnalysed, ...]:
    """Global indices that a reader may expect and the object lacks."""
    absent = {"mean deviation": field.md, "pattern standard deviation": field.psd, "visual field index": field.vfi}
    missing = [name for name, index in absent.items() if index is None]
    missing += ["glaucoma hemifield test"] if field.ght is None else []
    return tuple(NotAnalysed(name, "not analysed because the object carries none") for name in missing)


def _reliability(field: VisualField, reliable: Judgement) -> Finding:
    found = field.reliability
    measured = []
    for name, count in (
        (codes.FIXATION_LOSS_RATIO, found.fixation_losses),
        (codes.FALSE_POSITIVE_RATIO, found.false_positives),
        (codes.FALSE_NEGATIVE_RATIO, found.false_negatives),
    ):
        if count is not None:
            measured.append(Measurement(name, count.ratio, codes.RATIO))
    for name, number, unit in (
        (codes.FALSE_POSITIVE_PERCENT, found.false_positive_percent, codes.PERCENT),
        (codes.FALSE_NEGATIVE_PERCENT, found.false_negative_percent, codes.PERCENT),
        (codes.FIELD_DURATION, field.duration_s, codes.SECOND),
    ):
        if number is not None:
            measured.append(Measurement(name, number, unit))
    if reliable.unreliable:
        comment = f"Unreliable: {'; '.join(reliable.reasons)}."
    elif reliable.known:
        comment = "No index of reliability that was recorded is above its limit."
    else:
        comment = "No index of reliability was recorded."
    return Finding(
        key=_RELIABILITY,
        label="Reliability of the visual field",
        finding=codes.FIELD_RELIABILITY,
        site=codes.EYE,
        laterality=field.laterality,
        measurements=tuple(measured),
        evaluations=(Evaluation(codes.FIELD_RELIABLE, reliable.code),),
        comment=comment,
        method=codes.METHOD_FIELD,
    )


def _global(field: VisualField, checked: Checked, stage: Code | None) -> Finding:
    measured = [Measurement(codes.FIELD_POINTS, float(len(checked.points)), codes.COUNTS)]
    measured.append(Measurement(codes.FIELD_NOT_SEEN, float(sum(not p.seen for p in checked.points)), codes.COUNTS))
    for index, name, probability, unit in (
        (checked.md, codes.MEAN_DEVIATION, codes.MD_PROBABILITY, codes.DECIBEL),
        (field.psd, codes.PATTERN_STANDARD_DEVIATION, codes.PSD_PROBABILITY, codes.DECIBEL),
        (field.vfi, codes.VISUAL_FIELD_INDEX, codes.VFI_PROBABILITY, codes.PERCENT),
    ):
        if index is not None:
            measured.append(Measurement(name, index.value, unit))
            if index.probability is not None:
                measured.append(Measurement(probability, index.probability, codes.PERCENT))
    if checked.mean_total is not None:
        measured.append(Measurement(codes.MEAN_TOTAL_DEVIATION, checked.mean_total, codes.DECIBEL))
    totals = [p.total_p for p in checked.total if p.total_p is not None]
    patterns = [p.pattern_p for p in checked.pattern if p.pattern_p is not None]
    for probabilities, below_5, below_1 in (
        (totals, codes.TOTAL_BELOW_5, codes.TOTAL_BELOW_1),
        (patterns, codes.PATTERN_BELOW_5, codes.PATTERN_BELOW_1),
    ):
        if probabilities:
            measured.append(Measurement(below_5, float(sum(p <= 5.0 for p in probabilities)), codes.COUNTS))
            measured.append(Measurement(below_1, float(sum(p <= 1.0 for p in probabilities)), codes.COUNTS))
    evaluations = [Evaluation(codes.GHT, field.ght)] if field.ght is not None else []
    evaluations += [Evaluation(codes.FIELD_STAGE, stage)] if stage is not None else []
    return Finding(
        key=_FIELD,
        label="Visual field",
        finding=codes.VISUAL_FIELD,
        site=codes.EYE,
        laterality=field.laterality,
        measurements=tuple(measured),
        evaluations=tuple(evaluations),
        comment=_comment(field, checked),
        method=codes.METHOD_FIELD,
    )


def _comment(field: VisualField, checked: Checked) -> str:
    settings = field.settings
    how = [code.meaning for code in (settings.pattern, settings.strategy) if code is not None]
    parts = [f"{', '.join([*how, settings.device or 'device not named'])}."]
    parts.append("Points exclude the blind spot.")
    if settings.normals:
        parts.append(f"Normative data: {settings.normals}.")
    if field.age is not None:
        parts.append(f"Age at the test {field.age:.0f} years.")
    return " ".join([*parts, *checked.remarks])


def _sectors(checked: Checked, side: Laterality, share: float) -> tuple[list[Finding], tuple[NotAnalysed, ...]]:
    """Mean total deviation of the points that belong to each sector of the optic disc."""
    quantity = "visual field by sectors of the optic disc"
    if not checked.total:
        return [], (NotAnalysed(quantity, "not analysed because there is no total deviation"),)
    whole = [garway_heath.sector_at(angle) for angle in garway_heath.ANGLES.values()]
    tested: dict[Sector, list[Location]] = {sector: [] for sector in Sector}
    for point in checked.total:
        if (sector := garway_heath.sector_of(point.x, point.y, side)) is not None:
            tested[sector].append(point)
    findings = []
    missing = []
    for sector, points in tested.items():
        if not points or len(points) < share * whole.count(sector):
            missing.append(
                NotAnalysed(
                    garway_heath.CODES[sector].meaning,
                    f"not analysed because {len(points)} of its {whole.count(sector)} points were tested",
                )
            )
            continue
        findings.append(
            Finding(
                key=f"sector {sector}",
                label=f"Visual field of the {sector} disc sector",
                finding=garway_heath.CODES[sector],
                site=codes.EYE,
                laterality=side,
                measurements=(
                    Measurement(codes.MEAN_TOTAL_DEVIATION, fmean(total_of(p) for p in points), codes.DECIBEL),
                    Measurement(codes.FIELD_POINTS, float(len(points)), codes.COUNTS),
                ),
                comment=f"Points of the field whose nerve fibres enter the {sector} sector of the optic disc.",
                method=codes.METHOD_GARWAY_HEATH,
            )
        )
    return findings, tuple(missing)


def _verdict(md: Index | None, stage: Code | None, reliable: Judgement, values: Values) -> Verdict:
    if reliable.unreliable:
        reason = f"the visual field is unreliable: {'; '.join(reliable.reasons)}"
        return verdict_of(Ground(Priority.ROUTINE, reason, (_RELIABILITY,)))
    if md is None or stage is None:
        return verdict_of(Ground(Priority.ROUTINE, "the visual field has no usable mean deviation"))
    doubt = "" if reliable.known else "; reliability was not recorded"
    if stage == codes.FIELD_ADVANCED:
        limit = f"{values['advanced_md_db']:g} dB"
        priority = Priority(values.text("advanced_priority") or Priority.STAT)
        reason = f"advanced visual field loss: mean deviation {md.value:.2f} dB is below {limit}{doubt}"
        return verdict_of(Ground(priority, reason, (_FIELD,)))
    if stage == codes.FIELD_MODERATE:
        limit = f"{values['moderate_md_db']:g} dB"
        reason = f"moderate visual field loss: mean deviation {md.value:.2f} dB is below {limit}{doubt}"
        return verdict_of(Ground(Priority.HIGH, reason, (_FIELD,)))
    return verdict_of(Ground(Priority.ROUTINE, f"mean deviation {md.value:.2f} dB{doubt}", (_FIELD,)))


PIPELINE: Final = Pipeline(
    name="visual-field",
    version="1.0.0",
    modality=Modality.OPV,
    head=None,
    classes=(),
    run=run,
    parameters=PARAMETERS,
)
