// What the past would have been with other settings or rules: asks for a preview, shows how far it is, and what it found.
import { tell } from "./forms.js";
import { read, send } from "./requests.js";
import { count, dayOf, decimal, factor, foreign, language, make, nameOf, put, say, timeOf, word } from "./words.js";

const LOOK_MS = 700;
const BAR = 52;

/** `3 times`, as each language counts. */
export const fired = (times) => say(times === 0 ? "past.never" : times === 1 ? "past.once" : "past.times", { count: count(times) });

export class Past {
  /** `frame`: the id of a past_frame of rules.html; `asks()` gives [address, body without days]; `hear(found)` gets what was found, or null. */
  constructor(frame, asks, hear = () => {}) {
    const root = document.getElementById(frame);
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    Object.assign(this, { asks, hear, running: null });
    this.part("ask").addEventListener("click", () => this.ask());
    this.part("stop").addEventListener("click", () => this.stop());
  }

  async ask() {
    const [address, body] = this.asks();
    this.clear();
    this.#busy(true);
    tell(this.part("says"), say("past.begins"));
    try {
      let preview = await send("POST", address, { ...body, days: Number(this.part("days").value) });
      this.running = preview.id;
      while (preview.state === "running") {
        this.part("share").value = preview.share;
        tell(this.part("says"), say("past.played", { percent: Math.round(100 * preview.share) }));
        await new Promise((done) => setTimeout(done, LOOK_MS));
        preview = await read(`/api/v1/previews/${encodeURIComponent(preview.id)}`);
      }
      this.#end(preview);
    } catch (error) {
      tell(this.part("says"), error.message, "wrong");
    } finally {
      this.running = null;
      this.#busy(false);
    }
  }

  async stop() {
    if (this.running) await send("DELETE", `/api/v1/previews/${encodeURIComponent(this.running)}`).catch(() => {});
    this.part("ask").focus();
  }

  /** Forget what was found: it is of something else than what the form says now. */
  clear() {
    if (this.running) return;
    this.part("found").hidden = true;
    tell(this.part("says"), "");
    this.hear(null);
  }

  /** Show one setting of what was found: its days and its episodes. */
  show(found, name) {
    const one = found.settings.find((each) => each.name === name) ?? found.settings[0];
    const place = this.part("found");
    place.replaceChildren(
      make("p", { class: "answer" }, sentence(one, found)),
      make("p", { class: "soft" }, ...honest(found)),
      days(one, found),
      make("p", { class: "days-key" }, make("span", {}, make("i", { class: "key key-would" }), say("past.would")), make("span", {}, make("i", { class: "key key-did" }), say("past.did"))),
      one.episodes.length ? hits(one) : "",
      held(one),
    );
    place.hidden = false;
  }

  #end(preview) {
    const problem = preview.problem;
    if (preview.state === "stopped") tell(this.part("says"), say("past.stopped"));
    else if (problem) tell(this.part("says"), ["nothing_to_test", "too_slow"].includes(problem.reason) ? say(`past.${problem.reason}`) : `${problem.title} ${problem.remedy}`, "wrong");
    else {
      tell(this.part("says"), "");
      this.show(preview.found, preview.found.settings[0].name);
      this.hear(preview.found);
    }
  }

  #busy(busy) {
    this.part("ask").disabled = busy;
    this.part("stop").hidden = this.part("share").hidden = !busy;
    this.part("share").value = 0;
  }
}

/** A length of time, of which no more is said than is known. */
function length(days) {
  if (days >= 1.5) return say("past.days", { days: decimal(days) });
  return days >= 1 / 12 ? say("past.hours", { hours: decimal(days * 24) }) : say("past.minutes", { minutes: count(days * 1440) });
}

const played = (found) => (found.until - found.from) / 86_400_000;

function sentence(one, found) {
  const values = { times: fired(one.fired), length: length(played(found)), told: found.told ? fired(found.told.fired) : "" };
  if (!found.told) return say("past.answer_alone", values);
  return say(one.fired === found.told.fired ? "past.answer_same" : "past.answer", values);
}

