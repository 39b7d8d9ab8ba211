"""What the pipelines find can be written: evidence takes every kind of result they make."""

import dataclasses
from datetime import UTC, datetime
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.job import Source
from airouter.domain.model import HeadKind, ModelClass
from airouter.domain.study import Modality
from airouter.evidence.write import write
from airouter.pipelines import PIPELINES
from phantoms.dicom import fundus_instance, slide_instances
from phantoms.fundus import fundus as fundus_phantom
from phantoms.slide import slide as slide_phantom
from tests.data import files
from tests.dciodvfy import assert_conformant
from tests.pipelines import test_fundus_quality, test_nuclear_positivity, test_retinal_thickness, test_slide_quality
from tests.pipelines.colours import NAMES, maps, section, shares
from tests.pipelines.oracle import Oracle, Progress, Seen, job, model, opened
from tests.pipelines.test_stitching import superfast

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def analysed(pipeline, datasets, knows, **parameters):
    first = datasets[0]
    about = dataclasses.replace(
        job(pipeline, **parameters),
        study_uid=first.StudyInstanceUID,
        series_uid=first.SeriesInstanceUID,
        modality=Modality(first.Modality),
        sources=tuple(Source(f"id-{n}", ds.SOPInstanceUID, "digest") for n, ds in enumerate(datasets)),
    )
    result = PIPELINES[pipeline].run(about, opened(datasets), knows, Progress())
    return result, write(about, knows.model, result, {ds.SOPInstanceUID: ds for ds in datasets}, now=NOW)


def written(pipeline, datasets, knows, **parameters):
    return analysed(pipeline, datasets, knows, **parameters)[1]


@pytest.mark.parametrize(
    ("stain", "modalities"), [("H-DAB", {"SR", "SEG", "ANN", "OT"}), ("H&E", {"SR", "SEG", "ANN", "OT"})]
)
def test_a_slide(stain, modalities):
    truth = slide_phantom(300, 320, 0.5, stain or "H&E", 1500.0, 0.3, seed=3)
    datasets = slide_instances(truth.rgb, 0.5, levels=2, transfer="raw", stain=stain, seed=1)
    knows = test_nuclear_positivity.oracle(opened(datasets), truth.labels)
    objects = written("nuclear-positivity", datasets, knows, min_nuclei=5)
    assert {w.dataset.Modality for w in objects} == {"SR", "SEG", "ANN", "OT"}


CODES = {
    "stroma": codes.CONNECTIVE_TISSUE,
    "tumour": codes.NEOPLASM,
    "necrosis": Code("NECRO", "99TEST", "Necrosis, as this laboratory calls it"),
}


def coloured(kind, **changes):
    """A model that knows the colours of the slide, with a public and a private code for its classes."""
    sizes = {"size": (96, 96), "overlap": 12} if kind is HeadKind.SEGMENTATION else {"size": (48, 48), "overlap": 0}
    made = model(Modality.SM, kind, NAMES, spacing_um=0.5, exclusive=True, **sizes, **changes)
    classes = tuple(ModelClass(name, CODES.get(name)) for name in NAMES)
    return dataclasses.replace(made, head=dataclasses.replace(made.head, classes=classes))


def read_back(objects):
    """Each object by its role, as a reader gets it: valid, encoded and decoded."""
    found = {}
    for each in objects:
        assert_conformant(each.dataset)
        file = BytesIO()
        dcmwrite(file, each.dataset, enforce_file_format=True)
        file.seek(0)
        found[each.role] = dcmread(file)
    return found


def concept(items):
    (item,) = items
    return item.CodeValue, item.CodingSchemeDesignator


def groups(report):
    """Finding to its measurements and whether it has a region, for each group of a report."""
    (measured,) = [i for i in report.ContentSequence if concept(i.ConceptNameCodeSequence)[0] == "126010"]
    found = {}
    for group in measured.ContentSequence:
        content = {concept(i.ConceptNameCodeSequence): i for i in group.ContentSequence}
        numbers = {
            name: float(item.MeasuredValueSequence[0].NumericValue)
            for name, item in content.items()
            if item.ValueType == "NUM"
        }
        region = content["111030", "DCM"]
        found[concept(content["121071", "DCM"].ConceptCodeSequence)] = (numbers, region.GraphicType)
    return found


def pair(code):
    return code.value, code.scheme


def check_groups(report, result):
    found = groups(report)
    assert set(found) == {pair(codes.TISSUE), *map(pair, CODES.values())}
    for finding in result.findings:
        numbers, graphic = found[pair(finding.finding)]
        assert graphic == "POLYGON"
        assert numbers == {pair(m.name): pytest.approx(m.value) for m in finding.measurements}


def test_a_classified_slide():
    truth = section(330, 400, 60)
    datasets = slide_instances(truth.rgb, 0.5, levels=2, transfer="raw", seed=1)
    knows = Seen(coloured(HeadKind.CLASSIFICATION), shares)
    result, objects = analysed("slide-classification", datasets, knows)
    found = read_back(objects)
    assert set(found) == {"report", "probability-2", "probability-3", "probability-4"}
    check_groups(found["report"], result)
    for made, name in zip(result.maps, CODES, strict=True):
        stored = found[made.role]
        rows, columns = made.values.shape
        assert (stored.TotalPixelMatrixRows, stored.TotalPixelMatrixColumns) == (rows, columns)
        assert (stored.Rows, stored.Columns) == (rows, columns)  # one tile, no larger than the map
        assert np.array_equal(stored.pixel_array, made.values)
        mapping = stored.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        definition = [concept(i.ConceptCodeSequence) for i in mapping.QuantityDefinitionSequence]
        assert definition == [pair(codes.PROBABILITY), pair(CODES[name])]
        (spacing,) = {float(v) for v in stored.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing}
        assert spacing == pytest.approx(48 * 0.5 / 1000)


