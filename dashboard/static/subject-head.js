// The title above a chart: whose it is, where it stands, and its figures in one line.
import { count, foreign, make, nameOf, say, span, word } from "./words.js";

const part = (id) => document.getElementById(id);

export function head(row) {
  const path = `/subjects/${encodeURIComponent(row.subject)}`;
  const here = part("subject")?.dataset.subject === row.subject; // on its own page a name leads nowhere
  const name = part("chart-subject");
  if (name.textContent !== nameOf(row)) name.replaceChildren(here ? foreign(nameOf(row)) : make("a", { href: path }, nameOf(row)));
  if (row.state === undefined) return part("chart-state").replaceChildren(here ? word("state", "no_data") : row.subject);
  part("chart-state").replaceChildren(
    make("span", { class: "mark", "data-state": row.state, "aria-hidden": "true" }),
    `${word("state", row.state)} · ${figures(row)}`,
  );
}

/** "41 negative in 15 min, 2–9 expected", or that nothing is known of what is normal. */
export function figures(row) {
  if (row.state === "learning") return say("subjects.figures_unknown", { negatives: count(row.neg) });
  return say("subjects.figures", { negatives: count(row.neg), range: span(row.lo, row.hi) });
}
