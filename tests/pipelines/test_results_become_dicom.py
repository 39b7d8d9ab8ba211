"""What the pipelines find can be written: evidence takes every kind of result they make."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from airouter.domain.job import Source
from airouter.domain.study import Modality
from airouter.evidence.write import write
from airouter.pipelines import PIPELINES
from phantoms.dicom import fundus_instance, slide_instances
from phantoms.fundus import fundus as fundus_phantom
from phantoms.slide import slide as slide_phantom
from tests.pipelines import test_fundus_quality, test_nuclear_positivity, test_retinal_thickness
from tests.pipelines.oracle import Oracle, Progress, job, opened

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def written(pipeline, datasets, knows, **parameters):
    first = datasets[0]
    about = dataclasses.replace(
        job(pipeline, **parameters),
        study_uid=first.StudyInstanceUID,
        series_uid=first.SeriesInstanceUID,
        modality=Modality(first.Modality),
        sources=tuple(Source(f"id-{n}", ds.SOPInstanceUID, "digest") for n, ds in enumerate(datasets)),
    )
    result = PIPELINES[pipeline].run(about, opened(datasets), knows, Progress())
    return write(about, knows.model, result, {ds.SOPInstanceUID: ds for ds in datasets}, now=NOW)


@pytest.mark.parametrize(
    ("stain", "modalities"), [("H-DAB", {"SR", "SEG", "ANN", "OT"}), ("H&E", {"SR", "SEG", "ANN", "OT"})]
)
def test_a_slide(stain, modalities):
    truth = slide_phantom(300, 320, 0.5, stain or "H&E", 1500.0, 0.3, seed=3)
    datasets = slide_instances(truth.rgb, 0.5, levels=2, transfer="raw", stain=stain, seed=1)
    knows = test_nuclear_positivity.oracle(opened(datasets), truth.labels)
    objects = written("nuclear-positivity", datasets, knows, min_nuclei=5)
    assert {w.dataset.Modality for w in objects} == {"SR", "SEG", "ANN", "OT"}


@pytest.mark.parametrize("changes", [{}, {"laterality": None}, {"slice_um": None}])
def test_a_volume(changes):
    truth = test_retinal_thickness.truth_of(frames=25, width_mm=4.0, height_mm=3.4)
    objects = written(
        "retinal-thickness", [test_retinal_thickness.instance(truth, **changes)], test_retinal_thickness.oracle(truth)
    )
    assert {w.dataset.Modality for w in objects} == {"SR", "SEG"}


@pytest.mark.parametrize("laterality", ["L", None])
def test_a_photograph(laterality):
    truth = fundus_phantom(320, seed=4)
    knows = Oracle(test_fundus_quality.quality_model())
    knows.tell(truth.rgb, np.array([0.2, 0.9, 0.1, 0.1, 0.1, 0.1]))
    dataset = fundus_instance(truth.rgb, laterality=laterality, transfer="raw", seed=1)
    objects = written("fundus-quality", [dataset], knows)
    assert {w.dataset.Modality for w in objects} == {"SR"}


def test_the_report_says_once_why_a_quantity_is_missing():
    truth = slide_phantom(300, 320, 0.5, "H&E", 1500.0, 0.3, seed=3)
    datasets = slide_instances(truth.rgb, 0.5, levels=2, transfer="raw", stain="H&E", seed=1)
    knows = test_nuclear_positivity.oracle(opened(datasets), truth.labels)
    (report,) = [w.dataset for w in written("nuclear-positivity", datasets, knows) if w.role == "report"]
    texts = [str(e.value) for e in report.iterall() if e.keyword == "TextValue"]
    assert "nuclear positivity index: not analysed because the stain is H&E" in texts