@pytest.mark.parametrize(("slide_um", "factor"), [(0.5, 1), (0.25, 2)])
def test_a_segmented_slide(slide_um, factor):
    truth = section(330, 400, 100)
    datasets = slide_instances(truth.rgb, slide_um, levels=1, transfer="raw", seed=1)
    knows = Seen(coloured(HeadKind.SEGMENTATION), maps)
    result, objects = analysed("slide-segmentation", datasets, knows)
    found = read_back(objects)
    assert set(found) == {"report", "classes"}
    check_groups(found["report"], result)
    (made,) = result.segmentations
    assert made.factor == factor
    segmentation = hd.seg.Segmentation.from_dataset(found["classes"])
    assert [(s.segment_label, pair_of(s.segmented_property_type)) for s in map(
        segmentation.get_segment_description, segmentation.segment_numbers
    )] == [(name, pair(code)) for name, code in CODES.items()]  # fmt: skip
    whole = segmentation.get_total_pixel_matrix(combine_segments=True, skip_overlap_checks=True)
    assert np.array_equal(whole, made.mask)
    assert segmentation.get_volume().spacing[1:] == pytest.approx([factor * slide_um / 1000] * 2)


def pair_of(code):
    return code.value, code.scheme_designator


def test_a_slide_with_nothing_of_any_class():
    truth = section(330, 400, 60)
    datasets = slide_instances(truth.rgb, 0.5, levels=1, transfer="raw", seed=1)

    def background(image):
        return np.stack([np.full(image.shape[:2], float(n == 0)) for n in range(len(NAMES))])

    result, objects = analysed("slide-segmentation", datasets, Seen(coloured(HeadKind.SEGMENTATION), background))
    found = read_back(objects)
    assert set(found) == {"report"}
    check_groups(found["report"], result)


def test_a_real_slide_through_a_published_model(tmp_path):
    datasets = [dcmread(path, defer_size=1024) for path in files("sm/cmu1_pyramid/*.dcm")]
    result, objects = analysed("slide-segmentation", datasets, superfast(tmp_path, 100))
    found = read_back(objects)
    (made,) = result.segmentations
    segmentation = hd.seg.Segmentation.from_dataset(found["classes"])
    assert np.array_equal(segmentation.get_total_pixel_matrix(combine_segments=True), made.mask)
    assert set(groups(found["report"])) == {pair(codes.TISSUE)}  # the tissue, and the class of the same code


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


def test_the_quality_of_a_slide():
    """Report and segmentation as a reader gets them: codes of CID 7164, the mask, and the verdict."""
    quality = test_slide_quality
    truth, _ = quality.spoiled()
    datasets = slide_instances(quality.picture(truth), quality.UM, levels=2, transfer="raw", seed=1)
    knows = Seen(quality.about(), quality.maps)
    result, objects = analysed("slide-quality", datasets, knows)
    found = read_back(objects)
    assert set(found) == {"report", "artefacts"}
    segmentation = hd.seg.Segmentation.from_dataset(found["artefacts"])
    described = [segmentation.get_segment_description(n) for n in segmentation.segment_numbers]
    assert [pair_of(s.segmented_property_type) for s in described] == [
        pair(codes.AIR_BUBBLE), pair(codes.FOLDED_TISSUE), pair(codes.OUT_OF_FOCUS)
    ]  # fmt: skip
    assert {pair_of(s.segmented_property_category) for s in described} == {pair(codes.QUALITY)}
    (made,) = result.segmentations
    assert np.array_equal(segmentation.get_total_pixel_matrix(combine_segments=True), made.mask)
    assert np.array_equal(made.mask == 3, truth == quality.BLURRED)
    by_finding = groups(found["report"])
    for finding in result.findings:
        numbers, graphic = by_finding[pair(finding.finding)]
        assert graphic == "POLYGON"
        assert numbers == {pair(m.name): pytest.approx(m.value) for m in finding.measurements}
    texts = [str(e.value) for e in found["report"].iterall() if e.keyword == "TextValue"]
    assert result.verdict.reason in texts
    (measured,) = [i for i in found["report"].ContentSequence if concept(i.ConceptNameCodeSequence)[0] == "126010"]
    said = [
        (concept(item.ConceptNameCodeSequence), concept(item.ConceptCodeSequence))
        for item in measured.ContentSequence[0].ContentSequence
        if item.ValueType == "CODE"
    ]
    for name, value_ in (
        (codes.QUALITY_ASSESSMENT, codes.NON_DIAGNOSTIC_QUALITY),
        (codes.QUALITY_FINDING, codes.FOLDED_TISSUE),
        (codes.QUALITY_FINDING, codes.OUT_OF_FOCUS),
    ):
        assert (pair(name), pair(value_)) in said


def test_a_slide_under_ink():
    quality = test_slide_quality
    truth = quality.rectangle(np.zeros((400, 400), np.uint8), quality.INK, 60, 60, 340, 340)
    datasets = slide_instances(quality.picture(truth), quality.UM, levels=1, transfer="raw", seed=1)
    _, objects = analysed("slide-quality", datasets, Seen(quality.about(), quality.maps))
    found = read_back(objects)
    texts = [str(e.value) for e in found["report"].iterall() if e.keyword == "TextValue"]
    assert any(text.startswith("usable share of the tissue: not analysed because no tissue") for text in texts)
