"""The last look at an object before it may be stored: what its IOD demands, and our own rules.

highdicom's constructors check most of it; this finds what they do not know: numbers that are none, foreign UIDs,
dangling references, a status that says more than "unverified".
"""

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from airouter.domain import codes
from airouter.domain.job import Job
from airouter.errors import EvidenceError
from airouter.evidence.encoding import elements, encode
from airouter.evidence.identity import CONTENT_QUALIFICATION

_FLOAT_ARRAYS = {
    "PointCoordinatesData": np.float32,
    "FloatPixelData": np.float32,
    "FloatingPointValues": np.float32,
    "DoublePointCoordinatesData": np.float64,
}
_BLOCK = 1 << 20
_FLAGS = {"CompletionFlag": "COMPLETE", "VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "PRELIMINARY"}
_REVIEWED = {"CompletionFlag": "COMPLETE", "VerificationFlag": "VERIFIED", "PreliminaryFlag": "FINAL"}
_REFERENCES = ("ReferencedSOPInstanceUID",)
# Inherited from the source, which may leave them out or hold what it likes.
_SOURCES_OWN = ("Patient", "Study")
# Its attributes depend on the value type of each content item, which the constructors of the items check.
_CONTENT_TREE = "sr-document-content"
# Tracking Identifier (PS3.16, DCM).
_TRACKING_IDENTIFIER = "112039"


def check(ds: Dataset, *, job: Job, role: str, known: Mapping[str, Dataset]) -> None:
    """Raise EvidenceError with every fault found.

    `known` are the job's sources and the objects written before, by SOP Instance UID.
    """
    _refuse(ds, [*_identity(ds, job, role), *_modules(ds), *_content(ds, known)], job, role)


def check_reviewed(ds: Dataset, *, job: Job, role: str, known: Collection[str]) -> None:
    """The same for what a person's review made: a report that is verified, final and names who verified it, or a key
    object selection. `known` are the SOP Instance UIDs that it may refer to."""
    expected = {"StudyInstanceUID": job.study_uid}
    if ds.get("Modality") == "SR":
        expected |= _REVIEWED
    observers = ds.get("VerifyingObserverSequence") or ()
    faults = [f"{k} is {ds.get(k)!r}, not {v!r}" for k, v in expected.items() if ds.get(k) != v]
    if ds.get("Modality") == "SR" and not any(str(item.get("VerifyingObserverName", "")).strip() for item in observers):
        faults.append("nobody is named who verified it")
    _refuse(ds, [*faults, *_modules(ds), *_content(ds, known)], job, role)


def _refuse(ds: Dataset, faults: list[str], job: Job, role: str) -> None:
    if not faults:
        try:
            encode(ds)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, OSError) as error:
            faults.append(f"cannot be encoded: {error}")
    if faults:
        raise EvidenceError(f"{role} {ds.get('SOPInstanceUID', '')} of job {job.key}: " + "; ".join(faults))


def _identity(ds: Dataset, job: Job, role: str) -> Iterator[str]:
    expected = {
        "SOPInstanceUID": job.uid(role),
        "SeriesInstanceUID": job.uid(f"{role} series"),
        "StudyInstanceUID": job.study_uid,
        "ContentQualification": CONTENT_QUALIFICATION,
    }
    if ds.get("Modality") == "SR":
        expected |= _FLAGS
    for keyword, value in expected.items():
        if ds.get(keyword) != value:
            yield f"{keyword} is {ds.get(keyword)!r}, not {value!r}"
    if not any(item.get("DeviceUID") for item in ds.get("ContributingEquipmentSequence") or ()):
        yield "the model is not among the contributing equipment"


def _modules(ds: Dataset) -> Iterator[str]:
    """Type 1 attributes have a value, type 2 attributes stand, in every mandatory module of the IOD (top level)."""
    iod = get_sop_class_iod_map().get(str(ds.SOPClassUID))
    if iod is None:
        yield f"SOP class {ds.SOPClassUID} is unknown"
        return
    attributes = get_module_attribute_map()
    for module in get_iod_module_map()[iod]:
        if module["usage"] != "M" or module["ie"] in _SOURCES_OWN or module["key"] == _CONTENT_TREE:
            continue
        for attribute in attributes[module["key"]]:
            if attribute["path"]:
                continue
            keyword = attribute["keyword"]
            if attribute["type"] == "1" and (keyword not in ds or ds[keyword].is_empty):
                yield f"{keyword} of {module['key']} has no value"
            if attribute["type"] == "2" and keyword not in ds:
                yield f"{keyword} of {module['key']} is missing"


def _content(ds: Dataset, known: Collection[str]) -> Iterator[str]:
    private = False
    for element in elements(ds):
        values = element.value if element.VM > 1 else [element.value]
        if element.VR in ("FD", "FL", "DS") and any(v not in (None, "") and not math.isfinite(v) for v in values):
            yield f"{element.keyword} is not a finite number"
        elif element.keyword in _FLOAT_ARRAYS:
            if not _all_finite(np.frombuffer(element.value, _FLOAT_ARRAYS[element.keyword])):
                yield f"{element.keyword} holds a value that is not finite"
        elif element.VR == "UI":
            for uid in values:
                if uid and not UID(uid).is_valid:
                    yield f"{element.keyword} {uid!r} is not a UID"
            if element.keyword in _REFERENCES and element.value not in known:
                yield f"{element.keyword} {element.value} is neither a source nor an object of this job"
        elif element.keyword == "CodingSchemeDesignator":
            private = private or element.value == codes.PRIVATE_SCHEME
        elif element.keyword == "TextValue" and not str(element.value).strip():
            yield "a text is empty"
    schemes = ds.get("CodingSchemeIdentificationSequence") or ()
    if private and not any(item.CodingSchemeDesignator == codes.PRIVATE_SCHEME for item in schemes):
        yield f"{codes.PRIVATE_SCHEME} is used but not identified"
    yield from _tracking(ds)


def _all_finite(values: NDArray[np.floating]) -> bool:
    """In blocks: a test of all at once takes a byte for each of a hundred million values."""
    return all(np.isfinite(values[at : at + _BLOCK]).all() for at in range(0, len(values), _BLOCK))


def _tracking(ds: Dataset) -> Iterator[str]:
    """Tracking identifiers without parentheses: a viewer parses what stands in them as JSON and fails."""
    for item in ds.get("ContentSequence") or ():
        name = item.get("ConceptNameCodeSequence")
        if name and name[0].CodeValue == _TRACKING_IDENTIFIER and set("()") & set(str(item.TextValue)):
            yield f"tracking identifier {item.TextValue!r} has parentheses"
        yield from _tracking(item)
