// How the installation fares: the first sentence says what is wrong and what to do, then stage by stage, services, model.
import { cell, coded } from "./coded.js";
import { poll } from "./poll.js";
import { count, decimal, foreign, make, put, say, share, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);
const FATES = ["read", "applied", "duplicate", "late", "dead_lettered", "in_flight"];
const FRESH_MS = 180_000;
const WIDEST = 0.25; // a calibration error that fills its bar

poll(
  () => "/api/v1/system",
  (found) => {
    verdict(found);
    road(found);
    part("services").replaceChildren(...services(found));
    if (found.model) model(found.model);
    dispatchEvent(new CustomEvent("refused", { detail: found.stages.reduce((sum, one) => sum + (one.books?.dead_lettered ?? 0), 0) }));
  },
  (error) => error && part("verdict").replaceChildren(make("p", { class: "lead wrong" }, mark("no_data"), say("system.unread", { why: error.message }))),
);

function mark(state) {
  return make("span", { class: "mark", "data-state": state, "aria-hidden": "true" });
}

/** All is well, or each thing that is wrong with what to do about it. */
function verdict({ findings, warming, kafka }) {
  if (!findings.length) {
    const waits = warming?.partitions > 0;
    const text = waits ? say("system.well_but_warming", { count: warming.partitions, share: share(warming.share) }) : say(kafka ? "system.well" : "system.well_so_far");
    return part("verdict").replaceChildren(make("p", { class: "lead" }, mark(waits || !kafka ? "warming" : "ok"), text));
  }
  const said = findings.map((one) => {
    const key = one.what !== "bad_topic" ? one.what : one.values.found ? "topic_partitions" : "topic_missing";
    const text = word("finding", key) === key ? one.sentence : say(`finding.${key}`, { stage: one.stage, ...one.values });
    return make("li", {}, mark("no_data"), make("bdi", {}, coded(text)));
  });
  part("verdict").replaceChildren(make("p", { class: "lead" }, say("system.wrong", { count: findings.length })), make("ul", { class: "findings" }, ...said));
}

function road(found) {
  put(part("road-over"), found.speed_over_s ? say("system.over", { seconds: found.speed_over_s }) : say("system.second_reading"));
  part("road").replaceChildren(...found.stages.map((one) => {
    const books = one.books;
    const figures = FATES.map((fate) => cell(say(`system.${fate}`), { class: `figure ${fate === "dead_lettered" && books?.[fate] ? "raised" : ""}` }, books ? count(books[fate]) : "–"));
    const sum = books ? make("span", { class: books.balanced ? "holds" : "wrong" }, books.balanced ? `✓ ${say("system.holds")}` : `✗ ${say("system.not")}`) : "–";
    return make("tr", { role: "row", "data-stage": one.stage, class: books ? null : "no-books" }, make("th", { scope: "row", role: "rowheader", class: "stage" }, make("span", { translate: "no" }, one.stage)), cell("", { class: "lives-cell" }, lives(one)),
      cell(say("system.per_s"), { class: "figure" }, one.per_s === null ? "–" : decimal(one.per_s)), cell(say("system.lag"), { class: "figure" }, one.processes.length ? count(one.lag) : "–"), ...figures, cell(say("system.sum"), { class: "sum" }, sum));
  }));
}

/** How many processes live, and what they are at. */
function lives(one) {
  if (!one.processes.length) return make("span", { class: "lives wrong" }, mark("no_data"), say("system.none"));
  const states = [...new Set(one.processes.map((each) => each.state))];
  const unusual = states.filter((state) => state !== "running");
  const word_ = unusual.length ? unusual.map((state) => word("process", state)).join(", ") : word("process", "running");
  return make("span", { class: "lives" }, mark(unusual.includes("slow") ? "no_data" : unusual.length ? "warming" : "ok"), `${one.processes.length} · ${word_}`);
}

