"""Pictures, charts and thickness maps as DICOM, findings inferred from other reports, and results without a model."""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import Finding, Measurement, Origin, Region, Result
from airouter.domain.job import Job, Source
from airouter.domain.model import Model, rules
from airouter.domain.picture import Chart, Picture, Registration, ThicknessMap, Trace
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Laterality, Modality
from airouter.errors import EvidenceError
from airouter.evidence.chart import picture as drawn
from airouter.evidence.chart import svg
from airouter.evidence.identity import Identity
from airouter.evidence.source import header
from airouter.evidence.thickness_map import thickness_map
from airouter.evidence.write import write
from phantoms import dicom as phantoms
from tests import evidence_samples as samples
from tests.dciodvfy import assert_conformant

Sources = Mapping[str, Dataset]
EARLIER = datetime.datetime(2024, 1, 5, 9, 30, 0, tzinfo=datetime.UTC)
PLAIN = Finding("f", "Retina", codes.RETINA, measurements=(Measurement(codes.CST, 271.0, codes.UM),))
TRACES = (
    Trace("95 % interval", "band", (2020.0, 2024.0), (-3.0, -5.0), (-1.0, -2.0)),
    Trace("fit", "line", (2020.0, 2024.0), (-2.0, -3.5)),
    Trace("MD", "points", (2020.0, 2022.5, 2024.0), (-2.1, -2.4, -3.6)),
)
CHART = Chart("trend", "Trend of MD", "?", "MD, right eye", "Year", "MD in dB", TRACES, ("slope −0.4 dB/year",))


def result(**changes: Any) -> Result:
    made = Result((PLAIN,), Verdict(Priority.ROUTINE, "nothing urgent"), execution_provider="CPUExecutionProvider")
    return replace(made, **changes)


def stored(ds: Dataset) -> Dataset:
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def written(
    sources: Sources, found: Result, *, job: Job | None = None, model: Model | None = None
) -> dict[str, Dataset]:
    made = write(job or samples.job(sources), model or samples.model(), found, sources, now=samples.NOW)
    return {w.role: stored(w.dataset) for w in made}


def first(sources: Sources) -> Dataset:
    return next(iter(sources.values()))


def fundus(**changes: Any) -> dict[str, Dataset]:
    return samples.headers(phantoms.fundus_instance(np.full((24, 32, 3), 90, np.uint8), seed="p", **changes))


def volume(**changes: Any) -> dict[str, Dataset]:
    return samples.headers(phantoms.oct_instance(np.full((3, 16, 20), 40, np.uint8), seed="t", **changes))


def field() -> dict[str, Dataset]:
    return samples.headers(phantoms.field_instance(seed="v"))


def field_job(sources: Sources) -> Job:
    return replace(samples.job(sources), modality=Modality.OPV)


RGB = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [fundus, volume, field])
def test_a_picture_becomes_a_conformant_secondary_capture(make: Any) -> None:
    sources = make()
    image = first(sources)
    job = field_job(sources) if image.Modality == "OPV" else samples.job(sources)
    ds = written(sources, result(pictures=(Picture("map", "Map", image.SOPInstanceUID, RGB),)), job=job)["map"]
    assert_conformant(ds)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert np.array_equal(ds.pixel_array, RGB)
    assert (ds.StudyInstanceUID, ds.SOPInstanceUID) == (image.StudyInstanceUID, job.uid("map"))
    assert (ds.Modality, ds.BurnedInAnnotation, list(ds.ImageType)) == ("OT", "NO", ["DERIVED", "SECONDARY"])
    (source,) = ds.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert ds.Laterality == "R"
    assert ds.LossyImageCompression == image.get("LossyImageCompression", "00")


@pytest.mark.parametrize(("side", "told"), [("L", "L"), ("B", ""), (None, "")])
def test_a_picture_says_an_eye_only_where_it_is_one(side: str | None, told: str) -> None:
    sources = fundus(laterality=side)
    ds = written(sources, result(pictures=(Picture("map", "Map", first(sources).SOPInstanceUID, RGB),)))["map"]
    assert (ds.Laterality or "") == told
    assert_conformant(ds)


