"""Whole slide images: tiled levels, specimen with its staining, optical path, label, thumbnail and concatenations."""

import copy
from collections.abc import Iterator
from typing import Final, Literal

import cv2
import numpy as np
from pydicom.dataset import Dataset

from airouter.domain import codes
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
    concatenation_parts: int = 1,
    sparse: bool = False,
    omit_spacing: bool = False,
    offset_table: Literal["basic", "extended", "none"] = "basic",
    seed: object = None,
) -> list[Dataset]:
    """A whole slide image: VL Whole Slide Microscopy instances of one series, finest level first.

    Args:
        rgb: rows x columns x 3, the base level.
        spacing_um: pixel size of the base level; every further level has twice the spacing of the one before.
        levels: how many levels; fewer where a level would be smaller than one pixel.
        tile: rows and columns of a tile. Edge tiles are filled up with white.
        stain: how the specimen is said to be stained; None says nothing.
        with_label: adds a LABEL instance, with_thumbnail a THUMBNAIL.
        concatenation_parts: how many instances the base level is split into.
        sparse: TILED_SPARSE (each tile's place stands in the per-frame groups, white tiles are left out).
        omit_spacing: leaves Pixel Spacing and Imaged Volume out of every level, as some converters do.
    """
    uids = Uids(seed)
    study, series = study_uid or uids(), series_uid or uids()
    frame_of_reference, pyramid, specimen, dimension = uids(), uids(), uids(), uids()
    made: list[Dataset] = []

    def instance(image: Image, um: float, flavour: str, derivation: str) -> Dataset:
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
        _optical_path(ds)
        ds.FocusMethod = "AUTO"
        ds.ExtendedDepthOfField = "NO"
        ds.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
        ds.TotalPixelMatrixOriginSequence = [
            item(XOffsetInSlideCoordinateSystem="20.0", YOffsetInSlideCoordinateSystem="40.0")
        ]
        ds.SpecimenLabelInImage = "YES" if flavour == "LABEL" else "NO"
        if flavour == "LABEL":
            ds.BarcodeValue = ds.LabelText = "PHANTOM-1"
        ds.BurnedInAnnotation = "NO"
        rows, columns = image.shape[:2]
        ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = rows, columns
        ds.TotalPixelMatrixFocalPlanes = 1
        ds.NumberOfOpticalPaths = 1
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
        tiles = list(_tiles(image, size))
        if sparse:
            tiles = [t for t in tiles if t[2].min() < 255] or tiles[:1]
            _sparse(ds, tiles, size, um, dimension)
        put_pixels(ds, [t[2] for t in tiles], transfer, offset_table)
        return ds

    image, um = rgb, spacing_um
    for level in range(levels):
        whole = instance(image, um, "VOLUME", "NONE" if level == 0 else "RESAMPLED")
        parts = concatenation_parts if level == 0 else 1
        made.extend(_concatenation(whole, parts, transfer, offset_table, uids) if parts > 1 else [whole])
        if min(image.shape[:2]) < 2:
            break
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
        um *= 2.0
    if with_thumbnail:
        size = max(1, rgb.shape[1] // 16), max(1, rgb.shape[0] // 16)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        made.append(instance(small, spacing_um * rgb.shape[1] / size[0], "THUMBNAIL", "RESAMPLED"))
    if with_label:
        text = np.full((120, 160, 3), 235, np.uint8)
        cv2.putText(text, "PHANTOM", (12, 64), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (20, 20, 20), 2)
        made.append(instance(text, 100.0, "LABEL", "NONE"))
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


def _optical_path(ds: Dataset) -> None:
    ds.OpticalPathSequence = [
        item(
            OpticalPathIdentifier="1",
            IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")],  # CID 8123
            IlluminationColorCodeSequence=[code("414298005", "SCT", "Full Spectrum")],  # CID 8122
            ICCProfile=_icc(),
            ColorSpace="SRGB",
        )
    ]


def _icc() -> bytes:
    """An sRGB profile (made by Little CMS, with its date set, so that equal arguments give equal objects)."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07ea00010001000000000000")  # 2026-01-01
    return bytes(profile)


# --- tiles and concatenations ---


def _tiles(image: Image, size: tuple[int, int]) -> Iterator[tuple[int, int, Image]]:
    """(row, column, pixels) of every tile, row by row; edges filled up with white."""
    rows, columns = image.shape[:2]
    for row in range(0, rows, size[0]):
        for column in range(0, columns, size[1]):
            part = image[row : row + size[0], column : column + size[1]]
            tile = np.full((*size, image.shape[2]), 255, np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield row, column, tile


def _sparse(ds: Dataset, tiles: list[tuple[int, int, Image]], size: tuple[int, int], um: float, dimension: str) -> None:
    ds.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x0048021A,  # Plane Position (Slide) Sequence
        )
        for pointer in (0x0048021F, 0x0048021E)  # Row, Column Position In Total Image Pixel Matrix
    ]
    groups = []
    for row, column, _ in tiles:
        place = item(
            ColumnPositionInTotalImagePixelMatrix=column + 1,
            RowPositionInTotalImagePixelMatrix=row + 1,
            # Image Orientation (Slide) is 0\-1\0\-1\0\0: along a row y falls, down a column x falls.
            XOffsetInSlideCoordinateSystem=decimal(20.0 - row * um / 1000.0),
            YOffsetInSlideCoordinateSystem=decimal(40.0 - column * um / 1000.0),
            ZOffsetInSlideCoordinateSystem="0",
        )
        content = item(DimensionIndexValues=[row // size[0] + 1, column // size[1] + 1])
        groups.append(
            item(
                FrameContentSequence=[content],
                PlanePositionSlideSequence=[place],
                OpticalPathIdentificationSequence=[item(OpticalPathIdentifier="1")],
            )
        )
    ds.PerFrameFunctionalGroupsSequence = groups


def _concatenation(whole: Dataset, parts: int, transfer: Transfer, offset_table: str, uids: Uids) -> list[Dataset]:
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
        store_frames(ds, mine, transfer, offset_table)
        made.append(ds)
    return made
