"""SR: findings as Comprehensive 3D SR with TID 1500 "Measurement Report" (PS3.16), one kind of group per document.

The regions report holds TID 1410 groups, each with an image region; the scores report TID 1501 groups without one. On a
slide every group has a region in the slide's frame of reference, the outline of the whole level where the finding names
none, because a slide viewer (OHIF 3.13) throws on a group without: so slides never have a scores report. For the same
reason a scores report does not bear the title (126000, DCM), which OHIF takes for drawable measurements.

What was not analysed, the reading priority with its reason and the other objects of the job stand in the first report.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Finding, NotAnalysed, Origin, Region, Result
from airouter.domain.study import Modality
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity, clip, code, concept
from airouter.evidence.source import slide_geometry

REGIONS = "report"
SCORES = "scores"

_CONTAINS = hd.sr.RelationshipTypeValues.CONTAINS
# Annotations and registrations are objects without pixels.
_NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.91.1", "1.2.840.10008.5.1.4.1.1.66.1")
_FIELD = "1.2.840.10008.5.1.4.1.1.80.1"  # a visual field has no pixels either
_EYES = (Modality.OP, Modality.OPT, Modality.OPV)
Group: TypeAlias = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations | hd.sr.MeasurementsAndQualitativeEvaluations


def reports(
    sources: Mapping[str, Dataset],
    others: Sequence[Dataset],
    identity: Identity,
    series_number: int,
    originals: Mapping[str, Dataset] | None = None,
) -> list[tuple[str, hd.sr.Comprehensive3DSR]]:
    """(role, document) of the regions report, then of the scores report; one of them where the other has no group.

    `others` are the objects of this job made before, which the first report refers to; `originals` the reports of other
    jobs that findings were inferred from, by SOP Instance UID.
    """
    findings = identity.result.findings or (_summary(identity.result),)
    slide = identity.job.modality is Modality.SM
    regions = [f for f in findings if slide or f.region is not None]
    scores = [f for f in findings if not slide and f.region is None]
    documents: list[tuple[str, hd.sr.Comprehensive3DSR]] = []
    for role, title, members in (
        (REGIONS, codes.IMAGING_MEASUREMENT_REPORT, regions),
        (SCORES, codes.DIAGNOSTIC_IMAGING_REPORT, scores),
    ):
        if members:
            first = not documents
            document = _document(
                role,
                title,
                members,
                sources,
                others if first else (),
                identity,
                series_number + len(documents),
                first,
                originals or {},
            )
            documents.append((role, document))
    return documents


def _summary(result: Result) -> Finding:
    """A report needs a group also where nothing was found."""
    nothing = codes.NONE_SUCCEEDED if result.not_analysed else codes.ALL_SUCCEEDED_WITHOUT_FINDINGS
    return Finding(key="summary", label="Summary", finding=nothing)


def _document(
    role: str,
    title: Code,
    findings: Sequence[Finding],
    sources: Mapping[str, Dataset],
    others: Sequence[Dataset],
    identity: Identity,
    series_number: int,
    first: bool,
    originals: Mapping[str, Dataset],
) -> hd.sr.Comprehensive3DSR:
    first_source = next(iter(sources.values()))
    context = hd.sr.ObservationContext(
        observer_device_context=identity.observer(), subject_context=_specimen(first_source)
    )
    groups = [_group(finding, sources, identity) for finding in findings]
    used = {f.region.source for f in findings if f.region is not None} or {first_source.SOPInstanceUID}
    images = [ds for uid, ds in sources.items() if uid in used and ds.SOPClassUID != _FIELD]
    report = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=code(codes.IMAGING_PROCEDURE),
        imaging_measurements=groups,
        title=code(title),
        referenced_images=images or None,
    )
    root = report[0].ContentSequence
    root.extend(_measured(ds) for ds in sources.values() if ds.SOPClassUID == _FIELD)
    if first:
        root.append(_evaluations(identity.result))
        root.extend(_reference(other) for other in others)
    inferred = {o.uid for f in findings for o in f.origins}
    return hd.sr.Comprehensive3DSR(
        evidence=[*sources.values(), *others, *(ds for uid, ds in originals.items() if uid in inferred)],
        content=report[0],
        series_instance_uid=identity.job.uid(f"{role} series"),
        sop_instance_uid=identity.job.uid(role),
        series_number=series_number,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **identity.common("report" if role == REGIONS else "scores"),
    )


def _group(finding: Finding, sources: Mapping[str, Dataset], identity: Identity) -> Group:
    """TID 1410 with the finding's region, or TID 1501 where an eye's finding has none."""
    common = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=identity.job.tracking_uid(finding.key), identifier=clip(finding.label)
        ),
        "finding_type": code(finding.finding),
        "algorithm_id": identity.report_algorithm(),
        "method": code(finding.method) if finding.method else None,
        "finding_sites": _sites(finding, identity.job.modality),
        "measurements": [
            hd.sr.Measurement(name=code(m.name), value=float(m.value), unit=code(m.unit)) for m in finding.measurements
        ],
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(name=code(e.name), value=code(e.value)) for e in finding.evaluations
        ],
    }
    group: Group
    if identity.job.modality is Modality.SM:
        region = finding.region or _outline(sources)
        group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=on_slide(region, _source(region, sources)), **common
        )
    elif finding.region is not None:
        group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=on_frame(finding.region, _source(finding.region, sources)), **common
        )
    else:
        group = hd.sr.MeasurementsAndQualitativeEvaluations(**common)
    for origin in finding.origins:
        group[0].ContentSequence.append(_origin(origin))
    if finding.comment:
        group[0].ContentSequence.append(_text(codes.COMMENT, finding.comment))
    return group


def _origin(origin: Origin) -> hd.sr.CompositeContentItem:
    """The report of another job, with the Tracking UID of the finding there that this one was inferred from."""
    item = hd.sr.CompositeContentItem(
        name=concept(codes.SOURCE_FINDING),
        referenced_sop_class_uid=origin.sop_class,
        referenced_sop_instance_uid=origin.uid,
        relationship_type=_CONTAINS,
    )
    tracking = hd.sr.UIDRefContentItem(
        name=hd.sr.CodedConcept("112040", "DCM", "Tracking Unique Identifier"),
        value=origin.tracking_uid,
        relationship_type=hd.sr.RelationshipTypeValues.HAS_ACQ_CONTEXT,
    )
    label = hd.sr.TextContentItem(
        name=concept(codes.COMMENT),
        value=origin.label,
        relationship_type=hd.sr.RelationshipTypeValues.HAS_ACQ_CONTEXT,
    )
    item.ContentSequence = hd.sr.ContentSequence([tracking, label])
    return item


def _source(region: Region, sources: Mapping[str, Dataset]) -> Dataset:
    if region.source not in sources:
        raise EvidenceError(f"a finding lies on {region.source}, which is not a source of the job")
    return sources[region.source]


def _sites(finding: Finding, modality: Modality) -> list[hd.sr.FindingSite] | None:
    site = finding.site or (codes.EYE if finding.laterality and modality in _EYES else None)
    if site is None:
        return None
    side = code(codes.LATERALITY[finding.laterality]) if finding.laterality else None
    return [hd.sr.FindingSite(anatomic_location=code(site), laterality=side)]


def _outline(sources: Mapping[str, Dataset]) -> Region:
    """The whole total pixel matrix of the finest level; labels and overviews of the slide are not levels."""
    levels = [ds for ds in sources.values() if "VOLUME" in (ds.get("ImageType") or ())]
    if not levels:
        raise EvidenceError("no source is a level of the slide")
    finest = max(levels, key=lambda ds: int(ds.get("TotalPixelMatrixColumns") or 0))
    right, bottom = float(finest.TotalPixelMatrixColumns), float(finest.TotalPixelMatrixRows)
    corners = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])
    return Region("POLYGON", finest.SOPInstanceUID, corners)


def _points(region: Region) -> NDArray[np.float64]:
    """The region's points; a polygon closed by its first point, as SR wants it (PS3.3 C.18.6.1.2, C.18.9.1.2)."""
    points = np.asarray(region.points, dtype=np.float64)
    least = {"POINT": 1, "POLYLINE": 2, "POLYGON": 3}.get(region.graphic)
    places = points.ndim == 2 and points.shape[1] == 2 and bool(np.isfinite(points).all())
    if least is None or not places or len(points) < least:
        raise EvidenceError(f"not a {region.graphic}: {points.shape} points")
    return np.vstack([points, points[:1]]) if region.graphic == "POLYGON" else points


