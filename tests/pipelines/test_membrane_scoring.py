"""The pipeline with an oracle in the model's place, on cells whose membranes were drawn."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import NO_VALUE, Result, Ungradable
from airouter.domain.model import HeadKind
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, WithCompanions, companions_problem, problem
from airouter.pipelines.her2 import score
from airouter.pipelines.membrane_cells import KINDS
from airouter.pipelines.pd_l1 import cps, tps
from phantoms.dicom import slide_instances
from phantoms.histology import KINDS as TISSUE_KINDS
from phantoms.histology import histology
from phantoms.slide import slide as nuclear_phantom
from tests.pipelines.cells import Cell, draw, rims, told
from tests.pipelines.oracle import Oracle, Progress, job, model, names, opened, reasons, rests_on, value

PIPELINE = PIPELINES["membrane-scoring"]
SPACING = 0.5
PITCH = 34  # pixels between two cells: 17 um, no two touch
MARGIN = 40
TYPES = ("tumour", "lymphocyte", "stromal")

NONE, FAINT, INCOMPLETE, MODERATE, STRONG = (
    {},
    {"od": 0.28},
    {"od": 0.3, "gap": 180},
    {"od": 0.5},
    {"od": 0.8},
)


def cell_model(kinds=TYPES, **changes):
    about = {"size": (128, 128), "overlap": 32, "spacing_um": SPACING, **changes}
    return model(Modality.SM, HeadKind.SEGMENTATION, (*PIPELINE.classes, *kinds), **about)


def tissue_model(classes=("background", "tumour", "stroma", "necrosis")):
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


def grid(looks, per_row=10):
    """Cells in rows, each looking as said."""
    return [
        Cell(MARGIN + 20 + PITCH * (n // per_row), MARGIN + 20 + PITCH * (n % per_row), **look)
        for n, look in enumerate(looks)
    ]


def pictured(cells, per_row=10, stain="H-DAB", spacing_um=SPACING):
    shape = (2 * MARGIN + PITCH * -(-len(cells) // per_row) + 12, 2 * MARGIN + PITCH * per_row + 12)
    drawn = draw(cells, shape, spacing_um, MARGIN)
    datasets = slide_instances(drawn.rgb, spacing_um, levels=1, transfer="raw", stain=stain, seed=1)
    return drawn, datasets


def oracle(slide, drawn, kinds=TYPES):
    about = cell_model(kinds)
    maps = np.concatenate([[drawn.labels > 0, rims(drawn.labels)], drawn.kinds(kinds)]).astype(np.float32)
    return told(slide, about, maps)


def compartments_oracle(slide, drawn, tumour, necrosis=None):
    """The tissue right of column `tumour` is tumour, above row `necrosis` necrosis, the rest stroma."""
    classes = np.full(drawn.labels.shape, 2)
    classes[:, tumour:] = 1
    if necrosis is not None:
        classes[:necrosis] = 3
    return told(slide, tissue_model(), (classes == np.arange(4)[:, None, None]).astype(np.float32))


def run(cells, kinds=TYPES, companion=None, per_row=10, **parameters):
    drawn, datasets = pictured(cells, per_row)
    slide = opened(datasets)
    knows = oracle(slide, drawn, kinds)
    if companion:
        knows = WithCompanions(knows, {"tissue": companion(slide, drawn)})
    result = PIPELINE.run(job(**{"min_cells": 5, **parameters}), slide, knows, Progress())
    assert isinstance(result, Result), result
    return result


def score_of(result):
    (found,) = [f for f in result.findings if f.key == "tumour"]
    return {e.name: e.value for e in found.evaluations}.get(codes.HER2_SCORE)


SHARES = (codes.MEMBRANE_0_SHARE, codes.MEMBRANE_1_SHARE, codes.MEMBRANE_2_SHARE, codes.MEMBRANE_3_SHARE)


def shares(result, key="tumour"):
    return [value(result, key, name) for name in SHARES]


def test_every_cell_has_the_class_that_it_was_drawn_with():
    looks = [*[NONE] * 20, *[FAINT] * 6, *[INCOMPLETE] * 4, *[MODERATE] * 8, *[STRONG] * 2]
    result = run(grid(looks), marker="HER2")
    assert shares(result) == pytest.approx([50, 25, 20, 5])
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 40
    assert value(result, "tumour", codes.STAINED_COUNT) == 20
    assert value(result, "tumour", codes.MEMBRANE_STAINED) == pytest.approx(50)
    groups = {g.role: g for g in result.annotations}
    assert {role: len(g) for role, g in groups.items()} == {
        "membrane-0": 20,
        "membrane-1": 10,
        "membrane-2": 8,
        "membrane-3": 2,
    }
    measured = groups["membrane-3"].measurements
    assert measured[codes.MEMBRANE_COMPLETE, codes.RATIO] == pytest.approx([1, 1])
    assert measured[codes.MEMBRANE_OD, codes.ONE] == pytest.approx([0.8, 0.8], abs=0.03)
    assert score_of(result) == codes.HER2_2
    assert value(result, "tumour", codes.HER2_INTENSE) == pytest.approx(5)
    assert "equivocal" in result.verdict.reason
    assert result.not_analysed == ()


@pytest.mark.parametrize(
    ("strong", "moderate", "expected"),
    [(3, 0, codes.HER2_2), (4, 0, codes.HER2_3), (0, 4, codes.HER2_2), (0, 3, codes.HER2_0)],
)
def test_a_pattern_must_exceed_ten_of_a_hundred_cells(strong, moderate, expected):
    looks = [*[STRONG] * strong, *[MODERATE] * moderate, *[NONE] * (30 - strong - moderate)]
    result = run(grid(looks), marker="HER2", high_her2=3)
    assert score_of(result) == expected
    assert result.verdict.priority is (Priority.HIGH if expected == codes.HER2_3 else Priority.ROUTINE)


def test_tps_and_cps_are_those_of_the_drawn_cells():
    looks = [*[FAINT] * 7, *[STRONG] * 5, *[NONE] * 18]  # 12 of 30 tumour cells
    looks += [{**STRONG, "kind": "lymphocyte"}] * 3 + [{"kind": "lymphocyte"}] * 4 + [{**STRONG, "kind": "stromal"}] * 3
    result = run(grid(looks), marker="PD-L1", high_cps=50)
    assert value(result, "tumour", codes.PD_L1_TPS) == pytest.approx(40)
    assert value(result, "tumour", codes.PD_L1_CPS) == pytest.approx(50)
    assert value(result, "immune", codes.IMMUNE_COUNT) == 7
    assert value(result, "immune", codes.IMMUNE_STAINED) == 3
    assert value(result, "tissue", codes.NUCLEI_COUNT) == 40
    assert result.verdict.priority is Priority.HIGH
    assert "CPS 50.0 reaches 50" in result.verdict.reason
    assert rests_on(result.verdict) == ["tumour"]
    assert {g.role: len(g) for g in result.annotations}["other-nuclei"] == 10


def test_immune_cells_far_from_the_tumour_do_not_count():
    looks = [*[STRONG] * 10, *[NONE] * 10, *[{**STRONG, "kind": "lymphocyte"}] * 20]
    # rows of 10: the first row of immune cells is 17 um from the tumour, the second 34 um
    assert value(run(grid(looks), marker="PD-L1"), "tumour", codes.PD_L1_CPS) == 100
    result = run(grid(looks), marker="PD-L1", immune_um=20)
    assert value(result, "immune", codes.IMMUNE_COUNT) == 10
    assert value(result, "tumour", codes.PD_L1_CPS) == 100  # 50 + 50
    assert value(run(grid(looks), marker="PD-L1", immune_um=5), "tumour", codes.PD_L1_CPS) == 50


def test_without_immune_cells_there_is_a_tps_and_no_cps():
    result = run(grid([*[STRONG] * 5, *[NONE] * 15]), kinds=("tumour",), marker="PD-L1")
    assert value(result, "tumour", codes.PD_L1_TPS) == 25
    assert reasons(result) == {
        "PD-L1 combined positive score": "not analysed because the model does not tell immune cells from others"
    }


def test_without_a_marker_there_are_classes_and_no_score():
    result = run(grid([*[STRONG] * 5, *[NONE] * 15]))
    assert shares(result) == pytest.approx([75, 0, 0, 25])
    why = "not analysed because the route does not say what the slide is stained for"
    assert reasons(result) == {"HER2 score": why, "PD-L1 scores": why}
    assert score_of(result) is None
    assert not {codes.PD_L1_TPS, codes.PD_L1_CPS, codes.HER2_INTENSE} & names(result, "tumour")


@pytest.mark.parametrize("marker", ["HER2", "PD-L1"])
def test_without_anything_that_tells_tumour_cells_there_is_no_score(marker):
    result = run(grid([*[STRONG] * 5, *[NONE] * 15]), kinds=(), marker=marker)
    assert set(reasons(result).values()) == {"not analysed because nothing tells tumour cells from others"}
    assert [f.key for f in result.findings] == ["tissue"]
    assert shares(result, "tissue") == pytest.approx([75, 0, 0, 25])
    assert "not those of tumour cells alone" in result.findings[0].comment


def test_fewer_than_a_hundred_tumour_cells_are_not_scored():
    cells = grid([*[STRONG] * 50, *[NONE] * 49, {**STRONG, "kind": "lymphocyte"}])
    result = run(cells, marker="PD-L1", min_cells=100)
    assert "99 viable tumour cells were found and at least 100" in reasons(result)["PD-L1 tumour proportion score"]
    assert codes.PD_L1_TPS not in names(result, "tumour")
    one_more = [*cells[:99], Cell(cells[99].row, cells[99].column)]
    assert value(run(one_more, marker="PD-L1", min_cells=100), "tumour", codes.PD_L1_TPS) == 50


def test_only_cells_within_the_tumour_are_scored():
    # in each row of 10, the first 5 lie in stroma
    looks = ([NONE] * 5 + [STRONG] * 3 + [NONE] * 2) * 4
    border = MARGIN + 3 + 5 * PITCH
    result = run(grid(looks), kinds=(), companion=lambda s, d: compartments_oracle(s, d, border), marker="HER2")
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 20
    assert shares(result) == pytest.approx([40, 0, 0, 60])
    assert score_of(result) == codes.HER2_3
    (tumour,) = [f for f in result.findings if f.key == "tumour"]
    assert tumour.region.points[:, 0].min() >= border - 1
    assert "also those of other cells" in tumour.comment


def test_cells_in_necrosis_are_not_viable():
    looks = [*[STRONG] * 10, *[NONE] * 20, *[STRONG] * 10]  # the first row lies in necrosis
    below = MARGIN + 3 + PITCH
    result = run(grid(looks), companion=lambda s, d: compartments_oracle(s, d, 0, below), marker="PD-L1")
    assert value(result, "tumour", codes.NUCLEI_COUNT) == 30
    assert value(result, "tumour", codes.PD_L1_TPS) == pytest.approx(100 / 3)


def test_immune_cells_in_necrosis_do_not_count():
    immune = {**STRONG, "kind": "lymphocyte"}
    looks = [*[immune] * 10, *[immune] * 4, *[NONE] * 26]
    below = MARGIN + 3 + PITCH
    result = run(grid(looks), companion=lambda s, d: compartments_oracle(s, d, 0, below), marker="PD-L1")
    assert value(result, "immune", codes.IMMUNE_COUNT) == 4
    assert value(result, "tumour", codes.PD_L1_CPS) == pytest.approx(100 * 4 / 26)


def test_a_slide_without_tumour_is_not_scored():
    result = run(
        grid([*[STRONG] * 5, *[NONE] * 15]), companion=lambda s, d: compartments_oracle(s, d, 10_000), marker="HER2"
    )
    assert reasons(result)["HER2 score"] == "not analysed because no tumour was found in the tissue"
    assert [f.key for f in result.findings] == ["tissue"]


def test_a_tissue_model_that_cannot_see_the_slide_leaves_the_score_out():
    def blind(slide, drawn):
        return Oracle(model(Modality.SM, HeadKind.SEGMENTATION, ("tumour",), stains=("H&E",), spacing_um=SPACING))

    result = run(grid([*[STRONG] * 5, *[NONE] * 15]), companion=blind, marker="HER2")
    assert "the tissue could not be divided into classes: the stain is H-DAB" in reasons(result)["HER2 score"]


def test_a_nuclear_stain_is_not_scored():
    result = run(grid([*[{"nuclear": 0.6}] * 15, *[NONE] * 15]), marker="HER2")
    assert reasons(result)["HER2 score"] == "not analysed because the DAB is in the nuclei and not on the membranes"
    assert score_of(result) is None
    assert not {*SHARES, codes.STAINED_COUNT} & names(result, "tumour")
    assert [g.role for g in result.annotations] == ["nuclei"]
    assert result.maps[0].quantity == codes.FIELD_DENSITY


def test_a_phantom_of_a_nuclear_marker_is_not_scored():
    truth = nuclear_phantom(400, 400, SPACING, "H-DAB", 1500.0, 0.4, seed=3)
    slide = opened(slide_instances(truth.rgb, SPACING, levels=1, transfer="raw", stain="H-DAB", seed=1))
    maps = np.stack([truth.labels > 0, rims(truth.labels)]).astype(np.float32)
    result = PIPELINE.run(job(marker="PD-L1"), slide, told(slide, cell_model(()), maps), Progress())
    assert "in the nuclei" in reasons(result)["membrane staining"]


def test_dab_all_over_the_cells_is_not_scored():
    drawn, _ = pictured(grid([NONE] * 30))
    brown = np.array([0.268, 0.570, 0.776]) * 0.6
    density = -np.log10(drawn.rgb / 255.0) + np.where((drawn.rgb < 250).any(axis=2, keepdims=True), brown, 0)
    rgb = np.round(255 * 10.0**-density).astype(np.uint8)
    slide = opened(slide_instances(rgb, SPACING, levels=1, transfer="raw", stain="H-DAB", seed=1))
    result = PIPELINE.run(job(marker="HER2", min_cells=5), slide, oracle(slide, drawn), Progress())
    assert reasons(result)["HER2 score"] == "not analysed because the DAB is not confined to the membranes"


@pytest.mark.parametrize(
    ("stain", "why"), [("H&E", "the stain is H&E"), (None, "the stain is not stated in the header")]
)
def test_only_h_dab_is_scored(stain, why):
    _, datasets = pictured(grid([NONE] * 10), stain=stain)
    outcome = PIPELINE.run(job(marker="HER2"), opened(datasets), Oracle(cell_model()), Progress())
    assert outcome == Ungradable(f"not analysed because {why}, and membranes are scored in H-DAB")


def test_the_heat_map_shows_the_stained_share_of_each_field():
    looks = ([STRONG] * 5 + [NONE] * 5) * 4
    (heat,) = run(grid(looks), marker="HER2", field_um=100, min_field_cells=3).maps
    assert (heat.quantity, heat.unit) == (codes.MEMBRANE_STAINED, codes.PERCENT)
    assert heat.values[0, 0] == 100
    assert heat.values[0, 1] == 0
    assert heat.values[0, 2] == NO_VALUE


def test_the_result_does_not_depend_on_the_threads():
    cells = grid([STRONG, NONE, FAINT, MODERATE] * 10)
    one, three = (run(cells, marker="HER2", workers=n) for n in (1, 3))
    assert one.findings[1].measurements == three.findings[1].measurements
    assert np.array_equal(one.annotations[0].points, three.annotations[0].points)


def test_cells_that_share_membranes_mostly_have_their_class():
    """Generated tissue, whose generator knows nothing of how membranes are measured."""
    truth = histology(620, 620, SPACING, stain="HER2", seed=3, edge=False, tumour=0.6, normal=0.0)
    slide = opened(slide_instances(truth.rgb, SPACING, levels=1, transfer="raw", stain="H-DAB", seed=1))
    mine = np.isin(truth.kind, [TISSUE_KINDS.index("tumour"), TISSUE_KINDS.index("mitosis")])
    maps = np.stack([truth.labels > 0, rims(truth.labels), mine[truth.labels]]).astype(np.float32)
    knows = told(slide, cell_model(("tumour",)), maps)
    result = PIPELINE.run(job(marker="HER2", min_cells=50), slide, knows, Progress())
    share = value(result, "tumour", codes.MEMBRANE_3_SHARE)
    drawn = 100 * (truth.membrane[mine] == 3).mean()
    assert share == pytest.approx(drawn, abs=10)
    assert value(result, "tumour", codes.MEMBRANE_0_SHARE) == pytest.approx(
        100 * (truth.membrane[mine] == 0).mean(), abs=10
    )
    assert score_of(result) == codes.HER2_3


@functools.cache
def turned(turns):
    drawn, _ = pictured(grid([STRONG, NONE, FAINT, MODERATE, INCOMPLETE] * 6, 6), 6)
    rgb, labels = (np.rot90(each, turns).copy() for each in (drawn.rgb, drawn.labels))
    slide = opened(slide_instances(rgb, SPACING, levels=1, transfer="raw", stain="H-DAB", seed=1))
    maps = np.stack([labels > 0, rims(labels), labels > 0]).astype(np.float32)
    result = PIPELINE.run(
        job(marker="HER2", min_cells=5), slide, told(slide, cell_model(("tumour",)), maps), Progress()
    )
    return {g.role: len(g) for g in result.annotations}, score_of(result)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_slide_changes_no_count(turns):
    assert turned(turns) == turned(0)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"marker": "HER3"}, "must be one of HER2, PD-L1"),
        ({"marker": 1}, "must be one of HER2, PD-L1"),
        ({"weak_od": 0.7}, "must rise"),
        ({"complete_share": 0.1}, "must rise"),
        ({"high_her2": 4}, "0..3"),
    ],
)
def test_impossible_parameters_are_refused(parameters, why):
    assert why in problem(PIPELINE, cell_model(), parameters)
    _, datasets = pictured(grid([NONE]))
    with pytest.raises(ConfigurationError, match=why):
        PIPELINE.run(job(**parameters), opened(datasets), Oracle(cell_model()), Progress())


def test_what_models_the_pipeline_takes():
    assert problem(PIPELINE, cell_model(()), {"marker": "HER2"}) is None
    assert companions_problem(PIPELINE, {}) is None
    assert companions_problem(PIPELINE, {"tissue": tissue_model()}) is None
    assert "lacks the classes tumour" in companions_problem(PIPELINE, {"tissue": tissue_model(("background", "x"))})
    assert {"lymphocyte", "macrophage"} < set(KINDS)


# --- the rules ---


@pytest.mark.parametrize(
    ("shares_", "more", "expected"),
    [
        ((100, 0, 0, 0), {}, 0),
        ((90, 10, 0, 0), {}, 0),  # incomplete and faint in 10 %: not more than that
        ((89.9, 10.1, 0, 0), {}, 1),
        ((95, 0, 5, 0), {}, 0),
        ((85, 10, 5, 0), {}, 1),  # stained in 15 %, complete in too few of them
        ((90, 0, 10, 0), {}, 0),
        ((89.9, 0, 10.1, 0), {}, 2),
        ((90, 0, 0, 10), {}, 2),  # intense and complete, in no more than 10 %
        ((89.9, 0, 0, 10.1), {}, 3),
        ((99.5, 0, 0, 0.5), {"least_strong": 1}, 0),
        ((99, 0, 0, 1), {"least_strong": 1}, 2),
        ((99.9, 0, 0, 0.1), {}, 2),
        ((88, 0, 6, 6), {"least_strong": 7}, 2),  # complete in 12 %
        ((80, 20, 0, 0), {"incomplete": 10}, 1),
        ((80, 20, 0, 0), {"incomplete": 10.1}, 2),  # the unusual pattern: moderate to intense, incomplete
        ((0, 0, 0, 100), {}, 3),
    ],
)
def test_her2_by_hand(shares_, more, expected):
    found = score(*shares_, **more)
    assert found.score == expected
    assert found.name == ("0", "1+", "2+", "3+")[expected]
    assert found.reason


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 59))
def test_a_cell_that_is_stained_more_never_lowers_the_score(grades, which):
    def scored(of):
        percent = [100 * of.count(n) / len(of) for n in range(4)]
        assert sum(percent) == pytest.approx(100)
        return score(*percent).score

    which %= len(grades)
    more = [*grades[:which], min(3, grades[which] + 1), *grades[which + 1 :]]
    assert scored(more) >= scored(grades)


@pytest.mark.parametrize("shares_", [(50, 0, 0, 0), (110, -10, 0, 0), (50, 50, 10, 0)])
def test_percentages_that_are_none_are_refused(shares_):
    with pytest.raises(ValueError, match="add up to 100"):
        score(*shares_)


def test_pd_l1_by_hand():
    assert tps(0, 100) == 0
    assert tps(1, 100) == 1
    assert tps(49, 98) == 50
    assert cps(10, 0, 200) == 5
    assert cps(10, 30, 200) == 20
    assert cps(200, 500, 200) == 100  # capped
    for stained, total in ((1, 0), (0, 0), (5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="tumour cells"):
            tps(stained, total)
    with pytest.raises(ValueError, match="immune"):
        cps(1, -1, 10)


@given(st.integers(1, 5000), st.data())
def test_more_stained_cells_never_lower_a_score(total, data):
    stained = data.draw(st.integers(0, total))
    immune = data.draw(st.integers(0, 10_000))
    assert 0 <= tps(stained, total) <= 100
    assert tps(stained, total) <= cps(stained, immune, total) <= 100
    if stained < total:
        assert tps(stained + 1, total) > tps(stained, total)
        assert cps(stained + 1, immune, total) >= cps(stained, immune, total)
    assert cps(stained, immune + 1, total) >= cps(stained, immune, total)


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4]), min_size=6, max_size=18))
@settings(max_examples=8, deadline=None)
def test_classes_add_up_to_the_cells(kinds_of_look):
    looks = [(NONE, FAINT, INCOMPLETE, MODERATE, STRONG)[n] for n in kinds_of_look]
    result = run(grid(looks, 6), per_row=6, marker="HER2", min_cells=1)
    assert sum(shares(result)) == pytest.approx(100)
    assert sum(len(g) for g in result.annotations) == value(result, "tumour", codes.NUCLEI_COUNT) == len(looks)
    stained = sum(n > 0 for n in kinds_of_look)
    assert value(result, "tumour", codes.STAINED_COUNT) == stained
