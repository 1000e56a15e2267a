// What a person does with one endpoint: test it, give it a new secret, switch it off and on, have it told again, remove it.
import { openForm, showSecret } from "./endpoint-form.js";
import { ask } from "./ask.js";
import { doing, sure, tell } from "./forms.js";
import { refocus, state } from "./poll.js";
import { read, send } from "./requests.js";
import { foreign, make, put, say, word } from "./words.js";

/** One try in words: why it failed, and what became of it. */
export const attempt = {
  why(reason) {
    const [first, ...rest] = reason.split(" ");
    const http = /^http_(\d{3})$/.exec(first);
    return [http ? say("endpoints.http", { status: http[1] }) : word("reason", first), ...rest].join(" ");
  },
  said(row) {
    const fate = word("outcome", row.outcome);
    const why = row.reason && row.reason !== `http_${row.status}` ? ` (${attempt.why(row.reason)})` : "";
    if (row.outcome === "disabled") return say("endpoints.not_tried", { why });
    return say(row.status ? "endpoints.answered" : "endpoints.silent", { status: row.status, ms: row.latency_ms, fate, why });
  },
};

/** The buttons and what the last of them brought. `keep(result)` lives on while the list is drawn anew. */
export function acts(one, { result, keep, changed, draw }) {
  const address = `/api/v1/endpoints/${encodeURIComponent(one.id)}`;
  const said = make("p", { class: "said", role: "status", id: `said-${one.id}` });
  const button = (name, kind, work) => {
    const made = make("button", { type: "button", class: `quiet small ${kind}`, id: `${name}-${one.id}` }, say(`endpoints.do_${name}`));
    made.addEventListener("click", () => work(made));
    return made;
  };
  if (document.getElementById("endpoint-add").hidden) return []; // who may look and not change
  const off = one.disabled || one.state === "disabled";
  const row = make("div", { class: "about-acts" },
    button("test", "", async (it) => {
      await doing(it, said, async () => {
        const done = await send("POST", `${address}/test?wait_s=10`);
        keep(brought(done, await read(`${address}/sample?errand=${encodeURIComponent(done.errand)}`)));
        draw();
        changed();
      });
      refocus(it.id);
    }),
    button("log", "", () => {
      state.set({ log: one.id, outcome: "" });
      dispatchEvent(new CustomEvent("log", { detail: one.id }));
    }),
    button("change", "", () => openForm(one, () => (changed(), `change-${one.id}`))),
    one.channel === "webhook" || ["feishu", "dingtalk", "pagerduty", "alertmanager"].includes(one.channel) ? button("rotate", "", () => rotate(one, address, changed)) : null,
    button("replay", "", (it) => replay(one, address, it, said)),
    button(off ? "enable" : "disable", "", async (it) => {
      await doing(it, said, async () => {
        await send("POST", `${address}/${off ? "enable" : "disable"}?wait_s=5`);
        await changed();
      });
      refocus(`${off ? "disable" : "enable"}-${one.id}`);
    }),
    button("remove", "danger", async (it) => {
      if (!(await sure(say("endpoints.sure_remove", { name: one.name, count: one.waiting }), say("form.remove")))) return it.focus();
      const gone = await doing(it, said, () => send("DELETE", address));
      if (!gone) return;
      state.set({ endpoint: "" });
      tell(document.getElementById("endpoints-said"), say("endpoints.removed", { name: one.name }));
      document.getElementById("endpoint-add").focus();
      changed();
    }),
  );
  return [row, said, result].filter(Boolean);
}

/** What a test sent and what came back; one element, so that what is unfolded stays so. */
function brought(done, sample) {
  const last = done.tries?.at(-1);
  const well = last?.outcome === "sent";
  const headers = Object.entries(sample.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  const parts = [
    make("p", { role: "status" }, make("span", { class: "mark", "data-state": well ? "ok" : "no_data", "aria-hidden": "true" }), last ? attempt.said(last) : say("endpoints.untried")),
    make("details", {}, make("summary", {}, say("endpoints.request")), make("pre", { class: "command", translate: "no" }, foreign(`${sample.method} ${sample.to}\n${headers}\n\n${sample.body}`))),
  ];
  if (last?.answer) parts.push(make("p", { class: "soft" }, say("endpoints.answer")), make("pre", { class: "command", translate: "no" }, foreign(last.answer)));
  return make("div", { class: "brought" }, ...parts);
}

function rotate(one, address, changed) {
  const made = one.channel === "webhook";
  const fields = [
    made ? { name: "hours", label: say("endpoints.rotate_hours"), type: "number", value: "24", min: 0, max: 336, required: true } : { name: "secret", label: say("endpoints.rotate_secret"), type: "text", required: true },
  ];
  ask(say("endpoints.rotate_title", { name: one.name }), say(made ? "endpoints.rotate_text" : "endpoints.rotate_theirs"), fields, say("endpoints.do_rotate"), async (given) => {
    const body = made ? { hours: Number(given.hours) } : { secret: given.secret, hours: 0 };
    const found = await send("POST", `${address}/rotate`, body);
    changed();
    if (found.secret) showSecret(found, `rotate-${one.id}`);
  }, `rotate-${one.id}`);
}

function replay(one, address, it, said) {
  const fields = [
    { name: "since", label: say("endpoints.replay_since"), type: "text", value: "2h", required: true, hint: say("endpoints.replay_hint") },
    { name: "all", label: say("endpoints.replay_all"), type: "checkbox" },
  ];
  ask(say("endpoints.replay_title", { name: one.name }), say("endpoints.replay_text"), fields, say("endpoints.do_replay"), async (given) => {
    const done = await send("POST", `${address}/replay?wait_s=10`, { since: given.since, all: given.all });
    const sent = new Set(done.tries.filter((row) => ["sent", "grouped"].includes(row.outcome)).map((row) => row.event)).size;
    put(said, say(done.done ? (done.tries.length ? "endpoints.replayed" : "endpoints.replay_nothing") : "endpoints.replay_goes_on", { count: sent }));
    said.dataset.kind = "";
  }, it.id);
}
