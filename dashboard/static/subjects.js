// The table of subjects: what needs eyes first is first, or by any column. Rows keep their places while somebody reads them.
import { count, foreign, language, make, nameOf, put, say, share, span, times, word } from "./words.js";
import { reading } from "./reading.js";
import { figures } from "./subject-head.js";

const SETTLE_MS = 5000; // the order changes at most this often
const REST = -9; // evidence under this is none: then the count decides
const HOT = new Set(["firing", "pending", "recovering"]);
const UNKNOWN = new Set(["learning", "warming"]);
const letters = new Intl.Collator(language === "zh" ? "zh-CN" : "en");

const ratio = (row) => (UNKNOWN.has(row.state) || !(row.exp > 0) ? null : row.neg / row.exp);
const first = (a, b) => Math.max(b.evidence, REST) - Math.max(a.evidence, REST) || b.neg - a.neg || (a.subject < b.subject ? -1 : 1);
const ORDERS = {
  evidence: first,
  name: (a, b) => letters.compare(nameOf(a), nameOf(b)),
  neg: (a, b) => b.neg - a.neg || first(a, b),
  ratio: (a, b) => (ratio(b) ?? -1) - (ratio(a) ?? -1) || first(a, b),
  share: (a, b) => b.share - a.share || first(a, b),
  reach: (a, b) => b.reach - a.reach || first(a, b),
};

export class Subjects {
  /** `choose(subject)` when a row is picked, `order(sort)` when a heading is, `more()` when further rows are asked for. */
  constructor({ choose, order, more, sort, limit }) {
    Object.assign(this, { choose, sort: ORDERS[sort.replace(/^-/, "")] ? sort : "evidence", limit });
    this.body = document.getElementById("subjects");
    this.further = document.getElementById("subjects-more");
    this.places = [];
    this.lines = new Map();
    this.placed = -SETTLE_MS;
    this.busy = reading(this.body);
    this.body.addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      if (line) choose(line.dataset.subject);
    });
    this.further.addEventListener("click", more);
    for (const button of document.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => {
        this.sort = this.sort === button.dataset.sort ? `-${this.sort}` : button.dataset.sort;
        this.#headings();
        order(this.sort);
      });
    }
    this.#headings();
  }

  /** The subject that is on top. */
  first() {
    return this.places[0];
  }

  select(subject) {
    this.selected = subject;
    for (const [name, line] of this.lines) line.row.toggleAttribute("data-selected", name === subject);
  }

  /** Rows by subject, and how many there are in all; `at_once` when the reader asked for another order or other rows. */
  show(rows, total, { at_once = false } = {}) {
    if (at_once || this.places.length === 0 || (!this.busy() && performance.now() - this.placed > SETTLE_MS)) this.#place(rows);
    for (const name of this.places) if (rows.has(name)) this.lines.get(name).show(rows.get(name), name === this.selected, rows.get(this.parents.get(name)));
    this.further.hidden = total <= this.places.length;
    put(this.further, say("subjects.more", { shown: count(this.places.length), total: count(total) }));
  }

  #place(rows) {
    this.placed = performance.now();
    const backwards = this.sort.startsWith("-");
    const compare = ORDERS[this.sort.replace(/^-/, "")];
    const sorted = [...rows.values()].filter((row) => row.subject !== "market").sort(backwards ? (a, b) => compare(b, a) : compare);
    this.parents = new Map();
    const wanted = (this.sort === "evidence" ? this.#families(sorted) : sorted).slice(0, this.limit).map((row) => row.subject);
    if (wanted.join("\n") === this.places.join("\n")) return;
    this.places = wanted;
    for (const name of this.lines.keys()) if (!wanted.includes(name)) this.lines.delete(name);
    for (const name of wanted) if (!this.lines.has(name)) this.lines.set(name, new Line());
    const focused = document.activeElement;
    this.body.replaceChildren(...wanted.map((name) => this.lines.get(name).row));
    if (this.body.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** While a whole market surges, what surges with it stands under it: most say no more than it does. */
  #families(sorted) {
    const heads = new Set(sorted.filter((row) => row.kind === "market" && ["firing", "recovering"].includes(row.state)).map((row) => row.subject));
    for (const row of sorted) if (heads.has(row.market) && (HOT.has(row.state) || row.neg > row.hi)) this.parents.set(row.subject, row.market);
    const under = (head) => sorted.filter((row) => this.parents.get(row.subject) === head);
    return sorted.filter((row) => !this.parents.has(row.subject)).flatMap((row) => (heads.has(row.subject) ? [row, ...under(row.subject)] : [row]));
  }

  #headings() {
    for (const button of document.querySelectorAll("[data-sort]")) {
      const by = this.sort.replace(/^-/, "") === button.dataset.sort;
      // Figures begin with the largest, names with the first letter.
      const rising = (button.dataset.sort === "name") !== this.sort.startsWith("-");
      button.parentElement.toggleAttribute("data-sorted", by);
      if (by) button.parentElement.setAttribute("aria-sort", rising ? "ascending" : "descending");
      else button.parentElement.removeAttribute("aria-sort");
    }
    put(document.getElementById("subjects-hint"), this.sort === "evidence" ? say("subjects.hint") : "");
  }
}

