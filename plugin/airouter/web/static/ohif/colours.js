/** Colours: of masks, which people with colour-blindness can tell apart (Okabe and Ito), of outlines, and of heat. */

const MASKS = [
  [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167], [0, 0, 0],
];
// Such as neither stains nor a retina have.
const OUTLINES = [[0, 230, 118], [0, 229, 255], [255, 234, 0], [255, 64, 255], [255, 145, 0], [124, 255, 0]];
// Viridis by nine of its colours; what lies between is mixed.
const VIRIDIS = [
  [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99],
  [170, 220, 50], [253, 231, 37],
];

export const maskColour = number => MASKS[number % MASKS.length];
export const outlineColour = number => OUTLINES[number % OUTLINES.length];
export const css = rgb => `rgb(${rgb.join(', ')})`;

/** Colour of a share from 0 to 1. */
export function heat(share) {
  const place = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1);
  const below = Math.min(VIRIDIS.length - 2, Math.floor(place));
  return VIRIDIS[below].map((part, n) => Math.round(part + (VIRIDIS[below + 1][n] - part) * (place - below)));
}

export const heatGradient = `linear-gradient(to right, ${VIRIDIS.map(css).join(', ')})`;
