/** What colours mean, in a corner of the slide: segments and outlines by name, heat by its ends. */

import { css, heatGradient } from './colours.js';

const STYLE = {
  position: 'absolute', left: '8px', top: '8px', zIndex: 2, maxHeight: '45%', overflow: 'auto', maxWidth: '260px',
  background: 'rgba(0, 0, 0, 0.75)', color: '#fff', font: '11px/1.4 sans-serif', borderRadius: '4px', padding: '6px 8px',
  pointerEvents: 'none',
};

export class Legend {
  #entries = new Map();

  constructor(host) {
    this.box = document.createElement('div');
    this.box.className = 'airouter-legend';
    Object.assign(this.box.style, STYLE, { display: 'none' });
    host.append(this.box);
  }

  /** @param {{title?: string, swatches?: {label: string, colour: number[]}[], range?: {low, high, unit}}} entry */
  put(name, entry) {
    const part = document.createElement('div');
    if (entry.title) part.append(line(entry.title, { fontWeight: 'bold' }));
    for (const { label, colour } of entry.swatches ?? []) {
      const row = line(label, { display: 'flex', alignItems: 'center', gap: '6px' });
      const swatch = document.createElement('span');
      Object.assign(swatch.style, { background: css(colour), border: '1px solid #fff', width: '10px', height: '10px', flex: 'none' });
      row.prepend(swatch);
      part.append(row);
    }
    if (entry.range) {
      const { low, high, unit } = entry.range;
      const bar = document.createElement('div');
      Object.assign(bar.style, { background: heatGradient, height: '10px', width: '160px' });
      const ends = line('', { display: 'flex', justifyContent: 'space-between', width: '160px' });
      ends.append(line(short(low), {}), line(`${short(high)} ${unit.replace(/[{}]/g, '')}`.trim(), {}));
      part.append(bar, ends);
    }
    this.#entries.get(name)?.remove();
    this.#entries.set(name, part);
    this.box.append(part);
    this.box.style.display = 'block';
  }

  remove(name) {
    this.#entries.get(name)?.remove();
    this.#entries.delete(name);
    if (!this.#entries.size) this.box.style.display = 'none';
  }

  destroy() {
    this.box.remove();
  }
}

const short = value => String(Number(value.toPrecision(3)));

function line(text, style) {
  const made = document.createElement('div');
  made.textContent = text;
  Object.assign(made.style, style);
  return made;
}
