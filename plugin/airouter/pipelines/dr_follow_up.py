"""From the grades of both eyes to one recommendation for the patient, a reading priority and a bucket."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.job import Job
from airouter.domain.priority import Ground, Priority, Reading, Verdict, verdict_of
from airouter.pipelines.dr_eye import EYES, SIDE, Eye
from airouter.pipelines.pipeline import Parameter, Values

_PROLIFERATIVE: Final = 4

# Intervals in months: International Council of Ophthalmology. ICO Guidelines for Diabetic Eye Care, updated 2017 (Wong
# TY et al. Ophthalmology 2018;125:1608-1622), high-resource settings, the shorter end of each range: none 1 to 2 years,
# mild 6 to 12 months, moderate 3 to 6, severe less than 3, proliferative less than 1; macular oedema 1 month at the
# centre, else 3, which a photograph cannot tell apart. The interval of an eye that could not be graded is our own.
INTERVALS: Final = (
    Parameter("followup_0_months", 12, "mo", "interval after no apparent retinopathy in the worse eye", 0, 60),
    Parameter("followup_1_months", 6, "mo", "after mild non-proliferative retinopathy", 0, 60),
    Parameter("followup_2_months", 3, "mo", "after moderate non-proliferative retinopathy", 0, 60),
    Parameter("followup_3_months", 2, "mo", "after severe non-proliferative retinopathy", 0, 60),
    Parameter("followup_4_months", 1, "mo", "after proliferative retinopathy", 0, 60),
    Parameter("followup_dme_months", 1, "mo", "where macular oedema is suspected", 0, 60),
    Parameter("followup_ungradable_months", 1, "mo", "where an eye could not be graded", 0, 60),
)
RULES: Final = (
    Parameter("referable_grade", 2, "1", "grade from which retinopathy is referable and the priority HIGH", 1, 4, True),
    Parameter(
        "disagreement_levels",
        2,
        "1",
        "levels between the grades of model and lesions that are a contradiction",
        1,
        5,
        True,
    ),
    Parameter("release_confidence", 0.9, "{ratio}", "least probability of every grade for Review & Release", 0.5, 1.0),
    Parameter("full_reading_share", 0.05, "{ratio}", "share of those that is drawn for full reading", 0.0, 1.0),
    Parameter("release_one_eye", 0, "1", "1: Review & Release also where only one eye was photographed", 0, 1, True),
)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is suggested for the patient: an action, within how many months, and why."""

    action: Code
    months: float
    referable: bool
    why: tuple[str, ...]


def referable(eye: Eye, values: Values) -> bool:
    """Whether an eye needs an ophthalmologist: its grade reaches the limit, or macular oedema is suspected."""
    return bool(eye.oedema) or (eye.grade is not None and eye.grade >= values["referable_grade"])


def recommendation(eyes: Sequence[Eye], values: Values) -> Recommendation:
    """One for both eyes: the worse one, whose interval is the shortest, decides. At least one eye is needed."""
    intervals: list[tuple[float, str]] = []
    for eye in eyes:
        if eye.grade is None:
            intervals.append((values["followup_ungradable_months"], f"{eye.name}: could not be graded"))
        else:
            said = f"{eye.name}: {codes.ICDR[eye.grade].meaning.lower()}"
            intervals.append((values[f"followup_{eye.grade}_months"], said))
        if eye.oedema:
            intervals.append((values["followup_dme_months"], f"{eye.name}: macular oedema suspected"))
    months = min(interval for interval, _ in intervals)
    needed = any(referable(eye, values) for eye in eyes)
    ungraded = any(eye.grade is None for eye in eyes)
    action = codes.DR_REFER if needed else codes.DR_REPHOTOGRAPH if ungraded else codes.DR_RESCREEN
    return Recommendation(action, months, needed, tuple(why for interval, why in intervals if interval == months))


