"""The pipeline with oracles in the models' places: grades and quadrants exact, two eyes one recommendation."""

import dataclasses
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Source
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Priority, Reading, standing
from airouter.domain.study import Instance, Laterality, Modality
from airouter.evidence.write import write
from airouter.imaging.frames import dataset_frames
from airouter.imaging.visit import open_visit
from airouter.pipelines import PIPELINES, WithCompanions, companions_problem
from airouter.pipelines.dr_eye import CLASSES
from airouter.pipelines.dr_follow_up import drawn
from airouter.pipelines.dr_lesions import HAEMORRHAGE, HARD_EXUDATE, LESIONS, MICROANEURYSM
from phantoms.dicom import fundus_instance
from phantoms.fundus import REASONS
from phantoms.fundus_lesions import CLASSES as MASKS
from phantoms.fundus_lesions import lesions as painted
from tests.dciodvfy import assert_conformant
from tests.pipelines.oracle import Oracle, Progress, job, model, reasons, rests_on, value

PIPELINE = PIPELINES["diabetic-retinopathy"]
SIZE = 288
STUDY = "1.2.826.0.1.3680043.8.498.77"
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
GOOD = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
BLURRED = (0.1, 0.9, 0.0, 0.0, 0.0, 0.0)


@cache
def eye(laterality="R", grade=0, seed=0, **changes):
    return painted(SIZE, laterality, seed, grade, **changes)


def whole_image(kind, classes):
    return model(Modality.OP, kind, classes, size=(SIZE, SIZE), fit=Fit.STRETCH, overlap=0)


class Clinic:
    """A study of photographs and what the three models answer on each."""

    def __init__(self, *, lesions=True):
        self.grader = Oracle(whole_image(HeadKind.CLASSIFICATION, CLASSES))
        self.judge = Oracle(whole_image(HeadKind.CLASSIFICATION, ("gradable", *REASONS)))
        self.seer = Oracle(whole_image(HeadKind.SEGMENTATION, MASKS)) if lesions else None
        self.datasets = []

    def add(self, truth, *, grade=None, certainty=0.97, quality=GOOD, laterality="", masks=None, **header):
        """A photograph; the models know the truth unless something else is given."""
        answer = np.full(len(CLASSES), (1.0 - certainty) / 4)
        answer[truth.grade if grade is None else grade] = certainty
        number = len(self.datasets)
        rgb = truth.rgb.copy()
        rgb[0, 0] = number  # the same eye photographed twice is two pictures
        self.grader.tell(rgb, answer)
        self.judge.tell(rgb, np.array(quality))
        if self.seer is not None:
            told = truth.masks if masks is None else {**truth.masks, **masks}
            self.seer.tell(rgb, np.stack([told[name].astype(np.float32) for name in MASKS]))
        side = truth.laterality if laterality == "" else laterality
        ds = fundus_instance(rgb, laterality=side, transfer="raw", study_uid=STUDY, seed=f"dr-{number}")
        ds.AcquisitionDateTime = f"2026010510{number:02d}00"
        for keyword, given in header.items():
            setattr(ds, keyword, given)
        self.datasets.append(ds)
        return self

    @property
    def models(self):
        roles = {"gradability": self.judge} | ({"lesions": self.seer} if self.seer is not None else {})
        return WithCompanions(self.grader, roles)

    def run(self, key="key", progress=None, **parameters):
        headers = [
            (
                Instance(f"id-{n}", str(ds.SOPInstanceUID), str(ds.SOPClassUID), str(ds.SeriesInstanceUID), STUDY, "d"),
                ds,
            )
            for n, ds in enumerate(self.datasets)
        ]
        by_id = {instance.id: ds for instance, ds in headers}
        visit = open_visit(Modality.OP, headers, lambda id, numbers: dataset_frames(by_id[id], numbers))
        about = dataclasses.replace(job("diabetic-retinopathy", **parameters), key=key)
        if isinstance(visit, Ungradable):
            return visit
        return PIPELINE.run(about, visit, self.models, progress or Progress())


def both(right=0, left=0, **changes):
    clinic = Clinic()
    clinic.add(eye("R", right, 1), **changes).add(eye("L", left, 2), **changes)
    return clinic


def finding(result, key):
    (found,) = [f for f in result.findings if f.key == key]
    return found


def answers(result, key):
    return {e.name: e.value for e in finding(result, key).evaluations}


