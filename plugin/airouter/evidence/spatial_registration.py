"""Spatial Registration (PS3.3 A.39.1): how an earlier image lies on the current one.

The registered coordinate system is that of the current image. A photograph has no Frame of Reference: the centre of its
top left pixel is its origin, x runs along its rows and y along its columns, in mm where it says its Pixel Spacing, else
in pixels (PS3.17 O.1). A tomogram has one, and its raster lies in it; depth was not registered.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.picture import Registration
from airouter.errors import EvidenceError
from airouter.evidence.composite import composite, refer, referenced
from airouter.evidence.identity import Identity, clip, concept
from airouter.evidence.source import header, one_eye

SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.66.1"  # Spatial Registration Storage
_TOMOGRAM: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.4"  # Ophthalmic Tomography Image Storage
_CLOSE: Final = 1e-4  # of unit length: how far from orthogonal or from one scale a matrix may be by rounding

Matrix = NDArray[np.float64]


def spatial_registration(
    registration: Registration, fixed: Dataset, moving: Dataset, identity: Identity, series_number: int
) -> Dataset:
    """One registration. `fixed`, `moving`: full headers of both images, with per-frame groups.

    Raises EvidenceError where a tomogram does not say where its frames lie.
    """
    if (fixed.SOPInstanceUID, moving.SOPInstanceUID) != (registration.fixed, registration.moving):
        raise EvidenceError(f"{registration.role}: headers of other images")
    ds = composite(
        header(fixed),
        identity,
        role=registration.role,
        label=registration.label,
        sop_class=SOP_CLASS,
        modality="REG",
        series_number=series_number,
    )
    ds.Laterality = one_eye(fixed)
    ds.ContentLabel = "REGISTRATION"
    ds.ContentDescription = clip(registration.label)
    # A photograph lies nowhere: the object itself then establishes the coordinate system.
    ds.FrameOfReferenceUID = _frame_of_reference(fixed) or identity.job.uid(f"{registration.role} frame of reference")
    ds.PositionReferenceIndicator = None
    to_fixed, unit = _coordinates(fixed)
    to_moving, other = _coordinates(moving)
    matrix = to_fixed @ _solid(registration.matrix) @ np.linalg.inv(to_moving)
    words = f"Current image in {unit}, earlier image in {other}."
    if _is_tomogram(fixed):
        words = "In mm; the depth of the B-scans was not registered."
    own, earlier = _frame_of_reference(fixed), _frame_of_reference(moving)
    ds.RegistrationSequence = [
        _item(fixed, own, np.eye(4), "The current image itself.", codes.FRAME_OF_REFERENCE_IDENTITY),
        # A device may say one frame of reference of two visits: then only the image is meant, not all that lies in it.
        _item(moving, earlier if earlier != own else None, matrix, words, codes.IMAGE_CONTENT_BASED_ALIGNMENT),
    ]
    refer(ds, [fixed, moving])
    return ds


def matrix_type(matrix: Matrix) -> str:
    """RIGID, RIGID_SCALE or AFFINE: what a matrix [4, 4] really is (PS3.3 C.20.2.1.2)."""
    turn = matrix[:3, :3]
    lengths = np.linalg.norm(turn, axis=0)
    product = (turn / lengths).T @ (turn / lengths)
    if np.linalg.det(turn) <= 0 or np.abs(product - np.eye(3)).max() > _CLOSE:
        return "AFFINE"
    return "RIGID" if np.abs(lengths - 1.0).max() <= _CLOSE else "RIGID_SCALE"


def _item(image: Dataset, frame_of_reference: str | None, matrix: Matrix, words: str, method: Code) -> Dataset:
    item = Dataset()
    if frame_of_reference:
        item.FrameOfReferenceUID = frame_of_reference
    item.ReferencedImageSequence = [referenced(image)]
    step = Dataset()
    step.FrameOfReferenceTransformationMatrixType = matrix_type(matrix)
    step.FrameOfReferenceTransformationMatrix = [_decimal(value) for value in matrix.ravel()]
    registered = Dataset()
    registered.FrameOfReferenceTransformationComment = words
    registered.RegistrationTypeCodeSequence = [concept(method)]
    registered.MatrixSequence = [step]
    item.MatrixRegistrationSequence = [registered]
    return item


def _decimal(value: float) -> float:
    """Ten significant digits fit the 16 bytes of a decimal string with sign and exponent."""
    return float(f"{value:.9e}") + 0.0  # no negative zero


def _is_tomogram(image: Dataset) -> bool:
    return bool(image.SOPClassUID == _TOMOGRAM)


def _frame_of_reference(image: Dataset) -> str | None:
    return str(image.FrameOfReferenceUID) if _is_tomogram(image) and image.get("FrameOfReferenceUID") else None


def _solid(plane: Matrix) -> Matrix:
    """[3, 3] of (column, row, 1) as [4, 4] of (column, row, depth, 1)."""
    made = np.eye(4)
    made[:2, :2], made[:2, 3] = plane[:2, :2], plane[:2, 2]
    return made


def _coordinates(image: Dataset) -> tuple[Matrix, str]:
    """From (column, row, depth, 1), whose first pixel's centre is (0.5, 0.5, 0), to the image's coordinates; the unit.

    Of a tomogram seen from the front the rows are its B-scans and the depth is in mm.
    """
    if _is_tomogram(image):
        return _raster(image), "mm"
    spacing = image.get("PixelSpacing")
    rows, columns = (float(spacing[0]), float(spacing[1])) if spacing and len(spacing) == 2 else (1.0, 1.0)
    made = np.diag([columns, rows, 1.0, 1.0])
    made[:2, 3] = -0.5 * columns, -0.5 * rows
    return made, "mm" if spacing else "pixels"


def _raster(image: Dataset) -> Matrix:
    """From the orientation that all frames share and the positions of the first and the last one."""
    shared = (image.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frames = image.get("PerFrameFunctionalGroupsSequence") or []

    def value(group: Dataset, sequence: str, keyword: str, count: int) -> Matrix | None:
        found = (group.get(sequence) or [Dataset()])[0].get(keyword)
        return np.array([float(v) for v in found]) if found is not None and len(found) == count else None

    first = frames[0] if frames else Dataset()
    orientation = value(shared, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if orientation is None:
        orientation = value(first, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = value(shared, "PixelMeasuresSequence", "PixelSpacing", 2)
    if spacing is None:
        spacing = value(first, "PixelMeasuresSequence", "PixelSpacing", 2)
    ends = [value(f, "PlanePositionSequence", "ImagePositionPatient", 3) for f in (frames[:1] + frames[-1:])]
    if orientation is None or spacing is None or len(frames) < 2 or any(e is None for e in ends):
        raise EvidenceError(f"tomogram {image.SOPInstanceUID} does not say where its frames lie")
    start, end = (np.asarray(e, np.float64) for e in ends)
    along, down = orientation[:3], orientation[3:]
    normal = np.cross(along, down)
    # Frames may be shifted within their planes, as devices do that follow the retina: the distance is along the normal.
    across = normal * float((end - start) @ normal) / (len(frames) - 1)
    made = np.eye(4)
    made[:3, 0], made[:3, 1], made[:3, 2] = along * spacing[1], across, down
    made[:3, 3] = start - 0.5 * made[:3, 0] - 0.5 * made[:3, 1]
    return made
