/** The page by keys alone. */

import { dialog, el, typing } from "/ai/static/common.js";

export const KEYS = [
  ["j", "next study"],
  ["k", "study before"],
  ["Enter", "open it in the viewer"],
  ["p", "open its findings without the viewer"],
  ["c", "claim it, or give it back"],
  ["x", "explain why it stands here"],
  ["m", "mark it as read, or put it back on the list"],
  ["e", "set its priority"],
  ["a", "assign it"],
  ["u", "take the last step back"],
  ["/", "search"],
  ["g / G", "first and last study"],
  ["1 2 3", "Full reading, Review & Release, Read"],
  ["?", "this help"],
];

/** @param {Object<string, () => void>} commands by key */
export function listen(commands) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target instanceof HTMLInputElement) event.target.blur();
    if (typing(event)) return;
    // Enter and the space bar on something that acts by itself do what that does.
    if (event.key === "Enter" && event.target.closest?.("a, button, summary")) return;
    const command = commands[{ ArrowDown: "j", ArrowUp: "k", Home: "g", End: "G" }[event.key] ?? event.key];
    if (!command) return;
    event.preventDefault();
    command();
  });
}

export function help() {
  return dialog(
    "Keys",
    el(
      "dl",
      { class: "keys" },
      KEYS.map(([keys, what]) => [
        el("dt", {}, keys.split(" ").map((each) => (each === "/" && keys !== "/" ? " / " : [el("kbd", {}, each), " "]))),
        el("dd", {}, what),
      ]),
    ),
  );
}
