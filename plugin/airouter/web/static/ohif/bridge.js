/**
 * The messages between the viewer and the panel's page in its frame, both of this origin:
 *
 * panel -> viewer: ready | jump {region, tracking_uid} | overlay {series, visible, opacity} | hide-all {hidden}
 * viewer -> panel: study {study, mode} | overlays {overlays} | jumped {tracking_uid, ok, reason}
 */

const PANEL = '/ai/panel';

export class Bridge {
  #frame = null;
  #mode = null;
  #study = null;
  #announcing = false;

  constructor() {
    window.addEventListener('message', event => this.#receive(event));
  }

  /** The mode that the user is in, or null: {name, study(), overlays, jump(region)}. */
  serve(mode) {
    this.#mode = mode;
    this.announce();
  }

  /** The panel's frame, or null when OHIF takes it away. */
  attach(frame) {
    this.#frame = frame;
    this.#study = null;
    this.announce();
  }

  get attached() {
    return this.#frame !== null;
  }

  /** Tell the panel the study and the overlays, once for all that changes in this turn. */
  announce() {
    if (this.#announcing) return;
    this.#announcing = true;
    queueMicrotask(() => {
      this.#announcing = false;
      this.#tell();
    });
  }

  #tell() {
    const study = this.#mode?.study();
    if (!this.#frame || !study) return;
    if (study !== this.#study) {
      this.#study = study;
      this.#frame.src = `${PANEL}?study=${encodeURIComponent(study)}&embedded=1`;
      return; // the new page asks with "ready"
    }
    this.#send({ type: 'study', study, mode: this.#mode.name });
    this.#send({ type: 'overlays', overlays: this.#mode.overlays.describe() });
  }

  #send(message) {
    this.#frame?.contentWindow?.postMessage({ airouter: 1, ...message }, window.location.origin);
  }

  #receive(event) {
    const message = event.data;
    if (event.origin !== window.location.origin || event.source !== this.#frame?.contentWindow) return;
    if (message?.airouter !== 1 || !this.#mode) return;
    if (message.type === 'ready') {
      this.#mode.overlays.hideAll(false); // as a new page of the panel has it
      this.announce();
    }
    if (message.type === 'overlay') this.#mode.overlays.set(String(message.series), message);
    if (message.type === 'hide-all') this.#mode.overlays.hideAll(message.hidden === true);
    if (message.type === 'jump') this.#jump(message);
  }

  async #jump({ region, tracking_uid }) {
    try {
      await this.#mode.jump(region);
      this.#send({ type: 'jumped', tracking_uid, ok: true, reason: null });
    } catch (error) {
      this.#send({ type: 'jumped', tracking_uid, ok: false, reason: error.message });
    }
  }
}
