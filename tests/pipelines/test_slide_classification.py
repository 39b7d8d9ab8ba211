"""Tissue classified patch by patch: areas and maps must be those of a slide whose classes are known to the pixel."""

import dataclasses
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
from airouter.errors import ConfigurationError, JobCanceled, ModelOutputError
from airouter.pipelines import PIPELINES, problem
from airouter.pipelines.tissue_region import tissue_region
from phantoms.dicom import slide_instances
from tests.pipelines import colours
from tests.pipelines.oracle import Progress, Seen, job, model, names, opened, value

PIPELINE = PIPELINES["slide-classification"]
SPACING = 0.5
MARGIN = 90


def about(**changes):
    settings_ = {"size": (64, 64), "overlap": 0, "spacing_um": SPACING, "exclusive": True, **changes}
    classes = settings_.pop("classes", colours.NAMES)
    return model(Modality.SM, HeadKind.CLASSIFICATION, classes, **{"codeless": ("background",), **settings_})


@functools.cache
def made(spacing_um=SPACING, size=(640, 768), levels=2):
    truth = colours.section(*size, MARGIN)
    return truth, opened(slide_instances(truth.rgb, spacing_um, levels=levels, transfer="raw", seed=1))


def run(slide, predictor=None, progress=None, **parameters):
    result = PIPELINE.run(job(**parameters), slide, predictor or Seen(about(), colours.shares), progress or Progress())
    assert isinstance(result, Result), result
    return result


def test_the_tissue_divides_into_the_classes_of_its_patches():
    truth, slide = made()
    result = run(slide)
    assert [f.key for f in result.findings] == ["tissue", "class stroma", "class tumour", "class necrosis"]
    tissue = value(result, "tissue", codes.TISSUE_AREA)
    assert tissue == pytest.approx(slide.tissue().area_mm2)
    # what patches of 64 pixels without overlap hold most of, weighed with their tissue
    cells = truth.classes.reshape(10, 64, 12, 64).swapaxes(1, 2).reshape(120, -1)
    most = np.array([np.bincount(cell, minlength=4).argmax() for cell in cells])
    on_tissue = (cells > 0).sum(axis=1) * SPACING**2 * 1e-6
    for number, name in enumerate(colours.COLOURS, start=1):
        expected = on_tissue[most == number].sum()
        # the edge of the tissue's mask lies within one of its pixels, 5 um, of the true edge, 2 x (0.23 + 0.29) mm
        assert value(result, f"class {name}", codes.AREA) == pytest.approx(expected, abs=0.005 * 1.04)
        share = value(result, f"class {name}", codes.TISSUE_SHARE)
        assert share == pytest.approx(100 * value(result, f"class {name}", codes.AREA) / tissue)
    assert result.execution_provider == "SeenExecutionProvider"
    assert result.not_analysed == ()


def test_every_group_has_a_region_and_its_own_code():
    _, slide = made()
    result = run(slide)
    assert [f.finding for f in result.findings[1:]] == [c.code for c in about().head.classes[1:]]
    for finding in result.findings:
        assert finding.region.graphic == "POLYGON"
        assert finding.region.source == slide.base.instance_uid
        assert (finding.region.points >= 0).all()
        assert (finding.region.points <= [slide.base.columns, slide.base.rows]).all()


def test_the_maps_show_each_patch_where_it_lies():
    truth, slide = made()
    result = run(slide)
    assert [m.label for m in result.maps] == [f"Probability of {name}" for name in colours.COLOURS]
    assert [m.role for m in result.maps] == ["probability-2", "probability-3", "probability-4"]
    analysed = tissue_region(slide, about()).plan.cells
    for number, made_map in enumerate(result.maps, start=1):
        assert (made_map.factor, made_map.values.shape) == (64, (10, 12))
        assert (made_map.quantity, made_map.unit) == (codes.PROBABILITY, codes.ZERO_TO_ONE)
        assert made_map.finding == about().head.classes[number].code
        true = (truth.classes == number).reshape(10, 64, 12, 64).mean(axis=(1, 3))
        expected = np.full((10, 12), NO_VALUE)
        for cell in analysed:
            expected[cell] = true[cell]
        assert made_map.values == pytest.approx(expected, abs=1e-6)


