// Negatives over time against the expected band, with surges marked: one uPlot, its sentence and its table. Read live.js for what feeds it,
// chart-hand.js for what a hand or a key does here, chart-below.js for what the subject's page draws on the same time axis.
import { Hand } from "./chart-hand.js";
import { newest, stepped } from "./columns.js";
import { columnsAddress, documentsAddress, following } from "./span.js";
import { clockOf, count, dayOf, make, put, say, share, span, timeOf, zoneName } from "./words.js";

export { RANGES } from "./span.js";
export const GUTTER = { left: 44, right: 34 }; // beside the plot: figures of the axis, the newest value
const MINUTE_MS = 60_000;
const CELLS = {
  neg: (series, place) => count(series.neg[place]),
  band: ({ lo, hi }, place) => (lo[place] === null ? "–" : span(lo[place], hi[place])),
  share: (series, place) => (series.share[place] === null ? "–" : share(series.share[place])),
};

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Time along the bottom of a plot, or with `bare` only its hairlines. */
export function timeAxis(ink, bare = false) {
  const dated = (at, step) => step === 3600 || clockOf(at * 1000) === "00:00";
  return {
    stroke: ink.soft, font: ink.font, size: bare ? 0 : 28, space: 84, ticks: bare ? { show: false } : { stroke: ink.line, width: 1, size: 4 },
    grid: bare ? { stroke: ink.line, width: 1 } : { show: false },
    values: bare ? () => [] : (plot, splits) => splits.map((at) => (dated(at, plot.stepS) ? dayOf(at * 1000) : clockOf(at * 1000))),
  };
}

/** What all plots share: a fixed frame, the view as time scale, the reader's zone, no cursor of its own. */
export const frame = (place, view) => ({
  width: place.clientWidth, height: place.clientHeight, legend: { show: false }, cursor: { show: false }, pxAlign: 1,
  tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zoneName),
  scales: { x: { time: true, range: () => [view().from / 1000, view().to / 1000] } },
});

