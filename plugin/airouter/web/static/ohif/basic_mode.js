/** Photographs and tomographs: segmentations through OHIF's own service, regions of reports on a canvas of ours. */

import { outlineColour } from './colours.js';
import { items, kindOf, refersTo, SOP } from './dicom.js';
import { HIGHLIGHT, highlightShapes } from './jump.js';
import { OverlayList } from './overlays.js';
import { outline, regionsOf } from './regions.js';
import { ShapeCanvas, shapesOf } from './shapes.js';
import { until } from './wait.js';

const DRAWN_AGAIN = ['CORNERSTONE_IMAGE_RENDERED', 'CORNERSTONE_CAMERA_MODIFIED', 'CORNERSTONE_STACK_NEW_IMAGE'];
const LABELMAP = 'Labelmap';

export class BasicMode {
  name = 'basic';
  #ohif;
  #unsubscribe = [];
  #looking = null;
  #viewport = null; // of cornerstone
  #element = null;
  #canvas = null;
  #images = null; // display set of the images shown

  constructor(ohif, bridge) {
    this.#ohif = ohif;
    this.overlays = new OverlayList(() => bridge.announce());
    const { viewportGridService: grid, displaySetService: sets, cornerstoneViewportService: viewports } = this.#services;
    this.#unsubscribe = [
      grid.subscribe(grid.EVENTS.GRID_STATE_CHANGED, () => this.#look()),
      grid.subscribe(grid.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, () => this.#look()),
      sets.subscribe(sets.EVENTS.DISPLAY_SETS_CHANGED, () => this.#look()),
      viewports.subscribe(viewports.EVENTS.VIEWPORT_DATA_CHANGED, () => this.#look()),
    ].map(({ unsubscribe }) => unsubscribe);
    this.#look();
  }

  stop() {
    this.#unsubscribe.forEach(unsubscribe => unsubscribe());
    this.#looking?.abort();
    this.#close();
  }

  study() {
    return this.#images?.StudyInstanceUID ?? null;
  }

  get #services() {
    return this.#ohif.servicesManager.services;
  }

  get #viewportId() {
    return this.#services.viewportGridService.getActiveViewportId();
  }

  /** The images in the active viewport, also where what the viewport was given is an overlay of them. */
  #shown() {
    const { viewportGridService, displaySetService } = this.#services;
    const uids = viewportGridService.getState().viewports.get(this.#viewportId)?.displaySetInstanceUIDs ?? [];
    const sets = uids.map(uid => displaySetService.getDisplaySetByUID(uid)).filter(Boolean);
    const images = sets.find(set => !kindOf(instanceOf(set)));
    const referenced = sets[0]?.referencedDisplaySetInstanceUID; // not known until the overlay is loaded
    return images ?? (referenced && displaySetService.getDisplaySetByUID(referenced));
  }

  async #look() {
    this.#looking?.abort();
    const looking = (this.#looking = new AbortController());
    const viewport = await until(() => {
      const found = this.#services.cornerstoneViewportService.getCornerstoneViewport(this.#viewportId);
      return found?.element?.isConnected && this.#shown() && imageIds(found).length && found.getImageData?.() ? found : null;
    }, looking.signal);
    if (viewport) this.#open(viewport);
  }

  #open(viewport) {
    this.#viewport = viewport;
    this.#images = this.#shown();
    if (viewport.element !== this.#element) {
      this.#close();
      this.#element = viewport.element;
      this.#canvas = new ShapeCanvas(viewport.element, (column, row) => this.#project(column, row));
      DRAWN_AGAIN.forEach(name => this.#element.addEventListener(name, this.#redraw));
    }
    const image = [this.#viewportId, this.#images.displaySetInstanceUID, isStack(viewport)].join(' ');
    this.overlays.offer(image, this.#offers());
    this.#canvas.draw();
  }

  #redraw = () => this.#canvas?.draw();

  #close() {
    DRAWN_AGAIN.forEach(name => this.#element?.removeEventListener(name, this.#redraw));
    this.#canvas?.destroy();
    this.#element = this.#canvas = null;
  }

  /** By the geometry of the picture as it is rendered: cornerstone's own image-to-world swaps spacings. */
  #project(column, row) {
    const image = isStack(this.#viewport) && this.#viewport.getImageData?.()?.imageData;
    return image ? this.#viewport.worldToCanvas(image.indexToWorld([column - 0.5, row - 0.5, 0])) : null;
  }

  #offers() {
    const shown = this.#images;
    const uids = new Set(items(shown.instances ?? shown.images).map(instance => instance.SOPInstanceUID));
    const sets = this.#services.displaySetService.getActiveDisplaySets();
    // Several jobs may have found the same; one of them is enough to begin with.
    const isFirst = set => !sets.slice(0, sets.indexOf(set)).some(each => each.Modality === 'SEG' && each.SeriesDescription === set.SeriesDescription);
    return sets
      .filter(set => set.StudyInstanceUID === shown.StudyInstanceUID && kindOf(instanceOf(set)))
      .filter(set => refersTo(instanceOf(set), shown.SeriesInstanceUID))
      .map((set, number) => ({ set, number, instance: instanceOf(set), kind: kindOf(instanceOf(set)) }))
      .filter(({ instance, kind }) => kind !== 'SR' || onImages(instance, uids).length)
      .map(({ set, number, instance, kind }) => ({
        series: set.SeriesInstanceUID,
        modality: instance.Modality,
        label: String(set.SeriesDescription ?? instance.Modality),
        kind,
        reason: whyNot(instance, kind, isStack(this.#viewport)),
        visible: kind === 'SR' || (kind === 'SEG' && isFirst(set)),
        load: () => (kind === 'SR' ? this.#report(instance, uids, number) : this.#segmentation(set)),
      }));
  }

  async #report(report, uids, number) {
    const regions = onImages(report, uids);
    const lists = regions.map(({ graphic, points }) => outline(graphic, points));
    const belongs = n => {
      const { sop, frame } = sourceOf(this.#viewport.getCurrentImageId());
      const { image } = regions[n];
      return image.sop === sop && (!image.frames.length || image.frames.includes(frame));
    };
    const shapes = shapesOf(lists, belongs);
    const name = report.SeriesInstanceUID;
    return {
      show: (visible, opacity) => {
        if (visible) this.#canvas?.put(name, shapes, { colour: outlineColour(number), opacity, width: 3 });
        else this.#canvas?.remove(name);
      },
    };
  }

  async #segmentation(set) {
    const { segmentationService, userAuthenticationService } = this.#services;
    const segmentationId = set.displaySetInstanceUID;
    const viewportId = this.#viewportId;
    const isThere = () => segmentationService.getSegmentationRepresentations(viewportId, { segmentationId }).length > 0;
    if (!segmentationService.getSegmentation(segmentationId)) {
      await set.load({ headers: userAuthenticationService.getAuthorizationHeader() });
    }
    if (!isThere()) await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type: LABELMAP });
    if (!isThere()) throw new Error('OHIF did not take this segmentation');
    return {
      show(visible, opacity) {
        const [shown] = segmentationService.getSegmentationRepresentations(viewportId, { segmentationId });
        if (!shown) return;
        for (const number of Object.keys(shown.segments)) {
          segmentationService.setSegmentVisibility(viewportId, segmentationId, Number(number), visible, LABELMAP);
        }
        const style = { fillAlpha: opacity, outlineOpacity: opacity, fillAlphaInactive: opacity, outlineOpacityInactive: opacity };
        segmentationService.setStyle({ viewportId, segmentationId, type: LABELMAP }, style);
      },
    };
  }

  /** Turn to the image and frame of the region, and let it flash. */
  async jump(region) {
    if (!this.#viewport) throw new Error('no image is shown');
    let at = this.#find(region);
    if (at < 0) {
      await this.#turnTo(region);
      at = this.#find(region);
    }
    if (!isStack(this.#viewport)) throw new Error('this layout has no single frames');
    await this.#viewport.setImageIdIndex(at);
    const canvas = this.#canvas;
    const { sop, frame } = sourceOf(imageIds(this.#viewport)[at]);
    const isThere = () => {
      const shown = sourceOf(this.#viewport.getCurrentImageId());
      return shown.sop === sop && shown.frame === frame;
    };
    const shapes = highlightShapes(region, point => point);
    shapes.belongs = isThere;
    canvas.put(HIGHLIGHT.name, shapes, HIGHLIGHT);
    setTimeout(() => canvas.remove(HIGHLIGHT.name), HIGHLIGHT.milliseconds);
  }

  /** Number of the image of a region in the viewport's stack, or -1. */
  #find(region) {
    return imageIds(this.#viewport).findIndex(id => {
      const { sop, frame } = sourceOf(id);
      return sop === region.source && (!region.frame || frame === Number(region.frame));
    });
  }

  async #turnTo(region) {
    const { displaySetService, viewportGridService } = this.#services;
    const has = set => items(set.instances ?? set.images).some(instance => instance.SOPInstanceUID === region.source);
    const set = displaySetService.getActiveDisplaySets().find(s => !kindOf(instanceOf(s)) && has(s));
    if (!set) throw new Error('the study shown does not have that image');
    const viewportId = this.#viewportId;
    viewportGridService.setDisplaySetsForViewports([{ viewportId, displaySetInstanceUIDs: [set.displaySetInstanceUID] }]);
    const isThere = () => this.#images === set && this.#find(region) >= 0;
    if (!(await until(isThere))) throw new Error('the image did not open');
  }
}

const instanceOf = set => set?.instance ?? set?.instances?.[0] ?? {};
const isStack = viewport => typeof viewport.setImageIdIndex === 'function';
const imageIds = viewport => viewport.getImageIds?.() ?? [];

/** SOP Instance UID and frame (from 1) of an image, by the address that cornerstone calls it by. */
function sourceOf(imageId) {
  const [, sop, frame] = /instances\/([0-9.]+)(?:\/frames\/(\d+))?/.exec(imageId ?? '') ?? [];
  return { sop, frame: Number(frame ?? 1) };
}

const onImages = (report, uids) => regionsOf(report).filter(({ image }) => image && uids.has(image.sop));

function whyNot(instance, kind, stack) {
  if (kind === 'SR' && !stack) return 'regions are drawn on single images, not in this layout';
  if (kind === 'ANN') return 'OHIF draws bulk annotations on slides only';
  if (kind === 'MAP') {
    return instance.SOPClassUID === SOP.MAP
      ? 'OHIF shows a parametric map by itself, not over an image'
      : 'OHIF cannot draw fractional segmentations over this image';
  }
  return null;
}
