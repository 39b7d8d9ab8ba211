/** Slides: which is shown, what lies over it, and moving to a finding. */

import { annotationShapes } from './annotations.js';
import { outlineColour } from './colours.js';
import { items, kindOf, refersTo, SOP } from './dicom.js';
import { Legend } from './legend.js';
import { boxOf, HIGHLIGHT, highlightShapes } from './jump.js';
import { OverlayList } from './overlays.js';
import { rangeOf, rasterLayer, segmentsOf } from './rasters.js';
import { outline, regionsOf } from './regions.js';
import { ShapeCanvas, shapesOf } from './shapes.js';
import { Slide } from './slide.js';
import { until } from './wait.js';

export class MicroscopyMode {
  name = 'microscopy';
  #ohif;
  #slide = null;
  #canvas = null;
  #legend = null;
  #unsubscribe = [];
  #looking = null;
  #colours = new Map(); // of outlines, the same for a series wherever it stands in the list

  constructor(ohif, bridge) {
    this.#ohif = ohif;
    this.overlays = new OverlayList(() => bridge.announce());
    const { viewportGridService, displaySetService } = this.#services;
    this.#unsubscribe = [
      viewportGridService.subscribe(viewportGridService.EVENTS.GRID_STATE_CHANGED, () => this.#look()),
      displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_CHANGED, () => this.#look()),
    ].map(({ unsubscribe }) => unsubscribe);
    this.#look();
  }

  stop() {
    this.#unsubscribe.forEach(unsubscribe => unsubscribe());
    this.#looking?.abort();
    this.#close();
  }

  study() {
    return this.#slide?.study ?? null;
  }

