// Says how fresh the figures are, in the bar and, when they are not of now, in a sentence with what to do.
import { make, put, say, timeOf } from "./words.js";

const part = (id) => document.getElementById(id);
const PUSH = (host) => `curl -X POST '${host}/api/v1/documents?feed=news' -H 'Content-Type: application/json' -d '{"text": "..."}'`;

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
    if (!["stale", "redis_away", "reconnecting", "empty"].includes(word)) {
      note.hidden = true;
      return;
    }
    if (note.dataset.kind === word && !note.hidden && word !== "stale") return;
    note.dataset.kind = word;
    note.replaceChildren(say(`note.${word}`, { time: this.#health?.at ? timeOf(this.#health.at) : "" }));
    if (word === "empty") note.append(make("pre", { translate: "no" }, PUSH(location.origin)));
    note.hidden = false;
  }
}
