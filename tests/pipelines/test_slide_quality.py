"""Quality of slides whose artefacts are known to the pixel: areas, usable share and verdict must be the truth."""

import dataclasses
import functools
import hashlib

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
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, problem
from airouter.pipelines.artefacts import ARTEFACTS, FINE, Labels
from phantoms.dicom import slide_instances
from tests.pipelines.oracle import Progress, Seen, job, model, opened, reasons, rests_on, value

PIPELINE = PIPELINES["slide-quality"]
UM = 2.0
GLASS, SHARP, BLURRED, FOLD, INK, BUBBLE = range(6)
# The oracle tells by colour what is what. Ink and tissue are coloured, a bubble on the glass is grey.
COLOURS = np.array(
    [(244, 244, 244), (225, 120, 170), (205, 150, 200), (130, 40, 110), (30, 50, 160), (150, 150, 150)], np.int16
)
CLASSES = (
    ("background", None),
    ("fine", codes.IN_FOCUS),
    ("blur", codes.OUT_OF_FOCUS),
    ("a fold, as this model calls it", codes.FOLDED_TISSUE),
    ("pen", codes.SLIDE_MARKING),
    ("air", codes.AIR_BUBBLE),
)


def about(classes=CLASSES, exclusive=True, **changes):
    made = model(
        Modality.SM, HeadKind.SEGMENTATION, [name for name, _ in classes], size=(128, 128), overlap=16, spacing_um=UM,
        exclusive=exclusive, **changes,
    )  # fmt: skip
    head = dataclasses.replace(made.head, classes=tuple(ModelClass(name, code, 0.5) for name, code in classes))
    return dataclasses.replace(made, head=head)


def seen(image):
    return np.abs(image[:, :, None].astype(np.int16) - COLOURS).sum(axis=3).argmin(axis=2)


def maps(image):
    return (seen(image) == np.arange(len(COLOURS))[:, None, None]).astype(np.float32)


def picture(truth, seed=0):
    noise = np.random.default_rng(seed).integers(-3, 4, (*truth.shape, 1))  # grey: glass and bubbles stay colourless
    return np.clip(COLOURS[truth] + noise, 0, 255).astype(np.uint8)


def rectangle(truth, kind, top, left, bottom, right):
    truth[top:bottom, left:right] = kind
    return truth


def section(rows=600, columns=700, margin=100):
    return rectangle(np.zeros((rows, columns), np.uint8), SHARP, margin, margin, rows - margin, columns - margin)


def slide(truth, um=UM, **changes):
    return opened(slide_instances(picture(truth), um, levels=1, transfer="raw", seed=1, **changes))


def run(images, predictor=None, **parameters):
    result = PIPELINE.run(job(**parameters), images, predictor or Seen(about(), maps), Progress())
    assert isinstance(result, Result), result
    return result


def key(code):
    return f"artefact {code.value}"


def mm2(pixels, um=UM):
    return float(pixels) * um**2 * 1e-6


def evaluations(result, name, of="quality"):
    (finding,) = [f for f in result.findings if f.key == of]
    return [e.value for e in finding.evaluations if e.name == name]


