// The live stream of a page: read the JSON first, then hear what has changed since its cursor. First sight, reconnect, a slow
// reader and a restart are one path. A browser without SharedWorker holds a stream of its own while it is seen.

const EVENTS = ["rows", "series", "alert", "tick", "reset"];
const SILENT_MS = 8000; // ticks come every second: this long without one means that nobody is there

export class Live {
  /** `snapshot()` reads the JSON and resolves to its cursor; then `topics()` is what to listen to; `hear(event, data)` takes frames; `state(word)` is open or reconnecting. */
  constructor({ topics, snapshot, hear, state }) {
    Object.assign(this, { topics, snapshot, hear, state });
    this.heard = Date.now();
    this.fails = 0;
    this.port = this.#port();
    this.restart();
    setInterval(() => this.#watch(), 2000);
    addEventListener("pagehide", () => this.port?.postMessage({ bye: true }));
    addEventListener("pageshow", (event) => event.persisted && this.restart());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.restart();
      else if (!this.port) this.source?.close();
    });
  }

  /** Read again and go on from there. */
  async restart() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    clearTimeout(this.again);
    try {
      const cursor = await this.snapshot();
      if (turn !== this.turn) return;
      this.fails = 0;
      this.heard = Date.now();
      this.#listen(cursor);
    } catch (error) {
      if (turn !== this.turn) return;
      this.state("reconnecting");
      this.fails += 1;
      this.again = setTimeout(() => this.restart(), Math.min(30000, 1000 * 2 ** this.fails) * (0.5 + Math.random()));
    }
  }

  #watch() {
    if (Date.now() - this.heard < SILENT_MS || document.hidden) return;
    this.state("reconnecting");
    this.heard = Date.now();
    this.restart();
  }

  #port() {
    if (!("SharedWorker" in globalThis)) return null;
    const policy = globalThis.trustedTypes?.createPolicy("live-worker", { createScriptURL: () => "/static/live-worker.js" });
    const { port } = new SharedWorker(policy ? policy.createScriptURL("") : "/static/live-worker.js", "groundswell");
    port.onmessage = ({ data }) => (data.state ? this.#change(data.state) : this.#take(data.event, data.data));
    return port;
  }

  #listen(since) {
    if (this.port) return this.port.postMessage({ topics: this.topics(), since });
    this.source?.close();
    this.source = new EventSource(`/live?topics=${encodeURIComponent(this.topics().join(","))}&since=${encodeURIComponent(since)}`);
    this.source.onopen = () => this.#change("open");
    this.source.onerror = () => {
      this.#change("reconnecting");
      if (this.source.readyState === EventSource.CLOSED) this.again = setTimeout(() => this.restart(), 5000 + Math.random() * 10000);
    };
    for (const event of EVENTS) this.source.addEventListener(event, (frame) => this.#take(event, JSON.parse(frame.data)));
  }

  #change(state) {
    if (state === "open") this.heard = Date.now();
    this.state(state);
  }

  #take(event, data) {
    this.heard = Date.now();
    if (event === "reset") this.restart();
    else this.hear(event, data);
  }
}
