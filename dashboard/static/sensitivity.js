// How much it takes to alert: of all subjects, of a watchlist, of one subject; with what each choice would have told.
import { doing, sure } from "./forms.js";
import { Past, said } from "./past.js";
import { read, send } from "./requests.js";
import { count, decimal, foreign, make, nameOf, put, say } from "./words.js";

const part = (id) => document.getElementById(id);
const WORDS = ["fewer", "balanced", "more"];
const OTHER = "?"; // the choice that asks for a subject by name
const OF_LIST = "watchlist:";
const radios = [...document.querySelectorAll('#sense input[name="value"]')];
const own = (about) => known.items.find((one) => one.about === about);
const path = (about) => `/api/v1/sensitivities/${encodeURIComponent(about)}`;

let known = { items: [], words: {}, mode: "guaranteed" };
let lists = [];
let found = null; // of the preview
let address = new URLSearchParams(location.search);
let whom = address.get("about") || "all";

const past = new Past("sense-past", () => ["/api/v1/sensitivities/preview", { about: about(), values: asked() }], (answer) => {
  found = answer;
  counts();
});

/** Whom the form is about: a typed subject counts as it is written. */
function about() {
  return whom === OTHER ? part("sense-subject").value.trim().split(" ")[0] : whom;
}

const chosen = () => radios.find((one) => one.checked)?.value ?? "balanced";
const number = () => Number(part("number").value);
/** The three words, and the number where one is written. */
const asked = () => [...WORDS, ...(number() > 0 ? [number()] : [])];

export async function open() {
  await refresh();
  part("sense").addEventListener("submit", save);
  part("sense-clear").addEventListener("click", clear);
  part("sense-about").addEventListener("change", () => turn(part("sense-about").value));
  part("sense-subject").addEventListener("input", offer);
  for (const one of radios) one.addEventListener("change", counts);
  part("number").addEventListener("input", () => {
    part("by-number").checked = true;
    counts();
  });
}

async function refresh() {
  [known, { items: lists }] = await Promise.all([read("/api/v1/sensitivities"), read("/api/v1/watchlists")]);
  const subjects = known.items.filter((one) => one.kind === "subject");
  const names = lists.map((one) => OF_LIST + one.name);
  if (whom !== OTHER && whom !== "all" && !names.includes(whom) && !own(whom)) {
    part("sense-subject").value = whom;
    whom = OTHER;
  }
  const option = (value, text) => make("option", { value }, text);
  part("sense-about").replaceChildren(
    option("all", say("sense.all")),
    ...lists.map((one) => option(OF_LIST + one.name, say("sense.list", { name: one.name }))),
    ...subjects.map((one) => option(one.about, nameOf({ ...one, subject: one.about }))),
    option(OTHER, say("sense.another")),
  );
  part("sense-about").value = whom;
  fill();
  apart(subjects);
}

/** Another one is looked at: the address says who. */
function turn(other) {
  whom = other;
  address = new URLSearchParams(location.search);
  address.delete("lang");
  if (whom === "all" || whom === OTHER) address.delete("about");
  else address.set("about", whom);
  history.replaceState(null, "", address.size ? `?${address}` : location.pathname);
  past.clear();
  fill();
  if (whom === OTHER) part("sense-subject").focus();
}

/** The form as it is set now. */
function fill() {
  const set = own(whom);
  const value = set?.value ?? "balanced";
  const whole = whom === "all";
  part("sense-subject-field").hidden = whom !== OTHER;
  for (const one of radios) one.checked = one.value === (typeof value === "number" ? "number" : value);
  part("number").value = typeof value === "number" ? value : "";
  for (const one of WORDS)
    put(part(`means-${one}`), whole ? say(known.mode === "guaranteed" ? "sense.most" : "sense.about", { count: decimal(known.words[one]) }) : say(`sense.part_${one}`));
  part("sense-clear").hidden = !set?.at;
  put(part("sense-clear"), say(whole ? "sense.clear_all" : "sense.clear"));
  counts();
}

/** How often each choice would have fired; and of the chosen one, when and on what. */
function counts() {
  const by = (name) => found?.settings.find((one) => one.name === name);
  for (const one of WORDS) said(part(`fired-${one}`), by(one));
  const written = number() > 0 ? String(number()) : "";
  said(part("fired-number"), written ? by(written) : null);
  const name = chosen() === "number" ? written : chosen();
  if (by(name)) past.show(found, name);
}

async function save(event) {
  event.preventDefault();
  const value = chosen() === "number" ? number() : chosen();
  await doing(part("sense-save"), part("sense-says"), async () => {
    if (!about()) throw new Error(say("sense.name_one"));
    const made = await send("PUT", path(about()), { value });
    if (whom === OTHER) {
      whom = made.subject;
      part("sense-subject").value = "";
    }
    await refresh();
    return say("sense.saved");
  });
}

async function clear() {
  await doing(part("sense-clear"), part("sense-says"), async () => {
    await send("DELETE", path(about()));
    await refresh();
    return say("sense.cleared");
  });
}

/** What is set of lists and subjects, each with a way back. */
function apart(subjects) {
  const set = [...known.items.filter((one) => one.kind === "watchlist"), ...subjects];
  part("apart").hidden = set.length === 0;
  part("apart-rows").replaceChildren(...set.map((one) => {
    const name = one.kind === "watchlist" ? say("sense.list", { name: one.about.slice(OF_LIST.length) }) : nameOf({ ...one, subject: one.about });
    const change = make("button", { type: "button", class: "quiet small" }, say("sense.change"));
    const remove = make("button", { type: "button", class: "quiet small", "aria-label": say("sense.remove", { name }) }, say("form.remove"));
    change.addEventListener("click", () => {
      part("sense-about").value = one.about;
      turn(one.about);
      part("sense-about").focus();
    });
    remove.addEventListener("click", async () => {
      if (!(await sure(say("sense.sure", { name }), say("form.remove")))) return;
      await doing(remove, part("sense-says"), async () => {
        await send("DELETE", path(one.about));
        await refresh();
        return say("sense.cleared");
      });
      part("sense-about").focus();
    });
    const value = typeof one.value === "number" ? say("sense.number_is", { count: decimal(one.value) }) : say(`sense.${one.value}`);
    return make("tr", {}, make("td", {}, foreign(name), make("span", { class: "soft" }, one.kind === "watchlist" ? ` ${say("sense.subjects", { count: count(one.subjects) })}` : "")), make("td", {}, value), make("td", { class: "figure" }, few(one.a_day)), make("td", {}, make("div", { class: "row-acts" }, change, remove)));
  }));
}

const few = (value) => (value >= 1 ? decimal(value) : String(Number(value.toPrecision(2))));

let typing = 0;
function offer() {
  past.clear();
  clearTimeout(typing);
  const text = part("sense-subject").value.trim();
  if (text.length < 2) return;
  typing = setTimeout(async () => {
    const answer = await read(`/api/v1/subjects?q=${encodeURIComponent(text)}`).catch(() => ({ items: [] }));
    part("sense-found").replaceChildren(...answer.items.map((one) => make("option", { value: one.subject }, nameOf(one))));
  }, 200);
}