class Line {
  constructor() {
    this.mark = make("span", { class: "mark", "aria-hidden": "true" });
    this.name = make("button", { type: "button", class: "name" });
    this.code = make("span", { class: "code", translate: "no" });
    this.note = make("span", { class: "note-line" });
    this.small = make("span", { class: "note-line small-state" }); // where there is no room for the column of states
    this.negatives = make("td", { class: "figure count" });
    this.expected = make("td", { class: "figure soft" });
    this.times = make("td", { class: "figure times" });
    this.against = make("td", { class: "against roomy" });
    this.share = make("td", { class: "figure roomy" });
    this.reach = make("td", { class: "figure roomy" });
    this.trend = make("td", { class: "trend" });
    this.word = make("td", { class: "state" });
    const who = make("td", { class: "who" }, this.mark, make("span", {}, this.name, this.small, this.note));
    this.row = make("tr", {}, who, this.negatives, this.expected, this.times, this.against, this.share, this.reach, this.trend, this.word);
  }

  show(row, selected, parent) {
    const told = JSON.stringify(row) + selected + parent?.subject;
    if (told === this.told) return;
    this.told = told;
    const known = !UNKNOWN.has(row.state);
    this.row.dataset.subject = row.subject;
    this.row.classList.toggle("hot", HOT.has(row.state));
    this.row.classList.toggle("child", parent !== undefined);
    this.row.toggleAttribute("data-selected", selected);
    this.name.replaceChildren(foreign(nameOf(row)), this.code);
    put(this.code, nameOf(row) === row.subject ? "" : row.subject);
    put(this.note, this.#note(row, parent));
    put(this.negatives, count(row.neg));
    this.negatives.classList.toggle("raised", known && row.neg > row.hi);
    put(this.expected, known ? span(row.lo, row.hi) : "–");
    const effect = ratio(row);
    put(this.times, effect === null ? "–" : times(effect));
    this.against.replaceChildren(known ? bullet(row) : make("span", { class: "soft" }, say("subjects.unknown")));
    put(this.share, share(row.share));
    put(this.reach, count(row.reach));
    this.trend.replaceChildren(spark(row.spark));
    this.mark.dataset.state = row.state;
    put(this.word, word("state", row.state));
    put(this.small, row.state === "inactive" ? "" : word("state", row.state));
  }

  #note(row, parent) {
    const parts = [];
    if (parent) parts.push(say("subjects.within", { market: nameOf(parent) }));
    if (row.like) parts.push(say("subjects.like", { count: count(row.like[0]), negatives: count(row.like[1]) }));
    return parts.join(" · ");
  }
}

/** Where the count lies against its range: the range as a bar, the count as a stroke. */
function bullet(row) {
  const top = Math.max(row.hi * 1.9, row.neg * 1.04, 4);
  const x = (value) => ((value / top) * 136).toFixed(1);
  return make(
    "svg:svg",
    { viewBox: "0 0 136 14", role: "img", "aria-label": figures(row) },
    make("svg:rect", { class: "rail", x: 0, y: 6.5, width: 136, height: 1 }),
    make("svg:rect", { class: "band", x: x(row.lo), y: 4, width: Math.max(1.5, x(row.hi) - x(row.lo)), height: 6 }),
    make("svg:rect", { class: "seen", x: Math.max(0, x(row.neg) - 1.25), y: 0, width: 2.5, height: 14 }),
  );
}

/** Negatives per five minutes, oldest first. */
function spark(values) {
  const top = Math.max(4, ...values);
  const points = values.map((value, place) => [((place / Math.max(1, values.length - 1)) * 114 + 1).toFixed(1), (26 - (value / top) * 24).toFixed(1)]);
  if (points.length === 0) return "";
  const [x, y] = points[points.length - 1];
  return make(
    "svg:svg",
    { viewBox: "0 0 120 28", "aria-hidden": "true", preserveAspectRatio: "none" },
    make("svg:path", { class: "spark", d: `M${points.map((point) => point.join(" ")).join("L")}` }),
    make("svg:circle", { class: "spark-end", cx: x, cy: y, r: 2 }),
  );
}
