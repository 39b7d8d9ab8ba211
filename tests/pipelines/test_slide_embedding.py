"""A slide as vectors: which fields are seen, what stands for all of them, and what keeps a slide from it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from airouter.domain.finding import Embedding, Field, Result, Ungradable
from airouter.domain.model import HeadKind, Model
from airouter.domain.study import Modality
from airouter.errors import ModelOutputError
from airouter.imaging.header import taken
from airouter.pipelines import PIPELINES, problem
from airouter.pipelines.slide_embedding import normalised, run, typical
from phantoms.dicom import slide_instances
from tests.pipelines import colours
from tests.pipelines.oracle import Progress, Seen, job, model, opened

SPACING, SIDE, FIELD = 2.0, 256, 32  # a field of 64 um


def encoder(**options: Any) -> Model:
    arguments: dict[str, Any] = {"size": (FIELD, FIELD), "spacing_um": SPACING, "overlap": 0, **options}
    return model(Modality.SM, HeadKind.EMBEDDING, (), **arguments)


def shares(image: np.ndarray) -> np.ndarray:
    """A model that knows the colours: how much of a field is of each tissue, times three: no unit vector."""
    found = colours.shares(image)
    return np.array([3.0 * found[1], 3.0 * found[2], 3.0 * found[3], 0.3 * found[0]])


def halves() -> colours.Painted:
    """Left stroma, right tumour, glass around both; the border between them lies between two fields."""
    classes = np.zeros((SIDE, SIDE), np.uint8)
    classes[64:192, 32:128] = 1
    classes[64:192, 128:224] = 2
    return colours.paint(classes)


def slide(painted: colours.Painted, **options: Any) -> Any:
    arguments: dict[str, Any] = {"levels": 2, "tile": 64, "transfer": "raw", **options}
    return opened(slide_instances(painted.rgb, SPACING, **arguments))


def embedded(painted: colours.Painted, **parameters: Any) -> Embedding:
    found = run(job(**parameters), slide(painted), Seen(encoder(), shares), Progress())
    assert isinstance(found, Result), found
    assert found.findings == ()
    assert found.embedding is not None
    return found.embedding


def test_the_slide_is_the_mean_of_its_fields_and_each_kind_of_tissue_stands_for_its_part() -> None:
    found = embedded(halves(), min_tissue=100)
    assert np.allclose(found.slide, np.array([1, 1, 0, 0]) / np.sqrt(2), atol=0.02)
    assert len(found.regions) == 2  # a third field would look like one of these
    assert {int(v.argmax()) for v in found.regions} == {0, 1}
    assert found.shares == pytest.approx((0.5, 0.5))
    for vector, field in zip(found.regions, found.fields, strict=True):
        assert (field.rows, field.columns) == (FIELD, FIELD)
        assert field.row % FIELD == field.column % FIELD == 0
        assert (32 <= field.column < 128) == (int(vector.argmax()) == 0)


def test_the_largest_part_comes_first() -> None:
    classes = np.zeros((SIDE, SIDE), np.uint8)
    classes[32:224, 32:192] = 2
    classes[32:224, 192:224] = 3
    found = embedded(colours.paint(classes))
    assert int(found.regions[0].argmax()) == 1
    assert found.shares == pytest.approx((5 / 6, 1 / 6), abs=0.02)  # the mask of tissue has round corners


def test_fields_are_those_of_the_level_and_size_that_the_model_asks_for() -> None:
    painted = halves()
    opened_slide = slide(painted)
    coarse = encoder(spacing_um=2 * SPACING, size=(16, 16))
    found = run(job(min_tissue=100), opened_slide, Seen(coarse, shares), Progress())
    assert isinstance(found, Result)
    assert found.embedding is not None
    level = opened_slide.levels[1]
    assert {f.source for f in found.embedding.fields} == {level.instance_uid}
    assert {(f.rows, f.columns) for f in found.embedding.fields} == {(16, 16)}


def test_of_many_fields_evenly_chosen_ones_are_analysed() -> None:
    progress = Progress()
    found = run(job(fields=16, min_tissue=100), slide(halves()), Seen(encoder(), shares), progress)
    assert isinstance(found, Result)
    assert progress.told[-1][:2] == (16, 16)
    assert found.embedding is not None
    assert np.allclose(found.embedding.slide[:2], 1 / np.sqrt(2), atol=0.1)


def test_only_fields_with_enough_tissue_count() -> None:
    classes = np.zeros((SIDE, SIDE), np.uint8)
    classes[80:112, 80:112] = 1  # a quarter of each of four fields
    found = run(job(), slide(colours.paint(classes)), Seen(encoder(), shares), Progress())
    assert found == Ungradable("not analysed because no field of 64 x 64 um on the slide is tissue to at least 50 %")
    assert isinstance(
        run(job(min_tissue=20), slide(colours.paint(classes)), Seen(encoder(), shares), Progress()), Result
    )


@pytest.mark.parametrize(
    ("options", "stains", "reason"),
    [
        ({"stain": "H-DAB"}, ("H&E",), "the stain is H-DAB and the model is made for H&E"),
        ({"omit_spacing": True}, (), "Pixel Spacing is missing"),
    ],
)
def test_what_the_model_is_not_made_for_is_ungradable(
    options: dict[str, Any], stains: tuple[str, ...], reason: str
) -> None:
    images = slide(halves(), **options)
    found = (
        images
        if isinstance(images, Ungradable)
        else run(job(), images, Seen(encoder(stains=stains), shares), Progress())
    )
    assert isinstance(found, Ungradable)
    assert found.reason == f"not analysed because {reason}"


def test_a_vector_without_a_direction_fails_the_job() -> None:
    with pytest.raises(ModelOutputError):
        run(job(), slide(halves()), Seen(encoder(), lambda image: np.zeros(4)), Progress())


def test_the_pipeline_takes_embedding_models_of_slides_and_writes_no_dicom() -> None:
    pipeline = PIPELINES["similar-cases"]
    assert not pipeline.evidence
    assert problem(pipeline, encoder()) is None
    assert problem(pipeline, model(Modality.SM, HeadKind.CLASSIFICATION, ("tumour",))) is not None


# -- the vectors ------------------------------------------------------------------------------------------------------

_VECTORS = (
    arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(5)), elements=st.floats(-1, 1, width=32))
    .map(lambda v: normalised(v + np.float32(0.01)) if np.all(np.linalg.norm(v + 0.01, axis=1) > 1e-3) else None)
    .filter(lambda v: v is not None)
)


@settings(max_examples=60, deadline=None)
@given(vectors=_VECTORS, most=st.integers(1, 10), seed=st.integers(0, 9))
def test_shares_add_up_and_the_first_is_the_best_single_one(vectors: Any, most: int, seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(0.1, 1.0, len(vectors))
    numbers, parts = typical(vectors, weights, most)
    assert 1 <= len(numbers) == len(set(numbers)) <= most
    assert sum(parts) == pytest.approx(1.0)
    assert min(parts) >= 0.0
    means = (weights[:, None] * (vectors @ vectors.T)).sum(axis=0)
    assert means[numbers[0]] >= means.max() - 1e-4 * weights.sum()


def test_of_more_fields_than_are_compared_some_are() -> None:
    vectors = normalised(np.random.default_rng(0).normal(size=(5000, 3)))
    numbers, parts = typical(vectors, np.ones(5000), 4)
    assert len(numbers) == 4
    assert all(n % 3 == 0 for n in numbers)
    assert sum(parts) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.full(3, np.nan), np.ones(3)])
def test_an_embedding_is_of_length_one(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="length 1"):
        Embedding(wrong.astype(np.float32), np.zeros((0, 3), np.float32), (), ())


def test_an_embedding_has_a_field_for_each_region() -> None:
    unit = np.array([1, 0], np.float32)
    with pytest.raises(ValueError, match="1 vectors of 0 fields"):
        Embedding(unit, unit[None], (), ())
    assert Embedding(unit, unit[None], (Field("1.2", 0, 0, 1, 1),), (1.0,)).taken == ""


# -- when it was acquired ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"AcquisitionDateTime": "20240131120000.5+0100"}, "20240131120000"),
        ({"AcquisitionDateTime": "20240131"}, "20240131"),
        ({"AcquisitionDateTime": "2024", "StudyDate": "20240131"}, "20240131"),
        ({"StudyDate": "20240131", "StudyTime": "0912"}, "202401310912"),
        ({"StudyTime": "0912"}, ""),
        ({"StudyDate": "today"}, ""),
        ({}, ""),
    ],
)
def test_when_it_was_acquired(said: dict[str, str], expected: str) -> None:
    assert taken(said) == expected  # type: ignore[arg-type]


def test_the_header_of_the_finest_level_says_when_a_slide_was_acquired() -> None:
    images = slide(halves())
    images.header.AcquisitionDateTime = "20250607080910"
    found = run(job(), images, Seen(encoder(), shares), Progress())
    assert isinstance(found, Result)
    assert found.embedding is not None
    assert found.embedding.taken == "20250607080910"
