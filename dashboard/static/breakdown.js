// What the negative texts in view were about, over the same time axis; who published them; which stories spread. Read breakdown.py for
// how they are counted. Each figure opens its documents. Everything that texts bring is foreign.
import { documentsAddress } from "./span.js";
import { count, foreign, make, nameOf, put, say, timeOf } from "./words.js";

const part = (id) => document.getElementById(id);
const STRIP = 24;

export class Breakdown {
  constructor(kind) {
    this.kind = kind;
    this.told = "";
  }

  /** The tables as the API answers them. */
  show(tables) {
    const told = JSON.stringify(tables);
    if (told === this.told) return;
    this.told = told;
    this.tables = tables;
    const { documents, kept, since } = tables;
    const basis = since ? say("subject.of_newest", { kept: count(kept), time: timeOf(since) }) : say("subject.of_all", { documents: count(documents) });
    for (const place of document.querySelectorAll("[data-basis]")) put(place, basis);
    const rows = this.kind === "company" ? tables.topics : tables.companies;
    part("topics-empty").hidden = rows.length > 0;
    part("topics").replaceChildren(...rows.slice(0, 6).map((row) => this.#topic(row, Math.max(...rows.map((one) => Math.max(...one.over))))));
    part("stories-empty").hidden = tables.stories.length > 0;
    const most = Math.max(1, ...tables.stories.map((row) => row.reach));
    part("stories").replaceChildren(...tables.stories.map((row) => this.#story(row, most)));
    part("sources-empty").hidden = tables.sources.length > 0;
    const top = Math.max(1, ...tables.sources.map((row) => row.negatives));
    part("sources").replaceChildren(...tables.sources.map((row) => this.#source(row, top)));
    put(part("sources-more"), tables.sources_total > tables.sources.length ? say("subject.more_sources", { count: count(tables.sources_total - tables.sources.length) }) : "");
  }

  #documents(from, to, more) {
    return documentsAddress(this.tables.subject, from, to, { polarity: "negative", ...more });
  }

  #topic(row, most) {
    const { from, to, bin_ms } = this.tables;
    const whole = (to - from) / bin_ms;
    const own = this.kind === "company" ? { topic: row.id } : {};
    const bars = row.over.map((value, place) => {
      const height = (value / most) * STRIP;
      return value ? make("svg:rect", { x: place + 0.08, y: (STRIP - height).toFixed(2), width: 0.84, height: height.toFixed(2) }) : null;
    });
    const name = foreign(nameOf({ ...row, subject: row.id }));
    const address = this.kind === "company" ? this.#documents(from, to, own) : `/subjects/${encodeURIComponent(row.id)}${location.search}`;
    const line = make("svg:svg", { viewBox: `0 0 ${whole.toFixed(3)} ${STRIP}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
    const where = { "data-from": from, "data-bin": bin_ms, "data-topic": own.topic };
    return make("li", where, make("p", { class: "strip-head" }, make("a", { href: address }, name)), make("span", { class: "total" }, count(row.negatives)), line);
  }

  #story(row, most) {
    const title = row.url
      ? make("a", { class: "title", href: row.url, rel: "noopener noreferrer nofollow", target: "_blank", lang: langOf(row) }, foreign(row.title))
      : make("span", { class: "title", lang: langOf(row) }, foreign(row.title));
    const reach = make("a", { class: "reach", href: documentsAddress(this.tables.subject, row.first, this.tables.to, { q: opening(row.title) }) }, count(row.reach));
    const meta = make("p", { class: "meta" }, make("time", { datetime: new Date(row.first).toISOString() }, timeOf(row.first)), foreign(row.source), row.echoes ? make("span", {}, say(row.echoes === 1 ? "alert.one_echo" : "alert.echoes", { count: count(row.echoes) })) : null);
    return make("li", {}, make("div", {}, title, meta), bar(row.reach / most), reach);
  }

  #source(row, top) {
    const { from, to } = this.tables;
    return make("li", {}, make("a", { href: this.#documents(from, to, { source: row.source }) }, foreign(row.source)), bar(row.negatives / top), make("span", { class: "figure" }, count(row.negatives)));
  }
}

/** The words that its copies begin with, as a phrase to look for; the ends of copies differ. */
function opening(title) {
  const words = title.replace(/["“”„]/g, " ").trim();
  const cut = words.length > 60 ? words.slice(0, 60).replace(/\s+\S*$/, "") : words;
  return `"${cut}"`;
}

const langOf = (row) => (row.lang === "zh" ? "zh-CN" : row.lang === "en" ? "en" : null);

const bar = (share) =>
  make("svg:svg", { class: "bar-of", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, make("svg:rect", { width: Math.max(1, share * 100).toFixed(1), height: 6 }));
