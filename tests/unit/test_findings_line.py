"""What was found, in a line."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.findings_line import MOST, findings_line


def finding(
    key: str,
    label: str,
    *,
    side: str | None = None,
    numbers: tuple[tuple[Any, float, str], ...] = (),
    answer: str | None = None,
) -> dict[str, Any]:
    name = {"value": "Q", "scheme": "99", "meaning": "question"}
    return {
        "key": key,
        "label": label,
        "laterality": side,
        "measurements": [{"name": {"value": code}, "value": value, "unit": unit} for code, value, unit in numbers],
        "evaluations": [{"name": name, "value": {"value": "A", "scheme": "99", "meaning": answer}}] if answer else [],
    }


def test_what_made_the_priority_is_first_then_the_first_of_each_result() -> None:
    quality = [finding("q", "Quality"), finding("q2", "Sharpness")]
    disease = [finding("a", "Macula"), finding("b", "Haemorrhage")]
    assert findings_line([(quality, ()), (disease, {"b"})]) == "Haemorrhage · Quality · Macula · Sharpness"


def test_the_main_answer_or_number_is_said_and_no_certainty() -> None:
    certainty = (codes.CERTAINTY_OF_FINDING.value, 92.0, "%")
    assert findings_line([([finding("a", "Grade", numbers=(certainty,), answer="moderate")], ())]) == "Grade: moderate"
    assert findings_line([([finding("a", "Index", numbers=(certainty, ("K", 12.4567, "%")))], ())]) == "Index: 12.46 %"
    assert findings_line([([finding("a", "Count", numbers=(("K", 3.0, "{counts}"),))], ())]) == "Count: 3"
    assert findings_line([([finding("a", "Thickness", numbers=(("K", 421.0, "um"),))], ())]) == "Thickness: 421 µm"
    assert findings_line([([finding("a", "Only", numbers=(certainty,))], ())]) == "Only"


def test_a_share_is_said_before_the_area_that_was_looked_at() -> None:
    numbers = (("A", 0.1, "mm2"), ("N", 300.0, "{counts}"), ("P", 30.0, "%"))
    assert findings_line([([finding("a", "Nuclei", numbers=numbers)], ())]) == "Nuclei: 30 %"
    assert findings_line([([finding("a", "Tumour", numbers=numbers[:2])], ())]) == "Tumour: 0.1 mm²"


def test_the_side_is_marked_unless_the_label_says_it() -> None:
    both = [finding("a", "Oedema", side="L"), finding("b", "Retinopathy, right eye", side="R")]
    assert findings_line([(both, ())]) == "L Oedema · Retinopathy, right eye"


def test_the_same_is_not_said_twice_and_nothing_is_nothing() -> None:
    assert findings_line([([finding("a", "Same")], ()), ([finding("b", "Same")], ())]) == "Same"
    assert findings_line([]) == findings_line([([], ())]) == ""


@given(st.lists(st.text("abc äµ\n", min_size=1, max_size=300), max_size=40))
def test_it_is_never_longer_and_says_how_much_is_left_out(labels: list[str]) -> None:
    line = findings_line([([finding(str(n), label) for n, label in enumerate(labels)], ())])
    assert len(line) <= MOST
    assert "\n" not in line
    whole = [" ".join(label.split()) for label in labels]
    told = list(dict.fromkeys(filter(None, whole)))
    if told and len(told[0]) <= MOST:
        assert line.startswith(told[0])
        *parts, last = line.split(" · ")
        if last.startswith("+"):
            assert len(parts) + int(last[1:]) == len(told)
        else:
            assert [*parts, last] == told