  get #services() {
    return this.#ohif.servicesManager.services;
  }

  /** Find the slide that is shown; its viewer appears some time after the viewport was given to it. */
  async #look() {
    this.#looking?.abort();
    const looking = (this.#looking = new AbortController());
    try {
      const managed = await until(() => {
        const shown = this.#services.microscopyService.getAllManagedViewers().filter(m => m.container?.isConnected).at(-1);
        return shown && new Slide(shown).series === this.#shownSeries() ? shown : null;
      }, looking.signal);
      if (managed) this.#open(managed);
    } catch (error) {
      console.error('overlays', error);
      this.#services.uiNotificationService.show({ title: 'No AI overlays', message: error.message, type: 'error' });
    }
  }

  #shownSeries() {
    const { viewportGridService, displaySetService } = this.#services;
    const { viewports, activeViewportId } = viewportGridService.getState();
    const uid = viewports.get(activeViewportId)?.displaySetInstanceUIDs?.[0];
    const set = uid && displaySetService.getDisplaySetByUID(uid);
    return (set?.isOverlayDisplaySet ? set.getSourceDisplaySet() : set)?.SeriesInstanceUID;
  }

  #open(managed) {
    const slide = new Slide(managed);
    if (slide.map !== this.#slide?.map) {
      this.#close();
      this.#slide = slide;
      this.#canvas = new ShapeCanvas(slide.element, (column, row) => slide.project(column, row));
      this.#legend = new Legend(slide.element);
      slide.map.on('postrender', this.#redraw);
    }
    this.overlays.offer(this.#slide.map, this.#offers());
  }

  #redraw = () => this.#canvas?.draw();

  #close() {
    this.#slide?.map.un('postrender', this.#redraw);
    this.#canvas?.destroy();
    this.#legend?.destroy();
    this.#slide = this.#canvas = this.#legend = null;
  }

  #offers() {
    const slide = this.#slide;
    const sets = this.#services.displaySetService.getActiveDisplaySets();
    const objects = sets.filter(set => set.isOverlayDisplaySet && set.StudyInstanceUID === slide.study);
    return objects
      .filter(({ instance }) => kindOf(instance) && belongs(instance, slide))
      .sort((a, b) => a.SeriesNumber - b.SeriesNumber)
      .map(({ instance, instances }) => ({
        series: instance.SeriesInstanceUID,
        modality: instance.Modality,
        label: titleOf(instance),
        kind: kindOf(instance),
        reason: null,
        visible: kindOf(instance) === 'SR',
        load: () => this.#load(instance, instances),
      }));
  }

  #load(instance, instances) {
    if (instance.SOPClassUID === SOP.ANN) return this.#annotations(instance);
    return SOP.SR.includes(instance.SOPClassUID) ? this.#report(instance) : this.#raster(instance, instances);
  }

  async #report(report) {
    const slide = this.#slide;
    const lists = regionsOf(report)
      .filter(({ frameOfReference, image }) => frameOfReference === slide.frameOfReference || slide.scaleOf(image?.sop))
      .map(({ graphic, points, image }) => {
        const scale = image && slide.scaleOf(image.sop);
        return outline(graphic, points.map(p => (scale ? [p[0] * scale[1], p[1] * scale[0]] : slide.fromGlass(p))));
      })
      .filter(points => points.length && !isWhole(points, slide));
    return this.#drawn(report, [{ label: titleOf(report), shapes: shapesOf(lists) }], 3);
  }

  async #annotations(instance) {
    return this.#drawn(instance, await annotationShapes(instance, this.#slide), 1.5);
  }

  /** The shapes of an object in groups of a colour each. */
  #drawn(instance, groups, width) {
    const [canvas, legend, series] = [this.#canvas, this.#legend, instance.SeriesInstanceUID];
    const swatches = groups.map(({ label }, n) => ({ label, colour: this.#colourOf(`${series} ${n}`) }));
    return {
      show(visible, opacity) {
        groups.forEach(({ shapes }, n) => {
          if (visible) canvas.put(`${series} ${n}`, shapes, { colour: swatches[n].colour, opacity, width });
          else canvas.remove(`${series} ${n}`);
        });
        if (visible && groups.some(({ shapes }) => shapes.count)) legend.put(series, { swatches });
        else legend.remove(series);
      },
    };
  }

  #colourOf(name) {
    if (!this.#colours.has(name)) this.#colours.set(name, outlineColour(this.#colours.size));
    return this.#colours.get(name);
  }

  async #raster(instance, instances) {
    const [slide, legend] = [this.#slide, this.#legend];
    const root = this.#ohif.extensionManager.getActiveDataSource()[0].getConfig().wadoRoot;
    const finest = [...instances].sort((a, b) => a.TotalPixelMatrixColumns - b.TotalPixelMatrixColumns).at(-1);
    const layer = await rasterLayer(slide, finest, root);
    slide.map.addLayer(layer);
    const title = titleOf(instance);
    const range = rangeOf(finest);
    const swatches = range ? [] : segmentsOf(finest);
    return {
      show(visible, opacity) {
        layer.setVisible(visible);
        layer.setOpacity(opacity);
        if (visible) legend.put(instance.SeriesInstanceUID, { title, swatches, range });
        else legend.remove(instance.SeriesInstanceUID);
      },
    };
  }

  /** Bring the region into view, on its slide, and let it flash. */
  async jump(region) {
    if (!this.#slide) throw new Error('no slide is shown');
    if (!this.#slide.scaleOf(region.source)) await this.#turnTo(region.source);
    const slide = this.#slide;
    const scale = slide.scaleOf(region.source);
    const shapes = highlightShapes(region, ([x, y]) => [x * scale[1], y * scale[0]]);
    const canvas = this.#canvas;
    canvas.put(HIGHLIGHT.name, shapes, HIGHLIGHT);
    setTimeout(() => canvas.remove(HIGHLIGHT.name), HIGHLIGHT.milliseconds);
    await slide.fit(boxOf(shapes));
  }

  /** Open the slide that has this image as a level. */
  async #turnTo(source) {
    const { displaySetService, viewportGridService } = this.#services;
    const has = set => [...items(set.instances), ...items(set.others)].some(level => level.SOPInstanceUID === source);
    const set = displaySetService.getActiveDisplaySets().find(s => s.Modality === 'SM' && has(s));
    if (!set) throw new Error('the study shown does not have that slide');
    const viewportId = viewportGridService.getActiveViewportId();
    viewportGridService.setDisplaySetsForViewports([{ viewportId, displaySetInstanceUIDs: [set.displaySetInstanceUID] }]);
    if (!(await until(() => this.#slide?.scaleOf(source)))) throw new Error('the slide did not open');
  }
}

const titleOf = instance => String(instance.SeriesDescription ?? instance.Modality);

function belongs(instance, slide) {
  if (refersTo(instance, slide.series, slide.frameOfReference)) return true;
  return regionsOf(instance).some(({ frameOfReference }) => frameOfReference === slide.frameOfReference);
}

/** The outline of the whole slide, which stands for findings that have no place on it. */
function isWhole(points, slide) {
  const near = (value, to) => Math.abs(value - to) <= 1 + to * 1e-3;
  const atCorner = ([x, y]) => (near(x, 0) || near(x, slide.width)) && (near(y, 0) || near(y, slide.height));
  return points.length >= 4 && points.length <= 6 && points.every(atCorner);
}
