"""Wraps arrays as the DICOM objects that scanners and cameras make: sources for tests, the demonstration and training.

The objects conform to their IODs (PS3.3), checked with dciodvfy, but for two things: OPT, whose IOD asks for the
concatenation attributes in one module and forbids them in another, and the parts of a concatenation, where dciodvfy
counts the frames of the whole.
With a `seed` every UID is derived from it and equal arguments give equal objects; without one UIDs are fresh.
"""

import copy
import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    generate_uid,
)
from pydicom.valuerep import DSfloat

from airouter.domain.code import Code
from airouter.imaging import stain as stains

Transfer = Literal["jpeg", "raw", "jpeg2000", "jpeg2000-lossy", "htj2k", "jpegls"]
Stain = Literal["H&E", "H-DAB"]
Image = NDArray[np.uint8]

WSI: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
OP8: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
OPT: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
OPV: Final = "1.2.840.10008.5.1.4.1.1.80.1"

_NOW: Final = datetime.datetime(2026, 1, 5, 9, 30, 0, tzinfo=datetime.UTC)


class Uids:
    """UIDs in the order asked: derived from a seed, or fresh."""

    def __init__(self, seed: object = None) -> None:
        self._seed = seed
        self._count = itertools.count()

    def __call__(self) -> str:
        n = next(self._count)
        if self._seed is None:
            return str(generate_uid(prefix="2.25."))
        return str(generate_uid(prefix="2.25.", entropy_srcs=["orthanc-ai-router phantom", str(self._seed), str(n)]))


@dataclass(frozen=True)
class _Encoding:
    syntax: str
    encode: Callable[[Image], bytes]
    colour: str  # Photometric Interpretation of an RGB image
    lossy: str | None = None  # Lossy Image Compression Method


def _jpeg(image: Image) -> bytes:
    space = "RGB" if image.shape[2] == 3 else "GRAY"
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), 90, space, "422" if space == "RGB" else "444")
    return bytes(data)


def _codec(encode: Callable[..., bytes], **options: object) -> Callable[[Image], bytes]:
    return lambda image: bytes(encode(np.ascontiguousarray(image.squeeze()), **options))


_ENCODINGS: Final[dict[str, _Encoding]] = {
    "raw": _Encoding(ExplicitVRLittleEndian, lambda image: image.tobytes(), "RGB"),
    "jpeg": _Encoding(JPEGBaseline8Bit, _jpeg, "YBR_FULL_422", "ISO_10918_1"),
    "jpeg2000": _Encoding(
        JPEG2000Lossless, _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=0, mct=True), "YBR_RCT"
    ),
    "jpeg2000-lossy": _Encoding(
        JPEG2000,
        _codec(imagecodecs.jpeg2k_encode, codecformat="j2k", level=45, mct=True, reversible=False),
        "YBR_ICT",
        "ISO_15444_1",
    ),
    "htj2k": _Encoding(HTJ2KLossless, _codec(imagecodecs.htj2k_encode), "YBR_RCT"),
    "jpegls": _Encoding(JPEGLSLossless, _codec(imagecodecs.jpegls_encode), "RGB"),
}


