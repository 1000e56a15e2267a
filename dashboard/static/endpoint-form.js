// Adds an endpoint or changes one: what each channel needs, the address guard's verdict beside the address, and the secret, once.
import { ask } from "./ask.js";
import { send } from "./requests.js";
import { foreign, make, put, say, word } from "./words.js";

const CHANNELS = ["webhook", "feishu", "dingtalk", "wecom", "slack", "telegram", "discord", "teams", "email", "pagerduty", "alertmanager"];
const WITH_SECRET = ["webhook", "feishu", "dingtalk", "pagerduty", "alertmanager"];
const ZONES = ["Asia/Shanghai", "Asia/Hong_Kong", "Asia/Singapore", "Asia/Tokyo", "Europe/London", "Europe/Zurich", "America/New_York", "America/Los_Angeles", "UTC"];
const CHECK_MS = 500;
const words = (text) => text.split(/[,，\s]+/).filter(Boolean);
const LEVELS = () => ["notice", "warning", "critical"].map((one) => [one, word("severity", one)]);

/** `one` null: a new one. `done(endpoint)` hears what was made and gives the id of who gets the focus. */
export function openForm(one, done) {
  const quiet = one?.quiet;
  const fields = [
    one ? null : { name: "channel", label: say("endpoints.channel"), options: [["", say("endpoints.by_address")], ...CHANNELS.map((name) => [name, word("channel", name)])] },
    { name: "name", label: say("endpoints.name"), value: one?.name ?? "", required: true, hint: say("endpoints.name_hint") },
    { name: "url", label: say("endpoints.address"), hint: one ? say("endpoints.address_stays", { shown: one.shown }) : word("hint", "any"), required: !one, live: true },
    one ? null : { name: "secret", label: say("endpoints.secret"), type: "password", hint: word("secret", "webhook"), live: true },
    one ? null : { name: "v1a", label: say("endpoints.v1a"), type: "checkbox" },
    { name: "severity", label: say("endpoints.severity"), value: one?.severity ?? "warning", options: LEVELS() },
    { name: "lang", label: say("endpoints.messages_in"), value: one?.lang ?? document.documentElement.lang.slice(0, 2), options: ["en", "zh"].map((name) => [name, word("endpoints.lang", name)]) },
    { name: "subjects", label: say("endpoints.subjects"), value: one?.subjects.join(", ") ?? "", hint: say("endpoints.subjects_hint") },
    { name: "topics", label: say("endpoints.topics"), value: one?.topics.join(", ") ?? "", hint: say("endpoints.topics_hint") },
    { name: "languages", label: say("endpoints.documents_in"), value: one?.languages.join(", ") ?? "", hint: say("endpoints.languages_hint") },
    { name: "start", label: say("endpoints.quiet_from"), type: "time", value: quiet?.start ?? "" },
    { name: "end", label: say("endpoints.quiet_to"), type: "time", value: quiet?.end ?? "" },
    { name: "zone", label: say("endpoints.zone"), value: quiet?.zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone, list: "zones" },
    { name: "unless", label: say("endpoints.unless"), value: quiet?.unless ?? "critical", options: LEVELS() },
    { name: "repeat", label: say("endpoints.repeat_minutes"), type: "number", min: 0, max: 10080, value: String((one?.repeat_s ?? 0) / 60) },
    { name: "escalate", label: say("endpoints.escalate_minutes"), type: "number", min: 0, max: 10080, value: String((one?.escalates_after_s ?? 0) / 60) },
    { name: "drills", label: say("endpoints.drills_join"), type: "checkbox", value: one?.drills },
  ].filter(Boolean);
  const title = one ? say("endpoints.change_title", { name: one.name }) : say("endpoints.add");
  const back = one ? `change-${one.id}` : "endpoint-add";
  const open = ask(title, "", fields, say(one ? "form.save" : "form.add"), async (given) => {
    const body = wished(given, one);
    const made = await send(one ? "PATCH" : "POST", one ? `/api/v1/endpoints/${encodeURIComponent(one.id)}` : "/api/v1/endpoints", body);
    done(made);
    if (!one) showSecret(made, "endpoint-add");
  }, back);
  const zones = make("datalist", { id: "zones" }, ...ZONES.map((zone) => make("option", { value: zone })));
  open.form.append(zones);
  group(open.form, ["severity", "lang", "subjects", "topics", "languages"], say("endpoints.group_hears"), true);
  group(open.form, ["start", "end", "zone", "unless", "repeat", "escalate", "drills"], say("endpoints.group_when"), Boolean(quiet || one?.repeat_s || one?.escalates_after_s || one?.drills));
  watch(open, one);
}

