"""What every phantom data set is made of: UIDs, items, codes, and the modules on patient, study and series."""

import datetime
import itertools
from typing import Final

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import generate_uid
from pydicom.valuerep import DSfloat

from airouter.domain.code import Code

NOW: Final = datetime.datetime(2026, 1, 5, 9, 30, 0, tzinfo=datetime.UTC)


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


def item(**attributes: object) -> Dataset:
    """One item of a sequence."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def coded(concept: Code) -> Dataset:
    """One item of a code sequence, for a code of the table."""
    return code(concept.value, concept.scheme, concept.meaning)


def decimal(value: float) -> DSfloat:
    """A Decimal String of at most 16 characters."""
    return DSfloat(value, auto_format=True)


def new_file(sop_class: str, uid: str, syntax: str) -> Dataset:
    """An empty data set with its file meta information."""
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


def patient_and_study(
    ds: Dataset, patient_id: str, name: str, study: str, accession: str, *, when: datetime.datetime = NOW
) -> None:
    """The Patient and General Study modules; `when` the study began."""
    ds.PatientID, ds.PatientName = patient_id, name
    ds.PatientBirthDate, ds.PatientSex = "19600101", "O"
    ds.StudyInstanceUID = study
    ds.StudyDate, ds.StudyTime = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    ds.StudyID = "1"
    ds.AccessionNumber = accession
    ds.ReferringPhysicianName = ""


def series_module(ds: Dataset, series: str, modality: str, series_number: int, number: int, description: str) -> None:
    """The General Series and General Equipment modules, and Instance Number."""
    ds.SeriesInstanceUID = series
    ds.Modality = modality
    ds.SeriesNumber, ds.InstanceNumber = series_number, number
    if description:
        ds.SeriesDescription = description
    ds.Manufacturer = "Phantom Works"
    ds.ManufacturerModelName = "Phantom"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"


def acquired(ds: Dataset, *, when: datetime.datetime = NOW) -> None:
    """When it was acquired, and an empty acquisition context."""
    ds.ContentDate, ds.ContentTime = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    ds.AcquisitionDateTime = when.strftime("%Y%m%d%H%M%S")
    ds.AcquisitionContextSequence = []