def slide_instances(
    rgb: Image,
    spacing_um: float,
    *,
    levels: int = 3,
    tile: int = 256,
    transfer: Transfer = "jpeg",
    stain: Stain | None = "H&E",
    patient_id: str = "PHANTOM-SM",
    patient_name: str = "Phantom^Slide",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    with_label: bool = False,
    with_thumbnail: bool = False,
    concatenation_parts: int = 1,
    sparse: bool = False,
    omit_spacing: bool = False,
    offset_table: Literal["basic", "extended", "none"] = "basic",
    seed: object = None,
) -> list[Dataset]:
    """A whole slide image: VL Whole Slide Microscopy instances of one series, finest level first.

    Args:
        rgb: rows x columns x 3, the base level.
        spacing_um: pixel size of the base level; every further level has twice the spacing of the one before.
        levels: how many levels; fewer where a level would be smaller than one pixel.
        tile: rows and columns of a tile. Edge tiles are filled up with white.
        stain: how the specimen is said to be stained; None says nothing.
        with_label: adds a LABEL instance, with_thumbnail a THUMBNAIL.
        concatenation_parts: how many instances the base level is split into.
        sparse: TILED_SPARSE (each tile's place stands in the per-frame groups, white tiles are left out).
        omit_spacing: leaves Pixel Spacing and Imaged Volume out of every level, as some converters do.
    """
    uids = Uids(seed)
    study, series = study_uid or uids(), series_uid or uids()
    frame_of_reference, pyramid, specimen, dimension = uids(), uids(), uids(), uids()
    made: list[Dataset] = []

    def instance(image: Image, um: float, flavour: str, derivation: str) -> Dataset:
        ds = _file(WSI, uids(), _ENCODINGS[transfer].syntax)
        _patient_and_study(ds, patient_id, patient_name, study, accession)
        _series(ds, series, "SM", 1, len(made) + 1, description)
        ds.FrameOfReferenceUID = frame_of_reference
        ds.PositionReferenceIndicator = "SLIDE_CORNER"
        ds.PyramidUID = pyramid
        ds.ImageType = ["ORIGINAL" if derivation == "NONE" else "DERIVED", "PRIMARY", flavour, derivation]
        _acquired(ds)
        ds.VolumetricProperties = "VOLUME"
        _specimen(ds, stain, specimen)
        _optical_path(ds)
        ds.FocusMethod = "AUTO"
        ds.ExtendedDepthOfField = "NO"
        ds.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
        ds.TotalPixelMatrixOriginSequence = [
            _item(XOffsetInSlideCoordinateSystem="20.0", YOffsetInSlideCoordinateSystem="40.0")
        ]
        ds.SpecimenLabelInImage = "YES" if flavour == "LABEL" else "NO"
        if flavour == "LABEL":
            ds.BarcodeValue = ds.LabelText = "PHANTOM-1"
        ds.BurnedInAnnotation = "NO"
        rows, columns = image.shape[:2]
        ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = rows, columns
        ds.TotalPixelMatrixFocalPlanes = 1
        ds.NumberOfOpticalPaths = 1
        shared = _item(
            WholeSlideMicroscopyImageFrameTypeSequence=[_item(FrameType=list(ds.ImageType))],
            PixelMeasuresSequence=[_item(SliceThickness=_ds(0.001), PixelSpacing=[_ds(um / 1000.0)] * 2)],
        )
        ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = columns * um / 1000.0, rows * um / 1000.0
        ds.ImagedVolumeDepth = 1.0
        if omit_spacing:
            del shared.PixelMeasuresSequence, ds.ImagedVolumeWidth, ds.ImagedVolumeHeight
        ds.SharedFunctionalGroupsSequence = [shared]
        ds.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
        ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=dimension)]
        side = max(rows, columns) if flavour != "VOLUME" else tile
        size = (rows, columns) if flavour != "VOLUME" else (side, side)
        tiles = list(_tiles(image, size))
        if sparse:
            tiles = [t for t in tiles if t[2].min() < 255] or tiles[:1]
            _sparse(ds, tiles, size, um, dimension)
        _pixels(ds, [t[2] for t in tiles], transfer, offset_table)
        return ds

    image, um = rgb, spacing_um
    for level in range(levels):
        whole = instance(image, um, "VOLUME", "NONE" if level == 0 else "RESAMPLED")
        parts = concatenation_parts if level == 0 else 1
        made.extend(_concatenation(whole, parts, transfer, offset_table, uids) if parts > 1 else [whole])
        if min(image.shape[:2]) < 2:
            break
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
        um *= 2.0
    if with_thumbnail:
        size = max(1, rgb.shape[1] // 16), max(1, rgb.shape[0] // 16)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        made.append(instance(small, spacing_um * rgb.shape[1] / size[0], "THUMBNAIL", "RESAMPLED"))
    if with_label:
        text = np.full((120, 160, 3), 235, np.uint8)
        cv2.putText(text, "PHANTOM", (12, 64), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (20, 20, 20), 2)
        made.append(instance(text, 100.0, "LABEL", "NONE"))
    return made


def fundus_instance(
    rgb: Image,
    *,
    laterality: str | None = "R",
    spacing_mm: float | None = None,
    transfer: Transfer = "jpeg",
    patient_id: str = "PHANTOM-OP",
    patient_name: str = "Phantom^Fundus",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    number: int = 1,
    seed: object = None,
) -> Dataset:
    """A colour photograph of the fundus: Ophthalmic Photography 8 Bit Image.

    Args:
        rgb: rows x columns x 3.
        laterality: R, L or B; None leaves Image Laterality out (which does not conform, and happens).
        spacing_mm: pixel size on the retina.
    """
    uids = Uids(seed)
    ds = _file(OP8, uids(), _ENCODINGS[transfer].syntax)
    _patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession)
    _series(ds, series_uid or uids(), "OP", 1, number, description)
    ds.SynchronizationFrameOfReferenceUID = uids()
    ds.SynchronizationTrigger = "NO TRIGGER"
    ds.AcquisitionTimeSynchronized = "N"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "COLOR"]
    _acquired(ds)
    ds.PatientOrientation = ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    ds.FrameIncrementPointer = 0x00181065
    ds.FrameTimeVector = ["0"]
    if spacing_mm is not None:
        ds.PixelSpacing = [_ds(spacing_mm)] * 2
    _eye(ds, laterality)
    _ocular_region(ds)
    ds.AcquisitionDeviceTypeCodeSequence = [_code("409898007", "SCT", "Fundus Camera")]  # CID 4202
    for keyword in (
        "LightPathFilterTypeStackCodeSequence",
        "ImagePathFilterTypeStackCodeSequence",
        "LensesCodeSequence",
        "IlluminationTypeCodeSequence",
    ):
        setattr(ds, keyword, [])
    ds.DetectorType = "CCD"
    ds.PatientEyeMovementCommanded = "NO"
    _pixels(ds, [rgb], transfer)
    return ds


