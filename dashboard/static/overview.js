// The overview: reads /api/v1/overview, draws it, and keeps it true from the live stream. Read live.js for how it is fed.
import { acknowledge, Live, read } from "./live.js";
import { Chart, RANGES, seriesAddress } from "./chart.js";
import { Documents } from "./documents.js";
import { Inbox } from "./inbox.js";
import { Status } from "./status.js";
import { head } from "./subject-head.js";
import { order, Subjects } from "./subjects.js";
import { count, decimal, nameOf, put, say, share, span } from "./words.js";

const part = (id) => document.getElementById(id);
const address = new URLSearchParams(location.search);
const rows = new Map();
const status = new Status();
const chart = new Chart();
const papers = new Documents();
const inbox = new Inbox(acknowledge);
const subjects = new Subjects(choose);

let at = 0;
let market = null;
let chosen = address.get("subject");
let range = RANGES[address.get("range")] ? address.get("range") : "3h";
let picked = chosen !== null; // by a person: then nothing else is put in its place

async function snapshot() {
  const all = await read("/api/v1/overview");
  at = all.at;
  market = all.market;
  rows.clear();
  for (const row of all.movers) rows.set(row.subject, row);
  status.health(all.health);
  pulse();
  subjects.show(rows);
  inbox.fill(all.inbox);
  if (!picked || !chosen) chosen = subjects.first() ?? null;
  // Without Redis there are no columns; the figures that were read last still stand, and the bar says that they are old.
  if (chosen) await showChosen().catch((error) => all.health.state === "redis_away" || Promise.reject(error));
  return all.cursor;
}

async function showChosen() {
  const subject = chosen;
  subjects.select(subject);
  const series = await read(seriesAddress(subject, range, at));
  if (subject !== chosen) return;
  if (series.row && !rows.has(subject)) rows.set(subject, series.row);
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

function remember() {
  const there = new URLSearchParams(location.search);
  there.delete("lang");
  if (picked && chosen) there.set("subject", chosen);
  if (range !== "3h") there.set("range", range);
  else there.delete("range");
  history.replaceState(null, "", there.size ? `?${there}` : "/");
}

let redraw = 0;
function hear(event, data) {
  if (event === "tick") return status.health(data) && live.restart();
  if (event === "alert") return inbox.take(data, rows);
  if (event === "series") {
    if (data.subject === chosen && chart.take(data)) showChosen().catch(() => {});
    return;
  }
  at = data.at;
  for (const row of data.rows) {
    if (row.subject === "market") market = { ...market, ...row };
    else rows.set(row.subject, row);
    if (row.subject === chosen) {
      head(row);
      soon();
    }
  }
  for (const subject of data.gone) rows.delete(subject);
  redraw ||= requestAnimationFrame(() => {
    redraw = 0;
    pulse();
    subjects.show(rows);
    follow();
  });
}

/** Nobody has chosen: show whatever fires, as soon as it does. */
function follow() {
  if (picked) return;
  const first = subjects.first();
  const calm = !["firing", "pending"].includes(rows.get(chosen)?.state);
  if (first && first !== chosen && (!chosen || (calm && rows.get(first).state === "firing"))) {
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

function pulse() {
  const seen = [...rows.values()];
  inbox.known(seen.length > 0);
  if (!market || seen.length === 0) return blank();
  const firing = seen.filter((row) => row.state === "firing").length;
  const learning = seen.filter((row) => row.state === "learning").length;
  const known = market.lo !== null && market.lo !== undefined;
  const own = known ? market : { neg: 0, mentions: 0, reach: 0, exp: market.exp };
  if (!known) {
    for (const row of seen.filter((one) => one.kind !== "topic" && one.kind !== "market" && !one.subject.includes("|"))) {
      own.neg += row.neg;
      own.mentions += row.mentions;
      own.reach += row.reach;
    }
    own.share = own.mentions ? own.neg / own.mentions : 0;
  }
  put(part("pulse-negatives"), count(own.neg));
  put(part("pulse-expected"), known ? say("pulse.expected", { range: span(own.lo, own.hi) }) : say("pulse.expected_about", { mean: decimal(own.exp) }));
  part("pulse-negatives").parentElement.classList.toggle("raised", known && own.neg > own.hi);
  put(part("pulse-share"), share(own.share));
  put(part("pulse-mentions"), count(own.mentions));
  put(part("pulse-reach"), say("pulse.reach", { reach: count(own.reach) }));
  put(part("pulse-subjects"), count(Math.max(market.subjects ?? 0, rows.size)));
  put(part("pulse-learning"), learning ? say("pulse.learning", { count: count(learning) }) : say("pulse.with_history"));
  put(part("pulse-firing"), count(firing));
  put(part("pulse-quiet"), firing ? nameOf(seen.filter((row) => row.state === "firing").sort(order)[0]) : say("pulse.firing_none"));
  part("pulse-firing-box").classList.toggle("raised", firing > 0);
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

// Hours and days are not in live frames: read them again each minute. Late corrections come with it.
setInterval(() => !document.hidden && chosen && showChosen().catch(() => {}), 60_000);