def test_the_report_refers_to_pictures_and_charts() -> None:
    sources = fundus()
    uid = first(sources).SOPInstanceUID
    found = result(pictures=(Picture("map", "Map", uid, RGB),), charts=(replace(CHART, source=uid),))
    made = written(sources, found)
    references = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in made["scores"].ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.RESULT_OBJECT.value
    }
    assert references == {made["map"].SOPInstanceUID, made["trend"].SOPInstanceUID}
    assert_conformant(made["scores"])


@pytest.mark.parametrize("source", ["1.2.3", ""])
def test_a_picture_of_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(EvidenceError, match="not a source"):
        written(fundus(), result(pictures=(Picture("map", "Map", source, RGB),)))


def test_two_objects_of_one_role_are_refused() -> None:
    sources = fundus()
    picture = Picture("map", "Map", first(sources).SOPInstanceUID, RGB)
    with pytest.raises(EvidenceError, match="role map"):
        written(sources, result(pictures=(picture, picture)))


# -- charts -----------------------------------------------------------------------------------------------------------


def test_a_chart_becomes_a_conformant_secondary_capture() -> None:
    sources = field()
    chart = replace(CHART, source=first(sources).SOPInstanceUID)
    ds = written(sources, result(charts=(chart,)), job=field_job(sources))["trend"]
    assert_conformant(ds)
    assert np.array_equal(ds.pixel_array, drawn(chart).rgb)
    assert (ds.Rows, ds.Columns) == (600, 960)


def test_a_chart_shows_what_it_holds() -> None:
    blank = drawn(replace(CHART, traces=())).rgb
    kinds = [drawn(replace(CHART, traces=(trace,))).rgb for trace in TRACES]
    assert all((picture != blank).any() for picture in kinds)
    assert len({picture.tobytes() for picture in kinds}) == len(kinds)
    assert (drawn(CHART).rgb == drawn(CHART).rgb).all()


def test_a_chart_as_svg_is_the_same_each_time_and_xml() -> None:
    text = svg(CHART)
    assert text == svg(CHART)
    assert text != svg(replace(CHART, traces=TRACES[:1]))
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    "words", ["</svg><script>alert(1)</script>", "--><script/>", "<![CDATA[", "a & b", "$\\alpha$ $", '" onload="x']
)
def test_words_cannot_become_markup(words: str) -> None:
    traces = (replace(TRACES[1], label=words),)
    evil = Chart("role", "label", "1", words, words, words, traces, (words,))
    root = ElementTree.fromstring(svg(evil))
    elements = list(root.iter())
    assert not [e for e in elements if str(e.tag).endswith(("script", "foreignObject"))]
    assert not [name for e in elements for name in e.attrib if name.lower().startswith("on")]


# -- thickness maps ---------------------------------------------------------------------------------------------------

MAP = np.array([[0.0, 0.1, np.nan], [271.34, 6553.3, 12.25]], np.float32)


def thickness(source: Dataset, values: np.ndarray[Any, Any] = MAP, **changes: Any) -> ThicknessMap:
    made = ThicknessMap(
        "thickness",
        "Thickness",
        source.SOPInstanceUID,
        values,
        (0.12, 0.0117),
        codes.RETINAL_THICKNESS_ILM_BM,
    )
    return replace(made, **changes)


def micrometres(ds: Dataset) -> np.ndarray[Any, Any]:
    """Values as a reader gets them: by the Real World Value Mapping, NaN for what it does not map."""
    (mapping,) = ds.RealWorldValueMappingSequence
    pixels = ds.pixel_array.astype(np.float64)
    mapped = pixels * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    first_, last = mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "um"
    return np.where((pixels >= first_) & (pixels <= last), mapped, np.nan)


