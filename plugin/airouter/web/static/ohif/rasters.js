/**
 * Masks and maps of a slide as a layer of its map: segmentations, heat maps and parametric maps.
 *
 * Placed by pixel spacing and origin, not by the ratio of sizes: a grid of cells that just covers a slide is a little
 * larger than it. Only stored, uncompressed frames are read, which is what the router writes.
 */

import { heat, maskColour } from './colours.js';
import { fetchFrames, first, group, items } from './dicom.js';
import { originOf, spacingOf } from './slide.js';

/** Layer of one object, hidden; throws where it cannot be placed or read. @param root address of WADO-RS */
export async function rasterLayer(slide, instance, root) {
  const grid = gridOf(slide, instance);
  const frames = framesByTile(instance, grid);
  const paint = painter(instance);
  const empty = new Uint8Array(grid.columns * grid.rows * 4);
  const { Layer, Source, TileGrid } = slide.classes;
  const loader = async (z, x, y) => {
    const here = frames.get(`${x} ${y}`);
    if (!here) return empty;
    const found = await fetchFrames(root, instance, here.map(frame => frame.number));
    if (found.length !== here.length) throw new Error('frames are missing in the answer');
    const pixels = new Uint8Array(empty.length);
    found.forEach((bytes, n) => paint(pixels, bytes, here[n].segment));
    return pixels;
  };
  const [any] = frames.keys();
  await loader(0, ...any.split(' ').map(Number)); // one that cannot be read is told at once, not tile by tile
  const tileGrid = new TileGrid({
    extent: slide.extent,
    origin: [grid.left, -(grid.top + 1)],
    resolutions: [grid.scale],
    tileSizes: [[grid.columns, grid.rows]],
  });
  const source = new Source({
    tileGrid, loader, bandCount: 4, interpolate: false, wrapX: false, projection: slide.view.getProjection(),
    tileSize: [grid.columns, grid.rows],
  });
  return new Layer({ source, extent: slide.extent, visible: false });
}

/** Where the object's matrix lies on the slide, in pixels of the finest level, and the size of its tiles. */
function gridOf(slide, instance) {
  const spacing = spacingOf(instance);
  const [down, along] = spacing.map((mm, axis) => mm / slide.spacing[axis]);
  if (!(along > 0) || Math.abs(along - down) > 1e-3 * along) throw new Error('its pixels are not square on the slide');
  const orientation = items(instance.ImageOrientationSlide ?? slide.orientation).map(Number);
  if (orientation.some((cosine, n) => Math.abs(cosine - slide.orientation[n]) > 1e-3)) {
    throw new Error('it is turned against the slide');
  }
  const [x, y] = slide.fromGlass(originOf(instance)); // the middle of its first pixel
  return {
    left: x - along / 2, top: y - down / 2, scale: along, rows: Number(instance.Rows), columns: Number(instance.Columns),
    across: Math.ceil(Number(instance.TotalPixelMatrixColumns) / Number(instance.Columns)),
    down: Math.ceil(Number(instance.TotalPixelMatrixRows) / Number(instance.Rows)),
  };
}

/** Frames of each tile by "x y": their numbers and the segments they are of. */
function framesByTile(instance, grid) {
  const tiles = new Map();
  const full = instance.DimensionOrganizationType === 'TILED_FULL';
  for (let number = 1; number <= Number(instance.NumberOfFrames ?? 1); number++) {
    const place = full ? null : group(instance, number, 'PlanePositionSlideSequence');
    const within = (number - 1) % (grid.across * grid.down);
    const x = full ? within % grid.across : (Number(place.ColumnPositionInTotalImagePixelMatrix) - 1) / grid.columns;
    const y = full ? Math.floor(within / grid.across) : (Number(place.RowPositionInTotalImagePixelMatrix) - 1) / grid.rows;
    if (!Number.isInteger(x) || !Number.isInteger(y)) throw new Error('its frames do not lie on a grid of tiles');
    const segment = full
      ? Math.floor((number - 1) / (grid.across * grid.down)) + 1
      : Number(group(instance, number, 'SegmentIdentificationSequence')?.ReferencedSegmentNumber ?? 1);
    const key = `${x} ${y}`;
    tiles.set(key, [...(tiles.get(key) ?? []), { number, segment }]);
  }
  return tiles;
}

