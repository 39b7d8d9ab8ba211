"""Ophthalmic Thickness Map (PS3.3 A.74): a thickness per point of the retina, seen from the front.

Pixels are 16 bits in steps of 0.1 um; 0 stands for what was not measured and is not mapped to a value. A deviation has
the middle of the range for zero. Validators do not know this IOD: airouter.evidence.check asks for its modules.
"""

from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from airouter.domain import codes
from airouter.domain.picture import ThicknessMap
from airouter.errors import EvidenceError
from airouter.evidence.composite import composite, refer, source_image
from airouter.evidence.identity import Identity, clip, concept
from airouter.evidence.source import one_eye

SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.81.1"  # Ophthalmic Thickness Map Storage
_STEP: Final = 0.1  # um
_ZERO: Final = 32768  # pixel value of a deviation of 0
_LAST: Final = 65535
_ASPECT: Final = 1000
_DEVICE: Final = "OCT"  # a term of our own: the defined ones (C.8.17.14) were not at hand


def thickness_map(values: ThicknessMap, source: Dataset, identity: Identity, series_number: int) -> Dataset:
    """One map. `source`: header of the tomograph. Raises EvidenceError beyond the range, or without a laterality."""
    offset = -_ZERO * _STEP if values.deviation else -_STEP  # so that 0 um is 1, and 0 is left for what is not known
    steps = np.rint((np.nan_to_num(values.values.astype(np.float64), nan=0.0) - offset) / _STEP)
    if steps.min() < 1 or steps.max() > _LAST:
        raise EvidenceError(f"{values.role}: a thickness is beyond what 16 bits in steps of {_STEP} um hold")
    pixels = np.where(np.isnan(values.values), 0, steps).astype("<u2")
    ds = composite(
        source,
        identity,
        role=values.role,
        label=values.label,
        sop_class=SOP_CLASS,
        modality="OPM",
        series_number=series_number,
    )
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.AcquisitionDateTime = _acquired(source)
    ds.SourceImageSequence = [source_image(source, frames=int(source.get("NumberOfFrames") or 1) > 1)]
    ds.AnatomicRegionSequence = [concept(codes.RETINA)]
    ds.PixelPresentation = "MONOCHROME"
    ds.ImageLaterality = _laterality(source)
    ds.PatientOrientation = _orientation(values)
    ds.OphthalmicMappingDeviceType = _DEVICE
    ds.RelevantOPTAttributesSequence = [_optics(source)]
    ds.AcquisitionMethodCodeSequence = [concept(codes.METHOD_MODEL_SURFACES)]
    ds.AcquisitionMethodAlgorithmSequence = list(identity.algorithm())
    ds.OphthalmicThicknessMapTypeCodeSequence = [
        concept(codes.THICKNESS_DIFFERENCE if values.deviation else codes.ABSOLUTE_THICKNESS)
    ]
    ds.RetinalThicknessDefinitionCodeSequence = [concept(values.definition)]
    ds.RealWorldValueMappingSequence = [_mapping(values, offset)]
    _pixels(ds, pixels, values.spacing_mm)
    ds.AcquisitionContextSequence = []
    for keyword in ("PatientEyeMovementCommanded", "EmmetropicMagnification", "IntraOcularPressure", "PupilDilated"):
        setattr(ds, keyword, source.get(keyword))
    ds.HorizontalFieldOfView = source.get("HorizontalFieldOfView")
    ds.RefractiveStateSequence = source.get("RefractiveStateSequence") or []
    refer(ds, [source])
    return ds


def _mapping(values: ThicknessMap, offset: float) -> Dataset:
    item = Dataset()
    item.LUTExplanation = clip(values.definition.meaning)
    item.LUTLabel = clip("DIFFERENCE_UM" if values.deviation else "THICKNESS_UM", 16)
    item.MeasurementUnitsCodeSequence = [concept(codes.UM)]
    item.add_new(0x00409216, "US", 1)  # Real World Value First Value Mapped
    item.add_new(0x00409211, "US", _LAST)  # Real World Value Last Value Mapped
    item.RealWorldValueIntercept = offset
    item.RealWorldValueSlope = _STEP
    return item


def _pixels(ds: Dataset, pixels: np.ndarray[Any, np.dtype[np.uint16]], spacing_mm: tuple[float, float]) -> None:
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelSpacing = [DSfloat(spacing, auto_format=True) for spacing in spacing_mm]
    ds.PixelAspectRatio = [round(_ASPECT * spacing_mm[0] / spacing_mm[1]), _ASPECT]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.BurnedInAnnotation = "NO"
    ds.RecognizableVisualFeatures = "NO"
    ds.LossyImageCompression = "00"
    ds.PixelData = pixels.tobytes()


def _laterality(source: Dataset) -> str:
    said = one_eye(source)
    if said is None:
        raise EvidenceError("a thickness map needs the laterality of its source")
    return said


def _orientation(values: ThicknessMap) -> list[str] | None:
    """Rows run to the patient's left and columns to the feet where the map lies as the eye does (C.7.6.1.1.1)."""
    return ["L", "F"] if values.anatomical else None


def _acquired(source: Dataset) -> str:
    said = source.get("AcquisitionDateTime")
    if said:
        return str(said)
    return f"{source.get('StudyDate') or ''}{source.get('StudyTime') or ''}"


def _optics(source: Dataset) -> Dataset:
    item = Dataset()
    for keyword in (
        "DepthSpatialResolution",
        "MaximumDepthDistortion",
        "AlongScanSpatialResolution",
        "MaximumAlongScanDistortion",
        "AcrossScanSpatialResolution",
        "MaximumAcrossScanDistortion",
    ):
        if source.get(keyword) is not None:
            setattr(item, keyword, source.get(keyword))
    return item
