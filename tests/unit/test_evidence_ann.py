"""Annotations: what is written in bulk is what highdicom makes of each object, in less memory."""

import io
import tracemalloc
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import AnnotationGroup, Result
from airouter.domain.priority import Priority, Verdict
from airouter.errors import EvidenceError
from airouter.evidence.ann import annotations
from airouter.evidence.encoding import encode
from airouter.evidence.identity import Identity, clip, code
from airouter.evidence.source import header
from tests import evidence_samples as samples
from tests.dciodvfy import assert_conformant

LEAST = {"POINT": 1, "POLYLINE": 2, "POLYGON": 3}
AREA, THICKNESS = (codes.AREA, codes.UM2), (codes.CST, codes.UM)


def source() -> Dataset:
    return header(next(iter(samples.slide_phantom().values())))


def identity(image: Dataset) -> Identity:
    job = samples.job({str(image.SOPInstanceUID): image})
    return Identity(job, samples.model(), Result((), Verdict(Priority.ROUTINE, "")), samples.NOW)


def group(graphic: str, sizes: list[int], *, measured: int = 1, seed: int = 0) -> AnnotationGroup:
    """Objects of so many points each, at random places that never repeat within an object."""
    random = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    points = (random.random((starts[-1], 2)) * 600).astype(np.float32)
    return AnnotationGroup(
        "cells",
        "Cells",
        "1.2",
        graphic,
        codes.ANATOMICAL_STRUCTURE,
        codes.NUCLEUS,
        points,
        starts,
        {name: random.random(len(sizes)).astype(np.float32) for name in (AREA, THICKNESS)[:measured]},
    )


def plainly(given_: AnnotationGroup, image: Dataset) -> Dataset:
    """highdicom's plain call on every object."""
    own = identity(image)
    item = hd.ann.AnnotationGroup(
        number=1,
        uid=own.job.uid(f"finding|{given_.role}|group"),
        label=clip(given_.label),
        annotated_property_category=code(given_.category),
        annotated_property_type=code(given_.type),
        graphic_type=given_.graphic,
        graphic_data=np.split(given_.points, given_.starts[1:-1]),
        algorithm_type="AUTOMATIC",
        algorithm_identification=own.algorithm(),
        measurements=[
            hd.ann.Measurements(code(name), values, code(unit)) for (name, unit), values in given_.measurements.items()
        ]
        or None,
    )
    return hd.ann.MicroscopyBulkSimpleAnnotations(
        source_images=[image],
        annotation_coordinate_type="2D",
        annotation_groups=[item],
        series_instance_uid=own.job.uid(f"{given_.role} series"),
        sop_instance_uid=own.job.uid(given_.role),
        series_number=1,
        content_description=clip(given_.label),
        **own.common(given_.label),
    )


def part10(ds: Dataset) -> bytes:
    """The file, without the clock."""
    for item in ds.ContributingEquipmentSequence:
        item.ContributionDateTime = "20260101"
    ds.InstanceCreationDate, ds.InstanceCreationTime = "20260101", "000000"
    return b"".join(encode(ds))


@st.composite
def groups(draw: st.DrawFn) -> AnnotationGroup:
    graphic = draw(st.sampled_from(sorted(LEAST)))
    most = 1 if graphic == "POINT" else 9
    sizes = draw(st.lists(st.integers(LEAST[graphic], most), min_size=1, max_size=20))
    return group(graphic, sizes, measured=draw(st.integers(0, 2)), seed=draw(st.integers(0, 99)))


@settings(max_examples=30, deadline=None)
@given(groups())
def test_it_is_what_highdicom_makes(given_: AnnotationGroup) -> None:
    image = source()
    assert part10(annotations(given_, image, identity(image), 1)) == part10(plainly(given_, image))


@settings(max_examples=10, deadline=None)
@given(groups())
def test_it_reads_back(given_: AnnotationGroup) -> None:
    image = source()
    made = annotations(given_, image, identity(image), 1)
    read = hd.ann.annread(io.BytesIO(part10(made))).get_annotation_group(number=1)
    expected = np.split(given_.points, given_.starts[1:-1])
    found = read.get_graphic_data("2D")
    assert len(found) == len(expected) == read.NumberOfAnnotations
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    _, values, _ = read.get_measurements()
    np.testing.assert_array_equal(values.T, np.array(list(given_.measurements.values())).reshape(-1, len(given_)))


@pytest.mark.parametrize("graphic", sorted(LEAST))
def test_it_is_conformant(graphic: str) -> None:
    image = source()
    given_ = group(graphic, [LEAST[graphic]] * 5, measured=2)
    assert_conformant(annotations(given_, image, identity(image), 1))


def _spoilt_points(place: tuple[int, int], value: float) -> AnnotationGroup:
    made = group("POLYGON", [3, 5])
    made.points[place] = value
    return made


def _closed(object_: int) -> AnnotationGroup:
    made = group("POLYGON", [3, 5, 4])
    made.points[made.starts[object_ + 1] - 1] = made.points[made.starts[object_]]
    return made


WHOLE = group("POLYGON", [3, 5, 4])


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (group("POLYGON", [3, 2]), "do not make"),
        (group("POLYLINE", [1]), "do not make"),
        (group("POINT", [1, 2]), "more than one place"),
        (replace(WHOLE, graphic="CIRCLE"), "graphic type"),
        (replace(WHOLE, starts=WHOLE.starts[:1]), "do not make 0"),
        (replace(WHOLE, starts=WHOLE.starts[:-1]), "do not make"),
        (replace(WHOLE, starts=WHOLE.starts + 1), "do not make"),
        (replace(WHOLE, starts=np.array([0, 8, 3, 12])), "do not make"),
        (replace(WHOLE, points=np.zeros((12, 3), np.float32)), "pairs"),
        (_spoilt_points((7, 1), np.nan), "not finite"),
        (_spoilt_points((0, 0), np.inf), "not finite"),
        (_closed(0), "repeats"),
        (_closed(2), "repeats"),
        (replace(WHOLE, measurements={AREA: np.array([1, np.nan, 2], np.float32)}), "Area is not"),
        (replace(WHOLE, measurements={AREA: np.ones(2, np.float32)}), "Area is not"),
    ],
)
def test_what_cannot_be_right_is_refused(spoilt: AnnotationGroup, why: str) -> None:
    image = source()
    with pytest.raises(EvidenceError, match=why):
        annotations(spoilt, image, identity(image), 1)


def test_the_points_are_copied_once() -> None:
    """Into the data set; encoding refers to it."""
    image = source()
    given_ = group("POLYGON", [16] * 100_000)
    annotations(group("POLYGON", [3]), image, identity(image), 1)  # highdicom loads tables once
    tracemalloc.start()
    try:
        file = encode(annotations(given_, image, identity(image), 1))
        blocks = sum(len(block) for block in file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert blocks == len(file) > given_.points.nbytes
    assert peak < 1.5 * given_.points.nbytes