/** Segments as {number, label, colour}; a map has none. */
export function segmentsOf(instance) {
  return items(instance.SegmentSequence).map((segment, n) => ({
    number: Number(segment.SegmentNumber), label: String(segment.SegmentLabel ?? ''), colour: maskColour(n),
  }));
}

/** The values that a map's colours begin and end with, and its unit; null for masks. */
export function rangeOf(instance) {
  if (items(instance.SegmentSequence).length) return instance.SegmentationType === 'FRACTIONAL' ? { low: 0, high: 1, unit: '' } : null;
  const window = group(instance, 1, 'FrameVOILUTSequence');
  const mapping = group(instance, 1, 'RealWorldValueMappingSequence');
  const [middle, width] = [Number(first(window?.WindowCenter)), Number(first(window?.WindowWidth))];
  const unit = first(mapping?.MeasurementUnitsCodeSequence)?.CodeValue ?? '';
  if (width > 0) return { low: middle - width / 2, high: middle + width / 2, unit };
  const low = Number(mapping?.DoubleFloatRealWorldValueFirstValueMapped);
  const high = Number(mapping?.DoubleFloatRealWorldValueLastValueMapped);
  if (!(high >= low)) throw new Error('it does not say between which values it lies');
  return { low, high, unit };
}

/** How a frame's bytes become pixels (red, green, blue, opacity) of a tile. */
function painter(instance) {
  const size = Number(instance.Rows) * Number(instance.Columns);
  const bits = Number(instance.BitsAllocated);
  const range = rangeOf(instance);
  const put = (pixels, n, rgb) => pixels.set([rgb[0], rgb[1], rgb[2], 255], 4 * n);
  if (!range) {
    const colours = new Map(segmentsOf(instance).map(segment => [segment.number, segment.colour]));
    if (bits === 1 && size % 8) throw new Error('its frames do not begin at whole bytes');
    if (instance.SOPClassUID.endsWith('.66.7')) throw new Error('label maps are not drawn on slides');
    const isSet = bits === 1 ? (bytes, n) => (bytes[n >> 3] >> (n & 7)) & 1 : (bytes, n) => bytes[n] > 0;
    return (pixels, bytes, segment) => {
      expect(bytes, bits === 1 ? size / 8 : size);
      const rgb = colours.get(segment) ?? maskColour(segment);
      for (let n = 0; n < size; n++) if (isSet(bytes, n)) put(pixels, n, rgb);
    };
  }
  if (bits === 8) {
    const most = Number(instance.MaximumFractionalValue ?? 255);
    return (pixels, bytes) => {
      expect(bytes, size);
      for (let n = 0; n < size; n++) if (bytes[n]) put(pixels, n, heat(bytes[n] / most));
    };
  }
  if (bits !== 32) throw new Error(`maps of ${bits} bits are not drawn`);
  const padding = first(instance.FloatPixelPaddingValue);
  const isKnown = value => Number.isFinite(value) && (padding === undefined || value !== Number(padding));
  const span = range.high - range.low || 1;
  return (pixels, bytes) => {
    expect(bytes, size * 4);
    const values = new Float32Array(bytes.slice(0, size * 4).buffer);
    values.forEach((value, n) => { if (isKnown(value)) put(pixels, n, heat((value - range.low) / span)); });
  };
}

function expect(bytes, size) {
  // Frames have an even length, so one byte may follow.
  if (bytes.length < size || bytes.length > size + 1) throw new Error('its frames are compressed');
}
