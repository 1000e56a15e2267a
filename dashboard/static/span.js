// Which stretch of time a chart shows: figures only, and how it stands in an address. A view is {from, to, step, range}: epoch
// milliseconds, seconds, and the range it follows now by, or null when a person chose the stretch.

export const RANGES = { "3h": { span: 10_800_000, step: 60 }, "24h": { span: 86_400_000, step: 300 }, "7d": { span: 604_800_000, step: 3600 } };
const AHEAD_MS = { 60: 900_000, 300: 3_600_000, 3600: 10_800_000 }; // the band goes on a little: what is normal next
const LEAST_MS = 600_000;
const MOST_MS = 691_200_000; // eight days: as long as minutes are kept
const MINUTE_MS = 60_000;
const POINTS = 298; // with a part of a step at each end never more than 300

/** The finest step that a stretch can be drawn in. */
const stepOf = (length) => [60, 300, 3600].find((step) => length / 1000 / step <= POINTS) ?? 3600;

/** The last hours up to `at`, and what is normal next. */
export function following(range, at) {
  const { span, step } = RANGES[range];
  const now = Math.ceil((at || Date.now()) / (step * 1000)) * step * 1000;
  return { from: now - span, to: now + AHEAD_MS[step], step, range };
}

/** A stretch that a person chose, cut to what can be shown. */
export function fixed(from, to, at) {
  const length = Math.min(MOST_MS, Math.max(LEAST_MS, to - from));
  const step = stepOf(length);
  const middle = (from + to) / 2;
  const end = Math.min(Math.round((middle + length / 2) / MINUTE_MS) * MINUTE_MS, Math.ceil((at || Date.now()) / MINUTE_MS) * MINUTE_MS + AHEAD_MS[step]);
  return { from: end - Math.round(length / MINUTE_MS) * MINUTE_MS, to: end, step, range: null };
}

/** Shorter (factor below 1) or longer around a moment that stays where it is. */
export function zoomed({ from, to }, factor, around, at) {
  const length = Math.min(MOST_MS, Math.max(LEAST_MS, (to - from) * factor));
  const left = around - ((around - from) / (to - from)) * length;
  return fixed(left, left + length, at);
}

/** Moved by a share of itself: -0.5 is half a screen back. */
export const panned = ({ from, to }, share, at) => fixed(from + (to - from) * share, to + (to - from) * share, at);

/** The view of an address: ?from&to, else ?range, else three hours. */
export function fromAddress(there, at) {
  const [from, to] = [Number(there.get("from")), Number(there.get("to"))];
  if (from > 0 && to > from && to < 8e15) return fixed(from, to, at);
  return following(RANGES[there.get("range")] ? there.get("range") : "3h", at);
}

/** The address of a view. */
export function toAddress(view) {
  const there = new URLSearchParams(location.search);
  for (const name of ["from", "to", "range", "lang"]) there.delete(name);
  if (view.range && view.range !== "3h") there.set("range", view.range);
  if (!view.range) {
    there.set("from", view.from);
    there.set("to", view.to);
  }
  return there.size ? `?${there}` : location.pathname;
}

/** Where the columns of a view are read. */
export const columnsAddress = (subject, what, { from, to, step }) =>
  `/api/v1/subjects/${encodeURIComponent(subject)}/${what}?from=${Math.floor(from / (step * 1000)) * step * 1000}&to=${to}&step=${step}`;

/** The page of a subject's documents in a stretch; `more`: polarity, topic, source, q. */
export function documentsAddress(subject, from, to, more = {}) {
  const there = new URLSearchParams({ subject, from: Math.round(from), to: Math.round(to) });
  for (const [name, value] of Object.entries(more)) if (value) there.set(name, value);
  return `/documents?${there}`;
}
