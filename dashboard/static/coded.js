// A text of ours with `commands` in it: what stands between backticks is set as code, which no translator touches.
import { make } from "./words.js";

export const coded = (text) => make("span", {}, ...text.split(/`([^`]+)`/).map((part, place) => (place % 2 ? make("code", { translate: "no" }, part) : part)));

/** The cell of a table that becomes a block on a narrow screen, with the name of its column. */
export const cell = (label, attributes, ...children) => make("td", { role: "cell", "data-label": label || null, ...attributes }, ...children);
