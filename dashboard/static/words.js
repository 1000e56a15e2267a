// What the page says and how it writes numbers and times, in the page's language. Texts come with the page (words/*.json).

const texts = JSON.parse(document.getElementById("texts").textContent);
export const language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const locale = language === "zh" ? "zh-CN" : "en-GB";
/** The zone that times are told in: the reader's choice where this browser knows it, else the browser's own. */
export const zoneName = zoneOf(document.documentElement.dataset.zone);
const timeZone = zoneName;

function zoneOf(chosen) {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: chosen }).resolvedOptions().timeZone;
  } catch {
    return new Intl.DateTimeFormat("en").resolvedOptions().timeZone;
  }
}

/** One text with its {places} filled; the key itself where none is written. */
export const say = (key, values = {}) => (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** The word for a member of decisions.py. */
export const word = (kind, value) => texts[`${kind}.${value}`] ?? String(value);

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const tenth = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(locale, { timeZone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(locale, { timeZone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(locale, { timeZone, day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(locale, { timeZone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const year = new Intl.DateTimeFormat(locale, { timeZone, year: "numeric", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const count = (value) => (value === null || value === undefined ? "–" : Math.abs(value) >= 100_000 ? short.format(value) : whole.format(value));
/** "2–9", or "0" where both ends are one. */
export const span = (low, high) => (low === high ? count(low) : `${count(low)}–${count(high)}`);
export const decimal = (value) => (Math.abs(value) >= 100 ? whole : fine).format(value);
/** How many times as much: 6.2, 1.0, or that it is far more than anybody needs to know exactly. */
export const times = (value) => (value >= 20 ? "> 20" : tenth.format(value));
/** The same with its sign; nothing where nothing was measured, as of one text alone. */
export const factor = (value) => (value > 0 ? `${times(value)} ×` : "");
export const share = (value) => percent.format(value);
export const dayOf = (at) => day.format(at);
export const clockOf = (at) => clock.format(at);
export const secondsOf = (at) => seconds.format(at);

/** The time alone when it is within twenty hours of now, otherwise with its day, and its year when that is another. */
export const timeOf = (at, now = Date.now()) =>
  Math.abs(now - at) < 72_000_000 ? clock.format(at) : Math.abs(now - at) < 20_000_000_000 ? full.format(at) : year.format(at);

/** A subject's name in the page's language. */
export const nameOf = (thing) => thing.names?.[language] || thing.names?.en || thing.names?.zh || thing.subject;

/** An element with its attributes and children; text goes in as text, never as markup. */
export function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Foreign text: isolated, so that its direction cannot turn the letters beside it. */
export const foreign = (text) => make("bdi", {}, text);

/** Set text only when it changes, so that nothing is drawn or spoken twice. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