@pytest.mark.parametrize("grade", range(5))
def test_the_grade_of_an_eye_is_the_models(grade):
    result = Clinic().add(eye("R", grade, 1)).run()
    found = answers(result, "grade-R")
    assert found[codes.DR_SEVERITY_RIGHT] == codes.ICDR[grade]
    assert found[codes.REFERABLE_DR] == (codes.YES if grade >= 2 else codes.NO)
    assert value(result, "grade-R", codes.CERTAINTY_OF_FINDING) == 97.0
    assert value(result, "grade-R", codes.FIELDS_GRADED) == 1
    assert finding(result, "grade-R").laterality is Laterality.R
    wanted = {4: Priority.STAT, 3: Priority.HIGH, 2: Priority.HIGH}.get(grade, Priority.ROUTINE)
    assert result.verdict.priority is wanted
    assert codes.ICDR[grade].meaning.lower() in result.verdict.reason
    assert rests_on(result.verdict) == ["grade-R"]


@pytest.mark.parametrize("grade", range(5))
@pytest.mark.parametrize("seed", [1, 5])
def test_the_rule_on_lesions_gives_the_grade_that_was_drawn(grade, seed):
    for side in ("R", "L"):
        result = Clinic().add(eye(side, grade, seed)).run()
        assert answers(result, f"grade-{side}")[codes.DR_BY_LESIONS] == codes.ICDR[grade]


def test_left_and_right_have_their_own_concept():
    result = both(1, 2).run()
    assert answers(result, "grade-R")[codes.DR_SEVERITY_RIGHT] == codes.DR_MILD
    assert answers(result, "grade-L")[codes.DR_SEVERITY_LEFT] == codes.DR_MODERATE


def test_several_fields_of_an_eye_give_one_grade_the_worst():
    clinic = Clinic().add(eye("R", 1, 1), certainty=0.99).add(eye("R", 3, 2), certainty=0.8)
    clinic.add(eye("R", 3, 3), certainty=0.9).add(eye("R", 0, 4), quality=BLURRED)
    result = clinic.run()
    grades = [f for f in result.findings if f.key.startswith("grade")]
    assert [f.key for f in grades] == ["grade-R"]
    assert answers(result, "grade-R")[codes.DR_SEVERITY_RIGHT] == codes.DR_SEVERE
    assert value(result, "grade-R", codes.CERTAINTY_OF_FINDING) == 90.0  # of the more certain of the two
    assert value(result, "grade-R", codes.FIELDS_GRADED) == 3
    assert "3 gradable of 4 photographs" in grades[0].comment
    assert "photograph 3 decides" in grades[0].comment
    assert grades[0].region.source == clinic.datasets[2].SOPInstanceUID


def test_of_no_retinopathy_the_least_certain_field_decides():
    result = Clinic().add(eye("R", 0, 1), certainty=0.99).add(eye("R", 0, 2), certainty=0.7).run()
    assert value(result, "grade-R", codes.CERTAINTY_OF_FINDING) == 70.0


@pytest.mark.parametrize(
    ("right", "left", "months", "action"),
    [
        (0, 0, 12, codes.DR_RESCREEN),
        (0, 1, 6, codes.DR_RESCREEN),
        (2, 1, 3, codes.DR_REFER),
        (3, 0, 2, codes.DR_REFER),
        (1, 4, 1, codes.DR_REFER),
    ],
)
def test_two_eyes_give_one_recommendation_by_the_worse(right, left, months, action):
    result = both(right, left).run()
    (advice,) = [f for f in result.findings if codes.RECOMMENDED_FOLLOW_UP in {m.name for m in f.measurements}]
    assert advice.key == "recommendation"
    assert advice.laterality is Laterality.B
    assert value(result, "recommendation", codes.RECOMMENDED_FOLLOW_UP) == months
    assert answers(result, "recommendation")[codes.RECOMMENDED_FOLLOW_UP] == action
    worse = "right eye" if right > left else "left eye" if left > right else ""
    assert worse in advice.comment


def test_the_table_of_intervals_is_the_sites():
    result = both(0, 1).run(followup_1_months=9, followup_0_months=24)
    assert value(result, "recommendation", codes.RECOMMENDED_FOLLOW_UP) == 9


