/** Why a study stands where it does. */

import { api, dialog, el, personText, timeText } from "/ai/static/common.js";
import { named } from "./row.js";

const SOURCE = { AI: "the AI", human: "a person", rule: "the usual rule: nothing says otherwise" };

export async function explain(study) {
  const why = await api("GET", `/ai/worklist/${study.study}/explanation`);
  await dialog(`Why here? ${named(study)}`, content(why));
}

function content(why) {
  const tag = (priority) => el("span", { class: "tag", dataset: { priority } }, priority);
  const pairs = [
    ["Priority", [tag(why.priority), ` from ${SOURCE[why.source]}`]],
    ["Reason", why.reason || "none"],
    why.source === "human" ? ["The AI says", [tag(why.ai_priority), ` ${why.ai_reason}`]] : null,
    why.human_priority ? ["Set by", `${why.human_priority.by}, ${timeText(why.human_priority.at)}; the AI cannot change it`] : null,
    ["Arrived", timeText(why.arrived)],
    ["May wait", why.allowance],
    ["Due", [timeText(why.due), why.overdue ? " (overdue)" : ""]],
    ["Place", why.position ? `${why.position} of ${why.queue_length} in ${why.queue}` : "none: it is read"],
  ];
  return el(
    "div",
    { class: "explained" },
    el("dl", {}, pairs.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    grounds(why),
    neighbours(why, tag),
    el("p", { class: "small muted" }, why.sentences.join(" ")),
  );
}

function grounds(why) {
  if (!why.grounds.length) return null;
  const lines = why.grounds.map((ground) =>
    el("li", {}, `${ground.priority}: ${ground.reason}`, ground.findings ? el("span", { class: "muted" }, ` (${ground.findings})`) : null),
  );
  return [el("h3", {}, "What the results say"), el("ul", {}, lines)];
}

function neighbours(why, tag) {
  if (!why.position) return null;
  const line = (one, place) =>
    el("li", {}, `#${place} `, tag(one.priority), ` ${personText(one.patient) || "no name"}, due ${timeText(one.due)}`);
  return [
    el("h3", {}, "What stands before and after"),
    el(
      "ol",
      {},
      why.before ? line(why.before, why.position - 1) : el("li", { class: "muted" }, "Nothing stands before it."),
      why.before ? el("li", { class: "between" }, `↓ The one before is ${why.before.why}.`) : null,
      el("li", { "aria-current": "true" }, `#${why.position} `, tag(why.priority), ` this study, due ${timeText(why.due)}`),
      why.after ? el("li", { class: "between" }, `↓ This study is ${why.after.why}.`) : null,
      why.after ? line(why.after, why.position + 1) : el("li", { class: "muted" }, "Nothing stands after it."),
    ),
  ];
}
