// The dialog of preferences, kept in cookies so that the server paints the first sight right, and the list of keys.
import { shortcut } from "./keys.js";
import { put } from "./words.js";

const YEAR_S = 31_536_000;
const part = (id) => document.getElementById(id);
const dialog = part("preferences");
const form = dialog.querySelector("form");
const { zone, other } = form.elements;

part("open-preferences").hidden = false;
part("open-preferences").addEventListener("click", () => {
  if (part("zone-names").options.length === 0) part("zone-names").append(...(Intl.supportedValuesOf?.("timeZone") ?? []).map((name) => new Option(name)));
  form.reset();
  other.hidden = zone.value !== "other";
  put(part("preferences-says"), "");
  dialog.showModal();
});
zone.addEventListener("change", () => {
  other.hidden = zone.value !== "other";
  if (!other.hidden) other.focus();
});
form.addEventListener("submit", (event) => {
  if (event.submitter?.value === "no") return;
  const named = zone.value === "other" ? other.value.trim() : zone.value;
  if (named && !known(named)) {
    event.preventDefault();
    other.setAttribute("aria-invalid", "true");
    put(part("preferences-says"), part("preferences-says").dataset.wrong);
    return other.focus();
  }
  keep("zone", named);
  keep("theme", form.elements.theme.value);
  keep("rise", form.elements.rise.value);
  keep("density", form.elements.density.value);
  keep("shortcuts", form.elements.shortcuts.checked ? "" : "off");
  // The language is a cookie of the server's; the place is kept, and the page comes back as it was asked for.
  const there = new URLSearchParams(location.search);
  there.set("lang", form.elements.lang.value);
  location.search = there;
});

function keep(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${value ? YEAR_S : 0}; samesite=strict`;
}

function known(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

const list = () => part("keys").open || part("keys").showModal();
part("open-keys").addEventListener("click", list);
shortcut("?", list);
