// Episodes above a chart: a bar from onset to end that says its state and opens its alert.
import { count, factor, make, say, span, timeOf, word } from "./words.js";

const ROOM_PX = 130; // a label needs about so much

export class Lane {
  constructor(chart) {
    this.place = document.getElementById("lane");
    this.chart = chart;
    this.told = "";
  }

  /** Bars of the episodes in the chart's view. */
  draw() {
    const { chart } = this;
    const { from, to } = chart.view;
    const end = (mark) => mark.to ?? chart.counted;
    const seen = (chart.series.marks ?? []).filter((mark) => mark.from && mark.from < to && end(mark) > from).sort((a, b) => a.from - b.from);
    const told = JSON.stringify([seen, from, to, chart.counted, this.place.clientWidth]);
    if (told === this.told) return;
    this.told = told;
    const lefts = seen.map((mark) => chart.x(Math.max(from, mark.from)));
    this.place.replaceChildren(
      ...seen.map((mark, place) => {
        const left = lefts[place];
        const room = (lefts[place + 1] ?? chart.x(to)) - left;
        const name = [word("state", mark.state), mark.to ? say("inbox.from_to", { start: timeOf(mark.from), end: timeOf(mark.to) }) : say("inbox.since", { time: timeOf(mark.from) })].join(" · ");
        const bar = make("a", { href: `/alerts/${encodeURIComponent(mark.episode)}`, title: name, "aria-label": name, class: mark.to ? "over" : null },
          make("span", { class: "mark", "data-state": mark.state, "aria-hidden": "true" }), room > ROOM_PX ? make("span", {}, word("state", mark.state)) : null);
        // A label may be longer than its bar, up to where the next begins.
        const width = Math.max(24, Math.min(chart.x(Math.min(to, end(mark))) - left, room));
        const shift = Math.min(0, chart.x(to) - left - (room > ROOM_PX ? 80 : 24));
        bar.style.left = `${left + shift}px`;
        bar.style.minWidth = `${width}px`;
        return bar;
      }),
    );
  }
}

/** The list of episodes beside the documents. */
export function episodes(place, empty, marks) {
  const newest = [...(marks ?? [])].filter((mark) => mark.from).sort((a, b) => b.from - a.from).slice(0, 6);
  const told = JSON.stringify(newest);
  empty.hidden = newest.length > 0;
  if (place.dataset.told === told) return;
  place.dataset.told = told;
  place.replaceChildren(
    ...newest.map((mark) =>
      make("li", { class: mark.to ? "over" : null },
        make("span", { class: "mark", "data-state": mark.state, "aria-hidden": "true" }),
        make("a", { href: `/alerts/${encodeURIComponent(mark.episode)}` }, word("state", mark.state)),
        make("span", { class: "times" }, factor(mark.effect)),
        make("p", {}, say("inbox.counts", { negatives: count(mark.neg), range: span(mark.lo, mark.hi) })),
        make("p", {}, mark.to ? say("inbox.from_to", { start: timeOf(mark.from), end: timeOf(mark.to) }) : say("inbox.since", { time: timeOf(mark.from) }))),
    ),
  );
}
