// Rules of a user's own: what is in force, an editor that checks as you pause, and what a rule would have told. sensitivity.js has the rest.
import { doing, sure, tell } from "./forms.js";
import { Past } from "./past.js";
import { open as openSensitivity } from "./sensitivity.js";
import { read, send } from "./requests.js";
import { count, foreign, language, make, nameOf, put, say, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);
const PAUSE_MS = 600;
const TAKES_MS = 1000;
const AGAIN_MS = 3000;
const TEMPLATES = {
  loud: `[[rule]]
id = "loud-and-unusual"
name = { en = "Loud and unusual", zh = "又多又反常" }
severity = "warning"
subjects = ["XNAS:*", "XHKG:*", "XSHG:*"]
all = [
  { metric = "count", window = "15m", threshold = 10 },
  { metric = "times_expected", window = "15m", threshold = 3 },
]
`,
  mood: `[[rule]]
id = "mood-turns"
name = { en = "The mood turns", zh = "情绪转差" }
severity = "notice"
subjects = ["*"]
for = "10m"
all = [
  { metric = "count", of = "mentions", window = "1h", threshold = 40 },
  { metric = "share", window = "1h", comparison = ">", threshold = 0.5 },
]
`,
  news: `[[rule]]
id = "credit-news"
name = { en = "Credit news piles up", zh = "信用类新闻增多" }
severity = "critical"
subjects = ["*"]
topics = ["fraud", "default"]
feeds = ["news"]
all = [
  { metric = "count", window = "2h", threshold = 4 },
  { metric = "rate_of_change", window = "2h", threshold = 2 },
]
`,
};

const text = part("text");
const past = new Past("rule-past", () => ["/api/v1/rules/preview", { text: text.value }]);
let rules = [];

// -- what is in force ----------------------------------------------------------------------------------------------------

let reading = 0;
async function list() {
  const now = ++reading;
  const board = await read("/api/v1/rules");
  if (now !== reading) return false; // another one reads what is newer
  if (JSON.stringify(rules) !== JSON.stringify(board.items)) {
    rules = board.items;
    part("rules").replaceChildren(...rules.map(line));
  }
  part("rules-empty").hidden = rules.length > 0;
  const values = { in_force: count(board.in_force_in), processes: count(board.processes) };
  const all = board.in_force_in === board.processes;
  put(part("in-force"), rules.length === 0 ? "" : say(board.processes === 0 ? "rules.nobody_runs" : all ? "rules.in_force" : "rules.taking", values));
  return all && board.processes > 0;
}

/** Until every process has taken up what was written; half a minute at most. */
async function settle(turns = 30) {
  if ((await list()) || turns === 0) return;
  await new Promise((done) => setTimeout(done, TAKES_MS));
  await settle(turns - 1);
}

function line(rule) {
  const name = nameOf({ names: rule.names, subject: rule.id });
  const edit = make("button", { type: "button", class: "quiet small", "aria-label": say("rules.edit_it", { name }) }, say("rules.edit"));
  const remove = make("button", { type: "button", class: "quiet small", "aria-label": say("rules.remove_it", { name }) }, say("form.remove"));
  edit.addEventListener("click", () => take(rule.text, rule.id));
  remove.addEventListener("click", () => removed(rule, name, remove));
  const last = rule.last[0];
  const seen = rule.matched_24h === 0 ? say("rules.not_matched") : say(rule.matched_24h === 1 ? "rules.matched_once" : "rules.matched", { count: count(rule.matched_24h) });
  return make("li", { "data-rule": rule.id },
    make("div", { class: "rule-head" },
      make("h3", {}, foreign(name), make("span", { class: "code", translate: "no" }, rule.id)),
      make("div", { class: "row-acts" }, edit, remove)),
    make("p", {}, rule.means[language]),
    make("p", { class: "meta" },
      make("span", {}, rule.enabled ? word("severity", rule.severity) : say("rules.off")),
      make("span", {}, seen),
      last ? make("span", {}, say("rules.last"), " ", ...rule.last.slice(0, 3).flatMap((one, at) => [at ? ", " : "", make("a", { href: `/alerts/${encodeURIComponent(one.episode)}` }, foreign(nameOf(one)), ` ${timeOf(one.at)}`)])) : null,
      make("span", {}, say(rule.by === "page" ? "rules.from_page" : "rules.from", { set: rule.set.replace(/^rules_/, ""), by: rule.by, time: timeOf(rule.applied_at) }))));
}

