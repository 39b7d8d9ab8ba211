"""What a reader may put in the place of a machine's answer."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.amendment import amended, answer, choices, fault, implausible, merged
from airouter.domain.answers import ANSWERS, answers
from airouter.domain.code import Code
from airouter.domain.review import Amendment, ReviewState, Verb, after

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(min_value=-1e6, max_value=1e6)


def code(c: Code) -> dict[str, str]:
    return {"value": c.value, "scheme": c.scheme, "meaning": c.meaning}


def finding(graphic: str | None = "POLYGON") -> dict[str, Any]:
    return {
        "key": "eye",
        "label": "Right eye",
        "measurements": [
            {"name": code(codes.CERTAINTY_OF_FINDING), "value": 81.0, "unit": "%"},
            {"name": code(codes.LESION_COUNT), "value": 3.0, "unit": "{counts}"},
            {"name": code(codes.AREA), "value": 1.5, "unit": "mm2"},
            {"name": code(codes.CST_CHANGE), "value": -12.0, "unit": "um"},
        ],
        "evaluations": [
            {"name": code(codes.DR_SEVERITY_RIGHT), "value": code(codes.DR_MILD)},
            {"name": code(codes.UNGRADABLE_REASON), "value": code(codes.OUT_OF_FOCUS)},
            {"name": code(codes.UNGRADABLE_REASON), "value": code(codes.LOW_CONTRAST)},
        ],
        "region": {"graphic": graphic, "source": "1.2", "frame": None} if graphic else None,
    }


@given(NUMBERS)
def test_a_percentage_is_between_0_and_100(value: float) -> None:
    possible = math.isfinite(value) and 0 <= value <= 100
    assert (implausible(codes.KI67_INDEX.value, "%", value) is None) == possible


@given(NUMBERS)
def test_a_count_is_whole_and_not_negative(value: float) -> None:
    possible = math.isfinite(value) and value >= 0 and value == int(value)
    assert (implausible(codes.NUCLEI_COUNT.value, "{counts}", value) is None) == possible


@given(st.sampled_from(["um", "mm", "um2", "mm2", "mm3", "uL", "nL", "/mm2", "{ratio}", "s", "a"]), NUMBERS)
def test_lengths_areas_and_volumes_are_not_negative(unit: str, value: float) -> None:
    possible = math.isfinite(value) and value >= 0
    assert (implausible("concept", unit, value) is None) == possible


@given(NUMBERS)
def test_a_difference_may_be_negative(value: float) -> None:
    for concept in (codes.CST_CHANGE, codes.FLUID_CHANGE, codes.HEMIFIELD_ASYMMETRY, codes.NORMAL_DEVIATION):
        assert (implausible(concept.value, "um", value) is None) == math.isfinite(value)
    for unit in ("dB", "um/a", "dB/a", "%/a"):
        assert (implausible("concept", unit, value) is None) == math.isfinite(value)


@given(NUMBERS)
def test_a_rating_has_the_scale_of_its_concept(value: float) -> None:
    assert (implausible(codes.QUALITY_RATING.value, "1", value) is None) == (0 <= value <= 100)
    assert (implausible(codes.RATE_P.value, "1", value) is None) == (0 <= value <= 1)


@given(st.lists(st.tuples(FINITE, FINITE), max_size=8), st.sampled_from(["POINT", "POLYLINE", "POLYGON"]))
def test_points_lie_in_the_image_and_make_the_graphic(points: list[tuple[float, float]], graphic: str) -> None:
    array = np.array(points, dtype=np.float64).reshape(-1, 2)
    found = fault(finding(graphic), Amendment(points=array), (640, 480))
    least = {"POINT": 1, "POLYLINE": 2, "POLYGON": 3}[graphic]
    inside = all(0 <= c <= 640 and 0 <= r <= 480 for c, r in points)
    enough = len(points) == 1 if graphic == "POINT" else len(points) >= least
    if not (inside and enough):
        assert found is not None
    elif graphic != "POLYGON":
        assert found is None


def test_a_polygon_has_an_area() -> None:
    good = np.array([[0.0, 0.0], [640.0, 0.0], [640.0, 480.0]])
    assert fault(finding(), Amendment(points=good), (640, 480)) is None
    flat = np.array([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    assert "an area" in str(fault(finding(), Amendment(points=flat), (640, 480)))


@given(st.sampled_from(list(codes.ICDR)))
def test_any_grade_of_the_scale_is_an_answer(grade: Code) -> None:
    concept = codes.DR_SEVERITY_RIGHT.value
    assert fault(finding(), Amendment(evaluations={concept: grade.value}), None) is None
    assert answer(finding(), concept, grade.value) == grade


@given(st.text(max_size=16))
def test_nothing_else_is(value: str) -> None:
    known = {grade.value for grade in codes.ICDR}
    found = fault(finding(), Amendment(evaluations={codes.DR_SEVERITY_RIGHT.value: value}), None)
    assert (found is None) == (value in known)


def test_what_stands_twice_cannot_be_named() -> None:
    found = choices(finding())
    assert [m["name"]["value"] for m in found["measurements"]] == ["111012", "LESION-COUNT", "42798000", "CST-CHANGE"]
    assert list(found["evaluations"]) == [codes.DR_SEVERITY_RIGHT.value]
    assert [c["value"] for c in found["evaluations"]["71491-5"]] == [g.value for g in codes.ICDR]
    assert "not one evaluation" in str(fault(finding(), Amendment(evaluations={"UNGRADABLE-WHY": "CONTRAST"}), None))


def test_the_choices_are_what_is_allowed() -> None:
    offered = choices(finding())
    for concept, given_ in offered["evaluations"].items():
        for each in given_:
            assert fault(finding(), Amendment(evaluations={concept: each["value"]}), None) is None
    for each in offered["measurements"]:
        assert fault(finding(), Amendment({each["name"]["value"]: each["value"]}), None) is None


def test_an_answer_that_no_table_knows_stays_the_only_one() -> None:
    concept, given_ = Code("X", "99X", "Question"), Code("Y", "99X", "Answer")
    assert answers(concept, given_) == (given_,)
    assert answers(concept, codes.PRESENT) == (codes.PRESENT, codes.ABSENT, codes.UNDETERMINED)
    assert answers(codes.HER2_SCORE, given_)[0] == given_, "what the machine said is never missing"


def test_later_amendments_add_to_earlier_ones() -> None:
    first = merged(None, Amendment({"111012": 50.0}, points=np.array([[1.0, 2.0]])))
    second = merged(first, Amendment({"LESION-COUNT": 4.0}, {"71491-5": "LA18645-4"}))
    assert second == {
        "measurements": {"111012": 50.0, "LESION-COUNT": 4.0},
        "evaluations": {"71491-5": "LA18645-4"},
        "points": [[1.0, 2.0]],
    }
    told = amended(finding(), second)
    assert told["measurements"]["111012"] == 50.0 and told["measurements"]["42798000"] == 1.5
    assert told["evaluations"]["71491-5"] == "LA18645-4" and told["region amended"]


def test_every_question_of_the_pipelines_has_its_answers() -> None:
    """What pipelines ask about by name stands in the table, or is a list of reasons that nobody amends."""
    source = "".join(p.read_text() for p in Path("plugin/airouter/pipelines").glob("*.py"))
    asked = {codes.ALL[name] for name in re.findall(r"Evaluation\(codes\.([A-Z0-9_]+),", source)}
    assert len(asked) > 15
    assert asked - set(ANSWERS) == {codes.QUALITY_FINDING, codes.UNGRADABLE_REASON}


@pytest.mark.parametrize("concept", ANSWERS, ids=str)
def test_every_set_has_different_answers(concept: Code) -> None:
    found = [c.value for c in ANSWERS[concept]]
    assert len(found) == len(set(found)) > 1


@given(st.lists(st.sampled_from(list(Verb)), max_size=12))
def test_no_sequence_of_verbs_skips_the_withdrawal(verbs: list[Verb]) -> None:
    state = ReviewState.PENDING
    for verb in verbs:
        then = after(state, verb)
        if then is None:
            continue
        if state is ReviewState.REJECTED:
            assert (verb, then) == (Verb.WITHDRAW, ReviewState.PENDING)
        if then is ReviewState.REJECTED:
            assert state is ReviewState.PENDING
        if state is ReviewState.AMENDED:
            assert verb in (Verb.AMEND, Verb.WITHDRAW), "an amended value is never silently the machine's again"
        state = then
