"""The table of codes against pydicom's dictionary and against itself."""

from collections import Counter
from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.priority import Priority
from airouter.domain.study import Laterality

KNOWN = {(value, scheme) for scheme, words in concepts.items() for values in words.values() for value in values}

# Verified elsewhere (see the comments of the table): what pydicom's dictionary cannot confirm. Anything new that it
# does not know must be added here by hand, which is the moment to say where it was looked up.
NOT_IN_PYDICOM = {
    "AVERAGE_THICKNESS", "USABLE_TISSUE", "UNUSABLE_TISSUE", "IN_FOCUS", "OUT_OF_FOCUS", "FOLDED_TISSUE",
    "ADEQUATELY_STAINED", "INADEQUATELY_STAINED", "SLIDE_MARKING", "TISSUE_MARKING",
    "COVER_SLIP_DEFECT", "COVERSLIP_EDGE", "STITCHING", "STRIPES", "FOREIGN_MATERIAL", "SCRATCH",
    "QUALITY", "AIR_BUBBLE",
    "ER_INDEX", "PR_INDEX", "ER_STATUS", "PR_STATUS", "HER2_SCORE", "HER2_INTENSE", "PD_L1_TPS", "PD_L1_CPS",
    "LYMPHOCYTE", "NOTTINGHAM_GRADE", "TUBULE_SCORE", "PLEOMORPHISM_SCORE", "MITOSIS_SCORE",
    "KI67_INDEX", "CENTRE_POINT_THICKNESS", "CST", "TOTAL_VOLUME",
    "ETDRS_INNER_SUPERIOR", "ETDRS_INNER_NASAL", "ETDRS_INNER_INFERIOR", "ETDRS_INNER_TEMPORAL",
    "ETDRS_OUTER_SUPERIOR", "ETDRS_OUTER_NASAL", "ETDRS_OUTER_INFERIOR", "ETDRS_OUTER_TEMPORAL",
    "RETINAL_DETACHMENT", "VITREOUS_HAEMORRHAGE", "DRUSEN",
    "DIABETIC_RETINOPATHY", "DIABETIC_MACULAR_OEDEMA", "RETINAL_HAEMORRHAGE", "DR_SEVERITY_RIGHT", "DR_SEVERITY_LEFT",
    "DR_NONE", "DR_MILD", "DR_MODERATE", "DR_SEVERE", "DR_PROLIFERATIVE",
    "MEAN_DEVIATION", "PATTERN_STANDARD_DEVIATION", "FALSE_POSITIVE_RATIO", "FALSE_POSITIVE_PERCENT",
    "FALSE_NEGATIVE_RATIO", "FALSE_NEGATIVE_PERCENT", "FIXATION_LOSS_RATIO",
    "DB_PER_YEAR", "UM_PER_YEAR", "PERCENT_PER_YEAR",
    "RNFL_AVERAGE", "RNFL_INFERIOR", "RNFL_SUPERIOR", "RNFL_TEMPORAL", "RNFL_NASAL", "RNFL_NASAL_SUPERIOR",
    "RNFL_NASAL_INFERIOR", "RNFL_TEMPORAL_INFERIOR", "RNFL_TEMPORAL_SUPERIOR", "RETINAL_ROI_WIDTH", "RNFL_CLOCK_1",
    "RNFL_CLOCK_2", "RNFL_CLOCK_3", "RNFL_CLOCK_4", "RNFL_CLOCK_5", "RNFL_CLOCK_6", "RNFL_CLOCK_7", "RNFL_CLOCK_8",
    "RNFL_CLOCK_9", "RNFL_CLOCK_10", "RNFL_CLOCK_11", "RNFL_CLOCK_12", "GC_AVERAGE", "GC_MINIMUM", "GC_SUPERIOR",
    "GC_NASAL_SUPERIOR", "GC_NASAL_INFERIOR", "GC_INFERIOR", "GC_TEMPORAL_INFERIOR", "GC_TEMPORAL_SUPERIOR",
    "GC_IPL_LAYERS", "GANGLION_CELL_COMPLEX", "ATROPHY_AREA",
    "RETINAL_ROI_HEIGHT", "QUADRANT_SECTORS", "GARWAY_HEATH_SECTORS",
    "REJECTION_WITHDRAWN",
    "QUALITATIVE_EVALUATIONS", "UL", "NL", "PER_MM2", "ZERO_TO_ONE",
}  # fmt: skip


def test_public_codes_are_pydicoms_or_listed() -> None:
    unknown = {
        name
        for name, code in codes.ALL.items()
        if code.scheme != codes.PRIVATE_SCHEME and (code.value, code.scheme) not in KNOWN
    }
    assert unknown == NOT_IN_PYDICOM


@pytest.mark.parametrize(
    ("constant", "keyword"),
    [
        ("NUCLEUS", "Nucleus"),
        ("NEOPLASM", "Neoplasm"),
        ("EYE", "Eye"),
        ("RETINA", "Retina"),
        ("AREA", "Area"),
        ("VOLUME", "Volume"),
        ("RIGHT", "Right"),
        ("LEFT", "Left"),
        ("TISSUE", "Tissue"),
        ("QUALITY_RATING", "ImageQualityRating"),
        ("QUALITY_ASSESSMENT", "QualityAssessment"),
        ("QUALITY_FINDING", "QualityFinding"),
        ("PROCESSING_EQUIPMENT", "ProcessingEquipment"),
        ("ARTIFICIAL_INTELLIGENCE", "ArtificialIntelligence"),
    ],
)
def test_code_is_the_one_of_pydicoms_keyword(constant: str, keyword: str) -> None:
    code = codes.ALL[constant]
    assert code.value in concepts[code.scheme][keyword]


def test_no_two_constants_are_the_same_concept() -> None:
    twice = [key for key, n in Counter((c.value, c.scheme) for c in codes.ALL.values()).items() if n > 1]
    assert not twice


def test_values_fit_short_strings_and_meanings_long_strings() -> None:
    assert all(len(c.value) <= 16 and len(c.scheme) <= 16 and len(c.meaning) <= 64 for c in codes.ALL.values())


def test_private_values_say_what_they_are_and_are_in_the_conformance_statement() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/conformance.md").read_text(encoding="utf-8")
    private = [c for c in codes.ALL.values() if c.scheme == codes.PRIVATE_SCHEME]
    assert private
    missing = [c.value for c in private if f"| {c.value} | {c.meaning} |" not in text]
    assert not missing
    assert codes.PRIVATE_SCHEME_UID in text


def test_the_etdrs_grid_has_nine_fields_of_consecutive_loinc_codes() -> None:
    assert [c.value[:5] for c in codes.ETDRS_FIELDS.values()] == [str(n) for n in range(57109, 57118)]
    for field, code in codes.ETDRS_FIELDS.items():
        words = {"centre": "center subfield"}.get(field, f"{field} subfield")
        assert words in code.meaning.lower()


# Answers (LA...) have a check digit by another rule.
@pytest.mark.parametrize(
    "code", [c for c in codes.ALL.values() if c.scheme == "LN" and not c.value.startswith("LA")], ids=str
)
def test_loinc_check_digit(code: Code) -> None:
    """Mod 10 (Luhn) of the number before the hyphen: a mistyped LOINC code does not pass."""
    number, check = code.value.split("-")
    digits = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(number))]
    assert (10 - sum(d // 10 + d % 10 for d in digits) % 10) % 10 == int(check)


def test_every_laterality_and_priority_has_a_code() -> None:
    assert set(codes.LATERALITY) == set(Laterality)
    assert set(codes.PRIORITY) == set(Priority)
