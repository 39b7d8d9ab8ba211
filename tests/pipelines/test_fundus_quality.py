"""The pipeline with an oracle in the model's place, and the outline of the camera's field."""

import cv2
import numpy as np
import pytest

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Result, Ungradable
from airouter.domain.model import Fit, HeadKind
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.imaging.field_of_view import field_of_view
from airouter.pipelines import PIPELINES
from phantoms.dicom import fundus_instance
from phantoms.fundus import REASONS
from phantoms.fundus import fundus as phantom
from tests.pipelines.oracle import Oracle, Progress, job, model, opened, reasons, rests_on, value

PIPELINE = PIPELINES["fundus-quality"]
SIZE = 320


def quality_model(**changes):
    settings = {"size": (SIZE, SIZE), "fit": Fit.STRETCH, "overlap": 0, **changes}
    return model(Modality.OP, HeadKind.CLASSIFICATION, ("gradable", *REASONS), **settings)


def outcome(truth, *, probabilities=None, laterality="R", about=None, **parameters):
    photo = opened([fundus_instance(truth.rgb, laterality=laterality, transfer="raw", seed=1)])
    knows = Oracle(about or quality_model())
    answer = [float(truth.gradable), *(float(reason in truth.reasons) for reason in REASONS)]
    knows.tell(truth.rgb, np.array(answer if probabilities is None else probabilities))
    return photo, PIPELINE.run(job(**parameters), photo, knows, Progress())


def evaluations(result, name):
    return [e.value for e in result.findings[0].evaluations if e.name == name]


def test_a_good_photograph_is_diagnostic_and_routine():
    photo, result = outcome(phantom(SIZE, seed=4))
    assert isinstance(result, Result)
    assert evaluations(result, codes.QUALITY_ASSESSMENT) == [codes.DIAGNOSTIC_QUALITY]
    assert evaluations(result, codes.GRADABILITY) == [codes.GRADABLE]
    assert evaluations(result, codes.UNGRADABLE_REASON) == []
    assert value(result, "quality", codes.QUALITY_RATING) == 100
    assert result.verdict.priority is Priority.ROUTINE
    assert result.not_analysed == ()
    assert result.findings[0].laterality == "R"
    assert result.findings[0].region.source == photo.instance_uid


@pytest.mark.parametrize("reason", REASONS)
def test_a_poor_photograph_is_urgent_and_says_why(reason):
    _, result = outcome(phantom(SIZE, seed=4, quality=reason))
    assert evaluations(result, codes.QUALITY_ASSESSMENT) == [codes.NON_DIAGNOSTIC_QUALITY]
    assert evaluations(result, codes.GRADABILITY) == [codes.UNGRADABLE]
    assert evaluations(result, codes.UNGRADABLE_REASON) == [Code(reason[:16], "99TEST", reason)]
    assert value(result, "quality", codes.QUALITY_RATING) == 0
    assert result.verdict.priority is Priority.HIGH
    assert reason in result.verdict.reason
    assert "while the patient is present" in result.verdict.reason
    assert rests_on(result.verdict) == ["quality"]


def test_a_gradable_photograph_with_a_doubt_is_limited():
    _, result = outcome(phantom(SIZE, seed=4), probabilities=[0.7, 0.6, 0.1, 0.1, 0.1, 0.1])
    assert evaluations(result, codes.QUALITY_ASSESSMENT) == [codes.LIMITED_QUALITY]
    assert evaluations(result, codes.GRADABILITY) == [codes.GRADABLE]
    assert "out-of-focus 0.60" in result.findings[0].comment
    assert value(result, "quality", codes.QUALITY_RATING) == 70


def test_without_a_reason_above_its_threshold_the_most_probable_is_named():
    _, result = outcome(phantom(SIZE, seed=4), probabilities=[0.3, 0.1, 0.4, 0.2, 0.1, 0.1])
    assert evaluations(result, codes.UNGRADABLE_REASON) == [Code("illumination", "99TEST", "illumination")]


@pytest.mark.parametrize("laterality", [None, "B"])
def test_without_laterality_nothing_is_said_of_one_eye(laterality):
    _, result = outcome(phantom(SIZE, seed=4), laterality=laterality)
    assert "laterality" in reasons(result)["statement on one eye"]


def test_a_model_that_asks_for_the_eye_is_not_run_without_it():
    _, result = outcome(phantom(SIZE, seed=4), laterality=None, about=quality_model(laterality_required=True))
    assert isinstance(result, Ungradable)


def test_a_dark_image_and_a_small_one_are_not_judged():
    dark = phantom(SIZE, seed=4)
    dark.rgb[:] = 3
    _, result = outcome(dark)
    assert result == Ungradable("not analysed because no lit field of the retina was found in the image")
    _, result = outcome(phantom(SIZE, seed=4), min_pixels=1000)
    assert isinstance(result, Ungradable)
    assert "320 x 320 pixels" in result.reason


@pytest.mark.parametrize("seed", range(6))
def test_the_field_is_the_camera_mask(seed):
    truth = phantom(700, seed=seed)
    outline, share = field_of_view(truth.rgb)
    drawn = np.zeros(truth.mask.shape, np.uint8)
    cv2.fillPoly(drawn, [np.round((outline - 0.5) * 64).astype(np.int32)], 1, shift=6)
    both = (drawn.astype(bool) & truth.mask).sum()
    assert both / (drawn.astype(bool) | truth.mask).sum() > 0.97
    assert share == pytest.approx(truth.mask.mean(), abs=0.02)


def test_a_cropped_photograph_is_all_field():
    outline, share = field_of_view(np.full((200, 300, 3), 120, np.uint8))
    assert share == 1.0
    assert outline.min(axis=0).tolist() == [0, 0]
    assert outline.max(axis=0).tolist() == [300, 200]


def test_a_bright_label_beside_the_field_does_not_move_it():
    truth = phantom(700, seed=1)
    labelled = truth.rgb.copy()
    cv2.putText(labelled, "OD 45", (4, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
    with_label, without = field_of_view(labelled)[0], field_of_view(truth.rgb)[0]
    assert np.abs(with_label.min(axis=0) - without.min(axis=0)).max() < 4


def test_grey_images_are_refused():
    with pytest.raises(ValueError, match="RGB image"):
        field_of_view(np.zeros((10, 10), np.uint8))