/** How much was there to play, and what the answer does not know. */
function honest(found) {
  const said = [say("past.made_of", { subjects: count(found.subjects) })];
  if (played(found) < found.asked_days * 0.98) said.push(say("past.fewer_days", { asked: decimal(found.asked_days), length: length(played(found)) }));
  if (found.warm_up_days < 0.05) said.push(say("past.cold"));
  else if (!found.warm_up_enough) said.push(say("past.warm", { length: length(found.warm_up_days) }));
  return said.flatMap((text) => [text, language === "zh" ? "" : " "]);
}

/** A bar a day for what would have fired, and behind it what did. */
function days(one, found) {
  const entries = Object.entries(one.by_day);
  const most = Math.max(1, ...Object.values(one.by_day), ...Object.values(found.told?.by_day ?? {}));
  const every = Math.ceil(entries.length / 8);
  const rarely = Math.ceil(entries.length / 3); // on a narrow screen
  return make("ol", { class: "days", "aria-label": say("past.by_day") }, ...entries.map(([day, times], at) => {
    const told = found.told?.by_day[day] ?? 0;
    const bar = (kind, x, height) => make("svg:rect", { class: kind, x, width: 9, y: BAR - height, height });
    const label = dayOf(Date.parse(`${day}T12:00:00Z`));
    return make("li", { class: at % rarely === 0 ? "tick" : null },
      make("span", { "aria-hidden": "true" }, times || ""),
      make("svg:svg", { viewBox: `0 0 20 ${BAR + 2}`, preserveAspectRatio: "none", "aria-hidden": "true" }, bar("would", 0.5, (times / most) * BAR), bar("did", 10.5, (told / most) * BAR), make("svg:rect", { class: "floor", x: 0, y: BAR, width: 20, height: 1 })),
      make("span", { class: "dated", "aria-hidden": "true" }, at % every === 0 || at % rarely === 0 ? label : "\u00a0"),
      make("span", { class: "unseen" }, say("past.day_told", { day: label, times: fired(times), told: fired(told) })));
  }));
}

function hits(one) {
  const shown = one.episodes.length < one.fired ? say("past.strongest", { shown: count(one.episodes.length), count: count(one.fired) }) : say("past.episodes", { count: count(one.fired) });
  return make("details", { open: one.fired <= 8 ? "" : null }, make("summary", {}, shown), make("ol", { class: "hits" }, ...one.episodes.map(hit)));
}

/** What crossed the line and was kept back by a floor: how many minutes of a subject each, the most first. */
function held(one) {
  const most = Object.entries(one.held).sort((a, b) => b[1] - a[1]).slice(0, 3);
  if (most.length === 0) return "";
  const reasons = most.map(([reason, times]) => say("past.held_by", { reason: word("decision", reason), count: count(times) }));
  return make("p", { class: "soft" }, say("past.held", { reasons: reasons.join(say("past.semicolon")) }));
}

function hit(one) {
  const name = foreign(nameOf(one));
  const size = one.expected > 0 ? factor(one.effect) : word("severity", one.severity);
  const counts = one.expected > 0 ? say("past.counts", { negatives: count(one.negatives), expected: decimal(one.expected) }) : say("past.negatives", { negatives: count(one.negatives) });
  return make("li", {},
    make("span", { class: "at" }, timeOf(one.at)),
    make("span", {}, one.alert ? make("a", { href: `/alerts/${encodeURIComponent(one.alert)}` }, name) : name, make("span", { class: "soft" }, ` ${say(one.alert ? "past.was_told" : "past.was_not")}`)),
    make("span", { class: "size" }, size),
    make("p", {}, counts, one.said ? " " : "", one.said ? foreign(one.said) : ""));
}

/** Say in an element how often, or nothing. */
export const said = (place, one) => put(place, one ? say("past.would_have", { times: fired(one.fired) }) : "");
