/**
 * The overlays of the image in the viewport: what there is, what was chosen, and loading each when it is first shown.
 *
 * An offer is {series, modality, label, kind, reason, visible, load}: `reason` says why it cannot be drawn, else null;
 * `visible` whether it is shown before anybody chose; `load` gives what draws it: {show(visible, opacity)}.
 */

const OPACITY = { SEG: 0.5, MAP: 0.5 }; // what covers the image lets it through

export class OverlayList {
  #entries = new Map();
  #chosen = new Map(); // outlives the image: choices hold when the reader comes back to a slide
  #wished = new Set(); // asked for before it was offered
  #hidden = false;
  #announce;

  constructor(announce) {
    this.#announce = announce;
  }

  /** Take these offers in place of the earlier; those that stay keep what draws them where `image` is the same. */
  offer(image, offers) {
    const earlier = this.#entries;
    this.#entries = new Map();
    for (const offer of offers) {
      const kept = earlier.get(offer.series);
      const entry = kept?.image === image ? kept : { ...offer, image, drawn: null, loading: null };
      if (!this.#chosen.has(offer.series)) {
        this.#chosen.set(offer.series, {
          visible: offer.visible || this.#wished.delete(offer.series),
          opacity: OPACITY[offer.kind] ?? 1,
        });
      }
      this.#entries.set(offer.series, entry);
      this.#apply(entry);
    }
    this.#announce();
  }

  set(series, { visible, opacity }) {
    const entry = this.#entries.get(series);
    if (!entry) return;
    const chosen = this.#chosen.get(series);
    if (typeof visible === 'boolean') chosen.visible = visible;
    if (Number.isFinite(opacity)) chosen.opacity = Math.min(1, Math.max(0, opacity));
    this.#apply(entry);
    this.#announce();
  }

  /** Show what may not be offered yet. */
  wish(series) {
    if (this.#chosen.has(series)) this.#chosen.get(series).visible = true;
    else this.#wished.add(series);
    this.set(series, { visible: true });
  }

  hideAll(hidden) {
    this.#hidden = hidden;
    for (const entry of this.#entries.values()) this.#apply(entry);
    this.#announce();
  }

  describe() {
    return [...this.#entries.values()].map(entry => {
      const { series, modality, label, kind, reason } = entry;
      const { visible, opacity } = this.#chosen.get(series);
      const available = reason === null;
      return { series, modality, label, kind, visible: visible && available, opacity, available, reason };
    });
  }

  async #apply(entry) {
    if (entry.reason !== null) return;
    const wanted = () => this.#chosen.get(entry.series).visible && !this.#hidden;
    if (wanted() && !entry.loading) {
      entry.loading = entry.load().then(
        drawn => { entry.drawn = drawn; },
        error => {
          console.error('overlay', entry.series, error);
          entry.reason = error.message;
          this.#announce();
        },
      );
    }
    await entry.loading;
    entry.drawn?.show(wanted(), this.#chosen.get(entry.series).opacity);
  }
}
