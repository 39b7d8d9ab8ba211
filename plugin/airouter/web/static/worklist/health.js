/** How the router stands, and what that means for the list. */

import { api, durationText, el, fill } from "/ai/static/common.js";

const BEHIND_SECONDS = 300;
const BEHIND_JOBS = 20;
const RULE = "The list is ordered by the usual rule: a study without a result is ROUTINE and due a day after it came.";

/** @param {HTMLElement} notices @param {HTMLElement} state @param {{roles: string[]}} me */
export class Health {
  constructor(notices, state, me) {
    this.notices = notices;
    this.state = state;
    this.me = me;
    this.shown = "";
  }

  /** Ask and show; true where the router runs. */
  async look() {
    let health;
    try {
      health = await api("GET", "/ai/health");
    } catch (error) {
      this.#show("stopped", "no answer", [["bad", `${error.reason} ${error.advice ?? ""} What you see may be old.`]]);
      return false;
    }
    const said = [];
    const lag = health.intake_lag_seconds ?? 0;
    let state = "running";
    if (health.state !== "running") {
      state = "stopped";
      const why = health.reason ? ` (${health.reason})` : "";
      said.push(["bad", `The AI router is not running: it is ${health.state}${why}. Nothing is analysed, and what you see may be old. ${RULE}`]);
    } else if (lag > BEHIND_SECONDS || health.queue_depth >= BEHIND_JOBS) {
      state = "behind";
      const waits = lag > BEHIND_SECONDS ? `, the oldest study has waited ${durationText(lag)}` : "";
      said.push(["warn", `The AI is behind: ${health.queue_depth} analyses wait${waits}. ${RULE}`]);
    }
    for (const warning of health.warnings) {
      // Of the rest readers can do nothing.
      if (this.me.roles.includes("administrator") || warning.reason.includes("viewer")) {
        said.push(["warn", `${warning.reason}. ${warning.advice}`]);
      }
    }
    const words = { running: "AI running", behind: "AI behind", stopped: "AI not running" }[state];
    this.#show(state, words, said);
    return health.state === "running";
  }

  #show(state, words, said) {
    const now = JSON.stringify([state, words, said]);
    if (now === this.shown) return; // a screen reader need not hear it again
    this.shown = now;
    this.state.dataset.state = state;
    this.state.textContent = words;
    fill(this.notices, said.map(([kind, text]) => el("p", { class: `notice ${kind}` }, text)));
  }
}
