/** What the pages of the reading room share. Data becomes text nodes and attributes, never markup. */

/**
 * Why a request was not done. `status` is 0 where no answer came; `body` is the whole answer where there is one.
 */
export class Refused extends Error {
  constructor(status, reason, advice, body = null) {
    super(reason);
    this.status = status;
    this.reason = reason;
    this.advice = advice;
    this.body = body;
  }
}

/**
 * Call a route of ours and return its JSON (null for an empty answer). Throws Refused.
 * @param {string} method
 * @param {string} path
 * @param {object} [body] sent as JSON
 * @param {{headers?: object, signal?: AbortSignal}} [options]
 */
export async function api(method, path, body, options = {}) {
  const answer = await request(method, path, body, options);
  return answer.data;
}

/** As `api`, but returns {status, etag, data}; a 304 is an answer (data null). */
export async function request(method, path, body, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      signal: options.signal,
      headers: {
        Accept: "application/json",
        "X-Requested-With": "airouter",
        ...(body === undefined || body === null ? {} : { "Content-Type": "application/json" }),
        ...(options.headers ?? {}),
      },
      body: body === undefined || body === null ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer.", "Check the network; nothing was changed that you do not see.");
  }
  const etag = response.headers.get("ETag");
  if (response.status === 304) return { status: 304, etag, data: null };
  const text = await response.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null; // Orthanc declares what is not a 200 as text/plain
  } catch {
    data = null;
  }
  if (!response.ok) {
    const error = data?.error ?? {};
    const reason = error.reason ?? (response.status === 401 ? "You are not signed in." : `Error ${response.status}`);
    throw new Refused(response.status, reason, error.advice ?? "", data);
  }
  return { status: response.status, etag, data };
}

/**
 * Build an element. `props`: attributes by name; `class`, `dataset`, `on` (listeners by event name) and properties that
 * are not attributes (`value`, `checked`, `disabled`, `hidden`, `open`) as one expects; null, undefined and false leave
 * an attribute out. Children: nodes, arrays of them, or anything else as text.
 */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(made, name, value);
  append(made, children);
  return made;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "indeterminate", "selected", "tabIndex"]);

function set(made, name, value) {
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
  } else if (name === "dataset") {
    for (const [key, each] of Object.entries(value)) if (each !== null && each !== undefined) made.dataset[key] = each;
  } else if (PROPERTIES.has(name)) {
    if (value !== null && value !== undefined) made[name] = value;
  } else if (/^on/i.test(name) || name === "style" || name === "srcdoc" || /html/i.test(name)) {
    throw new TypeError(`${name} is not set here`);
  } else if (value === true) {
    made.setAttribute(name, "");
  } else if (value !== false && value !== null && value !== undefined) {
    made.setAttribute(name, value);
  }
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Put these children in the place of what an element holds. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
  return parent;
}

// -- how values are written -----------------------------------------------------------------------------------------

/** UCUM units as people write them; others as they are. `1` and counts `{...}` have none. */
const UNITS = {
  "%": "%",
  um: "µm",
  um2: "µm²",
  mm2: "mm²",
  mm3: "mm³",
  "1/mm2": "/mm²",
  "/mm2": "/mm²",
  "{nuclei}/mm2": "nuclei/mm²",
  dB: "dB",
  "dB/a": "dB/year",
  "um/a": "µm/year",
  "%/a": "%/year",
  uL: "µL",
  d: "days",
  mo: "months",
  a: "years",
  deg: "°",
  "1": "",
  "{ratio}": "",
  "{score}": "",
  "{counts}": "",
};

/** @param {{value?: string, meaning?: string}|string|null} unit a code, or its value */
export function unitText(unit) {
  const code = typeof unit === "string" ? unit : (unit?.value ?? "");
  if (code in UNITS) return UNITS[code];
  const counted = /^\{(.*)\}$/.exec(code);
  if (counted) return counted[1].replaceAll("_", " ");
  return code.replaceAll(/[{}]/g, "");
}

/** A number with as many digits as its size deserves: 0.0123, 1.23, 12.3, 1234. */
export function numberText(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  const text = size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
  return text.replace("-", "−");
}

