"""Every object kind on every source: conformant, readable by other software, deterministic, rightly referenced."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat, PersonName

from airouter.domain import codes
from airouter.domain.finding import NO_VALUE, AnnotationGroup, Finding, Measurement, NotAnalysed, Region, Result
from airouter.domain.priority import Priority, Verdict
from airouter.errors import EvidenceError
from airouter.evidence.identity import STATUS, device_uid
from airouter.evidence.source import slide_geometry
from airouter.evidence.write import Written, series_number, write
from tests import evidence_samples as samples
from tests.dciodvfy import assert_conformant

Sources = Mapping[str, Dataset]
PHANTOM_OCT = (2, 4)
CASES: dict[str, tuple[Callable[[], Sources], Callable[[Sources], Result]]] = {
    "slide phantom": (samples.slide_phantom, samples.slide_result),
    "slide real": (samples.slide_real, samples.slide_result),
    "fundus phantom": (samples.fundus_phantom, samples.eye_result),
    "oct phantom": (samples.oct_phantom, lambda s: samples.eye_result(s, frames=PHANTOM_OCT)),
    "oct real": (samples.oct_real, lambda s: samples.eye_result(s, frames=(1,))),
}


def run(case: str) -> tuple[Sources, Result, dict[str, Dataset]]:
    make, results = CASES[case]
    sources = make()
    result = results(sources)
    written = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    return sources, result, {w.role: stored(w.dataset) for w in written}


def stored(ds: Dataset) -> Dataset:
    """Through a file and back, as the archive would give it."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Sources, Result, dict[str, Dataset]]:
    return run(request.param)


def test_every_object_is_conformant(case: tuple[Sources, Result, dict[str, Dataset]]) -> None:
    for ds in case[2].values():
        assert_conformant(ds)


def test_every_object_says_what_it_is(case: tuple[Sources, Result, dict[str, Dataset]]) -> None:
    sources, _, written = case
    first = next(iter(sources.values()))
    for role, ds in written.items():
        assert ds.SOPInstanceUID == samples.job(sources).uid(role)
        assert ds.SeriesInstanceUID == samples.job(sources).uid(f"{role} series")
        assert ds.StudyInstanceUID == first.StudyInstanceUID
        assert ds.SeriesDescription.endswith(STATUS)
        assert ds.ContentQualification == "RESEARCH"
        assert (ds.ContentDate, ds.ContentTime) == ("20260304", "050607")
        model = next(i for i in ds.ContributingEquipmentSequence if i.get("DeviceUID"))
        assert model.DeviceUID == device_uid(samples.model())
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"):
            assert str(ds.get(keyword) or "") == str(first.get(keyword) or "")
    assert len({ds.SeriesNumber for ds in written.values()}) == len(written)
    assert not {ds.SeriesInstanceUID for ds in written.values()} & {s.SeriesInstanceUID for s in sources.values()}


def test_references_point_to_sources_or_siblings(case: tuple[Sources, Result, dict[str, Dataset]]) -> None:
    sources, _, written = case
    classes = {ds.SOPInstanceUID: ds.SOPClassUID for ds in (*sources.values(), *written.values())}

    def walk(ds: Dataset) -> int:
        found = 0
        for element in ds:
            for item in element.value if element.VR == "SQ" else ():
                if "ReferencedSOPInstanceUID" in item:
                    assert item.ReferencedSOPClassUID == classes[item.ReferencedSOPInstanceUID]
                    found += 1
                found += walk(item)
        return found

    assert all(walk(ds) > 0 for ds in written.values())


def test_only_the_first_report_refers_to_the_other_objects(case: tuple[Sources, Result, dict[str, Dataset]]) -> None:
    written = case[2]
    siblings = {ds.SOPInstanceUID for ds in written.values() if ds.Modality != "SR"}
    assert siblings == {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in written["report"].ContentSequence
        if item.ConceptNameCodeSequence and item.ConceptNameCodeSequence[0].CodeValue == codes.RESULT_OBJECT.value
    }
    if "scores" in written:
        assert not any(
            item.ConceptNameCodeSequence[0].CodeValue == codes.RESULT_OBJECT.value
            for item in written["scores"].ContentSequence
        )


