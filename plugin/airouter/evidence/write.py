"""A result as DICOM objects, ready to store.

Segmentations, annotations, maps, pictures and registrations come first, then the reports that refer to them. Every
object is the only instance of a new series in the source's study. All UIDs derive from the job: `job.uid(role)` is the
SOP Instance UID, `job.uid(role + " series")` the Series Instance UID, `job.uid("finding|" + key)` a tracking UID; the
same job writes the same UIDs again, whatever the time.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from airouter.domain import codes
from airouter.domain.finding import Result
from airouter.domain.job import Job
from airouter.domain.model import Model
from airouter.domain.study import Modality
from airouter.errors import EvidenceError
from airouter.evidence.ann import annotations
from airouter.evidence.chart import picture as drawn
from airouter.evidence.check import check
from airouter.evidence.encoding import elements
from airouter.evidence.frame_seg import frame_segmentation
from airouter.evidence.identity import Identity
from airouter.evidence.parametric_map import parametric_map
from airouter.evidence.secondary_capture import secondary_capture
from airouter.evidence.slide_seg import slide_segmentation
from airouter.evidence.source import header, restore
from airouter.evidence.spatial_registration import spatial_registration
from airouter.evidence.sr import reports
from airouter.evidence.thickness_map import thickness_map

_SERIES_BASE = 100_000


@dataclass(frozen=True, slots=True)
class Written:
    """One object and what it is within the job, e.g. "report"."""

    role: str
    dataset: Dataset


def series_number(job: Job) -> int:
    """Series Number of a job's first object; the next ones count on.

    From 100000 in steps of 100 by the digest of the job key: above what devices use, stable between runs, and hardly
    ever the same for two jobs of one study. Nothing relies on it: series are told apart by their UIDs.
    """
    digest = hashlib.sha256(job.key.encode()).digest()
    return _SERIES_BASE + int.from_bytes(digest[:2], "big") * 100


def write(
    job: Job,
    model: Model,
    result: Result,
    sources: Mapping[str, Dataset],
    *,
    now: datetime,
    companions: Mapping[str, Model] | None = None,
) -> tuple[Written, ...]:
    """Build and check every object of a result.

    `sources` maps SOP Instance UID to header (no pixel data needed) of every image the result refers to; `now` becomes
    Content Date and Time. Raises EvidenceError where a result refers to something else, or an object would not conform.
    """
    full = {uid: sources[uid] for uid in sorted(sources, key=lambda u: _order(job, u))}
    if not full:
        raise EvidenceError(f"job {job.key} has no sources")
    bare = {uid: header(ds) for uid, ds in full.items()}
    identity = Identity(job, model, result, now, companions or {})
    number = series_number(job)
    written: list[Written] = []
    known: dict[str, Dataset] = dict(bare)
    slide = job.modality is Modality.SM

    def add(role: str, dataset: Dataset) -> None:
        _finish(dataset, job, role, now, next(iter(full.values())))
        check(dataset, job=job, role=role, known=known)
        if dataset.SOPInstanceUID in known:
            raise EvidenceError(f"two objects of job {job.key} have the role {role}")
        known[dataset.SOPInstanceUID] = dataset
        written.append(Written(role, dataset))

    def source(uid: str) -> Dataset:
        if uid not in bare:
            raise EvidenceError(f"{uid} is not a source of job {job.key}")
        return bare[uid]

    try:
        for s in result.segmentations:
            image = source(s.source)
            n = number + len(written)
            add(
                s.role,
                slide_segmentation(s, image, identity, n)
                if slide
                else frame_segmentation(s, image, full[s.source], identity, n),
            )
        for group in result.annotations:
            if len(group):  # no object, no annotation: the report says that there are none
                add(group.role, annotations(group, source(group.source), identity, number + len(written)))
        for m in result.maps:
            if not slide:
                raise EvidenceError(f"{m.role}: only slides have parametric maps")
            add(m.role, parametric_map(m, source(m.source), identity, number + len(written)))
        for picture in (*result.pictures, *(drawn(chart) for chart in result.charts)):
            add(picture.role, secondary_capture(picture, source(picture.source), identity, number + len(written)))
        for t in result.thickness_maps:
            add(t.role, thickness_map(t, source(t.source), identity, number + len(written)))
        for r in result.registrations:
            source(r.fixed), source(r.moving)  # both must be known; where frames lie stands in the full headers
            placed = spatial_registration(r, full[r.fixed], full[r.moving], identity, number + len(written))
            add(r.role, placed)
        originals = _originals(result)
        known |= originals
        others = [w.dataset for w in written]
        for role, document in reports(bare, others, identity, number + len(written), originals):
            add(role, document)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        # What highdicom refuses is a fault of ours or of the source, never to be tried again.
        raise EvidenceError(f"job {job.key}: {type(error).__name__}: {error}") from error
    return tuple(written)


def _originals(result: Result) -> dict[str, Dataset]:
    """The reports of other jobs that findings were inferred from, as far as a reference names them."""
    found: dict[str, Dataset] = {}
    for origin in (origin for finding in result.findings for origin in finding.origins):
        report = Dataset()
        report.SOPClassUID, report.SOPInstanceUID = origin.sop_class, origin.uid
        report.SeriesInstanceUID, report.StudyInstanceUID = origin.series_uid, origin.study_uid
        found[origin.uid] = report
    return found


def _order(job: Job, uid: str) -> tuple[int, str]:
    """Sources in the job's order; headers the job does not name come last."""
    uids = [s.uid for s in job.sources]
    return (uids.index(uid) if uid in uids else len(uids), uid)


def _finish(ds: Dataset, job: Job, role: str, now: datetime, source: Dataset) -> None:
    """What highdicom would make at random or from the clock, and the private scheme where it is used."""
    ds.InstanceCreationDate = DA(now.date())
    ds.InstanceCreationTime = TM(now.time().replace(microsecond=0))
    for item in ds.ContributingEquipmentSequence:
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == codes.PROCESSING_EQUIPMENT.value:
            item.ContributionDateTime = DT(now.replace(microsecond=0))
    dimensions = job.uid(f"{role} dimensions")
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in ds.get(keyword) or ():
            item.DimensionOrganizationUID = dimensions
    identify_private_scheme(ds)
    restore(ds, source)


def identify_private_scheme(ds: Dataset) -> None:
    """Say what 99ORTAI is in an object that uses it."""
    schemes = {e.value for e in elements(ds) if e.keyword == "CodingSchemeDesignator"}
    if codes.PRIVATE_SCHEME in schemes:
        ds.CodingSchemeIdentificationSequence = [
            CodingSchemeIdentificationItem(
                designator=codes.PRIVATE_SCHEME, uid=codes.PRIVATE_SCHEME_UID, name=codes.PRIVATE_SCHEME_NAME
            )
        ]
