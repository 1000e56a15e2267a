// On every page: times in the reader's zone, keys that lead to the other pages. The rest of a page is in the module of its name.
import { shortcut } from "./keys.js";
import "./preferences.js";
import { put, say, timeOf, zoneName } from "./words.js";

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));

// Keep what is looked at when the language changes.
document.getElementById("language").addEventListener("click", (event) => {
  const link = event.currentTarget;
  const there = new URLSearchParams(location.search);
  there.set("lang", new URLSearchParams(link.getAttribute("href").replace(/^.*\?/, "")).get("lang"));
  link.setAttribute("href", `?${there}`);
});

for (const link of document.querySelectorAll("#pages [data-key]")) shortcut(`g ${link.dataset.key}`, () => link.click());
shortcut("/", () => {
  const field = document.querySelector("main input[type=search]");
  if (field) field.focus();
  else location.assign(`${document.getElementById("search").getAttribute("href")}#search`);
});
if (location.hash === "#search") document.querySelector("main input[type=search]")?.focus();

// On a narrow screen the row of pages scrolls: the one that is open is in sight.
const current = document.querySelector("#pages [aria-current]");
if (current) current.parentElement.scrollLeft = current.offsetLeft - current.parentElement.offsetLeft - 24;

for (const time of document.querySelectorAll("main time[datetime]")) {
  const at = Date.parse(time.dateTime);
  if (!Number.isNaN(at)) {
    time.title = time.dateTime;
    put(time, timeOf(at));
  }
}
for (const label of document.querySelectorAll("main svg text[data-ms]")) put(label, timeOf(Number(label.dataset.ms)));
put(document.getElementById("zone"), say("foot.times", { zone: zoneName }));
