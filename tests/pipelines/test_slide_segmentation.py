"""Tissue divided pixel by pixel: masks and areas must be those of a slide whose classes are known to the pixel."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Result, Ungradable
from airouter.domain.model import HeadKind, ModelClass
from airouter.domain.priority import Priority
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError, JobCanceled, ModelOutputError
from airouter.imaging import mosaic
from airouter.imaging.mosaic import Mosaic
from airouter.pipelines import PIPELINES, problem
from airouter.pipelines.tissue_region import tissue_region
from phantoms.dicom import slide_instances
from tests.pipelines import colours
from tests.pipelines.oracle import Progress, Seen, job, model, opened, rests_on, value

PIPELINE = PIPELINES["slide-segmentation"]
SPACING = 0.5
MARGIN = 90


def about(**changes):
    settings_ = {"size": (96, 96), "overlap": 12, "spacing_um": SPACING, "exclusive": True, **changes}
    classes = settings_.pop("classes", colours.NAMES)
    return model(Modality.SM, HeadKind.SEGMENTATION, classes, **{"codeless": ("background",), **settings_})


@functools.cache
def made(spacing_um=SPACING, size=(500, 460), levels=1):
    truth = colours.section(*size, MARGIN)
    return truth, opened(slide_instances(truth.rgb, spacing_um, levels=levels, transfer="raw", seed=1))


def run(slide, predictor=None, progress=None, **parameters):
    result = PIPELINE.run(job(**parameters), slide, predictor or Seen(about(), colours.maps), progress or Progress())
    assert isinstance(result, Result), result
    return result


def on_tissue(slide, shape):
    """bool: the tissue's mask at the pixels of the finest level."""
    tissue = slide.tissue()
    rows, columns = (
        np.minimum(np.arange(n) // tissue.factor, m - 1) for n, m in zip(shape, tissue.mask.shape, strict=True)
    )
    return tissue.mask[np.ix_(rows, columns)]


def test_mask_and_areas_are_the_truth_on_the_tissue():
    truth, slide = made()
    result = run(slide)
    (segmentation,) = result.segmentations
    assert (segmentation.source, segmentation.factor) == (slide.base.instance_uid, 1)
    assert [(s.number, s.label) for s in segmentation.segments] == [(1, "stroma"), (2, "tumour"), (3, "necrosis")]
    expected = np.where(on_tissue(slide, truth.classes.shape), truth.classes, 0)
    assert np.array_equal(segmentation.mask, expected)
    assert (expected > 0)[truth.classes > 0].mean() > 0.99  # the tissue was found
    for number, name in enumerate(colours.COLOURS, start=1):
        area = (expected == number).sum() * SPACING**2 * 1e-6
        assert value(result, f"class {name}", codes.AREA) == pytest.approx(area)
    for number, name in ((2, "tumour"), (3, "necrosis")):  # wholly on the tissue: the truth itself
        area = (truth.classes == number).sum() * SPACING**2 * 1e-6
        assert value(result, f"class {name}", codes.AREA) == pytest.approx(area)
    assert value(result, "tissue", codes.TISSUE_AREA) == pytest.approx(slide.tissue().area_mm2)


def rim_mm2(region, spacing_um, width):
    """Area within `width` pixels of the edge of a region, in mm2."""
    ring = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2 * width + 1,) * 2, np.uint8))
    return float(ring.sum()) * spacing_um**2 * 1e-6


