/** The list as the server has it: known in pages, asked again without being sent again where nothing changed. */

import { request } from "/ai/static/common.js";

export const PAGE = 100;

export class Listing {
  /** @param {() => void} changed called whenever something that is shown may look otherwise */
  constructor(changed) {
    this.changed = changed;
    this.query = {};
    this.total = null; // null until the first answer
    this.facts = null; // of the last answer, without its studies
    this.at = null; // when that was
    this.pages = new Map(); // number -> {etag, studies}
    this.asked = new Map(); // number -> the request under way
    this.generation = 0;
  }

  /** Show something else: nothing of what was known counts any more. */
  ask(query) {
    this.query = query;
    this.generation += 1;
    this.pages.clear();
    this.asked.clear();
    this.total = null;
  }

  /** The study at a place of the list, null where it is not known yet. */
  study(index) {
    return this.pages.get(Math.floor(index / PAGE))?.studies[index % PAGE] ?? null;
  }

  /** Place of a study among what is known, -1 where it is not there. */
  find(study) {
    for (const [number, page] of this.pages) {
      const n = page.studies.findIndex((each) => each.study === study);
      if (n >= 0) return number * PAGE + n;
    }
    return -1;
  }

  /** Load what is missing of the rows from `first` to before `end`. */
  async need(first, end) {
    const wanted = [];
    for (let n = Math.floor(first / PAGE); n * PAGE < Math.max(end, first + 1); n += 1) {
      if (!this.pages.has(n)) wanted.push(n);
    }
    await Promise.all(wanted.map((n) => this.load(n)));
  }

  /** Ask for the pages of these rows again; true where something had changed. Throws Refused. */
  async refresh(first, end) {
    const numbers = [];
    for (let n = Math.floor(first / PAGE); n * PAGE < Math.max(end, first + 1); n += 1) numbers.push(n);
    const done = await Promise.all(numbers.map((n) => this.load(n)));
    if (!done.includes(true)) return false;
    for (const n of [...this.pages.keys()]) if (!numbers.includes(n)) this.pages.delete(n);
    return true;
  }

  load(number) {
    const under = this.asked.get(number);
    if (under) return under;
    const made = this.#load(number, this.generation).finally(() => {
      if (this.asked.get(number) === made) this.asked.delete(number);
    });
    this.asked.set(number, made);
    return made;
  }

  async #load(number, generation) {
    const known = this.pages.get(number);
    const asked = new URLSearchParams({ ...this.query, limit: String(PAGE), offset: String(number * PAGE) });
    const headers = known ? { "If-None-Match": known.etag } : {};
    const answer = await request("GET", `/ai/worklist?${asked}`, null, { headers });
    if (generation !== this.generation) return false;
    this.at = new Date();
    if (answer.status === 304) return false;
    const { studies, ...facts } = answer.data;
    this.pages.set(number, { etag: answer.etag, studies });
    this.total = facts.total;
    this.facts = facts;
    this.changed();
    return true;
  }

  /** Put one study as an action has left it in the place of what is known of it. */
  replace(study) {
    for (const page of this.pages.values()) {
      const n = page.studies.findIndex((each) => each.study === study.study);
      if (n >= 0) {
        page.studies[n] = study;
        page.etag = ""; // asked anew with the next look
      }
    }
    this.changed();
  }
}
