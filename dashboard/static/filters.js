// Which subjects are shown: a watchlist, a state, what documents are about, who says it, in which language. All in the address.
import { read } from "./requests.js";
import { count, language, make, put, say, word } from "./words.js";

const FIELDS = ["watchlist", "state", "topic", "source", "language"];
const STATES = ["firing", "recovering", "pending", "inactive", "learning", "warming"];
const part = (id) => document.getElementById(id);
const languages = new Intl.DisplayNames([language === "zh" ? "zh-CN" : "en"], { type: "language", fallback: "code" });

function languageOf(code) {
  try {
    return code === "other" ? say("filter.other_language") : languages.of(code);
  } catch {
    return code; // whatever a feed wrote
  }
}

export class Filters {
  /** `values` are those of the address; `change()` when the reader asks for others. */
  constructor(address, change) {
    this.form = part("filters");
    this.values = Object.fromEntries(FIELDS.map((name) => [name, address.get(name) ?? ""]));
    if (!STATES.includes(this.values.state)) this.values.state = ""; // an address may be from another version
    for (const state of STATES) this.form.elements.state.append(new Option(word("state", state), state));
    for (const name of FIELDS) this.#choose(name, this.values[name]);
    this.form.addEventListener("change", (event) => {
      this.values[event.target.name] = event.target.value;
      change();
    });
    part("unfilter").addEventListener("click", () => {
      for (const name of FIELDS) this.#choose(name, "");
      this.form.elements.watchlist.focus();
      change();
    });
    part("narrow").addEventListener("click", () => this.#open(this.form.hidden));
    if (this.active) this.#open(true);
  }

  get active() {
    return FIELDS.some((name) => this.values[name]);
  }

  /** Whether the rows are chosen by their documents, whose counts say how many are like that. */
  get ofDocuments() {
    return Boolean(this.values.topic || this.values.source || this.values.language);
  }

  /** Into an address, for the API as for the page. */
  write(address) {
    for (const name of FIELDS) {
      if (this.values[name]) address.set(name, this.values[name]);
      else address.delete(name);
    }
  }

  /** What came of it, in a sentence. */
  tell(total) {
    part("unfilter").hidden = !this.active;
    put(part("filter-says"), !this.active ? "" : total === 0 ? say("filter.none") : say(this.ofDocuments ? "filter.found_documents" : "filter.found", { total: count(total) }));
  }

  #open(open) {
    this.form.hidden = !open;
    part("narrow").setAttribute("aria-expanded", open);
    put(part("narrow"), say(open ? "filter.close" : "filter.open"));
    if (open && !this.asked) this.#ask();
  }

  async #ask() {
    this.asked = true;
    try {
      const found = await read("/api/v1/overview/choices");
      this.#offer("watchlist", found.watchlists.map((name) => [name, name]));
      this.#offer("topic", found.topics.map((topic) => [topic.id, topic.names[language] ?? topic.id]));
      this.#offer("source", found.sources.map((name) => [name, name]));
      this.#offer("language", found.languages.map((code) => [code, languageOf(code)]));
    } catch (error) {
      this.asked = false;
      put(part("filter-says"), say("filter.failed", { why: error.message }));
    }
  }

  #offer(name, choices) {
    const select = this.form.elements[name];
    select.replaceChildren(select.options[0], ...choices.map(([value, shown]) => new Option(shown, value)));
    this.#choose(name, this.values[name]);
  }

  /** Also a value that is not offered: an address may ask for it. */
  #choose(name, value) {
    const select = this.form.elements[name];
    this.values[name] = value;
    if (![...select.options].some((option) => option.value === value)) select.append(make("option", { value }, value));
    select.value = value;
  }
}
