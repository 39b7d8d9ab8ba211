/** The rows that can be seen, of however many there are. */

import { el, fill } from "/ai/static/common.js";
import { COLUMNS, key, moments, row } from "./row.js";

const MORE = 6; // rows above and below what can be seen

export class Grid {
  /** @param {HTMLElement} scroller @param {import("./listing.js").Listing} listing @param {object} room as of row.js */
  constructor(scroller, listing, room) {
    this.scroller = scroller;
    this.listing = listing;
    this.room = room;
    this.selected = null; // Study Instance UID
    this.made = new Map(); // index -> {key, tr}
    this.top = space();
    this.bottom = space();
    this.body = el("tbody", {}, this.top, this.bottom);
    this.empty = el("p", { class: "empty", hidden: true });
    this.table = el(
      "table",
      { role: "grid", "aria-labelledby": "heading" },
      el("thead", {}, el("tr", {}, COLUMNS.map(([name, title]) => el("th", { scope: "col", class: name }, title)))),
      this.body,
    );
    scroller.append(this.table, this.empty);
    scroller.addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#soon()).observe(scroller);
    this.body.addEventListener("click", (event) => this.#clicked(event));
    this.body.addEventListener("focusin", (event) => this.#focused(event));
    this.frame = 0;
  }

  get height() {
    const first = this.body.querySelector("tr[data-study]");
    return first?.getBoundingClientRect().height || parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row"));
  }

  /** First and last row (exclusive) that can be seen. */
  range() {
    const total = this.listing.total ?? 0;
    const height = this.height;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height));
    const shown = Math.ceil(this.scroller.clientHeight / height) + 1;
    return [Math.min(first, Math.max(0, total - 1)), Math.min(total, first + shown)];
  }

  study() {
    const index = this.selected ? this.listing.find(this.selected) : -1;
    return index < 0 ? null : this.listing.study(index);
  }

  #soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** Draw what can be seen; what is not known of it is asked for. */
  draw() {
    const total = this.listing.total ?? 0;
    const [first, end] = this.range();
    const from = Math.max(0, first - MORE);
    const to = Math.min(total, end + MORE);
    const height = this.height;
    size(this.top, from * height);
    size(this.bottom, Math.max(0, total - to) * height);
    for (const [index, { tr }] of this.made) {
      if (index < from || index >= to) {
        tr.remove();
        this.made.delete(index);
      }
    }
    let before = this.top;
    for (let index = from; index < to; index += 1) {
      const tr = this.#row(index);
      if (before.nextSibling !== tr) before.after(tr);
      before = tr;
    }
    this.table.setAttribute("aria-rowcount", String(total + 1));
    this.#rove();
    if (this.listing.total !== null && to > from) this.listing.need(from, to).catch(this.room.failed);
  }

  #row(index) {
    const study = this.listing.study(index);
    const known = this.made.get(index);
    const now = study ? key(study, this.room.me, index) : "";
    if (known?.key === now) {
      select(known.tr, study !== null && study.study === this.selected);
      return known.tr;
    }
    const tr = known?.tr ?? el("tr", { "aria-rowindex": index + 2, tabIndex: -1 });
    const focused = tr.contains(document.activeElement) ? [...tr.querySelectorAll("a, button")].indexOf(document.activeElement) : null;
    if (study) {
      tr.dataset.study = study.study;
      fill(tr, row(study, this.room));
    } else {
      delete tr.dataset.study;
      fill(tr, el("td", { colspan: COLUMNS.length, class: "muted" }, "loading…"));
    }
    if (focused !== null) (tr.querySelectorAll("a, button")[focused] ?? tr).focus({ preventScroll: true });
    select(tr, study !== null && study.study === this.selected);
    this.made.set(index, { key: now, tr });
    return tr;
  }

  /** What the clock changes. */
  tick() {
    for (const [index, { tr }] of this.made) {
      const study = this.listing.study(index);
      const cell = tr.children[4];
      if (!study || !cell) continue;
      const [waited, due, late] = moments(study);
      cell.children[0].textContent = waited;
      cell.children[1].textContent = due;
      cell.children[1].classList.toggle("late", late);
    }
  }

  /** One row is in the order of the Tab key: the selected one, else the first. */
  #rove() {
    const rows = [...this.made.values()].map(({ tr }) => tr).filter((tr) => tr.dataset.study);
    const entry = rows.find((tr) => tr.dataset.study === this.selected) ?? rows.sort((a, b) => index(a) - index(b))[0];
    for (const tr of rows) {
      const enters = tr === entry;
      tr.tabIndex = enters ? 0 : -1;
      for (const each of tr.querySelectorAll("a, button")) each.tabIndex = enters ? 0 : -1;
    }
  }

  #clicked(event) {
    const tr = event.target.closest?.("tr[data-study]");
    if (tr) this.choose(tr.dataset.study);
  }

  #focused(event) {
    const tr = event.target.closest?.("tr[data-study]");
    if (tr && tr.dataset.study !== this.selected) this.choose(tr.dataset.study);
  }

  choose(study) {
    this.selected = study;
    for (const { tr } of this.made.values()) select(tr, tr.dataset.study === study);
    this.#rove();
    this.room.chosen(this.study());
  }

  /** Select the next row (1) or the one before (-1) and bring it into view. */
  async move(step) {
    const total = this.listing.total ?? 0;
    if (!total) return;
    const at = this.selected ? this.listing.find(this.selected) : -1;
    const index = at < 0 ? this.range()[0] : Math.min(total - 1, Math.max(0, at + step));
    await this.go(index);
  }

  async go(index) {
    await this.listing.need(index, index + 1);
    this.reveal(index);
    const study = this.listing.study(index);
    if (!study) return;
    this.draw();
    this.choose(study.study);
    this.made.get(index)?.tr.focus({ preventScroll: true });
  }

  reveal(index) {
    const height = this.height;
    const head = this.table.tHead.getBoundingClientRect().height;
    const top = index * height;
    const room = this.scroller.clientHeight - head;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + height > this.scroller.scrollTop + room) this.scroller.scrollTop = top + height - room;
  }

  /** Do something that may change the list, and keep the row at the top where it is for the eye. */
  async keeping(change) {
    const scrolled = this.scroller.scrollTop;
    const first = Math.floor(scrolled / this.height);
    const anchor = scrolled > 0 ? this.listing.study(first)?.study : null;
    await change();
    const now = anchor ? this.listing.find(anchor) : -1;
    if (now >= 0 && now !== first) this.scroller.scrollTop = scrolled + (now - first) * this.height;
    this.draw();
  }

  say(text) {
    this.empty.textContent = text;
    this.empty.hidden = !text;
  }
}

function space() {
  return el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
}

function size(tr, pixels) {
  tr.hidden = pixels <= 0;
  tr.firstChild.style.height = `${pixels}px`;
}

function select(tr, chosen) {
  tr.setAttribute("aria-selected", String(chosen));
}

function index(tr) {
  return Number(tr.getAttribute("aria-rowindex"));
}