def test_an_eye_without_a_gradable_field_is_ungradable_and_has_no_grade():
    clinic = Clinic().add(eye("R", 0, 1)).add(eye("L", 2, 2), quality=BLURRED)
    result = clinic.run()
    assert [f.key for f in result.findings if f.key.startswith("grade")] == ["grade-R"]
    found = finding(result, "ungradable-L")
    assert {e.value for e in found.evaluations} >= {codes.UNGRADABLE, codes.DR_REPHOTOGRAPH}
    assert codes.UNGRADABLE_REASON in {e.name for e in found.evaluations}
    assert "out-of-focus 0.90" in found.comment
    assert "disease is not excluded" in found.comment
    assert not [f for f in result.findings if f.laterality is Laterality.L and f.finding == codes.DIABETIC_RETINOPATHY]
    assert "out-of-focus" in reasons(result)["grade of diabetic retinopathy of the left eye"]
    assert answers(result, "recommendation")[codes.RECOMMENDED_FOLLOW_UP] == codes.DR_REPHOTOGRAPH
    assert value(result, "recommendation", codes.RECOMMENDED_FOLLOW_UP) == 1
    assert (result.verdict.priority, result.verdict.reading) == (Priority.ROUTINE, Reading.FULL)
    assert "left eye: could not be graded (out-of-focus)" in result.verdict.reason


def test_disease_in_one_eye_is_urgent_whatever_the_other_is():
    result = Clinic().add(eye("R", 4, 1)).add(eye("L", 2, 2), quality=BLURRED).run()
    assert result.verdict.priority is Priority.STAT
    assert "left eye: could not be graded" in result.verdict.reason
    assert rests_on(result.verdict) == ["grade-R"]
    after = standing(result.verdict, {"grade-R"}, [f.key for f in result.findings])
    assert (after.priority, after.reading) == (Priority.ROUTINE, Reading.FULL)
    assert after.reason.startswith("left eye: could not be graded")


def test_a_dark_photograph_is_not_used_and_named():
    dark = dataclasses.replace(eye("L", 0, 2), rgb=np.full((SIZE, SIZE, 3), 3, np.uint8))
    result = Clinic().add(eye("R", 0, 1)).add(dark).run()
    assert "no lit field" in reasons(result)["grade of diabetic retinopathy of the left eye"]
    assert finding(result, "ungradable-L").region is None
    assert not [f for f in result.findings if f.key == "quality-2"]


@pytest.mark.parametrize(("laterality", "why"), [(None, "is missing"), ("B", "says both eyes")])
def test_a_photograph_without_an_eye_is_not_used(laterality, why):
    clinic = both().add(eye("R", 4, 3), laterality=laterality)
    result = clinic.run()
    assert f"laterality {why}" in reasons(result)[f"photograph {clinic.datasets[2].SOPInstanceUID}"]
    assert answers(result, "grade-R")[codes.DR_SEVERITY_RIGHT] == codes.DR_NONE
    assert result.verdict.reading is Reading.FULL  # it may show what the others do not
    assert "1 photograph was not read" in result.verdict.reason
    alone = Clinic().add(eye("R", 4, 3), laterality=laterality).run()
    assert isinstance(alone, Ungradable)
    assert "right or the left eye" in alone.reason


def test_one_eye_only_is_said():
    result = Clinic().add(eye("L", 0, 1)).run()
    assert "no usable photograph of the right eye" in reasons(result)["grade of diabetic retinopathy of the right eye"]
    assert "left eye only" in finding(result, "recommendation").comment
    assert finding(result, "recommendation").laterality is Laterality.L
    assert result.verdict.reading is Reading.FULL
    assert "the right eye was not photographed" in result.verdict.reason
    assert Clinic().add(eye("L", 0, 1)).run(release_one_eye=1, full_reading_share=0).verdict.reading is (
        Reading.REVIEW_AND_RELEASE
    )


def test_what_is_refused_is_named():
    clinic = both().add(eye("R", 0, 3), ImageType=["DERIVED", "PRIMARY", "MONTAGE", "COLOR"])
    result = clinic.run()
    assert "montage" in reasons(result)[f"photograph {clinic.datasets[2].SOPInstanceUID}"]
    assert result.verdict.reading is Reading.FULL


# --- macular oedema ---


@pytest.mark.parametrize("side", ["R", "L"])
def test_an_exudate_near_the_fovea_is_suspected_oedema(side):
    result = Clinic().add(eye(side, 2, 3, macular_exudates=True)).run()
    assert answers(result, f"oedema-{side}") == {codes.DIABETIC_MACULAR_OEDEMA: codes.PRESENT}
    assert f"{'right' if side == 'R' else 'left'} eye: macular oedema suspected" in result.verdict.reason
    assert value(result, "recommendation", codes.RECOMMENDED_FOLLOW_UP) == 1
    truth = eye(side, 2, 3)
    points = finding(result, f"oedema-{side}").region.points
    assert points.mean(axis=0) == pytest.approx(truth.macula, abs=2)
    assert np.ptp(points[:, 0]) / 2 == pytest.approx(truth.disc_diameter, rel=0.03)


