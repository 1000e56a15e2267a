// What a hand or a key does on a chart: pointing, opening documents, and on the subject's page zooming and moving through time.
// Drag zooms, Shift and drag moves, the wheel with Ctrl zooms, a double click goes back; a click opens the documents of its step.
// Keys: arrows point, with Shift they move; + and - zoom; Enter opens; Escape lets go, then goes back.
import { newest } from "./columns.js";
import { documentsAddress, fixed, panned, zoomed } from "./span.js";
import { make } from "./words.js";

const DRAG_PX = 4; // less is a click with an unsteady hand
const TWICE_MS = 260; // a second click within this is a double click, and the first opens nothing

export class Hand {
  constructor(chart) {
    this.chart = chart;
    this.held = null;
    this.hair = make("div", { class: "hair", hidden: "" });
    this.dot = make("div", { class: "dot", hidden: "" });
    this.stretch = make("div", { class: "stretch", hidden: "" });
    chart.frame.append(this.hair, this.stretch);
    chart.place.append(this.dot);
    const on = (name, hear, options) => chart.frame.addEventListener(name, (event) => chart.series && hear(event), options);
    on("pointermove", (event) => this.#move(event));
    on("pointerdown", (event) => this.#down(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", () => this.#drop());
    on("pointerleave", () => !this.held && chart.point(null));
    on("dblclick", (event) => this.#twice(event));
    on("wheel", (event) => this.#wheel(event), { passive: false });
    chart.place.addEventListener("keydown", (event) => chart.series && this.#key(event));
  }

  /** A hairline through all plots, and a dot on the line. */
  show(place) {
    const { chart } = this;
    const value = place === null ? null : (chart.series.neg[place] ?? null);
    this.hair.hidden = place === null;
    this.dot.hidden = value === null || !chart.plot;
    if (place === null) return;
    const middle = chart.series.t0 + (place + 0.5) * chart.series.step * 1000;
    this.hair.style.left = `${chart.x(middle) + this.#inset()}px`;
    if (value === null || !chart.plot) return;
    this.dot.style.left = `${chart.x(middle)}px`;
    this.dot.style.top = `${chart.plot.over.offsetTop + chart.plot.valToPos(value, "y")}px`;
  }

  #inset() {
    return this.chart.place.getBoundingClientRect().left - this.chart.frame.getBoundingClientRect().left;
  }

  #move(event) {
    const { chart, held } = this;
    if (!held) return chart.point(this.#placeAt(event));
    if (!held.moved && Math.abs(event.clientX - held.x) <= DRAG_PX) return;
    if (!held.moved) chart.frame.setPointerCapture(event.pointerId);
    held.moved = true;
    if (!chart.onView || held.touch) return chart.point(this.#placeAt(event));
    chart.point(null);
    if (held.shift) {
      const width = chart.x(held.view.to) - chart.x(held.view.from);
      chart.onView(panned(held.view, (held.x - event.clientX) / width, chart.now));
    } else this.#show(held.from, chart.at(event.clientX));
  }

  #down(event) {
    if (event.button !== 0 || event.target.closest("a, button")) return;
    this.held = { x: event.clientX, from: this.chart.at(event.clientX), view: this.chart.view, shift: event.shiftKey, touch: event.pointerType === "touch", moved: false };
  }

  #up(event) {
    const { chart, held } = this;
    this.#drop();
    if (!held) return;
    if (!held.moved) return held.touch ? chart.point(this.#placeAt(event)) : this.#click(event);
    if (!chart.onView || held.shift || held.touch) return;
    const [from, to] = [held.from, chart.at(event.clientX)].sort((a, b) => a - b);
    chart.onView(fixed(from, to, chart.now));
  }

  #drop() {
    this.held = null;
    this.stretch.hidden = true;
  }

  #show(from, to) {
    const [left, right] = [this.chart.x(from), this.chart.x(to)].sort((a, b) => a - b);
    this.stretch.hidden = false;
    this.stretch.style.left = `${left + this.#inset()}px`;
    this.stretch.style.width = `${right - left}px`;
  }

  #click(event) {
    const place = this.#placeAt(event);
    if (place === null || event.detail > 1) return;
    const address = this.#documents(event, place);
    const apart = event.ctrlKey || event.metaKey;
    this.opening = setTimeout(() => (apart ? open(address, "_blank", "noopener") : location.assign(address)), this.chart.onBack && !apart ? TWICE_MS : 0);
  }

  /** Of the step that is pointed at; in a topic's strip of its place there and of its topic; of all polarities in a plot of all. */
  #documents(event, place) {
    const { chart } = this;
    const strip = event.target.closest("[data-bin]");
    if (!strip) return chart.documents(place, event.target.closest("[data-all]") ? {} : undefined);
    const [first, bin] = [Number(strip.dataset.from), Number(strip.dataset.bin)];
    const from = first + Math.floor((chart.at(event.clientX) - first) / bin) * bin;
    return documentsAddress(chart.series.subject, from, from + bin, { polarity: "negative", topic: strip.dataset.topic });
  }

  #twice(event) {
    clearTimeout(this.opening);
    if (!event.target.closest("a, button")) this.chart.onBack?.();
  }

  #wheel(event) {
    const { chart } = this;
    if (!chart.onView || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault(); // otherwise the browser zooms the whole page
    const by = Math.max(-120, Math.min(120, event.deltaMode === 1 ? event.deltaY * 20 : event.deltaY));
    chart.onView(zoomed(chart.view, Math.exp(by / 300), chart.at(event.clientX), chart.now));
  }

  #key(event) {
    const { chart } = this;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const done = this.#keyed(event.key, event.shiftKey);
    if (!done) return;
    event.preventDefault();
    chart.onKey?.();
  }

  #keyed(key, shift) {
    const { chart } = this;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    const middle = chart.pointed === null ? (chart.view.from + chart.view.to) / 2 : chart.series.t0 + (chart.pointed + 0.5) * chart.series.step * 1000;
    if (by && !(shift && chart.onView)) chart.point(Math.min(chart.series.neg.length - 1, Math.max(0, (chart.pointed ?? newest(chart.series.neg)) + by)));
    else if (by) chart.onView(panned(chart.view, by / 4, chart.now));
    else if (key === "Escape" && chart.pointed !== null) chart.point(null);
    else if (key === "Escape" && chart.onBack) chart.onBack();
    else if (key === "Enter") location.assign(chart.documents(chart.pointed));
    else if ("+=".includes(key) && chart.onView) chart.onView(zoomed(chart.view, 0.5, middle, chart.now));
    else if (key === "-" && chart.onView) chart.onView(zoomed(chart.view, 2, middle, chart.now));
    else return false;
    return true;
  }

  #placeAt(event) {
    if (event.target.closest("a, button")) return null;
    const place = this.chart.placeOf(this.chart.at(event.clientX));
    return place < 0 ? null : place;
  }
}