def oct_instance(
    frames: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    axial_um: float = 3.5,
    lateral_um: float = 11.7,
    slice_um: float | None = 120.0,
    laterality: str | None = "R",
    transfer: Literal["raw", "jpeg2000", "jpegls"] = "raw",
    omit_spacing: bool = False,
    localizer: Dataset | None = None,
    patient_id: str = "PHANTOM-OPT",
    patient_name: str = "Phantom^Macula",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    number: int = 1,
    seed: object = None,
) -> Dataset:
    """An OCT volume: Ophthalmic Tomography Image, one frame per B-scan, superior first.

    Args:
        frames: B x rows x columns, 8 or 16 bits; columns run from the patient's right to left, rows into the eye.
        slice_um: distance of neighbouring B-scans; None leaves the plane positions out.
        localizer: a fundus photograph in the same study; every B-scan then says where it lies on it.
    """
    uids = Uids(seed)
    count, rows, columns = frames.shape
    ds = _file(OPT, uids(), _ENCODINGS[transfer].syntax)
    _patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession)
    _series(ds, series_uid or uids(), "OPT", 2, number, description)
    ds.FrameOfReferenceUID = uids()
    ds.PositionReferenceIndicator = ""
    ds.SynchronizationFrameOfReferenceUID = uids()
    ds.SynchronizationTrigger = "NO TRIGGER"
    ds.AcquisitionTimeSynchronized = "N"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    _acquired(ds)
    ds.AcquisitionDuration = 2.0
    ds.AcquisitionNumber = 1
    ds.BurnedInAnnotation = "NO"
    _eye(ds, laterality)
    _ocular_region(ds)
    ds.AcquisitionDeviceTypeCodeSequence = [
        _code("392012008", "SCT", "Optical Coherence Tomography Scanner")
    ]  # CID 4210
    ds.LightPathFilterTypeStackCodeSequence = []
    ds.AxialLengthOfTheEye = 23.5
    ds.HorizontalFieldOfView = 20.0
    ds.RefractiveStateSequence = []
    ds.DepthSpatialResolution = 5.0
    ds.MaximumDepthDistortion = 0.5
    ds.AlongScanSpatialResolution = 14.0
    ds.MaximumAlongScanDistortion = 0.5
    ds.AcrossScanSpatialResolution = 14.0
    ds.MaximumAcrossScanDistortion = 0.5
    ds.IlluminationWaveLength = 840.0
    ds.IlluminationPower = 750.0
    ds.IlluminationBandwidth = 50.0
    ds.DetectorType = "CCD"
    ds.OphthalmicImageOrientation = "LINEAR"
    shared = _item(
        PixelMeasuresSequence=[
            _item(
                SliceThickness=_ds((slice_um or 10.0) / 1000),
                PixelSpacing=[_ds(axial_um / 1000), _ds(lateral_um / 1000)],
            )
        ],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
        FrameAnatomySequence=[
            _item(FrameLaterality=laterality or "U", AnatomicRegionSequence=[_code("5665001", "SCT", "Retina")])
        ],
    )
    if omit_spacing:
        del shared.PixelMeasuresSequence
    ds.SharedFunctionalGroupsSequence = [shared]
    dimension = uids()
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=dimension)]
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=0x00209057,  # In-Stack Position Number
            FunctionalGroupPointer=0x00209111,  # Frame Content Sequence
            DimensionDescriptionLabel="B-scan",
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        _bscan(n, count, (rows, columns), lateral_um, slice_um, localizer) for n in range(count)
    ]
    _pixels(ds, [frame[..., np.newaxis] for frame in frames], transfer)
    return ds