@pytest.mark.parametrize("side", ["R", "L"])
def test_a_thickness_map_gives_its_micrometres_back(side: str) -> None:
    sources = volume(laterality=side)
    image = first(sources)
    ds = written(sources, result(thickness_maps=(thickness(image),)))["thickness"]
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.81.1"
    np.testing.assert_allclose(micrometres(ds), MAP, atol=0.05 + 1e-3)
    assert ds.pixel_array[0, 2] == 0, "what was not measured is 0"
    assert (ds.pixel_array != 0).sum() == 5
    assert ds.ImageLaterality == side
    assert list(ds.PatientOrientation) == ["L", "F"]
    assert [float(v) for v in ds.PixelSpacing] == [0.12, 0.0117]
    assert ds.OphthalmicThicknessMapTypeCodeSequence[0].CodeValue == codes.ABSOLUTE_THICKNESS.value
    assert ds.RetinalThicknessDefinitionCodeSequence[0].CodeValue == "111929"
    (source,) = ds.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert list(source.ReferencedFrameNumber) == [1, 2, 3]
    assert ds.AcquisitionDateTime == image.AcquisitionDateTime


def test_a_deviation_may_be_negative() -> None:
    sources = volume()
    values = np.array([[-3276.7, -0.1, 0.0], [0.1, 3276.7, np.nan]], np.float32)
    one = thickness(first(sources), values, deviation=True)
    ds = written(sources, result(thickness_maps=(one,)))["thickness"]
    np.testing.assert_allclose(micrometres(ds), values, atol=0.05 + 1e-3)
    assert ds.OphthalmicThicknessMapTypeCodeSequence[0].CodeValue == codes.THICKNESS_DIFFERENCE.value


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(0, 6000, width=32)), min_size=1, max_size=12))
def test_any_map_comes_back_within_a_twentieth_of_a_micrometre(values: list[float]) -> None:
    plane = np.array([values], np.float32)
    sources = HELD
    identity = Identity(samples.job(sources), samples.model(), result(), samples.NOW)
    ds = thickness_map(thickness(first(sources), plane), header(first(sources)), identity, 1)
    np.testing.assert_allclose(micrometres(ds), plane, atol=0.05 + 1e-3)


HELD = volume()


@pytest.mark.parametrize(
    ("values", "deviation"), [([[6553.6]], False), ([[-0.1]], False), ([[3277.0]], True), ([[-3277.0]], True)]
)
def test_what_does_not_fit_into_sixteen_bits_is_refused(values: list[list[float]], deviation: bool) -> None:
    one = thickness(first(HELD), np.array(values, np.float32), deviation=deviation)
    with pytest.raises(EvidenceError, match="beyond"):
        written(HELD, result(thickness_maps=(one,)))


@pytest.mark.parametrize("side", [None, "B"])
def test_a_map_without_an_eye_is_refused(side: str | None) -> None:
    sources = volume(laterality=side)
    with pytest.raises(EvidenceError, match="laterality"):
        written(sources, result(thickness_maps=(thickness(first(sources)),)))


def test_a_map_in_the_order_of_the_scan_says_no_orientation() -> None:
    one = thickness(first(HELD), anatomical=False)
    ds = written(HELD, result(thickness_maps=(one,)))["thickness"]
    assert "PatientOrientation" in ds and not ds.PatientOrientation


# -- findings inferred from other reports -----------------------------------------------------------------------------

HERE, ELSEWHERE = "2.25.701", "2.25.702"


def inferred(sources: Sources) -> tuple[Result, Origin, Origin]:
    one = Origin("oct: CST", "1.2.840.10008.5.1.4.1.1.88.34", HERE, "2.25.711", str(first(sources).StudyInstanceUID),
                 "2.25.721")  # fmt: skip
    other = replace(one, label="dr: Grade", uid=ELSEWHERE, series_uid="2.25.712", study_uid="2.25.3")
    return result(findings=(replace(PLAIN, origins=(one, other), method=codes.METHOD_MODEL_SURFACES),)), one, other


