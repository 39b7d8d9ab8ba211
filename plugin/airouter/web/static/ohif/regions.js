/** Regions of reports (SR): every SCOORD and SCOORD3D in the content tree. */

import { first, items } from './dicom.js';

const pairs = (data, size) => Array.from({ length: Math.floor(data.length / size) }, (_, n) => data.slice(size * n, size * n + size));
const CLOSED = new Set(['POLYGON', 'CIRCLE', 'ELLIPSE']);

/** {graphic, points, frameOfReference} or {graphic, points, image: {sop, frames}} of each region, in the report's order. */
export function regionsOf(report) {
  const found = [];
  walk(report, found);
  return found;
}

function walk(item, found) {
  for (const child of items(item.ContentSequence)) {
    const data = items(child.GraphicData).map(Number);
    if (child.ValueType === 'SCOORD3D') {
      found.push({ graphic: child.GraphicType, points: pairs(data, 3), frameOfReference: child.ReferencedFrameOfReferenceUID });
    } else if (child.ValueType === 'SCOORD') {
      const image = first(items(child.ContentSequence).find(inner => inner.ValueType === 'IMAGE')?.ReferencedSOPSequence);
      const frames = items(image?.ReferencedFrameNumber).map(Number);
      found.push({ graphic: child.GraphicType, points: pairs(data, 2), image: { sop: image?.ReferencedSOPInstanceUID, frames } });
    }
    walk(child, found);
  }
}

/** Points of what is drawn for a region: circles and ellipses as outlines, what is closed with its first point again. */
export function outline(graphic, points) {
  if (graphic === 'CIRCLE' && points.length === 2) {
    const radius = Math.hypot(points[1][0] - points[0][0], points[1][1] - points[0][1]);
    return round(points[0], [radius, 0], [0, radius]);
  }
  if (graphic === 'ELLIPSE' && points.length === 4) {
    const [a, b, c, d] = points;
    const half = (p, q) => [(q[0] - p[0]) / 2, (q[1] - p[1]) / 2];
    return round([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], half(a, b), half(c, d));
  }
  return CLOSED.has(graphic) && points.length > 2 ? [...points, points[0]] : points;
}

function round([x, y], along, across) {
  return Array.from({ length: 65 }, (_, n) => {
    const [cos, sin] = [Math.cos((n * Math.PI) / 32), Math.sin((n * Math.PI) / 32)];
    return [x + along[0] * cos + across[0] * sin, y + along[1] * cos + across[1] * sin];
  });
}
