"""The header of an imported slide: patient, study, specimen and stain as described, and UIDs that derive from content.

A converter writes pixels, geometry and optics; this is all the rest. The same file always becomes the same series and
the same instances, so that importing it again adds nothing. Attributes after PS3.3 A.32.8, staining after TID 8001 and
TID 8003 of PS3.16, as airouter.imaging.stain reads them.
"""

import datetime
import struct
import uuid
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

from airouter.adapters.sidecar import Coded, Description, Stain
from airouter.domain import codes
from airouter.domain.code import Code
from airouter.imaging.stain import DAB_TEXT

# Namespace of the UIDs of imported slides; an arbitrary constant, never to be changed.
_SLIDES: Final = uuid.UUID("0c6f2f57-6c0e-4d0c-8f4a-5c2f0f7a2f3d")
UNKNOWN: Final = "Unknown"  # Enhanced General Equipment wants a value (type 1)


def uid(*parts: str) -> str:
    """2.25 and a UUID as an integer (PS3.5 B.2), version 5 of the parts, none of which can be mistaken for two."""
    return f"2.25.{uuid.uuid5(_SLIDES, chr(0).join(parts)).int}"


def study_uid(description: Description) -> str:
    """The one given, else of the patient and the accession number; without one each container is a study of its own."""
    study = description.study
    if study.instance_uid is not None:
        return study.instance_uid
    if study.accession_number is not None:
        return uid("study of accession", description.patient.id, study.accession_number)
    return uid("study of container", description.patient.id, description.specimen.container)


def series_uid(digest: str) -> str:
    """One file, one series."""
    return uid("series", digest)


def identity(description: Description) -> dict[str, str]:
    """What two imports of one file must agree in, by keyword; the rest follows from the file."""
    patient, study = description.patient, description.study
    return {
        "PatientID": patient.id,
        "PatientName": patient.name or "",
        "PatientBirthDate": _date(patient.birth_date),
        "PatientSex": patient.sex or "",
        "StudyInstanceUID": study_uid(description),
        "AccessionNumber": study.accession_number or "",
        "ContainerIdentifier": description.specimen.container,
    }


