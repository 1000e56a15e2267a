// The overview: reads /api/v1/overview, draws it, and keeps it true from the live stream. Read live.js for how it is fed.
// What is looked at is in the address: subject, range, filter, order, how many rows, which alerts.
import { Live } from "./live.js";
import { Chart, RANGES, seriesAddress } from "./chart.js";
import { Documents } from "./documents.js";
import { Filters } from "./filters.js";
import "./first.js";
import { Inbox } from "./inbox.js";
import { read } from "./requests.js";
import { Status } from "./status.js";
import { head } from "./subject-head.js";
import { Subjects } from "./subjects.js";
import { count, decimal, nameOf, put, say, share, span } from "./words.js";

const FEW = innerWidth >= 1920 ? 30 : 20;
const STEP = 40;
const READ = 60; // rows that come without asking for more
const MOST = 1024;
const AGAIN_MS = 4000;

const part = (id) => document.getElementById(id);
const address = new URLSearchParams(location.search);
const rows = new Map();
const status = new Status();
const chart = new Chart();
const papers = new Documents();
const filters = new Filters(address, () => ask({ at_once: true }));
const subjects = new Subjects({ choose, order: () => ask({ at_once: true }), more, sort: address.get("sort") ?? "evidence", limit: Math.min(MOST, Math.max(FEW, parseInt(address.get("rows"), 10) || 0)) });
const inbox = new Inbox({ turn: remember, tab: address.get("inbox") });

let at = 0;
let total = 0;
let market = null;
let chosen = address.get("subject");
let range = RANGES[address.get("range")] ? address.get("range") : "3h";
let picked = chosen !== null; // by a person: then nothing else is put in its place
let turns = 0;
let at_once = false; // the next rows come because somebody asked for others

async function snapshot() {
  const turn = (turns += 1);
  const all = await read(rowsAddress());
  if (turn !== turns) return all.cursor; // another filter was chosen meanwhile: its rows are on the way
  at = all.at;
  total = all.total;
  market = all.market;
  rows.clear();
  for (const row of all.movers) rows.set(row.subject, row);
  hale(all.health);
  pulse();
  subjects.show(rows, total, { at_once });
  at_once = false;
  filters.tell(total);
  inbox.fill(all.inbox, all.silenced);
  if (!picked || !chosen) chosen = subjects.first() ?? chosen ?? null;
  // Without Redis there are no columns; the figures that were read last still stand, and the bar says that they are old.
  if (chosen) await showChosen().catch((error) => all.health.state === "redis_away" || Promise.reject(error));
  return all.cursor;
}

function rowsAddress() {
  const asked = new URLSearchParams();
  filters.write(asked);
  if (subjects.sort !== "evidence") asked.set("sort", subjects.sort);
  // Letters are ordered here, as the reader's language has it: for that all names are needed.
  const limit = subjects.sort.endsWith("name") ? MOST : Math.max(READ, subjects.limit);
  if (limit !== READ) asked.set("limit", limit);
  return `/api/v1/overview${asked.size ? `?${asked}` : ""}`;
}

async function showChosen() {
  const subject = chosen;
  subjects.select(subject);
  const series = await read(seriesAddress(subject, range, at));
  if (subject !== chosen) return;
  const row = rows.get(subject) ?? series.row ?? { subject };
  head(row);
  chart.show(series);
  papers.show(row);
}

const topics = () => ["overview", "alerts", ...(chosen ? [`subject:${chosen}`] : [])];
const live = new Live({ topics, snapshot, hear, state: (word) => status.connection(word) });

function choose(subject) {
  chosen = subject;
  picked = true;
  remember();
  live.restart();
}

function more() {
  subjects.limit += STEP;
  ask({ at_once: true });
}

/** Read the rows again: others are wanted, or others may be among them now. */
function ask(how) {
  at_once ||= how.at_once;
  if (how.at_once) remember();
  const before = chosen;
  snapshot().then(
    () => chosen === before || live.restart(),
    () => live.restart(),
  );
}

function remember() {
  const there = new URLSearchParams(location.search);
  there.delete("lang");
  filters.write(there);
  const set = (name, value, usual) => (value && value !== usual ? there.set(name, value) : there.delete(name));
  set("subject", picked && chosen, "");
  set("range", range, "3h");
  set("sort", subjects.sort, "evidence");
  set("rows", subjects.limit, FEW);
  set("inbox", inbox.tab, "firing");
  history.replaceState(null, "", there.size ? `?${there}` : "/");
}

