"""Images of the eye: fundus photographs, OCT volumes and circle scans, and what is made from them."""

import datetime
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from phantoms.dicom.parts import (
    NOW,
    Uids,
    acquired,
    code,
    coded,
    decimal,
    item,
    new_file,
    patient_and_study,
    series_module,
)
from phantoms.dicom.pixels import ENCODINGS, Image, Transfer, put_pixels

OP8: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
OPT: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
WIDE_FIELD_STEREOGRAPHIC: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.5"
WIDE_FIELD_3D: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.6"
EN_FACE: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.7"
BSCAN_VOLUME_ANALYSIS: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.8"

ORIGINAL: Final = ("ORIGINAL", "PRIMARY", "", "COLOR")
MONTAGE: Final = ("DERIVED", "PRIMARY", "MONTAGE", "COLOR")  # PS3.3 C.8.17.2.1.4


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
    taken: datetime.datetime = NOW,
    image_type: Sequence[str] = ORIGINAL,
    sop_class: str = OP8,
    region: Code = codes.RETINA,
    seed: object = None,
) -> Dataset:
    """A colour photograph of the fundus: Ophthalmic Photography 8 Bit Image.

    Args:
        rgb: rows x columns x 3.
        laterality: R, L or B; None leaves Image Laterality out (which does not conform, and happens).
        spacing_mm: pixel size on the retina.
        taken: when, of the study and of the image.
        image_type: Image Type; MONTAGE for a picture put together from several.
        sop_class: WIDE_FIELD_STEREOGRAPHIC and WIDE_FIELD_3D give an object without the modules of their own.
        region: anatomic region.
    """
    uids = Uids(seed)
    ds = new_file(sop_class, uids(), ENCODINGS[transfer].syntax)
    patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession, when=taken)
    series_module(ds, series_uid or uids(), "OP", 1, number, description)
    ds.SynchronizationFrameOfReferenceUID = uids()
    ds.SynchronizationTrigger = "NO TRIGGER"
    ds.AcquisitionTimeSynchronized = "N"
    ds.ImageType = list(image_type)
    if ds.ImageType[0] == "DERIVED":
        ds.SourceImageSequence = [
            item(
                ReferencedSOPClassUID=OP8,
                ReferencedSOPInstanceUID=uids(),
                PurposeOfReferenceCodeSequence=[coded(codes.SOURCE_FOR_PROCESSING)],
            )
        ]
    acquired(ds, when=taken)
    ds.PatientOrientation = ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    ds.FrameIncrementPointer = 0x00181065
    ds.FrameTimeVector = ["0"]
    if spacing_mm is not None:
        ds.PixelSpacing = [decimal(spacing_mm)] * 2
    _eye(ds, laterality)
    ds.AnatomicRegionSequence = [coded(region)]  # CID 4209
    ds.AcquisitionDeviceTypeCodeSequence = [code("409898007", "SCT", "Fundus Camera")]  # CID 4202
    for keyword in (
        "LightPathFilterTypeStackCodeSequence",
        "ImagePathFilterTypeStackCodeSequence",
        "LensesCodeSequence",
        "IlluminationTypeCodeSequence",
    ):
        setattr(ds, keyword, [])
    ds.DetectorType = "CCD"
    ds.PatientEyeMovementCommanded = "NO"
    put_pixels(ds, [rgb], transfer)
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
    paths: Sequence[NDArray[np.float64]] = (),
    patient_id: str = "PHANTOM-OPT",
    patient_name: str = "Phantom^Macula",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    number: int = 1,
    taken: datetime.datetime = NOW,
    region: Code = codes.RETINA,
    seed: object = None,
) -> Dataset:
    """An OCT volume: Ophthalmic Tomography Image, one frame per B-scan, superior first; or a circle scan.

    Args:
        frames: B x rows x columns, 8 or 16 bits; columns run from the patient's right to left, rows into the eye.
        slice_um: distance of neighbouring B-scans; None leaves the plane positions out.
        localizer: a fundus photograph in the same study; every B-scan then says where it lies on it.
        paths: where, one [points, 2] per B-scan: row and column on the localizer from its top left corner, sub-pixel
            (PS3.3 C.8.17.10.1). Two points are the ends of a line; more are a path with one point per column. Such a
            frame is not plane; it has a nominal position and direction, since dciodvfy insists. Without paths the
            lines are spread over the middle half of the localizer.
        taken: when, of the study, the image and its frames.
        region: anatomic region, of the image and of the frames.

    Raises ValueError for paths without a localizer, or of another number than the B-scans.
    """
    if paths and (localizer is None or len(paths) != len(frames)):
        raise ValueError("paths need a localizer, and one path for each B-scan")
    curved = any(len(path) > 2 for path in paths)
    uids = Uids(seed)
    count, rows, columns = frames.shape
    ds = new_file(OPT, uids(), ENCODINGS[transfer].syntax)
    patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession, when=taken)
    series_module(ds, series_uid or uids(), "OPT", 2, number, description)
    ds.FrameOfReferenceUID = uids()
    ds.PositionReferenceIndicator = ""
    ds.SynchronizationFrameOfReferenceUID = uids()
    ds.SynchronizationTrigger = "NO TRIGGER"
    ds.AcquisitionTimeSynchronized = "N"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    acquired(ds, when=taken)
    ds.AcquisitionDuration = 2.0
    ds.AcquisitionNumber = 1
    ds.BurnedInAnnotation = "NO"
    _eye(ds, laterality)
    ds.AnatomicRegionSequence = [coded(region)]  # CID 4209
    ds.AcquisitionDeviceTypeCodeSequence = [
        code("392012008", "SCT", "Optical Coherence Tomography Scanner")
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
    ds.OphthalmicImageOrientation = "NONLINEAR" if curved else "LINEAR"
    shared = item(
        PixelMeasuresSequence=[
            item(
                SliceThickness=decimal((slice_um or 10.0) / 1000),
                PixelSpacing=[decimal(axial_um / 1000), decimal(lateral_um / 1000)],
            )
        ],
        PlaneOrientationSequence=[item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
        FrameAnatomySequence=[item(FrameLaterality=laterality or "U", AnatomicRegionSequence=[coded(region)])],
    )
    if curved and localizer is not None:
        shared.ReferencedImageSequence = [_referenced(localizer)]
    if omit_spacing:
        del shared.PixelMeasuresSequence
    ds.SharedFunctionalGroupsSequence = [shared]
    dimension = uids()
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=dimension)]
    ds.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=0x00209057,  # In-Stack Position Number
            FunctionalGroupPointer=0x00209111,  # Frame Content Sequence
            DimensionDescriptionLabel="B-scan",
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        _bscan(n, count, (rows, columns), lateral_um, slice_um, localizer, paths[n] if paths else None, taken)
        for n in range(count)
    ]
    put_pixels(ds, [frame[..., np.newaxis] for frame in frames], transfer)
    return ds