def describe(header: Dataset, description: Description, digest: str, number: int, acquired: datetime.datetime) -> None:
    """Complete the header of one converted image in place.

    `digest`: SHA-256 of the file it came from; `number`: 1 for the finest level, and on; `acquired`: what stands in
    Acquisition DateTime where neither the study nor the file has a date.
    """
    flavour = str(header.ImageType[2])
    _identity(header, description, digest, number, flavour)
    _patient_and_study(header, description)
    _specimen(header, description)
    if flavour == "VOLUME":
        # Converters call every level original that they did not compute themselves; only the finest was acquired.
        kind = (
            ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"] if number == 1 else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        )
        header.ImageType = kind
        header.SharedFunctionalGroupsSequence[0].WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType = kind
    else:
        header.BurnedInAnnotation = "YES"  # converters say so of labels alone; most overviews show the label too
    _time(header, description, acquired)
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"):
        if not header.get(keyword) or header.get(keyword) == "generic-tiff":  # a format, nobody's name
            setattr(header, keyword, UNKNOWN)


def _identity(header: Dataset, description: Description, digest: str, number: int, flavour: str) -> None:
    size = f"{header.TotalPixelMatrixColumns}x{header.TotalPixelMatrixRows}"
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SeriesInstanceUID = series_uid(digest)
    instance = UID(uid("instance", digest, flavour, size))
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = instance
    header.FrameOfReferenceUID = uid("frame of reference", digest)
    if "PyramidUID" in header:
        header.PyramidUID = uid("pyramid", digest)
    dimensions = uid("dimensions", digest)
    for item in header.get("DimensionOrganizationSequence") or []:
        item.DimensionOrganizationUID = dimensions
    for item in header.get("DimensionIndexSequence") or []:
        item.DimensionOrganizationUID = dimensions
    header.SeriesNumber, header.InstanceNumber = 1, number


def _patient_and_study(header: Dataset, description: Description) -> None:
    study = description.study
    for keyword, value in identity(description).items():
        setattr(header, keyword, value)
    header.StudyDate = _date(study.date)
    header.StudyTime = study.time.strftime("%H%M%S") if study.time else ""
    header.ReferringPhysicianName = study.referring_physician or ""
    if study.description:
        header.StudyDescription = study.description


def _specimen(header: Dataset, description: Description) -> None:
    specimen = description.specimen
    identifier = specimen.identifier or specimen.container
    item = Dataset()
    item.SpecimenIdentifier = identifier
    item.IssuerOfTheSpecimenIdentifierSequence = []
    item.SpecimenUID = uid("specimen", description.patient.id, specimen.container, identifier)
    if specimen.type is not None:
        item.SpecimenTypeCodeSequence = [_coded(specimen.type)]
    item.SpecimenPreparationSequence = [staining_step(specimen.stain, identifier)] if specimen.stain else []
    if specimen.site is not None:
        item.PrimaryAnatomicStructureSequence = [_coded(specimen.site)]
    header.SpecimenDescriptionSequence = [item]


def staining_step(stain: Stain, identifier: str) -> Dataset:
    """One item of Specimen Preparation Sequence that names the substances of the stain."""
    items = [
        _content("TEXT", codes.SPECIMEN_IDENTIFIER, text=identifier),
        _content("CODE", codes.PROCESSING_TYPE, code=codes.STAINING),
    ]
    if stain == "H-DAB":
        items.append(_content("CODE", codes.PROCESSING_STEP_DESCRIPTION, code=codes.IMMUNOHISTOCHEMISTRY))
        items.append(_content("TEXT", codes.USING_SUBSTANCE, text=DAB_TEXT))
    items.append(_content("CODE", codes.USING_SUBSTANCE, code=codes.HEMATOXYLIN))
    if stain == "H&E":
        items.append(_content("CODE", codes.USING_SUBSTANCE, code=codes.WATER_SOLUBLE_EOSIN))
    step = Dataset()
    step.SpecimenPreparationStepContentItemSequence = items
    return step


def _content(value_type: str, name: Code, *, text: str | None = None, code: Code | None = None) -> Dataset:
    item = Dataset()
    item.ValueType = value_type
    item.ConceptNameCodeSequence = [_coded(name)]
    if text is not None:
        item.TextValue = text
    if code is not None:
        item.ConceptCodeSequence = [_coded(code)]
    return item


def _coded(code: Code | Coded) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _time(header: Dataset, description: Description, acquired: datetime.datetime) -> None:
    """Acquisition and content times: the file's own, else the study's, else `acquired`."""
    said = str(header.get("AcquisitionDateTime") or "")
    if not said[:8].isdigit() or said < "1990":  # converters write 1970 where they know nothing
        study = description.study
        known = study.date and datetime.datetime.combine(study.date, study.time or datetime.time())
        said = (known or acquired).strftime("%Y%m%d%H%M%S")
    header.AcquisitionDateTime = said
    for path in header.get("OpticalPathSequence") or []:
        if "ICCProfile" in path:
            path.ICCProfile = _undated(bytes(path.ICCProfile), said)
    # The pixels were made then; the moment of the conversion would make another object of every import.
    header.ContentDate, header.ContentTime = said[:8], (said[8:14].split(".")[0] or "000000")


def _undated(profile: bytes, said: str) -> bytes:
    """The profile; one that the converter made just now, as the file has none, is dated as the image (ICC.1 7.2.8)."""
    made = struct.unpack_from(">3H", profile, 24) if len(profile) >= 128 else None
    today = datetime.datetime.now(datetime.UTC)
    near = {(day.year, day.month, day.day) for day in (today, today - datetime.timedelta(days=1))}
    if made not in near:
        return profile
    date = struct.pack(">6H", int(said[:4]), int(said[4:6] or 1), int(said[6:8] or 1), 0, 0, 0)
    return profile[:24] + date + profile[36:]


def _date(date: datetime.date | None) -> str:
    return date.strftime("%Y%m%d") if date else ""