def groups(ds: Dataset) -> list[Dataset]:
    """Measurement groups of a TID 1500 document, read without highdicom."""
    container = next(i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return [i for i in container.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "125007"]


def test_reports_hold_the_findings(case: tuple[Sources, Result, dict[str, Dataset]]) -> None:
    sources, result, written = case
    found: dict[str, dict[str, float]] = {}
    for role in ("report", "scores"):
        for group in groups(written[role]) if role in written else ():
            items = {i.ConceptNameCodeSequence[0].CodeValue: i for i in group.ContentSequence}
            assert items["111001"].TextValue == "demo"
            named = [(i.ConceptNameCodeSequence[0].CodeValue, i) for i in group.ContentSequence]
            parameters = [i.TextValue for name, i in named if name == "111002"]
            assert parameters[0] == f"onnx_sha256={samples.model().sha256}"
            assert {"threshold=0.5", "minimum=20"} <= set(parameters)
            found[items["112040"].UID] = {
                i.ConceptNameCodeSequence[0].CodeValue: float(i.MeasuredValueSequence[0].NumericValue)
                for i in group.ContentSequence
                if i.ValueType == "NUM"
            }
            assert ("111030" in items) == (role == "report")
    job = samples.job(sources)
    assert found == {
        job.uid(f"finding|{f.key}"): {m.name.value: pytest.approx(m.value) for m in f.measurements}
        for f in result.findings
    }


def test_reports_can_be_read_by_highdicom(case: tuple[Sources, Result, dict[str, Dataset]]) -> None:
    sources, result, written = case
    slide = next(iter(sources.values())).Modality == "SM"
    report = hd.sr.Comprehensive3DSR.from_dataset(written["report"])
    regions = report.content.get_planar_roi_measurement_groups()
    assert len(regions) == (len(result.findings) if slide else 1)
    assert (written["report"].CompletionFlag, written["report"].VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert written["report"].PreliminaryFlag == "PRELIMINARY"
    if slide:
        assert "scores" not in written  # a slide viewer throws on a group without region
    else:
        scores = hd.sr.Comprehensive3DSR.from_dataset(written["scores"])
        (group,) = scores.content.get_image_measurement_groups()
        assert {e.value.value for e in group.get_qualitative_evaluations()} == {"RID12", "GRADABLE"}
        assert group.finding_sites[0].laterality.value == codes.LEFT.value
        # OHIF takes this title for drawable measurements and throws on a group without region.
        assert written["scores"].ConceptNameCodeSequence[0].CodeValue != "126000"


def test_priority_and_what_was_not_analysed_stand_in_the_report(
    case: tuple[Sources, Result, dict[str, Dataset]],
) -> None:
    _, result, written = case
    container = next(
        i for i in written["report"].ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375"
    )
    values = {i.ConceptNameCodeSequence[0].CodeValue: i for i in container.ContentSequence}
    assert values["PRIORITY"].ConceptCodeSequence[0].CodeValue == result.verdict.priority.value
    assert values["121106"].TextValue == result.verdict.reason
    (missing,) = result.not_analysed
    assert values["NOT-ANALYSED"].TextValue == f"{missing.quantity}: {missing.reason}"


@pytest.mark.parametrize("name", ["slide phantom", "slide real"])
def test_slide_regions_are_on_the_slide(name: str) -> None:
    sources, result, written = run(name)
    base = next(iter(sources.values()))
    geometry = slide_geometry(base)
    regions = hd.sr.Comprehensive3DSR.from_dataset(written["report"]).content.get_planar_roi_measurement_groups()
    own, whole = (r.roi for r in regions)
    assert own.frame_of_reference_uid == base.FrameOfReferenceUID
    np.testing.assert_allclose(geometry.to_pixels(own.value[:-1]), result.findings[0].region.points, atol=1e-2)
    np.testing.assert_array_equal(own.value[0], own.value[-1])
    np.testing.assert_allclose(
        geometry.to_pixels(whole.value[2:3]), [[base.TotalPixelMatrixColumns, base.TotalPixelMatrixRows]], atol=1e-2
    )


@pytest.mark.parametrize("name", ["slide phantom", "slide real"])
def test_slide_masks_maps_and_annotations_read_back(name: str) -> None:
    sources, result, written = run(name)
    base = next(iter(sources.values()))

    seg = hd.seg.Segmentation.from_dataset(written["tissue"])
    mask = seg.get_total_pixel_matrix(combine_segments=True)
    np.testing.assert_array_equal(mask, result.segmentations[0].mask)
    assert seg.FrameOfReferenceUID == base.FrameOfReferenceUID
    # A cell of the mask and the pixels of the level under it are at the same place (independent: highdicom's geometry).
    factor = result.segmentations[0].factor
    at = seg.get_volume_geometry().map_indices_to_reference(np.array([[0.0, 3.0, 5.0]]))[0]
    expected = slide_geometry(base).to_slide(np.array([[(5 + 0.5) * factor, (3 + 0.5) * factor]]))[0]
    np.testing.assert_allclose(at, expected, atol=1e-6)

    pm = hd.pm.ParametricMap.from_dataset(written["density"])
    np.testing.assert_allclose(pm.get_total_pixel_matrix(), result.maps[0].values, rtol=1e-6)

    for group in result.annotations:
        ann = hd.ann.MicroscopyBulkSimpleAnnotations.from_dataset(written[group.role])
        (item,) = ann.get_annotation_groups()
        polygons = item.get_graphic_data("2D")
        assert len(polygons) == len(group)
        for k, polygon in enumerate(polygons):
            np.testing.assert_array_equal(polygon, group.points[group.starts[k] : group.starts[k + 1]])
        names, values, _ = item.get_measurements()
        assert [n.value for n in names] == [n.value for n, _ in group.measurements]
        for column, expected_values in enumerate(group.measurements.values()):
            np.testing.assert_array_equal(values[:, column], expected_values)


@pytest.mark.parametrize("name", ["fundus phantom", "oct phantom", "oct real"])
def test_frame_masks_read_back(name: str) -> None:
    sources, result, written = run(name)
    image = next(iter(sources.values()))
    seg, expected = written["layers"], result.segmentations[0]
    many = int(image.get("NumberOfFrames") or 1) > 1
    assert (seg.Rows, seg.Columns) == (image.Rows, image.Columns)
    assert seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient is not None
    got = np.zeros_like(expected.mask)
    planes = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for plane, groups_ in zip(planes, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (reference,) = groups_.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPClassUID == image.SOPClassUID
        assert ("ReferencedFrameNumber" in reference) == many
        index = expected.frames.index(reference.ReferencedFrameNumber) if many else 0
        got[index][plane > 0] = groups_.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    np.testing.assert_array_equal(got, expected.mask)
    # Software that did not write it agrees on frames and segments.
    assert hd.seg.Segmentation.from_dataset(seg).number_of_segments == 2


@pytest.mark.parametrize("name", ["fundus phantom", "oct phantom", "oct real"])
def test_a_mask_of_one_segment_is_conformant(name: str) -> None:
    make, results = CASES[name]
    sources = make()
    result = results(sources)
    whole = result.segmentations[0]
    one = replace(whole, segments=whole.segments[:1], mask=(whole.mask == 1).astype(np.uint8))
    written = write(
        samples.job(sources), samples.model(), replace(result, segmentations=(one,)), sources, now=samples.NOW
    )
    seg = next(stored(w.dataset) for w in written if w.role == "layers")
    assert_conformant(seg)
    assert hd.seg.Segmentation.from_dataset(seg).number_of_segments == 1


def test_regions_on_frames_keep_pixels_and_frame() -> None:
    _, result, written = run("oct phantom")
    report = hd.sr.Comprehensive3DSR.from_dataset(written["report"])
    (group,) = report.content.get_planar_roi_measurement_groups()
    np.testing.assert_allclose(group.roi.value, result.findings[0].region.points)
    (image,) = group.roi.ContentSequence
    assert image.ReferencedSOPSequence[0].ReferencedFrameNumber == PHANTOM_OCT[0]


def test_the_same_job_writes_the_same_uids_whatever_the_time() -> None:
    sources = samples.slide_phantom()
    result, job = samples.slide_result(sources), samples.job(sources)

    def uids(written: tuple[Written, ...]) -> list[str]:
        skip = {"InstanceCreatorUID"}
        return [
            str(e.value) for w in written for e in w.dataset.iterall() if e.VR in ("UI", "IS") and e.keyword not in skip
        ]

    first = write(job, samples.model(), result, sources, now=samples.NOW)
    again = write(job, samples.model(), result, sources, now=samples.NOW + timedelta(days=3))
    assert uids(first) == uids(again)
    assert {str(w.dataset.ContentDate) for w in again} == {"20260307"}
    other = write(replace(job, key="k2"), samples.model(), result, sources, now=samples.NOW)
    assert not {w.dataset.SOPInstanceUID for w in first} & {w.dataset.SOPInstanceUID for w in other}


def test_the_same_job_at_the_same_time_writes_the_same_bytes() -> None:
    sources = samples.slide_phantom()
    runs = [
        write(samples.job(sources), samples.model(), samples.slide_result(sources), sources, now=samples.NOW)
        for _ in range(2)
    ]
    for a, b in zip(*runs, strict=True):
        assert [*map(str, stored(a.dataset).iterall())] == [*map(str, stored(b.dataset).iterall())], a.role


def test_sources_stay_as_they_are() -> None:
    for make, results in CASES.values():
        try:
            sources = make()
        except pytest.skip.Exception:
            continue
        before = copy.deepcopy(dict(sources))
        write(samples.job(sources), samples.model(), results(sources), sources, now=samples.NOW)
        assert dict(sources) == before


def test_a_new_model_gets_a_new_device_uid() -> None:
    assert device_uid(samples.model("00" * 32)) != device_uid(samples.model("01" * 32))


def test_series_numbers_are_decimal_integers_of_the_job() -> None:
    sources = samples.fundus_phantom()
    number = series_number(samples.job(sources))
    assert number == series_number(samples.job(sources))
    assert 100_000 <= number < 2**31 and number % 100 == 0


@pytest.mark.parametrize("name", ["slide", "oct", "fundus"])
def test_nothing_found_still_makes_a_report_that_viewers_can_load(name: str) -> None:
    sources = {"slide": samples.slide_phantom, "oct": samples.oct_phantom, "fundus": samples.fundus_phantom}[name]()
    result = Result((), Verdict(Priority.ROUTINE, "nothing found"), not_analysed=(NotAnalysed("all", "it is black"),))
    (written,) = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    assert_conformant(written.dataset)
    (group,) = groups(written.dataset)
    region = [i for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "111030"]
    assert bool(region) == (name == "slide")


def sloppy(source: Dataset) -> Dataset:
    """What real senders leave out or get wrong."""
    source = copy.deepcopy(source)
    type_2 = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName", "PatientBirthDate")
    for keyword in type_2:
        source.pop(keyword, None)
    source.PatientName = PersonName("Müller^Jürgen")
    source.SpecificCharacterSet = "ISO_IR 100"
    with_long = source.get("SharedFunctionalGroupsSequence")
    if with_long and "PixelMeasuresSequence" in with_long[0]:
        measures = with_long[0].PixelMeasuresSequence[0]
        measures.SliceThickness = "0.6000000000000001"
    return source


@pytest.mark.parametrize("name", ["slide phantom", "fundus phantom", "oct phantom"])
def test_a_sloppy_source_does_not_stop_a_result(name: str) -> None:
    make, results = CASES[name]
    sources = {uid: sloppy(ds) for uid, ds in make().items()}
    for source in sources.values():
        source.PatientSex = "U"
    written = write(samples.job(sources), samples.model(), results(sources), sources, now=samples.NOW)
    for w in written:
        back = stored(w.dataset)
        assert str(back.PatientName) == "Müller^Jürgen"
        assert back.SpecificCharacterSet == "ISO_IR 192"
        assert back.PatientSex == "U"  # as the source has it, so that the patient does not fall apart


def big(sources: Sources, count: int) -> Result:
    uid = next(iter(sources))
    rng = np.random.default_rng(0)
    sizes = rng.integers(6, 30, count)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    group = AnnotationGroup(
        "nuclei",
        "Nuclei",
        uid,
        "POLYGON",
        codes.ANATOMICAL_STRUCTURE,
        codes.NUCLEUS,
        rng.uniform(1, 500, (starts[-1], 2)).astype(np.float32),
        starts,
        {(codes.AREA, codes.UM2): rng.uniform(1, 50, count).astype(np.float32)},
    )
    return Result((), Verdict(Priority.ROUTINE, "n/a"), annotations=(group,))


def test_twenty_thousand_nuclei_are_written_in_seconds() -> None:
    sources = samples.slide_phantom()
    result = big(sources, 20_000)
    began = time.perf_counter()
    written = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    assert time.perf_counter() - began < 10
    ds = stored(written[0].dataset)
    assert ds.AnnotationGroupSequence[0].NumberOfAnnotations == 20_000
    assert_conformant(ds)


def test_no_object_no_annotation() -> None:
    sources = samples.slide_phantom()
    result = samples.slide_result(sources)
    none = replace(result.annotations[0], points=np.zeros((0, 2), np.float32), starts=np.array([0]), measurements={})
    written = write(
        samples.job(sources), samples.model(), replace(result, annotations=(none,)), sources, now=samples.NOW
    )
    assert "nuclei" not in [w.role for w in written]


def _nan_map(r: Result) -> Result:
    values = r.maps[0].values.copy()
    values[0, 0] = np.nan
    return replace(r, maps=(replace(r.maps[0], values=values),))


def _nan_measurement(r: Result) -> Result:
    bad = {(codes.AREA, codes.UM2): np.array([1.0, np.inf], np.float32)}
    return replace(r, annotations=(replace(r.annotations[0], measurements=bad),))


def _nan_point(r: Result) -> Result:
    points = r.annotations[0].points.copy()
    points[1, 1] = np.nan
    return replace(r, annotations=(replace(r.annotations[0], points=points),))


def _foreign_source(r: Result) -> Result:
    return replace(r, segmentations=(replace(r.segmentations[0], source="1.2.3"),))


def _foreign_region(r: Result) -> Result:
    return replace(r, findings=(Finding("a", "a", codes.TISSUE, Region("POINT", "1.2.3", np.array([[1.0, 1.0]]))),))


def _small_mask(r: Result) -> Result:
    return replace(r, segmentations=(replace(r.segmentations[0], mask=np.ones((2, 2), np.uint8)),))


def _same_role(r: Result) -> Result:
    return replace(r, annotations=(r.annotations[0], replace(r.annotations[1], role="nuclei")))


def _open_polygon(r: Result) -> Result:
    bad = replace(r.findings[0], region=replace(r.findings[0].region, points=np.array([[1.0, 1.0], [2.0, 2.0]])))
    return replace(r, findings=(bad,))


@pytest.mark.parametrize(
    "spoil",
    [
        _nan_map,
        _nan_measurement,
        _nan_point,
        _foreign_source,
        _foreign_region,
        _small_mask,
        _same_role,
        _open_polygon,
    ],
)
def test_what_cannot_be_right_is_not_written(spoil: Callable[[Result], Result]) -> None:
    sources = samples.slide_phantom()
    with pytest.raises(EvidenceError):
        write(samples.job(sources), samples.model(), spoil(samples.slide_result(sources)), sources, now=samples.NOW)


@pytest.mark.parametrize(
    "keyword", ["TotalPixelMatrixOriginSequence", "ImageOrientationSlide", "FrameOfReferenceUID", "SOPClassUID"]
)
def test_a_slide_without_a_place_is_refused(keyword: str) -> None:
    sources = samples.slide_phantom()
    result = samples.slide_result(sources)
    del next(iter(sources.values()))[keyword]
    with pytest.raises(EvidenceError):
        write(samples.job({**samples.slide_phantom()}), samples.model(), result, sources, now=samples.NOW)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.25, 0.25), (0.0, 0.0), (-1e-4, 3e-4), (0.0, 1e6)])
