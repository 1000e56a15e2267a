// The table of subjects: what needs eyes first is first. Rows keep their places while somebody points at them.
import { count, make, nameOf, put, say, share, span, word } from "./words.js";
import { figures } from "./subject-head.js";

const LIMIT = 20;
const SETTLE_MS = 5000; // the order changes at most this often: nothing jumps while it is read
const REST = -9; // evidence under this is none: then the count decides
const HOT = new Set(["firing", "pending", "recovering"]);

export const order = (a, b) => Math.max(b.evidence, REST) - Math.max(a.evidence, REST) || b.neg - a.neg || (a.subject < b.subject ? -1 : 1);

export class Subjects {
  constructor(choose) {
    this.body = document.getElementById("subjects");
    this.choose = choose;
    this.places = [];
    this.lines = new Map();
    this.sorted = 0;
    this.body.addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      if (line) choose(line.dataset.subject);
    });
  }

  /** The subject that is on top. */
  first() {
    return this.places[0];
  }

  select(subject) {
    this.selected = subject;
    for (const [name, line] of this.lines) line.row.toggleAttribute("data-selected", name === subject);
  }

  show(rows) {
    const busy = this.body.matches(":hover") || this.body.contains(document.activeElement);
    const wanted = [...rows.values()].filter((row) => row.subject !== "market").sort(order).slice(0, LIMIT).map((row) => row.subject);
    const same = wanted.length === this.places.length && wanted.every((name) => this.places.includes(name));
    if (!same || (!busy && performance.now() - this.sorted > SETTLE_MS)) {
      this.sorted = performance.now();
      if (wanted.join("\n") !== this.places.join("\n")) {
        this.places = wanted;
        for (const name of this.lines.keys()) if (!wanted.includes(name)) this.lines.delete(name);
        for (const name of wanted) if (!this.lines.has(name)) this.lines.set(name, new Line());
        this.body.replaceChildren(...wanted.map((name) => this.lines.get(name).row));
      }
    }
    for (const name of this.places) if (rows.has(name)) this.lines.get(name).show(rows.get(name), name === this.selected);
  }
}

class Line {
  constructor() {
    this.name = make("button", { type: "button", class: "name" });
    this.code = make("span", { class: "code", translate: "no" });
    this.negatives = make("td", { class: "figure count" });
    this.expected = make("td", { class: "figure soft" });
    this.against = make("td", { class: "against roomy" });
    this.share = make("td", { class: "figure roomy" });
    this.reach = make("td", { class: "figure roomy" });
    this.trend = make("td", { class: "trend" });
    this.mark = make("span", { class: "mark", "aria-hidden": "true" });
    this.word = make("span");
    this.row = make("tr", {}, make("td", {}, this.name), this.negatives, this.expected, this.against, this.share, this.reach, this.trend, make("td", { class: "state" }, this.mark, this.word));
  }

  show(row, selected) {
    const told = JSON.stringify(row) + selected;
    if (told === this.told) return;
    this.told = told;
    const known = row.state !== "learning" && row.state !== "no_data";
    this.row.dataset.subject = row.subject;
    this.row.classList.toggle("hot", HOT.has(row.state));
    this.row.toggleAttribute("data-selected", selected);
    this.name.replaceChildren(make("bdi", {}, nameOf(row)), this.code);
    put(this.code, nameOf(row) === row.subject ? "" : row.subject);
    put(this.negatives, count(row.neg));
    this.negatives.classList.toggle("raised", known && row.neg > row.hi);
    put(this.expected, known ? span(row.lo, row.hi) : "–");
    this.against.replaceChildren(known ? bullet(row) : make("span", { class: "soft" }, say("subjects.unknown")));
    put(this.share, share(row.share));
    put(this.reach, count(row.reach));
    this.trend.replaceChildren(spark(row.spark));
    this.mark.dataset.state = row.state;
    put(this.word, word("state", row.state));
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
