"""The pipeline with an oracle in the model's place: what it counts and measures must be the phantom's truth."""

import functools

import cv2
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
from airouter.pipelines import PIPELINES
from phantoms.dicom import slide_instances
from phantoms.slide import slide as phantom
from tests.pipelines.oracle import Oracle, Progress, job, model, names, opened, reasons, rests_on, value

PIPELINE = PIPELINES["nuclear-positivity"]
SPACING = 0.5


def nuclei_model(**changes):
    settings_ = {"size": (128, 128), "overlap": 24, "spacing_um": SPACING, **changes}
    return model(Modality.SM, HeadKind.SEGMENTATION, PIPELINE.classes, **settings_)


def maps(labels):
    """What a perfect model answers: nucleus, and the rim where two nuclei touch or glass begins."""
    padded = np.pad(labels, 1, mode="edge")
    rim = np.zeros(labels.shape, bool)
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            rim |= padded[1 + dr : 1 + dr + labels.shape[0], 1 + dc : 1 + dc + labels.shape[1]] != labels
    return np.stack([labels > 0, rim & (labels > 0)]).astype(np.float32)


def oracle(slide, labels, about=None):
    """Told of every patch of the plan that the pipeline will make."""
    about = about or nuclei_model()
    knows = Oracle(about)
    plan = slide.patches(about.input.spacing_um, about.input.size, about.input.overlap, slide.tissue())
    for patch in plan:
        rows, columns = about.input.size
        at_row = np.floor(patch.row + (np.arange(rows) + 0.5) * patch.scale).astype(int)
        at_column = np.floor(patch.column + (np.arange(columns) + 0.5) * patch.scale).astype(int)
        inside = ((at_row >= 0) & (at_row < labels.shape[0]))[:, None] & (
            (at_column >= 0) & (at_column < labels.shape[1])
        )
        part = labels[np.clip(at_row, 0, labels.shape[0] - 1)][:, np.clip(at_column, 0, labels.shape[1] - 1)]
        knows.tell(patch.pixels, maps(np.where(inside, part, 0)))
    return knows


@functools.cache
def made(stain="H-DAB", said=True, positive=0.3, density=1500.0, size=(620, 540)):
    truth = phantom(*size, SPACING, stain, density, positive, seed=3)
    slide = opened(slide_instances(truth.rgb, SPACING, levels=2, transfer="raw", stain=stain if said else None, seed=1))
    return truth, slide, oracle(slide, truth.labels)


def run(slide, knows, progress=None, **parameters):
    result = PIPELINE.run(job(**parameters), slide, knows, progress or Progress())
    assert isinstance(result, Result)
    return result


def test_every_nucleus_is_counted_once_and_its_positivity_is_right():
    truth, slide, knows = made()
    result = run(slide, knows)
    count, positive = int(truth.labels.max()), int(truth.positive.sum())
    assert count > 80
    result = run(slide, knows, min_nuclei=10)
    assert value(result, "tissue", codes.NUCLEI_COUNT) == count
    assert value(result, "tissue", codes.POSITIVE_COUNT) == positive
    assert value(result, "tissue", codes.POSITIVE_FRACTION) == pytest.approx(100 * positive / count)
    assert "0.0642 mm2 of tissue count and the window has 0.2 mm2" in reasons(result)["index in the hotspot"]
    assert [(g.role, len(g)) for g in result.annotations] == [
        ("positive-nuclei", positive),
        ("negative-nuclei", count - positive),
    ]
    assert result.execution_provider == "TruthExecutionProvider"


