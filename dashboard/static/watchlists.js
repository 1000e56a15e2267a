// Lists of the subjects that matter most: how each stands now, what is on it, names put on it many at once.
import { doing, sure, tell } from "./forms.js";
import { read, send } from "./requests.js";
import { count, decimal, foreign, make, nameOf, put, say, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);
const AGAIN_MS = 10_000;
const PAGE = "page"; // who changed it at a page and gave no name
const path = (name, ...more) => ["/api/v1/watchlists", name, ...more].map((one, at) => (at ? encodeURIComponent(one) : one)).join("/");
const few = (value) => (value >= 1 ? decimal(value) : String(Number(value.toPrecision(2))));
const sections = new Map(); // by name: what of a list's section changes

let turn = 0;

async function refresh() {
  const now = ++turn;
  const { items, sharing } = await read("/api/v1/watchlists");
  if (now !== turn) return; // something was written, or read again, meanwhile
  for (const [name, one] of sections) if (!items.some((list) => list.name === name)) drop(name);
  for (const list of items) {
    if (!sections.has(list.name)) sections.set(list.name, section(list.name));
    fill(sections.get(list.name), list);
  }
  const order = items.map((list) => sections.get(list.name).root);
  if (order.some((root, at) => part("lists").children[at] !== root)) part("lists").replaceChildren(...order);
  part("empty").hidden = items.length > 0;
  const shares = { budget: few(sharing.budget), subjects: count(sharing.subjects), watched: count(sharing.watched), others: count(sharing.subjects - sharing.watched), a_day: few(sharing.a_day), times: sharing.times >= 10 ? count(sharing.times) : decimal(sharing.times) };
  put(part("sharing"), say(sharing.watched === 0 ? "lists.sharing_none" : sharing.half ? "lists.sharing_half" : "lists.sharing_all", shares));
}

/** A write; what was being read before it is not shown any more. */
async function write(method, address, body) {
  const said = await send(method, address, body);
  turn += 1;
  return said;
}

function drop(name) {
  sections.get(name).root.remove();
  sections.delete(name);
}

/** The frame of one list: made once, so that what somebody types stays while figures change. */
function section(name) {
  const root = make("section", { "aria-labelledby": `list-${name}`, "data-list": name });
  const one = { root, name, list: null };
  one.about = make("p", { class: "soft" });
  one.rows = make("tbody");
  one.table = make("table", { class: "list tight entries" },
    make("thead", {}, make("tr", {}, ...["subject", "state"].map((key) => make("th", { scope: "col" }, say(`lists.${key}`))), ...["negative", "expected"].map((key) => make("th", { scope: "col", class: "figure" }, say(`lists.${key}`))), make("th", { scope: "col" }, make("span", { class: "unseen" }, say("lists.take"))))),
    one.rows);
  one.nothing = make("p", { class: "soft intro" }, say("lists.nothing_on"));
  one.says = make("p", { class: "said", role: "status" });
  one.missing = make("p", { class: "said not-found", role: "status" });
  const rename = make("button", { type: "button", class: "quiet small", "aria-label": say("lists.rename_it", { name }) }, say("lists.rename"));
  const remove = make("button", { type: "button", class: "quiet small", "aria-label": say("lists.remove_it", { name }) }, say("form.remove"));
  rename.addEventListener("click", () => renamed(one, rename));
  remove.addEventListener("click", () => removed(one, remove));
  root.append(
    make("div", { class: "head" }, make("h2", { id: `list-${name}`, tabindex: "-1", translate: "no" }, foreign(name)), make("div", { class: "row-acts" }, make("a", { class: "link", href: `/rules?about=watchlist:${encodeURIComponent(name)}` }, say("lists.sensitivity")), rename, remove)),
    one.about, one.nothing, make("div", { class: "scrolling" }, one.table), adding(one), one.says, one.missing);
  return one;
}

function fill(one, list) {
  if (JSON.stringify(one.list) === JSON.stringify(list)) return;
  one.list = list;
  const about = list.matched === 0 ? [] : [say(list.matched === 1 ? "lists.about_one" : "lists.about", { count: count(list.matched), firing: count(list.firing), a_day: few(list.a_day) })];
  if (list.rules.length) about.push(say("lists.rules", { rules: list.rules.join(", ") }));
  about.push(say(list.by === PAGE ? "lists.by_page" : "lists.by", { by: list.by, time: timeOf(list.at) }));
  put(one.about, about.join(" · "));
  one.nothing.hidden = list.entries.length > 0;
  one.table.hidden = list.entries.length === 0;
  // Who stands on a line with the keyboard stays there.
  const at = [...one.rows.querySelectorAll("a, button")].indexOf(document.activeElement);
  one.rows.replaceChildren(...list.entries.map((entry) => row(one, entry)));
  if (at >= 0) one.rows.querySelectorAll("a, button")[at]?.focus();
}

function row(one, entry) {
  const name = entry.pattern ? entry.entry : nameOf({ names: entry.names, subject: entry.entry });
  const off = make("button", { type: "button", class: "quiet small", "aria-label": say("lists.take_off", { name }) }, say("lists.take"));
  off.addEventListener("click", () => taken(one, entry.entry, name, off));
  const shown = entry.pattern
    ? make("td", {}, make("span", { translate: "no" }, foreign(name)), make("span", { class: "code" }, `${say("lists.pattern", { count: count(entry.matched) })}`))
    : make("td", {}, make("a", { href: `/subjects/${encodeURIComponent(entry.entry)}` }, foreign(name)), name === entry.entry ? "" : make("span", { class: "code", translate: "no" }, entry.entry));
  return make("tr", {}, shown, stands(entry),
    make("td", { class: "figure" }, entry.row || entry.pattern ? count(entry.neg) : "–"),
    make("td", { class: "figure soft" }, entry.row || entry.pattern ? decimal(entry.exp) : "–"),
    make("td", { class: "figure" }, off));
}