@pytest.mark.parametrize(
    ("slide_um", "model_um", "levels", "factor"),
    [
        (0.25, 0.5, 1, 2),  # a whole number of level pixels
        (0.25, 0.5, 2, 1),  # another level has the spacing
        (0.5, 0.66, 1, 1),  # 1.32 pixels of the level: the mask has the level's own
        (0.25, 0.66, 1, 3),  # 2.64
        (0.5, 0.3, 1, 1),  # enlarged for the model
    ],
)
def test_at_any_spacing_the_mask_lies_on_its_place(slide_um, model_um, levels, factor):
    truth, slide = made(slide_um, (661, 702), levels)
    result = run(slide, Seen(about(spacing_um=model_um), colours.maps))
    (segmentation,) = result.segmentations
    assert segmentation.factor == factor
    level = next(level for level in slide.levels if level.instance_uid == segmentation.source)
    assert segmentation.mask.shape == tuple(-(-n // factor) for n in (level.rows, level.columns))
    ratio = factor * level.spacing_um / slide_um  # pixels of the finest level per pixel of the mask
    grown = [np.minimum((np.arange(n) / ratio).astype(int), m - 1)
             for n, m in zip(truth.classes.shape, segmentation.mask.shape, strict=True)]  # fmt: skip
    mask = segmentation.mask[np.ix_(*grown)]
    width = int(np.ceil(max(model_um / slide_um, ratio)))  # a pixel of the model or of the mask
    for number in (2, 3):
        region = truth.classes == number
        inside = cv2.erode(region.astype(np.uint8), np.ones((2 * width + 1,) * 2, np.uint8)) > 0
        outside = cv2.dilate(region.astype(np.uint8), np.ones((2 * width + 1,) * 2, np.uint8)) == 0
        assert inside.any()
        assert (mask[inside] == number).all()
        assert not (mask[outside] == number).any()
        area = value(result, f"class {colours.NAMES[number]}", codes.AREA)
        true = region.sum() * slide_um**2 * 1e-6
        assert area == pytest.approx(true, abs=rim_mm2(region, slide_um, 1))


@given(
    st.integers(9, 70), st.integers(9, 70), st.integers(0, 4), st.floats(0.26, 3.0), st.sampled_from([1 << 28, 5000])
)
@settings(max_examples=40, deadline=None)
def test_every_pixel_of_the_mask_is_written_once(rows, columns, overlap, model_um, most):
    """By the law of the plan, and not only for the plans above."""
    _, slide = made(SPACING, (203, 180))
    region = tissue_region(slide, about(size=(rows, columns), overlap=overlap, spacing_um=model_um))
    whole = dataclasses.replace(region.tissue, mask=np.ones_like(region.tissue.mask))
    plan = slide.patches(model_um, (rows, columns), overlap)
    made_mosaic = Mosaic(plan, whole, region.to_base, most)
    assert made_mosaic.mask.size <= most
    assert made_mosaic.factor % max(1, round(plan.scale)) == 0
    times = np.zeros(made_mosaic.mask.shape, int)
    written = 0.0
    for number in range(len(plan)):
        cell = plan.cells[number]
        core, corner = plan.core(cell)
        made_mosaic.mask[:] = 0
        patch = dataclasses.replace(_EMPTY, core=core, cell=corner, scale=plan.scale, **_place(plan, corner))
        shape = [axis.stop - axis.start for axis in core]
        written += made_mosaic.put(patch, np.ones(shape, np.uint8))[1]
        times += made_mosaic.mask
    assert (times == 1).all()
    assert written == pytest.approx(plan.level.rows * plan.level.columns)


_EMPTY = mosaic.Patch(0, 0, 1, (slice(0), slice(0)), (0, 0), np.zeros((0, 0, 3), np.uint8))


def _place(plan, corner):
    row, column = (round((at - plan.overlap) * plan.scale) for at in corner)
    return {"row": float(row), "column": float(column)}


def test_a_mask_that_would_be_too_large_is_coarser(monkeypatch):
    truth, slide = made()
    fine = run(slide)
    monkeypatch.setattr(Mosaic.__init__, "__defaults__", (20_000,))
    result = run(slide)
    (segmentation,) = result.segmentations
    assert segmentation.factor == 4
    assert segmentation.mask.shape == (125, 115)
    centres = truth.classes[2::4, 2::4]
    analysed = segmentation.mask > 0
    assert (segmentation.mask == centres)[analysed].all()
    for name in ("tumour", "necrosis"):
        area, true = (value(r, f"class {name}", codes.AREA) for r in (result, fine))
        assert area == pytest.approx(true, rel=0.05)


def test_a_class_without_a_code_is_counted_and_left_out_of_the_mask():
    _, slide = made()
    names = ("stroma", "background", "necrosis", "glass")

    def maps(image):
        return colours.maps(image)[[1, 2, 3, 0]]

    result = run(slide, Seen(about(classes=names), maps))
    (segmentation,) = result.segmentations
    assert [(s.number, s.label) for s in segmentation.segments] == [(1, "stroma"), (2, "necrosis"), (3, "glass")]
    full = run(slide)
    before = full.segmentations[0].mask
    assert np.array_equal(segmentation.mask == 1, before == 1)
    assert np.array_equal(segmentation.mask == 2, before == 3)
    share = [value(result, f"class {name}", codes.TISSUE_SHARE) for name in ("stroma", "necrosis", "glass")]
    assert sum(share) == pytest.approx(100 - value(full, "class tumour", codes.TISSUE_SHARE))


def test_one_class_alone_is_cut_by_its_threshold():
    truth, slide = made()
    alone = about(classes=("tumour",), exclusive=False, threshold=0.7, codeless=())
    assert problem(PIPELINE, alone) is None

    def maps(image):
        return np.array([0.1, 0.69, 0.7, 0.2])[colours.seen(image)][None]

    result = run(slide, Seen(alone, maps))
    assert np.array_equal(result.segmentations[0].mask == 1, truth.classes == 2)
    assert value(result, "class tumour", codes.TISSUE_SHARE) < 50
    assert value(result, "tissue", codes.TISSUE_AREA) == pytest.approx(slide.tissue().area_mm2)
    nothing = run(slide, Seen(alone, lambda image: np.zeros((1, *image.shape[:2]))))
    assert nothing.segmentations == ()
    assert value(nothing, "class tumour", codes.AREA) == 0


def test_categories_are_those_of_known_types_and_else_tissue():
    head = about().head
    coded = [None, codes.CONNECTIVE_TISSUE, Code("108369006", "SCT", "Tumour, in other words"), codes.OUT_OF_FOCUS]
    classes = tuple(ModelClass(c.name, code) for c, code in zip(head.classes, coded, strict=True))
    predictor = Seen(dataclasses.replace(about(), head=dataclasses.replace(head, classes=classes)), colours.maps)
    (segmentation,) = run(made()[1], predictor).segmentations
    assert [s.category for s in segmentation.segments] == [
        codes.TISSUE, codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE, codes.QUALITY
    ]  # fmt: skip
    assert [s.type for s in segmentation.segments] == coded[1:]


def test_the_result_does_not_depend_on_threads_and_batches():
    _, slide = made()
    first, *others = (
        run(slide, Seen(about(batch=batch), colours.maps), workers=n) for batch, n in ((1, 1), (3, 4), (500, 2))
    )
    for other in others:
        assert [f.measurements for f in other.findings] == [f.measurements for f in first.findings]
        assert np.array_equal(first.segmentations[0].mask, other.segmentations[0].mask)


def test_progress_is_told_in_patches():
    told = Progress()
    result = run(made()[1], progress=told)
    total = int(value(result, "tissue", codes.PATCH_COUNT))
    assert (told.told[0], told.told[-1]) == ((0, total, "patches"), (total, total, "patches"))


def test_a_canceled_job_stops():
    def cancel(done, total, unit):
        if done:
            raise JobCanceled("enough")

    with pytest.raises(JobCanceled):
        run(made()[1], progress=cancel)


def test_a_broken_model_is_not_hidden():
    def broken(image):
        raise ModelOutputError("NaN")

    with pytest.raises(ModelOutputError):
        run(made()[1], Seen(about(), broken))


def test_the_priority_follows_the_rule():
    verdict = run(made()[1], high_class=4, high_mm2=0.001).verdict
    assert verdict.priority is Priority.HIGH
    assert "necrosis" in verdict.reason
    assert rests_on(verdict) == ["class necrosis"]
    assert run(made()[1]).verdict.priority is Priority.ROUTINE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exclusive": False}, "may overlap"),
        ({"codeless": ("stroma",)}, "no code for the classes stroma"),
        ({"classes": [f"c{n}" for n in range(255)]}, "more than 254 classes"),
    ],
)
def test_a_model_that_makes_no_mask_is_refused(changes, why):
    assert why in problem(PIPELINE, about(**changes))
    with pytest.raises(ConfigurationError, match=why):
        run(made()[1], Seen(about(**changes), colours.maps))


def test_what_cannot_be_analysed_is_ungradable():
    glass = opened(slide_instances(np.full((300, 300, 3), 245, np.uint8), SPACING, levels=1, transfer="raw"))
    for images, predictor, why in (
        (glass, about(), "no tissue"),
        (made()[1], about(stains=("H-DAB",)), "stain is H&E"),
        (dataclasses.replace(made()[1], monochrome=True), about(), "monochrome"),
    ):
        outcome = PIPELINE.run(job(), images, Seen(predictor, colours.maps), Progress())
        assert isinstance(outcome, Ungradable)
        assert why in outcome.reason