def field_instance(
    points: Sequence[tuple[float, float, float]] = (
        (-3.0, 3.0, 28.0),
        (3.0, 3.0, 30.0),
        (3.0, -3.0, 29.0),
        (-3.0, -3.0, 27.0),
    ),
    *,
    laterality: str = "R",
    patient_id: str = "PHANTOM-OPV",
    patient_name: str = "Phantom^Field",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    number: int = 1,
    seed: object = None,
) -> Dataset:
    """A static perimetry test: Ophthalmic Visual Field Static Perimetry Measurements, 24-2 by default.

    Args:
        points: (horizontal angle in degrees, vertical angle in degrees, sensitivity in dB) of each stimulus.
    """
    uids = Uids(seed)
    ds = _file(OPV, uids(), ExplicitVRLittleEndian)
    _patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession)
    _series(ds, series_uid or uids(), "OPV", 3, number, description)
    ds.MeasurementLaterality = laterality
    ds.PerformedProtocolCodeSequence = [_code("111801", "DCM", "Visual Field 24-2 Test Pattern")]  # CID 4250
    _acquired(ds)
    ds.VisualFieldHorizontalExtent = 48.0
    ds.VisualFieldVerticalExtent = 48.0
    ds.VisualFieldShape = "CIRCLE"
    ds.MaximumStimulusLuminance = 3183.1
    ds.BackgroundLuminance = 10.0
    ds.StimulusColorCodeSequence = [_code("371251000", "SCT", "White")]  # CID 4255
    ds.BackgroundIlluminationColorCodeSequence = [_code("371251000", "SCT", "White")]
    ds.StimulusArea = 0.1503
    ds.StimulusPresentationTime = 200.0
    eye = _item(
        RefractiveParametersUsedOnPatientSequence=[], PupilSize=3.5, PupilDilated="NO", IntraOcularPressure=15.0
    )
    side = "Left" if laterality == "L" else "Right"
    setattr(ds, f"OphthalmicPatientClinicalInformation{side}EyeSequence", [eye])
    ds.FixationSequence = [
        _item(
            FixationMonitoringCodeSequence=[_code("111844", "DCM", "Blind Spot Monitoring")],  # CID 4253
            FixationCheckedQuantity=12,
            PatientNotProperlyFixatedQuantity=1,
            ExcessiveFixationLossesDataFlag="NO",
        )
    ]
    ds.VisualFieldCatchTrialSequence = [
        _item(
            CatchTrialsDataFlag="YES",
            NegativeCatchTrialsQuantity=8,
            FalseNegativesQuantity=0,
            FalseNegativesEstimateFlag="YES",
            FalseNegativesEstimate=0.0,
            ExcessiveFalseNegativesDataFlag="NO",
            PositiveCatchTrialsQuantity=8,
            FalsePositivesQuantity=0,
            FalsePositivesEstimateFlag="YES",
            FalsePositivesEstimate=1.0,
            ExcessiveFalsePositivesDataFlag="NO",
        )
    ]
    ds.PresentedVisualStimuliDataFlag = "NO"
    ds.VisualFieldTestDuration = 300.0
    ds.MinimumSensitivityValue = 0.0
    for keyword in (
        "FovealSensitivityMeasured",
        "FovealPointNormativeDataFlag",
        "ScreeningBaselineMeasured",
        "BlindSpotLocalized",
        "TestPointNormalsDataFlag",
        "VisualFieldTestNormalsFlag",
        "ShortTermFluctuationCalculated",
        "ShortTermFluctuationProbabilityCalculated",
        "CorrectedLocalizedDeviationFromNormalCalculated",
        "CorrectedLocalizedDeviationFromNormalProbabilityCalculated",
    ):
        setattr(ds, keyword, "NO")
    ds.VisualFieldTestPointSequence = [
        _item(
            VisualFieldTestPointXCoordinate=x,
            VisualFieldTestPointYCoordinate=y,
            StimulusResults="SEEN" if db >= 0 else "NOT SEEN",
            SensitivityValue=db,
            RetestStimulusSeen="NO",
        )
        for x, y, db in points
    ]
    return ds


