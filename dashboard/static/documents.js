// The documents behind a subject, newest first, a page at a time. Everything in them is foreign text.
import { read } from "./requests.js";
import { foreign, make, nameOf, put, say, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);

export class Documents {
  constructor() {
    this.polarity = "";
    this.subject = null;
    for (const button of document.querySelectorAll("[data-polarity]")) {
      if (button.tagName === "BUTTON") button.addEventListener("click", () => this.#filter(button));
    }
    part("documents-more").addEventListener("click", () => this.#read(this.next));
  }

  /** Show the newest documents of a subject; again and again is fine, the list is drawn only when it changed. */
  show(row) {
    if (row.subject !== this.subject) {
      this.subject = row.subject;
      this.shown = "";
      this.older = false;
      part("documents").replaceChildren();
    }
    put(part("documents-about"), say("documents.about", { name: nameOf(row) }));
    // Who has paged back is reading: new ones wait.
    return this.older ? undefined : this.#read("");
  }

  #filter(button) {
    this.polarity = button.dataset.polarity;
    for (const one of button.parentElement.children) one.setAttribute("aria-pressed", one === button);
    this.older = false;
    this.shown = "";
    this.#read("");
  }

  async #read(before) {
    const subject = this.subject;
    if (!subject) return;
    try {
      const address = `/api/v1/subjects/${encodeURIComponent(subject)}/documents?polarity=${this.polarity}&before=${before ?? ""}`;
      const { items, next } = await read(address);
      if (subject !== this.subject) return;
      const list = part("documents");
      const ids = items.map((item) => item.id).join();
      if (before) {
        this.older = true;
        list.append(...items.map(card));
      } else if (ids !== this.shown) {
        this.shown = ids;
        list.replaceChildren(...items.slice(0, 12).map(card));
        this.rest = items.slice(12);
      }
      this.next = next;
      part("documents-empty").hidden = list.children.length > 0;
      put(part("documents-empty"), say("documents.empty"));
      part("documents-more").hidden = !next && !(this.rest?.length > 0);
      if (before || !this.rest?.length) return;
      part("documents-more").onclick = () => {
        list.append(...this.rest.map(card));
        this.rest = [];
        this.older = true;
        part("documents-more").onclick = null;
        part("documents-more").hidden = !this.next;
      };
    } catch {
      part("documents-empty").hidden = false;
      put(part("documents-empty"), say("documents.failed"));
    }
  }
}

function card(item) {
  const lang = item.lang === "zh" ? "zh-CN" : item.lang === "en" ? "en" : null;
  const head = item.title || item.excerpt;
  const title = item.url
    ? make("a", { class: "title", href: item.url, rel: "noopener noreferrer nofollow", target: "_blank", lang }, foreign(head))
    : make("span", { class: "title", lang }, foreign(head));
  const meta = make(
    "p",
    { class: "meta" },
    make("time", { datetime: new Date(item.published_at).toISOString() }, timeOf(item.published_at)),
    foreign(item.source),
    make("span", { class: "polarity", "data-polarity": item.label }, word("polarity", item.label)),
    item.unsure ? make("span", {}, say("documents.unsure")) : null,
    item.echo ? make("span", {}, say("documents.copy")) : null,
  );
  const excerpt = item.excerpt && item.excerpt !== head ? make("p", { class: "excerpt", lang }, foreign(item.excerpt)) : null;
  return make("li", {}, meta, title, excerpt);
}
