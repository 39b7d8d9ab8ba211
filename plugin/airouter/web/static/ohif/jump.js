/** A region as the panel sends it: {graphic, source, frame, series, box: [left, top, right, bottom], points}. */

import { outline } from './regions.js';
import { shapesOf } from './shapes.js';

/** How the region that was jumped to is shown for a moment. */
export const HIGHLIGHT = { name: 'highlight', colour: [255, 255, 0], width: 4, opacity: 1, milliseconds: 4000 };
const AROUND_POINT = 64; // pixels around a single point

/** @param {(point: number[]) => number[]} place from the region's pixels to those of the image shown */
export function highlightShapes(region, place) {
  const [left, top, right, bottom] = region.box ?? [];
  const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
  const given = region.points?.length ? region.points : corners;
  const points = given.map(point => point.map(Number));
  if (!points.every(point => point.length === 2 && point.every(Number.isFinite))) throw new Error('the region has no place');
  return shapesOf([outline(region.points?.length ? region.graphic : 'POLYGON', points.map(place))]);
}

export function boxOf(shapes) {
  const [left, top, right, bottom] = shapes.boxes;
  const wider = size => Math.max(0, (AROUND_POINT - size) / 2);
  const [x, y] = [wider(right - left), wider(bottom - top)];
  return [left - x, top - y, right + x, bottom + y];
}
