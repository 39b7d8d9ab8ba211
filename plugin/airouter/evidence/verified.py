"""A verified report: what a reader accepted of one report of one job, with the values that the reader changed.

It is made of the machine's stored report: the groups of the accepted findings are its own, element by element. What was
not accepted, the suggested reading priority, and references to masks and maps of which not everything was accepted are
left out: masks and annotations have no status but that of the reports that refer to them.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM, DSfloat

from airouter.domain import codes
from airouter.domain.amendment import answer
from airouter.domain.code import Code
from airouter.domain.finding import Region
from airouter.domain.job import Job
from airouter.errors import EvidenceError
from airouter.evidence.check import check_reviewed
from airouter.evidence.encoding import elements
from airouter.evidence.identity import CHARACTER_SET, STATUS, clip, concept
from airouter.evidence.reader import Reader
from airouter.evidence.source import header
from airouter.evidence.sr import on_frame, on_slide
from airouter.evidence.write import identify_private_scheme, series_number

_TRACKING_UID = "112040"
_MEASUREMENTS, _GROUP = "126010", "125007"
_OBSERVER_TYPE = "121005"
_LO = 64
_NAME = 30  # characters of the reader's name in the Series Description
_REDRAWN = "The region was drawn by the reader. Masks and annotations of this analysis show what the machine drew."


@dataclass(frozen=True, slots=True)
class Accepted:
    """One finding as the reader let it stand. `values`: plain JSON values of the machine's finding; `amendment` of
    airouter.domain.amendment.merged, None where nothing was changed; `image`: header of the amended region's image."""

    tracking_uid: str
    values: Mapping[str, Any]
    amendment: Mapping[str, Any] | None = None
    image: Dataset | None = None


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The document that this one takes the place of: the machine's (`preliminary`) or an earlier verified one."""

    study_uid: str
    series_uid: str
    sop_class: str
    uid: str
    preliminary: bool


def tracking_uids(report: Dataset) -> set[str]:
    """Tracking UIDs of the findings in a report."""
    return {uid for _, group in _groups(report) if (uid := _tracked(group)) is not None}


def refers_to_results(report: Dataset) -> bool:
    """Whether it refers to masks, maps or other objects of its job."""
    return any(_name(item) == codes.RESULT_OBJECT.value for item in report.get("ContentSequence") or ())


def verified(
    report: Dataset,
    accepted: Sequence[Accepted],
    *,
    job: Job,
    role: str,
    predecessor: Predecessor,
    reader: Reader,
    now: datetime,
    revision: int,
    whole: bool,
) -> Dataset:
    """The verified document. `report`: the machine's, as it is stored; `role`: what its UIDs derive from.

    `whole`: every finding of the job is accepted and no region changed, so that its masks and maps stand as they are.

    Raises EvidenceError where nothing is accepted, a finding is not in the report, or the document would not conform.
    """
    if not accepted:
        raise EvidenceError("a verified report without a finding")
    kept = {each.tracking_uid: each for each in accepted}
    if missing := set(kept) - tracking_uids(report):
        raise EvidenceError(f"not in report {report.SOPInstanceUID}: {sorted(missing)}")
    try:
        ds = _copy(report)
        before = _referenced(ds)
        _keep_groups(ds, kept, reader)
        _keep_root(ds, reader, whole)
        _drop_evidence(ds, before - _referenced(ds))
        _rename(ds, job, role, now, revision, reader)
        ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "VERIFIED", "FINAL"
        ds.VerifyingObserverSequence = [reader.verifying(now)]
        ds.PredecessorDocumentsSequence = [_predecessor(predecessor)]
        identify_private_scheme(ds)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise EvidenceError(f"job {job.key}: {type(error).__name__}: {error}") from error
    check_reviewed(ds, job=job, role=role, known={predecessor.uid, *_evidence(ds)})
    return ds


def _copy(report: Dataset) -> Dataset:
    """A plain data set of the same values, to be written in UTF-8 and Explicit VR Little Endian."""
    ds = Dataset()
    for element in copy.deepcopy(report):
        ds.add(element)
    ds.decode()
    ds.SpecificCharacterSet = CHARACTER_SET
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _groups(report: Dataset) -> list[tuple[Dataset, Dataset]]:
    """(container, measurement group) of a TID 1500 document."""
    return [
        (container, group)
        for container in report.get("ContentSequence") or ()
        if _name(container) == _MEASUREMENTS
        for group in container.get("ContentSequence") or ()
        if _name(group) == _GROUP
    ]


def _name(item: Dataset) -> str:
    named = item.get("ConceptNameCodeSequence")
    return str(named[0].get("CodeValue", "")) if named else ""


def _tracked(group: Dataset) -> str | None:
    return next((str(i.UID) for i in group.get("ContentSequence") or () if _name(i) == _TRACKING_UID), None)


def _referenced(ds: Dataset) -> set[str]:
    """SOP Instance UIDs that the content refers to."""
    content = Dataset()
    content.ContentSequence = ds.ContentSequence
    return {str(e.value) for e in elements(content) if e.keyword == "ReferencedSOPInstanceUID"}


def _keep_groups(ds: Dataset, kept: Mapping[str, Accepted], reader: Reader) -> None:
    for container in {id(c): c for c, _ in _groups(ds)}.values():
        mine = []
        for item in container.ContentSequence:
            uid = _tracked(item) if _name(item) == _GROUP else None
            accepted = kept.get(uid) if uid is not None else None
            if uid is None or accepted is not None:
                mine.append(item)
            if accepted is not None and accepted.amendment is not None:
                _amend(item, accepted, reader)
        container.ContentSequence = Items(mine)


