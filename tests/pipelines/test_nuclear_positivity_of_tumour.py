"""The index of tumour cells alone, the hotspot, and what guidelines call an index: on nuclei that were drawn."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import Result
from airouter.domain.model import HeadKind
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, WithCompanions, problem
from airouter.pipelines.nuclear_markers import MARKERS, h_score
from phantoms.dicom import slide_instances
from tests.pipelines.cells import Cell, draw, rims, told
from tests.pipelines.oracle import Progress, job, model, names, opened, reasons, rests_on, value

PIPELINE = PIPELINES["nuclear-positivity"]
SPACING = 0.5
PITCH = 26  # 13 um between nuclei
MARGIN = 40
WEAK, MODERATE, STRONG = 0.3, 0.5, 0.8


def nuclei(densities, per_row=10, **same):
    """Nuclei in rows, each with its density of DAB; None leaves a place empty."""
    return [
        Cell(MARGIN + 16 + PITCH * (n // per_row), MARGIN + 16 + PITCH * (n % per_row), nuclear=od, **same)
        for n, od in enumerate(densities)
        if od is not None
    ]


def nuclei_model(kinds=()):
    classes = (*PIPELINE.classes, *kinds)
    return model(Modality.SM, HeadKind.SEGMENTATION, classes, size=(128, 128), overlap=24, spacing_um=SPACING)


def tissue_model():
    classes = ("background", "tumour", "tubule", "stroma", "necrosis")
    return model(
        Modality.SM,
        HeadKind.SEGMENTATION,
        classes,
        size=(128, 128),
        overlap=16,
        spacing_um=SPACING,
        exclusive=True,
        codeless=("background",),
    )


def run(cells, rows, per_row=10, kinds=(), tissue=None, **parameters):
    """`tissue`: uint8 [rows, columns], class of each pixel, from the drawn labels."""
    shape = (2 * MARGIN + PITCH * rows + 6, 2 * MARGIN + PITCH * per_row + 6)
    drawn = draw(cells, shape, SPACING, MARGIN)
    slide = opened(slide_instances(drawn.rgb, SPACING, levels=1, transfer="raw", stain="H-DAB", seed=1))
    maps = np.concatenate([[drawn.labels > 0, rims(drawn.labels)], drawn.kinds(kinds)]).astype(np.float32)
    knows = told(slide, nuclei_model(kinds), maps)
    if tissue is not None:
        classes = np.full(shape, 3)
        tissue(classes)
        truth = (classes == np.arange(5)[:, None, None]).astype(np.float32)
        knows = WithCompanions(knows, {"tissue": told(slide, tissue_model(), truth)})
    result = PIPELINE.run(job(**{"min_nuclei": 5, **parameters}), slide, knows, Progress())
    assert isinstance(result, Result), result
    return result


def right_half_is_tumour(classes):
    classes[:, MARGIN + 3 + 5 * PITCH :] = 1


def evaluation(result, name):
    (found,) = [f for f in result.findings if f.key == "tumour"]
    return {e.name: e.value for e in found.evaluations}.get(name)


def test_only_nuclei_in_the_tumour_make_the_index():
    row = [STRONG] * 5 + [STRONG, 0, 0, 0, 0]  # stroma all positive, tumour 1 in 5
    result = run(nuclei(row * 6), 6, tissue=right_half_is_tumour, marker="Ki-67")
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 30
    assert value(result, "tumour", codes.POSITIVE_COUNT) == 6
    assert value(result, "tumour", codes.KI67_INDEX) == pytest.approx(20)
    assert value(result, "tissue", codes.NUCLEI_COUNT) == 60
    assert codes.KI67_INDEX not in names(result, "tissue")
    assert value(result, "others", codes.NUCLEI_COUNT) == 30
    assert value(result, "others", codes.POSITIVE_COUNT) == 30
    assert {g.role: len(g) for g in result.annotations} == {
        "positive-nuclei": 6,
        "negative-nuclei": 24,
        "other-nuclei": 30,
    }
    (tumour,) = [f for f in result.findings if f.key == "tumour"]
    assert tumour.finding == codes.NEOPLASM
    assert tumour.region.points[:, 0].min() >= MARGIN + 5 * PITCH
    drawn_mm2 = cv2.contourArea(tumour.region.points.astype(np.float32)) * SPACING**2 * 1e-6
    assert value(result, "tumour", codes.AREA) == pytest.approx(drawn_mm2, rel=0.02)
    assert "also those of other cells that lie there" in tumour.comment


def test_tubules_are_tumour_and_necrosis_is_not():
    def classes_of(classes):
        right_half_is_tumour(classes)
        classes[: MARGIN + 3 + PITCH] = 4  # the first row lies in necrosis
        classes[MARGIN + 3 + 5 * PITCH :] = 2  # the last row in tubules

    result = run(nuclei(([0] * 10) * 5 + [STRONG] * 10), 6, tissue=classes_of)
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 4 * 5 + 10
    assert value(result, "tumour", codes.POSITIVE_FRACTION) == pytest.approx(100 / 3)


def test_a_model_that_tells_tumour_cells_restricts_the_index_to_them():
    cells = [*nuclei([STRONG, 0, 0, 0] * 5), *nuclei([None] * 20 + [STRONG] * 10, kind="lymphocyte")]
    result = run(cells, 3, kinds=("tumour", "lymphocyte"))
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 20
    assert value(result, "tumour", codes.POSITIVE_FRACTION) == pytest.approx(25)
    assert value(result, "others", codes.POSITIVE_COUNT) == 10
    assert codes.AREA not in names(result, "tumour")


def test_a_mitotic_figure_is_a_tumour_cell():
    cells = [*nuclei([0] * 9), *nuclei([None] * 9 + [STRONG], kind="mitosis")]
    result = run(cells, 1, kinds=("tumour", "lymphocyte", "mitosis"))
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 10
    assert value(result, "tumour", codes.POSITIVE_FRACTION) == pytest.approx(10)


def test_both_restrict_it_where_both_are_there():
    cells = [*nuclei(([0] * 10) * 2), *nuclei([None] * 20 + [STRONG] * 10, kind="lymphocyte")]
    result = run(cells, 3, kinds=("tumour", "lymphocyte"), tissue=right_half_is_tumour)
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 10
    assert value(result, "tumour", codes.POSITIVE_COUNT) == 0


def test_without_tumour_in_the_tissue_there_is_no_index():
    result = run(nuclei([STRONG] * 20), 2, tissue=lambda classes: None, marker="ER")
    assert reasons(result) == {"nuclear positivity index": "not analysed because no tumour was found in the tissue"}
    assert [f.key for f in result.findings] == ["tissue"]
    assert value(result, "tissue", codes.NUCLEI_COUNT) == 20
    assert codes.POSITIVE_COUNT not in names(result, "tissue")
    assert {g.role: len(g) for g in result.annotations} == {"nuclei": 20}


def test_too_few_nuclei_in_the_tumour_give_no_index():
    result = run(nuclei([STRONG] * 20), 2, tissue=right_half_is_tumour, min_nuclei=11)
    assert "10 nuclei of tumour cells were found and at least 11" in reasons(result)["nuclear positivity index"]
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 10


# --- hotspot ---


def with_hotspot(rows=14, per_row=14):
    """Positive nuclei in a block of 4 x 4, and a few of them elsewhere."""
    densities = np.zeros((rows, per_row))
    densities[3:7, 8:12] = STRONG
    densities[0, 0] = densities[10, 2] = densities[13, 13] = STRONG
    return nuclei(densities.ravel().tolist(), per_row), densities


def test_the_hotspot_is_the_window_with_most_positive_nuclei():
    cells, densities = with_hotspot()
    # a block of 4 x 4 nuclei has a radius of 1.5 x 13 um x sqrt 2 = 27.6 um
    area_mm2 = np.pi * 28.0**2 * 1e-6
    result = run(cells, 14, 14, hotspot_mm2=area_mm2, min_hotspot_nuclei=10, high_hotspot_index=90, marker="Ki-67")
    overall = 100 * (densities > 0).sum() / densities.size
    assert value(result, "tissue", codes.KI67_INDEX) == pytest.approx(overall)
    assert value(result, "hotspot", codes.POSITIVE_COUNT) == 16
    assert value(result, "hotspot", codes.NUCLEI_COUNT) == 16
    assert value(result, "hotspot", codes.KI67_INDEX) == 100
    assert value(result, "hotspot", codes.AREA) == pytest.approx(area_mm2)
    (hot,) = [f for f in result.findings if f.key == "hotspot"]
    assert hot.finding == codes.POSITIVE_HOTSPOT
    points = hot.region.points
    middle = np.array([MARGIN + 16 + PITCH * 9.5, MARGIN + 16 + PITCH * 4.5])
    assert points.mean(axis=0) == pytest.approx(middle, abs=1.0)
    assert cv2.contourArea(points.astype(np.float32)) * SPACING**2 * 1e-6 == pytest.approx(area_mm2, rel=0.001)
    assert result.verdict.priority is Priority.HIGH
    assert "in the hotspot 100.0 % reaches 90 %" in result.verdict.reason
    assert rests_on(result.verdict) == ["hotspot"]
    assert result.not_analysed == ()


@pytest.mark.parametrize(
    ("densities", "parameters", "why"),
    [
        ([STRONG, 0] * 20, {"hotspot_mm2": 0.005, "min_hotspot_nuclei": 41}, "no window of 0.005 mm2 holds 41 nuclei"),
        ([STRONG, 0] * 20, {"hotspot_mm2": 1.0}, "mm2 of tissue count and the window has 1 mm2"),
        ([0.0] * 40, {"hotspot_mm2": 0.005, "min_hotspot_nuclei": 5}, "no nucleus is positive"),
    ],
)
def test_why_there_is_no_hotspot(densities, parameters, why):
    result = run(nuclei(densities), 4, **parameters)
    assert why in reasons(result)["index in the hotspot"]
    assert codes.POSITIVE_FRACTION in names(result, "tissue")
    assert "hotspot" not in {f.key for f in result.findings}


def test_the_hotspot_lies_in_the_tumour():
    row = [STRONG] * 5 + [0, 0, STRONG, 0, 0]
    result = run(nuclei(row * 6), 6, tissue=right_half_is_tumour, hotspot_mm2=0.002, min_hotspot_nuclei=3)
    (hot,) = [f for f in result.findings if f.key == "hotspot"]
    assert hot.region.points[:, 0].mean() > MARGIN + 5 * PITCH
    assert value(result, "hotspot", codes.POSITIVE_COUNT) <= 6


# --- markers ---


@pytest.mark.parametrize(
    ("marker", "positive", "status", "expected"),
    [
        ("ER", 0, codes.ER_STATUS, codes.NEGATIVE),
        ("ER", 1, codes.ER_STATUS, codes.ER_LOW_POSITIVE),  # exactly 1 %
        ("ER", 10, codes.ER_STATUS, codes.ER_LOW_POSITIVE),  # exactly 10 %
        ("ER", 11, codes.ER_STATUS, codes.POSITIVE),
        ("PR", 0, codes.PR_STATUS, codes.NEGATIVE),
        ("PR", 1, codes.PR_STATUS, codes.POSITIVE),
    ],
)
def test_what_the_guideline_calls_an_index(marker, positive, status, expected):
    result = run(nuclei([STRONG] * positive + [0] * (100 - positive)), 10, kinds=("tumour",), marker=marker)
    assert value(result, "tumour", MARKERS[marker].index) == pytest.approx(positive)
    assert evaluation(result, status) == expected


def test_a_status_is_one_of_tumour_cells():
    result = run(nuclei([STRONG] * 10 + [0] * 30), 4, marker="ER")
    assert reasons(result)["ER status"] == "not analysed because nothing tells tumour cells from others"
    assert value(result, "tissue", codes.ER_INDEX) == pytest.approx(25)
    assert not any(f.evaluations for f in result.findings)


def test_the_h_score_weighs_intensity():
    result = run(nuclei([0] * 10 + [WEAK] * 10 + [MODERATE] * 10 + [STRONG] * 10), 4, kinds=("tumour",), marker="PR")
    assert value(result, "tumour", codes.H_SCORE) == pytest.approx(25 + 50 + 75)
    result = run(nuclei([STRONG] * 10), 1, kinds=("tumour",), marker="Ki-67")
    assert codes.H_SCORE not in names(result, "tumour")


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50), st.integers(0, 49))
def test_an_h_score_lies_between_0_and_300_and_grows_with_stain(densities, which):
    od = np.array(densities)
    found = h_score(od, 0.2, 0.4, 0.6)
    assert 0 <= found <= 300
    od[which % len(od)] += 0.25
    assert h_score(od, 0.2, 0.4, 0.6) >= found


def test_an_h_score_by_hand():
    assert h_score(np.array([0.1, 0.2, 0.3, 0.4, 0.6]), 0.2, 0.4, 0.6) == pytest.approx(40 * 1 + 20 * 2 + 20 * 3)
    for od, limits in (([], (0.2, 0.4, 0.6)), ([1.0], (0.5, 0.4, 0.6))):
        with pytest.raises(ValueError, match="limits"):
            h_score(np.array(od), *limits)


def test_ki67_and_marker_may_not_contradict_each_other():
    about = nuclei_model()
    assert problem(PIPELINE, about, {"ki67": 1, "marker": "Ki-67"}) is None
    assert "ki67 says Ki-67 and marker ER" in problem(PIPELINE, about, {"ki67": 1, "marker": "ER"})
    assert "must be one of Ki-67, ER, PR" in problem(PIPELINE, about, {"marker": "ki67"})
    assert "must rise" in problem(PIPELINE, about, {"marker": "ER", "strong_od": 0.3})
    assert problem(PIPELINE, about, {"strong_od": 0.3}) is None  # nothing is made of it
    with pytest.raises(ConfigurationError, match="ki67 says"):
        run(nuclei([0] * 10), 1, ki67=1, marker="PR")
