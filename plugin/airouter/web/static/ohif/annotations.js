/** Bulk annotations (ANN): groups of many like objects, as shapes on a slide. */

import { first, items, numbers } from './dicom.js';
import { Shapes } from './shapes.js';

const PER_OBJECT = { POINT: 1, RECTANGLE: 4, ELLIPSE: 4 };
const CLOSED = new Set(['POLYGON', 'RECTANGLE', 'ELLIPSE']);

/** [{label, shapes}] of each group, in pixels of the slide's finest level. Throws where a group cannot be placed. */
export async function annotationShapes(instance, slide) {
  const made = [];
  for (const group of items(instance.AnnotationGroupSequence)) made.push(await shapesOfGroup(instance, group, slide));
  return made;
}

async function shapesOfGroup(instance, group, slide) {
  const count = Number(group.NumberOfAnnotations);
  const graphic = group.GraphicType;
  const flat = instance.AnnotationCoordinateType === '2D';
  const size = flat || group.CommonZCoordinateValue !== undefined ? 2 : 3;
  const data = group.DoublePointCoordinatesData !== undefined
    ? await numbers(group.DoublePointCoordinatesData, Float64Array)
    : await numbers(group.PointCoordinatesData, Float32Array);
  const starts = await startsOf(group, count, size, data.length / size);
  const points = placed(data, size, flat ? scaleOf(instance, slide) : null, slide);
  const drawn = graphic === 'ELLIPSE' ? corners(points) : points;
  return { label: String(group.AnnotationGroupLabel ?? ''), shapes: new Shapes(drawn, starts, CLOSED.has(graphic), { crowd: true }) };
}

/** The number of each object's first point, and one more: fixed per object, or by the index (from 1, in numbers). */
async function startsOf(group, count, size, total) {
  const each = PER_OBJECT[group.GraphicType];
  if (each) return Uint32Array.from({ length: count + 1 }, (_, n) => n * each);
  const index = await numbers(group.LongPrimitivePointIndexList, Uint32Array);
  if (index.length !== count) throw new Error(`${index.length} objects where ${count} are said to be`);
  const starts = new Uint32Array(count + 1);
  index.forEach((at, n) => { starts[n] = (at - 1) / size; });
  starts[count] = total;
  return starts;
}

function scaleOf(instance, slide) {
  const scale = slide.scaleOf(first(instance.ReferencedImageSequence)?.ReferencedSOPInstanceUID);
  if (!scale) throw new Error('made from a level that the slide does not have');
  return scale;
}

function placed(data, size, scale, slide) {
  const points = new Float32Array((data.length / size) * 2);
  for (let from = 0, to = 0; to < points.length; from += size, to += 2) {
    const place = scale
      ? [data[from] * scale[1], data[from + 1] * scale[0]]
      : slide.fromGlass([data[from], data[from + 1], size === 3 ? data[from + 2] : 0]);
    points[to] = place[0];
    points[to + 1] = place[1];
  }
  return points;
}

/** Ends of both axes (0, 1 and 2, 3) in the order in which an outline goes through them. */
function corners(points) {
  const made = new Float32Array(points.length);
  const order = [0, 2, 1, 3];
  for (let n = 0; n < points.length / 2; n++) {
    const from = n - (n % 4) + order[n % 4];
    made[2 * n] = points[2 * from];
    made[2 * n + 1] = points[2 * from + 1];
  }
  return made;
}
