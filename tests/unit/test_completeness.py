"""When a slide is whole, and what is left out of it."""

from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.completeness import Complete, Incomplete, Nothing, judge
from airouter.domain.study import ImageSet, Modality
from tests.headers import instance, level, slide

PYRAMID = (level("1", 2048, 64), level("2", 1024, 16, "RESAMPLED"), level("3", 256, 1, "RESAMPLED"))
EVEN = (level("1", 1024, 16), level("2", 512, 4, "RESAMPLED"), level("3", 256, 1, "RESAMPLED"))


def test_eye_images_are_complete_at_once() -> None:
    assert isinstance(judge(ImageSet(Modality.OP, "s", "1", "2", (instance("9"),)), quiet=False), Complete)


def test_a_whole_pyramid_is_complete_once_it_has_settled() -> None:
    assert isinstance(judge(slide(*EVEN), quiet=False, settled=False), Incomplete)
    assert isinstance(judge(slide(*EVEN), quiet=False, settled=True), Complete)


def test_uneven_steps_wait_for_quiet() -> None:
    assert isinstance(judge(slide(*PYRAMID), quiet=False, settled=True), Incomplete)
    assert isinstance(judge(slide(*PYRAMID), quiet=True), Complete)


@given(st.permutations(EVEN), st.integers(1, 2))
def test_a_part_of_a_pyramid_waits_for_quiet_whatever_came_first(levels: list, count: int) -> None:  # type: ignore[type-arg]
    judged = judge(slide(*levels[:count]), quiet=False, settled=True)
    # Base and smallest level alone look like a pyramid of two even steps; anything less must wait.
    if {i.uid for i in levels[:count]} != {"1", "3"}:
        assert isinstance(judged, Incomplete)
    assert isinstance(judge(slide(*levels[:count]), quiet=True), Complete)


def test_label_and_overview_are_left_out() -> None:
    label = level("8", 400, 1, "NONE", "LABEL")
    overview = level("9", 400, 1, "NONE", "OVERVIEW")
    judged = judge(slide(label, *EVEN, overview), quiet=True)
    assert isinstance(judged, Complete)
    assert [i.uid for i in judged.images.instances] == ["1", "2", "3"]


def test_a_label_alone_is_nothing_but_only_when_quiet() -> None:
    label = level("8", 400, 1, "NONE", "LABEL")
    assert isinstance(judge(slide(label), quiet=False), Incomplete)
    assert isinstance(judge(slide(label), quiet=True), Nothing)


def test_a_missing_concatenation_part_is_named_and_quiet_does_not_heal_it() -> None:
    parts = [
        level(str(n), 2048, 32, ConcatenationUID="1.9", InConcatenationNumber=n, InConcatenationTotalNumber=3)
        for n in (1, 3)
    ]
    judged = judge(slide(*parts), quiet=True)
    assert isinstance(judged, Incomplete)
    assert judged.certain
    assert "part 2 of 3" in judged.reason


def test_a_header_that_claims_billions_of_parts_costs_nothing() -> None:
    lying = level("1", 2048, 32, ConcatenationUID="1.9", InConcatenationNumber=1, InConcatenationTotalNumber=2**32 - 1)
    judged = judge(slide(lying), quiet=True)
    assert isinstance(judged, Incomplete)
    assert len(judged.reason) < 200
    assert "part 2, 3," in judged.reason


def test_numbers_that_are_none_are_no_failure() -> None:
    odd = level("1", 2048, 32, ConcatenationUID="1.9", InConcatenationNumber="first", InConcatenationTotalNumber="two")
    vague = level("2", "wide", "many")  # type: ignore[arg-type]
    for quiet in (False, True):
        assert isinstance(judge(slide(odd), quiet=quiet, settled=True), Complete | Incomplete)
        assert isinstance(judge(slide(vague), quiet=quiet, settled=True), Complete | Incomplete)