def _eye(ds: Dataset, laterality: str | None) -> None:
    if laterality is not None:
        ds.ImageLaterality = laterality
    ds.PupilDilated = "NO"
    ds.IntraOcularPressure = 15.0
    ds.EmmetropicMagnification = 2.5
    ds.HorizontalFieldOfView = 45.0
    ds.RefractiveStateSequence = []


def derived_instance(
    grey: NDArray[np.uint8],
    sop_class: str,
    *,
    laterality: str | None = "R",
    patient_id: str = "PHANTOM-OPT",
    study_uid: str | None = None,
    taken: datetime.datetime = NOW,
    seed: object = None,
) -> Dataset:
    """What a device made from an OCT volume: EN_FACE or BSCAN_VOLUME_ANALYSIS, frames x rows x columns.

    Its header is enough to be told from a B-scan and no more: it does not conform to its IOD.
    """
    uids = Uids(seed)
    ds = new_file(sop_class, uids(), ENCODINGS["raw"].syntax)
    patient_and_study(ds, patient_id, "Phantom^Macula", study_uid or uids(), "", when=taken)
    modality = {EN_FACE: "OPTENF", BSCAN_VOLUME_ANALYSIS: "OPTBSV"}[sop_class]
    series_module(ds, uids(), modality, 3, 1, "")
    ds.ImageType = ["DERIVED", "PRIMARY"]
    acquired(ds, when=taken)
    if laterality is not None:
        ds.ImageLaterality = laterality
    put_pixels(ds, [frame[..., np.newaxis] for frame in grey], "raw")
    return ds


def _referenced(localizer: Dataset) -> Dataset:
    return item(
        ReferencedSOPClassUID=localizer.SOPClassUID,
        ReferencedSOPInstanceUID=localizer.SOPInstanceUID,
        PurposeOfReferenceCodeSequence=[code("121311", "DCM", "Localizer")],
    )


def _bscan(
    n: int,
    count: int,
    size: tuple[int, int],
    lateral_um: float,
    slice_um: float | None,
    localizer: Dataset | None,
    path: NDArray[np.float64] | None,
    taken: datetime.datetime,
) -> Dataset:
    frame = item(
        FrameContentSequence=[
            item(
                StackID="1",
                InStackPositionNumber=n + 1,
                DimensionIndexValues=[n + 1],
                FrameAcquisitionDateTime=taken.strftime("%Y%m%d%H%M%S"),
                FrameReferenceDateTime=taken.strftime("%Y%m%d%H%M%S"),
                FrameAcquisitionDuration=20.0,
                FrameAcquisitionNumber=n + 1,
            )
        ]
    )
    if path is not None and len(path) > 2:
        frame.PlanePositionSequence = [item(ImagePositionPatient=["0", "0", "0"])]
    elif slice_um is not None:
        x = -size[1] * lateral_um / 2000.0
        z = ((count - 1) / 2 - n) * slice_um / 1000.0
        frame.PlanePositionSequence = [item(ImagePositionPatient=[decimal(x), "0", decimal(z)])]
    if localizer is not None:
        row = (n + 0.5) / count * localizer.Rows / 2 + localizer.Rows / 4
        ends = [row, localizer.Columns / 4, row, localizer.Columns * 3 / 4]
        place = _referenced(localizer)
        place.ReferenceCoordinates = ends if path is None else [float(v) for v in np.ravel(path)]
        place.OphthalmicImageOrientation = "LINEAR" if path is None or len(path) == 2 else "NONLINEAR"
        frame.OphthalmicFrameLocationSequence = [place]
    return frame
