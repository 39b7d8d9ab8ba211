"""Stromal lymphocytes of a painted slide: the share of area is the truth's, whatever the patches, rims and overlaps."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from airouter.domain import codes
from airouter.domain.finding import NO_VALUE, Result, Ungradable
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, lymphocyte_area
from tests.pipelines import painted
from tests.pipelines.oracle import Progress, job, reasons, value
from tests.pipelines.painted import KIND, NECROSIS, NORMAL, STROMA, TUBULE, TUMOUR, Truth

PIPELINE = PIPELINES["til-score"]
UM = 1.0
PIXEL = UM**2 * 1e-6


def predictor(tissue_um=UM, **changes):
    return painted.both(painted.cell_model(UM, **changes), painted.tissue_model(tissue_um))


def run(slide, knows=None, **parameters):
    result = PIPELINE.run(
        job(**{"cytoplasm_um": 0, "min_stroma_mm2": 0.01, **parameters}), slide, knows or predictor(), Progress()
    )
    assert isinstance(result, Result), result
    return result


@functools.cache
def section():
    """Two nests of tumour with stroma and necrosis between them, lymphocytes in all, normal tissue and far stroma."""
    tissue = np.zeros((620, 800), np.uint8)
    tissue[30:590, 30:770] = STROMA
    tissue[100:500, 60:200] = TUMOUR
    tissue[150:250, 100:160] = TUBULE
    tissue[100:500, 400:520] = TUMOUR
    tissue[300:380, 240:330] = NECROSIS
    tissue[400:480, 240:330] = NORMAL
    truth = Truth.of(tissue)
    truth.squares("lymphocyte", range(60, 580, 19), range(50, 760, 23), 6)
    truth.squares("tumour", range(110, 490, 19), range(66, 190, 23), 8)  # over some of the lymphocytes
    truth.squares("stromal", range(70, 290, 19), range(216, 390, 23), 5)
    return truth, painted.slide(truth, UM)


def expected(truth, slide, result, rim=0.0):
    """Area of the scored stroma and of the lymphocytes on it, counted in pixels of the truth."""
    (mask,) = result.segmentations
    assert mask.factor == 1
    stroma = mask.mask > 0
    away = ndimage.distance_transform_edt(truth.cells != KIND["lymphocyte"])
    return stroma, stroma & (away <= rim)


def test_the_score_is_the_share_of_the_stroma_that_lymphocytes_cover():
    truth, slide = section()
    result = run(slide)
    stroma, covered = expected(truth, slide, result)
    assert value(result, "stroma", codes.AREA) == pytest.approx(stroma.sum() * PIXEL)
    assert value(result, "stroma", codes.STIL) == pytest.approx(100 * covered.sum() / stroma.sum())
    assert 3 < value(result, "stroma", codes.STIL) < 15
    labels, count = ndimage.label(truth.cells == KIND["lymphocyte"])
    middles = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))
    inside = stroma[tuple(np.floor(middles + 0.5).astype(int).T)]
    assert value(result, "stroma", codes.LYMPHOCYTE_COUNT) == inside.sum()
    density = inside.sum() / (stroma.sum() * PIXEL)
    assert value(result, "stroma", codes.LYMPHOCYTE_DENSITY) == pytest.approx(density)
    (group,) = result.annotations
    assert (len(group), group.type, group.graphic) == (inside.sum(), codes.LYMPHOCYTE, "POLYGON")
    assert result.verdict.reason.endswith(f"{value(result, 'stroma', codes.STIL):.1f} %")


def test_only_stroma_within_the_tumour_bed_is_scored():
    truth, slide = section()
    (mask,) = run(slide, bed_um=110).segmentations
    stroma = mask.mask > 0
    assert (truth.tissue[stroma] == STROMA).all()
    assert stroma[200:280, 210:390].all()  # between the nests, 200 um apart
    assert not stroma[:, 560:].any()  # beside them
    assert not stroma[:60].any()
    narrow = run(slide, bed_um=20)
    assert value(narrow, "tumour bed", codes.TUMOUR_BED_AREA) < value(run(slide), "tumour bed", codes.TUMOUR_BED_AREA)
    assert reasons(narrow)  # nothing between nests is as narrow


@pytest.mark.parametrize("rim", [1.0, 2.5, 6.0])
def test_cytoplasm_makes_cells_larger_and_counts_once_where_they_meet(rim):
    truth, slide = section()
    result = run(slide, cytoplasm_um=rim)
    stroma, covered = expected(truth, slide, result, rim / UM)
    assert value(result, "stroma", codes.STIL) == pytest.approx(100 * covered.sum() / stroma.sum())


def test_round_cells_are_right_within_their_border():
    truth, _ = section()
    round_cells = Truth.of(truth.tissue)
    y, x = np.mgrid[: truth.tissue.shape[0], : truth.tissue.shape[1]]
    round_cells.cells[np.hypot(y % 21 - 10, x % 21 - 10) <= 3.8] = KIND["lymphocyte"]
    slide = painted.slide(round_cells, UM)
    result = run(slide)
    stroma, covered = expected(round_cells, slide, result)
    assert value(result, "stroma", codes.STIL) == pytest.approx(100 * covered.sum() / stroma.sum(), rel=0.03)


def test_nothing_and_everything_are_0_and_100():
    truth, _ = section()
    assert value(run(painted.slide(Truth.of(truth.tissue), UM)), "stroma", codes.STIL) == 0
    whole = Truth(truth.tissue, np.full_like(truth.tissue, KIND["lymphocyte"]))
    assert value(run(painted.slide(whole, UM)), "stroma", codes.STIL) == pytest.approx(100)


@given(st.integers(90, 140), st.integers(12, 24), st.sampled_from([64, 100, 333]))
@settings(max_examples=6, deadline=None)
def test_seams_of_patches_and_blocks_do_not_matter(size, overlap, block):
    _, slide = section()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lymphocyte_area, "_BLOCK", block)
        result = run(slide, predictor(size=(size, size), overlap=overlap), cytoplasm_um=1)
    whole = run(slide, cytoplasm_um=1)
    for name in (codes.STIL, codes.LYMPHOCYTE_COUNT, codes.AREA):
        assert value(result, "stroma", name) == pytest.approx(value(whole, "stroma", name), rel=1e-9)
    assert np.allclose(result.maps[0].values, whole.maps[0].values)


@pytest.mark.parametrize("quarters", [1, 2])
def test_a_turned_slide_has_the_same_score(quarters):
    truth, slide = section()
    turned = run(painted.slide(truth.turned(quarters), UM))
    assert value(turned, "stroma", codes.STIL) == pytest.approx(value(run(slide), "stroma", codes.STIL), rel=0.02)


def test_a_coarser_tissue_model_gives_nearly_the_same():
    _, slide = section()
    fine, coarse = run(slide), run(slide, predictor(tissue_um=2.0))
    (mask,) = coarse.segmentations
    assert mask.factor == 2
    assert value(coarse, "stroma", codes.AREA) == pytest.approx(value(fine, "stroma", codes.AREA), rel=0.05)
    assert value(coarse, "stroma", codes.STIL) == pytest.approx(value(fine, "stroma", codes.STIL), rel=0.05)


def test_the_map_shows_each_field_and_adds_up():
    truth, slide = section()
    result = run(slide, field_um=100)
    (heat,) = result.maps
    assert (heat.factor, heat.values.shape, heat.quantity, heat.unit) == (100, (7, 8), codes.STIL, codes.PERCENT)
    stroma, covered = expected(truth, slide, result)
    pad = [(0, 80), (0, 0)]
    per_field = [np.pad(m, pad).reshape(7, 100, 8, 100).sum(axis=(1, 3)) for m in (stroma, covered)]
    known = per_field[0] >= 1000
    assert known.any()
    assert not known.all()
    assert heat.values[~known] == pytest.approx(NO_VALUE)
    assert heat.values[known] == pytest.approx(100 * per_field[1][known] / per_field[0][known], abs=1e-4)


def test_without_tumour_or_stroma_there_is_no_score():
    truth, slide = section()
    bare = painted.slide(Truth(np.where(truth.tissue > 0, STROMA, 0).astype(np.uint8), truth.cells), UM)
    quantity = "stromal tumour infiltrating lymphocytes"
    result = run(bare)
    assert reasons(result)[quantity] == "not analysed because no tumour was found in the tissue"
    assert result.findings == ()
    result = run(slide, min_stroma_mm2=5)
    assert "mm2 of stroma and at least 5 mm2 is needed" in reasons(result)[quantity]
    assert {f.key for f in result.findings} == {"tumour bed"}
    assert result.maps == result.annotations == ()


def test_what_it_needs_it_says():
    _, slide = section()
    with pytest.raises(ConfigurationError, match="needs a companion tissue"):
        PIPELINE.run(job(), slide, painted.cell_model(UM), Progress())
    truth, _ = section()
    brown = painted.slide(truth, UM, stain="H-DAB")
    knows = painted.both(painted.cell_model(UM, stains=("H&E",)), painted.tissue_model(UM))
    assert isinstance(PIPELINE.run(job(), brown, knows, Progress()), Ungradable)


def test_golden():
    """What the section gave when its numbers were last checked by hand."""
    _, slide = section()
    result = run(slide, cytoplasm_um=1)
    assert {m.name: round(m.value, 3) for f in result.findings for m in f.measurements} == {
        codes.TUMOUR_BED_AREA: 0.178,
        codes.AREA: 0.06,
        codes.LYMPHOCYTE_COUNT: 146,
        codes.LYMPHOCYTE_DENSITY: 2435.525,
        codes.STIL: 14.099,
    }
