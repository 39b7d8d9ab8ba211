"""Overlays on a slide in OHIF's microscopy mode, by their pixels: each against the object that it stands for."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page
from pydicom import Dataset

from airouter.domain.geometry import SlideGeometry
from airouter.evidence.source import slide_geometry
from tests.browser import viewer
from tests.browser.conftest import ReadingRoom, _Pages, require_viewer
from tests.browser.pixels import Mask, Placement, Screen, iou, painted, project, settled, shifted, touched, within
from tests.browser.reader_panel import ReaderPanel

pytestmark = pytest.mark.orthanc

FITS = 0.95
Points = NDArray[np.float64]


class SlidePage:
    """The slide of the reading room with its panel, and how its pixels are compared."""

    def __init__(self, page: Page, room: ReadingRoom) -> None:
        self.page = page
        self.case = room.slide
        self.panel = ReaderPanel(page, room.slide.study, overlays=5)
        self.source = max(room.slide.sources, key=lambda ds: int(ds.TotalPixelMatrixColumns))
        self.size = int(self.source.TotalPixelMatrixRows), int(self.source.TotalPixelMatrixColumns)

    @property
    def placed(self) -> Placement:
        return viewer.slide_placement(self.page)[0]

    def show(self, *series: str, opacity: float = 1.0) -> Screen:
        """What the page looks like with these overlays and no others; none of them may have failed."""
        told = self.panel.show(*series, opacity=opacity)
        assert all(each["available"] for each in told), told
        return settled(self.page)

    def seen(self, screen: Screen) -> Mask:
        """Where the slide shows: not under the overview map, the scale bar and the legend, and not in the panel."""
        _, overview = viewer.slide_placement(self.page)
        made = within(screen.shape, self.placed.window)
        covers = [overview] if overview else []
        for cover in self.page.locator(".airouter-legend, .ol-scale-line, .microscopy-viewport-overlay").all():
            box = cover.bounding_box()
            if box:
                covers.append((box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]))
        for left, top, right, bottom in covers:
            made &= ~within(screen.shape, (left - 3, top - 3, right + 3, bottom + 3))
        return made


@pytest.fixture(scope="module")
def slide(reading_room: ReadingRoom, browser: Browser) -> Iterator[SlidePage]:
    """One page for all: each test chooses what is shown, and where it is looked at."""
    require_viewer()
    pages = _Pages(browser, lambda: reading_room.process)
    yield SlidePage(pages(viewer.microscopy(reading_room.slide.study)), reading_room)
    assert not (faults := pages.close()), faults


def geometry(ds: Dataset) -> SlideGeometry:
    return slide_geometry(ds)


def on_finest(values: NDArray[np.generic], ds: Dataset, slide: SlidePage) -> NDArray[np.generic]:
    """A plane of an object as the pixels of the finest level have it, by where the object says that its pixels lie."""
    rows, columns = (np.arange(n) + 0.5 for n in slide.size)
    fine, own = geometry(slide.source), geometry(ds)
    down = own.to_pixels(fine.to_slide(np.stack([np.full_like(rows, 0.5), rows], axis=1)))[:, 1]
    along = own.to_pixels(fine.to_slide(np.stack([columns, np.full_like(columns, 0.5)], axis=1)))[:, 0]
    y, x = np.floor(down).astype(int), np.floor(along).astype(int)
    assert y.min() >= 0 and x.min() >= 0 and y.max() < values.shape[0] and x.max() < values.shape[1]
    return np.asarray(values[np.ix_(y, x)])


def matrix(ds: Dataset, frames: NDArray[np.generic]) -> NDArray[np.generic]:
    """The total pixel matrix of sparse tiles; what has no tile is 0."""
    rows, columns = int(ds.TotalPixelMatrixRows), int(ds.TotalPixelMatrixColumns)
    made = np.zeros((rows + ds.Rows, columns + ds.Columns), frames.dtype)
    for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        place = group.PlanePositionSlideSequence[0]
        top, left = place.RowPositionInTotalImagePixelMatrix - 1, place.ColumnPositionInTotalImagePixelMatrix - 1
        tile = made[top : top + ds.Rows, left : left + ds.Columns]
        np.maximum(tile, frame, out=tile)
    return np.asarray(made[:rows, :columns])


def along(outline: Points, step: float = 2.0) -> Points:
    """Points on the lines of a closed outline, `step` apart."""
    ends = np.vstack([outline, outline[:1]])
    parts = []
    for a, b in itertools.pairwise(ends):
        count = max(1, int(np.hypot(*(b - a)) / step))
        parts.append(a + np.outer(np.arange(count) / count, b - a))
    return np.vstack(parts)


def in_sight(points: Points, seen: Mask) -> Points:
    """Those points on the page that lie where the slide shows."""
    inside = (points >= 0).all(axis=1) & (points[:, 0] < seen.shape[1]) & (points[:, 1] < seen.shape[0])
    kept = points[inside].astype(int)
    return np.asarray(points[inside][seen[kept[:, 1], kept[:, 0]]])


def drawn(outlines: list[Points], shape: tuple[int, ...], width: int) -> Mask:
    """The outlines as lines on a page."""
    picture = Image.new("1", (shape[1], shape[0]))
    for outline in outlines:
        ImageDraw.Draw(picture).line([tuple(p) for p in np.vstack([outline, outline[:1]])], fill=1, width=width)
    return np.asarray(picture)


def regions(report: Dataset) -> list[Points]:
    """(x, y, z) of every SCOORD3D of a report."""
    found = []

    def walk(item: Dataset) -> None:
        for child in item.get("ContentSequence", []):
            if child.ValueType == "SCOORD3D":
                found.append(np.array(child.GraphicData, float).reshape(-1, 3))
            walk(child)

    walk(report)
    return found


def test_the_panel_stands_beside_the_slide_with_the_overlays_of_this_slide(slide: SlidePage) -> None:
    offered = slide.panel.overlays()
    assert {each["series"] for each in offered} == {
        str(ds.SeriesInstanceUID) for ds in slide.case.evidence if ds.Modality in ("SEG", "ANN", "SR", "OT")
    }
    assert sorted(each["kind"] for each in offered) == ["ANN", "ANN", "MAP", "SEG", "SR"]
    labels = {str(ds.SeriesInstanceUID): ds.SeriesDescription for ds in slide.case.evidence}
    assert all(each["label"] == labels[each["series"]] for each in offered)
    assert [each["kind"] for each in offered if each["visible"]] == ["SR"]  # regions are drawn from the start
    told = slide.panel.ask({"type": "ready"}, "study")
    assert (told["study"], told["mode"]) == (slide.case.study, "microscopy")


def test_regions_of_a_report_lie_where_it_says(slide: SlidePage) -> None:
    report = slide.case.object("SR")
    outlines = [geometry(slide.source).to_pixels(points) for points in regions(report)]
    off = slide.show()
    on = slide.show(report.SeriesInstanceUID)
    seen = slide.seen(on)
    there = painted(on, off) & seen
    lines = in_sight(np.vstack([slide.placed.of(along(outline)) for outline in outlines]), seen)
    assert len(lines) > 300
    assert touched(there, lines) > FITS
    assert touched(shifted(there), lines) < 0.5
    # and nothing else is painted
    near = drawn([slide.placed.of(outline) for outline in outlines], on.shape, 9)
    assert (there & near).sum() / there.sum() > FITS


def test_a_segmentation_lies_where_its_pixels_are(slide: SlidePage) -> None:
    seg = slide.case.object("SEG")
    mask = on_finest(matrix(seg, np.atleast_3d(seg.pixel_array).reshape(-1, seg.Rows, seg.Columns)) > 0, seg, slide)
    off = slide.show()
    on = slide.show(seg.SeriesInstanceUID)
    seen = slide.seen(on)
    there = painted(on, off) & seen
    wanted = project(mask, slide.placed, on.shape) & seen
    assert wanted.sum() > 20_000
    assert iou(there, wanted) > FITS
    assert iou(there, shifted(wanted) & seen) < 0.9


def test_nuclei_are_outlined_where_the_annotations_say(slide: SlidePage) -> None:
    ann = slide.case.object("ANN", "Positive")
    group = ann.AnnotationGroupSequence[0]
    points = np.frombuffer(group.PointCoordinatesData, "<f4").astype(float).reshape(-1, 2)
    starts = (np.frombuffer(group.LongPrimitivePointIndexList, "<u4").astype(int) - 1) // 2
    outlines = np.split(points, starts[1:])
    assert len(outlines) == group.NumberOfAnnotations > 10
    off = slide.show()
    on = slide.show(ann.SeriesInstanceUID)
    seen = slide.seen(on)
    there = painted(on, off) & seen
    placed = [slide.placed.of(outline) for outline in outlines]
    lines = in_sight(np.vstack([along(outline) for outline in placed]), seen)
    assert touched(there, lines) > FITS
    assert touched(shifted(there), lines) < 0.5
    assert (there & drawn(placed, on.shape, 7)).sum() / there.sum() > FITS


def test_a_parametric_map_has_the_colours_of_its_values(slide: SlidePage) -> None:
    heat = slide.case.object("OT", "Positive nuclei per field")
    values = np.frombuffer(heat.FloatPixelData, "<f4")[: heat.Rows * heat.Columns].reshape(heat.Rows, heat.Columns)
    own = geometry(heat)
    middles = [(row, column) for row in range(heat.Rows) for column in range(heat.Columns)]
    # a place near the corner of each cell that lies on the slide for sure, in pixels of the finest level
    at = geometry(slide.source).to_pixels(own.to_slide(np.array([[c + 0.15, r + 0.3] for r, c in middles])))
    off = slide.show()
    on = slide.show(heat.SeriesInstanceUID)
    seen, there = slide.seen(on), painted(on, off)
    low, high = _ends(heat)
    compared = []
    for (row, column), place in zip(middles, slide.placed.of(at), strict=True):
        x, y = place.astype(int)
        if not seen[y, x]:
            continue
        value = float(values[row, column])
        if value == heat.get("FloatPixelPaddingValue"):
            assert not there[y, x]
            continue
        compared.append((value, on[y, x]))
        assert np.abs(on[y, x] - viridis((value - low) / (high - low))).max() <= 12
    assert len({value for value, _ in compared}) > 1


def test_opacity_lets_the_slide_through(slide: SlidePage) -> None:
    series = slide.case.object("SEG").SeriesInstanceUID
    off, half, on = slide.show(), slide.show(series, opacity=0.5), slide.show(series)
    there = painted(on, off) & slide.seen(on)
    share = np.abs(half - off)[there].mean() / np.abs(on - off)[there].mean()
    assert share == pytest.approx(0.5, abs=0.05)


def test_hiding_all_and_showing_them_again(slide: SlidePage) -> None:
    report, seg = slide.case.object("SR").SeriesInstanceUID, slide.case.object("SEG").SeriesInstanceUID
    off = slide.show()
    on = slide.show(report, seg)
    seen = slide.seen(on)  # the panel itself changes
    assert (painted(on, off) & seen).any()
    slide.panel.ask({"type": "hide-all", "hidden": True}, "overlays")
    assert not (painted(settled(slide.page), off) & seen).any()
    slide.panel.ask({"type": "hide-all", "hidden": False}, "overlays")
    assert not (painted(settled(slide.page), on) & seen).any()


def test_several_overlays_are_shown_at_once(slide: SlidePage) -> None:
    seg, ann = slide.case.object("SEG"), slide.case.object("ANN", "Negative")
    off = slide.show()
    only_seg, only_ann = (painted(slide.show(ds.SeriesInstanceUID), off) for ds in (seg, ann))
    on = slide.show(seg.SeriesInstanceUID, ann.SeriesInstanceUID)
    seen = slide.seen(on)
    both = painted(on, off) & seen
    assert (only_seg & seen).any() and (only_ann & seen).any()
    assert iou(both, (only_seg | only_ann) & seen) > 0.98


def test_a_click_moves_the_view_to_the_region(slide: SlidePage) -> None:
    columns = slide.size[1]  # not so near an edge that the map will not go there
    box = [columns * 0.32, columns * 0.55, columns * 0.38, columns * 0.6]
    corners = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]]
    region = {"graphic": "POLYGON", "source": slide.source.SOPInstanceUID, "box": box, "points": corners, "frame": None}
    before = slide.placed
    answer = slide.panel.jump(region)
    assert (answer["ok"], answer["reason"], answer["tracking_uid"]) == (True, None, "1.2.3")
    after = slide.placed
    left, top, right, bottom = after.window
    corner = after.of(np.array(corners))
    assert (corner > [left, top]).all() and (corner < [right, bottom]).all()
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    assert np.abs(corner.mean(axis=0) - middle).max() < 5
    assert abs(after.matrix[0, 0]) > 1.8 * abs(before.matrix[0, 0])
    assert np.abs(before.of(np.array(corners)).mean(axis=0) - middle).max() > 50  # it was not there before


def test_a_region_of_another_level_is_found_at_its_own_scale(slide: SlidePage) -> None:
    coarse = min(slide.case.sources, key=lambda ds: int(ds.TotalPixelMatrixColumns))
    assert coarse.SOPInstanceUID != slide.source.SOPInstanceUID
    factor = slide.size[1] / int(coarse.TotalPixelMatrixColumns)
    point = [int(coarse.TotalPixelMatrixColumns) * 0.36, int(coarse.TotalPixelMatrixRows) * 0.58]
    region = {"graphic": "POINT", "source": coarse.SOPInstanceUID, "box": [*point, *point], "points": [point]}
    assert slide.panel.jump(region)["ok"]
    placed = slide.placed
    left, top, right, bottom = placed.window
    at = placed.of(np.array([point]) * factor)[0]
    assert np.abs(at - [(left + right) / 2, (top + bottom) / 2]).max() < 5


def test_a_region_of_another_study_is_refused_with_a_reason(slide: SlidePage) -> None:
    region = {"graphic": "POINT", "source": "1.2.3.4", "box": [1, 1, 1, 1], "points": [[1, 1]]}
    answer = slide.panel.jump(region)
    assert answer["ok"] is False
    assert answer["reason"]


def test_messages_that_are_not_the_panels_are_not_heard(slide: SlidePage) -> None:
    before = slide.panel.overlays()
    slide.page.evaluate("""() => {
      for (const message of [{ type: 'hide-all', hidden: true }, { type: 'overlay', series: 'x', visible: true }])
        window.postMessage({ airouter: 1, ...message }, window.location.origin);
    }""")
    assert slide.panel.overlays() == before


def _ends(heat: Dataset) -> tuple[float, float]:
    window = heat.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    middle, width = float(window.WindowCenter), float(window.WindowWidth)
    return middle - width / 2, middle + width / 2


def viridis(share: float) -> NDArray[np.float64]:
    import matplotlib

    return np.asarray(matplotlib.colormaps["viridis"](share)[:3]) * 255