def test_maps_of_any_range_are_conformant(low: float, high: float) -> None:
    sources = samples.slide_phantom()
    wide = samples.slide_result(sources).maps[0]
    values = np.linspace(low, high, wide.values.size, dtype=np.float32).reshape(wide.values.shape)
    result = Result((), Verdict(Priority.LOW, "n/a"), maps=(replace(wide, values=values),))
    written = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    assert_conformant(written[0].dataset)


def test_the_outline_of_a_slide_is_that_of_its_finest_level() -> None:
    sources = samples.slide_phantom()
    base = next(iter(sources.values()))
    upside_down = dict(reversed(sources.items()))
    result = Result((Finding("s", "s", codes.TISSUE),), Verdict(Priority.LOW, "n/a"))
    (written,) = write(samples.job(upside_down), samples.model(), result, upside_down, now=samples.NOW)
    report = hd.sr.Comprehensive3DSR.from_dataset(stored(written.dataset))
    (group,) = report.content.get_planar_roi_measurement_groups()
    corner = slide_geometry(base).to_pixels(group.roi.value[2:3])
    np.testing.assert_allclose(corner, [[base.TotalPixelMatrixColumns, base.TotalPixelMatrixRows]], atol=1e-2)


def test_frames_that_lie_nowhere_still_get_a_mask() -> None:
    """Tomography whose frames all claim the same place, without frame of reference, as converters write it."""
    sources = samples.oct_phantom()
    (volume,) = sources.values()
    del volume.FrameOfReferenceUID
    for item in volume.PerFrameFunctionalGroupsSequence:
        item.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 0]
    result = samples.eye_result(sources, frames=(1, 2, 3, 4, 5))
    written = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    seg = stored(written[0].dataset)
    assert_conformant(seg)
    assert "FrameOfReferenceUID" not in seg
    assert seg.NumberOfFrames == 6  # the retina on five frames, fluid on one


