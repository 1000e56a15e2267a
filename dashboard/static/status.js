// Says how fresh the figures are, in the bar and, when they are not of now, in a sentence with what to do.
import { make, put, say, secondsOf, timeOf } from "./words.js";

const part = (id) => document.getElementById(id);

export class Status {
  #connected = null;
  #health = null;

  constructor() {
    part("status").hidden = false;
  }

  connection(state) {
    this.#connected = state === "open";
    this.#show();
  }

  /** True when Redis has come back: then what could not be read meanwhile is worth another try. */
  health(health) {
    const back = this.#health?.state === "redis_away" && health.state !== "redis_away";
    this.#health = health;
    this.#show();
    return back;
  }

  #show() {
    const word = this.#connected === false ? "reconnecting" : (this.#health?.state ?? "connecting");
    document.body.dataset.live = this.#connected === null || !this.#health ? "connecting" : word;
    part("status").querySelector(".mark").dataset.state = word;
    put(part("status-word"), say(`live.${word}`));
    const lag = this.#health?.lag_s;
    put(part("status-lag"), word === "ok" && lag > 90 ? say("live.lag", { seconds: Math.round(lag) }) : "");
    const note = part("note");
    const told = ["stale", "uncounted", "redis_away", "reconnecting", "empty"].includes(word) && !(word === "empty" && part("first"));
    if (!told) {
      note.hidden = true;
      return;
    }
    const time = word === "uncounted" ? secondsOf(this.#health.counted_at) : this.#health?.at ? timeOf(this.#health.at) : "";
    const text = say(`note.${word}`, { time });
    if (!note.hidden && note.firstChild?.textContent === text) return; // said once, not with every tick
    note.dataset.kind = word;
    note.replaceChildren(text);
    if (word === "empty") note.append(" ", make("a", { href: "/start" }, say("note.begin")));
    note.hidden = false;
  }
}
