"""Key Object Selections of a review (IHE IOCM; TID 2010): what is rejected, and that a rejection is withdrawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from airouter import __version__
from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.job import Job
from airouter.errors import EvidenceError
from airouter.evidence.check import check_reviewed
from airouter.evidence.identity import CHARACTER_SET, MANUFACTURER, MODEL_NAME, SERIAL_NUMBER, clip, concept
from airouter.evidence.reader import Reader
from airouter.evidence.source import header, restore
from airouter.evidence.write import identify_private_scheme, series_number

# Objects with pixels are referred to as images, the others as composites.
_IMAGES: Final = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.30",
    "1.2.840.10008.5.1.4.1.1.81.1",
    "1.2.840.10008.5.1.4.1.1.7",
)
_LABEL: Final[Mapping[Code, str]] = {codes.REJECTED: "rejected", codes.REJECTION_WITHDRAWN: "rejection withdrawn"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of the study that a selection lists."""

    sop_class: str
    uid: str
    series_uid: str


def selection(
    title: Code,
    listed: Sequence[Listed],
    text: str,
    reasons: Sequence[Code],
    *,
    report: Dataset,
    job: Job,
    role: str,
    reader: Reader,
    now: datetime,
    revision: int,
) -> Dataset:
    """A selection of these objects under the title, with a text and coded reasons (Document Title Modifier).

    PixelMed's validator calls every modifier an error: it looks for the title 113001 among the codes inside.

    `report`: a stored object of the job, which says patient and study. Raises EvidenceError where it would not conform.
    """
    patient = header(report)
    try:
        content = hd.ko.KeyObjectSelection(
            document_title=concept(title),
            referenced_objects=[_stub(each, patient) for each in listed],
            observer_person_context=reader.context(),
            description=text,
        )
        root = content[0]
        modifiers = [
            hd.sr.CodeContentItem(
                concept(codes.DOCUMENT_TITLE_MODIFIER), concept(each), hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
            )
            for each in reasons
        ]
        root.ContentSequence = hd.sr.ContentSequence([*modifiers, *root.ContentSequence])
        ds: Dataset = hd.ko.KeyObjectSelectionDocument(
            evidence=[_stub(each, patient) for each in listed],
            content=content,
            series_instance_uid=job.uid(f"{role} series"),
            series_number=series_number(job) + 50 + revision % 50,
            sop_instance_uid=job.uid(role),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL_NAME,
            software_versions=__version__,
            device_serial_number=SERIAL_NUMBER,
            series_description=clip(f"AI findings {_LABEL[title]} by {reader.spoken}"),
            content_date=now.date(),
            content_time=now.time().replace(microsecond=0, tzinfo=None),
            specific_character_set=CHARACTER_SET,
        )
        ds.InstanceCreationDate = DA(now.date())
        ds.InstanceCreationTime = TM(now.time().replace(microsecond=0, tzinfo=None))
        for item in ds.ContentSequence:
            if item.ValueType in ("IMAGE", "COMPOSITE"):
                item.pop("ConceptNameCodeSequence", None)  # TID 2010 has none: a validator calls it an error
        restore(ds, report)
        identify_private_scheme(ds)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise EvidenceError(f"job {job.key}: {type(error).__name__}: {error}") from error
    check_reviewed(ds, job=job, role=role, known={each.uid for each in listed})
    return ds


def _stub(listed: Listed, patient: Dataset) -> Dataset:
    """As much of an object as a reference needs, of the same patient and study."""
    ds = Dataset()
    for keyword in (
        "StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
        "StudyDate", "StudyTime", "ReferringPhysicianName",
    ):  # fmt: skip
        setattr(ds, keyword, patient.get(keyword))
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = listed.sop_class, listed.uid, listed.series_uid
    if listed.sop_class in _IMAGES:
        ds.Rows = ds.Columns = 1
    return ds
