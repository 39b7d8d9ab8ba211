"""A visual field becomes findings: what it carries, checked against itself, and nothing that it does not carry."""

from statistics import fmean

import highdicom as hd
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.priority import Priority
from airouter.domain.study import Laterality
from airouter.pipelines import PIPELINES
from airouter.pipelines.garway_heath import CODES, Sector, sector_of
from phantoms import perimetry
from phantoms.dicom import field_instance
from tests.data import data
from tests.pipelines.fields import KEPT, field, rules
from tests.pipelines.oracle import Progress, job, names, opened, reasons, rests_on, value
from tests.pipelines.test_results_become_dicom import read_back, written

PIPELINE = PIPELINES["visual-field"]


def run(dataset, **parameters):
    result = PIPELINE.run(job(**parameters), opened([dataset]), rules("visual-field"), Progress())
    assert isinstance(result, Result), result
    return result


def evaluation(result, key, name):
    (finding,) = [f for f in result.findings if f.key == key]
    found = [e.value for e in finding.evaluations if e.name == name]
    return found[0] if found else None


def keys(result):
    return {f.key for f in result.findings}


def arcuate(x, y):
    """A right eye that lost the inferotemporal sector of its disc."""
    return -20.0 if sector_of(x, y, Laterality.R) is Sector.INFEROTEMPORAL else -1.0


def test_everything_that_the_field_carries():
    result = run(
        field(-2.0, vfi=(93.0, 2.0), ght=codes.OUTSIDE_NORMAL_LIMITS, fixation=(2, 16), false_positives=(1, 10),
              false_positive_percent=4.0, false_negatives=(1, 8), false_negative_percent=6.0, duration_s=281.0)
    )  # fmt: skip
    for name, number in (
        (codes.MEAN_DEVIATION, -2.0), (codes.MD_PROBABILITY, 100.0), (codes.PATTERN_STANDARD_DEVIATION, 2.5),
        (codes.PSD_PROBABILITY, 5.0), (codes.VISUAL_FIELD_INDEX, 93.0), (codes.VFI_PROBABILITY, 2.0),
        (codes.FIELD_POINTS, 52), (codes.FIELD_NOT_SEEN, 0), (codes.MEAN_TOTAL_DEVIATION, -2.0),
    ):  # fmt: skip
        assert value(result, "field", name) == pytest.approx(number)
    for name, number in (
        (codes.FIXATION_LOSS_RATIO, 0.125), (codes.FALSE_POSITIVE_RATIO, 0.1), (codes.FALSE_POSITIVE_PERCENT, 4.0),
        (codes.FALSE_NEGATIVE_RATIO, 0.125), (codes.FALSE_NEGATIVE_PERCENT, 6.0), (codes.FIELD_DURATION, 281.0),
    ):  # fmt: skip
        assert value(result, "reliability", name) == pytest.approx(number)
    assert evaluation(result, "field", codes.GHT) == codes.OUTSIDE_NORMAL_LIMITS
    assert evaluation(result, "field", codes.FIELD_STAGE) == codes.FIELD_MILD
    assert evaluation(result, "reliability", codes.FIELD_RELIABLE) == codes.YES
    assert result.not_analysed == ()
    assert result.verdict.priority is Priority.ROUTINE
    assert {f.laterality for f in result.findings} == {Laterality.R}
    comment = result.findings[1].comment
    for part in ("24-2", "SITA-Standard", "Phantom Works Phantom", "Phantom normals 1", "66 years"):
        assert part in comment


def test_what_the_field_does_not_carry_is_said_and_not_made_up():
    result = run(field_instance())
    assert names(result, "field") == {codes.FIELD_POINTS, codes.FIELD_NOT_SEEN}
    assert keys(result) == {"reliability", "field"}
    said = reasons(result)
    for quantity in (
        "total deviation", "pattern deviation", "mean deviation", "pattern standard deviation", "visual field index",
        "glaucoma hemifield test", codes.FIELD_STAGE.meaning, "visual field by sectors of the optic disc",
    ):  # fmt: skip
        assert said[quantity].startswith("not analysed because")
    assert result.verdict.priority is Priority.ROUTINE