def test_a_finding_says_which_findings_of_other_reports_it_was_inferred_from() -> None:
    sources = fundus()
    found, one, other = inferred(sources)
    ds = written(sources, found)["scores"]
    assert_conformant(ds)
    document = hd.sr.Comprehensive3DSR.from_dataset(ds)
    (group,) = document.content.get_image_measurement_groups()
    references = [
        item
        for item in group[0].ContentSequence
        if item.name.value == codes.SOURCE_FINDING.value and item.ValueType == "COMPOSITE"
    ]
    told = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: {
            child.ConceptNameCodeSequence[0].CodeValue: child.get("UID") or child.get("TextValue")
            for child in item.ContentSequence
        }
        for item in references
    }
    assert told == {
        origin.uid: {"112040": origin.tracking_uid, codes.COMMENT.value: origin.label} for origin in (one, other)
    }
    methods = [item for item in group[0].ContentSequence if item.name.value == "370129005"]
    assert [m.ConceptCodeSequence[0].CodeValue for m in methods] == [codes.METHOD_MODEL_SURFACES.value]


def test_reports_of_another_study_are_pertinent_other_evidence() -> None:
    sources = fundus()
    ds = written(sources, inferred(sources)[0])["scores"]

    def uids(keyword: str) -> dict[str, set[str]]:
        return {
            study.StudyInstanceUID: {
                ref.ReferencedSOPInstanceUID
                for series in study.ReferencedSeriesSequence
                for ref in series.ReferencedSOPSequence
            }
            for study in ds.get(keyword) or ()
        }

    image = first(sources)
    assert uids("CurrentRequestedProcedureEvidenceSequence") == {image.StudyInstanceUID: {image.SOPInstanceUID, HERE}}
    assert uids("PertinentOtherEvidenceSequence") == {"2.25.3": {ELSEWHERE}}


def test_a_region_may_lie_on_a_prior_in_another_study() -> None:
    now, before = fundus(study_uid="2.25.31"), samples.headers(
        phantoms.fundus_instance(np.full((24, 32, 3), 90, np.uint8), seed="old", study_uid="2.25.30", taken=EARLIER)
    )  # fmt: skip
    sources = {**now, **before}
    job = replace(
        samples.job(now),
        sources=(*(Source(u, u, "0") for u in now), *(Source(u, u, "0", "id-old") for u in before)),
    )
    old = first(before)
    region = Region("POINT", old.SOPInstanceUID, np.array([[3.5, 4.5]]))
    found = result(
        findings=(replace(PLAIN, region=region, laterality=Laterality.R),),
        pictures=(Picture("map", "Map", first(now).SOPInstanceUID, RGB),),
    )
    made = written(sources, found, job=job)
    for ds in made.values():
        assert_conformant(ds)
        assert ds.StudyInstanceUID == "2.25.31"
        assert ds.StudyDate == first(now).StudyDate
    (other,) = made["report"].PertinentOtherEvidenceSequence
    assert other.StudyInstanceUID == "2.25.30"
    assert other.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID


def test_a_picture_in_the_name_of_a_prior_is_refused_not_stored_in_the_priors_study() -> None:
    now, before = fundus(study_uid="2.25.31"), samples.headers(
        phantoms.fundus_instance(np.full((24, 32, 3), 90, np.uint8), seed="old", study_uid="2.25.30")
    )  # fmt: skip
    with pytest.raises(EvidenceError, match="StudyInstanceUID"):
        written(
            {**now, **before},
            result(pictures=(Picture("map", "Map", first(before).SOPInstanceUID, RGB),)),
            job=samples.job(now),
        )


# -- without a model --------------------------------------------------------------------------------------------------


