/**
 * The slide in a viewport of the microscopy mode: its levels, its place on the glass, and its map.
 *
 * The only file that reaches into dicom-microscopy-viewer. That has no public way to its OpenLayers map, so the pinned
 * version's symbols are found by name here, and whoever changes the version gets an error that says so.
 *
 * Points are (column, row) of the finest level, with (0, 0) at the corner of the first pixel. The map has them at
 * (column, -(row + 1)).
 */

import { first, items } from './dicom.js';

export class Slide {
  /** @param managed a managed viewer of OHIF's microscopy service */
  constructor(managed) {
    this.map = hidden(managed.viewer, 'map');
    const levels = hidden(managed.viewer, 'pyramid').metadata;
    this.base = levels[levels.length - 1];
    this.study = this.base.StudyInstanceUID;
    this.series = this.base.SeriesInstanceUID;
    this.frameOfReference = this.base.FrameOfReferenceUID;
    this.width = Number(this.base.TotalPixelMatrixColumns);
    this.height = Number(this.base.TotalPixelMatrixRows);
    this.spacing = spacingOf(this.base);
    this.origin = originOf(this.base);
    this.orientation = items(this.base.ImageOrientationSlide).map(Number);
    this.#levels = new Map(levels.map(level => [level.SOPInstanceUID, level]));
    const tiled = this.map.getLayers().getArray().find(layer => layer.getSource?.()?.getTileGrid?.());
    if (!tiled) throw changed('tile layer');
    this.classes = {
      Layer: tiled.constructor,
      Source: tiled.getSource().constructor,
      TileGrid: tiled.getSource().getTileGrid().constructor,
    };
  }

  #levels;

  get view() {
    return this.map.getView();
  }

  /** The element that lies exactly over the map. */
  get element() {
    return this.map.getViewport();
  }

  get extent() {
    return [0, -(this.height + 1), this.width, -1];
  }

  /** Pixels of the finest level per pixel of this level, by its SOP Instance UID; null where it is none of the slide. */
  scaleOf(uid) {
    const level = this.#levels.get(uid);
    return level ? spacingOf(level).map((mm, axis) => mm / this.spacing[axis]) : null;
  }

  /** (x, y, z) in mm on the glass. */
  fromGlass([x, y, z = 0]) {
    const from = [x - this.origin[0], y - this.origin[1], z - this.origin[2]];
    const along = this.orientation.slice(0, 3);
    const down = this.orientation.slice(3);
    const dot = axis => axis.reduce((sum, cosine, n) => sum + cosine * from[n], 0);
    return [dot(along) / this.spacing[1] + 0.5, dot(down) / this.spacing[0] + 0.5];
  }

  /** Where a point lies in the map's element; null before the map is drawn. */
  project(column, row) {
    return this.map.getPixelFromCoordinate([column, -(row + 1)]);
  }

  /** Move so that this box fills most of the view; resolves when the view has come to rest. */
  fit([left, top, right, bottom]) {
    const extent = [left, -(bottom + 1), right, -(top + 1)];
    const size = this.map.getSize();
    const edge = Math.round(Math.min(...size) / 5);
    return new Promise(resolve => {
      this.view.fit(extent, { size, padding: [edge, edge, edge, edge], minResolution: 0.5, duration: 300, callback: resolve });
    });
  }
}

export const spacingOf = instance =>
  items(first(first(instance.SharedFunctionalGroupsSequence)?.PixelMeasuresSequence)?.PixelSpacing).map(Number);

export function originOf(instance) {
  const origin = first(instance.TotalPixelMatrixOriginSequence);
  const name = axis => `${axis}OffsetInSlideCoordinateSystem`;
  return ['X', 'Y', 'Z'].map(axis => Number(origin?.[name(axis)] ?? 0));
}

function hidden(viewer, name) {
  const symbol = Object.getOwnPropertySymbols(viewer).find(s => s.description === name);
  if (!symbol || !viewer[symbol]) throw changed(name);
  return viewer[symbol];
}

const changed = what =>
  new Error(`dicom-microscopy-viewer has no ${what} where OHIF 3.13.2 has it: this extension is for that version`);