def test_areas_and_outlines_are_those_of_the_nuclei():
    truth, slide, knows = made()
    result = run(slide, knows, min_nuclei=10)
    seen = set()
    for group in result.annotations:
        areas = group.measurements[codes.AREA, codes.UM2]
        assert group.source == slide.base.instance_uid
        for k in range(len(group)):
            points = group.points[group.starts[k] : group.starts[k + 1]]
            drawn = np.zeros(truth.labels.shape, np.uint8)
            cv2.fillPoly(drawn, [np.round((points - 0.5) * 64).astype(np.int32)], 1, shift=6)
            under = np.bincount(truth.labels[drawn > 0])
            label = int(under.argmax())
            mine = truth.labels == label
            assert areas[k] == pytest.approx(mine.sum() * SPACING**2)
            grown = cv2.dilate(mine.astype(np.uint8), np.ones((3, 3), np.uint8))
            shrunk = cv2.erode(mine.astype(np.uint8), np.ones((3, 3), np.uint8))
            assert (shrunk <= drawn).all()
            assert (drawn <= grown).all()
            assert label not in seen
            seen.add(label)
    assert seen == set(range(1, truth.labels.max() + 1))


def test_the_tissue_is_measured_and_drawn():
    truth, slide, knows = made()
    result = run(slide, knows, min_nuclei=10)
    area = truth.tissue.sum() * SPACING**2 * 1e-6
    # the mask is coarse, 10 um a pixel, and its edge may lie a pixel or two outside: 15 um along 4 x 0.29 mm
    assert value(result, "tissue", codes.TISSUE_AREA) == pytest.approx(area, abs=0.0175)
    density = value(result, "tissue", codes.NUCLEI_DENSITY)
    assert density == pytest.approx(truth.labels.max() / value(result, "tissue", codes.TISSUE_AREA))
    (mask,) = result.segmentations
    assert mask.source == slide.base.instance_uid
    assert mask.mask.shape == tuple(-(-n // mask.factor) for n in truth.labels.shape)
    region = result.findings[0].region
    assert region.graphic == "POLYGON"
    outlined = cv2.contourArea(region.points.astype(np.float32)) * SPACING**2 * 1e-6
    assert outlined == pytest.approx(value(result, "tissue", codes.TISSUE_AREA), rel=0.08)
    assert (region.points >= 0).all()
    assert (region.points <= [slide.base.columns, slide.base.rows]).all()


def test_the_result_does_not_depend_on_the_threads():
    _, slide, knows = made()
    one, four = (run(slide, knows, min_nuclei=10, workers=n) for n in (1, 4))
    assert one.findings[0].measurements == four.findings[0].measurements
    for a, b in zip(one.annotations, four.annotations, strict=True):
        assert np.array_equal(a.points, b.points)
        assert np.array_equal(a.starts, b.starts)
    assert np.array_equal(one.maps[0].values, four.maps[0].values)


def test_the_heat_map_shows_the_positive_share_of_each_field():
    truth, slide, knows = made()
    (heat,) = run(slide, knows, min_nuclei=10, field_um=100, min_field_nuclei=5).maps
    assert heat.factor == 200
    assert heat.values.shape == (4, 3)
    assert (heat.quantity, heat.unit) == (codes.POSITIVE_FRACTION, codes.PERCENT)
    totals, positives = np.zeros(heat.values.shape), np.zeros(heat.values.shape)
    for label in range(1, truth.labels.max() + 1):
        rows, columns = np.nonzero(truth.labels == label)
        field = int((rows.mean() + 0.5) // 200), int((columns.mean() + 0.5) // 200)
        totals[field] += 1
        positives[field] += truth.positive[label]
    expected = np.where(totals >= 5, 100 * positives / np.maximum(totals, 1), NO_VALUE)
    assert (heat.values == NO_VALUE).any()
    assert heat.values == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("stain", "said", "reason"),
    [("H&E", True, "the stain is H&E"), ("H-DAB", False, "the stain is not stated in the header")],
)
def test_without_dab_there_is_a_count_and_no_index(stain, said, reason):
    truth, slide, knows = made(stain, said)
    result = run(slide, knows, min_nuclei=10)
    assert value(result, "tissue", codes.NUCLEI_COUNT) == truth.labels.max()
    assert reasons(result) == {"nuclear positivity index": f"not analysed because {reason}"}
    assert not {codes.POSITIVE_COUNT, codes.POSITIVE_FRACTION, codes.KI67_INDEX} & names(result, "tissue")
    (group,) = result.annotations
    assert group.type == codes.NUCLEUS
    assert set(group.measurements) == {(codes.AREA, codes.UM2)}
    assert result.maps[0].quantity == codes.FIELD_DENSITY
    field_mm2 = (500 * SPACING / 1000) ** 2
    assert result.maps[0].values[0, 0] * field_mm2 == pytest.approx(round(result.maps[0].values[0, 0] * field_mm2))
    assert result.verdict.priority is Priority.ROUTINE


def test_too_few_nuclei_give_no_index():
    truth, slide, knows = made()
    result = run(slide, knows, min_nuclei=100_000)
    assert f"{truth.labels.max()} nuclei were found" in reasons(result)["nuclear positivity index"]
    assert codes.POSITIVE_FRACTION not in names(result, "tissue")
    assert result.maps[0].quantity == codes.FIELD_DENSITY


def test_dab_that_is_not_in_the_nuclei_gives_no_index():
    truth, _, _ = made()
    brown = np.round(255 * 10.0 ** (-0.6 * np.array([0.268, 0.570, 0.776]))).astype(np.uint8)
    rgb = np.where(truth.tissue[..., None], brown, np.uint8(245)).astype(np.uint8)  # everything on the tissue is brown
    rng = np.random.default_rng(0)
    rgb = np.clip(rgb.astype(int) + rng.integers(-3, 4, rgb.shape), 0, 255).astype(np.uint8)
    slide = opened(slide_instances(rgb, SPACING, levels=2, transfer="raw", stain="H-DAB", seed=2))
    result = run(slide, oracle(slide, truth.labels), min_nuclei=10)
    assert "not confined to the nuclei" in reasons(result)["nuclear positivity index"]


def test_the_marker_is_only_called_ki67_where_the_route_says_so():
    _, slide, knows = made()
    assert codes.KI67_INDEX not in names(run(slide, knows, min_nuclei=10), "tissue")
    result = run(slide, knows, min_nuclei=10, ki67=1)
    assert codes.KI67_INDEX in names(result, "tissue")
    assert codes.POSITIVE_FRACTION not in names(result, "tissue")


def test_a_high_index_is_urgent_only_where_asked():
    _, slide, knows = made()
    assert run(slide, knows, min_nuclei=10).verdict.priority is Priority.ROUTINE
    urgent = run(slide, knows, min_nuclei=10, high_index=20)
    assert urgent.verdict.priority is Priority.HIGH
    assert "reaches 20 %" in urgent.verdict.reason
    assert rests_on(urgent.verdict) == ["tissue"]


def test_the_threshold_decides_what_is_positive():
    _, slide, knows = made()
    assert value(run(slide, knows, min_nuclei=10, dab_threshold=3), "tissue", codes.POSITIVE_COUNT) == 0


def test_progress_is_told_in_patches():
    _, slide, knows = made()
    told = Progress()
    run(slide, knows, told)
    total = len(slide.patches(SPACING, (128, 128), 24, slide.tissue()))
    assert told.told[0] == (0, total, "patches")
    assert told.told[-1] == (total, total, "patches")
    assert [d for d, _, _ in told.told] == sorted(d for d, _, _ in told.told)


def test_a_canceled_job_stops():
    _, slide, knows = made()

    def cancel(done, total, unit):
        if done:
            raise JobCanceled("enough")

    with pytest.raises(JobCanceled):
        run(slide, knows, cancel)


def test_a_broken_model_is_not_hidden():
    _, slide, knows = made()

    class Broken(Oracle):
        def predict(self, images):
            raise ModelOutputError("NaN")

    with pytest.raises(ModelOutputError):
        run(slide, Broken(knows.model))


def test_glass_alone_is_ungradable():
    slide = opened(slide_instances(np.full((300, 300, 3), 245, np.uint8), SPACING, levels=1, transfer="raw"))
    outcome = PIPELINE.run(job(), slide, Oracle(nuclei_model()), Progress())
    assert outcome == Ungradable("not analysed because no tissue was found on the slide")


def test_a_stain_the_model_is_not_made_for_is_ungradable():
    _, slide, _ = made()
    outcome = PIPELINE.run(job(), slide, Oracle(nuclei_model(stains=("H&E",))), Progress())
    assert outcome == Ungradable("not analysed because the stain is H-DAB and the model is made for H&E")


def test_an_unstated_stain_needs_a_model_for_all_of_them():
    truth, slide, knows = made("H-DAB", False)
    only = PIPELINE.run(job(), slide, Oracle(nuclei_model(stains=("H-DAB",))), Progress())
    assert isinstance(only, Ungradable)
    assert "not stated in the header" in only.reason
    knows.model = nuclei_model(stains=("H&E", "H-DAB"))
    assert value(run(slide, knows), "tissue", codes.NUCLEI_COUNT) == truth.labels.max()


def test_a_slide_too_coarse_for_the_model_is_ungradable():
    _, slide, _ = made()
    outcome = PIPELINE.run(job(), slide, Oracle(nuclei_model(spacing_um=0.1)), Progress())
    assert isinstance(outcome, Ungradable)
    assert "too coarse" in outcome.reason


@pytest.mark.parametrize(
    "parameters", [{"dab_treshold": 0.2}, {"dab_threshold": -1}, {"min_nuclei": 1.5}, {"ki67": "yes"}]
)
def test_an_impossible_parameter_is_refused(parameters):
    _, slide, knows = made()
    with pytest.raises(ConfigurationError, match=next(iter(parameters))):
        run(slide, knows, **parameters)


def reached(slide, labels):
    """Labels whose centre lies in the core of a planned patch: pale tissue may be left out of the plan."""
    plan = slide.patches(SPACING, (128, 128), 24, slide.tissue())
    found = []
    for label in range(1, labels.max() + 1):
        place = [(axis.mean() + 0.5) / plan.scale // 80 for axis in np.nonzero(labels == label)]
        if tuple(place) in plan.cells:
            found.append(label)
    return found


def test_a_finer_slide_is_read_at_the_models_spacing():
    truth = phantom(900, 820, 0.25, "H-DAB", 1500.0, 0.4, seed=5)
    slide = opened(slide_instances(truth.rgb, 0.25, levels=1, transfer="raw", stain="H-DAB", seed=3))
    result = run(slide, oracle(slide, truth.labels), min_nuclei=10)
    there = reached(slide, truth.labels)
    assert len(there) > 30
    assert value(result, "tissue", codes.NUCLEI_COUNT) == len(there)
    assert value(result, "tissue", codes.POSITIVE_COUNT) == truth.positive[there].sum()
    areas = np.sort(np.concatenate([g.measurements[codes.AREA, codes.UM2] for g in result.annotations]))
    true = np.sort(np.bincount(truth.labels.ravel())[there] * 0.25**2)
    assert areas == pytest.approx(true, rel=0.12)


def spot(rgb, labels, row, column, radius, label):
    """A brown disc on pink tissue."""
    disc = np.hypot(*np.ogrid[-row : labels.shape[0] - row, -column : labels.shape[1] - column]) <= radius
    labels[disc] = label
    rgb[disc] = (110, 70, 40)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(4.5, 11)), min_size=1, max_size=12),
    st.sampled_from([(128, 24), (96, 32), (64, 16)]),
)
@settings(max_examples=25, deadline=None)
def test_a_nucleus_anywhere_on_a_border_is_counted_once(spots, shape):
    size, overlap = shape
    step = size - 2 * overlap
    side = 4 * step + 17
    rng = np.random.default_rng(1)
    rgb = np.full((side, side, 3), 244, np.uint8)
    rgb[4:-4, 4:-4] = (225, 160, 190)
    rgb[4:-4, 4:-4] += rng.integers(0, 6, (side - 8, side - 8, 3), np.uint8)  # no two patches look the same
    labels = np.zeros((side, side), np.int32)
    for across, along, radius in spots:
        # around an edge of a core, or a corner of four
        row, column = step + (across * 2 - 1) * 2 * radius, 14 + along * (side - 28)
        near = np.hypot(*np.ogrid[-row : side - row, -column : side - column]) <= radius + 3
        if not labels[near].any():
            spot(rgb, labels, row, column, radius, labels.max() + 1)
    slide = opened(slide_instances(rgb, SPACING, levels=1, transfer="raw", stain="H-DAB", seed=4))
    about = nuclei_model(size=(size, size), overlap=overlap)
    result = run(slide, oracle(slide, labels, about), min_nuclei=1)
    assert value(result, "tissue", codes.NUCLEI_COUNT) == labels.max()
    areas = np.sort(np.concatenate([g.measurements[codes.AREA, codes.UM2] for g in result.annotations]))
    assert areas == pytest.approx(np.sort(np.bincount(labels.ravel())[1:] * SPACING**2))