function wished(given, one) {
  const quiet = given.start && given.end ? { start: given.start, end: given.end, zone: given.zone, unless: given.unless } : null;
  const body = {
    name: given.name, lang: given.lang, severity: given.severity, subjects: words(given.subjects), topics: words(given.topics), languages: words(given.languages),
    quiet, repeat_s: Math.round(Number(given.repeat) * 60), escalates_after_s: Math.round(Number(given.escalate) * 60), drills: given.drills,
  };
  if (given.url) body.url = given.url;
  return one ? body : { ...body, channel: given.channel, secret: given.secret, v1a: given.v1a };
}

/** Fields under one summary. */
function group(form, names, title, isOpen) {
  const details = make("details", { class: "group" }, make("summary", {}, title));
  details.open = isOpen;
  const first = form.querySelector(`#field-${names[0]}`).closest(".field, .choice");
  first.before(details);
  const inside = make("div", { class: "group-fields" }, ...names.map((name) => form.querySelector(`#field-${name}`).closest(".field, .choice")));
  details.append(inside);
}

/** Hints follow the channel; the verdict follows the address, half a second after the last key. */
function watch(open, one) {
  const [channel, url, secret, v1a] = ["channel", "url", "secret", "v1a"].map((name) => open.input(name));
  const verdict = open.form.querySelector("#field-url-hint");
  let timer;
  let turn = 0;

  function hints(name) {
    if (one) return;
    const known = name || "webhook";
    secret.closest(".field, .choice").hidden = !WITH_SECRET.includes(known);
    put(open.form.querySelector("#field-secret-hint"), word("secret", known));
    secret.required = known === "pagerduty";
    v1a.closest(".field, .choice").hidden = known !== "webhook";
    if (known !== "webhook") v1a.checked = false;
  }

  async function judge() {
    const mine = ++turn;
    const text = url.value.trim();
    if (!text) return note("", one ? say("endpoints.address_stays", { shown: one.shown }) : word("hint", channel.value || "any"));
    try {
      const found = await send("POST", "/api/v1/endpoints/check", { url: text, channel: one ? one.channel : channel.value, secret: one || !secret.value ? "" : secret.value });
      if (mine !== turn) return;
      if (found.ok) {
        note("ok", say("endpoints.allowed", { channel: word("channel", found.channel), shown: found.shown }));
        if (!one && !channel.value) hints(found.channel);
      } else {
        const hint = found.rule === "not_this_channel" && !one ? word("hint", channel.value || "any") : "";
        note("wrong", [word("guard", found.rule) === found.rule ? found.why : word("guard", found.rule), hint].filter(Boolean).join(" "));
      }
    } catch (error) {
      if (mine === turn) note("wrong", error.message);
    }
  }

  function note(kind, text) {
    verdict.dataset.kind = kind;
    url.setAttribute("aria-invalid", String(kind === "wrong"));
    put(verdict, text);
  }

  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(judge, CHECK_MS);
  };
  url.addEventListener("input", soon);
  secret?.addEventListener("input", soon);
  channel?.addEventListener("change", () => {
    hints(channel.value);
    judge();
  });
  hints("");
}

/** A secret that was made: shown now, and never again. */
export function showSecret(made, back) {
  const text = made.secret || made.public_key;
  if (!text) return;
  const copy = make("button", { type: "button", class: "quiet" }, say("endpoints.copy"));
  const said = make("span", { class: "said", role: "status" });
  const shown = make("code", { class: "secret", translate: "no", tabindex: "0" }, text);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text); // not on plain-http names: then it is marked for the keys to copy
      put(said, say("endpoints.copied"));
    } catch {
      getSelection().selectAllChildren(shown);
      put(said, say("endpoints.copy_by_key"));
    }
  });
  const close = make("button", { type: "button", class: "act" }, say("endpoints.noted"));
  const title = make("h2", { id: "secret-title" }, say(made.secret ? "endpoints.secret_title" : "endpoints.public_title", { name: "" }), " ", foreign(made.name));
  const dialog = make("dialog", { "aria-labelledby": "secret-title" }, title, make("p", { class: "asked-text" }, say(made.secret ? "endpoints.secret_once" : "endpoints.public_text")), shown, make("p", { class: "ends" }, said, copy, close));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    shown.textContent = "";
    dialog.remove();
    document.getElementById(back)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  copy.focus();
}
