/** The dialog that puts a reader's answer in the place of the machine's: numbers, coded answers, the region. */

import { dialog, el, numberText, unitText } from "/ai/static/common.js";
import { regionEditor } from "./region.js";
import { amendedValue, regionOf } from "./state.js";

/** The answer to what was amended and sent, or null where the reader thought better of it. */
export function amendDialog(finding, study, image, send) {
  const choices = finding.review?.choices ?? { measurements: finding.measurements, evaluations: {} };
  const numbers = choices.measurements.map((each) => numberField(finding, each));
  const answers = finding.evaluations.filter((each) => choices.evaluations?.[each.name.value]?.length).map((each) => answerField(finding, each, choices.evaluations[each.name.value]));
  const region = finding.region?.points?.length ? regionEditor(regionOf(finding), study, image) : null;
  const comment = el("textarea", { rows: "2", maxlength: "1000" });
  return dialog(
    `Amend: ${finding.label}`,
    [
      numbers.length || answers.length
        ? el("div", { class: "amend-fields" }, answers.map((each) => each.element), numbers.map((each) => each.element))
        : el("p", { class: "muted" }, "This finding has no number and no coded answer to amend."),
      region?.element,
      el("label", { class: "field" }, el("span", {}, "Comment (optional)"), comment),
    ],
    {
      action: "Amend",
      novalidate: true,
      submit: () => {
        const amendment = {
          measurements: Object.fromEntries(numbers.map((each) => each.read()).filter(Boolean)),
          evaluations: Object.fromEntries(answers.map((each) => each.read()).filter(Boolean)),
          points: region?.read() ?? null,
        };
        if (!Object.keys(amendment.measurements).length && !Object.keys(amendment.evaluations).length && !amendment.points)
          throw new Error("Nothing is changed yet.");
        return send({ amendment, comment: comment.value.trim() });
      },
    },
  );
}

/** A number with its unit; read() gives [concept, value] where it was changed. */
function numberField(finding, measurement) {
  const concept = measurement.name.value;
  const stands = amendedValue(finding, concept) ?? measurement.value;
  const shown = String(Number(stands.toPrecision(6)));
  const input = el("input", { type: "number", step: "any", value: shown, inputmode: "decimal" });
  const was = stands === measurement.value ? null : `AI: ${numberText(measurement.value)}`;
  return {
    element: el(
      "label",
      { class: "field number" },
      el("span", {}, measurement.name.meaning, was ? el("span", { class: "small muted" }, ` ${was}`) : null),
      el("span", { class: "with-unit" }, input, el("span", { class: "unit" }, unitText(measurement.unit))),
    ),
    read: () => {
      if (input.value === shown) return null;
      if (input.value.trim() === "" || !Number.isFinite(input.valueAsNumber)) throw new Error(`${measurement.name.meaning}: give a number.`);
      return [concept, input.valueAsNumber];
    },
  };
}

/** A coded answer; read() gives [concept, value] where it was changed. */
function answerField(finding, evaluation, choices) {
  const concept = evaluation.name.value;
  const stands = finding.review?.amendment?.evaluations?.[concept] ?? evaluation.value.value;
  const select = el("select", {}, choices.map((choice) => el("option", { value: choice.value, selected: choice.value === stands }, choice.meaning)));
  return {
    element: el("label", { class: "field" }, el("span", {}, evaluation.name.meaning), select),
    read: () => (select.value === stands ? null : [concept, select.value]),
  };
}

