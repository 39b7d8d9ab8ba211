"""The grade of painted tumours: each component is the truth's, and without all three there is no grade at all."""

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.priority import Priority
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES
from tests.pipelines import painted
from tests.pipelines.oracle import Progress, job, names, reasons, rests_on, value
from tests.pipelines.painted import NORMAL, STROMA, TUBULE, TUMOUR, Truth

PIPELINE = PIPELINES["nottingham"]
UM = 1.0
WINDOW = 0.05  # mm2: up to 0 mitoses have 1 point, from 1 on they have 3
QUANTITY = "Nottingham grade"


def predictor(**changes):
    return painted.both(painted.cell_model(UM, **changes), painted.tissue_model(UM))


def run(truth, knows=None, **parameters):
    given = {"hotspot_mm2": WINDOW, "min_tumour_nuclei": 50, "min_normal_nuclei": 20, **parameters}
    result = PIPELINE.run(job(**given), painted.slide(truth, UM), knows or predictor(), Progress())
    assert isinstance(result, Result), result
    return result


def tumour(tubules=0, side=10, mitoses=0, sides=None):
    """400 rows of tumour, `tubules` of them tubular, with 100 nuclei, mitoses, and normal nuclei of 8 x 8 beside it."""
    tissue = np.zeros((480, 700), np.uint8)
    tissue[30:450, 30:670] = STROMA
    tissue[40:440, 40:340] = TUMOUR
    tissue[40 : 40 + tubules, 40:340] = TUBULE
    tissue[40:440, 500:650] = NORMAL
    truth = Truth.of(tissue)
    sizes = iter((sides or (side,)) * 100)
    for row in range(50, 430, 38):
        for column in range(50, 330, 28):
            truth.square("tumour", row, column, next(sizes))
    truth.squares("normal", range(60, 420, 60), range(510, 640, 25), 8)
    truth.squares("lymphocyte", range(60, 420, 30), range(380, 480, 25), 6)
    for n in range(mitoses):
        truth.square("mitosis", 230 + 20 * (n // 8), 80 + 28 * (n % 8), 4)
    return truth


def test_all_components_are_those_of_the_truth():
    result = run(tumour(tubules=100, side=10, mitoses=4))
    assert value(result, "tubules", codes.AREA) == pytest.approx(0.4 * 0.3)
    assert value(result, "tubules", codes.TUBULE_SHARE) == pytest.approx(25)
    assert value(result, "tubules", codes.TUBULE_SCORE) == 2
    nuclei = value(result, "pleomorphism", codes.NUCLEI_COUNT)
    assert nuclei == 104  # a cell in mitosis is a tumour cell too
    mean = (100 * 100 + 4 * 16) / 104
    assert value(result, "pleomorphism", codes.NUCLEAR_AREA) == pytest.approx(mean)
    assert value(result, "pleomorphism", codes.REFERENCE_AREA) == pytest.approx(64)
    assert value(result, "pleomorphism", codes.NUCLEAR_RATIO) == pytest.approx(mean / 64)
    deviation = np.std([100] * 100 + [16] * 4)
    assert value(result, "pleomorphism", codes.NUCLEAR_VARIATION) == pytest.approx(deviation / mean)
    assert value(result, "pleomorphism", codes.PLEOMORPHISM_SCORE) == 2
    assert value(result, "hotspot", codes.MITOTIC_COUNT) == 4
    assert value(result, "hotspot", codes.MITOSIS_SCORE) == 3
    assert value(result, "grade", codes.NOTTINGHAM_SUM) == 7
    (grade,) = [f for f in result.findings if f.key == "grade"]
    assert [(e.name, e.value) for e in grade.evaluations] == [(codes.NOTTINGHAM_GRADE, codes.NOTTINGHAM_2)]
    assert all(f.comment.startswith("Suggestion") and f.method and f.region for f in result.findings)
    assert "2+2+3 = 7" in grade.comment
    assert (result.verdict.priority, result.verdict.reason) == (
        Priority.ROUTINE,
        "Nottingham grade 2 suggested: 2+2+3 = 7",
    )
    assert result.not_analysed == ()
    assert {g.role: len(g) for g in result.annotations} == {"tumour-nuclei": 104, "mitotic-figures": 4}
    assert {s.role for s in result.segmentations} == {"classes"}


@pytest.mark.parametrize(
    ("tubules", "side", "mitoses", "scores", "grade"),
    [
        (320, 8, 0, "1+1+1 = 3", codes.NOTTINGHAM_1),
        (300, 9, 0, "2+1+1 = 4", codes.NOTTINGHAM_1),  # 75 % is not more than 75 %
        (40, 8, 0, "2+1+1 = 4", codes.NOTTINGHAM_1),  # 10 % is not less than 10 %
        (0, 8, 5, "3+1+3 = 7", codes.NOTTINGHAM_2),
        (0, 12, 0, "3+3+1 = 7", codes.NOTTINGHAM_2),
        (0, 12, 5, "3+3+3 = 9", codes.NOTTINGHAM_3),
        (200, 12, 5, "2+3+3 = 8", codes.NOTTINGHAM_3),
    ],
)
def test_grades_by_hand(tubules, side, mitoses, scores, grade):
    result = run(tumour(tubules, side, mitoses))
    (found,) = [f for f in result.findings if f.key == "grade"]
    assert scores in found.comment
    assert found.evaluations[0].value == grade
    high = grade == codes.NOTTINGHAM_3
    assert result.verdict.priority is (Priority.HIGH if high else Priority.ROUTINE)
    assert rests_on(result.verdict) == ["grade"]
    assert scores in result.verdict.reason
    if high:
        assert result.verdict.reason == f"suspected high grade: {scores}"


def test_marked_variation_makes_enlarged_nuclei_pleomorphic():
    even = run(tumour(side=10))
    varied = run(tumour(sides=(5, 14)), marked_variation=0.5)
    assert value(varied, "pleomorphism", codes.NUCLEAR_RATIO) == pytest.approx((25 + 196) / 2 / 64)
    assert value(varied, "pleomorphism", codes.NUCLEAR_VARIATION) == pytest.approx((196 - 25) / (196 + 25))
    scores = [value(r, "pleomorphism", codes.PLEOMORPHISM_SCORE) for r in (even, varied)]
    assert scores == [2, 3]
    assert value(run(tumour(sides=(5, 14)), marked_variation=0.9), "pleomorphism", codes.PLEOMORPHISM_SCORE) == 2


def no_grade(result):
    """That nothing of a grade is there: no group, no sum, no coded grade, and no number of it in the verdict."""
    assert "grade" not in {f.key for f in result.findings}
    assert not any(m.name == codes.NOTTINGHAM_SUM for f in result.findings for m in f.measurements)
    assert not any(f.evaluations for f in result.findings)
    assert result.verdict.priority is Priority.ROUTINE
    assert "no Nottingham grade" in result.verdict.reason
    assert "+" not in result.verdict.reason
    return reasons(result)[QUANTITY]


def test_without_enough_tumour_nuclei_there_is_no_grade():
    result = run(tumour(side=12, mitoses=5), min_tumour_nuclei=500)
    assert no_grade(result) == (
        "not analysed because nuclear pleomorphism is missing, 105 tumour nuclei were found and at least 500 are needed"
    )
    assert {f.key for f in result.findings} == {"tubules", "hotspot"}


def test_without_normal_nuclei_a_stated_area_is_needed():
    truth = tumour(side=10)
    why = no_grade(run(truth, min_normal_nuclei=1000))
    assert why == (
        "not analysed because nuclear pleomorphism is missing, 36 normal nuclei were found, at least 1000 are needed, "
        "and no area of a normal nucleus is set"
    )
    stated = run(truth, min_normal_nuclei=1000, normal_um2=40)
    assert value(stated, "pleomorphism", codes.NUCLEAR_RATIO) == pytest.approx(2.5)
    assert "stated area" in next(f.comment for f in stated.findings if f.key == "pleomorphism")
    assert codes.NOTTINGHAM_SUM in names(stated, "grade")
    both = run(truth, normal_um2=40)  # what the slide shows goes before what is stated
    assert value(both, "pleomorphism", codes.REFERENCE_AREA) == pytest.approx(64)


def test_a_cell_model_need_not_know_normal_nuclei():
    knows = painted.both(painted.cell_model(UM, ("tumour", "mitosis")), painted.tissue_model(UM))
    assert "0 normal nuclei were found" in no_grade(run(tumour(), knows))
    assert value(run(tumour(), knows, normal_um2=50), "pleomorphism", codes.NUCLEAR_RATIO) == pytest.approx(2)


def test_a_tumour_smaller_than_the_hotspot_has_no_grade():
    result = run(tumour(mitoses=5), hotspot_mm2=2.0)
    assert no_grade(result) == (
        "not analysed because mitotic count is missing, the tumour measures 0.12 mm2 and the hotspot 2 mm2"
    )
    assert {f.key for f in result.findings} == {"tubules", "pleomorphism"}


def test_without_tumour_every_component_is_named():
    truth = tumour()
    bare = Truth(np.where(truth.tissue == TUMOUR, STROMA, truth.tissue), truth.cells)
    why = no_grade(run(bare))
    assert "tubule formation is missing, no tumour was found" in why
    assert "nuclear pleomorphism is missing" in why
    assert "mitotic count is missing" in why
    assert run(bare).findings == ()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_slide_has_the_same_grade(quarters):
    truth = tumour(tubules=100, side=10, mitoses=4)
    before, after = run(truth), run(truth.turned(quarters))
    assert value(after, "grade", codes.NOTTINGHAM_SUM) == value(before, "grade", codes.NOTTINGHAM_SUM)
    for key, name in (("tubules", codes.TUBULE_SHARE), ("pleomorphism", codes.NUCLEAR_RATIO)):
        assert value(after, key, name) == pytest.approx(value(before, key, name))


def test_seams_do_not_matter():
    truth = tumour(tubules=100, side=10, mitoses=4)
    whole, pieces = run(truth), run(truth, predictor(size=(96, 96), overlap=20))
    for mine, other in zip(whole.findings, pieces.findings, strict=True):
        for a, b in zip(mine.measurements, other.measurements, strict=True):
            assert (a.name, a.value) == (b.name, pytest.approx(b.value))


def test_what_it_needs_it_says():
    slide = painted.slide(tumour(), UM)
    with pytest.raises(ConfigurationError, match="needs a companion tissue"):
        PIPELINE.run(job(), slide, painted.cell_model(UM), Progress())
    brown = painted.slide(tumour(), UM, stain="H-DAB")
    refused = Ungradable("not analysed because the stain is H-DAB, and the grade is defined in H&E")
    assert PIPELINE.run(job(), brown, predictor(stains=("H&E",)), Progress()) == refused


def test_golden():
    """What a tumour gave when its numbers were last checked by hand."""
    result = run(tumour(tubules=60, side=11, mitoses=2))
    assert {f.key: {m.name: round(m.value, 3) for m in f.measurements} for f in result.findings} == {
        "tubules": {
            codes.AREA: 0.12,
            codes.TUBULE_SHARE: 15,
            codes.TUBULE_SCORE: 2,
        },
        "pleomorphism": {
            codes.NUCLEI_COUNT: 102,
            codes.NUCLEAR_AREA: 118.941,
            codes.REFERENCE_AREA: 64,
            codes.NUCLEAR_RATIO: 1.858,
            codes.NUCLEAR_VARIATION: 0.122,
            codes.PLEOMORPHISM_SCORE: 2,
        },
        "hotspot": {
            codes.AREA: 0.05,
            codes.TISSUE_AREA: 0.05,
            codes.MITOTIC_COUNT: 2,
            codes.MITOTIC_DENSITY: 40,
            codes.MITOSIS_SCORE: 3,
        },
        "grade": {
            codes.NOTTINGHAM_SUM: 7,
        },
    }
