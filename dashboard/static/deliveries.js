// The delivery log: every try at every endpoint, newest first, filtered by endpoint and outcome, a page at a time.
import { attempt } from "./endpoint-acts.js";
import { cell } from "./coded.js";
import { poll, state } from "./poll.js";
import { read } from "./requests.js";
import { count, foreign, make, put, say, secondsOf, timeOf, word } from "./words.js";

const OUTCOMES = ["sent", "retry", "refused", "given_up", "grouped", "disabled", "expired"];
const PAGE = 25;
const part = (id) => document.getElementById(id);
let names = null; // of the endpoints, once they are known
let next = "";
let older = false; // who has paged back is reading: new tries wait
let rows = [];

const address = (cursor = "") => `/api/v1/deliveries?${new URLSearchParams({ endpoint: state.get("log"), outcome: state.get("outcome"), limit: PAGE, cursor })}`;
part("log-outcome").append(...OUTCOMES.map((one) => make("option", { value: one }, word("outcome", one))));

const { now } = poll(
  () => address(),
  (body) => {
    if (older) return;
    rows = body.items;
    draw();
    after(body);
  },
  (error) => {
    put(part("log-said"), error ? say("deliveries.unread", { why: error.message }) : "");
    part("log-said").dataset.kind = error ? "wrong" : "";
  },
);

part("log-more").addEventListener("click", async () => {
  older = true;
  try {
    const body = await read(address(next));
    rows = [...rows, ...body.items];
    draw();
    after(body);
  } catch (error) {
    put(part("log-said"), say("deliveries.unread", { why: error.message }));
  }
});
for (const [id, name] of [["log-endpoint", "log"], ["log-outcome", "outcome"]]) {
  part(id).addEventListener("change", (event) => {
    state.set({ [name]: event.target.value });
    again();
  });
}
addEventListener("log", () => {
  choose();
  again();
  part("log-title").scrollIntoView({ block: "start" });
  part("log-endpoint").focus({ preventScroll: true });
});
addEventListener("endpoints", ({ detail }) => {
  const known = new Map(detail.map((one) => [one.id, one.name]));
  const changed = !names || JSON.stringify([...known]) !== JSON.stringify([...(names ?? [])]);
  names = known;
  if (!changed) return;
  part("log-endpoint").replaceChildren(make("option", { value: "" }, say("deliveries.all")), ...detail.map((one) => make("option", { value: one.id }, one.name)));
  choose();
  draw();
});

function draw() {
  part("log").replaceChildren(...rows.map(line));
}

function choose() {
  part("log-endpoint").value = state.get("log");
  part("log-outcome").value = state.get("outcome");
}

function again() {
  older = false;
  now();
}

function after(body) {
  next = body.next;
  part("log-more").hidden = !next;
  const none = part("log").children.length === 0;
  part("log-empty").hidden = !none;
  part("log-table").hidden = none;
  put(part("log-empty"), say(state.get("log") || state.get("outcome") ? "deliveries.none_such" : "deliveries.none"));
}

function line(row) {
  const when = new Date(row.at);
  const about = row.episode && !row.test && row.type?.startsWith("alert.")
    ? make("a", { href: `/alerts/${encodeURIComponent(row.episode)}` }, row.type ? word("event", row.type) : "–")
    : make("span", {}, row.type ? word("event", row.type) : "–");
  const details = row.answer ? make("details", {}, make("summary", {}, attempt.said(row)), make("pre", { class: "command", translate: "no" }, foreign(row.answer))) : make("span", {}, attempt.said(row));
  return make("tr", { role: "row", "data-outcome": row.outcome },
    cell("", { class: "when" }, make("time", { datetime: when.toISOString(), title: secondsOf(when) }, timeOf(row.at))),
    cell("", {}, names?.has(row.endpoint) ? foreign(names.get(row.endpoint)) : make("span", { class: "soft" }, names ? say("deliveries.gone") : "…")),
    cell("", {}, about),
    cell(say("deliveries.attempt"), { class: "figure try" }, count(row.attempt || null)),
    cell("", { class: "how across" }, make("span", { class: "mark", "data-state": MARKS[row.outcome] ?? "inactive", "aria-hidden": "true" }), details),
  );
}

const MARKS = { sent: "ok", grouped: "ok", retry: "recovering", refused: "no_data", given_up: "no_data", expired: "no_data", disabled: "no_data" };
choose();
