/** Talking with the viewer that the panel stands in, and the list of what it draws over the images. */

import { el } from "/ai/static/common.js";
import { regionOf } from "./state.js";

const KINDS = { SEG: "Segmentation", ANN: "Annotations", SR: "Regions", MAP: "Map" };

/** Messages to and from the window around this one; another site's are not listened to. */
export class Viewer {
  /** @param {boolean} embedded @param {{study: Function, overlays: Function, jumped: Function}} on */
  constructor(embedded, on) {
    this.embedded = embedded && window.parent !== window;
    this.overlays = [];
    this.hidden = false;
    this.mode = null;
    if (!this.embedded) return;
    window.addEventListener("message", (event) => {
      if (event.origin !== window.location.origin || event.source !== window.parent || event.data?.airouter !== 1) return;
      const { type } = event.data;
      if (type === "study") {
        this.mode = event.data.mode;
        on.study(event.data);
      } else if (type === "overlays") {
        this.overlays = event.data.overlays ?? [];
        on.overlays(this.overlays);
      } else if (type === "jumped") {
        on.jumped(event.data);
      }
    });
    this.send({ type: "ready" });
  }

  send(message) {
    if (this.embedded) window.parent.postMessage({ airouter: 1, ...message }, window.location.origin);
  }

  /** Show the region of a finding. @param {object} finding @param {string|undefined} series of the report */
  jump(finding, series) {
    const region = regionOf(finding);
    this.send({
      type: "jump",
      region: {
        source: region.source,
        series: region.series ?? series,
        frame: region.frame,
        graphic: region.graphic,
        box: region.box,
        points: region.points,
      },
      tracking_uid: finding.tracking_uid,
    });
  }

  overlay(series, visible, opacity) {
    this.send({ type: "overlay", series, visible, opacity });
  }

  hideAll(hidden) {
    this.hidden = hidden;
    this.send({ type: "hide-all", hidden });
  }
}

/** The overlays with a switch and a slider each. @param {Viewer} viewer @param {Function} changed */
export function overlayList(viewer, changed) {
  if (!viewer.overlays.length) return el("p", { class: "small muted" }, "The viewer has no overlays of this study open.");
  return [
    el(
      "button",
      { type: "button", class: "hide-all", "aria-pressed": String(viewer.hidden), title: "Hide or show all overlays (h)", on: { click: () => { viewer.hideAll(!viewer.hidden); changed(); } } },
      viewer.hidden ? "Show all" : "Hide all",
    ),
    el("ul", { class: "overlays" }, viewer.overlays.map((overlay, number) => overlayLine(viewer, overlay, number))),
  ];
}

/** A Series Description of ours as its name and its status, which would fill the lines of a narrow panel. */
function named(description) {
  const [, name, status] = /^(?:AI )?(.+?)(?: \[([A-Z]+)[^\]]*\])?$/.exec(description) ?? [null, description, null];
  return [name, status?.toLowerCase()];
}

function overlayLine(viewer, overlay, number) {
  const id = `overlay-${number}`;
  const [label, status] = named(overlay.label || overlay.series);
  const opacity = el("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "0.05",
    value: String(overlay.opacity ?? 1),
    disabled: !overlay.available,
    "aria-label": `Opacity of ${label}`,
    on: {
      input: () => {
        overlay.opacity = Number(opacity.value);
        viewer.overlay(overlay.series, overlay.visible, overlay.opacity);
      },
    },
  });
  const shown = el("input", {
    id,
    type: "checkbox",
    checked: overlay.visible && overlay.available,
    disabled: !overlay.available,
    on: {
      change: () => {
        overlay.visible = shown.checked;
        viewer.overlay(overlay.series, overlay.visible, overlay.opacity ?? 1);
      },
    },
  });
  return el(
    "li",
    { dataset: { series: overlay.series } },
    el(
      "label",
      { for: id, title: overlay.label || null },
      shown,
      el("span", {}, label, el("span", { class: "small muted" }, ` ${[KINDS[overlay.kind] ?? overlay.kind, status].filter(Boolean).join(" · ")}`)),
    ),
    overlay.opacity === null || overlay.opacity === undefined ? null : opacity,
    overlay.available ? null : el("p", { class: "small muted" }, overlay.reason),
  );
}