export class Chart {
  /** `onView(view)` hears which stretch a person wants; without it the chart cannot be zoomed. `onPoint(place)`: what is pointed at, or null. `columns`: of the table. */
  constructor({ onView, onPoint, onDraw, onBack, columns = ["neg", "band", "neu", "pos"] } = {}) {
    Object.assign(this, { onView, onPoint, onDraw, onBack, columns });
    this.place = document.getElementById("chart");
    this.frame = this.place.closest(".plots") ?? this.place;
    this.says = document.getElementById("chart-says");
    this.papers = document.getElementById("chart-documents");
    this.details = document.getElementById("chart-details");
    this.lane = document.getElementById("lane");
    this.series = null;
    this.view = null;
    this.plot = null;
    this.pointed = null;
    this.drawn = 0;
    new ResizeObserver(() => this.#resize()).observe(this.place);
    addEventListener("themechange", () => this.#build());
    document.addEventListener("visibilitychange", () => !document.hidden && this.draw());
    this.details.addEventListener("toggle", () => this.#table());
    this.hand = new Hand(this);
  }

  /** Show columns as the API answers them (history.py, Series); `marks` are the subject's episodes. */
  show(series, view) {
    this.series = series;
    this.view = view ?? { from: series.t0, to: series.t0 + series.neg.length * series.step * 1000, step: series.step, range: "" };
    put(document.getElementById("chart-per"), `${say("chart.title")} · ${say(`chart.per_${series.step / 60}`)}`);
    if (this.pointed !== null && this.pointed >= series.neg.length) this.point(null);
    if (this.plot) this.draw();
    else this.#build();
  }

  /** Another stretch of what is there already, until its columns are read. */
  move(view) {
    this.view = view;
    this.draw();
  }

  /** Take up minutes of a live frame; true when the span has moved on so far that the columns should be read again. */
  take({ at, minutes }) {
    const series = this.series;
    if (!series || series.step !== 60) return false;
    const last = Math.floor((at - series.t0) / MINUTE_MS);
    for (let place = Math.min(last, series.neg.length) - 1; place >= 0 && series.neg[place] === null; place -= 1) [series.neg[place], series.neu[place], series.pos[place], series.reach[place]] = [0, 0, 0, 0];
    for (const [minute, negatives, neutral, positive] of minutes) {
      const place = Math.floor((minute - series.t0) / MINUTE_MS);
      if (place < 0 || place >= series.neg.length) continue;
      [series.neg[place], series.neu[place], series.pos[place]] = [negatives, neutral, positive];
      series.reach[place] = Math.max(series.reach[place] ?? 0, negatives + neutral + positive);
    }
    this.draw();
    return last > series.neg.length - 5;
  }

  /** Pixels from the left of the chart where a moment lies. */
  x(at) {
    return GUTTER.left + ((at - this.view.from) / (this.view.to - this.view.from)) * (this.place.clientWidth - GUTTER.left - GUTTER.right);
  }

  /** Where the counts end: an open episode goes on to there. */
  get counted() {
    const { t0, step, neg } = this.series;
    const last = newest(neg);
    return t0 + (last < 0 ? neg.length : last + 1) * step * 1000;
  }

  /** The moment at a place on the screen. */
  at(clientX) {
    const box = this.place.getBoundingClientRect();
    const share = (clientX - box.left - GUTTER.left) / (box.width - GUTTER.left - GUTTER.right);
    return this.view.from + Math.min(1, Math.max(0, share)) * (this.view.to - this.view.from);
  }

  /** Which step a moment is in, or -1. */
  placeOf(at) {
    const place = Math.floor((at - this.series.t0) / this.series.step / 1000);
    return place < this.series.neg.length ? place : -1;
  }

  /** Point at a step; null: at nothing. */
  point(place) {
    this.pointed = place;
    this.hand.show(place);
    this.say();
    this.onPoint?.(place);
  }

  /** The documents of a step; of all that is shown without one. */
  documents(place, more = { polarity: "negative" }) {
    const { subject, t0, step } = this.series;
    if (place === null) return documentsAddress(subject, this.view.from, this.view.to, more);
    return documentsAddress(subject, t0 + place * step * 1000, t0 + (place + 1) * step * 1000, more);
  }

  #columns() {
    const { t0, step, neg, lo, hi, mean } = this.series;
    return stepped(t0, step, hi, lo, mean, neg);
  }

  #build() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.series) return;
    const paths = uPlot.paths.stepped({ align: 1 });
    const ink = (this.ink = { soft: colour("--soft"), line: colour("--line"), negative: colour("--negative"), paper: colour("--paper"), episode: colour("--episode"), font: `11px ${colour("--text")}` });
    const base = frame(this.place, () => this.view);
    const quiet = { paths, stroke: "transparent", width: 0, points: { show: false } };
    this.plot = new uPlot(
      {
        ...base,
        padding: [this.lane ? 8 : 14, GUTTER.right, 0, 0],
        scales: { ...base.scales, y: { range: (_, low, high) => [0, Math.max(4, (high ?? 4) * 1.12)] } },
        axes: [
          timeAxis(ink),
          { stroke: ink.soft, font: ink.font, grid: { stroke: ink.line, width: 1 }, ticks: { show: false }, size: GUTTER.left, gap: 8, space: 52,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], values: (_, splits) => splits.map(count) },
        ],
        series: [
          {},
          quiet,
          quiet,
          { paths, stroke: colour("--faint"), width: 1, dash: [3, 4], points: { show: false } },
          { paths, stroke: ink.negative, width: 1.3, fill: colour("--under"), points: { show: false } },
        ],
        bands: [
          { series: [1, 2], fill: colour("--band"), dir: -1 },
          { series: [4, 1], fill: colour("--over"), dir: -1 },
        ],
        hooks: { drawClear: [(plot) => this.#surges(plot)], draw: [(plot) => this.#last(plot)] },
      },
      null,
      this.place,
    );
    this.draw();
  }

  /** Once a frame at most, and never while nobody can see it. */
  draw() {
    if (!this.plot || this.waiting || document.hidden) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (!this.plot) return;
      const before = performance.now();
      this.plot.stepS = this.series.step;
      // In a batch uPlot draws before it returns, so that the time is that of the drawing.
      this.plot.batch(() => this.plot.setData(this.#columns()));
      this.place.dataset.drawMs = (performance.now() - before).toFixed(1);
      this.#after();
    });
  }

  #resize() {
    this.plot?.setSize({ width: this.place.clientWidth, height: this.place.clientHeight });
    if (this.plot) this.#after();
  }

  #after() {
    const { neg } = this.series;
    const last = newest(neg);
    this.hand.show(this.pointed);
    this.say();
    this.onDraw?.();
    if (this.details.open) this.#table();
    this.drawn += 1;
    this.place.dataset.last = last < 0 ? "" : neg[last];
    this.place.dataset.subject = this.series.subject;
    this.place.dataset.drawn = this.drawn;
  }

