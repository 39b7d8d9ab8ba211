/** What the page knows of the study, and plain questions to it. Nothing here touches the document. */

import { lateralityText } from "/ai/static/common.js";

/** Concepts whose number is shown as the confidence, and not among the measurements again. */
const CONFIDENCE = new Set(["111012", "122157"]);

/** Name of a finding within the page. */
export const idOf = (job, key) => `${job}|${key}`;

/**
 * @typedef {object} Finding one finding of a result, with what the page adds: `id`, `job`, `state`, `version`
 * @typedef {object} Result one result, with its findings as above and `superseded`
 */

/** The findings view of the router, made ready: results that count first, newest first; and those that were replaced. */
export function read(view) {
  const results = view.results.map((result) => ({
    ...result,
    superseded: Boolean(result.superseded),
    findings: result.findings.map((finding) => ({
      ...finding,
      job: result.job,
      id: idOf(result.job, finding.key),
      state: finding.review?.state ?? "pending",
      version: finding.review?.version ?? 0,
    })),
  }));
  return {
    study: view.study,
    verdict: view.verdict,
    current: results.filter((result) => !result.superseded).sort(urgentFirst),
    replaced: results.filter((result) => result.superseded),
  };
}

const RANKS = ["STAT", "HIGH", "ROUTINE", "LOW"];

/** Urgent results first; behind them a summary, which repeats the others, and what found nothing. */
function urgentFirst(a, b) {
  const rank = (result) => RANKS.indexOf(result.verdict?.priority);
  const order = (result) => (!result.findings.length ? 2 : repeats(result) ? 1 : 0);
  return order(a) - order(b) || rank(a) - rank(b);
}

/** Whether a result only puts side by side what other results found. */
export const repeats = (result) => result.pipeline === "visit-summary";

/** How many findings of these results stand where. */
export function counts(results) {
  const made = { all: 0, pending: 0, accepted: 0, amended: 0, rejected: 0 };
  for (const result of results)
    for (const finding of result.findings) {
      made.all += 1;
      made[finding.state] += 1;
    }
  return made;
}

/** Whether a finding is to be seen under a filter: all, pending, decided. */
export function passes(finding, filter) {
  return filter === "all" || (filter === "pending") === (finding.state === "pending");
}

/** Name of a pipeline in words: macular-oedema as Macular oedema. */
export function pipelineText(name) {
  const words = (name ?? "Unknown pipeline").replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The eye that all findings of a result are of, empty where they are of none or of several. */
export function eyeOf(result) {
  const eyes = new Set(result.findings.map((finding) => finding.laterality).filter(Boolean));
  return eyes.size === 1 ? `${lateralityText([...eyes][0])} eye` : "";
}

/** Confidence in per cent, null where the finding has none. */
export function confidenceOf(finding) {
  if (typeof finding.confidence === "number") return finding.confidence;
  const found = finding.measurements.find((each) => CONFIDENCE.has(each.name.value));
  if (!found) return null;
  return found.unit === "%" ? found.value : found.value * 100;
}

/** The measurements beside the confidence. */
export function numbersOf(finding) {
  return finding.measurements.filter((each) => !CONFIDENCE.has(each.name.value));
}

/** What a reader put in the place of a measurement's value, undefined where nothing. */
export function amendedValue(finding, concept) {
  return finding.review?.amendment?.measurements?.[concept];
}

/** What a reader put in the place of an answer, as its meaning; undefined where nothing. */
export function amendedAnswer(finding, concept) {
  const value = finding.review?.amendment?.evaluations?.[concept];
  if (value === undefined) return undefined;
  const choices = finding.review?.choices?.evaluations?.[concept] ?? [];
  return choices.find((choice) => choice.value === value)?.meaning ?? value;
}

/** The series of the report that holds a result's regions, undefined where there is none. */
export function reportSeries(result) {
  const reports = result.report ?? result.evidence.filter((each) => each.role === "report");
  return (reports.find((each) => each.role === "report" || !each.role) ?? reports[0])?.series_instance_uid;
}

/** What may follow on a state, in the order of the buttons. */
export const VERBS = {
  pending: ["accept", "amend", "reject"],
  accepted: ["amend", "withdraw"],
  amended: ["amend", "withdraw"],
  rejected: ["withdraw"],
};

export const VERB_TEXT = { accept: "Accept", amend: "Amend…", reject: "Reject…", withdraw: "Withdraw" };

/** Left, top, right, bottom of points. */
export function boxOf(points) {
  const columns = points.map(([column]) => column);
  const rows = points.map(([, row]) => row);
  return [Math.min(...columns), Math.min(...rows), Math.max(...columns), Math.max(...rows)];
}

/** The region of a finding as it stands: the machine's, or what a reader drew in its place. */
export function regionOf(finding) {
  const points = finding.review?.amendment?.points;
  return points?.length ? { ...finding.region, points, box: boxOf(points) } : finding.region;
}
