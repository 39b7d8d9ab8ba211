"""Which coded answers a question has: what a reader may put in the place of the machine's, and nothing else."""

from collections.abc import Mapping
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code

_PRESENCE: Final = (codes.PRESENT, codes.ABSENT, codes.UNDETERMINED)  # CID 240
_YES_NO: Final = (codes.YES, codes.NO)
_TREND: Final = (codes.TREND_WORSE, codes.TREND_BETTER, codes.TREND_NONE)
_QUALITY: Final = (codes.DIAGNOSTIC_QUALITY, codes.LIMITED_QUALITY, codes.NON_DIAGNOSTIC_QUALITY)  # CID 7036

# By the concept of the question.
ANSWERS: Final[Mapping[Code, tuple[Code, ...]]] = {
    codes.ER_STATUS: (codes.POSITIVE, codes.ER_LOW_POSITIVE, codes.NEGATIVE),
    codes.PR_STATUS: (codes.POSITIVE, codes.NEGATIVE),
    codes.HER2_SCORE: (codes.HER2_0, codes.HER2_1, codes.HER2_2, codes.HER2_3),
    codes.NOTTINGHAM_GRADE: (codes.NOTTINGHAM_1, codes.NOTTINGHAM_2, codes.NOTTINGHAM_3),
    codes.STROMA_CATEGORY: (codes.STROMA_HIGH, codes.STROMA_LOW),
    codes.MARGIN_STATUS: (codes.MARGIN_POSITIVE, codes.MARGIN_CLOSE, codes.MARGIN_CLEAR),
    codes.MARGIN_USED: (codes.MARGIN_INK, codes.MARGIN_DRAWN, codes.MARGIN_EDGE),
    codes.DEPOSIT_CATEGORY: (codes.ISOLATED_TUMOUR_CELLS, codes.MICROMETASTASIS, codes.MACROMETASTASIS),
    codes.TRIAGE_MET: _YES_NO,
    codes.QUALITY_ASSESSMENT: _QUALITY,
    codes.GRADABILITY: (codes.GRADABLE, codes.UNGRADABLE),
    codes.DR_SEVERITY_RIGHT: codes.ICDR,
    codes.DR_SEVERITY_LEFT: codes.ICDR,
    codes.DR_BY_LESIONS: codes.ICDR,
    codes.REFERABLE_DR: _YES_NO,
    codes.RECOMMENDED_FOLLOW_UP: (codes.DR_RESCREEN, codes.DR_REFER, codes.DR_REPHOTOGRAPH),
    codes.DIABETIC_MACULAR_OEDEMA: _PRESENCE,
    codes.ADVANCED_GLAUCOMA: _PRESENCE,
    codes.GLAUCOMA_BY_RNFL: _PRESENCE,
    codes.CENTRE_INVOLVED: _YES_NO,
    codes.FIELD_RELIABLE: _YES_NO,
    codes.GHT: (
        codes.WITHIN_NORMAL_LIMITS,
        codes.OUTSIDE_NORMAL_LIMITS,
        codes.BORDERLINE,
        codes.BORDERLINE_AND_REDUCTION,
        codes.GENERAL_REDUCTION,
        codes.ABNORMALLY_HIGH_SENSITIVITY,
    ),
    codes.FIELD_STAGE: (codes.FIELD_MILD, codes.FIELD_MODERATE, codes.FIELD_ADVANCED),
    codes.TREND_DIRECTION: _TREND,
    codes.POINT_PROGRESSION: _PRESENCE,
    codes.EVENT_STATE: (codes.EVENT_NONE, codes.EVENT_SUSPECTED, codes.EVENT_CONFIRMED),
    codes.CHANGE: (
        codes.CHANGE_NEW, codes.CHANGE_GROWN, codes.CHANGE_SHRUNK, codes.CHANGE_GONE, codes.CHANGE_NONE
    ),
    codes.VISIT_AGREEMENT: (
        codes.AGREE_BOTH, codes.AGREE_NEITHER, codes.FIRST_ONLY, codes.SECOND_ONLY, codes.CONTRADICT
    ),
}  # fmt: skip
# Of a question that is not in the table the answer that stands tells the set; none of these: there is no other answer.
_SETS: Final = (_PRESENCE, _YES_NO, _QUALITY, (codes.POSITIVE, codes.NEGATIVE))


def answers(concept: Code, given: Code) -> tuple[Code, ...]:
    """Every answer to the question, the given one among them."""
    known = _by_value(concept)
    if known is None:
        known = next((each for each in _SETS if any(_same(code, given) for code in each)), ())
    return known if any(_same(code, given) for code in known) else (given, *known)


def _by_value(concept: Code) -> tuple[Code, ...] | None:
    return next((found for code, found in ANSWERS.items() if _same(code, concept)), None)


def _same(one: Code, other: Code) -> bool:
    """By value and scheme: a stored meaning may be of an earlier version of the table."""
    return (one.value, one.scheme) == (other.value, other.scheme)
