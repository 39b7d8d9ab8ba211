/** One study as a row. */

import { dateText, durationText, el, lateralityText, personText, timeText } from "/ai/static/common.js";
import { load } from "./thumbnails.js";

export const COLUMNS = [
  ["c-priority", "Priority"],
  ["c-picture", "Image"],
  ["c-study", "Patient and study"],
  ["c-finding", "Finding"],
  ["c-time", "Waiting"],
  ["c-status", "Status"],
  ["c-act", "Actions"],
];

const STATUS = { unread: "unread", "in-review": "in review", read: "read" };

/** What a row looks like by: where it is the same, the row need not be made again. */
export function key(study, me, index) {
  return JSON.stringify([study, me.name, index]);
}

/**
 * @param {object} study as GET /ai/worklist gives it
 * @param {{me: object, act: (name: string, study: object) => void}} room
 */
export function row(study, room) {
  return [
    el("td", {}, priority(study, room)),
    el("td", {}, picture(study)),
    el("td", {}, who(study)),
    el("td", {}, finding(study)),
    el("td", {}, times(study)),
    el("td", {}, status(study, room.me)),
    el("td", {}, actions(study, room)),
  ];
}

/** The study in one phrase, for labels and messages. */
export function named(study) {
  const patient = personText(study.patient.name) || study.patient.id || "no name";
  return [patient, study.description].filter(Boolean).join(", ");
}

function priority(study, room) {
  const lock = study.human_priority;
  const place = study.position ? `place ${study.position}` : "read";
  return el(
    "button",
    {
      type: "button",
      class: "why",
      tabIndex: -1,
      title: "Why here?",
      "aria-label": `${study.priority}${lock ? `, set by ${lock.by}` : ""}, ${place}: why here?`,
      on: { click: () => room.act("explain", study) },
    },
    el("span", { class: "tag", dataset: { priority: study.priority } }, study.priority),
    el("span", { class: "place" }, study.position ? `#${study.position} why?` : "why?"),
    lock ? el("span", { class: "place" }, "set by hand") : null,
  );
}

function picture(study) {
  const modality = study.modalities[0] ?? "?";
  const frame = el("div", { class: "picture" }, study.thumbnail ? null : modality);
  if (study.thumbnail) {
    const image = el("img", { alt: "", width: 54, height: 54, decoding: "async" });
    frame.append(image);
    // After it is in the page: pictures of rows that were only scrolled past are not asked for.
    requestAnimationFrame(() => load(image, study.thumbnail, () => frame.replaceChildren(modality)));
  }
  return frame;
}

function who(study) {
  const { patient } = study;
  const born = [dateText(patient.birth_date), patient.sex].filter(Boolean).join(" ");
  const what = [study.description || "no description", dateText(study.study_date), study.accession].filter(Boolean);
  const eye = study.laterality ? `${lateralityText(study.laterality)} eye${study.laterality === "B" ? "s" : ""}` : null;
  return [
    el("div", { class: "clip name" }, personText(patient.name) || "no name"),
    el("div", { class: "clip small muted" }, [patient.id, born].filter(Boolean).join(" · ")),
    el(
      "div",
      { class: "clip narrow-two small", title: what.join(" · ") },
      study.modalities.map((modality) => [el("span", { class: "chip" }, modality), " "]),
      [eye, ...what].filter(Boolean).join(" · "),
    ),
  ];
}

function finding(study) {
  const ai = study.findings_line || study.analysis === "done" ? null : "ai-note";
  const further = study.findings_line || (ai ? "" : "no findings");
  return [
    el("div", { class: `two ${ai ?? "reason"}` }, study.verdict.reason),
    further ? el("div", { class: "clip small" }, further) : null,
    study.findings_line && study.analysis_text ? el("div", { class: "clip small muted" }, study.analysis_text) : null,
  ];
}

function times(study) {
  const [waited, due, late] = moments(study);
  return [
    el("div", { class: "number", title: `arrived ${timeText(study.arrived)}` }, waited),
    el("div", { class: `small number ${late ? "late" : "muted"}`, title: `due ${timeText(study.due)}` }, due),
  ];
}

/** How long it has waited, when it is due, and whether it is late; what the clock changes without any news. */
export function moments(study, now = Date.now()) {
  const waited = durationText((now - Date.parse(study.arrived)) / 1000);
  if (study.status === "read") return [study.completed_at ? timeText(study.completed_at) : "all decided", "", false];
  const left = (Date.parse(study.due) - now) / 1000;
  if (study.priority === "STAT" && left <= 0) return [waited, "read now", true];
  return [waited, left < 0 ? `overdue ${durationText(-left)}` : `due in ${durationText(left)}`, left < 0];
}

function status(study, me) {
  const mine = (name) => (name === me.name ? "you" : name);
  const lines = [];
  if (study.claimed_by) lines.push(`reading: ${mine(study.claimed_by)}`);
  if (study.assigned) lines.push(`for ${mine(study.assigned)}`);
  if (study.completed_by) lines.push(`by ${mine(study.completed_by)}`);
  const findings = study.pending + study.decided;
  return [
    el(
      "div",
      { class: "clip" },
      el("span", { class: "chip", dataset: { status: study.status } }, STATUS[study.status]),
      study.phase && study.phase !== "integrated" ? [" ", el("span", { class: "chip" }, study.phase)] : null,
      study.audit_sample ? [" ", el("span", { class: "chip sample", title: "Drawn from Review & Release" }, "audit")] : null,
    ),
    findings ? el("div", { class: "small muted number" }, `${study.decided}/${findings} decided`) : null,
    lines.length ? el("div", { class: "small clip", title: lines.join(", ") }, lines.join(", ")) : null,
  ];
}

function actions(study, room) {
  const open = el(
    "a",
    { class: "button open", href: study.viewer, tabIndex: -1, "aria-label": `Open ${named(study)}` },
    "Open",
  );
  if (!room.me.claims || study.status === "read") return el("div", { class: "act" }, open);
  const own = study.claimed_by === room.me.name;
  const taken = study.claimed_by && !own;
  const claim = el(
    "button",
    {
      type: "button",
      class: "claim",
      tabIndex: -1,
      disabled: Boolean(taken),
      "aria-label": `${own ? "Release" : "Claim"} ${named(study)}`,
      on: { click: () => room.act(own ? "release" : "claim", study) },
    },
    own ? "Release" : "Claim",
  );
  return el("div", { class: "act" }, open, claim);
}