@pytest.mark.parametrize("laterality", ["R", "L"])
def test_a_defect_lies_in_its_sector_of_the_disc_in_either_eye(laterality):
    result = run(field(arcuate, laterality))
    for sector in Sector:
        expected = -20.0 if sector is Sector.INFEROTEMPORAL else -1.0
        assert value(result, f"sector {sector}", codes.MEAN_TOTAL_DEVIATION) == pytest.approx(expected)
        (finding,) = [f for f in result.findings if f.key == f"sector {sector}"]
        assert finding.finding == CODES[sector]
    assert sum(value(result, f"sector {sector}", codes.FIELD_POINTS) for sector in Sector) == 52
    assert value(result, "field", codes.MEAN_TOTAL_DEVIATION) == pytest.approx((13 * -20 + 39 * -1) / 52)


def test_points_below_their_limits_are_counted_without_the_blind_spot():
    depth = dict(zip(KEPT, [-6.0] * 4 + [-8.5] * 3 + [-12.0] * 2 + [-1.0] * 43, strict=True))
    result = run(field(lambda x, y: depth.get((x, y), -15.0)))
    assert value(result, "field", codes.TOTAL_BELOW_5) == 9
    assert value(result, "field", codes.TOTAL_BELOW_1) == 5
    assert value(result, "field", codes.PATTERN_BELOW_5) == 5  # 1 dB higher
    assert value(result, "field", codes.PATTERN_BELOW_1) == 2
    assert value(result, "field", codes.FIELD_POINTS) == 52


@pytest.mark.parametrize(
    ("md", "stage", "priority"),
    [
        (-5.9, codes.FIELD_MILD, Priority.ROUTINE),
        (-6.0, codes.FIELD_MILD, Priority.ROUTINE),
        (-6.1, codes.FIELD_MODERATE, Priority.HIGH),
        (-12.0, codes.FIELD_MODERATE, Priority.HIGH),
        (-12.1, codes.FIELD_ADVANCED, Priority.STAT),
        (-30.0, codes.FIELD_ADVANCED, Priority.STAT),
    ],
)
def test_the_mean_deviation_decides_stage_and_priority(md, stage, priority):
    result = run(field(md))
    assert evaluation(result, "field", codes.FIELD_STAGE) == stage
    assert result.verdict.priority is priority
    assert f"mean deviation {md:.2f} dB" in result.verdict.reason
    assert rests_on(result.verdict) == ["field"]


def test_a_site_may_ask_for_less_than_stat_and_for_other_limits():
    assert run(field(-13.0), advanced_priority="HIGH").verdict.priority is Priority.HIGH
    assert run(field(-13.0), advanced_md_db=-15.0).verdict.priority is Priority.HIGH
    assert run(field(-5.0), moderate_md_db=-4.0).verdict.priority is Priority.HIGH


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fixation": (3, 12)}, "fixation losses 25 % (3 of 12) above 20 %"),
        ({"false_positive_percent": 16.0}, "false positives 16 % above 15 %"),
        ({"false_positive_percent": None, "false_positives": (2, 8)}, "false positives 25 % (2 of 8) above 15 %"),
        ({"false_negative_percent": 40.0}, "false negatives 40 % above 33 %"),
        ({"excessive": ("positives",)}, "false positives are excessive, says the perimeter"),
        ({"excessive": ("fixation",), "fixation": None}, "fixation losses are excessive, says the perimeter"),
    ],
)
def test_an_unreliable_field_is_never_urgent(changes, why):
    result = run(field(-20.0, **changes))
    assert result.verdict.priority is Priority.ROUTINE
    assert why in result.verdict.reason
    assert evaluation(result, "reliability", codes.FIELD_RELIABLE) == codes.NO
    assert evaluation(result, "field", codes.FIELD_STAGE) is None
    assert why in reasons(result)[codes.FIELD_STAGE.meaning]
    assert value(result, "field", codes.MEAN_DEVIATION) == pytest.approx(-20.0)  # still what the object says


