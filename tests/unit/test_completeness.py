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


def test_a_pyramid_of_focal_planes_and_optical_paths_ends_at_one_tile_of_each() -> None:
    stack = {"TotalPixelMatrixFocalPlanes": 3, "NumberOfOpticalPaths": 2}
    levels = [level("1", 512, 4 * 6, **stack), level("2", 256, 6, "RESAMPLED", **stack)]
    assert isinstance(judge(slide(*levels), quiet=False, settled=True), Complete)
    assert isinstance(judge(slide(levels[0]), quiet=False, settled=True), Incomplete)
    (seven,) = [level("2", 256, 12, "RESAMPLED", **stack)]
    assert isinstance(judge(slide(levels[0], seven), quiet=False, settled=True), Incomplete)


def test_the_short_last_part_of_a_concatenation_is_not_the_end_of_the_pyramid() -> None:
    base = level("1", 2048, 64)
    parts = [
        level(f"2.{n}", 1024, frames, "RESAMPLED", ConcatenationUID="1.9", InConcatenationNumber=n)
        for n, frames in ((1, 15), (2, 1))
    ]
    assert isinstance(judge(slide(base, *parts), quiet=False, settled=True), Incomplete)
    last = level("3", 512, 1, "RESAMPLED")
    assert isinstance(judge(slide(base, *parts, last), quiet=False, settled=True), Complete)


def test_two_pyramids_in_one_series_wait_for_quiet() -> None:
    other = (level("4", 900, 16), level("5", 450, 4, "RESAMPLED"), level("6", 225, 1, "RESAMPLED"))
    assert isinstance(judge(slide(*EVEN, *other), quiet=False, settled=True), Incomplete)
    assert isinstance(judge(slide(*EVEN, *other), quiet=True), Complete)


def test_the_focal_planes_of_one_series_are_handed_on_together() -> None:
    planes = [
        level(f"{i.uid}.{n}", i.first("TotalPixelMatrixColumns"), i.first("NumberOfFrames"))
        for i in EVEN
        for n in "123"
    ]
    judged = judge(slide(*planes), quiet=False, settled=True)
    assert isinstance(judged, Complete)
    assert len(judged.images.instances) == 9