async function removed(rule, name, button) {
  if (!(await sure(say("rules.sure", { name }), say("form.remove")))) return;
  const done = await doing(button, part("rules-says"), async () => {
    await send("DELETE", `/api/v1/rules/${encodeURIComponent(rule.id)}`);
    return say("rules.removed", { name });
  });
  if (done) {
    part("rules-title").focus();
    await settle().catch(() => {});
  }
}

// -- the editor ------------------------------------------------------------------------------------------------------------

/** Put a text into the editor; the address names the rule, so that it can be shared. */
function take(rule, id = "") {
  text.value = rule;
  const address = new URLSearchParams(location.search);
  address.delete("lang");
  if (id) address.set("rule", id);
  else address.delete("rule");
  history.replaceState(null, "", address.size ? `?${address}` : location.pathname);
  text.focus();
  text.setSelectionRange(0, 0);
  text.scrollIntoView({ block: "nearest" });
  past.clear();
  check();
}

let turn = 0;
async function check() {
  const now = ++turn;
  if (!text.value.trim()) return show({ ok: false, rules: [], errors: [] });
  try {
    const found = await send("POST", "/api/v1/rules/check", { text: text.value });
    if (now !== turn) return;
    tell(part("apply-says"), "");
    show(found);
  } catch (error) {
    if (now === turn) tell(part("apply-says"), error.message, "wrong");
  }
}

function show(found) {
  part("apply").disabled = !found.ok;
  text.setAttribute("aria-invalid", found.errors.length > 0);
  part("faults").replaceChildren(...found.errors.map(fault));
  part("no-faults").hidden = found.errors.length > 0;
  part("means").replaceChildren(...found.rules.map((rule) => make("li", {}, make("b", {}, foreign(nameOf({ names: rule.names, subject: rule.id }))), say("rules.colon"), rule.means[language])));
  part("no-means").hidden = found.rules.length > 0;
}

/** What may stand at a key such as `all[1].threshold`. */
function said(key) {
  const name = `fault.${key.split(".").pop().replace(/\[\d+\]$/, "")}`;
  const written = say(name);
  return written === name ? say("fault.other") : written;
}

function fault(one) {
  const where = make("button", { type: "button", class: "link" }, one.line ? say("rules.line", { line: one.line }) : say("rules.whole"));
  where.addEventListener("click", () => {
    const lines = text.value.split("\n");
    const begin = lines.slice(0, Math.max(one.line - 1, 0)).reduce((sum, each) => sum + each.length + 1, 0);
    text.focus();
    text.setSelectionRange(begin, begin + (lines[one.line - 1]?.length ?? 0));
  });
  // What exactly is wrong is said in English only; in Chinese the key's own sentence says what may stand there.
  const rule = language === "zh" ? [make("span", {}, said(one.key)), make("br")] : [];
  const exact = make("bdi", { translate: "no", lang: "en" }, `${one.key}: ${one.title}`);
  return make("li", {}, where, " ", ...rule, exact, make("br"), make("bdi", { class: "soft", lang: "en" }, one.remedy));
}

let pause = 0;
text.addEventListener("input", () => {
  clearTimeout(pause);
  part("apply").disabled = true; // what was checked is not what is written
  pause = setTimeout(check, PAUSE_MS);
  past.clear();
});
for (const button of document.querySelectorAll("[data-begin]")) button.addEventListener("click", () => take(TEMPLATES[button.dataset.begin]));
part("apply").addEventListener("click", async () => {
  const done = await doing(part("apply"), part("apply-says"), async () => {
    const { items } = await send("POST", "/api/v1/rules", { text: text.value });
    return say("rules.applied", { names: items.map((one) => nameOf({ names: one.names, subject: one.id })).join(say("rules.comma")) });
  });
  if (done) await settle().catch(() => {});
});

async function start() {
  const wanted = new URLSearchParams(location.search).get("rule");
  try {
    await list();
    await openSensitivity();
    tell(part("rules-says"), "");
  } catch (error) {
    tell(part("rules-says"), error.message, "wrong");
    setTimeout(start, AGAIN_MS);
    return;
  }
  text.value = rules.find((one) => one.id === wanted)?.text ?? TEMPLATES.loud;
  check();
  setInterval(() => !document.hidden && list().catch(() => {}), 30_000);
}
start();
