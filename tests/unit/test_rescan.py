"""The rules of the technician's list: what a judgement opens, and which later scan of the same glass settles it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.rescan import Fitness, RescanEntry, RescanState, dismissed, judge

BAD = Fitness(False, "out of focus 37 %", 55.0, "S26-1-A", "2026-01-05T10:00:00")
GOOD = Fitness(True, "fit for reading", 98.0, "S26-1-A", "2026-01-06T10:00:00")


def entry(series: str, fitness: Fitness, when: str = "t1") -> RescanEntry:
    return RescanEntry(series, "1.2", "id", fitness, RescanState.FIT if fitness.fit else RescanState.OPEN, when)


def after(*judged: RescanEntry) -> dict[str, RescanEntry]:
    """What stands once slides were judged one after the other."""
    standing: dict[str, RescanEntry] = {}
    for each in judged:
        standing.update({changed.series_uid: changed for changed in judge(tuple(standing.values()), each)})
    return standing


def states(*judged: RescanEntry) -> dict[str, str]:
    return {series: each.state.value for series, each in after(*judged).items()}


def test_an_unfit_slide_is_on_the_list_until_a_later_scan_of_its_glass_is_fit() -> None:
    assert states(entry("a", BAD)) == {"a": "open"}
    found = after(entry("a", BAD), entry("b", GOOD, "t2"))
    assert (found["a"].state, found["a"].closed, found["a"].by) == (RescanState.RESCANNED, "t2", None)
    assert found["a"].note == "fit in series b"
    assert found["b"].state is RescanState.FIT


def test_only_a_later_scan_of_the_same_glass_settles_it() -> None:
    for other in (
        replace(GOOD, container="S26-1-B"),
        replace(GOOD, container=None),
        replace(GOOD, scanned="2026-01-04T10:00:00"),
        replace(BAD, scanned="2026-01-06T10:00:00"),
    ):
        assert states(entry("a", BAD), entry("b", other))["a"] == "open", other
    nameless = replace(BAD, container=None)
    assert states(entry("a", nameless), entry("b", replace(GOOD, container=None)))["a"] == "open"


def test_without_comparable_times_the_later_judgement_is_of_the_later_scan() -> None:
    for times in ((None, None), ("2026-01-05T10:00:00", None), ("2026-01-05T10:00:00", "2026-01-05T10:00:00"),
                  ("2026-01-05T10:00:00+01:00", "2026-01-04T10:00:00")):  # fmt: skip
        bad, good = entry("a", replace(BAD, scanned=times[0])), entry("b", replace(GOOD, scanned=times[1]))
        assert states(bad, good)["a"] == "rescanned"
        assert states(good, bad)["a"] == "open"


def test_the_same_judgement_again_changes_nothing() -> None:
    bad, good = entry("a", BAD), entry("b", GOOD)
    standing = tuple(after(bad, good).values())
    for again in (bad, good, replace(bad, opened="t9"), replace(good, opened="t9")):
        assert judge(standing, again) == ()


def test_a_persons_word_stands() -> None:
    first = entry("a", BAD)
    word = dismissed(first, "only this section is left", "anna", "t2")
    assert word is not None
    assert (word.state, word.by, word.note, word.closed) == (
        RescanState.DISMISSED, "anna", "only this section is left", "t2"
    )  # fmt: skip
    assert dismissed(word, "again", "bert", "t3") is None
    (changed,) = judge((word,), entry("a", replace(BAD, usable_percent=40.0), "t3"))
    assert (changed.state, changed.by, changed.opened) == (RescanState.DISMISSED, "anna", "t1")
    assert changed.fitness.usable_percent == 40.0
    assert judge((word,), entry("b", GOOD, "t4"))[0].series_uid == "b"  # the rescan does not close it a second time


def test_a_slide_judged_anew_keeps_its_place() -> None:
    (changed,) = judge((entry("a", BAD),), entry("a", replace(BAD, usable_percent=30.0), "t5"))
    assert (changed.opened, changed.rank) == ("t1", 30.0)
    (fit,) = judge((entry("a", BAD),), entry("a", GOOD, "t5"))
    assert fit.state is RescanState.FIT


def test_what_shows_no_tissue_is_worst() -> None:
    assert entry("a", replace(BAD, usable_percent=None)).rank < entry("b", replace(BAD, usable_percent=0.0)).rank


_SCANS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["A", "B", None]), st.integers(1, 28)),
    min_size=1, max_size=6, unique_by=lambda scan: scan[2],
)  # fmt: skip


@given(_SCANS, st.randoms())
def test_the_list_does_not_depend_on_the_order_of_the_analyses(scans, shuffle) -> None:  # type: ignore[no-untyped-def]
    judged = [
        entry(f"s{day}", Fitness(fit, "why", 90.0 if fit else 40.0, container, f"2026-01-{day:02}T10:00:00"))
        for fit, container, day in scans
    ]
    other = list(judged)
    shuffle.shuffle(other)
    assert states(*judged) == states(*other)
    assert states(*judged, *other) == states(*judged)  # and judging all again changes nothing