# --- parts of data sets ---


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _coded(code: Code) -> Dataset:
    return _code(code.value, code.scheme, code.meaning)


def _ds(value: float) -> DSfloat:
    return DSfloat(value, auto_format=True)


def _file(sop_class: str, uid: str, syntax: str) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = "2.25.300287420331471264817320912383271232"
    meta.ImplementationVersionName = "PHANTOM"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid
    return ds


def _patient_and_study(ds: Dataset, patient_id: str, name: str, study: str, accession: str) -> None:
    ds.PatientID, ds.PatientName = patient_id, name
    ds.PatientBirthDate, ds.PatientSex = "19600101", "O"
    ds.StudyInstanceUID = study
    ds.StudyDate, ds.StudyTime = _NOW.strftime("%Y%m%d"), _NOW.strftime("%H%M%S")
    ds.StudyID = "1"
    ds.AccessionNumber = accession
    ds.ReferringPhysicianName = ""


def _series(ds: Dataset, series: str, modality: str, series_number: int, number: int, description: str) -> None:
    ds.SeriesInstanceUID = series
    ds.Modality = modality
    ds.SeriesNumber, ds.InstanceNumber = series_number, number
    if description:
        ds.SeriesDescription = description
    ds.Manufacturer = "Phantom Works"
    ds.ManufacturerModelName = "Phantom"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"


def _acquired(ds: Dataset) -> None:
    ds.ContentDate, ds.ContentTime = _NOW.strftime("%Y%m%d"), _NOW.strftime("%H%M%S")
    ds.AcquisitionDateTime = _NOW.strftime("%Y%m%d%H%M%S")
    ds.AcquisitionContextSequence = []


def _specimen(ds: Dataset, stain: Stain | None, uid: str) -> None:
    ds.ContainerIdentifier = "PHANTOM-1"
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]  # CID 8101
    ds.SpecimenDescriptionSequence = [
        _item(
            SpecimenIdentifier="PHANTOM-1-A",
            SpecimenUID=uid,
            IssuerOfTheSpecimenIdentifierSequence=[],
            SpecimenTypeCodeSequence=[_code("430856003", "SCT", "Tissue section")],  # CID 8103
            SpecimenPreparationSequence=[] if stain is None else [staining_step(stain)],
        )
    ]


def staining_step(stain: Stain) -> Dataset:
    """One item of Specimen Preparation Sequence: staining, after TID 8001 and TID 8003."""
    items = [
        _content("TEXT", _code("121041", "DCM", "Specimen Identifier"), TextValue="PHANTOM-1-A"),
        _content("CODE", _coded(stains.PROCESSING_TYPE), ConceptCodeSequence=[_coded(stains.STAINING)]),
    ]
    substance = _coded(stains.USING_SUBSTANCE)
    if stain == "H-DAB":
        method = _coded(stains.IMMUNOHISTOCHEMISTRY)
        items.append(_content("CODE", _coded(stains.PROCESSING_STEP_DESCRIPTION), ConceptCodeSequence=[method]))
        items.append(_content("TEXT", substance, TextValue=stains.DAB_TEXT))
    items.append(_content("CODE", substance, ConceptCodeSequence=[_coded(stains.HEMATOXYLIN)]))
    if stain == "H&E":
        items.append(_content("CODE", substance, ConceptCodeSequence=[_coded(stains.WATER_SOLUBLE_EOSIN)]))
    return _item(SpecimenPreparationStepContentItemSequence=items)