def test_the_plan_leaves_glass_out():
    classes = np.zeros((640, 640), np.uint8)
    classes[64:320, 64:320] = 1
    slide = opened(slide_instances(colours.paint(classes).rgb, SPACING, levels=1, transfer="raw", seed=1))
    (stroma, *_) = run(slide).maps
    assert (stroma.values[1:5, 1:5] == 1).all()
    assert (stroma.values[6:] == NO_VALUE).all()
    assert (stroma.values[:, 6:] == NO_VALUE).all()


@pytest.mark.parametrize(
    ("spacing_um", "size", "overlap", "model_um"),
    [
        (0.25, (64, 64), 0, 0.5),  # 2 level pixels per pixel: 128 per core
        (0.5, (63, 63), 5, 0.66),  # 53 pixels of 1.32 level pixels: no whole number
        (0.5, (64, 96), 8, 0.5),  # not square
        (0.5, (40, 90), 3, 0.7),  # neither
    ],
)
def test_a_map_of_any_spacing_shows_what_lies_under_its_cells(spacing_um, size, overlap, model_um):
    truth, slide = made(spacing_um, (620, 700), 1)
    predictor = about(size=size, overlap=overlap, spacing_um=model_um)
    result = run(slide, Seen(predictor, colours.shares))
    plan = tissue_region(slide, predictor).plan
    sides = [(n - 2 * overlap) * plan.scale for n in size]
    padded = np.pad(truth.classes, 200)  # glass around the slide
    for number, made_map in enumerate(result.maps, start=1):
        assert made_map.factor == int(min(sides) + 1e-6)
        assert made_map.values.shape == tuple(-(-n // made_map.factor) for n in truth.classes.shape)
        shown = set()
        for place in np.ndindex(made_map.values.shape):
            # the core that the centre of the cell lies in, and what its patch shows
            middle = (np.array(place) + 0.5) * made_map.factor
            cell = tuple(int(m // side) for m, side in zip(np.minimum(middle, truth.classes.shape), sides, strict=True))
            if cell not in plan.cells:
                assert made_map.values[place] == NO_VALUE
                continue
            shown.add(cell)
            top, left = (round(c * side - overlap * plan.scale) + 200 for c, side in zip(cell, sides, strict=True))
            high, wide = (round(n * plan.scale) for n in size)
            window = padded[top : top + high, left : left + wide]
            assert made_map.values[place] == pytest.approx((window == number).mean(), abs=0.05)
        assert shown == set(plan.cells)  # no patch is lost


@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 3), st.floats(0.26, 4.0))
@settings(max_examples=40, deadline=None)
def test_the_tissue_of_the_patches_is_all_of_the_tissue(rows, columns, overlap, model_um):
    _, slide = made(SPACING, (320, 290), 1)
    region = tissue_region(slide, about(size=(rows, columns), overlap=overlap, spacing_um=model_um))
    areas = region.areas_mm2()
    assert areas.min() >= 0
    assert areas.sum() == pytest.approx(region.tissue.area_mm2)
    plan = region.plan
    for k in (0, len(plan) // 2, len(plan) - 1):
        (r, c), _ = plan.core(plan.cells[k])
        core_mm2 = (r.stop - r.start) * (c.stop - c.start) * plan.spacing_um**2 * 1e-6
        assert areas[k] <= core_mm2 * 1.0001


def test_classes_that_do_not_exclude_each_other_are_asked_one_by_one():
    _, slide = made()
    result = run(slide, Seen(about(exclusive=False, threshold=0.1), colours.shares))
    percent = [value(result, f"class {name}", codes.TISSUE_SHARE) for name in colours.COLOURS]
    assert sum(percent) > 100  # a patch on a border is of both its classes
    only = run(slide, Seen(about(exclusive=False, threshold=1.0), colours.shares))
    assert sum(value(only, f"class {name}", codes.TISSUE_SHARE) for name in colours.COLOURS) < 100


def test_the_result_does_not_depend_on_threads_and_batches():
    _, slide = made()
    first, *others = (
        run(slide, Seen(about(batch=batch), colours.shares), workers=n) for batch, n in ((1, 1), (3, 4), (500, 2))
    )
    for other in others:
        assert [f.measurements for f in other.findings] == [f.measurements for f in first.findings]
        assert all(np.array_equal(a.values, b.values) for a, b in zip(first.maps, other.maps, strict=True))


def test_progress_is_told_in_patches():
    _, slide = made()
    told = Progress()
    result = run(slide, progress=told)
    total = int(value(result, "tissue", codes.PATCH_COUNT))
    assert told.told[0] == (0, total, "patches")
    assert told.told[-1] == (total, total, "patches")


def test_a_canceled_job_stops():
    _, slide = made()

    def cancel(done, total, unit):
        if done:
            raise JobCanceled("enough")

    with pytest.raises(JobCanceled):
        run(slide, progress=cancel)


def test_a_broken_model_is_not_hidden():
    def broken(image):
        raise ModelOutputError("NaN")

    with pytest.raises(ModelOutputError):
        run(made()[1], Seen(about(), broken))


def test_the_priority_is_high_only_where_a_route_says_of_what():
    _, slide = made()
    plain = run(slide)
    assert plain.verdict.priority is Priority.ROUTINE
    assert plain.verdict.reason.startswith("stroma ")
    tumour = value(plain, "class tumour", codes.TISSUE_SHARE)
    for parameters, priority in (
        ({"high_percent": tumour - 0.1}, Priority.HIGH),
        ({"high_percent": tumour + 0.1}, Priority.ROUTINE),
        ({"high_mm2": 0.001}, Priority.HIGH),
        ({"high_mm2": 100}, Priority.ROUTINE),
        ({"high_mm2": 100, "high_percent": tumour - 0.1}, Priority.HIGH),
    ):
        verdict = run(slide, high_class=3, **parameters).verdict
        assert verdict.priority is priority, parameters
        assert "tumour" in verdict.reason


@pytest.mark.parametrize("limit", ["high_percent", "high_mm2"])
def test_a_class_that_is_not_there_reaches_no_limit(limit):
    nothing_but_tumour = Seen(about(), lambda image: np.array([0, 0, 1, 0]))
    for high_class, priority in ((2, Priority.ROUTINE), (3, Priority.HIGH)):
        verdict = run(made()[1], nothing_but_tumour, high_class=high_class, **{limit: 0}).verdict
        assert verdict.priority is priority, verdict


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"high_percent": 5}, "needs high_class"),
        ({"high_mm2": 5}, "needs high_class"),
        ({"high_class": 2}, "needs high_percent or high_mm2"),
        ({"high_class": 1, "high_mm2": 5}, "reports no class 1"),
        ({"high_class": 9, "high_mm2": 5}, "reports no class 9"),
        ({"high_class": 1.5, "high_mm2": 5}, "whole number"),
        ({"high_percent": 101}, "0..100"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_before_and_during_the_run(parameters, why):
    assert why in problem(PIPELINE, about(), parameters)
    with pytest.raises(ConfigurationError, match=why):
        run(made()[1], **parameters)


def test_a_class_without_a_code_is_refused():
    nameless = about(codeless=("background", "tumour", "necrosis"))
    assert problem(PIPELINE, about()) is None
    assert "no code for the classes tumour, necrosis" in problem(PIPELINE, nameless)
    assert "no class beside background" in problem(PIPELINE, about(classes=("background",)))
    with pytest.raises(ConfigurationError, match="no code for the classes tumour, necrosis"):
        run(made()[1], Seen(nameless, colours.shares))


def test_a_name_with_parentheses_becomes_a_label_without():
    classes = ("background", "stroma (any)", "tumour", "necrosis")
    result = run(made()[1], Seen(about(classes=classes), colours.shares))
    assert result.findings[1].label == "stroma [any]"
    assert codes.AREA in names(result, "class stroma (any)")


def test_what_cannot_be_analysed_is_ungradable():
    _, slide = made()
    glass = opened(slide_instances(np.full((300, 300, 3), 245, np.uint8), SPACING, levels=1, transfer="raw"))
    datasets = slide_instances(made()[0].rgb, SPACING, levels=1, transfer="raw", seed=1)
    del datasets[0]["TotalPixelMatrixOriginSequence"]
    for images, predictor, why in (
        (glass, about(), "no tissue"),
        (slide, about(stains=("H-DAB",)), "stain is H&E"),
        (slide, about(spacing_um=0.1), "too coarse"),
        (opened(datasets), about(), "does not say where its pixels lie"),
        (dataclasses.replace(slide, monochrome=True), about(), "monochrome"),
        (dataclasses.replace(slide, stain=None), about(stains=("H&E",)), "not stated"),
    ):
        outcome = PIPELINE.run(job(), images, Seen(predictor, colours.shares), Progress())
        assert isinstance(outcome, Ungradable)
        assert why in outcome.reason
