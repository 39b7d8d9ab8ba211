/** The head of the page: patient, study, priority and its reason. */

import { dateText, el, personText } from "/ai/static/common.js";
import { counts } from "./state.js";

/** @param {{item: object|null, findings: object, embedded: boolean, viewer: string|null, may: object, on: object}} context */
export function header({ item, findings, embedded, viewer, may, on }) {
  const verdict = item?.verdict ?? findings.verdict;
  const made = counts(findings.current);
  return el(
    "header",
    { class: "head" },
    el(
      "div",
      { class: "head-line" },
      embedded ? null : el("a", { class: "button back", href: "/ai/" }, "← Worklist"),
      el("h1", {}, patient(item)),
      embedded || !viewer ? null : el("a", { class: "button", href: viewer }, "Open images"),
    ),
    el("p", { class: "small muted study" }, study(item, findings)),
    verdict ? priority(verdict, item?.human_priority) : el("p", { class: "verdict muted" }, "No priority: nothing was analysed."),
    el(
      "div",
      { class: "head-line" },
      el(
        "p",
        { class: "progress", role: "status" },
        made.all ? `${made.all - made.pending} of ${made.all} findings decided` : "No findings",
        item?.status === "read" ? " · read" : null,
        item?.analysis_text && item.analysis !== "done" ? el("span", { class: "muted" }, ` · ${item.analysis_text}`) : null,
      ),
      may.complete ? el("button", { type: "button", class: "complete", on: { click: on.complete } }, "Reading done") : null,
      el("button", { type: "button", class: "plain help", "aria-label": "Keyboard help", on: { click: on.help } }, "?"),
    ),
    may.review ? null : el("p", { class: "notice small" }, may.why),
  );
}

/** The priority that counts, with its reason: a person's goes before the machine's. */
function priority(verdict, human) {
  const counts = human ?? verdict;
  return el(
    "p",
    { class: "verdict" },
    el("span", { class: "tag", dataset: { priority: counts.priority } }, counts.priority),
    " ",
    el("span", { class: "reason" }, human ? `set by ${personText(human.by)}: ${human.reason}` : verdict.reason),
    human ? el("span", { class: "small muted" }, ` · AI: ${verdict.priority}, ${verdict.reason}`) : null,
    verdict.reading ? el("span", { class: "small muted" }, ` · ${verdict.reading}`) : null,
  );
}

function patient(item) {
  if (!item?.patient) return "AI findings";
  const { name, id, birth_date: born, sex } = item.patient;
  const said = [
    born ? `born ${dateText(born)}` : null,
    { F: "female", M: "male", O: "other" }[sex] ?? null,
    id ? `ID ${id}` : null,
  ].filter(Boolean);
  return [personText(name) || "No name", said.length ? el("span", { class: "small muted" }, ` ${said.join(" · ")}`) : null];
}

function study(item, findings) {
  const said = [
    item?.description,
    item?.study_date ? dateText(item.study_date) : null,
    item?.modalities?.join(", "),
    item?.accession ? `accession ${item.accession}` : null,
    item?.assigned ? `assigned to ${personText(item.assigned)}` : null,
    item?.claimed_by ? `being read by ${personText(item.claimed_by)}` : null,
  ].filter(Boolean);
  return said.length ? said.join(" · ") : `Study ${findings.study}`;
}
