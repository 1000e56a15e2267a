// A small form in a dialog: a title, a sentence, some fields, one action. A refusal is said in it; the focus goes back to who asked.
import { doing } from "./forms.js";
import { make, say } from "./words.js";

/** `fields`: {name, label, type, value, hint, options, ...}; `work(given)` may throw, then the form stays. `back`: id that gets the focus. */
export function ask(title, text, fields, act, work, back) {
  const said = make("p", { class: "said", role: "status" });
  const no = make("button", { type: "button", class: "quiet" }, say("form.cancel"));
  const yes = make("button", { type: "submit", class: "act" }, act);
  const inputs = fields.map(field);
  const form = make("form", {}, ...inputs.map(({ whole }) => whole), said, make("p", { class: "ends" }, no, yes));
  const heading = make("h2", { id: "asked" }, title);
  const dialog = make("dialog", { "aria-labelledby": "asked" }, heading, text ? make("p", { class: "soft asked-text" }, text) : null, form);
  const end = () => dialog.close();
  no.addEventListener("click", end);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(inputs.map(({ name, value }) => [name, value()]));
    if (await doing(yes, said, () => work(given))) end();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (!document.querySelector("dialog[open]")) document.getElementById(back)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, form, said, input: (name) => inputs.find((one) => one.name === name)?.input };
}

/** A labelled field, and how to read it. */
export function field({ name, label, type = "text", value = "", hint = "", options, ...more }) {
  const id = `field-${name}`;
  const about = hint ? `${id}-hint` : null;
  if (type === "checkbox") {
    const input = make("input", { type, id, name });
    input.checked = Boolean(value);
    return { name, input, value: () => input.checked, whole: make("label", { class: "choice" }, input, label) };
  }
  const input = options
    ? make("select", { id, name, "aria-describedby": about }, ...options.map(([key, text]) => make("option", { value: key, selected: key === value ? "" : null }, text)))
    : make("input", { type, id, name, value, "aria-describedby": about, autocomplete: "off", required: more.required ? "" : null, min: more.min, max: more.max, list: more.list, placeholder: more.placeholder, spellcheck: "false" });
  const help = make("span", { class: "hint", id: about, "aria-live": more.live ? "polite" : null }, hint);
  // The hint stands outside the label: it describes the field, it is not its name.
  const whole = make("div", { class: `field ${more.wide ? "wide-field" : ""}` }, make("label", { for: id }, label), input, hint || more.live ? help : null);
  return { name, input, help, value: () => input.value.trim(), whole };
}
