import cv2
import numpy as np
import pydicom
import pytest

from airouter.domain.finding import Ungradable
from airouter.domain.study import Laterality, Modality
from airouter.errors import PixelDataError
from airouter.imaging.reader import open_images
from phantoms import dicom, oct
from tests.data import files
from tests.images import Served, opened, read

RGB = cv2.resize(np.random.default_rng(0).integers(40, 250, (9, 11, 3), np.uint8), (120, 100))
VOLUME = oct.volume(5, 320, 64, slice_um=100.0)


def reason(ds, modality=None) -> str:
    found = opened(ds, modality)
    assert isinstance(found, Ungradable), found
    assert found.reason.startswith("not analysed because")
    return found.reason


# --- fundus ---


@pytest.mark.parametrize("transfer", ["raw", "jpeg", "jpeg2000", "jpegls"])
def test_a_photograph_is_read(transfer):
    fundus = opened(dicom.fundus_instance(RGB, transfer=transfer))
    assert np.abs(fundus.rgb.astype(int) - RGB).mean() <= (4 if transfer == "jpeg" else 0)
    assert fundus.laterality is Laterality.R


@pytest.mark.parametrize(("said", "found"), [("R", "R"), ("L", "L"), ("B", "B"), ("U", None), (None, None)])
def test_the_eye_is_what_the_header_says(said, found):
    assert opened(dicom.fundus_instance(RGB, laterality=said)).laterality == found


def test_two_different_eyes_in_one_header_are_no_eye():
    ds = dicom.fundus_instance(RGB, laterality="R")
    ds.Laterality = "L"
    assert opened(ds).laterality is None
    ds.Laterality = "R"
    assert opened(ds).laterality is Laterality.R


def test_several_frames_or_grey_are_not_analysed():
    ds = dicom.fundus_instance(RGB, transfer="raw")
    ds.NumberOfFrames = 2
    assert "2 frames" in reason(ds)
    grey = dicom.fundus_instance(RGB[..., :1], transfer="raw")
    assert "monochrome" in reason(grey)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "MONTAGE", "COLOR"]}, "a montage of several"),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "COLOR", "MOSAIC"]}, "a montage of several"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "REDFREE"]}, "Image Type says REDFREE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "FA"]}, "Image Type says FA"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "ICG"]}, "Image Type says ICG"),
        ({"HorizontalFieldOfView": 133.0}, "wide-field: 133 degrees"),
        ({"AcquisitionDeviceTypeCodeSequence": [("397247004", "SCT", "Slit Lamp Biomicroscope")]}, "Slit Lamp"),
        ({"AcquisitionDeviceTypeCodeSequence": [("R-1021B", "SRT", "External Camera")]}, "External Camera"),
    ],
)
def test_what_is_no_colour_photograph_of_the_posterior_pole_is_not_analysed(changes, why):
    ds = dicom.fundus_instance(RGB, transfer="raw")
    for keyword, given in changes.items():
        items = isinstance(given[0], tuple) if isinstance(given, list) else False
        setattr(ds, keyword, [coded(*each) for each in given] if items else given)
    assert why in reason(ds)


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "", ""]},
        {"ImageType": "ORIGINAL"},
        {"HorizontalFieldOfView": None},
        {"HorizontalFieldOfView": 60.0},
        {"AcquisitionDeviceTypeCodeSequence": []},
        {"AcquisitionDeviceTypeCodeSequence": [("392001008", "SCT", "Scanning Laser Ophthalmoscope")]},
    ],
)
def test_what_the_header_leaves_open_is_no_reason_to_refuse(changes):
    ds = dicom.fundus_instance(RGB, transfer="raw")
    for keyword, given in changes.items():
        items = isinstance(given, list) and given and isinstance(given[0], tuple)
        setattr(ds, keyword, [coded(*each) for each in given] if items else given)
    assert not isinstance(opened(ds), Ungradable)


def coded(value, scheme, meaning):
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_a_truncated_photograph_is_an_error():
    ds = dicom.fundus_instance(RGB)
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    with pytest.raises(PixelDataError):
        opened(ds)
    ds = dicom.fundus_instance(RGB, transfer="raw")
    ds.PixelData = ds.PixelData[:-100]
    with pytest.raises(PixelDataError, match="truncated"):
        opened(ds)


def test_two_photographs_are_two_jobs():
    photographs = [dicom.fundus_instance(RGB), dicom.fundus_instance(RGB)]
    assert "2 instances" in reason(photographs)


def test_real_photographs_keep_their_picture():
    for path in files("fundus/*.jpg"):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        fundus = opened(dicom.fundus_instance(rgb, transfer="raw"))
        assert (fundus.rgb == rgb).all()
        compressed = opened(dicom.fundus_instance(rgb))
        assert np.abs(compressed.rgb.astype(int) - rgb).mean() < 4


# --- OCT ---