@pytest.mark.parametrize(
    "changes", [{"fixation": (2, 10)}, {"false_positive_percent": 15.0}, {"false_negative_percent": 33.0}]
)
def test_a_limit_that_is_just_reached_is_kept(changes):
    assert evaluation(run(field(**changes)), "reliability", codes.FIELD_RELIABLE) == codes.YES


def test_an_estimate_goes_before_a_count_of_few_trials():
    result = run(field(false_positives=(2, 8), false_positive_percent=4.0))
    assert evaluation(result, "reliability", codes.FIELD_RELIABLE) == codes.YES


def test_limits_of_reliability_are_parameters():
    assert (
        evaluation(run(field(fixation=(3, 12)), max_fixation_losses=30), "reliability", codes.FIELD_RELIABLE)
        == codes.YES
    )


def test_reliability_that_was_not_recorded_is_neither_good_nor_bad():
    nothing = dict.fromkeys(
        ("fixation", "false_positives", "false_positive_percent", "false_negatives", "false_negative_percent")
    )
    result = run(field(-14.0, **nothing))
    assert evaluation(result, "reliability", codes.FIELD_RELIABLE) == codes.UNDETERMINED
    assert result.verdict.priority is Priority.STAT
    assert result.verdict.reason.endswith("reliability was not recorded")


def test_a_mean_deviation_of_the_other_sign_is_not_taken():
    """Some perimeters call a loss positive; the standard does not."""
    result = run(field(-14.0, md=(14.0, None)))
    assert codes.MEAN_DEVIATION not in names(result, "field")
    assert (
        "14.00 dB cannot be a mean of total deviations between -14.0 and -14.0 dB" in reasons(result)["mean deviation"]
    )
    assert evaluation(result, "field", codes.FIELD_STAGE) is None
    assert result.verdict.priority is Priority.ROUTINE


def test_a_mean_deviation_apart_from_the_plain_mean_is_remarked_on():
    half = field(lambda x, y: -20.0 if y > 0 else 0.0, md=(-14.0, 0.5))
    assert "differs from the unweighted mean of the total deviations by 4.0 dB" in run(half).findings[1].comment
    assert "differs" not in run(half, max_md_difference_db=5).findings[1].comment
    assert value(run(half), "field", codes.MEAN_TOTAL_DEVIATION) == pytest.approx(-10.0)


def test_a_total_deviation_from_no_normal_eye_is_not_taken():
    dataset = field(-3.0)
    dataset.VisualFieldTestPointSequence[7].SensitivityValue = 3.0  # 3 dB and -3 dB: a normal of 6 dB
    result = run(dataset)
    assert "no normal value at 1 points, first 6.0 dB" in reasons(result)["total and pattern deviation"]
    assert keys(result) == {"reliability", "field"}
    assert codes.TOTAL_BELOW_5 not in names(result, "field")
    assert codes.MEAN_DEVIATION in names(result, "field")


def test_a_pattern_deviation_without_one_correction_is_not_taken():
    dataset = field(-3.0)
    for point in dataset.VisualFieldTestPointSequence[:5]:
        point.VisualFieldTestPointNormalsSequence[0].GeneralizedDefectCorrectedSensitivityDeviationValue = -8.0
    result = run(dataset)
    assert "5 points are more than 1.5 dB off" in reasons(result)["pattern deviation"]
    assert codes.PATTERN_BELOW_5 not in names(result, "field")
    assert codes.TOTAL_BELOW_5 in names(result, "field")
    assert codes.PATTERN_BELOW_5 in names(run(dataset, max_deviation_db=7), "field")