def _content(value_type: str, name: Dataset, **value: object) -> Dataset:
    return _item(ValueType=value_type, ConceptNameCodeSequence=[name], **value)


def _optical_path(ds: Dataset) -> None:
    ds.OpticalPathSequence = [
        _item(
            OpticalPathIdentifier="1",
            IlluminationTypeCodeSequence=[_code("111744", "DCM", "Brightfield illumination")],  # CID 8123
            IlluminationColorCodeSequence=[_code("414298005", "SCT", "Full Spectrum")],  # CID 8122
            ICCProfile=_icc(),
            ColorSpace="SRGB",
        )
    ]


def _icc() -> bytes:
    """An sRGB profile (made by Little CMS, with its date set, so that equal arguments give equal objects)."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07ea00010001000000000000")  # 2026-01-01
    return bytes(profile)


def _eye(ds: Dataset, laterality: str | None) -> None:
    if laterality is not None:
        ds.ImageLaterality = laterality
    ds.PupilDilated = "NO"
    ds.IntraOcularPressure = 15.0
    ds.EmmetropicMagnification = 2.5
    ds.HorizontalFieldOfView = 45.0
    ds.RefractiveStateSequence = []


def _ocular_region(ds: Dataset) -> None:
    ds.AnatomicRegionSequence = [_code("5665001", "SCT", "Retina")]  # CID 4209


def _bscan(
    n: int, count: int, size: tuple[int, int], lateral_um: float, slice_um: float | None, localizer: Dataset | None
) -> Dataset:
    item = _item(
        FrameContentSequence=[
            _item(
                StackID="1",
                InStackPositionNumber=n + 1,
                DimensionIndexValues=[n + 1],
                FrameAcquisitionDateTime=_NOW.strftime("%Y%m%d%H%M%S"),
                FrameReferenceDateTime=_NOW.strftime("%Y%m%d%H%M%S"),
                FrameAcquisitionDuration=20.0,
                FrameAcquisitionNumber=n + 1,
            )
        ]
    )
    if slice_um is not None:
        x = -size[1] * lateral_um / 2000.0
        z = ((count - 1) / 2 - n) * slice_um / 1000.0
        item.PlanePositionSequence = [_item(ImagePositionPatient=[_ds(x), "0", _ds(z)])]
    if localizer is not None:
        row = (n + 0.5) / count * localizer.Rows / 2 + localizer.Rows / 4
        ends = [row, localizer.Columns / 4, row, localizer.Columns * 3 / 4]
        item.OphthalmicFrameLocationSequence = [
            _item(
                ReferencedSOPClassUID=localizer.SOPClassUID,
                ReferencedSOPInstanceUID=localizer.SOPInstanceUID,
                ReferenceCoordinates=ends,
                OphthalmicImageOrientation="LINEAR",
                PurposeOfReferenceCodeSequence=[_code("121311", "DCM", "Localizer")],
            )
        ]
    return item


# --- pixels ---


def _tiles(image: Image, size: tuple[int, int]) -> Iterator[tuple[int, int, Image]]:
    """(row, column, pixels) of every tile, row by row; edges filled up with white."""
    rows, columns = image.shape[:2]
    for row in range(0, rows, size[0]):
        for column in range(0, columns, size[1]):
            part = image[row : row + size[0], column : column + size[1]]
            tile = np.full((*size, image.shape[2]), 255, np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield row, column, tile


def _sparse(ds: Dataset, tiles: list[tuple[int, int, Image]], size: tuple[int, int], um: float, dimension: str) -> None:
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x0048021A,  # Plane Position (Slide) Sequence
        )
        for pointer in (0x0048021F, 0x0048021E)  # Row, Column Position In Total Image Pixel Matrix
    ]
    groups = []
    for row, column, _ in tiles:
        place = _item(
            ColumnPositionInTotalImagePixelMatrix=column + 1,
            RowPositionInTotalImagePixelMatrix=row + 1,
            # Image Orientation (Slide) is 0\-1\0\-1\0\0: along a row y falls, down a column x falls.
            XOffsetInSlideCoordinateSystem=_ds(20.0 - row * um / 1000.0),
            YOffsetInSlideCoordinateSystem=_ds(40.0 - column * um / 1000.0),
            ZOffsetInSlideCoordinateSystem="0",
        )
        content = _item(DimensionIndexValues=[row // size[0] + 1, column // size[1] + 1])
        groups.append(
            _item(
                FrameContentSequence=[content],
                PlanePositionSlideSequence=[place],
                OpticalPathIdentificationSequence=[_item(OpticalPathIdentifier="1")],
            )
        )
    ds.PerFrameFunctionalGroupsSequence = groups


def _pixels(
    ds: Dataset,
    frames: Sequence[NDArray[np.uint8] | NDArray[np.uint16]],
    transfer: Transfer,
    offset_table: str = "basic",
) -> None:
    """The Image Pixel module and the encoded frames."""
    encoding = _ENCODINGS[transfer]
    rows, columns, samples = frames[0].shape
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, samples
    bits = frames[0].dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    ds.PhotometricInterpretation = encoding.colour if samples == 3 else "MONOCHROME2"
    if samples == 3:
        ds.PlanarConfiguration = 0
    else:
        ds.PresentationLUTShape = "IDENTITY"
    encoded = [encoding.encode(frame) for frame in frames]  # type: ignore[arg-type]
    ds.LossyImageCompression = "00" if encoding.lossy is None else "01"
    if encoding.lossy is not None:
        ratio = sum(frame.nbytes for frame in frames) / sum(len(data) for data in encoded)
        ds.LossyImageCompressionRatio = _ds(round(ratio, 2))
        ds.LossyImageCompressionMethod = encoding.lossy
    _store(ds, encoded, transfer, offset_table)


def _store(ds: Dataset, encoded: Sequence[bytes], transfer: Transfer, offset_table: str) -> None:
    if transfer == "raw":
        data = b"".join(encoded)
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
        return
    ds.PixelData = encapsulate(list(encoded), has_bot=offset_table == "basic")
    ds["PixelData"].VR = "OB"
    if offset_table == "extended":
        lengths = [len(data) + len(data) % 2 for data in encoded]
        offsets = [0, *itertools.accumulate(length + 8 for length in lengths)][:-1]
        ds.ExtendedOffsetTable = np.asarray(offsets, "<u8").tobytes()
        ds.ExtendedOffsetTableLengths = np.asarray(lengths, "<u8").tobytes()


def _concatenation(whole: Dataset, parts: int, transfer: Transfer, offset_table: str, uids: Uids) -> list[Dataset]:
    """Split the frames of an instance over several (PS3.3 C.7.6.16.2.2.4)."""
    from airouter.imaging.frames import dataset_frames

    count = int(whole.NumberOfFrames)
    encoded = list(dataset_frames(whole, range(1, count + 1)))
    size = -(-count // parts)
    concatenation = uids()
    made = []
    for part, start in enumerate(range(0, count, size), start=1):
        ds = _file(whole.SOPClassUID, uids(), whole.file_meta.TransferSyntaxUID)
        for element in whole:
            if element.keyword not in {
                "SOPInstanceUID",
                "PixelData",
                "ExtendedOffsetTable",
                "ExtendedOffsetTableLengths",
            }:
                ds.add(copy.deepcopy(element))
        ds.ConcatenationUID = concatenation
        ds.SOPInstanceUIDOfConcatenationSource = whole.SOPInstanceUID
        ds.InConcatenationNumber = part
        ds.InConcatenationTotalNumber = -(-count // size)
        ds.ConcatenationFrameOffsetNumber = start
        mine = encoded[start : start + size]
        ds.NumberOfFrames = len(mine)
        if "PerFrameFunctionalGroupsSequence" in whole:
            ds.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[start : start + size]
        _store(ds, mine, transfer, offset_table)
        made.append(ds)
    return made