def on_slide(region: Region, source: Dataset) -> hd.sr.ImageRegion3D:
    """The region as SCOORD3D in the slide's frame of reference; `source` is the header of its level."""
    return hd.sr.ImageRegion3D(
        graphic_type=hd.sr.GraphicTypeValues3D(region.graphic),
        graphic_data=slide_geometry(source).to_slide(_points(region)),
        frame_of_reference_uid=source.FrameOfReferenceUID,
    )


def on_frame(region: Region, source: Dataset) -> hd.sr.ImageRegion:
    """The region as SCOORD on its frame; `source` is the header of the image."""
    many = int(source.get("NumberOfFrames") or 1) > 1
    return hd.sr.ImageRegion(
        # SCOORD knows no POLYGON: a closed POLYLINE is one.
        graphic_type=hd.sr.GraphicTypeValues("POLYLINE" if region.graphic == "POLYGON" else region.graphic),
        graphic_data=_points(region),
        source_image=hd.sr.SourceImageForRegion(
            source.SOPClassUID, source.SOPInstanceUID, [region.frame] if many and region.frame else None
        ),
    )


def _specimen(source: Dataset) -> hd.sr.SubjectContext | None:
    """TID 1009 with the first specimen of a slide, None elsewhere or where it has no UID."""
    described = source.get("SpecimenDescriptionSequence")
    if not described or not described[0].get("SpecimenUID"):
        return None
    attributes = hd.sr.SubjectContextSpecimen(
        uid=described[0].SpecimenUID,
        identifier=described[0].get("SpecimenIdentifier") or None,
        container_identifier=source.get("ContainerIdentifier") or None,
    )
    return hd.sr.SubjectContext(hd.sr.CodedConcept("121027", "DCM", "Specimen"), attributes)