def test_a_map_on_a_photograph_is_refused() -> None:
    sources = samples.fundus_phantom()
    result = replace(
        samples.eye_result(sources), maps=(samples.slide_result(samples.slide_phantom()).maps[0],), segmentations=()
    )
    result = replace(result, maps=(replace(result.maps[0], source=next(iter(sources))),))
    with pytest.raises(EvidenceError, match="only slides"):
        write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)


def test_long_labels_never_cut_the_status() -> None:
    sources = samples.fundus_phantom()
    result = samples.eye_result(sources)
    long = replace(result.segmentations[0], label="A very long label that nobody would ever read to its end")
    written = write(
        samples.job(sources), samples.model(), replace(result, segmentations=(long,)), sources, now=samples.NOW
    )
    for w in written:
        assert len(w.dataset.SeriesDescription) <= 64
        assert w.dataset.SeriesDescription.endswith(STATUS)


def test_measurements_keep_their_digits() -> None:
    sources = samples.fundus_phantom()
    value = 0.1 + 0.2
    finding = Finding("f", "f", codes.EYE, measurements=(Measurement(codes.QUALITY_RATING, value, codes.ONE),))
    result = Result((finding,), Verdict(Priority.ROUTINE, "n/a"))
    (written,) = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    (group,) = groups(stored(written.dataset))
    (number,) = (i for i in group.ContentSequence if i.ValueType == "NUM")
    assert float(number.MeasuredValueSequence[0].NumericValue) == pytest.approx(value, rel=1e-12)