@pytest.mark.parametrize("transfer", ["raw", "jpeg2000", "jpegls"])
def test_a_volume_is_read_frame_by_frame(transfer):
    ds = dicom.oct_instance(VOLUME.frames, slice_um=100.0, transfer=transfer, laterality="L")
    served = Served([ds])
    volume = open_images(Modality.OPT, served.headers(), served.frames)
    assert served.asked == []
    assert (volume.frames, volume.rows, volume.columns) == (5, 320, 64)
    assert (volume.axial_um, volume.lateral_um) == pytest.approx((3.5, 11.7))
    assert volume.slice_um == pytest.approx(100.0)
    assert volume.scan_pattern == "RASTER"
    assert volume.laterality is Laterality.L
    assert [p[2] for p in volume.positions] == pytest.approx([0.2, 0.1, 0.0, -0.1, -0.2])
    assert (volume.frame(4) == VOLUME.frames[3]).all()
    assert served.asked == [("instance-0", [4])]
    for number in (0, 6):
        with pytest.raises(PixelDataError, match="no frame"):
            volume.frame(number)


def test_sixteen_bits_become_eight():
    volume = opened(dicom.oct_instance(VOLUME.frames.astype(np.uint16) * 57 + 11))
    found, stored = volume.frame(2), VOLUME.frames[1]
    assert found.dtype == np.uint8
    order = np.corrcoef(found.ravel(), stored.ravel())[0, 1]
    assert order > 0.99


def test_without_spacing_or_with_a_default_nothing_is_measured():
    assert reason(dicom.oct_instance(VOLUME.frames, omit_spacing=True)) == (
        "not analysed because Pixel Spacing is missing"
    )
    assert "implausible" in reason(dicom.oct_instance(VOLUME.frames, axial_um=1000.0, lateral_um=1000.0))


def test_the_distance_of_b_scans_is_never_guessed():
    unknown = dicom.oct_instance(VOLUME.frames, slice_um=None)
    assert opened(unknown).slice_um is None
    assert opened(unknown).positions == ()
    measures = unknown.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = "0.25"
    assert opened(unknown).slice_um == pytest.approx(250.0)
    uneven = dicom.oct_instance(VOLUME.frames, slice_um=100.0)
    place = uneven.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    place.ImagePositionPatient = ["-0.3744", "0", "0.04"]
    assert opened(uneven).slice_um is None


def test_radial_scans_and_single_scans_are_told_apart():
    ds = dicom.oct_instance(VOLUME.frames)
    shared = ds.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence
    del shared.PlaneOrientationSequence
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        item = pydicom.Dataset()
        angle = np.pi * n / 5
        item.ImageOrientationPatient = [f"{v:.6f}" for v in (np.cos(angle), 0, np.sin(angle), 0, 1, 0)]
        group.PlaneOrientationSequence = [item]
    assert opened(ds).scan_pattern == "RADIAL"
    assert opened(ds).slice_um is None
    for group in ds.PerFrameFunctionalGroupsSequence:
        group.PlaneOrientationSequence = orientation
    assert opened(ds).scan_pattern == "RASTER"
    assert opened(dicom.oct_instance(VOLUME.frames[:1])).scan_pattern == "SINGLE"


def test_en_face_frames_are_not_b_scans():
    ds = dicom.oct_instance(VOLUME.frames)
    ds.OphthalmicImageOrientation = "TRANSVERSE"
    assert "transverse" in reason(ds)


def test_a_real_b_scan_is_read():
    volume = opened(read("oct/fda_minimized.dcm"))
    assert (volume.frames, volume.rows, volume.columns) == (1, 650, 512)
    assert (volume.axial_um, volume.lateral_um) == pytest.approx((3.5, 11.71875))
    assert volume.slice_um is None
    assert volume.laterality is Laterality.L
    frame = volume.frame(1)
    assert frame.dtype == np.uint8
    assert frame.max() == 255
    assert frame.mean() > 10


def test_a_real_oct_object_that_calls_itself_a_photograph_is_not_read_as_one():
    ds = read("sm/not_a_slide/opt_sop_class_modality_op.dcm")
    assert "is not a OP image" in reason(ds, Modality.OP)
    assert "Modality OP contradicts SOP Class Ophthalmic Tomography Image Storage" in reason(ds, Modality.OPT)


# --- visual field ---


def test_a_visual_field_says_eye_and_pattern():
    field = opened(dicom.field_instance(laterality="L"))
    assert field.laterality is Laterality.L
    assert field.pattern is not None
    assert field.pattern.value == "111800"
    assert len(field.points) == 4


def test_an_eye_that_only_the_frames_contradict_is_no_eye():
    ds = dicom.oct_instance(VOLUME.frames, laterality="R")
    for group in ds.PerFrameFunctionalGroupsSequence:
        group.FrameAnatomySequence = [pydicom.Dataset()]
        group.FrameAnatomySequence[0].FrameLaterality = "R"
    assert opened(ds).laterality is Laterality.R
    ds.PerFrameFunctionalGroupsSequence[-1].FrameAnatomySequence[0].FrameLaterality = "L"
    assert opened(ds).laterality is None


def test_b_scans_that_follow_the_retina_in_depth_are_no_further_apart():
    ds = dicom.oct_instance(VOLUME.frames, slice_um=120.0)
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        place = group.PlanePositionSequence[0]
        x, y, z = map(float, place.ImagePositionPatient)
        place.ImagePositionPatient = [x, y + (0.08 if n % 2 else 0.0), z]  # along the columns of the frame
    assert opened(ds).slice_um == pytest.approx(120.0)