def _text(name: Code, value: str) -> hd.sr.TextContentItem:
    return hd.sr.TextContentItem(name=concept(name), value=value, relationship_type=_CONTAINS)


def _not_analysed(item: NotAnalysed) -> hd.sr.TextContentItem:
    return _text(codes.NOT_ANALYSED, f"{item.quantity}: {item.reason}")


def _evaluations(result: Result) -> hd.sr.ContainerContentItem:
    """The Qualitative Evaluations container of TID 1500: priority, its reason, what was not analysed."""
    container = hd.sr.ContainerContentItem(name=concept(codes.QUALITATIVE_EVALUATIONS), relationship_type=_CONTAINS)
    priority = hd.sr.CodeContentItem(
        name=concept(codes.READING_PRIORITY),
        value=concept(codes.PRIORITY[result.verdict.priority]),
        relationship_type=_CONTAINS,
    )
    reason = [_text(codes.COMMENT, result.verdict.reason)] if result.verdict.reason else []
    items = [priority, *reason, *(_not_analysed(item) for item in result.not_analysed)]
    container.ContentSequence = hd.sr.ContentSequence(items)
    return container


def _measured(field: Dataset) -> hd.sr.CompositeContentItem:
    """A visual field, which the image library of the report cannot name."""
    return hd.sr.CompositeContentItem(
        name=concept(codes.SOURCE_OF_MEASUREMENT),
        referenced_sop_class_uid=field.SOPClassUID,
        referenced_sop_instance_uid=field.SOPInstanceUID,
        relationship_type=_CONTAINS,
    )


def _reference(other: Dataset) -> hd.sr.ImageContentItem | hd.sr.CompositeContentItem:
    """An object made by the same job; one without pixels is no image, so it is a composite reference."""
    kind = hd.sr.CompositeContentItem if other.SOPClassUID in _NO_IMAGES else hd.sr.ImageContentItem
    return kind(
        name=concept(codes.RESULT_OBJECT),
        referenced_sop_class_uid=other.SOPClassUID,
        referenced_sop_instance_uid=other.SOPInstanceUID,
        relationship_type=_CONTAINS,
    )