def on_tissue(images, shape):
    """bool: the tissue's mask at the pixels of the finest level."""
    tissue = images.tissue()
    rows, columns = (
        np.minimum(np.arange(n) // tissue.factor, m - 1) for n, m in zip(shape, tissue.mask.shape, strict=True)
    )
    return tissue.mask[np.ix_(rows, columns)]


@functools.cache
def spoiled():
    """18 % of the tissue out of focus, a twentieth folded, a bubble on the glass."""
    truth = rectangle(section(), BLURRED, 120, 120, 480, 220)
    rectangle(truth, FOLD, 200, 300, 300, 400)
    rectangle(truth, BUBBLE, 20, 620, 80, 680)
    return truth, slide(truth)


def test_areas_shares_and_mask_are_the_truth():
    truth, images = spoiled()
    result = run(images, min_usable_percent=0)
    tissue = on_tissue(images, truth.shape)
    assert tissue[truth == SHARP].mean() > 0.999  # the phantom's tissue is what the router takes for tissue
    total = int(tissue.sum())
    # the mask of the tissue has pixels of 10 um: what it adds of the glass along the border is tissue that is fine
    assert total == pytest.approx((np.isin(truth, (SHARP, BLURRED, FOLD))).sum(), rel=0.05)
    for kind, code in ((BLURRED, codes.OUT_OF_FOCUS), (FOLD, codes.FOLDED_TISSUE)):
        pixels = int((truth == kind).sum())
        assert value(result, key(code), codes.AREA) == pytest.approx(mm2(pixels))
        assert value(result, key(code), codes.TISSUE_SHARE) == pytest.approx(100 * pixels / total)
        assert value(result, key(code), codes.OFF_TISSUE_AREA) == 0
    assert value(result, key(codes.AIR_BUBBLE), codes.AREA) == 0
    assert value(result, key(codes.AIR_BUBBLE), codes.OFF_TISSUE_AREA) == pytest.approx(
        mm2(60 * 60), rel=0.05
    )  # its corners are rounded off
    spoilt = int(np.isin(truth, (BLURRED, FOLD)).sum())
    assert value(result, "usable", codes.AREA) == pytest.approx(mm2(total - spoilt))
    assert value(result, "usable", codes.TISSUE_SHARE) == pytest.approx(100 * (total - spoilt) / total)
    assert value(result, "quality", codes.QUALITY_RATING) == round(100 * (total - spoilt) / total, 1)
    assert value(result, "quality", codes.TISSUE_AREA) == pytest.approx(images.tissue().area_mm2)

    (mask,) = result.segmentations
    assert [(s.label, s.type, s.category) for s in mask.segments] == [
        ("Air bubbles", codes.AIR_BUBBLE, codes.QUALITY),
        ("Folded", codes.FOLDED_TISSUE, codes.QUALITY),
        ("Out of focus", codes.OUT_OF_FOCUS, codes.QUALITY),
    ]
    for number, kind in ((2, FOLD), (3, BLURRED)):
        assert np.array_equal(mask.mask == number, truth == kind)
    assert ((mask.mask == 1) & (truth == BUBBLE)).sum() > 0.95 * 60 * 60
    assert not ((mask.mask == 1) & (truth != BUBBLE)).any()


def test_the_result_on_a_fixed_slide_stays():
    result = run(spoiled()[1])
    assert {f.key: [round(m.value, 4) for m in f.measurements] for f in result.findings} == {
        "quality": [77.0, 0.7996, 32.0],
        "usable": [0.6156, 76.9885],
        "artefact 131511": [0.0, 0.0, 0.0],
        "artefact 56117007": [0.0, 0.0, 0.014],
        "artefact 131506": [0.04, 5.0025, 0.0],
        "artefact 131504": [0.144, 18.009, 0.0],
    }
    assert result.verdict.reason == (
        "rescan before reading: out of focus 18 %, folded 5 % of the tissue, only 77.0 % usable"
    )
    mask = np.packbits(result.segmentations[0].mask > 0)
    assert hashlib.sha256(mask.tobytes()).hexdigest().startswith("3ab4d48a4729c56f")


def test_the_affected_region_is_where_the_artefact_lies():
    truth, images = spoiled()
    by_key = {f.key: f for f in run(images).findings}
    for kind, code in ((BLURRED, codes.OUT_OF_FOCUS), (FOLD, codes.FOLDED_TISSUE)):
        points = by_key[key(code)].region.points
        rows, columns = np.nonzero(truth == kind)
        cell = images.tissue().factor
        assert points.min(axis=0) == pytest.approx([columns.min(), rows.min()], abs=cell)
        assert points.max(axis=0) == pytest.approx([columns.max() + 1, rows.max() + 1], abs=cell)
    assert all(f.region.source == images.base.instance_uid for f in by_key.values())
    assert all(f.method == codes.METHOD_SLIDE_QUALITY for f in by_key.values())


def test_an_unfit_slide_waits_for_its_rescan():
    _, images = spoiled()
    result = run(images)
    assert result.verdict.priority is Priority.LOW
    assert rests_on(result.verdict) == ["quality"]
    assert result.verdict.reason.startswith("rescan before reading: out of focus ")
    assert "folded 5 % of the tissue, only " in result.verdict.reason
    assert result.fitness.fit is False
    assert result.fitness.reason == result.verdict.reason
    assert result.fitness.usable_percent == value(result, "quality", codes.QUALITY_RATING)
    assert evaluations(result, codes.QUALITY_ASSESSMENT) == [codes.NON_DIAGNOSTIC_QUALITY]
    assert evaluations(result, codes.QUALITY_FINDING) == [codes.FOLDED_TISSUE, codes.OUT_OF_FOCUS]


def test_a_fit_slide_is_read_and_its_artefacts_are_named():
    _, images = spoiled()
    result = run(images, min_usable_percent=70)
    assert result.verdict.priority is Priority.ROUTINE
    assert result.fitness.fit is True
    assert evaluations(result, codes.QUALITY_ASSESSMENT) == [codes.LIMITED_QUALITY]
    fine = run(images, min_usable_percent=70, named_percent=60)
    assert evaluations(fine, codes.QUALITY_ASSESSMENT) == [codes.DIAGNOSTIC_QUALITY]
    assert evaluations(fine, codes.QUALITY_FINDING) == []
    clean = run(slide(section()))
    assert evaluations(clean, codes.QUALITY_ASSESSMENT) == [codes.DIAGNOSTIC_QUALITY]
    assert value(clean, "usable", codes.TISSUE_SHARE) == 100
    assert clean.segmentations == ()
    assert value(clean, key(codes.OUT_OF_FOCUS), codes.AREA) == 0


def test_one_artefact_can_be_limited_by_itself():
    _, images = spoiled()
    result = run(images, min_usable_percent=0, max_fold_percent=1, max_focus_percent=50, max_bubble_percent=0)
    assert not result.fitness.fit
    assert "folded 4.9 %, more than 1 %" in result.verdict.reason or "folded 5.0 %" in result.verdict.reason
    assert "out of focus" not in result.verdict.reason  # under its limit
    assert "bubbles" not in result.verdict.reason  # beside the tissue
    assert run(images, min_usable_percent=0, max_fold_percent=6).fitness.fit


def test_ink_over_tissue_hides_it_and_ink_beside_it_does_not():
    across = rectangle(section(), INK, 40, 300, 560, 350)  # 100 um wide, from glass over tissue to glass
    images = slide(across)
    result = run(images, min_usable_percent=0)
    hidden = (section() == SHARP) & (across == INK)
    # the closing by a disc of 1000 um leaves 5 um at either end of the stroke; the tissue's mask has pixels of 10 um
    assert value(result, key(codes.SLIDE_MARKING), codes.AREA) == pytest.approx(mm2(hidden.sum()), rel=0.05)
    beside = (across == INK).sum() - hidden.sum()
    assert value(result, key(codes.SLIDE_MARKING), codes.OFF_TISSUE_AREA) == pytest.approx(mm2(beside), rel=0.25)
    truth = (section() == SHARP).sum()
    assert value(result, "quality", codes.TISSUE_AREA) == pytest.approx(mm2(truth), rel=0.05)
    assert value(result, "usable", codes.TISSUE_SHARE) == pytest.approx(100 - 100 * 50 / 500, abs=0.5)

    aside = rectangle(section(columns=900), INK, 40, 850, 560, 890)  # the mask of the tissue takes it for tissue
    images = slide(aside)
    assert on_tissue(images, aside.shape)[aside == INK].mean() > 0.9
    result = run(images)
    assert value(result, key(codes.SLIDE_MARKING), codes.AREA) == 0
    assert value(result, "usable", codes.TISSUE_SHARE) == 100


def test_a_slide_under_ink_shows_no_tissue_and_is_not_fit():
    images = slide(rectangle(np.zeros((400, 400), np.uint8), INK, 60, 60, 340, 340))
    result = run(images)
    assert result.fitness.usable_percent is None
    assert not result.fitness.fit
    assert "pen marks" in result.verdict.reason
    assert reasons(result)["usable share of the tissue"].startswith("not analysed because no tissue is seen")
    assert value(result, key(codes.SLIDE_MARKING), codes.OFF_TISSUE_AREA) == pytest.approx(mm2(280**2), rel=0.02)
    assert "usable" not in {f.key for f in result.findings}
    assert value(result, "quality", codes.QUALITY_RATING) == 0


def test_nothing_can_be_said_of_glass():
    glass = np.zeros((300, 300), np.uint8)
    outcome = PIPELINE.run(job(), slide(glass), Seen(about(), maps), Progress())
    assert isinstance(outcome, Ungradable)
    dust = rectangle(glass.copy(), BUBBLE, 100, 100, 160, 160)  # seen, and no artefact to the model

    def nothing(image):
        return np.stack([np.full(image.shape[:2], float(n == 0)) for n in range(len(CLASSES))])

    outcome = PIPELINE.run(job(), slide(dust), Seen(about(), nothing), Progress())
    assert isinstance(outcome, Ungradable)
    assert "neither tissue nor an artefact" in outcome.reason


@pytest.mark.parametrize("um", [1.0, 0.7])
def test_at_another_spacing_the_areas_stay(um):
    scale = round(UM / um * 300) / 300
    small = rectangle(section(), BLURRED, 100, 100, 500, 300)
    rows, columns = (np.minimum((np.arange(round(n * scale)) / scale).astype(int), n - 1) for n in small.shape)
    truth = small[np.ix_(rows, columns)]
    result = run(slide(truth, um), min_usable_percent=0)
    rim = 4 * 200 * 2 * 2 * UM**2 * 1e-6  # two pixels of the model all round
    assert value(result, key(codes.OUT_OF_FOCUS), codes.AREA) == pytest.approx(
        mm2((truth == BLURRED).sum(), um), abs=rim
    )
    assert value(result, "usable", codes.TISSUE_SHARE) == pytest.approx(60, abs=3)


def test_classes_that_overlap_count_once_the_first_in_order():
    truth, images = spoiled()
    pair = (("blur", codes.OUT_OF_FOCUS), ("fold", codes.FOLDED_TISSUE))

    def both(image):  # what is folded is out of focus too
        what = seen(image)
        return np.stack([0.4 + 0.6 * np.isin(what, (BLURRED, FOLD)), 0.2 + 0.7 * (what == FOLD)])

    result = run(images, Seen(about(pair, exclusive=False), both))
    assert value(result, key(codes.FOLDED_TISSUE), codes.AREA) == pytest.approx(mm2((truth == FOLD).sum()))
    assert value(result, key(codes.OUT_OF_FOCUS), codes.AREA) == pytest.approx(mm2((truth == BLURRED).sum()))
    assert "air bubbles" in reasons(result)
    assert "focus" not in reasons(result)


def test_a_laboratory_may_tolerate_slight_blur():
    _, images = spoiled()

    def slight(image):
        found = maps(image)
        found[BLURRED] *= 0.6
        found[SHARP] += 0.4 * (found[BLURRED] > 0)
        return found

    knows = Seen(about(), slight)
    strict, tolerant = (run(images, knows, blur_probability=p) for p in (0.5, 0.7))
    assert value(strict, key(codes.OUT_OF_FOCUS), codes.AREA) > 0.1
    assert value(tolerant, key(codes.OUT_OF_FOCUS), codes.AREA) == 0
    assert value(tolerant, key(codes.FOLDED_TISSUE), codes.AREA) > 0


def test_the_direction_of_bad_staining_is_told_beside_its_public_code():
    classes = [list(each) for each in CLASSES]
    classes[BLURRED][1], classes[FOLD][1] = codes.UNDERSTAINED, codes.OVERSTAINED
    _, images = spoiled()
    result = run(images, Seen(about(tuple(map(tuple, classes))), maps), max_stain_percent=22, min_usable_percent=0)
    weak, strong = (
        next(f for f in result.findings if f.key == key(c)) for c in (codes.UNDERSTAINED, codes.OVERSTAINED)
    )
    assert weak.finding == strong.finding == codes.INADEQUATELY_STAINED
    assert [e.value for e in (*weak.evaluations, *strong.evaluations)] == [codes.UNDERSTAINED, codes.OVERSTAINED]
    assert evaluations(result, codes.QUALITY_FINDING) == [codes.INADEQUATELY_STAINED]  # named once
    assert {s.type for s in result.segmentations[0].segments} >= {codes.INADEQUATELY_STAINED}
    assert "understained and overstained 23." in result.verdict.reason  # together over the limit


@pytest.mark.parametrize(
    ("classes", "exclusive", "why"),
    [
        ((("background", None), ("tumour", codes.NEOPLASM)), True, "no known quality of a slide: tumour"),
        ((("good", None), ("blur", codes.OUT_OF_FOCUS)), True, "quality of a slide: good"),
        ((("background", None), ("fine", codes.IN_FOCUS)), True, "no class with the code of an artefact"),
        ((("blur", codes.OUT_OF_FOCUS), ("pen", codes.SLIDE_MARKING)), True, "only artefacts to choose among"),
        ((("blur", codes.OUT_OF_FOCUS), ("pen", codes.SLIDE_MARKING)), False, None),
        ((("any", None), ("blur", Code("131504", "DCM", "blurred"))), False, "quality of a slide: any"),
        ((("ink", codes.TISSUE_MARKING), ("blur", Code("131504", "DCM", "blurred"))), True, None),
    ],
)
def test_classes_are_known_by_their_codes(classes, exclusive, why):
    found = problem(PIPELINE, about(classes, exclusive))
    assert (found is None) if why is None else (why in found)
    if why is not None:
        with pytest.raises(ConfigurationError):
            run(spoiled()[1], Seen(about(classes, exclusive), maps))


def test_every_limit_is_a_parameter():
    assert {each.limit for each in ARTEFACTS} <= {each.name for each in PIPELINE.parameters}
    assert len({each.code for each in ARTEFACTS}) == len(ARTEFACTS)


def test_the_container_and_the_time_of_the_scan_are_kept():
    datasets = slide_instances(picture(section()), UM, levels=1, transfer="raw", seed=1)
    for ds in datasets:
        ds.ContainerIdentifier, ds.AcquisitionDateTime = "S26-17-A1", "20260105101500.000000"
    fitness = run(opened(datasets)).fitness
    assert (fitness.container, fitness.scanned) == ("S26-17-A1", "2026-01-05T10:15:00")
    for ds in datasets:
        ds.ContainerIdentifier, ds.AcquisitionDateTime = "Unknown", "2026"
    fitness = run(opened(datasets)).fitness
    assert fitness.container is None
    assert fitness.scanned in (None, "2026-01-01T00:00:00")


def test_a_grey_slide_needs_a_model_that_reads_grey():
    _, images = spoiled()
    grey = dataclasses.replace(images, monochrome=True)
    outcome = PIPELINE.run(job(), grey, Seen(about(), maps), Progress())
    assert isinstance(outcome, Ungradable)
    assert "monochrome" in outcome.reason


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_areas_add_up_whatever_the_model_says(data):
    """Usable and spoilt tissue make the tissue, to the pixel, and no share leaves 0..100."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    hidden = data.draw(st.sampled_from([0.0, 100.0, 1000.0]))
    _, images = spoiled()

    def noise(image):
        rng = np.random.default_rng([seed, int(image.sum())])
        coarse = rng.random((len(CLASSES), 8, 8)).repeat(16, axis=1).repeat(16, axis=2)
        return (coarse / coarse.sum(axis=0)).astype(np.float32)

    result = run(images, Seen(about(), noise), hidden_um=hidden, workers=1)
    artefacts = [f.key for f in result.findings if f.key.startswith("artefact")]
    usable = value(result, "usable", codes.TISSUE_SHARE)
    assert 0 <= usable <= 100
    assert sum(value(result, k, codes.TISSUE_SHARE) for k in artefacts) + usable == pytest.approx(100)
    areas = sum(value(result, k, codes.AREA) for k in artefacts) + value(result, "usable", codes.AREA)
    assert areas == pytest.approx(value(result, "quality", codes.TISSUE_AREA))
    (mask,) = result.segmentations
    beside = sum(value(result, k, codes.OFF_TISSUE_AREA) for k in artefacts)
    on = sum(value(result, k, codes.AREA) for k in artefacts)
    assert on + beside == pytest.approx(mm2((mask.mask > 0).sum()))


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_every_pixel_gets_one_label(seed, exclusive):
    rng = np.random.default_rng(seed)
    labels = Labels(about(exclusive=exclusive).head)
    made = labels.of(rng.random((len(CLASSES), 9, 7)).astype(np.float32))
    assert made.dtype == np.uint8
    assert made.min() >= FINE
    assert made.max() <= FINE + len(labels.artefacts)