def _per_frame(ds: Dataset, *keywords: str) -> None:
    shared = ds.SharedFunctionalGroupsSequence[0]
    for keyword in keywords:
        for group in ds.PerFrameFunctionalGroupsSequence:
            group[keyword] = copy.deepcopy(shared[keyword])
        del shared[keyword]


def _eye_mask(sources: Sources) -> Dataset:
    result = samples.eye_result(sources, frames=(2, 3))
    made = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    (mask,) = [w.dataset for w in made if w.dataset.Modality == "SEG"]
    assert_conformant(mask)
    return stored(mask)


def test_a_mask_lies_as_its_frames_lie_also_where_each_says_it_for_itself() -> None:
    sources = samples.oct_phantom()
    (image,) = sources.values()
    directions = [0.0, 0.6, 0.8, 0.0, 0.8, -0.6]
    image.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = directions
    _per_frame(image, "PlaneOrientationSequence", "PixelMeasuresSequence")
    mask = _eye_mask(sources)
    assert mask.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert "PlaneOrientationSequence" not in mask.SharedFunctionalGroupsSequence[0]
    for group in mask.PerFrameFunctionalGroupsSequence:
        assert group.PlaneOrientationSequence[0].ImageOrientationPatient == directions
    spacing = image.PerFrameFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    found = mask.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert list(map(float, found)) == pytest.approx(list(map(float, spacing)), abs=1e-12)


