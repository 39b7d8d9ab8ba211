"""Which slides come first: each criterion on slides whose deposits, ink and grade are known to the pixel."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.priority import Priority
from airouter.pipelines import PIPELINES, WithCompanions, companions_problem, problem
from airouter.pipelines.nodal_deposits import category
from tests.pipelines import painted, sections
from tests.pipelines.oracle import Progress, job, names, opened, reasons, rests_on, value
from tests.pipelines.sections import INK, NORMAL, TUBULE, TUMOUR
from tests.pipelines.test_nottingham import UM, WINDOW, tumour

PIPELINE = PIPELINES["slide-triage"]
DEPOSIT, MARGIN, GRADE = "tumour deposit in a lymph node", "tumour on the inked margin", "Nottingham grade"


def run(images, knows=None, **parameters):
    result = PIPELINE.run(job(**parameters), images, knows or sections.oracle(), Progress())
    assert isinstance(result, Result), result
    return result


def node(classes, spacing_um=sections.SPACING, code=("59441001", "SCT")):
    """A slide whose header says what the specimen is."""
    made = sections.datasets(classes, spacing_um)
    anatomy = Dataset()
    anatomy.CodeValue, anatomy.CodingSchemeDesignator = code
    anatomy.CodeMeaning = "any"
    for ds in made:
        ds.SpecimenDescriptionSequence[0].PrimaryAnatomicStructureSequence = [anatomy]
    return opened(made)


def plain(shape=(300, 320)):
    classes = sections.glass(*shape)
    classes[30:-30, 30:-30] = NORMAL
    return classes


@functools.cache
def with_deposits(high, wide):
    """A deposit of a size, and a smaller one of the same kind beside it."""
    classes = plain()
    classes[60 : 60 + high, 60 : 60 + wide] = TUMOUR
    classes[240:260, 40:80] = TUBULE
    return classes


def finding(result, key):
    (found,) = [f for f in result.findings if f.key == key]
    return found


def answer(result, key, name):
    (found,) = [e.value for e in finding(result, key).evaluations if e.name == name]
    return found


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0.0, codes.ISOLATED_TUMOUR_CELLS),
        (0.2, codes.ISOLATED_TUMOUR_CELLS),
        (0.2001, codes.MICROMETASTASIS),
        (2.0, codes.MICROMETASTASIS),
        (2.0001, codes.MACROMETASTASIS),
    ],
)
def test_categories_of_size(length, expected):
    assert category(length) == expected


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_longer_deposit_is_never_of_a_lower_category(one, other):
    order = [codes.ISOLATED_TUMOUR_CELLS, codes.MICROMETASTASIS, codes.MACROMETASTASIS]
    low, high = sorted((one, other))
    assert order.index(category(low)) <= order.index(category(high))


@pytest.mark.parametrize(
    ("spacing_um", "kind", "priority"),
    [
        (1.0, codes.ISOLATED_TUMOUR_CELLS, Priority.ROUTINE),  # 120 x 160 pixels: 0.2 mm
        (2.0, codes.MICROMETASTASIS, Priority.HIGH),  # 0.4 mm
        (11.0, codes.MACROMETASTASIS, Priority.HIGH),  # 2.2 mm
    ],
)
def test_the_largest_deposit_of_a_node_decides(spacing_um, kind, priority):
    result = run(node(with_deposits(120, 160), spacing_um), sections.oracle(spacing_um=spacing_um))
    assert value(result, "deposit", codes.LONG_AXIS) == pytest.approx(0.2 * spacing_um)
    assert value(result, "deposit", codes.AREA) == pytest.approx(120 * 160 * spacing_um**2 * 1e-6)
    assert value(result, "deposit", codes.DEPOSIT_COUNT) == 2
    assert answer(result, "deposit", codes.DEPOSIT_CATEGORY) == kind
    assert answer(result, "deposit", codes.TRIAGE_MET) == (codes.YES if priority is Priority.HIGH else codes.NO)
    assert result.verdict.priority is priority
    if priority is Priority.HIGH:
        name = kind.meaning.lower()
        assert result.verdict.reason == f"suspected {name}: largest tumour deposit {0.2 * spacing_um:.2f} mm"
    found = finding(result, "deposit")
    assert (found.site, found.method, found.region.graphic) == (codes.LYMPH_NODE, codes.METHOD_DEPOSIT, "POLYGON")
    assert found.region.points.min(axis=0) == pytest.approx([60, 60], abs=1)
    assert found.region.points.max(axis=0) == pytest.approx([220, 180], abs=1)


def test_a_route_may_ask_for_more():
    micro, isolated = node(with_deposits(120, 161)), node(with_deposits(30, 40))
    assert run(micro, metastasis_stat=1).verdict.priority is Priority.STAT
    assert run(isolated).verdict.priority is Priority.ROUTINE
    assert run(isolated, isolated_high=1).verdict.priority is Priority.HIGH


def test_deposits_are_not_added_up():
    classes = plain()
    classes[60:100, 60:180] = TUMOUR
    classes[110:150, 60:180] = TUMOUR  # 10 um below
    apart, joined = run(node(classes)), run(node(classes), gap_um=10)
    assert value(apart, "deposit", codes.LONG_AXIS) == pytest.approx(np.hypot(40, 120) / 1000)
    assert value(joined, "deposit", codes.LONG_AXIS) == pytest.approx(np.hypot(90, 120) / 1000)
    assert (value(apart, "deposit", codes.DEPOSIT_COUNT), value(joined, "deposit", codes.DEPOSIT_COUNT)) == (2, 1)


def test_a_node_without_tumour_says_so():
    classes = plain()
    classes[100:110, 100:110] = TUMOUR  # 100 um2: a speck
    result = run(node(classes))
    assert value(result, "deposit", codes.DEPOSIT_COUNT) == 0
    assert names(result, "deposit") == {codes.DEPOSIT_COUNT}
    assert result.verdict.priority is Priority.ROUTINE


def test_a_deposit_that_the_scan_cuts_off_says_so():
    classes = sections.glass(300, 320)
    classes[:, :290] = NORMAL
    classes[100:150, 0:60] = TUMOUR
    assert "cut off" in finding(run(node(classes)), "deposit").comment
    assert finding(run(node(with_deposits(30, 40))), "deposit").comment is None


def test_what_is_no_lymph_node_has_no_nodal_deposits():
    classes = with_deposits(120, 160)
    for images, why in (
        (sections.slide(classes), "the header does not say that the specimen is a lymph node"),
        (node(classes, code=("76752008", "SCT")), "the header says that it is no lymph node"),
    ):
        result = run(images)
        assert reasons(result)[DEPOSIT] == f"not analysed because {why}"
        assert "deposit" not in {f.key for f in result.findings}
    forced = run(sections.slide(classes), lymph_node=1)
    assert value(forced, "deposit", codes.LONG_AXIS) == pytest.approx(0.2)


def inked(touching):
    classes = plain()
    classes[30:270, 30:40] = INK
    classes[100:160, 40 if touching else 60 : 120] = TUMOUR
    return classes


def test_tumour_on_ink_is_urgent():
    result = run(sections.slide(inked(True)))
    assert value(result, "margin", codes.DISTANCE) == 0
    assert answer(result, "margin", codes.MARGIN_STATUS) == codes.MARGIN_POSITIVE
    assert answer(result, "margin", codes.TRIAGE_MET) == codes.YES
    assert result.verdict.priority is Priority.HIGH
    assert result.verdict.reason == "suspected margin positive: tumour 0.00 mm from the ink"
    assert rests_on(result.verdict) == ["margin"]
    assert run(sections.slide(inked(True)), margin_stat=1).verdict.priority is Priority.STAT


def test_tumour_beside_ink_is_not():
    result = run(sections.slide(inked(False)))
    assert value(result, "margin", codes.DISTANCE) == pytest.approx(0.020)
    assert answer(result, "margin", codes.TRIAGE_MET) == codes.NO
    assert result.verdict.priority is Priority.ROUTINE
    assert result.verdict.reason == f"no criterion of triage is met; looked at: {MARGIN}"
    assert run(sections.slide(inked(False)), positive_um=20).verdict.priority is Priority.HIGH


def test_without_ink_and_on_a_node_there_is_no_margin():
    assert reasons(run(sections.slide(with_deposits(30, 40))))[MARGIN] == (
        "not analysed because no ink was found on the slide"
    )
    assert "ink on a lymph node is no margin" in reasons(run(node(inked(True))))[MARGIN]


def graded(truth, tissue=None, cells=None, **parameters):
    knows = WithCompanions(tissue or painted.tissue_model(UM), {"cells": cells or painted.cell_model(UM)})
    given = {"hotspot_mm2": WINDOW, "min_tumour_nuclei": 50, "min_normal_nuclei": 20, **parameters}
    return run(painted.slide(truth, UM), knows, **given)


def test_a_high_grade_is_urgent():
    result = graded(tumour(tubules=0, side=12, mitoses=5))
    assert answer(result, "grade", codes.NOTTINGHAM_GRADE) == codes.NOTTINGHAM_3
    assert answer(result, "grade", codes.TRIAGE_MET) == codes.YES
    assert value(result, "grade", codes.NOTTINGHAM_SUM) == 9
    assert result.verdict.priority is Priority.HIGH
    assert result.verdict.reason == "suspected high grade: 3+3+3 = 9"
    assert rests_on(result.verdict) == ["grade"]
    assert graded(tumour(side=12, mitoses=5), grade_stat=1).verdict.priority is Priority.STAT


def test_a_lower_grade_is_not():
    result = graded(tumour(tubules=320, side=8))
    assert answer(result, "grade", codes.TRIAGE_MET) == codes.NO
    assert result.verdict.priority is Priority.ROUTINE


def test_a_grade_that_cannot_be_told_is_not_analysed():
    assert reasons(run(sections.slide(inked(False))))[GRADE] == (
        "not analysed because the route names no companion cells"
    )
    assert "lymph node" in reasons(run(node(inked(False))))[GRADE]
    few = graded(tumour(tubules=0, side=12, mitoses=5), min_tumour_nuclei=5000)
    assert "nuclear pleomorphism is missing" in reasons(few)[GRADE]
    assert "grade" not in {f.key for f in few.findings}
    stained = graded(tumour(side=12, mitoses=5), cells=painted.cell_model(UM, stains=("H-DAB",)))
    assert "stain is H&E" in reasons(stained)[GRADE]
    no_tubules = run(
        sections.slide(inked(False)),
        WithCompanions(sections.oracle(("background", "tumour", "ink")), {"cells": painted.cell_model(UM)}),
    )
    assert "no class tubule" in reasons(no_tubules)[GRADE]


def test_the_most_urgent_of_several_reasons_decides():
    truth = tumour(tubules=0, side=12, mitoses=5)
    parameters = {"lymph_node": 0, "grade_stat": 1}
    assert graded(truth, **parameters).verdict.priority is Priority.STAT
    # on a node the deposit alone is looked at, whatever else would be met
    result = graded(truth, lymph_node=1, grade_stat=1)
    assert result.verdict.priority is Priority.HIGH
    assert result.verdict.reason.startswith("suspected micrometastasis")
    assert rests_on(result.verdict) == ["deposit"]


def test_where_nothing_can_be_looked_at_the_slide_waits_its_turn():
    result = run(sections.slide(plain()))
    assert result.findings == ()
    assert set(reasons(result)) == {DEPOSIT, MARGIN, GRADE}
    assert result.verdict.priority is Priority.ROUTINE
    assert result.verdict.reason == "no criterion of triage could be looked at"


@pytest.mark.parametrize("turned", [np.rot90, np.fliplr])
def test_turning_the_slide_leaves_the_deposits(turned):
    classes = with_deposits(70, 110)
    one, other = run(node(classes)), run(node(np.ascontiguousarray(turned(classes))))
    for name in (codes.LONG_AXIS, codes.AREA, codes.DEPOSIT_COUNT):
        assert value(other, "deposit", name) == pytest.approx(value(one, "deposit", name))


def test_golden_numbers():
    """Any change of these is a change of the definition, and needs a new version of the pipeline."""
    result = run(node(with_deposits(70, 110)))
    assert {m.name.value: round(m.value, 6) for m in finding(result, "deposit").measurements} == {
        "DEPOSIT-COUNT": 2,
        "103339001": 0.130384,
        "42798000": 0.0077,
    }


def test_what_does_not_fit_is_refused_or_ungradable():
    assert "lacks the classes tumour" in problem(PIPELINE, sections.oracle(("background", "ink")).model)
    cells = painted.cell_model(UM).model
    assert companions_problem(PIPELINE, {"cells": cells}) is None
    assert companions_problem(PIPELINE, {}) is None
    assert "lacks the classes" in companions_problem(PIPELINE, {"cells": sections.oracle().model})
    outcome = PIPELINE.run(job(), sections.slide(plain()), sections.oracle(stains=("H-DAB",)), Progress())
    assert isinstance(outcome, Ungradable)


class Counted:
    """A predictor that counts what it is shown."""

    def __init__(self, predictor):
        self.predictor, self.model, self.provider = predictor, predictor.model, predictor.provider
        self.images = 0

    def predict(self, images):
        self.images += len(images)
        return self.predictor.predict(images)


def test_jobs_of_one_slide_share_what_they_would_compute_alike():
    truth = tumour(tubules=100, side=10, mitoses=4)
    asked = {"hotspot_mm2": WINDOW, "min_tumour_nuclei": 50, "min_normal_nuclei": 20}
    tissue, cells = Counted(painted.tissue_model(UM)), Counted(painted.cell_model(UM))
    grade = PIPELINES["nottingham"]
    alone = grade.run(
        job(**asked), painted.slide(truth, UM), painted.both(cells.predictor, tissue.predictor), Progress()
    )
    slide = painted.slide(truth, UM)
    both = WithCompanions(cells, {"tissue": tissue})
    first = grade.run(job(**asked), slide, both, Progress())
    seen = tissue.images, cells.images
    assert min(seen) > 0
    PIPELINE.run(job(**asked), slide, WithCompanions(tissue, {"cells": cells}), Progress())
    PIPELINES["margin"].run(job(), slide, tissue, Progress())
    again = grade.run(job(**asked), slide, both, Progress())
    assert (tissue.images, cells.images) == seen
    for result in (first, again):  # nobody has written into what is shared
        assert [f.measurements for f in result.findings] == [f.measurements for f in alone.findings]
        assert np.array_equal(result.segmentations[0].mask, alone.segmentations[0].mask)
    grade.run(job(**{**asked, "min_area_um2": 9.0}), slide, both, Progress())
    assert cells.images == 2 * seen[1] and tissue.images == seen[0]
