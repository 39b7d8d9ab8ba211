"""SEG: label masks as BINARY segmentations (PS3.3 A.51).

A slide mask keeps its own coarser grid in the slide's frame of reference, tiled, empty tiles left out. A mask on frames
of tomography or on a photograph has one frame per segment and source frame, on the source's own pixels.
"""

from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from airouter.domain import codes
from airouter.domain.finding import Segmentation
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity, clip, code, concept
from airouter.evidence.source import correct_references, functional_group, photograph, slide_geometry

_MAX_TILE = 512
# Display colours (RGB) of segments 1, 2, ...: distinct also with red-green colour blindness (Okabe and Ito, 2008).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def _descriptions(segmentation: Segmentation, identity: Identity) -> list[hd.seg.SegmentDescription]:
    return [
        hd.seg.SegmentDescription(
            segment_number=segment.number,
            segment_label=clip(segment.label),
            segmented_property_category=code(segment.category),
            segmented_property_type=code(segment.type),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identity.algorithm(),
            tracking_uid=identity.job.uid(f"finding|{segmentation.role}|segment {segment.number}"),
            tracking_id=clip(f"{segmentation.label} {segment.label}"),
            display_color=hd.color.CIELabColor.from_rgb(*_COLOURS[(segment.number - 1) % len(_COLOURS)]),
        )
        for segment in segmentation.segments
    ]


def _arguments(segmentation: Segmentation, identity: Identity, series_number: int) -> dict[str, Any]:
    return {
        **identity.common(segmentation.label),
        "segmentation_type": hd.seg.SegmentationTypeValues.BINARY,
        "segment_descriptions": _descriptions(segmentation, identity),
        "series_instance_uid": identity.job.uid(f"{segmentation.role} series"),
        "sop_instance_uid": identity.job.uid(segmentation.role),
        "series_number": series_number,
        "content_description": clip(segmentation.label),
        "transfer_syntax_uid": ExplicitVRLittleEndian,
    }


def slide_segmentation(
    segmentation: Segmentation, source: Dataset, identity: Identity, series_number: int
) -> hd.seg.Segmentation:
    """A slide mask on its own grid. `source` is the header of the level that the mask covers.

    Raises EvidenceError where the mask does not cover the level or the level has no place on the slide.
    """
    rows, columns = segmentation.mask.shape
    covered = ((source.TotalPixelMatrixRows, rows, "rows"), (source.TotalPixelMatrixColumns, columns, "columns"))
    for size, cells, name in covered:
        if not (cells - 1) * segmentation.factor < size <= (cells + 1) * segmentation.factor:
            raise EvidenceError(f"{cells} {name} of {segmentation.factor} pixels do not cover a level of {size}")
    geometry = slide_geometry(source).coarser(segmentation.factor)
    return hd.seg.Segmentation(
        source_images=[source],
        pixel_array=segmentation.mask[np.newaxis],
        pixel_measures=hd.PixelMeasuresSequence(geometry.spacing, slice_thickness=_thickness(source)),
        plane_orientation=hd.PlaneOrientationSequence("SLIDE", geometry.orientation),
        plane_positions=[hd.PlanePositionSequence("SLIDE", geometry.origin, (1, 1))],
        tile_pixel_array=True,
        tile_size=(min(source.Rows, _MAX_TILE), min(source.Columns, _MAX_TILE)),
        **_arguments(segmentation, identity, series_number),
    )


def _thickness(source: Dataset) -> float:
    """Slice Thickness in mm, type 1C of Pixel Measures; 1 um where the source does not know it."""
    shared = source.get("SharedFunctionalGroupsSequence") or [Dataset()]
    measures = shared[0].get("PixelMeasuresSequence") or [Dataset()]
    return float(measures[0].get("SliceThickness") or 0.001)


def frame_segmentation(
    segmentation: Segmentation, source: Dataset, full: Dataset, identity: Identity, series_number: int
) -> hd.seg.Segmentation:
    """A mask on frames of tomography or on a photograph.

    `source` is the header without, `full` the one with per-frame groups. Frames without any pixel of a segment are left
    out. Raises EvidenceError where mask and source differ in rows, columns or frames.
    """
    mask = segmentation.mask if segmentation.mask.ndim == 3 else segmentation.mask[np.newaxis]
    count = int(source.get("NumberOfFrames") or 1)
    frames = segmentation.frames or tuple(range(1, len(mask) + 1))
    if mask.shape != (len(frames), source.Rows, source.Columns) or not all(1 <= n <= count for n in frames):
        given = f"{count} of {source.Rows}x{source.Columns}"
        raise EvidenceError(f"mask {mask.shape} on frames {frames} does not fit {given}")
    seg = hd.seg.Segmentation(
        source_images=[photograph(source)], pixel_array=mask[:1], **_arguments(segmentation, identity, series_number)
    )
    _replace_frames(seg, mask, frames, segmentation, full)
    correct_references(seg, {source.SOPInstanceUID: source.SOPClassUID})
    for keyword in ("Laterality", "PatientOrientation"):
        seg.pop(keyword, None)
    seg.PatientOrientation = None
    return seg


