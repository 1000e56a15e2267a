// One subject's page: its chart and its documents, kept true from the live stream.
import { Live, read } from "./live.js";
import { Chart, RANGES, seriesAddress } from "./chart.js";
import { Documents } from "./documents.js";
import { Status } from "./status.js";
import { head } from "./subject-head.js";

const subject = document.getElementById("subject").dataset.subject;
const address = new URLSearchParams(location.search);
const status = new Status();
const chart = new Chart();
const papers = new Documents();
let range = RANGES[address.get("range")] ? address.get("range") : "3h";
let at = 0;

async function snapshot() {
  // The newest minute of the data decides the span; the first answer says where that is.
  const health = await read("/api/v1/health");
  at = health.at;
  status.health(health);
  return show().catch((error) => (health.state === "redis_away" ? health.cursor : Promise.reject(error)));
}

async function show() {
  const series = await read(seriesAddress(subject, range, at));
  const row = series.row ?? { subject };
  head(row);
  chart.show(series);
  papers.show(row);
  return series.cursor;
}

const live = new Live({ topics: () => ["alerts", `subject:${subject}`], snapshot, hear, state: (word) => status.connection(word) });

let waiting = 0;
function hear(event, data) {
  if (event === "tick") {
    at = data.at;
    if (status.health(data)) live.restart();
  } else if ((event === "series" && data.subject === subject) || (event === "alert" && data.subject === subject)) {
    if (event === "series") chart.take(data);
    waiting ||= setTimeout(() => {
      waiting = 0;
      show().catch(() => {});
    }, 5000);
  }
}

for (const button of document.querySelectorAll("[data-range]")) {
  button.setAttribute("aria-pressed", button.dataset.range === range);
  button.addEventListener("click", () => {
    range = button.dataset.range;
    for (const one of button.parentElement.children) one.setAttribute("aria-pressed", one === button);
    address.set("range", range);
    address.delete("lang");
    history.replaceState(null, "", `?${address}`);
    show().catch(() => status.connection("reconnecting"));
  });
}