@pytest.mark.parametrize("keyword", ["TotalPixelMatrixOriginSequence", "ImageOrientationSlide", "FrameOfReferenceUID"])
def test_a_slide_that_does_not_say_where_its_pixels_lie_is_ungradable_before_the_model_runs(keyword):
    truth = made()[0]
    datasets = slide_instances(truth.rgb, SPACING, levels=2, transfer="raw", seed=1)
    del datasets[0][keyword]
    slide = opened(datasets)
    result = PIPELINE.run(job(), slide, Oracle(nuclei_model()), Progress())  # the oracle knows no patch
    assert isinstance(result, Ungradable)
    assert result.reason.startswith("not analysed because the slide does not say where its pixels lie: ")


def test_what_a_model_adds_beyond_the_edge_is_not_on_the_slide():
    """The overlap of the patches at the edge is white, and a nucleus that the edge cuts may be completed there."""
    rgb = np.full((200, 180, 3), (200, 120, 170), np.uint8)
    slide = opened(slide_instances(rgb, SPACING, levels=1, transfer="raw", stain="H&E", seed=1))
    about = nuclei_model(size=(96, 96), overlap=16)
    plan = slide.patches(SPACING, about.input.size, about.input.overlap, slide.tissue())
    random = np.random.default_rng(1)
    rows, columns = np.ogrid[:232, :212]
    for _ in range(12):
        truth = np.zeros((232, 212), bool)  # 16 pixels around the slide
        for at in range(30, 180, 30):  # nuclei along all edges, their centres on either side
            for row, column in ((at, 16), (at, 196), (16, at), (216, at)):
                r, c = np.array([row, column]) + random.uniform(-4, 4, 2)
                a, b = random.uniform(4, 7, 2)
                truth |= ((rows - r) / a) ** 2 + ((columns - c) / b) ** 2 < 1
        knows = _InOrder(about, plan, truth)
        result = run(slide, knows, min_area_um2=3, workers=1)
        (group,) = result.annotations
        assert len(group) == value(result, "tissue", codes.NUCLEI_COUNT) > 10
        on_slide = truth[16:-16, 16:-16].sum() * SPACING**2
        assert group.measurements[codes.AREA, codes.UM2].sum() == pytest.approx(on_slide, rel=0.05)
        first, last = group.points[group.starts[:-1]], group.points[group.starts[1:] - 1]
        assert (first != last).any(axis=1).all()  # a polygon that repeats a point is no annotation
        assert (group.points >= 0).all()
        assert (group.points <= [180, 200]).all()


class _InOrder:
    """Answers the patches of a plan, one thread reading them, by what is true at their place around the slide too."""

    provider = "TruthExecutionProvider"

    def __init__(self, about, plan, truth):
        self.model = about
        self._windows = iter([truth[int(p.row) + 16 :, int(p.column) + 16 :][:96, :96] for p in plan])

    def predict(self, images):
        found = np.zeros((len(images), 2, 96, 96), np.float32)
        for answer in found:
            window = next(self._windows)
            answer[0, : window.shape[0], : window.shape[1]] = window
        return found
