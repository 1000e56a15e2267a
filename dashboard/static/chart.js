// Negatives over time against the expected band, with surges marked: one uPlot, its sentence and its table. Read live.js for what feeds it.
import { clockOf, count, dayOf, make, put, say, span, timeOf } from "./words.js";

export const RANGES = { "3h": { span: 10_800_000, step: 60 }, "24h": { span: 86_400_000, step: 300 }, "7d": { span: 604_800_000, step: 3600 } };
const AHEAD_MS = { 60: 900_000, 300: 3_600_000, 3600: 10_800_000 }; // the band goes on a little: what is normal next
const MINUTE_MS = 60_000;

const newest = (values) => values.findLastIndex((value) => value !== null);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  constructor() {
    this.place = document.getElementById("chart");
    this.says = document.getElementById("chart-says");
    this.details = document.getElementById("chart-details");
    this.series = null;
    this.plot = null;
    this.pointed = null;
    this.drawn = 0;
    new ResizeObserver(() => this.plot?.setSize({ width: this.place.clientWidth, height: this.place.clientHeight })).observe(this.place);
    addEventListener("themechange", () => this.#build());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#draw());
    this.details.addEventListener("toggle", () => this.#table());
    this.place.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show columns as the API answers them (history.py, Series); `marks` are the subject's episodes. */
  show(series) {
    const fresh = !this.series || this.series.step !== series.step;
    this.series = series;
    put(document.getElementById("chart-per"), `${say("chart.title")} · ${say(`chart.per_${series.step / 60}`)}`);
    if (fresh || !this.plot) this.#build();
    else this.#draw();
  }

  /** Take up minutes of a live frame; true when the span has moved on so far that the columns should be read again. */
  take({ at, minutes }) {
    const series = this.series;
    if (!series || series.step !== 60) return false;
    const last = Math.floor((at - series.t0) / MINUTE_MS);
    for (let place = Math.min(last, series.neg.length) - 1; place >= 0 && series.neg[place] === null; place -= 1) series.neg[place] = 0;
    for (const [minute, negatives, neutral, positive] of minutes) {
      const place = Math.floor((minute - series.t0) / MINUTE_MS);
      if (place < 0 || place >= series.neg.length) continue;
      [series.neg[place], series.neu[place], series.pos[place]] = [negatives, neutral, positive];
    }
    this.#draw();
    return last > series.neg.length - 5;
  }

  #columns() {
    const { t0, step, neg, lo, hi, mean } = this.series;
    // A step is as wide as its span of time: the newest one too, so its value is drawn up to where the next begins.
    const drawn = [...neg];
    const last = newest(neg);
    if (last >= 0 && last + 1 < drawn.length) drawn[last + 1] = drawn[last];
    return [neg.map((_, place) => t0 / 1000 + place * step), hi, lo, mean, drawn];
  }

  #build() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.series) return;
    const stepped = uPlot.paths.stepped({ align: 1 });
    const soft = colour("--soft");
    const line = { stroke: colour("--line"), width: 1 };
    const font = `11px ${colour("--text")}`;
    const long = this.series.step === 3600;
    this.plot = new uPlot(
      {
        width: this.place.clientWidth,
        height: this.place.clientHeight,
        legend: { show: false },
        padding: [14, 34, 0, 0],
        cursor: { y: false, points: { size: 7, fill: colour("--negative"), show: (_, index) => (index === 4 ? undefined : false) }, drag: { x: false, y: false } },
        scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max(4, (high ?? 4) * 1.12)] } },
        axes: [
          { stroke: soft, font, grid: { show: false }, ticks: { ...line, size: 4 }, size: 28, space: 84,
            values: (_, splits) => splits.map((at) => (long || new Date(at * 1000).getHours() + new Date(at * 1000).getMinutes() === 0 ? dayOf(at * 1000) : clockOf(at * 1000))) },
          { stroke: soft, font, grid: line, ticks: { show: false }, size: 40, gap: 8, space: 52,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], values: (_, splits) => splits.map(count) },
        ],
        series: [
          {},
          { paths: stepped, stroke: "transparent", width: 0, points: { show: false } },
          { paths: stepped, stroke: "transparent", width: 0, points: { show: false } },
          { paths: stepped, stroke: colour("--faint"), width: 1, dash: [3, 4], points: { show: false } },
          { paths: stepped, stroke: colour("--negative"), width: 1.3, fill: colour("--under"), points: { show: false } },
        ],
        bands: [
          { series: [1, 2], fill: colour("--band"), dir: -1 },
          { series: [4, 1], fill: colour("--over"), dir: -1 },
        ],
        hooks: {
          drawClear: [(plot) => this.#surges(plot)],
          draw: [(plot) => this.#last(plot)],
          setCursor: [(plot) => this.#say(plot.cursor.idx)],
        },
      },
      this.#columns(),
      this.place,
    );
    this.#after();
  }

  #draw() {
    if (!this.plot || this.waiting || document.hidden) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      const before = performance.now();
      this.plot?.setData(this.#columns());
      this.place.dataset.drawMs = (performance.now() - before).toFixed(1);
      this.#after();
    });
  }

  #after() {
    const { neg } = this.series;
    this.drawn += 1;
    const last = newest(neg);
    this.place.dataset.drawn = this.drawn;
    this.place.dataset.last = last < 0 ? "" : neg[last];
    this.place.dataset.subject = this.series.subject;
    this.#say(this.pointed ?? null);
    if (this.details.open) this.#table();
  }

  /** Surges as a wash from onset to end, under everything else. */
  #surges(plot) {
    const { ctx, bbox } = plot;
    const right = plot.valToPos(this.series.t0 / 1000 + this.series.neg.length * this.series.step, "x", true);
    for (const mark of this.series.marks ?? []) {
      if (!mark.from) continue;
      const from = plot.valToPos(mark.from / 1000, "x", true);
      const until = mark.to ? plot.valToPos(mark.to / 1000, "x", true) : right;
      const left = Math.max(from, bbox.left);
      const end = Math.min(until, bbox.left + bbox.width);
      if (end <= left) continue;
      ctx.save();
      ctx.fillStyle = colour("--episode");
      ctx.fillRect(left, bbox.top, end - left, bbox.height);
      if (from >= bbox.left) {
        const size = 4 * devicePixelRatio;
        ctx.fillStyle = colour("--negative");
        ctx.fillRect(left, bbox.top, 1.25 * devicePixelRatio, bbox.height);
        ctx.beginPath();
        ctx.moveTo(left, bbox.top - size);
        ctx.lineTo(left + size, bbox.top);
        ctx.lineTo(left, bbox.top + size);
        ctx.lineTo(left - size, bbox.top);
        ctx.fill();
      }
      ctx.restore();
    }
  }

  /** The newest value, written beside the line's end. */
  #last(plot) {
    const { neg } = this.series;
    const place = newest(neg);
    if (place < 0) return;
    const { ctx } = plot;
    const x = plot.valToPos(plot.data[0][place] + this.series.step, "x", true);
    const y = plot.valToPos(neg[place], "y", true);
    const text = count(neg[place]);
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `600 ${12 * ratio}px ${colour("--text")}`;
    const width = ctx.measureText(text).width + 10 * ratio;
    ctx.fillStyle = colour("--negative");
    ctx.beginPath();
    ctx.roundRect(x + 4 * ratio, y - 9 * ratio, width, 18 * ratio, 3 * ratio);
    ctx.fill();
    ctx.fillStyle = colour("--paper");
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.fillText(text, x + 9 * ratio, y + ratio);
    ctx.restore();
  }

  #say(place) {
    const { neg, lo, hi, t0, step } = this.series;
    const at = place ?? newest(neg);
    if (at < 0) return put(this.says, say("chart.empty"));
    const time = timeOf(t0 + at * step * 1000);
    if (neg[at] === null) return put(this.says, say("chart.at_nothing", { time }));
    const known = lo[at] !== null && hi[at] !== null;
    put(this.says, say(known ? "chart.at" : "chart.at_unknown", { time, negatives: count(neg[at]), range: known ? span(lo[at], hi[at]) : "" }));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.#point(null);
    if (!step || !this.series || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const from = this.pointed ?? newest(this.series.neg);
    this.#point(Math.min(this.series.neg.length - 1, Math.max(0, from + step)));
  }

  #point(place) {
    this.pointed = place;
    if (place === null) this.plot.setCursor({ left: -10, top: -10 });
    else this.plot.setCursor({ left: this.plot.valToPos(this.plot.data[0][place], "x"), top: 10 });
    this.#say(place);
  }

  #table() {
    if (!this.details.open || !this.series) return;
    const { neg, neu, pos, lo, hi, t0, step } = this.series;
    const rows = [];
    for (let place = neg.length - 1; place >= 0; place -= 1) {
      if (neg[place] === null) continue;
      const cells = [count(neg[place]), lo[place] === null ? "–" : span(lo[place], hi[place]), count(neu[place]), count(pos[place])];
      rows.push(make("tr", {}, make("td", {}, timeOf(t0 + place * step * 1000)), ...cells.map((cell) => make("td", { class: "figure" }, cell))));
    }
    document.getElementById("chart-rows").replaceChildren(...rows);
  }
}

/** Where to read a subject's columns: its newest minute decides where the span ends, so that a replay shows its own time. */
export function seriesAddress(subject, range, at) {
  const { span, step } = RANGES[range];
  const end = Math.ceil((at || Date.now()) / (step * 1000)) * step * 1000 + AHEAD_MS[step];
  return `/api/v1/subjects/${encodeURIComponent(subject)}/series?from=${end - AHEAD_MS[step] - span}&to=${end}&step=${step}`;
}
