// The search of documents: what the address says is asked, piece by piece, and shown as it is found; the page says how far back it has
// looked. Everything in a document is foreign text. Copies of one story are folded under the first.
import { count, foreign, language, make, nameOf, put, say, share, timeOf, word } from "./words.js";
import { tell } from "./forms.js";
import { read } from "./requests.js";
import { momentOf, wallTime } from "./wall-time.js";

const NAMES = ["q", "subject", "polarity", "topic", "source", "language", "feed"];
const TIMES = ["from", "to"];
const FULL = 50;
const ROUND_MS = 20000; // a person is asked before a search goes on for longer
const HOUR_MS = 3_600_000;

const part = (id) => document.getElementById(id);
const form = part("search-form");
const topics = JSON.parse(part("topic-names").textContent);
const topicName = (topic) => topics[topic]?.[language === "zh" ? 1 : 0] ?? topic;

let asked = fromAddress();
let stories = new Map(); // story -> what holds its copies
let seen = new Set();
const names = {}; // of subjects, by id
let subject = ""; // the id of the one that is asked about, by whatever name
let next = "";
let looked = 0;
let shown = 0;
let running = null;

function fromAddress() {
  const there = new URLSearchParams(location.search);
  const found = new URLSearchParams();
  for (const name of [...NAMES, ...TIMES, "late"]) if (there.get(name)) found.set(name, there.get(name));
  return found;
}

function fromForm() {
  const found = new URLSearchParams();
  for (const name of NAMES) if (form.elements[name].value.trim()) found.set(name, form.elements[name].value.trim());
  for (const name of TIMES) {
    const at = momentOf(part(`search-${name}`).value);
    if (at !== null) found.set(name, String(at));
  }
  return found;
}

const epoch = (text) => (/^\d+$/.test(text) ? Number(text) : Date.parse(text));

function fill() {
  for (const name of NAMES) form.elements[name].value = asked.get(name) ?? "";
  for (const name of TIMES) {
    const at = asked.has(name) ? epoch(asked.get(name)) : NaN;
    part(`search-${name}`).value = Number.isNaN(at) ? "" : wallTime(at);
  }
  const set = [...asked.keys()].filter((name) => name !== "q" && name !== "late").length;
  put(part("filters-set"), set ? say("search.filters_set", { count: set }) : "");
  part("search-clear").hidden = asked.size === 0;
  const mobile = matchMedia("(max-width: 760px)").matches;
  part("filters").open = !mobile;
  for (const kind of ["csv", "jsonl"]) part(`export-${kind}`).setAttribute("href", `/api/v1/documents.${kind}${asked.size ? `?${asked}` : ""}`);
}

/** Another search, which the address keeps. */
function ask(wanted) {
  asked = wanted;
  history.pushState(null, "", asked.size ? `?${asked}` : location.pathname);
  begin();
}

function begin() {
  fill();
  stories = new Map();
  seen = new Set();
  [next, looked, shown] = ["", 0, 0];
  part("found").replaceChildren();
  part("late").hidden = true;
  return goOn();
}

async function goOn() {
  running?.abort();
  const turn = (running = new AbortController());
  const until = performance.now() + ROUND_MS;
  let more = 0;
  let back = null;
  working(true);
  try {
    do {
      const answer = await piece(turn.signal);
      if (turn !== running) return;
      Object.assign(names, answer.names);
      subject = answer.subject;
      more += show(answer.items);
      looked += answer.searched;
      back = answer.searched_back_to ?? back;
      next = answer.next;
      part("late").hidden = !answer.more_came_later;
      progress(back);
    } while (next && more < FULL && performance.now() < until);
    ended(back, more);
  } catch (error) {
    if (turn !== running) return;
    if (error.name === "AbortError") ended(back, more, true);
    else failed(error);
  }
  if (turn === running) working(false);
}

function piece(signal) {
  const there = new URLSearchParams(asked);
  if (next) there.set("cursor", next);
  return read(`/api/v1/documents?${there}`, { signal });
}

function working(is) {
  part("found-section").setAttribute("aria-busy", is);
  part("progress").hidden = !is;
  if (!is) return;
  put(part("progress-says"), say("search.progress", { count: count(looked) }));
  tell(part("search-says"), "");
  part("search-empty").hidden = true;
  part("go-on").hidden = true;
}

function progress(back) {
  const says = back ? say("search.progress_back", { count: count(looked), time: timeOf(back) }) : say("search.progress", { count: count(looked) });
  put(part("progress-says"), says);
}

function ended(back, more, stopped = false) {
  const says = [shown === 0 ? (next ? say("search.says_none") : "") : shown === 1 ? say("search.says_one") : say("search.says", { found: count(shown) })];
  if (stopped) says.unshift(say("search.stopped"));
  const about = names[subject];
  if (about) says.unshift(say("search.of_subject", { name: nameOf({ names: about }) }));
  if (!next && looked) says.push(say("search.searched_all", { count: count(looked) }));
  else if (next && back && more < FULL) says.push(say("search.searched", { count: count(looked), time: timeOf(back) }));
  tell(part("search-says"), says.filter(Boolean).join(language === "zh" ? "" : " "));
  const empty = part("search-empty");
  empty.hidden = shown > 0 || next !== "" || stopped;
  put(empty, say(looked || asked.size ? "search.empty" : "search.empty_all"));
  const button = part("go-on");
  button.hidden = !next && !stopped;
  put(button, more >= FULL ? say("search.older") : back ? say("search.go_on_from", { time: timeOf(back) }) : say("search.go_on"));
}

