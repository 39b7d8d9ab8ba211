"""Results of immunohistochemistry as a reader gets them: valid, with units, codes, method and region."""

import numpy as np
import pytest

from airouter.domain import codes
from airouter.pipelines import WithCompanions
from tests.pipelines import test_membrane_scoring as membranes
from tests.pipelines import test_nuclear_positivity_of_tumour as nuclei
from tests.pipelines.cells import draw, rims, told
from tests.pipelines.oracle import opened
from tests.pipelines.test_results_become_dicom import analysed, concept, pair, read_back


def content(report):
    """[(finding, {concept: item})] of each measurement group."""
    (measured,) = [i for i in report.ContentSequence if concept(i.ConceptNameCodeSequence)[0] == "126010"]
    found = []
    for group in measured.ContentSequence:
        items = {concept(i.ConceptNameCodeSequence): i for i in group.ContentSequence}
        found.append((concept(items["121071", "DCM"].ConceptCodeSequence), items))
    return found


def numbers(items):
    return {
        name: (
            float(i.MeasuredValueSequence[0].NumericValue),
            concept(i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence),
        )
        for name, i in items.items()
        if i.ValueType == "NUM"
    }


def check(report, result, method):
    """Every measurement and evaluation of the result stands in the report, with its unit, method and region."""
    groups = content(report)
    assert [finding for finding, _ in groups] == [pair(f.finding) for f in result.findings]
    for finding, (_, items) in zip(result.findings, groups, strict=True):
        assert numbers(items) == {pair(m.name): (pytest.approx(m.value), pair(m.unit)) for m in finding.measurements}
        assert items["111030", "DCM"].GraphicType == "POLYGON"
        assert concept(items["370129005", "SCT"].ConceptCodeSequence) == pair(method)
        for each in finding.evaluations:
            assert concept(items[pair(each.name)].ConceptCodeSequence) == pair(each.value)


@pytest.mark.parametrize("marker", ["HER2", "PD-L1"])
def test_a_membrane_score(marker):
    looks = [membranes.STRONG, membranes.MODERATE, membranes.FAINT, membranes.NONE, {"kind": "lymphocyte", "od": 0.7}]
    drawn, datasets = membranes.pictured(membranes.grid(looks * 6))
    slide = opened(datasets)
    knows = WithCompanions(membranes.oracle(slide, drawn), {"tissue": membranes.compartments_oracle(slide, drawn, 60)})
    result, objects = analysed("membrane-scoring", datasets, knows, marker=marker, min_cells=5)
    found = read_back(objects)
    check(found["report"], result, codes.METHOD_MEMBRANE)
    assert {"report", "tissue", "heatmap"} < set(found)
    annotations = [ds.AnnotationGroupSequence[0] for ds in found.values() if ds.Modality == "ANN"]
    types = [concept(each.AnnotationPropertyTypeCodeSequence) for each in annotations]
    classes = (codes.MEMBRANE_0, codes.MEMBRANE_1, codes.MEMBRANE_2, codes.MEMBRANE_3)
    assert sorted(types) == sorted(map(pair, (*classes, codes.NUCLEUS)))
    named = {name for _, items in content(found["report"]) for name in items}
    expected = {
        "HER2": {pair(codes.HER2_SCORE), pair(codes.HER2_INTENSE)},
        "PD-L1": {pair(codes.PD_L1_TPS), pair(codes.PD_L1_CPS)},
    }
    assert expected[marker] <= named


def test_a_receptor_in_the_tumour():
    cells = nuclei.nuclei(([0] * 5 + [nuclei.STRONG, 0, 0, 0, 0]) * 8)
    shape = (2 * nuclei.MARGIN + nuclei.PITCH * 8 + 6, 2 * nuclei.MARGIN + nuclei.PITCH * 10 + 6)
    drawn = draw(cells, shape, nuclei.SPACING, nuclei.MARGIN)
    datasets = membranes.slide_instances(drawn.rgb, nuclei.SPACING, levels=1, transfer="raw", stain="H-DAB", seed=1)
    slide = opened(datasets)
    classes = np.full(shape, 3)
    nuclei.right_half_is_tumour(classes)
    maps = np.stack([drawn.labels > 0, rims(drawn.labels)]).astype(np.float32)
    knows = WithCompanions(
        told(slide, nuclei.nuclei_model(), maps),
        {"tissue": told(slide, nuclei.tissue_model(), (classes == np.arange(5)[:, None, None]).astype(np.float32))},
    )
    settings = {"marker": "ER", "min_nuclei": 5, "hotspot_mm2": 0.005, "min_hotspot_nuclei": 5}
    result, objects = analysed("nuclear-positivity", datasets, knows, **settings)
    assert [f.key for f in result.findings] == ["tissue", "tumour", "others", "hotspot"]
    check(read_back(objects)["report"], result, codes.METHOD_NUCLEAR)


def test_a_refused_score_says_why():
    drawn, datasets = membranes.pictured(membranes.grid([{"nuclear": 0.6}] * 15))
    knows = membranes.oracle(opened(datasets), drawn)
    result, objects = analysed("membrane-scoring", datasets, knows, marker="HER2")
    found = read_back(objects)
    check(found["report"], result, codes.METHOD_MEMBRANE)
    texts = [str(e.value) for e in found["report"].iterall() if e.keyword == "TextValue"]
    assert "HER2 score: not analysed because the DAB is in the nuclei and not on the membranes" in texts
