/** Queues and filters; what is asked for stands in the address, so that it can be kept and shared. */

import { el, fill } from "/ai/static/common.js";

const QUEUES = [
  ["full", "Full reading"],
  ["release", "Review & Release"],
  ["read", "Read"],
];
const SELECTS = [
  ["modality", "Modality", [["", "all"], ["SM", "SM slide"], ["OP", "OP photograph"], ["OPT", "OPT tomograph"], ["OPV", "OPV visual field"]]],
  ["laterality", "Eye", [["", "all"], ["R", "right"], ["L", "left"], ["B", "both"]]],
  ["phase", "Phase", [["", "all"], ["silent", "silent"], ["assistive", "assistive"], ["integrated", "integrated"]]],
  ["status", "Status", [["", "open"], ["unread", "unread"], ["in-review", "in review"]]],
];
const KNOWN = ["queue", "modality", "laterality", "phase", "status", "priority", "mine", "text"];
const PAUSE_MS = 250;

export class Filters {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    const asked = new URLSearchParams(location.search);
    this.chosen = Object.fromEntries(KNOWN.map((name) => [name, asked.get(name) ?? ""]));
    if (!QUEUES.some(([name]) => name === this.chosen.queue)) this.chosen.queue = "full";
    for (const [name, , options] of SELECTS) {
      if (!options.some(([value]) => value === this.chosen[name])) this.chosen[name] = "";
    }
    this.#build();
  }

  /** As GET /ai/worklist wants it. */
  query() {
    const { queue, modality, laterality, phase, status, priority, mine, text } = this.chosen;
    const asked = { modality, laterality, phase, priority, text: text.trim() };
    if (queue === "read") asked.status = "read";
    else Object.assign(asked, { reading: queue, status });
    if (mine) asked.assigned = "me";
    return Object.fromEntries(Object.entries(asked).filter(([, value]) => value));
  }

  /** Numbers beside the queues, from the latest answer. */
  counted(facts, total) {
    const waiting = { full: facts.waiting["Full reading"], release: facts.waiting["Review & Release"], read: facts.read };
    for (const [name] of QUEUES) this.counts[name].textContent = number(waiting[name]);
    for (const [priority, { button, count }] of Object.entries(this.urgent)) {
      count.textContent = `${priority} ${number(facts.urgent[priority])}`;
      button.setAttribute("aria-pressed", String(this.chosen.priority === priority));
      button.hidden = !facts.urgent[priority] && this.chosen.priority !== priority;
    }
    const audit = facts.audit;
    this.audit.textContent = audit
      ? `Audit: ${audit.drawn} of ${audit.asked} drawn for full reading, ${audit.drawn_read} read. `
      : "";
    this.total.textContent = `${number(total)} ${total === 1 ? "study" : "studies"}`;
  }

  focusSearch() {
    this.search.focus();
    this.search.select();
  }

  #build() {
    this.counts = {};
    this.buttons = {};
    const queues = QUEUES.map(([name, title]) => {
      this.counts[name] = el("span", { class: "count" }, "–");
      this.buttons[name] = el(
        "button",
        { type: "button", on: { click: () => this.choose({ queue: name, status: "" }) } },
        title,
        " ",
        this.counts[name],
      );
      return this.buttons[name];
    });
    this.urgent = Object.fromEntries(
      ["STAT", "HIGH"].map((priority) => {
        const count = el("span", { class: "tag", dataset: { priority } }, priority);
        const button = el(
          "button",
          {
            type: "button",
            title: `Only ${priority}`,
            on: { click: () => this.choose({ priority: this.chosen.priority === priority ? "" : priority }) },
          },
          count,
        );
        return [priority, { button, count }];
      }),
    );
    this.audit = el("span", { class: "small muted" });
    fill(
      document.getElementById("queues"),
      queues,
      el("div", { class: "urgent" }, this.audit, Object.values(this.urgent).map(({ button }) => button)),
    );
    this.search = el("input", {
      type: "search",
      name: "text",
      placeholder: "patient, study, finding",
      value: this.chosen.text,
      maxlength: 100,
      "aria-keyshortcuts": "/",
      on: { input: () => this.#later() },
    });
    this.selects = SELECTS.map(([name, title, options]) => {
      const select = el(
        "select",
        { name, on: { change: () => this.choose({ [name]: select.value }) } },
        options.map(([value, text]) => el("option", { value }, text)),
      );
      select.value = this.chosen[name];
      return [name, el("label", {}, title, select), select];
    });
    this.mine = el("input", {
      type: "checkbox",
      name: "mine",
      checked: Boolean(this.chosen.mine),
      on: { change: () => this.choose({ mine: this.mine.checked ? "1" : "" }) },
    });
    this.clear = el("button", { type: "button", class: "plain", on: { click: () => this.reset() } }, "Clear filters");
    this.total = el("span", { class: "total", "aria-live": "polite" });
    fill(
      document.getElementById("filters"),
      el("label", {}, "Search", this.search),
      this.selects.map(([, label]) => label),
      el("label", {}, this.mine, "Mine"),
      this.clear,
      this.total,
    );
    this.#shown();
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.choose({ text: this.search.value }), PAUSE_MS);
  }

  reset() {
    this.search.value = "";
    this.mine.checked = false;
    for (const [, , select] of this.selects) select.value = "";
    this.choose({ modality: "", laterality: "", phase: "", status: "", priority: "", mine: "", text: "" });
  }

  choose(change) {
    if (Object.entries(change).every(([name, value]) => this.chosen[name] === value)) return;
    Object.assign(this.chosen, change);
    this.#shown();
    const asked = new URLSearchParams(Object.entries(this.chosen).filter(([, value]) => value));
    history.replaceState(null, "", `${location.pathname}?${asked}`);
    this.changed();
  }

  #shown() {
    for (const [name, button] of Object.entries(this.buttons)) {
      button.setAttribute("aria-pressed", String(this.chosen.queue === name));
    }
    for (const [name, label, select] of this.selects) {
      select.value = this.chosen[name];
      label.hidden = name === "status" && this.chosen.queue === "read";
    }
    const { queue, ...others } = this.chosen;
    this.clear.hidden = !Object.values(others).some(Boolean);
  }
}

function number(value) {
  return (value ?? 0).toLocaleString("en");
}