@pytest.mark.parametrize("seed", [1, 3])
def test_exudates_elsewhere_are_no_suspicion(seed):
    result = Clinic().add(eye("R", 2, seed)).run()
    assert answers(result, "oedema-R") == {codes.DIABETIC_MACULAR_OEDEMA: codes.ABSENT}


def test_mild_retinopathy_with_oedema_is_referable_and_high():
    truth = eye("R", 1, 1)
    row, column = (int(v) for v in reversed(truth.macula))
    spot = np.zeros((SIZE, SIZE), bool)
    spot[row - 1 : row + 2, column + 4 : column + 7] = True
    result = Clinic().add(truth, masks={HARD_EXUDATE: spot}).add(eye("L", 0, 2)).run()
    assert answers(result, "grade-R")[codes.REFERABLE_DR] == codes.YES
    assert result.verdict.priority is Priority.HIGH
    assert rests_on(result.verdict) == ["oedema-R"]
    assert answers(result, "recommendation")[codes.RECOMMENDED_FOLLOW_UP] == codes.DR_REFER


@pytest.mark.parametrize(("gone", "why"), [("fovea", "the fovea was not found"), ("optic-disc", "disc was not found")])
def test_without_fovea_or_disc_oedema_is_not_looked_for(gone, why):
    nothing = {gone: np.zeros((SIZE, SIZE), bool)}
    result = both(masks=nothing).run()
    assert why in reasons(result)["macular oedema of the right eye"]
    assert not [f for f in result.findings if f.key.startswith("oedema")]
    assert result.verdict.reading is Reading.FULL
    assert "macular oedema could not be looked for" in result.verdict.reason


def test_without_a_model_of_lesions_grades_stand_and_nothing_is_released():
    clinic = Clinic(lesions=False).add(eye("R", 0, 1)).add(eye("L", 0, 2))
    result = clinic.run()
    assert answers(result, "grade-R")[codes.DR_SEVERITY_RIGHT] == codes.DR_NONE
    assert "no model of lesions" in reasons(result)["lesions of the left eye"]
    assert "no model of lesions" in reasons(result)["macular oedema of the right eye"]
    assert result.verdict.reading is Reading.FULL


# --- lesions ---


@pytest.mark.parametrize("side", ["R", "L"])
def test_lesions_are_counted_by_quadrant_and_have_their_place(side):
    """Counted independently: labels of the mask by scipy, quadrants from the landmarks that were drawn."""
    from scipy import ndimage

    truth = eye(side, 3, 4)
    result = Clinic().add(truth).run(min_lesion_share=0)
    for kind in (HAEMORRHAGE, MICROANEURYSM):
        labels, count = ndimage.label(truth.masks[kind], np.ones((3, 3)))
        centres = np.array(ndimage.center_of_mass(truth.masks[kind], labels, range(1, count + 1))) + 0.5
        up = centres[:, 0] < truth.macula[1]
        nasal = (centres[:, 1] > truth.macula[0]) == (side == "R")
        key = f"{kind}-1"
        assert value(result, key, codes.LESION_COUNT) == count
        assert value(result, key, codes.COUNT_SUPERONASAL) == (up & nasal).sum()
        assert value(result, key, codes.COUNT_SUPEROTEMPORAL) == (up & ~nasal).sum()
        assert value(result, key, codes.COUNT_INFERONASAL) == (~up & nasal).sum()
        assert value(result, key, codes.COUNT_INFEROTEMPORAL) == (~up & ~nasal).sum()
        drawn_ = [f for f in result.findings if f.key.startswith(f"{key}-")]
        assert {f.region.graphic for f in drawn_} == {"POINT" if kind == MICROANEURYSM else "POLYGON"}
        assert len(drawn_) == min(count, 50)
        assert {m.value for f in drawn_ for m in f.measurements} == {100.0}
    points = np.concatenate([f.region.points for f in result.findings if f.key.startswith(f"{MICROANEURYSM}-1-")])
    _, count = ndimage.label(truth.masks[MICROANEURYSM], np.ones((3, 3)))
    assert len(points) == count


