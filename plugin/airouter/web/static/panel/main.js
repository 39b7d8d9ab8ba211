/** The reading panel: what the router found in one study, and what a reader decides about it. */

import { Refused, announce, api, dialog, el, fill, personText, timeText } from "/ai/static/common.js";
import { lineOf } from "./finding.js";
import { header } from "./header.js";
import { help, listen } from "./keys.js";
import { replacedSection, resultSection } from "./results.js";
import { Reviews } from "./review.js";
import { VERBS, counts, passes, pipelineText, read, reportSeries } from "./state.js";
import { Viewer, overlayList } from "./viewer.js";
import { keep } from "/ai/static/worklist/heartbeat.js";

const STALE_MS = 15_000; // after which a look at the page loads it again

const query = new URLSearchParams(window.location.search);
const study = query.get("study") ?? "";
const page = {
  study,
  embedded: query.get("embedded") === "1",
  me: { name: null, may: [] },
  item: null,
  findings: null,
  pictures: [],
  images: new Map(), // by SOP Instance UID, with their series and size
  written: [],
  filter: "all",
  open: new Set(), // jobs all of whose findings are shown
  current: null, // id of the finding that keys act on
  notice: null,
  busy: false,
  loaded: 0,
};
const reviews = new Reviews(study, page.images);
const root = document.getElementById("panel");
const viewer = new Viewer(page.embedded, {
  study: () => {},
  overlays: renderOverlays,
  jumped: ({ ok, reason }) => {
    if (!ok) tell(`The viewer cannot show this region: ${reason ?? "it does not say why"}`, "warn");
  },
});

document.body.classList.toggle("embedded", page.embedded);
start();

async function start() {
  if (!/^[0-9][0-9.]{0,63}$/.test(study)) {
    fill(root, el("main", {}, el("p", { class: "notice bad" }, "The address names no study.")));
    return;
  }
  fill(root, el("main", {}, el("p", { class: "muted loading" }, "Loading the findings…")));
  const [me] = await Promise.all([quiet(api("GET", "/ai/me")), load()]);
  page.me = me ?? page.me;
  render();
  listen({ move, nextPending: () => step(1, (finding) => finding.state === "pending"), jump: () => jump(found(page.current)), decide: (verb) => decide(verb, found(page.current), true), hideAll });
  // Who reads here for longer than a claim lasts keeps it.
  keep(
    () => (page.me.name && page.item?.claimed_by === page.me.name ? [study] : []),
    () => tell("This study is no longer claimed by you: somebody else may be reading it.", "warn"),
  );
  document.addEventListener("visibilitychange", look);
  window.addEventListener("focus", look);
}

/** Findings must come; of the rest the page does without what does not. */
async function load() {
  const [findings, item, pictures, images, history] = await Promise.all([
    api("GET", `/ai/studies/${study}/findings`).catch((error) => error),
    quiet(api("GET", `/ai/worklist/${study}`)),
    quiet(api("GET", `/ai/studies/${study}/pictures`)),
    page.images.size ? null : quiet(api("GET", `/ai/studies/${study}/images`)),
    quiet(api("GET", `/ai/studies/${study}/reviews`)),
  ]);
  if (findings instanceof Refused) {
    page.notice = { text: `${findings.reason}. ${findings.advice}`.trim(), kind: "bad" };
    page.findings ??= { study, verdict: null, current: [], replaced: [] };
    return;
  }
  if (findings instanceof Error) throw findings;
  page.findings = read(findings);
  page.item = item;
  page.pictures = pictures?.pictures ?? [];
  for (const series of images?.series ?? []) for (const image of series.images) page.images.set(image.object, { ...series, ...image });
  page.written = history?.objects ?? [];
  page.loaded = Date.now();
}

