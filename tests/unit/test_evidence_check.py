"""What the last look must catch, one fault at a time."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset

from airouter.errors import EvidenceError
from airouter.evidence.check import check
from airouter.evidence.write import write
from tests import evidence_samples as samples


def run(role: str, spoil: Callable[[Dataset], None] | None) -> None:
    sources = samples.slide_phantom()
    job = samples.job(sources)
    written = write(job, samples.model(), samples.slide_result(sources), sources, now=samples.NOW)
    known = {**sources, **{w.dataset.SOPInstanceUID: w.dataset for w in written}}
    ds = next(w.dataset for w in written if w.role == role)
    if spoil:
        spoil(ds)
    check(ds, job=job, role=role, known=known)


@pytest.mark.parametrize("role", ["tissue", "nuclei", "density", "report"])
def test_what_write_makes_passes(role: str) -> None:
    run(role, None)


def _set(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


def _without(keyword: str) -> Callable[[Dataset], None]:
    return lambda ds: delattr(ds, keyword)


def _parentheses(ds: Dataset) -> None:
    for item in ds.iterall():
        if item.keyword == "TextValue" and item.value == "Hotspot 1":
            item.value = "Hotspot (1)"


def _empty_text(ds: Dataset) -> None:
    next(e for e in ds.iterall() if e.keyword == "TextValue").value = " "


def _dangling(ds: Dataset) -> None:
    next(e for e in ds.iterall() if e.keyword == "ReferencedSOPInstanceUID").value = "2.25.1"


def _nan_pixel(ds: Dataset) -> None:
    ds.FloatPixelData = np.full(len(ds.FloatPixelData) // 4, np.nan, np.float32).tobytes()


def _nan_coordinates(ds: Dataset) -> None:
    ds.AnnotationGroupSequence[0].PointCoordinatesData = np.array([np.inf] * 4, np.float32).tobytes()


def _no_model(ds: Dataset) -> None:
    for item in ds.ContributingEquipmentSequence:
        item.pop("DeviceUID", None)


@pytest.mark.parametrize(
    ("role", "spoil", "word"),
    [
        ("report", _set("VerificationFlag", "VERIFIED"), "VerificationFlag"),
        ("report", _set("PreliminaryFlag", "FINAL"), "PreliminaryFlag"),
        ("report", _set("CompletionFlag", "PARTIAL"), "CompletionFlag"),
        ("report", _parentheses, "parentheses"),
        ("report", _empty_text, "empty"),
        ("report", _dangling, "neither a source"),
        ("report", _without("CodingSchemeIdentificationSequence"), "not identified"),
        ("report", _set("StudyInstanceUID", "2.25.7"), "StudyInstanceUID"),
        ("tissue", _set("SOPInstanceUID", "2.25.7"), "SOPInstanceUID"),
        ("tissue", _set("SeriesInstanceUID", "2.25.7"), "SeriesInstanceUID"),
        ("tissue", _set("ContentQualification", "PRODUCT"), "ContentQualification"),
        ("tissue", _without("SegmentSequence"), "SegmentSequence"),
        ("tissue", _set("SegmentationType", ""), "SegmentationType"),
        ("tissue", _no_model, "contributing equipment"),
        ("tissue", _set("SOPClassUID", "1.2.3"), "unknown"),
        ("density", _nan_pixel, "finite"),
        ("nuclei", _nan_coordinates, "finite"),
    ],
)
def test_each_fault_is_named(role: str, spoil: Callable[[Dataset], None], word: str) -> None:
    with pytest.raises(EvidenceError, match=word):
        run(role, spoil)
