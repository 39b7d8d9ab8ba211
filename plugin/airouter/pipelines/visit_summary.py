"""Sums up what the other jobs found at one visit, eye by eye, with a link to every finding it rests on.

Nothing is measured here: numbers are those of the reports referred to. What two methods say of one eye is laid side by
side, and whether they agree is said (airouter.pipelines.visit_correlation).
"""

from collections.abc import Sequence
from typing import Final

from airouter.domain import codes
from airouter.domain.finding import Finding, NotAnalysed, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.priority import Ground, Priority, Verdict, most_urgent, verdict_of
from airouter.domain.study import Laterality
from airouter.domain.summary import SourceResult, Sources
from airouter.pipelines import visit_correlation
from airouter.pipelines.pipeline import Extent, Pipeline, Values
from airouter.pipelines.visit_facts import Fact, fact_key, facts, of_eye
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = visit_correlation.PARAMETERS
_EYES: Final = ((Laterality.R, "right eye"), (Laterality.L, "left eye"))


def run(job: Job, images: Sources, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """One summary for each eye, what it repeats, and how the methods agree.

    Ungradable where no job left anything. Raises JobCanceled, ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    progress(0, len(images.results), "results")
    everything = facts(images.results)
    reasons = _reasons(images)
    if not everything:
        why = reasons[0].reason if reasons else "not analysed because no job of this visit left a result"
        return Ungradable(why)
    found: list[Finding] = []
    missing: list[NotAnalysed] = []
    for eye, name in _EYES:
        mine = of_eye(everything, eye)
        if not mine:
            missing.append(NotAnalysed(f"summary of the {name}", "not analysed because nothing was found of this eye"))
            continue
        correlated = visit_correlation.correlate(mine, eye, values)
        found.append(_head(mine, eye, name))
        found += _repeated(mine, f"-{eye}")
        found += correlated.findings
        missing += correlated.missing
    found += _repeated([f for f in everything if f.laterality not in (Laterality.R, Laterality.L)], "")
    progress(len(images.results), len(images.results), "results")
    return Result(
        findings=tuple(found),
        verdict=_verdict(images, found),
        not_analysed=(*missing, *reasons),
        execution_provider=predict.provider,
    )


def _head(mine: Sequence[Fact], eye: Laterality, name: str) -> Finding:
    """What the visit says of an eye in one sentence, linked to everything that was found of it."""
    said = [words for fact in mine if (words := _words(fact))]
    return Finding(
        key=f"summary-{eye}",
        label=f"Summary of the {name}",
        finding=codes.VISIT_SUMMARY,
        site=codes.EYE,
        laterality=eye,
        comment="; ".join(said) + "." if said else "No quantity that a summary repeats was found.",
        method=codes.METHOD_VISIT,
        origins=tuple(fact.origin for fact in mine if fact.origin is not None),
    )


def _words(fact: Fact) -> str:
    if _single(fact):
        return ""
    numbers = [f"{m.name.meaning} {m.value:.4g} {m.unit.value}" for m in fact.told]
    answers = [f"{e.name.meaning}: {e.value.meaning}" for e in fact.answers]
    return f"{fact.label}: {', '.join([*answers, *numbers])}" if numbers or answers else ""


def _repeated(some: Sequence[Fact], suffix: str) -> list[Finding]:
    """The findings that have an answer or a number to repeat, each with its origin; single lesions are left out."""
    found = []
    for fact in some:
        if _single(fact):
            continue
        found.append(
            Finding(
                key=f"{fact.key}{suffix}",
                label=fact.label,
                finding=fact.finding,
                site=codes.EYE if fact.laterality else None,
                laterality=fact.laterality,
                measurements=fact.told,
                evaluations=fact.answers,
                comment=f"As found by {fact.pipeline}.",
                origins=(fact.origin,) if fact.origin is not None else (),
            )
        )
    return found


def _single(fact: Fact) -> bool:
    """Whether it is one place of many, without an answer or a number of its own: a lesion with its certainty."""
    return not fact.answers and all(m.name == codes.CERTAINTY_OF_FINDING for m in fact.told)


def _reasons(images: Sources) -> list[NotAnalysed]:
    """What the jobs could not say; each reason once."""
    told = [(str(n["quantity"]), str(n["reason"])) for each in images.results for n in each.not_analysed]
    return [NotAnalysed(quantity, reason) for quantity, reason in dict.fromkeys(told)]


def _verdict(images: Sources, found: Sequence[Finding]) -> Verdict:
    """The most urgent of the visit: its studies may be several, and the summary stands in one of them."""
    first = most_urgent([each.verdict for each in images.results])
    if first is None or first.priority is Priority.ROUTINE:
        return verdict_of(Ground(Priority.ROUTINE, "summary of the visit: nothing urgent was found"))
    grounds = [ground for each in images.results for ground in _grounds(each, found)]
    reason = f"summary of the visit: {first.reason}"
    if not any(ground.priority is first.priority for ground in grounds):  # what decides has no finding to repeat
        grounds.append(Ground(first.priority, reason, tuple(f.key for f in found)))
    return verdict_of(*grounds, reason=reason)


def _grounds(result: SourceResult, found: Sequence[Finding]) -> list[Ground]:
    """What is urgent in a result, resting on the findings of the summary that tell of it."""
    verdict = result.verdict
    told = [(ground.priority, ground.reason, ground.findings) for ground in verdict.grounds] or [
        (verdict.priority, verdict.reason, tuple(str(finding["key"]) for finding in result.findings))
    ]
    return [
        Ground(priority, f"summary of the visit: {reason}", rests)
        for priority, reason, keys in told
        if priority.rank < Priority.ROUTINE.rank and (rests := _telling(result, keys, found))
    ]


def _telling(result: SourceResult, keys: Sequence[str], found: Sequence[Finding]) -> tuple[str, ...]:
    """Keys of the findings that repeat these of a result; of those that refer to them where none is repeated."""
    repeats = {f"{fact_key(result, key)}{suffix}" for key in keys for suffix in ("", *(f"-{eye}" for eye, _ in _EYES))}
    tracked = {result.job.tracking_uid(key) for key in keys}
    referring = tuple(f.key for f in found if any(origin.tracking_uid in tracked for origin in f.origins))
    return tuple(f.key for f in found if f.key in repeats) or referring


PIPELINE: Final = Pipeline(
    name="visit-summary",
    version="1.0.0",
    modality=None,
    head=None,
    classes=(),
    run=run,
    parameters=PARAMETERS,
    extent=Extent.RESULTS,
)
