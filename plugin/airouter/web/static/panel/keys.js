/** The keyboard: moving between findings, and deciding on the current one. */

import { dialog, el, typing } from "/ai/static/common.js";

const KEYS = [
  ["j or ↓", "next finding"],
  ["k or ↑", "previous finding"],
  ["n", "next pending finding"],
  ["Enter", "show its region in the viewer"],
  ["a", "accept"],
  ["e", "amend"],
  ["r", "reject"],
  ["u", "withdraw what was decided"],
  ["h", "hide or show all overlays"],
  ["?", "this help"],
];

/** @param {{move: Function, nextPending: Function, jump: Function, decide: Function, hideAll: Function}} on */
export function listen(on) {
  document.addEventListener("keydown", (event) => {
    if (typing(event)) return;
    const acts = {
      j: () => on.move(1),
      ArrowDown: () => on.move(1),
      k: () => on.move(-1),
      ArrowUp: () => on.move(-1),
      n: on.nextPending,
      a: () => on.decide("accept"),
      e: () => on.decide("amend"),
      r: () => on.decide("reject"),
      u: () => on.decide("withdraw"),
      h: on.hideAll,
      "?": help,
    };
    const onCard = event.target instanceof HTMLElement && event.target.classList.contains("finding");
    const act = event.key === "Enter" ? (onCard ? on.jump : null) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

export function help() {
  dialog(
    "Keyboard",
    el("dl", { class: "keys" }, KEYS.map(([key, text]) => el("div", {}, el("dt", {}, key.split(" or ").map((k, n) => [n ? " or " : null, el("kbd", {}, k)])), el("dd", {}, text)))),
  );
}