def test_beyond_the_most_regions_lesions_are_only_counted():
    result = Clinic().add(eye("R", 3, 4)).run(max_regions=5, min_lesion_share=0)
    assert len([f for f in result.findings if f.key.startswith(f"{HAEMORRHAGE}-1-")]) == 5
    assert value(result, f"{HAEMORRHAGE}-1", codes.LESION_COUNT) > 80
    assert "5 largest have a region" in finding(result, f"{HAEMORRHAGE}-1").comment


def test_the_mask_shows_what_was_found():
    truth = eye("R", 3, 4)
    (made,) = Clinic().add(truth).run(min_lesion_share=0).segmentations
    kinds = {s.label: s.number for s in made.segments}
    blood = truth.masks[HAEMORRHAGE] & ~truth.masks[MICROANEURYSM] & ~truth.masks[HARD_EXUDATE]
    assert (made.mask[0][blood] == kinds["Haemorrhage"]).all()
    assert (made.mask[0] > 0).sum() == np.any([truth.masks[kind] for kind in LESIONS], axis=0).sum()
    assert Clinic().add(eye("R", 0, 1)).run().segmentations == ()


def test_a_mirrored_photograph_contradicts_its_eye():
    truth = dataclasses.replace(eye("L", 1, 2), laterality="R")
    result = both().add(truth).run()
    assert "check the laterality" in finding(result, "grade-R").comment
    assert "side of the other eye" in finding(result, f"{MICROANEURYSM}-3").comment
    assert codes.COUNT_SUPERONASAL not in {m.name for m in finding(result, f"{MICROANEURYSM}-3").measurements}
    assert "disc on the side of the other eye" in result.verdict.reason
    assert result.verdict.reading is Reading.FULL


def test_a_grade_that_the_lesions_contradict_is_said_and_not_released():
    result = Clinic().add(eye("R", 2, 1), grade=0).add(eye("L", 0, 2)).run()
    assert "contradict each other" in finding(result, "grade-R").comment
    assert answers(result, "grade-R")[codes.DR_BY_LESIONS] == codes.DR_MODERATE
    assert "contradict each other" in result.verdict.reason
    assert (result.verdict.priority, result.verdict.reading) == (Priority.ROUTINE, Reading.FULL)
    near = Clinic().add(eye("R", 1, 1), grade=0).add(eye("L", 0, 2)).run(full_reading_share=0)
    assert near.verdict.reading is Reading.REVIEW_AND_RELEASE
    strict = Clinic().add(eye("R", 1, 1), grade=0).add(eye("L", 0, 2)).run(disagreement_levels=1)
    assert strict.verdict.reading is Reading.FULL


# --- the bucket ---


def test_both_eyes_sure_and_healthy_are_released():
    for right, left in ((0, 0), (1, 0), (1, 1)):
        verdict = both(right, left).run(full_reading_share=0).verdict
        assert (verdict.priority, verdict.reading) == (Priority.ROUTINE, Reading.REVIEW_AND_RELEASE)


@pytest.mark.parametrize("changes", [{"right": 2}, {"left": 4}, {"certainty": 0.85}])
def test_what_is_diseased_or_unsure_is_read_in_full(changes):
    assert both(**changes).run(full_reading_share=0).verdict.reading is Reading.FULL


def test_one_unsure_field_beside_a_sure_one_keeps_the_eye_from_release():
    clinic = both().add(eye("R", 0, 5), certainty=0.6)
    verdict = clinic.run(full_reading_share=0).verdict
    assert verdict.reading is Reading.FULL
    assert "0.60" in verdict.reason
    assert clinic.run(full_reading_share=0, release_confidence=0.55).verdict.reading is Reading.REVIEW_AND_RELEASE


def test_a_share_is_drawn_for_full_reading_always_the_same():
    clinic = both()
    assert clinic.run(full_reading_share=1).verdict.reading is Reading.FULL
    assert clinic.run(full_reading_share=1).verdict.reason.endswith("drawn for full reading")
    keys = [f"{n:064x}" for n in range(4000)]
    first = [drawn(key, 0.05) for key in keys]
    assert first == [drawn(key, 0.05) for key in keys]
    assert sum(first) / len(keys) == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / len(keys)))
    assert not any(drawn(key, 0.0) for key in keys)
    assert all(drawn(key, 0.2) for key, was in zip(keys, first, strict=True) if was)  # a larger share holds the smaller
    chosen = next(key for key, was in zip(keys, first, strict=True) if was)
    assert clinic.run(key=chosen).verdict.reading is Reading.FULL
    spared = next(key for key, was in zip(keys, first, strict=True) if not was)
    assert clinic.run(key=spared).verdict.reading is Reading.REVIEW_AND_RELEASE


