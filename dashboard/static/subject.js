// One subject's page: its chart with what lies beneath, its tables and its documents, for the stretch of time that the address says;
// kept true from the live stream while it follows now. Read span.js for stretches, chart.js for drawing.
import { Live } from "./live.js";
import { Breakdown } from "./breakdown.js";
import { Below } from "./chart-below.js";
import { Chart } from "./chart.js";
import { episodes, Lane } from "./chart-lane.js";
import { Documents } from "./documents.js";
import { read } from "./requests.js";
import { columnsAddress, following, fromAddress, panned, toAddress, zoomed } from "./span.js";
import { newest, sum } from "./columns.js";
import { Status } from "./status.js";
import { head } from "./subject-head.js";
import { count, dayOf, decimal, put, say, timeOf } from "./words.js";

const part = (id) => document.getElementById(id);
const { subject, kind, priced } = part("subject").dataset;
const there = new URLSearchParams(location.search);
const AGAIN_MS = { 60: 5000, 300: 15_000, 3600: 60_000 }; // columns at most so often while counts come, by their step
const TABLES_MS = 15_000; // tables more seldom
const SETTLED_MS = 160; // a hand that rests so long has chosen

const status = new Status();
const chart = new Chart({ onView: choose, onPoint: (place) => below.say(place), onDraw: drawn, onBack: back, columns: ["neg", "band", "neu", "pos", "uns", "share", "reach"] });
chart.onKey = () => put(part("chart-told"), part("chart-says").textContent); // what a key points at is spoken
const below = new Below(chart);
const lane = new Lane(chart);
const tables = new Breakdown(kind);
const papers = new Documents();

let at = 0;
let view = null;
let home = null; // where a double click goes back to: the view that the page was opened with, or the range chosen last
let asked = 0;
let tabled = 0;

async function snapshot() {
  // The newest minute of the data decides the span; the first answer says where that is.
  const health = await read("/api/v1/health");
  at = chart.now = health.at;
  status.health(health);
  home ??= view ??= fromAddress(there, at);
  return show().catch((error) => (health.state === "redis_away" ? health.cursor : Promise.reject(error)));
}

/** Read what is in view, and show it; an answer that was overtaken is dropped. */
async function show() {
  const turn = (asked += 1);
  if (view.range) view = following(view.range, at);
  const wanted = view;
  const [series, prices] = await Promise.all([read(columnsAddress(subject, "series", wanted)), priced ? read(columnsAddress(subject, "prices", wanted)).catch(() => null) : null]);
  if (turn !== asked) return series.cursor;
  const row = series.row ?? { subject };
  head(row);
  chart.show(series, wanted);
  below.show(series, prices);
  part("subject").dataset.step = series.step;
  normal(series, row);
  episodes(part("episodes"), part("episodes-empty"), series.marks);
  papers.show(row);
  controls();
  if (!wanted.range || Date.now() - tabled > TABLES_MS) await tabulate(wanted).catch(() => {});
  return series.cursor;
}

async function tabulate(wanted) {
  tabled = Date.now();
  const found = await read(columnsAddress(subject, "breakdown", wanted));
  if (wanted.from !== view.from || wanted.to !== view.to) return;
  tables.show(found);
  drawn();
}

/** What would be normal, in words; or why nobody can say so yet. */
function normal(series, row) {
  const place = part("chart-normal");
  if (row.state === "warming") return put(place, say("subject.warming"));
  if (series.learned) return put(place, say("subject.learning", { negatives: count(series.learned.negatives), hours: count(Math.floor(series.learned.s / 3600)) }));
  const known = series.neg.map((value, index) => (value !== null && series.mean[index] !== null && series.hi[index] !== null ? index : -1)).filter((index) => index >= 0);
  if (known.length === 0) return put(place, say(newest(series.neg) < 0 ? "subject.nothing" : "subject.unknown"));
  const expected = sum(known.map((index) => series.mean[index]));
  const values = { negatives: count(sum(known.map((index) => series.neg[index]))), expected: expected < 10 ? decimal(expected) : count(expected), above: count(known.filter((index) => series.neg[index] > series.hi[index]).length), points: count(known.length) };
  put(place, say(`subject.normal_${series.step / 60}`, values));
}

const live = new Live({ topics: () => ["alerts", `subject:${subject}`], snapshot, hear, state: (word) => status.connection(word) });

let waiting = 0;
function hear(event, data) {
  if (event === "tick") {
    at = chart.now = data.at;
    if (status.health(data)) live.restart();
    return;
  }
  if (data.subject !== subject || view === null || !["series", "alert"].includes(event)) return;
  // A stretch that ended long ago changes no more.
  if (!view.range && view.to < at - 900_000 && event === "series") return;
  if (event === "series") {
    chart.take(data);
    below.draw();
  }
  waiting ||= setTimeout(() => {
    waiting = 0;
    if (!document.hidden) show().catch(() => {});
  }, AGAIN_MS[view.step]);
}

// A minute without a text moves no frame, but time goes on.
setInterval(() => view?.range && !document.hidden && show().catch(() => {}), 60_000);

let settling = 0;
function choose(wanted, settled = SETTLED_MS) {
  view = wanted;
  chart.move(view);
  below.draw();
  controls();
  clearTimeout(settling);
  settling = setTimeout(() => {
    history.replaceState(null, "", toAddress(view));
    show().catch(() => status.connection("reconnecting"));
  }, settled);
}

function back() {
  choose(home.range ? following(home.range, at) : home, 0);
}

function drawn() {
  lane.draw();
  // What is counted for another stretch is pale until its own figures come.
  part("topics").toggleAttribute("data-waiting", !view.range && tables.tables !== undefined && tables.tables.to !== view.to);
}

/** Buttons say where we are: which range, whether it follows now, whether there is a way back. */
function controls() {
  for (const button of document.querySelectorAll("[data-range]")) button.setAttribute("aria-pressed", button.dataset.range === view.range);
  part("live").setAttribute("aria-pressed", Boolean(view.range));
  part("back").hidden = view.range === home.range && (view.range !== null || (view.from === home.from && view.to === home.to));
  const end = view.range ? Math.min(at || view.to, view.to) : view.to;
  // With its day on both sides, where these are two.
  const told = (moment) => (dayOf(view.from) === dayOf(end) ? timeOf(moment) : timeOf(moment, moment - 1e9));
  put(part("chart-span"), say("inbox.from_to", { start: told(view.from), end: told(end) }));
}

for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => {
    tabled = 0;
    home = following(button.dataset.range, at);
    choose(home, 0);
  });
}
const STEPS = { in: () => zoomed(view, 0.5, middle(), at), out: () => zoomed(view, 2, middle(), at), earlier: () => panned(view, -0.5, at), later: () => panned(view, 0.5, at) };
const middle = () => (view.from + view.to) / 2;
for (const button of document.querySelectorAll("[data-step]")) button.addEventListener("click", () => view && choose(STEPS[button.dataset.step]()));
part("back").addEventListener("click", back);
part("live").addEventListener("click", () => {
  tabled = 0;
  home = following(home?.range ?? "3h", at);
  choose(home, 0);
});
