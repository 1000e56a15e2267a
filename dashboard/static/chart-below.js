// What lies beneath the negatives on the same time axis: volume and reach, the share of negatives, the price where there is one.
// Each is a small plot with a line of text above it that says the value pointed at, else the newest.
import { colour, frame, GUTTER, timeAxis } from "./chart.js";
import { newest, stepped } from "./columns.js";
import { count, language, make, put, say, share } from "./words.js";

const money = (value) => new Intl.NumberFormat(language === "zh" ? "zh-CN" : "en-GB", { minimumFractionDigits: 2, maximumFractionDigits: Math.abs(value) < 1 ? 4 : 2 }).format(value);
const change = new Intl.NumberFormat(language === "zh" ? "zh-CN" : "en-GB", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "never" });

class Strip {
  constructor(name, chart, options) {
    this.place = document.getElementById(name);
    this.says = document.getElementById(`${name}-says`);
    this.chart = chart;
    this.options = options;
    new ResizeObserver(() => this.plot?.setSize({ width: this.place.clientWidth, height: this.place.clientHeight })).observe(this.place);
    addEventListener("themechange", () => {
      this.plot?.destroy();
      this.plot = null;
      this.draw();
    });
  }

  /** Draw `columns` (seconds, values ...) in the chart's view. */
  draw(columns = this.columns) {
    this.columns = columns;
    if (!columns || this.place.clientWidth === 0) return;
    const before = performance.now();
    this.plot ??= this.#made();
    this.plot.batch(() => this.plot.setData(columns));
    this.place.dataset.drawMs = (performance.now() - before).toFixed(1);
  }

  #made() {
    const ink = { soft: colour("--soft"), line: colour("--line"), paper: colour("--paper"), ink: colour("--ink"), font: `11px ${colour("--text")}` };
    const base = frame(this.place, () => this.chart.view);
    const { series, bands, range, splits, values, draw } = this.options(ink);
    return new uPlot(
      {
        ...base, bands, padding: [7, GUTTER.right, 7, 0],
        scales: { ...base.scales, y: { range } },
        axes: [
          timeAxis(ink, true),
          { stroke: ink.soft, font: ink.font, grid: { stroke: ink.line, width: 1 }, ticks: { show: false }, size: GUTTER.left, gap: 8, splits, values },
        ],
        series: [{}, ...series.map((one) => ({ points: { show: false }, ...one }))],
        hooks: { draw: draw ? [draw] : [] },
      },
      null,
      this.place,
    );
  }
}

export class Below {
  constructor(chart) {
    this.chart = chart;
    const area = (fill) => ({ paths: uPlot.paths.stepped({ align: 1 }), fill: colour(fill), stroke: "transparent", width: 0 });
    const top = (_, low, high) => [0, Math.max(4, (high ?? 4) * 1.08)];
    const twice = (plot) => [0, nice(plot.scales.y.max)];
    this.volume = new Strip("volume", chart, (ink) => ({
      // The widest is drawn first: what lies before it is a part of it.
      series: [
        { paths: uPlot.paths.stepped({ align: 1 }), stroke: colour("--faint"), width: 1, fill: colour("--wash") },
        area("--positive"),
        area("--volume-neutral"),
        area("--negative"),
      ],
      bands: [], range: top, splits: twice, values: (_, splits) => splits.map(count), ink,
    }));
    this.share = new Strip("share", chart, (ink) => ({
      series: [{ paths: uPlot.paths.stepped({ align: 1 }), stroke: colour("--negative"), width: 1.3, fill: colour("--under") }],
      bands: [], range: () => [0, 1], splits: () => [0, 0.5, 1], values: (_, splits) => splits.map((value) => share(value)), ink,
    }));
    this.price = new Strip("price", chart, (ink) => ({
      series: [{ paths: uPlot.paths.stepped({ align: 1 }), stroke: ink.ink, width: 1.4 }],
      bands: [], ink,
      range: (_, low, high) => (low === null ? [0, 1] : [low - (high - low || Math.abs(low) * 0.01 || 1) * 0.12, high + (high - low || Math.abs(low) * 0.01 || 1) * 0.12]),
      splits: (plot) => [plot.scales.y.min + (plot.scales.y.max - plot.scales.y.min) * 0.12, plot.scales.y.max - (plot.scales.y.max - plot.scales.y.min) * 0.12],
      values: (_, splits) => splits.map((value) => short(value)),
      draw: (plot) => this.#lastPrice(plot, ink),
    }));
  }

