/** A region redrawn by hand over a cut of its image: moved, drawn anew, or written as numbers. */

import { el } from "/ai/static/common.js";
import { boxOf } from "./state.js";

const SIDE = 640; // pixels of the cut, at most
const LEAST = 64; // source pixels that are shown at least
const GRAB = 8; // px within which a point is taken hold of
const LEAST_POINTS = { POINT: 1, POLYLINE: 2, POLYGON: 3 };

/**
 * @param {{graphic: string, source: string, frame: number|null, points: number[][]}} region
 * @param {string} study
 * @param {{rows: number, columns: number}|undefined} size of the image: points stay within it where it is known
 * @returns {{element: HTMLElement, read: () => number[][]|null}} read() gives the points where they were changed
 */
export function regionEditor(region, study, size) {
  const before = region.points.map(([c, r]) => [c, r]);
  const view = { points: copy(before), grown: 0.35, mode: "move", box: null };
  const canvas = el("canvas", { class: "region", role: "img", "aria-label": "The region on its image; the list below holds the same points" });
  const image = new Image();
  const status = el("p", { class: "small muted", role: "status" });
  const list = el("textarea", { rows: "4", class: "mono", spellcheck: "false" });
  const modes = el("div", { class: "modes", role: "group", "aria-label": "How to change the region" });

  const draw = () => paint(canvas, image, view, region.graphic);
  const write = () => {
    list.value = view.points.map(([c, r]) => `${round(c)}, ${round(r)}`).join("\n");
    const changed = !same(view.points, before);
    status.textContent = `${view.points.length} point${view.points.length === 1 ? "" : "s"}${changed ? ", changed" : ""}`;
  };
  const load = () => {
    view.box = grown(boxOf(before), view.grown);
    const [left, top, right, bottom] = view.box;
    const scale = Math.min(1, SIDE / Math.max(right - left, bottom - top));
    canvas.width = Math.max(1, Math.round((right - left) * scale));
    canvas.height = Math.max(1, Math.round((bottom - top) * scale));
    if (Math.max(canvas.width, canvas.height) < 320) {
      const up = 320 / Math.max(canvas.width, canvas.height);
      canvas.width = Math.round(canvas.width * up);
      canvas.height = Math.round(canvas.height * up);
    }
    image.src = `/ai/studies/${study}/objects/${region.source}/picture?frame=${region.frame ?? 1}&side=${SIDE}&box=${view.box.join(",")}`;
    draw();
  };
  image.addEventListener("load", draw);
  image.addEventListener("error", () => {
    status.textContent = "The image cannot be shown here; the points can be changed all the same.";
  });

  const button = (text, act, pressed) =>
    el("button", { type: "button", "aria-pressed": pressed === undefined ? null : String(pressed), on: { click: act } }, text);
  const tools = () => {
    const choose = (mode) => () => {
      view.mode = mode;
      tools();
    };
    modes.replaceChildren(
      button("Move", choose("move"), view.mode === "move"),
      button(region.graphic === "POINT" ? "Set point" : "Draw", choose("draw"), view.mode === "draw"),
      button("Wider", () => {
        view.grown = Math.min(6, view.grown * 2);
        load();
      }),
      button("Reset", () => {
        view.points = copy(before);
        write();
        draw();
      }),
    );
  };

  drag(canvas, view, region.graphic, size, () => {
    write();
    draw();
  });
  list.addEventListener("input", () => {
    const points = parse(list.value);
    list.setAttribute("aria-invalid", String(!points));
    if (!points) {
      status.textContent = "Each line is column, row: two numbers.";
      return;
    }
    view.points = points;
    status.textContent = `${points.length} points`;
    draw();
  });

  tools();
  write();
  load();
  return {
    element: el(
      "details",
      { class: "region-editor" },
      el("summary", {}, "Region"),
      el("p", { class: "small muted" }, "Drag the region or one of its points, or choose Draw and trace a new one."),
      modes,
      canvas,
      status,
      el("label", { class: "field" }, el("span", {}, "Points: column, row in pixels of the image"), list),
    ),
    read: () => {
      const points = parse(list.value);
      if (!points) throw new Error("The points of the region are not pairs of numbers.");
      if (sameText(list.value, before)) return null;
      const least = LEAST_POINTS[region.graphic] ?? 1;
      if (points.length < least || (region.graphic === "POINT" && points.length > 1))
        throw new Error(region.graphic === "POINT" ? "A point is one pair of numbers." : `A region of this kind has at least ${least} points.`);
      return points;
    },
  };
}