@pytest.mark.parametrize("keyword", ["PlaneOrientationSequence", "ImageOrientationPatient"])
def test_a_mask_of_frames_without_directions_lies_nowhere(keyword: str) -> None:
    sources = samples.oct_phantom()
    shared = next(iter(sources.values())).SharedFunctionalGroupsSequence[0]
    del (shared if keyword in shared else shared.PlaneOrientationSequence[0])[keyword]
    mask = _eye_mask(sources)
    assert "FrameOfReferenceUID" not in mask
    assert not any("PlanePositionSequence" in group for group in mask.PerFrameFunctionalGroupsSequence)


def test_decimals_of_a_tomograph_that_are_too_long_are_shortened_in_the_mask() -> None:
    sources = samples.oct_phantom()
    shared = next(iter(sources.values())).SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    measures.PixelSpacing = [DSfloat("0.00390625000000000001"), DSfloat("0.01170000000000000001")]
    measures.SliceThickness = DSfloat("0.1200000000000000001")
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [DSfloat("0.99999999999999999999"), 0, 0, 0, 1, 0]
    spacing = _eye_mask(sources).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert list(map(float, spacing)) == [0.00390625, 0.0117]


@pytest.mark.parametrize("name", ["slide_phantom", "oct_phantom", "fundus_phantom"])
@pytest.mark.parametrize("keyword", ["Modality", "LossyImageCompression"])
def test_what_a_source_leaves_empty_though_nothing_needs_it_does_not_stop_a_result(name: str, keyword: str) -> None:
    sources = getattr(samples, name)()
    job = samples.job(sources)
    slide = name == "slide_phantom"
    frames = (2, 3) if name == "oct_phantom" else ()
    result = samples.slide_result(sources) if slide else samples.eye_result(sources, frames=frames)
    for ds in sources.values():
        ds[keyword].value = None
    for made in write(job, samples.model(), result, sources, now=samples.NOW):
        assert_conformant(made.dataset)