async function quiet(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

/** Somebody comes back to the page: it may be of an hour ago. */
async function look() {
  if (document.visibilityState !== "visible" || page.busy || document.querySelector("dialog[open]") || Date.now() - page.loaded < STALE_MS) return;
  await load();
  render();
}

// -- what is shown --------------------------------------------------------------------------------------------------

function render() {
  const focused = document.activeElement?.closest?.(".finding")?.dataset.id;
  const scrolled = window.scrollY;
  let number = 0;
  const context = {
    ...page,
    mayReview: may("review"),
    viewer: viewerAddress(),
    number: () => (number += 1),
    on: {
      jump,
      decide,
      acceptAll,
      focus: select,
      open: (job) => {
        page.open.add(job);
        render();
      },
    },
  };
  const sections = page.findings.current
    .filter((result) => page.filter === "all" || result.findings.some((finding) => passes(finding, page.filter)))
    .map((result) => resultSection(result, context));
  fill(
    root,
    header({
      item: page.item,
      findings: page.findings,
      embedded: page.embedded,
      viewer: context.viewer,
      may: { review: may("review"), complete: may("claim") && page.item !== null && page.item.status !== "read", why: whyNot() },
      on: { complete, help },
    }),
    noticeOf(),
    page.embedded ? el("details", { class: "viewer-overlays", open: true }, el("summary", {}, "Overlays"), el("div", { id: "overlays" })) : null,
    el(
      "main",
      { id: "findings", tabindex: "-1" },
      toolbar(),
      sections.length ? sections : el("p", { class: "muted empty" }, emptyText()),
      replacedSection(page.findings.replaced),
      writtenList(),
    ),
    el("footer", { class: "not-a-device" }, "Not a medical device. The AI suggests, a clinician decides."),
  );
  renderOverlays();
  mark();
  window.scrollTo(0, scrolled);
  if (focused) card(focused)?.focus({ preventScroll: true });
}

function toolbar() {
  const made = counts(page.findings.current);
  if (!made.all) return null;
  const decided = made.all - made.pending;
  const filters = [
    ["all", `All ${made.all}`],
    ["pending", `Pending ${made.pending}`],
    ["decided", `Decided ${decided}`],
  ];
  return el(
    "div",
    { class: "toolbar" },
    el("h2", {}, "Findings"),
    el(
      "div",
      { class: "filters", role: "group", "aria-label": "Which findings are shown" },
      filters.map(([name, text]) =>
        el(
          "button",
          {
            type: "button",
            "aria-pressed": String(page.filter === name),
            dataset: { filter: name },
            on: {
              click: () => {
                page.filter = name;
                render();
                root.querySelector(`[data-filter=${name}]`)?.focus();
              },
            },
          },
          text,
        ),
      ),
    ),
  );
}

function emptyText() {
  if (page.filter !== "all") return `No ${page.filter} findings.`;
  return page.notice?.kind === "bad" ? "" : "The router has found nothing in this study yet.";
}

/** What reviews wrote: verified reports and key objects. */
function writtenList() {
  if (!page.written.length) return null;
  return el(
    "details",
    { class: "more reviewed", open: !page.embedded },
    el("summary", {}, `${page.written.length} reviewed object${page.written.length === 1 ? "" : "s"} written`),
    el(
      "ul",
      { class: "objects" },
      page.written.map((each) =>
        el("li", {}, `${each.role ?? each.sop_class} `, el("span", { class: "mono" }, each.sop_instance_uid), each.stored === false ? " (on its way to the archive)" : null),
      ),
    ),
  );
}

/** As the viewer says they are; not while a slider is held, and without losing the focus. */
function renderOverlays() {
  const place = document.getElementById("overlays");
  if (!place || place.querySelector("input[type=range]:active")) return;
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const [series, type] = [focused?.closest("li")?.dataset.series, focused?.type];
  fill(place, overlayList(viewer, renderHidden));
  if (!focused) return;
  const line = [...place.querySelectorAll("li")].find((each) => each.dataset.series === series);
  (line?.querySelector(`input[type=${type}]`) ?? place.querySelector(".hide-all"))?.focus();
}

function renderHidden() {
  const button = document.querySelector(".hide-all");
  if (!button) return;
  button.setAttribute("aria-pressed", String(viewer.hidden));
  button.textContent = viewer.hidden ? "Show all" : "Hide all";
}

function noticeOf() {
  const { notice } = page;
  if (!notice) return null;
  return el(
    "div",
    { class: `notice ${notice.kind} message`, role: notice.kind === "bad" ? "alert" : "status" },
    el("p", {}, notice.text),
    el(
      "div",
      { class: "actions" },
      notice.again ? el("button", { type: "button", on: { click: notice.again } }, "Try again") : null,
      el("button", { type: "button", "aria-label": "Close this message", on: { click: () => tell(null) } }, "Close"),
    ),
  );
}

/** Show a message at the head of the page, null to take it away. */
function tell(text, kind = "", again = null) {
  page.notice = text ? { text, kind, again } : null;
  const shown = root.querySelector(".notice.message");
  const made = noticeOf();
  if (shown && made) shown.replaceWith(made);
  else if (shown) shown.remove();
  else if (made) root.querySelector("header.head")?.after(made);
}

// -- who may, and where ---------------------------------------------------------------------------------------------

function may(action) {
  return page.me.may?.includes(action) ?? false;
}

function whyNot() {
  const roles = page.me.roles ?? [];
  const who = page.me.name ? `You are signed in as ${page.me.name}` : "You are not signed in by name";
  return `${who}${roles.length ? ` (${roles.join(", ")})` : ""}: reviewing needs the role reader or supervisor.`;
}

/** Address of the images in the viewer, null where there are none to open. */
function viewerAddress() {
  const address = page.item?.viewer;
  return address?.startsWith("/ohif/") ? address : null;
}

// -- moving ---------------------------------------------------------------------------------------------------------

const cards = () => [...root.querySelectorAll("article.finding")];
const card = (id) => cards().find((each) => each.dataset.id === id);

function found(id) {
  for (const result of page.findings.current) for (const finding of result.findings) if (finding.id === id) return finding;
  return null;
}

function select(id) {
  page.current = id;
  mark();
}

function mark() {
  const all = cards();
  for (const each of all) {
    const current = each.dataset.id === page.current;
    each.classList.toggle("current", current);
    each.tabIndex = current || (!page.current && each === all[0]) ? 0 : -1;
  }
}

function move(by) {
  step(by, () => true);
}

/** To the next finding that is meant, around the end. */
function step(by, meant) {
  const all = cards();
  if (!all.length) return;
  const at = all.findIndex((each) => each.dataset.id === page.current);
  for (let n = 1; n <= all.length; n += 1) {
    const to = all[(at < 0 ? (by > 0 ? n - 1 : all.length - n) : at + by * n + all.length * n) % all.length];
    if (meant(found(to.dataset.id))) {
      select(to.dataset.id);
      to.focus({ preventScroll: true });
      to.scrollIntoView({ block: "nearest" });
      return;
    }
  }
}

function jump(finding) {
  if (!finding?.region) return;
  select(finding.id);
  const result = page.findings.current.find((each) => each.job === finding.job);
  if (page.embedded) {
    viewer.jump(finding, reportSeries(result));
    announce(`The viewer goes to ${finding.label}`);
  } else {
    card(finding.id)?.querySelector("a.jump")?.click();
  }
}

function hideAll() {
  if (!page.embedded) return;
  viewer.hideAll(!viewer.hidden);
  renderHidden();
}

// -- deciding -------------------------------------------------------------------------------------------------------

async function decide(verb, finding, byKey = false) {
  if (!finding || page.busy || !may("review") || !VERBS[finding.state].includes(verb)) return;
  select(finding.id);
  await run(() => reviews.decide(verb, finding), [finding], byKey && ["accept", "reject", "amend"].includes(verb));
}

async function acceptAll(result, pending) {
  if (page.busy) return;
  await run(() => reviews.acceptAll(pending, pipelineText(result.pipeline)), pending, false);
}

/** Do it, show what came of it, and load what stands then. */
async function run(act, findings, onwards) {
  page.busy = true;
  document.body.classList.add("busy");
  try {
    const answer = await act();
    if (answer === null) return;
    page.notice = null;
    await load();
    render();
    announce(said(answer, findings));
    if (onwards) step(1, (finding) => finding.state === "pending");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await refused(error, findings);
  } finally {
    page.busy = false;
    document.body.classList.remove("busy");
  }
}

function said(answer, findings) {
  const states = answer.findings ?? [];
  return findings.length === 1 && states.length === 1
    ? `${findings[0].label}: ${states[0].state}`
    : `${states.length} findings decided`;
}

async function refused(error, findings) {
  if (error.status === 409 && error.body?.findings) {
    const changed = error.body.findings.filter((now) => findings.some((then) => then.job === now.job && then.key === now.finding && then.version !== now.version));
    await load();
    page.notice = { text: `Somebody was faster, and nothing of yours was kept. ${changed.map((now) => meanwhile(now, findings)).join(" ")}`, kind: "warn" };
    render();
    for (const now of changed) card(`${now.job}|${now.finding}`)?.classList.add("changed");
    announce(page.notice.text, true);
    return;
  }
  const again = error.again ? () => run(error.again, findings, false) : null;
  tell([error.reason, error.advice].filter(Boolean).join(". "), "bad", again);
}

function meanwhile(now, findings) {
  const finding = findings.find((each) => each.job === now.job && each.key === now.finding);
  const by = now.by ? ` by ${personText(now.by)}, ${timeText(now.at)}` : "";
  return `${finding ? lineOf(finding) : now.finding} is ${now.state}${by}.`;
}

async function complete() {
  const { pending } = counts(page.findings.current);
  const sure = await dialog(
    "Reading done",
    el(
      "p",
      {},
      pending
        ? `${pending} finding${pending === 1 ? " is" : "s are"} not decided. The study leaves the worklist all the same; findings stay as they are.`
        : "The study leaves the worklist.",
    ),
    { action: "Reading done", submit: () => api("POST", `/ai/worklist/${study}/complete`, {}) },
  );
  if (!sure) return;
  if (!page.embedded) {
    window.location.assign("/ai/");
    return;
  }
  await load();
  render();
  tell("The study is read and off the worklist.");
}
