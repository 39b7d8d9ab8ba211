/** One finding as the reader sees it. */

import { el, lateralityText, numberText, personText, timeText, unitText, valueText } from "/ai/static/common.js";
import { VERBS, VERB_TEXT, amendedAnswer, amendedValue, confidenceOf, numbersOf } from "./state.js";

const LONG = 260; // characters of a remark
const LONG_CUT = 150;

/**
 * @param {object} finding
 * @param {{mayReview: boolean, canJump: boolean, href: string|null, number: number,
 *   on: {jump: Function, decide: Function, focus: Function}}} options
 */
export function findingCard(finding, options) {
  const name = `finding-${options.number}`;
  return el(
    "article",
    {
      class: "finding",
      id: name,
      tabindex: "-1",
      "aria-labelledby": `${name}-label`,
      dataset: { id: finding.id, state: finding.state },
      on: { focusin: () => options.on.focus(finding.id) },
    },
    el("div", { class: "finding-head" }, title(finding, name, options), state(finding)),
    values(finding),
    finding.comment ? note(finding) : null,
    decided(finding),
    el("div", { class: "finding-foot" }, actions(finding, options), more(finding)),
  );
}

/** The machine's own remark; a long one is opened on demand. */
function note({ comment, label }) {
  if (comment.length <= LONG) return el("p", { class: "small muted note" }, comment);
  const cut = comment.slice(0, LONG_CUT).replace(/\s+\S*$/, "");
  return el("details", { class: "note small muted" }, el("summary", {}, `${cut}… `, el("span", { class: "unseen" }, `more on ${label}`)), el("p", {}, comment));
}

function title(finding, name, { canJump, href, eye: shown, on }) {
  const eye = shown && finding.laterality ? el("span", { class: "eye" }, lateralityText(finding.laterality)) : null;
  const heading = { class: "finding-label", id: `${name}-label` };
  if (!finding.region) return el("h4", heading, finding.label, eye);
  if (canJump)
    return el(
      "h4",
      heading,
      el("button", { type: "button", class: "jump", title: "Show in the viewer (Enter)", on: { click: () => on.jump(finding) } }, finding.label),
      eye,
    );
  return href
    ? el("h4", heading, el("a", { class: "jump", href, title: "Open in the viewer (Enter)" }, finding.label), eye)
    : el("h4", heading, finding.label, eye);
}

function state(finding) {
  return el("span", { class: "tag", dataset: { state: finding.state } }, finding.state);
}

function values(finding) {
  const rows = [
    ...finding.evaluations.map((each) => {
      const amended = amendedAnswer(finding, each.name.value);
      return row(each.name.meaning, each.value.meaning, amended, "answer");
    }),
    ...numbersOf(finding).map((each) => {
      const amended = amendedValue(finding, each.name.value);
      return row(each.name.meaning, valueText(each.value, each.unit), amended === undefined ? undefined : valueText(amended, each.unit), "number");
    }),
    confidence(finding),
  ].filter(Boolean);
  return rows.length ? el("dl", { class: "values" }, rows) : null;
}

function row(name, value, amended, kind) {
  const shown =
    amended === undefined || amended === value
      ? value
      : [el("s", {}, el("span", { class: "unseen" }, "was "), value), " ", el("ins", {}, el("span", { class: "unseen" }, "amended to "), amended)];
  return el("div", { class: kind }, el("dt", {}, name), el("dd", {}, shown));
}

function confidence(finding) {
  const value = confidenceOf(finding);
  if (value === null) return null;
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span", {}));
  bar.firstChild.style.inlineSize = `${Math.min(100, Math.max(0, value))}%`;
  return el("div", { class: "number" }, el("dt", {}, "Confidence"), el("dd", {}, bar, `${numberText(value)} %`));
}

const DECIDED = { accepted: "Accepted", amended: "Amended", rejected: "Rejected", pending: "Withdrawn" };

function decided(finding) {
  const review = finding.review;
  if (!review?.by) return null;
  const reason = typeof review.reason === "string" ? review.reason : review.reason?.meaning;
  return el(
    "p",
    { class: "decided small" },
    el("strong", {}, DECIDED[finding.state]),
    ` by ${personText(review.by)}, ${timeText(review.at)}`,
    review.amendment?.points ? " · region drawn anew" : null,
    reason ? ` · ${reason}` : null,
    review.comment ? el("q", {}, review.comment) : null,
  );
}

function actions(finding, { mayReview, on }) {
  if (!mayReview) return null;
  return el(
    "div",
    { class: "actions", role: "group", "aria-label": `Decide on ${finding.label}` },
    VERBS[finding.state].map((verb) =>
      el("button", { type: "button", dataset: { verb }, on: { click: () => on.decide(verb, finding) } }, VERB_TEXT[verb]),
    ),
  );
}

/** What one seldom asks for: how it was measured, its place and names. */
function more(finding) {
  const said = [
    ["Finding", finding.finding?.meaning],
    ["Site", finding.site?.meaning],
    ["Method", finding.method?.meaning],
    ["Frame", finding.region?.frame],
    ["Inferred from", finding.origins?.length ? `${finding.origins.length} other findings` : null],
    ["Tracking UID", finding.tracking_uid],
  ].filter(([, value]) => value);
  if (!said.length) return null;
  return el(
    "details",
    { class: "more" },
    el("summary", {}, "Details", el("span", { class: "unseen" }, ` of ${finding.label}`)),
    el("dl", { class: "values small" }, said.map(([name, value]) => row(name, String(value), undefined, name.endsWith("UID") ? "mono" : "answer"))),
  );
}

/** A finding in one line, for messages. */
export function lineOf(finding) {
  const first = numbersOf(finding)[0];
  const value = first ? `, ${numberText(first.value)} ${unitText(first.unit)}`.trimEnd() : "";
  return `${finding.label}${finding.laterality ? `, ${lateralityText(finding.laterality)}` : ""}${value}`;
}
