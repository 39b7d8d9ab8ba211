"""Mitoses, lymphocytes and grades as a reader gets them: valid, with units, codes, method and region."""

import highdicom as hd
import numpy as np
import pytest

from airouter.domain import codes
from tests.pipelines import painted, test_mitotic_count, test_nottingham, test_til_score
from tests.pipelines.test_ihc_becomes_dicom import content, numbers
from tests.pipelines.test_results_become_dicom import analysed, concept, pair, read_back


def written(pipeline, truth, spacing_um, knows, **parameters):
    result, objects = analysed(pipeline, painted.datasets(truth, spacing_um), knows, **parameters)
    found = read_back(objects)
    groups = content(found["report"])
    assert [finding for finding, _ in groups] == [pair(f.finding) for f in result.findings]
    for finding, (_, items) in zip(result.findings, groups, strict=True):
        assert numbers(items) == {pair(m.name): (pytest.approx(m.value), pair(m.unit)) for m in finding.measurements}
        assert items["111030", "DCM"].GraphicType == "POLYGON"
        assert concept(items["370129005", "SCT"].ConceptCodeSequence) == pair(finding.method)
        for each in finding.evaluations:
            assert concept(items[pair(each.name)].ConceptCodeSequence) == pair(each.value)
    return result, found


def group_of(stored):
    (group,) = stored.AnnotationGroupSequence
    return group.GraphicType, concept(group.AnnotationPropertyTypeCodeSequence), group.NumberOfAnnotations


def test_a_mitotic_count():
    truth, _ = test_mitotic_count.section()
    um = test_mitotic_count.UM
    knows = painted.both(test_mitotic_count.cells(), painted.tissue_model(um))
    result, found = written("mitotic-count", truth, um, knows, hotspot_mm2=0.1)
    assert set(found) == {"report", "classes", "mitotic-figures"}
    assert group_of(found["mitotic-figures"]) == ("POINT", pair(codes.MITOTIC_FIGURE), 17)
    annotations = hd.ann.MicroscopyBulkSimpleAnnotations.from_dataset(found["mitotic-figures"])
    (group,) = annotations.get_annotation_groups()
    points = np.concatenate(group.get_graphic_data(coordinate_type="2D"))
    assert np.allclose(points, result.annotations[0].points)


def test_a_til_score():
    truth, _ = test_til_score.section()
    result, found = written("til-score", truth, test_til_score.UM, test_til_score.predictor(), min_stroma_mm2=0.01)
    assert set(found) == {"report", "stroma", "lymphocytes", "heatmap"}
    assert group_of(found["lymphocytes"]) == ("POLYGON", pair(codes.LYMPHOCYTE), len(result.annotations[0]))
    assert np.allclose(found["heatmap"].pixel_array, result.maps[0].values)
    stroma = hd.seg.Segmentation.from_dataset(found["stroma"])
    assert np.array_equal(stroma.get_total_pixel_matrix(combine_segments=True), result.segmentations[0].mask)


def test_a_grade():
    truth = test_nottingham.tumour(tubules=200, side=12, mitoses=5)
    settings = {"hotspot_mm2": 0.05, "min_tumour_nuclei": 50, "min_normal_nuclei": 20}
    result, found = written("nottingham", truth, test_nottingham.UM, test_nottingham.predictor(), **settings)
    assert set(found) == {"report", "classes", "tumour-nuclei", "mitotic-figures"}
    items = content(found["report"])[-1][1]
    assert concept(items[pair(codes.NOTTINGHAM_GRADE)].ConceptCodeSequence) == pair(codes.NOTTINGHAM_3)
    assert "Suggestion" in items[pair(codes.COMMENT)].TextValue
    texts = [str(e.value) for e in found["report"].iterall() if e.keyword == "TextValue"]
    assert result.verdict.reason in texts


def test_no_grade_and_why():
    truth = test_nottingham.tumour(side=12, mitoses=5)
    _, found = written("nottingham", truth, test_nottingham.UM, test_nottingham.predictor(), min_tumour_nuclei=5000)
    texts = [str(e.value) for e in found["report"].iterall() if e.keyword == "TextValue"]
    assert any(
        text.startswith("Nottingham grade: not analysed because nuclear pleomorphism is missing") for text in texts
    )
    named = {name for _, items in content(found["report"]) for name in items}
    assert not {pair(codes.NOTTINGHAM_GRADE), pair(codes.NOTTINGHAM_SUM)} & named
