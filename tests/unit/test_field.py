"""A visual field is read as it stands: every value, nothing where there is none, and no contradictions."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.study import Laterality
from airouter.imaging.field import VisualField
from airouter.imaging.perimetry import Count
from phantoms.dicom import field_instance
from phantoms.dicom.parts import coded, item
from tests.pipelines.oracle import opened

FULL = {
    "points": ((-3.0, 3.0, 28.0), (3.0, 3.0, -1.0), (3.0, -3.0, 29.0)),
    "laterality": "L",
    "strategy": "SITA-Fast",
    "manufacturer": "Perimeters",
    "model": "P1",
    "deviations": [(-2.0, 5.0, -1.0, 100.0), (-32.0, 0.5, -31.0, 0.5), (-1.0, 100.0, None, None)],
    "md": (-11.5, 0.5),
    "psd": (6.5, 1.0),
    "vfi": (66.0, 2.0),
    "ght": codes.BORDERLINE,
    "fixation": (2, 14),
    "false_positives": (1, 10),
    "false_positive_percent": 3.0,
    "false_negatives": (0, 9),
    "false_negative_percent": None,
    "blind_spot": (-15.0, -1.5),
    "foveal_db": 36.0,
    "duration_s": 281.0,
    "when": datetime.datetime(2020, 1, 1, 9, 0, tzinfo=datetime.UTC),
    "birth_date": "19600101",
    "normals": ("Normal eyes", "2"),
}


def read(**changes) -> VisualField:
    made = opened([field_instance(**{**FULL, **changes})])
    assert isinstance(made, VisualField), made
    return made


def refused(dataset) -> str:
    made = opened([dataset])
    assert isinstance(made, Ungradable)
    assert made.reason.startswith("not analysed because")
    return made.reason


def test_everything_that_stands_there():
    field = read()
    assert field.laterality is Laterality.L
    assert field.settings.pattern == codes.PATTERN_24_2
    assert field.settings.strategy.value == "111817"
    assert (field.settings.device, field.settings.normals) == ("Perimeters P1", "Normal eyes 2")
    assert field.settings.stimulus_deg2 == pytest.approx(0.1503)
    assert (field.md.value, field.md.probability) == (-11.5, 0.5)
    assert (field.psd.value, field.psd.probability) == (6.5, 1.0)
    assert (field.vfi.value, field.vfi.probability) == (66.0, 2.0)
    assert field.ght == codes.BORDERLINE
    said = field.reliability
    assert said.fixation_losses == Count(2, 14)
    assert said.fixation_losses.ratio == pytest.approx(1 / 7)
    assert (said.false_positives, said.false_positive_percent) == (Count(1, 10), 3.0)
    assert (said.false_negatives, said.false_negative_percent) == (Count(0, 9), None)
    assert said.excessive == ()
    assert (field.blind_spot, field.foveal, field.duration_s, field.floor) == ((-15.0, -1.5), 36.0, 281.0, 0.0)
    assert field.age == pytest.approx(60.0, abs=0.01)
    first, lost, last = field.points
    assert (first.at, first.seen, first.sensitivity) == ((-3.0, 3.0), True, 28.0)
    assert (first.total, first.total_p, first.pattern, first.pattern_p) == (-2.0, 5.0, -1.0, 100.0)
    assert (lost.seen, lost.sensitivity, lost.total) == (False, -1.0, -32.0)
    assert (last.total, last.pattern, last.pattern_p) == (-1.0, None, None)


def test_the_strategy_may_stand_in_the_context_of_the_pattern():
    dataset = field_instance(**FULL)
    pattern, strategy = dataset.PerformedProtocolCodeSequence
    modifier = item(ValueType="CODE", ConceptCodeSequence=[coded(codes.PATTERN_24_2)])
    pattern.ProtocolContextSequence = [
        item(ValueType="CODE", ConceptCodeSequence=[strategy], ContentItemModifierSequence=[modifier])
    ]
    dataset.PerformedProtocolCodeSequence = [pattern]
    field = opened([dataset])
    assert field.settings.key == read().settings.key


def test_what_does_not_stand_there_is_none():
    field = opened(
        [
            field_instance(
                pattern=None, strategy=None, duration_s=0.0, birth_date="", fixation=None, false_positives=None,
                false_positive_percent=None, false_negatives=None, false_negative_percent=None,
            )
        ]
    )  # fmt: skip
    assert (field.pattern, field.settings.strategy, field.settings.normals) == (None, None, "")
    assert (field.md, field.psd, field.vfi, field.ght, field.foveal, field.blind_spot) == (None,) * 6
    assert (field.duration_s, field.age) == (None, None)
    said = field.reliability
    assert (said.fixation_losses, said.false_positives, said.false_negatives) == (None, None, None)
    assert (said.false_positive_percent, said.false_negative_percent) == (None, None)
    assert all(p.total is None and p.total_p is None and p.pattern is None for p in field.points)


single = st.floats(-40, 45, width=32)
percent = st.sampled_from([0.5, 1.0, 2.0, 5.0, 100.0])
places = st.lists(st.tuples(st.integers(-27, 27), st.integers(-27, 27)), min_size=1, max_size=8, unique=True)


@settings(max_examples=40)
@given(places, st.data())
def test_every_value_comes_back_as_it_was_written(at, draw):
    points = [(float(x), float(y), draw.draw(single)) for x, y in at]
    deviations = [(draw.draw(single), draw.draw(percent), draw.draw(single), draw.draw(percent)) for _ in at]
    md, vfi = draw.draw(single), draw.draw(st.integers(0, 100))
    field = read(points=points, deviations=deviations, md=(md, None), vfi=(float(vfi), None))
    assert [(*p.at, p.sensitivity) for p in field.points] == points
    assert [p.seen for p in field.points] == [db >= 0 for *_, db in points]
    assert [(p.total, p.total_p, p.pattern, p.pattern_p) for p in field.points] == deviations
    assert (field.md.value, field.md.probability, field.vfi.value) == (md, None, vfi)
    assert all(field.level(p) == max(db, 0.0) for p, (*_, db) in zip(field.points, points, strict=True))


def test_a_point_that_was_not_seen_stands_at_the_floor():
    field = read()
    assert [field.level(p) for p in field.points] == [28.0, 0.0, 29.0]
    higher = read(minimum_db=5.0, points=((-3.0, 3.0, 28.0), (3.0, 3.0, 4.0), (3.0, -3.0, 29.0)))
    assert [higher.level(p) for p in higher.points] == [28.0, 5.0, 29.0]


def test_a_point_seen_without_sensitivity_has_no_level():
    dataset = field_instance(**FULL)
    del dataset.VisualFieldTestPointSequence[0].SensitivityValue
    field = opened([dataset])
    assert field.level(field.points[0]) is None


def test_a_point_seen_at_the_brightest_stimulus_was_seen():
    dataset = field_instance(**FULL)
    dataset.VisualFieldTestPointSequence[0].StimulusResults = "SEEN AT MAX"
    assert opened([dataset]).points[0].seen


def test_what_the_perimeter_calls_excessive():
    assert read(excessive=("fixation", "negatives")).reliability.excessive == ("fixation losses", "false negatives")


def test_no_trial_is_no_ratio():
    assert read(fixation=(0, 0)).reliability.fixation_losses is None


def test_the_age_is_that_of_the_header_where_no_birth_date_is():
    assert read(birth_date="", age="071Y").age == 71.0
    assert read(birth_date="", age="300D").age is None


@pytest.mark.parametrize(
    "result", [codes.WITHIN_NORMAL_LIMITS, codes.GENERAL_REDUCTION, codes.BORDERLINE_AND_REDUCTION]
)
def test_results_of_the_hemifield_test(result):
    assert read(ght=result).ght == result


def test_a_result_of_the_hemifield_test_that_is_not_known_is_none():
    assert read(ght=codes.NOT_ANALYSED).ght is None


def no_points(ds):
    ds.VisualFieldTestPointSequence = []


def twice(ds):
    ds.VisualFieldTestPointSequence[1].VisualFieldTestPointXCoordinate = -3.0


def nowhere(ds):
    del ds.VisualFieldTestPointSequence[1].VisualFieldTestPointXCoordinate


def neither(ds):
    ds.VisualFieldTestPointSequence[1].StimulusResults = ""


def unseen(ds):
    ds.VisualFieldTestPointSequence[0].StimulusResults = "NOT SEEN"


def impossible_count(ds):
    ds.FixationSequence[0].PatientNotProperlyFixatedQuantity = 15


def two_patterns(ds):
    other = field_instance(pattern="30-2").PerformedProtocolCodeSequence[0]
    ds.PerformedProtocolCodeSequence.append(other)


def two_deviations(ds):
    ds.ResultsNormalsSequence.append(field_instance(md=(-2.0, None), psd=(1.0, None)).ResultsNormalsSequence[0])


def two_indices(ds):
    ds.VisualFieldGlobalResultsIndexSequence.append(
        field_instance(vfi=(90.0, None)).VisualFieldGlobalResultsIndexSequence[0]
    )


def impossible_index(ds):
    ds.VisualFieldGlobalResultsIndexSequence[0].DataObservationSequence[0].NumericValue = "120"


def two_results(ds):
    ds.VisualFieldGlobalResultsIndexSequence.append(
        field_instance(ght=codes.WITHIN_NORMAL_LIMITS).VisualFieldGlobalResultsIndexSequence[0]
    )


def born_later(ds):
    ds.PatientBirthDate = "20210101"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_points, "has no test point"),
        (twice, "two test points lie at -3, 3 degrees"),
        (nowhere, "a test point has no coordinates"),
        (neither, "does not say whether it was seen"),
        (unseen, "was not seen, yet its sensitivity is 28 dB"),
        (impossible_count, "15 fixation losses in 14 trials"),
        (two_patterns, "names two test patterns"),
        (two_deviations, "two values of the mean deviation"),
        (two_indices, "two values of the visual field index"),
        (impossible_index, "visual field index is 120 %"),
        (two_results, "two results of the glaucoma hemifield test"),
        (born_later, "born after the test"),
    ],
)
def test_what_contradicts_itself_is_not_read(spoil, why):
    dataset = field_instance(**FULL)
    spoil(dataset)
    assert why in refused(dataset)


def test_settings_say_what_changed():
    one = read().settings
    assert one.changes(read().settings) == ()
    other = read(model="P2", pattern="30-2", strategy="SITA-Standard", stimulus_deg2=1.72, normals=("Normal eyes", "3"))
    assert other.settings.changes(one) == (
        "device", "test pattern", "strategy", "stimulus size", "normative data"
    )  # fmt: skip


def test_a_code_counts_by_its_value():
    dataset = field_instance(**FULL)
    dataset.PerformedProtocolCodeSequence[0].CodeMeaning = "24-2"
    assert opened([dataset]).settings.key == read().settings.key


def test_patterns_and_strategies_are_those_of_the_standard():
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr._concepts_dict import concepts

    for cid, known in ((4250, codes.VISUAL_FIELD_PATTERNS), (4251, codes.VISUAL_FIELD_STRATEGIES)):
        assert {value for keyword in cid_concepts[cid]["DCM"] for value in concepts["DCM"][keyword]} == known
