"""Tissue classes, margin and triage as DICOM: valid, and what is read back is what was found."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.pipelines import WithCompanions
from tests.pipelines import painted, sections
from tests.pipelines.sections import INK, NORMAL, TUMOUR
from tests.pipelines.test_nottingham import UM, WINDOW, tumour
from tests.pipelines.test_results_become_dicom import analysed, concept, pair, pair_of, read_back


def measured(report):
    """Tracking identifier of each group to its finding, method, region, numbers with units, and evaluations."""
    (container,) = [i for i in report.ContentSequence if concept(i.ConceptNameCodeSequence)[0] == "126010"]
    found = {}
    for group in container.ContentSequence:
        items = {concept(i.ConceptNameCodeSequence): i for i in group.ContentSequence}
        found[items["112039", "DCM"].TextValue] = {
            "finding": concept(items["121071", "DCM"].ConceptCodeSequence),
            "method": concept(items["370129005", "SCT"].ConceptCodeSequence),
            "region": items["111030", "DCM"],
            "numbers": {
                name: (
                    float(item.MeasuredValueSequence[0].NumericValue),
                    item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
                )
                for name, item in items.items()
                if item.ValueType == "NUM"
            },
            "coded": {
                name: concept(item.ConceptCodeSequence) for name, item in items.items() if item.ValueType == "CODE"
            },
        }
    return found


def check(report, result):
    found = measured(report)
    assert set(found) == {f.label for f in result.findings}
    for finding in result.findings:
        group = found[finding.label]
        assert (group["finding"], group["method"]) == (pair(finding.finding), pair(finding.method))
        assert group["region"].GraphicType == finding.region.graphic
        assert group["numbers"] == {
            pair(m.name): (pytest.approx(m.value, rel=1e-6), m.unit.value) for m in finding.measurements
        }
        for evaluation in finding.evaluations:
            assert group["coded"][pair(evaluation.name)] == pair(evaluation.value)
    texts = [str(e.value) for e in report.iterall() if e.keyword == "TextValue"]
    assert result.verdict.reason in texts
    for missing in result.not_analysed:
        assert f"{missing.quantity}: {missing.reason}" in texts


def test_tissue_classes():
    result, objects = analysed("tissue-classes", sections.datasets(sections.bed()), sections.oracle(), bed_um=60)
    found = read_back(objects)
    assert set(found) == {"report", "classes", "probability"}
    check(found["report"], result)
    segmentation = hd.seg.Segmentation.from_dataset(found["classes"])
    described = [segmentation.get_segment_description(n) for n in segmentation.segment_numbers]
    assert [(s.segment_label, pair_of(s.segmented_property_type)) for s in described] == [
        (name, pair(code)) for name, (_, code) in sections.CODED.items()
    ]
    whole = segmentation.get_total_pixel_matrix(combine_segments=True, skip_overlap_checks=True)
    assert np.array_equal(whole, result.segmentations[0].mask)
    stored = found["probability"]
    assert np.array_equal(stored.pixel_array, result.maps[0].values)
    mapping = stored.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert concept(mapping.QuantityDefinitionSequence[0].ConceptCodeSequence) == pair(codes.PROBABILITY_OF_CANCER)
    assert concept(mapping.MeasurementUnitsCodeSequence) == pair(codes.ZERO_TO_ONE)


def inked(start):
    classes = sections.glass(300, 320)
    classes[30:270, 30:290] = NORMAL
    classes[30:270, 30:40] = INK
    classes[100:160, start:160] = TUMOUR
    return classes


@pytest.mark.parametrize(("start", "graphic", "length"), [(100, "POLYLINE", 0.060), (40, "POINT", 0.0)])
def test_margin(start, graphic, length):
    result, objects = analysed("margin", sections.datasets(inked(start)), sections.oracle())
    found = read_back(objects)
    check(found["report"], result)
    (group,) = measured(found["report"]).values()
    assert group["numbers"] == {pair(codes.DISTANCE): (pytest.approx(length), "mm")}
    assert group["region"].GraphicType == graphic
    if length:  # the path in millimetres of the glass is as long as it is said to be
        places = np.array(group["region"].GraphicData, float).reshape(2, 3)
        assert np.linalg.norm(places[1] - places[0]) == pytest.approx(length, rel=1e-4)


def test_a_distance_that_was_not_measured():
    classes = inked(100)
    classes[classes == TUMOUR] = NORMAL
    _, objects = analysed("margin", sections.datasets(classes), sections.oracle())
    report = read_back(objects)["report"]
    texts = [str(e.value) for e in report.iterall() if e.keyword == "TextValue"]
    assert "distance to the margin: not analysed because no tumour was found on the slide" in texts


def test_triage_of_a_lymph_node():
    classes = sections.glass(300, 320)
    classes[30:270, 30:290] = NORMAL
    classes[60:180, 60:240] = TUMOUR
    datasets = sections.datasets(classes)
    node = Dataset()
    node.CodeValue, node.CodingSchemeDesignator, node.CodeMeaning = "59441001", "SCT", "Lymph node"
    for ds in datasets:
        ds.SpecimenDescriptionSequence[0].PrimaryAnatomicStructureSequence = [node]
    result, objects = analysed("slide-triage", datasets, sections.oracle())
    report = read_back(objects)["report"]
    check(report, result)
    group = measured(report)["Largest tumour deposit"]
    assert group["numbers"][pair(codes.LONG_AXIS)] == (pytest.approx(np.hypot(120, 180) / 1000), "mm")
    assert group["coded"][pair(codes.DEPOSIT_CATEGORY)] == pair(codes.MICROMETASTASIS)


def test_triage_of_a_grade():
    datasets = painted.datasets(tumour(tubules=0, side=12, mitoses=5), UM)
    knows = WithCompanions(painted.tissue_model(UM), {"cells": painted.cell_model(UM)})
    parameters = {"hotspot_mm2": WINDOW, "min_tumour_nuclei": 50, "min_normal_nuclei": 20}
    result, objects = analysed("slide-triage", datasets, knows, **parameters)
    check(read_back(objects)["report"], result)
    assert result.verdict.reason == "suspected high grade: 3+3+3 = 9"
