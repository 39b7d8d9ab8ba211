/**
 * Outlines over an image, drawn on a canvas of their own: regions of reports, and nuclei by the hundred thousand.
 *
 * Nothing of the viewer's own drawing is used, so that nobody drags the corner of a finding by mistake, and a million
 * outlines cost no more than what of them is in sight: those smaller than a few pixels become dots, and so do all
 * where too many are in sight.
 */

import { css } from './colours.js';

const DOT = 4; // what is smaller on the screen is drawn as a dot
const MOST = 6000; // outlines in sight; of more, each becomes a dot too
const TOGETHER = 200; // outlines of one path: a path of thousands takes seconds to stroke
const LINE = 2;
const RING = 6; // radius of what marks a single point

/**
 * Shapes as flat arrays: `points` x, y, x, y, …; `starts` the number of each shape's first point, and one more at the
 * end; `closed` whether the last point is joined to the first; `belongs(n)` whether shape n lies on the image shown.
 * Single points are dots in a `crowd`, and rings where each is a finding.
 */
export class Shapes {
  constructor(points, starts, closed, { belongs = () => true, crowd = false } = {}) {
    Object.assign(this, { points, starts, closed, belongs, crowd });
    this.boxes = boxes(points, starts);
  }

  get count() {
    return this.starts.length - 1;
  }
}

/** Shapes of few points lists. @param {number[][][]} lists one list of [x, y] per shape */
export function shapesOf(lists, belongs) {
  const starts = [0];
  for (const list of lists) starts.push(starts[starts.length - 1] + list.length);
  return new Shapes(Float32Array.from(lists.flat(2)), Uint32Array.from(starts), false, { belongs });
}

function boxes(points, starts) {
  const made = new Float32Array((starts.length - 1) * 4);
  for (let n = 0; n < starts.length - 1; n++) {
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let at = starts[n] * 2; at < starts[n + 1] * 2; at += 2) {
      left = Math.min(left, points[at]);
      right = Math.max(right, points[at]);
      top = Math.min(top, points[at + 1]);
      bottom = Math.max(bottom, points[at + 1]);
    }
    made.set([left, top, right, bottom], n * 4);
  }
  return made;
}

export class ShapeCanvas {
  #sets = new Map();

  /** @param {HTMLElement} host element over the image @param project (x, y) to a place in the host, or null */
  constructor(host, project) {
    this.host = host;
    this.project = project;
    this.canvas = document.createElement('canvas');
    this.canvas.className = 'airouter-shapes';
    Object.assign(this.canvas.style, { position: 'absolute', left: 0, top: 0, pointerEvents: 'none' });
    host.insertBefore(this.canvas, host.children[1] ?? null); // over the picture, under controls
  }

  /** Draw these shapes as well, or in place of those of that name. `width` of the line in pixels of the screen. */
  put(name, shapes, { colour, opacity = 1, width = LINE }) {
    this.#sets.set(name, { shapes, colour, opacity, width });
    this.draw();
  }

  remove(name) {
    if (this.#sets.delete(name)) this.draw();
  }

  destroy() {
    this.canvas.remove();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const ratio = window.devicePixelRatio || 1;
    const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== columns || this.canvas.height !== rows) {
      Object.assign(this.canvas, { width: columns, height: rows });
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const context = this.canvas.getContext('2d');
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, columns, rows);
    const affine = this.#affine();
    if (!affine) return;
    context.scale(ratio, ratio);
    for (const set of this.#sets.values()) paint(context, set, affine, width, height);
  }

  /** Image to host: [a, b, c, d, e, f] with x' = a x + c y + e and y' = b x + d y + f. */
  #affine() {
    const step = 1000;
    const [o, x, y] = [this.project(0, 0), this.project(step, 0), this.project(0, step)];
    if (!o || !x || !y) return null;
    return [(x[0] - o[0]) / step, (x[1] - o[1]) / step, (y[0] - o[0]) / step, (y[1] - o[1]) / step, o[0], o[1]];
  }
}

function paint(context, { shapes, colour, opacity, width: line }, affine, width, height) {
  const { boxes, starts, closed, crowd } = shapes;
  context.globalAlpha = opacity;
  context.strokeStyle = context.fillStyle = css(colour);
  context.lineWidth = line;
  context.lineJoin = 'round';
  const scale = Math.hypot(affine[0], affine[1]);
  const dots = new Dots(context, width, height);
  const outlines = [];
  for (let n = 0; n < starts.length - 1; n++) {
    const [across, down] = [boxes[4 * n + 2] - boxes[4 * n], boxes[4 * n + 3] - boxes[4 * n + 1]];
    const [x, y] = at(affine, boxes[4 * n] + across / 2, boxes[4 * n + 1] + down / 2);
    const reach = (scale * Math.hypot(across, down)) / 2 + line + RING;
    if (x < -reach || y < -reach || x > width + reach || y > height + reach || !shapes.belongs(n)) continue;
    const isPoint = across === 0 && down === 0;
    if (isPoint && !crowd) ring(context, x, y);
    else if (scale * Math.max(across, down) < DOT) dots.put(x, y, isPoint ? 2 : 1);
    else outlines.push(n, x, y);
  }
  if (crowd && outlines.length > 3 * MOST) {
    for (let k = 0; k < outlines.length; k += 3) dots.put(outlines[k + 1], outlines[k + 2], 1);
    return;
  }
  for (let k = 0; k < outlines.length; k += 3 * TOGETHER) {
    context.beginPath();
    for (let m = k; m < Math.min(outlines.length, k + 3 * TOGETHER); m += 3) trace(context, shapes, outlines[m], affine, closed);
    context.stroke();
  }
}

const at = ([a, b, c, d, e, f], x, y) => [a * x + c * y + e, b * x + d * y + f];

function trace(context, { points, starts }, number, affine, closed) {
  for (let n = starts[number]; n < starts[number + 1]; n++) {
    const [x, y] = at(affine, points[2 * n], points[2 * n + 1]);
    if (n === starts[number]) context.moveTo(x, y);
    else context.lineTo(x, y);
  }
  if (closed) context.closePath();
}

function ring(context, x, y) {
  context.beginPath();
  context.arc(x, y, RING, 0, 2 * Math.PI);
  context.stroke();
}

/** Dots, at most one in a square of two pixels: more could not be told apart. */
class Dots {
  constructor(context, width, height) {
    this.context = context;
    this.across = Math.ceil(width / 2) + 1;
    this.taken = new Uint8Array(this.across * (Math.ceil(height / 2) + 1));
  }

  put(x, y, half) {
    const square = Math.floor(y / 2) * this.across + Math.floor(x / 2);
    if (this.taken[square]) return;
    this.taken[square] = 1;
    this.context.fillRect(x - half, y - half, 2 * half, 2 * half);
  }
}
