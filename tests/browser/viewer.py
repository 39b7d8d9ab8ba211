"""OHIF as a test sees it: through the services it shows as window.services, window.cornerstone and cornerstoneTools."""

from collections.abc import Collection
from typing import Any

import numpy as np
from playwright.sync_api import Page

from tests.browser.pixels import Mask, Placement, within

_BASIC = """() => {
  const viewport = window.cornerstone.getRenderingEngines()[0].getViewports()[0];
  const box = viewport.canvas.getBoundingClientRect();
  const image = viewport.getImageData().imageData;  // the geometry that is drawn, not utilities.imageToWorldCoords
  const at = (x, y) => {
    const [cx, cy] = viewport.worldToCanvas(image.indexToWorld([x - 0.5, y - 0.5, 0]));
    return [cx + box.x, cy + box.y];
  };
  const o = at(0, 0), a = at(100, 0), b = at(0, 100);
  return {
    matrix: [0, 1].map(n => [(a[n] - o[n]) / 100, (b[n] - o[n]) / 100, o[n]]),
    window: [box.x, box.y, box.right, box.bottom],
  };
}"""
_MICROSCOPY = """() => {
  const viewer = [...window.services.microscopyService.managedViewers][0].viewer;
  const map = viewer[Object.getOwnPropertySymbols(viewer).find(s => s.description === 'map')];
  const box = map.getTargetElement().getBoundingClientRect();
  const at = (x, y) => {
    const [px, py] = map.getPixelFromCoordinate([x, -(y + 1)]);
    return [px + box.x, py + box.y];
  };
  const o = at(0, 0), a = at(1000, 0), b = at(0, 1000);
  const small = document.querySelector('.ol-overviewmap')?.getBoundingClientRect();
  return {
    matrix: [0, 1].map(n => [(a[n] - o[n]) / 1000, (b[n] - o[n]) / 1000, o[n]]),
    window: [box.x, box.y, box.right, box.bottom],
    overview: small ? [small.x, small.y, small.right, small.bottom] : null,
  };
}"""
_SEGMENTS_SHOWN = """() => {
  const service = window.services?.segmentationService;
  if (!service?.getSegmentationRepresentations('default').length) return false;
  return window.cornerstone.getRenderingEngines()[0].getViewports()[0].getActors().length > 1;
}"""
_REGIONS_SHOWN = """() => (window.cornerstoneTools?.annotation.state.getAllAnnotations() ?? [])
  .some(each => each.metadata.toolName === 'DICOMSRDisplay')"""
_SHOW_SEGMENTS = """visible => {
  const service = window.services.segmentationService;
  for (const each of service.getSegmentationRepresentations('default'))
    for (const index of Object.keys(each.segments))
      service.setSegmentVisibility('default', each.segmentationId, Number(index), visible);
}"""
_VOXELS = """() => {
  const [made] = window.cornerstoneTools.segmentation.state.getSegmentations();
  const counts = {};
  for (const id of made.representationData.Labelmap.imageIds)
    for (const value of window.cornerstone.cache.getImage(id).voxelManager.getScalarData())
      if (value) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}"""
# Boxes of whatever stands over the canvas with text or picture in it.
_COVERING = """() => {
  const canvas = window.cornerstone.getRenderingEngines()[0].getViewports()[0].canvas;
  const area = canvas.getBoundingClientRect();
  const shown = [];
  for (const each of document.querySelectorAll('button, svg, img, span, input, [role=dialog], [role=alert], div')) {
    if (each.contains(canvas) || canvas.parentElement.contains(each)) continue;
    const own = [...each.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    if (each.tagName === 'DIV' && !own) continue;
    const box = each.getBoundingClientRect();
    if (!box.width || box.right < area.left || box.left > area.right || box.bottom < area.top || box.top > area.bottom)
      continue;
    shown.push([box.left, box.top, box.right, box.bottom]);
  }
  return shown;
}"""
_FRAME = "() => window.cornerstone.getRenderingEngines()[0].getViewports()[0].getCurrentImageIdIndex() + 1"
_GO = "frame => window.cornerstone.getRenderingEngines()[0].getViewports()[0].setImageIdIndex(frame - 1)"


def basic(study: str, series: str = "") -> str:
    """Address of a study in the basic mode, with the overlay of a SEG or SR series."""
    return f"/ohif/viewer?StudyInstanceUIDs={study}" + (f"&initialSeriesInstanceUID={series}" if series else "")


def microscopy(study: str, series: str = "") -> str:
    """Address of a slide, with the overlay of a SEG, ANN or SR series."""
    return f"/ohif/microscopy?StudyInstanceUIDs={study}" + (f"&initialSeriesInstanceUID={series}" if series else "")


def wait_image(page: Page) -> None:
    """Basic mode: an image is drawn."""
    page.wait_for_function(
        "() => !!window.cornerstone?.getRenderingEngines()?.[0]?.getViewports()?.[0]?.getImageData?.()", timeout=90_000
    )


def wait_segments(page: Page) -> None:
    """Basic mode: a segmentation is drawn; the question whether to open it is answered with yes."""
    page.wait_for_function(_SEGMENTS_SHOWN, timeout=90_000)
    agree(page)


def wait_regions(page: Page, frames: Collection[int]) -> None:
    """Basic mode: regions of a report are there, and one of the frames that they are on is shown."""
    page.wait_for_function(_REGIONS_SHOWN, timeout=90_000)
    wait_image(page)
    page.wait_for_function(f"frames => frames.includes(({_FRAME})())", arg=sorted(frames))


def agree(page: Page) -> None:
    """Answer OHIF's question, and wait until it is gone."""
    yes = page.get_by_role("button", name="Yes", exact=True)
    yes.click()
    yes.wait_for(state="detached")
    page.wait_for_function(_SEGMENTS_SHOWN)


def show_segments(page: Page, visible: bool) -> None:
    page.evaluate(_SHOW_SEGMENTS, visible)


def voxels(page: Page) -> dict[int, int]:
    """How many voxels of each segment the viewer holds."""
    return {int(number): int(count) for number, count in page.evaluate(_VOXELS).items()}


def frame(page: Page) -> int:
    """Number of the frame that is shown, from 1."""
    return int(page.evaluate(_FRAME))


def go_to_frame(page: Page, number: int) -> None:
    page.evaluate(_GO, number)
    page.wait_for_function(f"() => ({_FRAME})() === {number}")


def placement(page: Page) -> Placement:
    """Where the image of the basic mode stands."""
    return _placed(page.evaluate(_BASIC))


def slide_placement(page: Page) -> tuple[Placement, tuple[float, float, float, float] | None]:
    """Where level 1 of the slide stands, and the box of the overview map, which must be left out."""
    found = page.evaluate(_MICROSCOPY)
    return _placed(found), tuple(found["overview"]) if found["overview"] else None


def _placed(found: dict[str, Any]) -> Placement:
    return Placement(np.array(found["matrix"], float), tuple(found["window"]))


def uncovered(page: Page, shape: tuple[int, ...]) -> Mask:
    """The part of the page that shows the image of the basic mode and nothing over it: OHIF lays texts, buttons and its
    question along the edges."""
    covering: list[list[float]] = page.evaluate(_COVERING)
    left, top, right, bottom = placement(page).window
    made = within(shape, (left, top, right, bottom))
    for box in covering:
        made &= ~within(shape, (box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2))
    return made
