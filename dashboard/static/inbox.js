// The alert inbox: j and k move, Enter opens the evidence, a acknowledges. Only what is new is spoken.
import { count, decimal, make, nameOf, put, say, span, timeOf, word } from "./words.js";

const LIMIT = 12;
const part = (id) => document.getElementById(id);
const over = (row) => row.state === "resolved";
const order = (a, b) => over(a) - over(b) || (b.updated_at ?? 0) - (a.updated_at ?? 0);

export class Inbox {
  constructor(acknowledge) {
    this.list = part("inbox");
    this.acknowledge = acknowledge;
    this.rows = new Map();
    this.pending = new Map();
    this.at = null;
    const keys = { j: "j", k: "k", enter: "⏎", a: "a" };
    part("inbox-keys").replaceChildren(...say("inbox.keys").split(/(\{\w+\})/).map((text) => (text.startsWith("{") ? make("kbd", {}, keys[text.slice(1, -1)]) : text)));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  fill(rows) {
    this.rows = new Map(rows.map((row) => [row.episode, row]));
    this.#draw();
  }

  /** Whether anything is counted at all: no alerts means all is well only then. */
  known(counted) {
    put(part("inbox-empty"), say(counted ? "inbox.empty" : "inbox.empty_unknown"));
  }

  take(row) {
    if (!this.rows.has(row.episode) && row.state === "firing") put(part("inbox-says"), say("inbox.new", { name: nameOf(row) }));
    this.rows.set(row.episode, row);
    if (row.ack) this.pending.delete(row.episode);
    this.#draw();
  }

  #draw() {
    const shown = [...this.rows.values()].sort(order).slice(0, LIMIT);
    this.places = shown.map((row) => row.episode);
    this.list.replaceChildren(...shown.map((row) => this.#line(row)));
    part("inbox-empty").hidden = shown.length > 0;
  }

  #line(row) {
    const link = make("a", { href: `/alerts/${encodeURIComponent(row.episode)}` }, make("bdi", {}, nameOf(row)));
    const when = row.resolved_at
      ? say("inbox.from_to", { start: timeOf(row.started_at), end: timeOf(row.resolved_at) })
      : row.started_at ? say("inbox.since", { time: timeOf(row.started_at) }) : "";
    const line = make(
      "li",
      { "data-episode": row.episode, class: over(row) ? "over" : null },
      make("span", { class: "mark", "data-state": row.state, "aria-hidden": "true" }),
      link,
      make("span", { class: "times" }, row.effect >= 20 ? "> 20 ×" : `${decimal(row.effect)} ×`),
      make("p", {}, `${word("state", row.state)}${row.test ? ` (${word("state", "test")})` : ""} ${when}`),
      make("p", {}, say("inbox.counts", { negatives: count(row.neg), range: span(row.lo, row.hi) })),
      this.#seen(row),
    );
    line.toggleAttribute("data-at", row.episode === this.at);
    return line;
  }

  #seen(row) {
    if (row.ack) return make("p", {}, say(row.ack.by ? "inbox.acknowledged_by" : "inbox.acknowledged", { by: row.ack.by, time: timeOf(row.ack.at) }));
    if (over(row)) return null;
    const pending = this.pending.get(row.episode);
    if (pending) return make("p", {}, pending);
    const button = make("button", { type: "button", class: "acknowledge" }, say("alert.acknowledge"));
    button.addEventListener("click", () => this.#see(row.episode));
    return make("p", {}, button);
  }

  async #see(episode) {
    const row = this.rows.get(episode);
    if (!row || row.ack || this.pending.get(episode) === say("inbox.pending")) return;
    this.pending.set(episode, say("inbox.pending"));
    this.#draw();
    try {
      await this.acknowledge(episode);
    } catch (error) {
      this.pending.set(episode, say("inbox.ack_failed", { why: error.message }));
      this.#draw();
    }
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
    if (event.key === "j" || event.key === "k") {
      const now = this.places?.indexOf(this.at) ?? -1;
      const next = Math.min(this.places.length - 1, Math.max(0, now + (event.key === "j" ? 1 : -1)));
      this.at = this.places[next] ?? null;
      for (const line of this.list.children) line.toggleAttribute("data-at", line.dataset.episode === this.at);
      const link = this.list.querySelector("[data-at] a");
      link?.focus({ preventScroll: true });
      link?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "a" && this.at) {
      this.#see(this.at);
    }
  }
}
