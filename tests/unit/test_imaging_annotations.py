"""What was drawn on a slide is read where it was drawn, whoever wrote it and in whatever coordinates."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.coding import Code as DicomCode

from airouter.domain.study import ANNOTATIONS
from airouter.errors import PixelDataError
from airouter.imaging.annotations import annotated
from phantoms.dicom import slide_instances
from tests.pipelines.oracle import opened

UM = 0.5
TISSUE = DicomCode("85756007", "SCT", "Tissue")


@pytest.fixture(scope="module")
def levels():
    picture = np.full((512, 768, 3), 200, np.uint8)
    return slide_instances(picture, UM, levels=2, transfer="raw", seed="drawn")


def drawn(source, shapes, graphic="POLYLINE", kind="2D", label="Margin", generation="MANUAL", **changes):
    group = hd.ann.AnnotationGroup(
        number=1,
        uid=hd.UID(),
        label=label,
        annotated_property_category=TISSUE,
        annotated_property_type=TISSUE,
        graphic_type=graphic,
        graphic_data=[np.asarray(shape, np.float64) for shape in shapes],
        algorithm_type=generation,
    )
    ds = hd.ann.MicroscopyBulkSimpleAnnotations(
        source_images=[source],
        annotation_coordinate_type=kind,
        annotation_groups=[group],
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Somebody",
        manufacturer_model_name="Viewer",
        software_versions="1",
        device_serial_number="1",
    )
    for name, value in changes.items():
        setattr(ds, name, value)
    return ds


LINES = ([[10.0, 20.0], [30.0, 40.0], [50.5, 60.5]], [[100.0, 5.0], [200.0, 7.0]])


def test_lines_lie_in_pixels_of_the_finest_level(levels) -> None:
    ds = drawn(levels[0], LINES)
    assert ds.SOPClassUID == ANNOTATIONS
    (found,) = annotated(opened(levels), [ds]).annotations
    assert (found.label, found.graphic, found.automatic, found.uid) == ("Margin", "POLYLINE", False, ds.SOPInstanceUID)
    assert found.type.value == "85756007"
    for shape, wanted in zip(found.shapes, LINES, strict=True):
        assert np.allclose(shape, wanted)


def test_lines_drawn_on_a_coarser_level_are_scaled(levels) -> None:
    (found,) = annotated(opened(levels), [drawn(levels[1], LINES)]).annotations
    assert np.allclose(found.shapes[0], 2.0 * np.array(LINES[0]))


def test_lines_in_millimetres_are_placed_on_the_slide(levels) -> None:
    slide = opened(levels)
    places = [slide.base.geometry.to_slide(np.array(line)) for line in LINES]
    (found,) = annotated(slide, [drawn(levels[0], places, kind="3D")]).annotations
    for shape, wanted in zip(found.shapes, LINES, strict=True):
        assert np.allclose(shape, wanted, atol=1e-2)  # stored as 32-bit millimetres


def test_points_and_rectangles_need_no_index(levels) -> None:
    corners = [[0, 0], [4, 0], [4, 3], [0, 3]]
    slide = opened(levels)
    (points,) = annotated(slide, [drawn(levels[0], [[[1.0, 2.0]], [[3.0, 4.0]]], "POINT")]).annotations
    (boxes,) = annotated(slide, [drawn(levels[0], [corners, corners], "RECTANGLE")]).annotations
    assert [shape.tolist() for shape in points.shapes] == [[[1.0, 2.0]], [[3.0, 4.0]]]
    assert [len(shape) for shape in boxes.shapes] == [4, 4]


def test_what_lies_on_another_slide_is_left_out(levels) -> None:
    slide = opened(levels)
    elsewhere = slide_instances(np.full((512, 768, 3), 200, np.uint8), UM, levels=1, transfer="raw")[0]
    places = [slide.base.geometry.to_slide(np.array(line)) for line in LINES]
    others = [drawn(elsewhere, LINES), drawn(elsewhere, places, kind="3D")]
    framed = drawn(levels[0], LINES, PixelOriginInterpretation="FRAME")
    assert annotated(slide, [*others, framed]).annotations == ()


def test_damaged_points_are_an_error_of_the_object(levels) -> None:
    ds = drawn(levels[0], LINES)
    ds.AnnotationGroupSequence[0].PointCoordinatesData = np.array([1.0, np.nan], "<f4").tobytes()
    with pytest.raises(PixelDataError, match="not finite"):
        annotated(opened(levels), [ds])
    ds.AnnotationGroupSequence[0].PointCoordinatesData = b"\0" * 4
    with pytest.raises(PixelDataError, match="no points"):
        annotated(opened(levels), [ds])
