// Silences: those that hold and those that are over, a new one by a small form, and the end of one now.
import { ask, field } from "./ask.js";
import { doing, tell } from "./forms.js";
import { keeping, poll, state } from "./poll.js";
import { send } from "./requests.js";
import { foreign, make, put, say, timeOf, word } from "./words.js";

const FIELDS = ["subject", "topic", "severity", "rule", "kind", "lang", "source"];
const SPANS = ["30m", "1h", "2h", "8h", "1d", "3d", "1w"];
const MOST = 5;
const part = (id) => document.getElementById(id);
let shown = [];

const { now } = poll(
  () => `/api/v1/silences?all=${state.get("over") ? 1 : 0}`,
  ({ items }) => {
    shown = items;
    draw();
  },
  (error) => error && tell(part("silences-said"), say("silences.unread", { why: error.message }), "wrong"),
);
setInterval(() => document.hidden || draw(), 30000); // one that ends by itself is over without an answer that changes

part("silences-over").checked = Boolean(state.get("over"));
part("silences-over").addEventListener("change", (event) => {
  state.set({ over: event.target.checked ? "1" : "" });
  now();
});
part("silence-add").addEventListener("click", add);

function draw() {
  const at = Date.now();
  const listed = [...shown].sort((a, b) => (a.until <= at) - (b.until <= at) || (a.until <= at ? b.until - a.until : a.until - b.until));
  keeping(() => part("silences").replaceChildren(...listed.map((one) => line(one, one.until <= at))));
  part("silences-empty").hidden = listed.length > 0;
}

function line(one, over) {
  const what = [...one.subjects, ...(one.matchers ?? [])];
  const about = make("p", { class: "what" }, make("span", { class: "mark", "data-state": over ? "inactive" : "pending", "aria-hidden": "true" }), ...(what.length ? what.flatMap((text, at) => [at ? ` ${say("silences.and")} ` : "", make("code", {}, foreign(text))]) : [say("silences.everything")]));
  const when = say(over ? "silences.was" : "silences.holds", { from: timeOf(one.at), until: timeOf(one.until) });
  const who = one.by === "page" ? "" : say("silences.by", { by: one.by });
  const row = make("li", { class: over ? "over" : null }, make("div", {}, about, make("p", { class: "meta" }, make("span", {}, when), who ? foreign(who) : null), one.reason ? make("p", { class: "soft" }, foreign(one.reason)) : null));
  if (!over) {
    const end = make("button", { type: "button", class: "quiet small", id: `end-${one.id}` }, say("silences.end"));
    end.addEventListener("click", async () => {
      await doing(end, part("silences-said"), async () => {
        await send("DELETE", `/api/v1/silences/${encodeURIComponent(one.id)}`);
        part("silence-add").focus();
        now();
        return say("silences.ended");
      });
    });
    row.append(end);
  }
  return row;
}

function add() {
  const fields = [
    { name: "everything", label: say("silences.all"), type: "checkbox" },
    { name: "span", label: say("silences.for"), value: "2h", options: [...SPANS.map((span) => [span, word("span", span)]), ["", say("silences.until_time")]] },
    { name: "until", label: say("silences.until"), type: "datetime-local" },
    { name: "reason", label: say("silences.reason"), required: true, hint: say("silences.reason_hint") },
    { name: "by", label: say("silences.who") },
  ];
  const open = ask(say("silences.new"), say("silences.new_text"), fields, say("silences.make"), async (given) => {
    const body = { reason: given.reason, by: given.by, all: given.everything, matchers: given.everything ? [] : conditions.map(written).filter(Boolean) };
    if (given.span) body.for = given.span;
    else if (given.until) body.until = new Date(given.until).toISOString();
    await send("POST", "/api/v1/silences", body);
    now();
    tell(part("silences-said"), say("silences.made"));
  }, "silence-add");
  const conditions = [];
  const list = make("fieldset", { class: "conditions" }, make("legend", {}, say("silences.where")));
  const more = make("button", { type: "button", class: "link" }, say("silences.one_more"));
  more.addEventListener("click", () => {
    condition(conditions, list, more).focus();
    more.hidden = conditions.length >= MOST;
  });
  list.append(more);
  open.form.prepend(list);
  condition(conditions, list, more).focus();
  open.input("everything").addEventListener("change", (event) => {
    list.disabled = event.target.checked;
  });
  const until = open.input("until").closest(".field");
  until.hidden = true;
  open.input("span").addEventListener("change", (event) => {
    until.hidden = event.target.value !== "";
    open.input("until").required = !until.hidden;
  });
}

/** One more line of the form: a field, is or is not, values by comma. Returns what is typed into. */
function condition(conditions, list, before) {
  const place = conditions.length;
  const made = [
    field({ name: `field-${place}`, label: say("silences.field"), options: FIELDS.map((one) => [one, word("field", one)]) }),
    field({ name: `is-${place}`, label: say("silences.compare"), options: [["yes", say("silences.is")], ["no", say("silences.is_not")]] }),
    field({ name: `value-${place}`, label: say("silences.value"), wide: true, placeholder: EXAMPLES.subject }),
  ];
  made[0].input.addEventListener("change", (event) => made[2].input.setAttribute("placeholder", EXAMPLES[event.target.value]));
  conditions.push(made);
  before.before(make("div", { class: "condition" }, ...made.map((one) => one.whole)));
  return made[2].input;
}

const EXAMPLES = { subject: "XNAS:AAPL, XSHG:*", topic: "fraud, default", severity: "warning", rule: "negative-surge", kind: "count", lang: "zh", source: "wire" };

/** As alerts/matchers.py reads it: "topic in fraud,default", "subject!=XNAS:*". */
function written([name, is, value]) {
  const values = value.value().split(/[,，]/).map((one) => one.trim()).filter(Boolean);
  if (!values.length) return "";
  const yes = is.value() === "yes";
  if (values.length === 1) return `${name.value()}${yes ? "=" : "!="}${values[0]}`;
  return `${name.value()} ${yes ? "in" : "not in"} ${values.join(",")}`;
}
put(part("silences-said"), "");
