"""SEG of an eye image (PS3.3 A.51): a label mask on frames of tomography or on a photograph.

One frame per segment and source frame, on the source's own pixels; empty ones are left out.
"""

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.valuerep import DSfloat

from airouter.domain import codes
from airouter.domain.finding import Segmentation
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity, concept
from airouter.evidence.segmented import Bits, arguments
from airouter.evidence.source import correct_references, functional_group, photograph, plain


def frame_segmentation(
    segmentation: Segmentation, source: Dataset, full: Dataset, identity: Identity, series_number: int
) -> Dataset:
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
    seg = plain(
        hd.seg.Segmentation(
            source_images=[photograph(source)], pixel_array=mask[:1], **arguments(segmentation, identity, series_number)
        )
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
    bits = Bits()
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
            bits.add(plane)
    if not items:  # a segmentation needs a frame: the first, empty
        items.append(_per_frame(segmentation.segments[0].number, 0, frames[0], full, positions, orientations))
        bits.add(np.zeros(mask.shape[1:], dtype=np.bool_))
    seg.NumberOfFrames = len(items)
    seg.PerFrameFunctionalGroupsSequence = DicomSequence(items)
    seg.PixelData = bits.pixel_data()
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
