"""Tumour, stroma and the rest: areas, cellularity and stroma ratio of a slide whose classes are known to the pixel."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from airouter.domain import codes
from airouter.domain.finding import NO_VALUE, Result, Ungradable
from airouter.domain.priority import Priority
from airouter.errors import ConfigurationError
from airouter.pipelines import PIPELINES, problem
from airouter.pipelines.tumour_bed import Shares
from tests.pipelines import sections
from tests.pipelines.oracle import Progress, job, names, reasons, rests_on, value
from tests.pipelines.sections import BACKGROUND, INK, NECROSIS, NORMAL, STROMA, TUBULE, TUMOUR

PIPELINE = PIPELINES["tissue-classes"]
MM2 = sections.SPACING**2 * 1e-6
BED_UM = 60.0


@functools.cache
def slide():
    return sections.slide(sections.bed())


def run(images, knows=None, **parameters):
    given = {"bed_um": BED_UM, **parameters}
    result = PIPELINE.run(job(**given), images, knows or sections.oracle(), Progress())
    assert isinstance(result, Result), result
    return result


def mm2(classes, *wanted):
    return np.isin(classes, wanted).sum() * MM2


def bed_of(classes, radius):
    """The bed by another library: closing by a disc, on the tissue."""
    tumour = np.pad(np.isin(classes, (TUMOUR, TUBULE, NECROSIS)), 2 * radius)
    grown = ndimage.distance_transform_edt(~tumour) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    return closed[2 * radius : -2 * radius, 2 * radius : -2 * radius] & (classes != BACKGROUND)


def test_areas_are_the_truth_and_add_up_to_the_tissue():
    classes, result = sections.bed(), run(slide())
    tissue = value(result, "tissue", codes.TISSUE_AREA)
    assert tissue == pytest.approx(slide().tissue().area_mm2)
    for number, name in enumerate(sections.NAMES[1:], start=1):
        if number == NORMAL:
            continue  # at the edge of the tissue, which is found on a lower level
        assert value(result, f"class {name}", codes.AREA) == pytest.approx(mm2(classes, number)), name
    # the tissue's mask has pixels of 6 um: its edge lies within one of the true edge, 2 x (400 + 340) um long
    assert value(result, "class normal", codes.AREA) == pytest.approx(mm2(classes, NORMAL), abs=0.006 * 1.48)
    told = [value(result, f"class {name}", codes.AREA) for name in sections.NAMES[1:]]
    assert sum(told) == pytest.approx(tissue, abs=0.006 * 1.48)  # the rest is glass that the mask took in
    assert value(result, "tumour", codes.AREA) == pytest.approx(mm2(classes, TUMOUR, TUBULE))
    assert value(result, "tumour", codes.TISSUE_SHARE) == pytest.approx(100 * mm2(classes, TUMOUR, TUBULE) / tissue)


def test_cellularity_and_stroma_ratio_are_those_of_the_bed():
    classes, result = sections.bed(), run(slide())
    bed = bed_of(classes, int(BED_UM))
    tumour, stroma = mm2(classes, TUMOUR, TUBULE), mm2(np.where(bed, classes, BACKGROUND), STROMA)
    assert stroma > 0.005  # the gap between the nests is in the bed
    # within a pixel along the border of the bed
    border = (ndimage.binary_dilation(bed) & ~ndimage.binary_erosion(bed)).sum() * MM2
    assert value(result, "tumour bed", codes.TUMOUR_BED_AREA) == pytest.approx(bed.sum() * MM2, abs=border)
    low, high = (100 * tumour / (bed.sum() * MM2 + change) for change in (border, -border))
    assert low <= value(result, "tumour bed", codes.TUMOUR_CELLULARITY) <= high
    low, high = (100 * tumour / (tumour + stroma + change) for change in (border, -border))
    assert low <= value(result, "tumour bed", codes.TUMOUR_STROMA_RATIO) <= high


def test_a_bed_around_enclosed_stroma_is_exact():
    classes = sections.glass(300, 400)
    classes[30:270, 30:370] = NORMAL
    classes[100:200, 80:320] = TUMOUR
    classes[120:180, 100:200] = STROMA  # 6000
    classes[130:170, 120:180] = NORMAL  # of which 2400
    classes[110:150, 250:300] = NECROSIS  # 2000
    classes[150:190, 250:300] = TUBULE
    result = run(sections.slide(classes))
    assert value(result, "tumour bed", codes.TUMOUR_BED_AREA) == pytest.approx(24000 * MM2)
    assert value(result, "tumour bed", codes.TUMOUR_CELLULARITY) == pytest.approx(100 * 16000 / 24000)
    assert value(result, "tumour bed", codes.TUMOUR_STROMA_RATIO) == pytest.approx(100 * 16000 / 19600)


@pytest.mark.parametrize(
    ("bed", "tumour", "stroma", "cellularity", "ratio", "category"),
    [
        (10.0, 4.0, 4.0, 40.0, 50.0, codes.STROMA_LOW),  # half is not more than half
        (10.0, 3.0, 5.0, 30.0, 37.5, codes.STROMA_HIGH),
        (2.0, 2.0, 0.0, 100.0, 100.0, codes.STROMA_LOW),
        (8.0, 2.0, None, 25.0, None, None),
        (0.0, 0.0, 0.0, None, None, None),
    ],
)
def test_shares_of_a_bed(bed, tumour, stroma, cellularity, ratio, category):
    shares = Shares(bed, tumour, stroma)
    assert (shares.cellularity, shares.tumour_stroma_ratio, shares.category) == (cellularity, ratio, category)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4))
def test_shares_lie_between_0_and_100(tumour, stroma, rest):
    shares = Shares(tumour + stroma + rest, tumour, stroma)
    for percent in (shares.cellularity, shares.tumour_stroma_ratio):
        assert percent is None or 0 <= percent <= 100


def test_background_in_the_bed_is_no_part_of_it():
    classes = sections.glass(300, 400)
    classes[30:270, 30:370] = NORMAL
    classes[100:200, 80:320] = TUMOUR
    classes[140:160, 180:200] = BACKGROUND  # a tear, narrower than what the tissue's mask closes
    result = run(sections.slide(classes))
    assert value(result, "tumour bed", codes.TUMOUR_BED_AREA) == pytest.approx(mm2(classes, TUMOUR))
    assert value(result, "tumour bed", codes.TUMOUR_CELLULARITY) == pytest.approx(100)


@pytest.mark.parametrize("turned", [np.rot90, np.fliplr, np.flipud])
def test_turning_the_slide_changes_no_number(turned):
    result, other = run(slide()), run(sections.slide(np.ascontiguousarray(turned(sections.bed()))))
    for key, name in (
        ("tumour", codes.AREA),
        ("class stroma", codes.AREA),
        ("class necrosis", codes.AREA),
        ("tumour bed", codes.TUMOUR_BED_AREA),
        ("tumour bed", codes.TUMOUR_CELLULARITY),
        ("tumour bed", codes.TUMOUR_STROMA_RATIO),
    ):
        assert value(other, key, name) == pytest.approx(value(result, key, name)), key


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_the_classes_of_any_section_add_up_to_its_tissue(seed):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(1, len(sections.NAMES), (6, 6)).astype(np.uint8)  # glass in none
    classes = blocks.repeat(32, axis=0).repeat(32, axis=1)
    result = run(sections.slide(classes), min_tumour_mm2=0)
    told = [value(result, f"class {name}", codes.AREA) for name in sections.NAMES[1:]]
    assert sum(told) == pytest.approx(value(result, "tissue", codes.TISSUE_AREA))
    for number, area in enumerate(told, start=1):
        assert area == pytest.approx(mm2(classes, number))
    if "tumour-stroma ratio" not in reasons(result):
        assert 0 <= value(result, "tumour bed", codes.TUMOUR_STROMA_RATIO) <= 100
        assert 0 < value(result, "tumour bed", codes.TUMOUR_CELLULARITY) <= 100


def test_golden_numbers():
    """Any change of these is a change of the definition, and needs a new version of the pipeline."""
    result = run(slide())
    assert {(f.key, m.name.value): round(m.value, 6) for f in result.findings for m in f.measurements} == {
        ("tissue", "TISSUE-AREA"): 0.14184,
        ("tissue", "PATCH-COUNT"): 20,
        ("class stroma", "42798000"): 0.0346,
        ("class stroma", "TISSUE-SHARE"): 24.393683,
        ("class tumour", "42798000"): 0.0308,
        ("class tumour", "TISSUE-SHARE"): 21.714608,
        ("class tubule", "42798000"): 0.0016,
        ("class tubule", "TISSUE-SHARE"): 1.128032,
        ("class necrosis", "42798000"): 0.005,
        ("class necrosis", "TISSUE-SHARE"): 3.525099,
        ("class normal", "42798000"): 0.063984,
        ("class normal", "TISSUE-SHARE"): 45.109983,
        ("class ink", "42798000"): 0,
        ("class ink", "TISSUE-SHARE"): 0,
        ("tumour", "42798000"): 0.0324,
        ("tumour", "TISSUE-SHARE"): 22.84264,
        ("tumour bed", "TUMOUR-BED-AREA"): 0.045064,
        ("tumour bed", "TUMOUR-CELLS"): 71.897745,
        ("tumour bed", "TUMOUR-STROMA"): 80.870607,
    }


def test_every_group_has_a_method_a_region_and_ucum_units():
    for finding in run(slide()).findings:
        assert finding.method is not None
        assert finding.region.graphic == "POLYGON"
        assert {m.unit for m in finding.measurements} <= {codes.MM2, codes.PERCENT, codes.COUNTS}


def test_the_outlines_lie_around_tumour_and_bed():
    result = run(slide())
    regions = {f.key: f.region for f in result.findings}
    for key, left, right in (("tumour", 110, 370), ("tumour bed", 110, 370)):
        assert regions[key].points.min(axis=0) == pytest.approx([left, 120], abs=1)
        assert regions[key].points.max(axis=0) == pytest.approx([right, 300], abs=1)


def test_the_mask_is_the_truth():
    result = run(slide())
    (mask,) = result.segmentations
    assert [s.type for s in mask.segments] == [code for _, code in sections.CODED.values()]
    inside = np.s_[60:360, 60:420]
    assert np.array_equal(mask.mask[inside], sections.bed()[inside])


@pytest.mark.parametrize(("spacing_um", "model_um", "field_um"), [(1.0, 1.0, 30.0), (0.5, 1.0, 25.0), (1.0, 1.3, 40.0)])
def test_the_map_shows_the_mean_probability_of_tumour_on_the_tissue(spacing_um, model_um, field_um):
    classes = sections.bed()
    images = sections.slide(classes, spacing_um)
    result = run(images, sections.oracle(spacing_um=model_um), field_um=field_um, bed_um=10, min_tumour_mm2=0)
    (made,) = result.maps
    assert (made.quantity, made.unit, made.factor) == (
        codes.PROBABILITY_OF_CANCER,
        codes.ZERO_TO_ONE,
        round(field_um / spacing_um),
    )
    assert made.values.shape == tuple(-(-n // made.factor) for n in classes.shape)
    tissue = images.tissue()
    there = np.kron(tissue.mask, np.ones((tissue.factor, tissue.factor)))[: classes.shape[0], : classes.shape[1]] > 0
    tumour = np.isin(classes, (TUMOUR, TUBULE))
    # a model pixel on a border is of one class or the other: as many pixels may be wrong as the border is long
    loose = 0 if model_um == spacing_um else 2.0 * (model_um / spacing_um) / made.factor
    for place in np.ndindex(made.values.shape):
        cell = tuple(slice(n * made.factor, (n + 1) * made.factor) for n in place)
        if not there[cell].any():
            assert made.values[place] == NO_VALUE
        elif there[cell].mean() > 0.2:
            assert made.values[place] == pytest.approx(tumour[cell][there[cell]].mean(), abs=1e-6 + loose), place


def test_what_the_model_does_not_know_is_not_stated():
    result = run(slide(), sections.oracle(("background", "tumour")))
    assert reasons(result) == {"tumour-stroma ratio": "not analysed because model demo has no class stroma"}
    assert codes.TUMOUR_CELLULARITY in names(result, "tumour bed")
    assert codes.TUMOUR_STROMA_RATIO not in names(result, "tumour bed")


def test_without_tumour_there_is_no_bed():
    classes = np.where(np.isin(sections.bed(), (TUMOUR, TUBULE)), NORMAL, sections.bed()).astype(np.uint8)
    result = run(sections.slide(classes))
    why = "not analysed because no tumour was found on the slide"
    assert reasons(result) == {"tumour cellularity": why, "tumour-stroma ratio": why}
    assert {f.key for f in result.findings} == {"tissue", *(f"class {name}" for name in sections.NAMES[1:])}
    assert value(result, "class tumour", codes.AREA) == 0
    assert result.verdict.priority is Priority.ROUTINE
    assert (result.maps[0].values <= 0).all()


def test_a_speck_of_tumour_has_no_bed():
    result = run(slide(), min_tumour_mm2=1)
    assert set(reasons(result)) == {"tumour cellularity", "tumour-stroma ratio"}
    assert "0.032 mm2 of tumour was found and at least 1 mm2" in reasons(result)["tumour cellularity"]
    assert "tumour bed" not in {f.key for f in result.findings}
    assert value(result, "tumour", codes.AREA) == pytest.approx(0.0324)


def test_the_priority_is_high_only_where_a_limit_is_set_and_reached():
    assert run(slide()).verdict.priority is Priority.ROUTINE
    assert "cellularity" in run(slide()).verdict.reason
    reached = run(slide(), high_mm2=0.03).verdict
    assert (reached.priority, reached.reason) == (Priority.HIGH, "tumour 0.0324 mm2 reaches 0.03 mm2")
    assert rests_on(reached) == ["tumour"]
    assert run(slide(), high_mm2=0.04).verdict.priority is Priority.ROUTINE


def test_the_result_does_not_depend_on_threads_and_batches():
    first, *others = (run(slide(), sections.oracle(batch=batch), workers=n) for batch, n in ((1, 1), (3, 4), (50, 2)))
    for other in others:
        assert [f.measurements for f in other.findings] == [f.measurements for f in first.findings]
        assert np.array_equal(other.maps[0].values, first.maps[0].values)


@pytest.mark.parametrize(
    ("knows", "why"),
    [
        (lambda: sections.oracle(("background", "stroma")), "lacks the classes tumour"),
        (lambda: sections.oracle(exclusive=False), "may overlap"),
        (lambda: sections.oracle(("background", "tumour", "unnamed")), "no code for the classes unnamed"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(knows, why):
    assert why in problem(PIPELINE, knows().model)


def test_a_job_older_than_the_manifest_is_refused():
    with pytest.raises(ConfigurationError, match="may overlap"):
        run(slide(), sections.oracle(exclusive=False))


def test_what_cannot_be_analysed_is_ungradable():
    outcome = PIPELINE.run(job(), slide(), sections.oracle(stains=("H-DAB",)), Progress())
    assert isinstance(outcome, Ungradable)
    assert "stain is H&E" in outcome.reason


def test_ink_is_a_class_as_any_other():
    classes = sections.bed().copy()
    classes[45:60, 60:400] = INK
    assert value(run(sections.slide(classes)), "class ink", codes.AREA) == pytest.approx(mm2(classes, INK))
