// On every page: the theme, times in the reader's zone. The rest of a page is in the module of its name.
import { put, say, timeOf } from "./words.js";

const root = document.documentElement;
const button = document.getElementById("theme");
button.hidden = false;
button.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
  dispatchEvent(new Event("themechange"));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));

// Keep what is looked at when the language changes.
document.getElementById("language").addEventListener("click", (event) => {
  const link = event.currentTarget;
  const there = new URLSearchParams(location.search);
  there.set("lang", new URLSearchParams(link.getAttribute("href").replace(/^.*\?/, "")).get("lang"));
  link.setAttribute("href", `?${there}`);
});

for (const time of document.querySelectorAll("main time[datetime]")) {
  const at = Date.parse(time.dateTime);
  if (!Number.isNaN(at)) {
    time.title = time.dateTime;
    put(time, timeOf(at));
  }
}
for (const label of document.querySelectorAll("main svg text[data-ms]")) put(label, timeOf(Number(label.dataset.ms)));
put(document.getElementById("zone"), say("foot.times"));
