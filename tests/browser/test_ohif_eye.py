"""Photographs and tomographies in OHIF: what the objects say is painted, and where they say it.

Pixels decide: a console without errors and flags that say "loaded" were seen over images without an overlay.
"""

import numpy as np
import pytest
from pydicom import Dataset

from tests.browser import viewer
from tests.browser.conftest import Case, OpenPage, ReadingRoom, require_viewer
from tests.browser.objects import outlines, segment_masks, voxel_counts
from tests.browser.pixels import iou, painted, project, settled, shifted, touched, within

pytestmark = pytest.mark.orthanc

FITS = 0.9  # intersection over union
HIT = 0.95  # share of vertices
_OURS = "canvas.airouter-shapes { visibility: hidden !important }"  # our extension draws the regions as well
_NO_REGIONS = ".svg-layer { visibility: hidden !important }"


@pytest.fixture(autouse=True)
def _there() -> None:
    require_viewer()


@pytest.mark.parametrize("name", ["fundus", "oct"])
def test_segments_are_painted_where_the_object_says(reading_room: ReadingRoom, open_page: OpenPage, name: str) -> None:
    case: Case = getattr(reading_room, name)
    segmentation = case.object("SEG")
    masks = segment_masks(segmentation)
    page = open_page(viewer.basic(case.study, segmentation.SeriesInstanceUID))
    viewer.wait_segments(page)
    frame = max({frame for frame, _ in masks}, key=lambda f: sum(m.sum() for (n, _), m in masks.items() if n == f))
    viewer.go_to_frame(page, frame)

    assert viewer.voxels(page) == voxel_counts(segmentation)
    page.add_style_tag(content=_OURS)
    on = settled(page)
    viewer.show_segments(page, False)
    off = settled(page)
    viewer.show_segments(page, True)
    again = settled(page)

    placed = viewer.placement(page)
    everything = np.logical_or.reduce([mask for (number, _), mask in masks.items() if number == frame])
    image = viewer.uncovered(page, on.shape)
    expected = project(everything, placed, on.shape) & image
    found = painted(on, off) & image
    assert expected.sum() > 500, "the test shows too little to tell anything"
    assert iou(found, expected) > FITS
    assert iou(found, shifted(expected)) < iou(found, expected) - 0.2, "a wrong place would pass as well"
    assert (painted(again, off) & expected).sum() > 0.9 * expected.sum(), "it does not come back"


@pytest.mark.parametrize(("name", "described"), [("fundus", "fundus-lesions"), ("oct", "retina-layers")])
def test_regions_of_a_report_are_drawn_where_the_report_says(
    reading_room: ReadingRoom, open_page: OpenPage, name: str, described: str
) -> None:
    case: Case = getattr(reading_room, name)
    report = case.object("SR", described)
    drawn = outlines(report)
    assert drawn, "the report has no regions"
    page = open_page(viewer.basic(case.study, report.SeriesInstanceUID))
    viewer.wait_regions(page, {number for number, _ in drawn})
    frame = viewer.frame(page)
    shown = [points for number, points in drawn if number == frame]
    page.add_style_tag(content=_OURS)
    on = settled(page)
    placed = viewer.placement(page)
    page.add_style_tag(content=_NO_REGIONS)
    off = settled(page)
    found = painted(on, off)
    seen = [placed.of(points) for points in shown]
    vertices = np.concatenate(seen)
    vertices = vertices[[within(on.shape, placed.window)[int(y), int(x)] for x, y in vertices]]
    assert touched(found, vertices) > HIT
    assert touched(found, vertices + 40) < HIT - 0.2, "a wrong place would pass as well"


def test_a_photograph_opens_from_the_list_of_studies(reading_room: ReadingRoom, open_page: OpenPage) -> None:
    page = open_page("/ohif/")
    page.get_by_text("OP", exact=False).first.wait_for()
    assert page.get_by_text("Phantom, Eye").count() >= 2


def test_every_frame_of_a_volume_is_fetched_and_drawn(reading_room: ReadingRoom, open_page: OpenPage) -> None:
    source: Dataset = reading_room.oct.sources[0]
    page = open_page(viewer.basic(reading_room.oct.study))
    viewer.wait_image(page)
    pictures = []
    for number in (1, int(source.NumberOfFrames)):
        viewer.go_to_frame(page, number)
        pictures.append(settled(page))
    left, top, right, bottom = viewer.placement(page).window
    first, last = (p[int(top) : int(bottom), int(left) : int(right)] for p in pictures)
    assert first.std() > 5 and last.std() > 5, "the viewport is empty"
    assert (np.abs(first - last).max(axis=2) > 12).mean() > 0.02, "both frames look alike"
    assert open_page.refused == []
