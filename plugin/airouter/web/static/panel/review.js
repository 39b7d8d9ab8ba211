/** Decisions of a reader: asked for, sent once, and answered. */

import { api, dialog, el, uuid } from "/ai/static/common.js";
import { amendDialog } from "./amend.js";
import { lineOf } from "./finding.js";

/** One decision on a finding as the route takes it; null stands for what was not said. */
function decision(finding, verb, said = {}) {
  return {
    job: finding.job,
    finding: finding.key,
    version: finding.version,
    verb,
    reason: said.reason ?? null,
    comment: said.comment || null,
    amendment: said.amendment ?? null,
  };
}

export class Reviews {
  /** @param {string} study Study Instance UID @param {Map<string, {rows: number, columns: number}>} images by UID */
  constructor(study, images) {
    this.study = study;
    this.images = images;
    this.reasons = null;
    this.unanswered = null;
  }

  /**
   * Ask what is to be asked, and send it. Null where the reader thought better of it.
   * @returns {Promise<object|null>} the answer. Throws Refused; its `again` sends the same request once more.
   */
  async decide(verb, finding) {
    const send = (said) => this.send([decision(finding, verb, said)]);
    if (verb === "accept") return send({});
    const ask = { amend: this.askAmendment, reject: this.askReason, withdraw: this.askComment }[verb];
    return stale(await ask.call(this, finding, (said) => send(said).catch(asStale)));
  }

  askAmendment(finding, send) {
    return amendDialog(finding, this.study, this.images.get(finding.region?.source), send);
  }

  async acceptAll(findings, of) {
    const sure = await dialog(
      `Accept ${findings.length} findings`,
      [
        el("p", {}, `All pending findings of ${of} are accepted as they are and reported in your name.`),
        el("ul", { class: "sure" }, findings.slice(0, 8).map((finding) => el("li", {}, lineOf(finding))), findings.length > 8 ? el("li", {}, `and ${findings.length - 8} more`) : null),
      ],
      { action: `Accept ${findings.length}` },
    );
    return sure ? this.send(findings.map((finding) => decision(finding, "accept"))) : null;
  }

  async askReason(finding, send) {
    this.reasons ??= await api("GET", "/ai/review-reasons");
    const { reasons } = this;
    const name = `reason-${uuid()}`;
    return dialog(
      "Reject",
      [
        el("p", {}, lineOf(finding)),
        el(
          "fieldset",
          { class: "reasons" },
          el("legend", {}, "Reason"),
          reasons.map((reason, n) =>
            el("label", {}, el("input", { type: "radio", name, value: reason.value, required: true, checked: reasons.length === 1 && n === 0 }), ` ${reason.meaning}`),
          ),
        ),
        commentField(),
      ],
      {
        action: "Reject",
        danger: true,
        novalidate: true,
        submit: (form) => {
          const chosen = form.querySelector("input[type=radio]:checked");
          if (!chosen) throw new Error("Choose a reason.");
          return send({ reason: chosen.value, comment: form.querySelector("textarea").value.trim() });
        },
      },
    );
  }

  askComment(finding, send) {
    return dialog(
      "Withdraw the decision",
      [
        el("p", {}, lineOf(finding)),
        el("p", { class: "small muted" }, "The finding is pending again. What was reported stays in the archive and is marked as withdrawn."),
        commentField(),
      ],
      { action: "Withdraw", submit: (form) => send({ comment: form.querySelector("textarea").value.trim() }) },
    );
  }

  /**
   * One request for these decisions. Where no answer came it may have been kept: the same decisions again are sent as
   * the same request, which has the same answer and decides nothing twice.
   */
  async send(decisions) {
    const asked = JSON.stringify(decisions);
    if (this.unanswered?.asked !== asked) this.unanswered = { asked, body: { request: uuid(), decisions } };
    const { body } = this.unanswered;
    try {
      const answer = await api("POST", `/ai/studies/${this.study}/reviews`, body);
      this.unanswered = null;
      return answer;
    } catch (error) {
      if (error.status === 0 || error.status >= 500) error.again = () => this.send(decisions);
      else this.unanswered = null;
      throw error;
    }
  }
}

/** A finding that has changed meanwhile closes the dialog: what stood in it was about something else. */
function asStale(error) {
  if (error.status !== 409) throw error;
  return { stale: error };
}

function stale(answer) {
  if (answer?.stale) throw answer.stale;
  return answer;
}

function commentField() {
  return el("label", { class: "field" }, el("span", {}, "Comment (optional)"), el("textarea", { rows: "2", maxlength: "1000" }));
}
