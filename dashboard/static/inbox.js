// The alert inbox: what fires, what somebody has seen, what is over. j and k move, Enter opens the evidence, a acknowledges, s
// silences. Only what is new is spoken, and nothing changes its place while somebody reads.
import { sure } from "./forms.js";
import { shortcut } from "./keys.js";
import { reading } from "./reading.js";
import { acknowledge, send } from "./requests.js";
import { count, factor, foreign, make, nameOf, put, say, span, timeOf, word } from "./words.js";

const LIMIT = 12;
const TABS = ["firing", "acknowledged", "resolved"];
const looksOnly = document.body.dataset.role === "viewer"; // may see everything and change nothing
const part = (id) => document.getElementById(id);
const tabOf = (row) => (row.state === "resolved" ? "resolved" : row.ack ? "acknowledged" : "firing");
const order = (a, b) => (b.updated_at ?? 0) - (a.updated_at ?? 0);

export class Inbox {
  /** `turn(tab)` when another tab is shown. */
  constructor({ turn, tab }) {
    Object.assign(this, { turn, tab: TABS.includes(tab) ? tab : "firing" });
    this.list = part("inbox");
    this.rows = new Map();
    this.lines = new Map();
    this.places = [];
    this.says = new Map(); // by episode: what became of a click
    this.silenced = [];
    this.busy = reading(part("inbox-panel"));
    part("inbox-keys").replaceChildren(...say("inbox.keys").split(/(\{\w+\})/).map((text) => (text.startsWith("{") ? make("kbd", {}, "?") : text)));
    part("inbox-fresh").addEventListener("click", () => {
      this.#draw(true);
      this.list.querySelector("a")?.focus();
    });
    for (const name of TABS) part(`tab-${name}`).addEventListener("click", () => this.#turn(name));
    document.querySelector(".tabs").addEventListener("keydown", (event) => this.#arrow(event));
    shortcut("j", () => this.#move(1));
    shortcut("k", () => this.#move(-1));
    shortcut("a", () => this.at && this.#see(this.at));
    shortcut("s", () => this.at && this.#hush(this.at));
    setInterval(() => document.hidden || this.#draw(), 5000);
    this.#show(this.tab);
  }

  fill(rows, silenced) {
    this.rows = new Map(rows.map((row) => [row.episode, row]));
    this.silenced = silenced;
    this.#draw();
  }

  /** Whether anything is counted at all: no alerts means all is well only then. */
  known(counted) {
    this.counted = counted;
    this.#empty();
  }

  take(row) {
    if (!this.rows.has(row.episode) && row.state === "firing") put(part("inbox-says"), say("inbox.new", { name: nameOf(row) }));
    this.rows.set(row.episode, row);
    if (row.ack) this.says.delete(row.episode);
    this.#draw();
  }

  #turn(tab) {
    this.#show(tab);
    this.turn(tab);
  }

  #show(tab) {
    this.tab = tab;
    for (const name of TABS) {
      part(`tab-${name}`).setAttribute("aria-selected", name === tab);
      part(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
    }
    part("inbox-panel").setAttribute("aria-labelledby", `tab-${tab}`);
    this.at = null;
    this.#draw(true);
  }

  #arrow(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(this.tab) + step + TABS.length) % TABS.length];
    this.#turn(next);
    part(`tab-${next}`).focus();
  }

  #draw(at_once = false) {
    const all = [...this.rows.values()].sort(order);
    for (const name of TABS) put(document.querySelector(`[data-tally="${name}"]`), count(all.filter((row) => tabOf(row) === name).length));
    const wanted = all.filter((row) => tabOf(row) === this.tab).map((row) => row.episode);
    const shown = wanted.slice(0, LIMIT);
    const held = !at_once && this.places.length > 0 && this.busy();
    const places = held ? this.places.filter((episode) => this.rows.has(episode)) : shown;
    const fresh = held ? shown.filter((episode) => !places.includes(episode)).length : 0;
    part("inbox-fresh").hidden = fresh === 0;
    put(part("inbox-fresh"), say("inbox.fresh", { count: count(fresh) }));
    part("inbox-rest").hidden = wanted.length <= LIMIT && this.tab !== "resolved";
    this.places = places;
    const lines = places.map((episode) => this.#line(this.rows.get(episode)));
    if (lines.length !== this.list.children.length || lines.some((line, place) => this.list.children[place] !== line)) {
      const focused = document.activeElement?.closest?.("#inbox li")?.dataset.episode;
      const act = document.activeElement?.dataset.act;
      this.list.replaceChildren(...lines);
      // The one that had the focus may have been drawn anew, or have gone to another tab: then the one in its place has it.
      if (focused) (this.list.querySelector(`[data-episode="${CSS.escape(focused)}"] [data-act="${act}"]`) ?? this.list.querySelector("[data-at] a") ?? this.list.querySelector("a"))?.focus({ preventScroll: true });
    }
    for (const episode of this.lines.keys()) if (!this.rows.has(episode)) this.lines.delete(episode);
    this.#empty();
  }

  #empty() {
    part("inbox-empty").hidden = this.places.length > 0;
    put(part("inbox-empty"), !this.counted ? say("inbox.empty_unknown") : this.tab === "firing" ? say("inbox.empty") : say(`inbox.empty_${this.tab}`));
  }

  /** The line of a row: drawn anew only where something in it has changed. */
  #line(row) {
    const quiet = this.#silencedUntil(row);
    const told = JSON.stringify([row, this.says.get(row.episode), quiet]);
    const known = this.lines.get(row.episode);
    if (known?.told === told) return known.line;
    const over = row.state === "resolved";
    const when = row.resolved_at
      ? say("inbox.from_to", { start: timeOf(row.started_at), end: timeOf(row.resolved_at) })
      : row.started_at ? say("inbox.since", { time: timeOf(row.started_at) }) : "";
    const line = make(
      "li",
      { "data-episode": row.episode, class: over ? "over" : null },
      make("span", { class: "mark", "data-state": row.state, "aria-hidden": "true" }),
      make("a", { href: `/alerts/${encodeURIComponent(row.episode)}`, "data-act": "open" }, foreign(nameOf(row))),
      make("span", { class: "times" }, factor(row.effect)),
      make("p", {}, `${word("state", row.state)}${row.test ? ` (${word("state", "test")})` : ""} ${when}`),
      make("p", {}, say("inbox.counts", { negatives: count(row.neg), range: span(row.lo, row.hi) })),
      this.#seen(row, over),
      quiet ? make("p", {}, say("inbox.silenced", { time: timeOf(quiet) })) : null,
    );
    line.toggleAttribute("data-at", row.episode === this.at);
    line.addEventListener("focusin", () => this.#mark(row.episode));
    this.lines.set(row.episode, { told, line });
    return line;
  }

  #seen(row, over) {
    if (row.ack) return make("p", {}, say(row.ack.by ? "inbox.acknowledged_by" : "inbox.acknowledged", { by: row.ack.by, time: timeOf(row.ack.at) }));
    if (over || looksOnly) return null;
    const said = this.says.get(row.episode);
    if (said) return make("p", {}, said);
    const name = nameOf(row);
    const see = make("button", { type: "button", class: "link", "data-act": "acknowledge", "aria-label": `${say("alert.acknowledge")}: ${name}` }, say("alert.acknowledge"));
    const hush = make("button", { type: "button", class: "link", "data-act": "silence", "aria-label": `${say("inbox.silence")}: ${name}` }, say("inbox.silence"));
    see.addEventListener("click", () => this.#see(row.episode));
    hush.addEventListener("click", () => this.#hush(row.episode));
    return make("p", { class: "line-acts" }, see, hush);
  }

  async #see(episode) {
    const row = this.rows.get(episode);
    if (looksOnly || !row || row.ack || row.state === "resolved" || this.says.get(episode) === say("inbox.pending")) return;
    this.#tell(episode, say("inbox.pending"));
    try {
      await acknowledge(episode);
      // The stream says so in a second; by this long it has not come, and it may be tried again.
      setTimeout(() => this.says.get(episode) === say("inbox.pending") && this.#tell(episode, ""), 15_000);
    } catch (error) {
      this.#tell(episode, say("inbox.ack_failed", { why: error.message }));
    }
  }

  async #hush(episode) {
    const row = this.rows.get(episode);
    if (looksOnly || !row || row.state === "resolved" || !(await sure(say("inbox.silence_sure", { name: nameOf(row) }), say("inbox.silence")))) return;
    try {
      this.silenced.push(await send("POST", "/api/v1/silences", { subjects: [row.subject], for: "1h" }));
      put(part("inbox-says"), say("inbox.silenced", { time: timeOf(this.#silencedUntil(row)) }));
    } catch (error) {
      this.says.set(episode, say("inbox.silence_failed", { why: error.message }));
    }
    this.#draw();
  }

  #tell(episode, text) {
    this.says.set(episode, text);
    put(part("inbox-says"), text);
    this.#draw();
  }

  /** A subject's silence covers its pairs with topics. */
  #silencedUntil(row) {
    const on = this.silenced.filter((one) => one.until > Date.now() && one.subjects.some((subject) => row.subject === subject || row.subject.startsWith(`${subject}|`)));
    return row.state === "resolved" || on.length === 0 ? 0 : Math.max(...on.map((one) => one.until));
  }

  #mark(episode) {
    this.at = episode;
    for (const line of this.list.children) line.toggleAttribute("data-at", line.dataset.episode === episode);
  }

  #move(step) {
    if (this.places.length === 0) return;
    const now = this.places.indexOf(this.at);
    this.#mark(this.places[Math.min(this.places.length - 1, Math.max(0, now + step))]);
    const link = this.list.querySelector("[data-at] a");
    link.focus({ preventScroll: true });
    link.scrollIntoView({ block: "nearest" });
  }
}