# --- the pipeline ---


def test_the_order_of_the_models_classes_does_not_matter():
    clinic = Clinic(lesions=False)
    clinic.grader = Oracle(whole_image(HeadKind.CLASSIFICATION, CLASSES[::-1]))
    truth = eye("R", 3, 1)
    clinic.add(truth)
    clinic.grader = Oracle(whole_image(HeadKind.CLASSIFICATION, CLASSES[::-1]))
    rgb = truth.rgb.copy()
    rgb[0, 0] = 0
    clinic.grader.tell(rgb, np.array([0.0, 0.9, 0.05, 0.05, 0.0]))
    assert answers(clinic.run(), "grade-R")[codes.DR_SEVERITY_RIGHT] == codes.DR_SEVERE


def test_a_model_of_gradability_is_needed_and_lesions_are_not():
    clinic = Clinic()
    assert companions_problem(PIPELINE, {"gradability": clinic.judge.model}) is None
    assert "needs a companion: gradability" in companions_problem(PIPELINE, {"lesions": clinic.seer.model})


def test_progress_is_told_in_images():
    told = Progress()
    both().run(progress=told)
    assert told.told == [(0, 2, "images"), (1, 2, "images"), (2, 2, "images")]


@pytest.mark.parametrize("case", ["healthy", "diseased", "ungradable"])
def test_what_is_found_becomes_conformant_objects(case):
    clinic = Clinic()
    if case == "healthy":
        clinic.add(eye("R", 0, 1)).add(eye("L", 0, 2))
    elif case == "diseased":
        clinic.add(eye("R", 3, 4)).add(eye("R", 1, 1)).add(eye("L", 2, 3, macular_exudates=True))
    else:
        dark = dataclasses.replace(eye("L", 0, 2), rgb=np.full((SIZE, SIZE, 3), 3, np.uint8))
        clinic.add(eye("R", 0, 1), quality=BLURRED).add(dark)
    result = clinic.run(max_regions=8)
    assert isinstance(result, Result)
    first = clinic.datasets[0]
    about = dataclasses.replace(
        job("diabetic-retinopathy"),
        study_uid=STUDY,
        series_uid=first.SeriesInstanceUID,
        modality=Modality.OP,
        sources=tuple(Source(f"id-{n}", ds.SOPInstanceUID, "d") for n, ds in enumerate(clinic.datasets)),
    )
    sources = {ds.SOPInstanceUID: ds for ds in clinic.datasets}
    objects = write(about, clinic.grader.model, result, sources, now=NOW)
    for each in objects:
        assert_conformant(each.dataset)
    roles = {each.role for each in objects}
    assert roles == {
        "healthy": {"report"}, "diseased": {"report", "lesions-1", "lesions-2", "lesions-3"},
        "ungradable": {"report", "scores"},
    }[case]  # fmt: skip


def test_real_photographs_run_through():
    """Judged by the model that comes with the router; the grades are of a stand-in, so nothing is said of them."""
    import cv2

    from airouter.inference.repository import ModelRepository
    from tests.data import files
    from tests.pipelines.oracle import Seen
    from tests.reference_models import MODELS

    clinic = Clinic(lesions=False)
    for number, path in enumerate(files("fundus/*.jpg")):
        rgb = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        ds = fundus_instance(rgb, laterality="RL"[number % 2], transfer="raw", study_uid=STUDY, seed=f"real-{number}")
        clinic.datasets.append(ds)
    clinic.grader = Seen(clinic.grader.model, lambda _: np.array([0.8, 0.1, 0.05, 0.03, 0.02]))
    clinic.judge = ModelRepository(MODELS).get("fundus-quality")
    result = clinic.run()
    assert isinstance(result, Result)
    assert value(result, "recommendation", codes.RECOMMENDED_FOLLOW_UP) in (1, 12)
    judged = {f.key for f in result.findings if f.key.startswith("quality-")}
    assert judged == {f"quality-{n + 1}" for n in range(len(clinic.datasets))}
    sides = {f.laterality for f in result.findings if f.key.startswith(("grade", "ungradable"))}
    assert sides == {Laterality.R, Laterality.L}
    assert result.verdict.reading is Reading.FULL