/** True when Redis has come back. An empty installation shows how to begin until the first count comes. */
function hale(health) {
  const empty = health.state === "empty" && part("first") !== null;
  if (part("first")) part("first").hidden = !empty;
  part("figures").hidden = empty;
  return status.health(health);
}

let redraw = 0;
let again = 0;
function hear(event, data) {
  if (event === "tick") return hale(data) && live.restart();
  if (event === "alert") return inbox.take(data);
  if (event === "series") {
    if (data.subject === chosen && chart.take(data)) showChosen().catch(() => {});
    return;
  }
  at = data.at;
  market = data.market ?? market;
  for (const row of data.rows) {
    take(row);
    if (row.subject === chosen) {
      head(row);
      soon();
    }
  }
  for (const subject of data.gone) rows.delete(subject);
  redraw ||= requestAnimationFrame(() => {
    redraw = 0;
    pulse();
    table();
    follow();
  });
}

function table() {
  subjects.show(rows, filters.active ? total : Math.max(total, market?.subjects ?? 0));
}

/** Whether a row that was not there belongs among those asked for, only the server knows: it is asked, but seldom. */
function take(row) {
  if (row.subject === "market") return;
  const known = rows.get(row.subject);
  if (!filters.active || (known && known.state === row.state)) return rows.set(row.subject, { ...row, like: known?.like });
  again ||= setTimeout(() => {
    again = 0;
    if (!document.hidden) ask({ at_once: false });
  }, AGAIN_MS);
}

/** Nobody has chosen: show whatever fires, as soon as it does. */
function follow() {
  if (picked) return;
  const first = subjects.first();
  const calm = !["firing", "pending"].includes(rows.get(chosen)?.state);
  if (first && first !== chosen && (!chosen || (calm && rows.get(first)?.state === "firing"))) {
    chosen = first;
    live.restart();
  }
}

// Documents come with counts: ask at most every three seconds.
let waiting = 0;
function soon() {
  waiting ||= setTimeout(() => {
    waiting = 0;
    if (!document.hidden && rows.has(chosen)) papers.show(rows.get(chosen));
  }, 3000);
}

const title = document.title;
function pulse() {
  document.title = market?.firing ? `(${count(market.firing)}) ${title}` : title; // seen from another tab
  inbox.known(rows.size > 0 || (market?.subjects ?? 0) > 0);
  if (!market?.subjects) return blank();
  const known = market.lo !== null;
  put(part("pulse-negatives"), count(market.neg));
  put(part("pulse-expected"), known ? say("pulse.expected", { range: span(market.lo, market.hi) }) : say("pulse.expected_about", { mean: decimal(market.exp) }));
  part("pulse-negatives").parentElement.classList.toggle("raised", known && market.neg > market.hi);
  put(part("pulse-share"), share(market.share));
  put(part("pulse-mentions"), count(market.mentions));
  put(part("pulse-reach"), say("pulse.reach", { reach: count(market.reach) }));
  put(part("pulse-subjects"), count(market.subjects));
  put(part("pulse-learning"), market.learning ? say("pulse.learning", { count: count(market.learning) }) : say("pulse.with_history"));
  put(part("pulse-firing"), count(market.firing));
  put(part("pulse-quiet"), market.firing ? nameOf({ names: market.first, subject: "" }) : say("pulse.firing_none"));
  part("pulse-firing-box").classList.toggle("raised", market.firing > 0);
}

/** Nothing is counted: that is not the same as nothing is wrong. */
function blank() {
  for (const figure of document.querySelectorAll(".pulse b")) put(figure, "–");
  for (const caption of document.querySelectorAll(".pulse dd span")) if (caption.id) put(caption, "");
  for (const raised of document.querySelectorAll(".pulse .raised")) raised.classList.remove("raised");
}

for (const button of document.querySelectorAll("[data-range]")) {
  button.setAttribute("aria-pressed", button.dataset.range === range);
  button.addEventListener("click", () => {
    range = button.dataset.range;
    for (const one of button.parentElement.children) one.setAttribute("aria-pressed", one === button);
    remember();
    showChosen().catch(() => status.connection("reconnecting"));
  });
}

// What was held while somebody read is put in order when nobody does.
setInterval(() => document.hidden || table(), 5000);

// Hours and days are not in live frames: read them again each minute. Late corrections come with it.
setInterval(() => !document.hidden && chosen && showChosen().catch(() => {}), 60_000);