def test_a_cell_without_a_value_is_padding_and_outside_of_the_mapped_range() -> None:
    sources = samples.slide_phantom()
    result = samples.slide_result(sources)
    (cells,) = result.maps
    for known in (0, 5):
        values = np.full_like(cells.values, NO_VALUE)
        values.flat[:known] = np.arange(10, 10 + known)
        spoilt = replace(result, maps=(replace(cells, values=values),))
        made = write(samples.job(sources), samples.model(), spoilt, sources, now=samples.NOW)
        (ds,) = [w.dataset for w in made if "FloatPixelData" in w.dataset]
        assert_conformant(ds)
        assert ds.FloatPixelPaddingValue == NO_VALUE
        mapping = next(e.value[0] for e in ds.iterall() if e.keyword == "RealWorldValueMappingSequence")
        assert mapping.DoubleFloatRealWorldValueFirstValueMapped == (10.0 if known else 0.0)
        assert mapping.DoubleFloatRealWorldValueLastValueMapped == (14.0 if known else 0.0)


def test_every_model_of_a_job_is_named_in_every_object() -> None:
    sources = samples.slide_phantom()
    main, tissue = samples.model(), replace(samples.model("cd" * 32), name="tissue")
    made = samples.slide_result(sources)
    result = replace(made, findings=tuple(replace(f, method=codes.SALIENCY) for f in made.findings))
    written = write(samples.job(sources), main, result, sources, now=samples.NOW, companions={"tissue": tissue})
    for each in written:
        named = [item for item in each.dataset.ContributingEquipmentSequence if item.get("DeviceUID")]
        assert [item.DeviceUID for item in named] == [device_uid(main), device_uid(tissue)]
        assert_conformant(stored(each.dataset))
    text = stored(next(each.dataset for each in written if each.role == "report")).to_json()
    assert f"companion tissue=tissue {tissue.version}, onnx_sha256 {tissue.sha256}" in text
    assert "Measurement Method" in text and "Saliency" in text
