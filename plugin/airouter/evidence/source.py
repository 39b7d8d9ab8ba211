"""A stored header made fit for highdicom, on a copy: a sloppy source must not stop a result.

What the standard allows to be empty (type 2) is added empty, decimal strings beyond 16 bytes are shortened, pixel data
and per-frame groups are left out. The patient's and the study's own values are never changed: they go into the result
as they stand in the source.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import VLPhotographicImageStorage
from pydicom.valuerep import DSfloat

from airouter.domain.geometry import SlideGeometry
from airouter.domain.study import SOURCE_SOP_CLASSES
from airouter.errors import EvidenceError

# Patient and General Study, type 2 (PS3.3 C.7.1.1, C.7.2.1).
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
_BULK = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PerFrameFunctionalGroupsSequence", "IconImageSequence")
_SEXES = ("M", "F", "O", "")
_DS_BYTES = 16


def _short_decimals(ds: Dataset) -> None:
    for element in ds.iterall():
        if element.VR != "DS" or element.value in (None, ""):
            continue
        values = element.value if isinstance(element.value, (MultiValue, list)) else [element.value]
        if any(len(str(value)) > _DS_BYTES for value in values):
            short = [DSfloat(float(value), auto_format=True) for value in values]
            element.value = short if len(short) > 1 else short[0]


def header(source: Dataset) -> Dataset:
    """A copy without bulk that has every type 2 attribute; text is decoded, so that it can be written as UTF-8.

    Raises EvidenceError where an identifier without which nothing can be referenced is missing.
    """
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not source.get(keyword):
            raise EvidenceError(f"a source has no {keyword}")
    bare = Dataset()
    for tag in list(source.keys()):  # not over the elements: that would decode the groups of every frame
        if keyword_for_tag(tag) not in _BULK and not tag.is_private:
            bare[tag] = source[tag]
    bare = copy.deepcopy(bare)
    _share_measures(bare, source)
    if meta := getattr(source, "file_meta", None):
        bare.file_meta = copy.deepcopy(meta)
    bare.decode()
    for keyword in TYPE_2:
        if keyword not in bare:
            setattr(bare, keyword, "")
    if not bare.get("Modality") and str(bare.SOPClassUID) in SOURCE_SOP_CLASSES:
        bare.Modality = SOURCE_SOP_CLASSES[str(bare.SOPClassUID)].value  # the SOP class, not Modality, is relied upon
    if not bare.get("LossyImageCompression", "00"):
        del bare.LossyImageCompression  # type 1C in what derives from it: unknown is not to be said at all
    if bare.PatientSex not in _SEXES:
        bare.PatientSex = ""  # highdicom refuses other values; `restore` brings the stored one back
    _short_decimals(bare)
    return bare


def _share_measures(bare: Dataset, source: Dataset) -> None:
    """Pixel Measures that a slide has in every frame's own groups become shared ones: those groups are left out.

    As imaging.header.pixel_spacing_um reads them: only where all frames have the same Pixel Spacing.
    """
    shared = bare.get("SharedFunctionalGroupsSequence") or []
    if "TotalPixelMatrixRows" not in bare or (shared and shared[0].get("PixelMeasuresSequence")):
        return
    found = [group.get("PixelMeasuresSequence") for group in source.get("PerFrameFunctionalGroupsSequence") or ()]
    if found and all(found) and len({str(items[0].get("PixelSpacing")) for items in found}) == 1:
        if not shared:
            bare.SharedFunctionalGroupsSequence = shared = [Dataset()]
        bare.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = copy.deepcopy(found[0])


def plain(ds: Dataset) -> Dataset:
    """A bare data set with elements of its own and the same values: without what highdicom remembers of its input."""
    made = Dataset()
    for element in ds:
        made.add(copy.copy(element))
    if meta := getattr(ds, "file_meta", None):
        made.file_meta = meta
    return made


def restore(evidence: Dataset, source: Dataset) -> None:
    """Put the source's own patient and study values back where they had to be made fit."""
    for keyword in TYPE_2:
        if keyword in source:
            evidence[keyword] = copy.deepcopy(source[keyword])