/** The state of a subject, or the subjects of a pattern that speak. */
function stands(entry) {
  const mark = (state) => make("span", { class: "mark", "data-state": state, "aria-hidden": "true" });
  if (!entry.pattern) return entry.row ? make("td", {}, mark(entry.row.state), word("state", entry.row.state)) : make("td", { class: "soft" }, say("lists.quiet"));
  if (entry.speak.length === 0) return make("td", {}, mark("inactive"), word("state", "inactive"));
  return make("td", {}, ...entry.speak.slice(0, 3).flatMap((each) => [mark(each.state), make("a", { href: `/subjects/${encodeURIComponent(each.subject)}` }, foreign(nameOf(each))), " "]), entry.speak.length > 3 ? say("lists.of_pattern", { count: count(entry.speak.length) }) : "");
}

/** One subject by search, or many names pasted: what was not found stays in the field and is said. */
function adding(one) {
  const search = make("input", { list: "found", autocomplete: "off", spellcheck: "false", maxlength: "80" });
  const many = make("textarea", { class: "names", rows: "3", spellcheck: "false" });
  const button = make("button", { class: "quiet" }, say("lists.put"));
  search.addEventListener("input", () => offer(search.value));
  const form = make("form", { class: "adding" },
    make("label", { class: "field" }, say("lists.search"), search),
    make("label", { class: "field" }, say("lists.names"), many),
    make("div", { class: "ends-of-form" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    doing(button, one.says, async () => {
      const subjects = [search.value, ...many.value.split(/[\n,，、;；]/)].map((each) => each.trim()).filter(Boolean);
      if (subjects.length === 0) throw new Error(say("lists.write_some"));
      const made = await write("POST", path(one.name, "members"), { subjects });
      fill(one, made.list);
      search.value = "";
      many.value = made.not_found.join("\n");
      put(one.missing, made.not_found.length ? `${say("lists.not_found", { names: made.not_found.join(", ").slice(0, 300) })} ${say("lists.not_found_help")}` : "");
      refresh().catch(() => {});
      return [say("lists.added", { count: count(made.added.length) }), made.known.length ? say("lists.known", { count: count(made.known.length) }) : ""].join(" ");
    });
  });
  return make("details", { open: null }, make("summary", { class: "link" }, say("lists.add", { name: one.name })), form);
}

async function taken(one, entry, name, button) {
  const done = await doing(button, one.says, async () => {
    fill(one, await write("DELETE", path(one.name, "members", entry)));
    return say("lists.taken", { name });
  });
  if (done) part(`list-${one.name}`).focus();
}

async function removed(one, button) {
  const { name, rules } = one.list;
  if (!(await sure(say(rules.length ? "lists.sure_rules" : "lists.sure", { name, rules: rules.join(", ") }), say("form.remove")))) return;
  const done = await doing(button, part("says"), async () => {
    await write("DELETE", path(name));
    await refresh();
    return say("lists.removed", { name });
  });
  if (done) part("title").focus();
}

/** The name becomes a field in its place. */
function renamed(one, button) {
  const field = make("input", { value: one.name, "aria-label": say("lists.name"), maxlength: "60", autocomplete: "off", spellcheck: "false" });
  const save = make("button", { class: "quiet small" }, say("form.save"));
  const cancel = make("button", { type: "button", class: "link" }, say("form.cancel"));
  const form = make("form", { class: "ends-of-form" }, make("label", { class: "field" }, field), save, cancel);
  const head = one.root.querySelector("h2");
  const back = () => {
    form.replaceWith(head);
    button.disabled = false;
    button.focus();
  };
  button.disabled = true;
  head.replaceWith(form);
  field.select();
  cancel.addEventListener("click", back);
  form.addEventListener("keydown", (event) => event.key === "Escape" && back());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = field.value.trim();
    const done = await doing(save, one.says, async () => {
      await write("PUT", path(one.name), { name });
      back();
      await refresh();
      return say("lists.renamed", { name });
    });
    if (done) part(`list-${name}`)?.focus();
  });
}

let typing = 0;
function offer(text) {
  clearTimeout(typing);
  if (text.trim().length < 2) return;
  typing = setTimeout(async () => {
    const answer = await read(`/api/v1/subjects?q=${encodeURIComponent(text.trim())}`).catch(() => ({ items: [] }));
    part("found").replaceChildren(...answer.items.map((one) => make("option", { value: one.subject }, nameOf(one))));
  }, 200);
}

part("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = part("new-name").value.trim();
  const done = await doing(part("make"), part("says"), async () => {
    await refresh();
    if (sections.has(name)) throw new Error(say("lists.there", { name }));
    await write("PUT", path(name), { subjects: [] });
    part("new-name").value = "";
    await refresh();
    return say("lists.made", { name });
  });
  if (!done) return;
  const made = sections.get(name).root.querySelector("details");
  made.open = true;
  made.querySelector("input").focus();
});

let failed = false;
async function again() {
  try {
    await refresh();
    if (failed) tell(part("says"), "");
    failed = false;
  } catch (error) {
    failed = true;
    tell(part("says"), say("lists.failed", { why: error.message }), "wrong");
  }
}
again();
setInterval(() => !document.hidden && again(), AGAIN_MS);
