"""What DICOM objects say of pixels, read without the code that wrote them."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from tests.browser.pixels import Mask


def segment_masks(ds: Dataset) -> dict[tuple[int, int], Mask]:
    """(frame of the source image from 1, segment number) -> mask, of a binary segmentation of one image."""
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    made: dict[tuple[int, int], Mask] = {}
    for pixels, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        number = int(source.get("ReferencedFrameNumber", 1) or 1)
        made[number, int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)] = pixels > 0
    return made


def voxel_counts(ds: Dataset) -> dict[int, int]:
    """How many pixels each segment has in all frames; those without any are left out."""
    counts: Counter[int] = Counter()
    for (_, segment), mask in segment_masks(ds).items():
        counts[segment] += int(mask.sum())
    return {segment: count for segment, count in counts.items() if count}


def outlines(report: Dataset) -> list[tuple[int, NDArray[np.float64]]]:
    """(frame from 1, points [n, 2] as column and row) of every polyline of a report."""
    found = []

    def walk(item: Dataset) -> None:
        if item.get("ValueType") == "SCOORD" and item.GraphicType == "POLYLINE":
            image = item.ContentSequence[0].ReferencedSOPSequence[0]
            frame = int(image.get("ReferencedFrameNumber", 1) or 1)
            found.append((frame, np.array(item.GraphicData, float).reshape(-1, 2)))
        for child in item.get("ContentSequence", []):
            walk(child)

    walk(report)
    return found
