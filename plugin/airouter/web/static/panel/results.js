/** The results of a study: their head, findings, pictures, and what was not analysed. */

import { el } from "/ai/static/common.js";
import { findingCard } from "./finding.js";
import { pictureCard } from "./pictures.js";
import { counts, eyeOf, passes, pipelineText, repeats, reportSeries } from "./state.js";

const FIRST = 12; // of the findings of one result; a photograph may have a hundred lesions
const FIRST_OF_SUMMARY = 2;

/**
 * @param {object} result
 * @param {object} context what the page knows: filter, open, pictures, mayReview, embedded, viewer, number(), on
 */
export function resultSection(result, context) {
  const id = `result-${result.job.slice(0, 12)}`;
  const shown = result.findings.filter((finding) => passes(finding, context.filter));
  const first = repeats(result) ? FIRST_OF_SUMMARY : FIRST;
  const all = context.open.has(result.job) || shown.length <= first + 2;
  const pictures = context.pictures.filter((picture) => picture.job === result.job);
  const pending = result.findings.filter((finding) => finding.state === "pending");
  return el(
    "section",
    { class: "result", id, "aria-label": nameOf(result, context), dataset: { job: result.job } },
    head(result, pending, context),
    el(
      "div",
      { class: pictures.length && shown.length ? "result-body with-pictures" : "result-body" },
      shown.length
        ? el("div", { class: "findings" }, (all ? shown : shown.slice(0, first)).map((finding) => card(finding, result, context)))
        : null,
      pictures.length ? el("div", { class: "pictures" }, pictures.map((picture) => pictureCard(picture))) : null,
    ),
    all
      ? null
      : el(
          "button",
          { type: "button", class: "show-all", on: { click: () => context.on.open(result.job) } },
          `Show all ${shown.length} findings`,
        ),
    notAnalysed(result),
    written(result),
  );
}

function head(result, pending, context) {
  const made = counts([result]);
  const decided = made.all - made.pending;
  return el(
    "div",
    { class: "result-head" },
    el(
      "div",
      { class: "result-title" },
      el("h3", {}, pipelineText(result.pipeline), eyeOf(result) ? el("span", { class: "eye" }, eyeOf(result)) : null),
      el("span", { class: "tag", dataset: { priority: result.verdict.priority } }, result.verdict.priority),
      result.phase ? el("span", { class: "tag phase", title: "Phase of this model's introduction" }, result.phase) : null,
    ),
    imageOf(result, context) ? el("p", { class: "small image" }, imageOf(result, context)) : null,
    result.verdict.reason ? el("p", { class: "small" }, result.verdict.reason) : null,
    el(
      "div",
      { class: "result-foot" },
      el(
        "p",
        { class: "small muted" },
        [provenance(result), made.all ? `${made.all} finding${made.all === 1 ? "" : "s"}, ${decided} decided` : null].filter(Boolean).join(" · "),
      ),
      context.mayReview && pending.length > 1
        ? el(
            "button",
            { type: "button", class: "accept-all", on: { click: () => context.on.acceptAll(result, pending) } },
            `Accept all ${pending.length} pending`,
            el("span", { class: "unseen" }, ` of ${pipelineText(result.pipeline)}`),
          )
        : null,
    ),
  );
}

/** Name of a result among the others, which may be of the same pipeline. */
function nameOf(result, context) {
  const all = context.findings.current;
  const place = `result ${all.indexOf(result) + 1} of ${all.length}`;
  return [pipelineText(result.pipeline), eyeOf(result), imageOf(result, context), place].filter(Boolean).join(", ");
}

/** Which of the study's images a result is of; a result of many says nothing. */
function imageOf(result, context) {
  const images = result.sources.map((uid) => context.images.get(uid));
  const series = new Set(images.map((image) => image?.series));
  return series.size === 1 && images[0]?.label ? `${images[0].label} · ${images[0].modality}` : null;
}

/** Model, version and pipeline of a result in a line. */
function provenance(result) {
  // A pipeline without a model stands in its place under its own name.
  const named = (model) => (model?.name && model.name !== result.pipeline ? `${model.name} ${model.version}` : null);
  const companions = Object.values(result.companions ?? {}).map(named);
  const models = [named(result.model), ...companions].filter(Boolean);
  return [
    models.length ? `Model ${models.join(" with ")}` : "No model",
    `pipeline ${result.pipeline ?? "unknown"} ${result.pipeline_version ?? ""}`.trimEnd(),
  ].join(" · ");
}

function card(finding, result, context) {
  const series = reportSeries(result);
  return findingCard(finding, {
    mayReview: context.mayReview,
    canJump: context.embedded,
    href: context.embedded || !context.viewer || !series ? null : `${context.viewer}&initialSeriesInstanceUID=${encodeURIComponent(series)}`,
    number: context.number(),
    eye: !eyeOf(result), // it stands in the result's head already
    on: context.on,
  });
}

function notAnalysed(result) {
  if (!result.not_analysed.length) return null;
  return el(
    "div",
    { class: "not-analysed" },
    el("h4", {}, "Not analysed"),
    el(
      "ul",
      {},
      result.not_analysed.map((each) =>
        el("li", {}, el("strong", {}, each.quantity), ` ${each.reason.replace(/^not analysed /, "")}`),
      ),
    ),
  );
}

/** Objects of the router itself; those that reviews wrote are listed once for the study. */
function written(result) {
  if (!result.evidence.length) return null;
  return el(
    "details",
    { class: "more written" },
    el("summary", {}, `${result.evidence.length} DICOM object${result.evidence.length === 1 ? "" : "s"}`, el("span", { class: "unseen" }, ` of ${pipelineText(result.pipeline)}`)),
    el("ul", { class: "objects" }, result.evidence.map((each) => el("li", {}, `${each.role} `, el("span", { class: "mono" }, each.sop_instance_uid)))),
  );
}

/** Results that newer ones replaced: to look at, not to decide on. */
export function replacedSection(results) {
  if (!results.length) return null;
  return el(
    "details",
    { class: "replaced" },
    el("summary", {}, `${results.length} replaced result${results.length === 1 ? "" : "s"}`),
    el(
      "ul",
      {},
      results.map((result) =>
        el(
          "li",
          {},
          `${pipelineText(result.pipeline)}: ${result.findings.length} findings, `,
          el("span", { class: "muted" }, `${result.model?.name ?? "no model"} ${result.model?.version ?? ""}, ${result.verdict.reason}`),
        ),
      ),
    ),
  );
}