  /** Columns of the counts (history.py, Series) and, where there are any, of the prices (subject.py). */
  show(series, prices) {
    this.series = series;
    this.prices = prices?.price?.some((value) => value !== null) ? prices : null;
    document.getElementById("price-strip").hidden = !this.prices;
    this.draw();
  }

  /** Once a frame at most, and never while nobody can see it. */
  draw() {
    if (!this.series || document.hidden) return;
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.#draw();
    });
  }

  #draw() {
    const { t0, step, neg, neu, pos, uns, reach } = this.series;
    const stack = neg.map((value, place) => (value === null ? null : value + neu[place] + (uns[place] ?? 0)));
    const mentions = neg.map((value, place) => (value === null ? null : stack[place] + pos[place]));
    this.volume.draw(stepped(t0, step, reach, mentions, stack, neg));
    this.share.draw(stepped(t0, step, this.series.share));
    put(document.getElementById("share-of"), say(step === 3600 ? "subject.share_hour" : "subject.share_quarter"));
    if (this.prices) this.price.draw(stepped(this.prices.t0, this.prices.step, this.prices.price));
    this.say(this.chart.pointed);
  }

  /** The value pointed at, or the newest. */
  say(pointed) {
    if (!this.series) return;
    const { neg, neu, pos, uns, reach } = this.series;
    const at = pointed ?? newest(neg);
    const known = at >= 0 && neg[at] !== null;
    const mentions = known ? neg[at] + neu[at] + pos[at] + (uns[at] ?? 0) : 0;
    put(this.volume.says, known ? say("subject.volume_at", { mentions: count(mentions), reach: count(Math.max(reach[at] ?? 0, mentions)) }) : say("state.no_data"));
    const part = at >= 0 ? this.series.share[at] : null;
    put(this.share.says, part === null || part === undefined ? say("state.no_data") : share(part));
    if (this.prices) this.#sayPrice(pointed);
  }

  #sayPrice(pointed) {
    const { price, last } = this.prices;
    const at = pointed ?? newest(price);
    const first = price.findIndex((value) => value !== null);
    const value = price[at] ?? null;
    if (value === null) return this.price.says.replaceChildren(say("state.no_data"));
    const moved = value / price[first] - 1;
    const way = moved > 0 ? "up" : moved < 0 ? "down" : "";
    const sign = { up: "▲ +", down: "▼ −" }[way] ?? "";
    this.price.says.replaceChildren(
      make("span", {}, [money(value), last?.currency].filter(Boolean).join(" ")),
      " ",
      make("span", { class: "moved", "data-way": way, title: say("subject.price_since") }, Number.isFinite(moved) ? `${sign}${change.format(moved)}` : ""),
    );
  }

  #lastPrice(plot, ink) {
    const place = newest(this.prices.price);
    if (place < 0 || place === this.prices.price.length - 1) return;
    const end = this.prices.t0 / 1000 + (place + 1) * this.prices.step;
    if (end * 1000 > this.chart.view.to || end * 1000 < this.chart.view.from) return;
    const { ctx } = plot;
    ctx.save();
    ctx.fillStyle = ink.ink;
    ctx.beginPath();
    ctx.arc(plot.valToPos(end, "x", true), plot.valToPos(this.prices.price[place], "y", true), 3 * devicePixelRatio, 0, 7);
    ctx.fill();
    ctx.restore();
  }
}

/** Figures of an axis have room for five letters. */
const short = (value) => (Math.abs(value) >= 10_000 ? count(value) : Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(4));

/** The largest of 1, 2, 5, 10 ... that fits. */
function nice(top) {
  const ten = 10 ** Math.floor(Math.log10(top));
  return [5, 2, 1].map((one) => one * ten).find((one) => one <= top);
}
