"""Which verdict decides a study, from which bucket it is read, and what is left of it once findings are rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import Finding, Result
from airouter.domain.priority import Ground, Priority, Reading, Verdict, most_urgent, standing, verdict_of

FULL, RELEASE = Reading.FULL, Reading.REVIEW_AND_RELEASE
VERDICTS = st.lists(
    st.builds(Verdict, st.sampled_from(Priority), st.sampled_from(["a", "b"]), st.sampled_from([None, FULL, RELEASE])),
    max_size=5,
)


def verdict(priority: Priority, reading: Reading | None = None, reason: str = "") -> Verdict:
    return Verdict(priority, reason or f"{priority} {reading}", reading)


def test_without_results_nothing_decides() -> None:
    assert most_urgent([]) is None


def test_the_first_of_the_most_urgent_decides() -> None:
    first = verdict(Priority.HIGH, reason="first")
    assert most_urgent([verdict(Priority.LOW), first, verdict(Priority.HIGH, reason="second")]) == first


@pytest.mark.parametrize(
    ("asked", "bucket"),
    [
        ([(Priority.ROUTINE, None)], None),
        ([(Priority.STAT, None)], None),
        ([(Priority.ROUTINE, RELEASE)], RELEASE),
        ([(Priority.LOW, RELEASE), (Priority.ROUTINE, None)], RELEASE),
        ([(Priority.ROUTINE, RELEASE), (Priority.LOW, FULL)], FULL),
        ([(Priority.ROUTINE, FULL)], FULL),
        ([(Priority.HIGH, None), (Priority.ROUTINE, RELEASE)], FULL),
        ([(Priority.STAT, RELEASE)], FULL),
    ],
)
def test_the_bucket_is_that_of_all_results_together(
    asked: list[tuple[Priority, Reading | None]], bucket: Reading | None
) -> None:
    decides = most_urgent([verdict(*each) for each in asked])
    assert decides is not None and decides.reading is bucket


@given(VERDICTS)
def test_nobody_releases_what_is_urgent_or_what_anyone_wants_read(verdicts: list[Verdict]) -> None:
    decides = most_urgent(verdicts)
    if decides is None:
        assert verdicts == []
        return
    asked = {v.reading for v in verdicts}
    urgent = any(v.priority in (Priority.STAT, Priority.HIGH) for v in verdicts)
    assert decides.priority.rank == min(v.priority.rank for v in verdicts)
    assert (decides.reading is RELEASE) == (RELEASE in asked and FULL not in asked and not urgent)
    assert (decides.reading is None) == (asked == {None})


KEYS = ("a", "b", "c", "d")
SETS = st.frozensets(st.sampled_from(KEYS))


def made_of(grounds: list[tuple[Priority, frozenset[str]]], reading: Reading | None) -> Verdict:
    named = [Ground(p, f"{p} of {sorted(keys)}", tuple(sorted(keys))) for p, keys in grounds if keys or p.rank >= 3]
    return verdict_of(*named, reading=reading) if named else Verdict(Priority.STAT, "no grounds kept", reading)


MADE = st.builds(
    made_of, st.lists(st.tuples(st.sampled_from(Priority), SETS), max_size=4), st.sampled_from([None, FULL, RELEASE])
)


@given(MADE)
def test_what_nobody_rejected_stands_as_it_is(verdict: Verdict) -> None:
    assert standing(verdict, (), KEYS) is verdict


@given(MADE, SETS)
def test_rejecting_again_changes_nothing(verdict: Verdict, rejected: frozenset[str]) -> None:
    once = standing(verdict, rejected, KEYS)
    assert standing(once, rejected, KEYS) == once
    assert once == verdict or once.reading is (FULL if verdict.reading else None)


@given(MADE, SETS, SETS)
def test_rejecting_more_never_makes_a_study_more_urgent_than_routine_or_than_it_was(
    verdict: Verdict, some: frozenset[str], more: frozenset[str]
) -> None:
    less, after = (standing(verdict, rejected, KEYS) for rejected in (some, some | more))
    assert after.priority.rank >= min(less.priority.rank, Priority.ROUTINE.rank)
    assert standing(less, some | more, KEYS).priority is after.priority


@given(MADE)
def test_rejecting_every_finding_leaves_nothing_urgent(verdict: Verdict) -> None:
    after = standing(verdict, KEYS, KEYS)
    assert after.priority.rank >= Priority.ROUTINE.rank
    assert after.reason


def test_a_ground_falls_with_the_last_of_its_findings() -> None:
    detached = Ground(Priority.STAT, "retinal detachment", ("detachment",))
    wet = Ground(Priority.HIGH, "fluid", ("irf", "srf"))
    thick = Ground(Priority.HIGH, "thickness", ("macula",))
    whole = verdict_of(detached, wet, thick, Ground(Priority.ROUTINE, "no drusen"), reading=FULL)
    keys = ("detachment", "irf", "srf", "macula")
    assert (whole.priority, whole.reason) == (Priority.STAT, "retinal detachment")
    after = standing(whole, {"detachment", "irf"}, keys)
    assert (after.priority, after.reason, after.reading) == (Priority.HIGH, "fluid; thickness", FULL)
    assert standing(whole, {"detachment", "irf", "srf"}, keys).reason == "thickness"
    assert standing(whole, keys, keys) == Verdict(
        Priority.ROUTINE, "no drusen", FULL, (Ground(Priority.ROUTINE, "no drusen"),)
    )


def test_without_grounds_a_verdict_rests_on_all_findings() -> None:
    old = Verdict(Priority.HIGH, "index 40 %")
    assert standing(old, {"tumour"}, ("tissue", "tumour")) == old
    after = standing(old, {"tissue", "tumour"}, ("tissue", "tumour"))
    assert (after.priority, after.reason) == (Priority.ROUTINE, "rejected by a reader: index 40 %")
    assert standing(old, {"tissue", "tumour"}, ()) == old


def test_a_slide_that_reads_well_after_all_is_routine_again() -> None:
    unfit = verdict_of(Ground(Priority.LOW, "rescan before reading: out of focus", ("quality",)))
    assert standing(unfit, {"quality"}, ("quality",)).priority is Priority.ROUTINE


def test_an_urgent_ground_names_what_it_rests_on() -> None:
    with pytest.raises(ValueError, match="HIGH names no finding"):
        Ground(Priority.HIGH, "because")


def test_a_verdict_rests_on_findings_of_its_own_result() -> None:
    found = Finding(key="there", label="there", finding=codes.TISSUE)
    Result((found,), verdict_of(Ground(Priority.HIGH, "why", ("there",))))
    with pytest.raises(ValueError, match="the result has not: elsewhere"):
        Result((found,), verdict_of(Ground(Priority.HIGH, "why", ("there", "elsewhere"))))