def photograph(source: Dataset) -> Dataset:
    """The source as a single-frame photograph without frame of reference, under its own SOP Instance UID.

    highdicom refuses Ophthalmic Photography (it takes it for a multi-frame image with functional groups) and tomography
    whose frames have no distinct positions. Given this stand-in it makes everything but the frames; references are
    corrected afterwards by `correct_references`.
    """
    stand_in = copy.deepcopy(source)
    for keyword in ("NumberOfFrames", "FrameOfReferenceUID", "SharedFunctionalGroupsSequence"):
        stand_in.pop(keyword, None)
    stand_in.SOPClassUID = VLPhotographicImageStorage
    return stand_in


def correct_references(ds: Dataset, sop_classes: Mapping[str, str]) -> None:
    """Give every reference the SOP class that its instance really has."""
    for element in ds:
        if element.VR != "SQ":
            continue
        for item in element.value:
            uid = item.get("ReferencedSOPInstanceUID")
            if uid in sop_classes:
                item.ReferencedSOPClassUID = sop_classes[uid]
            correct_references(item, sop_classes)


def functional_group(source: Dataset, keyword: str) -> Dataset | None:
    """The first item of a functional group, shared or of the first frame that has it; None where none has."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in source.get(groups) or ():
            if item.get(keyword):
                found: Dataset = item[keyword].value[0]
                return found
    return None


def one_eye(source: Dataset) -> str | None:
    """R or L as the header of an image of the eye says it; None where it says both, neither or nothing."""
    anatomy = functional_group(source, "FrameAnatomySequence") or Dataset()
    said = (
        source.get("ImageLaterality")
        or anatomy.get("FrameLaterality")
        or source.get("Laterality")
        or source.get("MeasurementLaterality")
    )
    return str(said) if said in ("R", "L") else None


def slide_geometry(source: Dataset) -> SlideGeometry:
    """Where the total pixel matrix of a slide level lies (PS3.3 C.8.12.4, Pixel Measures in C.7.6.16.2.1).

    Raises EvidenceError where origin, orientation or spacing is missing or impossible.
    """
    uid = source.SOPInstanceUID
    measures = functional_group(source, "PixelMeasuresSequence")
    origin = (source.get("TotalPixelMatrixOriginSequence") or [None])[0]
    orientation: Any = source.get("ImageOrientationSlide")
    spacing: Any = measures.get("PixelSpacing") if measures is not None else None
    if origin is None or not orientation or not spacing or not source.get("FrameOfReferenceUID"):
        raise EvidenceError(f"slide level {uid} has no origin, orientation, spacing or frame of reference")
    x, y = origin.get("XOffsetInSlideCoordinateSystem"), origin.get("YOffsetInSlideCoordinateSystem")
    if x is None or y is None:
        raise EvidenceError(f"slide level {uid} has an origin without offsets")
    a, b, c, d, e, f = (float(v) for v in orientation)
    try:
        return SlideGeometry(
            (float(x), float(y), float(origin.get("ZOffsetInSlideCoordinateSystem") or 0.0)),
            (a, b, c, d, e, f),
            (float(spacing[0]), float(spacing[1])),
        )
    except ValueError as error:
        raise EvidenceError(f"slide level {uid}: {error}") from error


def grid_geometry(source: Dataset, rows: int, columns: int, factor: int) -> SlideGeometry:
    """Where a grid of cells of `factor` level pixels lies, which begins at the level's corner and just covers it.

    Raises EvidenceError as `slide_geometry`, and where it does not cover the level.
    """
    for size, cells, name in (
        (source.TotalPixelMatrixRows, rows, "rows"),
        (source.TotalPixelMatrixColumns, columns, "columns"),
    ):
        if not (cells - 1) * factor < size <= cells * factor:
            raise EvidenceError(f"{cells} {name} of {factor} pixels do not cover a level of {size}")
    return slide_geometry(source).coarser(factor)
