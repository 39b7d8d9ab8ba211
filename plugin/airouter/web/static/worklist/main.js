/** The worklist: shows it, keeps it current, and does what its reader asks for. */

import { announce, api, el, fill, timeText } from "/ai/static/common.js";
import { actions } from "./actions.js";
import { explain } from "./explain.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Health } from "./health.js";
import { keep } from "./heartbeat.js";
import { help, listen } from "./keys.js";
import { Listing } from "./listing.js";
import { named } from "./row.js";

const POLL_MS = 5_000;
const HEALTH_EVERY = 3; // polls
const KEPT = "airouter worklist"; // where one was, for whoever comes back from the viewer

const me = { name: null, roles: [], may: [], claims: false };
const bar = document.getElementById("bar");
const scroller = document.getElementById("list");
const health = new Health(document.getElementById("notices"), document.getElementById("router"), me);
const listing = new Listing(() => grid?.draw());
const room = { me, act, chosen, failed: unreachable };
const grid = new Grid(scroller, listing, room);
const filters = new Filters(() => show());
const doing = actions({
  me,
  readers: () => listing.facts?.readers ?? [],
  done: (study) => settled(study),
  stale: (study) => settled(study),
});
let polls = 0;
let stats = null; // how many STAT studies there were

async function settled(study) {
  if (study) listing.replace(study);
  await poll();
}

function act(name, study) {
  if (!study) return undefined;
  if (name === "explain") return explain(study).catch(doing.failed);
  return doing[name](study);
}

/** The list as the filters want it, from its top. */
async function show(scrollTop = 0) {
  listing.ask(filters.query());
  grid.say("");
  try {
    await listing.need(0, 1);
  } catch (error) {
    unreachable(error);
    return;
  }
  scroller.scrollTop = scrollTop;
  grid.draw();
  counted();
}

function counted() {
  document.body.classList.remove("stale");
  filters.counted(listing.facts, listing.total);
  grid.say(listing.total ? "" : "No study is here with these filters.");
  const urgent = listing.facts.urgent.STAT;
  if (stats !== null && urgent > stats) announce(`${urgent} STAT ${urgent === 1 ? "study waits" : "studies wait"}`, true);
  stats = urgent;
  if (grid.selected && !grid.study()) chosen(null);
  else chosen(grid.study());
}

/** Look for news of what is shown. */
async function poll() {
  if (listing.total === null) return show();
  try {
    await grid.keeping(async () => {
      const [first, end] = grid.range();
      await listing.refresh(first, Math.max(end, first + 1));
    });
    counted();
  } catch (error) {
    unreachable(error);
  }
  return undefined;
}

function unreachable(error) {
  if (error.status === 403) {
    grid.say(`${error.reason}. ${error.advice}`);
    return;
  }
  document.body.classList.add("stale");
  if (listing.total === null) grid.say([error.reason, error.advice].filter(Boolean).join(" "));
  else announce(`The list is of ${timeText(listing.at)}: ${error.reason}`);
}

async function loop() {
  if (document.visibilityState === "visible") {
    if (polls % HEALTH_EVERY === 0) await health.look();
    polls += 1;
    await poll();
    grid.tick();
  }
  setTimeout(loop, POLL_MS);
}

// -- the selected study -----------------------------------------------------------------------------------------------

let told = "";

function chosen(study) {
  const now = JSON.stringify([study, me]);
  if (now === told) return;
  told = now;
  if (!study) {
    fill(bar, el("p", { class: "who muted" }, "Select a study with a click, or with j and k."));
    return;
  }
  const free = releases(study);
  const button = (text, key, name, props = {}) =>
    el("button", { type: "button", "aria-keyshortcuts": key, on: { click: () => act(name, study) }, ...props }, text, " ", el("kbd", {}, key));
  fill(
    bar,
    el("p", { class: "who", title: study.study }, el("strong", {}, named(study)), ` · ${study.verdict.reason}`),
    button("Why here?", "x", "explain"),
    me.claims && [
      study.status === "read"
        ? button("Back on the list", "m", "reopen", { disabled: !study.completed_by })
        : [
            button(free ? "Release" : "Claim", "c", free ? "release" : "claim", { disabled: Boolean(study.claimed_by) && !free }),
            button("Assign…", "a", "assign"),
            button("Priority…", "e", "priority"),
            button("Mark as read", "m", "complete"),
          ],
    ],
    el("a", { class: "button", href: `/ai/panel?study=${study.study}`, "aria-keyshortcuts": "p" }, "Findings ", el("kbd", {}, "p")),
    el("a", { class: "button open", href: study.viewer, "aria-keyshortcuts": "Enter" }, "Open ", el("kbd", {}, "↵")),
  );
}

/** Whether the study is one's own to give back; a supervisor may take it from others. */
function releases(study) {
  return study.claimed_by !== null && (study.claimed_by === me.name || me.may.includes("assign"));
}

function on(name) {
  return () => act(name, grid.study());
}

function openSelected(address) {
  const study = grid.study();
  if (study) location.assign(address(study));
}

listen({
  j: () => grid.move(1),
  k: () => grid.move(-1),
  g: () => listing.total && grid.go(0),
  G: () => listing.total && grid.go(listing.total - 1),
  Enter: () => openSelected((study) => study.viewer),
  p: () => openSelected((study) => `/ai/panel?study=${study.study}`),
  c: () => {
    const study = grid.study();
    if (study && me.claims && study.status !== "read") act(releases(study) ? "release" : "claim", study);
  },
  x: on("explain"),
  m: () => {
    const study = grid.study();
    if (study && me.claims) act(study.status === "read" ? "reopen" : "complete", study);
  },
  e: () => me.claims && grid.study()?.status !== "read" && on("priority")(),
  a: () => me.claims && grid.study()?.status !== "read" && on("assign")(),
  u: () => doing.takeBack(),
  "/": () => filters.focusSearch(),
  1: () => filters.choose({ queue: "full", status: "" }),
  2: () => filters.choose({ queue: "release", status: "" }),
  3: () => filters.choose({ queue: "read", status: "" }),
  "?": help,
});

// -- coming and going -------------------------------------------------------------------------------------------------

function remember() {
  const kept = { query: location.search, selected: grid.selected, scrollTop: scroller.scrollTop };
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
}

function remembered() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    return kept?.query === location.search ? kept : null;
  } catch {
    return null;
  }
}

async function start() {
  document.getElementById("help").addEventListener("click", help);
  chosen(null);
  try {
    Object.assign(me, await api("GET", "/ai/me"));
    me.claims = me.may.includes("claim") && me.name !== null;
  } catch (error) {
    unreachable(error);
  }
  document.getElementById("who").textContent = [me.name, me.roles.join(", ")].filter(Boolean).join(" · ");
  const before = remembered();
  if (before) grid.selected = before.selected;
  await show(before?.scrollTop ?? 0);
  addEventListener("pagehide", remember);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && poll());
  keep(mine, (error) => doing.failed(error));
  loop();
}

/** Studies among what is known that the user has claimed. */
function mine() {
  const found = [];
  for (const page of listing.pages.values()) {
    for (const study of page.studies) if (me.name !== null && study.claimed_by === me.name) found.push(study.study);
  }
  return found;
}

start();