/** A measurement's value with its unit. */
export function valueText(value, unit) {
  const written = unitText(unit);
  if (!written) return numberText(value);
  return /^[%°]$/.test(written) && written !== "%" ? `${numberText(value)}${written}` : `${numberText(value)} ${written}`;
}

/** An ISO 8601 time as the reader's clock shows it: 2026-11-29 14:05. */
export function timeText(iso) {
  const time = new Date(iso ?? "");
  if (Number.isNaN(time.getTime())) return iso ?? "";
  const two = (n) => String(n).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** DICOM date YYYYMMDD as 2026-11-29; others as they are. */
export function dateText(dicom) {
  const parts = /^(\d{4})(\d{2})(\d{2})/.exec(dicom ?? "");
  return parts ? `${parts[1]}-${parts[2]}-${parts[3]}` : (dicom ?? "");
}

/** Seconds as 45 s, 12 min, 3 h 20 min, 2 d 4 h. */
export function durationText(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.max(0, Math.round(seconds))} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** DICOM person name (Family^Given^Middle^Prefix^Suffix, first representation) as Family, Given Middle. */
export function personText(name) {
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = (name ?? "").split("=")[0].split("^");
  const first = [prefix, given, middle].map((part) => part.trim()).filter(Boolean).join(" ");
  return [family.trim(), first, suffix.trim()].filter(Boolean).join(", ");
}

/** R and L as words. */
export function lateralityText(laterality) {
  return { R: "right", L: "left", B: "both" }[laterality] ?? laterality ?? "";
}

// -- being heard ----------------------------------------------------------------------------------------------------

/** Say something to screen readers; `urgent` interrupts what is being read. */
export function announce(text, urgent = false) {
  const id = urgent ? "live-urgent" : "live";
  let region = document.getElementById(id);
  if (!region) {
    region = el("div", { id, class: "unseen", role: urgent ? "alert" : "status", "aria-live": urgent ? "assertive" : "polite" });
    document.body.append(region);
  }
  region.textContent = "";
  // A region that gets the text it has already says nothing.
  requestAnimationFrame(() => {
    region.textContent = text;
  });
}

// -- dialogs --------------------------------------------------------------------------------------------------------

let dialogs = 0;

/**
 * Ask in a modal dialog; resolves to what `submit` returned, or null where it was closed.
 * @param {string} title
 * @param {Node|Node[]} content
 * @param {{action?: string, danger?: boolean, cancel?: string,
 *   submit?: (form: HTMLFormElement) => any | Promise<any>}} [options]
 *   `submit` may throw: its message is shown and the dialog stays. Without `action` there is only the closing button.
 */
export function dialog(title, content, options = {}) {
  const id = `dialog-${(dialogs += 1)}`;
  const before = document.activeElement;
  const wrong = el("p", { class: "notice bad", role: "alert", hidden: true });
  const cancel = el("button", { type: "button" }, options.cancel ?? (options.action ? "Cancel" : "Close"));
  const act = options.action
    ? el("button", { type: "submit", class: options.danger ? "danger" : "primary" }, options.action)
    : null;
  const form = el(
    "form",
    { method: "dialog", novalidate: options.novalidate },
    el("h2", { id }, title),
    content,
    wrong,
    el("div", { class: "buttons" }, cancel, act),
  );
  const shown = el("dialog", { "aria-labelledby": id }, form);
  document.body.append(shown);
  return new Promise((resolve) => {
    let result = null;
    cancel.addEventListener("click", () => shown.close());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!act) return shown.close();
      act.disabled = true;
      wrong.hidden = true;
      try {
        result = options.submit ? await options.submit(form) : true;
        shown.close();
      } catch (error) {
        wrong.textContent = [error.reason ?? error.message, error.advice].filter(Boolean).join(" ");
        wrong.hidden = false;
      } finally {
        act.disabled = false;
      }
      return undefined;
    });
    shown.addEventListener("close", () => {
      shown.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(result);
    });
    shown.showModal();
  });
}

/** Whether a key press belongs to something the user types or chooses in, or to a dialog. */
export function typing(event) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey) return true;
  if (document.querySelector("dialog[open]")) return true;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName));
}

/** A v4 UUID, also where the page did not come by HTTPS and crypto.randomUUID is missing. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
