"""Matching of routes against headers (PS3.4 C.2.2.2), with our own rules for ranges, Exists and missing values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.route import Condition, Route, explain, matches
from airouter.domain.study import Attribute, Attributes
from tests.headers import attributes


def matched(condition: Condition, header: Attributes) -> bool:
    return matches(explain(Route("r", "p", "m", (condition,)), header))


def one(vr: str, *values: Any) -> Attributes:
    return {"X": Attribute(vr, values)}


@pytest.mark.parametrize(
    ("vr", "value", "wanted", "expected"),
    [
        ("CS", "SM", "SM", True),
        ("CS", "SM", "sm", False),
        ("LO", "Breast biopsy", "Breast*", True),
        ("LO", "Breast biopsy", "B????? biopsy", True),
        ("LO", "Breast [x]", "Breast [x]", True),
        ("LO", "Breast x", "Breast [x]", False),
        ("UI", "1.2.3", "1.2.3\\1.2.4", True),
        ("UI", "1.2.3", "1.2.*", False),
        ("DA", "20261122", "20260101-20261231", True),
        ("DA", "20251122", "20260101-", False),
        ("DT", "20261122093000", "20261122-20261122", True),
        ("TM", "0930", "-1200", True),
        ("PN", "DOE^Jane", "doe^*", True),
        ("US", 256, "256", True),
        ("DS", 0.5, "0.50", True),
        ("DS", 0.5, "half", False),
    ],
)
def test_a_value_matches_as_its_representation_says(vr: str, value: Any, wanted: str, expected: bool) -> None:
    assert matched(Condition(("X",), any_of=(wanted,)), one(vr, value)) is expected


def test_any_value_of_several_and_any_wish_of_several() -> None:
    assert matched(Condition(("X",), any_of=("A", "VOLUME")), one("CS", "ORIGINAL", "VOLUME"))


def test_a_path_walks_into_every_item() -> None:
    def item(code: str) -> Attributes:
        return attributes({"CodeValue": code}, {"CodeValue": "SH"})

    steps: Attributes = {"Step": Attribute("SQ", (item("a"), item("b")))}
    header: Attributes = {"Specimen": Attribute("SQ", ({}, steps))}
    assert matched(Condition(("Specimen", "Step", "CodeValue"), any_of=("b",)), header)
    assert not matched(Condition(("Specimen", "Step", "CodeValue"), any_of=("c",)), header)
    assert matched(Condition(("Specimen", "Step"), exists=True), header)


def test_ranges_are_numeric_and_closed() -> None:
    assert matched(Condition(("X",), minimum=1, maximum=2), one("DS", 2.0))
    assert not matched(Condition(("X",), minimum=1, maximum=2), one("DS", 2.1))
    assert not matched(Condition(("X",), minimum=1), one("LO", "5"))


@given(
    st.sampled_from([Condition(("X",), any_of=("*",)), Condition(("X",), minimum=-1e9), Condition(("X",), exists=True)])
)
def test_missing_and_empty_never_match(condition: Condition) -> None:
    assert not matched(condition, {})
    assert not matched(condition, one("LO"))
    assert not matched(condition, one("SQ"))


def test_absence_can_be_asked_for() -> None:
    assert matched(Condition(("X",), exists=False), {})
    assert not matched(Condition(("X",), exists=False), one("LO", "here"))


def test_a_route_without_conditions_matches_nothing() -> None:
    assert not matches(explain(Route("r", "p", "m"), one("CS", "SM")))


def test_clauses_tell_what_stands_there() -> None:
    clauses = explain(
        Route("r", "p", "m", (Condition(("X",), any_of=("A",)), Condition(("Y",), minimum=3))), one("CS", "B", "C")
    )
    assert [(c.path, c.expected, c.found, c.matched) for c in clauses] == [
        ("X", "A", "B\\C", False),
        ("Y", ">= 3", "missing", False),
    ]


@given(st.text(min_size=1, max_size=20))
def test_every_text_matches_itself_and_the_star(text: str) -> None:
    value = text.strip()
    if value:
        plain = value.replace("*", "+").replace("?", "+")
        assert matched(Condition(("X",), any_of=(plain,)), one("LO", plain))
        assert matched(Condition(("X",), any_of=("*",)), one("LO", plain))


def test_the_revision_changes_with_everything_that_decides() -> None:
    base = Route("r", "p", "m", (Condition(("X",), any_of=("A",)),), {"t": 1})
    others = [
        Route("r", "p", "m", (Condition(("X",), any_of=("B",)),), {"t": 1}),
        Route("r", "p", "m", base.conditions, {"t": 2}),
        Route("r", "q", "m", base.conditions, {"t": 1}),
    ]
    assert len({r.revision for r in [base, *others]}) == 4
    assert base.revision == Route("r", "p", "m", base.conditions, {"t": 1}).revision