function failed(error) {
  tell(part("search-says"), say("search.failed", { why: error.message }), "wrong");
  put(part("go-on"), say("search.go_on"));
  part("go-on").hidden = false;
}

/** How many are new on the page. */
function show(items) {
  let fresh = 0;
  for (const item of items) {
    const place = item.src.join();
    if (seen.has(place)) continue; // written twice by tag after a crash
    seen.add(place);
    fresh += 1;
    shown += 1;
    const first = stories.get(item.story);
    if (first) copy(first, item);
    else {
      const line = made(item);
      stories.set(item.story, line);
      part("found").append(line);
    }
  }
  return fresh;
}

const langOf = (item) => ({ zh: "zh-CN", en: "en" })[item.language] ?? null;
const link = (item, ...children) => make("a", { href: item.url, rel: "noopener noreferrer nofollow", target: "_blank", lang: langOf(item) }, ...children);

function made(item) {
  const title = item.title ? marked(item.title, item.title_span) : null;
  const excerpt = marked(item.excerpt, item.excerpt_span);
  const lines = [meta(item)];
  if (title) lines.push(make("h3", { lang: langOf(item) }, item.url ? link(item, title) : title));
  lines.push(make("p", { class: "quote", lang: langOf(item) }, excerpt));
  lines.push(chips(item));
  return make("li", {}, ...lines);
}

function meta(item) {
  const source = make("button", { type: "button", class: "link", title: say("search.only_source", { source: item.source }) }, foreign(item.source));
  source.addEventListener("click", () => ask(narrowed("source", item.source)));
  return make(
    "p",
    { class: "meta" },
    make("time", { datetime: new Date(item.published_at).toISOString(), title: new Date(item.published_at).toISOString() }, timeOf(item.published_at)),
    source,
    make("span", {}, word("feed", item.feed)),
    make("span", { class: "polarity", "data-polarity": item.label }, `${word("polarity", item.label)} ${share(item.probability)}`),
    item.unsure ? make("span", {}, say("documents.unsure")) : null,
    item.echo ? make("span", {}, say("documents.copy")) : null,
    item.url && !item.title ? link(item, say("search.open", { host: hostOf(item.url) })) : null,
  );
}

function chips(item) {
  const subjects = item.subjects.map((one) =>
    make(
      "a",
      { class: "chip", href: `/subjects/${encodeURIComponent(one.subject)}` },
      make("span", { class: "polarity", "data-polarity": one.label }, make("span", { class: "unseen" }, word("polarity", one.label))),
      foreign(names[one.subject] ? nameOf({ names: names[one.subject] }) : one.subject),
    ),
  );
  const topics = item.topics.map((topic) => {
    const chip = make("button", { type: "button", class: "link", title: say("search.only_topic", { topic: topicName(topic) }) }, foreign(topicName(topic)));
    chip.addEventListener("click", () => ask(narrowed("topic", topic)));
    return chip;
  });
  return make("p", { class: "chips" }, ...subjects, ...topics);
}

/** Folded under the story's first: when, where, and how it is said there. */
function copy(line, item) {
  let folded = line.querySelector(".copies");
  if (!folded) {
    folded = make("details", { class: "copies" }, make("summary", {}), make("ol", {}));
    line.append(folded);
  }
  const list = folded.querySelector("ol");
  list.append(make("li", {}, meta(item), make("p", { lang: langOf(item) }, item.url ? link(item, foreign(item.title || item.excerpt)) : foreign(item.title || item.excerpt))));
  const copies = list.children.length;
  put(folded.querySelector("summary"), copies === 1 ? say("search.copies_one") : say("search.copies", { count: count(copies) }));
}

/** The text with its span marked; a span counts code points, strings here do not. */
function marked(text, span) {
  if (!span) return foreign(text);
  const letters = Array.from(text);
  const piece = (from, to) => letters.slice(from, to).join("");
  return make("bdi", {}, piece(0, span[0]), make("mark", {}, piece(span[0], span[1])), piece(span[1]));
}

function hostOf(url) {
  try {
    return new URL(url).host;
  } catch {
    return "";
  }
}

function narrowed(name, value) {
  const wanted = new URLSearchParams(asked);
  wanted.set(name, value);
  return wanted;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(fromForm());
});
for (const select of form.querySelectorAll("select")) select.addEventListener("change", () => ask(fromForm()));
for (const button of form.querySelectorAll("[data-hours]")) {
  button.addEventListener("click", () => {
    const wanted = fromForm();
    wanted.set("from", String(Math.floor((Date.now() - Number(button.dataset.hours) * HOUR_MS) / 60000) * 60000));
    wanted.delete("to");
    ask(wanted);
  });
}
part("search-clear").addEventListener("click", () => {
  ask(new URLSearchParams());
  form.elements.q.focus();
});
part("stop").addEventListener("click", () => {
  running?.abort();
  part("found-title").focus();
});
part("go-on").addEventListener("click", () => goOn());
part("late-too").addEventListener("click", () => {
  ask(narrowed("late", "1"));
  part("found-title").focus();
});
addEventListener("popstate", () => {
  asked = fromAddress();
  begin();
});

// Subjects as they are typed: the browser's own list, so that keys and screen readers work as everywhere.
let typed = 0;
form.elements.subject.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(offer, 150);
});
async function offer() {
  try {
    const { items } = await read(`/api/v1/subjects?q=${encodeURIComponent(form.elements.subject.value.trim().slice(0, 100))}`);
    part("subjects").replaceChildren(...items.map((one) => make("option", { value: one.subject }, nameOf(one))));
  } catch {
    part("subjects").replaceChildren(); // an id or a whole name is understood without it
  }
}

begin();
