"""Spatial Registration: coordinates as PS3.17 O.1 has them, the type that the matrix has, references, conformance."""

import dataclasses

import numpy as np
import pytest
from pydicom.dataset import Dataset

from airouter.domain.picture import Registration
from airouter.errors import EvidenceError
from airouter.evidence.identity import Identity
from airouter.evidence.spatial_registration import matrix_type, spatial_registration
from airouter.evidence.write import write
from phantoms.dicom import fundus_instance, oct_instance
from tests import evidence_samples as samples
from tests.dciodvfy import assert_conformant


def turn(degrees=20.0, scale=1.0, shift=(3.0, -5.0)):
    a = np.radians(degrees)
    made = np.eye(3)
    made[:2, :2] = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    made[:2, 2] = shift
    return made


def photographs(spacing_mm=None, other_mm=None):
    rgb = np.full((96, 128, 3), 90, np.uint8)
    current = fundus_instance(rgb, seed="now", spacing_mm=spacing_mm)
    return current, fundus_instance(rgb, seed="then", spacing_mm=other_mm)


def tomograms():
    frames = np.full((5, 64, 80), 40, np.uint8)
    return oct_instance(frames, seed="now"), oct_instance(frames, seed="then")


def placed(current, earlier, matrix):
    about = Registration("registration", "Earlier on current", current.SOPInstanceUID, earlier.SOPInstanceUID, matrix,
                         "AFFINE")  # fmt: skip
    sources = samples.headers(current, earlier)
    result = dataclasses.replace(
        samples.eye_result(sources, frames=(1,), mask_too=False), registrations=(about,), findings=()
    )
    objects = write(samples.job(sources), samples.model(), result, sources, now=samples.NOW)
    (found,) = [w.dataset for w in objects if w.role == "registration"]
    return found


def step(item):
    (registered,) = item.MatrixRegistrationSequence
    (one,) = registered.MatrixSequence
    values = np.array([float(v) for v in one.FrameOfReferenceTransformationMatrix]).reshape(4, 4)
    return values, one.FrameOfReferenceTransformationMatrixType, registered.FrameOfReferenceTransformationComment


def at(matrix, *point):
    return (matrix @ [*point, 1.0])[:3]


@pytest.mark.parametrize(("mm", "other"), [(None, None), (0.01, 0.01), (0.01, 0.02), (None, 0.02)])
def test_photographs_in_the_coordinates_of_the_standard(mm, other):
    """The centre of the top left pixel is the origin; the unit is mm with, and pixels without Pixel Spacing."""
    current, earlier = photographs(mm, other)
    matrix = turn()
    found = placed(current, earlier, matrix)
    own, theirs = found.RegistrationSequence
    assert np.array_equal(step(own)[0], np.eye(4))
    values, _, words = step(theirs)
    here, there = mm or 1.0, other or 1.0
    for column, row in ((0.5, 0.5), (10.5, 0.5), (40.0, 70.0)):
        target = matrix @ [column, row, 1.0]
        seen = at(values, (column - 0.5) * there, (row - 0.5) * there, 0.0)
        assert np.allclose(seen, [(target[0] - 0.5) * here, (target[1] - 0.5) * here, 0.0], atol=1e-6)
    assert words == f"Current image in {'mm' if mm else 'pixels'}, earlier image in {'mm' if other else 'pixels'}."
    assert_conformant(found)


