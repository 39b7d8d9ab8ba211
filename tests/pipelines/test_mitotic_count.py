"""Mitotic figures of a painted slide: each counted once, the densest window found, densities per area that is true."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.priority import Priority
from airouter.imaging.hotspot import radius_um
from airouter.pipelines import PIPELINES
from airouter.pipelines.mitoses_of_slide import _groups
from tests.pipelines import painted
from tests.pipelines.oracle import Progress, job, names, reasons, rests_on, value
from tests.pipelines.painted import STROMA, TUMOUR, Truth

PIPELINE = PIPELINES["mitotic-count"]
UM = 2.0


def cells(**changes):
    return painted.cell_model(UM, ("mitosis",), **changes)


def run(slide, predictor=None, **parameters):
    result = PIPELINE.run(job(**parameters), slide, predictor or cells(), Progress())
    assert isinstance(result, Result), result
    return result


@functools.cache
def section():
    """2.2 x 2.4 mm of tissue; a clump of nine figures, eleven far apart, three of these in stroma."""
    tissue = np.zeros((1200, 1300), np.uint8)
    tissue[50:1150, 50:1250] = STROMA
    tissue[50:1150, 50:1000] = TUMOUR
    truth = Truth.of(tissue)
    truth.squares("mitosis", (700, 740, 780), (300, 340, 380), 4)
    for row, column in ((90, 100), (90, 900), (500, 90), (1100, 90), (1100, 980), (90, 500), (1100, 600), (400, 950)):
        truth.square("mitosis", row, column, 4)
    for row, column in ((90, 1200), (600, 1200), (1100, 1200)):
        truth.square("mitosis", row, column, 4)
    return truth, painted.slide(truth, UM)


def centres(truth):
    """The middles of the squares, in (column, row)."""
    rows, columns = np.nonzero(
        (truth.cells > 0) & (np.roll(truth.cells, 1, 0) == 0) & (np.roll(truth.cells, 1, 1) == 0)
    )
    return np.stack([columns, rows], axis=1) + 2.0


def test_every_figure_is_a_point_at_its_place():
    truth, slide = section()
    result = run(slide)
    (group,) = result.annotations
    assert (group.graphic, group.type, group.source) == ("POINT", codes.MITOTIC_FIGURE, slide.base.instance_uid)
    assert sorted(map(tuple, group.points.tolist())) == sorted(map(tuple, centres(truth).tolist()))
    assert (group.measurements[codes.AREA, codes.UM2] == 16 * UM**2).all()
    assert value(result, "overall", codes.MITOTIC_COUNT) == 20
    area = value(result, "overall", codes.TISSUE_AREA)
    assert area == pytest.approx((truth.tissue > 0).sum() * UM**2 * 1e-6, rel=0.02)
    assert value(result, "overall", codes.MITOTIC_DENSITY) == pytest.approx(20 / area)
    assert all(f.method == codes.METHOD_MITOSES for f in result.findings)


def best_by_force(points_um, radius, step):
    axes = [np.arange(0, points_um[:, n].max() + step, step) for n in (0, 1)]
    around = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 1, 2)
    return int((np.hypot(*(around - points_um).transpose(2, 0, 1)) <= radius).sum(axis=1).max())


def test_the_hotspot_is_the_window_with_most_figures():
    truth, slide = section()
    result = run(slide)
    count = value(result, "hotspot", codes.MITOTIC_COUNT)
    assert count == best_by_force(centres(truth) * UM, radius_um(2.0), 10.0)
    assert value(result, "hotspot", codes.AREA) == 2.0
    small = run(slide, hotspot_mm2=0.1)
    assert value(small, "hotspot", codes.MITOTIC_COUNT) == 9
    assert value(small, "hotspot", codes.AREA) == 0.1
    (region,) = [f.region for f in small.findings if f.key == "hotspot"]
    assert region.points.mean(axis=0) == pytest.approx([342, 742], abs=1)
    assert np.hypot(*(region.points - [342, 742]).T) * UM == pytest.approx(radius_um(0.1), rel=0.01)
    # wholly on tissue: one density, of the window, which is tissue
    assert value(small, "hotspot", codes.TISSUE_AREA) == 0.1
    assert value(small, "hotspot", codes.MITOTIC_DENSITY) == pytest.approx(90.0)
    assert codes.MITOTIC_WINDOW_DENSITY not in names(small, "hotspot")


def test_a_window_with_a_figure_at_the_edge_is_moved_onto_the_tissue():
    tissue = np.zeros((700, 700), np.uint8)
    tissue[:, 100:600] = STROMA
    truth = Truth.of(tissue)
    truth.square("mitosis", 348, 110, 4)  # 24 um from the edge, in a window of 100 um radius
    result = run(painted.slide(truth, UM), hotspot_mm2=np.pi * 0.01)
    assert value(result, "hotspot", codes.MITOTIC_COUNT) == 1
    assert value(result, "hotspot", codes.TISSUE_AREA) == value(result, "hotspot", codes.AREA)
    (region,) = [f.region for f in result.findings if f.key == "hotspot"]
    assert region.points[:, 0].min() >= 98
    assert np.hypot(*(region.points.mean(axis=0) - [112, 350])) * UM <= 100


def test_where_a_window_is_wider_than_the_tissue_both_densities_are_given():
    tissue = np.zeros((700, 700), np.uint8)
    tissue[:, 300:360] = STROMA  # 120 um
    truth = Truth.of(tissue)
    truth.square("mitosis", 348, 328, 4)
    window = np.pi * 0.01  # 100 um radius
    result = run(painted.slide(truth, UM), hotspot_mm2=window)
    on_tissue = 2 * (0.06 * 0.08 + 0.01 * np.arcsin(0.6))
    assert value(result, "hotspot", codes.MITOTIC_COUNT) == 1
    assert value(result, "hotspot", codes.AREA) == pytest.approx(window)
    assert value(result, "hotspot", codes.TISSUE_AREA) == pytest.approx(on_tissue, abs=0.02 * 0.2)  # the mask's pixels
    tissue_mm2 = value(result, "hotspot", codes.TISSUE_AREA)
    assert tissue_mm2 < window
    assert value(result, "hotspot", codes.MITOTIC_DENSITY) == pytest.approx(1 / tissue_mm2)
    assert value(result, "hotspot", codes.MITOTIC_WINDOW_DENSITY) == pytest.approx(1 / window)


def test_with_a_tissue_model_only_figures_in_tumour_count():
    truth, slide = section()
    result = run(slide, painted.both(cells(), painted.tissue_model(UM)))
    assert value(result, "overall", codes.MITOTIC_COUNT) == 17
    area = (truth.tissue == TUMOUR).sum() * UM**2 * 1e-6
    assert value(result, "overall", codes.AREA) == pytest.approx(area, rel=0.02)
    assert value(result, "overall", codes.MITOTIC_DENSITY) == pytest.approx(17 / value(result, "overall", codes.AREA))
    assert len(result.annotations[0]) == 17
    assert result.annotations[0].points[:, 0].max() < 1000
    assert {s.role for s in result.segmentations} == {"classes"}


def test_a_tumour_smaller_than_the_hotspot_has_a_density_and_no_count():
    _, slide = section()
    result = run(slide, painted.both(cells(), painted.tissue_model(UM)), hotspot_mm2=5.0)
    area = value(result, "overall", codes.AREA)
    why = f"not analysed because the tumour measures {area:.3g} mm2 and the hotspot 5 mm2"
    assert reasons(result) == {"mitotic count in the hotspot": why}
    assert {f.key for f in result.findings} == {"overall"}
    assert value(result, "overall", codes.MITOTIC_DENSITY) == pytest.approx(17 / area)
    assert "no count" in result.verdict.reason


def test_without_tumour_nothing_is_counted():
    truth, _ = section()
    slide = painted.slide(Truth(np.where(truth.tissue == TUMOUR, STROMA, truth.tissue), truth.cells), UM)
    result = run(slide, painted.both(cells(), painted.tissue_model(UM)))
    assert "no tumour was found" in reasons(result)["mitotic count in the hotspot"]
    assert result.annotations == ()
    assert names(result, "overall") == {codes.TISSUE_AREA, codes.AREA}


def test_a_slide_without_figures_counts_none():
    truth, _ = section()
    result = run(painted.slide(Truth.of(truth.tissue), UM))
    assert value(result, "hotspot", codes.MITOTIC_COUNT) == 0
    assert value(result, "hotspot", codes.MITOTIC_DENSITY) == 0
    assert result.annotations == ()
    assert result.not_analysed == ()


def test_two_plates_of_one_division_are_one_figure():
    truth = Truth.of(np.full((600, 600), STROMA, np.uint8))
    truth.square("mitosis", 300, 300, 2, 5)  # two plates 8 um apart
    truth.square("mitosis", 304, 300, 2, 5)
    truth.square("mitosis", 300, 400, 4)  # and two figures 16 um apart
    truth.square("mitosis", 300, 408, 4)
    slide = painted.slide(truth, UM)
    result = run(slide, hotspot_mm2=0.1)
    (group,) = result.annotations
    assert [302.5, 303.0] in group.points.tolist()
    assert len(group) == 3
    assert len(run(slide, hotspot_mm2=0.1, merge_um=7).annotations[0]) == 4
    assert len(run(slide, hotspot_mm2=0.1, merge_um=16).annotations[0]) == 2


def test_a_chain_of_parts_is_not_one_figure():
    chain = np.array([[0.0, 0.0], [8.0, 0.0], [16.0, 0.0], [24.0, 0.0], [100.0, 0.0]])
    group = _groups(chain, 10.0)
    assert group.tolist() == [0, 0, 1, 1, 2]
    assert _groups(chain, 0.0).tolist() == [0, 1, 2, 3, 4]


def test_parts_that_are_too_small_are_not_counted():
    truth = Truth.of(np.full((500, 500), STROMA, np.uint8))
    truth.square("mitosis", 200, 200, 1)  # 4 um2
    truth.square("mitosis", 300, 300, 2)  # 16 um2
    slide = painted.slide(truth, UM)
    for least, count in ((8, 1), (4, 2), (17, 0)):
        assert value(run(slide, min_mitosis_um2=least, hotspot_mm2=0.1), "overall", codes.MITOTIC_COUNT) == count


@given(st.integers(0, 63), st.integers(0, 63), st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_seams_do_not_change_the_count(down, right, seed):
    """Figures on every border between patches, wherever these run."""
    rng = np.random.default_rng(seed)
    truth = Truth.of(np.full((400, 400), STROMA, np.uint8))
    for row in range(10 + down % 20, 385, 25):
        for column in range(10 + right % 20, 385, 25):
            truth.square("mitosis", row + int(rng.integers(0, 3)), column + int(rng.integers(0, 3)), 4)
    model = cells(size=(96, 96), overlap=16)
    result = run(painted.slide(truth, UM), model, hotspot_mm2=0.1)
    assert value(result, "overall", codes.MITOTIC_COUNT) == len(centres(truth))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_slide_has_the_same_counts(quarters):
    truth, slide = section()
    turned = painted.slide(truth.turned(quarters), UM)
    for window in (0.1, 1.0):
        counts = [
            [value(run(s, hotspot_mm2=window), key, codes.MITOTIC_COUNT) for key in ("overall", "hotspot")]
            for s in (slide, turned)
        ]
        assert counts[0] == counts[1]


def test_the_priority_follows_the_count():
    _, slide = section()
    assert run(slide, hotspot_mm2=0.1).verdict.reason == "9 mitotic figures in the hotspot of 0.1 mm2"
    assert run(slide, hotspot_mm2=0.1, high_count=10).verdict.priority is Priority.ROUTINE
    high = run(slide, hotspot_mm2=0.1, high_count=9).verdict
    assert (high.priority, high.reason) == (Priority.HIGH, "9 mitotic figures in the hotspot of 0.1 mm2 reach 9")
    assert rests_on(high) == ["hotspot"]


def test_another_stain_is_not_analysed():
    truth, _ = section()
    slide = painted.slide(truth, UM, stain="H-DAB")
    found = PIPELINE.run(job(), slide, cells(stains=("H&E",)), Progress())
    assert found == Ungradable("not analysed because the stain is H-DAB, and mitoses are counted in H&E")
    tissue = painted.tissue_model(UM, stains=("H&E",))
    assert PIPELINE.run(job(), slide, painted.both(cells(), tissue), Progress()) == found


def test_the_threads_do_not_matter():
    _, slide = section()
    one, four = (run(slide, workers=n) for n in (1, 4))
    assert one.findings[0].measurements == four.findings[0].measurements
    assert np.array_equal(one.annotations[0].points, four.annotations[0].points)


def test_golden():
    """What the section gave when its numbers were last checked by hand."""
    _, slide = section()
    result = run(slide, painted.both(cells(), painted.tissue_model(UM)))
    assert {f.key: {m.name: round(m.value, 3) for m in f.measurements} for f in result.findings} == {
        "overall": {
            codes.TISSUE_AREA: 5.28,
            codes.AREA: 4.18,
            codes.MITOTIC_COUNT: 17,
            codes.MITOTIC_DENSITY: 4.067,
        },
        "hotspot": {
            codes.AREA: 2.0,
            codes.TISSUE_AREA: 1.713,
            codes.MITOTIC_COUNT: 12,
            codes.MITOTIC_DENSITY: 7.004,
            codes.MITOTIC_WINDOW_DENSITY: 6.0,
        },
    }
