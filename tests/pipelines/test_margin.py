"""From tumour to the margin: the path must be that of a slide whose tumour and ink are known to the pixel."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.drawing import Drawing
from airouter.domain.finding import Result, Ungradable
from airouter.domain.priority import Priority
from airouter.pipelines import PIPELINES, problem
from tests.pipelines import sections
from tests.pipelines.oracle import Progress, job, reasons, rests_on, value
from tests.pipelines.sections import BACKGROUND, INK, NORMAL, STROMA, TUBULE, TUMOUR, disc

PIPELINE = PIPELINES["margin"]


def piece(shape=(300, 320)):
    """A piece of tissue from row 30 to 270 and column 30 to 290."""
    classes = sections.glass(*shape)
    classes[30:270, 30:290] = NORMAL
    return classes


@functools.cache
def inked():
    """Ink along the left edge, up to column 40; a block of tumour from column 100, row 80 to 140."""
    classes = piece()
    classes[30:270, 30:40] = INK
    classes[80:140, 100:160] = TUMOUR
    return classes


def run(classes, knows=None, drawings=(), spacing_um=sections.SPACING, **parameters):
    images = dataclasses.replace(sections.slide(classes, spacing_um), annotations=tuple(drawings))
    result = PIPELINE.run(job(**parameters), images, knows or sections.oracle(), Progress())
    assert isinstance(result, Result), result
    return result


def evaluation(result, name, key="margin"):
    (finding,) = [f for f in result.findings if f.key == key]
    (found,) = [e.value for e in finding.evaluations if e.name == name]
    return found


def millimetres(result):
    return value(result, "margin", codes.DISTANCE)


def test_the_distance_to_ink_is_the_truth_and_the_path_lies_where_it_is():
    result = run(inked())
    assert millimetres(result) == pytest.approx(0.060)  # columns 40 to 99
    (finding,) = result.findings
    assert finding.region.graphic == "POLYLINE"
    (start, end) = finding.region.points.tolist()
    assert (start[0], end[0]) == (100, 40)
    assert start[1] == end[1]
    assert 80 <= start[1] <= 140
    assert evaluation(result, codes.MARGIN_USED) == codes.MARGIN_INK
    assert (finding.finding, finding.method) == (codes.SURGICAL_MARGIN, codes.METHOD_MARGIN)
    assert finding.measurements[0].unit == codes.MM


@pytest.mark.parametrize(("slide_um", "model_um"), [(0.5, 1.0), (1.0, 1.0), (1.0, 1.3), (0.66, 1.0), (1.0, 0.7)])
def test_at_any_spacing_it_is_within_a_pixel_of_the_model(slide_um, model_um):
    classes = piece()
    classes[30:270, 270:290] = INK
    classes[disc(classes.shape, 150, 130, 50)] = TUMOUR
    classes[disc(classes.shape, 150, 130, 30)] = TUBULE
    result = run(classes, sections.oracle(spacing_um=model_um), spacing_um=slide_um)
    # the discs' right edge is at 180, the ink begins at 270
    assert millimetres(result) == pytest.approx(90 * slide_um / 1000, abs=1.5 * max(model_um, slide_um) / 1000)
    points = result.findings[0].region.points
    assert np.hypot(*(points[1] - points[0])) * slide_um / 1000 == pytest.approx(millimetres(result), rel=0.02)


def test_a_slanting_path_is_as_long_as_pythagoras_says():
    classes = piece()
    classes[30:60, 30:60] = INK
    classes[100:200, 90:200] = TUMOUR  # 40 down, 30 across
    assert millimetres(run(classes)) == pytest.approx(0.050)


def test_tumour_on_ink_is_positive():
    classes = inked().copy()
    classes[80:140, 40:160] = TUMOUR
    result = run(classes)
    assert millimetres(result) == 0
    assert evaluation(result, codes.MARGIN_STATUS) == codes.MARGIN_POSITIVE
    assert result.verdict.priority is Priority.HIGH
    assert result.verdict.reason == "margin positive: tumour 0.00 mm from the ink"
    assert rests_on(result.verdict) == ["margin"]
    (finding,) = result.findings
    assert finding.region.graphic == "POINT"
    assert finding.region.points.tolist() == [[40, 80]]


@pytest.mark.parametrize(
    ("parameters", "status", "priority"),
    [
        ({}, codes.MARGIN_CLOSE, Priority.ROUTINE),
        ({"close_high": 1}, codes.MARGIN_CLOSE, Priority.HIGH),
        ({"clearance_mm": 0.061}, codes.MARGIN_CLOSE, Priority.ROUTINE),
        ({"clearance_mm": 0.06}, codes.MARGIN_CLEAR, Priority.ROUTINE),
        ({"clearance_mm": 0, "close_high": 1}, codes.MARGIN_CLEAR, Priority.ROUTINE),
        ({"positive_um": 59}, codes.MARGIN_CLOSE, Priority.ROUTINE),
        ({"positive_um": 60}, codes.MARGIN_POSITIVE, Priority.HIGH),
    ],
)
def test_the_status_follows_the_clearance(parameters, status, priority):
    result = run(inked(), **parameters)
    assert evaluation(result, codes.MARGIN_STATUS) == status
    assert result.verdict.priority is priority


def test_without_ink_the_edge_of_the_tissue_is_taken_and_said():
    classes = piece()
    classes[100:150, 100:150] = TUMOUR
    result = run(classes)
    assert evaluation(result, codes.MARGIN_USED) == codes.MARGIN_EDGE
    # to the left, 70; the tissue's mask has pixels of 5 um, and its edge lies within one of the true edge
    assert millimetres(result) == pytest.approx(0.070, abs=0.005)
    assert "need not be a surgical margin" in result.findings[0].comment
    assert reasons(run(classes, edge=0)) == {
        "distance to the margin": "not analysed because there is neither ink nor a drawn margin on the slide"
    }


def test_holes_and_narrow_clefts_are_no_edge():
    classes = piece()
    classes[100:150, 100:150] = TUMOUR
    plain = millimetres(run(classes))
    classes[160:240, 160:280] = BACKGROUND  # a hole 10 um below and right of the tumour
    classes[30:95, 120:126] = BACKGROUND  # a cleft that ends 5 um above it
    torn = run(classes, tear_um=20)
    assert millimetres(torn) == pytest.approx(plain, abs=0.0011)  # the mouth of the cleft is rounded
    # a wide cleft is the edge
    classes[30:95, 100:200] = BACKGROUND
    assert millimetres(run(classes, tear_um=20)) == pytest.approx(0.005, abs=0.001)


def test_where_the_scan_ends_the_tissue_has_no_edge():
    classes = sections.glass(300, 320)
    classes[:, :200] = NORMAL  # runs on above, below and to the left
    classes[120:180, 10:100] = TUMOUR
    result = run(classes)
    assert millimetres(result) == pytest.approx(0.100, abs=0.006)
    assert "runs on beyond the scan" in result.findings[0].comment
    whole = np.full((300, 320), NORMAL, np.uint8)
    whole[120:180, 10:100] = TUMOUR
    assert "no edge of the tissue with tumour lies on the scan" in reasons(run(whole))["distance to the margin"]


def two_pieces():
    """Tumour in the left piece, 20 um from the gap of 80 um; another piece on its right."""
    classes = sections.glass(300, 460)
    classes[30:270, 30:200] = NORMAL
    classes[30:270, 280:430] = NORMAL
    classes[100:160, 140:180] = TUMOUR
    return classes


def test_no_path_leads_over_glass_to_another_piece():
    classes = two_pieces()
    classes[30:270, 280:290] = INK  # 100 um from the tumour, on the other piece
    assert reasons(run(classes)) == {
        "distance to the margin": "not analysed because ink and tumour lie on different pieces of tissue"
    }
    classes[30:270, 30:40] = INK  # on its own piece, 100 um on the other side
    assert millimetres(run(classes)) == pytest.approx(0.100)


def test_of_several_pieces_the_nearest_margin_counts():
    classes = two_pieces()
    classes[30:270, 30:40] = INK
    classes[30:270, 420:430] = INK
    classes[100:160, 350:380] = TUMOUR
    assert millimetres(run(classes)) == pytest.approx(0.040)


def test_specks_are_neither_ink_nor_tumour():
    classes = inked().copy()
    classes[200:205, 42:47] = TUMOUR  # 25 um2, 2 um from the ink
    classes[90:95, 90:95] = INK
    assert millimetres(run(classes)) == pytest.approx(0.060)
    assert millimetres(run(classes, min_tumour_um2=20)) == pytest.approx(0.002)
    assert millimetres(run(classes, min_ink_um2=20)) == pytest.approx(0.005)


LINE = Code("x", "99TEST", "line")


def line(*places, label="Surgical margin", automatic=False, graphic="POLYLINE", kind=LINE):
    return Drawing("1.2.3", label, kind, graphic, automatic, (np.array(places, np.float64),))


def drawn():
    classes = piece()
    classes[100:150, 100:150] = TUMOUR
    return classes


def test_a_margin_that_a_person_drew_is_taken_before_the_edge():
    result = run(drawn(), drawings=[line((220, 30), (220, 270))])
    assert millimetres(result) == pytest.approx(0.070, abs=1e-9)
    assert evaluation(result, codes.MARGIN_USED) == codes.MARGIN_DRAWN
    assert result.findings[0].region.points[:, 0].tolist() == [150, 220]
    typed = line((160, 0), (160, 300), label="", kind=codes.SURGICAL_MARGIN)
    assert millimetres(run(drawn(), drawings=[typed])) == pytest.approx(0.010)


def test_a_drawn_margin_across_tumour_is_positive():
    result = run(drawn(), drawings=[line((90, 160), (160, 95))])
    assert millimetres(result) == 0
    assert evaluation(result, codes.MARGIN_STATUS) == codes.MARGIN_POSITIVE


@pytest.mark.parametrize(
    "other",
    [
        line((155, 30), (155, 270), automatic=True),
        line((155, 30), (155, 270), label="Scale bar"),
        line((155, 30), (155, 270), (200, 100), graphic="POLYGON"),
    ],
)
def test_what_is_no_margin_of_a_person_is_not_taken(other):
    assert evaluation(run(drawn(), drawings=[other]), codes.MARGIN_USED) == codes.MARGIN_EDGE


def test_ink_goes_before_a_drawn_margin():
    assert evaluation(run(inked(), drawings=[line((165, 30), (165, 270))]), codes.MARGIN_USED) == codes.MARGIN_INK


def test_a_drawn_margin_belongs_to_the_piece_it_lies_at():
    far = line((240, 30), (240, 270))  # 40 um off the left piece and off the right one
    left, right = line((205, 30), (205, 270)), line((275, 30), (275, 270))
    assert millimetres(run(two_pieces(), drawings=[left])) == pytest.approx(0.025)
    assert reasons(run(two_pieces(), drawings=[right])) == {
        "distance to the margin": "not analysed because the drawn margin and tumour lie on different pieces of tissue"
    }
    assert (
        "more than 30 um from the tissue"
        in reasons(run(two_pieces(), drawings=[far], reach_um=30))["distance to the margin"]
    )


def test_without_tumour_there_is_no_distance():
    why = "not analysed because no tumour was found on the slide"
    classes = inked().copy()
    classes[classes == TUMOUR] = STROMA
    for images, drawings in ((classes, ()), (piece(), ()), (piece(), [line((50, 50), (60, 60))])):
        result = run(images, drawings=drawings)
        assert reasons(result) == {"distance to the margin": why}
        assert result.findings == ()
        assert result.verdict.priority is Priority.ROUTINE
        assert result.verdict.reason == f"distance to the margin {why}"


@given(st.integers(60, 240), st.integers(60, 250), st.integers(3, 20))
@settings(max_examples=8, deadline=None)
def test_more_tumour_never_makes_the_distance_longer(row, column, side):
    before = millimetres(run(inked(), min_tumour_um2=0))
    classes = inked().copy()
    there = np.s_[row - side // 2 : row + side // 2 + 1, column - side // 2 : column + side // 2 + 1]
    classes[there] = TUMOUR
    after = millimetres(run(classes, min_tumour_um2=0))
    assert after <= before + 1e-12
    assert after == pytest.approx(min(before, (column - side // 2 - 40) / 1000))


@pytest.mark.parametrize("turned", [np.rot90, np.fliplr, np.transpose])
def test_turning_the_slide_leaves_the_distance(turned):
    classes = piece()
    classes[30:60, 30:60] = INK
    classes[disc(classes.shape, 170, 190, 40)] = TUMOUR
    assert millimetres(run(np.ascontiguousarray(turned(classes)))) == pytest.approx(millimetres(run(classes)))


def test_golden_numbers():
    """Any change of these is a change of the definition, and needs a new version of the pipeline."""
    classes = piece()
    classes[30:60, 30:60] = INK
    classes[disc(classes.shape, 170, 190, 40)] = TUMOUR
    distance = millimetres(run(classes))
    assert distance == pytest.approx((np.hypot(130, 110) - 40) / 1000, abs=0.001)
    assert round(distance, 6) == 0.129727


def test_the_mask_that_was_measured_on_is_shown():
    (mask,) = run(inked()).segmentations
    assert np.array_equal((mask.mask == INK)[40:260, 30:280], (inked() == INK)[40:260, 30:280])


def test_what_does_not_fit_is_refused_or_ungradable():
    assert "lacks the classes tumour" in problem(PIPELINE, sections.oracle(("background", "ink")).model)
    assert "may overlap" in problem(PIPELINE, sections.oracle(exclusive=False).model)
    outcome = PIPELINE.run(job(), sections.slide(inked()), sections.oracle(stains=("H-DAB",)), Progress())
    assert isinstance(outcome, Ungradable)