function services(found) {
  const { kafka, redis, warming } = found;
  const rows = [];
  const row = (name, ...value) => rows.push(make("div", {}, make("dt", {}, name), make("dd", {}, ...value.map((one) => (typeof one === "string" ? coded(one) : one)))));
  row(make("span", { translate: "no" }, "Kafka"), kafka === null ? say("system.asking") : kafka.reachable ? say("system.kafka", { brokers: kafka.brokers, cluster: kafka.cluster || "–" }) : foreign(say("system.away", { why: kafka.why })));
  if (!redis) row("Redis", say("system.redis_away"));
  else if (redis.used_bytes === null) row("Redis", say("system.redis_embedded"));
  else row("Redis", say("system.redis", { version: redis.version, used: bytes(redis.used_bytes), peak: bytes(redis.peak_bytes) }), " ", redis.most_bytes ? say("system.redis_most", { most: bytes(redis.most_bytes), share: share(redis.used_bytes / redis.most_bytes) }) : say("system.redis_unbounded"));
  if (warming?.partitions) row(say("system.warming"), bar(warming.share), say("system.warming_text", { count: warming.partitions, share: share(warming.share) }));
  if (redis) {
    row(say("system.watch"), watch(found));
    row(say("system.drill"), drill(found));
  }
  row(say("system.pages"), say("system.pages_text", { version: found.version, count: count(found.streams) }));
  return rows;
}

function watch(found) {
  if (!found.canary_at) return say(found.watched ? "system.canary_none" : "system.canary_off");
  const fresh = Date.now() - found.canary_at < FRESH_MS;
  return make("span", {}, mark(fresh ? "ok" : "no_data"), say(fresh ? "system.canary_fresh" : "system.canary_lost", { time: timeOf(found.canary_at) }));
}

function drill(found) {
  const [at, how] = found.drill ?? [0, ""];
  const newest = Math.max(at, found.drill_alert_at ?? 0);
  const often = found.drill_every_s ? say("system.drill_often", { hours: decimal(found.drill_every_s / 3600) }) : say("system.drill_by_hand");
  if (!newest) return `${say("system.drill_never")} ${often}`;
  const missed = how === "missed" && at === newest;
  return make("span", {}, mark(missed ? "no_data" : "ok"), say(missed ? "system.drill_missed" : "system.drill_alerted", { time: timeOf(newest) }), " ", coded(often));
}

function model(card) {
  const running = card.running ?? [];
  put(part("model-name"), running.length ? running.join(", ") : say("system.model_not_running", { name: card.name }));
  const measured = card.sets.length && (!running.length || running.includes(card.version));
  put(part("model-about"), measured ? say("system.calibration") : say("system.unmeasured"));
  part("model-table").hidden = !measured;
  if (!measured) return;
  const figure = (key, text) => cell(say(key), { class: "figure" }, text);
  part("model").replaceChildren(...card.sets.map((one) => make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader", class: "across" }, word("set", one.name.replaceAll("-", "_")), one.unseen ? make("span", { class: "soft" }, ` · ${say("system.unseen")}`) : null),
    figure("system.texts", count(one.texts)), figure("system.accuracy", share(one.accuracy)), figure("system.sure", one.sure === null ? "–" : share(one.sure)),
    figure("system.unsure", one.unsure === null ? "–" : share(one.unsure)), cell(say("system.error"), { class: "error across" }, error(one)),
  )));
}

/** The calibration error as a bar, and what it may be at most as a line. */
function error(one) {
  const wide = (value) => Math.min(100, (100 * value) / WIDEST);
  const over = one.most !== null && one.error > one.most;
  const svg = make("svg:svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    make("svg:rect", { class: "rail", x: 0, y: 4.5, width: 100, height: 1 }), make("svg:rect", { class: over ? "seen over" : "seen", x: 0, y: 2, width: wide(one.error), height: 6 }),
    one.most === null ? null : make("svg:rect", { class: "most", x: wide(one.most), y: 0, width: 0.8, height: 10 }));
  const text = one.most === null ? one.error.toFixed(3) : say(over ? "system.error_over" : "system.error_most", { error: one.error.toFixed(3), most: one.most.toFixed(2) });
  return make("span", { class: over ? "wrong" : "" }, svg, text);
}

function bar(done) {
  return make("svg:svg", { class: "progress", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    make("svg:rect", { class: "rail", width: 100, height: 6 }), make("svg:rect", { class: "seen", width: 100 * done, height: 6 }));
}

function bytes(value) {
  return value >= 1 << 30 ? `${decimal(value / (1 << 30))} GiB` : `${decimal(value / (1 << 20))} MiB`;
}