const copy = (points) => points.map(([c, r]) => [c, r]);
const round = (value) => Math.round(value * 100) / 100;
const same = (a, b) => a.length === b.length && a.every(([c, r], n) => c === b[n][0] && r === b[n][1]);
const sameText = (text, points) => text.trim() === points.map(([c, r]) => `${round(c)}, ${round(r)}`).join("\n");

function parse(text) {
  const points = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => line.split(/[\s,;]+/).filter(Boolean).map(Number));
  return points.length && points.every((pair) => pair.length === 2 && pair.every(Number.isFinite)) ? points : null;
}

/** The box with some of its image around, in whole pixels. */
function grown([left, top, right, bottom], share) {
  const more = Math.max((right - left) * share, (bottom - top) * share, (LEAST - Math.max(right - left, bottom - top)) / 2, 4);
  return [Math.floor(left - more), Math.floor(top - more), Math.ceil(right + more), Math.ceil(bottom + more)];
}

function paint(canvas, image, view, graphic) {
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#202020";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (image.complete && image.naturalWidth) pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const places = view.points.map((point) => onCanvas(canvas, view.box, point));
  // Dark below and bright above: to be seen on any image.
  for (const [width, colour] of [[4, "#000000"], [2, "#ffe14d"]]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.beginPath();
    if (graphic === "POINT") for (const [x, y] of places) pen.arc(x, y, 6, 0, 2 * Math.PI);
    else places.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (graphic === "POLYGON") pen.closePath();
    pen.stroke();
  }
  if (places.length <= 60 && graphic !== "POINT") {
    pen.fillStyle = "#ffe14d";
    for (const [x, y] of places) pen.fillRect(x - 2, y - 2, 4, 4);
  }
}

function onCanvas(canvas, [left, top, right, bottom], [column, row]) {
  return [((column - left) / (right - left)) * canvas.width, ((row - top) / (bottom - top)) * canvas.height];
}

function onImage(canvas, [left, top, right, bottom], [x, y]) {
  return [left + (x / canvas.width) * (right - left), top + (y / canvas.height) * (bottom - top)];
}

/** The pointer: moves all or one of the points, or traces new ones. */
function drag(canvas, view, graphic, size, changed) {
  let held = null;
  const within = ([c, r]) => (size?.columns ? [clamp(c, size.columns), clamp(r, size.rows)] : [c, r]);
  const place = (event) => {
    const shown = canvas.getBoundingClientRect();
    return [((event.clientX - shown.left) / shown.width) * canvas.width, ((event.clientY - shown.top) / shown.height) * canvas.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const at = place(event);
    if (view.mode === "draw") {
      view.points = [within(onImage(canvas, view.box, at))];
      held = { at, trace: true };
    } else {
      const near = view.points.map((point) => distance(onCanvas(canvas, view.box, point), at));
      const least = Math.min(...near);
      held = { at, point: least <= GRAB ? near.indexOf(least) : null, from: copy(view.points) };
    }
    changed();
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const at = place(event);
    if (held.trace) {
      if (graphic === "POINT") view.points = [within(onImage(canvas, view.box, at))];
      else if (distance(at, held.at) >= 3) {
        view.points.push(within(onImage(canvas, view.box, at)));
        held.at = at;
      }
    } else {
      const [from, to] = [held.at, at].map((each) => onImage(canvas, view.box, each));
      const step = [to[0] - from[0], to[1] - from[1]];
      // One point is moved alone; all of them keep their shape, and stop at the edge of the image.
      view.points =
        held.point === null
          ? moved(held.from, step, size)
          : held.from.map((point, n) => (n === held.point ? within([point[0] + step[0], point[1] + step[1]]) : point));
    }
    changed();
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      held = null;
    });
}

const clamp = (value, most) => Math.min(most, Math.max(0, value));

function moved(points, [across, down], size) {
  const [left, top, right, bottom] = boxOf(points);
  const c = size?.columns ? Math.min(size.columns - right, Math.max(-left, across)) : across;
  const r = size?.columns ? Math.min(size.rows - bottom, Math.max(-top, down)) : down;
  return points.map(([column, row]) => [column + c, row + r]);
}

const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);