def _replace_frames(
    seg: Dataset, mask: NDArray[np.uint8], frames: tuple[int, ...], segmentation: Segmentation, full: Dataset
) -> None:
    """Per-frame groups and bits for every segment on every frame, in place of the single frame highdicom made."""
    planes: list[NDArray[np.bool_]] = []
    items: list[Dataset] = []
    # A frame lies somewhere by its position and its orientation together; half of it would be a wrong place.
    positions, orientations = _positions(full), _orientations(full)
    placed = bool(full.get("FrameOfReferenceUID")) and positions is not None and orientations is not None
    if not placed:
        positions = orientations = None
    for segment in segmentation.segments:
        for index, number in enumerate(frames):
            plane = mask[index] == segment.number
            if not plane.any():
                continue
            items.append(_per_frame(segment.number, index, number, full, positions, orientations))
            planes.append(plane)
    if not items:  # a segmentation needs a frame: the first, empty
        items.append(_per_frame(segmentation.segments[0].number, 0, frames[0], full, positions, orientations))
        planes.append(np.zeros(mask.shape[1:], dtype=np.bool_))
    seg.NumberOfFrames = len(items)
    seg.PerFrameFunctionalGroupsSequence = DicomSequence(items)
    bits = np.packbits(np.stack(planes).reshape(-1), bitorder="little").tobytes()
    seg.PixelData = bits + b"\0" * (len(bits) % 2)
    _shared_groups(seg, full, orientations)
    if placed:
        seg.FrameOfReferenceUID = full.FrameOfReferenceUID
        seg.PositionReferenceIndicator = full.get("PositionReferenceIndicator") or ""
    # Dimensions: segment, then the source frame within the one stack.
    organization = seg.DimensionOrganizationSequence[0].DimensionOrganizationUID
    seg.DimensionIndexSequence = DicomSequence(
        [
            _dimension(organization, 0x0062000B, 0x0062000A, "Segment Number"),
            _dimension(organization, 0x00209057, 0x00209111, "Source frame"),
        ]
    )


def _dimension(organization: str, pointer: int, group: int, label: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organization
    item.DimensionIndexPointer = Tag(pointer)
    item.FunctionalGroupPointer = Tag(group)
    item.DimensionDescriptionLabel = label
    return item


def _per_frame(
    segment: int,
    index: int,
    number: int,
    full: Dataset,
    positions: list[Dataset] | None,
    orientations: list[Dataset] | None,
) -> Dataset:
    item = Dataset()
    content = Dataset()
    content.StackID = "1"
    content.InStackPositionNumber = index + 1
    content.DimensionIndexValues = [segment, index + 1]
    item.FrameContentSequence = [content]
    identification = Dataset()
    identification.ReferencedSegmentNumber = segment
    item.SegmentIdentificationSequence = [identification]
    reference = Dataset()
    reference.ReferencedSOPClassUID = full.SOPClassUID
    reference.ReferencedSOPInstanceUID = full.SOPInstanceUID
    if int(full.get("NumberOfFrames") or 1) > 1:
        reference.ReferencedFrameNumber = number
    reference.SpatialLocationsPreserved = "YES"
    reference.PurposeOfReferenceCodeSequence = [concept(codes.SOURCE_FOR_PROCESSING)]
    derivation = Dataset()
    derivation.SourceImageSequence = [reference]
    derivation.DerivationCodeSequence = [concept(codes.SEGMENTATION)]
    item.DerivationImageSequence = [derivation]
    if positions is not None:
        item.PlanePositionSequence = [positions[number - 1]]
    if orientations is not None and len(orientations) > 1:
        item.PlaneOrientationSequence = [orientations[number - 1]]
    return item


def _positions(full: Dataset) -> list[Dataset] | None:
    """Plane Position items of every source frame, None unless each frame has one."""
    count = int(full.get("NumberOfFrames") or 1)
    found = full.get("PerFrameFunctionalGroupsSequence") or []
    positions = [_decimals(group, "PlanePositionSequence", "ImagePositionPatient", 3) for group in found]
    known = [item for item in positions if item is not None]
    return known if len(known) == count == len(found) else None


def _orientations(full: Dataset) -> list[Dataset] | None:
    """Plane Orientation item that all source frames share, or one of each frame; None where a frame has none."""
    shared = full.get("SharedFunctionalGroupsSequence") or [Dataset()]
    item = _decimals(shared[0], "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if item is not None:
        return [item]
    found = full.get("PerFrameFunctionalGroupsSequence") or []
    items = [_decimals(group, "PlaneOrientationSequence", "ImageOrientationPatient", 6) for group in found]
    known = [item for item in items if item is not None]
    return known if len(known) == len(found) == int(full.get("NumberOfFrames") or 1) else None


def _decimals(group: Dataset, sequence: str, keyword: str, count: int) -> Dataset | None:
    """A functional group's item with one attribute of `count` decimal strings, none too long; None without it."""
    values = (group.get(sequence) or [Dataset()])[0].get(keyword) or []
    if len(values) != count:
        return None
    item = Dataset()
    setattr(item, keyword, [DSfloat(float(v), auto_format=True) for v in values])
    return item


def _shared_groups(seg: Dataset, full: Dataset, orientations: list[Dataset] | None) -> None:
    """Orientation and spacing of the source; viewers need an orientation even of an image that lies nowhere."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    # highdicom shares it where there is one segment only; ours stands in every frame's own groups.
    shared.pop("SegmentIdentificationSequence", None)
    if orientations is None:
        nowhere = Dataset()
        nowhere.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        orientations = [nowhere]
    if len(orientations) == 1:
        shared.PlaneOrientationSequence = orientations
    # Where the spacing stands per frame it is the same in each of them: another image is not analysed.
    measures = functional_group(full, "PixelMeasuresSequence")
    spacing = (full if measures is None else measures).get("PixelSpacing")
    if spacing and "PixelMeasuresSequence" not in shared:
        item = Dataset()
        item.PixelSpacing = [DSfloat(float(v), auto_format=True) for v in spacing]
        thickness = (measures.get("SliceThickness") if measures is not None else None) or 0.001
        item.SliceThickness = DSfloat(float(thickness), auto_format=True)
        shared.PixelMeasuresSequence = [item]
