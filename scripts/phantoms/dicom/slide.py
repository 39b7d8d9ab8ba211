"""Whole slide images: tiled levels, specimen with its staining, optical path, label, thumbnail and concatenations."""

import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.imaging.frames import dataset_frames
from airouter.imaging.stain import DAB_TEXT
from phantoms.dicom.parts import Uids, acquired, code, coded, decimal, item, new_file, patient_and_study, series_module
from phantoms.dicom.pixels import ENCODINGS, Image, Transfer, put_pixels, store_frames

Stain = Literal["H&E", "H-DAB"]

WSI: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"


def slide_instances(
    rgb: Image,
    spacing_um: float,
    *,
    levels: int = 3,
    tile: int = 256,
    transfer: Transfer = "jpeg",
    stain: Stain | None = "H&E",
    patient_id: str = "PHANTOM-SM",
    patient_name: str = "Phantom^Slide",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    with_label: bool = False,
    with_thumbnail: bool = False,
    with_overview: bool = False,
    concatenation_parts: int = 1,
    sparse: bool = False,
    omit_spacing: bool = False,
    offset_table: Literal["basic", "extended", "none"] = "basic",
    fragments: int = 1,
    edges: Literal["white", "black", "short"] = "white",
    inverted: bool = False,
    illumination: Code | None = codes.BRIGHTFIELD_ILLUMINATION,
    icc: bytes | None = None,
    depth_mm: float = 0.0,
    seed: object = None,
) -> list[Dataset]:
    """A whole slide image: VL Whole Slide Microscopy instances of one series, finest level first.

    Args:
        rgb: rows x columns x 3, the base level; x 1 for a monochrome slide, uint16 for one of 16 bits. With two more
            dimensions in front, optical paths x focal planes, each of them has its own picture.
        spacing_um: pixel size of the base level; every further level has twice the spacing of the one before.
        levels: how many levels; fewer where a level would be smaller than one pixel.
        tile: rows and columns of a tile.
        edges: what edge tiles are filled up with, or that they are encoded shorter.
        stain: how the specimen is said to be stained; None says nothing.
        with_label: adds a LABEL instance, with_thumbnail a THUMBNAIL, with_overview an OVERVIEW.
        fragments: how many items each encoded frame is cut into.
        inverted: a monochrome slide is stored as MONOCHROME1, which the IOD does not know (as YBR_FULL of raw-ybr).
        illumination: Illumination Type; None leaves it out, against the IOD.
        icc: the ICC profile of the first optical path in place of sRGB.
        depth_mm: Z offset of the middle focal plane; planes lie 0.001 mm apart.
        concatenation_parts: how many instances the base level is split into.
        sparse: TILED_SPARSE (each tile's place stands in the per-frame groups, white tiles are left out).
        omit_spacing: leaves Pixel Spacing and Imaged Volume out of every level, as some converters do.
    """
    uids = Uids(seed)
    study, series = study_uid or uids(), series_uid or uids()
    frame_of_reference, pyramid, specimen, dimension = uids(), uids(), uids(), uids()
    made: list[Dataset] = []
    stack = rgb if rgb.ndim == 5 else rgb[np.newaxis, np.newaxis]
    rgb = stack[0, stack.shape[1] // 2]

    def instance(stack: Image, um: float, flavour: str, derivation: str) -> Dataset:
        paths, planes, rows, columns, samples = stack.shape
        ds = new_file(WSI, uids(), ENCODINGS[transfer].syntax)
        patient_and_study(ds, patient_id, patient_name, study, accession)
        series_module(ds, series, "SM", 1, len(made) + 1, description)
        ds.FrameOfReferenceUID = frame_of_reference
        ds.PositionReferenceIndicator = "SLIDE_CORNER"
        ds.PyramidUID = pyramid
        ds.ImageType = ["ORIGINAL" if derivation == "NONE" else "DERIVED", "PRIMARY", flavour, derivation]
        acquired(ds)
        ds.VolumetricProperties = "VOLUME"
        _specimen(ds, stain, specimen)
        _optical_paths(ds, paths, samples, illumination, icc)
        ds.FocusMethod = "AUTO"
        ds.ExtendedDepthOfField = "NO"
        ds.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
        ds.TotalPixelMatrixOriginSequence = [
            item(XOffsetInSlideCoordinateSystem="20.0", YOffsetInSlideCoordinateSystem="40.0")
        ]
        if depth_mm:
            ds.TotalPixelMatrixOriginSequence[0].ZOffsetInSlideCoordinateSystem = decimal(depth_mm)
        ds.SpecimenLabelInImage = "YES" if flavour in ("LABEL", "OVERVIEW") else "NO"
        if flavour == "LABEL":
            ds.BarcodeValue = ds.LabelText = "PHANTOM-1"
        ds.BurnedInAnnotation = "NO"
        ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = rows, columns
        ds.TotalPixelMatrixFocalPlanes = planes
        ds.NumberOfOpticalPaths = paths
        if samples == 1:
            ds.RescaleIntercept, ds.RescaleSlope = "0", "1"
        shared = item(
            WholeSlideMicroscopyImageFrameTypeSequence=[item(FrameType=list(ds.ImageType))],
            PixelMeasuresSequence=[item(SliceThickness=decimal(0.001), PixelSpacing=[decimal(um / 1000.0)] * 2)],
        )
        ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = columns * um / 1000.0, rows * um / 1000.0
        ds.ImagedVolumeDepth = 1.0
        if omit_spacing:
            del shared.PixelMeasuresSequence, ds.ImagedVolumeWidth, ds.ImagedVolumeHeight
        ds.SharedFunctionalGroupsSequence = [shared]
        ds.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
        ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=dimension)]
        side = max(rows, columns) if flavour != "VOLUME" else tile
        size = (rows, columns) if flavour != "VOLUME" else (side, side)
        tiles = [
            _Tile(path + 1, depth_mm + (plane - planes // 2) * 0.001, *tile)
            for path in range(paths)
            for plane in range(planes)
            for tile in _tiles(stack[path, plane], size, edges if flavour == "VOLUME" else "white")
        ]
        if sparse:
            white = np.iinfo(stack.dtype).max
            tiles = [t for t in tiles if t.pixels.min() < white] or tiles[:1]
            _sparse(ds, tiles, size, um, dimension)
        pixels = [t.pixels for t in tiles]
        put_pixels(ds, pixels, transfer, offset_table, size=size, inverted=inverted, fragments=fragments)
        return ds

    um = spacing_um
    for level in range(levels):
        whole = instance(stack, um, "VOLUME", "NONE" if level == 0 else "RESAMPLED")
        parts = concatenation_parts if level == 0 else 1
        made.extend(_concatenation(whole, parts, transfer, offset_table, fragments, uids) if parts > 1 else [whole])
        if min(stack.shape[2:4]) < 2:
            break
        stack = _resized(stack, stack.shape[2] // 2, stack.shape[3] // 2)
        um *= 2.0
    if with_thumbnail:
        small = _resized(rgb[np.newaxis, np.newaxis], max(1, rgb.shape[0] // 16), max(1, rgb.shape[1] // 16))
        made.append(instance(small, spacing_um * rgb.shape[1] / small.shape[3], "THUMBNAIL", "RESAMPLED"))
    if with_overview:
        glass = np.full((1, 1, 160, 480, rgb.shape[2]), np.iinfo(rgb.dtype).max * 0.9, rgb.dtype)
        made.append(instance(glass, 100.0, "OVERVIEW", "NONE"))
    if with_label:
        text = np.full((120, 160, 3), 235, np.uint8)
        cv2.putText(text, "PHANTOM", (12, 64), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (20, 20, 20), 2)
        made.append(instance(text[np.newaxis, np.newaxis], 100.0, "LABEL", "NONE"))
    return made


# --- specimen and optical path ---


def _specimen(ds: Dataset, stain: Stain | None, uid: str) -> None:
    ds.ContainerIdentifier = "PHANTOM-1"
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = [code("433466003", "SCT", "Microscope slide")]  # CID 8101
    ds.SpecimenDescriptionSequence = [
        item(
            SpecimenIdentifier="PHANTOM-1-A",
            SpecimenUID=uid,
            IssuerOfTheSpecimenIdentifierSequence=[],
            SpecimenTypeCodeSequence=[code("430856003", "SCT", "Tissue section")],  # CID 8103
            SpecimenPreparationSequence=[] if stain is None else [staining_step(stain)],
        )
    ]


def staining_step(stain: Stain) -> Dataset:
    """One item of Specimen Preparation Sequence: staining, after TID 8001 and TID 8003."""
    items = [
        _content("TEXT", code("121041", "DCM", "Specimen Identifier"), TextValue="PHANTOM-1-A"),
        _content("CODE", coded(codes.PROCESSING_TYPE), ConceptCodeSequence=[coded(codes.STAINING)]),
    ]
    substance = coded(codes.USING_SUBSTANCE)
    if stain == "H-DAB":
        method = coded(codes.IMMUNOHISTOCHEMISTRY)
        items.append(_content("CODE", coded(codes.PROCESSING_STEP_DESCRIPTION), ConceptCodeSequence=[method]))
        items.append(_content("TEXT", substance, TextValue=DAB_TEXT))
    items.append(_content("CODE", substance, ConceptCodeSequence=[coded(codes.HEMATOXYLIN)]))
    if stain == "H&E":
        items.append(_content("CODE", substance, ConceptCodeSequence=[coded(codes.WATER_SOLUBLE_EOSIN)]))
    return item(SpecimenPreparationStepContentItemSequence=items)


def _content(value_type: str, name: Dataset, **value: object) -> Dataset:
    return item(ValueType=value_type, ConceptNameCodeSequence=[name], **value)


def _optical_paths(ds: Dataset, paths: int, samples: int, illumination: Code | None, icc: bytes | None) -> None:
    ds.OpticalPathSequence = []
    for number in range(1, paths + 1):
        path = item(
            OpticalPathIdentifier=str(number),
            IlluminationColorCodeSequence=[code("414298005", "SCT", "Full Spectrum")],  # CID 8122
        )
        if illumination is not None:
            path.IlluminationTypeCodeSequence = [coded(illumination)]
        if samples == 3:
            path.ICCProfile = srgb_profile() if icc is None or number > 1 else icc
            if path.ICCProfile == srgb_profile():
                path.ColorSpace = "SRGB"
        ds.OpticalPathSequence.append(path)


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB profile (made by Little CMS, with its date set, so that equal arguments give equal objects)."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07ea00010001000000000000")  # 2026-01-01
    return bytes(profile)


# --- tiles and concatenations ---


@dataclass(frozen=True)
class _Tile:
    path: int  # counted from 1
    depth_mm: float
    row: int
    column: int
    pixels: Image


def _resized(stack: Image, rows: int, columns: int) -> Image:
    pictures = [
        [cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, -1) for one in planes]
        for planes in stack
    ]
    return np.array(pictures, stack.dtype)


def _tiles(image: Image, size: tuple[int, int], edges: str) -> Iterator[tuple[int, int, Image]]:
    """(row, column, pixels) of every tile, row by row."""
    rows, columns = image.shape[:2]
    for row in range(0, rows, size[0]):
        for column in range(0, columns, size[1]):
            part = image[row : row + size[0], column : column + size[1]]
            if edges == "short":
                yield row, column, part
                continue
            tile = np.full((*size, image.shape[2]), np.iinfo(image.dtype).max if edges == "white" else 0, image.dtype)
            tile[: part.shape[0], : part.shape[1]] = part
            yield row, column, tile


def _sparse(ds: Dataset, tiles: list[_Tile], size: tuple[int, int], um: float, dimension: str) -> None:
    pointers = [(0x0048021F, 0x0048021A), (0x0048021E, 0x0048021A)]  # Row, Column in Plane Position (Slide) Sequence
    depths = sorted({tile.depth_mm for tile in tiles})
    if len(depths) > 1:
        pointers.append((0x0040074A, 0x0048021A))  # Z Offset in Slide Coordinate System
    if tiles[-1].path > 1:
        pointers.append((0x00480106, 0x00480207))  # Identifier in Optical Path Identification Sequence
    ds.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
        )
        for pointer, group in pointers
    ]
    groups = []
    for tile in tiles:
        row, column = tile.row, tile.column
        place = item(
            ColumnPositionInTotalImagePixelMatrix=column + 1,
            RowPositionInTotalImagePixelMatrix=row + 1,
            # Image Orientation (Slide) is 0\-1\0\-1\0\0: along a row y falls, down a column x falls.
            XOffsetInSlideCoordinateSystem=decimal(20.0 - row * um / 1000.0),
            YOffsetInSlideCoordinateSystem=decimal(40.0 - column * um / 1000.0),
            ZOffsetInSlideCoordinateSystem=decimal(tile.depth_mm),
        )
        values = [row // size[0] + 1, column // size[1] + 1]
        values += [depths.index(tile.depth_mm) + 1] if len(depths) > 1 else []
        values += [tile.path] if tiles[-1].path > 1 else []
        content = item(DimensionIndexValues=values)
        groups.append(
            item(
                FrameContentSequence=[content],
                PlanePositionSlideSequence=[place],
                OpticalPathIdentificationSequence=[item(OpticalPathIdentifier=str(tile.path))],
            )
        )
    ds.PerFrameFunctionalGroupsSequence = groups


def _concatenation(
    whole: Dataset, parts: int, transfer: Transfer, offset_table: str, fragments: int, uids: Uids
) -> list[Dataset]:
    """Split the frames of an instance over several (PS3.3 C.7.6.16.2.2.4)."""
    count = int(whole.NumberOfFrames)
    encoded = list(dataset_frames(whole, range(1, count + 1)))
    size = -(-count // parts)
    concatenation = uids()
    made = []
    for part, start in enumerate(range(0, count, size), start=1):
        ds = new_file(whole.SOPClassUID, uids(), whole.file_meta.TransferSyntaxUID)
        for element in whole:
            if element.keyword not in {
                "SOPInstanceUID",
                "PixelData",
                "ExtendedOffsetTable",
                "ExtendedOffsetTableLengths",
            }:
                ds.add(copy.deepcopy(element))
        ds.ConcatenationUID = concatenation
        ds.SOPInstanceUIDOfConcatenationSource = whole.SOPInstanceUID
        ds.InConcatenationNumber = part
        ds.InConcatenationTotalNumber = -(-count // size)
        ds.ConcatenationFrameOffsetNumber = start
        mine = encoded[start : start + size]
        ds.NumberOfFrames = len(mine)
        if "PerFrameFunctionalGroupsSequence" in whole:
            ds.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[start : start + size]
        store_frames(ds, mine, transfer, offset_table, fragments)
        made.append(ds)
    return made