def test_a_field_of_few_points_has_few_sectors():
    points = ((-3.0, 3.0, 28.0), (3.0, 3.0, 30.0), (3.0, -3.0, 29.0), (9.0, 9.0, 27.0))
    deviations = [
        (-2.0, 100.0, -1.0, 100.0),
        (-4.0, 100.0, -3.0, 100.0),
        (-3.0, 100.0, -2.0, 100.0),
        (-1.0, 100.0, 0.0, 100.0),
    ]
    result = run(field_instance(points, deviations=deviations))
    assert {key for key in keys(result) if key.startswith("sector")} == {"sector temporal"}
    assert value(result, "sector temporal", codes.MEAN_TOTAL_DEVIATION) == pytest.approx(-3.0)
    assert "1 of its 13 points were tested" in reasons(result)[CODES[Sector.INFEROTEMPORAL].meaning]
    assert {
        k for k in keys(run(field_instance(points, deviations=deviations), min_sector_share=0.6)) if "sector" in k
    } == set()


@pytest.mark.parametrize("laterality", [None, "B"])
def test_without_laterality_nothing_is_analysed(laterality):
    dataset = field()
    if laterality:
        dataset.MeasurementLaterality = laterality
    else:
        del dataset.MeasurementLaterality
    result = PIPELINE.run(job(), opened([dataset]), rules("visual-field"), Progress())
    assert result == Ungradable("not analysed because the laterality is missing")


def test_results_become_dicom():
    dataset = field(arcuate, vfi=(80.0, None), ght=codes.BORDERLINE)
    objects = read_back(written("visual-field", [dataset], rules("visual-field")))
    assert set(objects) == {"scores"}
    report = hd.sr.Comprehensive3DSR.from_dataset(objects["scores"])
    assert report.Modality == "SR"
    numbers = {
        (item.ConceptNameCodeSequence[0].CodeValue, float(item.MeasuredValueSequence[0].NumericValue))
        for item in objects["scores"].iterall()
        if item.keyword == "ContentSequence"
        for item in item.value
        if item.ValueType == "NUM"
    }
    assert (codes.VISUAL_FIELD_INDEX.value, 80.0) in numbers
    said = {
        item.ConceptCodeSequence[0].CodeValue
        for element in objects["scores"].iterall()
        if element.keyword == "ContentSequence"
        for item in element.value
        if item.ValueType == "CODE"
    }
    assert {codes.BORDERLINE.value, codes.FIELD_MILD.value, codes.YES.value, codes.RIGHT.value} <= said


@pytest.mark.parametrize("table", [perimetry.RETEST, perimetry.CONTROLS])
def test_real_fields_contradict_nothing(table):
    folder = data("perimetry")
    reference = perimetry.normals(perimetry.read(folder / perimetry.CONTROLS))
    tests = perimetry.read(folder / table)[::9]
    assert len(tests) >= 29
    for test in tests:
        result = run(perimetry.instance(test, reference))
        said = {n.quantity for n in result.not_analysed} - {codes.FIELD_STAGE.meaning}
        assert said == {"visual field index", "glaucoma hemifield test"}
        assert value(result, "field", codes.MEAN_DEVIATION) == pytest.approx(reference.md(test), abs=1e-5)
        total = reference.total(test)
        kept = [total[n] for n in range(54) if n not in perimetry.BLIND_SPOT]
        assert value(result, "field", codes.MEAN_TOTAL_DEVIATION) == pytest.approx(fmean(kept), abs=1e-5)
        nasal = [total[n] for n in (17, 26, 35, 43)]  # points 18, 27, 36 and 44 of the pattern
        assert value(result, "sector nasal", codes.MEAN_TOTAL_DEVIATION) == pytest.approx(fmean(nasal), abs=1e-5)
        unreliable = test.fixation_losses > 0.2 or test.false_positives > 0.15 or test.false_negatives > 0.33
        assert (evaluation(result, "reliability", codes.FIELD_RELIABLE) == codes.NO) == unreliable
