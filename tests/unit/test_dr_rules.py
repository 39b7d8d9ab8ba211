"""Laws of grade, recommendation and bucket, whatever the photographs of an eye are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.model import ModelClass
from airouter.domain.priority import Priority, Reading
from airouter.domain.study import Laterality
from airouter.imaging.landmarks import Landmarks
from airouter.imaging.spots import spots
from airouter.pipelines.diabetic_retinopathy import PARAMETERS
from airouter.pipelines.dr_eye import CLASSES, Eye, Photograph, eyes
from airouter.pipelines.dr_follow_up import recommendation, referable, verdict
from airouter.pipelines.dr_lesions import LESIONS, LesionMap
from airouter.pipelines.photograph_quality import Gradability
from airouter.pipelines.pipeline import Values
from tests import samples

JOB = samples.job(key="a" * 64)
VALUES = Values(PARAMETERS, samples.model(), samples.job(parameters={"full_reading_share": 0}))
FIELD = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0]])


def lesion_map(eye, kinds, exudate_dd):
    """One spot of each kind; a hard exudate `exudate_dd` disc diameters of 10 pixels below the fovea."""
    side = 1 if eye is Laterality.R else -1
    marks = Landmarks((50.0 + 25 * side, 50.0), 10.0, (50.0, 50.0))
    dot = np.zeros((120, 120), bool)
    dot[90, 90] = True
    far = tuple(spots(dot))
    by_kind = {kind: far if kind in kinds else () for kind in LESIONS}
    if exudate_dd is not None:
        near = np.zeros((120, 120), bool)
        near[round(50 + 10 * exudate_dd), 50] = True
        by_kind["hard-exudate"] = tuple(spots(near))
    certain = {kind: tuple(1.0 for _ in by_kind[kind]) for kind in LESIONS}
    return LesionMap(marks, by_kind, certain, False, np.zeros((120, 120), np.uint8), (1.0, 1.0), eye)


@st.composite
def photograph(draw, eye):
    gradable = draw(st.booleans())
    reasons = () if gradable else ((ModelClass("out-of-focus"), 0.9),)
    quality = Gradability(gradable, 0.9 if gradable else 0.1, reasons, FIELD, 0.5)
    if not gradable:
        return Photograph(draw(st.integers(1, 99)), None, eye, quality)
    answer = np.array(draw(st.lists(st.floats(0.01, 1), min_size=5, max_size=5)), np.float32)
    kinds = draw(st.sets(st.sampled_from(LESIONS)))
    lesions = lesion_map(eye, kinds, draw(st.none() | st.floats(0.2, 4)))
    return Photograph(draw(st.integers(1, 99)), None, eye, quality, "", answer / answer.sum(), lesions)


def photographs(eye):
    return st.lists(photograph(eye), max_size=3)


patients = st.tuples(photographs(Laterality.R), photographs(Laterality.L)).filter(lambda pair: pair[0] or pair[1])


@given(patients, st.randoms())
def test_the_order_of_photographs_does_not_matter(pair, chance):
    taken = [*pair[0], *pair[1]]
    mixed = list(taken)
    chance.shuffle(mixed)
    assert [(e.side, e.grade, e.oedema) for e in eyes(taken)] == [(e.side, e.grade, e.oedema) for e in eyes(mixed)]


@given(patients, photograph(Laterality.R))
def test_a_further_photograph_never_makes_an_eye_better(pair, more):
    before = {eye.side: eye.grade for eye in eyes([*pair[0], *pair[1]])}
    after = {eye.side: eye.grade for eye in eyes([*pair[0], *pair[1], more])}
    old, new = before.get(Laterality.R), after[Laterality.R]
    assert old is None or (new is not None and new >= old)
    assert before.get(Laterality.L) == after.get(Laterality.L)


@given(patients)
def test_the_grade_is_that_of_one_of_the_gradable_photographs(pair):
    for eye in eyes([*pair[0], *pair[1]]):
        assert eye.grade == max((each.grade for each in eye.graded), default=None)
        assert (eye.grade is None) == (not eye.graded)
        if eye.deciding:
            assert eye.deciding.grade == eye.grade
            assert eye.least_certainty <= eye.deciding.certainty


@given(patients)
def test_the_recommendation_is_as_urgent_as_the_worse_eye_needs(pair):
    both = eyes([*pair[0], *pair[1]])
    advice = recommendation(both, VALUES)
    for eye in both:
        alone = recommendation([eye], VALUES)
        assert advice.months <= alone.months
        assert advice.referable or not alone.referable
    assert advice.months == min(recommendation([eye], VALUES).months for eye in both)
    assert (advice.action == codes.DR_REFER) == any(referable(eye, VALUES) for eye in both)
    if advice.action == codes.DR_RESCREEN:
        assert all(eye.grade in (0, 1) and not eye.oedema for eye in both)


@settings(max_examples=300)
@given(patients, st.integers(0, 1))
def test_only_what_is_sure_and_healthy_is_released(pair, unread):
    both = eyes([*pair[0], *pair[1]])
    found = verdict(both, unread, JOB, VALUES)
    healthy = (
        len(both) == 2
        and not unread
        and all(eye.grade in (0, 1) for eye in both)
        and all(each.certainty >= 0.9 for eye in both for each in eye.graded)
        and all(eye.oedema is False for eye in both)
        and all(eye.disagreement() < 2 for eye in both)
    )
    assert (found.reading is Reading.REVIEW_AND_RELEASE) == healthy
    worst = max((eye.grade for eye in both if eye.grade is not None), default=-1)
    urgent = Priority.STAT if worst == 4 else Priority.HIGH if worst >= 2 or any(e.oedema for e in both) else None
    assert found.priority is (urgent or Priority.ROUTINE)
    assert found.reason
    for eye in both:
        assert eye.name in found.reason or urgent


def sure(eye, grade, certainty=0.95, **changes):
    answer = np.full(5, (1 - certainty) / 4, np.float32)
    answer[grade] = certainty
    quality = Gradability(True, 0.9, (), FIELD, 0.5)
    made = Photograph(1, None, eye, quality, "", answer, lesion_map(eye, {"microaneurysm"} if grade else (), None))
    return dataclasses.replace(made, **changes)


def test_a_healthy_pair_is_released():
    both = eyes([sure(Laterality.R, 0), sure(Laterality.L, 1)])
    assert verdict(both, 0, JOB, VALUES).reading is Reading.REVIEW_AND_RELEASE


@pytest.mark.parametrize(("away", "suspected"), [(0.3, True), (0.9, True), (1.2, False), (3.0, False)])
def test_oedema_is_suspected_within_one_disc_diameter(away, suspected):
    near = lesion_map(Laterality.R, {"hard-exudate"}, away)
    eye = Eye(Laterality.R, (sure(Laterality.R, 0, lesions=near),))
    assert eye.oedema is suspected
    assert eye.nearest_exudate[0] == pytest.approx(away, abs=0.1)


@pytest.mark.parametrize("grade", range(len(CLASSES)))
def test_of_equal_probabilities_the_worse_grade_counts(grade):
    answer = np.zeros(5, np.float32)
    answer[: grade + 1] = 1 / (grade + 1)
    assert sure(Laterality.R, 0, probabilities=answer).grade == grade