def test_a_report_on_visual_fields_names_them_all_as_what_was_measured() -> None:
    """They are no images: the library of images that other reports have cannot hold them."""
    now, old = field(), samples.headers(phantoms.field_instance(seed="w", when=EARLIER, study_uid="2.25.30"))
    job = replace(
        field_job(now), sources=(*(Source(u, u, "0") for u in now), *(Source(u, u, "0", "id-old") for u in old))
    )
    (ds,) = written({**now, **old}, result(), job=job).values()
    assert_conformant(ds)
    measured = [i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121112"]
    references = [item.ReferencedSOPSequence[0] for item in measured]
    assert [r.ReferencedSOPInstanceUID for r in references] == [*now, *old]
    assert {r.ReferencedSOPClassUID for r in references} == {phantoms.OPV}
    assert [s.StudyInstanceUID for s in ds.PertinentOtherEvidenceSequence] == ["2.25.30"]
    assert not [i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "111028"]


def test_rules_say_that_they_are_no_model() -> None:
    sources = field()
    stands = rules("visual-field", "1.0.0", Modality.OPV)
    job = replace(field_job(sources), pipeline="visual-field", model=stands.name, model_sha256=stands.sha256)
    made = written(sources, result(execution_provider="none"), job=job, model=stands)
    for ds in made.values():
        assert_conformant(ds)
        (equipment,) = [i for i in ds.ContributingEquipmentSequence if i.get("DeviceUID")]
        assert equipment.ContributionDescription == "Rules of the router, no model"
        assert equipment.ManufacturerModelName == "visual-field"
        assert "onnx" not in str(ds).lower()
    parameters = Identity(job, stands, result(), samples.NOW).parameters()
    assert parameters[0] == "pipeline=visual-field 1"
    assert not [p for p in parameters if p.startswith("onnx_sha256")]
    assert Identity(job, samples.model(), result(), samples.NOW).parameters()[0].startswith("onnx_sha256=")


# -- what is refused as it is made ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rgb", [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8),
            np.zeros((0, 2, 3), np.uint8)]
)  # fmt: skip
def test_what_is_no_picture(rgb: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="not an RGB picture"):
        Picture("r", "l", "1", rgb)


@pytest.mark.parametrize(
    ("values", "spacing"),
    [
        (np.zeros((2, 2), np.float64), (1.0, 1.0)),
        (np.zeros((2, 2, 1), np.float32), (1.0, 1.0)),
        (np.zeros((0, 2), np.float32), (1.0, 1.0)),
        (np.array([[np.inf]], np.float32), (1.0, 1.0)),
        (np.zeros((2, 2), np.float32), (0.0, 1.0)),
        (np.zeros((2, 2), np.float32), (1.0, -1.0)),
        (np.zeros((2, 2), np.float32), (1.0, float("nan"))),
    ],
)
def test_what_is_no_thickness_map(values: np.ndarray[Any, Any], spacing: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"^r "):
        ThicknessMap("r", "l", "1", values, spacing, codes.RETINAL_THICKNESS_ILM_BM)


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (np.eye(3), "PERSPECTIVE"),
        (np.eye(4), "RIGID"),
        (np.full((3, 3), np.nan), "RIGID"),
        (np.array([[1, 0, 0], [0, 1, 0], [0, 0.1, 1]]), "AFFINE"),
    ],
)
def test_what_is_no_registration(matrix: np.ndarray[Any, Any], kind: str) -> None:
    with pytest.raises(ValueError, match="not"):
        Registration("r", "l", "1", "2", matrix, kind)


@pytest.mark.parametrize(
    ("kind", "x", "y", "upper"),
    [
        ("bars", (1.0,), (1.0,), ()),
        ("line", (1.0, 2.0), (1.0,), ()),
        ("line", (), (), ()),
        ("points", (1.0,), (float("nan"),), ()),
        ("points", (float("inf"),), (1.0,), ()),
        ("band", (1.0,), (1.0,), ()),
        ("band", (1.0,), (1.0,), (float("inf"),)),
    ],
)
def test_what_is_no_trace(kind: str, x: tuple[float, ...], y: tuple[float, ...], upper: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"not|x,"):
        Trace("t", kind, x, y, upper)