def verdict(eyes: Sequence[Eye], unread: int, job: Job, values: Values) -> Verdict:
    """Priority and bucket. `unread`: photographs of the study that were not looked at."""
    graded = [_graded(eye, values) for eye in eyes if eye.grade is not None]
    stat = [ground for ground in graded if ground.priority is Priority.STAT]
    high = [ground for ground in graded if ground.priority is Priority.HIGH] + [
        Ground(Priority.HIGH, f"{e.name}: macular oedema suspected", (oedema_key(e),)) for e in eyes if e.oedema
    ]
    others = [ground for ground in graded if ground.priority is Priority.ROUTINE]
    ungraded = [
        Ground(Priority.ROUTINE, f"{e.name}: could not be graded ({_why_not(e)})", (grade_key(e),))
        for e in eyes
        if e.grade is None
    ]
    if stat or high:
        said = _joined([*stat, *high, *ungraded])
        return verdict_of(*stat, *high, *ungraded, *others, reading=Reading.FULL, reason=said)
    if ungraded:
        return verdict_of(*ungraded, *others, reading=Reading.FULL)
    if doubts := _doubts(eyes, unread, values):
        said = f"{_joined(others)}; full reading because {', '.join(doubts)}"
        return verdict_of(*others, reading=Reading.FULL, reason=said)
    if drawn(job.key, values["full_reading_share"]):
        return verdict_of(*others, reading=Reading.FULL, reason=f"{_joined(others)}; drawn for full reading")
    return verdict_of(*others, reading=Reading.REVIEW_AND_RELEASE)


def grade_key(eye: Eye) -> str:
    """Key of the finding that says an eye's grade, or that it has none."""
    return f"ungradable-{eye.side}" if eye.grade is None else f"grade-{eye.side}"


def oedema_key(eye: Eye) -> str:
    """Key of the finding on an eye's macular oedema."""
    return f"oedema-{eye.side}"


def _graded(eye: Eye, values: Values) -> Ground:
    urgent = Priority.HIGH if _reaches(eye, values) else Priority.ROUTINE
    priority = Priority.STAT if eye.grade == _PROLIFERATIVE else urgent
    return Ground(priority, f"{eye.name}: {_said(eye)}", (grade_key(eye),))


def _joined(grounds: Sequence[Ground]) -> str:
    return "; ".join(ground.reason for ground in grounds)


def drawn(key: str, share: float) -> bool:
    """Whether a job is one of the random share that people read in full: by a digest of its key, so always the same."""
    digest = hashlib.sha256(f"full reading|{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64 < share


def _reaches(eye: Eye, values: Values) -> bool:
    return eye.grade is not None and eye.grade >= values["referable_grade"]


def _said(eye: Eye) -> str:
    """The grade with the probability that it has in the photograph that decides."""
    if eye.grade is None or eye.deciding is None:
        raise ValueError(f"the {eye.name} has no grade")
    return f"{codes.ICDR[eye.grade].meaning.lower()} ({eye.deciding.certainty:.2f})"


def _why_not(eye: Eye) -> str:
    return eye.reasons[0][0].name if eye.reasons else eye.photographs[0].against


def _doubts(eyes: Sequence[Eye], unread: int, values: Values) -> list[str]:
    """What keeps a patient without referable disease from Review & Release."""
    found = []
    if len(eyes) < len(EYES) and not values["release_one_eye"]:
        missing = next(SIDE[side] for side in EYES if all(eye.side is not side for eye in eyes))
        found.append(f"the {missing} was not photographed")
    for eye in eyes:
        if eye.grade is None:
            continue
        if eye.grade > 1:  # only where the limit of what is referable was raised
            found.append(f"the {eye.name} has more than mild retinopathy")
        if eye.least_certainty < values["release_confidence"]:
            found.append(f"the least probability of a grade of the {eye.name} is {eye.least_certainty:.2f}")
        if eye.oedema is None:
            found.append(f"macular oedema could not be looked for in the {eye.name}")
        if eye.mirrored:
            found.append(f"a photograph of the {eye.name} has its disc on the side of the other eye")
        if eye.disagreement() >= values["disagreement_levels"]:
            found.append(f"grade and lesions of the {eye.name} contradict each other")
    if unread:
        found.append(f"{unread} photograph{'s were' if unread > 1 else ' was'} not read")
    return found