  /** Surges as a wash from onset to end, under everything else. */
  #surges(plot) {
    const { ctx, bbox } = plot;
    const over = this.lane ? bbox.top : 0; // the wash begins where the bar of the lane ends
    for (const mark of this.series.marks ?? []) {
      if (!mark.from) continue;
      const from = plot.valToPos(mark.from / 1000, "x", true);
      const until = plot.valToPos((mark.to ?? this.counted) / 1000, "x", true);
      const left = Math.max(from, bbox.left);
      const end = Math.min(until, bbox.left + bbox.width);
      if (end <= left) continue;
      ctx.save();
      ctx.fillStyle = this.ink.episode;
      ctx.fillRect(left, bbox.top - over, end - left, bbox.height + over);
      if (from >= bbox.left) {
        const size = 4 * devicePixelRatio;
        ctx.fillStyle = this.ink.negative;
        ctx.fillRect(left, bbox.top - over, 1.25 * devicePixelRatio, bbox.height + over);
        if (!this.lane) {
          ctx.beginPath();
          ctx.moveTo(left, bbox.top - size);
          ctx.lineTo(left + size, bbox.top);
          ctx.lineTo(left, bbox.top + size);
          ctx.lineTo(left - size, bbox.top);
          ctx.fill();
        }
      }
      ctx.restore();
    }
  }

  /** The newest value, written beside the line's end, where something is still to come. */
  #last(plot) {
    const { neg, t0, step } = this.series;
    const place = newest(neg);
    const end = t0 / 1000 + (place + 1) * step;
    if (place < 0 || place === neg.length - 1 || end * 1000 > this.view.to || end * 1000 < this.view.from) return;
    pill(plot, this.ink, plot.valToPos(end, "x", true), plot.valToPos(neg[place], "y", true), count(neg[place]), this.ink.negative);
  }

  say() {
    if (!this.series) return;
    const { neg, lo, hi, t0, step } = this.series;
    if (this.papers) {
      this.papers.setAttribute("href", this.documents(this.pointed));
      put(this.papers, say(this.pointed === null ? "subject.documents_span" : "subject.documents_point"));
    }
    const at = this.pointed ?? newest(neg);
    if (at < 0) return put(this.says, say("chart.empty"));
    const time = timeOf(t0 + at * step * 1000);
    if (neg[at] === null) return put(this.says, say("chart.at_nothing", { time }));
    const known = lo[at] !== null && hi[at] !== null;
    put(this.says, say(known ? "chart.at" : "chart.at_unknown", { time, negatives: count(neg[at]), range: known ? span(lo[at], hi[at]) : "" }));
  }

  #table() {
    if (!this.details.open || !this.series) return;
    const { neg, t0, step } = this.series;
    const rows = [];
    for (let place = neg.length - 1; place >= 0; place -= 1) {
      if (neg[place] === null) continue;
      const cells = this.columns.map((name) => (CELLS[name] ? CELLS[name](this.series, place) : count(this.series[name][place])));
      const time = timeOf(t0 + place * step * 1000);
      const first = this.papers ? make("a", { href: this.documents(place) }, time) : time;
      rows.push(make("tr", {}, make("td", {}, first), ...cells.map((cell) => make("td", { class: "figure" }, cell))));
    }
    document.getElementById("chart-rows").replaceChildren(...rows);
  }
}

/** A value in a small flag right of a line's end. */
function pill(plot, ink, x, y, text, fill) {
  const { ctx } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `600 ${12 * ratio}px ${colour("--text")}`;
  const width = ctx.measureText(text).width + 10 * ratio;
  ctx.fillStyle = fill;
  ctx.beginPath();
  ctx.roundRect(x + 4 * ratio, y - 9 * ratio, width, 18 * ratio, 3 * ratio);
  ctx.fill();
  ctx.fillStyle = ink.paper;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(text, x + 9 * ratio, y + ratio);
  ctx.restore();
}

/** Where to read a subject's columns: its newest minute decides where the span ends, so that a replay shows its own time. */
export const seriesAddress = (subject, range, at) => columnsAddress(subject, "series", following(range, at));