def test_it_refers_to_the_image_of_the_other_study():
    current, earlier = photographs()
    found = placed(current, earlier, turn())
    assert found.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.1"
    assert found.Modality == "REG"
    assert found.StudyInstanceUID == current.StudyInstanceUID
    (own,) = found.ReferencedSeriesSequence
    assert own.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == current.SOPInstanceUID
    (other,) = found.StudiesContainingOtherReferencedInstancesSequence
    assert other.StudyInstanceUID == earlier.StudyInstanceUID
    assert other.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == (
        earlier.SOPInstanceUID
    )
    images = [item.ReferencedImageSequence[0].ReferencedSOPInstanceUID for item in found.RegistrationSequence]
    assert images == [current.SOPInstanceUID, earlier.SOPInstanceUID]
    assert all("FrameOfReferenceUID" not in item for item in found.RegistrationSequence)  # photographs have none
    assert found.FrameOfReferenceUID not in (current.get("FrameOfReferenceUID"), "")
    assert found.Laterality == current.ImageLaterality
    assert found.SeriesDescription.endswith("[UNVERIFIED, not for diagnosis]")
    assert found.ContentQualification == "RESEARCH"
    assert found.ContributingEquipmentSequence[0].DeviceUID


def test_tomograms_lie_in_their_frames_of_reference():
    current, earlier = tomograms()
    matrix = np.eye(3)
    matrix[:2, 2] = (4.0, 1.0)  # four columns and one B-scan further
    found = placed(current, earlier, matrix)
    assert found.FrameOfReferenceUID == current.FrameOfReferenceUID
    own, theirs = found.RegistrationSequence
    assert (own.FrameOfReferenceUID, theirs.FrameOfReferenceUID) == (
        current.FrameOfReferenceUID,
        earlier.FrameOfReferenceUID,
    )
    values, kind, words = step(theirs)
    positions = [
        np.array([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])
        for group in current.PerFrameFunctionalGroupsSequence
    ]
    lateral = float(current.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[1])
    assert np.allclose(at(values, *positions[0]), positions[1] + [4 * lateral, 0.0, 0.0], atol=1e-6)
    deep = positions[2] + [7 * lateral, 0.03, 0.0]
    assert np.allclose(at(values, *deep), positions[3] + [11 * lateral, 0.03, 0.0], atol=1e-6)
    assert kind == "RIGID"
    assert "depth" in words
    assert_conformant(found)


def test_the_same_frame_of_reference_twice_is_not_moved_onto_itself():
    current, earlier = tomograms()
    earlier.FrameOfReferenceUID = current.FrameOfReferenceUID
    matrix = turn(0.0)
    own, theirs = placed(current, earlier, matrix).RegistrationSequence
    assert "FrameOfReferenceUID" in own
    assert "FrameOfReferenceUID" not in theirs


@pytest.mark.parametrize(
    ("plane", "kind"),
    [
        (turn(), "RIGID"),
        (turn(scale=1.2), "RIGID_SCALE"),
        (np.diag([1.2, 0.9, 1.0]), "RIGID_SCALE"),
        (np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), "AFFINE"),
        (np.diag([-1.0, 1.0, 1.0]), "AFFINE"),  # a mirror image is no rotation
    ],
)
def test_the_type_is_what_the_matrix_is(plane, kind):
    solid = np.eye(4)
    solid[:2, :2], solid[:2, 3] = plane[:2, :2], plane[:2, 2]
    assert matrix_type(solid) == kind
    current, earlier = photographs()
    assert step(placed(current, earlier, plane).RegistrationSequence[1])[1] == kind


def test_a_tomogram_that_lies_nowhere_cannot_be_registered():
    current, earlier = tomograms()
    for group in earlier.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    with pytest.raises(EvidenceError, match="does not say where its frames lie"):
        placed(current, earlier, np.eye(3))


def test_headers_of_other_images_are_refused():
    current, earlier = photographs()
    about = Registration("registration", "x", current.SOPInstanceUID, earlier.SOPInstanceUID, np.eye(3), "RIGID")
    sources = samples.headers(current, earlier)
    identity = Identity(samples.job(sources), samples.model(), samples.eye_result(sources, mask_too=False), samples.NOW)
    with pytest.raises(EvidenceError, match="other images"):
        spatial_registration(about, earlier, current, identity, 1)
    assert isinstance(spatial_registration(about, current, earlier, identity, 1), Dataset)
