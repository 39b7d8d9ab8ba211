"""Photographs and tomographs in OHIF's basic mode: what the panel "AI" asks for is painted, and jumped to."""

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser
from pydicom import Dataset

from tests.browser import viewer
from tests.browser.conftest import Case, ReadingRoom, _Pages, require_viewer
from tests.browser.pixels import iou, painted, project, settled, shifted, touched, within
from tests.browser.reader_panel import ReaderPanel

pytestmark = pytest.mark.orthanc

FITS = 0.95


@pytest.fixture(scope="module")
def pages(reading_room: ReadingRoom, browser: Browser) -> Iterator[_Pages]:
    require_viewer()
    made = _Pages(browser, lambda: reading_room.process)
    yield made
    assert not (faults := made.close()), faults


@pytest.fixture(scope="module")
def fundus(pages: _Pages, reading_room: ReadingRoom) -> ReaderPanel:
    return _opened(pages, reading_room.fundus, overlays=3)


@pytest.fixture(scope="module")
def oct_panel(pages: _Pages, reading_room: ReadingRoom) -> ReaderPanel:
    return _opened(pages, reading_room.oct, overlays=2)


def _opened(pages: _Pages, case: Case, overlays: int) -> ReaderPanel:
    page = pages(viewer.basic(case.study))
    viewer.wait_image(page)
    return ReaderPanel(page, case.study, overlays)


def regions(report: Dataset) -> list[tuple[int, np.ndarray]]:
    """(frame, points) of every outline of a report, the frame 0 where it names none."""
    found = []

    def walk(item: Dataset) -> None:
        for child in item.get("ContentSequence", []):
            if child.ValueType == "SCOORD":
                image = child.ContentSequence[0].ReferencedSOPSequence[0]
                points = np.array(child.GraphicData, float).reshape(-1, 2)
                found.append((int(image.get("ReferencedFrameNumber", 0)), points))
            walk(child)

    walk(report)
    return found


def masks(seg: Dataset) -> dict[int, np.ndarray]:
    """The pixels of any segment by the frame of the source, 1 where there is no frame number."""
    planes: dict[int, np.ndarray] = {}
    frames = np.asarray(seg.pixel_array).reshape(-1, seg.Rows, seg.Columns) > 0
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = int(source.get("ReferencedFrameNumber", 1))
        planes[number] = planes.get(number, np.zeros(frame.shape, bool)) | frame
    return planes


def test_the_panel_stands_beside_a_photograph(fundus: ReaderPanel, reading_room: ReadingRoom) -> None:
    told = fundus.ask({"type": "ready"}, "study")
    assert (told["study"], told["mode"]) == (reading_room.fundus.study, "basic")
    offered = fundus.overlays()
    assert sorted(each["kind"] for each in offered) == ["SEG", "SR", "SR"]
    assert all(each["available"] and each["visible"] for each in offered), offered


def test_regions_on_a_photograph_lie_where_the_report_says(fundus: ReaderPanel, reading_room: ReadingRoom) -> None:
    report = reading_room.fundus.object("SR", "fundus-lesions")
    fundus.show()
    off = settled(fundus.page)
    fundus.show(report.SeriesInstanceUID)
    on = settled(fundus.page)
    placed = viewer.placement(fundus.page)
    there = painted(on, off) & within(on.shape, placed.window)
    corners = np.vstack([placed.of(points) for _, points in regions(report) if len(points) > 2])
    assert len(corners) > 100
    assert touched(there, corners) > FITS
    assert touched(shifted(there), corners) < 0.5


def test_lesions_on_a_photograph_lie_where_the_segmentation_says(
    fundus: ReaderPanel, reading_room: ReadingRoom
) -> None:
    seg = reading_room.fundus.object("SEG")
    (mask,) = masks(seg).values()
    _segments_fit(fundus, seg, mask)


def test_opacity_of_a_segmentation_on_a_photograph(fundus: ReaderPanel, reading_room: ReadingRoom) -> None:
    series = reading_room.fundus.object("SEG").SeriesInstanceUID
    shots = []
    for opacity in (0.0, 0.5, 1.0):
        fundus.show(series, opacity=opacity)
        shots.append(settled(fundus.page))
    off, half, on = shots
    there = painted(on, off) & within(on.shape, viewer.placement(fundus.page).window)
    assert there.any()
    share = np.abs(half - off)[there].mean() / np.abs(on - off)[there].mean()
    assert 0.35 < share < 0.65


def test_layers_of_a_tomograph_lie_where_the_segmentation_says(
    oct_panel: ReaderPanel, reading_room: ReadingRoom
) -> None:
    seg = reading_room.oct.object("SEG")
    planes = masks(seg)
    number = sorted(planes)[len(planes) // 2]
    viewer.go_to_frame(oct_panel.page, number)
    _segments_fit(oct_panel, seg, planes[number])


def test_a_click_turns_to_the_frame_of_the_region(oct_panel: ReaderPanel, reading_room: ReadingRoom) -> None:
    report = reading_room.oct.object("SR", "report")
    source = reading_room.oct.sources[0].SOPInstanceUID
    oct_panel.show(report.SeriesInstanceUID)
    for number, points in dict(regions(report)).items():
        viewer.go_to_frame(oct_panel.page, 1)
        region = {"graphic": "POLYGON", "source": source, "frame": number, "points": points.tolist()}
        answer = oct_panel.jump(region | {"box": [*points.min(axis=0), *points.max(axis=0)]})
        assert (answer["ok"], answer["reason"]) == (True, None)
        assert viewer.frame(oct_panel.page) == number > 1


def test_regions_of_a_tomograph_are_on_their_frame_only(oct_panel: ReaderPanel, reading_room: ReadingRoom) -> None:
    report = reading_room.oct.object("SR", "report")
    number, points = regions(report)[0]
    shots = {}
    for frame in (number, 1):
        viewer.go_to_frame(oct_panel.page, frame)
        for shown in (False, True):
            oct_panel.show(*([report.SeriesInstanceUID] if shown else []))
            shots[frame, shown] = settled(oct_panel.page)
    placed = viewer.placement(oct_panel.page)
    window = within(shots[1, True].shape, placed.window)
    there = painted(shots[number, True], shots[number, False]) & window
    assert touched(there, placed.of(points)) > FITS
    assert touched(shifted(there), placed.of(points)) < 0.5
    assert not (painted(shots[1, True], shots[1, False]) & window).any()


def _segments_fit(panel: ReaderPanel, seg: Dataset, mask: np.ndarray) -> None:
    """What the panel's switch paints is the mask, wherever the picture stands."""
    panel.show()
    off = settled(panel.page)
    told = panel.show(seg.SeriesInstanceUID)
    assert all(each["available"] for each in told), told
    on = settled(panel.page)
    placed = viewer.placement(panel.page)
    window = within(on.shape, placed.window)
    there = painted(on, off) & window
    wanted = project(mask, placed, on.shape) & window
    assert wanted.sum() > 500
    assert iou(there, wanted) > 0.9
    assert iou(there, shifted(wanted)) < 0.7
