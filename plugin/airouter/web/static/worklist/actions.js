/** What a reader does with a study; what can be taken back can be taken back at once. */

import { announce, api, dialog, el, fill } from "/ai/static/common.js";
import { named } from "./row.js";

const PRIORITIES = ["STAT", "HIGH", "ROUTINE", "LOW"];
const SHOWN_MS = 15_000;

/**
 * @param {{me: object, readers: () => string[], done: (study: object) => void, stale: (study: object|null) => void}} room
 *   `done`: the study as it is now; `stale`: somebody was faster, and this is how it stands.
 */
export function actions(room) {
  const toast = document.getElementById("toast");
  let back = null; // takes the last step back
  let timer = 0;

  const send = (study, what, body = {}) => api("POST", `/ai/worklist/${study.study}/${what}`, body);

  async function run(study, what, body, said, undo) {
    try {
      const now = await send(study, what, body);
      room.done(now);
      tell(said, undo ? () => run(now, undo[0], undo[1], `Taken back: ${said}`, null) : null);
      return now;
    } catch (error) {
      failed(error);
      return null;
    }
  }

  function failed(error) {
    if (error.status === 409) room.stale(error.body?.study ?? null);
    tell([error.reason ?? String(error), error.advice].filter(Boolean).join(" "), null, true);
  }

  function tell(text, undo, bad = false) {
    clearTimeout(timer);
    back = undo;
    fill(
      toast,
      el("span", {}, text),
      undo ? el("button", { type: "button", on: { click: takeBack } }, "Undo ", el("kbd", {}, "u")) : null,
      el("button", { type: "button", class: "plain", "aria-label": "Close message", on: { click: hide } }, "×"),
    );
    toast.classList.toggle("bad", bad);
    toast.hidden = false;
    announce(text, bad);
    if (!bad) timer = setTimeout(hide, SHOWN_MS);
  }

  function hide() {
    toast.hidden = true;
    back = null;
  }

  function takeBack() {
    const step = back;
    hide();
    return step?.();
  }

  async function priority(study) {
    const lock = study.human_priority;
    const choice = el(
      "select",
      { name: "priority", required: true },
      PRIORITIES.map((each) => el("option", { value: each, selected: each === study.priority }, each)),
    );
    const reason = el("textarea", { name: "reason", rows: 2, maxlength: 500, required: true });
    const said = `The AI says ${study.verdict.priority}: ${study.verdict.reason}`;
    const free = lock
      ? el("p", {}, `${lock.by} set ${lock.priority}: ${lock.reason}. `, el("label", {}, el("input", { type: "checkbox", name: "release" }), " Release it: the AI has its say again"))
      : null;
    await dialog(
      `Priority of ${named(study)}`,
      el(
        "div",
        { class: "fields" },
        el("p", { class: "muted" }, said),
        free,
        el("label", {}, "Priority", choice),
        el("label", {}, "Why", reason),
        el("p", { class: "small muted" }, "What you set counts until somebody releases it; the AI cannot change it."),
      ),
      {
        action: "Set priority",
        novalidate: true,
        submit: async (form) => {
          const free = form.elements.release?.checked ?? false;
          if (!free && !reason.value.trim()) throw new Error("Say why.");
          const body = free ? { priority: null } : { priority: choice.value, reason: reason.value };
          const now = await send(study, "priority", body);
          room.done(now);
          const before = lock ? { priority: lock.priority, reason: lock.reason } : { priority: null };
          const text = free ? `Priority of ${named(study)} released` : `Priority of ${named(study)}: ${choice.value}`;
          tell(text, () => run(now, "priority", before, `Taken back: ${text}`, null));
          return true;
        },
      },
    );
  }

  async function assign(study) {
    const others = room.me.may.includes("assign");
    const names = [...new Set([room.me.name, ...(others ? room.readers() : [])])].filter(Boolean);
    const choice = el(
      "select",
      { name: "reader" },
      el("option", { value: "" }, "nobody"),
      names.map((name) => el("option", { value: name, selected: name === (study.assigned ?? room.me.name) }, name)),
    );
    await dialog(
      `Assign ${named(study)}`,
      el("div", { class: "fields" }, el("label", {}, "Reader", choice), others ? null : el("p", { class: "small muted" }, "A supervisor assigns studies to others.")),
      {
        action: "Assign",
        submit: async () => {
          const reader = choice.value || null;
          const now = await send(study, "assign", { reader });
          room.done(now);
          const text = reader ? `${named(study)} is assigned to ${reader}` : `${named(study)} is assigned to nobody`;
          tell(text, () => run(now, "assign", { reader: study.assigned }, `Taken back: ${text}`, null));
          return true;
        },
      },
    );
  }

  return {
    failed,
    takeBack,
    claim: (study) => run(study, "claim", {}, `Claimed: ${named(study)}`, ["release", {}]),
    release: (study) => run(study, "release", {}, `${named(study)} is given back`, ["claim", {}]),
    complete: (study) => run(study, "complete", {}, `${named(study)} is read${left(study)}`, ["reopen", {}]),
    reopen: (study) => run(study, "reopen", {}, `${named(study)} is back on the list`, null),
    priority,
    assign,
  };
}

function left(study) {
  return study.pending ? `; ${study.pending} finding${study.pending === 1 ? " is" : "s are"} not decided` : "";
}
