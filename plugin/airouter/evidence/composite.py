"""What every object has that highdicom has no class for: patient, study, series, equipment, and who made it."""

import copy
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.evidence.identity import Identity, concept
from airouter.evidence.source import TYPE_2

# Modules on patient and study (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2) that are taken over where the source has them.
_TAKEN = (
    *TYPE_2,
    "StudyInstanceUID",
    "StudyDescription",
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "OtherPatientIDsSequence",
)


def composite(
    source: Dataset, identity: Identity, *, role: str, label: str, sop_class: str, modality: str, series_number: int
) -> Dataset:
    """A data set with the modules that all objects share; pixels and the modules of its own class are to be added.

    `source` is the header (airouter.evidence.source.header) of the image it was made from.
    """
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(identity.job.uid(role))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword in _TAKEN:
        if keyword in source:
            ds[keyword] = copy.deepcopy(source[keyword])
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = identity.job.uid(role)
    ds.SeriesInstanceUID = identity.job.uid(f"{role} series")
    ds.Modality = modality
    ds.SeriesNumber = series_number
    common = identity.common(label)
    ds.SpecificCharacterSet = common["specific_character_set"]
    ds.InstanceNumber = common["instance_number"]
    ds.SeriesDescription = common["series_description"]
    ds.Manufacturer = common["manufacturer"]
    ds.ManufacturerModelName = common["manufacturer_model_name"]
    ds.SoftwareVersions = common["software_versions"]
    ds.DeviceSerialNumber = common["device_serial_number"]
    ds.ContentQualification = common["content_qualification"]
    ds.ContentDate = DA(common["content_date"])
    ds.ContentTime = TM(common["content_time"])
    ds.ContributingEquipmentSequence = common["contributing_equipment"]
    return ds


def source_image(source: Dataset, purpose: Code = codes.SOURCE_FOR_PROCESSING, *, frames: bool = False) -> Dataset:
    """An item of Source Image Sequence. `frames`: with Spatial Locations Preserved left out, all frames are meant."""
    item = referenced(source)
    item.PurposeOfReferenceCodeSequence = [concept(purpose)]
    if frames:
        item.ReferencedFrameNumber = list(range(1, int(source.get("NumberOfFrames") or 1) + 1))
    return item


def referenced(source: Dataset) -> Dataset:
    """An item that names an instance by its SOP class and UID."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return item


def refer(ds: Dataset, sources: list[Dataset]) -> None:
    """The Common Instance Reference module (PS3.3 C.12.2): series of this and of other studies that are referred to."""
    series: dict[tuple[str, str], list[Any]] = {}
    for source in sources:
        series.setdefault((str(source.StudyInstanceUID), str(source.SeriesInstanceUID)), []).append(referenced(source))
    elsewhere: dict[str, list[Dataset]] = {}
    own: list[Dataset] = []
    for (study, uid), instances in series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = instances
        (own if study == ds.StudyInstanceUID else elsewhere.setdefault(study, [])).append(item)
    if own:
        ds.ReferencedSeriesSequence = own
    if elsewhere:
        ds.StudiesContainingOtherReferencedInstancesSequence = []
        for study, items in elsewhere.items():
            other = Dataset()
            other.StudyInstanceUID = study
            other.ReferencedSeriesSequence = items
            ds.StudiesContainingOtherReferencedInstancesSequence.append(other)
