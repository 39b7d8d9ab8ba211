"""Circle scans, series over time and what must be refused, as DICOM objects."""

import datetime
import io

import numpy as np
import pydicom
import pytest

from airouter.domain import codes
from phantoms import dicom
from phantoms.oct import Noise
from phantoms.oct_case import LOCALIZER_MM, circle_case, volume_case
from phantoms.oct_disc import circle, disc_cube
from phantoms.oct_flat import flat
from tests.dciodvfy import errors

RGB = np.full((90, 110, 3), 128, np.uint8)
LATER = datetime.datetime(2027, 3, 4, 10, 11, 12, tzinfo=datetime.UTC)
CIRCLE = circle(300, 360, 5.0, laterality="L", noise=Noise(looks=8.0))


def contradictory(found: list[str]) -> bool:
    """Whether all that dciodvfy says is the contradiction of the OPT IOD."""
    return len(found) == 3 and all("Concatenation" in line and "OphthalmicTomographyImage" in line for line in found)


def test_a_circle_scan_conforms_and_says_where_each_column_lies() -> None:
    photograph, scan = circle_case(CIRCLE, (300.0, 420.0))
    assert errors(photograph) == []
    assert contradictory(errors(scan))
    assert scan.StudyInstanceUID == photograph.StudyInstanceUID
    assert scan.OphthalmicImageOrientation == "NONLINEAR"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, scan, enforce_file_format=True)
    read = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
    (place,) = read.PerFrameFunctionalGroupsSequence[0].OphthalmicFrameLocationSequence
    assert place.ReferencedSOPInstanceUID == photograph.SOPInstanceUID
    assert place.OphthalmicImageOrientation == "NONLINEAR"
    points = np.array(place.ReferenceCoordinates).reshape(-1, 2)  # row, column
    assert len(points) == scan.Columns == 360
    away = points - (300.0, 420.0)
    spacing = float(photograph.PixelSpacing[0])
    assert spacing == LOCALIZER_MM
    np.testing.assert_allclose(2 * np.hypot(*away.T) * spacing, 3.46, rtol=1e-5)
    angle = np.rad2deg(np.arctan2(-away[:, 0], away[:, 1])) % 360.0  # a left eye: temporal is on the right
    np.testing.assert_allclose(angle, CIRCLE.angle, atol=0.01)


def test_a_photograph_without_spacing_leaves_the_size_of_the_circle_open() -> None:
    photograph, _ = circle_case(CIRCLE, spacing_mm=None)
    assert "PixelSpacing" not in photograph


def test_a_seed_decides_the_case() -> None:
    one, other, fresh = (circle_case(CIRCLE, seed=s) for s in (1, 1, None))
    uids = [[ds.SOPInstanceUID for ds in case] for case in (one, other, fresh)]
    assert uids[0] == uids[1] != uids[2]
    assert len({*uids[0], one[0].StudyInstanceUID}) == 3


def test_lines_on_a_photograph_are_pairs_of_ends() -> None:
    photograph = dicom.fundus_instance(RGB, spacing_mm=0.05)
    cube = disc_cube(3, 256, 32, 5.0, noise=Noise())
    lines = [np.array([[40.0 + 5 * b, 10.0], [40.0 + 5 * b, 100.0]]) for b in range(3)]
    ds = volume_case(cube, localizer=photograph, paths=lines)
    assert contradictory(errors(ds))
    places = [g.OphthalmicFrameLocationSequence[0] for g in ds.PerFrameFunctionalGroupsSequence]
    assert [list(p.ReferenceCoordinates) for p in places] == [list(np.ravel(line)) for line in lines]
    assert {p.OphthalmicImageOrientation for p in places} == {"LINEAR"}
    assert ds.AnatomicRegionSequence[0].CodeValue == codes.OPTIC_DISC.value
    assert float(ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[1]) * 32 == pytest.approx(6)


def test_paths_need_a_localizer_and_one_for_each_bscan() -> None:
    frames = np.zeros((2, 20, 30), np.uint8)
    line = np.zeros((2, 2))
    with pytest.raises(ValueError, match="paths need a localizer"):
        dicom.oct_instance(frames, paths=[line, line])
    with pytest.raises(ValueError, match="paths need a localizer"):
        dicom.oct_instance(frames, localizer=dicom.fundus_instance(RGB), paths=[line])


def test_everything_says_when_it_was_taken() -> None:
    slab = flat(2, 128, 16)
    for ds in (
        dicom.fundus_instance(RGB, taken=LATER),
        volume_case(slab, taken=LATER),
        *circle_case(CIRCLE, taken=LATER, patient_id="SAME"),
        dicom.derived_instance(RGB[None, ..., 0], dicom.EN_FACE, taken=LATER),
    ):
        assert (ds.StudyDate, ds.StudyTime) == ("20270304", "101112")
        assert (ds.ContentDate, ds.AcquisitionDateTime) == ("20270304", "20270304101112")
    frame = volume_case(slab, taken=LATER).PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0]
    assert frame.FrameAcquisitionDateTime == "20270304101112"


def test_a_montage_conforms() -> None:
    ds = dicom.fundus_instance(RGB, image_type=dicom.MONTAGE)
    assert ds.ImageType[2] == "MONTAGE"
    assert errors(ds) == []


@pytest.mark.parametrize("sop_class", [dicom.WIDE_FIELD_STEREOGRAPHIC, dicom.WIDE_FIELD_3D])
def test_wide_field_photographs_are_of_their_class(sop_class: str) -> None:
    ds = dicom.fundus_instance(RGB, sop_class=sop_class)
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == sop_class


@pytest.mark.parametrize(
    ("sop_class", "modality"), [(dicom.EN_FACE, "OPTENF"), (dicom.BSCAN_VOLUME_ANALYSIS, "OPTBSV")]
)
def test_what_is_derived_from_a_volume_is_of_its_class(sop_class: str, modality: str) -> None:
    ds = dicom.derived_instance(RGB[None, ..., 0], sop_class)
    assert (ds.SOPClassUID, ds.Modality, ds.NumberOfFrames) == (sop_class, modality, 1)
