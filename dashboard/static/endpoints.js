// Where alerts go to: the list with how each fares, and what a person does with one. endpoint-form.js adds and changes one,
// endpoint-acts.js tests, rotates and replays, deliveries.js is the log below, silences.js what is held back.
import { acts, attempt } from "./endpoint-acts.js";
import { openForm } from "./endpoint-form.js";
import "./deliveries.js";
import { tell } from "./forms.js";
import { keeping, poll, state } from "./poll.js";
import "./silences.js";
import { foreign, make, put, say, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);
const results = new Map(); // endpoint -> what its last act brought; kept while the list is drawn anew
let shown = [];

const { now } = poll(
  () => "/api/v1/endpoints",
  ({ items }) => {
    shown = items;
    draw();
    dispatchEvent(new CustomEvent("endpoints", { detail: items }));
  },
  (error) => {
    put(part("endpoints-note"), error ? say("endpoints.unread", { why: error.message }) : "");
    part("endpoints-note").hidden = !error;
  },
);

part("endpoint-add").addEventListener("click", () => openForm(null, (made) => {
  state.set({ endpoint: made.id });
  now();
  return made.id;
}));

function draw() {
  keeping(() => part("endpoints").replaceChildren(...shown.map(line)));
  part("endpoints-empty").hidden = shown.length > 0;
  part("endpoints-loading").hidden = true;
}

function line(one) {
  const open = state.get("endpoint") === one.id;
  const name = make("button", { type: "button", class: "name", id: `open-${one.id}`, "aria-expanded": String(open), "aria-controls": `about-${one.id}` }, foreign(one.name));
  name.addEventListener("click", () => {
    state.set({ endpoint: open ? "" : one.id });
    draw();
  });
  const head = make("div", { class: "place-head" },
    make("div", {}, make("h3", {}, name), make("p", { class: "meta" }, make("span", {}, word("channel", one.channel)), make("code", { translate: "no" }, one.shown))),
    make("p", { class: "fares" }, make("span", { class: "mark", "data-state": MARKS[one.state] ?? "no_data", "aria-hidden": "true" }), make("span", {}, fares(one))),
  );
  const about = make("div", { id: `about-${one.id}`, class: "about" });
  about.hidden = !open;
  if (open) about.append(facts(one), ...acts(one, { result: results.get(one.id), keep: (result) => results.set(one.id, result), changed: now, draw }));
  return make("li", { "data-endpoint": one.id, "data-state": one.state }, head, about);
}

const MARKS = { healthy: "ok", degraded: "recovering", disabled: "no_data", unreadable: "no_data" };

/** How it fares in a sentence: since when, why, what waits. */
function fares(one) {
  const since = one.state_since ? timeOf(one.state_since) : "";
  const why = one.reason ? attempt.why(one.reason) : "";
  const key = one.disabled ? "off" : one.state;
  const first = one.reason.split(" ")[0];
  const cure = word("cure", first) === first ? "" : ` ${word("cure", first)}`;
  const said = say(`endpoints.is_${key}`, { since, why, failures: one.failures }) + (one.state === "healthy" || one.disabled ? "" : cure);
  return one.waiting ? `${said} ${say("endpoints.waits", { count: one.waiting })}` : said;
}

function facts(one) {
  const list = (values, all) => (values.length ? values.join(", ") : say(all));
  const minutes = (seconds) => say("endpoints.minutes", { count: Math.round(seconds / 60) });
  const rows = [
    [say("endpoints.hears"), say("endpoints.hears_text", { severity: word("severity", one.severity), subjects: list(one.subjects, "endpoints.all_subjects"), topics: list(one.topics, "endpoints.all_topics") })],
    one.languages.length ? [say("endpoints.documents_in"), one.languages.join(", ")] : null,
    [say("endpoints.messages_in"), word("endpoints.lang", one.lang)],
    one.quiet ? [say("endpoints.quiet"), say("endpoints.quiet_text", { start: one.quiet.start, end: one.quiet.end, zone: one.quiet.zone, unless: word("severity", one.quiet.unless ?? "critical") })] : null,
    one.repeat_s ? [say("endpoints.repeat"), minutes(one.repeat_s)] : null,
    one.escalates_after_s ? [say("endpoints.escalates"), minutes(one.escalates_after_s)] : null,
    one.drills ? [say("endpoints.drills"), say("endpoints.drills_text")] : null,
    one.old_secret_until ? [say("endpoints.old_secret"), say("endpoints.old_secret_text", { time: timeOf(one.old_secret_until) })] : null,
    one.public_key ? [say("endpoints.public_key"), make("code", { translate: "no" }, one.public_key)] : null,
    [say("endpoints.added"), make("span", {}, timeOf(one.created_at), " ", make("code", { class: "soft", translate: "no" }, one.id))],
  ];
  return make("dl", { class: "facts" }, ...rows.filter(Boolean).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, typeof value === "string" ? foreign(value) : value))));
}

addEventListener("pageshow", (event) => event.persisted && now());
tell(part("endpoints-said"), "");