def _amend(group: Dataset, accepted: Accepted, reader: Reader) -> None:
    amendment = accepted.amendment or {}
    numbers = dict(amendment.get("measurements") or {})
    answers = dict(amendment.get("evaluations") or {})
    items = []
    for item in group.ContentSequence:
        concept_name = _name(item)
        if item.ValueType == "NUM" and concept_name in numbers:
            measured = item.MeasuredValueSequence[0]
            measured.NumericValue = DSfloat(numbers.pop(concept_name), auto_format=True)
            for keyword in ("FloatingPointValue", "RationalNumeratorValue", "RationalDenominatorValue"):
                measured.pop(keyword, None)
            _by_hand(item, reader)
        elif item.ValueType == "CODE" and concept_name in answers:
            given = answer(accepted.values, concept_name, answers.pop(concept_name))
            item.ConceptCodeSequence = [concept(given)]
            _by_hand(item, reader)
        elif item.ValueType in ("SCOORD", "SCOORD3D") and amendment.get("points") is not None:
            _redraw(item, accepted)
        items.append(item)
    if numbers or answers:
        raise EvidenceError(f"the report has no {sorted([*numbers, *answers])} to amend")
    if amendment.get("points") is not None:
        if not any(i.ValueType in ("SCOORD", "SCOORD3D") for i in items):
            raise EvidenceError("the report has no region to amend")
        said = hd.sr.TextContentItem(concept(codes.COMMENT), _REDRAWN, hd.sr.RelationshipTypeValues.CONTAINS)
        _by_hand(said, reader)
        items.append(said)
    group.ContentSequence = Items(items)


def _by_hand(item: Dataset, reader: Reader) -> None:
    """Derivation "Manual", and whose. Observer Type is left out, which says a person (TID 1002): a validator takes any
    code below a number for its modifier."""
    derivation = hd.sr.CodeContentItem(
        concept(codes.DERIVATION), concept(codes.MANUAL), hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
    )
    person = [i for i in _observing(reader) if _name(i) != _OBSERVER_TYPE]
    item.ContentSequence = Items([derivation, *person, *(item.get("ContentSequence") or ())])


def _observing(reader: Reader) -> list[Dataset]:
    return list(reader.context())


def _redraw(item: Dataset, accepted: Accepted) -> None:
    region, points = accepted.values.get("region"), (accepted.amendment or {})["points"]
    if region is None or accepted.image is None:
        raise EvidenceError("an amended region needs its image")
    drawn = Region(region["graphic"], region["source"], np.asarray(points, dtype=np.float64), region.get("frame"))
    image = header(accepted.image)
    made = on_slide(drawn, image) if item.ValueType == "SCOORD3D" else on_frame(drawn, image)
    item.GraphicType, item.GraphicData = made.GraphicType, made.GraphicData


def _keep_root(ds: Dataset, reader: Reader, whole: bool) -> None:
    """The person before the device, no suggested priority, and references to objects only where all of them stand."""
    items: list[Dataset] = []
    observed = False
    for item in ds.ContentSequence:
        name = _name(item)
        if name == _OBSERVER_TYPE and not observed:
            items += _observing(reader)
            observed = True
        if name == codes.QUALITATIVE_EVALUATIONS.value:
            said = [i for i in item.get("ContentSequence") or () if _name(i) == codes.NOT_ANALYSED.value]
            if not said:
                continue
            item.ContentSequence = Items(said)
        if name == codes.RESULT_OBJECT.value and not whole:
            continue
        items.append(item)
    if not observed:
        raise EvidenceError("the report names no observer")
    ds.ContentSequence = Items(items)


def _drop_evidence(ds: Dataset, gone: Collection[str]) -> None:
    """What only the left out content referred to is no evidence of this document."""
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        studies = []
        for study in ds.get(keyword) or ():
            series = []
            for each in study.ReferencedSeriesSequence:
                left = [i for i in each.ReferencedSOPSequence if i.ReferencedSOPInstanceUID not in gone]
                each.ReferencedSOPSequence = Items(left)
                series += [each] if left else []
            study.ReferencedSeriesSequence = Items(series)
            studies += [study] if series else []
        if studies:
            setattr(ds, keyword, Items(studies))
        else:
            ds.pop(keyword, None)


def _evidence(ds: Dataset) -> set[str]:
    return {
        str(i.ReferencedSOPInstanceUID)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in ds.get(keyword) or ()
        for series in study.ReferencedSeriesSequence
        for i in series.ReferencedSOPSequence
    }


def _rename(ds: Dataset, job: Job, role: str, now: datetime, revision: int, reader: Reader) -> None:
    ds.SOPInstanceUID, ds.SeriesInstanceUID = job.uid(role), job.uid(f"{role} series")
    ds.SeriesNumber = series_number(job) + 50 + revision % 50
    status = f"[VERIFIED by {clip(reader.spoken, _NAME)}]"
    label = str(ds.get("SeriesDescription") or "AI report").removesuffix(STATUS).strip()
    ds.SeriesDescription = f"{clip(label, _LO - len(status) - 1)} {status}"
    ds.ContentDate = ds.InstanceCreationDate = DA(now.date())
    ds.ContentTime = ds.InstanceCreationTime = TM(now.time().replace(microsecond=0, tzinfo=None))
    for keyword in ("SeriesDate", "SeriesTime"):
        ds.pop(keyword, None)


def _predecessor(document: Predecessor) -> Dataset:
    purpose: Code = codes.PRELIMINARY_REPORT if document.preliminary else codes.REPLACED_REPORT
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = document.sop_class, document.uid
    instance.PurposeOfReferenceCodeSequence = [concept(purpose)]
    series.SeriesInstanceUID, series.ReferencedSOPSequence = document.series_uid, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = document.study_uid, [series]
    return study
